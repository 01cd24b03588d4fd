//! What the owner of a partition does: it lets guests take turns, has what they did appended and written, and lets out what
//! may be known.

use std::sync::atomic::Ordering;

use machine::{Id, Message, Outcome};
use tokio::sync::oneshot;

use super::Mutation;
use super::events::Event;
use super::nodes::Carrier;
use super::order::What;
use super::protocol::Reply;
use super::world::World;

/// What is to be done once something is durable.
pub enum Then {
    Answer { client: usize, asked: u64, about: Id, outcome: Option<Outcome>, is_there: bool, began: u64 },
    Reply { client: usize, attempt: u64, what: What, reply: Reply },
    Carry { to: u8, messages: Vec<(u64, Message)> },
    Confirm { carrier: Carrier, to: u8, number: u64 },
}

impl World {
    pub(super) fn work(&mut self, carrier: Carrier) {
        let Some(owned) = self.owned(carrier) else { return };
        if owned.driven.broken().is_some() {
            return;
        }
        let is_given = owned.is_given;
        if !is_given {
            owned.driven.act();
            for _ in 0..self.dice.below(4) {
                self.turn(carrier);
            }
            self.carry(carrier);
        }
        self.append(carrier);
        self.write(carrier);
        self.released(carrier);
        let id = self.nodes[carrier.node].id;
        let Some(owned) = self.owned(carrier) else { return };
        let (applied, committed) = owned.driven.position();
        if is_given && applied == committed && owned.appending.is_none() {
            let epoch = owned.watched.epoch.load(Ordering::Relaxed);
            self.nodes[carrier.node].owned.remove(&carrier.place);
            return self.after(1, 3, Event::Give { id, place: carrier.place, epoch });
        }
        let is_idle = !owned.driven.has_runnable() && owned.waiting.is_empty();
        let (low, high) = if is_idle { (5, 30) } else { (1, 5) };
        self.after(low, high, Event::Work { carrier });
    }

    /// The store, and now and then a snapshot of it.
    pub(super) fn write(&mut self, carrier: Carrier) {
        let (cuts, snaps) = (self.dice.one_in(25), self.dice.one_in(2));
        let (early, undurable) = (self.is(Mutation::TrimBeforeSnapshot), self.is(Mutation::WriteBeforeDurable));
        let id = self.nodes[carrier.node].id;
        let is_slow = self.now < self.nodes[carrier.node].slow_disk_until && !self.dice.one_in(20);
        let Some(owned) = self.owned(carrier) else { return };
        if cuts {
            owned.driven.freeze();
        }
        if is_slow {
            return;
        }
        let durable = if undurable { u64::MAX } else { owned.driven.position().1 };
        match owned.driven.write(durable) {
            Ok(None) => {}
            Err(error) if owned.disk_fails => owned.driven.abandon(&error.to_string()),
            Err(error) => self.violated(error.to_string()),
            Ok(Some(applied)) if snaps => {
                let file = owned.driven.file();
                let end = owned.log.end();
                let after = match owned.watched.trail.after(applied) {
                    None if undurable => (end.next - 1, end.hash),
                    after => after.expect("it is durable"),
                };
                self.counts.snapshots += 1;
                if early {
                    self.database.trim(carrier.place, applied);
                }
                self.after(1, 100, Event::Save { id, place: carrier.place, applied, after, file });
            }
            Ok(Some(_)) => {}
        }
    }

    /// What may be known outside now.
    pub(super) fn released(&mut self, carrier: Carrier) {
        let (early, settles_early) = (self.is(Mutation::ReleaseEarly), self.is(Mutation::SettleBeforeDurable));
        let is_early = |then: &Then| match then {
            Then::Answer { .. } => early,
            Then::Reply { what, .. } => settles_early && matches!(what, What::Settle(_)),
            _ => false,
        };
        let Some(owned) = self.owned(carrier) else { return };
        let mut released = Vec::new();
        for (mut held, then) in std::mem::take(&mut owned.waiting) {
            match held.try_recv() {
                Ok(()) => released.push(then),
                Err(oneshot::error::TryRecvError::Empty) if is_early(&then) => released.push(then),
                Err(oneshot::error::TryRecvError::Empty) => owned.waiting.push((held, then)),
                // It will never be durable.
                Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
        for then in released {
            match then {
                Then::Answer { client, asked, about, outcome, is_there, began } => {
                    self.answer(carrier, client, asked, about, outcome, is_there, began);
                }
                Then::Reply { client, attempt, what, reply } => self.reply(carrier, client, attempt, &what, reply),
                Then::Carry { to, messages } => self.send_mail(carrier, to, messages),
                Then::Confirm { carrier: to, to: part, number } => {
                    if let Some(travel) = self.delay_to_peer(carrier.node, to.node) {
                        self.at(self.now + travel, Event::Delivered { carrier: to, to: part, number });
                    }
                }
            }
        }
        self.post(carrier);
    }
}
