//! Random records, over few ids so that they meet. Every state on the way satisfies the invariants, and the records that
//! changed something lead a second state to the same end.
//!
//! `MACHINE_SEEDS=5000 cargo test -p machine --release random` tries more; `MACHINE_SEED=7` tries that one alone.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::*;

const RECORDS: usize = 200;
const DEFAULT_SEEDS: u64 = 1000;

#[test]
fn whatever_happens_the_invariants_hold() {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match variable("MACHINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("MACHINE_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    let mut seen = Seen::default();
    let many = seeds.end - seeds.start >= DEFAULT_SEEDS;
    for seed in seeds {
        let run = catch_unwind(AssertUnwindSafe(|| Run::new(seed).run(&mut seen)));
        if let Err(panic) = run {
            eprintln!("it was with MACHINE_SEED={seed}");
            resume_unwind(panic);
        }
    }
    if many {
        seen.check();
    }
}

/// What has happened in all runs: a test in which something never happens tests less than it says.
#[derive(Debug, Default)]
struct Seen {
    progressed: u32,
    malformed: u32,
    stale: u32,
    told: u32,
    dropped: u32,
    recorded: u32,
    finished: u32,
    held: u32,
    woken: u32,
    stopped: u32,
    ended_in_a_turn: u32,
    timed_out: u32,
    attached: u32,
    moved: u32,
    forked: u32,
    sent: u32,
    passed_limit: u32,
    forgotten: u32,
    needed: u32,
}

impl Seen {
    fn see(&mut self, record: &Record, reply: &Result<Reply, Rejection>, effects: &[Effect]) {
        match reply {
            Ok(Reply::Progressed) => self.progressed += 1,
            Ok(Reply::Promise { created: false }) => self.attached += 1,
            Ok(Reply::Forgotten { count: 1.. }) => self.forgotten += 1,
            Err(Rejection::Needed { .. }) => self.needed += 1,
            Err(Rejection::Malformed { .. }) => self.malformed += 1,
            Err(Rejection::Stale(_)) => self.stale += 1,
            _ => {}
        }
        self.woken += effects.iter().any(|effect| matches!(effect, Effect::Runnable(_))) as u32;
        self.stopped += effects.iter().any(|effect| matches!(effect, Effect::Stop(_))) as u32;
        self.timed_out += u32::from(matches!(record.op, Op::Expire { .. }) && !effects.is_empty());
        self.sent += effects.iter().any(|effect| matches!(effect, Effect::Send(_))) as u32;
        self.held += u32::from(matches!(record.op, Op::Hold { .. }) && reply.is_ok());
        self.moved += u32::from(matches!(record.op, Op::Move { .. }) && reply.is_ok());
        self.forked += u32::from(matches!(record.op, Op::Fork { .. }) && reply.is_ok());
        if let (Op::Progress(progress), Ok(_)) = (&record.op, reply) {
            self.told += u32::from(progress.told.is_some());
            self.finished += u32::from(matches!(progress.rest, Rest::Finished(_)));
            self.ended_in_a_turn += u32::from(effects.contains(&Effect::Stop(progress.id.clone())));
            for event in &progress.events {
                self.dropped += u32::from(matches!(event, Event::Dropped { .. }));
                self.recorded += u32::from(matches!(event, Event::Recorded { .. }));
            }
        }
    }

    fn check(&self) {
        let Seen { progressed, malformed, stale, told, dropped, recorded, finished, held, woken, .. } = *self;
        let Seen { stopped, ended_in_a_turn, timed_out, attached, moved, forked, sent, passed_limit, .. } = *self;
        let Seen { forgotten, needed, .. } = *self;
        let counts = [progressed, malformed, stale, told, dropped, recorded, finished, held, woken];
        let more =
            [stopped, ended_in_a_turn, timed_out, attached, moved, forked, sent, passed_limit, forgotten, needed];
        assert!(counts.iter().chain(&more).all(|count| *count >= 10), "{self:?}");
    }
}

/// Xorshift64*: enough to choose from.
pub(super) struct Dice(u64);

impl Dice {
    /// No state of the generator may be zero, and near seeds shouldn't begin alike.
    pub(super) fn new(seed: u64) -> Dice {
        Dice((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

struct Run {
    dice: Dice,
    state: Memory,
    now: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        Run { dice: Dice::new(seed), state: Memory::default(), now: 1000 }
    }

    fn run(&mut self, seen: &mut Seen) {
        let (mut log, mut turns) = (Vec::new(), Vec::new());
        for n in 0..RECORDS {
            self.now = self.now.saturating_add(self.dice.pick(&[0, 0, 0, 0, 1, 1, 7, 30, 200]));
            if n + 10 > RECORDS && self.dice.one_in(20) {
                self.now = self.now.max(self.dice.pick(&[0, u64::MAX - 1, u64::MAX]));
            }
            let op = if n == 0 { Op::Install { component: component("shop", 1, &["buy"]) } } else { self.op() };
            let record = Record { now: self.now, op };
            let before = self.state.clone();
            let Applied { reply, effects, changed } = apply(&mut self.state, record.clone());
            seen.see(&record, &reply, &effects);
            if let Op::Progress(Progress { id, rest: Rest::Waiting, .. }) = &record.op {
                let outcome = self.state.promises.get(id).and_then(|promise| promise.outcome.as_ref());
                seen.passed_limit += u32::from(reply.is_ok() && matches!(outcome, Some(Outcome::Crashed(_))));
            }
            let checked = catch_unwind(AssertUnwindSafe(|| {
                invariants::check(&self.state, self.now);
                invariants::check_effects(&before, &self.state, &record, &effects);
                invariants::check_step(&before, &self.state, self.now, &record, &reply, changed);
            }));
            if let Err(panic) = checked {
                eprintln!("record {n}: {record:?}\n  gave {reply:?}, {effects:?}\n  changed {changed}");
                resume_unwind(panic);
            }
            if let (Op::Progress(progress), Ok(_)) = (&record.op, &reply) {
                turns.push(progress.clone());
            }
            // What another one with the same id will do is not what this one did.
            turns.retain(|turn: &Progress| self.state.promises.contains_key(&turn.id));
            if changed {
                log.push(record);
            }
        }
        self.replay(&turns);
        let mut again = Memory::default();
        for record in log {
            assert!(apply(&mut again, record).changed, "what changed something does so again");
        }
        assert_eq!(again, self.state, "the same records lead to the same state");
    }

    /// Each execution that goes on has a journal of all that it was told and did, which a replay finds again.
    fn replay(&self, turns: &[Progress]) {
        for promise in self.state.promises.values().filter(|p| p.outcome.is_none() && p.execution.is_some()) {
            let journal = self.state.journals[&promise.id].clone();
            // What a fork took over, others did.
            if journal.iter().any(|entry| matches!(entry, Entry::Forked { .. })) {
                continue;
            }
            let mut replay = Replay::new(journal);
            for turn in turns.iter().filter(|turn| turn.id == promise.id) {
                if let Some((told, at)) = turn.told {
                    let is_told = |tell| matches!(tell, Replayed::Tell { step, now, .. } if (step, now) == (told, at));
                    assert!(replay.rest().is_ok_and(is_told), "{} is not told of step {told}", promise.id);
                }
                turn.events.iter().for_each(|event| assert_eq!(replay.observe(event), Ok(true), "{}", promise.id));
            }
            assert!(replay.is_over(), "{} has more in its journal than it did", promise.id);
        }
    }

    fn op(&mut self) -> Op {
        match self.dice.below(20) {
            0 => {
                let (id, function) = (self.root(), self.function());
                let arguments = text(self.dice.pick(&["[]", "[]", "[]", "[1]"]));
                Op::Invoke { id, function, arguments, timeout_at: self.deadline(), seed: 7 }
            }
            1 => Op::CreatePromise { id: self.root(), param: text("param"), timeout_at: self.deadline() },
            2 if self.dice.one_in(2) => Op::Settle { id: self.any(), outcome: self.outcome() },
            2 => {
                Op::Settle { id: self.known(|p| p.outcome.is_none() && p.execution.is_none()), outcome: self.outcome() }
            }
            3 => Op::Expire { ids: (0..self.dice.below(4)).map(|_| self.any()).collect() },
            4 | 5 => Op::Expire { ids: self.state.due(self.now) },
            6 | 7 => {
                let often = self.dice.one_in(4);
                let idle = |task: &Task| task.state == TaskState::Runnable && (often || task.version == 0);
                Op::Acquire { id: self.execution(idle) }
            }
            9 if self.dice.one_in(4) => {
                let id = self.execution(|task| task.state != TaskState::Fulfilled);
                Op::Hold { version: self.version(&id), id, reason: "why".into() }
            }
            9 if self.dice.one_in(3) => {
                let id = self.execution(|task| task.state != TaskState::Fulfilled);
                let entries = self.state.journals.get(&id).map_or(0, |entries| entries.len() as u32);
                let entries = if self.dice.one_in(8) { entries + 1 } else { entries };
                Op::Move { id, component: self.component(), entries, replayed: 1 }
            }
            9 if self.dice.one_in(3) => {
                let from = self.execution(|_| true);
                let journal = self.state.journals.get(&from).cloned().unwrap_or_default();
                let entries = journal[..self.dice.below(journal.len() + 1)].to_vec();
                let component = self.component();
                Op::Fork { id: self.root(), from, entries, component, replayed: 1, timeout_at: self.deadline() }
            }
            10 if self.dice.one_in(3) => {
                let functions: Vec<&str> = ["buy", "pay", "sell"].into_iter().filter(|_| self.dice.one_in(2)).collect();
                let name = self.dice.pick(&["shop", "market"]);
                let functions = if functions.is_empty() { vec!["rent"] } else { functions };
                // What a component exports follows from its bytes.
                let digest = Digest::of(format!("{name} {functions:?}").as_bytes());
                Op::Install { component: Component { digest, ..component(name, 0, &functions) } }
            }
            11 if self.dice.one_in(3) => {
                let scope = self.dice.pick(&[Scope::Host, Scope::Component("shop".into()), of_buy()]);
                let (limits, value) =
                    ([Limit::JournalEntries, Limit::JournalBytes, Limit::Children], self.dice.below(60));
                let config = match self.dice.below(4) {
                    0 => limit(self.dice.pick(&limits), value as u64),
                    1 => Config::default(),
                    _ => allow(&["a.example"]),
                };
                Op::Configure { scope, config }
            }
            11 => Op::Forget { trees: (0..1 + self.dice.below(2)).map(|_| self.old()).collect() },
            _ => Op::Progress(self.progress()),
        }
    }

    fn component(&mut self) -> Digest {
        let known: Vec<Digest> = self.state.components.keys().copied().collect();
        if self.dice.one_in(20) { Digest([0; 32]) } else { self.dice.pick(&known) }
    }

    /// All of a tree, or some of it, in the order in which it goes or in another one.
    fn old(&mut self) -> Old {
        let root = if self.dice.one_in(10) { self.any() } else { self.known(|p| p.is_over() && p.id.is_root()) };
        let of_tree = |id: &&Id| id.origin() == root.origin();
        let mut ids: Vec<Id> = self.state.promises.keys().filter(of_tree).rev().cloned().collect();
        if self.dice.one_in(4) {
            ids.reverse();
        }
        ids.truncate(self.dice.pick(&[1, 2, 100, 100]));
        Old { root, ids, retention_ms: self.dice.pick(&[0, 0, 1, 300]) }
    }

    /// A turn, most often one that a session could have.
    fn progress(&mut self) -> Progress {
        let going = |task: &Task| task.version > 0 && matches!(task.state, TaskState::Runnable | TaskState::Suspended);
        let id = self.execution(going);
        let version = self.version(&id);
        let execution = self.state.promises.get(&id).and_then(|p| p.execution.as_deref()).cloned();
        let (mut steps, ready, open) = match &execution {
            Some(e) => (e.steps, e.ready.iter().map(|r| r.step).collect(), e.open.keys().copied().collect()),
            None => (0, Vec::new(), Vec::new()),
        };
        let mut waits: Vec<u32> = [ready.clone(), open].concat();
        let mut told = None;
        if !ready.is_empty() && !self.dice.one_in(4) {
            let step = if self.dice.one_in(4) { self.dice.pick(&ready) } else { ready[0] };
            told = Some((step, self.now));
            waits.retain(|waiting| *waiting != step);
        }
        let mut events = Vec::new();
        for _ in 0..self.dice.below(4) {
            if !self.dice.one_in(4) {
                steps += 1;
                waits.push(steps);
                events.push(Event::Asked { step: steps, ask: self.ask(&id) });
            } else if !waits.is_empty() {
                let index = self.dice.below(waits.len());
                let step = waits.swap_remove(index);
                let is_work =
                    |event: &Event| matches!(event, Event::Asked { step: s, ask: Ask::Step { .. } } if *s == step);
                let child = id.child(step).ok().and_then(|child| self.state.promises.get(&child));
                let was_work = child.is_some_and(|p| matches!(p.kind, PromiseKind::Step { .. }));
                events.push(match was_work || events.iter().any(is_work) {
                    true => Event::Recorded { step, outcome: self.outcome() },
                    false => Event::Dropped { step },
                });
            }
        }
        let line = || Output { at_ms: 0, stream: Stream::Stderr, text: "line".into() };
        let output = (0..self.dice.below(3)).map(|_| line()).collect();
        let rest = match self.dice.below(20) {
            0 => Rest::Finished(Outcome::Crashed("why".into())),
            1 => Rest::Finished(Outcome::Resolved(text("1"))),
            2 | 3 => Rest::Running,
            _ => Rest::Waiting,
        };
        let mut progress = Progress { id, version, told, events, output, rest };
        if self.dice.one_in(12) {
            self.spoil(&mut progress);
        }
        progress
    }

    /// What a session with a fault might do.
    fn spoil(&mut self, progress: &mut Progress) {
        let step = self.dice.pick(&[0, 1, 2, 3, 5, 8, u32::MAX]);
        let event = match self.dice.below(5) {
            0 => return progress.told = Some((step, 0)),
            1 => return progress.rest = Rest::Finished(Outcome::TimedOut),
            2 => Event::Dropped { step },
            3 => Event::Recorded { step, outcome: self.dice.pick(&[Outcome::TimedOut, resolved("1")]) },
            _ => Event::Asked { step, ask: self.ask(&progress.id) },
        };
        let index = self.dice.below(progress.events.len() + 1);
        progress.events.insert(index, event);
    }

    fn ask(&mut self, id: &Id) -> Ask {
        match self.dice.below(10) {
            0..=2 => {
                let id = if self.dice.one_in(3) { Some(self.text(id)) } else { None };
                let target = self.dice.pick(&[None, None, None, Some("poll://any@wasm".to_owned()), Some("x".into())]);
                let options = CallOptions { id, timeout_ms: self.timeout(), target };
                let arguments = text("[]");
                Ask::Call { function: self.function(), arguments, options, detached: self.dice.one_in(4) }
            }
            3 => Ask::Sleep { until_ms: self.deadline() },
            4 => Ask::CreatePromise { timeout_ms: self.timeout() },
            5 | 6 => Ask::AwaitPromise { id: self.text(id) },
            7 => Ask::SettlePromise { id: self.text(id), outcome: self.outcome() },
            8 => request("http://a.example/"),
            _ => Ask::Step { name: "work".into() },
        }
    }

    fn function(&mut self) -> String {
        self.dice.pick(&["buy", "buy", "buy", "pay", "sell", "nothing"]).into()
    }

    /// As a guest might give it.
    fn text(&mut self, asking: &Id) -> String {
        match self.dice.below(20) {
            0 => self.dice.pick(&["", "a b", "a:0", "a:1:1"]).into(),
            1..=3 => self
                .state
                .promises
                .get(asking)
                .and_then(|p| p.owner.as_ref())
                .map_or(asking, |o| &o.execution)
                .to_string(),
            4..=6 => self.root_only().to_string(),
            _ => self.any().to_string(),
        }
    }

    fn root(&mut self) -> Id {
        if self.dice.one_in(20) { self.any() } else { self.root_only() }
    }

    /// Of something that is there, or not.
    fn any(&mut self) -> Id {
        match self.dice.below(8) {
            0 => id("nobody"),
            1 => self.root_only(),
            _ => self.known(|_| true),
        }
    }

    fn root_only(&mut self) -> Id {
        id(self.dice.pick(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]))
    }

    /// Of an execution in this state, most often.
    fn execution(&mut self, which: impl Fn(&Task) -> bool) -> Id {
        match self.dice.below(30) {
            0 => self.any(),
            1 => self.known(|promise| promise.execution.is_some()),
            _ => self.known(|promise| promise.execution.as_ref().is_some_and(|e| which(&e.task))),
        }
    }

    fn known(&mut self, which: impl Fn(&Promise) -> bool) -> Id {
        let known: Vec<Id> = self.state.promises.values().filter(|p| which(p)).map(|p| p.id.clone()).collect();
        if known.is_empty() { self.root_only() } else { self.dice.pick(&known) }
    }

    fn version(&mut self, id: &Id) -> u32 {
        let execution = self.state.promises.get(id).and_then(|promise| promise.execution.as_deref());
        let version = execution.map_or(0, |execution| execution.task.version);
        if self.dice.one_in(20) { self.dice.pick(&[0, version.saturating_sub(1), version + 1]) } else { version }
    }

    fn deadline(&mut self) -> u64 {
        let after = self.dice.pick(&[0, 1, 20, 300, 2000, 2000, 5000, 5000]);
        let at = self.now.saturating_add(after);
        self.dice.pick(&[at, at, at, 0, u64::MAX])
    }

    fn timeout(&mut self) -> Option<u64> {
        self.dice.pick(&[None, None, Some(0), Some(1), Some(40), Some(400), Some(u64::MAX)])
    }

    fn outcome(&mut self) -> Outcome {
        let rejected = Outcome::Rejected(text("no"));
        if self.dice.one_in(40) {
            return self.dice.pick(&[Outcome::TimedOut, Outcome::Crashed("why".into())]);
        }
        self.dice.pick(&[resolved("1"), resolved("2"), rejected, Outcome::Canceled])
    }
}
