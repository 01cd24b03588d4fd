//! Engines. The stacks of an engine's guests are of one size. So a function that may use less of a stack than others runs in
//! another engine, which is made when the first of its executions starts; what was compiled for one runs in all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::Engine;
use wasmtime::component::Linker;

use super::engine::{self, Pulse};
use super::guest::Guest;
use super::{Limits, RuntimeError, imports};

/// The smallest stack that there is.
const LEAST_BYTES: usize = 64 << 10;

/// An engine, and what goes with it.
pub(super) struct Arena {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Guest>,
    pub(super) pulse: Arc<Pulse>,
    /// Of its guests.
    pub(super) stack_bytes: usize,
    /// Whether it is the one that components are compiled in.
    pub(super) is_main: bool,
}

/// All of them.
pub(super) struct Arenas {
    main: Arc<Arena>,
    limits: Arc<Limits>,
    /// By the sizes of their stacks.
    others: Mutex<BTreeMap<usize, Arc<Arena>>>,
}

impl Arena {
    /// Sets aside the address space for all its guests, and starts the thread that bounds their time slices.
    fn new(limits: &Limits, stack_bytes: usize) -> Result<Arena, RuntimeError> {
        let setup = |error: wasmtime::Error| RuntimeError::Setup(format!("{error:#}"));
        let engine = Engine::new(&engine::config(limits, stack_bytes)).map_err(setup)?;
        let linker = imports::linker(&engine).map_err(setup)?;
        let pulse = engine::start_pulse(&engine).map_err(|error| RuntimeError::Setup(error.to_string()))?;
        let is_main = stack_bytes == limits.stack_bytes;
        Ok(Arena { engine, linker, pulse, stack_bytes, is_main })
    }
}

impl Arenas {
    pub(super) fn new(limits: &Arc<Limits>) -> Result<Arenas, RuntimeError> {
        let main = Arc::new(Arena::new(limits, limits.stack_bytes)?);
        Ok(Arenas { main, limits: limits.clone(), others: Mutex::default() })
    }

    /// That of functions that may use as much as the host allows, in which components are compiled.
    pub(super) fn main(&self) -> &Arena {
        &self.main
    }

    /// That of functions that may use so much.
    pub(super) fn of(&self, stack_bytes: usize) -> Result<Arc<Arena>, RuntimeError> {
        if stack_bytes >= self.main.stack_bytes {
            return Ok(self.main.clone());
        }
        // While it is made, those that need it wait for it.
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.get(&stack_bytes) {
            return Ok(known.clone());
        }
        let arena = Arc::new(Arena::new(&self.limits, stack_bytes)?);
        others.insert(stack_bytes, arena.clone());
        Ok(arena)
    }
}

/// The stack of a function whose limit this is: the largest power of two below it. So there are only a few engines.
pub(super) fn stack_bytes(limit: usize, most: usize) -> usize {
    if limit >= most {
        return most;
    }
    most.min(1 << limit.max(LEAST_BYTES).ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_few_sizes_of_stacks() {
        let most = 1 << 20;
        for (limit, bytes) in [(1, 64 << 10), (100 << 10, 64 << 10), (128 << 10, 128 << 10), (2 << 20, most)] {
            assert_eq!(stack_bytes(limit, most), bytes, "{limit}");
        }
        assert_eq!(stack_bytes(1, 10_000), 10_000, "no more than the host allows");
    }
}
