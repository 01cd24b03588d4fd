//! Components whose guests run as in a host.

use std::collections::HashMap;

use host_partition::{Answer, Beginning, Lodger};
use host_runtime::{ComponentError, Limits, Program, Runtime, RuntimeError};
use machine::{Component, Digest};

/// Components whose guests are run by what runs them in a host.
pub struct Stage {
    runtime: Runtime,
    programs: HashMap<Digest, Program>,
}

impl Stage {
    /// Without any component, for at most so many guests at a time.
    pub fn new(guests: u32) -> Result<Stage, RuntimeError> {
        let runtime = Runtime::new(Limits { sessions: guests, ..Limits::default() })?;
        Ok(Stage { runtime, programs: HashMap::new() })
    }

    /// Have a component's guests.
    pub fn add(&mut self, wasm: &[u8]) -> Result<Component, ComponentError> {
        let compiled = self.runtime.compile(wasm, None)?;
        self.programs.insert(compiled.component.digest, compiled.program);
        Ok(compiled.component)
    }

    /// Begin a guest, as far as its journal goes.
    pub fn begin(&self, beginning: Beginning) -> (Option<Lodger>, Answer) {
        match self.programs.get(beginning.component()) {
            Some(program) => Lodger::enter(beginning, self.runtime.setting(), &self.runtime, program),
            None => (None, Answer::Gone),
        }
    }
}
