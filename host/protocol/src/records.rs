//! How promises, tasks and schedules are shown.

use std::borrow::Cow;
use std::sync::Arc;

use machine::{Promise, PromiseState, Schedule, Settings, Tags, is_timer};
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use super::values::Shown;

/// The state of a promise as of a time. `host`: the address of this host's functions.
pub fn state(promise: &Promise, host: &str, now: u64) -> &'static str {
    state_as_of(promise, &promise.tags(host), now)
}

/// The state of the task of a promise as of a time, if it has one.
pub fn task_state(promise: &Promise, settings: &Settings, now: u64) -> Option<&'static str> {
    TaskRecord::of(promise, settings, now).map(|task| task.state)
}

/// A deadline that has passed has passed, whether or not anybody has noticed.
fn state_as_of(promise: &Promise, tags: &Tags, now: u64) -> &'static str {
    let state = match promise.state() {
        PromiseState::Pending if promise.timeout_at <= now && is_timer(tags) => PromiseState::Resolved,
        PromiseState::Pending if promise.timeout_at <= now => PromiseState::TimedOut,
        state => state,
    };
    state.as_protocol()
}

/// A promise, as of a time, for a host with these settings.
pub(super) struct Record<'a> {
    pub(super) promise: &'a Promise,
    pub(super) settings: &'a Settings,
    pub(super) now: u64,
}

/// Several of them.
pub(super) struct Records<'a> {
    pub(super) promises: &'a [Arc<Promise>],
    pub(super) settings: &'a Settings,
    pub(super) now: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PromiseRecord<'a> {
    id: &'a str,
    state: &'static str,
    param: Shown<'a>,
    value: Shown<'a>,
    tags: Cow<'a, Tags>,
    timeout_at: u64,
    created_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at: Option<u64>,
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Record { promise, settings, now } = self;
        let tags = promise.tags(&settings.address());
        let is_over = promise.outcome.is_none() && promise.timeout_at <= *now;
        let (state, settled_at) = (state_as_of(promise, &tags, *now), promise.settled_at);
        let settled_at = if is_over { Some(promise.timeout_at) } else { settled_at };
        PromiseRecord {
            id: promise.id.as_str(),
            state,
            param: Shown::param(promise),
            value: Shown::value(promise),
            tags,
            timeout_at: promise.timeout_at,
            created_at: promise.created_at,
            settled_at,
        }
        .serialize(serializer)
    }
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.promises.len()))?;
        for promise in self.promises {
            list.serialize_element(&Record { promise, settings: self.settings, now: self.now })?;
        }
        list.end()
    }
}

/// A task.
#[derive(Serialize)]
pub(super) struct TaskRecord<'a> {
    id: &'a str,
    state: &'static str,
    version: u32,
    resumes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<String>,
}

impl<'a> TaskRecord<'a> {
    /// Of a promise that has one, as of a time.
    pub(super) fn of(promise: &'a Promise, settings: &Settings, now: u64) -> Option<TaskRecord<'a>> {
        let task = promise.task_view(&settings.group)?;
        let id = promise.id.as_str();
        if promise.outcome.is_none() && promise.timeout_at <= now {
            let (state, version) = ("fulfilled", task.version);
            return Some(TaskRecord { id, state, version, resumes: 0, ttl: None, pid: None });
        }
        Some(TaskRecord {
            id,
            state: task.state,
            version: task.version,
            resumes: task.resumes,
            ttl: task.holder.as_ref().map(|holder| holder.ttl_ms),
            pid: task.holder.map(|holder| holder.into_owned().pid),
        })
    }
}

/// A schedule.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScheduleRecord<'a> {
    id: &'a str,
    cron: &'a str,
    promise_id: &'a str,
    promise_timeout: u64,
    promise_param: Shown<'a>,
    promise_tags: &'a Tags,
    created_at: u64,
    next_run_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run_at: Option<u64>,
}

impl<'a> ScheduleRecord<'a> {
    pub(super) fn of(schedule: &'a Schedule) -> ScheduleRecord<'a> {
        ScheduleRecord {
            id: &schedule.id,
            cron: &schedule.cron,
            promise_id: &schedule.promise_id,
            promise_timeout: schedule.promise_timeout_ms,
            promise_param: Shown::template(&schedule.template),
            promise_tags: &schedule.template.tags,
            created_at: schedule.created_at,
            next_run_at: schedule.next_run_at,
            last_run_at: schedule.last_run_at,
        }
    }
}
