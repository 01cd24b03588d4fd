//! Promises from outside, and ids as the keys of idempotency.

use serde_json::{Value, json};
use tests::{Client, Setup, until};

#[test]
fn promises_are_made_settled_and_found() {
    let host = Setup::new().start();
    for (how, state, value) in [
        ("resolve", "resolved", json!({ "a": [1.5, "x"] })),
        ("reject", "rejected", json!("no")),
        ("cancel", "canceled", Value::Null),
    ] {
        let id = host.promise(json!({ "id": format!("to-{how}"), "param": { "for": how } }));
        let made = host.get(&format!("/v1/promises/{id}")).expect(200);
        assert_eq!(
            (&made["state"], &made["kind"], &made["value"]),
            (&json!("pending"), &json!("external"), &Value::Null)
        );
        assert_eq!(made["arguments"], json!({ "for": how }));
        let settled = host.settle(&id, how, &value).expect(200);
        assert_eq!((&settled["state"], &settled["value"]), (&json!(state), &value));
        // The same again changes nothing; another outcome is refused.
        assert_eq!(host.settle(&id, how, &value).expect(200), settled);
        let refusal = host.settle(&id, "resolve", &json!("another")).refusal(409, "already_settled");
        assert!(refusal.contains(&id) && refusal.contains(state), "{refusal}");
        assert_eq!(host.get(&format!("/v1/promises/{id}")).expect(200), settled);
    }
    let made_up = host.promise(json!({}));
    assert_eq!(host.show(&made_up)["state"], "pending");
    assert_eq!(host.post_empty(&format!("/v1/promises/{made_up}/resolve")).expect(200)["value"], Value::Null);
    for path in ["/v1/promises/nowhere", "/v1/executions/nowhere", "/v1/executions/nowhere/tree"] {
        let refusal = host.get(path).refusal(404, "no_promise");
        assert!(refusal.contains("nowhere"), "{refusal}");
    }
    host.settle("nowhere", "resolve", &json!(1)).refusal(404, "no_promise");
    host.get(&format!("/v1/executions/{made_up}/journal")).refusal(404, "no_execution");
}

#[test]
fn making_a_promise_again_finds_it() {
    let host = Setup::new().start();
    let new = json!({ "id": "once", "timeout_ms": 600_000 });
    let made = host.post("/v1/promises", &new).expect(201);
    assert_eq!(host.post("/v1/promises", &new).expect(200), made);
    host.start("call", "sleeper", json!([600_000]));
    let refusal = host.post("/v1/promises", &json!({ "id": "call" })).refusal(409, "id_taken");
    assert!(refusal.contains("call"), "{refusal}");
    let refusal = host.post("/v1/functions/echo/invoke?id=once", &json!([1])).refusal(409, "id_taken");
    assert!(refusal.contains("it is a promise"), "{refusal}");
}

#[test]
fn functions_and_outsiders_settle_each_others_promises() {
    let host = Setup::new().start();
    host.promise(json!({ "id": "outside" }));
    host.start("waiter", "wait_for", json!(["outside"]));
    assert_eq!(host.call("settle", json!(["outside", "resolve", { "v": 1 }])), Value::Null);
    assert_eq!(host.wait("waiter")["value"], json!({ "v": 1 }));
    let told = host.call("settle", json!(["outside", "reject", 2]));
    assert!(told.as_str().is_some_and(|told| told.contains("already settled")), "{told}");

    host.start("owner", "wait_for_own", json!([null]));
    let line = until("it says for what it waits", || host.lines("owner").first().cloned());
    let promise = line.strip_prefix("waiting for ").expect("the line says so");
    host.settle(promise, "resolve", &json!(5)).expect(200);
    assert_eq!(host.wait("owner")["value"], 5);

    // An execution is a promise: somebody can settle it, and it ends.
    host.start("ended", "sleeper", json!([600_000]));
    host.settle("ended", "resolve", &json!("enough")).expect(200);
    let document = host.show("ended");
    assert_eq!((&document["value"], &document["task"]), (&json!("enough"), &json!("fulfilled")));
}

#[test]
fn the_same_id_is_the_same_execution() {
    let host = Setup::new().start();
    let started = host.start("order-7", "slow_chatter", json!([2, 30]));
    let attached = host.post("/v1/functions/slow_chatter/invoke?id=order-7", &json!([2, 30])).expect(200);
    assert_eq!((&attached["id"], &attached["value"]), (&json!("order-7"), &json!(2)));
    assert_eq!(attached["created_at_ms"], started["created_at_ms"]);
    let by_key = host.post_with("/v1/functions/slow_chatter/invoke", ("Idempotency-Key", "order-7"), &json!([2, 30]));
    assert_eq!(by_key.expect(200), attached);
    assert_eq!(host.lines("order-7"), ["line 1", "line 2"]);

    let refusal = host.post("/v1/functions/slow_chatter/invoke?id=order-7", &json!([3, 30])).refusal(409, "id_taken");
    assert!(refusal.contains("order-7") && refusal.contains("arguments"), "{refusal}");
    let refusal = host.post("/v1/functions/naps/invoke?id=order-7", &json!([2, 30])).refusal(409, "id_taken");
    assert!(refusal.contains("function"), "{refusal}");
    // The same arguments, written in another way.
    let spaced = host.try_post("/v1/functions/slow_chatter/invoke?id=order-7", b" [ 2 ,\n30 ] ").expect("an answer");
    assert_eq!(spaced.expect(200), attached);
}

#[test]
fn many_at_once_with_one_id_start_one() {
    let host = Setup::new().start();
    for round in 0..10 {
        let path = format!("/v1/functions/slow_chatter/invoke?id=crowd-{round}");
        let invoke = |client: Client| {
            let path = path.clone();
            std::thread::spawn(move || client.post(&path, &json!([3, 1])).expect(200))
        };
        let crowd: Vec<_> = (0..8).map(|_| invoke(Client::new(host.url()))).collect();
        let answers: Vec<Value> = crowd.into_iter().map(|one| one.join().expect("it doesn't panic")).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
        assert_eq!(host.lines(&format!("crowd-{round}")), ["line 1", "line 2", "line 3"]);
    }
}

#[test]
fn a_wait_ends_with_the_result_or_with_its_time() {
    let host = Setup::new().start();
    let pending = host.post("/v1/functions/sleeper/invoke?id=slow&wait_ms=30", &json!([400])).expect(202);
    assert_eq!(pending["state"], "pending");
    assert_eq!(host.get("/v1/executions/slow?wait_ms=30").expect(200)["state"], "pending");
    assert_eq!(host.get("/v1/executions/slow?wait_ms=60000").expect(200)["value"], 400);

    // Many wait for one promise, and all are told.
    host.promise(json!({ "id": "awaited" }));
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let client = Client::new(host.url());
            std::thread::spawn(move || client.get("/v1/promises/awaited?wait_ms=60000").expect(200))
        })
        .collect();
    host.settle("awaited", "resolve", &json!("done")).expect(200);
    for waiter in waiters {
        assert_eq!(waiter.join().expect("it doesn't panic")["value"], "done");
    }
}
