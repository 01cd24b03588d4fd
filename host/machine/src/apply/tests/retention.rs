//! What is forgotten, and when.

use super::*;

impl World {
    /// Forget these, each of which comes after those below it.
    fn forget(&mut self, root: &str, ids: &[&str], retention_ms: u64) -> Result<usize, &'static str> {
        let ids = ids.iter().map(|text| id(text)).collect();
        match self.put(Op::Forget { trees: vec![Old { root: id(root), ids, retention_ms }] }) {
            Ok(Reply::Forgotten { count }) => Ok(count),
            Err(Rejection::Needed { why, .. }) => Err(why),
            other => panic!("it gave {other:?}"),
        }
    }

    fn has(&self, of: &str) -> bool {
        self.state.promises.contains_key(&id(of))
    }
}

#[test]
fn what_has_ended_is_kept_for_its_retention_and_then_goes() {
    let mut world = World::new();
    world.start("a").turn("a").asks(sleep(1500)).waits();
    assert_eq!(world.forget("a", &["a"], 0), Err("it has not ended"));
    world.at(1500).expire("a:1");
    world.turn("a").told(1).writes("line").finishes("1");
    assert_eq!(world.at(2499).forget("a", &["a:1", "a"], 1000), Err("it has not ended long enough ago"));
    assert_eq!(world.at(2500).forget("a", &["a:1", "a"], 1000), Ok(2));
    assert!(world.state.promises.is_empty() && world.state.journals.is_empty() && world.state.outputs.is_empty());
    assert_eq!(world.forget("a", &["a:1", "a"], 1000), Ok(0));
}

#[test]
fn a_tree_goes_in_parts_from_below() {
    let mut world = World::new();
    world.start("a").turn("a").asks(call("buy")).asks(call("pay")).waits();
    for child in ["a:1", "a:2"] {
        world.acquire(child).unwrap();
        world.turn(child).finishes("1");
    }
    world.turn("a").told(1).rests(Rest::Finished(resolved("1"))).unwrap();
    assert_eq!(world.forget("a", &["a"], 0), Ok(0), "there is something below it");
    assert_eq!(world.forget("a", &["a:2"], 0), Ok(1));
    assert_eq!((world.has("a"), world.has("a:1"), world.has("a:2")), (true, true, false));
    assert_eq!(
        world.forget("a:1", &["a:1"], 0),
        Err("it is a part of the execution that called it, and goes with that")
    );
    assert_eq!(world.forget("a", &["b", "a:1", "a"], 0), Ok(2));
}

#[test]
fn a_tree_is_needed_while_anything_of_it_runs_on() {
    let mut world = World::new();
    world.start("a").turn("a").asks(detached("buy", CallOptions::default())).asks(call_as("buy", "other")).waits();
    world.turn("a").finishes("1");
    let runs_on = Err("something that it called has not ended");
    assert_eq!(world.forget("a", &["a"], 0), runs_on);
    world.settle("a:1", Outcome::Canceled).unwrap();
    assert_eq!(world.forget("a", &["a:1", "a"], 0), runs_on);
    world.settle("other", Outcome::Canceled).unwrap();
    assert_eq!(world.forget("a", &["a:1", "a"], 0), Ok(2));
    assert!(world.has("other"), "it is a tree of its own");
    assert_eq!(world.forget("other", &["other"], 0), Ok(1));
}

#[test]
fn what_an_execution_called_is_kept_until_that_has_ended() {
    let mut world = World::new();
    world.start("a").turn("a").asks(call_as("buy", "other")).waits();
    world.settle("other", resolved("1")).unwrap();
    assert_eq!(world.at(9000).forget("other", &["other"], 0), Err("the execution that called it has not ended"));
    world.turn("a").told(1).finishes("1");
    assert_eq!(world.forget("other", &["other"], 0), Ok(1));
}

#[test]
fn whoever_waited_has_the_answer_though_the_promise_is_forgotten() {
    let mut world = World::new();
    world.promise("p", FAR).start("a").turn("a").asks(wait_for("p")).waits();
    world.settle("p", resolved("7")).unwrap();
    assert_eq!(world.forget("p", &["p"], 0), Ok(1));
    world.turn("a").told(1).waits();
    assert_eq!(world.told("a"), [(1, Completion::Settled(resolved("7")))]);
}

#[test]
fn an_id_can_be_used_anew() {
    let mut world = World::new();
    world.start("a").turn("a").finishes("1");
    assert!(world.invoke("a", "pay", FAR).unwrap_err().to_string().contains("taken"));
    assert_eq!(world.forget("a", &["a"], 0), Ok(1));
    assert_eq!(world.invoke("a", "pay", FAR), Ok(Reply::Promise { created: true }));
    assert_eq!(world.effects, [Effect::Runnable(id("a"))]);
    assert_eq!((world.execution("a").entries, world.execution("a").task.version), (1, 0));
}

#[test]
fn what_a_worker_elsewhere_asks_for_again_is_kept_while_it_works() {
    let mut world = World::new();
    let part_of = |whole: &str| Tags::from([(PARENT.into(), whole.into()), (SCOPE.into(), "local".into())]);
    world.create("foo", FAR, Tags::from([(TARGET.into(), "poll://any@workers".into())])).unwrap();
    world.create("foo.0", FAR, part_of("foo")).unwrap();
    world.settle("foo.0", resolved("1")).unwrap();
    let is_part = Err("what its tags say that it is a part of has not ended");
    assert_eq!(world.at(9000).forget("foo.0", &["foo.0"], 0), is_part);
    world.create("t", FAR, part_of("t")).unwrap();
    world.create("t:3", FAR, part_of("t")).unwrap();
    world.create("t:3.1", FAR, part_of("t:3")).unwrap();
    for ended in ["t", "t:3.1"] {
        world.settle(ended, resolved("1")).unwrap();
    }
    assert_eq!(world.forget("t", &["t:3.1"], 0), Ok(0));
    for ended in ["foo", "t:3"] {
        world.settle(ended, resolved("1")).unwrap();
    }
    assert_eq!(world.forget("foo.0", &["foo.0"], 0), Ok(1));
    assert_eq!(world.forget("t", &["t:3.1", "t:3", "t"], 0), Ok(3));
}

#[test]
fn a_part_of_what_is_in_another_partition_is_kept_until_its_deadline() {
    let mut world = World::new();
    let (whole, part) = (0..)
        .map(|n| (format!("foo{n}"), format!("foo{n}.x")))
        .find(|(whole, part)| id(whole).partition() != id(part).partition())
        .unwrap();
    world.state.partition = Some(id(&part).partition());
    world.create(&part, 5000, Tags::from([(ORIGIN.into(), whole)])).unwrap();
    world.settle(&part, resolved("1")).unwrap();
    let is_part = Err("what its tags say that it is a part of has not ended");
    assert_eq!(world.at(4999).forget(&part, &[&part], 0), is_part);
    assert_eq!(world.at(5000).forget(&part, &[&part], 0), Ok(1));
}

#[test]
fn what_a_worker_left_behind_ends_by_itself() {
    let mut world = World::new();
    world.create("foo.0", 5000, Tags::from([(SCOPE.into(), "local".into())])).unwrap();
    assert_eq!((world.get("foo.0").due_at(), world.get("foo.0").ends_at()), (None, Some(5000)));
    assert_eq!(world.at(4999).forget("foo.0", &["foo.0"], 0), Err("it has not ended"));
    assert_eq!(world.at(5999).forget("foo.0", &["foo.0"], 1000), Err("it has not ended long enough ago"));
    assert_eq!(world.at(6000).forget("foo.0", &["foo.0"], 1000), Ok(1));
}
