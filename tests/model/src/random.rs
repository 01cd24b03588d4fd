//! Requests, valid and invalid, over few ids, so that they meet.

use crate::state::State;
use crate::words::{Action, Create, Promise, PromiseState, Request, Settle, Tags, TaskRef, TaskState, Value};

/// Numbers from a seed: SplitMix64.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Near seeds have sequences of their own, and not parts of one.
    pub fn new(seed: u64) -> Dice {
        Dice(Dice(seed).draw())
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.draw() % n as u64) as usize
    }

    /// Whether it was one of `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of several.
    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// A source of requests about the promises below one root.
#[derive(Clone, Debug)]
pub struct Requests {
    /// The root, and ids below it.
    pub ids: Vec<String>,
    /// Ids of schedules. None: requests about schedules are not made.
    pub schedules: Vec<String>,
    /// Where tasks are sent to.
    pub targets: Vec<String>,
    /// Who acquires tasks.
    pub workers: Vec<String>,
}

impl Requests {
    /// A request that is likely to do something in this state, and often enough isn't.
    pub fn next(&self, dice: &mut Dice, state: &State, now: u64) -> Request {
        // Left to chance this hardly ever happens: a tick, or a request about the waiter, settles the waiter first.
        let in_vain = waited_for_in_vain(state, now);
        if !in_vain.is_empty() && dice.one_in(4) {
            let id = dice.pick(&in_vain).clone();
            return Request::PromiseSettle(settle(dice, id));
        }
        loop {
            let request = self.any(dice, state, now);
            let wanted = match &request {
                Request::TaskAcquire { .. } => TaskState::Pending,
                Request::TaskContinue { .. } => TaskState::Halted,
                Request::TaskFence { .. }
                | Request::TaskHeartbeat { .. }
                | Request::TaskSuspend { .. }
                | Request::TaskFulfill { .. }
                | Request::TaskRelease { .. } => TaskState::Acquired,
                _ => return request,
            };
            if state.tasks.values().any(|task| task.state == wanted) || dice.one_in(10) {
                return request;
            }
        }
    }

    fn any(&self, dice: &mut Dice, state: &State, now: u64) -> Request {
        let id = self.id(dice, state);
        match dice.below(if self.schedules.is_empty() { 56 } else { 60 }) {
            0..2 => Request::PromiseGet { id },
            2..10 => Request::PromiseCreate(self.create(dice, state, now)),
            10..15 => {
                let id = self.waited_for(dice, state);
                Request::PromiseSettle(settle(dice, id))
            }
            15..19 => Request::PromiseRegisterCallback { awaited: id, awaiter: self.id(dice, state) },
            19..22 => Request::PromiseRegisterListener { awaited: id, address: listener(dice) },
            22..24 => Request::TaskGet { id },
            24..29 => self.create_task(dice, state, now),
            29..36 => Request::TaskAcquire {
                task: self.task(dice, state, TaskState::Pending),
                pid: self.pid(dice),
                ttl: ttl(dice),
            },
            36..39 => Request::TaskFence {
                task: self.task(dice, state, TaskState::Acquired),
                action: match dice.one_in(2) {
                    true => Action::Create(self.create(dice, state, now)),
                    false => Action::Settle(settle(dice, id)),
                },
            },
            39..41 => Request::TaskHeartbeat {
                pid: self.pid(dice),
                tasks: (0..1 + dice.below(2)).map(|_| self.task(dice, state, TaskState::Acquired)).collect(),
            },
            41..48 => Request::TaskSuspend {
                task: self.task(dice, state, TaskState::Acquired),
                awaited: self.awaited(dice, state),
            },
            48..50 => Request::TaskFulfill {
                task: self.task(dice, state, TaskState::Acquired),
                state: verdict(dice),
                value: value(dice),
            },
            50..52 => Request::TaskRelease { task: self.task(dice, state, TaskState::Acquired) },
            52..54 => Request::TaskHalt { id },
            54..56 => Request::TaskContinue { id: self.task(dice, state, TaskState::Halted).id },
            56 => Request::ScheduleGet { id: dice.pick(&self.schedules) },
            57..59 => self.schedule(dice),
            _ => Request::ScheduleDelete { id: dice.pick(&self.schedules) },
        }
    }

    /// Mostly of a promise that is there.
    fn id(&self, dice: &mut Dice, state: &State) -> String {
        let known: Vec<&String> = state.promises.keys().collect();
        if known.is_empty() || dice.one_in(6) { dice.pick(&self.ids) } else { dice.pick(&known).clone() }
    }

    /// Often of a promise that a task waits for.
    fn waited_for(&self, dice: &mut Dice, state: &State) -> String {
        let is_waited_for = |promise: &&Promise| !promise.callbacks.is_empty();
        let known: Vec<&String> = state.promises.values().filter(is_waited_for).map(|promise| &promise.id).collect();
        if known.is_empty() || dice.one_in(3) { self.id(dice, state) } else { dice.pick(&known).clone() }
    }

    /// Mostly one in this state, under the version that it has.
    fn task(&self, dice: &mut Dice, state: &State, wanted: TaskState) -> TaskRef {
        let known: Vec<_> = state.tasks.values().filter(|task| task.state == wanted).collect();
        if known.is_empty() || dice.one_in(8) {
            let id = self.id(dice, state);
            let version = state.tasks.get(&id).map_or(0, |task| task.version);
            return TaskRef { id, version };
        }
        let task = dice.pick(&known);
        let version = if dice.one_in(10) { dice.below(4) as u64 } else { task.version };
        TaskRef { id: task.id.clone(), version }
    }

    fn pid(&self, dice: &mut Dice) -> String {
        dice.pick(&self.workers)
    }

    /// Mostly of a promise that isn't there.
    fn create(&self, dice: &mut Dice, state: &State, now: u64) -> Create {
        let new: Vec<&String> = self.ids.iter().filter(|id| !state.promises.contains_key(*id)).collect();
        let id = if new.is_empty() || dice.one_in(4) { dice.pick(&self.ids) } else { dice.pick(&new).clone() };
        let timeout_at =
            now.saturating_add_signed(dice.pick(&[
                -5, 0, 1, 10, 30, 100, 300, 1_000, 10_000, 100_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000,
            ]));
        let tags = self.tags(dice, timeout_at);
        Create { id, timeout_at, param: value(dice), tags }
    }

    fn create_task(&self, dice: &mut Dice, state: &State, now: u64) -> Request {
        let mut action = self.create(dice, state, now);
        if !dice.one_in(5) {
            action.tags = [("resonate:target".into(), dice.pick(&self.targets))].into();
        }
        Request::TaskCreate { pid: self.pid(dice), ttl: ttl(dice), action }
    }

    /// Most promises can be waited for.
    fn tags(&self, dice: &mut Dice, timeout_at: u64) -> Tags {
        let mut tags = Tags::new();
        let mut tag = |name: &str, value: String| tags.insert(format!("resonate:{name}"), value);
        match dice.below(14) {
            0 => {}
            1 => drop(tag("scope", "local".into())),
            2 => drop(tag("external", "false".into())),
            3 => drop(tag("external", "true".into())),
            4 => drop(tag("scope", "global".into())),
            5..7 => drop(tag("timer", "true".into())),
            7 => {
                tag("target", dice.pick(&self.targets));
                tag("delay", timeout_at.saturating_sub(dice.pick(&[1, 5, 50])).to_string());
            }
            _ => drop(tag("target", dice.pick(&self.targets))),
        }
        if dice.one_in(30) {
            let contradiction = [("timer", "true".into()), ("target", dice.pick(&self.targets))];
            return contradiction.map(|(name, value)| (format!("resonate:{name}"), value)).into();
        }
        tags
    }

    /// Mostly what can be waited for.
    fn awaited(&self, dice: &mut Dice, state: &State) -> Vec<String> {
        let is_open = |promise: &&Promise| promise.state == PromiseState::Pending && promise.is_external();
        let open: Vec<&String> = state.promises.values().filter(is_open).map(|promise| &promise.id).collect();
        let count = dice.pick(&[0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3]);
        let one = |_| match open.is_empty() || dice.one_in(4) {
            true => self.id(dice, state),
            false => dice.pick(&open).clone(),
        };
        (0..count).map(one).collect()
    }

    fn schedule(&self, dice: &mut Dice) -> Request {
        let mut promise_tags = Tags::from([("resonate:target".into(), dice.pick(&self.targets))]);
        if dice.one_in(10) {
            promise_tags.insert("resonate:timer".into(), "true".into());
        }
        Request::ScheduleCreate {
            id: dice.pick(&self.schedules),
            cron: dice.pick(&["*/1 * * * *", "*/5 * * * *", "*/20 * * * *"]).into(),
            promise_id: "{{.id}}-{{.timestamp}}".into(),
            promise_timeout: dice.pick(&[0, 1, 1_000, 90_000, 10_000_000]),
            promise_param: value(dice),
            promise_tags,
        }
    }
}

/// Pending promises that a task waits for whose own deadline has passed.
fn waited_for_in_vain(state: &State, now: u64) -> Vec<&String> {
    let is_pending = |promise: &&Promise| promise.state == PromiseState::Pending;
    let is_over = |id: &String| {
        let waits = state.tasks.get(id).is_some_and(|task| task.state == TaskState::Suspended);
        waits && state.promises[id].timeout_at <= now
    };
    let is_in_vain = |promise: &&Promise| promise.timeout_at > now && promise.callbacks.iter().any(is_over);
    state.promises.values().filter(is_pending).filter(is_in_vain).map(|promise| &promise.id).collect()
}

fn settle(dice: &mut Dice, id: String) -> Settle {
    Settle { id, state: verdict(dice), value: value(dice) }
}

fn verdict(dice: &mut Dice) -> PromiseState {
    use PromiseState::{Pending, Rejected, RejectedCanceled, RejectedTimedout, Resolved};
    match dice.below(12) {
        0 => Pending,
        1 => RejectedTimedout,
        2..4 => RejectedCanceled,
        4..8 => Rejected,
        _ => Resolved,
    }
}

fn value(dice: &mut Dice) -> Value {
    let headers = if dice.one_in(4) { Tags::from([("h".into(), "1".into())]) } else { Tags::new() };
    let data = (!dice.one_in(3)).then(|| format!("\"{}\"", dice.below(10)));
    Value { headers, data }
}

fn listener(dice: &mut Dice) -> String {
    dice.pick(&["poll://any@people", "poll://uni@people/ann", "http://127.0.0.1:9/told", "poll://people", "mailto:ann"])
        .into()
}

fn ttl(dice: &mut Dice) -> u64 {
    dice.pick(&[1, 5, 50, 1_000, 100_000])
}
