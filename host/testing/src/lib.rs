//! Testing a function as a whole, in one process and no time: under virtual time, with a crash at every boundary of its
//! journals, and with what runs at once completing in other orders.
//!
//! It is the real machine and real guests; only the clock, the disk and the network are missing. Everything that a run
//! does follows from its seed.

mod effects;
mod outside;
mod world;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use machine::{Digest, Id, Memory, Op, Outcome, Payload, PromiseKind, Record, Scope};

use host_runtime::{ComponentError, Limits, Program, Runtime, RuntimeError};
use world::{Order, World};

pub use effects::Effects;
pub use host_runtime::TroubleKind;
pub use outside::{Configuration, Stub};

/// The id of the execution that is tested, unless another is chosen. Its steps are `test:1` and so on.
pub const ROOT: &str = "test";
/// When virtual time begins: in 2030.
const BEGIN_MS: u64 = 1_893_456_000_000;
/// The sessions that a test keeps in memory at a time.
const SESSIONS: u32 = 1_000;

/// A function, and how it is to be tested.
pub struct Test {
    runtime: Runtime,
    programs: HashMap<Digest, Program>,
    components: Vec<machine::Component>,
    function: String,
    arguments: Payload,
    seed: u64,
    shuffles: u64,
    crash_at: Option<usize>,
    time: Duration,
    timeout: Duration,
    settlements: Vec<Settlement>,
    stubs: Vec<Stub>,
    /// By function.
    configurations: BTreeMap<String, Configuration>,
    /// Of variables, by what stands for them in a record.
    values: HashMap<Digest, String>,
}

/// A promise that somebody outside settles.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settlement {
    id: Id,
    outcome: Outcome,
    /// After the beginning.
    after_ms: u64,
}

/// A test that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How the function ended, every time.
    pub outcome: Outcome,
    /// What it did, once each: in the first run, and after every crash.
    pub effects: Effects,
    /// How long it took in virtual time.
    pub virtual_time: Duration,
    /// The boundaries of journals at which it can crash.
    pub boundaries: usize,
    /// At how many of them it did.
    pub crashes: usize,
    /// How often a request was sent again after a crash, because its answer was not durable: the same one, with the same
    /// key. One whose answer was durable is never sent again.
    pub sent_again: u64,
    /// In how many other orders it ran.
    pub shuffles: u64,
    /// In how many of those it did other things on the way to the same outcome: two timers that end at the same moment can
    /// lead to one more of something.
    pub varied: u64,
    /// The seed.
    pub seed: u64,
}

/// Why a test didn't go well.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// A component can't be used.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The engine can't be set up.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The test makes no sense as it was set up.
    #[error("{0}")]
    Setup(String),
    /// A run didn't come to an end.
    #[error("it didn't end: {0}")]
    Endless(String),
    /// A run differed from the first one.
    #[error("{0}")]
    Differs(Box<Failure>),
}

/// A run that differed from the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of the first run.
    pub seed: u64,
    /// What was other about the run.
    pub run: Run,
    /// What differs first.
    pub what: String,
    /// What the first run had.
    pub expected: String,
    /// What this run had.
    pub seen: String,
}

/// What is other about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It crashed after so many records.
    Crashed {
        /// How many.
        after: usize,
    },
    /// What runs at once completed in another order, drawn from this seed.
    Shuffled {
        /// The seed.
        seed: u64,
    },
}

impl Test {
    /// Of a function of a component, with a JSON array of arguments. One that answers requests over HTTP is one function, of
    /// any name, which takes a request.
    pub fn new(wasm: &[u8], function: &str, arguments: &str) -> Result<Test, TestError> {
        let runtime = Runtime::new(Limits { sessions: SESSIONS, ..Limits::default() })?;
        let array: Vec<&serde_json::value::RawValue> = serde_json::from_str(arguments)
            .map_err(|error| TestError::Setup(format!("the arguments must be a JSON array: {error}")))?;
        // As the host keeps them: without the spaces between.
        let arguments = format!("[{}]", array.iter().map(|value| value.get()).collect::<Vec<_>>().join(","));
        let test = Test {
            runtime,
            programs: HashMap::new(),
            components: Vec::new(),
            function: function.to_owned(),
            arguments: arguments.into_bytes().into(),
            seed: 1,
            shuffles: 20,
            crash_at: None,
            time: Duration::from_secs(60),
            timeout: Duration::from_secs(365 * 86_400),
            settlements: Vec::new(),
            stubs: Vec::new(),
            configurations: BTreeMap::new(),
            values: HashMap::new(),
        };
        let test = test.add(wasm, Some(function))?;
        match test.components[0].functions.iter().find(|known| known.name == function) {
            None => Err(TestError::Setup(format!(
                "the component has no function {function:?}; it has {}",
                test.components[0].functions.iter().map(|known| known.name.as_str()).collect::<Vec<_>>().join(", ")
            ))),
            Some(known) if known.parameters.len() != array.len() => Err(TestError::Setup(format!(
                "{function} takes {} arguments, and was given {}",
                known.parameters.len(),
                array.len()
            ))),
            Some(_) => Ok(test),
        }
    }

    /// With another component, whose functions it calls.
    pub fn with(self, wasm: &[u8]) -> Result<Test, TestError> {
        self.add(wasm, None)
    }

    fn add(mut self, wasm: &[u8], mount: Option<&str>) -> Result<Test, TestError> {
        let compiled = self.runtime.compile(wasm, mount)?;
        self.programs.insert(compiled.component.digest, compiled.program);
        self.components.push(compiled.component);
        Ok(self)
    }

    /// What chance and the order of events are drawn from: 1 unless said.
    pub fn seed(mut self, seed: u64) -> Test {
        self.seed = seed;
        self
    }

    /// In how many other orders it runs: 20 unless said.
    pub fn shuffles(mut self, shuffles: u64) -> Test {
        self.shuffles = shuffles;
        self
    }

    /// Crash after so many records, and nowhere else.
    pub fn crash_at(mut self, record: usize) -> Test {
        self.crash_at = Some(record);
        self
    }

    /// How long to go on crashing and shuffling, in real time: 60 seconds unless said. A report tells how far it came.
    pub fn time(mut self, time: Duration) -> Test {
        self.time = time;
        self
    }

    /// From the beginning to the function's deadline: a year unless said.
    pub fn timeout(mut self, timeout: Duration) -> Test {
        self.timeout = timeout;
        self
    }

    /// Settle a promise, so long after the beginning or as soon as it is there. One that nobody settles times out. One with
    /// the id of a root is there from the beginning.
    pub fn settle(mut self, id: &str, outcome: Outcome, after: Duration) -> Result<Test, TestError> {
        let id = Id::parse(id).map_err(|error| TestError::Setup(error.to_string()))?;
        self.settlements.push(Settlement { id, outcome, after_ms: after.as_millis() as u64 });
        Ok(self)
    }

    /// Other systems, which answer the function's requests. The first whose address fits a request answers it. Without any,
    /// every request is refused, as a host refuses those that its configuration doesn't allow.
    pub fn http(mut self, stubs: impl IntoIterator<Item = Stub>) -> Test {
        self.stubs.extend(stubs);
        self
    }

    /// What a function is configured with.
    pub fn configure(mut self, function: &str, configuration: Configuration) -> Test {
        self.values.extend(configuration.values());
        self.configurations.insert(function.to_owned(), configuration);
        self
    }

    /// Run it, then crash it everywhere, then shuffle it.
    pub fn run(&self) -> Result<Report, TestError> {
        let begun = Instant::now();
        let mut first = self.world(Order::new(self.seed, false));
        first.run()?;
        let records = first.take_records();
        let boundaries: Vec<usize> = match self.crash_at {
            Some(record) if record <= self.beginning().len() || record > records.len() => {
                let (first, last) = (self.beginning().len() + 1, records.len());
                return Err(TestError::Setup(format!(
                    "it can crash after records {first} to {last}, not after {record}"
                )));
            }
            Some(record) => vec![record],
            // Only the claim on an execution is in the record of one.
            None => (self.beginning().len()..records.len())
                .filter(|index| !matches!(records[*index].op, Op::Acquire { .. }))
                .map(|index| index + 1)
                .collect(),
        };
        let (crashes, sent_again) = self.crash(&first.state, &records, &boundaries, begun)?;
        let (mut shuffles, mut varied) = (0, 0);
        while shuffles < self.shuffles && (shuffles == 0 || begun.elapsed() < self.time) {
            varied += u64::from(!self.shuffle(&first, self.seed.wrapping_add(shuffles + 1))?);
            shuffles += 1;
        }
        Ok(Report {
            outcome: first.outcome(),
            effects: Effects::of(&first.state),
            virtual_time: Duration::from_millis(first.elapsed_ms()),
            boundaries: boundaries.len(),
            crashes,
            sent_again,
            shuffles,
            varied,
            seed: self.seed,
        })
    }

    /// Run it all, and tell.
    ///
    /// # Panics
    ///
    /// If it doesn't go well, with what [`run`](Test::run) says.
    #[track_caller]
    pub fn passes(&self) -> Report {
        self.run().unwrap_or_else(|error| panic!("{}: {error}", self.function))
    }

    /// Crash at each boundary, on as many threads as there are cores. How often it did in the time that there was, and how
    /// often a request was sent again.
    fn crash(
        &self,
        first: &Memory,
        records: &[Record],
        boundaries: &[usize],
        begun: Instant,
    ) -> Result<(usize, u64), TestError> {
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let spread = spread(boundaries.len());
        let (done, sent_again) = (AtomicUsize::new(0), AtomicU64::new(0));
        let work = || {
            loop {
                let Some(index) = spread.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                let is_over = failed.lock().is_ok_and(|failed| failed.is_some());
                if is_over || (begun.elapsed() > self.time && done.load(Ordering::Relaxed) > 0) {
                    return;
                }
                let after = boundaries[*index];
                let run = || {
                    // What is left after a crash are the records that are durable, in the order in which they were made.
                    let mut world = World::recover(self, Order::new(self.seed, false), &records[..after]);
                    let pending = pending_requests(&world.state);
                    world.run()?;
                    let run = Run::Crashed { after };
                    let twice = world
                        .state
                        .promises
                        .keys()
                        .find(|id| world.outside.arrivals(id) > 1 + usize::from(pending.contains(id)));
                    if let Some(id) = twice {
                        let what = format!("how often the request {id} is sent");
                        let once = "once, and again if a crash lost its answer".to_owned();
                        return Err(self.failure(run, (what, once, "more often".to_owned())));
                    }
                    // Those that were pending have arrived again when the world was there again.
                    sent_again.fetch_add(pending.len() as u64, Ordering::Relaxed);
                    effects::difference(first, &world.state).map_or(Ok(()), |what| Err(self.failure(run, what)))
                };
                match run() {
                    Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => {
                        if let Ok(mut failed) = failed.lock() {
                            failed.get_or_insert(error);
                        }
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
            work();
        });
        match failed.into_inner() {
            Ok(None) => Ok((done.into_inner(), sent_again.into_inner())),
            Ok(Some(error)) => Err(error),
            Err(_) => Err(TestError::Setup("a thread of the test panicked".into())),
        }
    }

    /// Whether it did the same, in another order of events. Its outcome must be the same.
    fn shuffle(&self, first: &World<'_>, seed: u64) -> Result<bool, TestError> {
        let mut world = self.world(Order::new(seed, true));
        world.run()?;
        if first.outcome() != world.outcome() {
            let text = |outcome: &Outcome| machine::Brief::of(outcome).to_string();
            let what = ("its outcome".to_owned(), text(&first.outcome()), text(&world.outcome()));
            return Err(self.failure(Run::Shuffled { seed }, what));
        }
        Ok(Effects::of(&first.state) == Effects::of(&world.state))
    }

    fn failure(&self, run: Run, (what, expected, seen): (String, String, String)) -> TestError {
        TestError::Differs(Box::new(Failure { seed: self.seed, run, what, expected, seen }))
    }

    fn world(&self, order: Order) -> World<'_> {
        World::recover(self, order, &self.beginning())
    }

    /// What is there before anything has happened.
    fn beginning(&self) -> Vec<Record> {
        let timeout_at = BEGIN_MS + self.timeout.as_millis() as u64;
        let install = |component: &machine::Component| Op::Install { component: component.clone() };
        let outside = self.settlements.iter().filter(|settlement| settlement.id.is_root());
        let promise = |settlement: &Settlement| Op::CreatePromise {
            id: settlement.id.clone(),
            param: Payload::new(),
            timeout_at,
        };
        let invoke = Op::Invoke {
            id: Id::root(ROOT).expect("it is an id"),
            function: self.function.clone(),
            arguments: self.arguments.clone(),
            timeout_at,
            seed: self.seed,
        };
        let configure = |(function, configuration): (&String, &Configuration)| Op::Configure {
            scope: Scope::Function(function.clone()),
            config: configuration.config(),
        };
        let says_nothing = self.configurations.values().all(Configuration::allows_nothing);
        let answered = Op::Configure { scope: Scope::Host, config: outside::answered(&self.stubs) };
        let answered = (says_nothing && !self.stubs.is_empty()).then_some(answered);
        let ops = self.components.iter().map(install);
        let ops = ops.chain(self.configurations.iter().map(configure)).chain(answered);
        let ops = ops.chain(outside.map(promise)).chain([invoke]);
        ops.map(|op| Record { now: BEGIN_MS, op }).collect()
    }
}

/// The requests that have no answer.
fn pending_requests(state: &Memory) -> Vec<Id> {
    let pending = state.promises.values().filter(|promise| promise.outcome.is_none());
    pending
        .filter(|promise| matches!(promise.kind, PromiseKind::Http { .. }))
        .map(|promise| promise.id.clone())
        .collect()
}

/// The numbers below `n` in an order in which the first of them lie evenly between the others: the first run out of time
/// is not the last that was never looked at.
fn spread(n: usize) -> Vec<usize> {
    let bits = usize::BITS - n.next_power_of_two().leading_zeros() - 1;
    let reversed = |number: usize| if bits == 0 { 0 } else { number.reverse_bits() >> (usize::BITS - bits) };
    (0..n.next_power_of_two()).map(reversed).filter(|number| *number < n).collect()
}

impl Report {
    /// The result of the function, if it has one.
    pub fn value<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        match &self.outcome {
            Outcome::Resolved(payload) => serde_json::from_slice(payload).ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Run::Crashed { after } => write!(f, "after a crash at record {after}"),
            Run::Shuffled { seed } => write!(f, "in the order of seed {seed}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, run, what, expected, seen } = self;
        write!(f, "{run}, {what} differs from the first run (seed {seed})\n  at first  {expected}\n  then      {seen}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_there_once_and_the_first_lie_apart() {
        for n in [0, 1, 2, 3, 7, 8, 1000] {
            let mut numbers = spread(n);
            assert_eq!(numbers.len(), n, "{numbers:?}");
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..n));
        }
        assert_eq!(spread(8)[..4], [0, 4, 2, 6]);
    }
}
