//! Guests at work, on the node that has their partition or on another one. What they are told goes there, and what they did
//! comes back: late, twice, or not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use host_cluster::Key;
use host_partition::{Answer, Beginning, Room, Told};
use machine::Id;

use super::Mutation;
use super::cast::Guest;
use super::events::Event;
use super::nodes::Carrier;
use super::world::{NODES, World};

/// After so long a guest counts as gone.
const PATIENCE: u64 = 300;
/// How many guests of others a node takes.
pub const LODGERS: usize = 6;

/// Where the rooms of all nodes leave what is to be sent, and find what came.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<Papers>>);

#[derive(Default)]
struct Papers {
    last: u64,
    said: VecDeque<(u64, Said)>,
    /// Rooms that nobody wants any more. Those of a partition go in any order, which mustn't matter.
    left: BTreeSet<u64>,
    answers: BTreeMap<u64, Answer>,
}

/// What a room says.
#[derive(Clone)]
pub enum Said {
    Begin(Box<Beginning>),
    /// The number of the turn, and what the guest is told.
    GoOn(u64, Option<Told>),
    End,
}

/// A room, as the world knows it.
pub struct Seat {
    pub home: Carrier,
    pub key: Key,
    pub node: usize,
    pub id: Id,
    /// The turn that is waited for.
    pub asked: Option<u64>,
}

impl Desk {
    fn papers(&self) -> MutexGuard<'_, Papers> {
        self.0.lock().expect("nobody panics with it")
    }

    fn open(&self) -> Rented {
        let mut papers = self.papers();
        papers.last += 1;
        Rented { number: papers.last, turns: 0, is_there: false, desk: self.clone() }
    }

    fn next(&self) -> Option<(u64, Said)> {
        let mut papers = self.papers();
        papers.said.pop_front().or_else(|| Some((papers.left.pop_first()?, Said::End)))
    }

    fn answer(&self, number: u64, answer: Answer) {
        self.papers().answers.insert(number, answer);
    }
}

/// A room, as a partition has it.
struct Rented {
    number: u64,
    turns: u64,
    is_there: bool,
    desk: Desk,
}

type Answered<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

impl Rented {
    fn say(&mut self, said: Said) -> Answered<'_> {
        self.is_there = true;
        self.desk.papers().said.push_back((self.number, said));
        Box::pin(poll_fn(|_| match self.desk.papers().answers.remove(&self.number) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }))
    }
}

impl Room for Rented {
    fn begin(&mut self, beginning: Beginning) -> Answered<'_> {
        self.say(Said::Begin(Box::new(beginning)))
    }

    fn go_on(&mut self, told: Option<Told>) -> Answered<'_> {
        self.turns += 1;
        self.say(Said::GoOn(self.turns, told))
    }
}

impl Drop for Rented {
    fn drop(&mut self) {
        let mut papers = self.desk.papers();
        papers.answers.remove(&self.number);
        if self.is_there {
            papers.left.insert(self.number);
        }
    }
}

impl World {
    /// One turn of the next execution of a partition that has something to do.
    pub(super) fn turn(&mut self, home: Carrier) {
        let node = self.dice.below(NODES);
        let (desk, own) = (self.desk.clone(), self.nodes[home.node].id);
        let mut begun = None;
        let Some(owned) = self.owned(home) else { return };
        owned.driven.turn(|id| {
            let room = desk.open();
            begun = Some((room.number, id.clone()));
            Box::new(room)
        });
        if let Some((number, id)) = begun {
            self.seats.insert(number, Seat { home, key: (own, number), node, id, asked: None });
        }
        self.converse();
    }

    /// What rooms say is sent. To guests that are near it is said at once, now and then.
    pub(super) fn converse(&mut self) {
        while let Some((number, said)) = self.desk.next() {
            let Some(seat) = self.seats.get_mut(&number) else { continue };
            let (home, key, node) = (seat.home, seat.key, seat.node);
            let turn = match &said {
                Said::Begin(_) => 0,
                Said::GoOn(turn, _) => *turn,
                Said::End => {
                    let seat = self.seats.remove(&number);
                    if self.is(Mutation::TakeTurnOfOlderSession) {
                        self.past.extend(seat.map(|seat| (number, seat.id)));
                    }
                    if let Some(travel) = self.delay_to_peer(home.node, node) {
                        self.at(self.now + travel, Event::GuestLeaves { node, key });
                    }
                    continue;
                }
            };
            seat.asked = Some(turn);
            if node == home.node && self.dice.one_in(2) {
                let (guest, answer) = self.play(node, key, said);
                self.rests(node, key, guest);
                self.did(number, turn, answer);
                continue;
            }
            for _ in 0..self.copies() {
                if let Some(travel) = self.delay_to_peer(home.node, node) {
                    let life = self.nodes[node].life;
                    let said = said.clone();
                    self.at(self.now + travel, Event::GuestAsked { node, life, number, key, home, turn, said });
                }
            }
            self.at(self.now + PATIENCE, Event::GuestIsLate { home, number, turn });
        }
    }

    fn copies(&mut self) -> usize {
        1 + usize::from(self.is_troubled() && self.dice.one_in(8))
    }

    /// A process is gone, and with it what its rooms would have said.
    pub(super) fn forget_rooms(&mut self, node: usize) {
        while self.desk.next().is_some() {}
        self.seats.retain(|_, seat| seat.home.node != node);
    }

    /// A node is asked to let a guest take a turn, which takes a while.
    pub(super) fn guest_asked(&mut self, (node, number, turn): (usize, u64, u64), key: Key, home: Carrier, said: Said) {
        let (guest, answer) = self.play(node, key, said);
        let takes = if self.dice.one_in(20) { self.dice.between(100, 500) } else { self.dice.between(0, 4) };
        let life = self.nodes[node].life;
        self.at(self.now + takes, Event::GuestRests { node, life, number, key, home, turn, guest, answer });
    }

    /// The guest rests, and what it did is sent back.
    pub(super) fn guest_rests(
        &mut self,
        (node, number, turn): (usize, u64, u64),
        key: Key,
        home: Carrier,
        guest: Played,
        answer: Answer,
    ) {
        self.counts.turns_elsewhere += u64::from(node != home.node && matches!(answer, Answer::Turn { .. }));
        self.rests(node, key, guest);
        for _ in 0..self.copies() {
            if let Some(travel) = self.delay_to_peer(node, home.node) {
                self.at(self.now + travel, Event::GuestDid { home, number, turn, answer: answer.clone() });
            }
        }
    }

    fn rests(&mut self, node: usize, key: Key, guest: Played) {
        if let Played::Here(guest) = guest {
            self.nodes[node].lodgers.rest(key, guest);
        }
    }

    fn play(&mut self, node: usize, key: Key, said: Said) -> (Played, Answer) {
        let most = 1 + self.dice.below(3);
        // Now and then there is no room for it, or what it had is gone.
        let is_gone = self.is_troubled() && self.dice.one_in(20);
        let twice = self.is(Mutation::TakeTurnTwice);
        let lodgers = &mut self.nodes[node].lodgers;
        let (guest, answer) = match said {
            // Between nodes no request is repeated: what comes twice here finds the guest that there is, and begins no other.
            Said::Begin(beginning) if !is_gone && !self.begun.contains(&key) && lodgers.enter(key) => {
                self.begun.insert(key);
                self.cast.begin(&self.names, self.seed, *beginning, most)
            }
            Said::GoOn(turn, told) => {
                let mut taken = lodgers.take(key, turn);
                if twice && taken.is_none() {
                    taken = (1..=turn + 1).find_map(|turn| lodgers.take(key, turn));
                }
                match taken {
                    Some(_) if is_gone => (None, Answer::Gone),
                    Some(guest) => guest.go_on(told, most),
                    None => return (Played::Nobody, Answer::Gone),
                }
            }
            Said::Begin(_) | Said::End => return (Played::Nobody, Answer::Gone),
        };
        if matches!(answer, Answer::Differs) {
            self.violated(format!("a guest of {key:?} differs from its journal"));
        }
        (Played::Here(guest), answer)
    }

    /// What a guest did comes back to whoever records it.
    pub(super) fn guest_did(&mut self, home: Carrier, number: u64, turn: u64, answer: Answer) {
        if self.is_alive(home.node, home.life) {
            self.did(number, turn, answer);
            self.converse();
        }
    }

    fn did(&mut self, number: u64, turn: u64, answer: Answer) {
        let (mut number, older) = (number, self.is(Mutation::TakeTurnOfOlderSession));
        let is_waited_for = |seat: &Seat| seat.asked == Some(turn);
        if !self.seats.get(&number).is_some_and(is_waited_for) {
            self.counts.late_turns += u64::from(matches!(answer, Answer::Turn { .. }));
            let of = self.past.get(&number).cloned();
            let other = self.seats.iter().find(|(_, seat)| Some(&seat.id) == of.as_ref() && seat.asked.is_some());
            match other.filter(|_| older && matches!(answer, Answer::Turn { .. })) {
                Some((other, _)) => number = *other,
                None => return,
            }
        }
        let Some(seat) = self.seats.get_mut(&number) else { return };
        seat.asked = None;
        let home = seat.home;
        self.desk.answer(number, answer);
        if let Some(owned) = self.owned(home)
            && owned.driven.broken().is_none()
        {
            owned.driven.record();
        }
    }
}

/// A guest after its turn.
pub enum Played {
    /// None: it has ended.
    Here(Option<Guest>),
    /// It isn't here, or not to take this turn.
    Nobody,
}
