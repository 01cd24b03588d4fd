//! The machine against the reference: random requests, valid and not, with jumps in time. Every answer, every message and
//! the whole state are the same after each, and the specification's invariants hold of both.
//!
//! `MODEL_SEED` chooses the first sequence, `MODEL_OPERATIONS` how many operations there are in all. Ten million, as of a
//! release: `MODEL_OPERATIONS=10000000 cargo test --release --test machine`

use std::collections::BTreeMap;

use machine::{
    Data, Effect, Form, Granted, Holder, Id, Memory, NewPromise, NewSchedule, Op, Outcome, Payload, Record, Refusal,
    Rejection, Reply, Settlement, Template, apply,
};
use model::{
    Action, Create, Dice, Message, Promise, PromiseState, Request, Requests, Response, Schedule, Server, Settle, State,
    Task, TaskRef, TaskState, Value, broken, broken_by,
};

/// Of one sequence, after which everything begins anew.
const SEQUENCE: u64 = 100;
const DEFAULT_OPERATIONS: u64 = 200_000;
const RETRY_MS: u64 = 5_000;

#[test]
fn the_machine_does_what_the_reference_does() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().expect("it is a number"));
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_nanos());
    let first = number("MODEL_SEED").unwrap_or(clock as u64 >> 10);
    let operations = number("MODEL_OPERATIONS").unwrap_or(DEFAULT_OPERATIONS);
    println!("MODEL_SEED={first} MODEL_OPERATIONS={operations}");
    let mut done = Done::default();
    let mut seed = first;
    while done.operations < operations {
        Run::new(seed).run(&mut done);
        seed += 1;
    }
    println!("{} operations, up to seed {}; {:?}", done.operations, seed - 1, done.answers);
    if operations >= DEFAULT_OPERATIONS {
        done.check();
    }
}

/// A test in which something never happens tests less than it says.
#[derive(Default)]
struct Done {
    operations: u64,
    answers: BTreeMap<(&'static str, u16), u64>,
    executes: u64,
    unblocks: u64,
    resumed: u64,
    found_dead: u64,
    expired_leases: u64,
    occurrences: u64,
}

impl Done {
    fn check(&self) {
        for (kind, statuses) in [
            ("promise.create", &[200, 400][..]),
            ("promise.settle", &[200, 400, 404]),
            ("promise.register_callback", &[200, 400, 404, 422]),
            ("promise.register_listener", &[200, 400, 404, 422]),
            ("task.create", &[200, 400, 409, 422]),
            ("task.acquire", &[200, 404, 409]),
            ("task.fence", &[200, 400, 404, 409]),
            ("task.heartbeat", &[200]),
            ("task.suspend", &[200, 300, 400, 404, 409, 422]),
            ("task.fulfill", &[200, 400, 404, 409]),
            ("task.release", &[200, 404, 409]),
            ("task.halt", &[200, 404, 409]),
            ("task.continue", &[200, 404, 409]),
            ("schedule.create", &[200, 400]),
            ("schedule.delete", &[200, 404]),
        ] {
            for status in statuses {
                let count = self.answers.get(&(kind, *status)).copied().unwrap_or_default();
                assert!(count >= 1, "{kind} was answered {status} only {count} times");
            }
        }
        let counts =
            [self.executes, self.unblocks, self.resumed, self.found_dead, self.expired_leases, self.occurrences];
        println!("executes, unblocks, resumed, found dead, leases, occurrences: {counts:?}");
        assert!(counts.iter().all(|count| *count >= 1), "{counts:?}");
    }
}

struct Run {
    seed: u64,
    dice: Dice,
    requests: Requests,
    now: u64,
    machine: Memory,
    reference: Server,
}

impl Run {
    fn new(seed: u64) -> Run {
        let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let requests = Requests {
            ids: text(&["r", "r:1", "r:2", "r:3", "r:4", "r:1.1", "r:1.2", "r:2.1", "s", "s.1"]),
            schedules: text(&["daily", "hourly"]),
            targets: text(&["poll://any@workers", "http://127.0.0.1:9/work"]),
            workers: text(&["w1", "w2"]),
        };
        let reference = Server { state: State::default(), retry_ms: RETRY_MS };
        Run { seed, dice: Dice::new(seed), requests, now: 1_800_000_000_000, machine: Memory::default(), reference }
    }

    fn run(&mut self, done: &mut Done) {
        let mut before = State::default();
        for n in 0..SEQUENCE {
            self.now += if self.dice.one_in(50) { 100_000 } else { 0 };
            self.now += self.dice.pick(&[0, 0, 0, 0, 0, 0, 1, 1, 1, 5, 30, 200, 6_000]);
            let request = (!self.dice.one_in(10)).then(|| {
                let known = &self.reference.state;
                self.requests.next(&mut self.dice, known, self.now)
            });
            let after;
            let (expected, seen) = match &request {
                Some(request) => {
                    let (response, messages) = self.reference.request(request, self.now);
                    let (granted, effects) = self.request(request);
                    after = state_of(&self.machine);
                    let seen = answer(&after, request, granted);
                    *done.answers.entry((kind(request), response.status)).or_default() += 1;
                    ((shown(&response), sorted(messages)), (seen, sorted(effects)))
                }
                None => {
                    let messages = self.reference.tick(self.now);
                    let effects = self.tick();
                    after = state_of(&self.machine);
                    ((Response::default(), sorted(messages)), (Response::default(), sorted(effects)))
                }
            };
            let what = || format!("MODEL_SEED={} operation {n}, at {}: {request:?}", self.seed, self.now);
            assert_eq!(seen.0, expected.0, "the answer (left: the machine)\n{}\nfrom {before:#?}", what());
            assert_eq!(seen.1, expected.1, "the messages (left: the machine)\n{}\nfrom {before:#?}", what());
            if after != self.reference.state && after != canonical(&self.reference.state) {
                let expected = canonical(&self.reference.state);
                let (seen, expected) = difference(&after, &expected);
                panic!("the state: {}\nfrom {before:#?}\nthe machine {seen}\nthe reference {expected}", what());
            }
            let wrong =
                broken(&after, self.now).or_else(|| broken_by(&before, &after, &seen.1, self.now, request.is_none()));
            assert_eq!(wrong, None, "{}\nfrom {before:#?}\nto {after:#?}", what());
            done.see(request.as_ref(), &before, &after, &seen.1);
            before = after;
        }
    }

    /// Ask the machine, and let it say what there is to say.
    fn request(&mut self, request: &Request) -> (Result<Granted, Refusal>, Vec<Message>) {
        match op(request) {
            Some(op) => {
                let (reply, messages) = self.put(Op::Request(Box::new(op)));
                let granted = match reply {
                    Ok(Reply::Granted(granted)) => Ok(granted),
                    Err(Rejection::Refused(refusal)) => Err(refusal),
                    other => panic!("{request:?} was answered {other:?}"),
                };
                (granted, messages)
            }
            None => {
                let (Request::PromiseGet { id } | Request::TaskGet { id } | Request::ScheduleGet { id }) = request
                else {
                    unreachable!("all others change something")
                };
                let is_over = |promise: &machine::Promise| promise.outcome.is_none() && promise.timeout_at <= self.now;
                let is_read = !matches!(request, Request::ScheduleGet { .. });
                let messages = match is_read && self.machine.promises.get(&of(id)).is_some_and(is_over) {
                    true => self.put(Op::Expire { ids: vec![of(id)] }).1,
                    false => Vec::new(),
                };
                (Ok(Granted::Done), messages)
            }
        }
    }

    /// Everything whose time has come.
    fn tick(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let op = match (self.machine.due_schedules(self.now), self.machine.due(self.now)) {
                (ids, _) if !ids.is_empty() => Op::RunSchedules { ids },
                (_, ids) if !ids.is_empty() => Op::Expire { ids },
                _ => return messages,
            };
            messages.extend(self.put(op).1);
        }
    }

    /// Put a record. What is to be told is told.
    fn put(&mut self, op: Op) -> (Result<Reply, Rejection>, Vec<Message>) {
        let applied = apply(&mut self.machine, Record { now: self.now, op });
        let mut messages = Vec::new();
        for effect in applied.effects {
            match effect {
                Effect::Execute { id, version, address } => {
                    messages.push(Message::Execute { address, id: id.to_string(), version: version.into() });
                }
                Effect::Unblock { id, address } => {
                    let told = Op::Told { id: id.clone(), address: address.clone() };
                    apply(&mut self.machine, Record { now: self.now, op: told })
                        .reply
                        .expect("it is always taken note of");
                    messages.push(Message::Unblock { address, id: id.to_string() });
                }
                _ => {}
            }
        }
        (applied.reply, messages)
    }
}

impl Done {
    fn see(&mut self, request: Option<&Request>, before: &State, after: &State, messages: &[Message]) {
        self.operations += 1;
        for message in messages {
            match message {
                Message::Execute { .. } => self.executes += 1,
                Message::Unblock { .. } => self.unblocks += 1,
            }
        }
        for (id, task) in &after.tasks {
            let was = before.tasks.get(id).map(|task| task.state);
            let is_pending = task.state == TaskState::Pending;
            self.resumed += u64::from(was == Some(TaskState::Suspended) && is_pending);
            // What it waited for was settled, and it was found to be over itself.
            let is_dead = was == Some(TaskState::Suspended) && task.state == TaskState::Fulfilled;
            let by_another = matches!(request, Some(Request::PromiseSettle(settle)) if settle.id != *id);
            self.found_dead += u64::from(is_dead && by_another);
            self.expired_leases += u64::from(was == Some(TaskState::Acquired) && is_pending);
        }
        let last_run =
            |state: &State| state.schedules.values().filter_map(|schedule| schedule.last_run_at).sum::<u64>();
        self.occurrences += u64::from(last_run(before) < last_run(after));
    }
}

/// What is answered: what the rows say after the request.
fn answer(state: &State, request: &Request, granted: Result<Granted, Refusal>) -> Response {
    let granted = match granted {
        Ok(granted) => granted,
        Err(refusal) => return Response { status: status(refusal), ..Response::default() },
    };
    let promise = |id: &String| state.promises.get(id).map(Promise::record);
    let task = |id: &String| state.tasks.get(id).map(Task::record);
    let schedule = |id: &String| state.schedules.get(id).cloned();
    let found = |is_there: bool, response: Response| match is_there {
        true => Response { status: 200, ..response },
        false => Response { status: 404, ..Response::default() },
    };
    let of_promise = |id: &String| {
        let promise = promise(id);
        found(promise.is_some(), Response { promise, ..Response::default() })
    };
    match request {
        Request::PromiseGet { id }
        | Request::PromiseCreate(Create { id, .. })
        | Request::PromiseSettle(Settle { id, .. })
        | Request::PromiseRegisterCallback { awaited: id, .. }
        | Request::PromiseRegisterListener { awaited: id, .. }
        | Request::TaskFulfill { task: TaskRef { id, .. }, .. } => of_promise(id),
        Request::TaskGet { id } => {
            let task = task(id);
            found(task.is_some(), Response { task, ..Response::default() })
        }
        Request::TaskCreate { action: Create { id, .. }, .. }
        | Request::TaskAcquire { task: TaskRef { id, .. }, .. } => {
            Response { status: 200, task: task(id), promise: promise(id), ..Response::default() }
        }
        Request::TaskFence {
            action: Action::Create(Create { id, .. }) | Action::Settle(Settle { id, .. }), ..
        } => {
            let inner = match granted {
                Granted::Fenced(Err(refusal)) => Response { status: status(refusal), ..Response::default() },
                _ => of_promise(id),
            };
            Response { status: 200, action: Some(Box::new(inner)), ..Response::default() }
        }
        Request::ScheduleGet { id } | Request::ScheduleCreate { id, .. } => {
            let schedule = schedule(id);
            found(schedule.is_some(), Response { schedule, ..Response::default() })
        }
        Request::TaskSuspend { .. } if granted == Granted::GoOn => Response { status: 300, ..Response::default() },
        _ => Response { status: 200, ..Response::default() },
    }
}

/// A request in the machine's words. None: it changes nothing.
fn op(request: &Request) -> Option<machine::Request> {
    use machine::Request as Op;
    Some(match request {
        Request::PromiseGet { .. } | Request::TaskGet { .. } | Request::ScheduleGet { .. } => return None,
        Request::PromiseCreate(create) => Op::CreatePromise(new(create)),
        Request::PromiseSettle(settle) => Op::SettlePromise(settlement(&settle.id, settle.state, &settle.value)),
        Request::PromiseRegisterCallback { awaited, awaiter } => {
            Op::RegisterCallback { awaited: of(awaited), awaiter: of(awaiter) }
        }
        Request::PromiseRegisterListener { awaited, address } => {
            Op::RegisterListener { awaited: of(awaited), address: address.clone() }
        }
        Request::TaskCreate { pid, ttl, action } => Op::CreateTask { holder: holder(pid, *ttl), promise: new(action) },
        Request::TaskAcquire { task, pid, ttl } => Op::Acquire { task: of_task(task), holder: holder(pid, *ttl) },
        Request::TaskFence { task, action } => {
            let action = match action {
                Action::Create(create) => machine::Action::Create(new(create)),
                Action::Settle(settle) => machine::Action::Settle(settlement(&settle.id, settle.state, &settle.value)),
            };
            Op::Fence { task: of_task(task), action }
        }
        Request::TaskHeartbeat { pid, tasks } => {
            Op::Heartbeat { pid: pid.clone(), tasks: tasks.iter().map(of_task).collect() }
        }
        Request::TaskSuspend { task, awaited } => {
            Op::Suspend { task: of_task(task), awaited: awaited.iter().map(|id| of(id)).collect() }
        }
        Request::TaskFulfill { task, state, value } => {
            Op::Fulfill { task: of_task(task), settlement: settlement(&task.id, *state, value) }
        }
        Request::TaskRelease { task } => Op::Release(of_task(task)),
        Request::TaskHalt { id } => Op::Halt { id: of(id) },
        Request::TaskContinue { id } => Op::Continue { id: of(id) },
        Request::ScheduleCreate { id, cron, promise_id, promise_timeout, promise_param, promise_tags } => {
            Op::CreateSchedule(NewSchedule {
                id: id.clone(),
                cron: cron.clone(),
                promise_id: promise_id.clone(),
                promise_timeout_ms: *promise_timeout,
                template: template(promise_param, promise_tags),
            })
        }
        Request::ScheduleDelete { id } => Op::DeleteSchedule { id: id.clone() },
    })
}

fn of(id: &str) -> Id {
    Id::parse(id).expect("it is an id")
}

fn of_task(task: &TaskRef) -> machine::TaskRef {
    machine::TaskRef { id: of(&task.id), version: task.version as u32 }
}

fn holder(pid: &str, ttl_ms: u64) -> Holder {
    Holder { pid: pid.into(), ttl_ms }
}

fn new(create: &Create) -> NewPromise {
    let template = template(&create.param, &create.tags);
    NewPromise { id: of(&create.id), timeout_at: create.timeout_at, template }
}

fn template(param: &Value, tags: &machine::Tags) -> Template {
    let (param, form) = written(param);
    Template { param, form, tags: tags.clone(), call: None }
}

fn settlement(id: &str, state: PromiseState, value: &Value) -> Settlement {
    let (payload, form) = written(value);
    let outcome = match state {
        PromiseState::Resolved => Outcome::Resolved(payload),
        PromiseState::Rejected => Outcome::Rejected(payload),
        PromiseState::RejectedCanceled => Outcome::Canceled,
        // Nobody can give these.
        PromiseState::Pending | PromiseState::RejectedTimedout => Outcome::TimedOut,
    };
    Settlement { id: of(id), outcome, form }
}

fn written(value: &Value) -> (Payload, Form) {
    let payload = Payload::from(value.data.clone().unwrap_or_default());
    let data = value.data.clone().map_or(Data::Encoded, Data::Text);
    let headers = (!value.headers.is_empty()).then(|| value.headers.clone());
    (payload, Form { headers, data })
}

fn read(form: &Form) -> Value {
    let data = match &form.data {
        Data::Text(text) => Some(text.clone()),
        Data::Encoded => None,
    };
    Value { headers: form.headers.clone().unwrap_or_default(), data }
}

/// The state of the machine, in the words of the reference.
fn state_of(memory: &Memory) -> State {
    let mut state = State::default();
    for promise in memory.promises.values() {
        let id = promise.id.to_string();
        let foreign = promise.foreign.as_deref().expect("a client made it");
        if let Some(claim) = &foreign.claim {
            state.tasks.insert(id.clone(), task_of(&id, claim));
        }
        let list = |texts: &mut dyn Iterator<Item = String>| texts.collect();
        let promise = Promise {
            state: match &promise.outcome {
                None => PromiseState::Pending,
                Some(Outcome::Resolved(_)) => PromiseState::Resolved,
                Some(Outcome::Rejected(_)) => PromiseState::Rejected,
                Some(Outcome::Canceled) => PromiseState::RejectedCanceled,
                Some(Outcome::TimedOut) => PromiseState::RejectedTimedout,
                Some(Outcome::Crashed(why)) => panic!("nothing runs here: {why}"),
            },
            param: read(&foreign.param),
            value: read(&foreign.value),
            tags: foreign.tags.clone().expect("a client gave them"),
            timeout_at: promise.timeout_at,
            created_at: promise.created_at,
            settled_at: promise.settled_at,
            callbacks: list(&mut foreign.callbacks.iter().map(Id::to_string)),
            listeners: list(&mut foreign.listeners.iter().cloned()),
            id: id.clone(),
        };
        state.promises.insert(id, promise);
    }
    for schedule in memory.schedules.values() {
        let schedule = Schedule {
            id: schedule.id.clone(),
            cron: schedule.cron.clone(),
            promise_id: schedule.promise_id.clone(),
            promise_timeout: schedule.promise_timeout_ms,
            promise_param: read(&schedule.template.form),
            promise_tags: schedule.template.tags.clone(),
            created_at: schedule.created_at,
            next_run_at: schedule.next_run_at,
            last_run_at: schedule.last_run_at,
        };
        state.schedules.insert(schedule.id.clone(), schedule);
    }
    state
}

fn task_of(id: &str, claim: &machine::Claim) -> Task {
    let state = match claim.task.state {
        machine::TaskState::Runnable => TaskState::Pending,
        machine::TaskState::Acquired => TaskState::Acquired,
        machine::TaskState::Suspended => TaskState::Suspended,
        machine::TaskState::Held => TaskState::Halted,
        machine::TaskState::Fulfilled => TaskState::Fulfilled,
    };
    Task {
        id: id.into(),
        state,
        version: claim.task.version.into(),
        ttl: claim.holder.as_ref().map(|holder| holder.ttl_ms),
        pid: claim.holder.as_ref().map(|holder| holder.pid.clone()),
        // There is one time at which something happens to a task by itself: what that is, its state says.
        expires_at: claim.due_at.filter(|_| state != TaskState::Pending),
        retry_at: claim.due_at.filter(|_| state == TaskState::Pending),
        resumes: claim.resumes.iter().map(Id::to_string).collect(),
    }
}

/// What was first and what was second among those who wait is nobody's business.
fn canonical(state: &State) -> State {
    let mut state = state.clone();
    for promise in state.promises.values_mut() {
        promise.callbacks.sort();
        promise.listeners.sort();
    }
    state.tasks.values_mut().for_each(|task| task.resumes.sort());
    state
}

fn shown(response: &Response) -> Response {
    let mut response = response.clone();
    response.task.iter_mut().for_each(|task| task.resumes.sort());
    response
}

fn sorted(mut messages: Vec<Message>) -> Vec<Message> {
    messages.sort();
    messages
}

/// Those parts of two states that differ.
fn difference(a: &State, b: &State) -> (String, String) {
    let (mut left, mut right) = (State::default(), State::default());
    macro_rules! compare {
        ($part:ident) => {
            for id in a.$part.keys().chain(b.$part.keys()) {
                if a.$part.get(id) != b.$part.get(id) {
                    a.$part.get(id).map(|item| left.$part.insert(id.clone(), item.clone()));
                    b.$part.get(id).map(|item| right.$part.insert(id.clone(), item.clone()));
                }
            }
        };
    }
    compare!(promises);
    compare!(tasks);
    compare!(schedules);
    (format!("{left:#?}"), format!("{right:#?}"))
}

fn kind(request: &Request) -> &'static str {
    match request {
        Request::PromiseGet { .. } => "promise.get",
        Request::PromiseCreate(_) => "promise.create",
        Request::PromiseSettle(_) => "promise.settle",
        Request::PromiseRegisterCallback { .. } => "promise.register_callback",
        Request::PromiseRegisterListener { .. } => "promise.register_listener",
        Request::TaskGet { .. } => "task.get",
        Request::TaskCreate { .. } => "task.create",
        Request::TaskAcquire { .. } => "task.acquire",
        Request::TaskFence { .. } => "task.fence",
        Request::TaskHeartbeat { .. } => "task.heartbeat",
        Request::TaskSuspend { .. } => "task.suspend",
        Request::TaskFulfill { .. } => "task.fulfill",
        Request::TaskRelease { .. } => "task.release",
        Request::TaskHalt { .. } => "task.halt",
        Request::TaskContinue { .. } => "task.continue",
        Request::ScheduleGet { .. } => "schedule.get",
        Request::ScheduleCreate { .. } => "schedule.create",
        Request::ScheduleDelete { .. } => "schedule.delete",
    }
}

/// The status of a refusal, as the specification has it.
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
