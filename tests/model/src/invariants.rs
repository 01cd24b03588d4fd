//! What must hold of every state, and of every step from one to the next. The names are those of the specification's
//! catalogue, so that a violation is called the same everywhere.

use crate::state::State;
use crate::words::{Message, Promise, PromiseState, Schedule, Task, TaskState, is_deliverable, is_timer_with_target};

/// What is wrong with a state at this time, if something is.
pub fn broken(state: &State, now: u64) -> Option<String> {
    let promises = state.promises.values().find_map(|promise| wrong(&promise.id, &of_promise(promise, state, now)));
    let tasks = || state.tasks.values().find_map(|task| wrong(&task.id, &of_task(task, state, now)));
    let schedules = || state.schedules.values().find_map(|schedule| wrong(&schedule.id, &of_schedule(schedule)));
    promises.or_else(tasks).or_else(schedules)
}

/// What is wrong with a step from one state to another, if something is. `messages` are those of this step. A step that
/// no client asked for `is_internal`.
pub fn broken_by(before: &State, after: &State, messages: &[Message], now: u64, is_internal: bool) -> Option<String> {
    let gone = || {
        let promise = before.promises.keys().find(|id| !after.promises.contains_key(*id));
        let task = before.tasks.keys().find(|id| !after.tasks.contains_key(*id));
        promise.or(task).map(|id| format!("monotone_promise_set_grows or monotone_task_set_grows: {id}"))
    };
    let promises = || {
        after.promises.values().find_map(|b| match before.promises.get(&b.id) {
            Some(a) => wrong(&b.id, &to_promise(a, b, after, now, is_internal)),
            None => wrong(&b.id, &new_promise(b, now)),
        })
    };
    let tasks = || {
        after.tasks.values().find_map(|b| match before.tasks.get(&b.id) {
            Some(a) => wrong(&b.id, &to_task(a, b, now, is_internal)),
            None => wrong(&b.id, &new_task(b, before)),
        })
    };
    let schedules = || {
        after.schedules.values().find_map(|b| {
            let a = before.schedules.get(&b.id).filter(|a| a.created_at == b.created_at)?;
            wrong(&b.id, &to_schedule(a, b))
        })
    };
    let said =
        || messages.iter().find_map(|message| wrong(&format!("{message:?}"), &of_message(message, before, after, now)));
    gone().or_else(promises).or_else(tasks).or_else(schedules).or_else(said)
}

/// Names with whether they hold.
type Checks<const N: usize> = [(&'static str, bool); N];

fn wrong<const N: usize>(what: &str, checks: &Checks<N>) -> Option<String> {
    checks.iter().find(|(_, holds)| !holds).map(|(name, _)| format!("{name}: {what}"))
}

/// That `then` holds if `when` does.
fn implies(when: bool, then: bool) -> bool {
    !when || then
}

fn of_promise(p: &Promise, state: &State, now: u64) -> Checks<20> {
    let is_pending = p.state == PromiseState::Pending;
    let is_empty = p.value.data.is_none() && p.value.headers.is_empty();
    let at_deadline = p.settled_at == Some(p.timeout_at);
    let settled_at = |holds: &dyn Fn(u64) -> bool| p.settled_at.is_none_or(holds);
    let task = state.tasks.get(&p.id);
    let is_targeted = |id: &String| state.promises.get(id).is_some_and(Promise::is_targeted);
    [
        ("well_formed_promise_created_at_lte_timeout_at", p.created_at <= p.timeout_at),
        ("well_formed_promise_pending_created_before_deadline", implies(is_pending, p.created_at < p.timeout_at)),
        ("well_formed_promise_settled_at_lte_timeout_at", settled_at(&|at| at <= p.timeout_at)),
        ("well_formed_promise_created_at_lte_settled_at", settled_at(&|at| p.created_at <= at)),
        ("well_formed_promise_settled_at_iff_not_pending", is_pending == p.settled_at.is_none()),
        ("well_formed_promise_pending_has_no_value", implies(is_pending, is_empty)),
        ("well_formed_promise_deadline_verdict_matches_timer_tag", implies(at_deadline, p.state == verdict(p))),
        ("well_formed_promise_deadline_settlement_has_no_value", implies(at_deadline, is_empty)),
        ("well_formed_promise_timer_not_targeted", !is_timer_with_target(&p.tags)),
        (
            "well_formed_promise_timedout_is_server_owned",
            implies(p.state == PromiseState::RejectedTimedout, at_deadline),
        ),
        ("well_formed_promise_callbacks_unique", is_unique(&p.callbacks)),
        ("well_formed_promise_listeners_unique", is_unique(&p.listeners)),
        (
            "well_formed_promise_obligations_require_external",
            p.is_external() || p.callbacks.is_empty() && p.listeners.is_empty(),
        ),
        ("well_formed_promise_awaiter_is_not_self", !p.callbacks.contains(&p.id)),
        ("well_formed_promise_created_at_lte_now", p.created_at <= now),
        ("well_formed_promise_settled_at_lte_now", settled_at(&|at| at <= now)),
        ("consistent_task_iff_targeted_promise", p.is_targeted() == task.is_some()),
        (
            "consistent_settled_promise_has_fulfilled_task",
            task.is_none_or(|task| is_pending == (task.state != TaskState::Fulfilled)),
        ),
        ("consistent_callback_awaiter_is_targeted", p.callbacks.iter().all(is_targeted)),
        ("consistent_listener_addresses_deliverable", p.listeners.iter().all(|address| is_deliverable(address))),
    ]
}

fn of_task(t: &Task, state: &State, now: u64) -> Checks<12> {
    let is_acquired = t.state == TaskState::Acquired;
    let is_cleared = t.pid.is_none() && t.ttl.is_none() && t.expires_at.is_none() && t.retry_at.is_none();
    let lives = state.promises.get(&t.id).is_some_and(|p| p.state == PromiseState::Pending && p.timeout_at > now);
    let is_awaiter = || state.promises.values().any(|p| p.callbacks.contains(&t.id));
    [
        ("well_formed_task_acquired_iff_has_pid", is_acquired == t.pid.is_some()),
        ("well_formed_task_acquired_iff_has_ttl", is_acquired == t.ttl.is_some()),
        ("well_formed_task_acquired_iff_has_expires_at", is_acquired == t.expires_at.is_some()),
        ("well_formed_task_pending_iff_has_retry_at", (t.state == TaskState::Pending) == t.retry_at.is_some()),
        (
            "well_formed_task_fulfilled_is_cleared",
            implies(t.state == TaskState::Fulfilled, is_cleared && t.resumes.is_empty()),
        ),
        ("well_formed_task_suspended_is_cleared", implies(t.state == TaskState::Suspended, is_cleared)),
        ("well_formed_task_halted_is_cleared", implies(t.state == TaskState::Halted, is_cleared)),
        ("well_formed_task_suspended_has_no_resumes", implies(t.state == TaskState::Suspended, t.resumes.is_empty())),
        ("well_formed_task_resumes_unique", is_unique(&t.resumes)),
        ("well_formed_task_acquired_version_positive", implies(is_acquired, t.version >= 1)),
        ("consistent_task_iff_targeted_promise", state.promises.get(&t.id).is_some_and(Promise::is_targeted)),
        ("consistent_suspended_task_holds_rung", t.state != TaskState::Suspended || !lives || is_awaiter()),
    ]
}

fn of_schedule(s: &Schedule) -> Checks<4> {
    [
        ("well_formed_schedule_promise_tags_not_timer_targeted", !is_timer_with_target(&s.promise_tags)),
        ("well_formed_schedule_created_at_lte_next_run_at", s.created_at <= s.next_run_at),
        ("well_formed_schedule_created_at_lte_last_run_at", s.last_run_at.is_none_or(|at| s.created_at <= at)),
        ("well_formed_schedule_last_run_at_lt_next_run_at", s.last_run_at.is_none_or(|at| at < s.next_run_at)),
    ]
}

fn to_promise(a: &Promise, b: &Promise, after: &State, now: u64, is_internal: bool) -> Checks<13> {
    let was_pending = a.state == PromiseState::Pending;
    let is_pending = b.state == PromiseState::Pending;
    let settles = was_pending && !is_pending;
    let by_client = b.settled_at == Some(now) && now < b.timeout_at && b.state.is_settable();
    let by_deadline =
        b.settled_at == Some(b.timeout_at) && b.timeout_at <= now && b.state == verdict(b) && b.value == a.value;
    let consumed = |id: &&String| !b.callbacks.contains(id);
    // A suspension that finds something settled is told so, and needn't be resumed.
    let is_resumed = |id: &String| {
        after.tasks.get(id).is_none_or(|task| match task.state {
            TaskState::Fulfilled => true,
            TaskState::Acquired if task.resumes.is_empty() => true,
            _ => task.resumes.contains(&a.id),
        })
    };
    [
        (
            "preserved_promise_birth_fields_immutable",
            a.param == b.param && a.tags == b.tags && a.timeout_at == b.timeout_at && a.created_at == b.created_at,
        ),
        (
            "preserved_settled_promise_record",
            implies(!was_pending, a.state == b.state && a.settled_at == b.settled_at && a.value == b.value),
        ),
        ("preserved_promise_settlement_is_one_way", implies(is_pending, was_pending)),
        ("consistent_promise_settled_at_moves_with_state", (a.settled_at != b.settled_at) == (a.state != b.state)),
        ("preserved_promise_value_until_settlement", implies(is_pending, a.value == b.value)),
        ("consistent_promise_settlement_stamp", implies(settles, by_client || by_deadline)),
        ("consistent_promise_state_edge_internal_admissible", implies(settles && is_internal, by_deadline)),
        ("monotone_promise_callbacks_grow_while_pending", implies(is_pending, is_within(&a.callbacks, &b.callbacks))),
        ("monotone_promise_callbacks_shrink_once_settled", implies(!is_pending, is_within(&b.callbacks, &a.callbacks))),
        ("monotone_promise_listeners_grow_while_pending", implies(is_pending, is_within(&a.listeners, &b.listeners))),
        ("monotone_promise_listeners_shrink_once_settled", implies(!is_pending, is_within(&b.listeners, &a.listeners))),
        ("consistent_callback_consumption_resumes_awaiter", a.callbacks.iter().filter(consumed).all(is_resumed)),
        (
            "consistent_settlement_fulfils_task",
            implies(settles, after.tasks.get(&b.id).is_none_or(|task| task.state == TaskState::Fulfilled)),
        ),
    ]
}

/// The deadline may have passed when it was made, or, if a schedule made it, since.
fn new_promise(b: &Promise, now: u64) -> Checks<3> {
    let lives = b.state == PromiseState::Pending && b.created_at < b.timeout_at;
    let is_born_dead = b.settled_at == Some(b.timeout_at) && b.timeout_at <= now && b.state == verdict(b);
    [
        ("consistent_new_promise_born_clean", b.value.data.is_none() && b.value.headers.is_empty()),
        ("consistent_new_promise_born_clean", b.callbacks.is_empty() && b.listeners.is_empty() && b.created_at <= now),
        ("consistent_new_promise_born_clean", lives || is_born_dead),
    ]
}

fn to_task(a: &Task, b: &Task, now: u64, is_internal: bool) -> Checks<15> {
    use TaskState::{Acquired, Fulfilled, Halted, Pending, Suspended};
    let edge = (a.state, b.state);
    let moves = a.state != b.state;
    let from_client = matches!(
        edge,
        (Pending, Acquired | Halted) | (Acquired, Suspended | Halted) | (Suspended, Halted) | (Halted, Pending)
    );
    let by_itself = matches!(edge, (Acquired, Pending) | (Suspended, Pending) | (_, Fulfilled));
    let acquires = moves && b.state == Acquired;
    let leaves = moves && a.state == Acquired;
    let becomes_pending = moves && b.state == Pending;
    let cleared = !a.resumes.is_empty() && b.resumes.is_empty();
    let offered_again = a.state == Pending && b.state == Pending && a.retry_at != b.retry_at;
    [
        ("consistent_task_state_edge_admissible", implies(moves, from_client || by_itself)),
        ("consistent_task_state_edge_internal_admissible", implies(moves && is_internal, by_itself)),
        ("monotone_task_version_increases_only_on_acquisition", b.version == a.version + u64::from(acquires)),
        ("preserved_fulfilled_task", implies(a.state == Fulfilled, a == b)),
        ("preserved_task_acquisition_only_from_pending", implies(acquires, a.state == Pending)),
        (
            "consistent_task_acquisition_is_atomic",
            implies(acquires, b.expires_at == b.ttl.map(|ttl| now + ttl) && b.resumes.is_empty()),
        ),
        ("consistent_task_lease_released_atomically", implies(leaves, b.pid.is_none() && b.expires_at.is_none())),
        (
            "preserved_task_lease_holder_stable",
            implies(a.state == Acquired && b.state == Acquired, a.pid == b.pid && a.ttl == b.ttl),
        ),
        (
            "consistent_task_lease_deadline_is_now_plus_ttl",
            b.expires_at.is_none() || b.expires_at == a.expires_at || b.expires_at == b.ttl.map(|ttl| now + ttl),
        ),
        ("monotone_task_resumes_grow_or_clear", b.resumes.is_empty() || is_within(&a.resumes, &b.resumes)),
        (
            "consistent_task_resumes_cleared_only_on_dispatch_or_park",
            implies(cleared, matches!(b.state, Acquired | Suspended | Fulfilled)),
        ),
        // It is offered in the same step.
        ("consistent_task_pending_entry_arms_retry", implies(becomes_pending, b.retry_at >= Some(now))),
        ("consistent_task_retry_rearm_only_when_due", implies(offered_again, a.retry_at <= Some(now))),
        ("monotone_task_retry_rearm_advances", implies(offered_again, b.retry_at > Some(now))),
        ("consistent_task_wake_records_resume", implies(edge == (Suspended, Pending), !b.resumes.is_empty())),
    ]
}

fn new_task(b: &Task, before: &State) -> Checks<2> {
    let version = u64::from(b.state == TaskState::Acquired);
    let is_known = matches!(b.state, TaskState::Pending | TaskState::Acquired | TaskState::Fulfilled);
    [
        ("consistent_task_birth_state", is_known && b.version == version && b.resumes.is_empty()),
        ("consistent_task_birth_couples_promise_birth", !before.promises.contains_key(&b.id)),
    ]
}

fn to_schedule(a: &Schedule, b: &Schedule) -> Checks<2> {
    [
        (
            "preserved_schedule_birth_fields_immutable",
            a.cron == b.cron
                && a.promise_id == b.promise_id
                && a.promise_timeout == b.promise_timeout
                && a.promise_param == b.promise_param
                && a.promise_tags == b.promise_tags,
        ),
        ("monotone_schedule_runs_advance", a.next_run_at <= b.next_run_at && a.last_run_at <= b.last_run_at),
    ]
}

fn of_message(message: &Message, before: &State, after: &State, now: u64) -> Checks<4> {
    match message {
        Message::Execute { address, id, version } => {
            let (task, promise) = (after.tasks.get(id), after.promises.get(id));
            let lives = |p: &Promise| p.state == PromiseState::Pending && p.timeout_at > now;
            [
                ("consistent_outbox_execute_names_existing_task", task.is_some()),
                ("consistent_outbox_never_ahead", task.is_some_and(|task| task.version == *version)),
                (
                    "consistent_outbox_execute_address_is_target_tag",
                    promise.is_some_and(|promise| promise.tags.get("resonate:target") == Some(address)),
                ),
                ("preserved_execute_only_for_live_task", promise.is_some_and(lives)),
            ]
        }
        Message::Unblock { address, id } => {
            let listened = |p: &Promise| p.listeners.contains(address);
            [
                (
                    "consistent_outbox_unblock_names_settled_promise",
                    after.promises.get(id).is_some_and(|promise| promise.state != PromiseState::Pending),
                ),
                ("consistent_outbox_unblock_address_deliverable", is_deliverable(address)),
                ("consistent_new_unblock_discharges_its_listener", before.promises.get(id).is_some_and(listened)),
                ("consistent_new_unblock_discharges_its_listener", !after.promises.get(id).is_some_and(listened)),
            ]
        }
    }
}

fn verdict(promise: &Promise) -> PromiseState {
    if promise.is_timer() { PromiseState::Resolved } else { PromiseState::RejectedTimedout }
}

fn is_unique(texts: &[String]) -> bool {
    texts.iter().enumerate().all(|(n, text)| !texts[..n].contains(text))
}

fn is_within(some: &[String], all: &[String]) -> bool {
    some.iter().all(|text| all.contains(text))
}
