//! Nodes that die, hang and leave, while others go on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Client, Host, until};

use crate::{cluster, ids_on, invoke, spread};

/// What a function should give while nodes come and go: the client only asks again when it isn't answered.
fn patiently(client: &Client, function: &str, id: &str, arguments: &serde_json::Value) -> serde_json::Value {
    let path = format!("/v1/functions/{function}/invoke?id={id}&wait_ms=20000");
    let document = until(&format!("{id} has its result"), || {
        let answer = client.try_post(&path, arguments.to_string().as_bytes()).ok()?;
        match answer.status {
            200 => Some(answer.json()),
            202 | 503 => None,
            status => panic!("{id}: {status} {}", answer.text),
        }
    });
    document["value"].clone()
}

#[test]
fn a_killed_node_is_taken_over_and_nothing_is_lost() {
    let mut nodes = cluster(3, "killed");
    let ids = ids_on(&nodes, "tree");
    let dead = nodes.remove(1);
    let mut dead = dead;
    let begun = std::thread::scope(|scope| {
        // One tree on each node, asked for through the one that stays and waited for all the while.
        let client: &Client = &nodes[0];
        let waiting: Vec<_> =
            ids.iter().map(|id| scope.spawn(move || patiently(client, "tree", id, &json!([4, 3, 1500])))).collect();
        until("all have begun", || {
            let begun = |id: &String| client.get(&format!("/v1/executions/{id}:1")).status == 200;
            ids.iter().all(begun).then_some(())
        });
        let begun = Instant::now();
        dead.kill();
        for waiting in waiting {
            assert_eq!(waiting.join().expect("it was answered"), json!(64));
        }
        begun
    });
    assert!(begun.elapsed() < Duration::from_secs(30), "it took {:?}", begun.elapsed());
    spread(&nodes);
    // Each leaf slept once, and is there once.
    let tree = nodes[1].get(&format!("/v1/executions/{}/tree?limit=1000", ids[1])).expect(200);
    let items = tree["items"].as_array().expect("a tree has items").clone();
    let distinct: BTreeSet<&str> = items.iter().filter_map(|item| item["id"].as_str()).collect();
    assert_eq!((items.len(), distinct.len()), (213, 213), "1 + 4 + 16 + 64 calls, and 64 sleepers with a sleep each");
    assert!(items.iter().all(|item| item["state"] == json!("resolved")));
}

#[test]
fn a_node_that_hangs_past_its_lease_comes_back_with_nothing() {
    let nodes = cluster(2, "zombie");
    let [_, there] = ids_on(&nodes, "zombie").try_into().expect("there are two nodes");
    nodes[0].post("/v1/promises", &json!({ "id": there })).expect(201);
    nodes[1].signal(libc::SIGSTOP);
    // The other takes over, and settles what the zombie believes to be pending.
    let path = format!("/v1/promises/{there}/resolve");
    until("the other node settles it", || nodes[0].try_post(&path, b"1").ok().filter(|answer| answer.status == 200));
    nodes[1].signal(libc::SIGCONT);
    let state = nodes[1].get(&format!("/v1/promises/{there}"));
    assert!(state.status == 503 || state.json()["state"] == json!("resolved"), "{}", state.text);
    until("it is told what is so", || {
        let answer = nodes[1].get(&format!("/v1/promises/{there}"));
        assert!(answer.status == 503 || answer.json()["state"] == json!("resolved"), "{}", answer.text);
        (answer.status == 200).then_some(())
    });
    spread(&nodes);
    assert_eq!(invoke(&nodes[1], "echo", "after", &json!([7]))["value"], json!(7));
}

#[test]
fn nodes_are_replaced_one_by_one_under_load() {
    let mut nodes = cluster(2, "rolling");
    let database = crate::postgres().url("rolling");
    let steady = crate::node(&database).start();
    let client: &Client = &steady;
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..4)
            .map(|worker| {
                scope.spawn(move || {
                    for n in 0..25 {
                        let id = format!("rolling-{worker}-{n}");
                        assert_eq!(patiently(client, "children", &id, &json!([3, 20])), json!(6), "{id}");
                    }
                })
            })
            .collect();
        for node in &mut nodes {
            let begun = Instant::now();
            let status = node.stop();
            assert!(status.success(), "it left with {status}");
            assert!(begun.elapsed() < Duration::from_secs(20), "leaving took {:?}", begun.elapsed());
            node.restart();
        }
        load.into_iter().for_each(|worker| worker.join().expect("all were answered"));
    });
    let all: Vec<Host> = nodes.into_iter().chain([steady]).collect();
    spread(&all);
}
