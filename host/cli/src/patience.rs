//! Waiting for something that takes longer than a connection lives, and perhaps longer than a host does.

use std::time::{Duration, Instant};

use super::Context;
use super::failure::Failure;

/// The first pause before asking again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a host may have too much to do before that is an error.
const BUSY: Duration = Duration::from_secs(60);

/// Bears with a host that goes away while it is waited for. What waits must be safe to ask for again.
pub(super) struct Patience<'a> {
    context: &'a Context,
    /// The host was there once, so it is expected back. Before that, its absence is an error.
    was_there: bool,
    /// It is away, and the person at the terminal was told.
    is_away: bool,
    pause: Duration,
    /// Since when the host has had too much to do, if it has.
    busy_since: Option<Instant>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(context: &'a Context) -> Patience<'a> {
        Patience { context, was_there: false, is_away: false, pause: FIRST_PAUSE, busy_since: None }
    }

    /// Try until there is something. `attempt` gives None when there is nothing yet.
    pub(super) fn until<T>(
        mut self,
        mut attempt: impl FnMut(&mut Patience) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        loop {
            match attempt(&mut self) {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => self.reached(),
                Err(failure) => self.bear(failure)?,
            }
            std::thread::sleep(self.pause);
        }
    }

    /// The host has answered.
    pub(super) fn reached(&mut self) {
        if std::mem::take(&mut self.is_away) {
            self.context.screen.note("the host is back");
        }
        self.was_there = true;
        self.pause = FIRST_PAUSE;
        self.busy_since = None;
    }

    /// The host was away when it was last asked.
    pub(super) fn is_away(&self) -> bool {
        self.is_away
    }

    /// The host is there and takes on nothing new. Whether to ask again, which is not sooner than it says, and not when
    /// everybody else does.
    fn wait_for_room(&mut self, retry_after: Option<Duration>) -> bool {
        let since = *self.busy_since.get_or_insert_with(|| {
            self.context.screen.note("the host has too much to do just now; waiting for it to take this on");
            Instant::now()
        });
        let spread = u64::from(std::process::id()) % 1_000 + since.elapsed().as_millis() as u64 % 7;
        self.pause = retry_after.unwrap_or(FIRST_PAUSE) + Duration::from_millis(spread);
        since.elapsed() < BUSY
    }

    fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        match &failure {
            Failure::Lost { .. } => {}
            Failure::Refused { code, retry_after, .. } if code == "overloaded" => {
                return if self.wait_for_room(*retry_after) { Ok(()) } else { Err(failure) };
            }
            Failure::Unreachable { .. } | Failure::Refused { status: 503, .. } if self.was_there => {}
            _ => return Err(failure),
        }
        self.was_there = true;
        if !std::mem::replace(&mut self.is_away, true) {
            let reason = match &failure {
                Failure::Unreachable { url, .. } => format!("there is no host at {url} any more"),
                other => other.to_string(),
            };
            self.context.screen.note(&format!("{reason}; waiting for it to come back (nothing is lost)"));
        } else {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }
}
