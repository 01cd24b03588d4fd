//! What ends with an execution, what doesn't, and who hears of it.

use super::*;

/// An execution that has begun one of each: a call (1), a call with an id (2), a detached call (3), a sleep (4), a named
/// step (5), a promise (6), and that waits for a promise (7) and an execution (8) of others.
fn with_one_of_each() -> World {
    let mut world = World::new();
    world.promise("p", FAR).start("other").start("a");
    let turn = world.turn("a").asks(call("pay")).asks(call_as("pay", "chosen"));
    let turn = turn.asks(detached("pay", CallOptions::default())).asks(sleep(5000)).asks(work("w"));
    turn.asks(new_promise(None)).asks(wait_for("p")).asks(call_as("buy", "other")).waits();
    world
}

const CHILDREN: [&str; 6] = ["a:1", "chosen", "a:3", "a:4", "a:5", "a:6"];

#[test]
fn cancelling_an_execution_cancels_what_it_made() {
    use PromiseState::{Canceled, Pending};
    let mut world = with_one_of_each();
    world.settle("a", Outcome::Canceled).unwrap();
    assert_eq!(CHILDREN.map(|child| world.state(child)), [Canceled, Canceled, Pending, Canceled, Canceled, Canceled]);
    assert_eq!((world.state("p"), world.state("other")), (Pending, Pending), "it only waited for these");
    for stopped in ["a", "a:1", "chosen"] {
        assert!(world.effects.contains(&Effect::Stop(id(stopped))), "{stopped}");
    }
}

#[test]
fn an_execution_that_times_out_takes_what_it_made_with_it() {
    let mut world = World::new();
    world.start_until("a", 2000);
    world.turn("a").asks(call("pay")).asks(sleep(2500)).asks(sleep(9000)).asks(call_with("pay", within(500))).waits();
    world.at(3000).expire("a");
    assert_eq!(world.settled("a"), (Outcome::TimedOut, 2000));
    assert_eq!(world.settled("a:1"), (Outcome::TimedOut, 2000), "its own deadline is the same");
    assert_eq!(world.settled("a:2"), (resolved(""), 2500), "its time had come when somebody looked");
    assert_eq!(world.settled("a:3"), (Outcome::Canceled, 3000));
    assert_eq!(world.settled("a:4"), (Outcome::TimedOut, 1500));
}

#[test]
fn a_tree_ends_to_its_leaves() {
    let mut world = World::new();
    world.start("a");
    world.turn("a").asks(call("pay")).waits();
    world.acquire("a:1").unwrap();
    world.turn("a:1").asks(call("pay")).asks(sleep(9000)).waits();
    world.acquire("a:1.1").unwrap();
    world.turn("a:1.1").asks(sleep(9000)).waits();
    world.settle("a", Outcome::Canceled).unwrap();
    for leaf in ["a:1", "a:1.1", "a:1.2", "a:1.1.1"] {
        assert_eq!(world.state(leaf), PromiseState::Canceled, "{leaf}");
    }
    let is_woken = |effect: &Effect| matches!(effect, Effect::Runnable(_));
    assert!(!world.effects.iter().any(is_woken), "nobody is woken to hear that its child has ended with it");
}

#[test]
fn an_execution_that_returns_leaves_running_what_it_called() {
    use PromiseState::{Canceled, Pending};
    let mut world = with_one_of_each();
    world.turn("a").finishes("done");
    assert_eq!(CHILDREN.map(|child| world.state(child)), [Pending, Pending, Pending, Canceled, Canceled, Pending]);
    assert_eq!(world.effects[0], Effect::Settled(id("a")), "its session has ended by itself");
    assert!(!world.effects.contains(&Effect::Stop(id("a"))));
    world.acquire("a:1").unwrap();
    world.turn("a:1").finishes("1");
    assert_eq!(world.effects, [Effect::Settled(id("a:1"))], "nobody waits for it any more");
}

#[test]
fn a_sleep_whose_time_has_come_is_not_cancelled() {
    let mut world = World::new();
    world.start("a").start("b");
    world.turn("a").asks(sleep(2000)).waits();
    world.turn("b").asks(sleep(2000)).waits();
    world.at(2000).turn("a").finishes("done");
    assert_eq!(world.settled("a:1"), (resolved(""), 2000));
    world.at(2500).turn("b").drops(1).waits();
    assert_eq!(world.settled("b:1"), (resolved(""), 2000));
    assert_eq!(world.ready("b"), [], "it was dropped before that was noticed");
}

#[test]
fn an_execution_that_has_ended_waits_for_nothing() {
    let mut world = World::new();
    world.promise("p", FAR).start("a").start("b");
    world.turn("a").asks(wait_for("p")).waits();
    world.turn("b").asks(wait_for("p")).waits();
    world.settle("a", Outcome::Canceled).unwrap();
    assert_eq!(world.get("p").awaiters, [Awaiter { execution: id("b"), step: 1 }].into());
    world.settle("p", resolved("1")).unwrap();
    assert_eq!(world.effects, [Effect::Runnable(id("b")), Effect::Settled(id("p"))]);
}

#[test]
fn who_is_past_its_own_deadline_is_not_woken() {
    let mut world = World::new();
    world.promise("p", FAR).start_until("a", 2000);
    world.turn("a").asks(wait_for("p")).waits();
    world.at(2000).settle("p", resolved("1")).unwrap();
    assert_eq!(world.settled("a"), (Outcome::TimedOut, 2000));
    assert!(!world.effects.contains(&Effect::Runnable(id("a"))));
    assert!(world.effects.contains(&Effect::Stop(id("a"))));
}

#[test]
fn deadlines_of_one_time_have_one_end_in_any_order() {
    let build = |order: [&str; 3]| {
        let mut world = World::new();
        world.start_until("a", 2000);
        world.turn("a").asks(call("pay")).asks(sleep(2000)).waits();
        world.at(2000).put(Op::Expire { ids: order.map(id).to_vec() }).unwrap();
        world.state
    };
    let first = build(["a", "a:1", "a:2"]);
    assert_eq!(build(["a:2", "a:1", "a"]), first);
    assert_eq!(build(["a:1", "a", "a:2"]), first);
}

#[test]
fn a_dropped_sleep_is_over() {
    let mut world = World::new();
    world.start("a");
    world.turn("a").asks(sleep(5000)).waits();
    world.turn("a").drops(1).waits();
    assert_eq!(world.settled("a:1"), (Outcome::Canceled, 1000));
    assert_eq!(world.ready("a"), []);
}

#[test]
fn a_dropped_call_runs_on_and_is_not_answered() {
    let mut world = World::new();
    world.start("a");
    world.turn("a").asks(call("pay")).asks(call("pay")).drops(1).drops(2).waits();
    world.acquire("a:1").unwrap();
    world.turn("a:1").finishes("paid");
    assert_eq!((world.ready("a"), world.task("a")), (vec![], TaskState::Suspended));
    world.settle("a", Outcome::Canceled).unwrap();
    assert_eq!((world.state("a:1"), world.state("a:2")), (PromiseState::Resolved, PromiseState::Canceled));
}

#[test]
fn a_dropped_wait_leaves_the_promise_alone() {
    let mut world = World::new();
    world.promise("p", FAR).start("a").start("b");
    world.turn("a").asks(wait_for("p")).asks(wait_for("p")).drops(1).waits();
    world.turn("b").asks(wait_for("p")).waits();
    world.settle("p", resolved("1")).unwrap();
    assert_eq!((world.ready("a"), world.ready("b")), (vec![2], vec![1]));
}

#[test]
fn an_answer_that_is_dropped_is_not_told() {
    let mut world = World::new();
    world.promise("p", FAR).start("a");
    world.turn("a").asks(wait_for("p")).asks(wait_for("nobody")).asks(wait_for("nobody")).waits();
    world.settle("p", resolved("1")).unwrap();
    assert_eq!(world.ready("a"), [2, 3, 1]);
    world.turn("a").told(2).drops(1).drops(3).waits();
    assert_eq!((world.ready("a"), world.task("a")), (vec![], TaskState::Suspended));
}

#[test]
fn a_guest_can_end_what_it_is_part_of_and_does_nothing_after() {
    let mut world = World::new();
    world.start("a");
    world.turn("a").asks(call("pay")).waits();
    world.acquire("a:1").unwrap();
    let turn = world.turn("a:1").asks(settle("a", Outcome::Canceled)).asks(call("buy")).asks(sleep(9000));
    turn.drops(3).writes("last words").waits();
    assert_eq!(world.settled("a:1"), (Outcome::Canceled, 1000));
    assert_eq!(world.execution("a:1").entries, 3, "started, asked, finished");
    assert_eq!(world.state.outputs[&id("a:1")].len(), 1);
    assert!(!world.state.promises.contains_key(&id("a:1.2")));
    assert!(world.effects.contains(&Effect::Stop(id("a:1"))));
}

#[test]
fn settling_an_execution_settles_it_as_asked() {
    let mut world = World::new();
    world.start("a").start("b");
    world.turn("a").asks(call("pay")).waits();
    world.turn("b").asks(wait_for("a:1")).waits();
    world.settle("a:1", resolved("by hand")).unwrap();
    assert_eq!((world.ready("a"), world.ready("b")), (vec![1], vec![1]));
    assert_eq!(world.acquire("a:1"), Err(Rejection::Stale(id("a:1"))));
}
