//! What guests do: a script follows from their id, the same in any run, whatever happens to it. How they end depends on all
//! that they were told.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use machine::{Ask, CallOptions, Completion, Component, Digest, Entry, Event, FunctionInfo, Id, Outcome, PARTITIONS};
use serde_json::{Value, json};

use super::dice::{Dice, fold};

/// The partitions that are simulated. The first one installs components, and tells the others.
pub const PARTS: [u8; 3] = [0, 1, 2];
pub const FUNCTION: &str = "play";
const ROOTS: usize = 6;
const PROMISES: usize = 4;

/// The names of what runs: some in each partition.
pub struct Names {
    pub roots: Vec<Id>,
    pub promises: Vec<Id>,
    /// Whether guests are given their script. Those that are simulated know it.
    pub is_told: bool,
}

/// They are the same for all seeds, and take a while to find.
static ROOT_IDS: LazyLock<Vec<Id>> = LazyLock::new(|| named("run", 0..ROOTS));
static PROMISE_IDS: LazyLock<Vec<Id>> = LazyLock::new(|| named("promise", 0..PROMISES));

/// Ids that belong to each of the partitions in turn.
pub fn named(prefix: &str, numbers: Range<usize>) -> Vec<Id> {
    let id = |n: usize| {
        let part = PARTS[n % PARTS.len()];
        let mut ids = (0..).map(|k| Id::root(&format!("{prefix}-{n}-{k}")).expect("it is an id"));
        ids.find(|id| id.partition() == part).expect("there are many")
    };
    numbers.map(id).collect()
}

/// Which of the simulated partitions an id belongs to.
pub fn place(id: &Id) -> usize {
    PARTS.iter().position(|part| *part == id.partition()).expect("it is one of these")
}

impl Names {
    pub fn new(is_told: bool) -> Names {
        Names { roots: ROOT_IDS.clone(), promises: PROMISE_IDS.clone(), is_told }
    }

    /// What a promise of nobody is settled with, whoever does it.
    pub fn value(&self, promise: &Id) -> Option<Outcome> {
        let n = self.promises.iter().position(|id| id == promise)?;
        Some(Outcome::Resolved(Bytes::from(n.to_string())))
    }

    /// What a guest asks, in order.
    pub fn script(&self, seed: u64, of: &Id) -> Vec<Ask> {
        let mut dice = Dice::new(fold(seed, of.as_str().as_bytes()));
        let place = self.roots.iter().position(|root| root == of);
        let call = |id: Option<&Id>, step: u32| {
            let child = id.cloned().unwrap_or_else(|| of.child(step).expect("it isn't deep"));
            Ask::Call {
                function: FUNCTION.into(),
                arguments: self.arguments(seed, &child),
                options: CallOptions { id: id.map(Id::to_string), ..CallOptions::default() },
                detached: false,
            }
        };
        let ask = |dice: &mut Dice, step: u32| {
            let promise = &self.promises[dice.below(PROMISES)];
            match (dice.below(7), place) {
                // Only later ones are called, so that all comes to an end.
                (0 | 1, Some(place)) if place + 1 < ROOTS => {
                    call(Some(&self.roots[place + 1 + dice.below(ROOTS - place - 1)]), step)
                }
                (2, Some(_)) => call(None, step),
                (3, _) => Ask::SettlePromise {
                    id: promise.to_string(),
                    outcome: self.value(promise).expect("it is one of these"),
                },
                (4, _) => Ask::Sleep { until_ms: super::START + dice.below(3_000) as u64 },
                (5, _) => Ask::Step { name: "work".into() },
                _ => Ask::AwaitPromise { id: promise.to_string() },
            }
        };
        (1..=1 + dice.below(5)).map(|step| ask(&mut dice, step as u32)).collect()
    }

    /// What a guest is called with.
    pub fn arguments(&self, seed: u64, of: &Id) -> Bytes {
        if !self.is_told {
            return Bytes::from_static(b"[]");
        }
        Bytes::from(json!([self.scenes(seed, of)]).to_string())
    }

    /// The script as `tests/guests/script` reads it.
    fn scenes(&self, seed: u64, of: &Id) -> Value {
        let scene = |ask: Ask| match ask {
            Ask::Call { arguments, options, .. } => {
                let script: Value = serde_json::from_slice(&arguments).expect("it was written above");
                json!({ "call": { "id": options.id, "script": script[0] } })
            }
            Ask::SettlePromise { id, .. } => {
                let value = self.promises.iter().position(|promise| promise.as_str() == id);
                json!({ "settle": { "id": id, "value": value } })
            }
            Ask::Sleep { until_ms } => json!({ "sleep": { "until_ms": until_ms } }),
            Ask::AwaitPromise { id } => json!({ "await": { "id": id } }),
            _ => json!("work"),
        };
        self.script(seed, of).into_iter().map(scene).collect()
    }
}

/// A guest that is simulated: it asks all that its script has, and hears of it.
pub struct Scripted {
    script: Vec<Ask>,
    asked: usize,
    recorded: usize,
    heard: Vec<(u32, Completion)>,
}

impl Scripted {
    /// One that did what its journal has.
    pub fn begin(script: Vec<Ask>, journal: &[Entry]) -> Scripted {
        let mut guest = Scripted { script, asked: 0, recorded: 0, heard: Vec::new() };
        for entry in journal {
            match entry {
                Entry::Asked { step, .. } => guest.asked = *step as usize,
                Entry::Told { step, completion, .. } => guest.heard.push((*step, completion.clone())),
                Entry::Recorded { .. } => guest.recorded += 1,
                _ => {}
            }
        }
        guest
    }

    /// Tell it of a step. `false`: that was no time for it.
    pub fn tell(&mut self, step: u32, completion: Completion) -> bool {
        self.heard.push((step, completion));
        self.asked == self.script.len()
    }

    /// What it does next, at most so much: whether it would go on, and how it ended, if it did.
    pub fn go_on(&mut self, most: usize) -> (Vec<Event>, bool, Option<Outcome>) {
        let mut events = Vec::new();
        for ask in self.script.iter().skip(self.asked).take(most) {
            self.asked += 1;
            let step = self.asked as u32;
            events.push(Event::Asked { step, ask: ask.clone() });
            if matches!(ask, Ask::Step { .. }) {
                // Of that nobody tells it: it goes on by itself.
                events.push(Event::Recorded { step, outcome: Outcome::Resolved(Bytes::from_static(b"0")) });
                self.recorded += 1;
            }
        }
        let asks_more = self.asked < self.script.len();
        let is_over = !asks_more && self.heard.len() + self.recorded == self.script.len();
        (events, asks_more, is_over.then(|| self.result()))
    }

    fn result(&self) -> Outcome {
        let mut heard = self.heard.clone();
        heard.sort_by_key(|(step, _)| *step);
        Outcome::Resolved(Bytes::from(fold(7, format!("{heard:?}").as_bytes()).to_string()))
    }
}

/// The component that they are of.
pub fn component() -> Component {
    assert!(PARTS.iter().all(|part| usize::from(*part) < PARTITIONS));
    let function = FunctionInfo { name: FUNCTION.into(), doc: String::new(), parameters: Vec::new(), output: None };
    let (digest, name, version) = (Digest([1; 32]), "guests".into(), "1".into());
    Component { digest, name, version, functions: vec![function], installed_at: 0 }
}
