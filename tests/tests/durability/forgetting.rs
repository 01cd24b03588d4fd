//! Killed while it forgets: what is kept stays as it is, what is to go goes, and the room of it is given back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tests::{Client, Random, Setup, edition, until};

use crate::driver::{Driver, Finishing, pause};
use crate::kills::{LATEST, compare_all};
use crate::workloads::references;

/// How often it is killed at random, unless `FORGET_COUNT` says otherwise.
const KILLS: u64 = 25;
/// A copy of the store is about to take its place, or has; a component is no more, and its files are there.
const POINTS: [&str; 3] = ["before-replace", "after-replace", "uninstalled"];
/// Of them, in turn.
const AT_POINTS: usize = 6;
/// What is called to be forgotten: a tree of so many calls, and one with an argument of so many bytes.
const TREE: (&str, u64) = ("children_at_once", 500);
const LARGE: (&str, usize) = ("swallow", 200_000);
/// How many large ones make the store's file large enough to be compacted when they are gone.
const MANY_LARGE: u64 = 120;
/// How many trees and large ones there are at a time: as many more are made as are gone, however fast that is.
const TREES_AT_ONCE: u64 = 10;
const LARGE_AT_ONCE: u64 = 10;

/// Trees that end soon, and components that take each other's place, while there is a host.
struct Litter {
    client: Client,
    trees: AtomicU64,
    large: AtomicU64,
}

impl Litter {
    fn make_trees(&self, driver: &Driver) {
        while !driver.is_over() {
            let number = self.trees.fetch_add(1, Ordering::Relaxed);
            let path = format!("/v1/functions/{}/invoke?id=garbage-{number}&wait_ms=5000", TREE.0);
            // It is of no interest whether it was taken on.
            let _ = self.client.try_post(&path, json!([TREE.1, 0]).to_string().as_bytes());
            let before = number.checked_sub(TREES_AT_ONCE);
            while !driver.is_over() && before.is_some_and(|before| !self.is_gone(&format!("garbage-{before}"))) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn is_gone(&self, id: &str) -> bool {
        self.client.try_get(&format!("/v1/promises/{id}")).is_ok_and(|answer| answer.status == 404)
    }

    /// Fill the store's file.
    fn make_large(&self, count: u64) {
        let body = json!(["a".repeat(LARGE.1)]).to_string();
        for _ in 0..count {
            let id = format!("large-{}", self.large.fetch_add(1, Ordering::Relaxed));
            let _ = self.client.try_post(&format!("/v1/functions/{}/invoke?id={id}", LARGE.0), body.as_bytes());
        }
    }

    /// Another one, if there are not too many.
    fn make_another_large(&self) {
        let before = self.large.load(Ordering::Relaxed).saturating_sub(LARGE_AT_ONCE);
        if self.is_gone(&format!("large-{before}")) {
            self.make_large(1);
        }
    }

    fn make_components(&self, driver: &Driver, mut random: Random) {
        for name in ["one", "two", "fix"].iter().cycle() {
            if driver.is_over() {
                return;
            }
            let _ = self.client.try_post("/v1/components", &edition(name));
            pause(&mut random, 1_000);
        }
    }
}

#[test]
fn killed_while_it_forgets() {
    let references = references();
    let random = Random::from_env("KILL_SEED");
    let kills = tests::number("FORGET_COUNT").unwrap_or(KILLS);
    let retention = format!("{}=100ms,{}=100ms", TREE.0, LARGE.0);
    let mut host = Setup::new().flag("--retention-of", retention).flag("--sessions", 12).start();
    let driver = Driver::new(&host);
    let litter = Litter { client: host.impatient(), trees: AtomicU64::new(0), large: AtomicU64::new(0) };
    std::thread::scope(|scope| {
        let finishing = Finishing(&driver);
        let (driver, litter) = (&driver, &litter);
        for n in 0..2 {
            let random = random.fork(n);
            scope.spawn(move || driver.keep_busy(&n.to_string(), random));
        }
        scope.spawn(move || litter.make_trees(driver));
        let others = random.fork(2);
        scope.spawn(move || litter.make_components(driver, others));
        let mut random = random.fork(3);
        for _ in 0..kills {
            host.ready();
            driver.check(LATEST);
            pause(&mut random, 500);
            host.kill();
            host.spawn();
        }
        host.ready();
        for point in POINTS.iter().cycle().take(AT_POINTS) {
            litter.make_large(MANY_LARGE);
            host.kill();
            host.set_env(&[("HOST_KILL_AT", &format!("{point}:1"))]);
            host.spawn();
            let status = until(&format!("the host has come to {point}"), || {
                litter.make_another_large();
                host.exited()
            });
            assert!(!status.success(), "{point}: {status}");
            host.set_env(&[]);
            host.restart();
            driver.check(LATEST);
        }
        drop(finishing);
    });
    let told = driver.check(usize::MAX);
    let compared = compare_all(&driver, &host, &references);
    let trees = litter.trees.into_inner();
    for id in (0..trees).map(|n| format!("garbage-{n}")) {
        // The last ones are still at work.
        until(&format!("{id} is gone"), || (host.get(&format!("/v1/promises/{id}")).status == 404).then_some(()));
        host.get(&format!("/v1/promises/{id}:1")).refusal(404, "no_promise");
    }
    let current = host.items("/v1/components").len();
    until("there are the files of components that are current, and no others", || {
        let files = std::fs::read_dir(host.data().join("components")).expect("it is there").flatten();
        let files = files.filter(|file| file.path().extension().is_some_and(|kind| kind == "wasm"));
        (files.count() == current).then_some(())
    });
    assert!(!host.data().join("store.redb.new").exists(), "what was not finished is gone");
    println!(
        "{kills} kills at random and {AT_POINTS} at points: {compared} executions are as without kills, all {told} things \
         that clients were told are so, and {trees} trees are gone"
    );
    assert!(compared > 10 && trees > 20, "{compared} executions ended, and {trees} trees were made");
}
