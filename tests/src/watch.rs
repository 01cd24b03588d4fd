//! Waiting for something to become true. Tests never sleep for as long as they hope will do: they look again and again,
//! and give up at a deadline that is far beyond what is normal.

use std::time::{Duration, Instant};

/// How long a test waits before it gives up. Far longer than anything takes on a slow machine under load.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Look until there is something to see. `what` is for the message when there never is.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for this: {what}");
        std::thread::sleep(PAUSE);
    }
}
