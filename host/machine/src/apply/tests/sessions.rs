//! Who may record progress, and what a turn leaves behind.

use super::*;

#[test]
fn an_execution_starts_runnable_and_its_journal_with_it() {
    let mut world = World::new();
    assert_eq!(world.invoke("a", "buy", FAR), Ok(Reply::Promise { created: true }));
    assert_eq!(world.effects, [Effect::Runnable(id("a"))]);
    assert_eq!(world.execution("a").task, Task { state: TaskState::Runnable, version: 0 });
    let started = Entry::Started { component: Digest([1; 32]), seed: 7, now: 1000 };
    assert_eq!(world.state.journals[&id("a")], [started]);
    assert_eq!(world.invoke("b", "nothing", FAR), Err(Rejection::NoFunction("nothing".into())));
}

#[test]
fn an_execution_that_is_called_too_late_ends_where_it_begins() {
    let mut world = World::new();
    world.invoke("a", "buy", 900).unwrap();
    assert_eq!(world.effects, []);
    assert_eq!(world.settled("a"), (Outcome::TimedOut, 900));
    let finished = Entry::Finished { state: PromiseState::TimedOut, now: 900 };
    assert_eq!(world.state.journals[&id("a")][1..], [finished]);
    assert_eq!(world.acquire("a"), Err(Rejection::Stale(id("a"))));
}

#[test]
fn only_the_latest_session_records() {
    let mut world = World::new();
    world.invoke("a", "buy", FAR).unwrap();
    let stale = Err(Rejection::Stale(id("a")));
    assert_eq!(world.turn("a").asks(sleep(5000)).rests(Rest::Waiting), stale, "nobody has acquired it");
    assert_eq!(world.acquire("a"), Ok(Reply::Acquired { version: 1 }));
    assert_eq!(world.acquire("a"), Ok(Reply::Acquired { version: 2 }));
    for version in [0, 1, 3] {
        assert_eq!(world.turn("a").version(version).asks(sleep(5000)).rests(Rest::Waiting), stale);
        assert_eq!(world.put(Op::Hold { id: id("a"), version, reason: "why".into() }), stale);
    }
    world.turn("a").version(2).asks(sleep(5000)).waits();
}

#[test]
fn what_is_no_execution_has_no_sessions() {
    let mut world = World::new();
    world.promise("p", FAR);
    assert_eq!(world.acquire("p"), Err(Rejection::NoExecution(id("p"))));
    assert_eq!(world.acquire("q"), Err(Rejection::NoPromise(id("q"))));
    let hold = Op::Hold { id: id("p"), version: 1, reason: "why".into() };
    assert_eq!(world.put(hold), Err(Rejection::NoExecution(id("p"))));
}

#[test]
fn the_versions_of_a_task_can_run_out() {
    let mut world = World::new();
    world.start("a");
    world.state.promise_mut(&id("a")).unwrap().execution.as_mut().unwrap().task.version = u32::MAX;
    assert_eq!(world.acquire("a"), Err(Rejection::Stale(id("a"))));
}

#[test]
fn a_suspended_execution_is_acquired_by_nobody_and_its_session_goes_on() {
    let mut world = World::new();
    world.start("a").promise("p", FAR);
    world.turn("a").asks(wait_for("p")).waits();
    assert_eq!(world.task("a"), TaskState::Suspended);
    assert_eq!(world.acquire("a"), Err(Rejection::Stale(id("a"))));
    world.settle("p", resolved("1")).unwrap();
    assert_eq!(world.effects, [Effect::Runnable(id("a")), Effect::Settled(id("p"))]);
    world.turn("a").version(1).told(1).finishes("2");
    assert_eq!(world.settled("a"), (resolved("2"), 1000));
}

#[test]
fn a_turn_is_one_run_of_the_journal() {
    let mut world = World::new();
    world.start("a");
    world.turn("a").asks(sleep(2000)).asks(sleep(3000)).writes("one").writes("two").waits();
    world.at(2000).expire("a:1");
    world.turn("a").told(1).drops(2).asks(sleep(9000)).writes("three").finishes("1");
    let lines: Vec<String> = world.state.journals[&id("a")].iter().map(|entry| entry.to_string()).collect();
    let expected = [
        "started",
        "step 1: sleep until 2000",
        "step 2: sleep until 3000",
        "told of step 1: resolved ",
        "step 2 no longer awaited",
        "step 3: sleep until 9000",
        "finished: resolved",
    ];
    assert_eq!(lines, expected);
    assert_eq!(world.state.outputs[&id("a")].len(), 3);
}

#[test]
fn answers_are_told_in_the_order_in_which_they_came_or_in_another() {
    let mut world = World::new();
    world.start("a").promise("p", FAR).promise("q", FAR);
    world.turn("a").asks(wait_for("p")).asks(wait_for("q")).waits();
    world.settle("q", resolved("q")).unwrap();
    world.settle("p", resolved("p")).unwrap();
    assert_eq!(world.ready("a"), [2, 1]);
    world.turn("a").told(1).waits();
    assert_eq!(world.task("a"), TaskState::Runnable, "there is something left to tell");
    world.turn("a").told(2).waits();
    assert_eq!(world.task("a"), TaskState::Suspended);
    let settled = |value| Completion::Settled(resolved(value));
    assert_eq!(world.told("a"), [(1, settled("p")), (2, settled("q"))]);
}

#[test]
fn a_session_in_the_middle_of_a_turn_is_not_suspended() {
    let mut world = World::new();
    world.start("a");
    assert_eq!(world.turn("a").asks(sleep(5000)).rests(Rest::Running), Ok(Reply::Progressed));
    assert_eq!(world.task("a"), TaskState::Runnable);
    world.turn("a").waits();
    assert_eq!(world.task("a"), TaskState::Suspended);
    world.turn("a").rests(Rest::Running).unwrap();
    assert_eq!(world.task("a"), TaskState::Runnable, "after a crash it must be found");
}

#[test]
fn an_execution_past_its_deadline_records_nothing() {
    let mut world = World::new();
    world.start_until("a", 2000);
    let late = world.at(2000).turn("a").asks(sleep(5000)).rests(Rest::Finished(resolved("1")));
    assert_eq!(late, Err(Rejection::Stale(id("a"))));
    assert_eq!(world.settled("a"), (Outcome::TimedOut, 2000));
    assert_eq!(world.effects, [Effect::Stop(id("a")), Effect::Settled(id("a"))]);
}

#[test]
fn a_held_execution_stays_as_it_is_until_it_is_ended() {
    let mut world = World::new();
    world.start("a").promise("p", FAR);
    world.turn("a").asks(wait_for("p")).waits();
    world.put(Op::Hold { id: id("a"), version: 1, reason: "why".into() }).unwrap();
    assert_eq!(world.execution("a").held.as_deref(), Some("why"));
    world.settle("p", resolved("1")).unwrap();
    assert_eq!((world.task("a"), world.ready("a")), (TaskState::Held, vec![1]));
    assert_eq!(world.effects, [Effect::Settled(id("p"))], "nobody is to run it");
    let stale = Err(Rejection::Stale(id("a")));
    assert_eq!(world.acquire("a"), stale);
    assert_eq!(world.turn("a").told(1).rests(Rest::Waiting), stale);
    assert_eq!(world.put(Op::Hold { id: id("a"), version: 1, reason: "again".into() }), stale);
    world.settle("a", Outcome::Canceled).unwrap();
    assert_eq!((world.task("a"), world.state("a")), (TaskState::Fulfilled, PromiseState::Canceled));
}

#[test]
fn a_turn_in_which_nothing_happened_changes_nothing() {
    let mut world = World::new();
    world.start("a");
    let before = world.state.clone();
    // That it says so is checked after each record.
    world.turn("a").rests(Rest::Running).unwrap();
    assert_eq!(world.state, before);
}

#[test]
fn a_malformed_turn_leaves_nothing_behind() {
    let mut world = World::new();
    world.start("a").promise("p", FAR);
    world.turn("a").asks(wait_for("p")).asks(work("w")).asks(new_promise(None)).asks(call("pay")).waits();
    let asked = |step| Event::Asked { step, ask: sleep(9000) };
    let unasked = "for which it didn't wait";

    world.turn("a").told(1).malformed("told of step 1, which has no answer");
    world.turn("a").told(9).malformed("told of step 9");
    // Each time, something that is fine comes first. `World::put` sees to it that nothing of that is kept.
    world.turn("a").asks(sleep(9000)).event(asked(7)).malformed("asked step 7 after step 5");
    world.turn("a").asks(sleep(9000)).event(asked(5)).malformed("asked step 5 after step 5");
    world.turn("a").event(asked(0)).malformed("asked step 0 after step 4");
    world.turn("a").asks(sleep(9000)).drops(6).malformed(unasked);
    world.turn("a").drops(0).malformed(unasked);
    world.turn("a").drops(1).drops(1).malformed(unasked);
    world.turn("a").asks(sleep(9000)).drops(5).drops(5).malformed(unasked);
    world.turn("a").drops(2).malformed(unasked);
    world.turn("a").drops(3).malformed(unasked);
    world.turn("a").records(2, resolved("1")).records(2, resolved("2")).malformed("recorded step 2");
    for step in [0, 1, 3, 4, 5] {
        world.turn("a").records(step, resolved("1")).malformed("which it hadn't begun");
    }
    world.turn("a").records(2, Outcome::TimedOut).malformed("recorded step 2 as timed_out");
    world.turn("a").asks(settle("p", Outcome::TimedOut)).malformed("settles a promise as timed_out");
    let finished = world.turn("a").rests(Rest::Finished(Outcome::TimedOut));
    assert!(matches!(finished, Err(Rejection::Malformed { .. })));

    world.settle("p", resolved("1")).unwrap();
    world.turn("a").told(1).drops(1).malformed(unasked);
    world.turn("a").told(1).waits();
    world.turn("a").told(1).malformed("told of step 1");
    world.turn("a").drops(1).malformed(unasked);
    world.turn("a").drops(4).waits();
    world.turn("a").drops(4).malformed(unasked);
}

#[test]
fn a_journal_that_is_full_is_no_reason_to_panic() {
    let mut world = World::new();
    world.start("a");
    let room = |world: &mut World, entries| {
        let mut state = world.state.clone();
        let execution = state.promise_mut(&id("a")).unwrap().execution.as_mut().unwrap();
        (execution.entries, execution.bounds.entries) = (entries, u32::MAX);
        let progress = world.turn("a").asks(sleep(9000)).progress;
        let reply = apply(&mut state, Record { now: 1000, op: Op::Progress(progress) }).reply;
        apply(&mut state, Record { now: 1000, op: Op::Settle { id: id("a"), outcome: Outcome::Canceled } });
        assert_eq!(state.promises[&id("a")].state(), PromiseState::Canceled);
        reply.is_ok()
    };
    assert!(room(&mut world, u32::MAX - 3));
    assert!(!room(&mut world, u32::MAX - 2), "the last entry is that of the end");
    assert!(!room(&mut world, u32::MAX - 1));
}
