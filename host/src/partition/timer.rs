//! Deadlines: when one passes, the machine is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use machine::Op;

use super::Shared;

/// How many deadlines go into one record. It bounds how long the lock is held.
const AT_ONCE: usize = 256;
/// The longest sleep: the clock may be set while it lasts.
const LONGEST: Duration = Duration::from_secs(1);

pub(super) fn run(shared: &Arc<Shared>) {
    let mut retried = Instant::now();
    let mut inner = shared.lock();
    while !inner.stopping {
        let now = inner.now();
        let due = inner.view.due(now, AT_ONCE);
        if !due.is_empty() {
            // It rejects nothing: what isn't due, or is settled, is passed over.
            let _ = inner.apply(Op::Expire { ids: due });
            inner.unlocked(|_| ());
            continue;
        }
        if retried.elapsed() >= LONGEST {
            inner.retry_later();
            retried = Instant::now();
        }
        let next = inner.view.next_due();
        inner.timer_at = next;
        let sleep = Duration::from_millis(next.saturating_sub(now)).min(LONGEST);
        inner.wait_for(|signals| &signals.deadline, sleep);
    }
}
