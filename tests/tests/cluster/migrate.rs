//! From one host to a cluster.

use std::process::Command;

use serde_json::json;
use tests::{Host, Setup, host_binary, until};

use crate::{invoke, node, postgres, spread};

fn migrate(host: &Host, database: &str) -> (bool, String) {
    let output = Command::new(host_binary())
        .args(["migrate", "--data"])
        .arg(host.data())
        .args(["--cluster", database])
        .output()
        .expect("the host can be started");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn what_one_host_had_goes_on_in_a_cluster() {
    let mut host = Setup::new().start();
    for n in 0..40 {
        assert_eq!(invoke(&host, "echo", &format!("done-{n}"), &json!([n]))["value"], json!(n));
        host.post("/v1/promises", &json!({ "id": format!("open-{n}") })).expect(201);
    }
    let config = json!({ "variables": { "GREETING": { "value": "moved" } } });
    host.post("/v1/functions/echo/config", &config).expect(200);
    host.post("/v1/functions/tree/invoke?id=half-way&wait_ms=0", &json!([3, 2, 4_000])).expect(202);
    until("it has called", || (host.get("/v1/executions/half-way:1").status == 200).then_some(()));
    let database = postgres().database("migrate");
    let (moved, said) = migrate(&host, &database);
    assert!(!moved && said.contains("can't be read"), "a host that runs isn't moved: {said}");
    // The end of its log isn't in its store.
    host.kill();
    let (moved, said) = migrate(&host, &database);
    assert!(moved, "{said}");
    let (again, said) = migrate(&host, &database);
    assert!(!again && said.contains("never used"), "it is moved once: {said}");

    let nodes: Vec<Host> = (0..2).map(|_| node(&database).start()).collect();
    spread(&nodes);
    assert_eq!(invoke(&nodes[0], "tree", "half-way", &json!([3, 2, 4_000]))["value"], json!(9));
    for n in 0..40 {
        let document = nodes[n % 2].get(&format!("/v1/executions/done-{n}")).expect(200);
        assert_eq!(document["value"], json!(n));
        let journal = nodes[n % 2].get(&format!("/v1/executions/done-{n}/journal")).expect(200);
        assert_eq!(journal["items"].as_array().map(Vec::len), Some(2), "{journal}");
        nodes[n % 2].post(&format!("/v1/promises/open-{n}/resolve"), &json!(n)).expect(200);
    }
    let config = nodes[1].get("/v1/functions/echo/config").expect(200);
    assert_eq!(config["variables"]["GREETING"]["value"], json!("moved"), "{config}");
    assert_eq!(invoke(&nodes[1], "echo", "new", &json!(["new"]))["value"], json!("new"));
}

#[test]
fn trees_that_wait_for_each_other_are_named() {
    let mut host = Setup::new().start();
    // Two ids of different partitions; the first that waits for the second.
    host.post("/v1/promises", &json!({ "id": "awaited-1" })).expect(201);
    host.post("/v1/functions/wait_for/invoke?id=waiter-1&wait_ms=0", &json!(["awaited-1"])).expect(202);
    until("it waits", || (host.get("/v1/executions/waiter-1").expect(200)["task"] == json!("suspended")).then_some(()));
    assert!(host.stop().success());
    let (moved, said) = migrate(&host, &postgres().database("crossing"));
    assert!(!moved && said.contains("waiter-1") && said.contains("awaited-1"), "{said}");
}
