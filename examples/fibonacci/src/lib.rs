//! Fibonacci: recursive fan-out.

use guest_sdk::prelude::*;

/// The n-th Fibonacci number, the slow way.
///
/// Each `fibonacci(…)` is a durable call: an execution of its own, that may run on another machine. The two run at the
/// same time, and a crash loses none that is finished.
#[function]
async fn fibonacci(n: u64) -> Result<u64> {
    if n < 2 {
        return Ok(n);
    }
    let (a, b) = join!(fibonacci(n - 1), fibonacci(n - 2));
    Ok(a? + b?)
}
