//! Requests that make no sense: each has its status, and none is in anybody's way.

use serde_json::{Value, json};
use tests::Setup;

use super::{VERSION, ask, ask_with, grant, promise, refuse};

#[test]
fn envelopes_that_are_none_are_refused() {
    let host = Setup::new().bare().start();
    let whole = json!({ "kind": "promise.get", "head": { "corrId": "c", "version": VERSION }, "data": { "id": "p" } });
    let without = |pointer: &str, field: &str| {
        let mut envelope = whole.clone();
        envelope.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(field);
        envelope
    };
    let with = |pointer: &str, value: Value| {
        let mut envelope = whole.clone();
        *envelope.pointer_mut(pointer).unwrap() = value;
        envelope
    };
    let bad = [
        without("", "kind"),
        without("", "head"),
        without("", "data"),
        without("/head", "corrId"),
        without("/head", "version"),
        with("/kind", json!(7)),
        with("/kind", json!("")),
        with("/head", json!([])),
        with("/head/corrId", json!(7)),
        with("/data", json!([])),
        with("/data", json!("x")),
        with("/data", Value::Null),
        json!([]),
        json!(7),
    ];
    for envelope in bad {
        let answer = host.post("/", &envelope);
        assert_eq!(answer.status, 400, "{envelope}: {}", answer.text);
        assert_eq!(answer.json()["head"]["status"], 400);
        assert!(answer.json()["data"].is_string());
    }
    for body in ["", "{", "nil", "\u{1}"] {
        let answer = host.try_post("/", body.as_bytes()).expect("an answer");
        assert_eq!((answer.status, &answer.json()["head"]["version"]), (400, &json!(VERSION)), "{body:?}");
    }
    let version = json!({ "corrId": "c", "version": "2025-01-15" });
    let (status, why) = ask_with(&host, "promise.get", version, json!({ "id": "p" }));
    assert_eq!(status, 400);
    assert!(why.as_str().unwrap().contains("2025-01-15") && why.as_str().unwrap().contains(VERSION), "{why}");
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let host = Setup::new().bare().start();
    assert!(refuse(&host, "promise.invent", json!({}), 400).contains("promise.invent"));
    assert!(refuse(&host, "task.steal", json!({}), 400).contains("task.steal"));
    let ids = [json!(null), json!(7), json!(""), json!("a\u{0}b"), json!("a\nb"), json!("x".repeat(1025))];
    for id in ids {
        let mut new = promise("p", json!({}));
        new["id"] = id.clone();
        assert_eq!(ask(&host, "promise.create", new).0, 400, "{id}");
        assert_eq!(ask(&host, "promise.get", json!({ "id": id })).0, 400, "{id}");
    }
    let with = |field: &str, value: Value| {
        let mut new = promise("p", json!({}));
        new[field] = value;
        new
    };
    let bad = [
        with("timeoutAt", json!(-1)),
        with("timeoutAt", json!("soon")),
        with("timeoutAt", json!(1.5)),
        with("timeoutAt", json!(null)),
        with("param", json!("x")),
        with("param", json!({ "data": 7 })),
        with("param", json!({ "headers": { "a": 1 } })),
        with("tags", json!({ "a": 1 })),
        with("tags", json!([])),
        with("tags", json!({ "long": "x".repeat(70_000) })),
        with("tags", json!({ "resonate:target": "nowhere" })),
        with("tags", json!({ "resonate:target": "" })),
        with("tags", json!({ "resonate:target": "poll://w" })),
        with("tags", json!({ "resonate:target": "ftp://w" })),
        with("tags", json!({ "resonate:target": "poll://any@w", "resonate:timer": "true" })),
        with("tags", json!({ "resonate:origin": "other" })),
    ];
    for new in bad {
        assert_eq!(ask(&host, "promise.create", new.clone()).0, 400, "{new}");
    }
    for state in ["pending", "rejected_timedout", "done"] {
        let settle = json!({ "id": "p", "state": state, "value": {} });
        assert_eq!(ask(&host, "promise.settle", settle).0, 400, "{state}");
    }
    let take = |pid: Value, ttl: Value| json!({ "id": "p", "version": 0, "pid": pid, "ttl": ttl });
    for bad in
        [take(json!(""), json!(1)), take(json!("p"), json!(0)), take(json!("p"), json!(-1)), take(json!(1), json!(1))]
    {
        assert_eq!(ask(&host, "task.acquire", bad.clone()).0, 400, "{bad}");
    }
    assert_eq!(ask(&host, "task.heartbeat", json!({ "pid": "p", "tasks": [] })).0, 400);
    grant(&host, "promise.create", with("timeoutAt", json!(9.0e15)));
}

#[test]
fn a_body_that_is_too_large_is_refused_and_a_large_one_is_not() {
    let host = Setup::new().bare().flag("--payload-limit", "64KiB").start();
    let with = |bytes: usize| {
        let mut new = promise("p", json!({}));
        new["param"] = json!({ "data": "x".repeat(bytes) });
        new
    };
    assert_eq!(ask(&host, "promise.create", with(60_000)).0, 200);
    assert!(refuse(&host, "promise.create", with(70_000), 400).contains("--payload-limit"));
    let body = json!({ "kind": "promise.create", "head": {}, "data": with(2_000_000) }).to_string();
    let answer = host.try_post("/", body.as_bytes()).expect("an answer");
    assert_eq!((answer.status, &answer.json()["head"]["status"]), (400, &json!(400)));
    assert_eq!(ask(&host, "promise.get", json!({ "id": "p" })).0, 200);
}
