//! Creating, settling and expiring promises.

use super::{Effect, Rejection, Reply, Step};
use crate::execution::Answer;
use crate::{Awaiter, Entry, Id, Outcome, Owner, Payload, Promise, PromiseKind, Ready, State, TaskState};

/// What a new promise is made of.
pub(super) struct New {
    pub(super) id: Id,
    pub(super) kind: PromiseKind,
    pub(super) owner: Option<Owner>,
    pub(super) param: Payload,
    pub(super) timeout_at: u64,
    pub(super) awaiters: Vec<Awaiter>,
}

impl<S: State> Step<'_, S> {
    pub(super) fn create_promise(&mut self, id: Id, param: Payload, timeout_at: u64) -> Result<Reply, Rejection> {
        self.expire(&id);
        if let Some(promise) = self.state.promise(&id) {
            return match promise.kind {
                PromiseKind::External => Ok(Reply::Promise { created: false }),
                _ => Err(Rejection::Taken { id, what: "it is not a promise of its own, but a step or an execution" }),
            };
        }
        self.create(New { id, kind: PromiseKind::External, owner: None, param, timeout_at, awaiters: Vec::new() });
        Ok(Reply::Promise { created: true })
    }

    /// A new promise. One whose deadline has passed is born settled, at its deadline.
    pub(super) fn create(&mut self, new: New) {
        self.changed = true;
        let expired = new.timeout_at <= self.now;
        let promise = Promise {
            outcome: expired.then(|| expiry(&new.kind)),
            created_at: self.now.min(new.timeout_at),
            settled_at: expired.then_some(new.timeout_at),
            id: new.id,
            kind: new.kind,
            owner: new.owner,
            param: new.param,
            timeout_at: new.timeout_at,
            awaiters: new.awaiters,
            execution: None,
        };
        self.state.insert(promise);
    }

    pub(super) fn settle_from_outside(&mut self, id: Id, outcome: Outcome) -> Result<Reply, Rejection> {
        self.expire(&id);
        let promise = self.state.promise(&id).ok_or_else(|| Rejection::NoPromise(id.clone()))?;
        match &promise.outcome {
            None => {
                self.settle(&id, outcome, self.now);
                Ok(Reply::Done)
            }
            Some(settled) if *settled == outcome => Ok(Reply::Done),
            Some(settled) => Err(Rejection::Settled { state: settled.state(), id }),
        }
    }

    /// If the deadline of a promise has passed, it is settled: at its deadline, whenever that is noticed. Every rule
    /// that looks at whether a promise is pending comes here first, so a deadline always wins.
    pub(super) fn expire(&mut self, id: &Id) {
        let due = self.state.promise(id).filter(|p| p.outcome.is_none() && p.timeout_at <= self.now);
        if let Some(promise) = due {
            let (outcome, at) = (expiry(&promise.kind), promise.timeout_at);
            self.settle(id, outcome, at);
        }
    }

    /// Settle a pending promise and all that ends with it. An execution that is settled here was ended from outside.
    pub(super) fn settle(&mut self, id: &Id, outcome: Outcome, at: u64) {
        let mut ending = vec![(id.clone(), outcome, at)];
        while let Some((id, outcome, at)) = ending.pop() {
            for child in self.settle_one(&id, outcome, at, true) {
                let (outcome, at) = match self.state.promise(&child) {
                    Some(p) if p.timeout_at <= self.now => (expiry(&p.kind), p.timeout_at),
                    _ => (Outcome::Canceled, self.now),
                };
                ending.push((child, outcome, at));
            }
        }
    }

    /// The function of an execution has returned. The functions that it called run on; what only it could end, ends.
    pub(super) fn finish(&mut self, id: &Id, outcome: Outcome) {
        for child in self.settle_one(id, outcome, self.now, false) {
            let own = |p: &&Promise| matches!(p.kind, PromiseKind::Sleep | PromiseKind::Step { .. });
            if self.state.promise(&child).filter(own).is_some() {
                self.settle_one(&child, Outcome::Canceled, self.now, true);
            }
        }
    }

    /// Settle one promise, and say which promises were pending as steps of its execution and owned by it.
    fn settle_one(&mut self, id: &Id, outcome: Outcome, at: u64, from_outside: bool) -> Vec<Id> {
        let Some(promise) = self.state.promise_mut(id).filter(|p| p.outcome.is_none()) else { return Vec::new() };
        self.changed = true;
        let state = outcome.state();
        promise.outcome = Some(outcome);
        promise.settled_at = Some(at);
        let timeout_at = promise.timeout_at;
        let awaiters = std::mem::take(&mut promise.awaiters);
        let owner = promise.owner.clone();
        let mut open = Vec::new();
        let mut was_execution = false;
        if let Some(execution) = promise.execution.as_mut() {
            was_execution = true;
            execution.task.state = TaskState::Fulfilled;
            execution.entries += 1;
            execution.held = None;
            execution.ready.clear();
            open = std::mem::take(&mut execution.open).into_iter().collect();
        }
        self.state.disarm(timeout_at, id);
        if was_execution {
            self.state.append(id, &Entry::Finished { state, now: at });
            if from_outside {
                self.effects.push(Effect::Stop(id.clone()));
            }
        }
        for awaiter in awaiters {
            self.answer(&awaiter.execution, awaiter.step, Answer::Promise(id.clone()));
        }
        if let Some(owner) = owner
            && let Some(execution) = self.state.promise_mut(&owner.execution).and_then(|p| p.execution.as_mut())
        {
            execution.open.remove(&owner.step);
        }
        self.effects.push(Effect::Settled(id.clone()));
        self.owned_by(id, open)
    }

    /// Those of an execution's open steps whose promises it made itself, not detached, and which are still pending.
    fn owned_by(&mut self, id: &Id, open: Vec<(u32, Option<Id>)>) -> Vec<Id> {
        let mut owned = Vec::new();
        for (step, other) in open {
            let Some(child) = other.or_else(|| id.child(step).ok()) else { continue };
            let Some(promise) = self.state.promise(&child) else { continue };
            let is_own = promise.owner.as_ref().is_some_and(|o| o.execution == *id && o.step == step && !o.detached);
            if is_own && promise.outcome.is_none() {
                owned.push(child);
            }
        }
        owned
    }

    /// A step has its answer. An execution that has ended, or no longer waits for the step, doesn't hear of it.
    pub(super) fn answer(&mut self, id: &Id, step: u32, answer: Answer) {
        self.expire(id);
        let Some(promise) = self.state.promise_mut(id).filter(|p| p.outcome.is_none()) else { return };
        let Some(execution) = promise.execution.as_mut() else { return };
        execution.open.remove(&step);
        execution.ready.push_back(Ready { step, answer });
        if execution.task.state == TaskState::Suspended {
            execution.task.state = TaskState::Runnable;
            self.effects.push(Effect::Runnable(id.clone()));
        }
    }
}

/// How a promise is settled by its deadline.
fn expiry(kind: &PromiseKind) -> Outcome {
    match kind {
        PromiseKind::Sleep => Outcome::Resolved(Payload::new()),
        _ => Outcome::TimedOut,
    }
}
