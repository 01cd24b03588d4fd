//! What clients of the promise protocol ask: making, settling and watching promises. Tasks are in `tasks`, schedules in
//! `schedules`.
//!
//! Every rule looks at a promise only after its deadline has been observed, and a task only after that of its promise.
//! So whatever is answered is what a reader would see, and nothing is done for what has ended.

use std::collections::BTreeSet;

use super::executions::MAX_EXECUTION_ID_BYTES;
use super::promises::New;
use super::{Granted, Rejection, Reply, Step, is_given};
use crate::foreign::{self, BRANCH, DELAY, ORIGIN, PARENT};
use crate::{
    Call, Claim, Foreign, Form, Id, NewPromise, Outcome, Promise, PromiseKind, Refusal, Request, Settlement, State,
    Tags, TaskState, Template,
};

/// How many promises of a branch are remembered, to be given to whoever takes its task.
const BRANCH_PROMISES: usize = 1_000;
/// How many addresses can be told of one promise.
const MAX_LISTENERS: usize = 1_000;

impl<S: State> Step<'_, S> {
    pub(super) fn request(&mut self, request: Request) -> Result<Reply, Rejection> {
        let granted = match request {
            Request::CreatePromise(promise) => self.request_promise(promise).map(|()| Granted::Done),
            Request::SettlePromise(settlement) => self.request_settlement(settlement).map(|()| Granted::Done),
            Request::RegisterCallback { awaited, awaiter } => self.register_callback(&awaited, awaiter),
            Request::RegisterListener { awaited, address } => self.register_listener(&awaited, address),
            Request::CreateTask { holder, promise } => self.create_task(holder, promise),
            Request::Acquire { task, holder } => self.take(&task, holder),
            Request::Release(task) => self.release(&task),
            Request::Fulfill { task, settlement } => self.fulfill(&task, settlement),
            Request::Suspend { task, awaited } => self.suspend(&task, awaited),
            Request::Fence { task, action } => self.fence(&task, action),
            Request::Heartbeat { pid, tasks } => self.heartbeat(&pid, &tasks),
            Request::Halt { id } => self.halt(&id),
            Request::Continue { id } => self.go_on(&id),
            Request::CreateSchedule(schedule) => self.create_schedule(schedule),
            Request::DeleteSchedule { id } => self.delete_schedule(&id),
        };
        Ok(Reply::Granted(granted?))
    }

    pub(super) fn request_promise(&mut self, new: NewPromise) -> Result<(), Refusal> {
        if foreign::is_timer_with_target(&new.template.tags) {
            return Err(Refusal::TimerWithTarget);
        }
        if self.look(&new.id).is_some() {
            return Ok(());
        }
        check_tags(&new)?;
        let id = new.id.clone();
        self.make(new, None)?;
        self.offer(&id);
        Ok(())
    }

    /// A promise that isn't there. `claim`: that of whoever takes its task at once; otherwise it is to be offered.
    pub(super) fn make(&mut self, new: NewPromise, claim: Option<Claim>) -> Result<(), Refusal> {
        let NewPromise { id, timeout_at, template: Template { param, form, tags, call } } = new;
        if self.is_elsewhere(&id) {
            return Err(Refusal::Elsewhere);
        }
        if self.is_below_execution(&id) {
            return Err(Refusal::StepOfExecution);
        }
        let timer = foreign::is_timer(&tags);
        let is_long = id.as_str().len() > MAX_EXECUTION_ID_BYTES;
        let call = call.filter(|_| !timer).map(|call| match call {
            Call::Function { .. } if is_long => {
                Call::Nonsense(format!("the id of an execution has at most {MAX_EXECUTION_ID_BYTES} bytes"))
            }
            call => call,
        });
        let (kind, call) = match call {
            Some(Call::Function { name, seed }) => (PromiseKind::Call { function: name }, Some(Ok(seed))),
            Some(Call::Nonsense(why)) => (PromiseKind::External, Some(Err(why))),
            None if timer => (PromiseKind::Sleep, None),
            None => (PromiseKind::External, None),
        };
        let ends_at_once = timeout_at <= self.now;
        let claim = match (foreign::target(&tags), &call) {
            (None, _) | (_, Some(_)) => None,
            (Some(_), None) if ends_at_once => Some(Claim::over()),
            (Some(_), None) => Some(claim.unwrap_or_else(|| {
                let delay = tags.get(DELAY).and_then(|delay| delay.parse().ok()).unwrap_or(0);
                Claim::offered_at(self.now.max(delay))
            })),
        };
        let branch = tags.get(BRANCH).and_then(|branch| Id::parse(branch).ok()).filter(|branch| *branch != id);
        let foreign = Foreign { tags: Some(tags), param: form, claim, ..Foreign::default() };
        let function = match &kind {
            PromiseKind::Call { function } => Some(function.clone()),
            _ => None,
        };
        let new = New { id: id.clone(), kind, owner: None, param, timeout_at, foreign: Some(Box::new(foreign)) };
        match call {
            Some(Ok(seed)) => match self.component_for(function.as_deref().unwrap_or_default(), None) {
                Some(component) => self.start(new, component, seed),
                None => {
                    let why = Rejection::NoFunction(function.unwrap_or_default()).to_string();
                    self.create(new);
                    self.settle(&id, Outcome::Crashed(why), self.now);
                }
            },
            Some(Err(why)) => {
                self.create(new);
                self.settle(&id, Outcome::Crashed(why), self.now);
            }
            None => self.create(new),
        }
        if let Some(branch) = branch {
            self.join_branch(&branch, &id);
        }
        Ok(())
    }

    pub(super) fn request_settlement(&mut self, settlement: Settlement) -> Result<(), Refusal> {
        let Settlement { id, outcome, form } = settlement;
        if !is_given(&outcome) {
            return Err(Refusal::NotASettlement);
        }
        let promise = self.look(&id).ok_or(Refusal::NoPromise)?;
        if promise.outcome.is_none() {
            self.settle_as(&id, outcome, form);
        }
        Ok(())
    }

    /// Settle a pending promise with a value that was written in some form.
    pub(super) fn settle_as(&mut self, id: &Id, outcome: Outcome, form: Form) {
        if form != Form::default()
            && let Some(promise) = self.state.promise_mut(id)
        {
            promise.foreign_mut().value = form;
        }
        self.settle(id, outcome, self.now);
    }

    /// A promise, once its deadline has been observed.
    pub(super) fn look(&mut self, id: &Id) -> Option<&Promise> {
        self.expire(id);
        self.state.promise(id).filter(|promise| !promise.stands_for_another())
    }

    /// Whether the promise would be in the way of a step of an execution.
    fn is_below_execution(&mut self, id: &Id) -> bool {
        let mut above = id.parent();
        while let Some(id) = above {
            if self.state.promise(&id).is_some_and(|p| p.execution.is_some()) {
                return true;
            }
            above = id.parent();
        }
        false
    }

    /// A promise is part of what the task of another one does: it is given to whoever takes that task.
    fn join_branch(&mut self, branch: &Id, id: &Id) {
        let promise = self.state.promise(branch);
        let has_room = |foreign: &Foreign| foreign.branch.len() < BRANCH_PROMISES;
        if promise.and_then(|p| p.foreign.as_deref()).is_some_and(has_room)
            && let Some(promise) = self.state.promise_mut(branch)
        {
            promise.foreign_mut().branch.insert(id.clone());
        }
    }

    fn register_callback(&mut self, awaited: &Id, awaiter: Id) -> Result<Granted, Refusal> {
        if *awaited == awaiter {
            return Err(Refusal::AwaitsItself);
        }
        let promise = self.look(awaited).ok_or(Refusal::NoPromise)?;
        let (is_external, is_pending) = (promise.is_external(), promise.outcome.is_none());
        if self.is_elsewhere(&awaiter) {
            // Whether it is one that can go on is found out when it is to go on.
            if !is_external {
                return Err(Refusal::Internal);
            }
            if is_pending {
                self.add_callback(awaited, awaiter);
            }
            return Ok(Granted::Done);
        }
        let promise = self.look(&awaiter).ok_or(Refusal::NoAwaiter)?;
        let (has_claim, waits) = (promise.claim().is_some(), promise.outcome.is_none());
        if !promise.has_task() {
            return Err(Refusal::AwaiterHasNoTask);
        }
        if !is_external {
            return Err(Refusal::Internal);
        }
        // An execution of this host hears of what it waits for in its own way.
        if is_pending && waits && has_claim {
            self.add_callback(awaited, awaiter);
        }
        Ok(Granted::Done)
    }

    pub(super) fn add_callback(&mut self, awaited: &Id, awaiter: Id) {
        let known = self.state.promise(awaited).and_then(|p| p.foreign.as_ref());
        if !known.is_some_and(|foreign| foreign.callbacks.contains(&awaiter))
            && let Some(promise) = self.state.promise_mut(awaited)
        {
            promise.foreign_mut().callbacks.insert(awaiter);
            self.changed = true;
        }
    }

    fn register_listener(&mut self, awaited: &Id, address: String) -> Result<Granted, Refusal> {
        if !foreign::is_address(&address) {
            return Err(Refusal::Address);
        }
        let promise = self.look(awaited).ok_or(Refusal::NoPromise)?;
        if !promise.is_external() {
            return Err(Refusal::Internal);
        }
        let listeners = promise.foreign.as_ref().map(|foreign| &foreign.listeners);
        let known = listeners.is_some_and(|listeners| listeners.contains(&address));
        if !known && listeners.is_some_and(|listeners| listeners.len() >= MAX_LISTENERS) {
            return Err(Refusal::ManyListeners);
        }
        if promise.outcome.is_none()
            && !known
            && let Some(promise) = self.state.promise_mut(awaited)
        {
            promise.foreign_mut().listeners.insert(address);
            self.changed = true;
        }
        Ok(Granted::Done)
    }

    /// Tasks that waited for a promise go on, now that it is settled. Says which promises are found to have ended
    /// themselves: their deadline had passed, so there is nothing to go on with.
    pub(super) fn resume(&mut self, callbacks: BTreeSet<Id>, awaited: &Id) -> Vec<Id> {
        let mut ended = Vec::new();
        for awaiter in callbacks {
            if self.is_elsewhere(&awaiter) {
                self.resume_elsewhere(awaiter, awaited.clone());
                continue;
            }
            if self.is_due(&awaiter) {
                ended.push(awaiter);
                continue;
            }
            let Some(claim) = self.state.promise(&awaiter).and_then(Promise::claim) else { continue };
            if claim.task.state == TaskState::Fulfilled || claim.resumes.contains(awaited) {
                continue;
            }
            let (now, id) = (self.now, awaited.clone());
            self.change_claim(&awaiter, |claim| {
                if claim.task.state == TaskState::Suspended {
                    claim.put(TaskState::Runnable);
                    claim.due_at = Some(now);
                    claim.resumes.clear();
                }
                claim.resumes.insert(id);
            });
            self.offer(&awaiter);
        }
        ended
    }
}

/// The tags that say something about one another, or about the id.
pub(super) fn check_tags(new: &NewPromise) -> Result<(), Refusal> {
    let tags = &new.template.tags;
    if tags.get(ORIGIN).is_some_and(|origin| origin.contains(':')) {
        return Err(Refusal::Lineage);
    }
    if foreign::target(tags).is_some_and(|target| !foreign::is_address(target)) {
        return Err(Refusal::Address);
    }
    let begins_with = |name| tags.get(name).is_none_or(|above| is_at_or_below(new.id.as_str(), above));
    if !(begins_with(ORIGIN) && begins_with(BRANCH) && begins_with(PARENT)) {
        return Err(Refusal::Lineage);
    }
    check_delay(tags, new.timeout_at)
}

pub(super) fn check_delay(tags: &Tags, timeout_at: u64) -> Result<(), Refusal> {
    let Some(delay) = tags.get(DELAY) else { return Ok(()) };
    let is_before = delay.parse::<u64>().is_ok_and(|delay| delay < timeout_at);
    if is_before && foreign::target(tags).is_some() { Ok(()) } else { Err(Refusal::Delay) }
}

/// Whether an id is that of a promise, or of one below it, in either of the ways in which clients write that.
pub(super) fn is_at_or_below(id: &str, above: &str) -> bool {
    id.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '.']))
}
