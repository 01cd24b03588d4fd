//! Every example: its result, its log, its tree and its journal.

use serde_json::json;
use tests::{Setup, until};

use crate::{of, run};

#[test]
fn countdown_sleeps_and_counts() {
    let host = Setup::new().start();
    let (document, look) = run(&host, "countdown", json!([3, 20]));
    assert_eq!((&document["state"], &document["value"]), (&json!("resolved"), &json!(3)));
    assert_eq!((&document["kind"], &document["task"]), (&json!("call"), &json!("fulfilled")));
    assert_eq!((&document["arguments"], &document["steps"]), (&json!([3, 20]), &json!(3)));
    assert_eq!(of(&look.lines, "root"), ["3", "2", "1", "lift-off"]);
    let journal = [
        "started",
        "step 1: sleep until <time>",
        "told of step 1: resolved ",
        "step 2: sleep until <time>",
        "told of step 2: resolved ",
        "step 3: sleep until <time>",
        "told of step 3: resolved ",
        "finished: resolved",
    ];
    assert_eq!(of(&look.journals, "root"), journal);
    assert_eq!(look.promises.keys().collect::<Vec<_>>(), ["root", "root:1", "root:2", "root:3"]);
    assert!(look.promises.values().all(|promise| promise["state"] == "resolved"), "{look:#?}");
    let took = |name: &str| document[name].as_u64().expect("times are numbers");
    let took = took("settled_at_ms") - took("created_at_ms");
    assert!((60..5_000).contains(&took), "three pauses of 20 ms took {took} ms");
}

#[test]
fn fibonacci_fans_out() {
    let host = Setup::new().start();
    let (document, look) = run(&host, "fibonacci", json!([10]));
    assert_eq!(document["value"], 55);
    assert_eq!(look.promises.len(), 177, "the number of calls of the slow way");
    let look = look.unordered();
    let mut journal = [
        "started",
        "step 1: call fibonacci[9]",
        "step 2: call fibonacci[8]",
        "told of step 1: resolved 34",
        "told of step 2: resolved 21",
        "finished: resolved",
    ];
    journal.sort_unstable();
    assert_eq!(of(&look.journals, "root"), journal);
    // The first call is a step of its own, and one below another says so with a dot.
    let child = &look.promises["root:1.2"];
    assert_eq!((&child["parent"], &child["step"]), (&json!("root:1"), &json!(2)));
    assert_eq!((&child["function"], &child["arguments"]), (&json!("fibonacci"), &json!([7])));
}

#[test]
fn a_transfer_books_both_sides() {
    let host = Setup::new().start();
    let (document, look) = run(&host, "transfer", json!(["ann", "bob", 500, "none", 5]));
    assert_eq!(document["value"], "500 cents moved from ann to bob");
    assert_eq!(of(&look.lines, "root:1"), ["ann: -500"]);
    assert_eq!(of(&look.lines, "root:2"), ["bob: +500"]);
    let booking = [
        "started",
        "step 1: begin \"book -500 to ann\"",
        "step 2: sleep until <time>",
        "told of step 2: resolved ",
        "step 1 recorded: resolved -500",
        "finished: resolved",
    ];
    assert_eq!(of(&look.journals, "root:1"), booking);
    assert_eq!(look.promises["root:1.1"]["name"], "book -500 to ann");
}

#[test]
fn a_transfer_that_fails_leaves_everything_as_it_was() {
    let host = Setup::new().start();
    let (document, look) = run(&host, "transfer", json!(["ann", "bob", 500, "withdraw", 5]));
    assert_eq!(document["state"], "rejected");
    assert_eq!(document["value"], json!({ "message": "ann has not enough money" }));
    assert!(look.lines.values().all(Vec::is_empty), "nothing was booked: {look:#?}");

    let (document, look) = run(&host, "transfer", json!(["ann", "bob", 500, "deposit", 5]));
    assert_eq!(document["state"], "rejected");
    let error = json!({ "message": "500 cents were given back to ann", "causes": ["the account of bob is closed"] });
    assert_eq!(document["value"], error);
    assert_eq!(of(&look.lines, "root"), ["the deposit failed: the account of bob is closed"]);
    assert_eq!((of(&look.lines, "root:1"), of(&look.lines, "root:3")), (vec!["ann: -500"], vec!["ann: +500"]));
    // A closed account stays closed: one deposit was tried.
    assert_eq!(of(&look.journals, "root").iter().filter(|entry| entry.contains("call deposit")).count(), 1);

    let (document, look) = run(&host, "transfer", json!(["ann", "bob", 500, "deposit-crash", 5]));
    assert_eq!((&document["state"], &document["value"]["kind"]), (&json!("rejected"), &json!("crashed")));
    let cause = document["value"]["causes"][0].as_str().expect("a cause is text");
    assert!(cause.contains("the bank of bob is on fire"), "{cause}");
    assert_eq!(of(&look.journals, "root").iter().filter(|entry| entry.contains("call deposit")).count(), 3);
    assert_eq!(look.lines.values().flatten().filter(|line| line.starts_with("ann: ")).count(), 2);
}

#[test]
fn pipeline_gathers_a_thousand_children() {
    let host = Setup::new().start();
    let (document, look) = run(&host, "pipeline", json!([1000, 50]));
    assert_eq!(document["value"], 332_833_500);
    let hundreds: Vec<String> = (1..=10).map(|n| format!("{} of 1000", n * 100)).collect();
    assert_eq!(of(&look.lines, "root"), hundreds);
    assert_eq!(look.promises.values().filter(|promise| promise["function"] == "square").count(), 1000);
    let told: Vec<&str> = of(&look.journals, "root").into_iter().filter(|entry| entry.starts_with("told")).collect();
    let mut in_order = told.clone();
    let step = |entry: &&str| entry["told of step ".len()..].split(':').next().and_then(|n| n.parse::<u32>().ok());
    in_order.sort_by_key(step);
    assert_eq!(told.len(), 1000);
    assert_ne!(told, in_order, "they end in another order than they began in");
}

#[test]
fn a_panic_is_seen_by_its_owner() {
    let host = Setup::new().start();
    assert_eq!(host.call("dispatch", json!([10, 2])), json!({ "crashed": false, "text": "5 in each box" }));
    let (document, look) = run(&host, "dispatch", json!([10, 0]));
    let seen = &document["value"];
    assert_eq!(seen["crashed"], true);
    let text = seen["text"].as_str().expect("text is text");
    for part in ["attempt to divide by zero", "in the function \"pack\"", "panics/src/lib.rs:"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let crashed = &look.promises["root:1"];
    assert_eq!((&crashed["state"], &crashed["value"]), (&json!("crashed"), &seen["text"]));
    // What was done before it stays done, and what it said is in its log.
    let recorded =
        ["started", "step 1: begin \"count the items\"", "step 1 recorded: resolved 10", "finished: crashed"];
    assert_eq!(of(&look.journals, "root:1"), recorded);
    let lines = of(&look.lines, "root:1");
    assert_eq!(lines[0], "counted 10 items");
    assert!(lines.contains(&"attempt to divide by zero"), "{lines:?}");
}

#[test]
fn approval_waits_for_a_person() {
    let host = Setup::new().start();
    for (answer, verdict) in [(true, "approved"), (false, "declined")] {
        let id = format!("holiday-{verdict}");
        host.start(&id, "approval", json!(["a holiday", 30, 600_000]));
        until("it has reminded them", || (host.lines(&id).len() >= 3).then_some(()));
        let lines = host.lines(&id);
        let promise = format!("{id}:1");
        assert_eq!(lines[0], format!("please approve a holiday: settle {promise} with true or false"));
        assert_eq!(lines[1], format!("reminder: a holiday waits for an answer to {promise}"));
        host.settle(&promise, "resolve", &json!(answer)).expect(200);
        assert_eq!(host.wait(&id)["value"], verdict);
        // The sleep that lost was forgotten.
        for promise in host.items(&format!("/v1/executions/{id}/tree?limit=10000")) {
            assert_ne!(promise["state"], "pending", "{promise}");
        }
    }
}

#[test]
fn approval_gives_up_and_hands_on_what_is_not_an_answer() {
    let host = Setup::new().start();
    assert_eq!(host.call("approval", json!(["a holiday", 20, 90])), "expired");

    host.start("odd", "approval", json!(["a holiday", 600_000, 600_000]));
    until("it has asked", || (!host.lines("odd").is_empty()).then_some(()));
    host.settle("odd:1", "reject", &json!("ask somebody else")).expect(200);
    let document = host.wait("odd");
    assert_eq!(document["state"], "rejected");
    assert!(document["value"].to_string().contains("ask somebody else"), "{document}");
}
