//! `kill -9` at random moments.

use std::time::{Duration, Instant};

use tests::{Random, Setup};

use crate::driver::{Driver, Finishing, pause};
use crate::workloads::{References, compare, references};

/// How often, unless `KILL_COUNT` says otherwise.
const KILLS: u64 = 220;
/// Clients that keep the host busy.
const CLIENTS: u64 = 3;
/// What is checked after each kill: what was told last is what could get lost. In the end everything is.
pub(crate) const LATEST: usize = 60;

/// All executions of a driver as they are without kills, seen by two at a time.
pub(crate) fn compare_all(driver: &Driver, client: &tests::Client, references: &References) -> usize {
    let ended = driver.ended();
    std::thread::scope(|scope| {
        for part in ended.chunks(ended.len().div_ceil(2).max(1)) {
            scope.spawn(move || part.iter().for_each(|(workload, id)| compare(client, references, workload, id)));
        }
    });
    ended.len()
}

fn time(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

#[test]
fn killed_at_random() {
    let references = references();
    let random = Random::from_env("KILL_SEED");
    let kills = tests::number("KILL_COUNT").unwrap_or(KILLS);
    // Few sessions, so that evictions and replays are among what is interrupted.
    let mut host = Setup::new().flag("--sessions", 12).start();
    let driver = Driver::new(&host);
    let begun = Instant::now();
    let (mut early, mut waited) = (0, Duration::ZERO);
    std::thread::scope(|scope| {
        let finishing = Finishing(&driver);
        for n in 0..CLIENTS {
            let (driver, random) = (&driver, random.fork(n));
            scope.spawn(move || driver.keep_busy(&n.to_string(), random));
        }
        let mut random = random.fork(CLIENTS);
        for _ in 0..kills {
            // Most often while it works, sometimes as early as it can be.
            if random.below(4) == 0 {
                pause(&mut random, 60);
                early += 1;
            } else {
                waited += time(|| host.ready());
                driver.check(LATEST);
                pause(&mut random, 350);
            }
            host.kill();
            host.spawn();
        }
        host.ready();
        drop(finishing);
    });
    let told = driver.check(usize::MAX);
    let compared = compare_all(&driver, &host, &references);
    let seconds = begun.elapsed().as_secs_f32();
    let start_ms = waited.as_millis() / u128::from(kills - early).max(1);
    println!(
        "{kills} kills in {seconds:.0} s ({early} of them at once; a start took {start_ms} ms): {compared} executions \
         are as without kills, and all {told} things that clients were told are so"
    );
    assert!(compared as u64 > kills / 2, "only {compared} executions ended between {kills} kills");
}
