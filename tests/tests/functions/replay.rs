//! Executions that were evicted, or that outlived a restart, go on as if nothing had been.

use serde_json::{Value, json};
use tests::{Client, Host, Look, Setup, until};

use crate::of;

/// So few sessions that nearly every wait is an eviction.
const SESSIONS: u64 = 2;

fn crowded() -> Host {
    Setup::new().flag("--sessions", SESSIONS).start()
}

#[test]
fn what_waits_is_evicted_and_resumed() {
    let host = crowded();
    let ids: Vec<String> = (0..30).map(|n| format!("sleeper-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        host.start(id, "countdown", json!([3, 50 + n * 7]));
    }
    until("all are asleep, and few are in memory", || {
        let asleep = |id: &String| host.show(id)["task"] == "suspended";
        ids.iter().any(asleep).then_some(())
    });
    assert!(host.health()["sessions"].as_u64() <= Some(SESSIONS), "{}", host.health());
    for id in &ids {
        assert_eq!(host.wait(id)["value"], 3);
        assert_eq!(host.lines(id), ["3", "2", "1", "lift-off"], "each line is written once");
    }
    assert!(host.health()["sessions"].as_u64() <= Some(SESSIONS), "{}", host.health());
}

#[test]
fn a_replay_sees_the_same_time_and_the_same_chance() {
    let mut host = crowded();
    let ids: Vec<String> = (0..8).map(|n| format!("observer-{n}")).collect();
    for id in &ids {
        host.start(id, "clock_and_random", json!([700]));
    }
    let mut first = Vec::new();
    for id in &ids {
        first.push(until("it has looked", || host.lines(id).first().cloned()));
    }
    host.kill();
    host.restart();
    for (id, first) in ids.iter().zip(first) {
        let document = host.wait(id);
        let first: Value = serde_json::from_str(&first).expect("it prints JSON");
        assert_eq!(document["value"][0], first, "{id}: a replay saw something else than the run that printed");
        assert_eq!(host.lines(id).len(), 1);
        let elapsed = document["value"][1]["elapsed_ns"].as_u64().expect("a number");
        assert!(elapsed >= 700_000_000, "the clock goes on over a restart: {elapsed}");
    }
}

/// What depends on time, chance and order, many at once among few sessions: each is consistent with itself.
fn check_all(host: &Client, ids: &[String]) {
    for id in ids {
        let document = host.wait(id);
        assert_eq!(document["state"], "resolved", "{document}");
        assert_eq!(document["held"], Value::Null);
        let look = Look::at(host, id);
        let told = of(&look.journals, "root");
        match document["function"].as_str() {
            Some("race") => {
                let winners: Vec<String> = serde_json::from_value(document["value"].clone()).expect("texts");
                let lines: Vec<String> =
                    winners.iter().enumerate().map(|(n, winner)| format!("round {n}: {winner}")).collect();
                assert_eq!(of(&look.lines, "root"), lines, "{id}");
            }
            Some("completion_order") => {
                let order: Vec<String> =
                    document["value"].as_array().expect("an array").iter().map(Value::to_string).collect();
                let seen: Vec<&str> =
                    told.iter().filter_map(|entry| Some(entry.split_once(": resolved ")?.1)).collect();
                assert_eq!(seen, order, "{id}");
            }
            Some("fork_on_time") => {
                let values: Vec<&str> = told
                    .iter()
                    .filter(|entry| entry.starts_with("told"))
                    .filter_map(|entry| entry.split_once(": resolved ").map(|(_, value)| value))
                    .filter(|value| !value.is_empty())
                    .collect();
                let path: Vec<String> =
                    document["value"].as_array().expect("an array").iter().map(Value::to_string).collect();
                assert_eq!(values, path, "{id}");
            }
            _ => assert!(document["value"].as_array().is_some_and(|trace| trace.len() > 4), "{document}"),
        }
    }
}

fn start_all(host: &Client, prefix: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..4 {
        for (function, arguments) in [
            ("race", json!([6, 30])),
            ("completion_order", json!([10, 60])),
            ("fork_on_time", json!([8, 15])),
            ("nested", json!([4, 2, 40])),
        ] {
            let id = format!("{prefix}-{function}-{n}");
            host.start(&id, function, arguments);
            ids.push(id);
        }
    }
    ids
}

#[test]
fn what_depends_on_order_survives_eviction() {
    let host = crowded();
    let ids = start_all(&host, "evicted");
    check_all(&host, &ids);
}

#[test]
fn what_depends_on_order_survives_restarts() {
    let mut host = crowded();
    let ids = start_all(&host, "restarted");
    for entries in [3, 8, 14] {
        until("they have got on", || {
            let got_on = |id: &String| host.show(id)["entries"].as_u64() >= Some(entries);
            ids.iter().any(got_on).then_some(())
        });
        host.kill();
        host.restart();
    }
    check_all(&host, &ids);
}

/// What ended while the host was away, or while nobody was there to be told, is told in the order in which it ended.
#[test]
fn a_burst_of_completions_keeps_its_order() {
    let mut host = crowded();
    host.start("burst", "completion_order", json!([200, 100]));
    until("all are asleep", || (host.show("burst")["task"] == "suspended").then_some(()));
    host.kill();
    host.restart();
    check_all(&host, &["burst".to_owned()]);
    let children = host.items("/v1/executions/burst/tree?limit=10000");
    let told = host.items("/v1/executions/burst/journal");
    let told = told.iter().filter(|entry| entry["entry"] == "told");
    let settled_at = |entry: &Value| {
        let child = children.iter().find(|child| child["step"] == entry["step"] && child["parent"] == "burst");
        child.and_then(|child| child["settled_at_ms"].as_u64()).expect("each step has a promise")
    };
    let times: Vec<u64> = told.map(settled_at).collect();
    assert!(times.is_sorted(), "{times:?}");
}
