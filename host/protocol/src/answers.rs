//! What is answered. What the rows say is gathered while they can't change, and written down afterwards.

use std::sync::Arc;

use machine::{Granted, Promise, Refusal, Schedule, Settings};
use serde::Serialize;

use super::VERSION;
use super::records::{Record, Records, ScheduleRecord, TaskRecord};
use super::requests::{Inner, Kind};
use host_partition::{Error, Seen};

/// How many promises are given along with a task; and with the answer of a fence, of which a task has many.
const PRELOADED: usize = 1_000;
const PRELOADED_WITH_FENCE: usize = 32;

/// An answer, as it is sent.
#[derive(Debug)]
pub struct Answer {
    /// In the head of the answer, and of HTTP's.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
}

/// A request that wasn't done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As the protocol has it.
    pub status: u16,
    /// For people.
    pub message: String,
}

/// What the rows said.
pub struct Facts {
    granted: Result<Granted, Refusal>,
    now: u64,
    promise: Option<Arc<Promise>>,
    preload: Vec<Arc<Promise>>,
    /// The promise of the action in a fence.
    other: Option<Arc<Promise>>,
    schedule: Option<Schedule>,
}

/// What is searched for, found.
pub enum List {
    /// Promises.
    Promises(Vec<Arc<Promise>>),
    /// The tasks of these.
    Tasks(Vec<Arc<Promise>>),
    /// Schedules.
    Schedules(Vec<Schedule>),
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    kind: &'a str,
    head: Head<'a>,
    data: T,
}

#[derive(Serialize)]
struct Head<'a> {
    #[serde(rename = "corrId")]
    corr_id: &'a str,
    status: u16,
    version: &'static str,
}

#[derive(Serialize, Default)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<TaskRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    promise: Option<Record<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<ScheduleRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Envelope<'a, Part<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preload: Option<Records<'a>>,
}

/// The data of an answer inside of another one.
#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    Promise { promise: Record<'a> },
    Reason(String),
}

/// Whom an answer is for.
#[derive(Clone, Copy)]
pub struct To<'a> {
    /// What was asked.
    pub kind: &'a str,
    /// Given back.
    pub corr_id: &'a str,
}

impl Answer {
    /// That it was done.
    pub fn done(to: To<'_>) -> Answer {
        write(to, 200, Data::default())
    }

    /// An empty list.
    pub fn list(to: To<'_>) -> Answer {
        write(to, 200, [(); 0])
    }
}

impl Facts {
    /// What an answer of this kind tells about a promise, which may be that of a task.
    pub fn of_promise(
        kind: Kind,
        id: &machine::Id,
        inner: Option<&Inner>,
        granted: Result<Granted, Refusal>,
        seen: &mut Seen<'_>,
    ) -> Facts {
        let mut facts = Facts::new(granted, seen);
        if granted.is_err() || kind == Kind::Done {
            return facts;
        }
        facts.promise = seen.promise(id);
        facts.other = inner.and_then(|inner| seen.promise(&inner.id));
        let limit = match (kind, granted) {
            (Kind::TaskCreate | Kind::TaskAcquire, _) | (Kind::TaskSuspend, Ok(Granted::GoOn)) => PRELOADED,
            (Kind::TaskFence, _) => PRELOADED_WITH_FENCE,
            _ => return facts,
        };
        if let Some(promise) = facts.promise.clone().filter(|promise| promise.outcome.is_none()) {
            facts.preload = seen.branch(&promise, limit);
        }
        facts
    }

    /// What an answer tells about a schedule.
    pub fn of_schedule(id: &str, granted: Result<Granted, Refusal>, seen: &mut Seen<'_>) -> Facts {
        Facts { schedule: seen.schedule(id), ..Facts::new(granted, seen) }
    }

    fn new(granted: Result<Granted, Refusal>, seen: &mut Seen<'_>) -> Facts {
        Facts { granted, now: seen.now(), promise: None, preload: Vec::new(), other: None, schedule: None }
    }

    /// The answer.
    pub fn answer(&self, to: To<'_>, kind: Kind, inner: Option<&Inner>, settings: &Settings) -> Answer {
        let granted = match self.granted {
            Ok(granted) => granted,
            Err(refusal) => return Failure::from(refusal).answer(to),
        };
        let record = |promise| Record { promise, settings, now: self.now };
        let promise = self.promise.as_deref();
        let task = promise.and_then(|promise| TaskRecord::of(promise, settings, self.now));
        let preload = || Some(Records { promises: &self.preload, settings, now: self.now });
        let data = match kind {
            Kind::PromiseGet
            | Kind::PromiseCreate
            | Kind::PromiseSettle
            | Kind::PromiseRegister
            | Kind::TaskFulfill => {
                let Some(promise) = promise else { return Failure::from(Refusal::NoPromise).answer(to) };
                Data { promise: Some(record(promise)), ..Data::default() }
            }
            Kind::TaskGet => {
                let Some(task) = task else { return Failure::from(Refusal::NoTask).answer(to) };
                Data { task: Some(task), ..Data::default() }
            }
            Kind::TaskCreate | Kind::TaskAcquire => {
                Data { task, promise: promise.map(record), preload: preload(), ..Data::default() }
            }
            Kind::TaskSuspend if granted == Granted::GoOn => Data { preload: preload(), ..Data::default() },
            Kind::TaskFence => {
                let action = inner.map(|inner| self.action(to, inner, granted, settings));
                Data { action, preload: preload(), ..Data::default() }
            }
            Kind::ScheduleGet | Kind::ScheduleCreate => {
                let Some(schedule) = &self.schedule else { return Failure::from(Refusal::NoSchedule).answer(to) };
                Data { schedule: Some(ScheduleRecord::of(schedule)), ..Data::default() }
            }
            _ => Data::default(),
        };
        let status = if granted == Granted::GoOn { 300 } else { 200 };
        write(to, status, data)
    }

    fn action<'a>(
        &'a self,
        to: To<'a>,
        inner: &'a Inner,
        granted: Granted,
        settings: &'a Settings,
    ) -> Envelope<'a, Part<'a>> {
        let result = match granted {
            Granted::Fenced(Err(refusal)) => Err(refusal),
            _ => self.other.as_deref().ok_or(Refusal::NoPromise),
        };
        let (status, data) = match result {
            Ok(promise) => (200, Part::Promise { promise: Record { promise, settings, now: self.now } }),
            Err(refusal) => (status(refusal), Part::Reason(refusal.to_string())),
        };
        let corr_id = inner.corr_id.as_deref().unwrap_or(to.corr_id);
        Envelope { kind: inner.kind, head: Head { corr_id, status, version: VERSION }, data }
    }
}

impl List {
    /// The answer. `cursor`: where the rest begins.
    pub fn answer(&self, to: To<'_>, cursor: Option<&str>, settings: &Settings, now: u64) -> Answer {
        #[derive(Serialize, Default)]
        struct Data<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            promises: Option<Records<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tasks: Option<Vec<TaskRecord<'a>>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            schedules: Option<Vec<ScheduleRecord<'a>>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            cursor: Option<&'a str>,
        }
        let data = match self {
            List::Promises(promises) => {
                Data { promises: Some(Records { promises, settings, now }), cursor, ..Data::default() }
            }
            List::Tasks(promises) => {
                let tasks = promises.iter().filter_map(|promise| TaskRecord::of(promise, settings, now)).collect();
                Data { tasks: Some(tasks), cursor, ..Data::default() }
            }
            List::Schedules(schedules) => {
                let schedules = schedules.iter().map(ScheduleRecord::of).collect();
                Data { schedules: Some(schedules), cursor, ..Data::default() }
            }
        };
        write(to, 200, data)
    }
}

impl Failure {
    /// Of a request that makes no sense.
    pub fn nonsense(message: impl Into<String>) -> Failure {
        Failure { status: 400, message: message.into() }
    }

    /// The answer.
    pub fn answer(&self, to: To<'_>) -> Answer {
        write(to, self.status, &self.message)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure { status: status(refusal), message: refusal.to_string() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = if matches!(error, Error::Overloaded) { 429 } else { 500 };
        Failure { status, message: error.to_string() }
    }
}

/// The one place where a reason becomes a status.
fn status(refusal: Refusal) -> u16 {
    use Refusal as R;
    match refusal {
        R::TimerWithTarget
        | R::NoTarget
        | R::NotASettlement
        | R::StepOfExecution
        | R::Lineage
        | R::Address
        | R::Delay
        | R::AwaitsItself
        | R::AwaitsNothing
        | R::AwaitsTwice
        | R::FencesItself
        | R::Cron
        | R::PromiseId => 400,
        R::NoPromise | R::NoTask | R::NoSchedule => 404,
        R::NotOffered | R::NotHeld | R::Fulfilled | R::NotHalted => 409,
        R::NoAwaiter
        | R::AwaiterHasNoTask
        | R::Internal
        | R::ManyListeners
        | R::ManySchedules
        | R::AwaitedMissing
        | R::PromiseHasNoTarget
        | R::Elsewhere => 422,
    }
}

/// The answer with this data.
pub(super) fn write(to: To<'_>, status: u16, data: impl Serialize) -> Answer {
    let head = Head { corr_id: to.corr_id, status, version: VERSION };
    let body = serde_json::to_vec(&Envelope { kind: to.kind, head, data }).expect("an answer is JSON");
    Answer { status, body }
}
