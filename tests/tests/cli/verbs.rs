//! The verbs that talk to a host.

use std::process::Stdio;

use serde_json::{Value, json};
use tests::{Setup, guest, scratch, until};

use crate::{Cli, command, run, run_with_input};

pub(crate) fn file(name: &str, bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().prefix(name).suffix(".wasm").tempfile_in(scratch()).expect("a file is made");
    std::fs::write(file.path(), bytes).expect("a file can be written");
    file
}

#[test]
fn upload_and_functions() {
    let host = Setup::new().bare().start();
    let cli = Cli::of(&host);
    let (countdown, panics) = (file("countdown", &guest("countdown")), file("panics", &guest("panics")));
    let path = |file: &tempfile::NamedTempFile| file.path().display().to_string();
    let uploaded = cli.run(&["upload", &path(&countdown), &path(&panics)]).ended(0);
    uploaded.says(&["countdown 0.1.0", "panics 0.1.0", "dispatch, pack"]);
    let again = cli.json(&["upload", &path(&countdown)], 0);
    assert_eq!(again["items"][0]["name"], "countdown");
    assert_eq!(again["items"][0]["digest"].as_str().map(str::len), Some(64));

    cli.run(&["functions"]).ended(0).says(&["countdown(from: integer, pause_ms: integer)", "Counts down"]);
    let functions = cli.json(&["functions"], 0);
    let names: Vec<_> = functions["items"].as_array().expect("an array").iter().map(|f| &f["name"]).collect();
    assert_eq!(names, ["countdown", "dispatch", "pack"]);

    let text = file("text", b"hello");
    cli.run(&["upload", &path(&text)]).ended(3).says(&["not a WebAssembly component", &path(&text)]);
    let refused = cli.json(&["upload", &path(&text)], 3);
    assert_eq!(refused["error"]["code"], "invalid_component");
    cli.run(&["upload", "/nowhere/at/all.wasm"]).ended(2).says(&["/nowhere/at/all.wasm"]);
}

#[test]
fn a_component_that_is_too_large_is_refused_in_words() {
    let host = Setup::new().bare().flag("--component-limit", 10_000).start();
    let countdown = file("countdown", &guest("countdown"));
    // Whether the host answers before everything was sent is a matter of luck: more than once.
    for _ in 0..10 {
        let ran = Cli::of(&host).run(&["upload", &countdown.path().display().to_string()]).ended(3);
        ran.says(&["--component-limit"]);
    }
}

#[test]
fn invoke_waits_and_shows() {
    let host = Setup::new().start();
    let cli = Cli::of(&host);
    let ran = cli.run(&["invoke", "countdown", "[2, 10]", "--id", "short"]).ended(0);
    assert_eq!((ran.out().as_str(), ran.err().as_str()), ("2\n", ""), "without a terminal there is the result alone");
    let document = cli.json(&["invoke", "countdown", "[2,10]", "--id", "short"], 0);
    for (field, value) in [("id", json!("short")), ("state", json!("resolved")), ("value", json!(2))] {
        assert_eq!(document[field], value);
    }
    assert_eq!(host.lines("short"), ["2", "1", "lift-off"], "the same id attaches");
    let ran = cli.run(&["invoke", "countdown", "[2, 10]", "--follow"]).ended(0);
    assert_eq!(ran.out(), "2\n");
    ran.says(&["│ 2", "│ 1", "│ lift-off", "step 1: sleep until", "told of step 2", "finished: resolved"]);
    let ran = run_with_input(cli.command(&["invoke", "countdown", "-"]), "[1, 1]").ended(0);
    assert_eq!(ran.out(), "1\n");
}

#[test]
fn invoke_fails_when_the_function_does() {
    let host = Setup::new().start();
    let cli = Cli::of(&host);
    let cases = [
        ("typed", r#"["no"]"#, "rejected", "Declined"),
        ("explode", r#"["bang",0]"#, "crashed", "bang"),
        ("text_error", r#"["just no"]"#, "rejected", "failed: just no"),
    ];
    for (function, arguments, state, part) in cases {
        let ran = cli.run(&["invoke", function, arguments]).ended(1);
        assert_eq!(ran.out(), "", "there is no result");
        ran.says(&[part, function]);
        let document = cli.json(&["invoke", function, arguments], 1);
        assert_eq!(document["state"], state);
    }
    cli.run(&["invoke", "sleeper", "[60000]", "--timeout", "50ms"]).ended(1).says(&["timed out"]);
    cli.run(&["invoke", "nowhere"]).ended(3).says(&["there is no function named \"nowhere\""]);
    cli.run(&["invoke", "countdown", "[1]"]).ended(3).says(&["countdown takes 2 arguments (from, pause_ms)"]);
    cli.run(&["invoke", "echo", "[1"]).ended(2).says(&["JSON"]);
    cli.run(&["invoke", "echo", "1"]).ended(2).says(&["JSON array", "'[1]'"]);
    cli.run(&["invoke", "echo", "[1]", "--id", "a b"]).ended(3).says(&["can't contain ' '"]);
    assert_eq!(cli.json(&["invoke", "nowhere"], 3)["error"]["code"], "no_function");
}

#[test]
fn looking_at_an_execution() {
    let host = Setup::new().start();
    let cli = Cli::of(&host);
    cli.run(&["invoke", "transfer", r#"["ann","bob",5,"deposit",5]"#, "--id", "t"]).ended(1);
    cli.run(&["get", "t"]).ended(0).says(&["rejected", "transfer(", "5 cents were given back to ann", "steps"]);
    cli.run(&["tree", "t"]).ended(0).says(&["t transfer(", "├─ 1 withdraw(", "└─ 3 refund(", "book -5 to ann"]);
    cli.run(&["journal", "t"]).ended(0).says(&["→ step 1: call withdraw", "← told of step 2: rejected", "finished"]);
    let ran = cli.run(&["logs", "t"]).ended(0);
    assert_eq!(ran.out(), "the deposit failed: the account of bob is closed\n");
    cli.run(&["executions"]).ended(0).says(&["ID", "STATE", "t ", "rejected", "transfer("]);
    cli.run(&["executions", "--all", "--function", "refund"]).ended(0).says(&["t:3", "resolved"]);

    assert_eq!(cli.json(&["get", "t"], 0), host.show("t"));
    for (verb, path) in [("tree", "tree"), ("journal", "journal"), ("logs", "logs")] {
        let document = cli.json(&[verb, "t"], 0);
        assert_eq!(document["items"], Value::Array(host.items(&format!("/v1/executions/t/{path}"))), "{verb}");
    }
    let document = cli.json(&["executions", "--state", "rejected"], 0);
    assert_eq!(document["items"][0]["id"], "t");
    for verb in ["get", "tree", "journal", "logs", "cancel"] {
        cli.run(&[verb, "nowhere"]).ended(3).says(&["\"nowhere\""]);
        assert_eq!(cli.json(&[verb, "nowhere"], 3)["error"]["code"], "no_promise", "{verb}");
    }
}

#[test]
fn long_lists_are_whole() {
    let host = Setup::new().start();
    let cli = Cli::of(&host);
    host.post("/v1/functions/steps/invoke?id=long", &json!([6_000, 0])).expect(200);
    let journal = cli.json(&["journal", "long"], 0);
    assert_eq!(journal["items"].as_array().map(Vec::len), Some(12_002), "more than the host gives at once");
    let ran = cli.run(&["logs", "long"]).ended(0);
    assert_eq!(ran.out().lines().count(), 6_000);
}

#[test]
fn detach_cancel_and_follow() {
    let host = Setup::new().start();
    let cli = Cli::of(&host);
    let ran = cli.run(&["invoke", "slow_chatter", "[3, 100]", "--id", "slow", "--detach"]).ended(0);
    assert_eq!(ran.out(), "slow\n");
    let ran = cli.run(&["logs", "slow", "-f"]).ended(0);
    assert_eq!(ran.out(), "line 1\nline 2\nline 3\n");
    assert_eq!(cli.json(&["get", "slow", "--wait"], 0)["value"], 3);

    let id = cli.run(&["invoke", "sleeper", "[600000]", "--detach"]).ended(0).out().trim().to_owned();
    cli.run(&["cancel", &id]).ended(0).says(&["canceled"]);
    assert_eq!(cli.json(&["get", &id], 0)["state"], "canceled");
    cli.run(&["get", &id, "--wait"]).ended(1);
    cli.run(&["cancel", "slow"]).ended(3).says(&["already settled: resolved"]);
}

#[test]
fn promises_by_hand() {
    let host = Setup::new().start();
    let cli = Cli::of(&host);
    let create = ["promises", "create", "--id", "p", "--timeout", "1h", "--param", r#"{"for":"you"}"#];
    assert_eq!(cli.run(&create).ended(0).out(), "p\n");
    assert_eq!(cli.run(&create).ended(0).out(), "p\n", "again is the same");
    let document = cli.json(&["promises", "get", "p"], 0);
    assert_eq!(
        (&document["id"], &document["state"], &document["value"]),
        (&json!("p"), &json!("pending"), &Value::Null)
    );
    host.start("waiter", "wait_for", json!(["p"]));
    assert_eq!(cli.json(&["promises", "resolve", "p", r#"{"a":1}"#], 0)["value"], json!({ "a": 1 }));
    assert_eq!(host.wait("waiter")["value"], json!({ "a": 1 }));
    assert_eq!(cli.json(&["promises", "reject", "p", "1"], 3)["error"]["code"], "already_settled");
    for (how, value, state) in [("reject", Some("\"no\""), "rejected"), ("cancel", None, "canceled")] {
        let made = cli.run(&["promises", "create"]).ended(0).out();
        let arguments: Vec<&str> = ["promises", how, made.trim()].into_iter().chain(value).collect();
        cli.run(&arguments).ended(0).says(&[state]);
        assert_eq!(cli.json(&["promises", "get", made.trim()], 0)["state"], state);
    }
    cli.run(&["promises", "resolve", "p", "yes"]).ended(2).says(&["JSON"]);
    cli.run(&["promises", "list", "--state", "rejected"]).ended(0).says(&["rejected"]);
}

/// The call goes on whatever happens to the host, and so does the command that waits for it.
#[test]
fn invoke_waits_through_a_kill() {
    let mut host = Setup::new().start();
    let cli = Cli::of(&host);
    let mut command = cli.command(&["invoke", "slow_chatter", "[5, 150]", "--id", "patient", "--follow"]);
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    until("it is under way", || {
        host.try_get("/v1/executions/patient/logs").is_ok_and(|a| a.text.contains("line 2")).then_some(())
    });
    host.kill();
    host.restart();
    let output = waiting.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "5\n");
    let told = String::from_utf8_lossy(&output.stderr);
    for n in 1..=5 {
        assert_eq!(told.matches(&format!("line {n}")).count(), 1, "each line is shown once: {told}");
    }
}

#[test]
fn a_host_that_is_not_there() {
    let mut command = command();
    command.args(["functions", "--url", "http://127.0.0.1:1"]);
    run(command).ended(3).says(&["there is no host at http://127.0.0.1:1", "host serve"]);
}

#[test]
fn a_single_host_is_no_cluster() {
    let host = Setup::new().bare().start();
    for verb in ["nodes", "partitions"] {
        Cli::of(&host).run(&[verb]).ended(3).says(&["this is a single host", "host serve --cluster"]);
    }
}

#[test]
fn help_and_mistakes() {
    let cli = Cli { url: "http://127.0.0.1:1".into(), token: None };
    let help = cli.run(&["--help"]).ended(0);
    let verbs = [
        "serve",
        "upload",
        "check",
        "upgrade",
        "functions",
        "invoke",
        "executions",
        "get",
        "tree",
        "journal",
        "logs",
        "test",
        "replay",
        "export",
        "resume",
        "fork",
        "cancel",
        "promises",
    ];
    help.says(&verbs);
    for verb in verbs {
        cli.run(&[verb, "--help"]).ended(0).says(&["Usage"]);
    }
    cli.run(&["--version"]).ended(0);
    cli.run(&["frobnicate"]).ended(2).says(&["frobnicate"]);
    assert_eq!(cli.json(&["frobnicate"], 2)["error"]["code"], "usage");
}

#[test]
fn invoke_asks_a_busy_host_again() {
    let host = Setup::new().flag("--backlog", 5).flag("--cpu-limit", "400ms").start();
    let path = "/v1/functions/spin/invoke?wait_ms=0";
    until("it has too much to do", || (host.post(path, &json!([])).status == 503).then_some(()));
    let ran = Cli::of(&host).run(&["invoke", "echo", "[1]"]).ended(0);
    assert_eq!(ran.out(), "1\n");
    ran.says(&["the host has too much to do just now"]);
}

#[test]
fn remove_takes_what_has_ended() {
    let host = Setup::new().start();
    let cli = Cli::of(&host);
    cli.run(&["invoke", "fibonacci", "[3]", "--id", "tree"]).ended(0);
    cli.run(&["remove", "tree"]).ended(0).says(&["tree removed, 5 promises in all"]);
    cli.run(&["remove", "tree"]).ended(3).says(&["there is no promise"]);
    host.promise(json!({ "id": "open" }));
    cli.run(&["remove", "open"]).ended(3).says(&["it has not ended"]);
    assert_eq!(cli.json(&["remove", "open"], 3)["error"]["code"], "still_needed");
    host.settle("open", "resolve", &json!(1)).expect(200);
    assert_eq!(cli.json(&["remove", "open"], 0), json!({ "id": "open", "promises": 1 }));
}
