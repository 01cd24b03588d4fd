//! Determinism: random programs run once, with whatever was asked answered in random order and at random times; then they
//! run again from their journals alone. A program's own trace of what it saw is the same, byte for byte.
//!
//! `PROGRAMS=100000 cargo test --release --test programs -- --nocapture` tries so many. `SEED=7` begins elsewhere.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use host_runtime::{Answer, Limits, Program, Runtime, Start, Status, Wanted};
use machine::{Ask, Completion, Entry, Event, Id, Names, Outcome, Payload, Replay, Replayed};
use tests::{Manner, Programs};

const DEFAULT_PROGRAMS: u64 = 2_000;

#[test]
fn random_programs_replay_byte_for_byte() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (programs, first) = (number("PROGRAMS").unwrap_or(DEFAULT_PROGRAMS), number("SEED").unwrap_or(1));
    let limits = Limits { sessions: 16, ..Limits::default() };
    let runtime = Runtime::new(limits).expect("there is room");
    let program = load(&runtime);
    let (next, begun) = (AtomicU64::new(first), Instant::now());
    let totals = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let work = || {
            let mut total = Total::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + programs {
                    return total;
                }
                total.add(&try_one(&runtime, &program, seed));
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a seed above says why")).collect::<Vec<_>>()
    });
    let mut total = Total::default();
    totals.iter().for_each(|part| total.add(part));
    println!("{programs} programs from seed {first} on in {:.1?}: {total:?}", begun.elapsed());
    assert!(programs < 1_000 || total.is_varied(), "{total:?}");
}

/// What happened, so that a test in which something never happens is noticed.
#[derive(Debug, Default)]
struct Total {
    entries: u64,
    told: u64,
    dropped: u64,
    requests: u64,
    calls: u64,
    lines: u64,
    longest: u64,
}

impl Total {
    fn add(&mut self, other: &Total) {
        self.entries += other.entries;
        self.told += other.told;
        self.dropped += other.dropped;
        self.requests += other.requests;
        self.calls += other.calls;
        self.lines += other.lines;
        self.longest = self.longest.max(other.longest);
    }

    fn is_varied(&self) -> bool {
        [self.told, self.dropped, self.requests, self.calls, self.lines].iter().all(|count| *count > 500)
    }
}

fn load(runtime: &Runtime) -> Program {
    let test = std::env::current_exe().expect("a process knows its own binary");
    let target = test.ancestors().nth(3).expect("a test runs in a target directory");
    let guests = std::env::var_os("TEST_GUESTS").map_or(target.join("wasm32-wasip2").join("guest"), PathBuf::from);
    let path = guests.join("program.wasm");
    let wasm =
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `make guests` builds it", path.display()));
    let compiled = runtime.compile(&wasm, None).expect("it is a component");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let artifact = directory.path().join("compiled");
    std::fs::write(&artifact, &compiled.artifact).expect("it can be written");
    runtime.load(&artifact).expect("it was compiled here")
}

fn try_one(runtime: &Runtime, program: &Program, seed: u64) -> Total {
    let mut dice = Programs::new(seed, Manner::Wild, "http://web.test");
    let arguments = dice.arguments();
    let start = Start {
        id: Id::root("p").expect("it is an id"),
        function: "program".into(),
        arguments: Payload::from(arguments.clone()),
        seed,
        now_ms: 1_000_000,
        outputs_written: 0,
        names: Names::default(),
        wanted: Wanted::Nothing,
        setting: runtime.setting(),
    };
    let first = record(runtime, program, start.clone(), &mut dice);
    let again = replay(runtime, program, start, first.entries.clone());
    let context = || format!("with SEED={seed} PROGRAMS=1, arguments {arguments}");
    match again {
        Ok(again) => {
            assert_eq!(first.outcome, again.outcome, "another result {}", context());
            assert_eq!(first.lines, again.lines, "another trace {}", context());
        }
        Err(what) => panic!("{what} {}", context()),
    }
    first.total()
}

/// A run to its end.
struct Run {
    entries: Vec<Entry>,
    lines: Vec<String>,
    outcome: Outcome,
}

impl Run {
    fn total(&self) -> Total {
        let count = |is: fn(&Entry) -> bool| self.entries.iter().filter(|entry| is(entry)).count() as u64;
        let asked = |name: &str| self.entries.iter().filter(|entry| entry.to_string().contains(name)).count() as u64;
        Total {
            entries: self.entries.len() as u64,
            told: count(|entry| matches!(entry, Entry::Told { .. })),
            dropped: count(|entry| matches!(entry, Entry::Dropped { .. })),
            requests: asked(": request "),
            calls: asked(": call "),
            lines: self.lines.len() as u64,
            longest: self.entries.len() as u64,
        }
    }
}

/// Run it for the first time: what is outstanding is answered in random order.
fn record(runtime: &Runtime, program: &Program, start: Start, dice: &mut Programs) -> Run {
    let mut now = start.now_ms;
    let mut session = runtime.start(program, start);
    let (mut entries, mut lines, mut waiting) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut answers = std::collections::BTreeMap::new();
    loop {
        let turn = session.poll();
        lines.extend(turn.output.into_iter().map(|piece| piece.text));
        for event in &turn.events {
            entries.push(Entry::of(event));
            match event {
                Event::Asked { step, ask } => {
                    if let Some(answer) = answer(ask, dice) {
                        waiting.insert(*step);
                        answers.insert(*step, answer);
                    }
                }
                Event::Dropped { step } => drop(waiting.remove(step)),
                Event::Recorded { .. } => {}
            }
        }
        match turn.status {
            Status::Yielded => {}
            Status::Busy => panic!("there is room for all"),
            Status::Finished(outcome) => return Run { entries, lines, outcome },
            Status::Waiting => {
                let steps: Vec<u32> = waiting.iter().copied().collect();
                let step = steps[dice.below(steps.len())];
                waiting.remove(&step);
                now += [0, 0, 1, 7, 1000][dice.below(5)];
                let completion: Completion = answers.remove(&step).expect("each that waits has one");
                entries.push(Entry::Told { step, completion: completion.clone(), now });
                session.tell(step, completion, now);
            }
        }
    }
}

/// What a step is told, whenever that is. None: nothing, ever.
fn answer(ask: &Ask, dice: &mut Programs) -> Option<Completion> {
    let resolved = |text: String| Completion::Settled(Outcome::Resolved(Payload::from(text)));
    Some(match ask {
        Ask::CreatePromise { .. } | Ask::Step { .. } | Ask::Call { detached: true, .. } => return None,
        Ask::Sleep { .. } => resolved(String::new()),
        Ask::Call { function, .. } if function == "program" => resolved(format!("[\"{}\"]", dice.below(100))),
        Ask::Call { .. } => match dice.below(6) {
            0 => Completion::Settled(Outcome::Rejected(Payload::from_static(b"\"no\""))),
            1 => Completion::Settled([Outcome::Canceled, Outcome::TimedOut][dice.below(2)].clone()),
            2 => Completion::Settled(Outcome::Crashed("panicked".into())),
            _ => resolved(dice.below(100).to_string()),
        },
        Ask::Http { .. } => match dice.below(4) {
            0 => Completion::Refused("it is not allowed".into()),
            _ => {
                let body = format!("body {}", dice.below(100)).into();
                Completion::Settled(Answer { status: 200, headers: Vec::new(), body }.outcome())
            }
        },
        Ask::AwaitPromise { .. } => resolved(dice.below(100).to_string()),
        Ask::SettlePromise { .. } => Completion::Done,
    })
}

/// Run it again, from its journal alone.
fn replay(runtime: &Runtime, program: &Program, start: Start, entries: Vec<Entry>) -> Result<Run, String> {
    let mut session = runtime.start(program, start);
    let mut replay = Replay::new(entries.clone());
    let mut lines = Vec::new();
    loop {
        let turn = session.poll();
        lines.extend(turn.output.into_iter().map(|piece| piece.text));
        for event in &turn.events {
            if !replay.observe(event).map_err(|divergence| divergence.to_string())? {
                return Err(format!("the replay went on after the journal's end, with {event:?}"));
            }
        }
        match turn.status {
            Status::Yielded => {}
            Status::Busy => panic!("there is room for all"),
            Status::Finished(outcome) => return Ok(Run { entries, lines, outcome }),
            Status::Waiting => match replay.rest().map_err(|divergence| divergence.to_string())? {
                Replayed::Tell { step, completion, now } => session.tell(step, completion, now),
                Replayed::End => return Err("the replay waits where the first run had ended".into()),
            },
        }
    }
}
