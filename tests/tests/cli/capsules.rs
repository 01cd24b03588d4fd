//! `host replay` and `host export`: an execution is looked into, here and where no host is.

use serde_json::{Value, json};
use tests::{Setup, Web, edition, guest, scratch, until};

use crate::verbs::file;
use crate::{Cli, run};

fn nowhere() -> Cli {
    Cli { url: "http://127.0.0.1:1".into(), token: None }
}

fn capsule(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".capsule").tempfile_in(scratch()).expect("a file is made");
    std::fs::write(file.path(), bytes).expect("a file can be written");
    file
}

#[test]
fn a_capsule_is_replayed_without_a_host_and_refused_if_it_was_changed() {
    let host = Setup::new().bare().start();
    let cli = Cli::of(&host);
    host.upload(&edition("one")).expect(201);
    host.start("order", "sell", json!([5, 600_000]));
    until("it sleeps", || (host.show("order")["entries"] == 4).then_some(()));
    let file = cli.run(&["export", "order"]).ended(0);
    let bytes = file.output.stdout.clone();
    assert!(file.err().starts_with(&format!("{} bytes, ", bytes.len())), "{}", file.err());
    drop(host);

    let whole = capsule(&bytes);
    let path = whole.path().display().to_string();
    let ran = nowhere().run(&["replay", &path]).ended(0);
    ran.says(&["of 2 executions replay as they were", "1          step 1: call charge[50]  [1]", "│ selling 5"]);
    ran.says(&["it waits for 1:", "step 2: sleep until", "at editions/src/lib.rs:"]);
    let document = nowhere().json(&["replay", &path, "--to", "1"], 0);
    assert_eq!(document["entries"].as_array().map(Vec::len), Some(2));
    assert_eq!(document["entries"][0]["output"], json!(["selling 5"]));
    assert_eq!((&document["waiting"][0]["step"], &document["verified"]["executions"]), (&json!(1), &json!(2)));
    let place = &document["waiting"][0]["at"][0];
    assert!(place.as_str().is_some_and(|place| place.contains("editions/src/lib.rs")), "{document}");
    let child = nowhere().json(&["replay", &path, "--execution", "order:1"], 0);
    assert_eq!((&child["id"], &child["waiting"]), (&json!("order:1"), &Value::Array(Vec::new())));
    nowhere().run(&["replay", &path, "--to", "9"]).ended(2).says(&["the last one is 3"]);

    let refused = |bytes: &[u8], part: &str| {
        let changed = capsule(bytes);
        let ran = nowhere().run(&["replay", &changed.path().display().to_string()]).ended(1);
        ran.says(&[part]);
    };
    let find = |text: &[u8]| bytes.windows(text.len()).rposition(|part| part == text).expect("it is in there");
    for (place, part) in [
        (find(b"charge"), "an execution) doesn't fit the chain"),
        (find(b"edition one"), "a component) doesn't fit the chain"),
        (find(b"exported_at_ms"), "the manifest) doesn't fit the chain"),
        (bytes.len() - 1, "the end) doesn't fit the chain"),
        (0, "not a capsule"),
    ] {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        refused(&changed, part);
    }
    refused(&bytes[..bytes.len() - 7], "not whole");
    refused(&[&bytes[..], b"x"].concat(), "1 bytes follow its end");
}

#[test]
fn an_execution_is_looked_into_where_it_is() {
    let host = Setup::new().start();
    let cli = Cli::of(&host);
    cli.run(&["invoke", "transfer", r#"["ann","bob",5,"deposit",5]"#, "--id", "t"]).ended(1);
    let ran = cli.run(&["replay", "t"]).ended(0);
    ran.says(&["of 4 executions replay as they were", "told of step 2: rejected", "it waits for nothing"]);
    let ran = cli.run(&["replay", "t", "--to", "3"]).ended(0);
    ran.says(&["it waits for 1:", "step 2: call deposit", "at transfer/src/lib.rs:"]);
    cli.run(&["replay", "nobody"]).ended(3).says(&["there is no promise"]);
    cli.run(&["export", "nobody"]).ended(3).says(&["there is no promise"]);
}

#[test]
fn a_capsule_has_what_its_functions_were_configured_with_and_no_secrets() {
    const SECRET: &str = "tr0ub4dor-and-3";
    let (web, host) = (Web::new(), Setup::new().flag("--token", "t0ken").env("HOST_TOKEN", "t0ken").start());
    let mut cli = Cli::of(&host);
    cli.token = Some("t0ken".into());
    let set = |arguments: &[&str]| drop(cli.run(&[&["config", "set"], arguments].concat()).ended(0));
    set(&["variable_twice", "COLOUR=red"]);
    set(&["variable", "--secret", &format!("KEY={SECRET}")]);
    set(&["send_variable", "--secret", &format!("KEY={SECRET}"), "--allow", &web.authority()]);
    set(&["allocate", "--limit", "memory=8MiB"]);
    cli.run(&["config", "set", "variable", "--secret", "A", "--secret", "B"]).ended(2).says(&["only one secret"]);
    let export = |function: &str, arguments: Value, status: i32| {
        cli.run(&["invoke", function, &arguments.to_string(), "--id", function]).ended(status);
        // What it is configured with now is another matter.
        cli.run(&["config", "set", function, "COLOUR=blue"]).ended(0);
        capsule(&cli.run(&["export", function]).ended(0).output.stdout)
    };
    let colour = export("variable_twice", json!(["COLOUR", 0]), 0);
    let reads = export("variable", json!(["KEY"]), 0);
    let sends = export("send_variable", json!(["KEY", web.url("/count")]), 0);
    let large = export("allocate", json!([16 << 20]), 1);
    drop(host);

    let path = |file: &tempfile::NamedTempFile| file.path().display().to_string();
    for file in [&colour, &sends, &large] {
        nowhere().run(&["replay", &path(file)]).ended(0).says(&["replay as they were"]);
        let bytes = std::fs::read(file.path()).expect("it is there");
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()));
    }
    // It returned the secret, so it does something else without.
    let without = nowhere().run(&["replay", &path(&reads)]).ended(1);
    without.says(&["resolved \"<a stand-in for KEY>\"", "give KEY with --secret"]);
    nowhere().run(&["replay", &path(&reads), "--secret", "KEY=another"]).ended(1).says(&["differs"]);
    nowhere().run(&["replay", &path(&reads), "--secret", &format!("KEY={SECRET}")]).ended(0);
    let mut command = nowhere().command(&["replay", &path(&reads), "--secret", "KEY"]);
    command.env("KEY", SECRET);
    run(command).ended(0);
    nowhere().run(&["replay", &path(&reads), "--secret", "KEY"]).ended(2).says(&["from the environment"]);
    nowhere().run(&["replay", &path(&colour), "--secret", "KEY=1"]).ended(2).says(&["has no secret \"KEY\""]);
}

/// Where a guest's slices of time end is no matter, nor what it would have gone on to do when it was ended from outside.
#[test]
fn what_took_long_to_compute_replays() {
    let host = Setup::new().start();
    let cli = Cli::of(&host);
    host.post("/v1/functions/busy/invoke?id=long", &json!([60_000_000])).expect(200);
    host.start("spins", "spin", json!([]));
    until("it spins", || (host.health()["sessions"].as_u64() > Some(0)).then_some(()));
    cli.run(&["cancel", "spins"]).ended(0);
    for id in ["long", "spins"] {
        let file = capsule(&cli.run(&["export", id]).ended(0).output.stdout);
        nowhere().run(&["replay", &file.path().display().to_string()]).ended(0).says(&["replay as they were"]);
    }
    let report = cli.json(&["check", &file("misbehave", &guest("misbehave")).path().display().to_string()], 0);
    for function in ["busy", "spin"] {
        let functions = report["functions"].as_array().expect("an array");
        let function = functions.iter().find(|known| known["name"] == function).expect("it is there");
        assert_eq!(function["finished"], json!({ "same": 1, "differ": 0 }), "{function}");
    }
}

#[test]
fn a_candidate_is_checked_on_capsules_without_a_host() {
    let host = Setup::new().bare().start();
    let cli = Cli::of(&host);
    host.upload(&edition("one")).expect(201);
    let export = |id: &str| capsule(&cli.run(&["export", id]).ended(0).output.stdout);
    let paths: Vec<_> = (0..2).map(|n| format!("order-{n}")).collect();
    for id in &paths {
        host.start(id, "sell", json!([5, 600_000]));
        until("it sleeps", || (host.show(id)["entries"] == 4).then_some(()));
    }
    let files: Vec<_> = paths.iter().map(|id| export(id)).collect();
    drop(host);
    let (two, fix) = (file("two", &edition("two")), file("fix", &edition("fix")));
    let path = |file: &tempfile::NamedTempFile| file.path().display().to_string();
    let check = |candidate: &tempfile::NamedTempFile| {
        ["check".into(), path(candidate), "--capsule".into(), path(&files[0]), path(&files[1])]
    };
    let ran = nowhere().run(&check(&two).each_ref().map(String::as_str)).ended(1);
    ran.says(&["sell: 2 under way, 0 would go on unchanged, 2 would not", "order-0 differs at entry 1"]);
    ran.says(&[
        "the component did  step 1: call charge[55]",
        "at editions/src/lib.rs:",
        "charge: none under way; 0 of 2",
    ]);
    let report = nowhere().json(&check(&fix).each_ref().map(String::as_str), 0);
    let sell = report["functions"].as_array().expect("an array").iter().find(|f| f["name"] == "sell");
    assert_eq!(sell.expect("it is there")["unfinished"], json!({ "same": 2, "differ": 0 }));
}

#[test]
fn a_server_is_checked_under_the_name_that_it_has() {
    let host = Setup::new().start();
    let cli = Cli::of(&host);
    let site = file("site", &guest("site"));
    let path = site.path().display().to_string();
    cli.run(&["upload", &path, "--mount", "shop"]).ended(0);
    let asking = std::thread::spawn({
        let client = host.impatient();
        move || drop(client.try_post_with("/http/shop/sleep/60000", ("idempotency-key", "order-7"), b""))
    });
    until("it sleeps", || {
        let shown = host.get("/v1/executions/order-7");
        (shown.status == 200 && shown.json()["task"] == "suspended").then_some(())
    });
    let ran = cli.run(&["check", &path, "--mount", "shop"]).ended(0);
    ran.says(&["shop: 1 under way, all would go on unchanged"]);
    cli.run(&["upload", "--check", &path, "--mount", "shop"]).ended(0);
    asking.join().expect("it doesn't panic");
}
