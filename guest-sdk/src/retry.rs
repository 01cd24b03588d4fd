//! When a failed call or step is tried again, and after how long.

use std::time::Duration;

use crate::error::ErrorKind;

/// How long a delay grows where nothing else is said.
const LONGEST: Duration = Duration::from_secs(60);

/// A retry policy: how often, with what delays, and after which kinds of failure.
///
/// Each attempt is a call (or step) of its own and the delays between them are durable sleeps, so a crash of the host
/// loses neither the count nor the wait. The delay doubles with each attempt, from one second to at most a minute, if
/// not set otherwise. By default an attempt that failed, crashed or timed out is followed by another; one that was
/// canceled or refused isn't, because the next would end in the same way.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # #[function] async fn charge(cents: u64) -> Result<String>;
/// #[function]
/// async fn checkout(cents: u64) -> Result<String> {
///     let patient = Retry::attempts(5).delay(Duration::from_millis(200)).max_delay(Duration::from_secs(10));
///     let receipt = charge(cents).retry(patient).await?;
///     Ok(receipt)
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    attempts: u32,
    delay: Duration,
    factor: u32,
    /// None: a minute, or the first delay if that is longer.
    max_delay: Option<Duration>,
    when: fn(ErrorKind) -> bool,
}

impl Retry {
    /// One attempt: what a call does without a policy.
    ///
    /// ```
    /// # use guest_sdk::prelude::*;
    /// let once = Retry::never();
    /// ```
    pub const fn never() -> Retry {
        Retry::attempts(1)
    }

    /// So many attempts in all, the first one included.
    ///
    /// ```
    /// # use guest_sdk::prelude::*;
    /// let three_in_all = Retry::attempts(3);
    /// ```
    pub const fn attempts(attempts: u32) -> Retry {
        Retry { attempts, delay: Duration::from_secs(1), factor: 2, max_delay: None, when: ErrorKind::is_worth_a_retry }
    }

    /// Until it succeeds, or the caller's own deadline passes.
    ///
    /// ```
    /// # use guest_sdk::prelude::*;
    /// let hourly = Retry::forever().delay(Duration::from_secs(3600)).factor(1);
    /// ```
    pub const fn forever() -> Retry {
        Retry::attempts(u32::MAX)
    }

    /// The delay after the first attempt.
    ///
    /// ```
    /// # use guest_sdk::prelude::*;
    /// let quick = Retry::attempts(3).delay(Duration::from_millis(10));
    /// ```
    pub const fn delay(mut self, delay: Duration) -> Retry {
        self.delay = delay;
        self
    }

    /// What the delay is multiplied by after each attempt: 1 keeps it the same.
    ///
    /// ```
    /// # use guest_sdk::prelude::*;
    /// let every_second = Retry::attempts(10).factor(1);
    /// ```
    pub const fn factor(mut self, factor: u32) -> Retry {
        self.factor = factor;
        self
    }

    /// The longest delay. Not set, it is a minute, or the first delay if that is longer.
    ///
    /// ```
    /// # use guest_sdk::prelude::*;
    /// let at_least_hourly = Retry::forever().max_delay(Duration::from_secs(3600));
    /// ```
    pub const fn max_delay(mut self, max_delay: Duration) -> Retry {
        self.max_delay = Some(max_delay);
        self
    }

    /// Which kinds of failure are followed by another attempt. To decide by the function's own error, see
    /// [`Call::retry_if`](crate::Call::retry_if).
    ///
    /// ```
    /// # use guest_sdk::{prelude::*, ErrorKind};
    /// let only_crashes = Retry::attempts(3).when(|kind| kind == ErrorKind::Crashed);
    /// ```
    pub const fn when(mut self, when: fn(ErrorKind) -> bool) -> Retry {
        self.when = when;
        self
    }

    /// How long to wait after the attempt of this number (from 1) failed so. None: that was the last one.
    pub(crate) fn delay_after(&self, attempt: u32, kind: ErrorKind) -> Option<Duration> {
        if attempt >= self.attempts || !(self.when)(kind) {
            return None;
        }
        let factor = self.factor.saturating_pow(attempt - 1);
        let longest = self.max_delay.unwrap_or(LONGEST.max(self.delay));
        Some(self.delay.saturating_mul(factor).min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let retry = Retry::attempts(5).max_delay(Duration::from_secs(3));
        let delays: Vec<_> =
            (1..).map_while(|n| retry.delay_after(n, ErrorKind::Failed)).map(|d| d.as_secs()).collect();
        assert_eq!(delays, [1, 2, 3, 3]);
        let hourly = Retry::attempts(3).delay(Duration::from_secs(3600));
        assert_eq!(hourly.delay_after(2, ErrorKind::Failed), Some(Duration::from_secs(3600)));
        let brief = Retry::attempts(3).max_delay(Duration::from_millis(10));
        assert_eq!(brief.delay_after(1, ErrorKind::Failed), Some(Duration::from_millis(10)));
        assert_eq!(retry.delay_after(1, ErrorKind::Canceled), None);
        assert!(Retry::forever().delay_after(1_000_000, ErrorKind::Crashed).is_some());
    }
}
