//! Functions of this host, called by clients of the protocol; and workers elsewhere, called by functions.

use std::time::Instant;

use serde_json::{Value, json};
use tests::{PATIENCE, Setup, until};

use super::{FAR, Worker, ask, encode, fulfill, grant, promise, take};

fn call(id: &str, function: &str, arguments: Value) -> Value {
    let param = json!({ "headers": {}, "data": encode(&json!({ "func": function, "args": arguments, "version": 1 })) });
    json!({ "id": id, "timeoutAt": FAR, "param": param, "tags": { "resonate:target": "poll://any@wasm" } })
}

#[test]
fn a_client_calls_a_function_and_a_worker_waits_for_one() {
    let host = Setup::new().start();
    let mut client = Worker::connect(&host, "c", "me");
    let made = grant(&host, "promise.create", call("fib", "fibonacci", json!([10])));
    assert_eq!(made["promise"]["param"], call("fib", "fibonacci", json!([10]))["param"]);
    grant(&host, "promise.register_listener", json!({ "awaited": "fib", "address": "poll://uni@c/me" }));
    let told = until("the function has returned", || {
        let found = grant(&host, "promise.get", json!({ "id": "fib" }));
        (found["promise"]["state"] != "pending").then_some(found)
    });
    assert_eq!(told["promise"]["value"]["data"], encode(&json!(55)));
    // If it was quicker than the listener, nobody had to be told.
    assert_eq!(grant(&host, "task.get", json!({ "id": "fib" }))["task"]["state"], "fulfilled");
    let step = grant(&host, "promise.get", json!({ "id": "fib:1" }));
    assert_eq!(step["promise"]["tags"]["resonate:parent"], "fib");

    let mut worker = Worker::connect(&host, "w", "1");
    grant(&host, "promise.create", promise("work", json!({ "resonate:target": "poll://any@w" })));
    take(&host, &worker.offered());
    grant(&host, "promise.create", call("nap", "countdown", json!([1, 200])));
    let action =
        json!({ "kind": "promise.register_callback", "head": {}, "data": { "awaited": "nap", "awaiter": "work" } });
    grant(&host, "task.suspend", json!({ "id": "work", "version": 1, "actions": [action] }));
    assert_eq!(worker.offered(), ("work".into(), 1));
    assert!(client.hears_nothing() || told["promise"]["state"] == "resolved");
}

#[test]
fn a_function_waits_for_a_promise_that_a_client_settles() {
    let host = Setup::new().start();
    host.start("trip", "approval", json!(["a trip", 10, 3_600_000]));
    let found = until("it waits", || {
        let (status, found) = ask(&host, "promise.get", json!({ "id": "trip:1" }));
        (status == 200).then_some(found)
    });
    assert_eq!(found["promise"]["tags"]["resonate:external"], "true");
    let value = json!({ "data": encode(&json!(true)) });
    grant(&host, "promise.settle", json!({ "id": "trip:1", "state": "resolved", "value": value }));
    assert_eq!(host.wait("trip")["state"], "resolved");
    // It is one promise, whoever looks.
    assert_eq!(host.show("trip:1")["value"], true);
    assert_eq!(grant(&host, "promise.get", json!({ "id": "trip:1" }))["promise"]["value"], value);
}

#[test]
fn what_can_not_be_called_is_rejected_with_the_reason() {
    let host = Setup::new().start();
    let nonsense = |param: Value| json!({ "id": param.to_string(), "timeoutAt": FAR, "param": param, "tags": { "resonate:target": "poll://any@wasm" } });
    for (new, why) in [
        (call("a", "nothing", json!([])), "no function named"),
        (call("b", "fibonacci", json!(["x"])), "doesn't fit"),
        (call("c", "countdown", json!([1])), "takes 2 arguments"),
        (nonsense(json!({})), "base64"),
        (nonsense(json!({ "data": "hello" })), "base64"),
        (nonsense(json!({ "data": encode(&json!({ "args": [] })) })), "func"),
    ] {
        let made = grant(&host, "promise.create", new.clone())["promise"].clone();
        assert_eq!(made["state"], "rejected", "{made}");
        assert_eq!(made["param"], new["param"]);
        let shown = host.get(&format!("/v1/promises/{}", percent(made["id"].as_str().unwrap()))).expect(200);
        assert!(shown["value"].to_string().contains(why), "{shown}");
    }
}

#[test]
fn a_function_that_fails_rejects_with_an_error_that_libraries_know() {
    let host = Setup::new().start();
    grant(&host, "promise.create", call("p", "pack", json!([7, 0])));
    let ended = until("it has crashed", || {
        let found = grant(&host, "promise.get", json!({ "id": "p" }));
        (found["promise"]["state"] == "rejected").then_some(found)
    });
    let data = ended["promise"]["value"]["data"].as_str().expect("there is a reason");
    assert!(data.starts_with(&encode(&json!({ "__type": "error" }))[..20]), "{data}");
}

#[test]
fn a_group_of_another_name_is_another_group() {
    let host = Setup::new().flag("--group", "fns").start();
    let mut new = call("a", "fibonacci", json!([5]));
    let mut worker = Worker::connect(&host, "wasm", "1");
    grant(&host, "promise.create", new.clone());
    assert_eq!(worker.offered().0, "a");
    new["id"] = json!("b");
    new["tags"] = json!({ "resonate:target": "poll://any@fns" });
    grant(&host, "promise.create", new);
    assert_eq!(host.wait("b")["value"], 5);
    take(&host, &("a".into(), 0));
    fulfill(&host, "a", 1, &json!(null));
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A worker's own workflow can call a function by an id below its own, though no such workflow is known here.
#[test]
fn a_function_below_somebody_elses_id_goes_with_all_that_it_called() {
    let host = Setup::new().flag("--retention-of", "fibonacci=100ms").start();
    grant(&host, "promise.create", call("order:1", "fibonacci", json!([5])));
    assert_eq!(host.wait("order:1")["value"], 5);
    for gone in ["order:1", "order:1.1"] {
        until(&format!("{gone} is gone"), || (host.get(&format!("/v1/promises/{gone}")).status == 404).then_some(()));
    }
}

#[test]
fn whoever_waits_hears_that_an_execution_is_halted() {
    let host = Setup::new().start();
    host.start("naps", "countdown", json!([1, 3_600_000]));
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let waits = scope.spawn(|| host.get("/v1/executions/naps?wait_ms=60000"));
        until("it sleeps", || (host.get("/v1/promises/naps:1").status == 200).then_some(()));
        grant(&host, "task.halt", json!({ "id": "naps" }));
        assert_eq!(waits.join().expect("it doesn't panic").json()["state"], "pending");
        assert!(begun.elapsed() < PATIENCE / 2, "it was told at once");
    });
}
