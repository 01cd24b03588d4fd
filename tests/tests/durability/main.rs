//! What a host promised is kept when it is killed, at any moment, and started again.
//!
//! Clients keep a host busy with the examples and write down everything that it tells them ([`driver`]). It is killed
//! at random moments and at chosen points of its work; each time it comes back, what it told must still be so. At the
//! end every execution must look as in a run that nothing disturbed. Random programs are among them ([`programs`]).

mod driver;
mod forgetting;
mod kills;
mod points;
mod programs;
mod stops;
mod workloads;
