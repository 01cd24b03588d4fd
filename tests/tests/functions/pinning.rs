//! Which component an execution runs on, and what happens when two want one name.

use serde_json::json;
use tests::{Host, Setup, guest, until};

fn second_edition() -> Vec<u8> {
    edition_of_clash(b"edition two")
}

/// The same component with another text in it: a newer version of it, with a digest of its own.
fn edition_of_clash(new: &[u8; 11]) -> Vec<u8> {
    let mut wasm = guest("clash");
    let old = b"edition one";
    let place = wasm.windows(old.len()).position(|bytes| bytes == old).expect("the text is in the component");
    wasm[place..place + new.len()].copy_from_slice(new);
    assert!(!wasm.windows(old.len()).any(|bytes| bytes == old), "the text is in the component once");
    wasm
}

fn with_first_edition() -> (Host, String) {
    let host = Setup::new().bare().start();
    let component = host.upload(&guest("clash")).expect(201);
    (host, component["digest"].as_str().expect("a digest").to_owned())
}

#[test]
fn what_runs_stays_on_its_component() {
    let (mut host, first) = with_first_edition();
    // Warm in memory, and evicted and replayed.
    for id in ["warm", "replayed"] {
        host.start(id, "editions", json!([if id == "warm" { 300 } else { 1_500 }]));
        until("it sleeps", || (host.show(id)["task"] == "suspended").then_some(()));
    }
    let second = host.upload(&second_edition()).expect(201)["digest"].as_str().expect("a digest").to_owned();
    assert_ne!(first, second);
    let new = host.invoke("editions", json!([1]));
    assert_eq!((&new["component"], &new["value"][0]), (&json!(second), &json!("edition two")));
    assert_eq!(new["value"], json!(vec!["edition two"; 4]));

    let old = json!(vec!["edition one"; 4]);
    let warm = host.wait("warm");
    assert_eq!((&warm["component"], &warm["value"]), (&json!(first), &old));
    host.kill();
    host.restart();
    let replayed = host.wait("replayed");
    assert_eq!((&replayed["component"], &replayed["value"]), (&json!(first), &old));
    assert_eq!(host.call("edition", json!([])), "edition two");
}

#[test]
fn what_nothing_needs_any_more_is_removed() {
    let mut host = Setup::new().bare().flag("--retention", "300ms").start();
    let upload = |wasm: &[u8]| host.upload(wasm).expect(201)["digest"].as_str().expect("a digest").to_owned();
    let first = upload(&guest("clash"));
    let files = |digest: &str| {
        ["wasm", "compiled", "compiled.sha256"]
            .map(|kind| host.data().join("components").join(format!("{digest}.{kind}")).exists())
    };
    host.start("asleep", "editions", json!([3_600_000]));
    until("it sleeps", || (host.show("asleep")["task"] == "suspended").then_some(()));
    let (second, third) = (upload(&second_edition()), upload(&edition_of_clash(b"edition six")));
    until("the second one is gone", || (files(&second) == [false; 3]).then_some(()));
    assert_eq!((files(&first), files(&third)), ([true; 3], [true; 3]), "one is run, and one is current");
    until("it says so", || host.log().contains(&format!("{second}: it isn't current")).then_some(()));
    host.post("/v1/executions/asleep/cancel", &json!(null)).expect(200);
    until("the first one is gone", || (files(&first) == [false; 3]).then_some(()));
    host.get("/v1/promises/asleep").refusal(404, "no_promise");
    // It can come back, and what is current then is what was asked for last.
    assert_eq!(upload(&guest("clash")), first);
    assert_eq!(host.call("edition", json!([])), "edition one");
    until("the third one is gone", || (files(&third) == [false; 3]).then_some(()));
    // Files that a host which was killed has left go with the next start.
    let left = host.data().join("components").join(format!("{third}.wasm"));
    host.kill();
    std::fs::write(&left, "left").expect("it can be written");
    host.restart();
    until("what was left is gone", || (!left.exists()).then_some(()));
    assert_eq!(host.call("edition", json!([])), "edition one");
}

#[test]
fn an_upload_is_idempotent_and_outlives_a_kill() {
    let (mut host, first) = with_first_edition();
    let again = host.upload(&guest("clash")).expect(201);
    assert_eq!(again["digest"], json!(first));
    assert_eq!(host.items("/v1/components").len(), 1);
    host.upload(&second_edition()).expect(201);
    host.kill();
    host.restart();
    assert_eq!(host.call("edition", json!([])), "edition two");
    // The older one can come back.
    host.upload(&guest("clash")).expect(201);
    assert_eq!(host.call("edition", json!([])), "edition one");
    assert_eq!(host.items("/v1/components").len(), 1, "one component is the current one of its name");
}

#[test]
fn a_name_belongs_to_one_component() {
    let host = Setup::new().start();
    let refusal = host.upload(&guest("clash")).refusal(409, "function_taken");
    for part in ["\"echo\"", "\"misbehave\"", "rename the function"] {
        assert!(refusal.contains(part), "{part} is not in {refusal}");
    }
    assert_eq!(host.call("echo", json!([1])), 1, "the function is whose it was");
    let refusal = host.post("/v1/functions/only_in_clash/invoke", &json!([])).refusal(404, "no_function");
    assert!(refusal.contains("only_in_clash"), "{refusal}");
}
