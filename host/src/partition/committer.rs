//! Groups of records to the log, then what waited for them.
//!
//! A group is committed as soon as something waits for it; records that nobody waits for yet are committed together a
//! little later. While one group is being committed the next one fills.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::faults::{self, Point};
use super::inner::{Inner, Release};
use super::{AnyLog, Shared};
use crate::log::Group;

/// The longest that a record stays undurable when nothing waits for it.
const UNHURRIED: Duration = Duration::from_millis(5);
/// How often to look whether the host is to stop, when there is nothing to commit.
const IDLE: Duration = Duration::from_millis(500);

pub(super) fn run(shared: &Arc<Shared>, mut log: AnyLog) {
    let mut released: Vec<Release> = Vec::new();
    let mut inner = shared.lock();
    let mut oldest: Option<Instant> = None;
    loop {
        if inner.group.count == 0 {
            if inner.stopping && !inner.sessions.any_running() {
                shared.signals.committed.notify_all();
                return;
            }
            oldest = None;
            inner = wait(shared, inner, IDLE);
            continue;
        }
        let is_wanted = !inner.held.is_empty() || inner.wanted > inner.committed || inner.stopping;
        let age = oldest.get_or_insert_with(Instant::now).elapsed();
        if !is_wanted && age < UNHURRIED {
            inner = wait(shared, inner, UNHURRIED - age);
            continue;
        }
        oldest = None;
        let next = Group { first: inner.applied + 1, ..Group::default() };
        let group = std::mem::replace(&mut inner.group, next);
        let trim = inner.written;
        drop(inner);
        faults::pass(Point::BeforeCommit);
        let appended = log.append(&group, trim);
        faults::pass(Point::AfterCommit);
        inner = shared.lock();
        if let Err(error) = appended {
            // Nobody was told anything of what the group has, and nobody will be.
            inner.fail(error.to_string());
            shared.signals.committed.notify_all();
            return;
        }
        inner.committed = group.last();
        let committed = inner.committed;
        while inner.held.front().is_some_and(|(number, _)| *number <= committed) {
            let (_, release) = inner.held.pop_front().expect("there is a front");
            released.push(release);
        }
        shared.signals.committed.notify_all();
        if !released.is_empty() {
            drop(inner);
            released.drain(..).for_each(Release::release);
            faults::pass(Point::AfterRelease);
            inner = shared.lock();
        }
    }
}

fn wait<'a>(shared: &'a Shared, inner: MutexGuard<'a, Inner>, timeout: Duration) -> MutexGuard<'a, Inner> {
    let waited = shared.signals.recorded.wait_timeout(inner, timeout);
    waited.expect("no thread panics while it holds the lock").0
}
