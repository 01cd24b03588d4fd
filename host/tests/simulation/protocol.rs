//! Clients of the promise protocol, and a worker: what they ask is written, read and answered as over HTTP. All that they
//! were told of a promise is held against the orders that there can have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use host_partition::{Driven, Message};
use host_protocol::{Calls, Envelope, Facts, Look, Parsed, To};
use machine::{Granted, Id, Op, Payload, Promise, Settings};
use serde_json::{Value, json};

use super::clients::Ask;
use super::dice::Dice;
use super::events::Event;
use super::guests::named;
use super::nodes::Carrier;
use super::order::{Attempt, Deadline, Saw, What, contradiction};
use super::partitions::Then;
use super::world::{NODES, World};
use super::{Mutation, START};

static IDS: LazyLock<Vec<Id>> = LazyLock::new(|| named("asked", 1..PROMISES + 1));

/// By how much a clock is wrong at most.
pub const SKEW: u64 = 1_000;
const PROMISES: usize = 4;
/// The one that the worker settles, once it has waited for the first one.
const TASK: usize = 3;
const LISTENER: &str = "poll://any@listeners";
const WORKERS: &str = "poll://any@workers";
/// For how long the worker has a task.
const TTL: u64 = 600;
/// The worker's number among clients.
pub const WORKER: usize = usize::MAX;

/// A request of the protocol.
#[derive(Clone)]
pub struct Call {
    pub id: Id,
    pub what: What,
    /// As it is sent.
    body: String,
    /// Whether it is to be told once that is settled.
    listens: bool,
    /// Of the worker: what it is to do with the answer.
    task: Option<Task>,
}

#[derive(Clone, Copy)]
enum Task {
    Acquire,
    Suspend { version: u64 },
    Fulfill,
}

/// An answer, as far as clients look at it.
#[derive(Clone)]
pub struct Reply {
    status: u64,
    saw: Option<Saw>,
    /// Of the task in it.
    version: Option<u64>,
}

/// What clients of the protocol asked, and were told.
pub struct Protocol {
    pub promises: Vec<Id>,
    deadlines: Vec<u64>,
    histories: Vec<Vec<Attempt>>,
    /// Which attempt in which history that of a client is, and whether it is to listen.
    attempts: BTreeMap<(usize, u64), (usize, usize, bool)>,
    /// Promises that somebody listens for, as they know, and those that they were told of.
    listening: BTreeSet<usize>,
    told: BTreeSet<usize>,
    /// What the worker asked.
    work: BTreeMap<u64, Call>,
    /// Tasks that were taken, under which version.
    taken: BTreeSet<(Id, u64)>,
}

/// What the protocol's rules depend on: what is lost is said again soon.
pub fn settings() -> Settings {
    Settings { retry_ms: 300, ..Settings::default() }
}

impl Protocol {
    pub fn new(dice: &mut Dice) -> Protocol {
        let far = START + 1_000_000_000;
        let mut deadlines = vec![far; PROMISES];
        deadlines[1] = START + dice.between(1_000, 4_000);
        Protocol {
            promises: IDS.clone(),
            deadlines,
            histories: vec![Vec::new(); PROMISES],
            attempts: BTreeMap::new(),
            listening: BTreeSet::new(),
            told: BTreeSet::new(),
            work: BTreeMap::new(),
            taken: BTreeSet::new(),
        }
    }

    /// What clients ask, one after the other.
    pub fn clients(&self, dice: &mut Dice) -> Vec<Vec<Ask>> {
        let mut clients: Vec<Vec<Call>> = Vec::new();
        for promise in 0..PROMISES {
            // Two that want it differently.
            for rival in ["one", "other"] {
                let settle = |dice: &mut Dice| self.settle(promise, rival, ["resolved", "rejected"][dice.below(2)]);
                let mut calls = Vec::new();
                for _ in 0..dice.below(3) {
                    let early = settle(dice);
                    calls.push(if promise != TASK && dice.one_in(3) { early } else { self.get(promise) });
                }
                calls.push(self.create(promise, rival));
                if rival == "one" && promise < 2 {
                    calls.push(self.listen(promise));
                }
                if promise != TASK {
                    calls.push(settle(dice));
                }
                calls.push(self.get(promise));
                clients.push(calls);
            }
        }
        clients.push((0..6).map(|_| self.get(dice.below(PROMISES))).collect());
        clients.into_iter().map(|calls| calls.into_iter().map(Ask::Protocol).collect()).collect()
    }

    fn call(&self, promise: usize, what: What, kind: &str, data: Value) -> Call {
        let head = json!({ "corrId": "", "version": "2026-04-01" });
        let body = json!({ "kind": kind, "head": head, "data": data }).to_string();
        Call { id: self.promises[promise].clone(), what, body, listens: false, task: None }
    }

    fn get(&self, promise: usize) -> Call {
        let id = self.promises[promise].as_str();
        self.call(promise, What::Look, "promise.get", json!({ "id": id }))
    }

    fn create(&self, promise: usize, param: &str) -> Call {
        let tags = match promise {
            TASK => json!({ "resonate:target": WORKERS }),
            _ => json!({ "resonate:external": "true" }),
        };
        let (id, timeout_at) = (self.promises[promise].as_str(), self.deadlines[promise]);
        let data = json!({ "id": id, "timeoutAt": timeout_at, "param": { "data": param }, "tags": tags });
        self.call(promise, What::Create(param.into()), "promise.create", data)
    }

    fn settle(&self, promise: usize, value: &str, state: &str) -> Call {
        let data = json!({ "id": self.promises[promise].as_str(), "state": state, "value": { "data": value } });
        self.call(promise, What::Settle(format!("{state} {value}")), "promise.settle", data)
    }

    fn listen(&self, promise: usize) -> Call {
        let data = json!({ "awaited": self.promises[promise].as_str(), "address": LISTENER });
        let call = self.call(promise, What::Look, "promise.register_listener", data);
        Call { listens: true, ..call }
    }

    fn acquire(&self, version: u64) -> Call {
        let data = json!({ "id": self.promises[TASK].as_str(), "version": version, "pid": "worker", "ttl": TTL });
        let call = self.call(TASK, What::Look, "task.acquire", data);
        Call { task: Some(Task::Acquire), ..call }
    }

    fn suspend(&self, version: u64) -> Call {
        let (id, awaited) = (self.promises[TASK].as_str(), self.promises[0].as_str());
        let register = json!({ "kind": "promise.register_callback", "data": { "awaited": awaited, "awaiter": id } });
        let data = json!({ "id": id, "version": version, "actions": [register] });
        let call = self.call(TASK, What::Look, "task.suspend", data);
        Call { task: Some(Task::Suspend { version }), ..call }
    }

    fn fulfill(&self, version: u64) -> Call {
        let id = self.promises[TASK].as_str();
        let settle = json!({ "id": id, "state": "resolved", "value": { "data": "done" } });
        let action = json!({ "kind": "promise.settle", "data": settle });
        let data = json!({ "id": id, "version": version, "action": action });
        let call = self.call(TASK, What::Settle("resolved done".into()), "task.fulfill", data);
        Call { task: Some(Task::Fulfill), ..call }
    }

    fn number(&self, id: &Id) -> Option<usize> {
        self.promises.iter().position(|promise| promise == id)
    }

    /// A promise that somebody listens for who wasn't told.
    pub fn untold(&self) -> Option<&Id> {
        self.listening.difference(&self.told).next().map(|promise| &self.promises[*promise])
    }

    /// A promise of which clients were told what no order explains.
    pub fn contradiction(&self) -> Option<String> {
        (0..PROMISES).find_map(|promise| {
            let deadline = Deadline { at: self.deadlines[promise] - START, skew: SKEW };
            let why = contradiction(&self.histories[promise], deadline)?;
            Some(format!("no order explains what was said of {}: {why}", self.promises[promise]))
        })
    }
}

impl World {
    fn moment(&self) -> (u64, u64) {
        (self.now, self.counts.events)
    }

    /// Something is asked: from now on it can have been done.
    pub(super) fn attempts(&mut self, client: usize, attempt: u64, call: &Call) {
        let begun = self.moment();
        let promise = self.protocol.number(&call.id).expect("it is one of these");
        let history = &mut self.protocol.histories[promise];
        self.protocol.attempts.insert((client, attempt), (promise, history.len(), call.listens));
        history.push(Attempt { what: call.what.clone(), begun, ended: None });
        self.counts.asked += 1;
    }

    /// A partition is asked.
    pub(super) fn serve(&mut self, carrier: Carrier, client: usize, attempt: u64, call: &Call) {
        let Some(owned) = self.owned(carrier) else { return };
        let Some(reply) = serve(&mut owned.driven, &call.body) else { return };
        let held = owned.driven.hold();
        let what = call.what.clone();
        owned.waiting.push((held, Then::Reply { client, attempt, what, reply }));
        self.released(carrier);
    }

    /// An answer leaves, if the node may answer.
    pub(super) fn reply(&mut self, carrier: Carrier, client: usize, attempt: u64, what: &What, reply: Reply) {
        let behind_lease = self.is(Mutation::LookAfterLease) && *what == What::Look;
        if !self.may_answer(carrier.node) && !behind_lease {
            self.counts.late_answers += 1;
            return;
        }
        if let Some(travel) = self.travel() {
            self.at(self.now + travel, Event::Answered { client, attempt, reply: Some(reply) });
        }
    }

    /// A client has an answer, which may be to what it has asked again since.
    pub(super) fn heard(&mut self, client: usize, attempt: u64, reply: &Reply) {
        let ended = self.moment();
        let (promise, number, listens) = self.protocol.attempts[&(client, attempt)];
        if let Some(saw) = &reply.saw {
            self.protocol.histories[promise][number].ended = Some((ended, saw.clone()));
        }
        if client == WORKER {
            self.worker_heard(attempt, reply);
        }
        if listens && matches!(reply.saw, Some(Saw::Pending { .. })) {
            self.protocol.listening.insert(promise);
        }
    }

    /// Workers and clients are told what they may be told.
    pub(super) fn post(&mut self, carrier: Carrier) {
        let Some(owned) = self.owned(carrier) else { return };
        for message in owned.driven.messages() {
            if let Message::Unblock { promise, .. } = &message
                && !self.rolls_back
            {
                let truth = self.database.rows[carrier.place].truth.promises.get(&promise.id);
                if truth.is_none_or(|truth| truth.outcome != promise.outcome) {
                    let id = &promise.id;
                    return self.violated(format!("a listener for {id} was told what isn't durable: {truth:?}"));
                }
            }
            if let Some(travel) = self.travel() {
                self.at(self.now + travel, Event::Posted { carrier, message });
            }
        }
    }

    /// A message arrives, and its sender hears of that.
    pub(super) fn posted(&mut self, carrier: Carrier, message: Message) {
        self.counts.messages += 1;
        match message {
            Message::Execute { id, version, .. } => {
                debug_assert_eq!(id, self.protocol.promises[TASK]);
                self.let_work(self.protocol.acquire(version.into()));
            }
            Message::Unblock { promise, address } => {
                let (ended, saw) = (self.moment(), saw(&promise));
                let number = self.protocol.number(&promise.id).expect("it is one of these");
                self.protocol.told.insert(number);
                // Nobody asked for it, so it can have happened at any time before.
                let heard = Attempt { what: What::Look, begun: (0, 0), ended: Some((ended, saw)) };
                self.protocol.histories[number].push(heard);
                if let Some(travel) = self.travel() {
                    self.at(self.now + travel, Event::Told { carrier, id: promise.id.clone(), address });
                }
            }
        }
    }

    pub(super) fn told(&mut self, carrier: Carrier, id: Id, address: String) {
        if let Some(owned) = self.owned(carrier)
            && owned.driven.broken().is_none()
        {
            let _ = owned.driven.apply(Op::Told { id, address });
        }
    }

    /// The worker asks. What is lost it finds out when its task is offered again.
    fn let_work(&mut self, call: Call) {
        self.order += 1;
        let attempt = self.order;
        self.attempts(WORKER, attempt, &call);
        self.protocol.work.insert(attempt, call.clone());
        let (node, began) = (self.dice.below(NODES), self.now);
        if let Some(travel) = self.travel() {
            let ask = Ask::Protocol(call);
            self.at(self.now + travel, Event::Asked { node, client: WORKER, attempt, ask, began, forwarded: false });
        }
    }

    fn worker_heard(&mut self, attempt: u64, reply: &Reply) {
        let Some(call) = self.protocol.work.remove(&attempt) else { return };
        let next = match (call.task, reply.status) {
            (Some(Task::Acquire), 200) => {
                let version = reply.version.expect("it has the task");
                if !self.protocol.taken.insert((call.id.clone(), version)) && !self.rolls_back {
                    self.violated(format!("the task {} was taken twice under version {version}", call.id));
                }
                self.counts.tasks_taken += 1;
                self.protocol.suspend(version)
            }
            (Some(Task::Suspend { version }), 300) => self.protocol.fulfill(version),
            _ => return,
        };
        self.let_work(next);
    }
}

/// What is known about functions: clients call none.
struct NoCalls;

impl Calls for NoCalls {
    fn takes(&self, _: &str) -> Option<usize> {
        None
    }

    fn check(&self, _: &str, _: &Payload) -> Result<(), String> {
        Ok(())
    }

    fn seed(&self) -> u64 {
        1
    }

    fn payload_bytes(&self) -> usize {
        1 << 20
    }
}

/// What a partition answers, as it does over HTTP. None: it can't.
fn serve(driven: &mut Driven, body: &str) -> Option<Reply> {
    let Ok(envelope) = Envelope::read(body.as_bytes()) else { panic!("{body} isn't a request") };
    let settings = settings();
    let Parsed { kind, look, inner } = envelope.parse(&settings, &NoCalls).expect("it makes sense");
    let to = To { kind: &envelope.kind, corr_id: &envelope.head.corr_id };
    let inner = inner.as_ref();
    let facts = match look {
        Look::Change(request, id) => {
            driven.request(request, |granted, seen| Facts::of_promise(kind, &id, inner, granted, seen)).ok()?
        }
        Look::Promise(id) => driven.see(|seen| Facts::of_promise(kind, &id, None, Ok(Granted::Done), seen)),
        _ => return None,
    };
    let answer: Value = serde_json::from_slice(&facts.answer(to, kind, inner, &settings).body).expect("it is JSON");
    let (status, data) = (answer["head"]["status"].as_u64().expect("it has one"), &answer["data"]);
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let param = text(&data["promise"]["param"]["data"]);
    let saw = match data["promise"]["state"].as_str() {
        Some("pending") => Some(Saw::Pending { param }),
        Some(state) => Some(Saw::Settled { param, end: end(state, data["promise"]["value"]["data"].as_str()) }),
        None if status == 404 && !envelope.kind.starts_with("task.") => Some(Saw::Nothing),
        None => None,
    };
    Some(Reply { status, saw, version: data["task"]["version"].as_u64() })
}

fn end(state: &str, value: Option<&str>) -> String {
    value.map_or_else(|| state.to_owned(), |value| format!("{state} {value}"))
}

/// What a message says of a promise.
fn saw(promise: &Promise) -> Saw {
    let text = |form: &machine::Data| match form {
        machine::Data::Text(text) => Some(text.clone()),
        machine::Data::Encoded => None,
    };
    let foreign = promise.foreign.as_ref().expect("a client of the protocol made it");
    let value = text(&foreign.value.data);
    Saw::Settled {
        param: text(&foreign.param.data).unwrap_or_default(),
        end: end(promise.state().as_protocol(), value.as_deref()),
    }
}
