//! Whole clusters in one process, from a seed: three nodes and three partitions, whose guests call each other, sleep, wait
//! and settle, on their own node and on others, and clients and a worker of the promise protocol, while processes crash and
//! stand still, messages are lost, late, doubled and out of order, clocks are wrong, appends have unknown outcomes, nodes
//! are cut off, disks are slow and fail, and the log is rolled back under them. Held against the truth, which is what the log has accepted:
//!
//! - nobody is told, and no mail leaves, before the log has what it rests on; what is there is there for everybody who asks
//!   later, and what was settled is settled, for good and in one way;
//! - all that clients of the protocol were told of a promise can have happened in one order (`order`), and a task is taken
//!   once under each version;
//! - what the log accepts is from whoever has the partition, follows on what it had, and is something that can happen
//!   after that: so no step is recorded twice, no turn of a session that is over is, and mail is taken in once, as it was
//!   sent;
//! - no guest differs from its journal, wherever it begins again;
//! - once all is well again everybody has an answer, whoever listens was told, and everything ends, as it does where
//!   nothing goes wrong.
//!
//! Real are the machine, the partition's state (applying, holding, groups, releases, cuts, recovery), its sessions (which
//! begin, are kept, told, recorded, evicted and given up), the store and its view, the log (what appends groups of several
//! partitions at a time, and finds out what became of them), the reading and answering of requests of
//! the protocol, and what decides: which node has what, how long it may answer, whether a log is
//! whole, which guests of others a node has and which turn each takes next. Guests are simulated; with fewer seeds they are
//! those of a component, `tests/guests/script`, run and replayed by what does that in a host.
//!
//! Simulated are the database (the ledger of logs, by its contract and not its statements, and what else is in it), the disk, the loops of nodes around all that, threads,
//! the network, processes and clocks. Not simulated: HTTP itself, schedules, searches, requests of guests to other systems,
//! components other than the one, moves, forks, retention, damaged disks, and what clients can lose of when a log is rolled
//! back: runs with that look only at whether what is appended follows on the history that is there, and can be after it.
//! The deliberate mistakes of [`Mutation`] are made in what is simulated, as they would be by whoever wrote it wrong.
//!
//! `SEEDS=1000000 cargo test --release --test simulation whatever_happens_the -- --nocapture` runs that many, `REAL_SEEDS`
//! says how many are run with real guests, and `SEED=7` runs that one alone.

#![allow(missing_docs, unreachable_pub, reason = "nobody sees the items of a test but itself")]

mod appends;
mod cast;
mod checks;
mod clients;
mod counts;
mod database;
mod dice;
mod events;
mod guests;
mod mail;
mod network;
mod nodes;
mod order;
mod partitions;
mod protocol;
mod rooms;
mod stage;
mod trouble;
mod undisturbed;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cast::Cast;
use counts::Counts;
use world::{Ended, World};

/// As in a host.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// In milliseconds: of a node, by the database's clock.
const LEASE: u64 = 500;
/// What clocks that are right say at first.
const START: u64 = 1_000_000;
/// Until when there is trouble, and when everything has to have ended.
const TROUBLE: u64 = 4_000;
const UNTIL: u64 = 14_000;
/// How many seeds are run unless more are asked for, and how many it may take to catch a mutation.
const SEEDS: u64 = 2_000;
const CAUGHT_WITHIN: u64 = 3_000;
/// How many are run with real guests, which take many times as long.
const REAL_SEEDS: u64 = 200;
/// How many are looked at for whether a mutation shows in no other way.
const ALONE: u64 = 300;

/// Something that isn't done as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    AppendUnderAnyEpoch,
    AppendToAnyHash,
    RaiseNoEpoch,
    SkipTail,
    ReleaseEarly,
    TrustUnknown,
    RetryBlindly,
    AnswerAfterLease,
    MailBeforeDurable,
    ConfirmBeforeDurable,
    TakeMailTwice,
    ForgetReceived,
    TrimBeforeSnapshot,
    LookAfterLease,
    SettleBeforeDurable,
    TakeTurnOfOlderSession,
    TakeTurnTwice,
    WriteBeforeDurable,
}

impl Mutation {
    const ALL: [Mutation; 18] = [
        Mutation::AppendUnderAnyEpoch,
        Mutation::AppendToAnyHash,
        Mutation::RaiseNoEpoch,
        Mutation::SkipTail,
        Mutation::ReleaseEarly,
        Mutation::TrustUnknown,
        Mutation::RetryBlindly,
        Mutation::AnswerAfterLease,
        Mutation::MailBeforeDurable,
        Mutation::ConfirmBeforeDurable,
        Mutation::TakeMailTwice,
        Mutation::ForgetReceived,
        Mutation::TrimBeforeSnapshot,
        Mutation::LookAfterLease,
        Mutation::SettleBeforeDurable,
        Mutation::TakeTurnOfOlderSession,
        Mutation::TakeTurnTwice,
        Mutation::WriteBeforeDurable,
    ];

    /// Whether it shows only where the log is rolled back.
    fn rolls_back(self) -> bool {
        self == Mutation::AppendToAnyHash
    }

    /// Whether there is one check that sees it, and no other.
    fn shows_as_nothing_else(self) -> bool {
        matches!(self, Mutation::LookAfterLease | Mutation::SettleBeforeDurable)
    }

    /// What is seen of it, in the words of a violation.
    fn shows_as(self) -> &'static [&'static str] {
        match self {
            Mutation::AppendUnderAnyEpoch | Mutation::RaiseNoEpoch => &["recorded something, and node"],
            Mutation::AppendToAnyHash => &["was appended to another history"],
            Mutation::ReleaseEarly | Mutation::TrustUnknown => &["isn't durable"],
            Mutation::RetryBlindly => &["can't have been"],
            Mutation::AnswerAfterLease => &["is pending for who asked later"],
            Mutation::MailBeforeDurable => &["left, and isn't durable"],
            // Or it is gone from where it was sent before it is recorded where it went.
            Mutation::TakeMailTwice | Mutation::ConfirmBeforeDurable => &["isn't what came"],
            Mutation::LookAfterLease | Mutation::SettleBeforeDurable => &["no order explains"],
            Mutation::TakeTurnOfOlderSession | Mutation::TakeTurnTwice => &["is held", "differs from its journal"],
            // What is lost is waited for.
            Mutation::SkipTail
            | Mutation::ForgetReceived
            | Mutation::TrimBeforeSnapshot
            | Mutation::WriteBeforeDurable => &["has no answer", "didn't end"],
        }
    }
}

fn run(seed: u64, mutation: Option<Mutation>) -> Ended {
    World::new(seed, mutation, &Cast::Scripted).run()
}

fn rolls_back(seed: u64) -> bool {
    World::new(seed, None, &Cast::Scripted).rolls_back
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// The one that is asked for, or so many, or as many as are run unless more are asked for.
fn seeds(asked: &str, unless: u64) -> Range<u64> {
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("FIRST_SEED").unwrap_or(0);
            first..first + number(asked).unwrap_or(unless)
        }
    }
}

/// Run them all, on all cores, and say what went wrong.
fn run_all(seeds: &Range<u64>, cast: &Cast) -> Counts {
    let (next, begun) = (AtomicU64::new(seeds.start), Instant::now());
    let (failed, total) = (Mutex::new(BTreeMap::new()), Mutex::new(Counts::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().len() > 3 {
                        return;
                    }
                    let Ended { violation, counts, .. } = World::new(seed, None, cast).run();
                    total.lock().unwrap().add(&counts);
                    if let Some(what) = violation {
                        eprintln!("SEED={seed}: {what}");
                        failed.lock().unwrap().insert(seed, what);
                    }
                }
            });
        }
    });
    let (failed, total) = (failed.into_inner().unwrap(), total.into_inner().unwrap());
    // After a few failures no more are tried.
    let tried = next.into_inner().min(seeds.end) - seeds.start;
    println!("{tried} seeds in {:?}: {total:?}", begun.elapsed());
    assert!(failed.is_empty(), "{failed:#?}");
    total
}

/// The promises hold, whatever happens.
#[test]
fn whatever_happens_the_promises_hold() {
    let seeds = seeds("SEEDS", SEEDS);
    let total = run_all(&seeds, &Cast::Scripted);
    if seeds.end - seeds.start >= SEEDS {
        assert!(total.all().iter().all(|count| *count >= 20), "something hardly ever happens: {total:?}");
    }
}

/// The same with guests of a real component, run, replayed and sent elsewhere by what does that in a host.
#[test]
fn whatever_happens_real_guests_end_as_they_would() {
    let path = tests::guest_path("script");
    if !path.is_file() && std::env::var_os("DURABLE_TEST_COMPONENTS").is_none() {
        eprintln!("SKIPPED: no real guests are simulated, as there is no {}: `make guests` builds it", path.display());
        return;
    }
    let cast = Cast::real(&tests::guest("script"));
    let total = run_all(&seeds("REAL_SEEDS", REAL_SEEDS), &cast);
    assert!(total.turns_elsewhere > 0, "no guest was elsewhere: {total:?}");
    let older = Some(Mutation::TakeTurnOfOlderSession);
    let caught = (0..CAUGHT_WITHIN).find_map(|seed| World::new(seed, older, &cast).run().violation);
    println!("{older:?}: {caught:.100?}");
    assert!(caught.is_some(), "a turn of an older session isn't noticed");
    for seed in 0..3 {
        let run = || World::new(seed, None, &cast).run();
        let (one, other) = (run(), run());
        assert_eq!((one.trace, one.counts.events), (other.trace, other.counts.events), "seed {seed}");
    }
}

#[test]
fn a_seed_reproduces_exactly() {
    for seed in 0..100 {
        let (one, other) = (run(seed, None), run(seed, None));
        assert_eq!((one.trace, one.counts.events), (other.trace, other.counts.events), "seed {seed}");
        assert_ne!(one.trace, run(seed + 1, None).trace);
    }
}

/// Each is caught by what it is for, in a run that passes without it.
#[test]
fn what_is_done_wrong_is_caught() {
    std::thread::scope(|scope| {
        for mutation in Mutation::ALL {
            scope.spawn(move || {
                let (mut tried, mut other) = (0, 0);
                let caught =
                    (0..CAUGHT_WITHIN).filter(|seed| rolls_back(*seed) == mutation.rolls_back()).find_map(|seed| {
                        tried += 1;
                        let what = run(seed, Some(mutation)).violation?;
                        let is_it = mutation.shows_as().iter().any(|part| what.contains(part));
                        other += u64::from(!is_it);
                        is_it.then_some((seed, what))
                    });
                let Some((seed, what)) = caught else {
                    panic!("{mutation:?} is not caught within {CAUGHT_WITHIN} seeds")
                };
                if mutation.shows_as_nothing_else() {
                    other += (0..ALONE)
                        .filter_map(|seed| run(seed, Some(mutation)).violation)
                        .filter(|what| !mutation.shows_as().iter().any(|part| what.contains(part)))
                        .count() as u64;
                    assert_eq!(other, 0, "{mutation:?} shows in other ways");
                }
                println!("{mutation:?}: seed {seed}, the {tried}. tried, {other} seen otherwise: {what:.100}");
                assert_eq!(run(seed, None).violation, None, "{mutation:?} is not what seed {seed} shows");
            });
        }
    });
}
