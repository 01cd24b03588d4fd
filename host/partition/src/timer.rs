//! What happens by itself: when the time for something has come, the machine is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;

/// How many of them go into one record. It bounds how long the lock is held.
const AT_ONCE: usize = 256;
/// How long deadlines wait while half as much is under way as makes the host refuse new work. They are past in any case;
/// and a million that pass at once are neither to fill the memory nor to keep everybody else out.
const BREATHER: Duration = Duration::from_millis(5);
/// And while executions wait for workers for longer than this: what new calls call isn't to wait behind all that wakes.
const PROMPT: Duration = Duration::from_millis(50);
/// The longest sleep: the clock may be set while it lasts.
const LONGEST: Duration = Duration::from_secs(1);

pub(super) fn run(shared: &Arc<Shared>) {
    let mut retried = Instant::now();
    let mut inner = shared.lock();
    while !inner.stopping {
        if inner.paused || inner.broken().is_some() {
            inner.wait_for(|signals| &signals.deadline, LONGEST);
            continue;
        }
        if retried.elapsed() >= LONGEST {
            inner.retry_later();
            retried = Instant::now();
        }
        if inner.is_behind((shared.options.backlog / 2).max(AT_ONCE)) || inner.sessions.waited() > PROMPT {
            inner.timer_at = 0;
            inner.wait_for(|signals| &signals.deadline, BREATHER);
            continue;
        }
        if inner.act(AT_ONCE) {
            inner.unlocked(|_| ());
            continue;
        }
        let next = inner.view.next_due();
        inner.timer_at = next;
        let now = inner.now();
        let sleep = Duration::from_millis(next.saturating_sub(now)).min(LONGEST);
        inner.wait_for(|signals| &signals.deadline, sleep);
    }
}
