//! Cables that are pulled: a node without its database, without its peers, and without both, for longer than its lease.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Cable, Client, Host, Network, Postgres, Setup, Web, guest, host_binary, until};

use crate::{ids_on, partition, spread};

/// How long a cable is pulled: several times the lease.
const PULLED: Duration = Duration::from_secs(8);
const DATABASE: &str = "network";

struct Cut<'a> {
    name: &'a str,
    node: usize,
    cables: &'a [Cable],
}

#[test]
fn a_node_that_is_cut_off_answers_nothing_wrong_and_comes_back() {
    let network = Network::new(3);
    let postgres = Postgres::start_at(&network.address(Cable::Database));
    let web = Web::at(&network.address(Cable::Clients));
    let database = postgres.database(DATABASE);
    let node = |place| Setup::new().node_of(&database).flag("--lease", "2s").at(network.place(place));
    let mut nodes: Vec<Host> = (0..3).map(|place| node(place).prepare()).collect();
    nodes.iter_mut().for_each(Host::spawn);
    nodes.iter_mut().for_each(Host::ready);
    spread(&nodes);
    for name in ["misbehave", "web"] {
        patiently("a component is there", || nodes[0].try_post("/v1/components", &guest(name)).ok(), 201);
    }
    let allow = json!({ "allow": [web.authority()] }).to_string();
    let configure = || nodes[0].try_post("/v1/functions/fetch_sleep_fetch/config", allow.as_bytes()).ok();
    patiently("requests are allowed", configure, 200);
    for cut in [
        Cut { name: "database", node: 0, cables: &[Cable::Database] },
        Cut { name: "peers", node: 1, cables: &[Cable::Peers] },
        Cut { name: "both", node: 2, cables: &[Cable::Database, Cable::Peers] },
    ] {
        let begun = Instant::now();
        pull(&network, &nodes, &web, &cut);
        spread(&nodes);
        println!("without {}: whole again after {:?}", cut.name, begun.elapsed());
    }
    effects(&web, 3 * 9, &postgres, DATABASE);
}

/// Ask until the answer has this status.
#[track_caller]
fn patiently(what: &str, mut ask: impl FnMut() -> Option<tests::Answer>, status: u16) -> tests::Answer {
    until(what, || ask().filter(|answer| answer.status == status))
}

fn pull(network: &Network, nodes: &[Host], web: &Web, cut: &Cut<'_>) {
    let Cut { name, node, cables } = *cut;
    let (alone, other) = (&nodes[node], &nodes[(node + 1) % 3]);
    // A promise on the node that is cut off, and one elsewhere; and work everywhere, with effects outside.
    let promises = ids_on(nodes, &format!("{name}-promise"));
    let (own, far) = (&promises[node], &promises[(node + 1) % 3]);
    // One that nobody tries to settle again: what waits to be recorded would keep whoever asks waiting.
    let quiet = &ids_on(nodes, &format!("{name}-quiet"))[node];
    for id in [own, far, quiet] {
        let new = json!({ "id": id }).to_string();
        let make = || other.try_post("/v1/promises", new.as_bytes()).ok();
        let answer = until("it is made", || make().filter(|answer| [200, 201, 409].contains(&answer.status)));
        assert_ne!(answer.status, 409, "{}", answer.text);
    }
    let work: Vec<String> = (0..3).flat_map(|n| ids_on(nodes, &format!("{name}-work-{n}"))).collect();
    for id in &work {
        let arguments = json!([web.url(&format!("/echo/{id}")), 3_000]).to_string();
        let path = format!("/v1/functions/fetch_sleep_fetch/invoke?id={id}&wait_ms=0");
        let call = || other.try_post(&path, arguments.as_bytes()).ok();
        until("it is called", || call().filter(|answer| [200, 202].contains(&answer.status)));
    }
    let has_begun = || {
        let seen: BTreeSet<String> = web.seen().into_iter().map(|seen| seen.path).collect();
        work.iter().all(|id| seen.contains(&format!("/echo/{id}")))
    };
    until("all have had an effect", || has_begun().then_some(()));

    cables.iter().for_each(|cable| network.pull(node, *cable));
    let pulled = Instant::now();
    let has_lost_its_lease = cables.contains(&Cable::Database);
    // Another node takes over and settles it; from then on nobody says anything else.
    let settle = |client: &Client, id: &str, value: &str| {
        client.impatient().try_post(&format!("/v1/promises/{id}/resolve"), json!(value).to_string().as_bytes()).ok()
    };
    for id in [own, quiet] {
        // An answer that didn't come in time may have been this one: then it is settled already.
        let settled = || settle(other, id, "first").filter(|answer| answer.status != 503);
        until("it is settled by whoever has it now", settled);
    }
    println!("without {name}: settled after {:?}", pulled.elapsed());
    assert!(pulled.elapsed() < PULLED, "a takeover takes the lease and a second");
    if !has_lost_its_lease {
        cut_off(alone, other, own);
    }
    let mut asked = 0;
    while pulled.elapsed() < PULLED || asked == 0 {
        asked += 1;
        for client in nodes {
            check(client, quiet, &json!("first"));
            if let Some(answer) = settle(client, own, "second") {
                assert!([409, 503].contains(&answer.status), "{name}: settled again: {}", answer.text);
            }
            check(client, own, &json!("first"));
        }
    }
    cables.iter().for_each(|cable| network.plug(node, *cable));
    for client in nodes {
        let path = format!("/v1/promises/{own}");
        let found = patiently("it is found by all", || client.try_get(&path).ok(), 200);
        assert_eq!(found.json()["value"], json!("first"), "{}", found.text);
        let path = format!("/v1/promises/{far}");
        let found = patiently("the other one as well", || client.try_get(&path).ok(), 200);
        assert_eq!(found.json()["state"], json!("pending"), "{}", found.text);
        for id in &work {
            let path = format!("/v1/executions/{id}?wait_ms=1000");
            until(&format!("{id} has ended"), || {
                let answer = client.try_get(&path).ok().filter(|answer| answer.status == 200)?.json();
                let expected = ["first", "second"].map(|body| format!("POST /echo/{id} {body}"));
                match answer["state"].as_str() {
                    Some("pending") => None,
                    state => {
                        assert_eq!((state, &answer["value"]), (Some("resolved"), &json!(expected)), "{answer}");
                        Some(())
                    }
                }
            });
        }
    }
}

/// A node that has its database and not its peers gives all away, and all say so. What it had is called through others.
fn cut_off(alone: &Host, other: &Host, own: &str) {
    until("the others have all that it had", || {
        let nodes = other.impatient().try_get("/v1/nodes").ok()?.json();
        let mut nodes = nodes["items"].as_array()?.iter();
        let node = nodes.find(|node| node["address"] == json!(alone.peer_address()))?;
        (node["cut_off"] == json!(true) && node["partitions"] == json!(0)).then_some(())
    });
    let listed = Command::new(host_binary()).args(["--url", other.url(), "nodes"]).output().expect("it can be started");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(listed.matches("cut off from others").count(), 1, "{listed}");
    let same = (0..).map(|n| format!("{own}-{n}")).find(|id| partition(id) == partition(own)).expect("there is one");
    let path = format!("/v1/functions/echo/invoke?id={same}");
    patiently("a call of what it had is answered", || other.impatient().try_post(&path, b"[1]").ok(), 200);
    let refusal = alone.get("/ready").refusal(503, "unavailable");
    assert!(refusal.contains("don't reach each other"), "{refusal}");
    // It doesn't keep its clients waiting for what it can't reach.
    let refused = until("it says so to clients", || {
        let answer = alone.impatient().try_get(&format!("/v1/promises/{own}")).ok()?;
        (answer.status == 503).then_some(answer)
    });
    assert!(refused.text.contains("don't reach each other"), "{}", refused.text);
}

/// What a node says of a promise that has been settled, if it says anything.
fn check(client: &Client, id: &str, value: &Value) {
    let Ok(answer) = client.impatient().try_get(&format!("/v1/promises/{id}")) else { return };
    match answer.status {
        503 => {}
        status => {
            assert_eq!(status, 200, "{}", answer.text);
            let found = answer.json();
            assert_eq!((&found["state"], &found["value"]), (&json!("resolved"), value), "{found}");
        }
    }
}

/// No effect is lost, each has one key, and none is tried more often than its partition was taken.
pub(crate) fn effects(web: &Web, calls: usize, postgres: &Postgres, database: &str) {
    let tries = |id: &str| -> usize {
        let partition = partition(id);
        let epoch =
            postgres.run(database, &format!("SELECT lease_epoch FROM durable.partition WHERE id = {partition}"));
        epoch[0].parse().expect("an epoch is a number")
    };
    let mut keys: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for seen in web.seen() {
        let key = seen.headers.get("idempotency-key").cloned().unwrap_or_default();
        keys.entry((seen.path, seen.body)).or_default().push(key);
    }
    assert_eq!(keys.len(), 2 * calls, "{:?}", keys.keys());
    let mut all = BTreeSet::new();
    for ((path, body), keys) in &keys {
        assert!(keys.iter().all(|key| key.len() == 32 && *key == keys[0]), "{path} {body}: {keys:?}");
        let tries = tries(path.trim_start_matches("/echo/"));
        assert!(keys.len() <= tries, "{path} {body} was tried {} times in {tries} epochs", keys.len());
        assert!(all.insert(keys[0].clone()), "{path} {body} has a key of its own");
    }
}
