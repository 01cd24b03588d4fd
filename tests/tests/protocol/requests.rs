//! Requests and their statuses, at a time that the test sets.

use serde_json::{Value, json};
use tests::{Client, Host, Setup};

use super::{VERSION, ask_with, encode};

/// A host whose time the test sets.
fn host() -> Host {
    let host = Setup::new().flag("--debug", "true").start();
    assert_eq!(at(&host, 1, "debug.start", json!({})).0, 200);
    host
}

#[track_caller]
fn at(host: &Client, now: u64, kind: &str, data: Value) -> (u64, Value) {
    ask_with(host, kind, json!({ "corrId": "c", "version": VERSION, "resonate:debug_time": now }), data)
}

/// The statuses of a run of requests, each at its time.
#[track_caller]
fn check(host: &Client, script: &[(u64, &str, Value, u64)]) {
    for (now, kind, data, status) in script {
        let (actual, answer) = at(host, *now, kind, data.clone());
        assert_eq!(actual, *status, "{kind} {data} at {now}: {answer}");
    }
}

fn create(id: &str, timeout_at: u64, tags: Value) -> Value {
    json!({ "id": id, "timeoutAt": timeout_at, "param": {}, "tags": tags })
}

fn suspend(id: &str, version: u64, awaited: &[&str]) -> Value {
    let action = |awaited: &&str| json!({ "kind": "promise.register_callback", "head": {}, "data": { "awaited": awaited, "awaiter": id } });
    json!({ "id": id, "version": version, "actions": awaited.iter().map(action).collect::<Vec<_>>() })
}

fn take(id: &str, version: u64) -> Value {
    json!({ "id": id, "version": version, "pid": "p", "ttl": 500 })
}

#[test]
fn a_promise_is_given_back_as_it_was_given() {
    let host = host();
    let tags = json!({ "resonate:external": "true", "mine": "ü" });
    let new = json!({ "id": "p", "timeoutAt": 9000, "param": { "headers": {}, "data": "any text" }, "tags": tags });
    let (_, made) = at(&host, 1000, "promise.create", new.clone());
    let expected = json!({ "promise": {
        "id": "p", "state": "pending", "param": { "headers": {}, "data": "any text" }, "value": {},
        "tags": tags, "timeoutAt": 9000, "createdAt": 1000
    }});
    assert_eq!(made, expected);
    assert_eq!(at(&host, 1500, "promise.create", create("p", 1, json!({}))), (200, expected.clone()));
    let value = json!({ "headers": { "a": "b" }, "data": encode(&json!([1, "x"])) });
    let settle = json!({ "id": "p", "state": "rejected_canceled", "value": value });
    let (_, settled) = at(&host, 2000, "promise.settle", settle);
    assert_eq!(settled["promise"]["value"], value);
    assert_eq!(settled["promise"]["state"], "rejected_canceled");
    assert_eq!(settled["promise"]["settledAt"], 2000);
    // It is settled once.
    let again = json!({ "id": "p", "state": "resolved", "value": {} });
    assert_eq!(at(&host, 3000, "promise.settle", again), (200, settled));
}

#[test]
fn each_status_has_its_cause() {
    let host = host();
    let (external, target) = (json!({ "resonate:external": "true" }), json!({ "resonate:target": "poll://any@w" }));
    check(
        &host,
        &[
            (1000, "promise.get", json!({ "id": "a" }), 404),
            (1000, "promise.create", create("a", 90_000, external), 200),
            (1000, "promise.create", create("bare", 90_000, json!({})), 200),
            (1000, "promise.create", create("t", 90_000, target.clone()), 200),
            (1000, "task.get", json!({ "id": "a" }), 404),
            (1000, "task.acquire", take("none", 0), 404),
            (1000, "task.acquire", take("t", 1), 409),
            (1000, "task.acquire", take("t", 0), 200),
            (1010, "task.acquire", take("t", 1), 409),
            (1010, "promise.register_callback", json!({ "awaited": "none", "awaiter": "t" }), 404),
            (1010, "promise.register_callback", json!({ "awaited": "a", "awaiter": "none" }), 422),
            (1010, "promise.register_callback", json!({ "awaited": "a", "awaiter": "bare" }), 422),
            (1010, "promise.register_callback", json!({ "awaited": "bare", "awaiter": "t" }), 422),
            (1010, "promise.register_callback", json!({ "awaited": "t", "awaiter": "t" }), 400),
            (1010, "promise.register_callback", json!({ "awaited": "a", "awaiter": "t" }), 200),
            (1010, "promise.register_listener", json!({ "awaited": "a", "address": "nowhere" }), 400),
            (1010, "promise.register_listener", json!({ "awaited": "bare", "address": "https://x" }), 422),
            (1020, "task.suspend", suspend("t", 1, &["a", "none"]), 422),
            (1020, "task.suspend", suspend("t", 1, &[]), 400),
            (1020, "task.suspend", suspend("t", 2, &["a"]), 409),
            (1020, "task.suspend", suspend("t", 1, &["a"]), 200),
            (1030, "task.release", json!({ "id": "t", "version": 1 }), 409),
            (1040, "promise.settle", json!({ "id": "a", "state": "resolved", "value": {} }), 200),
            (1050, "task.acquire", take("t", 1), 200),
            (1060, "task.suspend", suspend("t", 2, &["a"]), 300),
            (1070, "task.heartbeat", json!({ "pid": "p", "tasks": [{ "id": "t", "version": 2 }] }), 200),
            (1080, "task.halt", json!({ "id": "t" }), 200),
            (1090, "task.halt", json!({ "id": "none" }), 404),
            (1100, "task.continue", json!({ "id": "t" }), 200),
            (1110, "task.continue", json!({ "id": "t" }), 409),
            (1120, "task.release", json!({ "id": "t", "version": 2 }), 409),
            (90_000, "task.halt", json!({ "id": "t" }), 409),
            (90_000, "schedule.get", json!({ "id": "s" }), 404),
            (90_000, "schedule.delete", json!({ "id": "s" }), 404),
        ],
    );
    assert_eq!(at(&host, 90_001, "task.get", json!({ "id": "t" })).1["task"]["state"], "fulfilled");
    assert_eq!(at(&host, 90_001, "promise.get", json!({ "id": "t" })).1["promise"]["settledAt"], 90_000);
}

#[test]
fn a_fence_acts_only_for_whoever_has_the_task() {
    let host = host();
    let tags = json!({ "resonate:target": "poll://any@w", "resonate:branch": "t" });
    let action = json!({ "kind": "promise.create", "head": { "corrId": "inner" },
        "data": create("t:1", 5000, json!({ "resonate:branch": "t", "resonate:origin": "t" })) });
    let new = json!({ "kind": "promise.create", "head": {}, "data": create("t", 9000, tags) });
    let (status, made) = at(&host, 1000, "task.create", json!({ "pid": "p", "ttl": 500, "action": new }));
    assert_eq!((status, &made["task"]["state"], &made["task"]["version"]), (200, &json!("acquired"), &json!(1)));
    let fence = |version: u64| json!({ "id": "t", "version": version, "action": action });
    assert_eq!(at(&host, 1010, "task.fence", fence(2)).0, 409);
    let (status, fenced) = at(&host, 1010, "task.fence", fence(1));
    assert_eq!(status, 200);
    assert_eq!(fenced["action"]["head"], json!({ "corrId": "inner", "status": 200, "version": VERSION }));
    assert_eq!(fenced["action"]["kind"], "promise.create");
    assert_eq!(fenced["action"]["data"]["promise"]["id"], "t:1");
    // What the action is refused for is its own answer.
    let settle = json!({ "kind": "promise.settle", "head": {}, "data": { "id": "none", "state": "resolved" } });
    let (status, fenced) = at(&host, 1020, "task.fence", json!({ "id": "t", "version": 1, "action": settle }));
    assert_eq!((status, &fenced["action"]["head"]["status"]), (200, &json!(404)));
    // Whoever takes the task next is given what it did.
    at(&host, 1500, "debug.tick", json!({ "time": 1500 }));
    let (_, taken) = at(&host, 1510, "task.acquire", take("t", 1));
    assert_eq!(taken["task"]["version"], 2);
    let preloaded: Vec<_> = taken["preload"].as_array().unwrap().iter().map(|promise| promise["id"].clone()).collect();
    assert_eq!(preloaded, ["t:1"]);
    assert_eq!(at(&host, 1520, "task.fence", fence(1)).0, 409);
}

#[test]
fn a_timer_resolves_at_its_deadline() {
    let host = host();
    let timer = json!({ "resonate:timer": "true" });
    at(&host, 1000, "promise.create", create("timer", 2000, timer.clone()));
    at(&host, 1000, "promise.register_listener", json!({ "awaited": "timer", "address": "https://x" }));
    at(&host, 2500, "debug.tick", json!({ "time": 2500 }));
    let (_, found) = at(&host, 2500, "promise.get", json!({ "id": "timer" }));
    assert_eq!((&found["promise"]["state"], &found["promise"]["settledAt"]), (&json!("resolved"), &json!(2000)));
    let (_, late) = at(&host, 3000, "promise.create", create("late", 2000, timer));
    assert_eq!((&late["promise"]["state"], &late["promise"]["createdAt"]), (&json!("resolved"), &json!(2000)));
}

#[test]
fn everything_is_found_by_searching() {
    let host = host();
    for n in 0..5 {
        let tags = json!({ "resonate:target": "poll://any@w", "kind": if n % 2 == 0 { "even" } else { "odd" } });
        at(&host, 1000, "promise.create", create(&format!("p{n}"), 2000 + 1000 * n, tags));
    }
    let ids = |answer: &Value, list: &str| -> Vec<String> {
        let items = answer[list].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let (_, page) = at(&host, 1500, "promise.search", json!({ "tags": { "kind": "even" }, "limit": 2 }));
    assert_eq!(ids(&page, "promises"), ["p0", "p2"]);
    let next = json!({ "tags": { "kind": "even" }, "limit": 2, "cursor": page["cursor"] });
    let (_, page) = at(&host, 1500, "promise.search", next);
    assert_eq!((ids(&page, "promises"), &page["cursor"]), (vec!["p4".to_owned()], &Value::Null));
    // Deadlines that have passed are seen, whether or not anybody has noticed.
    let (_, page) = at(&host, 3000, "promise.search", json!({ "state": "rejected_timedout" }));
    assert_eq!(ids(&page, "promises"), ["p0", "p1"]);
    let (_, page) = at(&host, 3000, "task.search", json!({ "state": "pending" }));
    assert_eq!(ids(&page, "tasks"), ["p2", "p3", "p4"]);
    for bad in [json!({ "limit": 0 }), json!({ "limit": 1001 }), json!({ "state": "done" })] {
        assert_eq!(at(&host, 3000, "promise.search", bad.clone()).0, 400, "{bad}");
    }
}

#[test]
fn both_kinds_of_ids_live_side_by_side() {
    let host = host();
    for (root, step) in [("app", "app:1.2"), ("app2", "app2.1.2"), ("my.app", "my.app:1"), ("your.app", "your.app.1")] {
        let tags = |id: &str| json!({ "resonate:origin": root, "resonate:parent": root, "resonate:branch": id });
        for id in [root, step] {
            let (status, answer) = at(&host, 1000, "promise.create", create(id, 9000, tags(id)));
            assert_eq!(status, 200, "{id}: {answer}");
        }
    }
    let stray = create("other:1", 9000, json!({ "resonate:origin": "app" }));
    assert_eq!(at(&host, 1000, "promise.create", stray).0, 400);
}
