//! Components that nothing needs any more, and their files. Which those are is the machine's to say.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use machine::{Digest, Op, State};

use super::faults::{self, Point};
use super::locked::Locked;

/// How often to look whether the host is to stop, while a group is committed.
const PATIENCE: Duration = Duration::from_millis(500);

/// Removes them.
#[derive(Default)]
pub(super) struct Unneeded {
    /// Whether there can be no files but those of components that are known: a host may have been killed before it had
    /// removed others.
    is_swept: bool,
}

impl Unneeded {
    /// The record comes first, and is durable before their files go. Nothing is done if the host has other troubles.
    pub(super) fn remove(&mut self, inner: &mut Locked<'_>) -> io::Result<()> {
        // Partitions share their files, and components stay.
        if inner.view.partition().is_some() || inner.admit(usize::MAX).is_err() {
            return Ok(());
        }
        let unneeded = inner.view.unneeded_components();
        let names: HashMap<Digest, &str> = unneeded.iter().map(|c| (c.digest, c.name.as_str())).collect();
        if !names.is_empty() {
            let _ = inner.apply(Op::Uninstall { digests: names.keys().copied().collect() });
            self.is_swept = false;
        }
        if self.is_swept {
            return Ok(());
        }
        let applied = inner.applied;
        inner.wanted = inner.wanted.max(applied);
        while inner.committed < applied {
            if inner.stopping || inner.broken().is_some() {
                return Ok(());
            }
            inner.wait_for(|signals| &signals.committed, PATIENCE);
        }
        let removed = inner.unlocked(|shared| {
            faults::pass(Point::Uninstalled);
            shared.programs.sweep(|digest| shared.lock().view.component(digest).is_some())
        })?;
        self.is_swept = true;
        for digest in removed {
            let name = names.get(&digest).unwrap_or(&"");
            tracing::info!(
                "removed the component {name} {digest}: it isn't current, and nothing that is kept runs on it"
            );
        }
        Ok(())
    }
}
