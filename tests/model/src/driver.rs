//! A server that acts by itself as soon as there is something to do.
//!
//! Whoever looks at a promise whose deadline has passed sees it settled, and all that follows from that has happened
//! before anything else does. The rest of what is due waits for a tick.

use std::collections::BTreeMap;

use crate::state::State;
use crate::words::{Message, Promise, PromiseState, Request, Response, Task};
use crate::{handle, internal};

/// The state, and what there is to configure.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// What it keeps.
    pub state: State,
    /// Between two offers of a task that nobody takes.
    pub retry_ms: u64,
}

impl Server {
    /// Answer a request, do what follows from it, and say what is to be said.
    pub fn request(&mut self, request: &Request, now: u64) -> (Response, Vec<Message>) {
        let retry_at = |task: &Task| (task.id.clone(), task.retry_at);
        let before: BTreeMap<String, Option<u64>> = self.state.tasks.values().map(retry_at).collect();
        let mut messages = self.looked_at(request, now);
        let response = handle(&mut self.state, request, now);
        messages.extend(self.settled(now));
        let is_new = |task: &Task| before.get(&task.id).is_none_or(|old| *old != task.retry_at);
        messages.extend(self.offers(now, is_new));
        (response, messages)
    }

    /// Everything whose time has come.
    pub fn tick(&mut self, now: u64) -> Vec<Message> {
        for id in ids(&self.state.schedules) {
            internal::run_schedule(&mut self.state, &id, now);
        }
        // Nobody waits for what is internal: its deadline is noticed by whoever looks at it, and by nobody else.
        let external = self.state.promises.values().filter(|promise| promise.is_external());
        for id in external.map(|promise| promise.id.clone()).collect::<Vec<_>>() {
            internal::expire_promise(&mut self.state, &id, now);
        }
        for id in ids(&self.state.tasks) {
            internal::expire_lease(&mut self.state, &id, now);
        }
        let mut messages = self.settled(now);
        messages.extend(self.offers(now, |_| true));
        messages
    }

    /// What a request looks at and finds to be over is over, with all that follows. A dry run tells what that is.
    fn looked_at(&mut self, request: &Request, now: u64) -> Vec<Message> {
        let is_over = |promise: &Promise| promise.state == PromiseState::Pending && promise.timeout_at <= now;
        if !self.state.promises.values().any(is_over) {
            return Vec::new();
        }
        let mut looked = self.state.clone();
        handle(&mut looked, request, now);
        for (id, promise) in looked.promises {
            let was_pending = self.state.promises.get(&id).is_some_and(|old| old.state == PromiseState::Pending);
            if was_pending && promise.settled_at == Some(promise.timeout_at) {
                internal::expire_promise(&mut self.state, &id, now);
            }
        }
        self.settled(now)
    }

    /// Those who wait for a settled promise are told. One of them can be found to be settled by that, and so on.
    fn settled(&mut self, now: u64) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let waited_for = |(id, promise): (&String, &Promise)| {
                let is_waited_for = !promise.callbacks.is_empty() || !promise.listeners.is_empty();
                (promise.state != PromiseState::Pending && is_waited_for).then(|| id.clone())
            };
            let Some(id) = self.state.promises.iter().find_map(waited_for) else { return messages };
            let promise = self.state.promises[&id].clone();
            for address in &promise.listeners {
                messages.extend(internal::tell_listener(&mut self.state, &id, address, now));
            }
            for awaiter in &promise.callbacks {
                internal::resume_awaiter(&mut self.state, &id, awaiter, now);
                messages.extend(internal::offer_task(&mut self.state, awaiter, now, self.retry_ms));
            }
        }
    }

    fn offers(&mut self, now: u64, which: impl Fn(&Task) -> bool) -> Vec<Message> {
        let due: Vec<String> =
            self.state.tasks.values().filter(|task| which(task)).map(|task| task.id.clone()).collect();
        due.iter().filter_map(|id| internal::offer_task(&mut self.state, id, now, self.retry_ms)).collect()
    }
}

fn ids<T>(of: &BTreeMap<String, T>) -> Vec<String> {
    of.keys().cloned().collect()
}
