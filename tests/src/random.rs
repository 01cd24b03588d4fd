//! Random numbers from a seed that is printed, so that what a test did can be done again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// SplitMix64: small, and good enough to pick moments and bytes.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From the environment variable `name`, or from the clock. The seed is printed.
    pub fn from_env(name: &str) -> Random {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
        let seed = number(name).unwrap_or(clock);
        println!("{name}={seed}");
        Random(seed)
    }

    /// Another sequence that depends on this one and on `n` only.
    pub fn fork(&self, n: u64) -> Random {
        // A number that was drawn, so that no fork goes through the numbers of another one.
        Random(Random(self.0 ^ (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).draw())
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// A time up to `most`, in steps of 10 microseconds.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_micros(10 * self.below(most.as_micros() as u64 / 10 + 1))
    }
}

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {text:?}")))
}
