//! What crosses between partitions, carried by a post that loses, repeats and reorders.

use super::conformance::{WORKERS, holder, new, settlement, tags, task};
use super::random::Dice;
use super::*;

/// Partitions that divide all ids between them, or one that has all; and the mail that is under way.
struct Divided {
    states: Vec<Memory>,
    now: u64,
}

impl Divided {
    /// The partitions of these roots, all with the functions `buy` and `pay`.
    fn new(roots: &[&str]) -> Divided {
        let mut partitions: Vec<u8> = roots.iter().map(|root| id(root).partition()).collect();
        partitions.sort_unstable();
        partitions.dedup();
        Divided::of_partitions(partitions.into_iter().map(Some))
    }

    fn undivided() -> Divided {
        Divided::of_partitions([None])
    }

    fn of_partitions(partitions: impl IntoIterator<Item = Option<u8>>) -> Divided {
        let state = |partition| {
            let mut state = Memory { partition, ..Memory::default() };
            state.install(component("shop", 1, &["buy", "pay"]));
            state
        };
        Divided { states: partitions.into_iter().map(state).collect(), now: 1000 }
    }

    /// Which state an id is in.
    fn at(&self, of: &Id) -> usize {
        let has = |state: &Memory| state.partition.is_none_or(|own| own == of.partition());
        self.states.iter().position(has).expect("the partition is there")
    }

    fn put(&mut self, n: usize, op: Op) -> Result<Reply, Rejection> {
        let before = self.states[n].clone();
        let record = Record { now: self.now, op };
        let Applied { reply, effects, changed } = apply(&mut self.states[n], record.clone());
        invariants::check(&self.states[n], self.now);
        invariants::check_effects(&before, &self.states[n], &record, &effects);
        invariants::check_step(&before, &self.states[n], self.now, &record, &reply, changed);
        reply
    }

    /// Put a record to the partition of an id.
    fn put_to(&mut self, of: &str, op: Op) -> Result<Reply, Rejection> {
        self.put(self.at(&id(of)), op)
    }

    fn ask(&mut self, of: &str, request: Request) -> Result<Granted, Refusal> {
        match self.put_to(of, Op::Request(Box::new(request))) {
            Ok(Reply::Granted(granted)) => Ok(granted),
            Err(Rejection::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn invoke(&mut self, root: &str) {
        let (function, arguments) = ("buy".into(), text("[]"));
        self.put_to(root, Op::Invoke { id: id(root), function, arguments, timeout_at: FAR, seed: 7 }).unwrap();
    }

    fn promise(&mut self, root: &str) {
        self.put_to(root, Op::CreatePromise { id: id(root), param: text(""), timeout_at: FAR }).unwrap();
    }

    fn settle(&mut self, of: &str, outcome: Outcome) -> Result<Reply, Rejection> {
        self.put_to(of, Op::Settle { id: id(of), outcome })
    }

    /// The turn of an execution that begins it.
    fn begin(&mut self, root: &str, asks: Vec<Ask>) {
        self.invoke(root);
        self.acquire(root).unwrap();
        let events = (1..).zip(asks).map(|(step, ask)| Event::Asked { step, ask }).collect();
        self.turn(root, None, events, Rest::Waiting);
    }

    fn acquire(&mut self, of: &str) -> Result<Reply, Rejection> {
        self.put_to(of, Op::Acquire { id: id(of) })
    }

    fn turn(&mut self, of: &str, told: Option<u32>, events: Vec<Event>, rest: Rest) {
        self.try_turn(of, told, events, rest).unwrap();
    }

    fn try_turn(&mut self, of: &str, told: Option<u32>, events: Vec<Event>, rest: Rest) -> Result<Reply, Rejection> {
        let version = self.get(of).execution.as_ref().unwrap().task.version;
        let told = told.map(|step| (step, self.now));
        let progress = Progress { id: id(of), version, told, events, output: Vec::new(), rest };
        self.put_to(of, Op::Progress(progress))
    }

    fn get(&self, of: &str) -> &Promise {
        &self.states[self.at(&id(of))].promises[&id(of)]
    }

    fn state(&self, of: &str) -> PromiseState {
        self.get(of).state()
    }

    /// What a step of an execution is to be told.
    fn ready(&self, of: &str, step: u32) -> Option<Completion> {
        let ready = self.get(of).execution.as_ref()?.ready.iter().find(|ready| ready.step == step)?;
        Some(match &ready.answer {
            Answer::Here(completion) => completion.clone(),
            Answer::Promise(id) => Completion::Settled(self.get(id.as_str()).outcome.clone()?),
        })
    }

    /// Mail in outboxes to partitions that are here, as sender, receiver and number.
    fn under_way(&self) -> Vec<Letter> {
        let mut letters = Vec::new();
        for (from, state) in self.states.iter().enumerate() {
            for (to, number) in state.mail.outbox.keys() {
                let receiver = self.states.iter().position(|state| state.partition == Some(*to));
                letters.extend(receiver.map(|to| Letter { from, to, number: *number }));
            }
        }
        letters
    }

    fn partition(&self, n: usize) -> u8 {
        self.states[n].partition.expect("it is divided")
    }

    fn read(&self, letter: Letter) -> Message {
        Message::clone(&self.states[letter.from].mail.outbox[&(self.partition(letter.to), letter.number)])
    }

    fn carry(&mut self, letter: Letter, message: Message) -> Result<Reply, Rejection> {
        let (from, number) = (self.partition(letter.from), letter.number);
        self.put(letter.to, Op::Receive { from, number, message: Box::new(message) })
    }

    fn confirm(&mut self, from: usize, to: usize, number: u64) {
        let to = self.partition(to);
        self.put(from, Op::Delivered { to, number }).unwrap();
    }

    /// Carry everything, until nothing is left.
    fn carry_all(&mut self) {
        while let Some(first) = self.under_way().first().copied() {
            let message = self.read(first);
            self.carry(first, message).unwrap();
            self.confirm(first.from, first.to, first.number);
        }
    }
}

/// A message under way, between states.
#[derive(Clone, Copy, Debug)]
struct Letter {
    from: usize,
    to: usize,
    number: u64,
}

/// Two roots of different partitions.
fn two() -> (Divided, &'static str, &'static str) {
    let (here, there) = ("r0", "r1");
    assert_ne!(id(here).partition(), id(there).partition(), "the roots were chosen so");
    (Divided::new(&[here, there]), here, there)
}

#[test]
fn a_call_elsewhere_is_answered() {
    let (mut world, here, there) = two();
    world.begin(here, vec![call_as("pay", there)]);
    assert_eq!(world.get(here).execution.as_ref().unwrap().task.state, TaskState::Suspended);
    world.carry_all();
    let called = world.get(there);
    assert_eq!((called.function(), called.timeout_at), (Some("pay"), FAR));
    assert_eq!(called.owner.as_ref().map(|owner| owner.execution.as_str()), Some(here));
    world.acquire(there).unwrap();
    world.turn(there, None, Vec::new(), Rest::Finished(resolved("5")));
    assert_eq!(world.ready(here, 1), None, "nothing crosses but by mail");
    world.carry_all();
    assert_eq!(world.ready(here, 1), Some(Completion::Settled(resolved("5"))));
    world.turn(here, Some(1), Vec::new(), Rest::Finished(resolved("6")));
}

#[test]
fn a_refusal_is_told() {
    let (mut world, here, there) = two();
    let asks = vec![call_as("nobody", there), wait_for(there), settle(there, resolved("1"))];
    world.begin(here, asks);
    world.carry_all();
    for step in 1..=3 {
        refused(world.ready(here, step).expect("it was answered"));
    }
    world.promise(there);
    let settle = Event::Asked { step: 4, ask: settle(there, resolved("2")) };
    world.turn(here, None, vec![settle], Rest::Waiting);
    world.carry_all();
    assert_eq!(world.ready(here, 4), Some(Completion::Done));
    assert_eq!(world.get(there).outcome, Some(resolved("2")));
}

#[test]
fn nothing_is_asked_elsewhere_for_a_step_that_was_not_made() {
    for ask in [|there| call_as("pay", there), wait_for, |there| settle(there, resolved("1"))] {
        let (mut world, here, there) = two();
        let external = tags(&[(EXTERNAL, "true")]);
        world.ask(here, Request::CreatePromise(new(&format!("{here}:1"), FAR, external))).unwrap();
        world.begin(here, vec![ask(there)]);
        assert!(matches!(&world.get(here).outcome, Some(Outcome::Crashed(why)) if why.contains("taken")));
        assert!(world.states[world.at(&id(here))].mail.receivers().is_empty());
    }
}

#[test]
fn what_nobody_waits_for_any_more_is_let_go() {
    let (mut world, here, there) = two();
    world.promise(there);
    world.begin(here, vec![wait_for(there)]);
    world.carry_all();
    assert_eq!(world.get(there).awaiters.len(), 1);
    world.turn(here, None, vec![Event::Dropped { step: 1 }], Rest::Waiting);
    world.carry_all();
    assert_eq!(world.get(there).awaiters.len(), 0);
    assert_eq!(world.state(there), PromiseState::Pending, "it isn't its own");
}

#[test]
fn a_call_elsewhere_ends_with_its_caller_and_a_detached_one_does_not() {
    for (detach, expected) in [(false, PromiseState::Canceled), (true, PromiseState::Pending)] {
        let (mut world, here, there) = two();
        let options = CallOptions { id: Some(there.into()), ..CallOptions::default() };
        world.begin(here, vec![if detach { detached("pay", options) } else { call_with("pay", options) }]);
        world.carry_all();
        world.settle(here, Outcome::Canceled).unwrap();
        world.carry_all();
        assert_eq!(world.state(there), expected, "detached: {detach}");
    }
}

#[test]
fn a_call_elsewhere_outlives_a_caller_that_returns() {
    let (mut world, here, there) = two();
    world.begin(here, vec![call_as("pay", there), wait_for(there)]);
    world.carry_all();
    world.turn(here, None, Vec::new(), Rest::Finished(resolved("1")));
    world.carry_all();
    assert_eq!(world.state(there), PromiseState::Pending);
    assert!(!world.get(here).is_over(), "something that came of it isn't settled");
    world.settle(there, resolved("2")).unwrap();
    world.carry_all();
    assert!(world.get(here).is_over());
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let (mut world, here, there) = two();
    world.begin(here, vec![call_as("pay", there)]);
    world.carry_all();
    world.settle(there, resolved("1")).unwrap();
    world.settle(here, Outcome::Canceled).unwrap();
    world.carry_all();
    let step = format!("{here}:1");
    assert_eq!((world.state(there), world.state(&step)), (PromiseState::Resolved, PromiseState::Canceled));
}

#[test]
fn what_stands_for_a_promise_is_nobodys_to_see() {
    let (mut world, here, there) = two();
    world.begin(here, vec![call_as("pay", there)]);
    let step = format!("{here}:1");
    assert_eq!(world.settle(&step, resolved("1")), Err(Rejection::NoPromise(id(&step))));
    assert_eq!(world.ask(&step, Request::SettlePromise(settlement(&step, resolved("1")))), Err(Refusal::NoPromise));
    world.turn(here, None, vec![Event::Asked { step: 2, ask: wait_for(&step) }], Rest::Waiting);
    refused(world.ready(here, 2).expect("it was answered"));
    world.begin(there, vec![wait_for(&step)]);
    world.carry_all();
    refused(world.ready(there, 1).expect("it was answered"));
}

#[test]
fn mail_is_taken_once_and_in_order() {
    let (mut world, here, there) = two();
    world.begin(here, vec![call_as("pay", there), wait_for(there)]);
    let mail = world.under_way();
    assert_eq!(mail.len(), 2);
    let messages = [world.read(mail[0]), world.read(mail[1])];
    let early = world.carry(mail[1], messages[1].clone());
    assert!(matches!(early, Err(Rejection::Early { number: 2, last: 0, .. })));
    world.carry(mail[0], messages[0].clone()).unwrap();
    let before = world.states.clone();
    assert_eq!(world.carry(mail[0], messages[0].clone()), Ok(Reply::Done));
    assert_eq!(world.states, before, "the second time it says nothing new");
}

#[test]
fn a_call_waits_for_the_component_of_its_caller() {
    let (mut world, here, there) = two();
    let n = world.at(&id(here));
    world.states[n].install(component("shop", 2, &["buy", "pay"]));
    world.begin(here, vec![call_as("pay", there)]);
    let letter = world.under_way()[0];
    let message = world.read(letter);
    assert_eq!(world.carry(letter, message.clone()), Err(Rejection::NoComponent(Digest([2; 32]))));
    world.states[letter.to].install(component("shop", 2, &["buy", "pay"]));
    world.carry(letter, message).unwrap();
    assert_eq!(world.get(there).execution.as_ref().unwrap().component, Digest([2; 32]));
}

#[test]
fn the_first_partition_decides_what_all_have() {
    let mut world = Divided::of_partitions([Some(0), Some(1)]);
    let install = Op::Install { component: component("shop", 2, &["buy", "sell"]) };
    assert_eq!(world.put(1, install.clone()), Err(Rejection::NotFirst));
    assert_eq!(world.put(0, install.clone()), Ok(Reply::Done));
    assert_eq!(world.states[0].mail.outbox.len(), PARTITIONS - 1);
    world.put(0, install).unwrap();
    assert_eq!(world.states[0].mail.outbox.len(), PARTITIONS - 1, "the same again is no news");
    let configure = Op::Configure { scope: of_buy(), config: limit(Limit::Children, 3) };
    assert_eq!(world.put(1, configure.clone()), Err(Rejection::NotFirst));
    world.put(0, configure).unwrap();
    for n in 0..2 {
        world.put(n, Op::Configure { scope: Scope::Host, config: limit(Limit::Children, 5) }).unwrap();
    }
    world.carry_all();
    let [first, other] = &world.states[..] else { panic!("there are two") };
    assert_eq!(
        (&first.components, &first.current, &first.configs),
        (&other.components, &other.current, &other.configs)
    );
    assert_eq!(other.configs.len(), 2);
}

#[test]
fn nothing_is_made_in_the_wrong_partition() {
    let (mut world, here, there) = two();
    let n = world.at(&id(here));
    let invoke = Op::Invoke { id: id(there), function: "buy".into(), arguments: text("[]"), timeout_at: FAR, seed: 7 };
    assert_eq!(world.put(n, invoke), Err(Rejection::Elsewhere(id(there))));
    let create = Op::CreatePromise { id: id(there), param: text(""), timeout_at: FAR };
    assert_eq!(world.put(n, create), Err(Rejection::Elsewhere(id(there))));
    let create = Request::CreatePromise(new(there, FAR, Tags::new()));
    assert_eq!(world.ask(here, create), Err(Refusal::Elsewhere));
    world.begin(here, Vec::new());
    let entries = world.states[n].journals[&id(here)].clone();
    let component = Digest([1; 32]);
    let fork = Op::Fork { id: id(there), from: id(here), entries, component, replayed: 0, timeout_at: FAR };
    assert_eq!(world.put(n, fork), Err(Rejection::Apart { id: id(there), from: id(here) }));
}

#[test]
fn a_fork_asks_elsewhere_anew() {
    let (mut world, here, there) = two();
    let other = (0..).map(|n| format!("fork-{n}")).find(|text| id(text).partition() == id(here).partition()).unwrap();
    let long = text(&format!("[{:?}]", "x".repeat(200)));
    let options = CallOptions { id: Some(there.into()), ..CallOptions::default() };
    let call = Ask::Call { function: "pay".into(), arguments: long, options, detached: false };
    world.begin(here, vec![call]);
    let n = world.at(&id(here));
    let entries = world.states[n].journals[&id(here)].clone();
    let component = Digest([1; 32]);
    let fork = Op::Fork { id: id(&other), from: id(here), entries, component, replayed: 0, timeout_at: FAR };
    world.put(n, fork).unwrap();
    world.carry_all();
    world.settle(there, resolved("1")).unwrap();
    world.carry_all();
    assert_eq!(world.ready(&other, 1), Some(Completion::Settled(resolved("1"))), "one id stands for one call");
}

#[test]
fn tasks_wait_for_promises_elsewhere() {
    let (mut world, here, there) = two();
    world.promise(there);
    let create = Request::CreateTask { holder: holder("w"), promise: new(here, FAR, tags(&[(TARGET, WORKERS)])) };
    world.ask(here, create).unwrap();
    let suspend = |version| Request::Suspend { task: task(here, version), awaited: vec![id(there)] };
    assert_eq!(world.ask(here, suspend(1)), Ok(Granted::Done));
    world.carry_all();
    let state = |world: &Divided| world.get(here).claim().unwrap().task.state;
    assert_eq!(state(&world), TaskState::Suspended);
    world.settle(there, resolved("1")).unwrap();
    world.carry_all();
    assert_eq!(state(&world), TaskState::Runnable);
    world.ask(here, Request::Acquire { task: task(here, 1), holder: holder("w") }).unwrap();
    // It was told what it went on for; asked once more it is told again, by mail.
    assert_eq!(world.ask(here, suspend(2)), Ok(Granted::Done));
    world.carry_all();
    assert_eq!(state(&world), TaskState::Runnable);
}

#[test]
fn a_callback_is_carried_to_its_task() {
    let (mut world, here, there) = two();
    world.promise(there);
    let create = Request::CreateTask { holder: holder("w"), promise: new(here, FAR, tags(&[(TARGET, WORKERS)])) };
    world.ask(here, create).unwrap();
    let register = Request::RegisterCallback { awaited: id(there), awaiter: id(here) };
    assert_eq!(world.ask(there, register), Ok(Granted::Done));
    world.settle(there, resolved("1")).unwrap();
    world.carry_all();
    assert_eq!(world.get(here).claim().unwrap().resumes, [id(there)].into());
    // What is known to be settled is not waited for.
    let suspend = Request::Suspend { task: task(here, 1), awaited: vec![id(there)] };
    assert_eq!(world.ask(here, suspend), Ok(Granted::GoOn));
    let fence = Request::Fence { task: task(here, 1), action: Action::Settle(settlement(there, resolved("2"))) };
    assert_eq!(world.ask(here, fence), Err(Refusal::Elsewhere));
}

#[test]
fn a_schedule_makes_promises_elsewhere() {
    let (mut world, here, there) = two();
    let template = Template { param: text("1"), form: Form::default(), tags: Tags::new(), call: None };
    let (cron, promise_id) = ("* * * * *".into(), there.into());
    let schedule = NewSchedule { id: here.into(), cron, promise_id, promise_timeout_ms: 90_000, template };
    world.ask(here, Request::CreateSchedule(schedule)).unwrap();
    world.now = 60_010;
    world.put_to(here, Op::RunSchedules { ids: vec![here.into()] }).unwrap();
    world.carry_all();
    let promise = world.get(there);
    assert_eq!((promise.created_at, promise.timeout_at), (60_000, 150_000));
    assert_eq!(promise.given_tags().unwrap()[SCHEDULE], here);
}

/// A root in each of some partitions, and promises in some.
const ROOTS: [&str; 6] = ["r0", "r1", "r2", "s0", "s1", "s2"];
const PROMISES: [&str; 4] = ["p0", "p1", "p2", "p3"];

/// A guest that does what its id says: the same in any world.
struct Script {
    asks: Vec<Ask>,
}

impl Script {
    fn of(seed: u64, of: &Id) -> Script {
        let hash = of.as_str().bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let mut dice = Dice::new(hash & 0xffff_ffff);
        let place = ROOTS.iter().position(|root| *root == of.as_str());
        let asks = (0..dice.below(5)).map(|_| match (dice.below(6), place) {
            // Only later ones are called, so that all comes to an end.
            (0 | 1, Some(place)) if place + 1 < ROOTS.len() => {
                call_as("buy", ROOTS[place + 1 + dice.below(ROOTS.len() - place - 1)])
            }
            (2, Some(_)) => call("pay"),
            (3, _) => {
                let n = dice.below(PROMISES.len());
                settle(PROMISES[n], resolved(&n.to_string()))
            }
            (4, _) => sleep(1000 + dice.below(500) as u64),
            _ => wait_for(PROMISES[dice.below(PROMISES.len())]),
        });
        Script { asks: asks.collect() }
    }
}

impl Divided {
    /// A turn of an execution that has something to do. The guest keeps nothing: it is run again each time.
    fn play(&mut self, seed: u64, dice: &mut Dice, n: usize, of: &Id) {
        if self.states[n].promises[of].execution.as_ref().unwrap().task.version == 0 || dice.one_in(5) {
            self.acquire(of.as_str()).unwrap();
        }
        let execution = self.states[n].promises[of].execution.clone().unwrap();
        let Script { asks } = Script::of(seed, of);
        let mut told: Vec<(u32, Completion)> = Vec::new();
        for entry in &self.states[n].journals[of] {
            if let Entry::Told { step, completion, .. } = entry {
                told.push((*step, completion.clone()));
            }
        }
        let next = execution.ready.front().map(|ready| ready.step);
        told.extend(next.map(|step| (step, self.ready(of.as_str(), step).unwrap())));
        let left = asks.iter().enumerate().skip(execution.steps as usize).take(1 + dice.below(3));
        let events: Vec<Event> =
            left.map(|(index, ask)| Event::Asked { step: index as u32 + 1, ask: ask.clone() }).collect();
        let is_over = events.is_empty() && told.len() == asks.len();
        told.sort_by_key(|(step, _)| *step);
        let result = format!("{told:?}");
        let hash = result.bytes().fold(7u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let asks_more = execution.steps as usize + events.len() < asks.len();
        let rest = match (is_over, asks_more) {
            (true, _) => Rest::Finished(resolved(&hash.to_string())),
            (_, true) => Rest::Running,
            _ => Rest::Waiting,
        };
        self.turn(of.as_str(), next, events, rest);
    }

    fn runnable(&self) -> Vec<(usize, Id)> {
        let is_runnable = |promise: &&Promise| {
            promise.execution.as_ref().is_some_and(|execution| execution.task.state == TaskState::Runnable)
        };
        let of = |(n, state): (usize, &Memory)| {
            let ids: Vec<Id> = state.promises.values().filter(is_runnable).map(|promise| promise.id.clone()).collect();
            ids.into_iter().map(move |id| (n, id))
        };
        self.states.iter().enumerate().flat_map(of).collect()
    }

    /// Until nothing is left to do.
    fn play_all(&mut self, seed: u64, dice: &mut Dice) {
        PROMISES.iter().for_each(|promise| self.promise(promise));
        let mut uncalled = vec![ROOTS[0], ROOTS[3]];
        let mut unsettled = PROMISES.to_vec();
        // What the post has lost and will find again, long after.
        let mut stray: Vec<(Letter, Message)> = Vec::new();
        loop {
            let (runnable, mail) = (self.runnable(), self.under_way());
            let due: Vec<(usize, Id)> = (0..self.states.len())
                .flat_map(|n| self.states[n].due(self.now).into_iter().map(move |id| (n, id)))
                .collect();
            match dice.below(10) {
                0 => self.now += 10,
                1 if !uncalled.is_empty() => {
                    let root = uncalled.swap_remove(dice.below(uncalled.len()));
                    self.invoke(root);
                }
                2 if !due.is_empty() => {
                    let (n, id) = dice.pick(&due);
                    self.put(n, Op::Expire { ids: vec![id] }).unwrap();
                }
                3 if dice.one_in(4) && !unsettled.is_empty() => {
                    let promise = unsettled.swap_remove(dice.below(unsettled.len()));
                    // Somebody else may have settled it, with the same.
                    self.settle(promise, resolved(&promise[1..])).unwrap();
                }
                4..=6 if !mail.is_empty() => {
                    let letter = dice.pick(&mail);
                    let message = self.read(letter);
                    if dice.one_in(2) {
                        stray.push((letter, message.clone()));
                    }
                    if !dice.one_in(3) {
                        let _ = self.carry(letter, message);
                    }
                }
                7 if !stray.is_empty() => {
                    let (letter, message) = stray.swap_remove(dice.below(stray.len()));
                    let _ = self.carry(letter, message);
                }
                8 if !mail.is_empty() => {
                    let Letter { from, to, .. } = dice.pick(&mail);
                    let number = self.states[to].received(self.partition(from));
                    self.confirm(from, to, number);
                }
                _ if !runnable.is_empty() => {
                    let (n, id) = dice.pick(&runnable);
                    self.play(seed, dice, n, &id);
                }
                _ => {
                    let sleeps = self.states.iter().any(|state| state.deadlines.iter().any(|(at, _)| *at < FAR));
                    if mail.is_empty() && uncalled.is_empty() && unsettled.is_empty() && !sleeps {
                        return;
                    }
                }
            }
        }
    }

    /// How everything was settled that doesn't stand for something else.
    fn outcomes(&self) -> Vec<(Id, Option<Outcome>)> {
        let all = self.states.iter().flat_map(|state| state.promises.values());
        let own = all.filter(|promise| !matches!(promise.kind, PromiseKind::Remote { .. }));
        let mut outcomes: Vec<_> = own.map(|promise| (promise.id.clone(), promise.outcome.clone())).collect();
        outcomes.sort_by(|one, other| one.0.cmp(&other.0));
        outcomes
    }
}

/// Whatever the post does, guests come to the same end as in one partition that has all.
#[test]
fn what_is_divided_comes_to_the_same_end() {
    let (mut crossed, mut roots) = (0, 0);
    for seed in 0..300 {
        let run = std::panic::catch_unwind(|| {
            let mut whole = Divided::undivided();
            whole.play_all(seed, &mut Dice::new(seed));
            let mut world = Divided::new(&[&ROOTS[..], &PROMISES[..]].concat());
            world.play_all(seed, &mut Dice::new(seed + 1_000_000));
            let outcomes = world.outcomes();
            assert_eq!(outcomes, whole.outcomes());
            assert!(outcomes.iter().all(|(_, outcome)| outcome.is_some()), "all came to an end");
            let sent: u64 = world.states.iter().flat_map(|state| state.mail.sent.values()).sum();
            (sent, outcomes.iter().filter(|(id, _)| ROOTS.contains(&id.as_str())).count())
        });
        match run {
            Ok((sent, count)) => (crossed, roots) = (crossed + sent, roots + count),
            Err(panic) => {
                eprintln!("it was with the seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(crossed > 2_000 && roots > 700, "{crossed} messages, {roots} executions");
}

/// Whatever anybody does and the post as well: what waits for something elsewhere is registered where it will be answered.
#[test]
fn nobody_waits_in_vain() {
    for seed in 0..500 {
        let mut dice = Dice::new(seed);
        let mut world = Divided::new(&ROOTS);
        for root in ROOTS {
            if dice.below(4) > 0 {
                world.begin(root, Vec::new());
            }
        }
        for _ in 0..80 {
            world.now += dice.below(50) as u64;
            let (root, other) = (dice.pick(&ROOTS), dice.pick(&ROOTS));
            let n = world.at(&id(root));
            let execution = world.states[n].promises.get(&id(root)).filter(|p| p.outcome.is_none());
            let execution = execution.and_then(|p| p.execution.clone());
            match (dice.below(10), execution) {
                (0..=3, Some(execution)) => {
                    if execution.task.version == 0 && world.acquire(root).is_err() {
                        continue;
                    }
                    let open: Vec<u32> = execution.open.keys().copied().collect();
                    let step = execution.steps + 1;
                    let short = CallOptions { id: Some(other.into()), ..within(dice.pick(&[30, 3_000])) };
                    let event = match dice.below(5) {
                        0 => Event::Asked { step, ask: call_as("buy", other) },
                        1 => Event::Asked { step, ask: call_with("buy", short) },
                        2 => Event::Asked { step, ask: wait_for(other) },
                        3 if !open.is_empty() => Event::Dropped { step: dice.pick(&open) },
                        _ => Event::Asked { step, ask: settle(other, resolved("1")) },
                    };
                    let rest = if dice.one_in(12) { Rest::Finished(resolved("2")) } else { Rest::Waiting };
                    // It may have dropped that before, or be past its deadline.
                    let _ = world.try_turn(root, None, vec![event], rest);
                }
                (4, _) => {
                    let outcome = dice.pick(&[resolved("9"), Outcome::Canceled]);
                    let _ = world.settle(root, outcome);
                }
                (5, _) => {
                    let ids = world.states[n].promises.keys().filter(|each| each.origin() == root).rev();
                    let ids = ids.cloned().collect();
                    let _ = world.put(n, Op::Forget { trees: vec![Old { root: id(root), ids, retention_ms: 0 }] });
                }
                (6..=8, _) => {
                    let mail = world.under_way();
                    if !mail.is_empty() {
                        let letter = dice.pick(&mail);
                        let message = world.read(letter);
                        let _ = world.carry(letter, message);
                    }
                }
                _ => {
                    if let Some(Letter { from, to, .. }) = world.under_way().first().copied() {
                        let number = world.states[to].received(world.partition(from));
                        world.confirm(from, to, number);
                    }
                }
            }
        }
        for n in 0..world.states.len() {
            let ids = world.states[n].due(world.now);
            world.put(n, Op::Expire { ids }).unwrap();
        }
        world.carry_all();
        for promise in world.states.iter().flat_map(|state| state.promises.values()) {
            let PromiseKind::Remote { id: of, .. } = &promise.kind else { continue };
            if promise.outcome.is_none() {
                let target = world.get(of.as_str());
                assert_eq!(target.outcome, None, "seed {seed}: {} waits for {of}, which is settled", promise.id);
                let owner = promise.owner.as_ref().unwrap();
                let awaiter = Awaiter { execution: owner.execution.clone(), step: owner.step };
                assert!(target.awaiters.contains(&awaiter), "seed {seed}: {} waits for {of} in vain", promise.id);
            }
        }
    }
}
