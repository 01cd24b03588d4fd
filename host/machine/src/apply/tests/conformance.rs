//! The twelve questions of conformance that the specification of the promise protocol has one answer for (part C), of
//! which the twelfth is about HTTP: see `tests/`. And the helpers of all tests of the protocol's rules.

use super::*;

/// An address of workers.
pub(super) const WORKERS: &str = "poll://any@workers";

pub(super) fn tags(tags: &[(&str, &str)]) -> Tags {
    tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn new(of: &str, timeout_at: u64, tags: Tags) -> NewPromise {
    let template = Template { param: Payload::new(), form: Form::default(), tags, call: None };
    NewPromise { id: id(of), timeout_at, template }
}

pub(super) fn holder(pid: &str) -> Holder {
    Holder { pid: pid.into(), ttl_ms: 100 }
}

pub(super) fn task(of: &str, version: u32) -> TaskRef {
    TaskRef { id: id(of), version }
}

pub(super) fn settlement(of: &str, outcome: Outcome) -> Settlement {
    Settlement { id: id(of), outcome, form: Form::default() }
}

pub(super) const DONE: Result<Granted, Refusal> = Ok(Granted::Done);

impl World {
    /// What a request comes to.
    pub(super) fn ask(&mut self, request: Request) -> Result<Granted, Refusal> {
        match self.put(Op::Request(Box::new(request))) {
            Ok(Reply::Granted(granted)) => Ok(granted),
            Err(Rejection::Refused(refusal)) => Err(refusal),
            other => panic!("requests are granted or refused: {other:?}"),
        }
    }

    pub(super) fn create(&mut self, of: &str, timeout_at: u64, tags: Tags) -> Result<Granted, Refusal> {
        self.ask(Request::CreatePromise(new(of, timeout_at, tags)))
    }

    /// A promise that somebody outside settles.
    pub(super) fn external(&mut self, of: &str, timeout_at: u64) -> &mut World {
        assert_eq!(self.create(of, timeout_at, tags(&[(EXTERNAL, "true")])), DONE);
        self
    }

    /// A promise with a task for workers elsewhere.
    pub(super) fn targeted(&mut self, of: &str, timeout_at: u64) -> &mut World {
        assert_eq!(self.create(of, timeout_at, tags(&[(TARGET, WORKERS)])), DONE);
        self
    }

    /// A promise whose task a worker has, at version 1.
    pub(super) fn held(&mut self, of: &str, timeout_at: u64) -> &mut World {
        self.targeted(of, timeout_at);
        assert_eq!(self.take(of, 0), DONE);
        self
    }

    pub(super) fn take(&mut self, of: &str, version: u32) -> Result<Granted, Refusal> {
        self.ask(Request::Acquire { task: task(of, version), holder: holder("worker") })
    }

    pub(super) fn suspend(&mut self, of: &str, version: u32, awaited: &[&str]) -> Result<Granted, Refusal> {
        let awaited = awaited.iter().map(|of| id(of)).collect();
        self.ask(Request::Suspend { task: task(of, version), awaited })
    }

    pub(super) fn callback(&mut self, awaited: &str, awaiter: &str) -> Result<Granted, Refusal> {
        self.ask(Request::RegisterCallback { awaited: id(awaited), awaiter: id(awaiter) })
    }

    pub(super) fn listen(&mut self, awaited: &str, address: &str) -> Result<Granted, Refusal> {
        self.ask(Request::RegisterListener { awaited: id(awaited), address: address.into() })
    }

    pub(super) fn heartbeat(&mut self, of: &str, version: u32) -> Result<Granted, Refusal> {
        self.ask(Request::Heartbeat { pid: "worker".into(), tasks: vec![task(of, version)] })
    }

    pub(super) fn claim(&self, of: &str) -> &Claim {
        self.get(of).claim().expect("it has a task")
    }

    pub(super) fn claimed(&self, of: &str) -> (TaskState, u32) {
        let task = &self.claim(of).task;
        (task.state, task.version)
    }

    /// Whether the last record offered a task.
    pub(super) fn offered(&self, of: &str) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Execute { id, .. } if id.as_str() == of))
    }

    fn is_watched(&self, of: &str) -> bool {
        self.state.deadlines.iter().any(|(_, watched)| watched.as_str() == of)
    }
}

#[test]
fn c1_deadlines_of_external_promises_are_watched_and_no_others() {
    let mut world = World::new();
    world.external("tagged", 2000).targeted("targeted", 2000);
    world.create("timer", 2000, tags(&[(TIMER, "true")])).unwrap();
    world.create("global", 2000, tags(&[(SCOPE, "global")])).unwrap();
    world.create("internal", 2000, tags(&[(SCOPE, "local")])).unwrap();
    world.create("bare", 2000, Tags::new()).unwrap();
    for of in ["tagged", "targeted", "timer", "global"] {
        assert!(world.is_watched(of), "{of} is watched");
    }
    for of in ["internal", "bare"] {
        assert!(!world.is_watched(of), "{of} isn't watched");
    }
    let due = world.at(2000).state.due(2000);
    world.put(Op::Expire { ids: due }).unwrap();
    assert_eq!(world.state("timer"), PromiseState::Resolved);
    assert_eq!((world.state("tagged"), world.state("bare")), (PromiseState::TimedOut, PromiseState::Pending));
    // Whoever looks at an internal one finds its deadline passed all the same.
    world.ask(Request::SettlePromise(settlement("bare", resolved("1")))).unwrap();
    assert_eq!(world.settled("bare"), (Outcome::TimedOut, 2000));
}

#[test]
fn c2_no_callback_on_an_internal_promise() {
    let mut world = World::new();
    world.held("worker", FAR);
    world.create("internal", FAR, Tags::new()).unwrap();
    assert_eq!(world.callback("internal", "worker"), Err(Refusal::Internal));
    assert_eq!(world.suspend("worker", 1, &["internal"]), Err(Refusal::AwaitedMissing));
    assert!(world.get("internal").foreign.as_ref().is_none_or(|foreign| foreign.callbacks.is_empty()));
}

#[test]
fn c3_no_listener_on_an_internal_promise() {
    let mut world = World::new();
    world.create("internal", FAR, Tags::new()).unwrap();
    assert_eq!(world.listen("internal", "poll://uni@g/a"), Err(Refusal::Internal));
    world.external("external", FAR);
    assert_eq!(world.listen("external", "poll://uni@g/a"), DONE);
}

#[test]
fn c4_creating_halting_and_continuing_a_task_see_a_passed_deadline() {
    let mut world = World::new();
    world.targeted("pending", 2000).held("held", 2000).targeted("halted", 2000);
    world.ask(Request::Halt { id: id("halted") }).unwrap();
    world.at(2000);
    let create = Request::CreateTask { holder: holder("w"), promise: new("pending", FAR, tags(&[(TARGET, WORKERS)])) };
    assert_eq!(world.ask(create), DONE);
    assert_eq!(world.claimed("pending"), (TaskState::Fulfilled, 0));
    assert_eq!(world.ask(Request::Halt { id: id("held") }), Err(Refusal::Fulfilled));
    assert_eq!(world.ask(Request::Continue { id: id("halted") }), Err(Refusal::NotHalted));
    assert!(!world.offered("halted"));
}

#[test]
fn c5_a_lease_and_an_offer_end_with_the_deadline() {
    let mut world = World::new();
    world.held("leased", 1050).targeted("offered", 1050);
    // Both would be due: the lease at 1100, the offer at 6000.
    for of in ["leased", "offered"] {
        world.at(7000).expire(of);
        assert!(!world.offered(of), "{of} is over");
        assert_eq!(world.settled(of), (Outcome::TimedOut, 1050));
        assert_eq!(world.claimed(of).0, TaskState::Fulfilled);
    }
}

#[test]
fn c6_an_awaiter_past_its_own_deadline_is_not_resumed() {
    let mut world = World::new();
    world.held("awaiter", 2000).external("awaited", FAR);
    assert_eq!(world.suspend("awaiter", 1, &["awaited"]), DONE);
    world.at(2000);
    world.ask(Request::SettlePromise(settlement("awaited", resolved("1")))).unwrap();
    assert!(!world.offered("awaiter"));
    assert_eq!(world.settled("awaiter"), (Outcome::TimedOut, 2000));
    assert_eq!(world.claimed("awaiter"), (TaskState::Fulfilled, 1));
}

#[test]
fn c7_a_heartbeat_keeps_nothing_past_its_deadline() {
    let mut world = World::new();
    world.held("task", 1050);
    assert_eq!(world.at(1049).heartbeat("task", 1), DONE);
    assert_eq!(world.claim("task").due_at, Some(1149));
    assert_eq!(world.at(1050).heartbeat("task", 1), DONE);
    assert_eq!((world.claim("task").due_at, world.claimed("task").0), (None, TaskState::Fulfilled));
}

#[test]
fn c8_every_answer_is_as_of_its_time() {
    // The rows that an answer shows are those after the request, and each request observes the deadline of what it shows.
    let requests: [fn(&str) -> Request; 6] = [
        |of| Request::CreatePromise(new(of, FAR, Tags::new())),
        |of| Request::SettlePromise(settlement(of, resolved("1"))),
        |of| Request::RegisterListener { awaited: id(of), address: WORKERS.into() },
        |of| Request::RegisterCallback { awaited: id(of), awaiter: id("other") },
        |of| Request::CreateTask { holder: holder("w"), promise: new(of, FAR, tags(&[(TARGET, WORKERS)])) },
        |of| Request::Fence { task: task("other", 1), action: Action::Create(new(of, FAR, Tags::new())) },
    ];
    for request in requests {
        let mut world = World::new();
        world.targeted("p", 1050).held("other", FAR);
        world.at(1050).ask(request("p")).unwrap();
        assert_eq!(world.settled("p"), (Outcome::TimedOut, 1050));
        assert_eq!(world.claimed("p").0, TaskState::Fulfilled);
    }
}

#[test]
fn c9_no_version_is_offered_that_the_task_does_not_have() {
    let mut world = World::new();
    let mut offers = Vec::new();
    world.targeted("task", FAR);
    for round in 0..4 {
        offers.extend(world.effects.iter().filter_map(|effect| match effect {
            Effect::Execute { version, address, .. } => Some((*version, address.clone())),
            _ => None,
        }));
        assert_eq!(world.take("task", round), DONE);
        world.at(2000 * u64::from(round + 1)).expire("task");
    }
    assert_eq!(offers, [0, 1, 2, 3].map(|version| (version, WORKERS.to_owned())));
    assert_eq!(world.take("task", 5), Err(Refusal::NotOffered));
}

#[test]
fn c10_one_worker_at_most_has_a_task() {
    let mut world = World::new();
    world.held("task", FAR);
    assert_eq!(world.take("task", 0), Err(Refusal::NotOffered));
    assert_eq!(world.take("task", 1), Err(Refusal::NotOffered));
    // The lease ends, and another one takes it: all that the first one could do is refused.
    world.at(1100).expire("task");
    assert!(world.offered("task"));
    assert_eq!(world.take("task", 1), DONE);
    let fenced = Action::Create(new("other", FAR, Tags::new()));
    for request in [
        Request::Release(task("task", 1)),
        Request::Fulfill { task: task("task", 1), settlement: settlement("task", resolved("1")) },
        Request::Suspend { task: task("task", 1), awaited: vec![id("x")] },
        Request::Fence { task: task("task", 1), action: fenced },
    ] {
        assert_eq!(world.ask(request), Err(Refusal::NotHeld));
    }
    let due_at = world.claim("task").due_at;
    assert_eq!(world.at(1150).heartbeat("task", 1), DONE);
    assert_eq!(world.claim("task").due_at, due_at);
    assert!(!world.state.promises.contains_key(&id("other")));
}

#[test]
fn c11_a_settled_promise_takes_no_callback_and_no_listener() {
    let mut world = World::new();
    world.external("awaited", FAR).held("awaiter", FAR);
    world.ask(Request::SettlePromise(settlement("awaited", resolved("1")))).unwrap();
    assert_eq!(world.callback("awaited", "awaiter"), DONE);
    assert_eq!(world.listen("awaited", WORKERS), DONE);
    let foreign = world.get("awaited").foreign.as_ref().unwrap();
    assert!(foreign.callbacks.is_empty() && foreign.listeners.is_empty() && foreign.untold.is_none());
    assert_eq!(world.suspend("awaiter", 1, &["awaited"]), Ok(Granted::GoOn));
    assert_eq!(world.claimed("awaiter"), (TaskState::Acquired, 1));
}
