//! The words of the reference, as they travel.

use model::{Action, Create, Promise, PromiseState, Request, Response, Schedule, Tags, Task, TaskState, Value};
use serde_json::{Value as Json, json};

use crate::request as within;

/// The kind of a request, and its data.
pub(crate) fn of_request(request: &Request) -> (&'static str, Json) {
    match request {
        Request::PromiseGet { id } => ("promise.get", json!({ "id": id })),
        Request::PromiseCreate(create) => ("promise.create", of_create(create)),
        Request::PromiseSettle(settle) => ("promise.settle", of_settle(&settle.id, settle.state, &settle.value)),
        Request::PromiseRegisterCallback { awaited, awaiter } => {
            ("promise.register_callback", json!({ "awaited": awaited, "awaiter": awaiter }))
        }
        Request::PromiseRegisterListener { awaited, address } => {
            ("promise.register_listener", json!({ "awaited": awaited, "address": address }))
        }
        Request::TaskGet { id } => ("task.get", json!({ "id": id })),
        Request::TaskCreate { pid, ttl, action } => {
            ("task.create", json!({ "pid": pid, "ttl": ttl, "action": within("promise.create", of_create(action)) }))
        }
        Request::TaskAcquire { task, pid, ttl } => {
            ("task.acquire", json!({ "id": task.id, "version": task.version, "pid": pid, "ttl": ttl }))
        }
        Request::TaskFence { task, action } => {
            let action = match action {
                Action::Create(create) => within("promise.create", of_create(create)),
                Action::Settle(settle) => within("promise.settle", of_settle(&settle.id, settle.state, &settle.value)),
            };
            ("task.fence", json!({ "id": task.id, "version": task.version, "action": action }))
        }
        Request::TaskHeartbeat { pid, tasks } => {
            let tasks: Vec<Json> = tasks.iter().map(|task| json!({ "id": task.id, "version": task.version })).collect();
            ("task.heartbeat", json!({ "pid": pid, "tasks": tasks }))
        }
        Request::TaskSuspend { task, awaited } => {
            let action =
                |awaited| within("promise.register_callback", json!({ "awaited": awaited, "awaiter": task.id }));
            let actions: Vec<Json> = awaited.iter().map(action).collect();
            ("task.suspend", json!({ "id": task.id, "version": task.version, "actions": actions }))
        }
        Request::TaskFulfill { task, state, value } => {
            let action = within("promise.settle", of_settle(&task.id, *state, value));
            ("task.fulfill", json!({ "id": task.id, "version": task.version, "action": action }))
        }
        Request::TaskRelease { task } => ("task.release", json!({ "id": task.id, "version": task.version })),
        Request::TaskHalt { id } => ("task.halt", json!({ "id": id })),
        Request::TaskContinue { id } => ("task.continue", json!({ "id": id })),
        Request::ScheduleGet { id } => ("schedule.get", json!({ "id": id })),
        Request::ScheduleCreate { id, cron, promise_id, promise_timeout, promise_param, promise_tags } => (
            "schedule.create",
            json!({
                "id": id,
                "cron": cron,
                "promiseId": promise_id,
                "promiseTimeout": promise_timeout,
                "promiseParam": of_value(promise_param),
                "promiseTags": promise_tags,
            }),
        ),
        Request::ScheduleDelete { id } => ("schedule.delete", json!({ "id": id })),
    }
}

fn of_create(create: &Create) -> Json {
    let param = of_value(&create.param);
    json!({ "id": create.id, "timeoutAt": create.timeout_at, "param": param, "tags": create.tags })
}

fn of_settle(id: &str, state: PromiseState, value: &Value) -> Json {
    json!({ "id": id, "state": of_state(state), "value": of_value(value) })
}

fn of_value(value: &Value) -> Json {
    let mut json = json!({ "headers": value.headers });
    if let Some(data) = &value.data {
        json["data"] = json!(data);
    }
    json
}

fn of_state(state: PromiseState) -> &'static str {
    match state {
        PromiseState::Pending => "pending",
        PromiseState::Resolved => "resolved",
        PromiseState::Rejected => "rejected",
        PromiseState::RejectedCanceled => "rejected_canceled",
        PromiseState::RejectedTimedout => "rejected_timedout",
    }
}

fn of_task_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Pending => "pending",
        TaskState::Acquired => "acquired",
        TaskState::Suspended => "suspended",
        TaskState::Halted => "halted",
        TaskState::Fulfilled => "fulfilled",
    }
}

/// What is different about an answer, if something is.
pub(crate) fn difference(expected: &Response, status: u64, data: &Json) -> Option<String> {
    if u64::from(expected.status) != status {
        return Some(format!("it should have been answered {}, not {status}: {data}", expected.status));
    }
    let promise =
        || expected.promise.as_ref().and_then(|promise| unlike(&of_promise(promise), &promise_of(&data["promise"])));
    let task = || expected.task.as_ref().and_then(|task| unlike(&of_task(task), &task_of(&data["task"])));
    let schedule = || expected.schedule.as_ref().and_then(|schedule| unlike(&of_schedule(schedule), &data["schedule"]));
    let action = || {
        let action = expected.action.as_deref()?;
        let inner = &data["action"];
        difference(action, inner["head"]["status"].as_u64().unwrap_or_default(), &inner["data"])
    };
    promise().or_else(task).or_else(schedule).or_else(action)
}

fn unlike(expected: &Json, seen: &Json) -> Option<String> {
    (expected != seen).then(|| format!("expected {expected}\n     seen {seen}"))
}

/// A promise with everything that it can have.
pub(crate) fn of_promise(promise: &Promise) -> Json {
    json!({
        "id": promise.id,
        "state": of_state(promise.state),
        "param": of_value(&promise.param),
        "value": of_value(&promise.value),
        "tags": promise.tags,
        "timeoutAt": promise.timeout_at,
        "createdAt": promise.created_at,
        "settledAt": promise.settled_at,
    })
}

/// The same of what was answered: what is left out there is empty.
pub(crate) fn promise_of(json: &Json) -> Json {
    let mut promise = json.clone();
    for value in ["param", "value"] {
        let headers = Tags::new();
        let value = &mut promise[value];
        if !value["headers"].is_object() {
            value["headers"] = json!(headers);
        }
        if value["data"].is_null() {
            value.as_object_mut().map(|value| value.remove("data"));
        }
    }
    if !promise["settledAt"].is_u64() {
        promise["settledAt"] = Json::Null;
    }
    promise
}

fn of_task(task: &Task) -> Json {
    json!({
        "id": task.id,
        "state": of_task_state(task.state),
        "version": task.version,
        "resumes": task.resumes.len(),
        "ttl": task.ttl,
        "pid": task.pid,
    })
}

fn task_of(json: &Json) -> Json {
    let mut task = json.clone();
    for name in ["ttl", "pid"] {
        task[name] = json[name].clone();
    }
    task
}

fn of_schedule(schedule: &Schedule) -> Json {
    let mut json = json!({
        "id": schedule.id,
        "cron": schedule.cron,
        "promiseId": schedule.promise_id,
        "promiseTimeout": schedule.promise_timeout,
        "promiseParam": of_value(&schedule.promise_param),
        "promiseTags": schedule.promise_tags,
        "createdAt": schedule.created_at,
        "nextRunAt": schedule.next_run_at,
    });
    if let Some(at) = schedule.last_run_at {
        json["lastRunAt"] = json!(at);
    }
    json
}
