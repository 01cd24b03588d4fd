//! What the SDK offers, as a caller sees it; and a guest without the SDK.

use serde_json::{Value, json};
use tests::Setup;

use crate::{of, run};

#[test]
fn every_kind_of_outcome_is_told_apart() {
    let host = Setup::new().start();
    let seen = host.call("outcomes", json!([]));
    let expected = json!({
        "value": "Ok(1)",
        "typed error": "Err(Failed(Declined { reason: \"no money\" }))",
        "untyped error": "Err(Failed(reading the number: invalid digit found in string))",
        "boxed error": "invalid digit found in string",
        "text error": "Err(Failed(\"no\"))",
        "timed out": "Err(TimedOut)",
        "timed out below": "Err(true)",
        "crashed": "Err(true)",
        "no such function": "Err(true)",
        "wrong argument": "Err(Refused(\"argument 1 `ms`: invalid type: string \\\"x\\\", expected u64\"))",
        "wrong result": "Err(Mismatch { payload: \"0\", reason: \"invalid type: integer `0`, expected a string\" })",
        "no such promise": "Err(true)",
        "canceled promise": "Ok(()) Err(Canceled)",
        "rejected promise": "Ok(()) Err(Failed(no))",
        "resolved promise": "Ok(()) Ok(7)",
        "promise with deadline": "Err(TimedOut)",
    });
    assert_eq!(seen, expected);
}

#[test]
fn errors_travel_as_what_they_are() {
    let host = Setup::new().start();
    let cases = [
        ("typed", json!(["ok"]), "resolved", json!(1)),
        ("typed", json!(["busy"]), "rejected", json!("Busy")),
        ("typed", json!(["no money"]), "rejected", json!({ "Declined": { "reason": "no money" } })),
        (
            "untyped",
            json!([]),
            "rejected",
            json!({ "message": "reading the number", "causes": ["invalid digit found in string"] }),
        ),
        ("boxed", json!([]), "rejected", json!({ "message": "invalid digit found in string" })),
        ("text_error", json!(["no"]), "rejected", json!("no")),
        (
            "handed_up",
            json!([60_000]),
            "rejected",
            json!({ "message": "waiting for the sleeper", "causes": ["timed out"], "kind": "timed-out" }),
        ),
    ];
    for (function, arguments, state, value) in cases {
        let document = host.invoke(function, arguments);
        assert_eq!((&document["state"], &document["value"]), (&json!(state), &value), "{function}");
    }
}

#[test]
fn timeouts_of_a_call_and_of_a_wait_differ() {
    let host = Setup::new().start();
    let (document, look) = run(&host, "timeouts", json!([60_000, 20, 30_000]));
    assert_eq!(document["value"], "the call timed out");
    assert_eq!(look.promises["root:1"]["state"], "timed_out");

    let (document, look) = run(&host, "timeouts", json!([60_000, 30_000, 20]));
    assert_eq!(document["value"], "the wait timed out");
    // Who stops waiting for a call doesn't stop the call.
    assert_eq!(look.promises["root:1"]["state"], "pending");
    assert!(of(&look.journals, "root").iter().any(|entry| entry.contains("no longer awaited")), "{look:#?}");

    assert_eq!(host.call("timeouts", json!([5, 30_000, 30_000])), "slept 5");
}

#[test]
fn retries_follow_their_policy() {
    let host = Setup::new().start();
    let (document, look) = run(&host, "retries", json!([3, 5]));
    assert_eq!(document["value"], "Err(Crashed)");
    assert_eq!(look.promises.values().filter(|promise| promise["function"] == "explode").count(), 3);

    let (document, look) = run(&host, "step_retries", json!([3, 5]));
    assert_eq!(document["value"], 3);
    let recorded: Vec<&str> =
        of(&look.journals, "root").into_iter().filter(|entry| entry.contains("recorded")).collect();
    let expected = [
        "step 1 recorded: rejected {\"message\":\"attempt 1\"}",
        "step 3 recorded: rejected {\"message\":\"attempt 2\"}",
        "step 5 recorded: resolved null",
    ];
    assert_eq!(recorded, expected);

    // Only what the caller says is worth it is tried again, each time under an id of its own.
    let asked = |how: &str, id: &str| {
        let (document, look) = run(&host, "choosy_retries", json!([how, id]));
        let calls = of(&look.journals, "root").iter().filter(|entry| entry.contains(": call typed")).count();
        (document["value"].clone(), calls)
    };
    assert_eq!(asked("busy", "busy"), (json!("Err(Failed(Busy))"), 3));
    assert_eq!(asked("no", "no"), (json!("Err(Failed(Declined { reason: \"no\" }))"), 1));
    assert_eq!(asked("ok", "ok"), (json!("Ok(1)"), 1));
    for id in ["busy", "busy-2", "busy-3"] {
        assert_eq!(host.show(id)["function"], "typed");
    }
}

#[test]
fn detached_calls_stand_alone() {
    let host = Setup::new().start();
    assert_eq!(host.call("spawn_and_wait", json!([5])), 5);
    let id = host.call("spawn_detached", json!([5, "alone"]));
    assert_eq!(id, "alone");
    let document = host.wait("alone");
    assert_eq!((&document["value"], &document["detached"]), (&json!(5), &json!(true)));
    let (document, _) = run(&host, "cancel_child", json!([60_000]));
    assert_eq!(document["value"], "Ok(()) Err(Canceled)");
}

#[test]
fn children_one_by_one_and_all_at_once() {
    let host = Setup::new().start();
    assert_eq!(host.call("children", json!([5, 1])), 15);
    assert_eq!(host.call("children_at_once", json!([50, 10])), 1275);
    assert_eq!(host.call("tree", json!([3, 3, 1])), 27);
    assert_eq!(host.call("steps", json!([5, 1])), 15);
    assert_eq!(host.call("naps", json!([3, 1])), 3);
    assert_eq!(host.call("call_by_name", json!(["echo", [{ "a": [1, null] }], null])), json!({ "a": [1, null] }));
    assert_eq!(host.call("call_by_name", json!(["countdown", [1, 1], "by-name"])), 1);
    assert_eq!(host.show("by-name")["function"], "countdown");
}

#[test]
fn completions_come_in_the_order_in_which_they_happened() {
    let host = Setup::new().start();
    let (document, look) = run(&host, "completion_order", json!([30, 120]));
    let order: Vec<u64> = serde_json::from_value(document["value"].clone()).expect("an array of numbers");
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..30).collect::<Vec<_>>());
    // The journal has the same order as the guest saw.
    let told: Vec<u64> = of(&look.journals, "root")
        .iter()
        .filter_map(|entry| entry.strip_prefix("told of step ")?.split_once(": resolved ")?.1.parse().ok())
        .collect();
    assert_eq!(told, order);
    // The children were settled in that order.
    let children = host.items(&format!("/v1/executions/{}/tree", document["id"].as_str().expect("an id")));
    let settled_at = |value: u64| {
        let child = children.iter().find(|child| child["function"] == "echo_after" && child["value"] == value);
        child.and_then(|child| child["settled_at_ms"].as_u64()).expect("each value has a child")
    };
    assert!(order.windows(2).all(|pair| settled_at(pair[0]) <= settled_at(pair[1])), "{order:?}");
}

#[test]
fn losers_of_a_select_are_dropped() {
    let host = Setup::new().start();
    let (document, look) = run(&host, "race", json!([6, 20]));
    let winners: Vec<String> = serde_json::from_value(document["value"].clone()).expect("an array of texts");
    let lines: Vec<String> = winners.iter().enumerate().map(|(n, winner)| format!("round {n}: {winner}")).collect();
    assert_eq!(of(&look.lines, "root"), lines);
    let count = |what: &str| of(&look.journals, "root").iter().filter(|entry| entry.contains(what)).count();
    assert_eq!((count("told of"), count("no longer awaited")), (6, 12));
}

#[test]
fn clocks_and_chance_belong_to_the_execution() {
    let host = Setup::new().start();
    let see = || host.call("clock_and_random", json!([40]));
    let (one, two) = (see(), see());
    let elapsed = |seen: &Value, n: usize| seen[n]["elapsed_ns"].as_u64().expect("a number");
    assert_eq!(elapsed(&one, 0), 0, "time stands still while a guest computes");
    assert!((40_000_000..10_000_000_000).contains(&elapsed(&one, 1)), "{one}");
    let unix = |n: usize| one[n]["unix_ns"].as_u64().expect("a number");
    assert_eq!(unix(1) - unix(0), elapsed(&one, 1), "both clocks go alike");
    assert_ne!(one[0]["random"], one[1]["random"], "each look draws new numbers");
    assert_ne!(one[0]["random"], two[0]["random"], "each execution draws its own");
    assert_ne!(one[0]["hash_order"], two[0]["hash_order"]);
}

#[test]
fn all_output_is_the_log() {
    let host = Setup::new().start();
    let document = host.invoke("chatter", json!([1]));
    let id = document["id"].as_str().expect("an id");
    let lines = host.items(&format!("/v1/executions/{id}/logs"));
    let lines: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            (line["index"].as_u64().expect("a number"), text("stream"), text("level"), text("text"))
        })
        .collect();
    let expected = [
        ("stdout", "", "out 1"),
        ("stderr", "", "err 1"),
        ("log", "trace", "trace 1"),
        ("log", "debug", "debug 1"),
        ("log", "info", "info 1"),
        ("log", "warn", "warn 1"),
        ("log", "error", "error 1"),
        ("stdout", "", "without a newline"),
    ];
    let expected: Vec<_> = (0..).zip(expected).map(|(n, (a, b, c))| (n, a.to_owned(), b.into(), c.into())).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_guest_without_the_sdk_works() {
    let host = Setup::new().start();
    let cases = [
        ("bare_echo", json!([{ "a": 1 }]), json!([{ "a": 1 }])),
        ("bare_pair", json!(["x"]), json!([["x"], ["x"]])),
        ("bare_nap", json!([]), Value::Null),
        ("bare_promise", json!([]), json!(42)),
        ("bare_missing", json!([]), json!("refused")),
        ("bare_step", json!([]), json!([7])),
    ];
    for (function, arguments, value) in cases {
        assert_eq!(host.call(function, arguments), value, "{function}");
    }
    let document = host.invoke("bare_reject", json!([]));
    assert_eq!((&document["state"], &document["value"]), (&json!("rejected"), &json!("no")));
    let (_, look) = run(&host, "bare_step", json!([]));
    let journal = [
        "started",
        "step 1: begin \"think\"",
        "step 1 recorded: resolved 7",
        "step 2: start bare_echo[7]",
        "step 3: wait for promise root:2",
        "told of step 3: resolved [7]",
        "finished: resolved",
    ];
    assert_eq!(of(&look.journals, "root"), journal);
}

#[test]
fn a_guest_sees_nothing_of_the_machine() {
    let host = Setup::new().env("SECRET", "secret").start();
    let told = host.call("trespass", json!([]));
    let told: Vec<String> = serde_json::from_value(told).expect("an array of texts");
    assert!(told[..4].iter().all(|told| told.starts_with("Err(")), "files and sockets are closed: {told:?}");
    assert_eq!(told[4..], ["[]", "[]", "None"], "no environment, no arguments, no input");
}

#[test]
fn functions_are_described() {
    let host = Setup::new().start();
    let countdown = host.get("/v1/functions/countdown").expect(200);
    assert_eq!((&countdown["name"], &countdown["component"]["name"]), (&json!("countdown"), &json!("countdown")));
    assert!(countdown["doc"].as_str().is_some_and(|doc| doc.starts_with("Counts down from a number")), "{countdown}");
    let parameters = countdown["parameters"].as_array().expect("an array");
    let names: Vec<_> = parameters.iter().map(|parameter| &parameter["name"]).collect();
    assert_eq!(names, ["from", "pause_ms"]);
    assert_eq!(parameters[0]["schema"]["type"], "integer");
    assert_eq!(countdown["output"]["type"], "integer");
    let all = host.items("/v1/functions");
    for name in ["fibonacci", "transfer", "approval", "pipeline", "dispatch", "echo", "bare_echo"] {
        assert!(all.iter().any(|function| function["name"] == name), "{name} is not listed");
    }
    assert_eq!(host.items("/v1/components").len(), tests::GUESTS.len());
}
