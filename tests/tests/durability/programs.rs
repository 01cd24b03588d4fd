//! Random programs, killed: joins, races, drops, nested calls, timers, requests, chance and time, on a host that dies at
//! random moments. What each saw is what it printed and returned, each piece of it once; its journal replays; and programs
//! that don't depend on time do the same as on a host that is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Value, json};
use tests::{Answer, Client, Host, Manner, Programs, Random, Setup, Web, guest, number, until};

use crate::driver::pause;

/// How often the host is killed unless `PROGRAM_KILLS` says otherwise, and how many clients keep it busy.
const KILLS: u64 = 40;
const CLIENTS: u64 = 3;

fn host(web: &Web) -> Host {
    // Few sessions, so that evictions and replays are among what is interrupted.
    let host = Setup::new().bare().flag("--sessions", 8).start();
    host.upload(&guest("program")).expect(201);
    host.post("/v1/components/program/config", &json!({ "allow": [web.authority()] })).expect(200);
    host
}

/// The program of an id: `calm-7-3` or `wild-7-3`.
fn arguments(id: &str, seed: u64, web: &Web) -> String {
    let manner = if id.starts_with("calm") { Manner::Calm } else { Manner::Wild };
    let numbers = id.split('-').skip(1).map(|number| number.parse::<u64>().expect("ids end in numbers"));
    let seed = numbers.fold(seed, |seed, number| seed.wrapping_mul(1_000_003).wrapping_add(number));
    Programs::new(seed, manner, &web.url("/echo")).arguments()
}

/// Ask until there is an answer that isn't about the host itself.
fn ask(what: &str, ask: impl Fn() -> Option<Answer>) -> Answer {
    until(what, || ask().filter(|answer| answer.status != 503))
}

/// Call a program, and wait for its end.
fn run(client: &Client, id: &str, arguments: &str) -> Value {
    let path = format!("/v1/functions/program/invoke?id={id}&wait_ms=0");
    let called = ask(id, || client.try_post(&path, arguments.as_bytes()).ok());
    assert!(matches!(called.status, 200 | 202), "{id}: {called:?}");
    let path = format!("/v1/executions/{id}?wait_ms=2000");
    let ended = ask(id, || {
        client.try_get(&path).ok().filter(|answer| answer.status == 503 || answer.json()["state"] != "pending")
    });
    ended.expect(200)
}

#[test]
fn random_programs_survive_kills() {
    let web = Web::new();
    let random = Random::from_env("PROGRAM_SEED");
    let (seed, kills) = (random.fork(99).draw(), number("PROGRAM_KILLS").unwrap_or(KILLS));
    let mut killed = host(&web);
    let client = Client::new(killed.url());
    let (ended, is_over) = (Mutex::new(Vec::new()), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        for worker in 0..CLIENTS {
            let (client, web, ended, is_over) = (&client, &web, &ended, &is_over);
            scope.spawn(move || {
                for n in 0.. {
                    if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    let id = format!("{}-{worker}-{n}", if n % 2 == 0 { "calm" } else { "wild" });
                    run(client, &id, &arguments(&id, seed, web));
                    ended.lock().expect("nothing panics with it").push(id);
                }
            });
        }
        let mut random = random.fork(CLIENTS);
        for _ in 0..kills {
            killed.ready();
            pause(&mut random, 250);
            killed.kill();
            killed.spawn();
        }
        killed.ready();
        drop(over);
    });
    let ended = ended.into_inner().expect("nothing panicked with it");
    let sent = sent(&web);
    assert!(sent.values().all(|times| *times <= 1 + kills), "a request was sent more often than the host died");

    let alone = host(&Web::new());
    alone.post("/v1/components/program/config", &json!({ "allow": [web.authority()] })).expect(200);
    let (mut calm, mut executions, mut requests) = (0, 0, 0);
    for id in &ended {
        let seen = Seen::of(&killed, id);
        seen.check_trace();
        (executions, requests) = (executions + seen.executions.len(), requests + seen.requests);
        if id.starts_with("calm") {
            run(&alone, id, &arguments(id, seed, &web));
            let expected = Seen::of(&alone, id);
            assert_eq!(seen.did, expected.did, "{id}: {}", arguments(id, seed, &web));
            assert_eq!(seen.said, expected.said, "{id}: {}", arguments(id, seed, &web));
            calm += 1;
        }
    }
    // All that the killed host recorded is what the component does.
    let checked = killed.try_post("/v1/components/check?finished=10000", &guest("program")).expect("it is there");
    let checked = checked.expect(200);
    for function in checked["functions"].as_array().expect("an array") {
        assert_eq!(function["finished"]["differ"], 0, "{function}");
    }
    println!(
        "{kills} kills: {} programs ({calm} of them as on a host that was left alone), {executions} executions, {requests} \
         requests of which {} were sent again",
        ended.len(),
        sent.values().filter(|times| **times > 1).count()
    );
    assert!(ended.len() as u64 >= kills / 2 && calm > 0, "only {} programs ended", ended.len());
}

/// Ends the work of the clients when the test ends, however it does.
struct Over<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// How often each request arrived, by its key.
fn sent(web: &Web) -> BTreeMap<String, u64> {
    let mut sent = BTreeMap::new();
    for seen in web.seen() {
        *sent.entry(seen.headers["idempotency-key"].clone()).or_default() += 1;
    }
    sent
}

/// What there is to see of a program and all that it called.
struct Seen {
    /// Each execution: its id, its lines, and what it returned.
    executions: Vec<(String, Vec<String>, Value)>,
    requests: usize,
    /// What was done, in no order: in which of two branches of a join is a matter of time.
    did: BTreeMap<String, usize>,
    /// What was printed, likewise.
    said: BTreeMap<String, usize>,
}

impl Seen {
    fn of(client: &Client, root: &str) -> Seen {
        let mut seen = Seen { executions: Vec::new(), requests: 0, did: BTreeMap::new(), said: BTreeMap::new() };
        let mut ids = BTreeSet::new();
        for promise in client.items(&format!("/v1/executions/{root}/tree?limit=10000")) {
            let id = promise["id"].as_str().expect("text").to_owned();
            assert!(ids.insert(id.clone()), "{id} is there twice");
            assert_ne!(promise["state"], "pending", "{id}");
            seen.requests += usize::from(promise["kind"] == "http");
            let what = ["kind", "function", "arguments", "name", "state"].map(|name| match &promise[name] {
                // A sleep's deadline is a time.
                value if promise["kind"] == "sleep" && name == "arguments" => value.is_null().to_string(),
                value => value.to_string(),
            });
            *seen.did.entry(what.join(" ")).or_default() += 1;
            if promise["kind"] == "call" {
                let lines = client.lines(&id);
                for line in &lines {
                    *seen.said.entry(unordered(line)).or_default() += 1;
                }
                let whole = client.show(&id);
                seen.executions.push((id, lines, whole["value"].clone()));
            }
        }
        seen
    }

    /// Nothing that it saw was lost, or is there twice: what it printed, line by line, is what it returned.
    fn check_trace(&self) {
        for (id, lines, value) in &self.executions {
            if let Value::Array(trace) = value {
                let trace: Vec<&str> = trace.iter().map(|line| line.as_str().expect("a trace is lines")).collect();
                assert_eq!(*lines, trace, "{id} printed something else than it returned");
            }
        }
    }
}

/// The trace of a child is in a line of its parent: branches of a join are in it in the order in which they went on.
fn unordered(line: &str) -> String {
    let mut parts: Vec<&str> =
        line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    parts.join(" ")
}
