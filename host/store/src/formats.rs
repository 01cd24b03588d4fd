//! Files of older formats are still read: one of each kind is kept under `tests/formats`, and is never written again.
//!
//! For a new format: `FORMAT_SAMPLES=write cargo test --release -p host formats`, which writes those that are missing.

use std::fmt::Debug;
use std::path::PathBuf;

use bytes::Bytes;
use machine::{
    Action, Answer, Ask, Awaiter, Bounds, Call, CallOptions, Claim, Completion, Component, Config, Data, Digest,
    Egress, Entry, Errand, Event, Execution, Foreign, Form, FunctionInfo, Hidden, Holder, HttpHead, Id, Level, Limit,
    Message, NewPromise, NewSchedule, Old, Op, Outcome, Output, Owner, Parameter, Part, Pinned, Progress, Promise,
    PromiseKind, PromiseState, Reach, Ready, Record, Request, Rest, Schedule, Scope, Settings, Settlement, Stream,
    Tags, Task, TaskRef, TaskState, Template, Untold, Variable,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::encoding::{items, push, seal, unseal};

/// Read the sample of a format, and hold it against what was written into it.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, written: &[T]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats").join(name);
    if std::env::var("FORMAT_SAMPLES").is_ok_and(|value| value == "write") && !path.exists() {
        let mut run = Vec::new();
        written.iter().for_each(|item| push(&mut run, item));
        std::fs::write(&path, seal(&run)).expect("the sample can be written");
    }
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let read: Vec<T> = items(unseal(&file).expect("the format is known")).expect("it can be decoded");
    assert_eq!(read, written, "{name}");
}

fn id(text: &str) -> Id {
    Id::parse(text).expect("it is an id")
}

fn payload(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::Resolved(payload("1")),
        Outcome::Rejected(payload("\"no\"")),
        Outcome::Canceled,
        Outcome::TimedOut,
        Outcome::Crashed("panicked at src/lib.rs:1:1".into()),
    ]
}

fn head() -> HttpHead {
    HttpHead {
        method: "POST".into(),
        url: "https://a.example/x".into(),
        headers: vec![("accept".into(), "*/*".into())],
        head_timeout_ms: Some(5),
        body_timeout_ms: None,
        hidden: [Part::Url, Part::Header(0), Part::Body].map(|part| Hidden { part, at: 3, name: "A".into() }).into(),
    }
}

fn config() -> Config {
    Config {
        variables: [("A".into(), Variable { digest: Digest([4; 32]), secret: true })].into(),
        egress: [Egress::parse("https://*.example:443").expect("it is an address")].into(),
        limits: Limit::ALL.into_iter().filter(|limit| *limit != Limit::Stack).zip(1..).collect(),
    }
}

fn events() -> Vec<Event> {
    let options = CallOptions { id: Some("o".into()), timeout_ms: Some(9), target: Some("poll://any@wasm".into()) };
    let long = Bytes::from(vec![b'x'; 200]);
    let asks = [
        Ask::Call { function: "f".into(), arguments: payload("[1]"), options: Default::default(), detached: false },
        Ask::Call { function: "f".into(), arguments: long, options, detached: true },
        Ask::Sleep { until_ms: 7 },
        Ask::CreatePromise { timeout_ms: None },
        Ask::AwaitPromise { id: "p".into() },
        Ask::SettlePromise { id: "p".into(), outcome: Outcome::Canceled },
        Ask::Step { name: "s".into() },
    ];
    let mut events: Vec<Event> = (1..).zip(asks).map(|(step, ask)| Event::Asked { step, ask }).collect();
    events.push(Event::Dropped { step: 3 });
    events.push(Event::Recorded { step: 7, outcome: Outcome::Rejected(payload("null")) });
    events
}

#[test]
fn journals_of_format_1_are_read() {
    let mut entries = vec![Entry::Started { component: Digest([7; 32]), seed: 5, now: 3 }];
    entries.extend(events().iter().map(Entry::of));
    let completions = outcomes().into_iter().map(Completion::Settled);
    for completion in completions.chain([Completion::Refused("no".into()), Completion::Done]) {
        entries.push(Entry::Told { step: 1, completion, now: 4 });
    }
    entries.push(Entry::Finished { state: PromiseState::TimedOut, now: 8 });
    check("journal-1", &entries);
}

/// What format 1 has had since executions can be moved and forked.
#[test]
fn moves_of_format_1_are_read() {
    let (component, now) = (Digest([8; 32]), 4);
    let moved = Entry::Moved { component, replayed: 3, written: 2, now };
    let entries = vec![Entry::Forked { from: id("a:1"), steps: 2, replayed: 1, now }, moved];
    check("journal-1-moves", &entries);
    let ops = [
        Op::Move { id: id("a"), component, entries: 3, replayed: 2 },
        Op::Fork { id: id("b"), from: id("a"), entries, component, replayed: 1, timeout_at: 9 },
    ];
    let records: Vec<Record> = (0..).zip(ops).map(|(now, op)| Record { now, op }).collect();
    check("records-1-moves", &records);
}

/// What format 1 has had since functions are configured, and send requests.
#[test]
fn requests_and_configurations_of_format_1_are_read() {
    let asked = Event::Asked { step: 1, ask: Ask::Http { head: head(), body: payload("{}") } };
    check("journal-1-requests", &[Entry::of(&asked)]);
    let progress =
        Progress { id: id("a"), version: 1, told: None, events: vec![asked], output: vec![], rest: Rest::Waiting };
    let ops = [
        Op::Configure { scope: Scope::Host, config: config() },
        Op::Configure { scope: Scope::Component("c".into()), config: config() },
        Op::Configure { scope: Scope::Function("f".into()), config: Config::default() },
        Op::Progress(progress),
    ];
    let records: Vec<Record> = (0..).zip(ops).map(|(now, op)| Record { now, op }).collect();
    check("records-1-requests", &records);
}

fn component() -> Component {
    let parameter = Parameter { name: "n".into(), schema: Some("{}".into()) };
    let function = FunctionInfo { name: "f".into(), doc: "does".into(), parameters: vec![parameter], output: None };
    let (digest, name, version) = (Digest([9; 32]), "c".into(), "1.0.0".into());
    Component { digest, name, version, functions: vec![function], installed_at: 2 }
}

#[test]
fn records_of_format_1_are_read() {
    let output = |stream| Output { at_ms: 1, stream, text: "line".into() };
    let progress = |rest, told| {
        let output = [Stream::Stdout, Stream::Stderr, Stream::Log(Level::Warn)].map(output).into();
        Op::Progress(Progress { id: id("a:1.2"), version: 3, told, events: events(), output, rest })
    };
    let mut ops = vec![
        Op::Invoke { id: id("a"), function: "f".into(), arguments: payload("[]"), timeout_at: 9, seed: 1 },
        Op::CreatePromise { id: id("p"), param: payload(""), timeout_at: 9 },
        Op::Expire { ids: vec![id("a"), id("p")] },
        Op::Acquire { id: id("a") },
        progress(Rest::Running, None),
        progress(Rest::Waiting, Some((1, 2))),
        progress(Rest::Finished(Outcome::Canceled), None),
        Op::Hold { id: id("a"), version: 3, reason: "differs".into() },
        Op::Install { component: component() },
    ];
    ops.extend(outcomes().into_iter().map(|outcome| Op::Settle { id: id("p"), outcome }));
    let records: Vec<Record> = (0..).zip(ops).map(|(now, op)| Record { now, op }).collect();
    check("records-1", &records);
}

#[test]
fn forgetting_of_format_1_is_read() {
    let old = Old { root: id("a"), ids: vec![id("a:1.2"), id("a")], retention_ms: 7 };
    check("records-1-retention", &[Record { now: 1, op: Op::Forget { trees: vec![old] } }]);
}

/// What format 1 has had since ids can be divided between partitions.
#[test]
fn mail_of_format_1_is_read() {
    let awaiter = || Awaiter { execution: id("a"), step: 1 };
    let call = |tags, detached| Message::Call {
        id: id("b"),
        function: "f".into(),
        arguments: payload("[]"),
        timeout_at: 9,
        seed: 3,
        component: Digest([7; 32]),
        caller: awaiter(),
        detached,
        tags,
    };
    let answer = |completion| Message::Answer { awaiter: awaiter(), id: id("b"), completion };
    let template = Template { param: payload("1"), form: form(), tags: tags(), call: None };
    let messages = vec![
        call(None, false),
        call(Some(tags()), true),
        Message::Await { id: id("b"), awaiter: awaiter() },
        Message::Settle { id: id("b"), outcome: Outcome::Canceled, asker: awaiter() },
        Message::LetGo { id: id("b"), awaiter: awaiter() },
        answer(Completion::Settled(Outcome::TimedOut)),
        answer(Completion::Refused("no".into())),
        answer(Completion::Done),
        Message::Install { component: component() },
        Message::Configure { scope: Scope::Function("f".into()), config: config() },
        Message::Register { awaited: id("b"), awaiter: id("a") },
        Message::Resume { awaiter: id("a"), awaited: id("b") },
        Message::Occur { promise: NewPromise { id: id("b"), timeout_at: 9, template }, at: 8 },
    ];
    check("mail-1", &messages);
    let receive = |message| Op::Receive { from: 63, number: 300, message: Box::new(message) };
    let ops = messages.into_iter().map(receive).chain([Op::Delivered { to: 1, number: 2 }]);
    let records: Vec<Record> = (0..).zip(ops).map(|(now, op)| Record { now, op }).collect();
    check("records-1-mail", &records);
    let remote = |errand| Promise {
        id: id("a:1"),
        kind: PromiseKind::Remote { id: id("b"), errand },
        owner: Some(Owner { execution: id("a"), step: 1, detached: false }),
        param: payload("[]"),
        outcome: None,
        created_at: 1,
        timeout_at: 2,
        settled_at: None,
        awaiters: [awaiter()].into(),
        execution: None,
        foreign: None,
    };
    check("promises-1-mail", &[Errand::Call, Errand::Await, Errand::Settle].map(remote));
}

/// What format 1 has had since components go when nothing needs them.
#[test]
fn removed_components_of_format_1_are_read() {
    check("records-1-components", &[Record { now: 1, op: Op::Uninstall { digests: vec![Digest([3; 32])] } }]);
}

#[test]
fn promises_of_format_1_are_read() {
    let kinds = [
        PromiseKind::External,
        PromiseKind::Call { function: "f".into() },
        PromiseKind::Sleep,
        PromiseKind::Step { name: "s".into() },
        PromiseKind::Http { head: head(), reach: Reach::Private },
    ];
    let states =
        [TaskState::Runnable, TaskState::Suspended, TaskState::Held, TaskState::Fulfilled, TaskState::Suspended];
    let execution = |state| Execution {
        component: Digest([1; 32]),
        seed: 2,
        task: Task { state, version: 3 },
        steps: 4,
        entries: 5,
        outputs: 6,
        ready: [
            Ready { step: 1, answer: Answer::Promise(id("a:1")) },
            Ready { step: 2, answer: Answer::Here(Completion::Done) },
        ]
        .into(),
        open: [(3, None), (4, Some(id("b")))].into(),
        held: Some("differs".into()),
        config: Pinned { host: 1, component: 2, function: 3 },
        bounds: Bounds { entries: 4, bytes: 5, children: 6 },
        journal_bytes: 7,
        children: 8,
        below: 9,
        unsettled: 10,
    };
    let promises: Vec<Promise> = kinds
        .into_iter()
        .zip(states)
        .zip(outcomes())
        .map(|((kind, state), outcome)| Promise {
            id: id("a"),
            kind,
            owner: Some(Owner { execution: id("b"), step: 1, detached: true }),
            param: payload("[]"),
            outcome: (state != TaskState::Suspended).then_some(outcome),
            created_at: 1,
            timeout_at: 2,
            settled_at: Some(3),
            awaiters: [Awaiter { execution: id("c"), step: 4 }].into(),
            execution: Some(Box::new(execution(state))),
            foreign: (state == TaskState::Held).then(|| Box::new(foreign())),
        })
        .collect();
    check("promises-1", &promises);
}

fn tags() -> Tags {
    [("k".to_owned(), "v".to_owned())].into()
}

fn form() -> Form {
    Form { headers: Some(tags()), data: Data::Text("text".into()) }
}

fn holder() -> Holder {
    Holder { pid: "p".into(), ttl_ms: 5 }
}

fn foreign() -> Foreign {
    let task = Task { state: TaskState::Acquired, version: 1 };
    Foreign {
        tags: Some(tags()),
        param: form(),
        value: Form::default(),
        claim: Some(Claim { task, holder: Some(holder()), due_at: Some(9), resumes: [id("b")].into() }),
        callbacks: [id("c.1")].into(),
        listeners: ["poll://uni@g/a".to_owned()].into(),
        untold: Some(Untold { addresses: ["https://a".to_owned()].into(), attempts: 1, due_at: 7 }),
        branch: [id("a:1")].into(),
    }
}

#[test]
fn requests_of_format_1_are_read() {
    let calls =
        [None, Some(Call::Function { name: "f".into(), seed: 3 }), Some(Call::Nonsense("it isn't a call".into()))];
    let template = |call| Template { param: payload("[]"), form: form(), tags: tags(), call };
    let promise = |call| NewPromise { id: id("a.1"), timeout_at: 9, template: template(call) };
    let settlement = || Settlement { id: id("a.1"), outcome: Outcome::Canceled, form: form() };
    let task = || TaskRef { id: id("a"), version: 2 };
    let schedule = NewSchedule {
        id: "s".into(),
        cron: "* * * * *".into(),
        promise_id: "{{.id}}".into(),
        promise_timeout_ms: 6,
        template: template(None),
    };
    let mut requests: Vec<Request> = calls.map(|call| Request::CreatePromise(promise(call))).into();
    requests.extend([
        Request::SettlePromise(settlement()),
        Request::RegisterCallback { awaited: id("a"), awaiter: id("b") },
        Request::RegisterListener { awaited: id("a"), address: "https://a".into() },
        Request::CreateTask { holder: holder(), promise: promise(None) },
        Request::Acquire { task: task(), holder: holder() },
        Request::Release(task()),
        Request::Fulfill { task: task(), settlement: settlement() },
        Request::Suspend { task: task(), awaited: vec![id("b")] },
        Request::Fence { task: task(), action: Action::Create(promise(None)) },
        Request::Fence { task: task(), action: Action::Settle(settlement()) },
        Request::Heartbeat { pid: "p".into(), tasks: vec![task()] },
        Request::Halt { id: id("a") },
        Request::Continue { id: id("a") },
        Request::CreateSchedule(schedule),
        Request::DeleteSchedule { id: "s".into() },
    ]);
    let mut ops: Vec<Op> = requests.into_iter().map(|request| Op::Request(Box::new(request))).collect();
    ops.extend([
        Op::RunSchedules { ids: vec!["s".into()] },
        Op::Told { id: id("a"), address: "https://a".into() },
        Op::Adopt(Settings { group: "g".into(), retry_ms: 5 }),
        Op::Reset,
    ]);
    let records: Vec<Record> = (0..).zip(ops).map(|(now, op)| Record { now, op }).collect();
    check("requests-1", &records);
}

/// What format 1 has had since a function can have a stack of its own.
#[test]
fn stacks_of_format_1_are_read() {
    let config = Config { limits: [(Limit::Stack, 1 << 20)].into(), ..config() };
    check("configs-1-stack", &[config]);
}

#[test]
fn schedules_of_format_1_are_read() {
    let schedule = Schedule {
        id: "s".into(),
        cron: "* * * * *".into(),
        promise_id: "{{.id}}".into(),
        promise_timeout_ms: 6,
        template: Template { param: payload("1"), form: form(), tags: tags(), call: None },
        created_at: 1,
        next_run_at: 2,
        last_run_at: Some(3),
    };
    check("schedules-1", &[schedule]);
}
