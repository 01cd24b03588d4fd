//! The functions of the benchmarks: nothing but what each is to measure. `tests/peers` has the same for other systems.

#![allow(missing_docs)]

use std::time::UNIX_EPOCH;

use guest_sdk::prelude::*;

/// Returns its argument.
#[function]
async fn echo(value: u64) -> u64 {
    value
}

/// So many named steps, one after the other. Returns the sum of 1..=n.
#[function]
async fn steps(n: u64) -> Result<u64> {
    let mut sum = 0;
    for number in 1..=n {
        sum += run("step", async || Ok(number)).await?;
    }
    Ok(sum)
}

/// The same with a sleep after each step. `_number` tells one call from another.
#[function]
async fn slow_steps(_number: u64, n: u64, ms: u64) -> Result<u64> {
    let mut sum = 0;
    for number in 1..=n {
        sum += run("step", async || Ok(number)).await?;
        sleep(Duration::from_millis(ms)).await;
    }
    Ok(sum)
}

/// Calls `echo` so many times, all at once. Returns the sum of 1..=n.
#[function]
async fn fan_out(n: u64) -> Result<u64> {
    let values = try_join_all((1..=n).map(echo)).await?;
    Ok(values.into_iter().sum())
}

/// The nth Fibonacci number, with a call for each node of the tree.
#[function]
async fn fibonacci(n: u64) -> Result<u64> {
    if n < 2 {
        return Ok(n);
    }
    let (a, b) = join!(fibonacci(n - 1), fibonacci(n - 2));
    Ok(a? + b?)
}

/// Sleeps until a time, in milliseconds since the Unix epoch. `number` tells one sleeper from another.
#[function]
async fn sleeper(number: u64, until_ms: u64) -> u64 {
    sleep_until(UNIX_EPOCH + Duration::from_millis(until_ms)).await;
    number
}

/// So many sleeps of no length, one after the other.
#[function]
async fn naps(n: u64) -> u64 {
    for _ in 0..n {
        sleep(Duration::ZERO).await;
    }
    n
}

/// The same, then a sleep of `ms`: a long history, and time to kill the host.
#[function]
async fn naps_then_sleep(n: u64, ms: u64) -> u64 {
    for _ in 0..n {
        sleep(Duration::ZERO).await;
    }
    sleep(Duration::from_millis(ms)).await;
    n
}

/// Computes, and never gives way.
#[function]
async fn spin() -> u64 {
    let mut value = 1_u64;
    while value != 0 {
        value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005) | 1);
    }
    value
}
