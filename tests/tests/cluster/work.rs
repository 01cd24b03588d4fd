//! Guests run on nodes other than that of their call tree.

use serde_json::json;
use tests::{Client, Host, guest, until};

use crate::{cluster, ids_on, invoke};

/// How many executions a node has begun for others.
fn taken(node: &Client) -> u64 {
    let metrics = node.get("/metrics").text;
    let line = metrics.lines().find_map(|line| line.strip_prefix("host_guests_taken_total "));
    line.expect("nodes count the guests that they take").parse().expect("it is a number")
}

#[test]
fn hard_work_runs_on_all_nodes_and_outlives_one_of_them() {
    let mut nodes = cluster(3, "work");
    nodes[0].upload(&guest("primes")).expect(201);
    let [_, root, _] = ids_on(&nodes, "count").try_into().expect("there are three nodes");
    nodes[0].post(&format!("/v1/functions/primes/invoke?id={root}&wait_ms=0"), &json!([3_000_000, 60])).expect(202);
    // The root's node keeps to its own guests; both others help.
    until("both other nodes run some of its calls", || (taken(&nodes[0]) > 0 && taken(&nodes[2]) > 0).then_some(()));
    assert_eq!(nodes[0].get(&format!("/v1/executions/{root}")).json()["state"], json!("pending"));
    let mut dead: Host = nodes.remove(2);
    dead.kill();
    let document = invoke(&nodes[0], "primes", &root, &json!([3_000_000, 60]));
    assert_eq!(document["value"], json!(216_816), "{document}");
    let tree = nodes[0].get(&format!("/v1/executions/{root}/tree?limit=1000")).expect(200);
    let items = tree["items"].as_array().expect("a tree has items");
    assert_eq!(items.len(), 61);
    // What ran elsewhere was recorded as if it had run here: begun once, and ended once.
    for item in items.iter().filter(|item| item["id"] != json!(root)) {
        let id = item["id"].as_str().expect("an id is text");
        let journal = nodes[0].get(&format!("/v1/executions/{id}/journal")).expect(200);
        assert_eq!(journal["items"].as_array().map(Vec::len), Some(2), "{journal}");
    }
}
