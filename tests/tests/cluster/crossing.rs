//! Trees that reach into other partitions: calls under a chosen id, and promises of others.

use serde_json::json;
use tests::until;

use crate::{cluster, ids_on, invoke};

#[test]
fn a_call_under_a_chosen_id_runs_where_the_id_is() {
    let nodes = cluster(2, "chosen");
    let [here, there] = ids_on(&nodes, "chosen").try_into().expect("there are two nodes");
    let call = |name: &str, arguments: serde_json::Value| json!([name, arguments, there]);
    let document = invoke(&nodes[0], "call_by_name", &here, &call("echo", json!(["far"])));
    assert_eq!(document["value"], json!("far"), "{document}");
    let other = nodes[0].get(&format!("/v1/executions/{there}")).expect(200);
    assert_eq!((&other["value"], &other["parent"]), (&json!("far"), &json!(here)), "{other}");
    // The id stands for that call, from everywhere.
    let again = ids_on(&nodes, "again").remove(0);
    assert_eq!(invoke(&nodes[1], "call_by_name", &again, &call("echo", json!(["far"])))["value"], json!("far"));
    let refused = ids_on(&nodes, "refused").remove(0);
    let document = invoke(&nodes[1], "call_by_name", &refused, &call("echo", json!(["other"])));
    assert_eq!(document["state"], json!("rejected"), "{document}");
    assert!(document["value"].to_string().contains("other arguments"), "{document}");
}

#[test]
fn a_promise_elsewhere_is_waited_for_and_its_absence_is_told() {
    let nodes = cluster(2, "waits");
    let [here, there] = ids_on(&nodes, "waits").try_into().expect("there are two nodes");
    nodes[0].post("/v1/promises", &json!({ "id": there })).expect(201);
    nodes[0].post(&format!("/v1/functions/wait_for/invoke?id={here}&wait_ms=0"), &json!([there])).expect(202);
    until("it waits", || {
        let document = nodes[1].get(&format!("/v1/executions/{here}")).expect(200);
        (document["task"] == json!("suspended")).then_some(())
    });
    nodes[0].post(&format!("/v1/promises/{there}/resolve"), &json!({ "for": "the waiter" })).expect(200);
    let document = invoke(&nodes[0], "wait_for", &here, &json!([there]));
    assert_eq!(document["value"], json!({ "for": "the waiter" }), "{document}");
    // Settled before it is waited for; and one that isn't there.
    let late = ids_on(&nodes, "late").remove(0);
    assert_eq!(invoke(&nodes[0], "wait_for", &late, &json!([there]))["value"], json!({ "for": "the waiter" }));
    let [lost, nowhere] = ids_on(&nodes, "lost").try_into().expect("there are two nodes");
    let document = invoke(&nodes[0], "wait_for", &lost, &json!([nowhere]));
    assert_eq!(document["state"], json!("rejected"));
    assert!(document["value"].to_string().contains("no promise"), "{document}");
}

#[test]
fn what_was_called_elsewhere_ends_with_its_caller() {
    let nodes = cluster(2, "ends");
    let [here, there] = ids_on(&nodes, "ends").try_into().expect("there are two nodes");
    let arguments = json!(["sleeper", [600_000], there]);
    nodes[0].post(&format!("/v1/functions/call_by_name/invoke?id={here}&wait_ms=0"), &arguments).expect(202);
    let state = |id: &str| nodes[0].get(&format!("/v1/executions/{id}")).json()["state"].clone();
    until("it was called", || (state(&there) == json!("pending")).then_some(()));
    nodes[1].post_empty(&format!("/v1/executions/{here}/cancel")).expect(200);
    until("it is canceled as well", || (state(&there) == json!("canceled")).then_some(()));
}
