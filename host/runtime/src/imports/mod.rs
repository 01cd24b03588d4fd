//! What a guest can import: the host's own functions, and what a Rust program needs of WASI.
//!
//! Of WASI, versions 0.2 and 0.3 are there side by side. Clocks and random numbers are replaced by ours, which a replay
//! repeats; the standard streams end in the execution's output; requests over HTTP are steps; the environment has what
//! the function is configured with. There is nothing in the file system or the arguments, and there are no sockets.

mod clocks;
mod closed;
mod durable;
pub(super) mod http;
pub(super) mod random;
pub(super) mod stdio;

use wasmtime::Engine;
use wasmtime::component::Linker;

use super::guest::Guest;

/// Everything that a guest can import.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    linker.allow_shadowing(true);
    clocks::replace(&mut linker)?;
    random::replace(&mut linker)?;
    closed::replace(&mut linker)?;
    linker.allow_shadowing(false);
    http::add(&mut linker)?;
    durable::add(&mut linker)?;
    Ok(linker)
}
