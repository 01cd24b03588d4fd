//! What has ended long ago is removed, a little at a time, whenever the host has nothing better to do.
//!
//! Which trees may go, and what of them, is the machine's to say. This picks those whose time has come from the index of
//! what was settled, and puts them to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use machine::{Id, Old, Op};

use super::Shared;
use super::unneeded::Unneeded;
use crate::store::{Reader, StoreError};

/// How many promises go into one record. It bounds how long the lock is held.
pub(super) const AT_ONCE: usize = 64;
/// How many trees are looked up at a time.
const TREES: usize = 1_000;
/// Between two looks for what has to go.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two records, so that others get the lock: a long one if guests wait for a worker.
const SHORT: Duration = Duration::from_micros(500);
const LONG: Duration = Duration::from_millis(5);

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
        let (now, reader) = (inner.now(), inner.view.reader().clone());
        if let Err(error) = inner.unlocked(|shared| look(shared, &reader, now)) {
            tracing::error!("what has ended long ago can't be removed: {error}");
        }
        if let Err(error) = unneeded.remove(&mut inner) {
            tracing::error!("the files of a component that nothing needs can't be removed: {error}");
        }
    }
}

/// Remove all that is due by now, function by function.
fn look(shared: &Shared, reader: &Reader, now: u64) -> Result<(), StoreError> {
    let mut function = reader.settled_function(None)?;
    while let Some(name) = function {
        let retention_ms = shared.options.retention.of(&name);
        let (mut after, until) = ((0, 0), now.saturating_sub(retention_ms));
        loop {
            let due = reader.settled(&name, after, until, TREES)?;
            let Some((at, number, _)) = due.last() else { break };
            after = (*at, *number);
            let mut trees = Trees { shared, trees: Vec::new(), count: 0 };
            for root in due.iter().filter_map(|(.., id)| Id::parse(id).ok()) {
                reader.upwards(&root, AT_ONCE, |ids| trees.add(Old { root: root.clone(), ids, retention_ms }))?;
            }
            trees.remove();
            if shared.lock().stopping {
                return Ok(());
            }
        }
        function = reader.settled_function(Some(&name))?;
    }
    Ok(())
}

/// What is to go into one record.
struct Trees<'a> {
    shared: &'a Shared,
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
        while inner.admit(self.shared.options.backlog / 2).is_err() && !inner.stopping {
            inner.wait_for(|signals| &signals.stopping, LONG);
        }
        if inner.stopping || trees.is_empty() {
            return false;
        }
        let has_gone = inner.apply(Op::Forget { trees }).is_ok();
        let pause = if inner.sessions.backlog() > 0 { LONG } else { SHORT };
        inner.wait_for(|signals| &signals.stopping, pause);
        has_gone
    }
}
