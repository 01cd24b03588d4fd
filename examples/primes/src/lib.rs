//! Primes: hard work, divided between all the cores that there are.

use guest_sdk::prelude::*;

/// Counts the primes below a number, in so many parts, each counted by a call of its own.
///
/// Try it with 6000000 and 120 on a cluster: the parts are counted on all of its nodes.
#[function]
async fn primes(below: u64, parts: u64) -> Result<u64> {
    let part = below.div_ceil(parts.max(1));
    let counted = (0..parts).map(|n| primes_between(n * part, below.min((n + 1) * part)));
    Ok(try_join_all(counted).await?.into_iter().sum())
}

/// Counts the primes from a number on, and below another.
#[function]
async fn primes_between(from: u64, below: u64) -> u64 {
    let is_prime = |n: &u64| *n >= 2 && (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (from..below).filter(is_prime).count() as u64
}
