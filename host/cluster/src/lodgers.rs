//! Which guests of other nodes are here, and which turn each takes next. Pure: nothing here runs them, or says when.
//!
//! What another node says may be late, or come twice. A guest takes each turn once and in order: what it did in one is
//! told once, to whoever asked for it, and a turn that was taken without being recorded would be missing there.

use std::collections::HashMap;

use super::assignment::NodeId;

/// The node that a guest is run for, and the number that it has there.
pub type Key = (NodeId, u64);

/// Guests of other nodes.
#[derive(Debug)]
pub struct Lodgers<L> {
    here: HashMap<Key, Lodging<L>>,
    /// How many there may be.
    most: usize,
}

#[derive(Debug)]
struct Lodging<L> {
    /// The number of its next turn. The first one is its beginning.
    next: u64,
    /// None while it is at work.
    lodger: Option<L>,
}

impl<L> Lodgers<L> {
    /// None yet, and at most so many.
    pub fn new(most: usize) -> Lodgers<L> {
        Lodgers { here: HashMap::new(), most }
    }

    /// One comes, and is at work. `false`: there is no room, or it is here already.
    pub fn enter(&mut self, key: Key) -> bool {
        if self.here.len() >= self.most || self.here.contains_key(&key) {
            return false;
        }
        self.here.insert(key, Lodging { next: 1, lodger: None });
        true
    }

    /// The one that is to take this turn. It is at work from here on. None: it isn't here, or that isn't its next turn.
    pub fn take(&mut self, key: Key, turn: u64) -> Option<L> {
        let lodging = self.here.get_mut(&key).filter(|lodging| lodging.next == turn)?;
        let lodger = lodging.lodger.take()?;
        lodging.next += 1;
        Some(lodger)
    }

    /// One has taken its turn. None: it has ended with that. What comes back is no longer wanted.
    pub fn rest(&mut self, key: Key, lodger: Option<L>) -> Option<L> {
        let Some(lodging) = self.here.get_mut(&key) else { return lodger };
        match lodger {
            Some(lodger) => lodging.lodger = Some(lodger),
            None => drop(self.here.remove(&key)),
        }
        None
    }

    /// Nobody waits for what one does that is at work. One that rests stays.
    pub fn give_up(&mut self, key: Key) {
        if self.here.get(&key).is_some_and(|lodging| lodging.lodger.is_none()) {
            self.here.remove(&key);
        }
    }

    /// One is no longer wanted.
    pub fn leave(&mut self, key: Key) -> Option<L> {
        self.here.remove(&key).and_then(|lodging| lodging.lodger)
    }

    /// These nodes live: what others had here has nobody to record it.
    pub fn know(&mut self, is_alive: impl Fn(NodeId) -> bool) {
        self.here.retain(|(node, _), _| is_alive(*node));
    }

    /// How many are here.
    pub fn count(&self) -> usize {
        self.here.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Key = (1, 7);

    #[test]
    fn a_turn_is_taken_once_and_in_order() {
        let mut lodgers = Lodgers::new(8);
        assert!(lodgers.enter(ONE));
        assert!(!lodgers.enter(ONE), "it begins once");
        assert_eq!(lodgers.take(ONE, 1), None, "it is at work");
        assert_eq!(lodgers.rest(ONE, Some("guest")), None);
        assert_eq!(lodgers.take(ONE, 2), None, "that comes later");
        assert_eq!(lodgers.take(ONE, 1), Some("guest"));
        lodgers.rest(ONE, Some("guest"));
        assert_eq!(lodgers.take(ONE, 1), None, "that was taken");
        assert_eq!(lodgers.take(ONE, 2), Some("guest"));
        lodgers.rest(ONE, None);
        assert_eq!((lodgers.take(ONE, 3), lodgers.count()), (None, 0));
    }

    #[test]
    fn one_that_is_no_longer_wanted_goes_even_if_it_is_at_work() {
        let mut lodgers = Lodgers::new(1);
        assert!(lodgers.enter(ONE));
        assert!(!lodgers.enter((1, 8)), "there is room for one");
        assert_eq!(lodgers.leave(ONE), None);
        assert_eq!(lodgers.rest(ONE, Some("guest")), Some("guest"));
        assert!(lodgers.enter((2, 7)));
        lodgers.rest((2, 7), Some("guest"));
        lodgers.give_up((2, 7));
        assert_eq!(lodgers.take((2, 7), 1), Some("guest"), "it rested");
        lodgers.give_up((2, 7));
        assert_eq!(lodgers.rest((2, 7), Some("guest")), Some("guest"));
        assert!(lodgers.enter((2, 7)));
        lodgers.rest((2, 7), Some("guest"));
        lodgers.know(|node| node == 1);
        assert_eq!((lodgers.take((2, 7), 1), lodgers.count()), (None, 0));
    }
}
