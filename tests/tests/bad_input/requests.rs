//! Requests that make no sense.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tests::{Client, Setup, until};

#[track_caller]
fn refused(host: &Client, function: &str, body: &str, status: u16, code: &str, parts: &[&str]) {
    let answer = host.try_post(&format!("/v1/functions/{function}/invoke"), body.as_bytes()).expect("an answer");
    let refusal = answer.refusal(status, code);
    for part in parts {
        assert!(refusal.contains(part), "{part:?} is not in {refusal}");
    }
}

#[test]
fn calls_that_do_not_fit_are_refused_by_what_does_not() {
    let host = Setup::new().start();
    refused(&host, "nowhere", "[]", 404, "no_function", &["\"nowhere\"", "upload"]);
    let takes = ["countdown takes 2 arguments (from, pause_ms)"];
    refused(&host, "countdown", "[]", 422, "invalid_arguments", &takes);
    refused(&host, "countdown", "[1,2,3]", 422, "invalid_arguments", &takes);
    refused(&host, "countdown", "", 422, "invalid_arguments", &takes);
    for wrong in ["\"x\"", "-1", "1.5", "null", "[1]"] {
        let body = format!("[3,{wrong}]");
        refused(&host, "countdown", &body, 422, "invalid_arguments", &["\"pause_ms\" of countdown"]);
    }
    let trouble = r#"["a","b",1,"nonsense",1]"#;
    refused(&host, "transfer", trouble, 422, "invalid_arguments", &["\"trouble\" of transfer", "nonsense"]);
    for malformed in ["[1", "{", "1 2", "[1,]", "nil", "\u{1}"] {
        refused(&host, "echo", malformed, 400, "bad_request", &["JSON array"]);
    }
    for no_array in ["{}", "1", "null", "\"x\""] {
        refused(&host, "echo", no_array, 400, "bad_request", &["JSON array"]);
    }
    let not_utf8 = host.try_post("/v1/functions/echo/invoke", b"[\"\xff\"]").expect("an answer");
    not_utf8.refusal(400, "bad_request");
    assert!(host.items("/v1/executions").is_empty(), "nothing was started");
}

#[test]
fn ids_that_are_not_allowed_are_refused() {
    let host = Setup::new().start();
    let long = "a".repeat(129);
    let cases = [
        ("order:7", "can't contain ':'"),
        ("", "can't be empty"),
        ("a%20b", "can't contain ' '"),
        ("a%2Fb", "can't contain '/'"),
        ("a%0Ab", "can't contain '\\n'"),
        ("a%25", "can't contain '%'"),
        ("..", "can't contain '.'"),
        (&long, "at most 128 bytes; this one has 129"),
    ];
    for (id, why) in cases {
        let answer = host.post(&format!("/v1/functions/echo/invoke?id={id}"), &json!([1]));
        let refusal = answer.refusal(422, "invalid_id");
        assert!(refusal.contains(why), "{why:?} is not in {refusal}");
    }
    let refusal = host.post("/v1/promises", &json!({ "id": "a b" })).refusal(422, "invalid_id");
    assert!(refusal.contains("can't contain ' '"), "{refusal}");
    // As long as can be, and in any language.
    host.post(&format!("/v1/functions/echo/invoke?id={}", "a".repeat(128)), &json!([1])).expect(200);
    assert_eq!(host.promise(json!({ "id": "größe-7" })), "größe-7");
    host.get("/v1/promises/a%20b").refusal(404, "no_promise");
    host.get("/v1/promises/a:0").refusal(404, "no_promise");
}

#[test]
fn a_guest_is_told_that_an_id_is_not_allowed() {
    let host = Setup::new().start();
    let document = host.invoke("bad_ids", json!([]));
    // The one of 10,000 bytes is too much even to write down.
    assert_eq!(document["state"], "crashed");
    let text = document["value"].as_str().expect("text");
    assert!(text.contains("an id has 10000 bytes"), "{text}");
    let id = document["id"].as_str().expect("an id");
    let told = host.items(&format!("/v1/executions/{id}/journal"));
    let refused: Vec<_> = told.iter().filter(|entry| entry["state"] == "refused").collect();
    assert_eq!(refused.len(), 4, "{told:#?}");
}

#[test]
fn values_over_the_limit_are_refused() {
    let host = Setup::new().flag("--payload-limit", 10_000).start();
    let of = |bytes: usize| json!(["a".repeat(bytes - 4)]);
    assert_eq!(host.call("swallow", of(10_000)), 9_996);
    let too_large = |answer: tests::Answer| {
        let refusal = answer.refusal(413, "payload_too_large");
        assert!(refusal.contains("--payload-limit"), "{refusal}");
    };
    too_large(host.post("/v1/functions/swallow/invoke", &of(10_001)));
    too_large(host.post("/v1/functions/swallow/invoke", &of(1_000_000)));
    let promise = host.promise(json!({}));
    too_large(host.settle(&promise, "resolve", &of(10_001)));
    too_large(host.post("/v1/promises", &json!({ "param": of(10_001) })));
    assert_eq!(host.show(&promise)["state"], "pending");
}

#[test]
fn malformed_requests_are_refused() {
    let host = Setup::new().start();
    let refused = |path: &str, body: &str, part: &str| {
        let refusal = host.try_post(path, body.as_bytes()).expect("an answer").refusal(400, "bad_request");
        assert!(refusal.contains(part), "{part:?} is not in {refusal}");
    };
    refused("/v1/promises", "{\"id\":", "EOF");
    refused("/v1/promises", "{\"name\":\"x\"}", "name");
    refused("/v1/promises", "{\"timeout_ms\":-1}", "-1");
    refused("/v1/functions/echo/invoke?wait_ms=soon", "[1]", "wait_ms");
    refused("/v1/functions/echo/invoke?wait=1", "[1]", "wait");
    let promise = host.promise(json!({}));
    refused(&format!("/v1/promises/{promise}/resolve"), "yes", "JSON value");
    host.post("/v1/functions/echo/invoke?timeout_ms=18446744073709551615", &json!([1])).expect(200);
}

#[test]
fn a_deadline_at_the_end_of_time_keeps_no_other_from_passing() {
    let mut host = Setup::new().start();
    host.post("/v1/promises", &json!({ "id": "never", "timeout_ms": u64::MAX })).expect(201);
    host.start("asleep", "sleeper", json!([u64::MAX]));
    host.start("soon", "sleeper", json!([3_000]));
    until("they sleep", || (host.show("asleep")["task"] == "suspended").then_some(()));
    // What there is to wait for is read from the tables when it starts.
    host.stop();
    host.restart();
    host.wait("soon");
    assert_eq!(host.show("never")["state"], "pending");
    assert_eq!(host.show("asleep")["state"], "pending");
}

#[test]
fn there_is_nothing_behind_the_last_entry_that_can_be() {
    let host = Setup::new().start();
    host.start("short", "echo", json!([1]));
    host.wait("short");
    for part in ["journal", "logs"] {
        let path = format!("/v1/executions/short/{part}?from={}", u32::MAX);
        assert_eq!(host.get(&path).expect(200)["items"], json!([]));
    }
}

/// JSON as it was written: numbers of any size keep their digits, text keeps its characters.
#[test]
fn values_come_back_as_they_were_written() {
    let host = Setup::new().start();
    let body = r#"["\u0000\ud83d\ude00 ß", 12345678901234567890123, 1.10, {"a":{"a":{"a":[]}}, "":null}]"#;
    let answer = host.try_post("/v1/functions/bare_echo/invoke?id=kept", format!("[{body}]").as_bytes());
    let text = answer.expect("an answer").text;
    for part in ["12345678901234567890123", "1.10", r#"{"a":{"a":[]}},"":null}"#] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let deep = format!("[{}1{}]", "[".repeat(5_000), "]".repeat(5_000));
    let answer = host.try_post("/v1/functions/echo/invoke", deep.as_bytes()).expect("an answer");
    assert!(answer.status < 500, "nesting without end is no reason to stop: {answer:?}");
    assert_eq!(host.call("echo", json!([Value::Null])), Value::Null);
}

/// A connection is of use after an answer that nobody needed the body for. The client sends it late, as a busy one does.
#[test]
fn a_refusal_leaves_the_connection_open() {
    let host = Setup::new().flag("--token", "secret").start();
    let address = host.url().strip_prefix("http://").expect("it is a URL").to_owned();
    let mut stream = BufReader::new(TcpStream::connect(&address).expect("it listens"));
    for (path, token, status) in [
        ("/v1/executions/nothing/cancel", "Authorization: Bearer secret\r\n", 404),
        ("/v1/executions/nothing/cancel", "", 401),
        ("/v1/nowhere", "Authorization: Bearer secret\r\n", 404),
        ("/health", "", 405),
        ("/v1/functions/echo/invoke", "Authorization: Bearer secret\r\n", 200),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\n{token}Content-Length: 3\r\n\r\n");
        stream.get_mut().write_all(head.as_bytes()).expect("the connection is open");
        std::thread::sleep(std::time::Duration::from_millis(30));
        stream.get_mut().write_all(b"[7]").expect("the connection is open");
        let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
        stream.read_line(&mut first).expect("it answers");
        assert_eq!(first.split(' ').nth(1), Some(status.to_string().as_str()), "{path}: {first:?}");
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).expect("it answers");
            if let Some(told) = line.strip_prefix("content-length: ") {
                length = told.trim().parse().expect("a number");
            }
        }
        stream.read_exact(&mut vec![0; length]).expect("it answers");
    }
}
