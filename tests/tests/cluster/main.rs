//! Clusters: several hosts over one PostgreSQL, as one host.

mod bad_days;
mod crossing;
mod database;
mod everywhere;
mod failover;
mod kills;
mod migrate;
mod network;
mod protocol;
mod snapshots;
mod work;

use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tests::{Client, Host, Postgres, Setup, guest, until};

/// One server for all tests that don't hurt it.
fn postgres() -> &'static Postgres {
    static POSTGRES: OnceLock<Postgres> = OnceLock::new();
    POSTGRES.get_or_init(Postgres::start)
}

/// So many nodes over a new database, with the guest of the tests.
fn cluster(nodes: usize, name: &str) -> Vec<Host> {
    let database = postgres().database(name);
    together((0..nodes).map(|_| node(&database).prepare()).collect())
}

/// The same, for tests that hurt nobody: its leases outlast the pauses of a busy machine.
fn calm_cluster(nodes: usize, name: &str) -> Vec<Host> {
    let database = postgres().database(name);
    together((0..nodes).map(|_| calm_node(&database).prepare()).collect())
}

fn together(mut nodes: Vec<Host>) -> Vec<Host> {
    // All at once, so that they race for setting up the database.
    nodes.iter_mut().for_each(Host::spawn);
    nodes.iter_mut().for_each(Host::ready);
    spread(&nodes);
    nodes[0].upload(&guest("misbehave")).expect(201);
    nodes
}

pub(crate) fn node(database: &str) -> Setup {
    Setup::new().node_of(database).flag("--lease", "2s")
}

fn calm_node(database: &str) -> Setup {
    Setup::new().node_of(database).flag("--lease", "20s")
}

/// Wait until all nodes have their share, and agree about it.
fn spread(nodes: &[Host]) {
    until("partitions are spread evenly", || {
        let even = |host: &Host| {
            let health = host.try_get("/ready").ok().filter(|answer| answer.status == 200)?.json();
            let partitions = health["partitions"].as_u64()?;
            let share = 64 / nodes.len() as u64;
            (share..=share + 1).contains(&partitions).then_some(())
        };
        nodes.iter().map(even).collect::<Option<Vec<()>>>()
    });
}

/// Ids of roots that lie on different nodes: one for each.
fn ids_on(nodes: &[Host], prefix: &str) -> Vec<String> {
    let parts = nodes[0].get("/v1/partitions").json();
    let owner = |partition: u8| parts["items"][usize::from(partition)]["address"].as_str().unwrap_or("").to_owned();
    nodes
        .iter()
        .map(|node| {
            let own = node.peer_address();
            let ids = (0..10_000).map(|n| format!("{prefix}-{n}"));
            ids.into_iter().find(|id| owner(partition(id)) == own).expect("each node has partitions")
        })
        .collect()
}

/// As the machine has it: `Id::partition`, for ids without dots and colons.
fn partition(id: &str) -> u8 {
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    ((hash ^ (hash >> 33)) % 64) as u8
}

fn invoke(client: &Client, function: &str, id: &str, arguments: &Value) -> Value {
    let answer = client.post(&format!("/v1/functions/{function}/invoke?id={id}&wait_ms=60000"), arguments);
    assert_eq!(answer.status, 200, "{function} as {id}: {}", answer.text);
    answer.json()
}

#[test]
fn any_node_answers_for_all() {
    let nodes = cluster(3, "any_node");
    let ids = ids_on(&nodes, "any");
    for (n, id) in ids.iter().enumerate() {
        // Through a node that doesn't have it, and then found by all.
        let other = &nodes[(n + 1) % nodes.len()];
        assert_eq!(invoke(other, "echo", id, &json!([n]))["value"], json!(n));
        for node in &nodes {
            let document = node.get(&format!("/v1/executions/{id}")).expect(200);
            assert_eq!((&document["state"], &document["value"]), (&json!("resolved"), &json!(n)));
        }
        let log = other.get(&format!("/v1/executions/{id}/journal")).expect(200);
        assert_eq!(log["items"].as_array().map(Vec::len), Some(2), "{log}");
    }
    let names = |node: &Host| node.get("/v1/functions").expect(200)["items"].as_array().map(Vec::len);
    assert!(nodes.iter().all(|node| names(node) == names(&nodes[0]) && names(node) > Some(10)));
    // Events of an execution elsewhere come as they happen.
    let id = &ids_on(&nodes, "events")[1];
    nodes[0].post(&format!("/v1/functions/naps/invoke?id={id}&wait_ms=0"), &json!([3, 50])).expect(202);
    let events: Vec<String> = nodes[2].events(id, "").map(|event| event.name).collect();
    assert_eq!(events.last().map(String::as_str), Some("settled"), "{events:?}");
    assert_eq!(events.len(), 9, "started, three times asked and told, finished, settled: {events:?}");
}

#[test]
fn lists_are_of_all_partitions() {
    let nodes = calm_cluster(2, "lists");
    let listed = |verb: &str| {
        let ran = Command::new(tests::host_binary()).args(["--url", nodes[0].url(), verb]).output();
        let out = String::from_utf8(ran.expect("it can be started").stdout).expect("it prints text");
        let rows = out.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect());
        rows.collect::<Vec<Vec<String>>>()
    };
    let (of_nodes, partitions) = (listed("nodes"), listed("partitions"));
    let size = |range: &str| -> usize {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        last.parse::<usize>().expect("a number") + 1 - first.parse::<usize>().expect("a number")
    };
    for node in &nodes {
        let row = of_nodes.iter().find(|row| row[1] == node.peer_address()).expect("it is one of them");
        assert_eq!(row[2], "32", "{row:?}");
        let own = partitions.iter().filter(|row| row[2] == node.peer_address());
        assert_eq!(own.map(|row| size(&row[0])).sum::<usize>(), 32, "{partitions:?}");
    }
    let mut made: Vec<String> = (0..120).map(|n| format!("list-{n}")).collect();
    for (n, id) in made.iter().enumerate() {
        nodes[n % 2].post("/v1/promises", &json!({ "id": id })).expect(201);
    }
    for (node, limit) in nodes.iter().zip([7, 1_000]) {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = node.get(&format!("/v1/promises?limit={limit}{cursor}")).expect(200);
            let items = page["items"].as_array().expect("a page has items").clone();
            assert!(items.len() <= limit);
            seen.extend(items.iter().map(|item| item["id"].as_str().expect("an id is text").to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        seen.sort();
        made.sort();
        assert_eq!(seen, made, "each is there once");
    }
    nodes[0].get("/v1/promises?cursor=nonsense").refusal(400, "bad_request");
}

#[test]
fn a_cluster_describes_itself() {
    let nodes = calm_cluster(2, "described");
    let document = nodes[1].get("/openapi.json").expect(200);
    let paths = document["paths"].as_object().expect("paths are an object");
    for path in ["/health", "/ready", "/metrics", "/v1/nodes", "/v1/partitions", "/v1/functions", "/http/{name}/{path}"]
    {
        assert!(paths.contains_key(path), "{path} is not described");
    }
    for (path, operations) in paths.iter().filter(|(path, _)| !path.starts_with("/poll/")) {
        let there = path.replace("{id}", "nowhere").replace("{name}", "nowhere").replace("{path}", "");
        let Some(operation) = operations.get("get") else { continue };
        let answer = nodes[0].get(&there);
        assert!(answer.status < 500 && !answer.text.contains("no_such_"), "{path}: {answer:?}");
        // What is answered is as it is described.
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
        if let Some(pointer) = schema.as_str().and_then(|name| name.strip_prefix('#')).filter(|_| answer.status == 200)
        {
            let required = document.pointer(&format!("{pointer}/required")).expect("it leads somewhere").clone();
            for name in required.as_array().into_iter().flatten().filter_map(Value::as_str) {
                assert!(answer.json().get(name).is_some(), "{path} has no {name}: {}", answer.text);
            }
        }
    }
}
