//! Executions that are held, moved to another component, or forked.

use super::*;

/// A second edition of the shop.
const NEWER: Digest = Digest([2; 32]);

fn world() -> World {
    let mut world = World::new();
    world.put(Op::Install { component: component("shop", 2, &["buy", "pay"]) }).unwrap();
    world.put(Op::Install { component: component("shop", 1, &["buy", "pay"]) }).unwrap();
    world
}

fn move_to(world: &mut World, of: &str, component: Digest) -> Result<Reply, Rejection> {
    let entries = world.state.journals[&id(of)].len() as u32;
    world.put(Op::Move { id: id(of), component, entries, replayed: 3 })
}

fn hold(world: &mut World, of: &str) {
    let version = world.execution(of).task.version;
    world.put(Op::Hold { id: id(of), version, reason: "it differs".into() }).unwrap();
}

/// Fork from the first entries of a journal.
fn fork(world: &mut World, from: &str, entries: usize) -> Result<Reply, Rejection> {
    let entries = world.state.journals[&id(from)][..entries].to_vec();
    let component = Digest([1; 32]);
    world.put(Op::Fork { id: id("fork"), from: id(from), entries, component, replayed: 2, timeout_at: FAR })
}

#[test]
fn what_is_held_goes_on_where_it_is_moved_to() {
    let mut world = world();
    world.start("a").turn("a").asks(sleep(5000)).writes("line").waits();
    world.at(5000).expire("a:1");
    hold(&mut world, "a");
    assert_eq!(world.acquire("a"), Err(Rejection::Stale(id("a"))), "nobody runs it");
    assert_eq!(move_to(&mut world, "a", NEWER), Ok(Reply::Done));
    assert_eq!(world.effects, [Effect::Stop(id("a")), Effect::Runnable(id("a"))]);
    assert_eq!((world.task("a"), world.ready("a")), (TaskState::Runnable, vec![1]));
    let moved = Entry::Moved { component: NEWER, replayed: 3, written: 1, now: 5000 };
    assert_eq!(world.state.journals[&id("a")].last(), Some(&moved));
    world.acquire("a").unwrap();
    world.turn("a").told(1).asks(call("pay")).waits();
    assert_eq!(world.execution("a:2").component, NEWER, "its own functions are those of its component");
}

#[test]
fn a_session_of_before_the_move_records_nothing() {
    let mut world = world();
    world.start("a").turn("a").asks(sleep(5000)).waits();
    assert_eq!(move_to(&mut world, "a", NEWER), Ok(Reply::Done));
    assert_eq!(world.turn("a").version(1).asks(sleep(6000)).rests(Rest::Waiting), Err(Rejection::Stale(id("a"))));
    world.acquire("a").unwrap();
    world.turn("a").asks(sleep(6000)).waits();
}

#[test]
fn a_move_counts_only_for_the_journal_that_was_replayed() {
    let mut world = world();
    world.start("a").turn("a").asks(sleep(5000)).waits();
    let entries = world.state.journals[&id("a")].len() as u32;
    world.at(5000).expire("a:1");
    world.turn("a").told(1).asks(sleep(6000)).waits();
    let before = world.state.clone();
    let late = Op::Move { id: id("a"), component: NEWER, entries, replayed: 0 };
    assert_eq!(world.put(late), Err(Rejection::GotOn(id("a"))));
    assert_eq!(world.state, before);
}

#[test]
fn what_cannot_be_moved_is_refused() {
    let mut world = world();
    world.promise("p", FAR).start("a").turn("a").finishes("1");
    world.start("b");
    let entries = 1;
    let mut refused = |of: &str, component| {
        world.put(Op::Move { id: id(of), component, entries, replayed: 0 }).expect_err("it should be refused")
    };
    assert_eq!(refused("p", NEWER), Rejection::NoExecution(id("p")));
    assert_eq!(refused("q", NEWER), Rejection::NoPromise(id("q")));
    assert_eq!(refused("a", NEWER), Rejection::Settled { id: id("a"), state: PromiseState::Resolved });
    assert_eq!(refused("b", Digest([7; 32])), Rejection::NoComponent(Digest([7; 32])));
    let other = component("market", 9, &["sell"]);
    world.put(Op::Install { component: other }).unwrap();
    let refused = world.put(Op::Move { id: id("b"), component: Digest([9; 32]), entries, replayed: 0 });
    assert_eq!(refused, Err(Rejection::NotExported { component: Digest([9; 32]), function: "buy".into() }));
}

#[test]
fn going_on_where_it_is_needs_no_entry() {
    let mut world = world();
    world.start("a").turn("a").asks(sleep(5000)).waits();
    let before = world.state.clone();
    assert_eq!(move_to(&mut world, "a", Digest([1; 32])), Ok(Reply::Done));
    assert_eq!(world.state, before, "it isn't held");
    hold(&mut world, "a");
    assert_eq!(move_to(&mut world, "a", Digest([1; 32])), Ok(Reply::Done));
    assert_eq!((world.task("a"), world.state.journals[&id("a")].len()), (TaskState::Runnable, 2));
}

#[test]
fn a_fork_is_told_what_was_told_and_begins_anew_what_was_not() {
    let mut world = world();
    world.start("a").turn("a").asks(call("pay")).asks(sleep(5000)).asks(call("buy")).waits();
    world.acquire("a:1").unwrap();
    world.turn("a:1").finishes("7");
    world.turn("a").told(1).waits();
    world.at(3000);
    assert_eq!(fork(&mut world, "a", 5), Ok(Reply::Promise { created: true }));
    assert_eq!(world.state.journals[&id("fork")][..5], world.state.journals[&id("a")][..5]);
    let forked = Entry::Forked { from: id("a"), steps: 3, replayed: 2, now: 3000 };
    assert_eq!(world.state.journals[&id("fork")][5..], [forked]);
    assert!(!world.state.promises.contains_key(&id("fork:1")), "it has its answer");
    assert_eq!((world.state("fork:2"), world.state("fork:3")), (PromiseState::Pending, PromiseState::Pending));
    assert_eq!(world.get("fork:2").timeout_at, 5000, "a sleep ends when it ends");
    world.settle("fork", Outcome::Canceled).unwrap();
    assert_eq!((world.state("a"), world.state("a:3")), (PromiseState::Pending, PromiseState::Pending));
}

#[test]
fn a_fork_has_the_promises_of_its_history_as_they_were() {
    let mut world = world();
    world.start("a").turn("a").asks(new_promise(Some(4000))).asks(wait_for("a:1")).waits();
    world.at(2000).settle("a:1", resolved("true")).unwrap();
    world.turn("a").told(2).waits();
    world.at(9000);
    fork(&mut world, "a", 3).unwrap();
    assert_eq!((world.state("fork:1"), world.get("fork:1").timeout_at), (PromiseState::Pending, 13_000));
    world.settle("fork:1", resolved("false")).unwrap();
    assert_eq!(world.ready("fork"), [2], "it waits for its own");
    assert_eq!(world.settled("a:1").0, resolved("true"));

    let entries = world.state.journals[&id("a")].clone();
    let (from, component) = (id("a"), Digest([1; 32]));
    let op = Op::Fork { id: id("later"), from, entries, component, replayed: 0, timeout_at: FAR };
    world.put(op).unwrap();
    assert_eq!(world.settled("later:1").0, resolved("true"), "it was settled by then");
}

#[test]
fn a_fork_can_be_on_another_component_and_be_forked_again() {
    let mut world = world();
    world.start("a").turn("a").asks(new_promise(None)).asks(wait_for("a:1")).waits();
    let entries = world.state.journals[&id("a")].clone();
    let op = Op::Fork { id: id("b"), from: id("a"), entries, component: NEWER, replayed: 1, timeout_at: FAR };
    world.put(op).unwrap();
    assert_eq!(world.execution("b").component, NEWER);
    let entries = world.state.journals[&id("b")].clone();
    assert!(matches!(entries[3..], [Entry::Forked { .. }, Entry::Moved { component: NEWER, .. }]));
    let op = Op::Fork { id: id("c"), from: id("b"), entries, component: NEWER, replayed: 1, timeout_at: FAR };
    world.put(op).unwrap();
    world.settle("c:1", resolved("1")).unwrap();
    assert_eq!((world.ready("c"), world.state("b:1")), (vec![2], PromiseState::Pending));
}

#[test]
fn what_cannot_be_forked_is_refused() {
    let mut world = world();
    world.promise("fork", FAR).promise("p", FAR);
    world.start("a").turn("a").finishes("1");
    assert!(matches!(fork(&mut world, "a", 1), Err(Rejection::Taken { .. })));
    let mut refused = |name: &str, from: &str, entries: &[Entry]| {
        let (entries, component) = (entries.to_vec(), Digest([1; 32]));
        let op = Op::Fork { id: id(name), from: id(from), entries, component, replayed: 0, timeout_at: FAR };
        let before = world.state.clone();
        let refused = world.put(op).expect_err("it should be refused");
        assert_eq!(before, world.state);
        refused
    };
    assert!(matches!(refused("x:1", "a", &[]), Rejection::Id(_)));
    assert_eq!(refused("x", "p", &[]), Rejection::NoExecution(id("p")));
    assert!(matches!(refused("x", "a", &[]), Rejection::Malformed { .. }));
}

#[test]
fn nothing_goes_on_with_the_configuration_of_another_component() {
    let mut world = World::new();
    world.put(Op::Configure { scope: Scope::Component("shop".into()), config: allow(&["a.example"]) }).unwrap();
    world.start("a").turn("a").asks(sleep(FAR)).waits();
    world.put(Op::Install { component: component("shop", 2, &["pay"]) }).unwrap();
    let market = component("market", 9, &["buy"]);
    world.put(Op::Install { component: market.clone() }).unwrap();
    hold(&mut world, "a");
    let refused = move_to(&mut world, "a", market.digest).unwrap_err().to_string();
    assert!(refused.contains("\"shop\"") && refused.contains("\"market\""), "{refused}");
    assert_eq!(world.task("a"), TaskState::Held);
}
