//! Clients: they ask any node, and ask again until they have an answer, which is held against the truth.

use machine::{Id, Op, Outcome};

use super::START;
use super::events::Event;
use super::guests::{FUNCTION, place};
use super::nodes::Carrier;
use super::partitions::Then;
use super::protocol::{Call, Reply};
use super::world::{NODES, World};

#[derive(Clone)]
pub enum Ask {
    Invoke(Id),
    Create(Id),
    Settle(Id, Outcome),
    Read(Id),
    /// Answered only once it is settled.
    Wait(Id),
    /// Of the promise protocol.
    Protocol(Call),
}

pub struct Client {
    pub asks: Vec<Ask>,
    pub done: usize,
    /// Counts attempts, so that late answers are known.
    pub attempt: u64,
    pub began: u64,
}

impl World {
    pub(super) fn ask(&mut self, client: usize) {
        let Client { asks, done, .. } = &self.clients[client];
        let Some(ask) = asks.get(*done).cloned() else { return };
        // A guest that names a promise is told whether it is there, which must not be a matter of chance.
        let is_early = |other: &Client| matches!(other.asks.get(other.done), Some(Ask::Create(_)));
        if matches!(ask, Ask::Invoke(_)) && self.clients.iter().any(is_early) {
            return self.after(20, 60, Event::Client { client });
        }
        self.clients[client].attempt += 1;
        let attempt = self.clients[client].attempt;
        self.clients[client].began = self.now;
        if let Ask::Protocol(call) = &ask {
            self.attempts(client, attempt, call);
        }
        let (node, began) = (self.dice.below(NODES), self.now);
        if let Some(travel) = self.travel() {
            self.at(self.now + travel, Event::Asked { node, client, attempt, ask, began, forwarded: false });
        }
        self.after(150, 400, Event::ClientIsLate { client, attempt });
    }

    pub(super) fn asked(&mut self, node: usize, client: usize, attempt: u64, ask: Ask, began: u64, forwarded: bool) {
        if !self.nodes[node].is_up {
            return;
        }
        let id = ask.id().clone();
        let place = place(&id);
        let life = self.nodes[node].life;
        let Some(term) = self.nodes[node].owned.get(&place).map(|owned| owned.term) else {
            let owner = self.nodes[node].owners[place];
            let other = self.nodes.iter().position(|node| Some(node.id) == owner);
            if let Some(other) = other.filter(|_| !forwarded)
                && let Some(travel) = self.delay_to_peer(node, other)
            {
                let asked = Event::Asked { node: other, client, attempt, ask, began, forwarded: true };
                self.at(self.now + travel, asked);
            }
            return;
        };
        let carrier = Carrier { node, life, place, term };
        let arguments = self.names.arguments(self.seed, &id);
        let Some(owned) = self.owned(carrier) else { return };
        if owned.driven.broken().is_some() || owned.is_given {
            return;
        }
        let timeout_at = START + 1_000_000_000;
        match &ask {
            Ask::Protocol(call) => return self.serve(carrier, client, attempt, call),
            Ask::Invoke(_) => {
                let (function, arguments) = (FUNCTION.into(), arguments);
                if owned.driven.apply(Op::Invoke { id: id.clone(), function, arguments, timeout_at, seed: 1 }).is_err()
                {
                    return;
                }
            }
            Ask::Create(_) => {
                let create = Op::CreatePromise { id: id.clone(), param: bytes::Bytes::new(), timeout_at };
                if owned.driven.apply(create).is_err() {
                    return;
                }
            }
            Ask::Settle(_, outcome) => {
                if owned.driven.apply(Op::Settle { id: id.clone(), outcome: outcome.clone() }).is_err() {
                    return;
                }
            }
            Ask::Read(_) | Ask::Wait(_) => {}
        }
        let promise = owned.driven.promise(&id);
        let is_there = promise.is_some();
        let outcome = promise.and_then(|promise| promise.outcome.clone());
        if matches!(ask, Ask::Wait(_)) && outcome.is_none() {
            return;
        }
        let held = owned.driven.hold();
        let then = Then::Answer { client, asked: attempt, about: id, outcome, is_there, began };
        owned.waiting.push((held, then));
        self.released(carrier);
    }

    /// An answer leaves, if the node may answer. It is held against the truth.
    #[expect(clippy::too_many_arguments, reason = "it is all that an answer has")]
    pub(super) fn answer(
        &mut self,
        carrier: Carrier,
        client: usize,
        attempt: u64,
        about: Id,
        outcome: Option<Outcome>,
        is_there: bool,
        began: u64,
    ) {
        if !self.may_answer(carrier.node) {
            self.counts.late_answers += 1;
            return;
        }
        if !self.rolls_back {
            let known = self.known.get(&about).cloned();
            match (&outcome, known) {
                (Some(outcome), Some((_, known))) if *outcome != known => {
                    return self.violated(format!("{about} was {known:?}, and is {outcome:?}"));
                }
                (None, Some((at, _))) if at < began => {
                    return self
                        .violated(format!("{about} was settled at {at} ms, and is pending for who asked later"));
                }
                (Some(outcome), None) => drop(self.known.insert(about.clone(), (self.now, outcome.clone()))),
                _ => {}
            }
            match self.there.get(&about) {
                Some(at) if !is_there && *at < began => {
                    return self.violated(format!("{about} was there at {at} ms, and isn't for who asked later"));
                }
                None if is_there => drop(self.there.insert(about.clone(), self.now)),
                _ => {}
            }
            let truth = self.database.rows[carrier.place].truth.promises.get(&about);
            let is_true = match (&outcome, truth) {
                (None, None) => !is_there,
                (None, Some(_)) => true,
                (Some(outcome), truth) => truth.is_some_and(|truth| truth.outcome.as_ref() == Some(outcome)),
            };
            if !is_true {
                return self
                    .violated(format!("somebody was told of {about}, {outcome:?}, which isn't durable: {truth:?}"));
            }
        }
        if let Some(travel) = self.travel() {
            self.at(self.now + travel, Event::Answered { client, attempt, reply: None });
        }
    }
}

impl World {
    /// An answer arrives.
    pub(super) fn answered(&mut self, client: usize, attempt: u64, reply: Option<Reply>) {
        if let Some(reply) = reply {
            self.heard(client, attempt, &reply);
        }
        let Some(asking) = self.clients.get_mut(client).filter(|asking| asking.attempt == attempt) else { return };
        asking.done += 1;
        asking.attempt += 1;
        self.after(1, 300, Event::Client { client });
    }
}

impl Ask {
    pub fn id(&self) -> &Id {
        match self {
            Ask::Invoke(id) | Ask::Create(id) | Ask::Settle(id, _) | Ask::Read(id) | Ask::Wait(id) => id,
            Ask::Protocol(call) => &call.id,
        }
    }
}
