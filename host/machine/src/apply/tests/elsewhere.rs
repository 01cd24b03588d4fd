//! Promises with clients elsewhere: their tasks, what they are told, and how executions of this host meet them.

use super::conformance::{DONE, WORKERS, holder, new, settlement, tags, task};
use super::*;

#[test]
fn a_suspended_task_goes_on_once_anything_is_settled() {
    let mut world = World::new();
    world.held("task", FAR).external("a", FAR).external("b", FAR);
    assert_eq!(world.suspend("task", 1, &["a", "b"]), DONE);
    assert_eq!((world.claimed("task"), world.claim("task").due_at), ((TaskState::Suspended, 1), None));
    world.at(1010).ask(Request::SettlePromise(settlement("b", resolved("1")))).unwrap();
    assert!(world.offered("task"));
    assert_eq!(world.claimed("task"), (TaskState::Runnable, 1));
    // A second one is remembered, and once only.
    world.ask(Request::SettlePromise(settlement("a", resolved("1")))).unwrap();
    assert!(!world.offered("task"));
    assert_eq!(world.claim("task").resumes, [id("a"), id("b")].into());
    assert_eq!(world.take("task", 1), DONE);
    assert_eq!((world.claimed("task"), world.claim("task").resumes.len()), ((TaskState::Acquired, 2), 0));
}

#[test]
fn suspending_makes_sense_or_is_refused() {
    let mut world = World::new();
    world.held("task", FAR).external("a", FAR);
    assert_eq!(world.suspend("task", 1, &[]), Err(Refusal::AwaitsNothing));
    assert_eq!(world.suspend("task", 1, &["a", "task"]), Err(Refusal::AwaitsItself));
    assert_eq!(world.suspend("task", 1, &["a", "a"]), Err(Refusal::AwaitsTwice));
    assert_eq!(world.suspend("task", 1, &["a", "none"]), Err(Refusal::AwaitedMissing));
    assert_eq!(world.suspend("task", 2, &["a"]), Err(Refusal::NotHeld));
    assert_eq!(world.suspend("none", 1, &["a"]), Err(Refusal::NoTask));
    assert!(world.get("a").foreign.as_ref().unwrap().callbacks.is_empty());
}

#[test]
fn a_task_is_offered_again_until_somebody_takes_it() {
    let mut world = World::new();
    world.targeted("task", FAR);
    assert!(world.offered("task"));
    world.at(5999).expire("task");
    assert!(!world.offered("task"));
    world.at(6000).expire("task");
    assert!(world.offered("task"));
    assert_eq!(world.claim("task").due_at, Some(11_000));
    world.take("task", 0).unwrap();
    world.ask(Request::Release(task("task", 1))).unwrap();
    assert!(world.offered("task"));
}

#[test]
fn a_delay_holds_the_first_offer_back() {
    let mut world = World::new();
    let delayed = |delay: &str| tags(&[(TARGET, WORKERS), (DELAY, delay)]);
    assert_eq!(world.create("task", FAR, delayed("3000")), DONE);
    assert!(!world.offered("task"));
    world.at(2999).expire("task");
    assert!(!world.offered("task"));
    world.at(3000).expire("task");
    assert!(world.offered("task"));
    for bad in ["-1", "x", "1000000"] {
        assert_eq!(world.create("bad", FAR, delayed(bad)), Err(Refusal::Delay), "{bad}");
    }
    assert_eq!(world.create("bad", FAR, tags(&[(DELAY, "3000")])), Err(Refusal::Delay));
}

#[test]
fn a_timer_has_no_worker() {
    let mut world = World::new();
    let both = |more: &[(&str, &str)]| {
        let mut all = tags(&[(TARGET, WORKERS), (TIMER, "true")]);
        all.extend(tags(more));
        all
    };
    assert_eq!(world.create("timer", FAR, both(&[])), Err(Refusal::TimerWithTarget));
    let create = Request::CreateTask { holder: holder("w"), promise: new("timer", FAR, both(&[])) };
    assert_eq!(world.ask(create), Err(Refusal::TimerWithTarget));
    // A sleep as a library writes it: a timer all the same, and nobody is offered anything.
    assert_eq!(world.create("sleep", 2000, both(&[(SCOPE, "global")])), DONE);
    assert!(!world.offered("sleep") && world.get("sleep").claim().is_none());
    world.at(2000).expire("sleep");
    assert_eq!(world.state("sleep"), PromiseState::Resolved);
}

#[test]
fn a_task_that_is_made_and_taken_at_once_is_not_offered() {
    let mut world = World::new();
    let create = |tags: Tags| Request::CreateTask { holder: holder("w"), promise: new("task", FAR, tags) };
    assert_eq!(world.ask(create(Tags::new())), Err(Refusal::NoTarget));
    assert_eq!(world.ask(create(tags(&[(TARGET, WORKERS)]))), DONE);
    assert!(!world.offered("task"));
    assert_eq!((world.claimed("task"), world.claim("task").due_at), ((TaskState::Acquired, 1), Some(1100)));
    assert_eq!(world.ask(create(tags(&[(TARGET, WORKERS)]))), Err(Refusal::NotOffered));
    world.create("bare", FAR, Tags::new()).unwrap();
    let bare = Request::CreateTask { holder: holder("w"), promise: new("bare", FAR, tags(&[(TARGET, WORKERS)])) };
    assert_eq!(world.ask(bare), Err(Refusal::PromiseHasNoTarget));
    // Made after its deadline it is over, at its deadline.
    let late = Request::CreateTask { holder: holder("w"), promise: new("late", 500, tags(&[(TARGET, WORKERS)])) };
    assert_eq!(world.ask(late), DONE);
    assert_eq!((world.settled("late"), world.claimed("late").1), ((Outcome::TimedOut, 500), 0));
    assert_eq!(world.get("late").created_at, 500);
}

#[test]
fn a_halted_task_stops_until_it_is_continued() {
    let mut world = World::new();
    world.held("task", FAR).external("a", FAR);
    world.suspend("task", 1, &["a"]).unwrap();
    assert_eq!(world.ask(Request::Halt { id: id("task") }), DONE);
    assert_eq!(world.ask(Request::Halt { id: id("task") }), DONE);
    world.ask(Request::SettlePromise(settlement("a", resolved("1")))).unwrap();
    assert!(!world.offered("task"));
    assert_eq!((world.claimed("task").0, world.claim("task").resumes.len()), (TaskState::Held, 1));
    assert_eq!(world.ask(Request::Continue { id: id("task") }), DONE);
    assert!(world.offered("task"));
    assert_eq!(world.ask(Request::Continue { id: id("task") }), Err(Refusal::NotHalted));
}

#[test]
fn listeners_are_told_until_they_have_been() {
    let mut world = World::new();
    world.external("p", FAR);
    world.listen("p", "poll://uni@g/a").unwrap();
    world.listen("p", "https://b").unwrap();
    assert_eq!(world.listen("p", "nowhere"), Err(Refusal::Address));
    world.ask(Request::SettlePromise(settlement("p", resolved("1")))).unwrap();
    let told = |world: &World| {
        let address = |effect: &Effect| match effect {
            Effect::Unblock { address, .. } => Some(address.clone()),
            _ => None,
        };
        world.effects.iter().filter_map(address).collect::<Vec<_>>()
    };
    assert_eq!(told(&world), ["https://b", "poll://uni@g/a"]);
    world.put(Op::Told { id: id("p"), address: "https://b".into() }).unwrap();
    world.at(1999).expire("p");
    assert!(told(&world).is_empty());
    let (mut now, mut times) = (2000, 0);
    while let Some((at, _)) = world.state.deadlines.first().cloned() {
        assert!(at >= now);
        now = at;
        world.at(now).expire("p");
        times += told(&world).len();
    }
    // Nobody is there: that, too, ends.
    assert_eq!(times, 15);
    assert_eq!(world.get("p").foreign.as_ref().unwrap().untold, None);
}

#[test]
fn ids_and_tags_of_a_lineage_agree() {
    let mut world = World::new();
    let origin = |origin: &str| tags(&[(ORIGIN, origin)]);
    for (of, above) in [("app:1.2", "app"), ("app.1.2", "app"), ("my.app.1", "my.app"), ("app", "app")] {
        assert_eq!(world.create(of, FAR, origin(above)), DONE, "{of}");
    }
    for (of, above) in [("apple", "app"), ("other:1", "app"), ("app:1.2", "app:1")] {
        assert_eq!(world.create(&format!("{of}x"), FAR, origin(above)), Err(Refusal::Lineage), "{of}");
    }
    assert_eq!(world.create("b:1", FAR, tags(&[(PARENT, "c")])), Err(Refusal::Lineage));
    assert_eq!(world.create("b:1", FAR, tags(&[(TARGET, "nowhere")])), Err(Refusal::Address));
}

#[test]
fn a_branch_knows_its_promises() {
    let mut world = World::new();
    world.held("task", FAR);
    world.create("task:1", FAR, tags(&[(BRANCH, "task")])).unwrap();
    world.create("task:2", FAR, tags(&[(BRANCH, "task:2")])).unwrap();
    assert_eq!(world.get("task").foreign.as_ref().unwrap().branch, [id("task:1")].into());
}

#[test]
fn a_guest_calls_a_worker_elsewhere() {
    let mut world = World::new();
    world.start("a");
    let call = |target: &str| Ask::Call {
        function: "greet".into(),
        arguments: text("[1]"),
        options: CallOptions { target: Some(target.into()), ..CallOptions::default() },
        detached: false,
    };
    world.turn("a").asks(call(WORKERS)).waits();
    assert!(world.offered("a:1"));
    assert_eq!(world.claimed("a:1"), (TaskState::Runnable, 0));
    let lineage = world.get("a:1").given_tags().unwrap();
    assert_eq!(lineage[ORIGIN], "a");
    world.take("a:1", 0).unwrap();
    let fulfill = Request::Fulfill { task: task("a:1", 1), settlement: settlement("a:1", resolved("2")) };
    assert_eq!(world.ask(fulfill), DONE);
    assert_eq!(world.answer("a", 1), Completion::Settled(resolved("2")));
    world.turn("a").asks(call("nowhere")).waits();
    assert!(matches!(world.answer("a", 2), Completion::Refused(why) if why.contains("no address")));
    // What is cancelled with its caller is no task any more.
    world.turn("a").asks(call(WORKERS)).waits();
    world.settle("a", Outcome::Canceled).unwrap();
    assert_eq!(world.claimed("a:3").0, TaskState::Fulfilled);
}

#[test]
fn a_promise_for_this_host_is_an_execution() {
    let mut world = World::new();
    let mut promise = new("a", FAR, tags(&[(TARGET, "poll://any@wasm")]));
    promise.template.call = Some(Call::Function { name: "buy".into(), seed: 7 });
    promise.template.param = text("[]");
    assert_eq!(world.ask(Request::CreatePromise(promise.clone())), DONE);
    assert_eq!(world.effects, [Effect::Runnable(id("a"))]);
    assert_eq!(world.get("a").task_view("wasm").unwrap().state, "pending");
    // It is nobody else's to take, and can be waited for.
    assert_eq!(world.take("a", 0), Err(Refusal::NotOffered));
    world.held("worker", FAR);
    assert_eq!(world.suspend("worker", 1, &["a"]), DONE);
    world.acquire("a").unwrap();
    world.turn("a").finishes("5");
    assert!(world.offered("worker"));
    // A function that isn't there, and a call that is none, are the caller's to hear of.
    for (of, call) in
        [("b", Call::Function { name: "none".into(), seed: 7 }), ("c", Call::Nonsense("it makes no sense".into()))]
    {
        promise.id = id(of);
        promise.template.call = Some(call);
        assert_eq!(world.ask(Request::CreatePromise(promise.clone())), DONE);
        assert_eq!(world.state(of), PromiseState::Crashed);
    }
}

#[test]
fn an_execution_can_be_halted_and_continued() {
    let mut world = World::new();
    world.start("a");
    assert_eq!(world.ask(Request::Halt { id: id("a") }), DONE);
    assert_eq!((world.task("a"), &world.effects[..]), (TaskState::Held, &[Effect::Stop(id("a"))][..]));
    assert_eq!(world.ask(Request::Continue { id: id("a") }), DONE);
    assert_eq!((world.task("a"), &world.effects[..]), (TaskState::Runnable, &[Effect::Runnable(id("a"))][..]));
}

#[test]
fn promises_and_steps_are_not_in_each_others_way() {
    let mut world = World::new();
    world.start("a");
    assert_eq!(world.create("a:1", FAR, Tags::new()), Err(Refusal::StepOfExecution));
    assert_eq!(world.create("a:1.2", FAR, Tags::new()), Err(Refusal::StepOfExecution));
    // The other way round the execution says why it can't go on.
    world.create("b:1", FAR, Tags::new()).unwrap();
    world.start("b");
    world.turn("b").asks(Ask::CreatePromise { timeout_ms: None }).waits();
    let (outcome, _) = world.settled("b");
    assert!(matches!(&outcome, Outcome::Crashed(why) if why.contains("b:1")), "{outcome:?}");
}

#[test]
fn a_guest_does_not_wait_for_an_internal_promise() {
    let mut world = World::new();
    world.create("p", FAR, Tags::new()).unwrap();
    world.start("a");
    world.turn("a").asks(Ask::AwaitPromise { id: "p".into() }).waits();
    assert!(matches!(world.answer("a", 1), Completion::Refused(why) if why.contains("internal")));
}

#[test]
fn everything_can_be_forgotten() {
    let mut world = World::new();
    world.start("a").held("task", FAR);
    world.put(Op::Reset).unwrap();
    assert!(world.state.promises.is_empty() && world.state.deadlines.is_empty());
    assert_eq!(world.effects, [Effect::Reset]);
    assert!(!world.state.components.is_empty());
}

#[test]
fn no_more_are_told_of_a_promise_than_can_be() {
    let mut world = World::new();
    world.external("a", FAR);
    let address = |n: usize| format!("poll://uni@g/{n}");
    let listeners = (0..1_000).map(address).collect();
    world.state.promise_mut(&id("a")).unwrap().foreign_mut().listeners = listeners;
    let mut listen = |address| world.ask(Request::RegisterListener { awaited: id("a"), address });
    assert_eq!(listen(address(1_000)), Err(Refusal::ManyListeners));
    assert_eq!(listen(address(999)), DONE, "it is told already");
}

#[test]
fn an_execution_has_room_for_the_ids_of_its_steps() {
    let mut world = World::new();
    for (length, is_one) in [(1013, true), (1014, false)] {
        let long = format!("a:{}", "b".repeat(length - 2));
        let mut promise = new(&long, FAR, tags(&[(TARGET, "poll://any@wasm")]));
        promise.template.call = Some(Call::Function { name: "buy".into(), seed: 7 });
        assert_eq!(world.ask(Request::CreatePromise(promise)), DONE);
        assert_eq!(world.get(&long).execution.is_some(), is_one, "{length} bytes");
    }
}
