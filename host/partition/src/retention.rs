//! What has ended long ago is removed, a little at a time, whenever the host has nothing better to do.
//!
//! Which trees may go, and what of them, is the machine's to say. This picks those whose time has come from the index of
//! what was settled, and puts them to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use machine::{Id, Old, Op, Standing, needed_for};

use super::Shared;
use super::locked::Locked;
use super::unneeded::Unneeded;
use host_store::{Reader, StoreError};

/// How many promises go into one record. It bounds how long the lock is held.
pub(super) const AT_ONCE: usize = 64;
/// How many trees are looked up at a time. As long as they take, the store uses no room again that it gives up.
const TREES: usize = 100;
/// Between two looks for what has to go.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two records, so that others get the lock: a long one if guests wait for a worker, unless what is removed should
/// long be gone. As much has to go as comes, or the disk fills.
const SHORT: Duration = Duration::from_micros(500);
const LONG: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_secs(15);

/// How long what has ended is kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Of promises, and of executions of functions that are not named.
    pub default: Duration,
    /// Of executions, by the name of their function.
    pub by_function: HashMap<String, Duration>,
}

impl Retention {
    fn of(&self, function: &str) -> u64 {
        let duration = self.by_function.get(function).unwrap_or(&self.default);
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
    }
}

pub(super) fn run(shared: &Arc<Shared>) {
    let mut inner = shared.lock();
    // What is due soon after it has ended is looked for soon.
    let retention = &shared.options.retention;
    let shortest = retention.by_function.values().chain([&retention.default]).min().expect("there is a default");
    let pause = PAUSE.min(*shortest / 2).max(Duration::from_millis(100));
    let mut unneeded = Unneeded::default();
    while !inner.stopping {
        inner.wait_for(|signals| &signals.stopping, pause);
        let now = inner.now();
        if let Err(error) = inner.unlocked(|shared| look(shared, now)) {
            tracing::error!("what has ended long ago can't be removed: {error}");
        }
        if let Err(error) = unneeded.remove(&mut inner) {
            tracing::error!("the files of a component that nothing needs can't be removed: {error}");
        }
    }
}

/// Remove all that is due by now, function by function.
fn look(shared: &Shared, now: u64) -> Result<(), StoreError> {
    let mut function = reader(shared).settled_function(None)?;
    while let Some(name) = function {
        let retention_ms = shared.options.retention.of(&name);
        let (mut after, until) = ((0, 0), now.saturating_sub(retention_ms));
        loop {
            let reader = reader(shared);
            let due = reader.settled(&name, after, until, TREES)?;
            let Some((at, number, _)) = due.last() else { break };
            after = (*at, *number);
            let is_late = until.saturating_sub(*at) > LATE.as_millis() as u64;
            let mut trees = Trees { shared, is_late, trees: Vec::new(), count: 0 };
            for root in due.iter().filter_map(|(.., id)| Id::parse(id).ok()) {
                // What is needed for long is not to be read under the lock again and again.
                if !is_needed(&reader, &root, now, retention_ms)? {
                    reader.upwards(&root, AT_ONCE, |ids| trees.add(Old { root: root.clone(), ids, retention_ms }))?;
                }
            }
            trees.remove();
            if shared.lock().stopping {
                return Ok(());
            }
        }
        function = reader(shared).settled_function(Some(&name))?;
    }
    Ok(())
}

/// The tables as they are now. While somebody reads them, the room that they give up can't be used again.
fn reader(shared: &Shared) -> Arc<Reader> {
    shared.lock().view.reader().clone()
}

/// Whether a root is needed, as far as the tables have it.
fn is_needed(reader: &Reader, root: &Id, now: u64, retention_ms: u64) -> Result<bool, StoreError> {
    let mut failed = None;
    let Some((promise, _)) = reader.promise(root.as_str())? else { return Ok(true) };
    // Its deadline has passed, which nobody has looked at.
    if promise.outcome.is_none() {
        return Ok(false);
    }
    let needed = needed_for(&promise, now, retention_ms, |id| match reader.promise(id.as_str()) {
        Ok(Some((promise, _))) if promise.outcome.is_none() => Standing::Pending,
        Ok(Some(_)) => Standing::Settled,
        // If it is elsewhere, the machine says what follows from that.
        Ok(None) => Standing::Absent,
        Err(error) => {
            failed.get_or_insert(error);
            Standing::Absent
        }
    });
    failed.map_or(Ok(needed.is_some()), Err)
}

/// What is to go into one record.
struct Trees<'a> {
    shared: &'a Shared,
    is_late: bool,
    trees: Vec<Old>,
    count: usize,
}

impl Trees<'_> {
    /// Add a part of a tree. Whether it makes sense to go on with the tree.
    fn add(&mut self, part: Old) -> bool {
        self.count += part.ids.len();
        self.trees.push(part);
        self.count < AT_ONCE || self.remove()
    }

    /// Put them to the machine. Whether any of it may go.
    fn remove(&mut self) -> bool {
        let trees = std::mem::take(&mut self.trees);
        self.count = 0;
        let mut inner = self.shared.lock();
        // It makes work for the writer of the store, and so can wait if that has enough.
        let backlog = self.shared.options.backlog;
        let has_enough = |inner: &Locked<'_>| match self.is_late {
            true => inner.admit_underway().is_err() || inner.is_behind(backlog),
            false => inner.admit(backlog / 2).is_err(),
        };
        while has_enough(&inner) && !inner.stopping {
            inner.wait_for(|signals| &signals.stopping, LONG);
        }
        if inner.stopping || trees.is_empty() {
            return false;
        }
        let has_gone = inner.apply(Op::Forget { trees }).is_ok();
        let pause = if inner.sessions.backlog() > 0 && !self.is_late { LONG } else { SHORT };
        inner.wait_for(|signals| &signals.stopping, pause);
        has_gone
    }
}
