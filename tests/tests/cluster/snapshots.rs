//! Snapshots: the log doesn't grow for ever, and a node that starts with nothing has everything.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Host, until};

use crate::{calm_cluster, invoke, node, partition, postgres, spread};

/// What is written at once: many of them are more than is appended without a snapshot.
const BIG: usize = 700 << 10;

#[test]
fn the_log_is_trimmed_behind_snapshots_and_nothing_is_missing() {
    const NAME: &str = "snapshots";
    let mut nodes = calm_cluster(2, NAME);
    let before = invoke(&nodes[0], "children", "tree", &json!([5, 1]));
    let value = |id: &str| json!(format!("{id} {}", "x".repeat(BIG)));
    let resolve = |node: &Host, id: &String| {
        node.post(&format!("/v1/promises/{id}/resolve"), &value(id)).expect(200);
    };
    let number = |what: &str| -> i64 {
        let found = postgres().run(NAME, what);
        found[0].parse().unwrap_or_else(|_| panic!("{what}: {found:?}"))
    };
    // All in one partition, until there has been more than one snapshot. One in five stays pending.
    let mut made: Vec<(String, bool)> = Vec::new();
    let mut snapshots = BTreeSet::from([0]);
    for id in (0..).map(|n| format!("big-{n}")).filter(|id| partition(id) == 7) {
        let n = made.len();
        assert!(n < 100, "{snapshots:?} are all snapshots that were made");
        nodes[n % 2].post("/v1/promises", &json!({ "id": id })).expect(201);
        if !n.is_multiple_of(5) {
            resolve(&nodes[(n + 1) % 2], &id);
        }
        made.push((id, !n.is_multiple_of(5)));
        snapshots.insert(number("SELECT snapshot FROM durable.partition WHERE id = 7"));
        if snapshots.len() > 2 {
            break;
        }
    }
    let first = number("SELECT coalesce(min(first), 1000000) FROM durable.log WHERE partition = 7");
    assert!(first > 1, "the log still begins with record {first}");
    let bytes = number("SELECT coalesce(sum(length(bytes)), 0)::int8 FROM durable.log WHERE partition = 7");
    assert!(bytes < (made.len() * BIG / 2) as i64, "{bytes} bytes are left of the log");
    let kept = "SELECT count(DISTINCT (applied, lease_epoch)) FROM durable.snapshot WHERE partition = 7";
    until("the older snapshot is gone", || (number(kept) == 1).then_some(()));
    // What comes after the snapshot is in the log only.
    let (id, is_resolved) = &mut made[5];
    *is_resolved = true;
    resolve(&nodes[0], id);

    nodes.iter_mut().for_each(Host::kill);
    drop(nodes);
    let new = node(&postgres().url(NAME)).start();
    spread(std::slice::from_ref(&new));
    for (id, is_resolved) in &made {
        let document = new.get(&format!("/v1/promises/{id}")).expect(200);
        let expected = if *is_resolved { (json!("resolved"), value(id)) } else { (json!("pending"), Value::Null) };
        let found = (document["state"].clone(), document["value"].clone());
        assert!(found == expected, "{id} is {}, and has {} bytes", found.0, found.1.to_string().len());
    }
    assert_eq!(new.show("tree")["value"], before["value"]);
    resolve(&new, &made[0].0);
    assert_eq!(invoke(&new, "echo", "after", &json!([1]))["value"], json!(1));
}
