//! What goes wrong: processes crash and stand still, nodes are cut off, clocks are set, disks are slow and fail, and the log
//! is rolled back.

use host_cluster::Lodgers;

use super::appends::Appends;
use super::events::Event;
use super::guests::PARTS;
use super::rooms::LODGERS;
use super::world::{NODES, World};
use super::{LEASE, TROUBLE};

impl World {
    pub(super) fn trouble(&mut self) {
        if !self.is_troubled() {
            // From here on all is well.
            for node in 0..NODES {
                let until = &mut self.nodes[node];
                (until.no_database_until, until.no_peers_until, until.slow_disk_until) = (0, 0, 0);
            }
            return;
        }
        if self.rolls_back {
            self.older.push(self.database.clone());
            if self.older.len() > 8 {
                self.older.remove(0);
            }
        }
        let node = self.dice.below(NODES);
        let until = self.now + self.dice.between(50, 2 * LEASE);
        let kinds = if self.rolls_back { 9 } else { 7 };
        match self.dice.below(kinds) {
            0 if self.nodes[node].is_up => {
                self.counts.crashes += 1;
                let dead = &mut self.nodes[node];
                (dead.is_up, dead.id, dead.life, dead.answers_until) = (false, 0, dead.life + 1, 0);
                dead.owned.clear();
                dead.moving.clear();
                dead.paused_until = 0;
                dead.lodgers = Lodgers::new(LODGERS);
                dead.appends = Appends::new();
                self.forget_rooms(node);
                let at = until.min(TROUBLE);
                self.at(at, Event::Restart { node });
            }
            1 | 2 => {
                self.counts.pauses += 1;
                self.nodes[node].paused_until = until.min(TROUBLE);
            }
            3 => self.nodes[node].no_database_until = until,
            4 => self.nodes[node].no_peers_until = until,
            5 => self.nodes[node].skew = self.dice.between(0, 2_000) as i64 - 1_000,
            6 if self.dice.one_in(2) => {
                self.counts.slow_disks += 1;
                self.nodes[node].slow_disk_until = until;
            }
            6 => {
                let (place, changes) = (self.dice.below(PARTS.len()), self.dice.below(60) as u64);
                if let Some(owned) = self.nodes[node].owned.get_mut(&place) {
                    self.counts.failing_disks += 1;
                    owned.disk_fails = true;
                    owned.driven.fail_disk(changes);
                }
            }
            _ => {
                let n = self.dice.below(self.older.len().max(1));
                if let Some(older) = self.older.get(n).cloned() {
                    self.counts.rolled_back += 1;
                    self.database.roll_back(&older);
                    self.older.truncate(n);
                }
            }
        }
        self.after(40, 300, Event::Trouble);
    }
}
