//! `debug.snap`: everything that there is, for tools that hold it against a model.

use std::sync::Arc;

use machine::{Promise, Settings, TaskState};
use serde::Serialize;

use super::answers::{Answer, To, write};
use super::records::{Record, Records, TaskRecord};

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    promises: Option<Records<'a>>,
    promise_timeouts: Vec<Timeout<'a>>,
    callbacks: Vec<Callback<'a>>,
    listeners: Vec<Listener<'a>>,
    tasks: Vec<TaskRecord<'a>>,
    task_timeouts: Vec<TaskTimeout<'a>>,
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
struct Timeout<'a> {
    id: &'a str,
    timeout: u64,
}

#[derive(Serialize)]
struct Callback<'a> {
    awaiter: &'a str,
    awaited: &'a str,
}

#[derive(Serialize)]
struct Listener<'a> {
    id: &'a str,
    address: &'a str,
}

#[derive(Serialize)]
struct TaskTimeout<'a> {
    id: &'a str,
    /// 0: it is offered. 1: its lease ends.
    #[serde(rename = "type")]
    kind: u8,
    timeout: u64,
}

#[derive(Serialize)]
struct Message<'a> {
    address: &'a str,
    message: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    kind: &'static str,
    head: Empty,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Data<'a> {
    Task { id: &'a str, version: u32 },
    Promise(Record<'a>),
}

/// The answer: promises as they are kept, tasks, what is watched, who waits, and what is still to be delivered.
pub fn answer(to: To<'_>, promises: &[Arc<Promise>], settings: &Settings) -> Answer {
    // As of no time: what nobody has noticed is shown as it is.
    let now = 0;
    let mut snapshot = Snapshot { promises: Some(Records { promises, settings, now }), ..Snapshot::default() };
    for promise in promises {
        snapshot.add(promise, settings, now);
    }
    write(to, 200, snapshot)
}

impl<'a> Snapshot<'a> {
    fn add(&mut self, promise: &'a Promise, settings: &'a Settings, now: u64) {
        let id = promise.id.as_str();
        let is_pending = promise.outcome.is_none();
        if is_pending && promise.is_external() {
            self.promise_timeouts.push(Timeout { id, timeout: promise.timeout_at });
        }
        self.tasks.extend(TaskRecord::of(promise, settings, now));
        let Some(foreign) = promise.foreign.as_deref() else { return };
        self.callbacks.extend(foreign.callbacks.iter().map(|by| Callback { awaiter: by.as_str(), awaited: id }));
        self.listeners.extend(foreign.listeners.iter().map(|address| Listener { id, address }));
        if let Some(claim) = &foreign.claim {
            let is_offered = claim.task.state == TaskState::Runnable;
            if let Some(timeout) = claim.due_at {
                self.task_timeouts.push(TaskTimeout { id, kind: u8::from(!is_offered), timeout });
            }
            if let Some(address) = promise.target().filter(|_| is_offered) {
                let data = Data::Task { id, version: claim.task.version };
                self.messages.push(Message { address, message: Body { kind: "execute", head: Empty {}, data } });
            }
        }
        for address in foreign.untold.iter().flat_map(|untold| &untold.addresses) {
            let data = Data::Promise(Record { promise, settings, now });
            self.messages.push(Message { address, message: Body { kind: "unblock", head: Empty {}, data } });
        }
    }
}
