//! Configurations, and the limits that the machine watches.

use super::*;

fn crashed(world: &World, of: &str) -> String {
    match &world.get(of).outcome {
        Some(Outcome::Crashed(text)) => text.clone(),
        other => panic!("it should have crashed: {other:?}"),
    }
}

#[test]
fn an_execution_keeps_the_revision_that_it_started_on() {
    let mut world = World::new();
    world.put(Op::Configure { scope: of_buy(), config: allow(&["a.example"]) }).unwrap();
    world.start("old");
    world.put(Op::Configure { scope: of_buy(), config: allow(&["b.example"]) }).unwrap();
    world.start("new");
    assert_eq!((world.execution("old").config.function, world.execution("new").config.function), (1, 2));
    for (execution, host, is_allowed) in
        [("old", "a", true), ("old", "b", false), ("new", "a", false), ("new", "b", true)]
    {
        world.turn(execution).asks(request(&format!("http://{host}.example/"))).waits();
        let sent = world.effects.iter().any(|effect| matches!(effect, Effect::Send(_)));
        assert_eq!(sent, is_allowed, "{execution} to {host}");
    }
}

#[test]
fn the_same_configuration_again_is_no_revision() {
    let mut world = World::new();
    for _ in 0..2 {
        world.put(Op::Configure { scope: Scope::Host, config: limit(Limit::Cpu, 5) }).unwrap();
        world.put(Op::Configure { scope: of_buy(), config: Config::default() }).unwrap();
    }
    assert_eq!(Pinned::latest(&world.state, "shop", "buy"), Pinned { host: 1, component: 0, function: 0 });
    let zero = world.put(Op::Configure { scope: Scope::Host, config: limit(Limit::Cpu, 0) });
    assert!(matches!(zero, Err(Rejection::Config(_))));
}

#[test]
fn a_journal_that_is_too_long_is_a_crash_that_says_what_to_do() {
    for (limited, value, scope, advice) in [
        (Limit::JournalEntries, 3, of_buy(), "host config set buy --limit journal-entries=N"),
        (Limit::JournalBytes, 40, Scope::Component("shop".into()), "host config set buy --limit journal-bytes=N"),
        (Limit::JournalEntries, 3, Scope::Host, "--journal-entries-limit"),
    ] {
        let mut world = World::new();
        world.put(Op::Configure { scope, config: limit(limited, value) }).unwrap();
        world.start("a").turn("a").asks(sleep(FAR)).asks(sleep(FAR)).waits();
        assert_eq!(world.state("a"), PromiseState::Pending);
        world.turn("a").asks(sleep(FAR)).waits();
        let text = crashed(&world, "a");
        assert!(text.contains(&value.to_string()) && text.contains(advice) && text.contains("\"buy\""), "{text}");
        assert!(world.effects.contains(&Effect::Stop(id("a"))));
        assert_eq!(world.state("a:1"), PromiseState::Canceled);
    }
}

#[test]
fn children_are_counted_while_they_are_under_way() {
    let mut world = World::new();
    world.put(Op::Configure { scope: of_buy(), config: limit(Limit::Children, 2) }).unwrap();
    world.start("a").turn("a").asks(call("pay")).asks(call("pay")).asks(detached("pay", within(9))).waits();
    assert_eq!(world.execution("a").children, 2);
    world.settle("a:1", Outcome::Canceled).unwrap();
    world.turn("a").told(1).asks(call("pay")).waits();
    assert_eq!(world.execution("a").children, 2);
    world.turn("a").asks(call("pay")).waits();
    let text = crashed(&world, "a");
    assert!(text.contains("more than 2 executions") && text.contains("--limit children=N"), "{text}");
}
