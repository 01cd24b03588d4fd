//! What travels, and what is kept.

use std::collections::BTreeMap;

/// Names and values.
pub type Tags = BTreeMap<String, String>;
/// The promises, or awaiters, or addresses of a ledger, in the order in which they came.
pub type Callbacks = Vec<String>;

/// What a promise is created with, or settled with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub struct Value {
    pub headers: Tags,
    pub data: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub enum PromiseState {
    Pending,
    Resolved,
    Rejected,
    RejectedCanceled,
    RejectedTimedout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub enum TaskState {
    Pending,
    Acquired,
    Suspended,
    Halted,
    Fulfilled,
}

/// A durable value, and who waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub struct Promise {
    pub id: String,
    pub state: PromiseState,
    pub param: Value,
    pub value: Value,
    pub tags: Tags,
    pub timeout_at: u64,
    pub created_at: u64,
    pub settled_at: Option<u64>,
    /// The tasks to resume.
    pub callbacks: Callbacks,
    /// The addresses to tell.
    pub listeners: Callbacks,
}

/// The claim on settling a promise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub struct Task {
    pub id: String,
    pub state: TaskState,
    pub version: u64,
    pub ttl: Option<u64>,
    pub pid: Option<String>,
    /// When the lease of whoever has acquired it ends.
    pub expires_at: Option<u64>,
    /// When it is offered to its target, again.
    pub retry_at: Option<u64>,
    /// What was settled since it was last acquired.
    pub resumes: Callbacks,
}

/// A promise to be made again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub struct Schedule {
    pub id: String,
    pub cron: String,
    pub promise_id: String,
    pub promise_timeout: u64,
    pub promise_param: Value,
    pub promise_tags: Tags,
    pub created_at: u64,
    pub next_run_at: u64,
    pub last_run_at: Option<u64>,
}

/// What the server says by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// There is work.
    Execute {
        /// The target of the task's promise.
        address: String,
        /// The task.
        id: String,
        /// To acquire it under.
        version: u64,
    },
    /// The promise was settled.
    Unblock {
        /// The listener.
        address: String,
        /// The promise.
        id: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub struct Create {
    pub id: String,
    pub timeout_at: u64,
    pub param: Value,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub struct Settle {
    pub id: String,
    pub state: PromiseState,
    pub value: Value,
}

/// What a task does under its fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub enum Action {
    Create(Create),
    Settle(Settle),
}

/// A task as somebody knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub struct TaskRef {
    pub id: String,
    pub version: u64,
}

/// What a client can ask for. Searches are not specified, and not here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub enum Request {
    PromiseGet {
        id: String,
    },
    PromiseCreate(Create),
    PromiseSettle(Settle),
    PromiseRegisterCallback {
        awaited: String,
        awaiter: String,
    },
    PromiseRegisterListener {
        awaited: String,
        address: String,
    },
    TaskGet {
        id: String,
    },
    TaskCreate {
        pid: String,
        ttl: u64,
        action: Create,
    },
    TaskAcquire {
        task: TaskRef,
        pid: String,
        ttl: u64,
    },
    TaskFence {
        task: TaskRef,
        action: Action,
    },
    TaskHeartbeat {
        pid: String,
        tasks: Vec<TaskRef>,
    },
    TaskSuspend {
        task: TaskRef,
        awaited: Vec<String>,
    },
    TaskFulfill {
        task: TaskRef,
        state: PromiseState,
        value: Value,
    },
    TaskRelease {
        task: TaskRef,
    },
    TaskHalt {
        id: String,
    },
    TaskContinue {
        id: String,
    },
    ScheduleGet {
        id: String,
    },
    ScheduleCreate {
        id: String,
        cron: String,
        promise_id: String,
        promise_timeout: u64,
        promise_param: Value,
        promise_tags: Tags,
    },
    ScheduleDelete {
        id: String,
    },
}

/// What it is answered: a status, and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "as they are on the wire")]
pub struct Response {
    pub status: u16,
    pub promise: Option<Promise>,
    pub task: Option<Task>,
    pub schedule: Option<Schedule>,
    /// Of a fence.
    pub action: Option<Box<Response>>,
}

impl PromiseState {
    /// Whether a client can settle a promise so. `RejectedTimedout` is the deadline's own.
    pub fn is_settable(self) -> bool {
        matches!(self, PromiseState::Resolved | PromiseState::Rejected | PromiseState::RejectedCanceled)
    }
}

impl Promise {
    /// It resolves by itself, at its deadline.
    pub fn is_timer(&self) -> bool {
        is_timer(&self.tags)
    }

    /// A worker is to settle it: it has a task.
    pub fn is_targeted(&self) -> bool {
        is_targeted(&self.tags)
    }

    /// Somebody else than its creator settles it, so others can wait for it. The specification doesn't know of the
    /// scope: SDKs give the promises that a person is to settle no other tag.
    pub fn is_external(&self) -> bool {
        let is = |tag: &str, value: &str| self.tags.get(tag).is_some_and(|known| known == value);
        let is_marked = is("resonate:external", "true") || is("resonate:scope", "global");
        is_marked || self.is_targeted() || self.is_timer()
    }

    /// As a client sees it.
    pub fn record(&self) -> Promise {
        Promise { callbacks: Vec::new(), listeners: Vec::new(), ..self.clone() }
    }
}

impl Task {
    /// As a client sees it.
    pub fn record(&self) -> Task {
        Task { expires_at: None, retry_at: None, ..self.clone() }
    }
}

pub(crate) fn is_timer(tags: &Tags) -> bool {
    tags.get("resonate:timer").is_some_and(|value| value == "true")
}

pub(crate) fn is_targeted(tags: &Tags) -> bool {
    tags.contains_key("resonate:target")
}

/// Nobody executes a timer.
pub(crate) fn is_timer_with_target(tags: &Tags) -> bool {
    is_timer(tags) && is_targeted(tags)
}

/// Whether a listener can be told there.
pub fn is_deliverable(address: &str) -> bool {
    let is_poll = address.starts_with("poll://") && address.contains('@');
    address.starts_with("http://") || address.starts_with("https://") || is_poll
}

impl Response {
    pub(crate) fn status(status: u16) -> Response {
        Response { status, ..Response::default() }
    }

    pub(crate) fn promise(promise: &Promise) -> Response {
        Response { status: 200, promise: Some(promise.record()), ..Response::default() }
    }

    pub(crate) fn task(task: &Task) -> Response {
        Response { status: 200, task: Some(task.record()), ..Response::default() }
    }

    pub(crate) fn claim(task: &Task, promise: &Promise) -> Response {
        Response { task: Some(task.record()), ..Response::promise(promise) }
    }

    pub(crate) fn schedule(schedule: &Schedule) -> Response {
        Response { status: 200, schedule: Some(schedule.clone()), ..Response::default() }
    }
}
