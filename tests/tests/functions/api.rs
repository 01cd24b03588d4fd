//! Looking at executions over HTTP: events, lists, pages, and what the API says of itself.

use serde_json::{Value, json};
use tests::{Event, Setup, until};

fn texts(events: &[Event], name: &str) -> Vec<String> {
    let named = events.iter().filter(|event| event.name == name);
    named.map(|event| event.data["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn events_tell_everything_once_and_in_order() {
    let host = Setup::new().start();
    host.start("streamed", "slow_chatter", json!([4, 40]));
    let events: Vec<Event> = host.events("streamed", "").collect();
    assert_eq!(texts(&events, "log"), ["line 1", "line 2", "line 3", "line 4"]);
    let last = events.last().expect("there are events");
    assert_eq!((last.name.as_str(), &last.data["value"]), ("settled", &json!(4)));
    let of = |path: &str| host.items(&format!("/v1/executions/streamed/{path}"));
    let data = |name: &str| -> Vec<Value> {
        events.iter().filter(|event| event.name == name).map(|event| event.data.clone()).collect()
    };
    assert_eq!((data("journal"), data("log")), (of("journal"), of("logs")));
    assert!(events.iter().position(|e| e.name == "log") < events.iter().position(|e| e.data["entry"] == "told"));

    // Who comes later, or again from where it was, is told the rest.
    let rest: Vec<Event> = host.events("streamed", "?journal_from=5&logs_from=3").collect();
    assert_eq!(texts(&rest, "log"), ["line 4"]);
    assert_eq!(rest.first().map(|event| &event.data["index"]), Some(&json!(5)));
    assert_eq!(rest.last().map(|event| event.name.as_str()), Some("settled"));
    assert_eq!(host.events("streamed", "?journal_from=10&logs_from=4").count(), 1, "only that it is settled");
    host.get("/v1/executions/nowhere/events").refusal(404, "no_promise");
}

#[test]
fn a_stream_goes_on_after_a_restart() {
    let mut host = Setup::new().start();
    host.start("streamed", "slow_chatter", json!([6, 100]));
    let mut seen = Vec::new();
    let mut events = host.events("streamed", "");
    while texts(&seen, "log").len() < 3 {
        seen.push(events.next().expect("the stream goes on"));
    }
    host.kill();
    seen.extend(&mut events);
    host.restart();
    let next = |name: &str| seen.iter().filter(|event| event.name == name).count();
    let query = format!("?journal_from={}&logs_from={}", next("journal"), next("log"));
    seen.extend(host.events("streamed", &query));
    assert_eq!(texts(&seen, "log"), ["line 1", "line 2", "line 3", "line 4", "line 5", "line 6"]);
    let indexes: Vec<u64> =
        seen.iter().filter(|event| event.name == "journal").filter_map(|e| e.data["index"].as_u64()).collect();
    assert_eq!(indexes, (0..14).collect::<Vec<u64>>());
}

#[test]
fn lists_have_filters_and_pages() {
    let host = Setup::new().start();
    for n in 0..7 {
        host.post(&format!("/v1/functions/children/invoke?id=done-{n}"), &json!([1, 0])).expect(200);
    }
    for n in 0..3 {
        host.start(&format!("asleep-{n}"), "sleeper", json!([600_000]));
        host.promise(json!({ "id": format!("promise-{n}") }));
    }
    host.settle("promise-0", "reject", &json!(0)).expect(200);
    let ids = |path: &str| -> Vec<String> {
        host.items(path).iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    };
    let all = ids("/v1/executions");
    assert_eq!(all.len(), 10, "{all:?}");
    assert_eq!(all[0], "asleep-2", "the newest is first");
    assert_eq!(ids("/v1/executions?state=pending"), ["asleep-2", "asleep-1", "asleep-0"]);
    assert_eq!(ids("/v1/executions?function=children&state=resolved").len(), 7);
    assert_eq!(ids("/v1/executions?function=echo_after").len(), 0, "children are not among the roots");
    assert_eq!(ids("/v1/executions?function=echo_after&roots=false").len(), 7);
    assert_eq!(ids("/v1/promises"), ["promise-2", "promise-1", "promise-0"]);
    assert_eq!(ids("/v1/promises?state=rejected"), ["promise-0"]);

    let (mut paged, mut path) = (Vec::new(), "/v1/executions?limit=3".to_owned());
    for _ in 0..10 {
        let page = host.get(&path).expect(200);
        let items = page["items"].as_array().expect("an array");
        assert!(items.len() <= 3);
        paged.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        match page["next"].as_str() {
            // Something new in between doesn't shift the pages.
            Some(next) => path = format!("/v1/executions?limit=3&cursor={next}"),
            None => break,
        }
        host.start(&format!("new-{}", paged.len()), "echo", json!([1]));
    }
    assert_eq!(paged, all);

    let refusal = host.get("/v1/executions?state=done").refusal(400, "bad_request");
    assert!(refusal.contains("\"done\"") && refusal.contains("timed_out"), "{refusal}");
    host.get("/v1/executions?cursor=x").refusal(400, "bad_request");
    let refusal = host.get("/v1/executions?color=red").refusal(400, "bad_request");
    assert!(refusal.contains("color"), "{refusal}");
}

#[test]
fn long_journals_come_in_parts() {
    let host = Setup::new().start();
    host.post("/v1/functions/steps/invoke?id=long", &json!([300, 0])).expect(200);
    let whole = host.items("/v1/executions/long/journal");
    assert_eq!(whole.len(), 602);
    assert!(whole.iter().enumerate().all(|(index, entry)| entry["index"] == index));
    assert_eq!(host.items("/v1/executions/long/journal?from=590"), whole[590..]);
    assert_eq!(host.items("/v1/executions/long/logs?from=298").len(), 2);
    assert!(host.items("/v1/executions/long/journal?from=100000").is_empty());
    let tree = host.get("/v1/executions/long/tree?limit=10").expect(200);
    assert_eq!((tree["items"].as_array().map(Vec::len), &tree["truncated"]), (Some(10), &json!(true)));
}

#[test]
fn health_says_how_the_host_is() {
    let host = Setup::new().start();
    let health = host.health();
    assert_eq!(health["status"], "ok");
    host.call("echo", json!([1]));
    until("all is written", || {
        let health = host.health();
        (health["applied"] == health["written"] && health["applied"] == health["committed"]).then_some(())
    });
    assert!(host.health()["applied"].as_u64() > health["applied"].as_u64());
}

/// Every reference leads somewhere, every operation has answers, and what it says of paths is so.
#[test]
fn the_api_describes_itself() {
    let host = Setup::new().start();
    let document = host.get("/openapi.json").expect(200);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{}", document["openapi"]);
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut references = Vec::new();
    gather(&document, &mut references);
    assert!(references.len() > 10, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("references are within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let paths = document["paths"].as_object().expect("paths are an object");
    assert!(paths.len() > 10);
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations are an object") {
            let responses = operation["responses"].as_object().expect("an operation has answers");
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
            for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
                let parameters = operation["parameters"].as_array().expect("it has parameters");
                let described =
                    parameters.iter().any(|p| p["name"] == name && p["in"] == "path" && p["required"] == true);
                assert!(described, "{name} of {method} {path}");
            }
            // It is there, and has no end: the tests of the protocol read it.
            if path.starts_with("/poll/") {
                continue;
            }
            // What is described is there: with ids that nothing has, everything else than 404 and 405 of the router.
            let there = path.replace("{id}", "nowhere").replace("{name}", "nowhere").replace("{path}", "");
            let answer = match method.as_str() {
                "get" => host.get(&there),
                "delete" => host.delete(&there),
                _ => host.post_empty(&there),
            };
            assert!(answer.status < 500, "{method} {path}: {answer:?}");
            assert!(
                !["no_such_path", "no_such_method"].iter().any(|code| answer.text.contains(code)),
                "{method} {path}"
            );
        }
    }
    host.get("/nowhere").refusal(404, "no_such_path");
    host.post_empty("/v1/executions").refusal(405, "no_such_method");
}

fn gather(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "$ref" => references.push(text.clone()),
                    value => gather(value, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, references)),
        _ => {}
    }
}
