//! Functions that run wild end by themselves, and say which limit they passed and how to raise it. What runs beside
//! them doesn't notice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Client, Host, Setup, until};

/// Far more than a turn of a guest takes, and far less than a guest that hogs a worker until its limit.
const PROMPT: Duration = Duration::from_secs(3);

/// Call a function that must crash with a text that has these parts, while another one runs.
#[track_caller]
fn crashes(host: &Client, function: &str, arguments: Value, parts: &[&str]) {
    let neighbour = format!("beside-{function}");
    host.start(&neighbour, "steps", json!([10, 5]));
    let document = host.invoke(function, arguments);
    assert_eq!(document["state"], "crashed", "{document}");
    let text = document["value"].as_str().expect("a crash has a text");
    let in_function = format!("in the function {function:?}");
    for part in parts.iter().copied().chain([in_function.as_str()]) {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(host.wait(&neighbour)["value"], 55);
    let lines: Vec<String> = (1..=10).map(|n| format!("step {n}")).collect();
    assert_eq!(host.lines(&neighbour), lines, "the neighbour is undisturbed");
}

#[test]
fn loops_without_end() {
    let host = Setup::new().flag("--cpu-limit", "400ms").start();
    for function in ["spin", "spin_async", "sleep_then_spin"] {
        crashes(&host, function, json!([]), &["400 ms of CPU", "--cpu-limit"]);
    }
    // Blocking the thread is waiting too, and is bounded in the same way.
    let document = host.invoke("block", json!([1]));
    assert!(matches!(document["state"].as_str(), Some("resolved" | "crashed")), "{document}");
}

#[test]
fn others_go_on_while_some_loop() {
    let host = Setup::new().flag("--cpu-limit", "2s").start();
    for n in 0..6 {
        host.start(&format!("spin-{n}"), "spin", json!([]));
    }
    let longest = (0..20).map(|n| {
        let begun = Instant::now();
        assert_eq!(host.call("echo", json!([n])), n);
        begun.elapsed()
    });
    let longest = longest.max().expect("there are some");
    assert!(longest < PROMPT, "an echo took {longest:?} beside loops");
    for n in 0..6 {
        assert_eq!(host.wait(&format!("spin-{n}"))["state"], "crashed");
    }
}

#[test]
fn more_loop_than_there_is_room_for() {
    let host = Setup::new().flag("--sessions", "2").flag("--cpu-limit", "200ms").start();
    for n in 0..8 {
        host.start(&format!("spin-{n}"), "spin", json!([]));
    }
    // While they have all the room there is, the host answers, and what there is no room for comes in its turn.
    assert_eq!(host.show("spin-7")["state"], "pending");
    for n in 0..8 {
        assert_eq!(host.wait(&format!("spin-{n}"))["state"], "crashed");
    }
    assert_eq!(host.call("echo", json!([1])), 1);
}

#[test]
fn allocation_without_end() {
    let host = Setup::new().flag("--memory-limit", "16MiB").start();
    crashes(&host, "hog", json!([]), &["memory limit of 16777216 bytes", "--memory-limit"]);
    assert_eq!(host.call("echo", json!([1])), 1);
}

#[test]
fn recursion_without_end() {
    let host = Setup::new().start();
    crashes(&host, "recurse", json!([]), &["stack overflowed (deep recursion)", "-zstack-size", "bad.rs"]);
    let parts = ["stack overflowed (deep recursion)", "limit of 1048576 bytes", "--stack-limit", "bad.rs"];
    crashes(&host, "recurse_plainly", json!([]), &parts);
    let small = Setup::new().flag("--stack-limit", "256KiB").start();
    crashes(&small, "recurse_plainly", json!([]), &["limit of 262144 bytes"]);
    // A call tree without end ends where ids do.
    let document = host.post("/v1/functions/call_without_end/invoke?id=r", &json!([])).expect(200);
    assert_eq!(document["state"], "rejected", "{document}");
    assert!(document["value"].to_string().contains("the call tree is too deep"), "{document}");
}

#[test]
fn output_without_end() {
    let host = Setup::new().flag("--output-limit", 20_000).flag("--cpu-limit", "1s").start();
    for function in ["shout", "shout_log"] {
        crashes(&host, function, json!([]), &["--cpu-limit"]);
        let id = &host.items(&format!("/v1/executions?function={function}"))[0]["id"];
        let lines = host.lines(id.as_str().expect("an id"));
        let bytes: usize = lines.iter().map(String::len).sum();
        assert!((10_000..25_000).contains(&bytes), "{bytes} bytes were kept");
        let last = lines.last().expect("there are lines");
        assert!(last.contains("output limit of 20000 bytes") && last.contains("--output-limit"), "{last}");
    }
}

#[test]
fn values_that_are_too_large() {
    let host = Setup::new().flag("--payload-limit", 100_000).start();
    assert_eq!(host.call("big_result", json!([90_000])).as_str().map(str::len), Some(90_000));
    crashes(&host, "big_result", json!([100_000]), &["result has 100002 bytes", "100000 bytes", "--payload-limit"]);
    crashes(&host, "big_error", json!([100_000]), &["error has 100002 bytes", "--payload-limit"]);
    assert_eq!(host.call("big_argument", json!([90_000])), 90_000);
    crashes(&host, "big_argument", json!([100_000]), &["100004 bytes", "--payload-limit"]);
}

#[test]
fn too_many_steps_at_once() {
    let host = Setup::new().flag("--pending-steps-limit", 50).start();
    assert_eq!(host.call("children_at_once", json!([50, 1])), 1275);
    let parts = ["more than 50 steps at once", "--pending-steps-limit"];
    crashes(&host, "children_at_once", json!([51, 1]), &parts);
    // Steps that have ended don't count.
    assert_eq!(host.call("naps", json!([120, 0])), 120);
    assert_eq!(host.call("gives_up_steps", json!([60])), 60);
}

/// What a function's own configuration says, for executions that start from then on.
#[test]
fn limits_of_a_functions_own() {
    let host = Setup::new().start();
    let limit = |function: &str, name: &str, value: u64| {
        host.post(&format!("/v1/functions/{function}/config"), &json!({ "limits": { name: value } }))
    };
    for (function, arguments, name, value, part) in [
        ("spin", json!([]), "cpu", 300, "300 ms of CPU"),
        ("hog", json!([]), "memory", 16 << 20, "memory limit of 16777216 bytes"),
        ("big_result", json!([5_000]), "payload", 4_000, "result has 5002 bytes"),
        ("children_at_once", json!([30, 1]), "pending-steps", 20, "more than 20 steps at once"),
        ("naps", json!([100, 0]), "journal-entries", 50, "its journal has more than 50 entries"),
        ("steps", json!([30, 0]), "journal-bytes", 600, "its journal has more than 600 bytes"),
        ("recurse_plainly", json!([]), "stack", 150_000, "its limit of 131072 bytes is reached"),
        ("children", json!([2, 1]), "children", 1, ""),
    ] {
        limit(function, name, value).expect(200);
        if part.is_empty() {
            // One at a time is no more than one.
            assert_eq!(host.call(function, arguments), 3);
            continue;
        }
        let advice = format!("host config set {function} --limit {name}=N");
        let document = host.invoke(function, arguments);
        let text = document["value"].to_string();
        assert!(document["state"] == "crashed" && text.contains(part) && text.contains(&advice), "{document}");
    }
    // A smaller stack is enough for most, and is that of a replay as well.
    let mut host = host;
    let limit = |host: &Host, function: &str, name: &str, value: u64| {
        host.post(&format!("/v1/functions/{function}/config"), &json!({ "limits": { name: value } }))
    };
    limit(&host, "sleep_then_spin", "stack", 65_536).expect(200);
    limit(&host, "sleep_then_spin", "cpu", 50).expect(200);
    host.start("later", "sleep_then_spin", json!([]));
    host.kill();
    host.restart();
    assert!(host.wait("later")["value"].to_string().contains("50 ms of CPU"));
    let limit = |function: &str, name: &str, value: u64| limit(&host, function, name, value);
    limit("children_at_once", "children", 5).expect(200);
    limit("children_at_once", "pending-steps", 1000).expect(200);
    let document = host.invoke("children_at_once", json!([30, 1]));
    assert!(document["value"].to_string().contains("more than 5 executions that it called"), "{document}");
    // Nobody allows themselves more than the host does.
    let refusal = limit("naps", "memory", 1 << 40).refusal(422, "invalid_config");
    assert!(refusal.contains("--memory-limit"), "{refusal}");
    assert!(limit("naps", "hope", 1).refusal(400, "bad_request").contains("journal-entries"));
    host.post("/v1/functions/naps/config", &json!({ "limits": { "journal-entries": null } })).expect(200);
    assert_eq!(host.call("naps", json!([100, 0])), 100);
}

/// Prints what it costs a neighbour that guests are stopped: the times of an echo alone, and beside them.
#[test]
fn what_stopping_a_guest_costs_its_neighbours() {
    let host = Setup::new().flag("--memory-limit", "16MiB").start();
    host.post("/v1/functions/spin/config", &json!({ "limits": { "cpu": 20 } })).expect(200);
    let echoes = |count: usize| {
        let mut times: Vec<Duration> = (0..count)
            .map(|n| {
                let begun = Instant::now();
                assert_eq!(host.call("echo", json!([n])), n);
                begun.elapsed()
            })
            .collect();
        times.sort();
        (times[count / 2], times[count * 9 / 10])
    };
    echoes(20);
    let alone = echoes(200);
    let stopping = std::sync::atomic::AtomicBool::new(true);
    let (beside, stopped) = std::thread::scope(|scope| {
        let stops = scope.spawn(|| {
            let mut stopped = 0;
            while stopping.load(std::sync::atomic::Ordering::Relaxed) {
                for (function, arguments) in [("spin", json!([])), ("hog", json!([])), ("recurse", json!([]))] {
                    assert_eq!(host.invoke(function, arguments)["state"], "crashed");
                    stopped += 1;
                }
            }
            stopped
        });
        let beside = echoes(200);
        stopping.store(false, std::sync::atomic::Ordering::Relaxed);
        (beside, stops.join().expect("all of them crash"))
    });
    println!(
        "an echo takes {:?} (90 %: {:?}) alone, and {:?} (90 %: {:?}) beside {stopped} guests that were stopped",
        alone.0, alone.1, beside.0, beside.1
    );
    assert!(stopped >= 3 && beside.0 < PROMPT, "{beside:?} beside {stopped}");
}

#[test]
fn guests_that_end_in_other_ways() {
    let host = Setup::new().start();
    crashes(&host, "explode", json!(["bang", 0]), &["panicked at", "bad.rs", ": bang"]);
    crashes(&host, "explode", json!(["later", 5]), &["panicked at", ": later"]);
    crashes(&host, "out_of_bounds", json!([7]), &["index out of bounds", "deep", "shallow", "bad.rs"]);
    // A component only tells whether it ended well.
    crashes(&host, "exit", json!([3]), &["it ended its process, with status 1"]);
    crashes(&host, "stuck", json!([]), &["waits for nothing"]);
    crashes(&host, "stuck_after_a_call", json!([]), &["waits for nothing"]);
}

/// All of them at once, and again after a kill: the host stays, and what behaves is right.
#[test]
fn all_together() {
    let mut host = Setup::new()
        .flag("--cpu-limit", "300ms")
        .flag("--memory-limit", "16MiB")
        .flag("--output-limit", 10_000)
        .flag("--payload-limit", 50_000)
        .start();
    let bad = [
        ("spin", json!([])),
        ("spin_async", json!([])),
        ("hog", json!([])),
        ("recurse", json!([])),
        ("shout", json!([])),
        ("big_result", json!([60_000])),
        ("explode", json!(["bang", 20])),
        ("stuck", json!([])),
        ("exit", json!([1])),
    ];
    let start = |host: &Host, round: u32| -> Vec<String> {
        let mut ids = Vec::new();
        for (function, arguments) in &bad {
            let id = format!("{function}-{round}");
            host.start(&id, function, arguments.clone());
            ids.push(id);
            host.start(&format!("good-{function}-{round}"), "slow_chatter", json!([5, 10]));
        }
        ids
    };
    let first = start(&host, 1);
    until("some have crashed", || (host.show(&first[6])["state"] == "crashed").then_some(()));
    host.kill();
    host.restart();
    let second = start(&host, 2);
    for id in first.iter().chain(&second) {
        assert_eq!(host.wait(id)["state"], "crashed", "{id}");
        let good = format!("good-{id}");
        assert_eq!(host.wait(&good)["value"], 5);
        assert_eq!(host.lines(&good), ["line 1", "line 2", "line 3", "line 4", "line 5"]);
    }
}
