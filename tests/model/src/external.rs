//! What a client can ask for: one function per request.

use std::collections::BTreeSet;

use crate::schedules;
use crate::state::{State, task};
use crate::words::{
    Action, Create, PromiseState, Request, Response, Settle, Task, TaskRef, TaskState, is_deliverable, is_targeted,
    is_timer_with_target,
};

/// Answer a request.
pub fn handle(state: &mut State, request: &Request, now: u64) -> Response {
    match request {
        Request::PromiseGet { id } => promise_get(state, id, now),
        Request::PromiseCreate(create) => promise_create(state, create, now),
        Request::PromiseSettle(settle) => promise_settle(state, settle, now),
        Request::PromiseRegisterCallback { awaited, awaiter } => register_callback(state, awaited, awaiter, now),
        Request::PromiseRegisterListener { awaited, address } => register_listener(state, awaited, address, now),
        Request::TaskGet { id } => task_get(state, id, now),
        Request::TaskCreate { pid, ttl, action } => task_create(state, pid, *ttl, action, now),
        Request::TaskAcquire { task, pid, ttl } => task_acquire(state, task, pid, *ttl, now),
        Request::TaskFence { task, action } => task_fence(state, task, action, now),
        Request::TaskHeartbeat { pid, tasks } => task_heartbeat(state, pid, tasks, now),
        Request::TaskSuspend { task, awaited } => task_suspend(state, task, awaited, now),
        Request::TaskFulfill { task, state: how, value } => {
            task_fulfill(state, task, &Settle { id: task.id.clone(), state: *how, value: value.clone() }, now)
        }
        Request::TaskRelease { task } => task_release(state, task, now),
        Request::TaskHalt { id } => task_halt(state, id, now),
        Request::TaskContinue { id } => task_continue(state, id, now),
        Request::ScheduleGet { id } => schedules::get(state, id),
        Request::ScheduleCreate { .. } => schedules::create(state, request, now),
        Request::ScheduleDelete { id } => schedules::delete(state, id),
    }
}

fn promise_get(state: &mut State, id: &str, now: u64) -> Response {
    state.promise(id, now).map_or(Response::status(404), |promise| Response::promise(promise))
}

fn promise_create(state: &mut State, create: &Create, now: u64) -> Response {
    if is_timer_with_target(&create.tags) {
        return Response::status(400);
    }
    if state.promise(&create.id, now).is_none() {
        state.create(create, now);
    }
    promise_get(state, &create.id, now)
}

/// Settling what is settled changes nothing, and is no error.
fn promise_settle(state: &mut State, settle: &Settle, now: u64) -> Response {
    if !settle.state.is_settable() {
        return Response::status(400);
    }
    if state.is_pending(&settle.id, now) {
        state.settle(settle, now);
    }
    promise_get(state, &settle.id, now)
}

fn register_callback(state: &mut State, awaited: &str, awaiter: &str, now: u64) -> Response {
    if awaited == awaiter {
        return Response::status(400);
    }
    let Some(promise) = state.promise(awaited, now).cloned() else { return Response::status(404) };
    let Some(waiting) = state.promise(awaiter, now).cloned() else { return Response::status(422) };
    if !waiting.is_targeted() || !promise.is_external() {
        return Response::status(422);
    }
    if promise.state == PromiseState::Pending && waiting.state == PromiseState::Pending {
        add_callback(state, awaited, awaiter, now);
    }
    Response::promise(&promise)
}

fn add_callback(state: &mut State, awaited: &str, awaiter: &str, now: u64) {
    if let Some(promise) = state.promise(awaited, now)
        && !promise.callbacks.iter().any(|known| known == awaiter)
    {
        promise.callbacks.push(awaiter.into());
    }
}

fn register_listener(state: &mut State, awaited: &str, address: &str, now: u64) -> Response {
    if !is_deliverable(address) {
        return Response::status(400);
    }
    let Some(promise) = state.promise(awaited, now) else { return Response::status(404) };
    if !promise.is_external() {
        return Response::status(422);
    }
    if promise.state == PromiseState::Pending && !promise.listeners.iter().any(|known| known == address) {
        promise.listeners.push(address.into());
    }
    Response::promise(promise)
}

fn task_get(state: &mut State, id: &str, now: u64) -> Response {
    state.task(id, now).map_or(Response::status(404), |task| Response::task(task))
}

/// Make a promise and have its task at once. If it is there, the task is taken as [`task_acquire`] would.
fn task_create(state: &mut State, pid: &str, ttl: u64, create: &Create, now: u64) -> Response {
    if !is_targeted(&create.tags) || is_timer_with_target(&create.tags) {
        return Response::status(400);
    }
    match state.promise(&create.id, now) {
        None => {
            state.create(create, now);
            if state.is_pending(&create.id, now) {
                take(state, &create.id, pid, ttl, now);
            }
        }
        Some(promise) if !promise.is_targeted() => return Response::status(422),
        Some(_) => match state.task(&create.id, now).map(|task| task.state) {
            Some(TaskState::Fulfilled) => {}
            Some(TaskState::Pending) => take(state, &create.id, pid, ttl, now),
            _ => return Response::status(409),
        },
    }
    claim(state, &create.id)
}

fn task_acquire(state: &mut State, task: &TaskRef, pid: &str, ttl: u64, now: u64) -> Response {
    match state.task(&task.id, now) {
        None => return Response::status(404),
        Some(known) if known.state != TaskState::Pending || known.version != task.version => {
            return Response::status(409);
        }
        Some(_) => take(state, &task.id, pid, ttl, now),
    }
    claim(state, &task.id)
}

/// A worker has the task from now on, under a version of its own.
fn take(state: &mut State, id: &str, pid: &str, ttl: u64, now: u64) {
    if let Some(known) = state.tasks.get_mut(id) {
        *known = Task {
            ttl: Some(ttl),
            pid: Some(pid.into()),
            expires_at: Some(now + ttl),
            ..task(id, TaskState::Acquired, known.version + 1)
        };
    }
}

fn claim(state: &State, id: &str) -> Response {
    Response::claim(&state.tasks[id], &state.promises[id])
}

/// Why a worker that says it has this task, under this version, doesn't.
fn refusal(state: &mut State, task: &TaskRef, now: u64) -> Option<Response> {
    match state.task(&task.id, now) {
        None => Some(Response::status(404)),
        Some(known) if known.state != TaskState::Acquired || known.version != task.version => {
            Some(Response::status(409))
        }
        Some(_) => None,
    }
}

fn task_fence(state: &mut State, task: &TaskRef, action: &Action, now: u64) -> Response {
    let (Action::Create(Create { id, .. }) | Action::Settle(Settle { id, .. })) = action;
    if *id == task.id {
        return Response::status(400);
    }
    if let Some(refusal) = refusal(state, task, now) {
        return refusal;
    }
    let answer = match action {
        Action::Create(create) => promise_create(state, create, now),
        Action::Settle(settle) => promise_settle(state, settle, now),
    };
    Response { action: Some(Box::new(answer)), ..Response::status(200) }
}

/// Those that the worker has live on. The others are passed over.
fn task_heartbeat(state: &mut State, pid: &str, tasks: &[TaskRef], now: u64) -> Response {
    for task in tasks {
        if refusal(state, task, now).is_none()
            && let Some(known) = state.tasks.get_mut(&task.id)
            && known.pid.as_deref() == Some(pid)
        {
            known.expires_at = known.ttl.map(|ttl| now + ttl);
        }
    }
    Response::status(200)
}

fn task_suspend(state: &mut State, task: &TaskRef, awaited: &[String], now: u64) -> Response {
    let distinct: BTreeSet<&String> = awaited.iter().collect();
    if awaited.is_empty() || awaited.contains(&task.id) || distinct.len() != awaited.len() {
        return Response::status(400);
    }
    if let Some(refusal) = refusal(state, task, now) {
        return refusal;
    }
    let mut is_settled = false;
    for id in awaited {
        match state.promise(id, now) {
            Some(promise) if promise.is_external() => is_settled |= promise.state != PromiseState::Pending,
            _ => return Response::status(422),
        }
    }
    if is_settled {
        // There is something to go on with: the worker keeps the task.
        if let Some(known) = state.tasks.get_mut(&task.id) {
            known.resumes.clear();
        }
        return Response::status(300);
    }
    awaited.iter().for_each(|id| add_callback(state, id, &task.id, now));
    put_down(state, &task.id, TaskState::Suspended, None);
    if let Some(known) = state.tasks.get_mut(&task.id) {
        known.resumes.clear();
    }
    Response::status(200)
}

fn task_fulfill(state: &mut State, task: &TaskRef, settle: &Settle, now: u64) -> Response {
    if !settle.state.is_settable() {
        return Response::status(400);
    }
    if let Some(refusal) = refusal(state, task, now) {
        return refusal;
    }
    state.settle(settle, now);
    promise_get(state, &task.id, now)
}

fn task_release(state: &mut State, task: &TaskRef, now: u64) -> Response {
    if let Some(refusal) = refusal(state, task, now) {
        return refusal;
    }
    put_down(state, &task.id, TaskState::Pending, Some(now));
    Response::status(200)
}

fn task_halt(state: &mut State, id: &str, now: u64) -> Response {
    match state.task(id, now).map(|task| task.state) {
        None => Response::status(404),
        Some(TaskState::Fulfilled) => Response::status(409),
        Some(TaskState::Halted) => Response::status(200),
        Some(_) => {
            put_down(state, id, TaskState::Halted, None);
            Response::status(200)
        }
    }
}

fn task_continue(state: &mut State, id: &str, now: u64) -> Response {
    match state.task(id, now).map(|task| task.state) {
        None => Response::status(404),
        Some(TaskState::Halted) => {
            put_down(state, id, TaskState::Pending, Some(now));
            Response::status(200)
        }
        Some(_) => Response::status(409),
    }
}

/// Nobody has the task any more. What it was resumed by is kept for whoever acquires it next.
pub(crate) fn put_down(state: &mut State, id: &str, how: TaskState, retry_at: Option<u64>) {
    if let Some(known) = state.tasks.get_mut(id) {
        known.state = how;
        known.pid = None;
        known.ttl = None;
        known.expires_at = None;
        known.retry_at = retry_at;
    }
}
