//! Random numbers that a replay draws again: all are drawn from the execution's seed.
//!
//! They are as good as the seed is secret. Whoever knows an execution's journal knows them.

use machine::Digest;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::{p2, p3};

use crate::fault::Stop;
use crate::guest::Guest;
use crate::wire::Wire;

/// What a guest can draw in one call.
const MAX_BYTES: u64 = 1 << 20;

/// The sources of one execution's random numbers. Each interface draws from its own, so that a guest can't tell from
/// one what the other will give.
pub(crate) struct Dice {
    seed: u64,
    secure: ChaCha12Rng,
    insecure: ChaCha12Rng,
    insecure_seed: (u64, u64),
}

impl Dice {
    /// Journals hold seeds, and each must mean the same forever: the key is laid out here, by nobody's default.
    pub(crate) fn new(seed: u64) -> Dice {
        let source = |stream: u64| {
            let mut key = *b"........ durable function's dice";
            key[..8].copy_from_slice(&seed.to_le_bytes());
            let mut source = ChaCha12Rng::from_seed(key);
            source.set_stream(stream);
            source
        };
        let mut third = source(2);
        Dice { seed, secure: source(0), insecure: source(1), insecure_seed: (third.next_u64(), third.next_u64()) }
    }

    /// A key that is always the same for a name, and that nobody else has for it: 32 hexadecimal digits.
    pub(crate) fn key(&self, name: &str) -> String {
        let mut key = Digest::of(format!("idempotency key {} {name}", self.seed).as_bytes()).to_string();
        key.truncate(32);
        key
    }
}

/// What the generated interfaces are implemented on.
struct Random;

/// A guest's view of its dice.
struct View<'a>(&'a Wire);

impl HasData for Random {
    type Data<'a> = View<'a>;
}

impl View<'_> {
    fn bytes(&mut self, count: u64, source: impl FnOnce(&mut Dice) -> &mut ChaCha12Rng) -> wasmtime::Result<Vec<u8>> {
        if count > MAX_BYTES {
            return Err(Stop::Random { bytes: count, limit: MAX_BYTES }.into());
        }
        let mut bytes = vec![0; count as usize];
        source(&mut self.0.lock().dice).fill_bytes(&mut bytes);
        Ok(bytes)
    }
}

/// Puts ours in the place of WASI's.
pub(super) fn replace(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    fn view(guest: &mut Guest) -> View<'_> {
        View(&guest.wire)
    }
    p2::bindings::random::random::add_to_linker::<Guest, Random>(linker, view)?;
    p2::bindings::random::insecure::add_to_linker::<Guest, Random>(linker, view)?;
    p2::bindings::random::insecure_seed::add_to_linker::<Guest, Random>(linker, view)?;
    p3::bindings::random::random::add_to_linker::<Guest, Random>(linker, view)?;
    p3::bindings::random::insecure::add_to_linker::<Guest, Random>(linker, view)?;
    p3::bindings::random::insecure_seed::add_to_linker::<Guest, Random>(linker, view)
}

impl p2::bindings::random::random::Host for View<'_> {
    fn get_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(count, |dice| &mut dice.secure)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.0.lock().dice.secure.next_u64())
    }
}

impl p2::bindings::random::insecure::Host for View<'_> {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(count, |dice| &mut dice.insecure)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.0.lock().dice.insecure.next_u64())
    }
}

impl p2::bindings::random::insecure_seed::Host for View<'_> {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok(self.0.lock().dice.insecure_seed)
    }
}

impl p3::bindings::random::random::Host for View<'_> {
    fn get_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(count, |dice| &mut dice.secure)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.0.lock().dice.secure.next_u64())
    }
}

impl p3::bindings::random::insecure::Host for View<'_> {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(count, |dice| &mut dice.insecure)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.0.lock().dice.insecure.next_u64())
    }
}

impl p3::bindings::random::insecure_seed::Host for View<'_> {
    fn get_insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok(self.0.lock().dice.insecure_seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A changed number here means that every journal replays differently.
    #[test]
    fn a_seed_means_the_same_forever() {
        let mut dice = Dice::new(7);
        assert_eq!((dice.secure.next_u64(), dice.insecure.next_u64()), (8210576493642014710, 10682502237065834638));
        assert_eq!(dice.insecure_seed, (1233713415206697934, 7764176362416857329));
        assert_ne!(Dice::new(8).secure.next_u64(), Dice::new(7).secure.next_u64());
    }
}
