//! What the machine works on, and the simplest thing that will do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Component, Config, Digest, Entry, Id, Mail, Message, Output, Promise, Schedule, Scope};

/// What is decided when a host is started, and what its rules depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The name of the group of workers that the host itself is: its functions are at `poll://any@<group>`.
    pub group: String,
    /// How long a task that was offered is left to its workers before it is offered again.
    pub retry_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { group: "wasm".into(), retry_ms: 5_000 }
    }
}

impl Settings {
    /// The address of the host's own functions.
    pub fn address(&self) -> String {
        format!("poll://any@{}", self.group)
    }

    /// Whether an address is that of the host itself.
    pub fn is_own(&self, address: &str) -> bool {
        let group = address.strip_prefix("poll://any@").or_else(|| address.strip_prefix("poll://uni@"));
        group.is_some_and(|group| group.split('/').next() == Some(&self.group))
    }
}

/// Rows, journals and deadlines, however they are kept.
///
/// Nothing here can fail as far as the machine knows: a store that can't read a row says so to whoever drives it, who
/// must then throw away the state and what was made of it.
pub trait State {
    /// A promise, to read.
    fn promise(&mut self, id: &Id) -> Option<&Promise>;
    /// A promise, to change. Not its `id`, `timeout_at` or `created_at`.
    fn promise_mut(&mut self, id: &Id) -> Option<&mut Promise>;
    /// A new promise. If something is to happen to it by itself ([`Promise::due_at`]), that is to be watched from here on.
    fn insert(&mut self, promise: Promise);
    /// A settled promise is no more, and neither are its journal and its output. Another one can be made with its id.
    fn remove(&mut self, id: &Id);
    /// Something is to happen to the promise by itself at this time.
    fn arm(&mut self, at: u64, id: &Id);
    /// What was to happen to the promise at this time no longer matters.
    fn disarm(&mut self, at: u64, id: &Id);
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
    /// Whether a component is the current one of its name.
    fn is_current(&self, digest: &Digest) -> bool;
    /// How many executions there are that run on a component, or have run on it to their end.
    fn executions_on(&self, digest: &Digest) -> u64;
    /// There are as many from here on.
    fn count_executions_on(&mut self, digest: &Digest, count: u64);
    /// A component that isn't current is no more.
    fn uninstall(&mut self, digest: &Digest);
    /// A schedule.
    fn schedule(&self, id: &str) -> Option<&Schedule>;
    /// How many schedules there are.
    fn count_schedules(&self) -> usize;
    /// A schedule, new or changed. Its next occurrence is to be watched.
    fn put_schedule(&mut self, schedule: Schedule);
    /// A schedule is no more.
    fn remove_schedule(&mut self, id: &str);
    /// What is decided when a host is started.
    fn settings(&self) -> &Settings;
    /// Decide it.
    fn adopt(&mut self, settings: Settings);
    /// Forget all promises and schedules.
    fn clear(&mut self);
    /// A revision of a scope's configuration. Revisions are numbered from 1.
    fn config(&self, scope: &Scope, revision: u32) -> Option<&Config>;
    /// The latest revision of a scope's configuration. 0: it has none.
    fn revision(&self, scope: &Scope) -> u32;
    /// The latest revision of a scope's configuration, from here on.
    fn configure(&mut self, scope: Scope, revision: u32, config: Config);
    /// Which of the partitions it is that divide all ids between them. None: it has all ids.
    fn partition(&self) -> Option<u8>;
    /// A message to another partition, with the number after that of the last one to there. It stays until it is
    /// delivered, also if everything is forgotten.
    fn post(&mut self, to: u8, message: Message);
    /// Another partition has had all messages up to this number: they are needed no longer. Whether there were any.
    fn delivered(&mut self, to: u8, number: u64) -> bool;
    /// The number of the last message that came from another partition, or 0.
    fn received(&self, from: u8) -> u64;
    /// This is the last one from here on.
    fn receive(&mut self, from: u8, number: u64);
}

/// Everything in maps: for tests and simulations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// By id.
    pub promises: BTreeMap<Id, Promise>,
    /// When something is to happen to a promise by itself.
    pub deadlines: BTreeSet<(u64, Id)>,
    /// By execution.
    pub journals: BTreeMap<Id, Vec<Entry>>,
    /// By execution.
    pub outputs: BTreeMap<Id, Vec<Output>>,
    /// By digest.
    pub components: BTreeMap<Digest, Component>,
    /// By name.
    pub current: BTreeMap<String, Digest>,
    /// By component, those on which there are any.
    pub executions_on: BTreeMap<Digest, u64>,
    /// By id.
    pub schedules: BTreeMap<String, Schedule>,
    /// What was decided.
    pub settings: Settings,
    /// By scope, in the order of their revisions.
    pub configs: BTreeMap<Scope, Vec<Config>>,
    /// Which part of all ids it has. None: all.
    pub partition: Option<u8>,
    /// For other partitions, and from them.
    pub mail: Mail,
}

impl Memory {
    /// The promises to which something is to happen by itself by now, the earliest first.
    pub fn due(&self, now: u64) -> Vec<Id> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect()
    }

    /// The schedules whose next occurrence has come.
    pub fn due_schedules(&self, now: u64) -> Vec<String> {
        self.schedules.values().filter(|schedule| schedule.next_run_at <= now).map(|s| s.id.clone()).collect()
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
        if let Some(at) = promise.due_at() {
            self.deadlines.insert((at, promise.id.clone()));
        }
        self.promises.insert(promise.id.clone(), promise);
    }

    fn remove(&mut self, id: &Id) {
        self.promises.remove(id);
        self.journals.remove(id);
        self.outputs.remove(id);
    }

    fn arm(&mut self, at: u64, id: &Id) {
        self.deadlines.insert((at, id.clone()));
    }

    fn disarm(&mut self, at: u64, id: &Id) {
        self.deadlines.remove(&(at, id.clone()));
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

    fn is_current(&self, digest: &Digest) -> bool {
        self.current.values().any(|current| current == digest)
    }

    fn executions_on(&self, digest: &Digest) -> u64 {
        self.executions_on.get(digest).copied().unwrap_or(0)
    }

    fn count_executions_on(&mut self, digest: &Digest, count: u64) {
        match count {
            0 => self.executions_on.remove(digest),
            count => self.executions_on.insert(*digest, count),
        };
    }

    fn uninstall(&mut self, digest: &Digest) {
        self.components.remove(digest);
    }

    fn schedule(&self, id: &str) -> Option<&Schedule> {
        self.schedules.get(id)
    }

    fn count_schedules(&self) -> usize {
        self.schedules.len()
    }

    fn put_schedule(&mut self, schedule: Schedule) {
        self.schedules.insert(schedule.id.clone(), schedule);
    }

    fn remove_schedule(&mut self, id: &str) {
        self.schedules.remove(id);
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn adopt(&mut self, settings: Settings) {
        self.settings = settings;
    }

    fn clear(&mut self) {
        self.promises.clear();
        self.deadlines.clear();
        self.journals.clear();
        self.outputs.clear();
        self.schedules.clear();
        self.executions_on.clear();
    }

    fn config(&self, scope: &Scope, revision: u32) -> Option<&Config> {
        self.configs.get(scope)?.get(revision.checked_sub(1)? as usize)
    }

    fn revision(&self, scope: &Scope) -> u32 {
        self.configs.get(scope).map_or(0, |configs| configs.len() as u32)
    }

    fn configure(&mut self, scope: Scope, revision: u32, config: Config) {
        let configs = self.configs.entry(scope).or_default();
        debug_assert_eq!(revision as usize, configs.len() + 1);
        configs.push(config);
    }

    fn partition(&self) -> Option<u8> {
        self.partition
    }

    fn post(&mut self, to: u8, message: Message) {
        self.mail.post(to, message);
    }

    fn delivered(&mut self, to: u8, number: u64) -> bool {
        self.mail.delivered(to, number)
    }

    fn received(&self, from: u8) -> u64 {
        self.mail.last_from(from)
    }

    fn receive(&mut self, from: u8, number: u64) {
        self.mail.received.insert(from, number);
    }
}
