//! Chance from a seed, and hashes: nothing else in a simulation may differ from run to run.

/// Xorshift64*: enough to choose from.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    /// No state of the generator may be zero, and near seeds shouldn't begin alike.
    pub fn new(seed: u64) -> Dice {
        Dice(fold(seed, b"dice") | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below((high - low + 1) as usize) as u64
    }
}

/// FNV-1a, finished as in MurmurHash3.
pub fn fold(seed: u64, bytes: &[u8]) -> u64 {
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = bytes.iter().fold(seed ^ 0xcbf2_9ce4_8422_2325, add);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}
