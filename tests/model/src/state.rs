//! What is stored, and how it is looked at.

use std::collections::BTreeMap;

use crate::words::{Create, Promise, PromiseState, Schedule, Settle, Task, TaskState, Value, is_timer};

/// All that a server keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "by id")]
pub struct State {
    pub promises: BTreeMap<String, Promise>,
    pub tasks: BTreeMap<String, Task>,
    pub schedules: BTreeMap<String, Schedule>,
}

impl State {
    /// A promise as it is at this time. If its deadline has passed, that settles it: at its deadline.
    pub(crate) fn promise(&mut self, id: &str, now: u64) -> Option<&mut Promise> {
        let promise = self.promises.get_mut(id)?;
        if promise.state == PromiseState::Pending && promise.timeout_at <= now {
            let state = verdict(is_timer(&promise.tags));
            promise.state = state;
            promise.settled_at = Some(promise.timeout_at);
            self.fulfill(id);
        }
        self.promises.get_mut(id)
    }

    /// A task as it is at this time: fulfilled, if its promise is settled.
    pub(crate) fn task(&mut self, id: &str, now: u64) -> Option<&mut Task> {
        self.promise(id, now)?;
        self.tasks.get_mut(id)
    }

    pub(crate) fn is_pending(&mut self, id: &str, now: u64) -> bool {
        self.promise(id, now).is_some_and(|promise| promise.state == PromiseState::Pending)
    }

    /// Make a promise that isn't there. One whose deadline has passed is born settled.
    pub(crate) fn create(&mut self, create: &Create, now: u64) {
        let lives = create.timeout_at > now;
        let promise = Promise {
            id: create.id.clone(),
            state: if lives { PromiseState::Pending } else { verdict(is_timer(&create.tags)) },
            param: create.param.clone(),
            value: Value::default(),
            tags: create.tags.clone(),
            timeout_at: create.timeout_at,
            created_at: now.min(create.timeout_at),
            settled_at: (!lives).then_some(create.timeout_at),
            callbacks: Vec::new(),
            listeners: Vec::new(),
        };
        if promise.is_targeted() {
            let delay = create.tags.get("resonate:delay").and_then(|text| text.parse().ok()).unwrap_or(0);
            let state = if lives { TaskState::Pending } else { TaskState::Fulfilled };
            let retry_at = lives.then_some(now.max(delay));
            self.tasks.insert(create.id.clone(), Task { retry_at, ..task(&create.id, state, 0) });
        }
        self.promises.insert(create.id.clone(), promise);
    }

    /// Settle a pending promise, and fulfil its task. Those who wait are told by steps of their own.
    pub(crate) fn settle(&mut self, settle: &Settle, now: u64) {
        let Some(promise) = self.promises.get_mut(&settle.id) else { return };
        promise.state = settle.state;
        promise.value = settle.value.clone();
        promise.settled_at = Some(now);
        self.fulfill(&settle.id);
    }

    fn fulfill(&mut self, id: &str) {
        if let Some(known) = self.tasks.get_mut(id) {
            *known = task(id, TaskState::Fulfilled, known.version);
        }
    }
}

/// A task that nobody has.
pub(crate) fn task(id: &str, state: TaskState, version: u64) -> Task {
    Task { id: id.into(), state, version, ttl: None, pid: None, expires_at: None, retry_at: None, resumes: Vec::new() }
}

/// How a deadline settles a promise.
fn verdict(is_timer: bool) -> PromiseState {
    if is_timer { PromiseState::Resolved } else { PromiseState::RejectedTimedout }
}
