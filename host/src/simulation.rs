//! What decides in a cluster, for a simulation of one: see `tests/simulation`.

use std::collections::HashMap;

use machine::{Component, Digest};

use crate::runtime::{ComponentError, Limits, Program, Runtime, RuntimeError};

pub use crate::cluster::{Key, Lodgers, answers_for, plan_of};
pub use crate::log::{End, Group, Trail, check_tail};
pub use crate::partition::{Answer, Beginning, Driven, Lodger, Message, Room, Told};
pub use crate::store::MemoryFile;

/// The hash before the first group of a log.
pub const FIRST_HASH: [u8; 32] = crate::log::FIRST_HASH;

/// The hash of a group at the end of a chain.
pub fn chain(previous: &[u8; 32], group: &Group) -> [u8; 32] {
    crate::log::chain(previous, group)
}

/// What became of an append of which that wasn't known: `Some(true)`, it is there; `Some(false)`, it isn't, and may be
/// appended again; None, the partition was lost.
pub fn found(seen: Option<&End>, before: &End, after: &End) -> Option<bool> {
    match crate::log::Found::of(seen, before, after) {
        crate::log::Found::Durable => Some(true),
        crate::log::Found::Missing => Some(false),
        crate::log::Found::Lost => None,
    }
}

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
