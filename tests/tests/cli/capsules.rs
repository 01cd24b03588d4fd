//! `host replay` and `host export`: an execution is looked into, here and where no host is.

use serde_json::{Value, json};
use tests::{Setup, edition, scratch, until};

use crate::Cli;

fn nowhere() -> Cli {
    Cli { url: "http://127.0.0.1:1".into() }
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
