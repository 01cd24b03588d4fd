//! What crosses from one partition to another. See [`Message`].
//!
//! A step that wants something of a promise elsewhere gets a promise of its own, of the kind [`PromiseKind::Remote`], at
//! the step's id: it stands for the other one, and is settled by the answer. Waiting, stopping to wait and ending with the
//! caller are as with any promise of a step. To everybody but its step it isn't there.
//!
//! A state that has all ids never gets here.

use super::executions::{Call, child_seed};
use super::promises::New;
use super::{Effect, Rejection, Reply, Step};
use crate::execution::Answer;
use crate::{
    Awaiter, CallOptions, Completion, Component, Config, Errand, Id, Message, NewPromise, Outcome, Owner, PARTITIONS,
    Payload, Promise, PromiseKind, Scope, State, Tags,
};

/// The partition that decides about what all partitions have: which component has a name, and configurations.
const FIRST: u8 = 0;

impl<S: State> Step<'_, S> {
    /// Whether a promise of this id belongs to another partition.
    pub(super) fn is_elsewhere(&self, id: &Id) -> bool {
        self.state.partition().is_some_and(|own| own != id.partition())
    }

    /// What is made here belongs here.
    pub(super) fn here(&self, id: &Id) -> Result<(), Rejection> {
        if self.is_elsewhere(id) { Err(Rejection::Elsewhere(id.clone())) } else { Ok(()) }
    }

    /// What all partitions have is decided by the first one.
    pub(super) fn decides(&self) -> Result<(), Rejection> {
        if self.state.partition().is_none_or(|own| own == FIRST) { Ok(()) } else { Err(Rejection::NotFirst) }
    }

    pub(super) fn post(&mut self, to: u8, message: Message) {
        self.changed = true;
        self.state.post(to, message);
        self.effects.push(Effect::Post(to));
    }

    /// All other partitions are to have what the first one has.
    fn spread(&mut self, message: impl Fn() -> Message) {
        if self.state.partition() == Some(FIRST) {
            (1..PARTITIONS as u8).for_each(|to| self.post(to, message()));
        }
    }

    pub(super) fn spread_component(&mut self, component: &Component) {
        self.spread(|| Message::Install { component: component.clone() });
    }

    pub(super) fn spread_config(&mut self, scope: &Scope, config: &Config) {
        // The host's own is given to each partition when it starts.
        if *scope != Scope::Host {
            self.spread(|| Message::Configure { scope: scope.clone(), config: config.clone() });
        }
    }

    /// A called function of another partition. `component`: what the caller runs on.
    pub(super) fn call_elsewhere(&mut self, id: &Id, step: u32, call: Call, child: Id) -> Result<(), String> {
        let Call { function, arguments, options: CallOptions { target, .. }, detached, timeout_at } = call;
        let tags = self.worker_tags(id, &child, target.as_deref())?;
        let caller = self.execution(id).map_err(|error| error.to_string())?;
        let (seed, component) = (child_seed(caller.seed, step.into()), caller.component);
        let asker = Awaiter { execution: id.clone(), step };
        let call = Message::Call {
            id: child.clone(),
            function,
            arguments: arguments.clone(),
            timeout_at,
            seed,
            component,
            caller: asker,
            detached,
            tags,
        };
        if detached {
            self.post(child.partition(), call);
            return Ok(());
        }
        caller.children += 1;
        self.ask_elsewhere(id, step, child, Errand::Call, arguments, call).map_err(|error| error.to_string())
    }

    /// A step waits for a promise of another partition.
    pub(super) fn await_elsewhere(&mut self, id: &Id, step: u32, promise: Id) -> Result<(), Rejection> {
        let awaiter = Awaiter { execution: id.clone(), step };
        let message = Message::Await { id: promise.clone(), awaiter };
        self.ask_elsewhere(id, step, promise, Errand::Await, Payload::new(), message)
    }

    /// A step settles a promise of another partition.
    pub(super) fn settle_elsewhere(
        &mut self,
        id: &Id,
        step: u32,
        promise: Id,
        outcome: Outcome,
    ) -> Result<(), Rejection> {
        let asker = Awaiter { execution: id.clone(), step };
        let message = Message::Settle { id: promise.clone(), outcome, asker };
        self.ask_elsewhere(id, step, promise, Errand::Settle, Payload::new(), message)
    }

    /// A step waits for the answer to a message about a promise elsewhere, which is sent if there is such a step.
    fn ask_elsewhere(
        &mut self,
        id: &Id,
        step: u32,
        of: Id,
        errand: Errand,
        param: Payload,
        message: Message,
    ) -> Result<(), Rejection> {
        // Whatever the deadline of the other one is, this one ends with its owner.
        let deadline = self.state.promise(id).map_or(self.now, |promise| promise.timeout_at);
        let to = of.partition();
        self.step_with(id, step, PromiseKind::Remote { id: of, errand }, param, deadline, true)?;
        if !self.has_ended(id) {
            self.post(to, message);
        }
        Ok(())
    }

    /// What stands for a promise elsewhere has ended without an answer.
    pub(super) fn let_go_elsewhere(&mut self, kind: &PromiseKind, owner: Option<&Owner>) {
        let (PromiseKind::Remote { id, errand: Errand::Call | Errand::Await }, Some(owner)) = (kind, owner) else {
            return;
        };
        let awaiter = Awaiter { execution: owner.execution.clone(), step: owner.step };
        self.post(id.partition(), Message::LetGo { id: id.clone(), awaiter });
    }

    /// A step elsewhere has its answer.
    pub(super) fn answer_elsewhere(&mut self, awaiter: Awaiter, id: Id, completion: Completion) {
        self.post(awaiter.execution.partition(), Message::Answer { awaiter, id, completion });
    }

    pub(super) fn delivered(&mut self, to: u8, number: u64) -> Result<Reply, Rejection> {
        self.changed |= self.state.delivered(to, number);
        Ok(Reply::Done)
    }

    /// One that came before is passed over, and one that comes too early is rejected: those between are on their way.
    pub(super) fn receive(&mut self, from: u8, number: u64, message: Message) -> Result<Reply, Rejection> {
        let last = self.state.received(from);
        if number <= last {
            return Ok(Reply::Done);
        }
        if number > last + 1 {
            return Err(Rejection::Early { from, number, last });
        }
        // The caller has its component from the first partition, which has told this one as well.
        if let Message::Call { component, tags: None, .. } = &message
            && self.state.component(component).is_none()
        {
            return Err(Rejection::NoComponent(*component));
        }
        self.changed = true;
        self.state.receive(from, number);
        self.take_in(message);
        Ok(Reply::Done)
    }

    fn take_in(&mut self, message: Message) {
        match message {
            Message::Call { id, function, arguments, timeout_at, seed, component, caller, detached, tags } => {
                let owner = Some(Owner { execution: caller.execution.clone(), step: caller.step, detached });
                let kind = PromiseKind::Call { function };
                let new = New { id: id.clone(), kind, owner, param: arguments, timeout_at, foreign: None };
                match self.called(new, &component, seed, tags) {
                    // What became of it is found at its id.
                    _ if detached => {}
                    Ok(()) => self.await_here(&id, caller),
                    Err(rejection) => self.answer_elsewhere(caller, id, Completion::Refused(rejection.to_string())),
                }
            }
            Message::Await { id, awaiter } => match self.named(&id) {
                Ok(()) => self.await_here(&id, awaiter),
                Err(reason) => self.answer_elsewhere(awaiter, id, Completion::Refused(reason)),
            },
            Message::Settle { id, outcome, asker } => {
                let settled = self.named(&id).and_then(|()| {
                    self.settle_from_outside(id.clone(), outcome).map_err(|rejection| rejection.to_string())
                });
                let completion = settled.map_or_else(Completion::Refused, |_| Completion::Done);
                self.answer_elsewhere(asker, id, completion);
            }
            Message::LetGo { id, awaiter } => self.let_go_here(&id, &awaiter),
            Message::Answer { awaiter, id, completion } => self.answered(&awaiter, &id, completion),
            Message::Install { component } => self.put_component(component),
            Message::Configure { scope, config } => self.put_config(scope, config),
            Message::Register { awaited, awaiter } => match self.look(&awaited) {
                Some(promise) if promise.outcome.is_none() && promise.is_external() => {
                    self.add_callback(&awaited, awaiter);
                }
                _ => self.resume_elsewhere(awaiter, awaited),
            },
            Message::Resume { awaiter, awaited } => {
                let ended = self.resume([awaiter].into(), &awaited);
                self.end(ended);
            }
            Message::Occur { promise, at } => self.occur(promise, at),
        }
    }

    /// A call from elsewhere: it is there, or is made.
    fn called(&mut self, new: New, caller: &crate::Digest, seed: u64, tags: Option<Tags>) -> Result<(), Rejection> {
        let PromiseKind::Call { function } = &new.kind else { return Ok(()) };
        let (id, function) = (new.id.clone(), function.clone());
        if self.attach(&id, &function, &new.param)? {
            return Ok(());
        }
        match tags {
            Some(tags) => self.start_elsewhere(new, tags),
            None => {
                let component = self.component_for(&function, Some(caller));
                let component = component.ok_or(Rejection::NoFunction(function))?;
                self.start(new, component, seed);
            }
        }
        Ok(())
    }

    /// A step elsewhere waits for a promise that is here.
    fn await_here(&mut self, id: &Id, awaiter: Awaiter) {
        let Some(promise) = self.state.promise_mut(id) else { return };
        match promise.outcome.clone() {
            Some(outcome) => self.answer_elsewhere(awaiter, id.clone(), Completion::Settled(outcome)),
            None => drop(promise.awaiters.insert(awaiter)),
        }
    }

    /// A step elsewhere has ended: what it called, not detached, ends with it.
    fn let_go_here(&mut self, id: &Id, awaiter: &Awaiter) {
        self.expire(id);
        let Some(promise) = self.state.promise_mut(id).filter(|promise| promise.outcome.is_none()) else { return };
        promise.awaiters.remove(awaiter);
        let owner = promise.owner.as_ref();
        if owner.is_some_and(|o| o.execution == awaiter.execution && o.step == awaiter.step && !o.detached) {
            self.end(vec![id.clone()]);
        }
    }

    /// A step has its answer from elsewhere. If what stands for the other promise has ended, nobody waits any more.
    fn answered(&mut self, awaiter: &Awaiter, of: &Id, completion: Completion) {
        let Ok(id) = awaiter.execution.child(awaiter.step) else { return };
        self.expire(&id);
        let Some(promise) = self.state.promise_mut(&id).filter(|promise| promise.outcome.is_none()) else { return };
        if !matches!(&promise.kind, PromiseKind::Remote { id, .. } if id == of) {
            return;
        }
        let outcome = match completion {
            Completion::Settled(outcome) => outcome,
            told => {
                let outcome = match &told {
                    Completion::Refused(reason) => Outcome::Crashed(reason.clone()),
                    _ => Outcome::Resolved(Payload::from_static(b"null")),
                };
                // The guest is told just this, and not that something was settled.
                if promise.awaiters.remove(awaiter) {
                    self.answer(&awaiter.execution, awaiter.step, Answer::Here(told));
                }
                outcome
            }
        };
        self.finish(&id, outcome);
    }

    /// A task elsewhere goes on.
    pub(super) fn resume_elsewhere(&mut self, awaiter: Id, awaited: Id) {
        self.post(awaiter.partition(), Message::Resume { awaiter, awaited });
    }

    /// What a schedule makes, wherever that is.
    pub(super) fn occur_somewhere(&mut self, promise: NewPromise, at: u64) {
        match self.is_elsewhere(&promise.id) {
            true => self.post(promise.id.partition(), Message::Occur { promise, at }),
            false => self.occur(promise, at),
        }
    }
}

impl Promise {
    /// Whether it stands for a promise in another partition: nobody but its step knows of it.
    pub(super) fn stands_for_another(&self) -> bool {
        matches!(self.kind, PromiseKind::Remote { .. })
    }
}
