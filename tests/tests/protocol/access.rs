//! Who may ask: the debug surface is there only when it was asked for, and a token is asked of everybody.

use serde_json::{Value, json};
use tests::Setup;

use super::{VERSION, Worker, ask, ask_with, grant, promise};

#[test]
fn c12_the_debug_surface_is_nobodys_unless_the_host_was_started_for_it() {
    let host = Setup::new().start();
    for kind in ["debug.start", "debug.stop", "debug.reset", "debug.snap"] {
        assert_eq!(ask(&host, kind, json!({})).0, 403, "{kind}");
    }
    assert_eq!(ask(&host, "debug.tick", json!({ "time": 1 })).0, 403);
    let head = json!({ "corrId": "c", "version": VERSION, "resonate:debug_time": 1 });
    assert_eq!(ask_with(&host, "promise.get", head, json!({ "id": "p" })).0, 403);

    let host = Setup::new().flag("--debug", "true").flag("--token", "secret").start();
    for kind in ["debug.start", "debug.stop", "debug.reset", "debug.snap"] {
        assert_eq!(ask(&host, kind, json!({})).0, 401, "{kind}");
    }
}

#[test]
fn a_host_with_a_token_asks_for_it_everywhere() {
    let host = Setup::new().bare().flag("--token", "secret").start();
    let with = |auth: &str| json!({ "corrId": "c", "version": VERSION, "auth": auth });
    assert_eq!(ask(&host, "promise.get", json!({ "id": "p" })).0, 401);
    assert_eq!(ask_with(&host, "promise.get", with("guess"), json!({ "id": "p" })).0, 401);
    assert_eq!(ask_with(&host, "promise.get", with("secret"), json!({ "id": "p" })).0, 404);
    let body = json!({ "kind": "promise.get", "head": { "corrId": "c", "version": VERSION }, "data": { "id": "p" } });
    assert_eq!(host.post_with("/", ("authorization", "Bearer secret"), &body).status, 404);
    assert_eq!(host.get("/v1/promises").status, 401);
    assert_eq!(host.get("/health").status, 200);
    let mut refused = Worker::knock(&host, "w", "1", "");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut refused.0, &mut line).unwrap();
    assert!(line.contains("401"), "{line}");
}

#[test]
fn everything_can_be_forgotten_and_is_gone_after_a_restart() {
    let mut host = Setup::new().flag("--debug", "true").start();
    grant(&host, "promise.create", promise("p", json!({ "resonate:target": "poll://any@w" })));
    host.start("nap", "countdown", json!([100, 60_000]));
    grant(&host, "debug.reset", json!({}));
    let empty = json!({ "promises": [], "promiseTimeouts": [], "callbacks": [], "listeners": [], "tasks": [],
        "taskTimeouts": [], "messages": [] });
    assert_eq!(grant(&host, "debug.snap", json!({})), empty);
    grant(&host, "promise.create", promise("p", json!({})));
    assert_eq!(host.call("fibonacci", json!([5])), 5);
    host.kill();
    host.restart();
    let snap = grant(&host, "debug.snap", json!({}));
    let ids: Vec<&Value> = snap["promises"].as_array().unwrap().iter().map(|promise| &promise["id"]).collect();
    assert!(ids.contains(&&json!("p")) && !ids.contains(&&json!("nap")), "{snap}");
}
