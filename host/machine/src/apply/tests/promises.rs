//! Promises of nobody: created, settled once, and expired.

use super::*;

#[test]
fn a_promise_is_created_once() {
    let mut world = World::new();
    let create = |param: &str, timeout_at| Op::CreatePromise { id: id("p"), param: text(param), timeout_at };
    assert_eq!(world.put(create("first", 2000)), Ok(Reply::Promise { created: true }));
    assert_eq!(world.put(create("second", 3000)), Ok(Reply::Promise { created: false }));
    let promise = world.get("p");
    assert_eq!((&promise.param[..], promise.created_at, promise.timeout_at), (&b"first"[..], 1000, 2000));
}

#[test]
fn a_promise_is_settled_once() {
    let mut world = World::new();
    world.promise("p", 2000).at(1500).settle("p", resolved("1")).unwrap();
    assert_eq!(world.effects, [Effect::Settled(id("p"))]);
    assert_eq!(world.at(1600).settle("p", resolved("1")), Ok(Reply::Done));
    let settled = Rejection::Settled { id: id("p"), state: PromiseState::Resolved };
    assert_eq!(world.settle("p", resolved("2")), Err(settled.clone()));
    assert_eq!(world.at(9000).settle("p", Outcome::Canceled), Err(settled));
    assert_eq!(world.settled("p"), (resolved("1"), 1500));
}

#[test]
fn at_its_deadline_a_promise_is_expired() {
    let mut world = World::new();
    world.promise("p", 2000).promise("q", 2000);
    assert_eq!(world.at(1999).settle("p", resolved("1")), Ok(Reply::Done));
    let settled = Rejection::Settled { id: id("q"), state: PromiseState::TimedOut };
    assert_eq!(world.at(2000).settle("q", resolved("1")), Err(settled));
    assert_eq!(world.settled("q"), (Outcome::TimedOut, 2000));
    assert_eq!(world.effects, [Effect::Settled(id("q"))]);
}

#[test]
fn a_promise_expires_at_its_deadline_however_late_that_is_noticed() {
    let mut world = World::new();
    world.promise("p", 2000).promise("q", 3000);
    world.at(1999).put(Op::Expire { ids: vec![id("p"), id("nobody")] }).unwrap();
    assert_eq!(world.state("p"), PromiseState::Pending);
    world.at(5000).expire("p");
    assert_eq!(world.settled("p"), (Outcome::TimedOut, 2000));
    world.put(Op::CreatePromise { id: id("q"), param: text(""), timeout_at: 9000 }).unwrap();
    assert_eq!(world.settled("q"), (Outcome::TimedOut, 3000));
}

#[test]
fn a_promise_can_be_born_expired() {
    let mut world = World::new();
    for (root, timeout_at) in [("p", 1000), ("q", 0)] {
        world.promise(root, timeout_at);
        assert_eq!(world.settled(root), (Outcome::TimedOut, timeout_at));
        assert_eq!(world.get(root).created_at, timeout_at);
    }
}

#[test]
fn nobody_settles_as_only_a_deadline_or_an_end_can() {
    let mut world = World::new();
    world.promise("p", 2000);
    for outcome in [Outcome::TimedOut, Outcome::Crashed("why".into())] {
        assert!(matches!(world.settle("p", outcome), Err(Rejection::Malformed { .. })));
    }
    assert_eq!(world.settle("q", resolved("1")), Err(Rejection::NoPromise(id("q"))));
}

#[test]
fn ids_below_a_root_are_made_by_its_steps_only() {
    let mut world = World::new();
    let reserved = Err(Rejection::Id(IdError::Reserved("a:1".into())));
    assert_eq!(world.put(Op::CreatePromise { id: id("a:1"), param: text(""), timeout_at: FAR }), reserved);
    assert_eq!(world.invoke("a:1", "buy", FAR), reserved);
}

#[test]
fn an_id_stands_for_one_thing() {
    let mut world = World::new();
    world.start("a").promise("p", FAR);
    world.turn("a").asks(sleep(5000)).waits();
    let taken = |result| matches!(result, Err(Rejection::Taken { .. }));
    assert!(taken(world.put(Op::CreatePromise { id: id("a"), param: text(""), timeout_at: FAR })));
    assert!(taken(world.invoke("p", "buy", FAR)));
    assert!(taken(world.invoke("a", "pay", FAR)));
    let (function, arguments) = ("buy".into(), text("[1]"));
    assert!(taken(world.put(Op::Invoke { id: id("a"), function, arguments, timeout_at: FAR, seed: 0 })));
    assert_eq!(world.invoke("a", "buy", 2000), Ok(Reply::Promise { created: false }));
    assert_eq!(world.get("a").timeout_at, FAR);
}
