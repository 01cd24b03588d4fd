//! Runs durable WebAssembly functions.

pub mod api;
pub mod cli;
pub mod log;
pub mod outbound;
pub mod partition;
pub mod protocol;
pub mod replay;
pub mod runtime;
pub mod store;
pub mod testing;
