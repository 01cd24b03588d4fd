//! Executions that somebody sees to: they are held, move to another component, or are forked.
//!
//! Whether a component does all that a journal has is found out by running it, which is for the driver to do. Here it
//! says that it has, and up to which entry.

use std::collections::BTreeMap;

use super::executions::Call;
use super::promises::New;
use super::{Effect, Rejection, Reply, Step, malformed, root_only};
use crate::execution::Answer;
use crate::{
    Arguments, Basis, Bounds, Brief, CallOptions, Completion, Digest, Entry, Execution, Id, Kind, Names, Outcome,
    Pinned, Promise, PromiseKind, State, TaskState,
};

/// A part of a journal, and what is known to do all of it again.
pub(super) struct History {
    pub(super) entries: Vec<Entry>,
    pub(super) component: Digest,
    pub(super) replayed: u32,
}

/// A history that is taken over, as far as it isn't over.
struct Unfinished {
    from: Id,
    names: Names,
    /// Steps that wait for an answer, or are being done.
    pending: BTreeMap<u32, Kind>,
    /// Promises that were made for others to settle.
    promises: Vec<u32>,
    steps: u32,
    /// The time that the guest saw last.
    now: u64,
}

impl<S: State> Step<'_, S> {
    pub(super) fn hold(&mut self, id: Id, version: u32, reason: String) -> Result<Reply, Rejection> {
        let execution = self.claimed(&id, version)?;
        execution.task.state = TaskState::Held;
        execution.held = Some(reason);
        self.changed = true;
        Ok(Reply::Done)
    }

    /// It goes on from its journal in a session of its own, which fences off the one that there may be.
    pub(super) fn move_to(
        &mut self,
        id: Id,
        component: Digest,
        entries: u32,
        replayed: u32,
    ) -> Result<Reply, Rejection> {
        self.expire(&id);
        let promise = self.state.promise(&id).ok_or_else(|| Rejection::NoPromise(id.clone()))?;
        let function = promise.function().ok_or_else(|| Rejection::NoExecution(id.clone()))?.to_owned();
        if let Some(outcome) = &promise.outcome {
            return Err(Rejection::Settled { state: outcome.state(), id });
        }
        let execution = promise.execution.as_ref().map(|execution| (execution.config, execution.component));
        self.runs_on(&component, &function)?;
        if let Some((config, before)) = execution {
            self.keeps_configuration(config, &before, &component, &function)?;
        }
        let now = self.now;
        let execution = self.execution(&id)?;
        let is_other = execution.component != component;
        if !is_other && execution.task.state != TaskState::Held {
            return Ok(Reply::Done);
        }
        if execution.entries != entries || execution.entries > u32::MAX - 2 {
            return Err(Rejection::GotOn(id));
        }
        execution.task.version = execution.task.version.checked_add(1).ok_or_else(|| Rejection::Stale(id.clone()))?;
        execution.task.state = TaskState::Runnable;
        execution.held = None;
        if is_other {
            let before = std::mem::replace(&mut execution.component, component);
            execution.entries += 1;
            let written = execution.outputs;
            self.state.append(&id, &Entry::Moved { component, replayed, written, now });
            self.pin(&component);
            self.unpin(&before);
        }
        self.changed = true;
        self.effects.push(Effect::Stop(id.clone()));
        self.effects.push(Effect::Runnable(id));
        Ok(Reply::Done)
    }

    /// A new execution with the history of another one up to a point. What the guest was told is told again from there.
    /// What it still waited for begins anew, as steps of the new one; nothing of the other one is touched.
    pub(super) fn fork(&mut self, id: Id, from: Id, history: History, timeout_at: u64) -> Result<Reply, Rejection> {
        root_only(&id)?;
        if self.is_elsewhere(&id) {
            return Err(Rejection::Apart { id, from });
        }
        self.expire(&id);
        if self.state.promise(&id).is_some() {
            return Err(Rejection::Taken { id, what: "a fork needs an id that nothing has" });
        }
        let original = self.state.promise(&from).ok_or_else(|| Rejection::NoPromise(from.clone()))?;
        let function = original.function().ok_or_else(|| Rejection::NoExecution(from.clone()))?.to_owned();
        let param = original.param.clone();
        let original = original.execution.as_ref().map(|e| ((e.config, e.bounds), e.component));
        self.runs_on(&history.component, &function)?;
        if let Some(((config, _), before)) = &original {
            self.keeps_configuration(*config, before, &history.component, &function)?;
        }
        let config = original.map_or_else(Default::default, |(config, _)| config);
        let Some(basis) = Basis::of(&history.entries) else {
            return Err(malformed(&id, "the history that it takes over has no beginning".into()));
        };
        let Some(unfinished) = Unfinished::of(from.clone(), basis.names, basis.now, &history.entries) else {
            return Err(malformed(&id, "the history that it takes over has an end".into()));
        };
        let kind = PromiseKind::Call { function };
        self.create(New { id: id.clone(), kind, owner: None, param, timeout_at, foreign: None });
        self.take_over(&id, &unfinished, history, (basis.component, basis.seed), config);
        if self.state.promise(&id).is_some_and(|promise| promise.outcome.is_none()) {
            self.begin_anew(&id, unfinished)?;
            self.effects.push(Effect::Runnable(id));
        }
        Ok(Reply::Promise { created: true })
    }

    /// The execution of a fork, whose promise is there.
    fn take_over(
        &mut self,
        id: &Id,
        unfinished: &Unfinished,
        history: History,
        (was_on, seed): (Digest, u64),
        config: (Pinned, Bounds),
    ) {
        let History { entries, component, replayed } = history;
        let now = self.now;
        let born = self.state.promise(id).and_then(|promise| promise.outcome.as_ref().zip(promise.settled_at));
        let finished = born.map(|(outcome, now)| Entry::Finished { state: outcome.state(), now });
        let forked = Entry::Forked { from: unfinished.from.clone(), steps: unfinished.steps, replayed, now };
        let moved = (was_on != component).then_some(Entry::Moved { component, replayed, written: 0, now });
        let mut execution = Execution::new(component, seed, config);
        execution.steps = unfinished.steps;
        execution.journal_bytes = entries.iter().map(Entry::size).sum();
        if finished.is_some() {
            execution.task.state = TaskState::Fulfilled;
        }
        self.pin(&component);
        let promise = self.state.promise_mut(id).expect("the caller has made it");
        promise.execution = Some(Box::new(execution));
        for entry in entries.into_iter().chain([forked]).chain(moved).chain(finished) {
            let promise = self.state.promise_mut(id).expect("the caller has made it");
            promise.execution.as_mut().expect("it was made above").entries += 1;
            self.state.append(id, &entry);
        }
    }

    fn begin_anew(&mut self, id: &Id, unfinished: Unfinished) -> Result<(), Rejection> {
        let deadline = self.state.promise(id).map_or(self.now, |promise| promise.timeout_at);
        for step in &unfinished.promises {
            self.copy_promise(id, &unfinished, *step, deadline)?;
        }
        for (step, kind) in &unfinished.pending {
            let step = *step;
            match kind {
                Kind::Call { .. } => {
                    if let Err(reason) = self.call_anew(id, &unfinished, step, kind, deadline) {
                        self.answer(id, step, Answer::Here(Completion::Refused(reason)));
                    }
                }
                Kind::Sleep { until_ms } => self.own_step(id, step, PromiseKind::Sleep, *until_ms, true)?,
                Kind::Step { name } => {
                    self.own_step(id, step, PromiseKind::Step { name: name.clone() }, deadline, false)?;
                }
                Kind::AwaitPromise { id: name } => {
                    let name = unfinished.own_name(id, name);
                    self.await_promise(id, step, &name)?;
                }
                Kind::SettlePromise { id: name, outcome } => {
                    let name = unfinished.own_name(id, name);
                    self.settle_anew(id, step, &name, outcome)?;
                }
                Kind::Http { .. } => self.request_anew(id, &unfinished, step, deadline)?,
                // Never among those that are pending: nobody waits for its answer.
                Kind::CreatePromise { .. } => {}
            }
        }
        Ok(())
    }

    /// A request that had no answer is sent again, with the key that it had.
    fn request_anew(&mut self, id: &Id, history: &Unfinished, step: u32, deadline: u64) -> Result<(), Rejection> {
        let original = history.from.child(step).ok().and_then(|original| self.state.promise(&original));
        let original = original.filter(|promise| matches!(promise.kind, PromiseKind::Http { .. }));
        let Some(Promise { kind, param, .. }) = original.cloned() else {
            let reason = "what was to be sent is no longer known".into();
            self.answer(id, step, Answer::Here(Completion::Refused(reason)));
            return Ok(());
        };
        self.send_request(id, step, kind, param, deadline)
    }

    /// A promise that the history had made is there again, as it was at that point: settled, or with the time left that
    /// it had.
    fn copy_promise(&mut self, id: &Id, history: &Unfinished, step: u32, deadline: u64) -> Result<(), Rejection> {
        let original = history.from.child(step).ok().and_then(|original| self.state.promise(&original)).cloned();
        let Some(Promise { outcome, settled_at, timeout_at, .. }) = original else {
            return self.own_step(id, step, PromiseKind::External, deadline, false);
        };
        let outcome = outcome.filter(|_| settled_at.is_some_and(|at| at <= history.now));
        let timeout_at = match &outcome {
            // A promise times out at its deadline and at no other time.
            Some(Outcome::TimedOut) => self.now,
            Some(_) => deadline,
            None => self.now.saturating_add(timeout_at.saturating_sub(history.now)).min(deadline),
        };
        self.own_step(id, step, PromiseKind::External, timeout_at, false)?;
        if let Some(outcome) = outcome {
            self.settle(&id.child(step)?, outcome, self.now);
        }
        Ok(())
    }

    fn call_anew(
        &mut self,
        id: &Id,
        history: &Unfinished,
        step: u32,
        kind: &Kind,
        deadline: u64,
    ) -> Result<(), String> {
        let Kind::Call { function, arguments, id: own, timeout_ms, target, detached } = kind else { return Ok(()) };
        let options = CallOptions { id: own.clone(), timeout_ms: *timeout_ms, target: target.clone() };
        let gone = || "what it was called with is no longer known".to_owned();
        let arguments = match arguments {
            Arguments::Inline(payload) => payload.clone(),
            Arguments::Digest { .. } => {
                let mut original = options.id_for(&history.from, step).map_err(|error| error.to_string())?;
                if self.is_elsewhere(&original) {
                    original = history.from.child(step).map_err(|error| error.to_string())?;
                }
                let param = self.state.promise(&original).map(|promise| promise.param.clone()).ok_or_else(gone)?;
                if Arguments::of(&param) == *arguments { Ok(param) } else { Err(gone()) }?
            }
        };
        let timeout_at = timeout_ms.map_or(u64::MAX, |ms| self.now.saturating_add(ms)).min(deadline);
        self.call(id, step, Call { function: function.clone(), arguments, options, detached: *detached, timeout_at })
    }

    /// Settle a promise as it was settled already, if it is not one of the fork's own.
    fn settle_anew(&mut self, id: &Id, step: u32, name: &str, outcome: &Brief) -> Result<(), Rejection> {
        let promise = match self.awaited(id, name) {
            Ok(promise) => promise,
            Err(reason) => {
                self.answer(id, step, Answer::Here(Completion::Refused(reason)));
                return Ok(());
            }
        };
        let known = self.state.promise(&promise).and_then(|promise| promise.outcome.clone());
        let answer = match (known, outcome.whole()) {
            (Some(known), _) if Brief::of(&known) == *outcome => Completion::Done,
            (_, Some(outcome)) => return self.settle_promise(id, step, promise, outcome),
            (_, None) => Completion::Refused("what it was settled with is no longer known".into()),
        };
        self.answer(id, step, Answer::Here(answer));
        Ok(())
    }

    /// What an execution is configured with is that of its component's name: another component's is not for it.
    fn keeps_configuration(
        &mut self,
        config: Pinned,
        before: &Digest,
        component: &Digest,
        function: &str,
    ) -> Result<(), Rejection> {
        let name = |digest| self.state.component(digest).map(|component| component.name.as_str());
        match (name(before), name(component)) {
            (Some(before), Some(component)) if !is_configured_alike(config, before, component) => {
                Err(Rejection::Config(format!(
                    "it has the configuration of the component {before:?}, which {component:?} doesn't have: upload what is to \
                     run {function:?} as {before:?}"
                )))
            }
            _ => Ok(()),
        }
    }

    fn runs_on(&mut self, component: &Digest, function: &str) -> Result<(), Rejection> {
        match self.state.component(component) {
            None => Err(Rejection::NoComponent(*component)),
            Some(known) if !known.exports(function) => {
                Err(Rejection::NotExported { component: *component, function: function.into() })
            }
            Some(_) => Ok(()),
        }
    }
}

/// Whether an execution with this configuration, of a component with one name, has the same on one with another name.
pub fn is_configured_alike(config: Pinned, before: &str, component: &str) -> bool {
    config.component == 0 || before == component
}

impl Unfinished {
    /// None: the entries have an end.
    fn of(from: Id, names: Names, started: u64, entries: &[Entry]) -> Option<Unfinished> {
        let (pending, promises) = (BTreeMap::new(), Vec::new());
        let mut history = Unfinished { from, names, pending, promises, steps: 0, now: started };
        for entry in entries {
            match entry {
                Entry::Asked { step, kind } => {
                    history.steps = *step;
                    match kind {
                        Kind::CreatePromise { .. } => history.promises.push(*step),
                        Kind::Call { detached: true, .. } => {}
                        kind => drop(history.pending.insert(*step, kind.clone())),
                    }
                }
                Entry::Told { step, now, .. } => {
                    history.pending.remove(step);
                    history.now = *now;
                }
                Entry::Dropped { step } | Entry::Recorded { step, .. } => drop(history.pending.remove(step)),
                Entry::Finished { .. } => return None,
                Entry::Started { .. } | Entry::Moved { .. } | Entry::Forked { .. } => {}
            }
        }
        Some(history)
    }

    /// What a promise is called that the history calls so: those that it made are the fork's own.
    fn own_name(&self, id: &Id, name: &str) -> String {
        let is_of_original = |step: &&u32| self.from.child(**step).is_ok_and(|original| original.as_str() == name);
        let step = self.names.inherited_step(name).or_else(|| self.promises.iter().find(is_of_original).copied());
        let step = step.filter(|step| self.promises.contains(step));
        step.and_then(|step| id.child(step).ok()).map_or_else(|| name.to_owned(), |own| own.to_string())
    }
}
