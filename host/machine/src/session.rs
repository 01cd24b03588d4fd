//! The messages between a running guest and whoever records it. A session is nothing else: what the guest asks, in the
//! order in which it asks, and what it is told.

use serde::{Deserialize, Serialize};

use crate::{HttpHead, Id, Outcome, Payload};

/// Something that the guest did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It called an import. Steps are numbered from 1, without gaps.
    Asked {
        /// The number of the step.
        step: u32,
        /// What it asked.
        ask: Ask,
    },
    /// It stopped waiting for a step that it had asked for.
    Dropped {
        /// The number of the step.
        step: u32,
    },
    /// It gave the result of a step of its own, begun with [`Ask::Step`].
    Recorded {
        /// The number of the step.
        step: u32,
        /// The result. Never `TimedOut` or `Crashed`.
        outcome: Outcome,
    },
}

/// An import, called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Run another function. Answered with its outcome, unless detached: then never.
    Call {
        /// The function's name.
        function: String,
        /// A JSON array.
        arguments: Payload,
        /// Where, under which id, until when.
        options: CallOptions,
        /// Outside of this call tree, and not waited for.
        detached: bool,
    },
    /// Wait until a time.
    Sleep {
        /// In milliseconds since the Unix epoch.
        until_ms: u64,
    },
    /// Make a promise for others to settle. Never answered.
    CreatePromise {
        /// From now to its deadline.
        timeout_ms: Option<u64>,
    },
    /// Wait for a promise that exists.
    AwaitPromise {
        /// As the guest gave it; it may be no valid id.
        id: String,
    },
    /// Settle a promise.
    SettlePromise {
        /// As the guest gave it; it may be no valid id.
        id: String,
        /// Never `TimedOut` or `Crashed`.
        outcome: Outcome,
    },
    /// Begin a step of the guest's own work. Never answered; it ends with [`Event::Recorded`].
    Step {
        /// A name for people.
        name: String,
    },
    /// Send a request to another system. Answered with the outcome of the request: resolved with the response, rejected
    /// with why there is none.
    Http {
        /// All but its body.
        head: HttpHead,
        /// Its body.
        body: Payload,
    },
}

/// How a call is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallOptions {
    /// Instead of the step's own id. As the guest gave it; it may be no valid id.
    pub id: Option<String>,
    /// From now to the deadline.
    pub timeout_ms: Option<u64>,
    /// An address. None means this host.
    pub target: Option<String>,
}

/// What a guest is told of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Completion {
    /// What it waited for was settled.
    Settled(Outcome),
    /// The request was not accepted, and why.
    Refused(String),
    /// It was done: the answer of [`Ask::SettlePromise`].
    Done,
}

/// A piece of what an execution wrote, in the order in which it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Where it was written to.
    pub stream: Stream,
    /// One line without its end, or a part of one that was too long.
    pub text: String,
}

/// Where output was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The log, at a level.
    Log(Level),
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the usual ones")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Event {
    /// The step that the event belongs to.
    pub fn step(&self) -> u32 {
        match self {
            Event::Asked { step, .. } | Event::Dropped { step } | Event::Recorded { step, .. } => *step,
        }
    }
}

impl CallOptions {
    /// The id of what a call starts, if the guest chose one that is allowed, or the step's own.
    pub fn id_for(&self, caller: &Id, step: u32) -> Result<Id, crate::IdError> {
        match &self.id {
            Some(id) => Id::root(id),
            None => caller.child(step),
        }
    }
}
