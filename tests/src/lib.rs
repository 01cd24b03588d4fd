//! The harness of the black-box tests: a host as a process of its own, and a client of its HTTP API.
//!
//! Nothing here knows the host's source. A test starts the binary on a directory of its own ([`Setup`]), speaks HTTP to
//! it ([`Client`]), kills it and starts it again ([`Host`]). Whatever a host printed is shown when a test fails.
//!
//! The host is `target/release/host`, or what `TEST_HOST` names; the guests are in `target/wasm32-wasip2/guest`, or in
//! the directory that `TEST_GUESTS` names. `make test` builds both.

mod authority;
mod client;
mod host;
mod linear;
mod look;
mod network;
mod places;
mod postgres;
mod programs;
mod protocol;
mod random;
mod watch;
mod web;

pub use authority::Authority;
pub use client::{Answer, Client, Event, Events, Failed};
pub use host::{Host, Setup};
pub use linear::{Call, outcomes};
pub use look::{Look, without_times};
pub use network::{Cable, Network, Place};
pub use places::{GUESTS, edition, guest, guest_path, host_binary, scratch};
pub use postgres::{Occupied, Postgres};
pub use programs::{Manner, Programs};
pub use protocol::{Poll, Reply, VERSION};
pub use random::{Random, number};
pub use watch::{PATIENCE, until};
pub use web::{Seen, Web};
