//! Durable values, settled once.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Execution, Foreign, HttpHead, Id, Reach};

/// A value as it travels: JSON text between functions, anything at all from elsewhere.
pub type Payload = Bytes;

/// A durable value. Once it has an outcome, that never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Its name.
    pub id: Id,
    /// What it stands for.
    pub kind: PromiseKind,
    /// Who is answerable for it: the execution whose step it is.
    pub owner: Option<Owner>,
    /// What it was created with: the arguments of a call.
    pub param: Payload,
    /// How it was settled. None while it is pending.
    pub outcome: Option<Outcome>,
    /// In milliseconds since the Unix epoch.
    pub created_at: u64,
    /// When it times out by itself, in milliseconds since the Unix epoch.
    pub timeout_at: u64,
    /// In milliseconds since the Unix epoch.
    pub settled_at: Option<u64>,
    /// The steps that wait for it. A set: any number of them may come, and go again.
    pub awaiters: BTreeSet<Awaiter>,
    /// The run of a function that settles it.
    pub execution: Option<Box<Execution>>,
    /// What it has because of clients of the promise protocol.
    pub foreign: Option<Box<Foreign>>,
}

/// What a promise stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PromiseKind {
    /// Somebody outside will settle it.
    External,
    /// The result of a function.
    Call {
        /// Its name.
        function: String,
    },
    /// It resolves by itself, at its deadline.
    Sleep,
    /// A named piece of a guest's own work.
    Step {
        /// For people.
        name: String,
    },
    /// The answer to a request. The promise's parameter is the request's body.
    Http {
        /// All but its body.
        head: HttpHead,
        /// How far it may reach.
        reach: Reach,
    },
    /// It stands for a promise in another partition, and is settled by the answer from there.
    Remote {
        /// The other one.
        id: Id,
        /// What is wanted of it.
        errand: Errand,
    },
}

/// What a step wants of a promise in another partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Errand {
    /// It called it. The promise's parameter is what it was called with.
    Call,
    /// It waits for it.
    Await,
    /// It settles it.
    Settle,
}

/// The execution that made a promise as one of its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Which.
    pub execution: Id,
    /// At which step.
    pub step: u32,
    /// Whether the promise lives on when its owner is cancelled.
    pub detached: bool,
}

/// A step that waits for a promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Awaiter {
    /// The execution that is told.
    pub execution: Id,
    /// The step that completes.
    pub step: u32,
}

/// How a promise was settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// With a result.
    Resolved(Payload),
    /// With an error: the function's own, or what somebody gave as a reason.
    Rejected(Payload),
    /// By somebody, who no longer wants it.
    Canceled,
    /// By the passing of its deadline.
    TimedOut,
    /// The function stopped without a result. The text says how and where.
    Crashed(String),
}

/// The state of a promise, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is an outcome, or none")]
pub enum State {
    Pending,
    Resolved,
    Rejected,
    Canceled,
    TimedOut,
    Crashed,
}

impl Promise {
    /// Pending, or how it was settled.
    pub fn state(&self) -> State {
        self.outcome.as_ref().map_or(State::Pending, Outcome::state)
    }

    /// Whether it and all that came of it is settled. Then that is so for good: what is settled calls nothing more.
    pub fn is_over(&self) -> bool {
        self.outcome.is_some() && self.execution.as_ref().is_none_or(|execution| execution.unsettled == 0)
    }

    /// The execution below which it is in its tree. One that was called with an id of its own is the root of another.
    pub fn parent(&self) -> Option<&Id> {
        self.owner.as_ref().map(|owner| &owner.execution).filter(|execution| execution.origin() == self.id.origin())
    }

    /// The name of the function that it is the result of.
    pub fn function(&self) -> Option<&str> {
        match &self.kind {
            PromiseKind::Call { function } => Some(function),
            _ => None,
        }
    }
}

impl PromiseKind {
    /// Whether a promise of this kind is over once the step that made it no longer waits for it.
    pub(crate) fn ends_unwanted(&self) -> bool {
        use PromiseKind as K;
        matches!(self, K::Sleep | K::Http { .. } | K::Remote { errand: Errand::Await | Errand::Settle, .. })
    }

    /// Whether it is the result of something that its owner called.
    pub(crate) fn is_called(&self) -> bool {
        matches!(self, PromiseKind::Call { .. } | PromiseKind::Remote { errand: Errand::Call, .. })
    }
}

impl Outcome {
    /// The state that it leaves the promise in.
    pub fn state(&self) -> State {
        match self {
            Outcome::Resolved(_) => State::Resolved,
            Outcome::Rejected(_) => State::Rejected,
            Outcome::Canceled => State::Canceled,
            Outcome::TimedOut => State::TimedOut,
            Outcome::Crashed(_) => State::Crashed,
        }
    }

    /// How many bytes it carries.
    pub fn size(&self) -> usize {
        match self {
            Outcome::Resolved(payload) | Outcome::Rejected(payload) => payload.len(),
            Outcome::Crashed(text) => text.len(),
            Outcome::Canceled | Outcome::TimedOut => 0,
        }
    }
}

impl State {
    /// The promise protocol's word for it.
    pub fn as_protocol(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Resolved => "resolved",
            State::Rejected | State::Crashed => "rejected",
            State::Canceled => "rejected_canceled",
            State::TimedOut => "rejected_timedout",
        }
    }

    /// As it is written everywhere: `pending`, `timed_out`, …
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Resolved => "resolved",
            State::Rejected => "rejected",
            State::Canceled => "canceled",
            State::TimedOut => "timed_out",
            State::Crashed => "crashed",
        }
    }
}
