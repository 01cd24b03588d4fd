//! Cuts of the state to the store, behind the log.
//!
//! A cut is all that changed, at one position of the log. It is written once the log is durable up to there, and when
//! it is written, the log needs its records no longer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::faults::{self, Point};
use super::locked::Locked;
use host_store::{Reader, Store, StoreError};

/// How long changes are gathered, so that what changes often is written once.
const GATHER: Duration = Duration::from_millis(500);

pub(super) fn run(shared: &Arc<Shared>, mut store: Store) {
    let mut inner = shared.lock();
    loop {
        gather(&mut inner);
        if inner.unwritten() {
            let cut = inner.cut();
            inner.wanted = inner.wanted.max(cut.applied);
            while inner.committed < cut.applied && inner.broken().is_none() {
                inner.wait(|signals| &signals.committed);
            }
            if inner.broken().is_some() {
                return;
            }
            let written = inner.unlocked(|_| {
                faults::pass(Point::BeforeWrite);
                let written = store.write(&cut).and_then(|saved| Ok((saved, store.reader()?)));
                faults::pass(Point::AfterWrite);
                if let Some(place) = &shared.place
                    && written.is_ok()
                {
                    (place.written)(cut.applied);
                }
                written
            });
            match written {
                Ok((saved, reader)) => inner.cut_was_written(&cut, saved, reader),
                Err(error) => return inner.fail(error.to_string()),
            }
        }
        inner.write_now = false;
        shared.signals.written.notify_all();
        match inner.unlocked(|_| compact(&mut store)) {
            Ok(None) => {}
            Ok(Some(reader)) => inner.view.read_from(reader),
            Err(error) => return inner.fail(error.to_string()),
        }
        if inner.stopping && !inner.unwritten() {
            if !inner.sessions.any_running() {
                return;
            }
            // The worker of the last turn says when it is over. It needs the lock for that.
            inner.wait_for(|signals| &signals.write, GATHER);
        }
    }
}

/// Give room back to the disk, if it is time for that. How the tables are read from here on, if they have moved.
fn compact(store: &mut Store) -> Result<Option<Reader>, StoreError> {
    let begun = Instant::now();
    let Some(copy) = store.compacted()? else { return Ok(None) };
    faults::pass(Point::BeforeReplace);
    store.replace(copy)?;
    faults::pass(Point::AfterReplace);
    let reader = store.reader()?;
    tracing::info!(
        "the compacted store has taken its place, for which the writer stood still for {:?}",
        begun.elapsed()
    );
    Ok(Some(reader))
}

/// Until there is enough to write, or it was long enough ago, or somebody wants to read.
fn gather(inner: &mut Locked<'_>) {
    let begun = Instant::now();
    loop {
        let waited = begun.elapsed();
        if inner.write_now || inner.stopping || inner.is_cut_due() || waited >= GATHER {
            return;
        }
        inner.wait_for(|signals| &signals.write, GATHER - waited);
    }
}
