//! Schedules: made and forgotten by clients, acted upon when their time comes.
//!
//! Occurrences that were missed, because the host wasn't there, are made up for, each at its own time: a promise that
//! would have timed out by now is born so.

use super::requests::check_delay;
use super::{Granted, Step};
use crate::foreign::{BRANCH, ORIGIN, PARENT, SCHEDULE, is_address, is_timer_with_target, target};
use crate::schedule::{NEVER, expand, next_occurrence};
use crate::{Call, NewPromise, NewSchedule, Refusal, Schedule, State};

/// How many occurrences one record acts upon. It bounds how long that takes; the rest follow in other records.
const AT_ONCE: usize = 256;
/// How many schedules there can be: all of them are in memory.
const MAX_SCHEDULES: usize = 10_000;

impl<S: State> Step<'_, S> {
    pub(super) fn create_schedule(&mut self, new: NewSchedule) -> Result<Granted, Refusal> {
        if is_timer_with_target(&new.template.tags) {
            return Err(Refusal::TimerWithTarget);
        }
        if self.state.schedule(&new.id).is_some() {
            return Ok(Granted::Done);
        }
        if self.state.count_schedules() >= MAX_SCHEDULES {
            return Err(Refusal::ManySchedules);
        }
        let next_run_at = next_occurrence(&new.cron, self.now).ok_or(Refusal::Cron)?;
        expand(&new.promise_id, &new.id, next_run_at).ok_or(Refusal::PromiseId)?;
        check_delay(&new.template.tags, u64::MAX)?;
        if target(&new.template.tags).is_some_and(|target| !is_address(target)) {
            return Err(Refusal::Address);
        }
        let NewSchedule { id, cron, promise_id, promise_timeout_ms, template } = new;
        self.changed = true;
        self.state.put_schedule(Schedule {
            id,
            cron,
            promise_id,
            promise_timeout_ms,
            template,
            created_at: self.now,
            next_run_at,
            last_run_at: None,
        });
        Ok(Granted::Done)
    }

    pub(super) fn delete_schedule(&mut self, id: &str) -> Result<Granted, Refusal> {
        self.state.schedule(id).ok_or(Refusal::NoSchedule)?;
        self.changed = true;
        self.state.remove_schedule(id);
        Ok(Granted::Done)
    }

    /// Make the promises of the occurrences that have come, the earliest first, and no more than fit into a record.
    pub(super) fn run_schedule(&mut self, id: &str) {
        for _ in 0..AT_ONCE {
            let Some(schedule) = self.state.schedule(id).filter(|s| s.next_run_at <= self.now) else { return };
            let mut schedule = schedule.clone();
            let at = schedule.next_run_at;
            schedule.last_run_at = Some(at);
            schedule.next_run_at = next_occurrence(&schedule.cron, at).unwrap_or(NEVER);
            self.come(&schedule, at);
            self.changed = true;
            self.state.put_schedule(schedule);
        }
    }

    fn come(&mut self, schedule: &Schedule, at: u64) {
        let Some(id) = schedule.promise_at(at) else { return };
        let mut template = schedule.template.clone();
        template.tags.insert(SCHEDULE.into(), schedule.id.clone());
        // It is the root of what its worker makes of it, as far as the schedule doesn't say otherwise.
        for (name, value) in [(ORIGIN, id.origin()), (BRANCH, id.as_str()), (PARENT, id.as_str())] {
            template.tags.entry(name.into()).or_insert_with(|| value.into());
        }
        if let Some(Call::Function { seed, .. }) = &mut template.call {
            *seed = super::executions::child_seed(*seed, at);
        }
        let timeout_at = at.saturating_add(schedule.promise_timeout_ms);
        self.occur_somewhere(NewPromise { id, timeout_at, template }, at);
    }

    /// Make the promise of an occurrence, as of its own time.
    pub(super) fn occur(&mut self, promise: NewPromise, at: u64) {
        let id = promise.id.clone();
        if self.look(&id).is_some() {
            return;
        }
        // Where it comes from another partition, the clock there may have been ahead.
        let now = self.now;
        self.now = at.min(now);
        // What is refused here was refused when the schedule was made, but for ids that an execution has taken since.
        let _ = self.make(promise, None);
        self.now = now;
        // Its own time, and its deadline, may be long ago.
        self.expire(&id);
        self.offer(&id);
    }
}
