//! What functions see of the world outside: HTTP, variables and secrets, and what is closed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::{Client, Host, Look, Setup, Web, until};

/// A host whose function may send requests to this server.
fn host_for(web: &Web, functions: &[&str]) -> Host {
    let host = Setup::new().start();
    for function in functions {
        allow(&host, function, &web.authority());
    }
    host
}

fn allow(host: &Client, function: &str, authority: &str) {
    host.post(&format!("/v1/functions/{function}/config"), &json!({ "allow": [authority] })).expect(200);
}

#[test]
fn both_clients_send_requests_and_get_answers() {
    let web = Web::new();
    let host = host_for(&web, &["fetch", "fetch_with_client"]);
    let sent = host.call("fetch", json!(["PUT", web.url("/echo/a?b=c"), [["x-mine", "1"]], "hello"]));
    assert_eq!(sent, json!([200, "PUT /echo/a?b=c hello"]));
    let sent = host.call("fetch_with_client", json!(["POST", web.url("/echo"), "hello"]));
    assert_eq!(sent, json!([200, "POST /echo hello"]));
    let sent = host.call("fetch_with_client", json!(["GET", web.url("/status/404"), ""]));
    assert_eq!(sent, json!([404, "as you wish"]));
    let seen = web.seen();
    assert_eq!(seen[0].headers["x-mine"], "1");
    assert_eq!(seen[1].headers["x-client"], "wstd");
    let keys: Vec<&String> = seen.iter().map(|seen| &seen.headers["idempotency-key"]).collect();
    assert!(keys.iter().all(|key| key.len() == 32) && keys[0] != keys[1] && keys[1] != keys[2], "{keys:?}");
}

#[test]
fn a_key_of_the_guests_own_is_left() {
    let web = Web::new();
    let host = host_for(&web, &["fetch"]);
    host.call("fetch", json!(["GET", web.url("/echo"), [["Idempotency-Key", "mine"]], ""]));
    assert_eq!(web.seen()[0].headers["idempotency-key"], "mine");
}

#[test]
fn nothing_is_sent_that_is_not_allowed() {
    let web = Web::new();
    let host = Setup::new().start();
    for (function, arguments) in [
        ("fetch", json!(["GET", web.url("/echo"), [], ""])),
        ("fetch_with_client", json!(["GET", web.url("/echo"), ""])),
    ] {
        let document = host.invoke(function, arguments);
        assert_eq!(document["state"], "rejected");
        let text = document["value"].to_string();
        assert!(text.contains(&format!("host config set {function} --allow")) && text.contains("localhost"), "{text}");
    }
    // A pattern doesn't reach this machine, whatever leads there.
    allow(&host, "fetch", "*");
    let document = host.invoke("fetch", json!(["GET", web.url("/echo"), [], ""]));
    assert!(document["value"].to_string().contains("OutOfReach"), "{document}");
    assert!(web.seen().is_empty());
}

#[test]
fn what_goes_wrong_is_recorded() {
    let web = Web::new();
    let host = host_for(&web, &["fetch"]);
    allow(&host, "fetch", "localhost:1");
    allow(&host, "fetch", "no-such-name.invalid");
    for (url, kind) in [
        (web.url("/break"), "Broken"),
        (web.url("/large/2000000"), "BodyTooLarge"),
        ("http://localhost:1/".to_owned(), "NotConnected"),
        ("http://no-such-name.invalid/".to_owned(), "NotResolved"),
        ("ftp://localhost/".to_owned(), "Refused"),
    ] {
        let document = host.invoke("fetch", json!(["GET", url, [], ""]));
        assert_eq!(document["state"], "rejected", "{document}");
        assert!(document["value"].to_string().contains(kind), "{kind}: {document}");
    }
}

#[test]
fn a_request_that_is_dropped_is_given_up() {
    let web = Web::new();
    let host = host_for(&web, &["impatient"]);
    let document = host.invoke("impatient", json!([web.url("/slow/60000"), 50, web.url("/echo")]));
    assert_eq!(document["value"], "true GET /echo ");
    let look = Look::at(&host, document["id"].as_str().expect("ids are text"));
    let dropped = crate::of(&look.journals, "root").iter().filter(|entry| entry.contains("no longer awaited")).count();
    assert!(dropped >= 1, "{look:?}");
}

#[test]
fn an_answer_is_asked_for_once_and_what_had_none_is_asked_for_again() {
    let web = Web::new();
    let mut host = host_for(&web, &["fetch_sleep_fetch"]);
    host.start("twice", "fetch_sleep_fetch", json!([web.url("/count"), 1500]));
    until("the first answer is recorded", || (host.show("twice")["entries"].as_u64() >= Some(4)).then_some(()));
    host.kill();
    host.restart();
    assert_eq!(host.wait("twice")["value"], json!(["1", "1"]), "each request arrived once");
    // One that is on its way when the host dies.
    host.start("slow", "fetch_sleep_fetch", json!([web.url("/slow/400"), 0]));
    until("it is on its way", || (web.seen().len() >= 3).then_some(()));
    host.kill();
    host.restart();
    assert_eq!(host.wait("slow")["value"], json!(["slow", "slow"]));
    let seen = web.seen();
    let keys: Vec<&String> = seen[2..].iter().map(|seen| &seen.headers["idempotency-key"]).collect();
    assert_eq!(keys[0], keys[1], "the same request has the same key");
    assert_eq!(keys.len(), 3);
    assert_ne!(keys[1], keys[2]);
}

#[test]
fn many_requests_at_once_replay_in_the_order_of_their_answers() {
    let web = Web::new();
    let mut host = Setup::new().flag("--sessions", 2).start();
    allow(&host, "fetch_all", &web.authority());
    let urls: Vec<String> = (0..30).map(|n| web.url(&format!("/echo/{n}"))).collect();
    let first = host.call("fetch_all", json!([urls]));
    assert_eq!(first.as_array().map(Vec::len), Some(30));
    host.start("slowly", "fetch_all", json!([[web.url("/slow/300"), web.url("/echo/1"), web.url("/echo/2")]]));
    until("two answers are recorded", || (host.show("slowly")["entries"].as_u64() >= Some(6)).then_some(()));
    host.kill();
    host.restart();
    let bodies = host.wait("slowly")["value"].clone();
    assert_eq!(bodies[2], "slow", "{bodies}");
}

#[test]
fn variables_are_those_of_the_start() {
    let mut host = Setup::new().start();
    let set = |host: &Host, value: &str| {
        let change = json!({ "variables": { "COLOUR": { "value": value } } });
        host.post("/v1/functions/variable_twice/config", &change).expect(200);
    };
    assert_eq!(host.call("variable", json!(["COLOUR"])), Value::Null);
    set(&host, "red");
    host.start("old", "variable_twice", json!(["COLOUR", 700]));
    until("it has read it", || (host.show("old")["entries"].as_u64() >= Some(2)).then_some(()));
    set(&host, "blue");
    host.kill();
    host.restart();
    assert_eq!(host.wait("old")["value"], json!(["red", "red"]));
    assert_eq!(host.call("variable_twice", json!(["COLOUR", 0])), json!(["blue", "blue"]));
    host.post("/v1/components/web/config", &json!({ "variables": { "COLOUR": { "value": "green" } } })).expect(200);
    assert_eq!(host.call("variable", json!(["COLOUR"])), "green", "a component's is for all its functions");
    assert_eq!(
        host.call("variable_twice", json!(["COLOUR", 0])),
        json!(["blue", "blue"]),
        "unless theirs says otherwise"
    );
}

#[test]
fn a_secret_is_nowhere_but_where_it_is_sent() {
    const SECRET: &str = "tr0ub4dor-and-3";
    let web = Web::new();
    let mut host = host_for(&web, &["send_variable"]);
    let change = json!({ "variables": { "KEY": { "value": SECRET, "secret": true } } });
    for function in ["send_variable", "variable"] {
        let answer = host.post(&format!("/v1/functions/{function}/config"), &change).expect(200);
        assert!(!answer.to_string().contains(SECRET));
    }
    let document =
        host.post("/v1/functions/send_variable/invoke?id=sends", &json!(["KEY", web.url("/echo")])).expect(200);
    let echoed = document["value"].as_str().expect("text");
    assert_eq!(echoed, format!("POST /echo?key={SECRET} the key is {SECRET}"), "the other side gets it whole");
    assert_eq!(web.seen()[0].headers["authorization"], format!("Bearer {SECRET}"));
    host.post("/v1/functions/variable/invoke?id=prints", &json!(["KEY"])).expect(200);
    assert_eq!(host.lines("prints"), ["KEY is Some(\"***\")"]);
    // What the functions themselves returned is theirs. All else is looked at.
    let request = host.get("/v1/promises/sends:1").text;
    assert!(request.contains("***") && !request.contains(&format!("Bearer {SECRET}")), "{request}");
    for path in ["/v1/executions/sends/journal", "/v1/executions/prints/journal", "/v1/functions/variable/config"] {
        let text = host.get(path).text;
        let text = text.replace(&format!("the key is {SECRET}"), "").replace(&format!("key={SECRET}"), "");
        assert!(!text.contains(SECRET), "{path}: {text}");
    }
    host.stop();
    check_files(&host.data(), SECRET);
}

/// The secret's value is in files of the vault only, which nobody else may read.
fn check_files(data: &Path, secret: &str) {
    use std::os::unix::fs::PermissionsExt;
    let vault = data.join("vault");
    assert_eq!(fs::metadata(&vault).expect("it is there").permissions().mode() & 0o777, 0o700);
    let kept = fs::read_dir(&vault).expect("it is there").flatten().any(|file| {
        let bytes = fs::read(file.path()).expect("it can be read");
        assert_eq!(file.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
        bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
    });
    assert!(kept);
}

#[test]
fn a_blocking_sleep_is_a_durable_one() {
    let mut host = Setup::new().flag("--sessions", 2).start();
    let ids: Vec<String> = (0..6).map(|n| format!("sleeper-{n}")).collect();
    for id in &ids {
        host.start(id, "blocking_sleep", json!([1200]));
    }
    until("all are asleep", || ids.iter().all(|id| host.show(id)["task"] == "suspended").then_some(()));
    assert!(host.health()["sessions"].as_u64() <= Some(2), "those that wait are not in memory: {}", host.health());
    host.kill();
    host.restart();
    for id in &ids {
        let slept = host.wait(id)["value"].as_u64().expect("a number");
        assert!((1200..60_000).contains(&slept), "{slept}");
        let look = Look::at(&host, id);
        assert!(crate::of(&look.journals, "root").iter().any(|entry| entry.contains("sleep until")), "{look:?}");
    }
}

#[test]
fn what_is_closed_says_so() {
    let host = Setup::new().start();
    let seen: Vec<(String, String)> = serde_json::from_value(host.call("closed", json!([]))).expect("pairs of texts");
    for (what, text) in &seen {
        println!("{what}: {text}");
        match what.as_str() {
            "arguments" => assert_eq!(text, "[]"),
            "input" => assert_eq!(text, "Ok(0)", "the input is empty"),
            _ => assert!(text.starts_with("Err("), "{what}: {text}"),
        }
    }
}
