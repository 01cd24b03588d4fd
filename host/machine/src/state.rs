//! What the machine works on, and the simplest thing that will do.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Component, Digest, Entry, Id, Output, Promise};

/// Rows, journals and deadlines, however they are kept.
///
/// Nothing here can fail as far as the machine knows: a store that can't read a row says so to whoever drives it, who
/// must then throw away the state and what was made of it.
pub trait State {
    /// A promise, to read.
    fn promise(&mut self, id: &Id) -> Option<&Promise>;
    /// A promise, to change. Not its `id`, `timeout_at` or `created_at`.
    fn promise_mut(&mut self, id: &Id) -> Option<&mut Promise>;
    /// A new promise. If it is pending, its deadline is to be watched from here on.
    fn insert(&mut self, promise: Promise);
    /// The promise has been settled: its deadline no longer matters.
    fn disarm(&mut self, timeout_at: u64, id: &Id);
    /// One more entry at the end of an execution's journal. Its `entries` counts it already.
    fn append(&mut self, execution: &Id, entry: &Entry);
    /// One more piece at the end of an execution's output. Its `outputs` counts it already.
    fn write(&mut self, execution: &Id, output: Output);
    /// A component, current or not.
    fn component(&self, digest: &Digest) -> Option<&Component>;
    /// The current component that exports a function of this name.
    fn exporter(&self, function: &str) -> Option<&Component>;
    /// Make a component the current one of its name.
    fn install(&mut self, component: Component);
}

/// Everything in maps: for tests and simulations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// By id.
    pub promises: BTreeMap<Id, Promise>,
    /// Deadlines of pending promises.
    pub deadlines: BTreeSet<(u64, Id)>,
    /// By execution.
    pub journals: BTreeMap<Id, Vec<Entry>>,
    /// By execution.
    pub outputs: BTreeMap<Id, Vec<Output>>,
    /// By digest.
    pub components: BTreeMap<Digest, Component>,
    /// By name.
    pub current: BTreeMap<String, Digest>,
}

impl Memory {
    /// The promises whose deadline has passed, the earliest first.
    pub fn due(&self, now: u64) -> Vec<Id> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect()
    }
}

impl State for Memory {
    fn promise(&mut self, id: &Id) -> Option<&Promise> {
        self.promises.get(id)
    }

    fn promise_mut(&mut self, id: &Id) -> Option<&mut Promise> {
        self.promises.get_mut(id)
    }

    fn insert(&mut self, promise: Promise) {
        if promise.outcome.is_none() {
            self.deadlines.insert((promise.timeout_at, promise.id.clone()));
        }
        self.promises.insert(promise.id.clone(), promise);
    }

    fn disarm(&mut self, timeout_at: u64, id: &Id) {
        self.deadlines.remove(&(timeout_at, id.clone()));
    }

    fn append(&mut self, execution: &Id, entry: &Entry) {
        self.journals.entry(execution.clone()).or_default().push(entry.clone());
    }

    fn write(&mut self, execution: &Id, output: Output) {
        self.outputs.entry(execution.clone()).or_default().push(output);
    }

    fn component(&self, digest: &Digest) -> Option<&Component> {
        self.components.get(digest)
    }

    fn exporter(&self, function: &str) -> Option<&Component> {
        self.current.values().filter_map(|digest| self.components.get(digest)).find(|c| c.exports(function))
    }

    fn install(&mut self, component: Component) {
        self.current.insert(component.name.clone(), component.digest);
        self.components.insert(component.digest, component);
    }
}
