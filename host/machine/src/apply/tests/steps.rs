//! What each import does.

use super::*;

#[test]
fn a_call_starts_a_child_and_is_answered_with_its_outcome() {
    let mut world = World::new();
    world.start("a");
    world.turn("a").asks(call("pay")).waits();
    assert_eq!(world.effects, [Effect::Runnable(id("a:1"))]);
    assert_eq!(world.get("a:1").owner, Some(Owner { execution: id("a"), step: 1, detached: false }));
    assert_ne!(world.execution("a:1").seed, world.execution("a").seed);
    world.acquire("a:1").unwrap();
    world.turn("a:1").finishes("paid");
    assert_eq!(world.effects, [Effect::Runnable(id("a")), Effect::Settled(id("a:1"))]);
    assert_eq!(world.answer("a", 1), Completion::Settled(resolved("paid")));
}

#[test]
fn a_call_ends_no_later_than_its_caller() {
    let mut world = World::new();
    world.start_until("a", 5000);
    let (short, long) = (call_with("pay", within(1000)), call_with("pay", within(u64::MAX)));
    world.turn("a").asks(call("pay")).asks(short).asks(long).waits();
    let deadlines = ["a:1", "a:2", "a:3"].map(|child| world.get(child).timeout_at);
    assert_eq!(deadlines, [5000, 2000, 5000]);
}

#[test]
fn a_call_that_has_no_time_is_answered_at_once() {
    let mut world = World::new();
    world.start("a");
    world.turn("a").asks(call_with("pay", within(0))).waits();
    assert_eq!((world.task("a"), world.ready("a")), (TaskState::Runnable, vec![1]));
    assert_eq!(world.answer("a", 1), Completion::Settled(Outcome::TimedOut));
}

#[test]
fn calls_with_one_id_are_one_call() {
    let mut world = World::new();
    world.start("a").start("b");
    world.turn("a").asks(call_as("pay", "shared")).asks(call_as("pay", "shared")).waits();
    world.turn("b").asks(call_as("pay", "shared")).waits();
    assert_eq!(world.get("shared").awaiters.len(), 3);
    world.acquire("shared").unwrap();
    world.turn("shared").finishes("paid");
    assert_eq!((world.ready("a"), world.ready("b")), (vec![1, 2], vec![1]));
    world.turn("b").told(1).asks(call_as("pay", "shared")).waits();
    assert_eq!(world.answer("b", 2), Completion::Settled(resolved("paid")), "it is settled already");
}

#[test]
fn a_call_that_can_not_be_is_refused_to_the_guest() {
    let mut world = World::new();
    world.start("a").promise("p", FAR);
    let elsewhere = CallOptions { target: Some("elsewhere".into()), ..CallOptions::default() };
    let calls = [
        (call("nothing"), "no function named"),
        (call_as("pay", "p"), "is taken"),
        (call_as("buy", "a"), "can't wait for itself"),
        (call_as("pay", "x:1"), "can't contain ':'"),
        (call_with("pay", elsewhere), "is no address"),
    ];
    for (step, (ask, reason)) in (1..).zip(calls) {
        world.turn("a").asks(ask).waits();
        let refusal = refused(world.answer("a", step));
        assert!(refusal.contains(reason), "{refusal}");
    }
}

#[test]
fn this_hosts_own_address_can_be_named() {
    let mut world = World::new();
    world.start("a");
    let here = CallOptions { target: Some("poll://any@wasm".into()), ..CallOptions::default() };
    world.turn("a").asks(call_with("pay", here)).waits();
    assert_eq!(world.task("a:1"), TaskState::Runnable);
}

#[test]
fn a_call_tree_is_as_deep_as_ids_are_long() {
    let mut world = World::new();
    let mut deepest = id("a");
    world.start("a");
    loop {
        world.turn(deepest.as_str()).asks(call("pay")).waits();
        let child = deepest.child(1).unwrap();
        if world.acquire(child.as_str()).is_err() {
            break;
        }
        deepest = child;
    }
    assert!(deepest.as_str().len() + 13 > MAX_ID_BYTES, "{}", deepest.as_str().len());
    assert!(deepest.child(u32::MAX).is_ok(), "each of its steps has an id");
    assert!(refused(world.answer(deepest.as_str(), 1)).contains("too deep"));
}

#[test]
fn a_detached_call_is_not_answered_and_has_its_own_deadline() {
    let mut world = World::new();
    world.start_until("a", 5000);
    world.turn("a").asks(detached("pay", CallOptions::default())).asks(detached("pay", within(9000))).waits();
    assert_eq!(world.get("a:1").timeout_at, 1000 + 365 * 24 * 60 * 60 * 1000);
    assert_eq!(world.get("a:2").timeout_at, 10_000);
    world.settle("a:1", resolved("1")).unwrap();
    assert_eq!((world.ready("a"), world.task("a")), (vec![], TaskState::Suspended));
    world.turn("a").asks(detached("nothing", CallOptions::default())).waits();
    assert_eq!(world.ready("a"), [], "nobody waits to hear that it was refused");
}

#[test]
fn a_sleep_resolves_at_its_time() {
    let mut world = World::new();
    world.start("a");
    world.turn("a").asks(sleep(2000)).asks(sleep(1000)).asks(sleep(u64::MAX)).waits();
    assert_eq!(world.settled("a:2"), (resolved(""), 1000));
    world.turn("a").told(2).waits();
    world.at(3000).expire("a:1");
    assert_eq!(world.settled("a:1"), (resolved(""), 2000));
    assert_eq!(world.answer("a", 1), Completion::Settled(resolved("")));
}

#[test]
fn a_promise_can_be_awaited_by_any_number_of_steps() {
    let mut world = World::new();
    world.promise("p", FAR).start("a").start("b");
    world.turn("a").asks(wait_for("p")).asks(wait_for("p")).waits();
    world.turn("b").asks(wait_for("p")).waits();
    world.settle("p", resolved("1")).unwrap();
    let runnable = |of| Effect::Runnable(id(of));
    assert_eq!(world.effects, [runnable("a"), runnable("b"), Effect::Settled(id("p"))]);
    assert_eq!((world.ready("a"), world.ready("b")), (vec![1, 2], vec![1]));
    assert!(world.get("p").awaiters.is_empty());
}

#[test]
fn a_promise_that_is_settled_or_expired_is_answered_at_once() {
    let mut world = World::new();
    world.promise("p", FAR).promise("q", 2000).start("a");
    world.settle("p", resolved("1")).unwrap();
    world.at(2000).turn("a").asks(wait_for("p")).asks(wait_for("q")).waits();
    assert_eq!(world.answer("a", 1), Completion::Settled(resolved("1")));
    assert_eq!(world.answer("a", 2), Completion::Settled(Outcome::TimedOut));
    assert_eq!(world.settled("q"), (Outcome::TimedOut, 2000));
}

#[test]
fn what_can_not_be_awaited_or_settled_is_refused() {
    let mut world = World::new();
    world.start("a");
    let asks = [("nobody", "no promise"), ("a", "its own promise"), ("a\0", "can't contain"), ("", "empty")];
    for (n, (promise, reason)) in (0..).zip(asks) {
        world.turn("a").asks(wait_for(promise)).asks(settle(promise, resolved("1"))).waits();
        for step in [2 * n + 1, 2 * n + 2] {
            let refusal = refused(world.answer("a", step));
            assert!(refusal.contains(reason), "{refusal}");
        }
    }
}

#[test]
fn a_guest_settles_a_promise() {
    let mut world = World::new();
    world.promise("p", FAR).promise("late", 2000).start("a");
    world.at(2000).turn("a").asks(settle("p", resolved("1"))).asks(settle("p", Outcome::Canceled)).waits();
    world.turn("a").asks(settle("late", resolved("1"))).waits();
    assert_eq!(world.settled("p"), (resolved("1"), 2000));
    assert_eq!(world.answer("a", 1), Completion::Done);
    assert!(refused(world.answer("a", 2)).contains("already settled: resolved"));
    assert!(refused(world.answer("a", 3)).contains("already settled: timed_out"));
}

#[test]
fn a_guest_that_settles_what_it_waits_for_is_answered_twice() {
    let mut world = World::new();
    world.promise("p", FAR).start("a");
    world.turn("a").asks(wait_for("p")).asks(settle("p", resolved("1"))).waits();
    assert_eq!((world.ready("a"), world.task("a")), (vec![1, 2], TaskState::Runnable));
}

#[test]
fn a_promise_of_a_guest_is_for_others_to_settle() {
    let mut world = World::new();
    world.start_until("a", 5000);
    world.turn("a").asks(new_promise(Some(500))).asks(new_promise(None)).asks(new_promise(Some(0))).waits();
    assert_eq!(["a:1", "a:2"].map(|promise| world.get(promise).timeout_at), [1500, 5000]);
    assert_eq!(world.settled("a:3"), (Outcome::TimedOut, 1000));
    world.settle("a:1", resolved("1")).unwrap();
    assert_eq!((world.ready("a"), world.task("a")), (vec![], TaskState::Suspended), "it waits for neither");
    world.turn("a").asks(wait_for("a:2")).waits();
    world.settle("a:2", resolved("2")).unwrap();
    assert_eq!(world.answer("a", 4), Completion::Settled(resolved("2")));
}

#[test]
fn a_named_step_is_recorded_once() {
    let mut world = World::new();
    world.start("a");
    world.turn("a").asks(work("charge")).waits();
    assert_eq!(world.get("a:1").kind, PromiseKind::Step { name: "charge".into() });
    world.turn("a").records(1, resolved("ok")).asks(work("mail")).records(2, Outcome::Rejected(text("no"))).waits();
    assert_eq!(world.settled("a:1"), (resolved("ok"), 1000));
    assert_eq!(world.settled("a:2"), (Outcome::Rejected(text("no")), 1000));
    assert!(world.execution("a").open.is_empty());
}

#[test]
fn a_named_step_that_was_settled_from_outside_stays_so() {
    let mut world = World::new();
    world.start("a");
    world.turn("a").asks(work("charge")).waits();
    world.settle("a:1", Outcome::Canceled).unwrap();
    world.turn("a").records(1, resolved("ok")).waits();
    assert_eq!(world.state("a:1"), PromiseState::Canceled);
}

#[test]
fn times_at_the_end_of_time_do_not_overflow() {
    let mut world = World::new();
    world.start_until("a", u64::MAX).at(u64::MAX - 5);
    world.turn("a").asks(detached("pay", CallOptions::default())).asks(detached("pay", within(u64::MAX))).waits();
    world.turn("a").asks(call_with("pay", within(u64::MAX))).asks(new_promise(Some(u64::MAX))).waits();
    for child in ["a:1", "a:2", "a:3", "a:4"] {
        assert_eq!(world.get(child).timeout_at, u64::MAX);
    }
    world.at(u64::MAX).expire("a");
    assert_eq!(world.settled("a:3"), (Outcome::TimedOut, u64::MAX));
}
