//! What becomes of executions when their code changes: held, checked, resumed, upgraded and forked.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Client, Host, Setup, edition, guest, until};

use crate::Cli;
use crate::verbs::file;

fn digest(document: &Value) -> String {
    document["digest"].as_str().expect("a digest").to_owned()
}

/// A host with the first edition, and its digest.
fn first_edition(setup: Setup) -> (Host, String) {
    let host = setup.bare().start();
    let first = digest(&host.upload(&edition("one")).expect(201));
    (host, first)
}

fn texts(host: &Client, id: &str) -> Vec<String> {
    let entries = host.items(&format!("/v1/executions/{id}/journal"));
    entries.iter().map(|entry| entry["text"].as_str().expect("text").to_owned()).collect()
}

fn until_held(host: &Client, id: &str) -> String {
    until("it is held", || host.show(id)["held"].as_str().map(str::to_owned))
}

#[test]
fn a_crash_is_held_and_goes_on_where_it_stopped_once_it_is_mended() {
    let (mut host, first) = first_edition(Setup::new().switch("--hold-crashes=sell"));
    let cli = Cli::of(&host);
    host.start("order", "sell", json!([13, 1]));
    let held = until_held(&host, "order");
    for part in ["it crashed: panicked at", "13 pieces don't fit in a box", "editions/src/lib.rs"] {
        assert!(held.contains(part), "{part} is not in {held}");
    }
    let mut journal = texts(&host, "order");
    assert_eq!(host.lines("order"), ["selling 13"]);
    cli.run(&["executions", "--held"]).ended(0).says(&["order", "held", "sell(13,1)"]);
    cli.run(&["get", "order"]).ended(0).says(&["13 pieces don't fit in a box"]);
    host.kill();
    host.restart();
    assert_eq!(host.show("order")["task"], "held", "it is held over a restart");

    // The same component crashes again, and another one does something else.
    cli.run(&["resume", "order"]).ended(0).says(&["order goes on on"]);
    until("it crashed again", || (host.show("order")["task"] == "held").then_some(()));
    // On a busy machine the turn in which it crashes can be recorded in parts.
    let first_journal = std::mem::replace(&mut journal, texts(&host, "order"));
    assert_eq!(journal[..first_journal.len()], first_journal);
    let second = digest(&host.upload(&edition("two")).expect(201));
    let differs = cli.run(&["resume", "order", "--on", &second]).ended(3);
    differs.says(&[
        "differs at entry 1",
        "step 1: call charge[130]",
        "step 1: call charge[143]",
        "editions/src/lib.rs:",
    ]);
    assert_eq!((texts(&host, "order"), &host.show("order")["component"]), (journal.clone(), &json!(first)));

    let fixed = digest(&host.upload(&edition("fix")).expect(201));
    cli.run(&["resume", "order", "--on", &fixed[..10]]).ended(0).says(&["order goes on on", &fixed[..12]]);
    let document = host.wait("order");
    assert_eq!((&document["value"], &document["component"]), (&json!("13 for 130"), &json!(fixed)));
    let after = texts(&host, "order");
    assert_eq!(after[..journal.len()], journal);
    assert_eq!(after[journal.len()], format!("moved to component {fixed}"));
    assert_eq!(host.lines("order"), ["selling 13", "sent 13"], "what was said is not said again");
    let tree = host.items("/v1/executions/order/tree");
    assert_eq!(tree.iter().filter(|promise| promise["function"] == "charge").count(), 1, "it was charged once");
    cli.run(&["executions", "--held"]).ended(0).says(&["no executions"]);
    cli.run(&["resume", "order"]).ended(3).says(&["already settled"]);
}

/// That can't happen to a component that is what its digest says. It is made to happen, by putting other code in its place.
#[test]
fn a_replay_that_differs_is_held_with_both_sides() {
    let (mut host, first) = first_edition(Setup::new());
    let cli = Cli::of(&host);
    let second = digest(&host.upload(&edition("two")).expect(201));
    host.upload(&edition("one")).expect(201);
    host.start("order", "sell", json!([5, 2_000]));
    until("it sleeps", || (host.show("order")["entries"] == 4).then_some(()));
    host.stop();
    let components = host.data().join("components");
    for extension in ["compiled", "compiled.sha256"] {
        fs::copy(components.join(format!("{second}.{extension}")), components.join(format!("{first}.{extension}")))
            .expect("a file can be copied");
    }
    host.restart();
    let held = until_held(&host, "order");
    assert!(held.starts_with("the replay differs at entry 1"), "{held}");
    for part in [
        "the journal has  step 1: call charge[50]",
        "the guest did    step 1: call charge[55]",
        "in the function \"sell\"",
        "at editions/src/lib.rs:",
    ] {
        assert!(held.contains(part), "{part} is not in {held}");
    }
    let fixed = digest(&host.upload(&edition("fix")).expect(201));
    cli.run(&["resume", "order"]).ended(0).says(&[&fixed[..12]]);
    assert_eq!(host.wait("order")["value"], "5 for 50");
}

#[test]
fn a_candidate_is_checked_before_it_is_deployed() {
    let (host, first) = first_edition(Setup::new());
    let cli = Cli::of(&host);
    host.call("sell", json!([1, 1]));
    for n in 0..20 {
        host.start(&format!("order-{n}"), "sell", json!([n, 600_000]));
        host.start(&format!("question-{n}"), "ask", json!(["why"]));
    }
    until("all wait", || (0..20).all(|n| host.show(&format!("order-{n}"))["entries"] == 4).then_some(()));
    let (two, fix) = (file("two", &edition("two")), file("fix", &edition("fix")));
    let (two, fix) = (two.path().display().to_string(), fix.path().display().to_string());

    let ran = cli.run(&["check", &two]).ended(1);
    ran.says(&["sell: 20 under way, 1 would go on unchanged, 19 would not", "ask: 20 under way, all would go on"]);
    ran.says(&[
        "differs at entry 1",
        "the journal has    step 1: call charge[",
        "the component did  step 1: call charge[",
    ]);
    ran.says(&["editions/src/lib.rs:", "1 of 1 finished would have gone another way"]);
    let report = cli.json(&["check", &fix], 0);
    let sell =
        report["functions"].as_array().expect("an array").iter().find(|f| f["name"] == "sell").expect("it is there");
    assert_eq!(sell["unfinished"], json!({ "same": 20, "differ": 0 }));
    assert_eq!(report["complete"], true);
    cli.run(&["check", &two, "--time", "1ms"]).ended(1).says(&["there was no time"]);

    cli.run(&["upload", "--check", &two]).ended(3).says(&["19 of the executions under way", "was not uploaded"]);
    assert_eq!(host.items("/v1/components")[0]["digest"], first, "nothing was changed");
    cli.run(&["upload", "--check", &fix]).ended(0);

    let report = cli.json(&["upgrade", "editions"], 0);
    assert_eq!(report["functions"][1]["name"], "charge");
    let fixed = digest(&report);
    for n in 0..20 {
        let document = host.show(&format!("order-{n}"));
        assert_eq!(document["component"], fixed);
        assert_eq!(texts(&host, &format!("order-{n}")).last(), Some(&format!("moved to component {fixed}")));
        assert_eq!(host.lines(&format!("order-{n}")), [format!("selling {n}")]);
    }
    let ran = cli.run(&["upgrade", &two]).ended(1);
    ran.says(&["sell: 20 under way, 1 go on on it, 19 would not"]);
    assert_eq!(host.show("order-7")["component"], fixed, "what would differ stays where it is");
    assert_eq!(host.show("question-7")["component"], digest(&host.items("/v1/components")[0]));
    host.settle("question-7:1", "resolve", &json!("because")).expect(200);
    until("it asks again", || (host.show("question-7")["steps"] == 4).then_some(()));
    host.settle("question-7:3", "resolve", &json!("so")).expect(200);
    assert_eq!(host.wait("question-7")["value"], "because and so");
    assert_eq!(host.lines("question-7").len(), 3);
    cli.run(&["upgrade", "nothing"]).ended(3).says(&["names no component"]);
}

/// Executions that get on all the while are moved all the same, or stay; none is lost, and each is whole.
#[test]
fn what_is_moved_while_it_runs_is_whole() {
    let (mut host, first) = first_edition(Setup::new());
    let cli = Cli::of(&host);
    for n in 0..60 {
        host.start(&format!("order-{n}"), "sell", json!([n % 9, 1_000 + n * 100]));
    }
    let second = digest(&host.upload(&edition("fix")).expect(201));
    cli.run(&["upgrade", "editions"]).ended(0);
    host.kill();
    host.restart();
    let mut moved = 0;
    for n in 0..60 {
        let document = host.wait(&format!("order-{n}"));
        assert_eq!(document["value"], format!("{} for {}", n % 9, n % 9 * 10), "{document}");
        assert!([&first, &second].iter().any(|digest| document["component"] == **digest));
        moved += u64::from(document["component"] == second);
        let lines = host.lines(&format!("order-{n}"));
        assert_eq!(lines.iter().filter(|line| line.contains("selling")).count(), 1, "{lines:?}");
    }
    assert!(moved > 10, "{moved} were moved");
}

#[test]
fn a_fork_goes_another_way_from_a_point_of_a_history() {
    let (mut host, _) = first_edition(Setup::new());
    let cli = Cli::of(&host);
    host.start("first", "ask", json!(["why"]));
    until("it asks", || (host.show("first")["steps"] == 2).then_some(()));
    host.settle("first:1", "resolve", &json!("because")).expect(200);
    until("it asks again", || (host.show("first")["steps"] == 4).then_some(()));
    host.settle("first:3", "resolve", &json!("so")).expect(200);
    assert_eq!(host.wait("first")["value"], "because and so");
    let journal = texts(&host, "first");
    assert_eq!(journal.len(), 8);

    // Before the second answer.
    assert_eq!(cli.run(&["fork", "first", "--at", "5", "--id", "again"]).ended(0).out(), "again\n");
    until("it waits", || (host.show("again")["task"] == "suspended").then_some(()));
    assert_eq!(texts(&host, "again")[..6], journal[..6]);
    assert_eq!(texts(&host, "again")[6], "forked from first");
    host.kill();
    host.restart();
    host.settle("again:3", "resolve", &json!("not at all")).expect(200);
    assert_eq!(host.wait("again")["value"], "because and not at all");
    assert_eq!(host.wait("first")["value"], "because and so", "nothing of it was touched");

    // Before the first one, of the fork: that is the history of the first.
    cli.run(&["fork", "again", "--at", "2", "--id", "anew"]).ended(0);
    host.settle("anew:1", "resolve", &json!("never mind")).expect(200);
    until("it asks again", || (host.show("anew")["steps"] == 4).then_some(()));
    host.settle("anew:3", "resolve", &json!("ever")).expect(200);
    assert_eq!(host.wait("anew")["value"], "never mind and ever");
    assert_eq!(host.lines("anew"), ["they said never mind", "and? anew:3"], "its log begins with it");

    cli.run(&["fork", "first", "--at", "9"]).ended(3).says(&["no entry 9", "the last one is 6"]);
    cli.run(&["fork", "first", "--at", "1", "--id", "again"]).ended(3).says(&["taken"]);
}

#[test]
fn a_fork_calls_anew_what_was_under_way() {
    let (host, _) = first_edition(Setup::new());
    let cli = Cli::of(&host);
    host.start("sold", "sell", json!([13, 1]));
    assert_eq!(host.wait("sold")["state"], "crashed");
    let fixed = digest(&host.upload(&edition("fix")).expect(201));
    let second = digest(&host.upload(&edition("two")).expect(201));
    cli.run(&["fork", "sold", "--at", "1", "--on", &second]).ended(3).says(&["charge[130]", "charge[143]"]);
    // The call was asked for and not answered: it is called again, as the fork's own.
    cli.run(&["fork", "sold", "--at", "1", "--on", &fixed, "--id", "mended"]).ended(0);
    assert_eq!(host.wait("mended")["value"], "13 for 130");
    let children: Vec<Value> = host.items("/v1/executions/mended/tree").iter().map(|p| p["id"].clone()).collect();
    assert_eq!(children, ["mended", "mended:1", "mended:1.1", "mended:2"]);
    // The call was answered: it isn't called again.
    cli.run(&["fork", "sold", "--at", "2", "--on", &fixed, "--id", "later"]).ended(0);
    assert_eq!(host.wait("later")["value"], "13 for 130");
    assert_eq!(host.items("/v1/executions/later/tree").len(), 2);
}

#[test]
fn whoever_waits_for_what_is_held_is_told() {
    let host = Setup::new().switch("--hold-crashes=pack,shop").start();
    let cli = Cli::of(&host);
    let ran = cli.run(&["invoke", "pack", "[7,0]", "--id", "box"]).ended(4);
    ran.says(&["box is held: it crashed: panicked at", "panics/src/lib.rs", "host resume box", "host cancel box"]);
    cli.run(&["invoke", "pack", "[7,0]", "--id", "box"]).ended(4).says(&["box is held"]);
    cli.run(&["invoke", "pack", "[7,0]", "--id", "box", "--follow"]).ended(4).says(&["box is held"]);
    cli.run(&["invoke", "pack", "[8,0]", "--id", "new", "--follow"]).ended(4).says(&["started", "new is held"]);
    cli.run(&["get", "box", "--wait"]).ended(4).says(&["box is held"]);
    assert_eq!(cli.json(&["invoke", "pack", "[7,0]"], 4)["error"]["code"], "held");
    let ran = cli.run(&["invoke", "dispatch", "[7,0]", "--id", "day", "--follow"]).ended(4);
    ran.says(&["day waits for day:1, which is held: it crashed", "host resume day:1"]);
    // Long before the time for which they ask is over.
    cli.run(&["get", "day", "--wait"]).ended(4).says(&["day waits for day:1, which is held"]);
    let began = Instant::now();
    let night = host.post("/v1/functions/dispatch/invoke?id=night&wait_ms=300000", &json!([7, 0])).expect(202);
    assert_eq!((&night["state"], &night["held_at"]), (&json!("pending"), &json!("night:1")));
    let night = host.get("/v1/executions/night?wait_ms=300000").expect(200);
    assert_eq!((&night["state"], &night["held_at"]), (&json!("pending"), &json!("night:1")));
    assert!(began.elapsed() < Duration::from_secs(60), "it took {:?}", began.elapsed());
    // What is ended from outside is what it is.
    cli.run(&["cancel", "day:1"]).ended(0);
    cli.run(&["get", "day", "--wait"]).ended(1).says(&["canceled"]);

    host.try_post("/v1/components?mount=shop", &guest("site")).expect("it is there").expect(201);
    let refusal = host.get("/http/shop/panic").refusal(503, "held");
    assert!(refusal.contains("is held: it crashed"), "{refusal}");
}
