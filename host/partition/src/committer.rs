//! Groups of records to the log, then what waited for them.
//!
//! A group is committed as soon as something waits for it; records that nobody waits for yet are committed together a
//! little later. While one group is being committed the next one fills. Whoever has the log in its hands commits: the
//! committer, or a thread that waits for the group itself and for which the committer would have to be woken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::faults::{self, Point};
use super::inner::Release;
use super::locked::Locked;
use host_log::{Group, Log};
use host_store::StoreError;

/// The longest that a record stays undurable when nothing waits for it.
const UNHURRIED: Duration = Duration::from_millis(5);
/// How long after a group the next one is looked for without being told, which saves whoever records from telling.
const BUSY: Duration = Duration::from_millis(100);
/// How often to look whether the host is to stop, when there is nothing to commit.
const IDLE: Duration = Duration::from_millis(500);

pub(super) fn run(shared: &Arc<Shared>) {
    let mut inner = shared.lock();
    let mut oldest: Option<(u64, Instant)> = None;
    let mut last = (0, Instant::now());
    loop {
        if inner.broken().is_some() {
            return;
        }
        if inner.log.is_none() || inner.group.count == 0 {
            if inner.stopping && inner.log.is_some() && !inner.sessions.any_running() {
                inner.all_committed = true;
                shared.signals.committed.notify_all();
                return;
            }
            if last.0 != inner.committed {
                last = (inner.committed, Instant::now());
            }
            inner.committer_dozes = last.1.elapsed() > BUSY;
            let timeout = if inner.committer_dozes { IDLE } else { UNHURRIED };
            inner.wait_for(|signals| &signals.recorded, timeout);
            inner.committer_dozes = false;
            continue;
        }
        // How long this group has been there, as far as it was seen.
        let first = inner.group.first;
        let since = match oldest {
            Some((group, since)) if group == first => since,
            _ => Instant::now(),
        };
        oldest = Some((first, since));
        let age = since.elapsed();
        if !inner.is_hurried() && age < UNHURRIED {
            inner.wait_for(|signals| &signals.recorded, UNHURRIED - age);
            continue;
        }
        commit(&mut inner, |log, group, trim| log.append(group, trim).map(|()| true));
    }
}

/// Commit what this thread is about to wait for, if it would be the only one to wait for it and nothing else is going on.
/// If there is no room on the disk it is left to the committer, which can wait.
pub(super) fn help(inner: &mut Locked<'_>) {
    let is_alone = inner.held.len() == 1 && inner.last_released <= 1 && !inner.sessions.any_running();
    if is_alone && inner.log.is_some() && inner.group.count > 0 {
        commit(inner, |log, group, trim| log.append_now(group, trim));
    }
}

/// Commit the group that is there, with the log that is there.
fn commit(inner: &mut Locked<'_>, append: impl FnOnce(&mut dyn Log, &Group, u64) -> Result<bool, StoreError>) {
    let Some(mut log) = inner.log.take() else { return };
    let mut group = inner.take_group();
    let trim = inner.written;
    let (log, appended) = inner.unlocked(|_| {
        faults::pass(Point::BeforeCommit);
        let appended = append(&mut *log, &group, trim);
        faults::pass(Point::AfterCommit);
        (log, appended)
    });
    match appended {
        Ok(true) => {}
        Ok(false) => {
            // What was applied meanwhile is behind it in one group.
            let more = std::mem::take(&mut inner.group);
            group.count += more.count;
            group.bytes.extend_from_slice(&more.bytes);
            inner.group = group;
            inner.log = Some(log);
            return;
        }
        Err(error) => {
            // Nobody was told anything of what the group has, and nobody will be.
            inner.fail(error.to_string());
            inner.unlocked(|shared| shared.signals.wake_all());
            return;
        }
    }
    inner.log = Some(log);
    let released = inner.was_committed(group.last());
    inner.unlocked(|shared| {
        shared.signals.committed.notify_all();
        if !released.is_empty() {
            released.into_iter().for_each(Release::release);
            faults::pass(Point::AfterRelease);
        }
    });
}
