//! Messages: who is told, and that nothing is lost.

use std::collections::BTreeSet;

use serde_json::json;
use tests::{Setup, until};

use super::{Worker, ask, fulfill, grant, promise, settlement, take};

#[test]
fn a_task_is_offered_to_its_group_and_its_listeners_hear_the_result() {
    let host = Setup::new().start();
    let mut worker = Worker::connect(&host, "w", "1");
    let mut client = Worker::connect(&host, "c", "me");
    grant(&host, "promise.create", promise("t", json!({ "resonate:target": "poll://any@w" })));
    grant(&host, "promise.register_listener", json!({ "awaited": "t", "address": "poll://uni@c/me" }));
    let task = worker.offered();
    assert_eq!(task, ("t".into(), 0));
    let taken = take(&host, &task);
    assert_eq!(taken["task"]["version"], 1);
    fulfill(&host, "t", 1, &json!(5));
    let told = client.next();
    assert_eq!(told["kind"], "unblock");
    assert_eq!(told["data"]["promise"]["value"]["data"], "NQ==");
    assert_eq!(told["data"]["promise"]["state"], "resolved");
    assert!(client.hears_nothing(), "who has been told isn't told again");
}

#[test]
fn what_nobody_was_there_to_hear_is_told_when_somebody_comes() {
    let mut host = Setup::new().flag("--task-retry", "100ms").start();
    grant(&host, "promise.create", promise("t", json!({ "resonate:target": "poll://any@w/1" })));
    grant(&host, "promise.create", promise("p", json!({ "resonate:external": "true" })));
    grant(&host, "promise.register_listener", json!({ "awaited": "p", "address": "poll://uni@c/me" }));
    grant(&host, "promise.settle", settlement("p", &json!(1)));
    // Nor is it lost with the process.
    host.kill();
    host.restart();
    assert_eq!(Worker::connect(&host, "w", "2").offered(), ("t".into(), 0));
    let told = Worker::connect(&host, "c", "me").next();
    assert_eq!(told["data"]["promise"]["id"], "p");
}

#[test]
fn nothing_is_removed_of_which_somebody_has_yet_to_be_told() {
    let host = Setup::new().start();
    host.start("own", "wait_for_own", json!([null]));
    until("it waits", || (host.get("/v1/promises/own:1").status == 200).then_some(()));
    grant(&host, "promise.register_listener", json!({ "awaited": "own:1", "address": "poll://uni@c/nobody" }));
    host.settle("own:1", "resolve", &json!(1)).expect(200);
    host.wait("own");
    let refusal = host.delete("/v1/executions/own").refusal(409, "still_needed");
    assert!(refusal.contains("told"), "{refusal}");
    assert_eq!(Worker::connect(&host, "c", "nobody").next()["data"]["promise"]["id"], "own:1");
    until("it can go", || (host.delete("/v1/executions/own").status == 200).then_some(()));
}

#[test]
fn a_task_of_a_worker_that_vanished_is_offered_to_another_one() {
    let host = Setup::new().start();
    let mut worker = Worker::connect(&host, "w", "1");
    grant(&host, "promise.create", promise("t", json!({ "resonate:target": "poll://any@w/1" })));
    let (id, version) = worker.offered();
    grant(&host, "task.acquire", json!({ "id": id, "version": version, "pid": "1", "ttl": 200 }));
    drop(worker);
    let mut other = Worker::connect(&host, "w", "2");
    assert_eq!(other.offered(), ("t".into(), 1));
    take(&host, &("t".into(), 1));
    let late =
        json!({ "id": "t", "version": 1, "action": { "kind": "promise.settle", "data": settlement("t", &json!(1)) } });
    assert_eq!(ask(&host, "task.fulfill", late).0, 409);
    fulfill(&host, "t", 2, &json!(2));
}

#[test]
fn a_group_shares_its_work() {
    let host = Setup::new().start();
    let mut workers = [Worker::connect(&host, "w", "1"), Worker::connect(&host, "w", "2")];
    for n in 0..6 {
        grant(&host, "promise.create", promise(&format!("t{n}"), json!({ "resonate:target": "poll://any@w" })));
    }
    let offered: BTreeSet<String> =
        workers.iter_mut().flat_map(|worker| (0..3).map(|_| worker.offered().0).collect::<Vec<_>>()).collect();
    assert_eq!(offered.len(), 6);
}

#[test]
fn who_does_not_read_keeps_nobody_waiting() {
    let host = Setup::new().flag("--task-retry", "200ms").start();
    // It never reads, and has the first turn of each.
    let _deaf = Worker::connect(&host, "w", "deaf").narrow();
    let long = "x".repeat(60_000);
    grant(&host, "promise.create", promise("p", json!({ "resonate:external": "true", "long": long })));
    for n in 0..400 {
        let id = format!("p{n}");
        grant(&host, "promise.create", promise(&id, json!({ "resonate:external": "true", "long": long })));
        grant(&host, "promise.register_listener", json!({ "awaited": id, "address": "poll://any@w" }));
        grant(&host, "promise.settle", settlement(&id, &json!(1)));
    }
    let mut worker = Worker::connect(&host, "w", "hears");
    until("somebody who reads is told", || (worker.next()["kind"] == "unblock").then_some(()));
    assert_eq!(ask(&host, "promise.get", json!({ "id": "p" })).0, 200);
}
