//! What holds for the whole host holds on every node: configurations, secrets, components, tokens and idempotency keys.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tests::{Client, Host, Web, edition, guest, until};

use crate::{calm_cluster, calm_node, cluster, ids_on, invoke, partition, postgres, spread};

fn configure(node: &Client, function: &str, change: &Value) {
    node.post(&format!("/v1/functions/{function}/config"), change).expect(200);
}

#[test]
fn a_configuration_is_that_of_all_nodes() {
    let mut nodes = calm_cluster(3, "configured");
    nodes[1].upload(&guest("web")).expect(201);
    for round in 0..6 {
        let node = &nodes[round % 3];
        configure(node, "variable", &json!({ "variables": { "COLOUR": { "value": round.to_string() } } }));
        // Wherever it runs, and whoever is asked for it, it is the one that was set just now.
        for (n, id) in ids_on(&nodes, &format!("colour-{round}")).iter().enumerate() {
            let document = invoke(&nodes[(n + round) % 3], "variable", id, &json!(["COLOUR"]));
            assert_eq!(document["value"], json!(round.to_string()), "{document}");
        }
    }

    // It isn't answered before all know of it, however long one of them takes.
    let first = nodes[0].get("/v1/partitions").expect(200)["items"][0]["address"].clone();
    let has_first = |node: &&Host| first == json!(node.peer_address());
    let asked = nodes.iter().find(has_first).expect("one has the first partition");
    let slow = nodes.iter().find(|node| !has_first(node)).expect("the others don't");
    slow.signal(libc::SIGSTOP);
    let change = json!({ "variables": { "COLOUR": { "value": "late" } } });
    std::thread::scope(|scope| {
        let (answered, answer) = std::sync::mpsc::channel();
        scope.spawn(move || {
            configure(asked, "variable", &change);
            answered.send(()).expect("somebody waits for it");
        });
        answer.recv_timeout(Duration::from_millis(700)).expect_err("a node doesn't know of it");
        slow.signal(libc::SIGCONT);
        answer.recv().expect("it is answered");
    });
    for id in ids_on(&nodes, "late") {
        assert_eq!(invoke(asked, "variable", &id, &json!(["COLOUR"]))["value"], json!("late"));
    }

    const SECRET: &str = "tr0ub4dor-and-3";
    let web = Web::new();
    let change = json!({ "variables": { "KEY": { "value": SECRET, "secret": true } }, "allow": [web.authority()] });
    configure(&nodes[0], "send_variable", &change);
    let told = format!("POST /echo?key={SECRET} the key is {SECRET}");
    for (n, id) in ids_on(&nodes, "secret").iter().enumerate() {
        let document = invoke(&nodes[(n + 1) % 3], "send_variable", id, &json!(["KEY", web.url("/echo")]));
        assert_eq!(document["value"], json!(told));
        let shown = nodes[n].get("/v1/functions/send_variable/config").expect(200);
        assert_eq!(shown["variables"]["KEY"]["secret"], json!(true), "{shown}");
        assert!(!shown.to_string().contains(SECRET), "{shown}");
    }
    // Nor is it the business of the node that was asked to set it.
    nodes.remove(0).stop();
    let new = calm_node(&postgres().url("configured")).start();
    nodes.push(new);
    spread(&nodes);
    for (n, id) in ids_on(&nodes, "later").iter().enumerate() {
        let document = invoke(&nodes[(n + 1) % 3], "send_variable", id, &json!(["KEY", web.url("/echo")]));
        assert_eq!(document["value"], json!(told));
    }
}

/// Executions of `sell`, from a report: how many would go on, and how many would not.
fn counts(report: &Value) -> (u64, u64) {
    assert_eq!(report["complete"], json!(true), "{report}");
    let functions = report["functions"].as_array().expect("a report has functions");
    let sell = functions.iter().find(|function| function["name"] == json!("sell")).expect("it is there");
    let count = |name: &str| sell["unfinished"][name].as_u64().expect("counts are numbers");
    (count("same"), count("differ"))
}

#[test]
fn a_component_is_checked_and_upgraded_in_all_partitions() {
    let nodes = calm_cluster(2, "checked");
    nodes[0].upload(&edition("one")).expect(201);
    let ids: Vec<String> = (0..12).map(|n| format!("order-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        nodes[n % 2].start(id, "sell", json!([n, 600_000]));
    }
    until("all wait", || ids.iter().all(|id| nodes[0].show(id)["entries"] == json!(4)).then_some(()));
    let check = |node: &Client, name: &str| {
        node.try_post("/v1/components/check", &edition(name)).expect("it is there").expect(200)
    };
    // Whoever buys nothing pays the same price.
    assert_eq!(counts(&check(&nodes[0], "two")), (1, 11));
    assert_eq!(counts(&check(&nodes[1], "fix")), (12, 0));
    let upload =
        |node: &Client, name: &str| node.try_post("/v1/components?check=true", &edition(name)).expect("it is there");
    let refusal = upload(&nodes[1], "two").refusal(409, "differs");
    for part in ["11 of the executions under way", "was not uploaded", "differs at entry 1", "step 1: call charge["] {
        assert!(refusal.contains(part), "{part} is not in {refusal}");
    }
    let fixed = upload(&nodes[1], "fix").expect(201)["digest"].clone();
    let upgraded = nodes[0].post_empty("/v1/components/editions/upgrade").expect(200);
    assert_eq!(counts(&upgraded), (12, 0));
    for id in &ids {
        assert_eq!(nodes[1].show(id)["component"], fixed, "{id}");
    }
}

#[test]
fn a_fork_is_where_its_history_is() {
    let nodes = calm_cluster(2, "forked");
    for (n, id) in ids_on(&nodes, "first").iter().enumerate() {
        let node = &nodes[(n + 1) % 2];
        assert_eq!(invoke(node, "naps", id, &json!([5, 1]))["value"], json!(5));
        let fork = node.post_empty(&format!("/v1/executions/{id}/fork?at=3")).expect(201);
        let made_up = fork["id"].as_str().expect("ids are text");
        assert_eq!(nodes[n].wait(made_up)["value"], json!(5));
        let chosen = |is_near: bool| {
            let ids = (0..).map(|n| format!("{id}-fork-{n}"));
            ids.into_iter().find(|fork| (partition(fork) == partition(id)) == is_near).expect("there are all")
        };
        let near = chosen(true);
        node.post_empty(&format!("/v1/executions/{id}/fork?at=3&id={near}")).expect(201);
        assert_eq!(nodes[n].wait(&near)["value"], json!(5));
        let path = format!("/v1/executions/{id}/fork?at=3&id={}", chosen(false));
        let refusal = node.post_empty(&path).refusal(409, "apart");
        assert!(refusal.contains("without an id of its own"), "{refusal}");
    }
}

#[test]
fn a_site_is_served_by_all_nodes() {
    let web = Web::new();
    let nodes = calm_cluster(3, "site");
    nodes[1].try_post("/v1/components?mount=shop", &guest("site")).expect("it is there").expect(201);
    configure(&nodes[2], "shop", &json!({ "allow": [web.authority()] }));
    for node in &nodes {
        let answer = node.try_post("/http/shop/echo/a?b=c", b"hello").expect("it is there");
        assert_eq!((answer.status, answer.text.as_str()), (201, "POST /echo/a?b=c none hello"));
        let answer = node.get(&format!("/http/shop/proxy/{}", web.url("/echo")));
        assert_eq!((answer.status, answer.text.as_str()), (200, "it says: GET /echo "));
        node.get("/http/nobody/").refusal(404, "no_function");
    }
    // The same key is the same request, through whichever node it comes.
    for id in ids_on(&nodes, "order") {
        let put = |node: &Host| {
            let path = format!("/http/shop/proxy/{}", web.url("/count"));
            node.try_post_with(&path, ("idempotency-key", &id), b"").expect("it is there").text
        };
        assert!(nodes.iter().all(|node| put(node) == "it says: 1"), "{id}");
    }
}

#[test]
fn a_token_is_asked_for_by_every_node() {
    let database = postgres().database("token");
    let mut nodes: Vec<Host> = (0..2).map(|_| calm_node(&database).flag("--token", "sesame").prepare()).collect();
    nodes.iter_mut().for_each(Host::spawn);
    nodes.iter_mut().for_each(Host::ready);
    spread(&nodes);
    let key = ("authorization", "Bearer sesame");
    for node in &nodes {
        let paths = [
            "/v1/nodes",
            "/v1/partitions",
            "/v1/functions",
            "/v1/components",
            "/v1/executions",
            "/v1/promises",
            "/v1/promises/a",
            "/v1/promises/b",
            "/v1/executions/a/journal",
            "/v1/functions/x/config",
            "/http/x/",
            "/poll/group/member",
        ];
        for path in paths {
            node.get(path).refusal(401, "unauthorized");
        }
        let paths = ["/v1/functions/x/invoke", "/v1/components", "/v1/components/check", "/v1/promises/a/resolve"];
        for path in paths {
            node.post(path, &json!([])).refusal(401, "unauthorized");
            assert_ne!(node.post_with(path, key, &json!([])).status, 401, "{path}");
            node.post_with(path, ("authorization", "Bearer guess"), &json!([])).refusal(401, "unauthorized");
        }
        for kind in ["promise.get", "promise.search", "task.heartbeat", "schedule.search", "debug.reset"] {
            node.ask(kind, json!({ "id": "a", "pid": "p", "tasks": [] })).expect(401);
        }
        // Of what says how a node is, nothing is anybody's secret.
        for path in ["/health", "/ready", "/metrics"] {
            assert_eq!(node.get(path).status, 200, "{path}");
        }
    }
    for id in ids_on_with(&nodes, key) {
        nodes[0].post_with("/v1/promises", key, &json!({ "id": id })).expect(201);
        nodes[1].post_with(&format!("/v1/promises/{id}/resolve"), key, &json!(1)).expect(200);
    }
}

/// Some ids that lie on both nodes.
fn ids_on_with(nodes: &[Host], key: (&str, &str)) -> Vec<String> {
    let listed = nodes[0].get_with("/v1/partitions", key).expect(200);
    let mut of_node: BTreeMap<String, String> = BTreeMap::new();
    for id in (0..200).map(|n| format!("token-{n}")) {
        let owner = listed["items"][usize::from(partition(&id))]["address"].as_str().expect("it has an owner");
        of_node.insert(owner.to_owned(), id);
    }
    assert_eq!(of_node.len(), nodes.len());
    of_node.into_values().collect()
}

#[test]
fn a_call_is_made_once_though_the_node_that_was_asked_dies() {
    let mut nodes = cluster(3, "asked_again");
    let ids = ids_on(&nodes, "once");
    let path = "/v1/functions/slow_chatter/invoke?wait_ms=60000";
    let arguments = json!([10, 500]);
    let asking: Vec<_> = ids
        .iter()
        .cloned()
        .map(|id| {
            let client: Client = (*nodes[0]).clone();
            let arguments = arguments.clone();
            // Its connection breaks with the node.
            std::thread::spawn(move || {
                let answer = client.try_post_with(path, ("idempotency-key", &id), arguments.to_string().as_bytes());
                answer.is_err()
            })
        })
        .collect();
    let begun = |id: &String| nodes[1].get(&format!("/v1/executions/{id}/logs")).text.contains("line 2");
    until("all have begun", || ids.iter().all(begun).then_some(()));
    nodes[0].kill();
    for asking in asking {
        assert!(asking.join().expect("it doesn't panic"), "nobody was answered by a node that is dead");
    }
    for (n, id) in ids.iter().enumerate() {
        let document = until("another node answers", || {
            let answer = nodes[1 + n % 2].post_with(path, ("idempotency-key", id), &arguments);
            (answer.status == 200).then(|| answer.json())
        });
        assert_eq!((&document["id"], &document["value"]), (&json!(id), &json!(10)));
        let expected: Vec<String> = (1..=10).map(|line| format!("line {line}")).collect();
        assert_eq!(nodes[1].lines(id), expected, "{id} was executed once");
    }
    assert_eq!(nodes[2].items("/v1/executions?function=slow_chatter").len(), ids.len());
}
