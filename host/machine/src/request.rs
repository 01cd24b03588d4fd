//! What clients of the promise protocol ask that can change something, and the reasons for which it is refused.

use serde::{Deserialize, Serialize};

use crate::{Form, Id, Outcome, Payload, Tags};

/// A request, as far as its text made sense.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Make a promise, or find it.
    CreatePromise(NewPromise),
    /// Settle a promise, or find it settled.
    SettlePromise(Settlement),
    /// Let a task go on once a promise is settled.
    RegisterCallback {
        /// The promise.
        awaited: Id,
        /// The task.
        awaiter: Id,
    },
    /// Tell an address once a promise is settled.
    RegisterListener {
        /// The promise.
        awaited: Id,
        /// Where to.
        address: String,
    },
    /// Make a promise and take its task, or take the task of one that is there.
    CreateTask {
        /// Who takes it, and for how long.
        holder: crate::Holder,
        /// The promise.
        promise: NewPromise,
    },
    /// Take a task that was offered.
    Acquire {
        /// Which, and at which version.
        task: TaskRef,
        /// Who takes it, and for how long.
        holder: crate::Holder,
    },
    /// Give a task back.
    Release(TaskRef),
    /// Settle the promise of a task that one has.
    Fulfill {
        /// Which task.
        task: TaskRef,
        /// Of its own promise.
        settlement: Settlement,
    },
    /// Give a task back until promises are settled.
    Suspend {
        /// Which task.
        task: TaskRef,
        /// The first of these that is settled lets it go on.
        awaited: Vec<Id>,
    },
    /// Make or settle another promise, as long as one has a task.
    Fence {
        /// Which task.
        task: TaskRef,
        /// What to do.
        action: Action,
    },
    /// Keep tasks.
    Heartbeat {
        /// Who has them.
        pid: String,
        /// Which.
        tasks: Vec<TaskRef>,
    },
    /// Stop a task until it is continued.
    Halt {
        /// Which.
        id: Id,
    },
    /// Offer a task again that was stopped.
    Continue {
        /// Which.
        id: Id,
    },
    /// Make a schedule, or find it.
    CreateSchedule(NewSchedule),
    /// Forget a schedule.
    DeleteSchedule {
        /// Its name.
        id: String,
    },
}

/// A task at a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRef {
    /// Of the task and of its promise.
    pub id: Id,
    /// The fence.
    pub version: u32,
}

/// A promise, as a client wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPromise {
    /// Its name.
    pub id: Id,
    /// Its deadline.
    pub timeout_at: u64,
    /// What it is created with.
    pub template: Template,
}

/// What a promise is made of, whatever its name and deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// What guests see of its value.
    pub param: Payload,
    /// How that was written.
    pub form: Form,
    /// Names and values.
    pub tags: Tags,
    /// The function of this host that is to settle it, if its target is this host.
    pub call: Option<Call>,
}

/// What a promise for this host asks it to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// This function, with the promise's param as its arguments.
    Function {
        /// Its name.
        name: String,
        /// What random numbers are drawn from.
        seed: u64,
    },
    /// Nothing that can be run, and why.
    Nonsense(String),
}

/// What a promise is settled with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Which promise.
    pub id: Id,
    /// How. One that nobody can give is refused.
    pub outcome: Outcome,
    /// How its value was written.
    pub form: Form,
}

/// What is done under the protection of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Make a promise, or find it.
    Create(NewPromise),
    /// Settle a promise, or find it settled.
    Settle(Settlement),
}

/// A schedule, as a client wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSchedule {
    /// Its name.
    pub id: String,
    /// When, as cron has it.
    pub cron: String,
    /// The ids of its promises, with `{{.id}}` and `{{.timestamp}}`.
    pub promise_id: String,
    /// From an occurrence to the deadline of its promise.
    pub promise_timeout_ms: u64,
    /// What its promises are made of.
    pub template: Template,
}

impl Action {
    /// The promise that it is about.
    pub fn id(&self) -> &Id {
        match self {
            Action::Create(promise) => &promise.id,
            Action::Settle(settlement) => &settlement.id,
        }
    }
}

/// Why a request of the protocol is refused. What it asked about can have changed by a deadline all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An id of another partition than what is asked is done in.
    #[error("the promise is in another partition than the task: create or settle it without a fence")]
    Elsewhere,
    /// Two tags that contradict each other.
    #[error("a timer resolves by itself: it has no resonate:target")]
    TimerWithTarget,
    /// A task without a worker.
    #[error("a task needs a resonate:target")]
    NoTarget,
    /// A state that only the host gives.
    #[error("a promise is settled as resolved, rejected or rejected_canceled")]
    NotASettlement,
    /// An id below an execution of this host.
    #[error("ids below an execution of this host are those of its steps")]
    StepOfExecution,
    /// A tag of the lineage that the id contradicts.
    #[error(
        "resonate:origin, resonate:branch and resonate:parent name the promise itself, or one that its id begins with; \
         an origin has no ':'"
    )]
    Lineage,
    /// Where nothing can be delivered.
    #[error("an address is written poll://any@GROUP, poll://uni@GROUP/ID, or as a URL of http or https")]
    Address,
    /// A delay that isn't before the deadline, or that delays nothing.
    #[error("resonate:delay is a time in milliseconds before timeoutAt, and needs a resonate:target")]
    Delay,
    /// Waiting for oneself.
    #[error("a task can't wait for its own promise")]
    AwaitsItself,
    /// Waiting for nothing.
    #[error("a task is suspended with at least one action")]
    AwaitsNothing,
    /// Waiting twice for the same.
    #[error("a task waits for a promise once")]
    AwaitsTwice,
    /// Acting on the promise of the very task.
    #[error("the action of a fence is on another promise than the task's own")]
    FencesItself,
    /// A pattern that cron doesn't know, or that never comes.
    #[error("the cron expression isn't one, or never comes")]
    Cron,
    /// A template whose ids aren't ids.
    #[error("promiseId doesn't make an id that a promise can have")]
    PromiseId,
    /// An id that nothing has.
    #[error("there is no such promise")]
    NoPromise,
    /// An id that no task has.
    #[error("there is no such task")]
    NoTask,
    /// A name that no schedule has.
    #[error("there is no such schedule")]
    NoSchedule,
    /// The one that is to go on isn't there.
    #[error("the promise that is to wait doesn't exist")]
    NoAwaiter,
    /// The one that is to go on isn't one that goes.
    #[error("the promise that is to wait has no resonate:target")]
    AwaiterHasNoTask,
    /// A promise whose deadline nobody watches.
    #[error("the awaited promise is internal: only its creator can wait for it (see resonate:external)")]
    Internal,
    /// More than there can be.
    #[error("so many addresses are to be told of the promise that there can be no more")]
    ManyListeners,
    /// More than there can be.
    #[error("there are as many schedules as there can be")]
    ManySchedules,
    /// A promise that suspending needs isn't there, or is internal.
    #[error("an awaited promise doesn't exist, or is internal")]
    AwaitedMissing,
    /// A promise that nobody's task is to settle.
    #[error("the promise is there, and has no resonate:target")]
    PromiseHasNoTarget,
    /// Somebody else's, or nobody's to take.
    #[error("the task can't be taken: it is not pending, or not at this version")]
    NotOffered,
    /// Not, or no longer, the holder's.
    #[error("the task isn't held under this version")]
    NotHeld,
    /// Over.
    #[error("the task is fulfilled")]
    Fulfilled,
    /// Nothing to continue.
    #[error("the task isn't halted")]
    NotHalted,
}
