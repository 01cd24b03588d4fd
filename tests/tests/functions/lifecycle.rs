//! How executions end otherwise than by returning: cancelled, or at a deadline.

use serde_json::{Value, json};
use tests::{Setup, until};

#[test]
fn cancelling_reaches_the_children_and_not_the_detached() {
    let host = Setup::new().start();
    host.start("parent", "tree", json!([2, 2, 600_000]));
    let count = || host.items("/v1/executions/parent/tree").len();
    until("the whole tree is there", || (count() == 15).then_some(()));
    let detached = host.call("spawn_detached", json!([400, "detached"]));
    let canceled = host.post_empty("/v1/executions/parent/cancel").expect(200);
    assert_eq!((&canceled["state"], &canceled["value"]), (&json!("canceled"), &Value::Null));
    for promise in host.items("/v1/executions/parent/tree") {
        assert_eq!(promise["state"], "canceled", "{promise}");
    }
    assert_eq!(host.wait(detached.as_str().expect("an id"))["value"], 400);
    // Again is the same, and an execution that is over can't be cancelled.
    assert_eq!(host.post_empty("/v1/executions/parent/cancel").expect(200)["state"], "canceled");
    let refusal = host.post_empty("/v1/executions/detached/cancel").refusal(409, "already_settled");
    assert!(refusal.contains("resolved"), "{refusal}");
}

#[test]
fn a_detached_call_outlives_its_caller() {
    let host = Setup::new().start();
    // The caller starts a detached sleeper, and then waits for it.
    host.start("caller", "spawn_and_wait", json!([500]));
    let child = until("the child is there", || {
        host.items("/v1/executions/caller/tree").into_iter().find(|promise| promise["function"] == "sleeper")
    });
    host.post_empty("/v1/executions/caller/cancel").expect(200);
    let child = child["id"].as_str().expect("an id");
    assert_eq!(host.show(child)["state"], "pending", "it is not cancelled with its caller");
    assert_eq!(host.wait(child)["value"], 500);
    assert_eq!(host.show("caller")["state"], "canceled");
}

#[test]
fn a_deadline_ends_an_execution_and_what_is_below_it() {
    let host = Setup::new().start();
    let path = "/v1/functions/children/invoke?id=late&timeout_ms=150";
    let document = host.post(path, &json!([3, 600_000])).expect(200);
    assert_eq!(document["state"], "timed_out");
    let at = |name: &str| document[name].as_u64().expect("times are numbers");
    assert_eq!(at("settled_at_ms"), at("timeout_at_ms"), "it ends at its deadline, whenever that is noticed");
    assert_eq!(at("timeout_at_ms") - at("created_at_ms"), 150);
    for promise in host.items("/v1/executions/late/tree") {
        // The sleep below had a later time than its execution's deadline, and is over with it.
        assert_ne!(promise["state"], "pending", "{promise}");
        assert_ne!(promise["state"], "resolved", "{promise}");
    }
    let over = host.post("/v1/functions/echo/invoke?id=over&timeout_ms=0", &json!([1])).expect(200);
    assert_eq!(over["state"], "timed_out", "a deadline that has passed at the start is one");
}

#[test]
fn a_deadline_passes_while_the_host_is_down() {
    let mut host = Setup::new().start();
    host.post("/v1/functions/sleeper/invoke?id=late&timeout_ms=400&wait_ms=0", &json!([600_000])).expect(202);
    host.start("early", "sleeper", json!([400]));
    let promise = host.promise(json!({ "id": "promise", "timeout_ms": 400 }));
    host.kill();
    let due = host_time_ms() + 500;
    until("the deadline has passed", || (host_time_ms() > due).then_some(()));
    host.restart();
    assert_eq!(host.wait("late")["state"], "timed_out");
    assert_eq!(host.wait("early")["value"], 400);
    let document = host.wait(&promise);
    assert_eq!(document["state"], "timed_out");
    assert_eq!(document["settled_at_ms"], document["timeout_at_ms"]);
}

fn host_time_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("it is after 1970").as_millis() as u64
}

/// A settle and a deadline at the same moment: one of them wins, and everybody sees the same one from then on.
#[test]
fn a_race_with_a_deadline_has_one_outcome() {
    let host = Setup::new().start();
    let mut outcomes = [0, 0];
    for n in 0..60 {
        let timeout_ms = 20;
        let id = host.promise(json!({ "id": format!("race-{n}"), "timeout_ms": timeout_ms }));
        host.start(&format!("waiter-{n}"), "wait_for", json!([id]));
        let at = host.get(&format!("/v1/promises/{id}")).expect(200)["timeout_at_ms"].as_u64().expect("a time");
        until("the deadline is near", || (host_time_ms() + 1 + n % 3 > at).then_some(()));
        let answer = host.settle(&id, "resolve", &json!(n));
        let document = host.wait(&id);
        let waited = host.wait(&format!("waiter-{n}"));
        match answer.status {
            200 => {
                outcomes[0] += 1;
                assert_eq!((&document["state"], &document["value"]), (&json!("resolved"), &json!(n)));
                assert!(document["settled_at_ms"].as_u64() < document["timeout_at_ms"].as_u64(), "{document}");
                assert_eq!((&waited["state"], &waited["value"]), (&json!("resolved"), &json!(n)), "{waited}");
            }
            _ => {
                outcomes[1] += 1;
                answer.refusal(409, "already_settled");
                assert_eq!((&document["state"], &document["value"]), (&json!("timed_out"), &Value::Null));
                assert_eq!(document["settled_at_ms"], document["timeout_at_ms"]);
                assert_eq!((&waited["state"], &waited["value"]["kind"]), (&json!("rejected"), &json!("timed-out")));
            }
        }
    }
    println!("{} were settled in time, {} were not", outcomes[0], outcomes[1]);
}
