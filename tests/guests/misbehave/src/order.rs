//! Results that depend on time, chance and the order of events: a replay must give the same.

use std::collections::HashMap;
use std::time::{Instant, UNIX_EPOCH};

use guest_sdk::futures::future::{Either, select as select_two};
use guest_sdk::prelude::*;

use crate::good::{echo_after, sleeper};

/// What a guest can see of time and chance.
#[data]
struct Observed {
    unix_ns: u64,
    elapsed_ns: u64,
    hash_order: Vec<u64>,
    random: Vec<u64>,
}

fn observe(since: Instant) -> Observed {
    use std::hash::{BuildHasher, RandomState};
    let map: HashMap<u64, ()> = (0..16).map(|n| (n, ())).collect();
    Observed {
        unix_ns: SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as u64,
        elapsed_ns: since.elapsed().as_nanos() as u64,
        hash_order: map.into_keys().collect(),
        random: (0..4_u64).map(|n| RandomState::new().hash_one(n)).collect(),
    }
}

/// Looks at the clocks and at random numbers, sleeps, and looks again. What it saw at first is printed as well: that
/// line is written by the first run alone, the result by the last.
#[function]
async fn clock_and_random(ms: u64) -> Vec<Observed> {
    let since = Instant::now();
    let before = observe(since);
    println!("{}", guest_sdk::serde_json::to_string(&before).expect("numbers are JSON"));
    sleep(Duration::from_millis(ms)).await;
    vec![before, observe(since)]
}

/// Branches that depend on the clock: what it prints and calls differs from run to run, and not from replay to replay.
#[function]
async fn fork_on_time(n: u64, ms: u64) -> Result<Vec<u64>> {
    let mut path = Vec::new();
    for _ in 0..n {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as u64;
        match nanos % 3 {
            0 => path.push(echo_after(nanos, ms).await?),
            1 => path.push(sleeper(ms).await?),
            _ => sleep(Duration::from_millis(ms)).await,
        }
    }
    Ok(path)
}

/// The order in which so many calls with random delays up to `ms` end.
#[function]
async fn completion_order(n: u64, ms: u64) -> Result<Vec<u64>> {
    let mut running: FuturesUnordered<_> = (0..n).map(|value| echo_after(value, chance(ms))).collect();
    let mut order = Vec::new();
    while let Some(value) = running.next().await {
        order.push(value?);
    }
    Ok(order)
}

/// Two calls and a sleep race, so many times. The losers are dropped. Returns who won each time.
#[function]
async fn race(rounds: u64, ms: u64) -> Result<Vec<String>> {
    let mut winners = Vec::new();
    for round in 0..rounds {
        let winner = select! {
            value = echo_after(round * 2, chance(ms)) => format!("left {}", value?),
            value = echo_after(round * 2 + 1, chance(ms)) => format!("right {}", value?),
            () = sleep(Duration::from_millis(chance(ms))) => "sleep".to_owned(),
        };
        println!("round {round}: {winner}");
        winners.push(winner);
    }
    Ok(winners)
}

/// Joins within selects within joins, to a depth: a trace of all that was seen, in order.
#[function]
async fn nested(width: u64, depth: u64, ms: u64) -> Result<Vec<String>> {
    let mut trace = Vec::new();
    let mut branches: FuturesUnordered<_> = (0..width).map(|branch| one_branch(branch, depth, ms)).collect();
    while let Some(seen) = branches.next().await {
        trace.extend(seen?);
    }
    Ok(trace)
}

async fn one_branch(branch: u64, depth: u64, ms: u64) -> Result<Vec<String>> {
    let mut trace = vec![format!("{branch} at {depth}")];
    match branch % 4 {
        0 => sleep(Duration::from_millis(chance(ms))).await,
        1 => trace.push(format!("value {}", echo_after(branch, chance(ms)).await?)),
        2 => match timeout(Duration::from_millis(chance(ms)), sleeper(chance(ms))).await {
            Ok(slept) => trace.push(format!("slept {}", slept?)),
            Err(elapsed) => trace.push(elapsed.to_string()),
        },
        _ => trace.push(match select_two(sleeper(chance(ms)), echo_after(branch, chance(ms))).await {
            Either::Left((slept, _)) => format!("slept {}", slept?),
            Either::Right((value, _)) => format!("value {}", value?),
        }),
    }
    if depth > 0 {
        let (left, right) = join!(
            Box::pin(one_branch(branch * 2 + 1, depth - 1, ms)),
            Box::pin(one_branch(branch * 3 + 2, depth - 1, ms))
        );
        trace.extend(left?);
        trace.extend(right?);
    }
    Ok(trace)
}

/// A random number up to and including `most`.
fn chance(most: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(most) % (most + 1)
}
