//! Functions for the tests of the host. `good` are the plain ones from which a test is put together, `bad` run into the
//! limits of a guest, `seen` return what a caller sees of others, `order` depend on the order in which things happen.

#![allow(missing_docs)]

mod bad;
mod good;
mod order;
mod seen;
