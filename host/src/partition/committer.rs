//! Groups of records to the log, then what waited for them.
//!
//! A group is committed as soon as something waits for it; records that nobody waits for yet are committed together a
//! little later. While one group is being committed the next one fills.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::faults::{self, Point};
use super::inner::Release;
use super::{AnyLog, Shared};
use crate::log::Group;

/// The longest that a record stays undurable when nothing waits for it.
const UNHURRIED: Duration = Duration::from_millis(5);
/// How long after a group the next one is looked for without being told, which saves whoever records from telling.
const BUSY: Duration = Duration::from_millis(100);
/// How often to look whether the host is to stop, when there is nothing to commit.
const IDLE: Duration = Duration::from_millis(500);

pub(super) fn run(shared: &Arc<Shared>, mut log: AnyLog) {
    let mut released: Vec<Release> = Vec::new();
    let mut inner = shared.lock();
    let mut oldest: Option<Instant> = None;
    let mut last = Instant::now();
    loop {
        if inner.group.count == 0 {
            if inner.stopping && !inner.sessions.any_running() {
                shared.signals.committed.notify_all();
                return;
            }
            oldest = None;
            inner.committer_dozes = last.elapsed() > BUSY;
            let timeout = if inner.committer_dozes { IDLE } else { UNHURRIED };
            shared.signals.recorded.wait_for(&mut inner, timeout);
            inner.committer_dozes = false;
            continue;
        }
        let is_wanted = !inner.held.is_empty() || inner.wanted > inner.committed || inner.stopping;
        let age = oldest.get_or_insert_with(Instant::now).elapsed();
        if !is_wanted && age < UNHURRIED {
            shared.signals.recorded.wait_for(&mut inner, UNHURRIED - age);
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
        last = Instant::now();
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
