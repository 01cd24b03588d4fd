//! A server of the database dies, and its standby takes over: one that has all, and one that hasn't.

use serde_json::{Value, json};
use tests::{Host, Postgres, until};

use crate::{ids_on, invoke, node, together};

/// Two nodes over a server and its standby, either of which is named first.
fn over_two_servers(name: &str, standby_is_first: bool) -> (Postgres, Postgres, Vec<Host>) {
    let primary = Postgres::start();
    primary.database(name);
    let standby = primary.standby();
    let database = match standby_is_first {
        true => standby.url_of_either(&primary, name),
        false => primary.url_of_either(&standby, name),
    };
    let nodes = together((0..2).map(|_| node(&database).prepare()).collect());
    (primary, standby, nodes)
}

fn naps(node: &Host) -> usize {
    let journal = node.get("/v1/executions/naps/journal").expect(200);
    let asked = journal["items"].as_array().expect("a journal has items").iter();
    asked.filter(|entry| entry["entry"] == json!("asked")).count()
}

fn state(node: &Host, id: &str) -> Option<Value> {
    let answer = node.impatient().try_get(&format!("/v1/promises/{id}")).ok()?;
    (answer.status == 200).then(|| answer.json()["state"].clone())
}

fn resolve(node: &Host, id: &str) {
    node.post(&format!("/v1/promises/{id}/resolve"), &json!(1)).expect(200);
}

/// Wait until nodes say that they can't answer: what they say later, they say of another server.
fn lose_the_database(nodes: &[Host]) {
    for node in nodes {
        until("a node has lost its database", || {
            let answer = node.impatient().try_get("/ready").ok()?;
            (answer.status == 503).then_some(())
        });
    }
}

#[test]
fn a_standby_that_has_all_takes_over_and_nothing_is_lost() {
    let (mut primary, standby, mut nodes) = over_two_servers("failover", false);
    primary.wait_for_standby();
    nodes[0].post("/v1/functions/naps/invoke?id=naps&wait_ms=0", &json!([20, 300])).expect(202);
    let kept = ids_on(&nodes, "kept");
    for id in &kept {
        nodes[0].post("/v1/promises", &json!({ "id": id })).expect(201);
    }
    resolve(&nodes[1], &kept[0]);
    // It hangs, with all connections: nobody is told that it is gone.
    primary.signal_all(libc::SIGSTOP);
    lose_the_database(&nodes);
    standby.promote();
    nodes.iter_mut().for_each(Host::ready);
    for (id, expected) in kept.iter().zip(["resolved", "pending"]) {
        until("it is as it was", || (state(&nodes[0], id)? == json!(expected)).then_some(()));
    }
    resolve(&nodes[0], &kept[1]);
    assert_eq!(invoke(&nodes[1], "naps", "naps", &json!([20, 300]))["value"], json!(20));
    assert_eq!(naps(&nodes[1]), 20, "each nap once");
    primary.signal_all(libc::SIGCONT);
    primary.end(libc::SIGKILL);
}

#[test]
fn nodes_go_on_from_what_a_standby_has() {
    let (mut primary, mut standby, mut nodes) = over_two_servers("failover_late", true);
    nodes[0].post("/v1/functions/naps/invoke?id=naps&wait_ms=0", &json!([80, 200])).expect(202);
    let (kept, lost) = (ids_on(&nodes, "kept"), ids_on(&nodes, "lost"));
    for id in &kept {
        nodes[0].post("/v1/promises", &json!({ "id": id })).expect(201);
    }
    primary.wait_until_it_has_all(&standby);
    standby.end(libc::SIGINT);
    let before = naps(&nodes[0]);
    for (kept, lost) in kept.iter().zip(&lost) {
        resolve(&nodes[0], kept);
        nodes[1].post("/v1/promises", &json!({ "id": lost })).expect(201);
    }
    until("it naps on", || (naps(&nodes[0]) > before + 3).then_some(()));
    primary.end(libc::SIGKILL);
    standby.restart();
    standby.promote();
    // What was lost is gone, although nothing happens there that had to be appended; and what was not is as it was.
    for (kept, lost) in kept.iter().zip(&lost) {
        until("it is gone", || {
            let answer = nodes[0].impatient().try_get(&format!("/v1/promises/{lost}")).ok()?;
            (answer.status == 404).then_some(())
        });
        until("it isn't resolved any more", || (state(&nodes[1], kept)? == json!("pending")).then_some(()));
    }
    nodes.iter_mut().for_each(Host::ready);
    assert_eq!(invoke(&nodes[1], "naps", "naps", &json!([80, 200]))["value"], json!(80));
    assert_eq!(naps(&nodes[0]), 80, "each nap once, as far as is known");
    kept.iter().for_each(|id| resolve(&nodes[1], id));
}
