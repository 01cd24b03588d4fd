//! Resonate's promise protocol through any node: promises, workers and those who listen are all on different ones.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::{Client, Poll, until};

use crate::database::refused;
use crate::{calm_cluster, cluster, ids_on, partition};

/// A deadline that no test reaches.
const FAR: u64 = 9_000_000_000_000;

fn promise(id: &str, tags: Value) -> Value {
    json!({ "id": id, "timeoutAt": FAR, "param": {}, "tags": tags })
}

fn external(id: &str) -> Value {
    promise(id, json!({ "resonate:external": "true" }))
}

fn settlement(id: &str, data: &str) -> Value {
    json!({ "id": id, "state": "resolved", "value": { "data": data } })
}

#[track_caller]
fn acquire(client: &Client, id: &str, version: u64, ttl: u64) {
    client.ask("task.acquire", json!({ "id": id, "version": version, "pid": "worker", "ttl": ttl })).expect(200);
}

#[track_caller]
fn fulfill(client: &Client, id: &str, version: u64, data: &str) {
    let action = json!({ "kind": "promise.settle", "head": {}, "data": settlement(id, data) });
    client.ask("task.fulfill", json!({ "id": id, "version": version, "action": action })).expect(200);
}

#[track_caller]
fn suspend(client: &Client, id: &str, version: u64, awaited: &[&str]) -> u64 {
    let action = |awaited: &&str| json!({ "kind": "promise.register_callback", "head": {}, "data": { "awaited": awaited, "awaiter": id } });
    let actions: Vec<_> = awaited.iter().map(action).collect();
    client.ask("task.suspend", json!({ "id": id, "version": version, "actions": actions })).status
}

/// Tasks that are offered, until each of these was.
#[track_caller]
fn offered(poll: &Poll, expected: impl IntoIterator<Item = (String, u64)>) {
    let mut expected: BTreeSet<_> = expected.into_iter().collect();
    while !expected.is_empty() {
        // An offer that isn't taken up is made again.
        expected.remove(&poll.execute());
    }
}

#[test]
fn a_promise_is_the_same_through_any_node() {
    let nodes = calm_cluster(3, "protocol_any");
    for (n, id) in ids_on(&nodes, "same").iter().enumerate() {
        let [one, two, three] = [1, 2, 0].map(|other| &nodes[(n + other) % 3]);
        for node in &nodes {
            node.ask("promise.get", json!({ "id": id })).expect(404);
            node.ask("promise.settle", settlement(id, "early")).expect(404);
        }
        let made = one.ask("promise.create", external(id)).expect(200);
        assert_eq!(two.ask("promise.create", external(id)).expect(200), made);
        assert_eq!(three.ask("promise.get", json!({ "id": id })).expect(200), made);
        let settled = two.ask("promise.settle", settlement(id, "one")).expect(200);
        assert_eq!(
            (&settled["promise"]["state"], &settled["promise"]["value"]["data"]),
            (&json!("resolved"), &json!("one"))
        );
        for node in &nodes {
            let again = json!({ "id": id, "state": "rejected", "value": { "data": "two" } });
            assert_eq!(node.ask("promise.settle", again).expect(200), settled, "it is settled once");
            assert_eq!(node.ask("promise.get", json!({ "id": id })).expect(200), settled);
        }
        // Both doors lead to the same promise.
        assert_eq!(two.get(&format!("/v1/promises/{id}")).expect(200)["state"], json!("resolved"));
    }
}

#[test]
fn a_worker_on_any_node_has_the_tasks_of_all() {
    let nodes = calm_cluster(3, "protocol_worker");
    let ids = ids_on(&nodes, "work");
    let worker = nodes[0].poll("w", "1");
    let client = nodes[1].poll("c", "me");
    for id in &ids {
        nodes[2].ask("promise.create", promise(id, json!({ "resonate:target": "poll://any@w" }))).expect(200);
        let listener = json!({ "awaited": id, "address": "poll://uni@c/me" });
        nodes[0].ask("promise.register_listener", listener).expect(200);
    }
    offered(&worker, ids.iter().map(|id| (id.clone(), 0)));
    for (n, id) in ids.iter().enumerate() {
        acquire(&nodes[(n + 1) % 3], id, 0, 60_000);
        // It is taken, whichever node is asked.
        let again = json!({ "id": id, "version": 0, "pid": "other", "ttl": 1_000 });
        nodes[n].ask("task.acquire", again).expect(409);
        fulfill(&nodes[(n + 2) % 3], id, 1, "done");
    }
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    while told.len() < ids.len() {
        let message = client.next();
        assert_eq!(message["kind"], json!("unblock"), "{message}");
        let promise = &message["data"]["promise"];
        assert_eq!(promise["value"]["data"], json!("done"), "{message}");
        *told.entry(promise["id"].as_str().expect("ids are text").to_owned()).or_default() += 1;
    }
    assert_eq!(told.keys().collect::<Vec<_>>(), ids.iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
}

#[test]
fn what_nobody_heard_is_told_to_whoever_comes_to_another_node() {
    let nodes = calm_cluster(2, "protocol_late");
    let [here, there] = ids_on(&nodes, "late").try_into().expect("there are two nodes");
    for id in [&here, &there] {
        nodes[0].ask("promise.create", promise(id, json!({ "resonate:target": "poll://any@w" }))).expect(200);
    }
    let [own, other] = ids_on(&nodes, "told").try_into().expect("there are two nodes");
    for id in [&own, &other] {
        nodes[0].ask("promise.create", external(id)).expect(200);
        nodes[1].ask("promise.register_listener", json!({ "awaited": id, "address": "poll://uni@c/me" })).expect(200);
        nodes[0].ask("promise.settle", settlement(id, "x")).expect(200);
    }
    offered(&nodes[1].poll("w", "1"), [(here, 0), (there, 0)]);
    let client = nodes[0].poll("c", "me");
    let mut told = BTreeSet::new();
    while told.len() < 2 {
        told.insert(client.next()["data"]["promise"]["id"].as_str().expect("ids are text").to_owned());
    }
    assert_eq!(told, BTreeSet::from([own, other]));
}

/// The connections stay open all the while, at the node that lives.
#[test]
fn whoever_polls_is_told_of_what_a_dead_node_had() {
    let mut nodes = cluster(2, "protocol_poll");
    let [task, awaited, later] = ["task", "awaited", "later"].map(|name| ids_on(&nodes, name).remove(1));
    let (worker, client) = (nodes[0].poll("w", "1"), nodes[0].poll("c", "me"));
    nodes[0].ask("promise.create", promise(&task, json!({ "resonate:target": "poll://any@w" }))).expect(200);
    offered(&worker, [(task.clone(), 0)]);
    acquire(&nodes[0], &task, 0, 60_000);
    nodes[0].ask("promise.create", external(&awaited)).expect(200);
    assert_eq!(suspend(&nodes[0], &task, 1, &[&awaited]), 200);
    nodes[0].ask("promise.register_listener", json!({ "awaited": task, "address": "poll://uni@c/me" })).expect(200);
    nodes[1].kill();
    nodes[0].ask("promise.settle", settlement(&awaited, "x")).expect(200);
    offered(&worker, [(task.clone(), 1)]);
    acquire(&nodes[0], &task, 1, 60_000);
    fulfill(&nodes[0], &task, 2, "done");
    let told = client.next();
    assert_eq!((&told["kind"], &told["data"]["promise"]["id"]), (&json!("unblock"), &json!(task)), "{told}");
    nodes[0].ask("promise.create", promise(&later, json!({ "resonate:target": "poll://any@w" }))).expect(200);
    offered(&worker, [(later, 0)]);
}

#[test]
fn one_heartbeat_keeps_tasks_of_several_partitions() {
    let nodes = calm_cluster(3, "protocol_heart");
    let ids = ids_on(&nodes, "beat");
    let lone = ids_on(&nodes, "lone").remove(0);
    for id in ids.iter().chain([&lone]) {
        let new = json!({ "pid": "worker", "ttl": 6_000, "action": { "kind": "promise.create", "head": {},
            "data": promise(id, json!({ "resonate:target": "poll://any@w" })) } });
        nodes[1].ask("task.create", new).expect(200);
    }
    let state = |id: &String| nodes[2].ask("task.get", json!({ "id": id })).expect(200)["task"]["state"].clone();
    let tasks: Vec<_> = ids.iter().map(|id| json!({ "id": id, "version": 1 })).collect();
    let mut beats = nodes.iter().cycle();
    until("the one that is made last, and isn't kept, is free", || {
        let node = beats.next().expect("it goes round");
        node.ask("task.heartbeat", json!({ "pid": "worker", "tasks": tasks })).expect(200);
        (state(&lone) == json!("pending")).then_some(())
    });
    for id in &ids {
        assert_eq!(state(id), json!("acquired"), "{id}");
    }
    let other = json!({ "pid": "other", "tasks": tasks });
    nodes[0].ask("task.heartbeat", other).expect(200);
    until("without a heartbeat they are free", || ids.iter().all(|id| state(id) == json!("pending")).then_some(()));
}

#[test]
fn a_task_waits_for_promises_of_other_partitions() {
    let nodes = calm_cluster(2, "protocol_suspend");
    let [here, there] = ids_on(&nodes, "task").try_into().expect("there are two nodes");
    let [near, far] = ids_on(&nodes, "awaited").try_into().expect("there are two nodes");
    let worker = nodes[1].poll("w", "1");
    for id in [&near, &far] {
        nodes[0].ask("promise.create", external(id)).expect(200);
    }
    nodes[0].ask("promise.create", promise(&here, json!({ "resonate:target": "poll://any@w" }))).expect(200);
    offered(&worker, [(here.clone(), 0)]);
    acquire(&nodes[1], &here, 0, 60_000);
    assert_eq!(suspend(&nodes[1], &here, 1, &[&near, &far]), 200);
    nodes[0].ask("promise.settle", settlement(&far, "x")).expect(200);
    offered(&worker, [(here.clone(), 1)]);
    acquire(&nodes[1], &here, 1, 60_000);
    // What is settled already doesn't keep it waiting, and neither does what isn't there: the task finds out.
    for (version, awaited) in [(2, &far), (3, &there)] {
        match suspend(&nodes[0], &here, version, &[awaited]) {
            200 => {
                offered(&worker, [(here.clone(), version)]);
                acquire(&nodes[1], &here, version, 60_000);
            }
            status => panic!("{awaited}: {status}"),
        }
    }
    fulfill(&nodes[1], &here, 4, "done");
    // Without a task of its own in between.
    nodes[0].ask("promise.create", promise(&there, json!({ "resonate:target": "poll://any@w" }))).expect(200);
    offered(&worker, [(there.clone(), 0)]);
    acquire(&nodes[0], &there, 0, 60_000);
    assert_eq!(suspend(&nodes[0], &there, 1, &[&near]), 200);
    nodes[1].ask("promise.settle", settlement(&near, "x")).expect(200);
    offered(&worker, [(there.clone(), 1)]);
}

#[test]
fn a_search_finds_each_once_and_in_order() {
    let nodes = calm_cluster(2, "protocol_search");
    // Some partitions have more than a page, and most have nothing.
    let some = (0..).map(|n| format!("find-{n}")).filter(|id| partition(id).is_multiple_of(21));
    let mut made: Vec<String> = some.take(60).collect();
    let is_third = |id: &str| id[5..].parse::<u32>().is_ok_and(|n| n % 3 == 0);
    for (n, id) in made.iter().enumerate() {
        let kind = if is_third(id) { "third" } else { "other" };
        let tags = json!({ "resonate:target": "poll://any@nobody", "kind": kind });
        nodes[n % 2].ask("promise.create", promise(id, tags)).expect(200);
        let schedule = json!({ "id": id, "cron": "0 0 1 1 *", "promiseId": "{{.id}}-{{.timestamp}}",
            "promiseTimeout": 1_000, "promiseParam": {}, "promiseTags": { "resonate:external": "true" } });
        nodes[(n + 1) % 2].ask("schedule.create", schedule).expect(200);
    }
    made.sort();
    let third: Vec<String> = made.iter().filter(|id| is_third(id)).cloned().collect();
    let by_kind = json!({ "tags": { "kind": "third" } });
    for (limit, node) in [(4, &nodes[0]), (1_000, &nodes[1])] {
        for (kind, list, filter, expected) in [
            ("promise.search", "promises", &json!({}), &made),
            ("promise.search", "promises", &by_kind, &third),
            ("task.search", "tasks", &json!({ "state": "pending" }), &made),
            ("schedule.search", "schedules", &json!({}), &made),
        ] {
            let (mut seen, mut cursor): (Vec<String>, Value) = (Vec::new(), Value::Null);
            loop {
                let mut data = filter.clone();
                data["limit"] = json!(limit);
                if cursor != Value::Null {
                    data["cursor"] = cursor;
                }
                let page = node.ask(kind, data).expect(200);
                let items = page[list].as_array().expect("a page has items");
                assert!(items.len() <= limit, "{kind} by {limit}");
                seen.extend(items.iter().map(|item| item["id"].as_str().expect("ids are text").to_owned()));
                cursor = page["cursor"].clone();
                if cursor == Value::Null {
                    break;
                }
            }
            assert_eq!(&seen, expected, "{kind} by {limit}");
        }
    }
    nodes[0].ask("promise.search", json!({ "limit": 0 })).expect(400);
    nodes[0].ask("promise.search", json!({ "state": "done" })).expect(400);
}

#[test]
fn a_schedule_fires_once_for_each_time_whoever_dies() {
    let mut nodes = cluster(3, "protocol_schedule");
    let ids = ids_on(&nodes, "tick");
    let every_second = json!({ "id": ids[2], "cron": "* * * * * *", "promiseId": "{{.id}}-{{.timestamp}}",
        "promiseTimeout": 86_400_000, "promiseParam": {}, "promiseTags": { "resonate:target": "poll://any@w" } });
    nodes[0].ask("schedule.create", every_second).expect(200);
    let times = |node: &Client| -> Vec<u64> {
        let filter = json!({ "tags": { "resonate:schedule": ids[2] }, "limit": 1_000 });
        let found = node.ask("promise.search", filter).expect(200);
        let items = found["promises"].as_array().expect("a page has items");
        let time = |item: &Value| {
            let id = item["id"].as_str().expect("ids are text");
            let time = id.rsplit_once('-').and_then(|(_, time)| time.parse().ok());
            assert_eq!(item["createdAt"].as_u64(), time, "{item}");
            time.expect("the id ends in the time")
        };
        let mut times: Vec<u64> = items.iter().map(time).collect();
        times.sort_unstable();
        times
    };
    let before = until("it has fired", || Some(times(&nodes[0])).filter(|times| times.len() >= 3));
    nodes[2].kill();
    let after = until("it fires again", || Some(times(&nodes[1])).filter(|times| times.len() >= before.len() + 6));
    let gaps: BTreeSet<u64> = after.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, BTreeSet::from([1_000]), "each second once: {after:?}");
    assert!(after.starts_with(&before));
    // Each is a task of its own, and its worker is offered each.
    let worker = nodes[1].poll("w", "1");
    nodes[0].ask("schedule.delete", json!({ "id": ids[2] })).expect(200);
    offered(&worker, after.iter().map(|time| (format!("{}-{time}", ids[2]), 0)));
    nodes[1].ask("schedule.get", json!({ "id": ids[2] })).expect(404);
}

#[test]
fn a_cluster_has_no_debug_surface_and_says_so() {
    let nodes = calm_cluster(2, "protocol_debug");
    for kind in ["debug.start", "debug.stop", "debug.reset", "debug.snap", "debug.tick"] {
        let refused = nodes[0].ask(kind, json!({ "time": 1 }));
        assert_eq!(refused.status, 403, "{kind}: {}", refused.data);
        assert!(refused.data.as_str().expect("a reason is text").contains("--debug"), "{}", refused.data);
    }
    nodes[1].ask_at(1, "promise.get", json!({ "id": "x" })).expect(403);
    nodes[1].ask("promise.invent", json!({ "id": "x" })).expect(400);
    let database = crate::postgres().url("protocol_debug");
    refused(crate::node(&database).flag("--debug", "true"), "a cluster has no debug surface");
}
