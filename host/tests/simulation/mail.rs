//! Mail between partitions: carried until it is known to have come, and taken in once.

use machine::{Message, Op};

use super::Mutation;
use super::events::Event;
use super::guests::PARTS;
use super::nodes::Carrier;
use super::partitions::Then;
use super::world::World;

impl World {
    /// What is for other partitions leaves once it is durable.
    pub(super) fn carry(&mut self, carrier: Carrier) {
        let early = self.is(Mutation::MailBeforeDurable);
        let most = 1 + self.dice.below(8);
        let Some(owned) = self.owned(carrier) else { return };
        let mut leaving = Vec::new();
        for to in owned.driven.receivers() {
            let messages = owned.driven.mail(to, most);
            if !PARTS.contains(&to) {
                // Nobody is there: it has been told, as far as this one knows.
                let number = messages.last().map_or(0, |(number, _)| *number);
                let _ = owned.driven.apply(Op::Delivered { to, number });
            } else if owned.carrying.insert(to) {
                leaving.push((to, messages));
            }
        }
        for (to, messages) in leaving {
            if early {
                self.send_mail(carrier, to, messages);
            } else if let Some(owned) = self.owned(carrier) {
                let held = owned.driven.hold();
                owned.waiting.push((held, Then::Carry { to, messages }));
            }
        }
    }

    pub(super) fn send_mail(&mut self, carrier: Carrier, to: u8, messages: Vec<(u64, Message)>) {
        if !self.rolls_back {
            let mail = &self.database.rows[carrier.place].truth.mail;
            let last = mail.sent.get(&to).copied().unwrap_or(0);
            let is_true = |(number, message): &(u64, Message)| match mail.outbox.get(&(to, *number)) {
                Some(recorded) => **recorded == *message,
                None => *number <= last,
            };
            if let Some((number, message)) = messages.iter().find(|each| !is_true(each)) {
                let from = PARTS[carrier.place];
                return self
                    .violated(format!("message {number} from {from} to {to} left, and isn't durable: {message:?}"));
            }
        }
        let place = PARTS.iter().position(|part| *part == to).expect("it is one of these");
        let owner = self.nodes[carrier.node].owners[place];
        let node = self.nodes.iter().position(|node| Some(node.id) == owner);
        self.counts.mail += messages.len() as u64;
        if let Some(node) = node {
            for _ in 0..1 + usize::from(self.is_troubled() && self.dice.one_in(8)) {
                if let Some(travel) = self.delay_to_peer(carrier.node, node) {
                    let messages = messages.clone();
                    self.at(self.now + travel, Event::Mail { node, carrier, to, messages });
                }
            }
        }
        // It is carried again until it is known to have come.
        let at = self.now + self.dice.between(30, 120);
        self.at(at, Event::Delivered { carrier, to, number: 0 });
    }

    pub(super) fn receive(&mut self, node: usize, from: Carrier, to: u8, messages: Vec<(u64, Message)>) {
        let place = PARTS.iter().position(|part| *part == to).expect("it is one of these");
        let (twice, early) = (self.is(Mutation::TakeMailTwice), self.is(Mutation::ConfirmBeforeDurable));
        let life = self.nodes[node].life;
        let Some(term) = self.nodes[node].owned.get(&place).map(|owned| owned.term) else { return };
        let mut again = 0;
        let Some(owned) = self.owned(Carrier { node, life, place, term }) else { return };
        if owned.driven.broken().is_some() || owned.is_given {
            return;
        }
        let sender = PARTS[from.place];
        let mut last = 0;
        for (number, message) in messages {
            let taken = owned.driven.received(sender);
            again += u64::from(number <= taken);
            let as_number = if twice { taken + 1 } else { number };
            let receive = Op::Receive { from: sender, number: as_number, message: Box::new(message) };
            if owned.driven.apply(receive).is_err() {
                break;
            }
            last = number;
        }
        let held = owned.driven.hold();
        let confirm = Then::Confirm { carrier: from, to, number: last };
        if !early {
            owned.waiting.push((held, confirm));
        }
        self.counts.repeated_mail += again;
        if early && let Some(travel) = self.delay_to_peer(node, from.node) {
            self.at(self.now + travel, Event::Delivered { carrier: from, to, number: last });
        }
    }
}
