//! A world without a clock, a disk or a network, in which one run takes place.
//!
//! Which execution goes on first, and what it is told first, follow from the seed and the state alone: a run that goes on
//! from a state that was read again goes on as the one that it was taken from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use machine::{
    Answer, Applied, Completion, Config, Digest, Effect, Execution, Id, Memory, Op, Outcome, Progress, Promise,
    PromiseKind, Record, Reply, Rest, TaskState, configured,
};

use super::outside::Outside;
use super::{BEGIN_MS, ROOT, SESSIONS, Test, TestError};
use host_replay::{History, Reached, follow};
use host_runtime::{Environment, Session, Setting, Status, Turn, Wanted};

/// How many records a run may make. It is a loop that doesn't end, otherwise.
const MOST_RECORDS: usize = 1_000_000;

/// In which order what could happen at once happens.
#[derive(Clone, Copy)]
pub(super) struct Order {
    seed: u64,
    /// Whether what has been answered first is told first.
    shuffled: bool,
}

/// One run.
pub(super) struct World<'a> {
    test: &'a Test,
    order: Order,
    pub(super) state: Memory,
    now: u64,
    records: Vec<Record>,
    runnable: BTreeSet<(u64, Id)>,
    sessions: BTreeMap<Id, Live>,
    /// The sessions, the oldest first; some are gone.
    by_age: VecDeque<Id>,
    pub(super) outside: Outside,
}

struct Live {
    session: Session,
    version: u32,
}

impl Order {
    pub(super) fn new(seed: u64, shuffled: bool) -> Order {
        Order { seed, shuffled }
    }

    fn of(&self, what: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, what).hash(&mut hasher);
        hasher.finish()
    }
}

impl<'a> World<'a> {
    /// What is left of these records, when all else is lost.
    pub(super) fn recover(test: &'a Test, order: Order, records: &[Record]) -> World<'a> {
        let mut world = World {
            test,
            order,
            state: Memory::default(),
            now: BEGIN_MS,
            records: Vec::new(),
            runnable: BTreeSet::new(),
            sessions: BTreeMap::new(),
            by_age: VecDeque::new(),
            outside: Outside::default(),
        };
        for record in records {
            // As it comes back from a log.
            let bytes = postcard::to_allocvec(record).expect("records always encode");
            let record: Record = postcard::from_bytes(&bytes).expect("what was encoded can be decoded");
            world.now = record.now;
            let applied = machine::apply(&mut world.state, record.clone());
            world.records.push(record);
            // What was sent has arrived. Answers that aren't among the records are lost.
            for effect in applied.effects {
                if let Effect::Send(id) = effect {
                    world.send(&id, false);
                }
            }
        }
        let is_runnable = |promise: &&Promise| {
            promise.execution.as_ref().is_some_and(|execution| execution.task.state == TaskState::Runnable)
        };
        let ids: Vec<Id> =
            world.state.promises.values().filter(is_runnable).map(|promise| promise.id.clone()).collect();
        ids.into_iter().for_each(|id| world.queue(id));
        let is_sent_again =
            |promise: &&Promise| promise.outcome.is_none() && matches!(promise.kind, PromiseKind::Http { .. });
        let ids: Vec<Id> =
            world.state.promises.values().filter(is_sent_again).map(|promise| promise.id.clone()).collect();
        ids.iter().for_each(|id| world.send(id, true));
        world
    }

    /// Go on until every execution has ended.
    pub(super) fn run(&mut self) -> Result<(), TestError> {
        loop {
            if self.records.len() > MOST_RECORDS {
                return Err(TestError::Endless(format!("it made more than {MOST_RECORDS} records")));
            }
            // In other orders, an answer can be there before others have had their turn.
            let is_early = self.order.shuffled && self.order.of(self.records.len()).is_multiple_of(4);
            if is_early && self.answer() {
                continue;
            }
            if let Some((_, id)) = self.runnable.pop_first() {
                self.turn(&id)?;
            } else if !self.settle() && !self.answer() && !self.pass_time() {
                return Ok(());
            }
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let root = self.state.promises.get(ROOT).and_then(|promise| promise.outcome.clone());
        root.unwrap_or(Outcome::Canceled)
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        let root = self.state.promises.get(ROOT).and_then(|promise| promise.settled_at);
        root.map_or(0, |at| at.saturating_sub(BEGIN_MS))
    }

    pub(super) fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    fn queue(&mut self, id: Id) {
        self.runnable.insert((self.order.of(&id), id));
    }

    fn apply(&mut self, op: Op) -> Option<Reply> {
        let record = Record { now: self.now, op };
        let Applied { reply, effects, changed } = machine::apply(&mut self.state, record.clone());
        if changed {
            self.records.push(record);
        }
        for effect in effects {
            match effect {
                Effect::Runnable(id) => self.queue(id),
                Effect::Send(id) => self.send(&id, true),
                Effect::Stop(id) => {
                    self.runnable.remove(&(self.order.of(&id), id.clone()));
                    self.sessions.remove(&id);
                }
                // There are no workers elsewhere: what is called there is never answered.
                Effect::Settled(_) | Effect::Execute { .. } | Effect::Unblock { .. } | Effect::Reset => {}
                // All ids are here.
                Effect::Post(_) => {}
            }
        }
        reply.ok()
    }

    /// One turn of an execution, as the host would make it.
    fn turn(&mut self, id: &Id) -> Result<(), TestError> {
        let (live, told, turn) = match self.sessions.remove(id) {
            Some(mut live) => {
                let Some((step, completion)) = self.next_answer(id) else {
                    self.sessions.insert(id.clone(), live);
                    return Ok(());
                };
                live.session.tell(step, completion, self.now);
                let turn = poll(&mut live.session);
                (live, Some((step, self.now)), turn)
            }
            None => match self.begin(id)? {
                Some((live, turn)) => (live, None, turn),
                None => return Ok(()),
            },
        };
        let Turn { events, output, status } = turn;
        let rest = match status {
            Status::Waiting => Rest::Waiting,
            Status::Yielded => Rest::Running,
            Status::Finished(outcome) => Rest::Finished(outcome),
            Status::Busy => return Err(TestError::Setup("there is no memory for one more execution".into())),
        };
        let (is_end, version) = (matches!(rest, Rest::Finished(_)), live.version);
        let is_quiet = told.is_none() && events.is_empty() && output.is_empty() && rest == Rest::Waiting;
        if !is_end {
            self.sessions.insert(id.clone(), live);
            self.by_age.push_back(id.clone());
        }
        if !is_quiet || self.ready(id) == 0 {
            self.apply(Op::Progress(Progress { id: id.clone(), version, told, events, output, rest }));
        }
        let task = self.state.promises.get(id).and_then(|promise| promise.execution.as_ref()).map(|e| e.task.state);
        match task {
            Some(TaskState::Runnable) => self.queue(id.clone()),
            Some(TaskState::Suspended) => {}
            _ => drop(self.sessions.remove(id)),
        }
        self.make_room();
        Ok(())
    }

    /// A session at the point where its journal ends.
    fn begin(&mut self, id: &Id) -> Result<Option<(Live, Turn)>, TestError> {
        let Some(Reply::Acquired { version }) = self.apply(Op::Acquire { id: id.clone() }) else { return Ok(None) };
        let promise = &self.state.promises[id];
        let entries = self.state.journals.get(id).cloned().unwrap_or_default();
        let digest = promise.execution.as_ref().map(|execution| execution.component);
        let program = digest.and_then(|digest| self.test.programs.get(&digest));
        let setting = promise.execution.as_deref().map_or_else(
            || self.test.runtime.setting(),
            |execution| self.setting(execution, promise.function().unwrap_or_default()),
        );
        let (Some(history), Some(program)) = (History::of(promise, entries, setting), program) else {
            return Err(TestError::Setup(format!("{id} has no component")));
        };
        let mut session = history.begin(&self.test.runtime, program, history.written(), Wanted::Nothing);
        let reached = follow(&mut session, &mut history.replay());
        let Reached { mut events, mut output, mut status, .. } =
            reached.map_err(|diverged| TestError::Setup(diverged.divergence.to_string()))?;
        while status == Status::Yielded {
            let more = session.poll();
            events.extend(more.events);
            output.extend(more.output);
            status = more.status;
        }
        Ok(Some((Live { session, version }, Turn { events, output, status })))
    }

    /// What an execution is given, as a host would give it.
    fn setting(&self, execution: &Execution, function: &str) -> Setting {
        let component = self.state.components.get(&execution.component).map_or("", |component| component.name.as_str());
        let config = configured(&self.state, execution.config, component, function);
        let mut setting = self.test.runtime.setting();
        if config == Config::default() {
            return setting;
        }
        setting.limits = Arc::new(setting.limits.of(&config, &Config::default()));
        let value = |digest: &Digest| self.test.values.get(digest).cloned().unwrap_or_default();
        let variables = config.variables.into_iter();
        let variables = variables.map(|(name, variable)| (name, value(&variable.digest), variable.secret));
        setting.environment = Arc::new(Environment::new(variables));
        setting
    }

    /// A request arrives where it is sent to.
    fn send(&mut self, id: &Id, is_answered: bool) {
        if let Some(promise) = self.state.promises.get(id)
            && let PromiseKind::Http { head, .. } = &promise.kind
        {
            self.outside.arrive(&self.test.stubs, id, head, promise.created_at, is_answered);
        }
    }

    /// Another system answers the first request that is due. `false`: there is none.
    fn answer(&mut self) -> bool {
        let (state, order) = (&self.state, self.order);
        let is_pending = |id: &Id| state.promises.get(id).is_some_and(|promise| promise.outcome.is_none());
        let due = self.outside.due(self.now, is_pending);
        let next = match order.shuffled {
            true => due.iter().min_by_key(|(_, id)| order.of(id)),
            // The first of those that are due first.
            false => due.iter().min_by_key(|(at, _)| *at),
        };
        let Some(id) = next.map(|(_, id)| id.clone()) else { return false };
        self.outside.take(&id).is_some_and(|outcome| self.apply(Op::Settle { id, outcome }).is_some())
    }

    fn ready(&self, id: &Id) -> usize {
        self.state.promises.get(id).and_then(|promise| promise.execution.as_ref()).map_or(0, |e| e.ready.len())
    }

    /// What an execution is told next.
    fn next_answer(&self, id: &Id) -> Option<(u32, Completion)> {
        let execution = self.state.promises.get(id)?.execution.as_ref()?;
        let count = execution.ready.len().max(1) as u64;
        let index = if self.order.shuffled { self.order.of((id, execution.entries)) % count } else { 0 };
        let ready = execution.ready.get(index as usize)?;
        let completion = match &ready.answer {
            Answer::Here(completion) => completion.clone(),
            Answer::Promise(id) => Completion::Settled(self.state.promises.get(id)?.outcome.clone()?),
        };
        Some((ready.step, completion))
    }

    /// Somebody outside settles the first promise that is there and due. `false`: there is none.
    fn settle(&mut self) -> bool {
        let is_due = |after_ms: u64| BEGIN_MS + after_ms <= self.now;
        let is_pending = |id: &Id| self.state.promises.get(id).is_some_and(|promise| promise.outcome.is_none());
        let due = self.test.settlements.iter().find(|s| is_due(s.after_ms) && is_pending(&s.id)).cloned();
        due.is_some_and(|due| self.apply(Op::Settle { id: due.id, outcome: due.outcome }).is_some())
    }

    /// Nothing can go on now: the time of what happens next comes. `false`: no execution waits any more.
    fn pass_time(&mut self) -> bool {
        let is_pending = |id: &Id| self.state.promises.get(id).is_some_and(|promise| promise.outcome.is_none());
        if !self.state.promises.values().any(|promise| promise.outcome.is_none() && promise.execution.is_some()) {
            return false;
        }
        let settlements = self.test.settlements.iter().filter(|settlement| is_pending(&settlement.id));
        let settlement = settlements.map(|settlement| BEGIN_MS + settlement.after_ms).filter(|at| *at > self.now).min();
        let deadline = self.state.deadlines.first().map(|(at, _)| *at);
        let answer = self.outside.next(self.now, is_pending);
        let Some(next) = settlement.into_iter().chain(deadline).chain(answer).min() else { return false };
        self.now = self.now.max(next);
        let mut ids = self.state.due(self.now);
        if self.order.shuffled {
            ids.sort_by_key(|id| self.order.of(id));
        }
        if !ids.is_empty() {
            self.apply(Op::Expire { ids });
        }
        true
    }

    /// As on a host, those that have rested longest are put away when there are many.
    fn make_room(&mut self) {
        while self.sessions.len() > SESSIONS as usize / 8 {
            let Some(oldest) = self.by_age.pop_front() else { return };
            self.sessions.remove(&oldest);
        }
    }
}

/// Until the guest rests or ends: where its slices of time end is no place that two runs would share.
fn poll(session: &mut Session) -> Turn {
    let mut turn = session.poll();
    while turn.status == Status::Yielded {
        let more = session.poll();
        turn.events.extend(more.events);
        turn.output.extend(more.output);
        turn.status = more.status;
    }
    turn
}
