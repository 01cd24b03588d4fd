//! Stopped as a system does it, with work under way: nothing is lost, and the host says that all is well.

use std::time::Duration;

use serde_json::json;
use tests::{Client, Random, Setup, until};

use crate::driver::{Driver, Finishing, pause};
use crate::kills::{LATEST, compare_all};
use crate::workloads::references;

#[test]
fn stopped_with_work_under_way() {
    let references = references();
    let random = Random::from_env("KILL_SEED");
    let mut host = Setup::new().flag("--sessions", 12).start();
    let driver = Driver::new(&host);
    std::thread::scope(|scope| {
        let _finishing = Finishing(&driver);
        for n in 0..3 {
            let (driver, random) = (&driver, random.fork(n));
            scope.spawn(move || driver.keep_busy(&n.to_string(), random));
        }
        let mut random = random.fork(3);
        for _ in 0..10 {
            pause(&mut random, 400);
            let status = host.stop();
            assert_eq!(status.code(), Some(0), "{status}");
            host.restart();
            driver.check(LATEST);
        }
    });
    driver.check(usize::MAX);
    assert!(compare_all(&driver, &host, &references) > 10);
}

#[test]
fn whoever_waits_is_told_that_the_host_stops() {
    let mut host = Setup::new().start();
    host.start("asleep", "sleeper", json!([2_000]));
    let client = Client::new(host.url());
    let waiter = std::thread::spawn(move || client.try_get("/v1/executions/asleep?wait_ms=60000"));
    let client = Client::new(host.url());
    let caller = std::thread::spawn(move || client.try_post("/v1/functions/sleeper/invoke?id=called", b"[2000]"));
    until("both wait", || host.try_get("/v1/executions/called").is_ok_and(|a| a.status == 200).then_some(()));
    let begun = std::time::Instant::now();
    let status = host.stop();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(9), "it doesn't wait for what sleeps: {:?}", begun.elapsed());
    let waited = waiter.join().expect("it doesn't panic").expect("the connection is not cut");
    assert_eq!(waited.expect(200)["state"], "pending");
    let called = caller.join().expect("it doesn't panic").expect("the connection is not cut");
    called.refusal(503, "stopping");
    host.restart();
    assert_eq!(host.wait("asleep")["value"], 2_000);
    assert_eq!(host.wait("called")["value"], 2_000, "it was recorded, so it goes on");
}
