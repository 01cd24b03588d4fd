//! What can be asked, read straight into what the machine takes. What can't be read is refused here, with the reason;
//! everything else is for the machine to judge.

use std::borrow::Cow;

use machine::{
    Action, Call, Form, Holder, Id, NewPromise, NewSchedule, Outcome, Payload, PromiseState, Request, Settings,
    Settlement, TARGET, Tags, TaskRef, Template,
};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::VERSIONS;
use super::values::{Given, without_payload};

/// A request as it arrives.
#[derive(Deserialize)]
pub struct Envelope<'a> {
    /// What is asked.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// About the request.
    #[serde(borrow)]
    pub head: Head<'a>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// About a request.
#[derive(Deserialize)]
pub struct Head<'a> {
    /// Given back with the answer.
    #[serde(borrow, rename = "corrId")]
    pub corr_id: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    /// A token.
    #[serde(borrow, default)]
    pub auth: Option<Cow<'a, str>>,
    /// The time at which it is made, in tests.
    #[serde(default, rename = "resonate:debug_time")]
    pub debug_time: Option<Time>,
}

/// As much of a request as could be read, to answer it.
#[derive(Default)]
pub struct Salvaged {
    /// What was asked.
    pub kind: String,
    /// Given back with the answer.
    pub corr_id: String,
}

/// What a kind of request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the protocol's")]
pub enum Kind {
    PromiseGet,
    PromiseCreate,
    PromiseSettle,
    PromiseRegister,
    PromiseSearch,
    TaskGet,
    TaskCreate,
    TaskAcquire,
    TaskFulfill,
    TaskSuspend,
    TaskFence,
    /// `task.release`, `task.heartbeat`, `task.halt`, `task.continue` and `schedule.delete`: that it was done.
    Done,
    TaskSearch,
    ScheduleGet,
    ScheduleCreate,
    ScheduleSearch,
    Debug,
}

/// A request that makes sense.
pub struct Parsed {
    /// What it is answered with.
    pub kind: Kind,
    /// What is to be looked at, or done.
    pub look: Look,
    /// For the answer of an action in it.
    pub inner: Option<Inner>,
}

/// The action in a fence, as far as its answer needs it.
pub struct Inner {
    /// What is asked.
    pub kind: &'static str,
    /// Given back with the answer.
    pub corr_id: Option<String>,
    /// The promise.
    pub id: Id,
}

/// What is to be looked at, or done.
pub enum Look {
    /// Something can change: this, about this promise or task.
    Change(Request, Id),
    /// Something can change about this schedule.
    ChangeSchedule(Request, String),
    /// A promise, or its task.
    Promise(Id),
    /// A schedule.
    Schedule(String),
    /// Promises.
    Promises(Search),
    /// Tasks.
    Tasks(Search),
    /// Schedules.
    Schedules(Search),
    /// Something of the debug surface.
    Debug(Debug),
}

/// The debug surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the protocol's")]
pub enum Debug {
    Start,
    Stop,
    Reset,
    Snap,
    Tick { at: u64 },
}

/// Which of several.
pub struct Search {
    /// In this state.
    pub state: Option<String>,
    /// With these tags.
    pub tags: Tags,
    /// At most so many.
    pub limit: usize,
    /// After this id.
    pub cursor: String,
}

/// What a request is about, as far as that says who is to answer it.
#[derive(Debug, PartialEq, Eq)]
pub enum Subject {
    /// One promise, task or schedule.
    One(String),
    /// These tasks.
    Tasks(Vec<String>),
    /// All that there is, at most so many of it.
    All(usize),
    /// None of that: any partition says what is wrong with it.
    Unclear,
}

/// What is known about the functions of this host.
pub trait Calls {
    /// How many arguments a function takes. None: there is none of this name.
    fn takes(&self, function: &str) -> Option<usize>;
    /// Why these can't be its arguments.
    fn check(&self, function: &str, arguments: &Payload) -> Result<(), String>;
    /// What the random numbers of a call are drawn from.
    fn seed(&self) -> u64;
    /// The largest value.
    fn payload_bytes(&self) -> usize;
}

/// How many promises a search gives at a time, unless it says otherwise, and at most.
const SEARCHED: usize = 100;
const SEARCHED_AT_MOST: usize = 1_000;
/// How many tasks a heartbeat can name, and how many promises a task can wait for.
const NAMED_AT_MOST: usize = 10_000;
/// The longest name of a worker, a schedule or a template.
const NAME_BYTES: usize = 1024;
/// How many bytes all tags of a promise, or all headers of a value, can have.
const TAGS_BYTES: usize = 64 << 10;

/// A number of milliseconds: JSON has only one kind of number, so a float that is whole will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Time;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number that isn't negative")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Time, E> {
                Ok(Time(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Time, E> {
                u64::try_from(value).map(Time).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Time, E> {
                match value.is_finite() && value >= 0.0 && value.fract() == 0.0 {
                    // Above the largest it is the largest.
                    true => Ok(Time(value as u64)),
                    false => Err(E::invalid_value(de::Unexpected::Float(value), &self)),
                }
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

#[derive(Deserialize)]
struct ById {
    id: String,
}

#[derive(Deserialize)]
struct ByVersion {
    id: String,
    version: Time,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    id: String,
    timeout_at: Time,
    #[serde(default)]
    param: Option<Given>,
    #[serde(default)]
    tags: Option<Tags>,
}

#[derive(Deserialize)]
struct Settle {
    id: String,
    state: String,
    #[serde(default)]
    value: Option<Given>,
}

#[derive(Deserialize)]
struct Register {
    awaited: String,
    awaiter: String,
}

#[derive(Deserialize)]
struct Listen {
    awaited: String,
    address: String,
}

#[derive(Deserialize)]
struct Take {
    id: String,
    version: Time,
    pid: String,
    ttl: Time,
}

#[derive(Deserialize)]
struct CreateTask<'a> {
    pid: String,
    ttl: Time,
    #[serde(borrow)]
    action: Inside<'a>,
}

#[derive(Deserialize)]
struct WithAction<'a> {
    id: String,
    version: Time,
    #[serde(borrow)]
    action: Inside<'a>,
}

#[derive(Deserialize)]
struct Suspend<'a> {
    id: String,
    version: Time,
    #[serde(borrow)]
    actions: Vec<Inside<'a>>,
}

/// A request inside of another one.
#[derive(Deserialize)]
struct Inside<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    head: Option<InsideHead>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct InsideHead {
    #[serde(rename = "corrId", default)]
    corr_id: Option<String>,
}

#[derive(Deserialize)]
struct Heartbeat {
    pid: String,
    tasks: Vec<ByVersion>,
}

#[derive(Deserialize)]
struct SearchBy {
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    tags: Option<Tags>,
    #[serde(default)]
    limit: Option<Time>,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateSchedule {
    id: String,
    cron: String,
    promise_id: String,
    promise_timeout: Time,
    #[serde(default)]
    promise_param: Option<Given>,
    #[serde(default)]
    promise_tags: Option<Tags>,
}

#[derive(Deserialize)]
struct Tick {
    time: Time,
}

impl<'a> Envelope<'a> {
    /// Read a request, or say why it isn't one.
    pub fn read(body: &'a [u8]) -> Result<Envelope<'a>, (Salvaged, String)> {
        let refuse = |why: String| (Salvaged::of(body), why);
        let envelope: Envelope<'a> = serde_json::from_slice(body)
            .map_err(|error| refuse(format!("the body isn't {{kind, head: {{corrId, version}}, data}}: {error}")))?;
        if !envelope.data.get().starts_with('{') {
            return Err(refuse("data must be an object".into()));
        }
        if !VERSIONS.contains(&&*envelope.head.version) {
            let version = &envelope.head.version;
            return Err(refuse(format!(
                "the version {version:?} of the protocol isn't spoken here; these are: {}",
                VERSIONS.join(", ")
            )));
        }
        Ok(envelope)
    }

    /// What it asks, or why that makes no sense.
    pub fn parse(&self, settings: &Settings, calls: &impl Calls) -> Result<Parsed, String> {
        let read = Read { settings, calls };
        let data = self.data;
        let change = |kind, request, id| Parsed { kind, look: Look::Change(request, id), inner: None };
        Ok(match &*self.kind {
            "promise.get" => Parsed::look(Kind::PromiseGet, Look::Promise(id(&of::<ById>(data)?.id)?)),
            "promise.create" => {
                let promise = read.promise(of(data)?)?;
                let id = promise.id.clone();
                change(Kind::PromiseCreate, Request::CreatePromise(promise), id)
            }
            "promise.settle" => {
                let settlement = read.settlement(of(data)?)?;
                let id = settlement.id.clone();
                change(Kind::PromiseSettle, Request::SettlePromise(settlement), id)
            }
            "promise.register_callback" => {
                let register: Register = of(data)?;
                let (awaited, awaiter) = (id(&register.awaited)?, id(&register.awaiter)?);
                change(Kind::PromiseRegister, Request::RegisterCallback { awaited: awaited.clone(), awaiter }, awaited)
            }
            "promise.register_listener" => {
                let Listen { awaited, address } = of(data)?;
                let awaited = id(&awaited)?;
                change(Kind::PromiseRegister, Request::RegisterListener { awaited: awaited.clone(), address }, awaited)
            }
            "promise.search" => Parsed::look(Kind::PromiseSearch, Look::Promises(search(of(data)?, &PROMISE_STATES)?)),
            "schedule.get" => Parsed::look(Kind::ScheduleGet, Look::Schedule(name("id", of::<ById>(data)?.id)?)),
            "schedule.create" => {
                let schedule = read.schedule(of(data)?)?;
                let id = schedule.id.clone();
                Parsed::look(Kind::ScheduleCreate, Look::ChangeSchedule(Request::CreateSchedule(schedule), id))
            }
            "schedule.delete" => {
                let id = name("id", of::<ById>(data)?.id)?;
                Parsed::look(Kind::Done, Look::ChangeSchedule(Request::DeleteSchedule { id: id.clone() }, id))
            }
            "schedule.search" => Parsed::look(Kind::ScheduleSearch, Look::Schedules(search::<&str>(of(data)?, &[])?)),
            "debug.start" => Parsed::look(Kind::Debug, Look::Debug(Debug::Start)),
            "debug.stop" => Parsed::look(Kind::Debug, Look::Debug(Debug::Stop)),
            "debug.reset" => Parsed::look(Kind::Debug, Look::Debug(Debug::Reset)),
            "debug.snap" => Parsed::look(Kind::Debug, Look::Debug(Debug::Snap)),
            "debug.tick" => self.tick(of(data)?)?,
            kind if kind.starts_with("task.") => return read.task(kind, data),
            kind => return Err(format!("there is no kind {kind:?} of request")),
        })
    }

    /// What it is about.
    pub fn subject(&self) -> Subject {
        #[derive(Deserialize)]
        struct Named {
            id: Option<String>,
            awaited: Option<String>,
            action: Option<Action>,
            tasks: Option<Vec<Task>>,
            limit: Option<Time>,
        }
        #[derive(Deserialize)]
        struct Action {
            data: Task,
        }
        #[derive(Deserialize)]
        struct Task {
            id: String,
        }
        let Ok(named) = serde_json::from_str::<Named>(self.data.get()) else { return Subject::Unclear };
        let one = |id: Option<String>| id.map_or(Subject::Unclear, Subject::One);
        match &*self.kind {
            "promise.register_callback" | "promise.register_listener" => one(named.awaited),
            "task.create" => one(named.action.map(|action| action.data.id)),
            "task.heartbeat" => {
                let tasks = named.tasks.unwrap_or_default();
                Subject::Tasks(tasks.into_iter().map(|task| task.id).collect())
            }
            kind if kind.ends_with(".search") => {
                let limit = named.limit.map_or(SEARCHED, |limit| limit.0 as usize);
                Subject::All(limit.clamp(1, SEARCHED_AT_MOST))
            }
            _ => one(named.id),
        }
    }

    fn tick(&self, tick: Tick) -> Result<Parsed, String> {
        if self.head.debug_time.is_some_and(|at| at != tick.time) {
            return Err("resonate:debug_time and time are two times".into());
        }
        Ok(Parsed::look(Kind::Debug, Look::Debug(Debug::Tick { at: tick.time.0 })))
    }
}

impl Parsed {
    fn look(kind: Kind, look: Look) -> Parsed {
        Parsed { kind, look, inner: None }
    }
}

/// Reads what depends on this host.
struct Read<'a, C> {
    settings: &'a Settings,
    calls: &'a C,
}

impl<C: Calls> Read<'_, C> {
    fn task(&self, kind: &str, data: &RawValue) -> Result<Parsed, String> {
        let change = |kind, request, id| Parsed { kind, look: Look::Change(request, id), inner: None };
        Ok(match kind {
            "task.get" => Parsed::look(Kind::TaskGet, Look::Promise(id(&of::<ById>(data)?.id)?)),
            "task.create" => {
                let CreateTask { pid, ttl, action } = of(data)?;
                action.is("promise.create")?;
                let (holder, promise) = (holder(pid, ttl)?, self.promise(of(action.data)?)?);
                let id = promise.id.clone();
                change(Kind::TaskCreate, Request::CreateTask { holder, promise }, id)
            }
            "task.acquire" => {
                let Take { id, version, pid, ttl } = of(data)?;
                let task = task(&id, version)?;
                let id = task.id.clone();
                change(Kind::TaskAcquire, Request::Acquire { task, holder: holder(pid, ttl)? }, id)
            }
            "task.release" => {
                let ByVersion { id, version } = of(data)?;
                let task = task(&id, version)?;
                let id = task.id.clone();
                change(Kind::Done, Request::Release(task), id)
            }
            "task.fulfill" => {
                let WithAction { id, version, action } = of(data)?;
                action.is("promise.settle")?;
                let (task, settlement) = (task(&id, version)?, self.settlement(of(action.data)?)?);
                if settlement.id != task.id {
                    return Err("a task is fulfilled by settling its own promise".into());
                }
                let id = task.id.clone();
                change(Kind::TaskFulfill, Request::Fulfill { task, settlement }, id)
            }
            "task.suspend" => self.suspend(of(data)?)?,
            "task.fence" => self.fence(of(data)?)?,
            "task.heartbeat" => {
                let Heartbeat { pid, tasks } = of(data)?;
                let pid = name("pid", pid)?;
                few("tasks", tasks.len())?;
                let tasks: Vec<TaskRef> =
                    tasks.iter().map(|named| task(&named.id, named.version)).collect::<Result<_, _>>()?;
                let id = tasks.first().ok_or("a heartbeat names at least one task")?.id.clone();
                change(Kind::Done, Request::Heartbeat { pid, tasks }, id)
            }
            "task.halt" => {
                let id = id(&of::<ById>(data)?.id)?;
                change(Kind::Done, Request::Halt { id: id.clone() }, id)
            }
            "task.continue" => {
                let id = id(&of::<ById>(data)?.id)?;
                change(Kind::Done, Request::Continue { id: id.clone() }, id)
            }
            "task.search" => Parsed::look(Kind::TaskSearch, Look::Tasks(search(of(data)?, &TASK_STATES)?)),
            kind => return Err(format!("there is no kind {kind:?} of request")),
        })
    }

    fn suspend(&self, suspend: Suspend<'_>) -> Result<Parsed, String> {
        let task = task(&suspend.id, suspend.version)?;
        few("actions", suspend.actions.len())?;
        let mut awaited = Vec::with_capacity(suspend.actions.len());
        for action in &suspend.actions {
            action.is("promise.register_callback")?;
            let register: Register = of(action.data)?;
            if register.awaiter != task.id.as_str() {
                return Err("the awaiter of each action is the task that is suspended".into());
            }
            awaited.push(id(&register.awaited)?);
        }
        let id = task.id.clone();
        let look = Look::Change(Request::Suspend { task, awaited }, id);
        Ok(Parsed { kind: Kind::TaskSuspend, look, inner: None })
    }

    fn fence(&self, fence: WithAction<'_>) -> Result<Parsed, String> {
        let task = task(&fence.id, fence.version)?;
        let (kind, action) = match &*fence.action.kind {
            "promise.create" => ("promise.create", Action::Create(self.promise(of(fence.action.data)?)?)),
            "promise.settle" => ("promise.settle", Action::Settle(self.settlement(of(fence.action.data)?)?)),
            kind => return Err(format!("the action of a fence is promise.create or promise.settle, and not {kind:?}")),
        };
        let corr_id = fence.action.head.and_then(|head| head.corr_id);
        let inner = Some(Inner { kind, corr_id, id: action.id().clone() });
        let id = task.id.clone();
        Ok(Parsed { kind: Kind::TaskFence, look: Look::Change(Request::Fence { task, action }, id), inner })
    }

    fn promise(&self, create: Create) -> Result<NewPromise, String> {
        let id = id(&create.id)?;
        let template = self.template(create.param, create.tags)?;
        Ok(NewPromise { id, timeout_at: create.timeout_at.0, template })
    }

    fn template(&self, param: Option<Given>, tags: Option<Tags>) -> Result<Template, String> {
        let (param, tags) = (param.unwrap_or_default(), tags.unwrap_or_default());
        few_bytes("tags", &tags)?;
        let is_own = tags.get(TARGET).is_some_and(|target| self.settings.is_own(target));
        let (param, form, call) = match is_own {
            true => self.call(param),
            false => {
                let (param, form) = param.read();
                (param, form, None)
            }
        };
        self.check_value(&param, &form)?;
        Ok(Template { param, form, tags, call })
    }

    /// A value that is to be a call of a function of this host.
    fn call(&self, param: Given) -> (Payload, Form, Option<Call>) {
        let nonsense = |param: Given, why| {
            let (payload, form) = param.read();
            (payload, form, Some(Call::Nonsense(why)))
        };
        let (name, mut args) = match param.call() {
            Ok(call) => call,
            Err(why) => return nonsense(param, why),
        };
        let array = |args: &[Payload]| -> Payload { [b"[", &args.join(&b","[..])[..], b"]"].concat().into() };
        // A library can take the one argument that is a list for the list of arguments.
        if self.calls.takes(&name) == Some(1) && args.len() != 1 {
            args = vec![array(&args)];
        }
        let arguments = array(&args);
        if let Err(why) = self.calls.check(&name, &arguments) {
            return nonsense(param, why);
        }
        let form = param.call_form(&name, &arguments);
        (arguments, form, Some(Call::Function { name, seed: self.calls.seed() }))
    }

    fn settlement(&self, settle: Settle) -> Result<Settlement, String> {
        let id = id(&settle.id)?;
        let (payload, form) = settle.value.unwrap_or_default().read();
        self.check_value(&payload, &form)?;
        let (outcome, form) = match settle.state.as_str() {
            "resolved" => (Outcome::Resolved(payload), form),
            "rejected" => (Outcome::Rejected(payload), form),
            // What is cancelled has no payload: its value is kept as it was written.
            "rejected_canceled" => (Outcome::Canceled, without_payload(form, &payload)),
            "rejected_timedout" => (Outcome::TimedOut, form),
            state => {
                return Err(format!("a promise is settled as resolved, rejected or rejected_canceled, not {state:?}"));
            }
        };
        Ok(Settlement { id, outcome, form })
    }

    fn schedule(&self, create: CreateSchedule) -> Result<NewSchedule, String> {
        Ok(NewSchedule {
            id: name("id", create.id)?,
            cron: name("cron", create.cron)?,
            promise_id: name("promiseId", create.promise_id)?,
            promise_timeout_ms: create.promise_timeout.0,
            template: self.template(create.promise_param, create.promise_tags)?,
        })
    }

    fn check_value(&self, payload: &Payload, form: &Form) -> Result<(), String> {
        let (bytes, limit) = (payload.len().max(form.data.size()), self.calls.payload_bytes());
        if bytes > limit {
            return Err(format!("the value has {bytes} bytes, and this host takes {limit}; see its --payload-limit"));
        }
        form.headers.as_ref().map_or(Ok(()), |headers| few_bytes("headers", headers))
    }
}

impl Inside<'_> {
    fn is(&self, kind: &str) -> Result<(), String> {
        if self.kind == kind { Ok(()) } else { Err(format!("the action must be a {kind}, and is a {:?}", self.kind)) }
    }
}

impl Salvaged {
    fn of(body: &[u8]) -> Salvaged {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Salvaged { kind: text(&body["kind"]), corr_id: text(&body["head"]["corrId"]) }
    }
}

const PROMISE_STATES: [PromiseState; 5] = [
    PromiseState::Pending,
    PromiseState::Resolved,
    PromiseState::Rejected,
    PromiseState::Canceled,
    PromiseState::TimedOut,
];
const TASK_STATES: [&str; 5] = ["pending", "acquired", "suspended", "halted", "fulfilled"];

fn of<'a, T: Deserialize<'a>>(data: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(data.get()).map_err(|error| format!("data doesn't fit the kind of request: {error}"))
}

fn id(text: &str) -> Result<Id, String> {
    Id::parse(text).map_err(|error| error.to_string())
}

fn name(what: &str, name: String) -> Result<String, String> {
    match name.len() {
        0 => Err(format!("{what} can't be empty")),
        1..=NAME_BYTES if !name.chars().any(char::is_control) => Ok(name),
        _ => Err(format!("{what} has at most {NAME_BYTES} bytes, and no control characters")),
    }
}

fn holder(pid: String, ttl: Time) -> Result<Holder, String> {
    let pid = name("pid", pid)?;
    if ttl.0 == 0 { Err("ttl can't be 0".into()) } else { Ok(Holder { pid, ttl_ms: ttl.0 }) }
}

/// No task has a version above the largest of ours: one that is asked for is none that there is.
fn task(text: &str, version: Time) -> Result<TaskRef, String> {
    Ok(TaskRef { id: id(text)?, version: u32::try_from(version.0).unwrap_or(u32::MAX) })
}

fn few(what: &str, count: usize) -> Result<(), String> {
    if count > NAMED_AT_MOST { Err(format!("there are at most {NAMED_AT_MOST} {what} in a request")) } else { Ok(()) }
}

fn few_bytes(what: &str, tags: &Tags) -> Result<(), String> {
    let bytes: usize = tags.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > TAGS_BYTES { Err(format!("{what} have at most {TAGS_BYTES} bytes together")) } else { Ok(()) }
}

fn search<T: AsProtocol>(by: SearchBy, states: &[T]) -> Result<Search, String> {
    let limit = by.limit.map_or(SEARCHED as u64, |limit| limit.0);
    if limit == 0 || limit > SEARCHED_AT_MOST as u64 {
        return Err(format!("limit is between 1 and {SEARCHED_AT_MOST}"));
    }
    if let Some(state) = &by.state
        && !states.iter().any(|known| known.as_protocol() == state)
    {
        return Err(format!("there is no state {state:?}"));
    }
    let (tags, cursor) = (by.tags.unwrap_or_default(), by.cursor.unwrap_or_default());
    Ok(Search { state: by.state, tags, limit: limit as usize, cursor })
}

/// What has a word in the protocol.
trait AsProtocol {
    fn as_protocol(&self) -> &str;
}

impl AsProtocol for PromiseState {
    fn as_protocol(&self) -> &str {
        PromiseState::as_protocol(*self)
    }
}

impl AsProtocol for &str {
    fn as_protocol(&self) -> &str {
        self
    }
}
