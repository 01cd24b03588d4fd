//! Killed at chosen points of the host's own work. With `HOST_KILL_AT=point:n` a host aborts when it comes to that
//! point for the n-th time.

use tests::{Random, Setup};

use crate::driver::{Driver, Finishing};
use crate::kills::{LATEST, compare_all};
use crate::workloads::references;

/// A record was applied in memory; a group is about to be committed, or was; what waited for it was told;
/// the store is about to be written, or was; a guest has come to rest and nobody knows what it did.
const POINTS: [&str; 7] =
    ["applied", "before-commit", "after-commit", "after-release", "before-write", "after-write", "mid-turn"];
const TIMES: [u64; 6] = [1, 2, 3, 7, 20, 55];
/// The store is written twice a second.
const SELDOM: usize = 3;

#[test]
fn killed_at_every_point() {
    let references = references();
    let random = Random::from_env("KILL_SEED");
    let mut host = Setup::new().flag("--sessions", 6).prepare();
    let driver = Driver::new(&host);
    let mut kills = 0;
    std::thread::scope(|scope| {
        let _finishing = Finishing(&driver);
        for n in 0..3 {
            let (driver, random) = (&driver, random.fork(n));
            scope.spawn(move || driver.keep_busy(&n.to_string(), random));
        }
        for point in POINTS {
            let times = if point.ends_with("-write") { SELDOM } else { TIMES.len() };
            for time in &TIMES[..times] {
                let at = format!("{point}:{time}");
                host.set_env(&[("HOST_KILL_AT", &at)]);
                host.spawn();
                let status = host.exit_within(&format!("the host has come to {at}"));
                assert!(!status.success(), "{at}: {status}");
                host.set_env(&[]);
                host.restart();
                driver.check(LATEST);
                // The next one begins with the next kill, and not with what this start has to catch up with.
                host.kill();
                kills += 1;
            }
        }
        host.restart();
    });
    let told = driver.check(usize::MAX);
    let compared = compare_all(&driver, &host, &references);
    println!("{kills} kills at {} points: {compared} executions, {told} things told", POINTS.len());
    assert!(compared > 10, "only {compared} executions ended");
}
