//! Runs durable WebAssembly functions.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod database;
pub mod log;
pub mod outbound;
pub mod partition;
pub mod protocol;
pub mod replay;
pub mod runtime;
#[doc(hidden)]
pub mod simulation;
pub mod store;
pub mod testing;
