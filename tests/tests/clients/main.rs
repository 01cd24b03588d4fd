//! Programs that use Resonate's own SDKs, as they come from their registries: workers and clients of a host.
//!
//! The programs are in `clients/`, one for each SDK and flavour, and have the same functions. `make clients` builds them.

mod program;

use std::time::{Duration, Instant};

use program::{Language, Program};
use serde_json::{Value, json};
use tests::{Client, Host, Setup, until};

/// Each of the scenarios below, for each of the languages.
macro_rules! languages {
    ($($language:ident => $value:expr),*; $scenarios:tt) => {
        $(languages!(@ $language $value, $scenarios);)*
    };
    (@ $language:ident $value:expr, [$($scenario:ident),* $(,)?]) => {
        mod $language {
            use super::*;
            $(#[test] fn $scenario() { super::$scenario($value); })*
        }
    };
}

languages!(
    generators => Language::Generators,
    asynchronous => Language::Async,
    rust => Language::Rust,
    python => Language::Python;
    [runs_and_calls, fans_out_and_in, sleeps, waits_for_a_person, runs_on_a_schedule, survives_kills, calls_wasm, is_called_by_wasm]
);

/// A host, and a worker of it.
fn begin(language: Language) -> (Host, Program) {
    let host = Setup::new().start();
    let program = Program::new(language, &host);
    (host, program)
}

fn runs_and_calls(language: Language) {
    let (host, program) = begin(language);
    assert_eq!(program.ask(&["run", "here", "add", "2", "3"]), json!(5));
    let _worker = program.serve();
    assert_eq!(program.ask(&["rpc", "there", "add", "2", "3"]), json!(5));
    // An id stands for one call: its result is there already.
    assert_eq!(program.ask(&["rpc", "there", "add", "20", "30"]), json!(5));
    assert_eq!(program.ask(&["run", "here", "add", "20", "30"]), json!(5));
    let document = host.show("there");
    assert_eq!((&document["state"], &document["value"]), (&json!("resolved"), &json!(5)), "{document}");
}

fn fans_out_and_in(language: Language) {
    let (_host, program) = begin(language);
    let _workers = [program.serve(), program.serve()];
    let squares = |n: u64| json!((1..=n).map(|i| i * i).sum::<u64>());
    assert_eq!(program.ask(&["rpc", "there", "gather", "10"]), squares(10));
    assert_eq!(program.ask(&["run", "here", "gather", "9"]), squares(9));
}

fn sleeps(language: Language) {
    let (_host, program) = begin(language);
    let _worker = program.serve();
    let begun = Instant::now();
    assert_eq!(program.ask(&["rpc", "nap", "nap", "1500"]), json!("rested"));
    assert!(begun.elapsed() >= Duration::from_millis(1500), "it rested for {:?} only", begun.elapsed());
}

fn waits_for_a_person(language: Language) {
    let (host, program) = begin(language);
    let _worker = program.serve();
    let asking = program.begin(&["rpc", "question", "ask"]);
    let id =
        until("it has asked", || program.marks().iter().find_map(|mark| Some(mark.strip_prefix("asked ")?.to_owned())));
    // Some say so a moment before the promise is there.
    until("the promise is there", || (host.get(&format!("/v1/promises/{id}")).status == 200).then_some(()));
    let settled = host.settle(&id, "resolve", &json!({ "yes": [1, "é"] })).expect(200);
    assert_eq!(settled["state"], "resolved");
    assert_eq!(asking.result(), json!({ "yes": [1, "é"] }));
}

fn runs_on_a_schedule(language: Language) {
    let (host, program) = begin(language);
    let _worker = program.serve();
    assert_eq!(program.ask(&["schedule", "often", "* * * * *", "tick"]), Value::Null);
    let schedule = host.ask("schedule.get", json!({ "id": "often" })).expect(200)["schedule"].clone();
    let at = schedule["nextRunAt"].as_u64().expect("it is a time");
    assert_eq!(at % 60_000, 0, "{schedule}");
    // A minute at most, and then some.
    let begun = Instant::now();
    let ticked = loop {
        if let Some(mark) = program.marks().iter().find_map(|mark| Some(mark.strip_prefix("tick ")?.to_owned())) {
            break mark;
        }
        assert!(begun.elapsed() < Duration::from_secs(100), "it was to run by {at}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(ticked.contains("often") && ticked.contains(&at.to_string()), "{ticked} was to run at {at}");
}

/// The worker is killed in the middle, then the host. What was done isn't done again.
fn survives_kills(language: Language) {
    let (mut host, program) = begin(language);
    let program = program.lease(Duration::from_secs(2));
    let worker = program.serve();
    let calling = program.begin(&["rpc", "long", "steps", "8", "300"]);
    program.wait_for_marks(3);
    drop(worker);
    let worker = program.serve();
    program.wait_for_marks(5);
    host.kill();
    host.restart();
    let document = host.wait("long");
    assert_eq!((&document["state"], &document["value"]), (&json!("resolved"), &json!(8)), "{document}");
    assert_eq!(calling.result(), json!(8), "and who waited for it hears of it");
    drop(worker);

    let steps: Vec<u64> =
        program.marks().iter().map(|mark| mark.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    let mut distinct = steps.clone();
    distinct.dedup();
    assert_eq!(distinct, (1..=8).collect::<Vec<u64>>(), "{steps:?}");
    // One can have been under way at each of the kills, and so be done twice.
    assert!(steps.len() <= 10, "{steps:?}");
}

fn calls_wasm(language: Language) {
    let (host, program) = begin(language);
    let _worker = program.serve();
    assert_eq!(program.ask(&["rpc", "sum", "wasm", "\"fibonacci\"", "12"]), json!(144));
    let tree = host.get("/v1/executions?function=fibonacci&limit=1").expect(200);
    assert_eq!(tree["items"][0]["value"], json!(144), "{tree}");
    // What is refused there is an error here.
    let refused = program.begin(&["rpc", "refused", "wasm", "\"no_such_function\"", "1"]).refusal();
    assert!(refused.contains("no_such_function"), "{refused}");
}

fn is_called_by_wasm(language: Language) {
    let (host, program) = begin(language);
    let _worker = program.serve();
    let target = format!("poll://any@{}", program.group());
    let call = |function: &str, a: Value, b: Value| host.invoke("call_elsewhere", json!([function, target, a, b]));
    let document = call("add", json!(20), json!(22));
    assert_eq!((&document["state"], &document["value"]), (&json!("resolved"), &json!(42)), "{document}");
    let document = call("fail", json!("sorry"), json!("no more"));
    assert_eq!(document["state"], "rejected", "{document}");
    assert!(document.to_string().contains("sorry: no more"), "{document}");
}

/// Workers in all languages are there at once, with ids in both of their forms.
#[test]
fn all_of_them_at_once() {
    let host = Setup::new().start();
    let programs = Language::ALL.map(|language| Program::new(language, &host));
    let _workers = programs.each_ref().map(Program::serve);
    let calls = programs.each_ref().map(|program| {
        let begin = |n: u64| program.begin(&["rpc", &format!("{}.{n}", program.group()), "gather", "6"]);
        [begin(1), begin(2)]
    });
    for call in calls.into_iter().flatten() {
        assert_eq!(call.result(), json!(91));
    }
    is_quiet(&host);
}

/// Nothing is left to be done.
fn is_quiet(host: &Client) {
    let found = host.ask("task.search", json!({ "state": "pending", "limit": 10 })).expect(200);
    assert_eq!(found["tasks"], json!([]));
}
