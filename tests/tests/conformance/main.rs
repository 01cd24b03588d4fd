//! The promise protocol of Resonate, over HTTP, at times that the tests choose.

mod histories;
mod json;
mod questions;

use serde_json::{Value, json};
use tests::{Client, Host, Reply, Setup};

/// A host whose clock stands still, and doesn't act by itself.
fn debugged() -> Host {
    let host = Setup::new().bare().switch("--debug").start();
    host.ask("debug.start", json!({})).expect(200);
    host
}

/// A host to which time is what a request says. It delivers, and what happens by itself happens at [`tick`] only, since
/// its own clock is far behind.
fn timed() -> Host {
    Setup::new().bare().switch("--debug").start()
}

/// Make a promise, and find it pending.
#[track_caller]
fn create(host: &Client, now: u64, id: &str, timeout_at: u64, tags: Value) {
    let data = json!({ "id": id, "timeoutAt": timeout_at, "param": {}, "tags": tags });
    let made = host.ask_at(now, "promise.create", data).expect(200);
    assert_eq!(made["promise"]["state"], "pending", "{made}");
}

fn targeted() -> Value {
    json!({ "resonate:target": "poll://any@workers" })
}

fn external() -> Value {
    json!({ "resonate:external": "true" })
}

fn settle(host: &Client, now: u64, id: &str) -> Reply {
    host.ask_at(now, "promise.settle", json!({ "id": id, "state": "resolved", "value": { "data": "IjEi" } }))
}

fn acquire(host: &Client, now: u64, id: &str, version: u64, ttl: u64) -> Reply {
    host.ask_at(now, "task.acquire", json!({ "id": id, "version": version, "pid": "worker", "ttl": ttl }))
}

fn suspend(host: &Client, now: u64, id: &str, version: u64, awaited: &[&str]) -> Reply {
    let action = |awaited: &&str| request("promise.register_callback", json!({ "awaited": awaited, "awaiter": id }));
    let actions: Vec<Value> = awaited.iter().map(action).collect();
    host.ask_at(now, "task.suspend", json!({ "id": id, "version": version, "actions": actions }))
}

/// A request within a request.
fn request(kind: &str, data: Value) -> Value {
    json!({ "kind": kind, "head": { "corrId": "c-2", "version": tests::VERSION }, "data": data })
}

fn tick(host: &Client, now: u64) {
    host.ask_at(now, "debug.tick", json!({ "time": now })).expect(200);
}

fn snap(host: &Client, now: u64) -> Value {
    host.ask_at(now, "debug.snap", json!({})).expect(200)
}

/// The state of a task, and its version.
#[track_caller]
fn task(host: &Client, now: u64, id: &str) -> (String, u64) {
    let task = host.ask_at(now, "task.get", json!({ "id": id })).expect(200)["task"].clone();
    (
        task["state"].as_str().expect("states are text").to_owned(),
        task["version"].as_u64().expect("versions are numbers"),
    )
}
