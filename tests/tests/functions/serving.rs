//! Components that answer requests over HTTP: each request is a durable execution.

use serde_json::json;
use tests::{Host, Setup, Web, guest, until};

fn host() -> Host {
    let host = Setup::new().start();
    host.try_post("/v1/components?mount=shop", &guest("site")).expect("it is there").expect(201);
    host
}

#[test]
fn a_request_is_answered_by_an_execution() {
    let host = host();
    let answer = host.try_post("/http/shop/echo/a?b=c", b"hello").expect("it is there");
    assert_eq!((answer.status, answer.text.as_str()), (201, "POST /echo/a?b=c none hello"));
    assert_eq!(host.get("/http/shop/elsewhere").status, 404);
    assert!(!host.get("/http/nobody/").refusal(404, "no_function").is_empty());
    let executions = host.items("/v1/executions?function=shop");
    assert_eq!(executions.len(), 2, "{executions:?}");
    let id = executions[1]["id"].as_str().expect("text");
    assert_eq!(host.lines(id), ["POST /echo/a?b=c"]);
    // It is a function like any other.
    let called = host.call("shop", json!([{ "method": "PUT", "url": "/echo", "body": "x" }]));
    assert_eq!((&called["status"], &called["body"]), (&json!(201), &json!("PUT /echo none x")));
}

#[test]
fn a_crash_is_an_error_of_that_request_alone() {
    let host = host();
    let refusal = host.get("/http/shop/panic").refusal(500, "crashed");
    assert!(refusal.contains("nobody expects it"), "{refusal}");
    assert_eq!(host.get("/http/shop/echo").status, 201);
}

#[test]
fn an_answer_outlives_the_host() {
    let mut host = host();
    let client = host.impatient();
    let asking = std::thread::spawn(move || {
        // The connection breaks with the host.
        let _ = client.try_post_with("/http/shop/sleep/1500", ("idempotency-key", "order-7"), b"");
    });
    until("it sleeps", || {
        let shown = host.get("/v1/executions/order-7");
        (shown.status == 200 && shown.json()["task"] == "suspended").then_some(())
    });
    host.kill();
    asking.join().expect("it doesn't panic");
    host.restart();
    let answer = host.post_with("/http/shop/sleep/1500", ("idempotency-key", "order-7"), &json!(null));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let waited: u64 = answer.text.strip_prefix("waited ").and_then(|ms| ms.parse().ok()).expect(&answer.text);
    assert!(waited >= 1500, "the clock went on: {waited}");
    assert_eq!(host.items("/v1/executions?function=shop").len(), 1, "the same key is the same request");
}

#[test]
fn a_handler_can_ask_others() {
    let web = Web::new();
    let host = host();
    host.post("/v1/functions/shop/config", &json!({ "allow": [web.authority()] })).expect(200);
    let answer = host.get(&format!("/http/shop/proxy/{}", web.url("/echo")));
    assert_eq!((answer.status, answer.text.as_str()), (200, "it says: GET /echo "));
}
