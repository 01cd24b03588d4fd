//! Countdown: loops and sleeps.

use guest_sdk::prelude::*;

/// Counts down from a number to zero, with a pause before each, and returns how often it counted.
///
/// Kill the host in the middle: when it is started again, the count goes on from where it was, and no line is printed
/// twice. With a pause of a month instead of a second it would be the same code.
#[function]
async fn countdown(from: u64, pause_ms: u64) -> u64 {
    for n in (1..=from).rev() {
        println!("{n}");
        sleep(Duration::from_millis(pause_ms)).await;
    }
    println!("lift-off");
    from
}
