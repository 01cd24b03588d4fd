//! What the server does by itself. Each step looks whether it is its time: fired early, twice or late it does nothing, or
//! what it would have done.

use crate::external::put_down;
use crate::schedules;
use crate::state::State;
use crate::words::{Message, PromiseState, TaskState};

/// A deadline has passed.
pub fn expire_promise(state: &mut State, id: &str, now: u64) {
    state.promise(id, now);
}

/// A settled promise tells one of its listeners.
pub fn tell_listener(state: &mut State, id: &str, address: &str, now: u64) -> Option<Message> {
    let promise = state.promise(id, now)?;
    if promise.state == PromiseState::Pending {
        return None;
    }
    let at = promise.listeners.iter().position(|known| known == address)?;
    promise.listeners.remove(at);
    Some(Message::Unblock { address: address.into(), id: id.into() })
}

/// A settled promise resumes one of those that wait for it: not one whose own deadline has passed.
pub fn resume_awaiter(state: &mut State, id: &str, awaiter: &str, now: u64) {
    let Some(promise) = state.promise(id, now) else { return };
    if promise.state == PromiseState::Pending {
        return;
    }
    let Some(at) = promise.callbacks.iter().position(|known| known == awaiter) else { return };
    promise.callbacks.remove(at);
    let Some(task) = state.task(awaiter, now) else { return };
    match task.state {
        TaskState::Suspended => {
            task.state = TaskState::Pending;
            task.resumes = vec![id.into()];
            task.retry_at = Some(now);
        }
        TaskState::Pending | TaskState::Acquired | TaskState::Halted => {
            if !task.resumes.iter().any(|known| known == id) {
                task.resumes.push(id.into());
            }
        }
        TaskState::Fulfilled => {}
    }
}

/// A worker hasn't been heard of for as long as it said.
pub fn expire_lease(state: &mut State, id: &str, now: u64) {
    let is_over = |task: &crate::Task| task.state == TaskState::Acquired && task.expires_at.is_some_and(|at| at <= now);
    if state.tasks.get(id).is_some_and(is_over) && is_live(state, id, now) {
        put_down(state, id, TaskState::Pending, Some(now));
    }
}

/// A task that nobody has is offered, again. `retry_ms`: until it is offered the next time.
pub fn offer_task(state: &mut State, id: &str, now: u64, retry_ms: u64) -> Option<Message> {
    let is_due = |task: &crate::Task| task.state == TaskState::Pending && task.retry_at.is_some_and(|at| at <= now);
    if !state.tasks.get(id).is_some_and(is_due) || !is_live(state, id, now) {
        return None;
    }
    let address = state.promises[id].tags["resonate:target"].clone();
    let task = state.tasks.get_mut(id)?;
    task.retry_at = Some(now + retry_ms);
    Some(Message::Execute { address, id: id.into(), version: task.version })
}

/// A schedule makes the promises of all times that have come.
pub fn run_schedule(state: &mut State, id: &str, now: u64) {
    let Some(mut schedule) = state.schedules.get(id).cloned() else { return };
    while schedule.next_run_at <= now {
        let at = schedule.next_run_at;
        let create = schedules::occurrence(&schedule, at);
        if state.promise(&create.id, at).is_none() {
            state.create(&create, at);
        }
        schedule.last_run_at = Some(at);
        schedule.next_run_at = schedules::next(&schedule.cron, at);
    }
    state.schedules.insert(id.into(), schedule);
}

/// A look that settles nothing.
fn is_live(state: &State, id: &str, now: u64) -> bool {
    state.promises.get(id).is_some_and(|promise| promise.state == PromiseState::Pending && promise.timeout_at > now)
}
