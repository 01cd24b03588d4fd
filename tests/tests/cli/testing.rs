//! `host test`: the examples survive it, and what depends on order doesn't.

use serde_json::{Value, json};
use tests::guest;

use crate::verbs::file;
use crate::{Cli, command, run};

fn cli() -> Cli {
    // No host is there, and none is needed.
    Cli { url: "http://127.0.0.1:1".into() }
}

/// The document of a test that went well.
#[track_caller]
fn tested(name: &str, arguments: &[&str]) -> Value {
    let file = file(name, &guest(name));
    let path = file.path().display().to_string();
    let report = cli().json(&[&["test", &path], arguments].concat(), 0);
    assert_eq!(report["crashes"], report["boundaries"], "{report}");
    assert!(report["crashes"].as_u64() > Some(0) && report["shuffles"].as_u64() > Some(0), "{report}");
    report
}

#[test]
fn a_month_takes_no_time() {
    let report = tested("countdown", &["countdown", "[30, 86400000]", "--expect", "30"]);
    assert_eq!((&report["virtual_ms"], &report["sleeps"]), (&json!(30 * 86_400_000_u64), &json!(30)));
    assert_eq!((&report["lines"], &report["calls"]), (&json!(31), &json!({ "countdown": 1 })));
}

#[test]
fn the_examples_survive_every_crash_and_every_order() {
    let report = tested("fibonacci", &["fibonacci", "[7]", "--expect", "13"]);
    assert_eq!(report["calls"], json!({ "fibonacci": 41 }));
    let report = tested("pipeline", &["pipeline", "[30, 20]"]);
    assert_eq!((&report["value"], &report["calls"]["square"]), (&json!(8555), &json!(30)));
    let report = tested("panics", &["dispatch", "[10, 0]"]);
    assert_eq!((&report["value"]["crashed"], &report["steps"]), (&json!(true), &json!(1)));
    for (trouble, refunds) in [("none", Value::Null), ("deposit", json!(1)), ("deposit-crash", json!(1))] {
        let report = tested("transfer", &["transfer", &format!(r#"["ann","bob",5,"{trouble}",1000]"#)]);
        assert_eq!(report["calls"]["refund"], refunds, "{trouble}");
    }
}

#[test]
fn a_promise_is_settled_when_it_is_said_or_times_out() {
    let call = ["approval", r#"["the trip", 5000, 60000]"#];
    let report = tested("approval", &call);
    assert_eq!(
        (&report["value"], &report["virtual_ms"], &report["lines"]),
        (&json!("expired"), &json!(60_000), &json!(12))
    );
    let report = tested("approval", &[&call[..], &["--resolve", "test:1@7s=true"]].concat());
    assert_eq!(
        (&report["value"], &report["virtual_ms"], &report["lines"]),
        (&json!("approved"), &json!(7_000), &json!(2))
    );
    let report = tested("misbehave", &["wait_for", r#"["outside"]"#, "--resolve", r#"outside@1h={"a":1}"#]);
    assert_eq!((&report["value"], &report["virtual_ms"]), (&json!({ "a": 1 }), &json!(3_600_000)));
    assert_eq!(tested("misbehave", &["wait_for", r#"["outside"]"#, "--reject", "outside=0"])["state"], "rejected");
}

#[test]
fn what_depends_on_order_is_found_and_found_again() {
    let misbehave = file("misbehave", &guest("misbehave"));
    let path = misbehave.path().display().to_string();
    let test = ["test", &path, "completion_order", "[10, 60]"];
    let ran = cli().run(&test).ended(1);
    ran.says(&[
        "its outcome differs from the first run (seed 1)",
        "at first  resolved [",
        "to see it again: --seed 1 --shuffles",
    ]);
    assert_eq!(cli().json(&test, 1)["error"]["code"], "test");
    cli().run(&[&test[..], &["--shuffles", "0"]].concat()).ended(0);
    // Chance, time and races are the same in each run.
    tested("misbehave", &["clock_and_random", "[700]"]);
    tested("misbehave", &["fork_on_time", "[8, 15]"]);
}

#[test]
fn what_cannot_be_tested_is_said() {
    let countdown = file("countdown", &guest("countdown"));
    let path = countdown.path().display().to_string();
    let refused = |arguments: &[&str], part: &str, status| {
        let mut command = command();
        command.args(["test", &path]).args(arguments);
        run(command).ended(status).says(&[part]);
    };
    refused(&["nothing"], "it has countdown", 2);
    refused(&["countdown", "[1]"], "takes 2 arguments", 2);
    refused(&["countdown", "1"], "JSON array", 2);
    refused(&["countdown", "[1,1]", "--expect", "2"], "the result is resolved 1, and 2 was expected", 1);
    refused(&["countdown", "[1,1]", "--resolve", "x"], "'='", 2);
    refused(&["countdown", "[1,1]", "--crash-at", "99"], "records to crash after", 2);
}
