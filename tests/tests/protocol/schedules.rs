//! Schedules over HTTP, with the time that a test sets, and over a restart.

use serde_json::{Value, json};
use tests::Setup;

use super::{VERSION, ask, ask_with, encode, grant};

fn schedule(id: &str, cron: &str, target: &str) -> Value {
    let param = json!({ "data": encode(&json!({ "func": "fibonacci", "args": [7] })) });
    json!({ "id": id, "cron": cron, "promiseId": "{{.id}}-{{.timestamp}}", "promiseTimeout": 86_400_000,
        "promiseParam": param, "promiseTags": { "resonate:target": target } })
}

#[test]
fn a_schedule_is_made_once_found_and_forgotten() {
    let host = Setup::new().flag("--debug", "true").start();
    let at = |now: u64, kind: &str, data: Value| {
        ask_with(&host, kind, json!({ "corrId": "c", "version": VERSION, "resonate:debug_time": now }), data)
    };
    at(1, "debug.start", json!({}));
    let (status, made) = at(1000, "schedule.create", schedule("s", "* * * * *", "poll://any@w"));
    assert_eq!(status, 200);
    assert_eq!((&made["schedule"]["createdAt"], &made["schedule"]["nextRunAt"]), (&json!(1000), &json!(60_000)));
    assert_eq!(at(1500, "schedule.create", schedule("s", "0 0 * * *", "poll://any@w")), (200, made.clone()));
    assert_eq!(at(1500, "schedule.get", json!({ "id": "s" })), (200, made));
    at(1500, "schedule.create", schedule("t", "0 0 * * *", "poll://any@w"));
    let (_, page) = at(1500, "schedule.search", json!({ "limit": 1 }));
    assert_eq!((&page["schedules"][0]["id"], &page["cursor"]), (&json!("s"), &json!("s")));
    let (_, page) = at(1500, "schedule.search", json!({ "limit": 1, "cursor": "s" }));
    assert_eq!((&page["schedules"][0]["id"], &page["cursor"]), (&json!("t"), &Value::Null));

    // Two occurrences, one of them missed: each at its own time.
    at(130_000, "debug.tick", json!({ "time": 130_000 }));
    for time in [60_000, 120_000] {
        let (status, found) = at(130_000, "promise.get", json!({ "id": format!("s-{time}") }));
        assert_eq!((status, &found["promise"]["createdAt"]), (200, &json!(time)));
        assert_eq!(found["promise"]["tags"]["resonate:schedule"], "s");
    }
    let (_, found) = at(130_000, "schedule.get", json!({ "id": "s" }));
    assert_eq!((&found["schedule"]["lastRunAt"], &found["schedule"]["nextRunAt"]), (&json!(120_000), &json!(180_000)));
    assert_eq!(at(130_000, "schedule.delete", json!({ "id": "s" })), (200, json!({})));
    at(200_000, "debug.tick", json!({ "time": 200_000 }));
    assert_eq!(at(200_000, "promise.get", json!({ "id": "s-180000" })).0, 404);
}

#[test]
fn a_schedule_calls_a_function_and_survives_a_kill() {
    let mut host = Setup::new().start();
    grant(&host, "schedule.create", schedule("every-second", "* * * * * *", "poll://any@wasm"));
    host.kill();
    host.restart();
    let ran = tests::until("an occurrence has its result", || {
        let found = grant(
            &host,
            "promise.search",
            json!({ "tags": { "resonate:schedule": "every-second" }, "state": "resolved" }),
        );
        found["promises"].as_array().unwrap().first().cloned()
    });
    assert_eq!(ran["value"]["data"], encode(&json!(13)));
}

#[test]
fn what_makes_no_schedule_is_refused() {
    let host = Setup::new().start();
    for cron in ["", "soon", "* * *", "61 * * * *", "0 0 31 2 *"] {
        let (status, _) = ask(&host, "schedule.create", schedule("s", cron, "poll://any@w"));
        assert_eq!(status, 400, "{cron}");
    }
    assert_eq!(ask(&host, "schedule.create", schedule("s", "* * * * *", "nowhere")).0, 400);
    let mut timer = schedule("s", "* * * * *", "poll://any@w");
    timer["promiseTags"]["resonate:timer"] = json!("true");
    assert_eq!(ask(&host, "schedule.create", timer).0, 400);
    let mut negative = schedule("s", "* * * * *", "poll://any@w");
    negative["promiseTimeout"] = json!(-1);
    assert_eq!(ask(&host, "schedule.create", negative).0, 400);
}
