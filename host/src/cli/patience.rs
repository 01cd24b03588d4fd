//! Waiting for something that takes longer than a connection lives, and perhaps longer than a host does.

use std::time::Duration;

use super::Context;
use super::failure::Failure;

/// The first pause before asking again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Bears with a host that goes away while it is waited for. What waits must be safe to ask for again.
pub(super) struct Patience<'a> {
    context: &'a Context,
    /// The host was there once, so it is expected back. Before that, its absence is an error.
    was_there: bool,
    /// It is away, and the person at the terminal was told.
    is_away: bool,
    pause: Duration,
}

impl<'a> Patience<'a> {
    pub(super) fn new(context: &'a Context) -> Patience<'a> {
        Patience { context, was_there: false, is_away: false, pause: FIRST_PAUSE }
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
    }

    /// The host was away when it was last asked.
    pub(super) fn is_away(&self) -> bool {
        self.is_away
    }

    fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        match &failure {
            Failure::Lost { .. } => {}
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
