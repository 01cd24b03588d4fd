//! Starting executions, and recording what their sessions do.

use std::collections::BTreeSet;

use super::promises::{New, answer_for};
use super::requests::is_at_or_below;
use super::{Effect, Granted, Rejection, Reply, Step, malformed, root_only};
use crate::execution::Answer;
use crate::foreign::{self, BRANCH, ORIGIN, PARENT, SCOPE, TARGET, Tags};
use crate::{
    Ask, Awaiter, CallOptions, Claim, Completion, Digest, Entry, Event, Execution, Foreign, Id, IdError, MAX_ID_BYTES,
    Outcome, Owner, Payload, Progress, PromiseKind, Refusal, Rest, State, TaskState,
};

/// The longest id of an execution: its steps' ids are longer by a separator and ten digits, and must be ids as well.
pub(super) const MAX_EXECUTION_ID_BYTES: usize = MAX_ID_BYTES - 11;
/// The deadline of a detached call that has none of its own: a year.
const DETACHED_TIMEOUT_MS: u64 = 365 * 24 * 60 * 60 * 1000;

impl<S: State> Step<'_, S> {
    pub(super) fn invoke(
        &mut self,
        id: Id,
        function: String,
        arguments: Payload,
        timeout_at: u64,
        seed: u64,
    ) -> Result<Reply, Rejection> {
        root_only(&id)?;
        self.here(&id)?;
        if self.attach(&id, &function, &arguments)? {
            return Ok(Reply::Promise { created: false });
        }
        let component = self.component_for(&function, None).ok_or(Rejection::NoFunction(function.clone()))?;
        let kind = PromiseKind::Call { function };
        let new = New { id, kind, owner: None, param: arguments, timeout_at, foreign: None };
        self.start(new, component, seed);
        Ok(Reply::Promise { created: true })
    }

    /// Whether the call is there already. One id stands for one call: the same function with the same arguments.
    pub(super) fn attach(&mut self, id: &Id, function: &str, arguments: &Payload) -> Result<bool, Rejection> {
        self.expire(id);
        let Some(promise) = self.state.promise(id) else { return Ok(false) };
        let taken = |what| Err(Rejection::Taken { id: id.clone(), what });
        match promise.function() {
            None => taken("it is a promise, not an execution"),
            Some(name) if name != function => taken("it is of another function"),
            Some(_) if promise.param != *arguments => taken("it has other arguments"),
            Some(_) => Ok(true),
        }
    }

    /// A new promise, and the execution that settles it.
    pub(super) fn start(&mut self, new: New, component: Digest, seed: u64) {
        let id = new.id.clone();
        let function = match &new.kind {
            PromiseKind::Call { function } => function.clone(),
            _ => String::new(),
        };
        self.create(new);
        let mut execution = Execution::new(component, seed, self.configuration(&component, &function));
        let promise = self.state.promise_mut(&id).expect("it was created above");
        let (now, outcome) = (promise.created_at, promise.outcome.as_ref().map(|outcome| outcome.state()));
        execution.entries = 1;
        if outcome.is_some() {
            execution.task.state = TaskState::Fulfilled;
        }
        promise.execution = Some(Box::new(execution));
        self.pin(&component);
        self.state.append(&id, &Entry::Started { component, seed, now });
        match outcome {
            None => self.effects.push(Effect::Runnable(id)),
            // Its deadline had passed before it was called: it ends where it began.
            Some(state) => {
                if let Ok(execution) = self.execution(&id) {
                    execution.entries += 1;
                }
                self.state.append(&id, &Entry::Finished { state, now });
            }
        }
    }

    pub(super) fn acquire(&mut self, id: Id) -> Result<Reply, Rejection> {
        self.expire(&id);
        let execution = self.execution(&id)?;
        if execution.task.state != TaskState::Runnable {
            return Err(Rejection::Stale(id));
        }
        let version = execution.task.version.checked_add(1).ok_or_else(|| Rejection::Stale(id.clone()))?;
        execution.task.version = version;
        self.changed = true;
        Ok(Reply::Acquired { version })
    }

    pub(super) fn progress(&mut self, progress: Progress) -> Result<Reply, Rejection> {
        self.claimed(&progress.id, progress.version)?;
        self.check(&progress)?;
        let Progress { id, version: _, told, events, output, rest } = progress;
        self.changed |= told.is_some() || !events.is_empty() || !output.is_empty();
        if let Some((step, now)) = told {
            self.tell(&id, step, now)?;
        }
        let dropped = |event: &Event| matches!(event, Event::Dropped { .. }).then_some(event.step());
        let dropped: BTreeSet<u32> = events.iter().filter_map(dropped).collect();
        for event in events {
            self.event(&id, event)?;
        }
        for piece in output {
            self.execution(&id)?.outputs += 1;
            self.state.write(&id, piece);
        }
        let passed = self.passed_limit(&id);
        let execution = self.execution(&id)?;
        if !dropped.is_empty() {
            // At once for all: a guest can drop thousands of steps that have their answers.
            execution.ready.retain(|ready| !dropped.contains(&ready.step));
        }
        let before = execution.task.state;
        execution.task.state = match rest {
            // It ended in the middle of the turn: see `event`.
            _ if before == TaskState::Fulfilled => TaskState::Fulfilled,
            Rest::Waiting if execution.ready.is_empty() => TaskState::Suspended,
            Rest::Waiting | Rest::Running => TaskState::Runnable,
            Rest::Finished(outcome) => {
                self.finish(&id, passed.map_or(outcome, Outcome::Crashed));
                return Ok(Reply::Progressed);
            }
        };
        let changed = execution.task.state != before;
        self.changed |= changed;
        if let Some(what) = passed {
            self.settle(&id, Outcome::Crashed(what), self.now);
        }
        Ok(Reply::Progressed)
    }

    fn tell(&mut self, id: &Id, step: u32, now: u64) -> Result<(), Rejection> {
        let ready = &mut self.execution(id)?.ready;
        let index = ready.iter().position(|ready| ready.step == step);
        let completion = match index.and_then(|index| ready.remove(index)).map(|ready| ready.answer) {
            Some(Answer::Here(completion)) => Some(completion),
            Some(Answer::Promise(promise)) => {
                self.state.promise(&promise).and_then(|p| p.outcome.clone()).map(Completion::Settled)
            }
            None => None,
        };
        let completion =
            completion.ok_or_else(|| malformed(id, format!("told of step {step}, which has no answer")))?;
        self.append(id, &Entry::Told { step, completion, now })?;
        Ok(())
    }

    fn event(&mut self, id: &Id, event: Event) -> Result<(), Rejection> {
        let execution = self.execution(id)?;
        // A guest can settle a promise further up its call tree, and be cancelled with all that is below it. What it
        // did after that is not part of its journal.
        if execution.task.state == TaskState::Fulfilled {
            return Ok(());
        }
        if let Event::Asked { step, .. } = event {
            execution.steps = step;
        }
        self.append(id, &Entry::of(&event))?;
        match event {
            Event::Asked { step, ask } => self.asked(id, step, ask),
            Event::Dropped { step } => self.dropped(id, step),
            Event::Recorded { step, outcome } => {
                let child = id.child(step)?;
                self.expire(&child);
                self.settle(&child, outcome, self.now);
                Ok(())
            }
        }
    }

    fn append(&mut self, id: &Id, entry: &Entry) -> Result<(), Rejection> {
        let execution = self.execution(id)?;
        execution.entries += 1;
        execution.journal_bytes = execution.journal_bytes.saturating_add(entry.size());
        self.state.append(id, entry);
        Ok(())
    }

    fn asked(&mut self, id: &Id, step: u32, ask: Ask) -> Result<(), Rejection> {
        let deadline = self.state.promise(id).map_or(self.now, |p| p.timeout_at);
        let within = |timeout_ms: Option<u64>, now: u64| timeout_ms.map_or(u64::MAX, |ms| now.saturating_add(ms));
        match ask {
            Ask::Call { function, arguments, options, detached } => {
                let own = within(options.timeout_ms, self.now);
                let timeout_at = match detached {
                    true if options.timeout_ms.is_none() => self.now.saturating_add(DETACHED_TIMEOUT_MS),
                    true => own,
                    false => own.min(deadline),
                };
                let call = Call { function, arguments, options, detached, timeout_at };
                if let Err(reason) = self.call(id, step, call) {
                    // Nobody waits for the answer of a detached call: what became of it is found at its id.
                    if !detached {
                        self.answer(id, step, Answer::Here(Completion::Refused(reason)));
                    }
                }
            }
            Ask::Sleep { until_ms } => self.own_step(id, step, PromiseKind::Sleep, until_ms, true)?,
            Ask::CreatePromise { timeout_ms } => {
                let timeout_at = within(timeout_ms, self.now).min(deadline);
                self.own_step(id, step, PromiseKind::External, timeout_at, false)?;
            }
            Ask::Step { name } => self.own_step(id, step, PromiseKind::Step { name }, deadline, false)?,
            Ask::Http { head, body } => match self.reach(id, &head.url) {
                Ok(reach) => self.send_request(id, step, PromiseKind::Http { head, reach }, body, deadline)?,
                Err(reason) => self.answer(id, step, Answer::Here(Completion::Refused(reason))),
            },
            Ask::AwaitPromise { id: promise } => self.await_promise(id, step, &promise)?,
            Ask::SettlePromise { id: promise, outcome } => match self.awaited(id, &promise) {
                Ok(promise) => self.settle_promise(id, step, promise, outcome)?,
                Err(reason) => self.answer(id, step, Answer::Here(Completion::Refused(reason))),
            },
        }
        Ok(())
    }

    /// A step waits for a promise, wherever that is.
    pub(super) fn await_promise(&mut self, id: &Id, step: u32, promise: &str) -> Result<(), Rejection> {
        match self.awaited(id, promise) {
            Ok(promise) if self.is_elsewhere(&promise) => self.await_elsewhere(id, step, promise)?,
            Ok(promise) => self.wait_for(id, step, promise),
            Err(reason) => self.answer(id, step, Answer::Here(Completion::Refused(reason))),
        }
        Ok(())
    }

    /// A step settles a promise, wherever that is.
    pub(super) fn settle_promise(
        &mut self,
        id: &Id,
        step: u32,
        promise: Id,
        outcome: Outcome,
    ) -> Result<(), Rejection> {
        if self.is_elsewhere(&promise) {
            return self.settle_elsewhere(id, step, promise, outcome);
        }
        let refused = |rejection: Rejection| Completion::Refused(rejection.to_string());
        let completion = self.settle_from_outside(promise, outcome).map_or_else(refused, |_| Completion::Done);
        self.answer(id, step, Answer::Here(completion));
        Ok(())
    }

    pub(super) fn call(&mut self, id: &Id, step: u32, call: Call) -> Result<(), String> {
        let child = call.options.id_for(id, step).map_err(|error| error.to_string())?;
        if child.as_str().len() > MAX_EXECUTION_ID_BYTES {
            return Err(IdError::TooDeep.to_string());
        }
        if self.is_elsewhere(&child) {
            return self.call_elsewhere(id, step, call, child);
        }
        if !self.attach(&child, &call.function, &call.arguments).map_err(|error| error.to_string())? {
            let tags = self.worker_tags(id, &child, call.options.target.as_deref())?;
            let new = New {
                id: child.clone(),
                kind: PromiseKind::Call { function: call.function },
                owner: Some(Owner { execution: id.clone(), step, detached: call.detached }),
                param: call.arguments,
                timeout_at: call.timeout_at,
                foreign: None,
            };
            match tags {
                Some(tags) => self.start_elsewhere(new, tags),
                None => self.start_here(id, step, new)?,
            }
            let is_pending = self.state.promise(&child).is_some_and(|promise| promise.outcome.is_none());
            if is_pending && !call.detached {
                self.execution(id).map_err(|error| error.to_string())?.children += 1;
            }
        }
        if !call.detached {
            if child == *id {
                return Err("an execution can't wait for itself".into());
            }
            self.wait_for(id, step, child);
        }
        Ok(())
    }

    /// A called function of this host.
    fn start_here(&mut self, caller: &Id, step: u32, new: New) -> Result<(), String> {
        let caller = self.execution(caller).map_err(|error| error.to_string())?;
        let (seed, own_component) = (child_seed(caller.seed, step.into()), caller.component);
        let PromiseKind::Call { function } = &new.kind else { return Ok(()) };
        let component = self.component_for(function, Some(&own_component));
        let component = component.ok_or_else(|| Rejection::NoFunction(function.clone()).to_string())?;
        self.start(new, component, seed);
        Ok(())
    }

    /// The tags of a call, if a worker elsewhere is to answer it.
    pub(super) fn worker_tags(
        &mut self,
        caller: &Id,
        child: &Id,
        target: Option<&str>,
    ) -> Result<Option<Tags>, String> {
        let Some(target) = target.filter(|target| !self.state.settings().is_own(target)) else { return Ok(None) };
        if !foreign::is_address(target) {
            let own = self.state.settings().address();
            return Err(format!(
                "{target:?} is no address: those of workers are written poll://any@GROUP or https://…, and this host's \
                 own functions are at {own}"
            ));
        }
        // A call with an id of its own is the root of a tree of its own.
        let (origin, parent) = match is_at_or_below(child.as_str(), caller.as_str()) {
            true => {
                let given = self.state.promise(caller).and_then(|p| p.given_tags()).and_then(|tags| tags.get(ORIGIN));
                (given.map_or(caller.origin(), String::as_str).to_owned(), caller.to_string())
            }
            false => (child.origin().to_owned(), child.to_string()),
        };
        Ok(Some(Tags::from([
            (SCOPE.into(), "global".into()),
            (TARGET.into(), target.into()),
            (ORIGIN.into(), origin),
            (BRANCH.into(), child.to_string()),
            (PARENT.into(), parent),
        ])))
    }

    /// A called function of a worker elsewhere.
    pub(super) fn start_elsewhere(&mut self, mut new: New, tags: Tags) {
        let id = new.id.clone();
        let claim = if new.timeout_at > self.now { Claim::offered_at(self.now) } else { Claim::over() };
        new.foreign = Some(Box::new(Foreign { tags: Some(tags), claim: Some(claim), ..Foreign::default() }));
        self.create(new);
        self.offer(&id);
    }

    /// A step whose promise only this execution has made.
    pub(super) fn own_step(
        &mut self,
        id: &Id,
        step: u32,
        kind: PromiseKind,
        at: u64,
        waits: bool,
    ) -> Result<(), Rejection> {
        self.step_with(id, step, kind, Payload::new(), at, waits)
    }

    /// The same, with a parameter.
    pub(super) fn step_with(
        &mut self,
        id: &Id,
        step: u32,
        kind: PromiseKind,
        param: Payload,
        at: u64,
        waits: bool,
    ) -> Result<(), Rejection> {
        let owner = Some(Owner { execution: id.clone(), step, detached: false });
        let child = id.child(step)?;
        if self.is_taken(id, step, &child) {
            return Ok(());
        }
        self.create(New { id: child.clone(), kind, owner, param, timeout_at: at, foreign: None });
        if waits {
            self.wait_for(id, step, child);
        } else if at > self.now {
            self.execution(id)?.open.insert(step, None);
        }
        Ok(())
    }

    /// Whether somebody made a promise before with the id of a step that is about to be made. The execution can't go on
    /// then, and has crashed.
    fn is_taken(&mut self, id: &Id, step: u32, child: &Id) -> bool {
        let is_taken = self.state.promise(child).is_some();
        if is_taken {
            let why = format!("the id of its step {step}, {child:?}, is taken by a promise that somebody made before");
            self.settle(id, Outcome::Crashed(why), self.now);
        }
        is_taken
    }

    /// Whether it has ended, whatever else was about to happen to it.
    pub(super) fn has_ended(&mut self, id: &Id) -> bool {
        self.state.promise(id).is_none_or(|promise| promise.outcome.is_some())
    }

    /// A step that is a request.
    pub(super) fn send_request(
        &mut self,
        id: &Id,
        step: u32,
        kind: PromiseKind,
        body: Payload,
        timeout_at: u64,
    ) -> Result<(), Rejection> {
        self.step_with(id, step, kind, body, timeout_at, true)?;
        if !self.has_ended(id) {
            self.effects.push(Effect::Send(id.child(step)?));
        }
        Ok(())
    }

    /// The promise that a guest names, if it may wait for it or settle it.
    pub(super) fn awaited(&mut self, id: &Id, promise: &str) -> Result<Id, String> {
        let promise = Id::parse(promise).map_err(|error| error.to_string())?;
        if promise == *id {
            return Err("an execution can't wait for its own promise, or settle it".into());
        }
        // Of one elsewhere that is found out there.
        if !self.is_elsewhere(&promise) {
            self.named(&promise)?;
        }
        Ok(promise)
    }

    /// Whether guests may wait for a promise here, or settle it.
    pub(super) fn named(&mut self, promise: &Id) -> Result<(), String> {
        self.expire(promise);
        match self.state.promise(promise).filter(|found| !found.stands_for_another()) {
            None => Err(Rejection::NoPromise(promise.clone()).to_string()),
            // Nothing would ever happen to it by itself, so it could keep the guest waiting past its deadline.
            Some(found) if found.given_tags().is_some() && !found.is_external() => {
                Err(format!("the promise {promise:?} is internal: its creator didn't tag it resonate:external=true"))
            }
            Some(_) => Ok(()),
        }
    }

    /// The step completes when the promise is settled: now, if it is.
    pub(super) fn wait_for(&mut self, id: &Id, step: u32, promise: Id) {
        let awaited = self.state.promise_mut(&promise).expect("the caller has made or found it");
        if let Some(outcome) = &awaited.outcome {
            let answer = answer_for(id, &promise, outcome);
            return self.answer(id, step, answer);
        }
        awaited.awaiters.insert(Awaiter { execution: id.clone(), step });
        let other = (id.child(step).as_ref() != Ok(&promise)).then_some(promise);
        if let Ok(execution) = self.execution(id) {
            execution.open.insert(step, other);
        }
    }

    /// The guest no longer waits. A called function runs on; what nobody else waits for, as a sleep or a request, is over.
    fn dropped(&mut self, id: &Id, step: u32) -> Result<(), Rejection> {
        // One that has its answer is not open: see `progress`.
        let Some(other) = self.execution(id)?.open.get(&step).cloned() else { return Ok(()) };
        let awaited = match other {
            Some(other) => other,
            None => id.child(step)?,
        };
        let Some(promise) = self.state.promise_mut(&awaited) else { return Ok(()) };
        promise.awaiters.remove(&Awaiter { execution: id.clone(), step });
        let is_own = promise.owner.as_ref().is_some_and(|o| o.execution == *id && o.step == step);
        if is_own && promise.kind.ends_unwanted() {
            self.end(vec![awaited]);
        } else if !is_own {
            self.execution(id)?.open.remove(&step);
        }
        Ok(())
    }

    /// Somebody wants an execution to stop until it is continued.
    pub(super) fn halt_execution(&mut self, id: &Id) -> Result<Granted, Refusal> {
        let execution = self.execution(id).map_err(|_| Refusal::NoTask)?;
        match execution.task.state {
            TaskState::Fulfilled => return Err(Refusal::Fulfilled),
            TaskState::Held => return Ok(Granted::Done),
            _ => {}
        }
        execution.task.state = TaskState::Held;
        execution.held = Some("somebody halted it".into());
        self.changed = true;
        self.effects.push(Effect::Stop(id.clone()));
        Ok(Granted::Done)
    }

    /// Let an execution go on that was halted, or held for another reason: it is replayed first.
    pub(super) fn continue_execution(&mut self, id: &Id) -> Result<Granted, Refusal> {
        let execution = self.execution(id).map_err(|_| Refusal::NoTask)?;
        if execution.task.state != TaskState::Held {
            return Err(Refusal::NotHalted);
        }
        execution.task.state = TaskState::Runnable;
        execution.held = None;
        self.changed = true;
        self.effects.push(Effect::Runnable(id.clone()));
        Ok(Granted::Done)
    }

    pub(super) fn execution(&mut self, id: &Id) -> Result<&mut Execution, Rejection> {
        let promise = self.state.promise_mut(id).ok_or_else(|| Rejection::NoPromise(id.clone()))?;
        promise.execution.as_deref_mut().ok_or_else(|| Rejection::NoExecution(id.clone()))
    }

    /// The execution, if a session with this version may record its progress.
    pub(super) fn claimed(&mut self, id: &Id, version: u32) -> Result<&mut Execution, Rejection> {
        self.expire(id);
        let execution = self.execution(id)?;
        match execution.task.state {
            // Version 0 is that of an execution that no session has acquired.
            TaskState::Runnable | TaskState::Suspended if version > 0 && execution.task.version == version => {
                Ok(execution)
            }
            _ => Err(Rejection::Stale(id.clone())),
        }
    }
}

/// A call, as a guest asked for it.
pub(super) struct Call {
    pub(super) function: String,
    pub(super) arguments: Payload,
    pub(super) options: CallOptions,
    pub(super) detached: bool,
    pub(super) timeout_at: u64,
}

/// The seed of a child, so that no two executions of a tree draw the same numbers (the finaliser of SplitMix64).
pub(super) fn child_seed(seed: u64, step: u64) -> u64 {
    let mut z = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
