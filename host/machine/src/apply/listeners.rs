//! Telling addresses what was settled, until they have been told.
//!
//! That an address has to be told is a row, and stays one until whoever delivers says that it was done. So nothing is
//! lost with the process, and an address can be told more than once.

use super::{Effect, Rejection, Reply, Step};
use crate::{Id, Promise, State, Untold};

/// The pause after the first attempt. It doubles with each, up to the longest.
const FIRST_PAUSE_MS: u64 = 1_000;
const LONGEST_PAUSE_MS: u64 = 5 * 60_000;
/// After so many attempts, which is about three quarters of an hour, nobody is there to be told.
const ATTEMPTS: u32 = 16;

impl<S: State> Step<'_, S> {
    /// A promise was settled: tell those who listen. It isn't watched at this point.
    pub(super) fn tell_listeners(&mut self, id: &Id) {
        let now = self.now;
        let Some(foreign) = self.state.promise_mut(id).and_then(|promise| promise.foreign.as_mut()) else { return };
        let addresses = std::mem::take(&mut foreign.listeners);
        if addresses.is_empty() {
            return;
        }
        for address in &addresses {
            self.effects.push(Effect::Unblock { id: id.clone(), address: address.clone() });
        }
        foreign.untold = Some(Untold { addresses, attempts: 1, due_at: now.saturating_add(FIRST_PAUSE_MS) });
    }

    /// Those that haven't been told are told again, if it is time.
    pub(super) fn tell_again(&mut self, id: &Id) {
        let now = self.now;
        let untold = self.state.promise(id).and_then(Promise::untold);
        if untold.is_none_or(|untold| untold.due_at > now) {
            return;
        }
        let mut again = Vec::new();
        self.change_untold(id, |untold| {
            if untold.attempts >= ATTEMPTS {
                untold.addresses.clear();
                return;
            }
            let pause = FIRST_PAUSE_MS.saturating_mul(1 << untold.attempts.min(20)).min(LONGEST_PAUSE_MS);
            untold.attempts += 1;
            untold.due_at = now.saturating_add(pause);
            again.extend(untold.addresses.iter().cloned());
        });
        for address in again {
            self.effects.push(Effect::Unblock { id: id.clone(), address });
        }
    }

    /// An address has been told.
    pub(super) fn told(&mut self, id: &Id, address: &str) -> Result<Reply, Rejection> {
        let untold = self.state.promise(id).and_then(Promise::untold);
        if untold.is_some_and(|untold| untold.addresses.contains(address)) {
            self.change_untold(id, |untold| {
                untold.addresses.remove(address);
            });
        }
        Ok(Reply::Done)
    }

    fn change_untold(&mut self, id: &Id, change: impl FnOnce(&mut Untold)) {
        let Some(promise) = self.state.promise_mut(id) else { return };
        let before = promise.due_at();
        let Some(foreign) = promise.foreign.as_mut() else { return };
        let Some(untold) = foreign.untold.as_mut() else { return };
        change(untold);
        if untold.addresses.is_empty() {
            foreign.untold = None;
        }
        let after = promise.due_at();
        self.changed = true;
        self.watch(id, before, after);
    }
}

impl Promise {
    fn untold(&self) -> Option<&Untold> {
        self.foreign.as_ref().and_then(|foreign| foreign.untold.as_ref())
    }
}
