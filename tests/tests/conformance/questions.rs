//! The questions of the specification's part C, each with its one right answer, from outside.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Client, Setup};

use crate::{acquire, create, debugged, external, request, settle, snap, suspend, targeted, task, tick, timed};

const T: u64 = 1_800_000_000_000;

/// The ids of a part of a snapshot.
fn ids(snapshot: &Value, part: &str) -> BTreeSet<String> {
    let items = snapshot[part].as_array().unwrap_or_else(|| panic!("no {part} in {snapshot}"));
    items.iter().map(|item| item["id"].as_str().expect("ids are text").to_owned()).collect()
}

#[test]
fn c1_what_is_external_has_an_armed_timeout() {
    let host = debugged();
    create(&host, T, "plain", T + 50, json!({}));
    create(&host, T, "local", T + 50, json!({ "resonate:scope": "local" }));
    create(&host, T, "external", T + 50, external());
    create(&host, T, "targeted", T + 50, targeted());
    create(&host, T, "timer", T + 50, json!({ "resonate:timer": "true" }));
    let armed = ["external", "targeted", "timer"].map(str::to_owned);
    assert_eq!(ids(&snap(&host, T), "promiseTimeouts"), BTreeSet::from(armed));

    // Whether its timeout is armed or not, nobody sees a promise beyond its deadline.
    tick(&host, T + 60);
    for (id, state) in [
        ("plain", "rejected_timedout"),
        ("local", "rejected_timedout"),
        ("external", "rejected_timedout"),
        ("targeted", "rejected_timedout"),
        ("timer", "resolved"),
    ] {
        let promise = host.ask_at(T + 70, "promise.get", json!({ "id": id })).expect(200)["promise"].clone();
        assert_eq!((&promise["state"], &promise["settledAt"]), (&json!(state), &json!(T + 50)), "{id}");
    }
    assert_eq!(ids(&snap(&host, T + 70), "promiseTimeouts"), BTreeSet::new());
}

#[test]
fn c2_nothing_waits_for_an_internal_promise() {
    let host = debugged();
    create(&host, T, "r", T + 500, targeted());
    create(&host, T, "r:1", T + 500, json!({ "resonate:scope": "local" }));
    let callback = json!({ "awaited": "r:1", "awaiter": "r" });
    host.ask_at(T, "promise.register_callback", callback).expect(422);
    acquire(&host, T, "r", 0, 100).expect(200);
    suspend(&host, T, "r", 1, &["r:1"]).expect(422);
    assert_eq!(task(&host, T, "r"), ("acquired".into(), 1));
    // Settled or not: it isn't there to be waited for.
    settle(&host, T, "r:1").expect(200);
    suspend(&host, T, "r", 1, &["r:1"]).expect(422);
}

#[test]
fn c3_nobody_listens_to_an_internal_promise() {
    let host = debugged();
    create(&host, T, "plain", T + 500, json!({}));
    create(&host, T, "external", T + 500, external());
    let listener = |id: &str| json!({ "awaited": id, "address": "poll://uni@people/ann" });
    host.ask_at(T, "promise.register_listener", listener("plain")).expect(422);
    host.ask_at(T, "promise.register_listener", listener("external")).expect(200);
}

/// An execution whose deadline has passed is over, whether or not anybody has noticed.
#[test]
fn c4_requests_see_that_a_task_is_dead() {
    let host = debugged();
    for id in ["pending", "halted", "acquired"] {
        create(&host, T, id, T + 50, targeted());
    }
    host.ask_at(T, "task.halt", json!({ "id": "halted" })).expect(200);
    acquire(&host, T, "acquired", 0, 1_000).expect(200);

    let new = |id: &str| {
        request("promise.create", json!({ "id": id, "timeoutAt": T + 900, "param": {}, "tags": targeted() }))
    };
    let create = json!({ "pid": "worker", "ttl": 100, "action": new("pending") });
    let claim = host.ask_at(T + 60, "task.create", create).expect(200);
    assert_eq!(claim["task"]["state"], "fulfilled", "{claim}");
    assert_eq!(claim["promise"]["state"], "rejected_timedout", "{claim}");
    host.ask_at(T + 60, "task.continue", json!({ "id": "halted" })).expect(409);
    host.ask_at(T + 60, "task.halt", json!({ "id": "acquired" })).expect(409);
    for id in ["pending", "halted", "acquired"] {
        assert_eq!(task(&host, T + 60, id).0, "fulfilled", "{id}");
    }
}

#[test]
fn c5_leases_and_offers_end_with_the_deadline() {
    let host = timed();
    let work = host.poll("workers", "w");
    create(&host, T, "leased", T + 50_000, targeted());
    assert_eq!(work.execute(), ("leased".into(), 0));
    create(&host, T, "offered", T + 50_000, targeted());
    assert_eq!(work.execute(), ("offered".into(), 0));
    acquire(&host, T, "leased", 0, 10).expect(200);

    // Alive, both are offered again when it is time.
    tick(&host, T + 20_000);
    assert_eq!(
        BTreeSet::from([work.execute(), work.execute()]),
        BTreeSet::from([("leased".into(), 1), ("offered".into(), 0)])
    );
    acquire(&host, T + 20_000, "leased", 1, 10).expect(200);

    // Dead, neither is, though a lease and an offer are due.
    tick(&host, T + 60_000);
    assert_eq!(task(&host, T + 60_000, "leased"), ("fulfilled".into(), 2));
    assert_eq!(task(&host, T + 60_000, "offered"), ("fulfilled".into(), 0));
    create(&host, T + 60_000, "next", T + 90_000, targeted());
    assert_eq!(work.execute(), ("next".into(), 0), "and nothing before it");
}

#[test]
fn c6_nobody_is_resumed_beyond_their_own_deadline() {
    let host = timed();
    let work = host.poll("workers", "w");
    create(&host, T, "r", T + 50, targeted());
    create(&host, T, "r:1", T + 500, external());
    assert_eq!(work.execute(), ("r".into(), 0));
    acquire(&host, T, "r", 0, 1_000).expect(200);
    suspend(&host, T, "r", 1, &["r:1"]).expect(200);

    settle(&host, T + 60, "r:1").expect(200);
    tick(&host, T + 61);
    assert_eq!(task(&host, T + 61, "r"), ("fulfilled".into(), 1));
    create(&host, T + 61, "next", T + 500, targeted());
    assert_eq!(work.execute(), ("next".into(), 0), "and nothing before it");
}

#[test]
fn c7_a_heartbeat_doesnt_keep_the_dead_alive() {
    let host = debugged();
    create(&host, T, "dead", T + 50, targeted());
    create(&host, T, "alive", T + 5_000, targeted());
    acquire(&host, T, "dead", 0, 100).expect(200);
    acquire(&host, T, "alive", 0, 100).expect(200);
    for id in ["dead", "alive"] {
        let tasks = json!([{ "id": id, "version": 1 }]);
        host.ask_at(T + 60, "task.heartbeat", json!({ "pid": "worker", "tasks": tasks })).expect(200);
    }
    let snapshot = snap(&host, T + 60);
    let lease = |id: &str| {
        let timeouts = snapshot["taskTimeouts"].as_array().expect("it is an array");
        timeouts.iter().find(|timeout| timeout["id"] == id).map(|timeout| timeout["timeout"].clone())
    };
    assert_eq!(lease("dead"), None);
    assert_eq!(lease("alive"), Some(json!(T + 160)));
}

/// Whoever shows a promise shows it as it is now.
#[test]
fn c8_answers_are_of_their_time() {
    let ask = |host: &Client, now: u64, id: &str, kind: &str| {
        let new = json!({ "id": id, "timeoutAt": T + 900, "param": {}, "tags": targeted() });
        let data = match kind {
            "promise.get" | "task.get" => json!({ "id": id }),
            "promise.create" => new,
            "promise.settle" => json!({ "id": id, "state": "resolved", "value": {} }),
            "promise.register_callback" => json!({ "awaited": id, "awaiter": format!("{id}:1") }),
            "promise.register_listener" => json!({ "awaited": id, "address": "poll://any@people" }),
            _ => json!({ "pid": "worker", "ttl": 100, "action": request("promise.create", new) }),
        };
        host.ask_at(now, kind, data).expect(200)
    };
    let host = debugged();
    let promise_kinds = [
        "promise.get",
        "promise.create",
        "promise.settle",
        "promise.register_callback",
        "promise.register_listener",
        "task.create",
    ];
    for (n, kind) in promise_kinds.into_iter().enumerate() {
        let id = format!("p{n}");
        create(&host, T, &id, T + 50, targeted());
        create(&host, T, &format!("{id}:1"), T + 900, targeted());
        let answer = ask(&host, T + 50, &id, kind);
        assert_eq!(answer["promise"]["state"], "rejected_timedout", "{kind}: {answer}");
        assert_eq!(answer["promise"]["settledAt"], T + 50, "{kind}: {answer}");
        // And whoever asks next isn't told something else.
        for next in promise_kinds {
            assert_eq!(ask(&host, T + 51, &id, next)["promise"], answer["promise"], "{kind}, then {next}");
        }
        assert_eq!(ask(&host, T + 51, &id, "task.get")["task"]["state"], "fulfilled", "{kind}");
    }
}

#[test]
fn c9_no_version_is_offered_that_isnt_there() {
    let host = timed();
    let work = host.poll("workers", "w");
    create(&host, T, "r", T + 900_000, targeted());
    let mut now = T;
    for version in 0..5 {
        assert_eq!(work.execute(), ("r".into(), version));
        assert_eq!(task(&host, now, "r"), ("pending".into(), version));
        acquire(&host, now, "r", version + 1, 10).expect(409);
        acquire(&host, now, "r", version, 10).expect(200);
        assert_eq!(task(&host, now, "r"), ("acquired".into(), version + 1));
        now += 1_000;
        if version % 2 == 0 {
            host.ask_at(now, "task.heartbeat", json!({ "pid": "w", "tasks": [{ "id": "r", "version": 9 }] }))
                .expect(200);
            tick(&host, now);
        } else {
            host.ask_at(now, "task.release", json!({ "id": "r", "version": version + 1 })).expect(200);
        }
    }
}

#[test]
fn c10_one_worker_has_a_task() {
    let host = debugged();
    for n in 0..50 {
        let id = format!("r{n}");
        create(&host, T, &id, T + 500, targeted());
        let claims: Vec<u64> = std::thread::scope(|scope| {
            let acquire = |_| scope.spawn(|| acquire(&host, T, &id, 0, 100).status);
            let threads: Vec<_> = (0..4).map(acquire).collect();
            threads.into_iter().map(|thread| thread.join().expect("it doesn't panic")).collect()
        });
        assert_eq!(claims.iter().filter(|status| **status == 200).count(), 1, "{claims:?}");
        assert_eq!(claims.iter().filter(|status| **status == 409).count(), 3, "{claims:?}");
    }
    // Whoever lost it can do nothing with it.
    create(&host, T, "lost", T + 5_000, targeted());
    acquire(&host, T, "lost", 0, 100).expect(200);
    host.ask_at(T, "task.release", json!({ "id": "lost", "version": 1 })).expect(200);
    acquire(&host, T, "lost", 1, 100).expect(200);
    let child = request("promise.create", json!({ "id": "lost:1", "timeoutAt": T + 500, "param": {}, "tags": {} }));
    let result = request("promise.settle", json!({ "id": "lost", "state": "resolved", "value": {} }));
    create(&host, T, "lost:2", T + 500, external());
    for version in [0, 1, 3] {
        let with = |name: &str, what: &Value| json!({ "id": "lost", "version": version, name: what });
        host.ask_at(T, "task.fence", with("action", &child)).expect(409);
        host.ask_at(T, "task.fulfill", with("action", &result)).expect(409);
        host.ask_at(T, "task.release", with("_", &json!(null))).expect(409);
        suspend(&host, T, "lost", version, &["lost:2"]).expect(409);
    }
    host.ask_at(T, "promise.get", json!({ "id": "lost:1" })).expect(404);
}

#[test]
fn c11_a_settled_promise_takes_on_no_one() {
    let host = debugged();
    create(&host, T, "r", T + 500, targeted());
    create(&host, T, "r:1", T + 500, external());
    let settled = settle(&host, T, "r:1").expect(200);
    let callback = json!({ "awaited": "r:1", "awaiter": "r" });
    let listener = json!({ "awaited": "r:1", "address": "poll://any@people" });
    for (kind, data) in [("promise.register_callback", callback), ("promise.register_listener", listener)] {
        assert_eq!(host.ask_at(T + 1, kind, data).expect(200)["promise"], settled["promise"], "{kind}");
    }
    let snapshot = snap(&host, T + 1);
    assert_eq!((&snapshot["callbacks"], &snapshot["listeners"]), (&json!([]), &json!([])));
}

#[test]
fn c12_the_debug_surface_is_closed() {
    let host = Setup::new().bare().start();
    for kind in ["debug.start", "debug.stop", "debug.reset", "debug.snap", "debug.tick"] {
        host.ask(kind, json!({ "time": T })).expect(403);
    }
    host.ask_at(T, "promise.get", json!({ "id": "r" })).expect(403);
    host.ask("promise.get", json!({ "id": "r" })).expect(404);
}
