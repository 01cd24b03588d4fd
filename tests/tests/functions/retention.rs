//! What has ended is kept for a while, and then it is gone; and what is to go at once is removed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Client, Setup, until};

#[track_caller]
fn until_gone(host: &Client, id: &str) {
    until(&format!("{id} is gone"), || (host.get(&format!("/v1/promises/{id}")).status == 404).then_some(()));
}

#[test]
fn what_ended_goes_after_its_retention_and_nothing_else_does() {
    let setup = Setup::new().flag("--retention", "300ms").flag("--retention-of", "echo=1h,naps=200ms");
    let mut host = setup.start();
    host.start("runs-on", "sleeper", json!([3_600_000]));
    host.start("kept", "echo", json!([1]));
    host.start("tree", "fibonacci", json!([6]));
    host.start("naps", "naps", json!([3, 1]));
    let promise = host.promise(json!({ "id": "settled" }));
    host.promise(json!({ "id": "unsettled" }));
    host.settle(&promise, "resolve", &json!(1)).expect(200);
    host.wait("tree");
    host.wait("naps");
    for id in ["tree", "tree:1", "tree:2.1", "naps", "naps:1", "settled"] {
        until_gone(&host, id);
    }
    host.get("/v1/executions/tree/tree").refusal(404, "no_promise");
    host.get("/v1/executions/tree/journal").refusal(404, "no_promise");
    for stays in ["runs-on", "runs-on:1", "kept", "unsettled"] {
        host.get(&format!("/v1/promises/{stays}")).expect(200);
    }
    // What is gone stays so, and its id stands for another call.
    host.kill();
    host.restart();
    for gone in ["tree", "tree:2", "naps", "settled"] {
        host.get(&format!("/v1/promises/{gone}")).refusal(404, "no_promise");
    }
    assert_eq!(host.post("/v1/functions/echo/invoke?id=tree", &json!(["new"])).expect(200)["value"], "new");
    let known: Vec<_> = host.items("/v1/executions?roots=true").iter().map(|e| e["id"].clone()).collect();
    assert_eq!(known, ["tree", "kept", "runs-on"], "the newest first");
    let entries = host.items("/v1/executions/tree/journal").len();
    assert_eq!(entries, 2, "its journal is its own");
}

#[test]
fn an_answer_outlives_the_promise_that_gave_it() {
    let host = Setup::new().flag("--retention", "100ms").flag("--sessions", 2).start();
    host.promise(json!({ "id": "question" }));
    // It waits for the promise and then for another one, so that it is told long before it ends.
    host.promise(json!({ "id": "later" }));
    host.start("waiter", "wait_for", json!(["question"]));
    host.start("other", "wait_for", json!(["later"]));
    host.settle("question", "resolve", &json!({ "answer": 42 })).expect(200);
    assert_eq!(host.wait("waiter")["value"], json!({ "answer": 42 }));
    until_gone(&host, "question");
    host.settle("later", "resolve", &json!(1)).expect(200);
    assert_eq!(host.wait("other")["value"], 1);
    for id in ["waiter", "other", "later"] {
        until_gone(&host, id);
    }
}

#[test]
fn an_execution_is_removed_at_once_with_all_below_it() {
    let mut host = Setup::new().start();
    host.start("asleep", "sleeper", json!([3_600_000]));
    until("it sleeps", || (host.show("asleep")["task"] == "suspended").then_some(()));
    host.delete("/v1/executions/asleep").refusal(409, "still_needed");
    host.delete("/v1/executions/nothing").refusal(404, "no_promise");
    host.post("/v1/executions/asleep/cancel", &json!(null)).expect(200);
    let refusal = host.delete("/v1/promises/asleep:1").refusal(409, "still_needed");
    assert!(refusal.contains("is a part of the execution"), "{refusal}");
    assert_eq!(host.delete("/v1/executions/asleep").expect(200), json!({ "id": "asleep", "promises": 2 }));
    host.get("/v1/executions/asleep").refusal(404, "no_promise");

    host.start("many", "children_at_once", json!([300, 0]));
    host.wait("many");
    let removed = host.delete("/v1/executions/many").expect(200)["promises"].as_u64();
    assert_eq!(removed, Some(1 + 300 + 300), "it, its children, and the sleep of each");
    assert_eq!(host.items("/v1/executions?roots=false"), Vec::<serde_json::Value>::new());
    host.kill();
    host.restart();
    host.get("/v1/executions/many:7").refusal(404, "no_promise");
    host.start("many", "echo", json!([1]));
    assert_eq!(host.wait("many")["value"], 1);
}

#[test]
fn an_id_is_used_anew_while_the_guest_before_is_still_computing() {
    let host = Setup::new().start();
    for round in 0..20 {
        host.start("again", "sleeper", json!([3_600_000]));
        if round % 2 == 0 {
            until("it sleeps", || (host.show("again")["task"] == "suspended").then_some(()));
        }
        host.post("/v1/executions/again/cancel", &json!(null)).expect(200);
        host.delete("/v1/executions/again").expect(200);
        host.start("again", "echo", json!([round]));
        assert_eq!(host.wait("again")["value"], round);
        host.delete("/v1/executions/again").expect(200);
    }
}

#[test]
fn the_room_of_what_is_gone_is_given_back_while_the_host_serves() {
    let mut host = Setup::new().flag("--retention-of", "children_at_once=3s").start();
    let file = host.data().join("store.redb");
    let size = || std::fs::metadata(&file).expect("it is there").len();
    let kept: Vec<String> = (0..20).map(|n| format!("kept-{n}")).collect();
    let text = |id: &str| id.repeat(1_000);
    for id in &kept {
        host.post(&format!("/v1/functions/echo/invoke?id={id}"), &json!([text(id)])).expect(200);
    }
    let before = size();
    for n in 0..30 {
        let id = format!("garbage-{n}");
        host.start(&id, "children_at_once", json!([1_000, 0]));
        host.wait(&id);
    }
    let full = until("it is in the file", || Some(size()).filter(|size| *size > before + (16 << 20)));
    let (client, is_over) = (Client::new(host.url()), AtomicBool::new(false));
    let calling = || {
        let (mut calls, mut slowest) = (0, Duration::ZERO);
        while !is_over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            assert_eq!(client.call("echo", json!([calls])), calls);
            (calls, slowest) = (calls + 1, slowest.max(begun.elapsed()));
        }
        (calls, slowest)
    };
    let (calls, slowest) = std::thread::scope(|scope| {
        let calling = scope.spawn(calling);
        let shrunk = catch_unwind(AssertUnwindSafe(|| {
            (0..30).for_each(|n| until_gone(&host, &format!("garbage-{n}")));
            until("the file is small", || (size() < full * 2 / 3).then_some(()));
        }));
        is_over.store(true, Ordering::Relaxed);
        shrunk.unwrap_or_else(|panic| resume_unwind(panic));
        calling.join().expect("it doesn't panic")
    });
    println!("{} KiB became {}; of {calls} calls meanwhile the slowest took {slowest:?}", full >> 10, size() >> 10);
    assert!(!host.log().contains("can't be compacted"), "{}", host.log());
    for restarted in [false, true] {
        for id in &kept {
            let document = host.show(id);
            assert_eq!((&document["state"], &document["value"]), (&json!("resolved"), &json!(text(id))), "{id}");
            assert_eq!(host.items(&format!("/v1/executions/{id}/journal")).len(), 2, "{id}");
        }
        host.get("/v1/promises/garbage-7:1").refusal(404, "no_promise");
        if !restarted {
            host.kill();
            host.restart();
        }
    }
}
