//! How long what is sent takes, and what never arrives.

use super::world::World;

impl World {
    /// How long a message takes. None: it doesn't arrive.
    pub(super) fn travel(&mut self) -> Option<u64> {
        if !self.is_troubled() {
            return Some(self.dice.between(1, 3));
        }
        if self.dice.below(100) < self.loss {
            return None;
        }
        Some(if self.dice.below(100) < self.late { self.dice.between(5, 600) } else { self.dice.between(1, 5) })
    }

    pub(super) fn delay_to_database(&mut self, node: usize) -> Option<u64> {
        let travel = self.travel();
        travel.filter(|_| self.nodes[node].no_database_until <= self.now)
    }

    pub(super) fn delay_to_peer(&mut self, from: usize, to: usize) -> Option<u64> {
        let travel = self.travel();
        let is_cut = |node: usize| self.nodes[node].no_peers_until > self.now;
        travel.filter(|_| from == to || !(is_cut(from) || is_cut(to)))
    }
}
