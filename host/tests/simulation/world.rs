//! A cluster in one thread: events in the order of their times, and nothing else. Nodes look at the database, take
//! partitions, run guests, append and carry mail, as those of a host do; the network, clocks and processes misbehave until
//! a time, and from then on don't.

use std::collections::{BTreeMap, BTreeSet};

use host_cluster::{Key, Lodgers};
use host_partition::Answer;
use machine::{Id, Op, Outcome};

use super::appends::Appends;
use super::cast::Cast;
use super::clients::{Ask, Client};
use super::counts::Counts;
use super::database::Database;
use super::dice::{Dice, fold};
use super::events::Event;
use super::guests::{Names, PARTS};
use super::nodes::Node;
use super::protocol::Protocol;
use super::rooms::{Desk, LODGERS, Seat};
use super::{Mutation, TROUBLE, UNTIL};

/// For so long the ledger may say nothing. Then the outcome of an append is unknown.
pub const PATIENCE: u64 = 200;
pub const NODES: usize = 3;
/// A run has a few thousand.
const MOST_EVENTS: u64 = 100_000;

/// What a run came to.
pub struct Ended {
    /// Of all events: equal for equal runs.
    pub trace: u64,
    pub violation: Option<String>,
    pub counts: Counts,
}

pub struct World {
    pub seed: u64,
    pub dice: Dice,
    pub now: u64,
    pub queue: BTreeMap<(u64, u64), Event>,
    pub order: u64,
    pub trace: u64,
    pub database: Database,
    pub older: Vec<Database>,
    pub nodes: Vec<Node>,
    pub clients: Vec<Client>,
    pub names: Names,
    pub mutation: Option<Mutation>,
    /// In percent.
    pub loss: usize,
    pub late: usize,
    /// Whether the log may be rolled back. What was acknowledged can be lost by that, so only fences are looked at.
    pub rolls_back: bool,
    /// What clients were told, and when first.
    pub known: BTreeMap<Id, (u64, Outcome)>,
    /// When somebody was first told that a promise is there.
    pub there: BTreeMap<Id, u64>,
    pub cast: Cast,
    pub protocol: Protocol,
    /// Rooms of guests at work, and of older sessions the executions, where that is mistaken.
    pub desk: Desk,
    pub seats: BTreeMap<u64, Seat>,
    /// The guests that began, wherever that was.
    pub begun: BTreeSet<Key>,
    pub past: BTreeMap<u64, Id>,
    pub terms: u64,
    pub counts: Counts,
    pub violation: Option<String>,
}

impl World {
    pub fn new(seed: u64, mutation: Option<Mutation>, cast: &Cast) -> World {
        let mut dice = Dice::new(seed);
        let names = cast.names();
        let node = |dice: &mut Dice| Node {
            id: 0,
            life: 0,
            is_up: true,
            paused_until: 0,
            skew: dice.between(0, 400) as i64 - 200,
            rate: dice.between(92, 108),
            answers_until: 0,
            no_database_until: 0,
            no_peers_until: 0,
            slow_disk_until: 0,
            owners: vec![None; PARTS.len()],
            owned: BTreeMap::new(),
            moving: Vec::new(),
            lodgers: Lodgers::new(LODGERS),
            appends: Appends::new(),
        };
        let nodes = (0..NODES).map(|_| node(&mut dice)).collect();
        let mut clients = Vec::new();
        for root in [0, 3] {
            let root = names.roots[root].clone();
            let asks =
                vec![Ask::Invoke(root.clone()), Ask::Read(root.clone()), Ask::Wait(root.clone()), Ask::Read(root)];
            clients.push(asks);
        }
        for promise in &names.promises {
            let value = names.value(promise).expect("it is one of these");
            let create = Ask::Create(promise.clone());
            clients.push(vec![create, Ask::Settle(promise.clone(), value), Ask::Read(promise.clone())]);
        }
        for _ in 0..2 {
            let all: Vec<&Id> = names.promises.iter().chain(&names.roots[..1]).collect();
            clients.push((0..6).map(|_| Ask::Read(all[dice.below(all.len())].clone())).collect());
        }
        let protocol = Protocol::new(&mut dice);
        clients.extend(protocol.clients(&mut dice));
        let client = |asks| Client { asks, done: 0, attempt: 0, began: 0 };
        let rolls_back = dice.one_in(8);
        let mut world = World {
            seed,
            now: 0,
            queue: BTreeMap::new(),
            order: 0,
            trace: seed,
            database: Database::new(mutation),
            older: Vec::new(),
            nodes,
            clients: clients.into_iter().map(client).collect(),
            names,
            mutation,
            loss: [0, 3, 15][dice.below(3)],
            late: [0, 5, 20][dice.below(3)],
            rolls_back,
            known: BTreeMap::new(),
            there: BTreeMap::new(),
            cast: cast.clone(),
            protocol,
            desk: Desk::default(),
            seats: BTreeMap::new(),
            begun: BTreeSet::new(),
            past: BTreeMap::new(),
            terms: 0,
            counts: Counts::default(),
            violation: None,
            dice,
        };
        for node in 0..NODES {
            let at = world.dice.between(0, 50);
            world.at(at, Event::Tick { node, life: 0 });
        }
        for client in 0..world.clients.len() {
            let at = world.dice.between(100, 2_000);
            world.at(at, Event::Client { client });
        }
        world.at(300, Event::Trouble);
        world
    }

    pub fn run(mut self) -> Ended {
        while let Some(((at, order), event)) = self.queue.pop_first() {
            if at > UNTIL || self.violation.is_some() {
                break;
            }
            self.now = at;
            // What is for a process that stands still waits.
            if let Some(node) = event.node()
                && self.nodes[node].paused_until > at
            {
                self.queue.insert((self.nodes[node].paused_until, order), event);
                continue;
            }
            self.counts.events += 1;
            if self.counts.events > MOST_EVENTS {
                self.violated("it goes round in circles".into());
            }
            let mark = [at, order, event.node().map_or(99, |node| node as u64), event.kind()];
            mark.iter().for_each(|number| self.trace = fold(self.trace, &number.to_le_bytes()));
            self.happen(event);
            if at > TROUBLE && self.is_over() {
                break;
            }
        }
        if self.violation.is_none() && !self.rolls_back {
            self.check_end();
        }
        let ends = self.database.rows.iter().map(|row| row.end.hash);
        let trace = ends.fold(self.trace, |trace, hash| fold(trace, &hash));
        let Database { appended, refused, takeovers, .. } = self.database;
        let counts = Counts { appended, refused, takeovers, ..self.counts };
        Ended { trace, violation: self.violation, counts }
    }

    pub(super) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(super) fn violated(&mut self, what: String) {
        self.violation.get_or_insert(format!("at {} ms: {what}", self.now));
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.insert((at, self.order), event);
    }

    pub(super) fn after(&mut self, low: u64, high: u64, event: Event) {
        let at = self.now + self.dice.between(low, high);
        self.at(at, event);
    }

    pub(super) fn is_troubled(&self) -> bool {
        self.now < TROUBLE
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { node, life } => self.tick(node, life),
            Event::LookAtDatabase { node, life, begun } => self.look(node, life, begun),
            Event::Looked { node, life, begun, id, seen } => self.looked(node, life, begun, id, seen),
            Event::TakeAtDatabase { node, life, id, places } => {
                for place in places {
                    let lives = self.database.nodes.contains_key(&id);
                    match lives.then(|| self.database.take(id, place)).flatten() {
                        Some(taken) => self.after(1, 30, Event::Restore { node, life, id, taken }),
                        None => self.after(1, 3, Event::NotTaken { node, life, id, place }),
                    }
                }
            }
            Event::Restore { node, life, id, taken } => self.restore(node, life, id, taken),
            Event::NotTaken { node, life, id, place } => {
                if self.is_alive(node, life) && self.nodes[node].id == id {
                    self.nodes[node].arrived(place);
                }
            }
            Event::Give { id, place, epoch } => self.database.give(id, place, epoch),
            Event::Work { carrier } => self.work(carrier),
            Event::LedgerAsked { node, life, number, question, back } => {
                self.ledger_asked(node, life, number, question, back)
            }
            Event::LedgerSaid { node, life, number, said } => self.ledger_said(node, life, number, said),
            Event::Mail { node, carrier, to, messages } => self.receive(node, carrier, to, messages),
            Event::Delivered { carrier, to, number } => {
                if let Some(owned) = self.owned(carrier) {
                    owned.carrying.remove(&to);
                    let _ = owned.driven.apply(Op::Delivered { to, number });
                }
            }
            Event::Save { id, place, applied, after, file } => self.database.save(id, place, applied, after, file),
            Event::Client { client } => self.ask(client),
            Event::ClientIsLate { client, attempt } => {
                if self.clients[client].attempt == attempt {
                    self.ask(client);
                }
            }
            Event::Asked { node, client, attempt, ask, began, forwarded } => {
                self.asked(node, client, attempt, ask, began, forwarded)
            }
            Event::Answered { client, attempt, reply } => self.answered(client, attempt, reply),
            Event::Posted { carrier, message } => self.posted(carrier, message),
            Event::Told { carrier, id, address } => self.told(carrier, id, address),
            Event::GuestAsked { node, life, number, key, home, turn, said } => {
                if self.is_alive(node, life) {
                    self.guest_asked((node, number, turn), key, home, said);
                }
            }
            Event::GuestRests { node, life, number, key, home, turn, guest, answer } => {
                if self.is_alive(node, life) {
                    self.guest_rests((node, number, turn), key, home, guest, answer);
                }
            }
            Event::GuestDid { home, number, turn, answer } => self.guest_did(home, number, turn, answer),
            Event::GuestIsLate { home, number, turn } => {
                let is_waited_for = self.seats.get(&number).is_some_and(|seat| seat.asked == Some(turn));
                if is_waited_for {
                    self.guest_did(home, number, turn, Answer::Gone);
                }
            }
            Event::GuestLeaves { node, key } => drop(self.nodes[node].lodgers.leave(key)),
            Event::Trouble => self.trouble(),
            Event::Restart { node } => {
                self.nodes[node].is_up = true;
                self.tick(node, self.nodes[node].life);
            }
        }
    }
}
