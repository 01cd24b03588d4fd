//! Tasks of workers elsewhere: offering them, taking, keeping and giving them back.
//!
//! A task is pending (offered from a time on), acquired (until its lease ends), suspended, halted or fulfilled, and only
//! the first two have a time at which something happens by itself: [`Claim::due_at`] is never set in the others.

use super::{Effect, Granted, Step};
use crate::foreign;
use crate::{Action, Claim, Holder, Id, Message, NewPromise, Promise, Refusal, Settlement, State, TaskRef, TaskState};

impl<S: State> Step<'_, S> {
    pub(super) fn create_task(&mut self, holder: Holder, new: NewPromise) -> Result<Granted, Refusal> {
        let tags = &new.template.tags;
        if foreign::is_timer(tags) && tags.contains_key(foreign::TARGET) {
            return Err(Refusal::TimerWithTarget);
        }
        if foreign::target(tags).is_none() {
            return Err(Refusal::NoTarget);
        }
        let Some(promise) = self.look(&new.id) else {
            super::requests::check_tags(&new)?;
            let claim = Claim::taken(Claim::offered_at(self.now), holder, self.now);
            self.make(new, Some(claim))?;
            return Ok(Granted::Done);
        };
        if foreign::target(&promise.tags("")).is_none() {
            return Err(Refusal::PromiseHasNoTarget);
        }
        let Some(claim) = promise.claim() else { return Err(Refusal::NotOffered) };
        match claim.task.state {
            TaskState::Fulfilled => Ok(Granted::Done),
            TaskState::Runnable => {
                let now = self.now;
                self.change_claim(&new.id, |claim| *claim = Claim::taken(claim.clone(), holder, now));
                Ok(Granted::Done)
            }
            _ => Err(Refusal::NotOffered),
        }
    }

    pub(super) fn take(&mut self, task: &TaskRef, holder: Holder) -> Result<Granted, Refusal> {
        let claim = self.task(&task.id)?.ok_or(Refusal::NotOffered)?;
        if claim.task.state != TaskState::Runnable || claim.task.version != task.version {
            return Err(Refusal::NotOffered);
        }
        let now = self.now;
        self.change_claim(&task.id, |claim| *claim = Claim::taken(claim.clone(), holder, now));
        Ok(Granted::Done)
    }

    pub(super) fn release(&mut self, task: &TaskRef) -> Result<Granted, Refusal> {
        self.held(task)?;
        self.offer_again(&task.id);
        Ok(Granted::Done)
    }

    pub(super) fn fulfill(&mut self, task: &TaskRef, settlement: Settlement) -> Result<Granted, Refusal> {
        if !super::is_given(&settlement.outcome) {
            return Err(Refusal::NotASettlement);
        }
        self.held(task)?;
        self.settle_as(&task.id, settlement.outcome, settlement.form);
        Ok(Granted::Done)
    }

    /// The task waits, unless something that it is to wait for is settled: then it is told so, and goes on.
    pub(super) fn suspend(&mut self, task: &TaskRef, awaited: Vec<Id>) -> Result<Granted, Refusal> {
        if awaited.is_empty() {
            return Err(Refusal::AwaitsNothing);
        }
        if awaited.contains(&task.id) {
            return Err(Refusal::AwaitsItself);
        }
        let mut sorted: Vec<&Id> = awaited.iter().collect();
        sorted.sort();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Refusal::AwaitsTwice);
        }
        self.held(task)?;
        let mut any_settled = false;
        for id in &awaited {
            if self.is_elsewhere(id) {
                any_settled |= self.held(task)?.resumes.contains(id);
                continue;
            }
            let promise = self.look(id).filter(|p| p.is_external()).ok_or(Refusal::AwaitedMissing)?;
            any_settled |= promise.outcome.is_some();
        }
        // What was awaited and ended just now can have let the task's own promise end.
        self.held(task)?;
        if any_settled {
            if self.state.promise(&task.id).and_then(Promise::claim).is_some_and(|claim| !claim.resumes.is_empty()) {
                self.change_claim(&task.id, |claim| claim.resumes.clear());
            }
            return Ok(Granted::GoOn);
        }
        for id in awaited {
            match self.is_elsewhere(&id) {
                true => self.post(id.partition(), Message::Register { awaited: id, awaiter: task.id.clone() }),
                false => self.add_callback(&id, task.id.clone()),
            }
        }
        self.change_claim(&task.id, |claim| {
            claim.put(TaskState::Suspended);
            claim.resumes.clear();
        });
        Ok(Granted::Done)
    }

    pub(super) fn fence(&mut self, task: &TaskRef, action: Action) -> Result<Granted, Refusal> {
        if *action.id() == task.id {
            return Err(Refusal::FencesItself);
        }
        self.held(task)?;
        if self.is_elsewhere(action.id()) {
            return Err(Refusal::Elsewhere);
        }
        let result: Result<(), Refusal> = match action {
            Action::Create(promise) => self.request_promise(promise),
            Action::Settle(settlement) => self.request_settlement(settlement),
        };
        Ok(Granted::Fenced(result))
    }

    /// Tasks that are not held any more are passed over: their holder finds out when it does something with them.
    pub(super) fn heartbeat(&mut self, pid: &str, tasks: &[TaskRef]) -> Result<Granted, Refusal> {
        for task in tasks {
            let is_holder = |claim: &Claim| claim.holder.as_ref().is_some_and(|holder| holder.pid == pid);
            if self.held(task).is_ok_and(is_holder) {
                let now = self.now;
                self.change_claim(&task.id, |claim| {
                    claim.due_at = claim.holder.as_ref().map(|holder| now.saturating_add(holder.ttl_ms));
                });
            }
        }
        Ok(Granted::Done)
    }

    pub(super) fn halt(&mut self, id: &Id) -> Result<Granted, Refusal> {
        match self.task(id)?.map(|claim| claim.task.state) {
            None => self.halt_execution(id),
            Some(TaskState::Fulfilled) => Err(Refusal::Fulfilled),
            Some(TaskState::Held) => Ok(Granted::Done),
            Some(_) => {
                self.change_claim(id, |claim| claim.put(TaskState::Held));
                Ok(Granted::Done)
            }
        }
    }

    pub(super) fn go_on(&mut self, id: &Id) -> Result<Granted, Refusal> {
        match self.task(id)?.map(|claim| claim.task.state) {
            None => self.continue_execution(id),
            Some(TaskState::Held) => {
                self.offer_again(id);
                Ok(Granted::Done)
            }
            Some(_) => Err(Refusal::NotHalted),
        }
    }

    /// The claim on a task, once the deadline of its promise has been observed. None: it is an execution of this host.
    fn task(&mut self, id: &Id) -> Result<Option<&Claim>, Refusal> {
        let promise = self.look(id).filter(|promise| promise.has_task()).ok_or(Refusal::NoTask)?;
        Ok(promise.claim())
    }

    /// The claim on a task that is held under the version that is given.
    fn held(&mut self, task: &TaskRef) -> Result<&Claim, Refusal> {
        let claim = self.task(&task.id)?.ok_or(Refusal::NotHeld)?;
        let is_held = claim.task.state == TaskState::Acquired && claim.task.version == task.version;
        if is_held { Ok(claim) } else { Err(Refusal::NotHeld) }
    }

    /// A pending task whose time has come is offered to its workers, and again after a while if none takes it.
    pub(super) fn offer(&mut self, id: &Id) {
        let Some(promise) = self.state.promise(id) else { return };
        let (Some(claim), Some(target)) = (promise.claim(), promise.target()) else { return };
        let is_due = claim.task.state == TaskState::Runnable && claim.due_at.is_some_and(|at| at <= self.now);
        if promise.outcome.is_some() || !is_due {
            return;
        }
        let (version, address) = (claim.task.version, target.to_owned());
        let again_at = self.now.saturating_add(self.state.settings().retry_ms.max(1));
        self.change_claim(id, |claim| claim.due_at = Some(again_at));
        self.effects.push(Effect::Execute { id: id.clone(), version, address });
    }

    /// The task is nobody's any more.
    fn offer_again(&mut self, id: &Id) {
        let now = self.now;
        self.change_claim(id, |claim| {
            claim.put(TaskState::Runnable);
            claim.due_at = Some(now);
        });
        self.offer(id);
    }

    /// What happens to a pending promise's task by itself: its lease ends, or it is offered.
    pub(super) fn claim_due(&mut self, id: &Id) {
        let promise = self.state.promise(id).filter(|promise| promise.outcome.is_none());
        let Some(claim) = promise.and_then(Promise::claim) else { return };
        if claim.task.state == TaskState::Acquired && claim.due_at.is_some_and(|at| at <= self.now) {
            return self.offer_again(id);
        }
        self.offer(id);
    }

    /// Change the claim on a promise, and watch the time at which something happens to it by itself.
    pub(super) fn change_claim(&mut self, id: &Id, change: impl FnOnce(&mut Claim)) {
        let Some(promise) = self.state.promise_mut(id) else { return };
        let before = promise.due_at();
        let Some(claim) = promise.foreign_mut().claim.as_mut() else { return };
        change(claim);
        let after = promise.due_at();
        self.changed = true;
        self.watch(id, before, after);
    }
}

impl Claim {
    /// The task of a promise that was made after its deadline.
    pub(super) fn over() -> Claim {
        let mut claim = Claim::offered_at(0);
        claim.put(TaskState::Fulfilled);
        claim
    }

    /// A pending task, taken.
    fn taken(mut claim: Claim, holder: Holder, now: u64) -> Claim {
        claim.task.state = TaskState::Acquired;
        claim.task.version = claim.task.version.saturating_add(1);
        claim.due_at = Some(now.saturating_add(holder.ttl_ms));
        claim.holder = Some(holder);
        claim.resumes.clear();
        claim
    }
}
