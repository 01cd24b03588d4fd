//! The rules, each through [`apply`] alone. [`World`] puts records to a [`Memory`], and after each one checks what must
//! always hold: see `invariants`.

mod components;
mod configs;
mod conformance;
mod elsewhere;
mod ending;
mod invariants;
mod mail;
mod moves;
mod promises;
mod random;
mod requests;
mod retention;
mod scale;
mod scheduled;
mod sessions;
mod steps;

use crate::*;

/// A deadline that no test reaches.
const FAR: u64 = 1_000_000;

/// A state, the time, and what followed from the last record.
struct World {
    state: Memory,
    now: u64,
    effects: Vec<Effect>,
}

impl World {
    /// At 1000, with the functions `buy` and `pay`.
    fn new() -> World {
        let mut world = World { state: Memory::default(), now: 1000, effects: Vec::new() };
        world.put(Op::Install { component: component("shop", 1, &["buy", "pay"]) }).unwrap();
        world
    }

    fn at(&mut self, now: u64) -> &mut World {
        self.now = now;
        self
    }

    /// Put a record, and check that it did what any record may do.
    fn put(&mut self, op: Op) -> Result<Reply, Rejection> {
        let before = self.state.clone();
        let record = Record { now: self.now, op };
        let Applied { reply, effects, changed } = apply(&mut self.state, record.clone());
        self.effects = effects;
        invariants::check(&self.state, self.now);
        invariants::check_effects(&before, &self.state, &record, &self.effects);
        invariants::check_step(&before, &self.state, self.now, &record, &reply, changed);
        reply
    }

    /// A promise of nobody, until then.
    fn promise(&mut self, root: &str, timeout_at: u64) -> &mut World {
        self.put(Op::CreatePromise { id: id(root), param: text("param"), timeout_at }).unwrap();
        self
    }

    fn settle(&mut self, of: &str, outcome: Outcome) -> Result<Reply, Rejection> {
        self.put(Op::Settle { id: id(of), outcome })
    }

    fn expire(&mut self, of: &str) {
        self.put(Op::Expire { ids: vec![id(of)] }).unwrap();
    }

    fn invoke(&mut self, root: &str, function: &str, timeout_at: u64) -> Result<Reply, Rejection> {
        self.put(Op::Invoke { id: id(root), function: function.into(), arguments: text("[]"), timeout_at, seed: 7 })
    }

    /// An execution of `buy` that has a session.
    fn start(&mut self, root: &str) -> &mut World {
        self.start_until(root, FAR)
    }

    fn start_until(&mut self, root: &str, timeout_at: u64) -> &mut World {
        self.invoke(root, "buy", timeout_at).unwrap();
        self.acquire(root).unwrap();
        self
    }

    fn acquire(&mut self, of: &str) -> Result<Reply, Rejection> {
        self.put(Op::Acquire { id: id(of) })
    }

    /// A turn of the latest session of an execution.
    fn turn(&mut self, of: &str) -> Turn<'_> {
        let execution = self.execution(of);
        let (version, steps) = (execution.task.version, execution.steps);
        let (told, events, output, rest) = (None, Vec::new(), Vec::new(), Rest::Waiting);
        Turn { progress: Progress { id: id(of), version, told, events, output, rest }, steps, world: self }
    }

    fn get(&self, of: &str) -> &Promise {
        &self.state.promises[&id(of)]
    }

    fn execution(&self, of: &str) -> &Execution {
        self.get(of).execution.as_deref().expect("it is an execution")
    }

    fn state(&self, of: &str) -> PromiseState {
        self.get(of).state()
    }

    fn task(&self, of: &str) -> TaskState {
        self.execution(of).task.state
    }

    /// How it was settled, and when.
    fn settled(&self, of: &str) -> (Outcome, u64) {
        let promise = self.get(of);
        (promise.outcome.clone().expect("it is settled"), promise.settled_at.expect("it is settled"))
    }

    /// The steps that have their answer, in order.
    fn ready(&self, of: &str) -> Vec<u32> {
        self.execution(of).ready.iter().map(|ready| ready.step).collect()
    }

    /// The answers that the journal has.
    fn told(&self, of: &str) -> Vec<(u32, Completion)> {
        let told = |entry: &Entry| match entry {
            Entry::Told { step, completion, .. } => Some((*step, completion.clone())),
            _ => None,
        };
        self.state.journals[&id(of)].iter().filter_map(told).collect()
    }

    /// What the only answer of a step is that has just been asked: it is told now.
    fn answer(&mut self, of: &str, step: u32) -> Completion {
        self.turn(of).told(step).waits();
        self.told(of).last().expect("it was told").1.clone()
    }
}

/// A turn in the making. Steps are numbered by themselves.
struct Turn<'a> {
    world: &'a mut World,
    progress: Progress,
    steps: u32,
}

impl Turn<'_> {
    fn version(mut self, version: u32) -> Self {
        self.progress.version = version;
        self
    }

    fn told(mut self, step: u32) -> Self {
        self.progress.told = Some((step, self.world.now));
        self
    }

    fn asks(mut self, ask: Ask) -> Self {
        self.steps += 1;
        let step = self.steps;
        self.event(Event::Asked { step, ask })
    }

    fn drops(self, step: u32) -> Self {
        self.event(Event::Dropped { step })
    }

    fn records(self, step: u32, outcome: Outcome) -> Self {
        self.event(Event::Recorded { step, outcome })
    }

    fn event(mut self, event: Event) -> Self {
        self.progress.events.push(event);
        self
    }

    fn writes(mut self, line: &str) -> Self {
        let at_ms = self.world.now;
        self.progress.output.push(Output { at_ms, stream: Stream::Stdout, text: line.into() });
        self
    }

    fn rests(mut self, rest: Rest) -> Result<Reply, Rejection> {
        self.progress.rest = rest;
        self.world.put(Op::Progress(self.progress))
    }

    fn waits(self) {
        assert_eq!(self.rests(Rest::Waiting), Ok(Reply::Progressed));
    }

    fn finishes(self, result: &str) {
        let outcome = resolved(result);
        assert_eq!(self.rests(Rest::Finished(outcome)), Ok(Reply::Progressed));
    }

    /// It is refused as what no session does, and what the state was is left.
    #[track_caller]
    fn malformed(self, what: &str) {
        match self.rests(Rest::Waiting) {
            Err(Rejection::Malformed { what: actual, .. }) => assert!(actual.contains(what), "{actual}"),
            other => panic!("it should have been malformed: {other:?}"),
        }
    }
}

fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

fn text(text: &str) -> Payload {
    Payload::copy_from_slice(text.as_bytes())
}

fn resolved(value: &str) -> Outcome {
    Outcome::Resolved(text(value))
}

fn refused(completion: Completion) -> String {
    match completion {
        Completion::Refused(reason) => reason,
        other => panic!("it should have been refused: {other:?}"),
    }
}

fn component(name: &str, digest: u8, functions: &[&str]) -> Component {
    let function =
        |name: &&str| FunctionInfo { name: (*name).into(), doc: String::new(), parameters: Vec::new(), output: None };
    Component {
        digest: Digest([digest; 32]),
        name: name.into(),
        version: "1".into(),
        functions: functions.iter().map(function).collect(),
        installed_at: 0,
    }
}

/// A call with default options.
fn call(function: &str) -> Ask {
    call_with(function, CallOptions::default())
}

fn call_as(function: &str, id: &str) -> Ask {
    call_with(function, CallOptions { id: Some(id.into()), ..CallOptions::default() })
}

fn call_with(function: &str, options: CallOptions) -> Ask {
    Ask::Call { function: function.into(), arguments: text("[]"), options, detached: false }
}

fn detached(function: &str, options: CallOptions) -> Ask {
    Ask::Call { function: function.into(), arguments: text("[]"), options, detached: true }
}

fn within(timeout_ms: u64) -> CallOptions {
    CallOptions { timeout_ms: Some(timeout_ms), ..CallOptions::default() }
}

fn sleep(until_ms: u64) -> Ask {
    Ask::Sleep { until_ms }
}

fn wait_for(promise: &str) -> Ask {
    Ask::AwaitPromise { id: promise.into() }
}

fn settle(promise: &str, outcome: Outcome) -> Ask {
    Ask::SettlePromise { id: promise.into(), outcome }
}

fn work(name: &str) -> Ask {
    Ask::Step { name: name.into() }
}

fn request(url: &str) -> Ask {
    Ask::Http { head: HttpHead { method: "GET".into(), url: url.into(), ..HttpHead::default() }, body: text("") }
}

/// A configuration that allows requests to these.
fn allow(hosts: &[&str]) -> Config {
    let egress = hosts.iter().map(|host| Egress::parse(host).unwrap()).collect();
    Config { egress, ..Config::default() }
}

fn limit(limit: Limit, value: u64) -> Config {
    Config { limits: [(limit, value)].into(), ..Config::default() }
}

fn of_buy() -> Scope {
    Scope::Function("buy".into())
}

fn new_promise(timeout_ms: Option<u64>) -> Ask {
    Ask::CreatePromise { timeout_ms }
}
