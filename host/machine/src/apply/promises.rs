//! Creating, settling and expiring promises.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Effect, Rejection, Reply, Step, is_given, malformed, root_only};
use crate::execution::Answer;
use crate::{
    Awaiter, Completion, Entry, Foreign, Id, Outcome, Owner, Payload, Promise, PromiseKind, Ready, State, TaskState,
};

/// What a new promise is made of.
pub(super) struct New {
    pub(super) id: Id,
    pub(super) kind: PromiseKind,
    pub(super) owner: Option<Owner>,
    pub(super) param: Payload,
    pub(super) timeout_at: u64,
    pub(super) foreign: Option<Box<Foreign>>,
}

impl<S: State> Step<'_, S> {
    pub(super) fn create_promise(&mut self, id: Id, param: Payload, timeout_at: u64) -> Result<Reply, Rejection> {
        root_only(&id)?;
        self.here(&id)?;
        self.expire(&id);
        if let Some(promise) = self.state.promise(&id) {
            return match promise.kind {
                PromiseKind::External => Ok(Reply::Promise { created: false }),
                _ => Err(Rejection::Taken { id, what: "it is not a promise of its own, but a step or an execution" }),
            };
        }
        self.create(New { id, kind: PromiseKind::External, owner: None, param, timeout_at, foreign: None });
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
            awaiters: BTreeSet::new(),
            execution: None,
            foreign: new.foreign,
        };
        let (owner, is_below) = (promise.owner.as_ref().map(|o| o.execution.clone()), promise.parent().is_some());
        self.state.insert(promise);
        if let Some(execution) = owner.and_then(|id| self.state.promise_mut(&id)?.execution.as_mut()) {
            execution.below += u32::from(is_below);
            execution.unsettled += u32::from(!expired);
        }
    }

    pub(super) fn settle_from_outside(&mut self, id: Id, outcome: Outcome) -> Result<Reply, Rejection> {
        if !is_given(&outcome) {
            return Err(malformed(&id, format!("nobody settles a promise as {}", outcome.state().as_str())));
        }
        self.expire(&id);
        let promise = self.state.promise(&id).filter(|promise| !promise.stands_for_another());
        let promise = promise.ok_or_else(|| Rejection::NoPromise(id.clone()))?;
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
        if self.is_due(id) {
            self.end(vec![id.clone()]);
        }
    }

    pub(super) fn is_due(&mut self, id: &Id) -> bool {
        self.state.promise(id).is_some_and(|p| p.outcome.is_none() && p.timeout_at <= self.now)
    }

    /// Settle a pending promise and all that ends with it. An execution that is settled here was ended from outside.
    pub(super) fn settle(&mut self, id: &Id, outcome: Outcome, at: u64) {
        let ending = self.settle_one(id, outcome, at, false);
        self.end(ending);
    }

    /// The function of an execution has returned. The functions that it called run on; what only it could end, ends. Or
    /// what a promise stands for was settled.
    pub(super) fn finish(&mut self, id: &Id, outcome: Outcome) {
        let ending = self.settle_one(id, outcome, self.now, true);
        self.end(ending);
    }

    /// Cancel promises and all that ends with them. Those whose deadline has passed had ended by that already.
    ///
    /// One after the other, not each within the one before: executions that wait for each other can be a chain of any
    /// length.
    pub(super) fn end(&mut self, ids: Vec<Id>) {
        let mut ending = VecDeque::from(ids);
        while let Some(id) = ending.pop_front() {
            let Some(promise) = self.state.promise(&id).filter(|p| p.outcome.is_none()) else { continue };
            let (outcome, at) = match promise.timeout_at <= self.now {
                true => (expiry(&promise.kind), promise.timeout_at),
                false => (Outcome::Canceled, self.now),
            };
            ending.extend(self.settle_one(&id, outcome, at, false));
        }
    }

    /// Settle one promise, if it is pending, and say what ends with it. `returned`: its function gave the outcome, or the
    /// promise elsewhere for which it stands.
    fn settle_one(&mut self, id: &Id, outcome: Outcome, at: u64, returned: bool) -> Vec<Id> {
        let Some(promise) = self.state.promise_mut(id).filter(|p| p.outcome.is_none()) else { return Vec::new() };
        self.changed = true;
        let state = outcome.state();
        let watched = promise.due_at();
        promise.outcome = Some(outcome.clone());
        promise.settled_at = Some(at);
        let awaiters = std::mem::take(&mut promise.awaiters);
        let owner = promise.owner.clone();
        let stood_for = (!returned && promise.stands_for_another()).then(|| promise.kind.clone());
        let is_foreign = promise.foreign.is_some();
        let mut callbacks = BTreeSet::new();
        if let Some(foreign) = promise.foreign.as_mut() {
            callbacks = std::mem::take(&mut foreign.callbacks);
            if let Some(claim) = foreign.claim.as_mut() {
                claim.put(TaskState::Fulfilled);
                claim.resumes.clear();
            }
        }
        let is_child = promise.kind.is_called() && owner.as_ref().is_some_and(|o| !o.detached);
        let open = promise.execution.as_mut().map(|execution| {
            execution.task.state = TaskState::Fulfilled;
            execution.entries += 1;
            execution.held = None;
            execution.ready.clear();
            execution.children = 0;
            std::mem::take(&mut execution.open)
        });
        let mut watched_now = None;
        if is_foreign {
            self.tell_listeners(id);
            watched_now = self.state.promise(id).and_then(Promise::due_at);
        }
        self.watch(id, watched, watched_now);
        if let Some(kind) = stood_for {
            self.let_go_elsewhere(&kind, owner.as_ref());
        }
        let mut ending = Vec::new();
        if let Some(open) = open {
            self.state.append(id, &Entry::Finished { state, now: at });
            if !returned {
                self.effects.push(Effect::Stop(id.clone()));
            }
            ending = self.let_go(id, open, returned);
        }
        for awaiter in awaiters {
            // One whose own deadline has passed is not woken: it ends.
            if self.is_elsewhere(&awaiter.execution) {
                self.answer_elsewhere(awaiter, id.clone(), Completion::Settled(outcome.clone()));
            } else if self.is_due(&awaiter.execution) {
                ending.push(awaiter.execution);
            } else {
                let answer = answer_for(&awaiter.execution, id, &outcome);
                self.answer(&awaiter.execution, awaiter.step, answer);
            }
        }
        ending.extend(self.resume(callbacks, id));
        if let Some(owner) = owner {
            self.close(&owner.execution, owner.step, is_child);
        }
        self.over(id);
        self.effects.push(Effect::Settled(id.clone()));
        ending
    }

    /// The time at which something happens to a promise by itself was `before`, and is `after` now.
    pub(super) fn watch(&mut self, id: &Id, before: Option<u64>, after: Option<u64>) {
        if before == after {
            return;
        }
        if let Some(at) = before {
            self.state.disarm(at, id);
        }
        if let Some(at) = after {
            self.state.arm(at, id);
        }
    }

    /// An execution that has ended waits for nothing. Says which promises end with it: those that it made itself, not
    /// detached; if it has returned, only those that nobody else would ever settle.
    fn let_go(&mut self, id: &Id, open: BTreeMap<u32, Option<Id>>, returned: bool) -> Vec<Id> {
        let mut ending = Vec::new();
        for (step, other) in open {
            let Some(awaited) = other.or_else(|| id.child(step).ok()) else { continue };
            let awaiter = Awaiter { execution: id.clone(), step };
            let Some(promise) = self.state.promise(&awaited) else { continue };
            let is_awaiter = promise.awaiters.contains(&awaiter);
            let is_own = promise.owner.as_ref().is_some_and(|o| o.execution == *id && o.step == step && !o.detached);
            let is_work = matches!(promise.kind, PromiseKind::Step { .. });
            let ends = !returned || is_work || promise.kind.ends_unwanted();
            if is_awaiter && let Some(promise) = self.state.promise_mut(&awaited) {
                promise.awaiters.remove(&awaiter);
            }
            if is_own && ends {
                ending.push(awaited);
            }
        }
        ending
    }

    /// The promise of an execution's step is settled: `is_child` if it was that of a call.
    fn close(&mut self, id: &Id, step: u32, is_child: bool) {
        let Some(owner) = self.state.promise(id).filter(|p| p.outcome.is_none()) else { return };
        if (is_child || owner.execution.as_ref().is_some_and(|e| e.open.contains_key(&step)))
            && let Some(execution) = self.state.promise_mut(id).and_then(|p| p.execution.as_mut())
        {
            execution.children = execution.children.saturating_sub(u32::from(is_child));
            execution.open.remove(&step);
        }
    }

    /// If a promise and all that came of it is settled, its owner has one less that isn't; and so on upwards.
    fn over(&mut self, id: &Id) {
        let mut id = id.clone();
        while let Some(promise) = self.state.promise(&id).filter(|promise| promise.is_over())
            && let Some(owner) = promise.owner.as_ref().map(|owner| owner.execution.clone())
            && let Some(execution) = self.state.promise_mut(&owner).and_then(|p| p.execution.as_mut())
        {
            execution.unsettled = execution.unsettled.saturating_sub(1);
            id = owner;
        }
    }

    /// A step has its answer. An execution that has ended doesn't hear of it. The caller has seen that its deadline
    /// hasn't passed.
    pub(super) fn answer(&mut self, id: &Id, step: u32, answer: Answer) {
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

/// The answer to a step that waits for this promise. An execution of another tree gets its own copy of the outcome, so
/// that no tree needs a promise of another once that is settled.
pub(super) fn answer_for(waiting: &Id, promise: &Id, outcome: &Outcome) -> Answer {
    match waiting.origin() == promise.origin() {
        true => Answer::Promise(promise.clone()),
        false => Answer::Here(Completion::Settled(outcome.clone())),
    }
}

/// How a promise is settled by its deadline.
fn expiry(kind: &PromiseKind) -> Outcome {
    match kind {
        PromiseKind::Sleep => Outcome::Resolved(Payload::new()),
        _ => Outcome::TimedOut,
    }
}
