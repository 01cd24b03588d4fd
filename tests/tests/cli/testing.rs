//! `host test`: the examples survive it, and what depends on order doesn't.

use serde_json::{Value, json};
use tests::{guest, scratch};

use crate::verbs::file;
use crate::{Cli, command, run};

fn cli() -> Cli {
    // No host is there, and none is needed.
    Cli { url: "http://127.0.0.1:1".into(), token: None }
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
    refused(&["countdown", "[1,1]", "--crash-at", "99"], "it can crash after records 3 to ", 2);
    refused(&["countdown", "[1,1]", "--crash-at", "1"], "not after 1", 2);
    refused(&["countdown", "[1,1]", "--expect", "{"], "--expect is not JSON", 2);
    // One document, which says what the result is.
    assert_eq!(cli().json(&["test", &path, "countdown", "[1,1]", "--expect", "2"], 1)["value"], 1);
}

/// A file with this in it.
fn written(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new_in(scratch()).expect("a file is made");
    std::fs::write(file.path(), text).expect("a file can be written");
    file
}

#[test]
fn requests_are_answered_counted_and_sent_again_after_a_crash_with_the_same_key() {
    let stubs = written(
        r#"[{"url": "https://bank.test/charge", "method": "POST", "after_ms": 3000, "status": 201, "body": {"paid": true}},
            {"url": "https://slow.test/", "error": "head_timeout"}]"#,
    );
    let http = ["--http", &stubs.path().display().to_string()];
    let fetch = |url: &str| {
        let arguments = json!(["POST", url, [], "500"]).to_string();
        tested("web", &[&["fetch", &arguments][..], &http].concat())
    };
    let report = fetch("https://bank.test/charge?id=7");
    assert_eq!((&report["value"], &report["virtual_ms"]), (&json!([201, r#"{"paid":true}"#]), &json!(3_000)));
    assert_eq!(report["requests"], json!({ "POST https://bank.test/charge": 1 }), "once, whatever crashed");
    assert_eq!((&report["sent_again"], &report["refused"]), (&json!(1), &json!(0)));
    assert!(fetch("https://slow.test/")["value"]["message"].as_str().is_some_and(|text| text.contains("HeadTimeout")));
    let report = fetch("https://elsewhere.test/");
    assert_eq!((&report["refused"], &report["requests"]), (&json!(1), &json!({})));
    assert!(report["value"].to_string().contains("--allow"), "{report}");

    // What answers requests is a function of any name.
    for (name, url, status) in [("site", "/echo", 201), ("site3", "/proxy/https://bank.test/charge", 200)] {
        let request = json!([{ "method": "POST", "url": url, "body": "500" }]).to_string();
        let report = tested(name, &[&["shop", &request][..], &http].concat());
        assert_eq!(report["value"]["status"], status, "{report}");
        assert_eq!(report["calls"], json!({ "shop": 1 }));
        let charged = report["requests"]["POST https://bank.test/charge"].as_u64().unwrap_or(0);
        assert_eq!(charged, u64::from(name == "site3"), "{report}");
    }

    // An ordinary client's requests are the same thing.
    let arguments = json!(["POST", "https://bank.test/charge", "500"]).to_string();
    let report = tested("web", &[&["fetch_with_client", &arguments][..], &http].concat());
    assert_eq!(report["value"], json!([201, r#"{"paid":true}"#]));
}

#[test]
fn a_system_that_does_not_know_its_keys_is_a_crash_that_makes_a_difference() {
    let web = file("web", &guest("web"));
    let stubs = written(
        r#"[{"url": "https://bank.test/", "status": 201, "again": {"status": 409, "body": "it was charged before"}}]"#,
    );
    let (path, stubs) = (web.path().display().to_string(), stubs.path().display().to_string());
    let arguments = r#"["https://bank.test/charge", 1000]"#;
    let test = ["test", &path, "fetch_sleep_fetch", arguments, "--http", &stubs];
    let ran = cli().run(&test).ended(1);
    ran.says(&["after a crash at record", "differs from the first run (seed 1)", "it was charged before"]);
    ran.says(&["to see it again: --seed 1 --crash-at "]);
    let at = ran.err().rsplit(' ').next().expect("a number").trim().to_owned();
    cli().run(&[&test[..], &["--crash-at", &at]].concat()).ended(1).says(&[&format!("at record {at}")]);
}

#[test]
fn what_is_tested_is_configured() {
    let config = written(
        r#"{"variables": {"KEY": {"value": "tr0ub4dor-and-3", "secret": true}}, "allow": ["bank.test"],
            "limits": {"memory": 8388608}}"#,
    );
    let stubs = written(r#"[{"url": "https://bank.test/", "body": "thanks"}, {"url": "https://other.test/"}]"#);
    let (config, stubs) = (config.path().display().to_string(), stubs.path().display().to_string());
    let configured = ["--config", &config, "--http", &stubs];
    let report = tested("web", &[&["send_variable", r#"["KEY","https://bank.test/"]"#][..], &configured].concat());
    assert_eq!(report["value"], "thanks");
    assert_eq!(report["requests"], json!({ "POST https://bank.test/": 1 }));
    let report = tested("web", &[&["send_variable", r#"["KEY","https://other.test/"]"#][..], &configured].concat());
    assert_eq!(report["refused"], 1, "what the configuration doesn't allow, no stub answers");
    let report = tested("web", &[&["allocate", "[16777216]"][..], &configured].concat());
    assert_eq!(report["state"], "crashed");
    assert!(report["value"].as_str().is_some_and(|text| text.contains("the memory limit of 8388608")), "{report}");
    let other = format!("variable={config}");
    assert_eq!(tested("web", &["allocate", "[16777216]", "--config", &other])["state"], "resolved");

    let web = file("web", &guest("web"));
    let path = web.path().display().to_string();
    let bad = written(r#"{"colour": "red"}"#);
    let bad = bad.path().display().to_string();
    cli().run(&["test", &path, "closed", "--config", &bad]).ended(2).says(&["unknown field"]);
    cli().run(&["test", &path, "closed", "--http", "/nowhere"]).ended(2).says(&["can't be read"]);
}
