//! What crosses from one partition to another.
//!
//! Ids are divided between partitions by a fixed hash of their origin, so a call tree is in one of them; but trees call each
//! other, and wait for and settle each other's promises. What one partition wants of another is a message in its outbox,
//! a row like any other, which is carried at least once and in order. The receiver counts, and takes each message once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Awaiter, Completion, Component, Config, Digest, Id, NewPromise, Outcome, Payload, Scope, Tags};

/// How many partitions there are. It is for good: what is stored is found by it.
pub const PARTITIONS: usize = 64;

/// Something that one partition has to say to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Call a function, or find the call that has the id.
    Call {
        /// Of a root, in the receiving partition.
        id: Id,
        /// Its name.
        function: String,
        /// A JSON array.
        arguments: Payload,
        /// The deadline, if the call isn't there already.
        timeout_at: u64,
        /// What the random numbers of the execution will be drawn from.
        seed: u64,
        /// What the caller runs on: its own functions are those that it was compiled with.
        component: Digest,
        /// The step that calls.
        caller: Awaiter,
        /// Whether nobody waits for the result.
        detached: bool,
        /// Of the call's promise, if a worker elsewhere is to answer it.
        tags: Option<Tags>,
    },
    /// A step waits for a promise.
    Await {
        /// The promise.
        id: Id,
        /// The step.
        awaiter: Awaiter,
    },
    /// A step settles a promise.
    Settle {
        /// The promise.
        id: Id,
        /// With what.
        outcome: Outcome,
        /// The step, which is told whether it was done.
        asker: Awaiter,
    },
    /// A step no longer waits for a promise. If it called it, that ends too.
    LetGo {
        /// The promise.
        id: Id,
        /// The step.
        awaiter: Awaiter,
    },
    /// What a step is told, of what it asked in one of the messages above.
    Answer {
        /// The step.
        awaiter: Awaiter,
        /// The promise that it asked about.
        id: Id,
        /// What became of it.
        completion: Completion,
    },
    /// A component was uploaded. The first partition says so to all others, so that one alone decides about names.
    Install {
        /// As it was installed there.
        component: Component,
    },
    /// A component or a function is configured. The first partition says so to all others.
    Configure {
        /// Which.
        scope: Scope,
        /// All of it.
        config: Config,
    },
    /// A task of a worker elsewhere waits for a promise.
    Register {
        /// The promise.
        awaited: Id,
        /// The task.
        awaiter: Id,
    },
    /// What a task waits for is settled, or isn't there: it goes on.
    Resume {
        /// The task.
        awaiter: Id,
        /// The promise.
        awaited: Id,
    },
    /// The next occurrence of a schedule has come.
    Occur {
        /// What it makes.
        promise: NewPromise,
        /// When it came.
        at: u64,
    },
}

/// What a partition has for others, and what it has had from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// The number of the last message to each partition.
    pub sent: BTreeMap<u8, u64>,
    /// Messages that their receivers aren't known to have, by receiver and number.
    pub outbox: BTreeMap<(u8, u64), Arc<Message>>,
    /// The number of the last message from each partition.
    pub received: BTreeMap<u8, u64>,
}

impl Mail {
    /// Put a message into the outbox. Its number, and how it is kept.
    pub fn post(&mut self, to: u8, message: Message) -> (u64, Arc<Message>) {
        let number = self.sent.entry(to).or_default();
        *number += 1;
        let message = Arc::new(message);
        self.outbox.insert((to, *number), message.clone());
        (*number, message)
    }

    /// The receiver has all messages up to this number. Whether there were any.
    pub fn delivered(&mut self, to: u8, number: u64) -> bool {
        let delivered: Vec<u64> = self.to(to).map(|(each, _)| each).take_while(|each| *each <= number).collect();
        delivered.iter().for_each(|each| drop(self.outbox.remove(&(to, *each))));
        !delivered.is_empty()
    }

    /// The number of the last message from a partition.
    pub fn last_from(&self, from: u8) -> u64 {
        self.received.get(&from).copied().unwrap_or(0)
    }

    /// The messages to a partition, in order, with their numbers.
    pub fn to(&self, to: u8) -> impl Iterator<Item = (u64, &Message)> {
        self.outbox.range((to, 0)..=(to, u64::MAX)).map(|((_, number), message)| (*number, &**message))
    }

    /// The partitions that there is something for.
    pub fn receivers(&self) -> Vec<u8> {
        let mut receivers = Vec::new();
        let mut next = self.outbox.first_key_value();
        while let Some(((to, _), _)) = next {
            receivers.push(*to);
            next = to.checked_add(1).and_then(|after| self.outbox.range((after, 0)..).next());
        }
        receivers
    }
}
