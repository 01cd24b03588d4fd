//! Nodes that die, hang and leave, while others go on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Client, Web, guest, until};

use crate::network::effects;
use crate::{cluster, ids_on, invoke, spread};

/// What a function should give while nodes come and go: the client only asks again when it isn't answered.
fn patiently(client: &Client, function: &str, id: &str, arguments: &serde_json::Value) -> serde_json::Value {
    let path = format!("/v1/functions/{function}/invoke?id={id}&wait_ms=2000");
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
    // It is at work, too, on what the other will take over.
    let work: Vec<String> = (0..4).map(|n| ids_on(&nodes, &format!("zombie-work-{n}")).remove(1)).collect();
    for id in &work {
        nodes[1].post(&format!("/v1/functions/naps/invoke?id={id}&wait_ms=0"), &json!([20, 200])).expect(202);
    }
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
    for id in &work {
        assert_eq!(patiently(&nodes[1], "naps", id, &json!([20, 200])), json!(20));
        let journal = nodes[1].get(&format!("/v1/executions/{id}/journal")).expect(200);
        let asked = journal["items"].as_array().expect("a journal has items").iter();
        assert_eq!(asked.filter(|entry| entry["entry"] == json!("asked")).count(), 20, "each nap once");
    }
    assert_eq!(invoke(&nodes[1], "echo", "after", &json!([7]))["value"], json!(7));
}

/// One request waits all the while, and its client never asks again.
#[test]
fn whoever_waits_for_what_a_dead_node_had_has_the_answer() {
    let mut nodes = cluster(2, "held_request");
    let id = ids_on(&nodes, "waits").remove(1);
    let mut dead = nodes.remove(1);
    std::thread::scope(|scope| {
        let client: &Client = &nodes[0];
        let waiting = scope.spawn(|| invoke(client, "naps", &id, &json!([10, 500])));
        until("it has begun", || (client.get(&format!("/v1/executions/{id}:1")).status == 200).then_some(()));
        dead.kill();
        assert_eq!(waiting.join().expect("it was answered")["value"], json!(10));
    });
    assert!(metric(&nodes[0], "takeovers_total") >= 64.0);
}

fn metric(client: &Client, name: &str) -> f64 {
    let all = client.get("/metrics").text;
    let value = all.lines().find_map(|line| line.strip_prefix(&format!("host_{name} ")));
    value.expect("it is there").parse().expect("it is a number")
}

#[test]
fn nodes_are_replaced_one_by_one_under_load() {
    let mut nodes = cluster(3, "rolling");
    let web = Web::new();
    nodes[0].upload(&guest("web")).expect(201);
    nodes[0].post("/v1/functions/fetch_sleep_fetch/config", &json!({ "allow": [web.authority()] })).expect(200);
    let (over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients: Vec<Client> = nodes.iter().map(|node| node.impatient()).collect();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (web, over, made, clients) = (&web, &over, &made, &clients);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let n = made.fetch_add(1, Ordering::Relaxed);
                    let id = format!("rolling-{worker}-{n}");
                    let arguments = json!([web.url(&format!("/echo/{id}")), 100]);
                    let value = patiently(&clients[n % 3], "fetch_sleep_fetch", &id, &arguments);
                    assert_eq!(value, json!(["first", "second"].map(|body| format!("POST /echo/{id} {body}"))));
                }
            });
        }
        let over = Over(&over);
        for node in &mut nodes {
            let before = made.load(Ordering::Relaxed);
            until("there is work", || (made.load(Ordering::Relaxed) > before + 20).then_some(()));
            let begun = Instant::now();
            let status = node.stop();
            assert!(status.success(), "it left with {status}");
            assert!(begun.elapsed() < Duration::from_secs(20), "leaving took {:?}", begun.elapsed());
            node.restart();
        }
        drop(over);
    });
    spread(&nodes);
    effects(&web, made.into_inner(), crate::postgres(), "rolling");
}

/// However a test ends, those who work for it do.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
