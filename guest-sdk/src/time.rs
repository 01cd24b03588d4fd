//! Waiting for time to pass, and giving up on a future when it has.
//!
//! Time is the host's: `SystemTime::now()` reads the time at which the host last told the guest something, so it reads
//! the same on every replay.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::FusedFuture;

use crate::error::{ErrorKind, Marker};
use crate::host;
use crate::waiting::{Waiting, wait};

/// Wait for a duration, counted from when the future is first polled. It can be a month: an execution that waits uses
/// no memory, and a restart of the host doesn't start the wait again.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// #[function]
/// async fn remind(text: String, days: u64) {
///     sleep(Duration::from_secs(days * 24 * 60 * 60)).await;
///     println!("{text}");
/// }
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::new(move || SystemTime::now().checked_add(duration))
}

/// Wait until a time. A time that has passed is a wait that ends at once.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # async fn example(invoice_due: SystemTime) {
/// sleep_until(invoice_due).await;
/// # }
/// ```
pub fn sleep_until(time: SystemTime) -> Sleep {
    Sleep::new(move || Some(time))
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// ```no_run
/// # use guest_sdk::{prelude::*, Sleep};
/// # async fn example() {
/// let pause: Sleep = sleep(Duration::from_secs(1));
/// pause.await;
/// # }
/// ```
pub struct Sleep {
    waiting: Waiting<'static, ()>,
}

impl Sleep {
    /// A time that can't be represented is one that never comes.
    fn new(time: impl FnOnce() -> Option<SystemTime> + 'static) -> Self {
        Sleep { waiting: Waiting::new(move || host::sleep(time().map_or(u64::MAX, unix_ms))) }
    }
}

wait!([] Sleep => ());

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("done", &self.waiting.is_done()).finish()
    }
}

/// Rounded up, so that a sleep never ends early.
fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// As [`unix_ms`], for the length of a timeout.
pub(crate) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Give up on a future after a while. What it waits for is dropped then: a called function runs on, but nobody waits for
/// its result. To give the function itself a deadline, use [`Call::timeout`](crate::Call::timeout).
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # #[function] async fn quote(item: String) -> Result<u64>;
/// #[function]
/// async fn quick_quote(item: String) -> Result<u64> {
///     let price = timeout(Duration::from_secs(5), quote(item)).await??;
///     Ok(price)
/// }
/// ```
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future: Some(Box::pin(future)), sleep: sleep(duration) }
}

/// The future of [`timeout`].
///
/// ```no_run
/// # use guest_sdk::{prelude::*, Sleep, Timeout};
/// # async fn example() {
/// let nap: Timeout<Sleep> = timeout(Duration::from_secs(1), sleep(Duration::from_secs(60)));
/// assert!(nap.await.is_err());
/// # }
/// ```
#[derive(Debug)]
pub struct Timeout<F> {
    /// None when it is done.
    future: Option<Pin<Box<F>>>,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = std::result::Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.future.as_mut().expect("a timeout is not polled after it has completed");
        // The future first: when both are ready, a result is worth more than a timeout.
        let output = match future.as_mut().poll(context) {
            Poll::Ready(output) => Ok(output),
            Poll::Pending => match Pin::new(&mut self.sleep).poll(context) {
                Poll::Ready(()) => Err(Elapsed),
                Poll::Pending => return Poll::Pending,
            },
        };
        self.future = None;
        Poll::Ready(output)
    }
}

impl<F: Future> FusedFuture for Timeout<F> {
    fn is_terminated(&self) -> bool {
        self.future.is_none()
    }
}

/// The time of a [`timeout`] was over before its future was done.
///
/// ```no_run
/// # use guest_sdk::{prelude::*, Elapsed};
/// # async fn example() {
/// let answer = promise::<String>();
/// match timeout(Duration::from_secs(60), answer).await {
///     Ok(answer) => println!("{answer:?}"),
///     Err(Elapsed) => println!("nobody answered"),
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for Elapsed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(Marker::of(ErrorKind::TimedOut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_and_saturate() {
        assert_eq!(unix_ms(UNIX_EPOCH + Duration::from_micros(1001)), 2);
        assert_eq!(unix_ms(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(whole_ms(Duration::MAX), u64::MAX);
    }
}
