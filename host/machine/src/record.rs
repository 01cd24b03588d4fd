//! What is put to the machine, and written to the log: everything that ever happened, in order.

use serde::{Deserialize, Serialize};

use crate::{Component, Config, Digest, Entry, Event, Id, Message, Outcome, Output, Payload, Request, Scope, Settings};

/// One thing that happened, and when. Applying the same records in the same order gives the same state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// In milliseconds since the Unix epoch. Never less than that of the record before, but for tests that set the time.
    pub now: u64,
    /// What happened.
    pub op: Op,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Somebody outside calls a function, or attaches to the call with this id.
    Invoke {
        /// Of a root.
        id: Id,
        /// Its name.
        function: String,
        /// A JSON array.
        arguments: Payload,
        /// The deadline.
        timeout_at: u64,
        /// What the random numbers of the execution will be drawn from.
        seed: u64,
    },
    /// Somebody outside makes a promise, or finds that it is there.
    CreatePromise {
        /// Of a root.
        id: Id,
        /// A value for whoever settles it.
        param: Payload,
        /// The deadline.
        timeout_at: u64,
    },
    /// Somebody outside settles a promise, or ends an execution.
    Settle {
        /// Of any promise.
        id: Id,
        /// Never `TimedOut` or `Crashed`.
        outcome: Outcome,
    },
    /// The time has come at which something happens to these promises by itself: deadlines have passed, leases have
    /// ended, tasks are to be offered, and addresses to be told again.
    Expire {
        /// Those to which nothing happens now are passed over.
        ids: Vec<Id>,
    },
    /// A session is about to advance an execution from its journal. Earlier sessions lose the right to.
    Acquire {
        /// Of an execution.
        id: Id,
    },
    /// A session advanced an execution.
    Progress(Progress),
    /// A replay differed from the journal. The execution is left as it is, for somebody to look at.
    Hold {
        /// Of an execution.
        id: Id,
        /// Of the session.
        version: u32,
        /// Both sides of the difference.
        reason: String,
    },
    /// A component was uploaded.
    Install {
        /// As it described itself.
        component: Component,
    },
    /// An execution is to go on, on a component on which a run did all that its journal has. One that is held is held no
    /// longer.
    Move {
        /// Of an execution.
        id: Id,
        /// What it goes on on; it can be what it is on.
        component: Digest,
        /// How many entries its journal had when that was found out. With any other number it is refused.
        entries: u32,
        /// How many pieces of output the run wrote.
        replayed: u32,
    },
    /// A new execution is to begin with a part of the history of another one.
    Fork {
        /// Of the new one: a root.
        id: Id,
        /// The other one.
        from: Id,
        /// The first entries of its journal, on which a run on the component did all that they have.
        entries: Vec<Entry>,
        /// What the new one runs on.
        component: Digest,
        /// How many pieces of output the run wrote.
        replayed: u32,
        /// The deadline.
        timeout_at: u64,
    },
    /// A client of the promise protocol asks something.
    Request(Box<Request>),
    /// The next occurrence of these schedules has come.
    RunSchedules {
        /// Those that aren't due are passed over.
        ids: Vec<String>,
    },
    /// An address has been told of a settled promise.
    Told {
        /// The promise.
        id: Id,
        /// The address.
        address: String,
    },
    /// From here on the host has these settings.
    Adopt(Settings),
    /// Forget all promises and schedules. For tests.
    Reset,
    /// A scope gets another configuration. Executions that have started keep theirs.
    Configure {
        /// Whose.
        scope: Scope,
        /// All of it.
        config: Config,
    },
    /// Trees that nobody needs any more may go, or parts of them.
    Forget {
        /// Those that are still needed are passed over.
        trees: Vec<Old>,
    },
    /// A message has come from another partition. If it is rejected it hasn't, and is to come again.
    Receive {
        /// Which.
        from: u8,
        /// Its number, from there to here.
        number: u64,
        /// What it says.
        message: Box<Message>,
    },
    /// Another partition has had all messages up to a number.
    Delivered {
        /// Which.
        to: u8,
        /// The number.
        number: u64,
    },
    /// Components that nobody needs any more may go.
    Uninstall {
        /// Those that are still needed are passed over.
        digests: Vec<Digest>,
    },
}

/// A part of a tree that may have been kept long enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Old {
    /// The root of the tree.
    pub root: Id,
    /// What of the tree may go now, each after those below it. The root comes last of all.
    pub ids: Vec<Id>,
    /// How long the tree is kept after its root was settled.
    pub retention_ms: u64,
}

/// One turn of a session: what the guest was told, and everything that it did until it came to rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The execution.
    pub id: Id,
    /// The version of the task under which the session runs.
    pub version: u32,
    /// The step that it was told of first, and the time that it then saw.
    pub told: Option<(u32, u64)>,
    /// What it did, in order.
    pub events: Vec<Event>,
    /// What it wrote, in order.
    pub output: Vec<Output>,
    /// Where that left it.
    pub rest: Rest,
}

/// Where a turn left a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rest {
    /// In the middle of something: it will go on by itself.
    Running,
    /// Waiting for what it asked.
    Waiting,
    /// At the end.
    Finished(Outcome),
}
