//! Schedules, and as much of a calendar as they need here: every so many minutes.

use crate::state::State;
use crate::words::{Create, Request, Response, Schedule, is_timer_with_target};

pub(crate) fn get(state: &State, id: &str) -> Response {
    state.schedules.get(id).map_or(Response::status(404), Response::schedule)
}

pub(crate) fn create(state: &mut State, request: &Request, now: u64) -> Response {
    let Request::ScheduleCreate { id, cron, promise_id, promise_timeout, promise_param, promise_tags } = request else {
        unreachable!("it is one")
    };
    if is_timer_with_target(promise_tags) {
        return Response::status(400);
    }
    let schedule = state.schedules.entry(id.clone()).or_insert_with(|| Schedule {
        id: id.clone(),
        cron: cron.clone(),
        promise_id: promise_id.clone(),
        promise_timeout: *promise_timeout,
        promise_param: promise_param.clone(),
        promise_tags: promise_tags.clone(),
        created_at: now,
        next_run_at: next(cron, now),
        last_run_at: None,
    });
    Response::schedule(schedule)
}

pub(crate) fn delete(state: &mut State, id: &str) -> Response {
    Response::status(if state.schedules.remove(id).is_some() { 200 } else { 404 })
}

/// The first time after this one: `*/n * * * *`, for an `n` that divides an hour.
pub(crate) fn next(cron: &str, after: u64) -> u64 {
    let minutes = cron.strip_prefix("*/").and_then(|rest| rest.strip_suffix(" * * * *")).expect("it is of this form");
    let period: u64 = 60_000 * minutes.parse::<u64>().expect("it is a number");
    (after / period + 1) * period
}

/// The promise that a schedule makes at this time. It says which schedule made it, and that it is a root.
pub(crate) fn occurrence(schedule: &Schedule, at: u64) -> Create {
    let id = schedule.promise_id.replace("{{.id}}", &schedule.id).replace("{{.timestamp}}", &at.to_string());
    let mut tags = schedule.promise_tags.clone();
    for name in ["origin", "branch", "parent"] {
        tags.insert(format!("resonate:{name}"), id.clone());
    }
    tags.insert("resonate:schedule".into(), schedule.id.clone());
    Create { id, timeout_at: at + schedule.promise_timeout, param: schedule.promise_param.clone(), tags }
}
