//! What a guest can import: the host's own functions, and what a Rust program needs of WASI.
//!
//! Of WASI, versions 0.2 and 0.3 are there side by side. Clocks and random numbers are replaced by ours, which a replay
//! repeats; the standard streams end in the execution's output; there is nothing in the file system, the environment or
//! the arguments, and no network.

mod clocks;
mod durable;
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
    linker.allow_shadowing(false);
    durable::add(&mut linker)?;
    Ok(linker)
}
