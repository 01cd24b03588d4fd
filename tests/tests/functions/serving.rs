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
    let refusal =
        host.try_post("/v1/components?mount=store", &guest("site")).expect("it is there").refusal(409, "renamed");
    assert!(refusal.contains("there as \"shop\""), "{refusal}");
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

/// Version 0.3: whatever a server for it does is recorded, and goes on over a kill.
mod new {
    use super::*;

    fn host() -> Host {
        let host = Setup::new().start();
        host.try_post("/v1/components?mount=shop", &guest("site3")).expect("it is there").expect(201);
        host
    }

    #[test]
    fn a_request_is_answered_by_an_execution() {
        let host = host();
        let answer = host.try_post("/http/shop/echo/a?b=c", b"hello").expect("it is there");
        assert_eq!((answer.status, answer.text.as_str()), (201, "POST /echo/a?b=c none hello"));
        assert_eq!(host.get("/http/shop/elsewhere").status, 404);
        let executions = host.items("/v1/executions?function=shop");
        assert_eq!(executions.len(), 2, "{executions:?}");
        assert_eq!(host.lines(executions[1]["id"].as_str().expect("text")), ["POST /echo/a?b=c"]);
        let called = host.call("shop", json!([{ "method": "PUT", "url": "/echo", "body": "x" }]));
        assert_eq!((&called["status"], &called["body"]), (&json!(201), &json!("PUT /echo none x")));
        assert_eq!(called["headers"], json!([["x-site", "yes"]]));
        let refusal = host.get("/http/shop/panic").refusal(500, "crashed");
        assert!(refusal.contains("nobody expects it"), "{refusal}");
        let answer = host.post_with("/http/shop/closed", ("idempotency-key", "closed"), &json!(null));
        let refused = "Err(ErrorCode::AccessDenied)";
        assert_eq!(answer.text, format!("{refused} {refused} {refused} 0"));
        let lines = host.lines("closed");
        assert!(
            lines.iter().any(|line| line.starts_with("sockets are closed to functions: send requests")),
            "{lines:?}"
        );
        assert!(lines.iter().any(|line| line.starts_with("files are closed to functions")), "{lines:?}");
        assert_eq!(host.get("/http/shop/large/200000").text.len(), 200_000, "a body in many pieces is whole");
        let refusal = host.get("/http/shop/large/2000000").refusal(500, "crashed");
        assert!(refusal.contains("the body of the answer") && refusal.contains("--payload-limit"), "{refusal}");
    }

    #[test]
    fn an_answer_outlives_the_host() {
        let mut host = host();
        let client = host.impatient();
        let asking = std::thread::spawn(move || {
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
        let waited: u64 = answer.text.strip_prefix("waited ").and_then(|ms| ms.parse().ok()).expect(&answer.text);
        assert!(waited >= 1500, "the clock went on: {waited}");
        assert_eq!(host.items("/v1/executions?function=shop").len(), 1, "the same key is the same request");
    }

    #[test]
    fn its_requests_are_steps() {
        let web = Web::new();
        let mut host = host();
        let refused = host.get(&format!("/http/shop/proxy/{}", web.url("/echo")));
        assert_eq!(refused.status, 502);
        assert!(refused.text.contains("host config set shop --allow"), "{}", refused.text);
        assert!(web.seen().is_empty());

        host.post("/v1/functions/shop/config", &json!({ "allow": [web.authority()] })).expect(200);
        let proxied = |path: &str, body: &str| {
            let path = format!("/http/shop/proxy/{}", web.url(path));
            host.try_post(&path, body.as_bytes()).expect("it is there").text
        };
        assert_eq!(proxied("/echo/1", "hello"), "it says: 200 POST /echo/1 hello");
        assert_eq!(proxied("/status/404", ""), "it says: 404 as you wish");
        assert!(proxied("/break", "").contains("HttpResponseIncomplete"), "what goes wrong is told");
        assert!(proxied("/large/2000000", "").contains("HttpResponseBodySize"));
        let seen = web.seen();
        assert_eq!(seen[0].headers["x-client"], "wasip3");
        let keys: Vec<&String> = seen.iter().map(|seen| &seen.headers["idempotency-key"]).collect();
        assert!(keys.iter().all(|key| key.len() == 32) && keys[0] != keys[1], "{keys:?}");

        let urls = [web.url("/slow/100"), web.url("/echo/1"), web.url("/slow/10"), web.url("/echo/2")].join("\n");
        let answer = host.try_post("/http/shop/all", urls.as_bytes()).expect("it is there");
        assert_eq!(answer.text, "slow, GET /echo/1 , slow, GET /echo/2 ");
        let answer = host.get(&format!("/http/shop/impatient/50/{}", web.url("/slow/60000")));
        assert_eq!(answer.text, "in time: false", "a request that is dropped is given up");

        // One whose answer is recorded is not sent again by whoever replays it, and one that is on its way is, with its key.
        let before = web.seen().len();
        let path = format!("/http/shop/proxy/{}", web.url("/slow/700"));
        let client = host.impatient();
        let asking = std::thread::spawn({
            let path = path.clone();
            move || drop(client.try_post_with(&path, ("idempotency-key", "order-8"), b"pay"))
        });
        until("it is on its way", || (web.seen().len() > before).then_some(()));
        host.kill();
        asking.join().expect("it doesn't panic");
        host.restart();
        let answer = host.try_post_with(&path, ("idempotency-key", "order-8"), b"pay").expect("it is there");
        assert_eq!(answer.text, "it says: 200 slow");
        let seen = web.seen();
        let keys: Vec<&String> = seen[before..].iter().map(|seen| &seen.headers["idempotency-key"]).collect();
        assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
    }
}

/// Both versions replay as they ran: a component that is the same goes on unchanged with all that was recorded.
#[test]
fn what_was_served_replays() {
    let web = Web::new();
    for name in ["site", "site3"] {
        let host = Setup::new().start();
        host.try_post("/v1/components?mount=shop", &guest(name)).expect("it is there").expect(201);
        host.post("/v1/functions/shop/config", &json!({ "allow": [web.authority()] })).expect(200);
        for n in 0..5 {
            host.get("/http/shop/sleep/5");
            host.get(&format!("/http/shop/proxy/{}", web.url(&format!("/slow/{n}"))));
            host.try_post("/http/shop/echo", b"hello").expect("it is there");
        }
        let urls = (0..8).map(|n| web.url(&format!("/slow/{}", n * 7 % 5))).collect::<Vec<_>>().join("\n");
        host.try_post("/http/shop/all", urls.as_bytes()).expect("it is there");
        let checked = host.try_post("/v1/components/check?mount=shop", &guest(name)).expect("it is there").expect(200);
        assert_eq!(checked["functions"][0]["finished"], json!({ "same": 16, "differ": 0 }), "{name}: {checked}");
    }
}
