//! Pipeline: many calls at once, gathered in the order in which they finish.

use guest_sdk::prelude::*;

/// Squares the numbers below `n`, each in a call of its own, and adds the squares up as they come.
///
/// Try it with 1000. The children run at the same time, on whatever machines there are; each takes up to `work_ms`.
#[function]
async fn pipeline(n: u64, work_ms: u64) -> Result<u64> {
    let mut running: FuturesUnordered<_> = (0..n).map(|number| square(number, work_ms)).collect();

    let mut sum = 0;
    let mut done = 0;
    while let Some(square) = running.next().await {
        sum += square?;
        done += 1;
        if done % 100 == 0 {
            println!("{done} of {n}");
        }
    }
    Ok(sum)
}

/// The square of a number, after some hard work.
#[function]
async fn square(number: u64, work_ms: u64) -> u64 {
    if work_ms > 0 {
        // Not the same for all, so that they finish in another order than they began.
        let work_ms = number.wrapping_mul(7919) % work_ms + 1;
        sleep(Duration::from_millis(work_ms)).await;
    }
    number * number
}
