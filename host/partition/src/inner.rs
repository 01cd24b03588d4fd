//! The state under the lock, and the only place where records are applied.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ahash::RandomState;
use machine::{Applied, Effect, Id, Op, Promise, Record, Rejection, Reply, State, TaskState};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::faults::{self, Point};
use super::workers::{Live, Sessions};
use super::{Courier, Error, HoldCrashes, Message, Options};
use host_log::{Group, Log};
use host_store::{Corrupt, Cut, Disk, Reader, Saved, Store, StoreError, View};

/// How much may be waiting to be written to the store before nothing new is taken on. It bounds memory.
const UNWRITTEN_BYTES: usize = 256 << 20;
/// How many changed promises, or bytes of records, are enough for a cut.
const CUT_PROMISES: usize = 20_000;
const CUT_BYTES: usize = 32 << 20;
/// How many executions are looked at for one that is held and keeps another from going on.
const HELD_LOOKED_AT: usize = 300;

/// Everything that the lock guards.
pub(super) struct Inner {
    pub(super) view: View,
    /// Records that are applied and not yet given to the log.
    pub(super) group: Group,
    /// None while it is in the hands of whoever commits a group.
    pub(super) log: Option<Box<dyn Log>>,
    /// How much the last group that was committed has released.
    pub(super) last_released: usize,
    /// Numbers of records: the last one applied, and the last one that is durable.
    pub(super) applied: u64,
    pub(super) committed: u64,
    /// The last record that is in the store.
    pub(super) written: u64,
    /// The size of the records that are not, in the cut that is being written and after it.
    frozen_bytes: usize,
    unwritten_bytes: usize,
    /// What may be known outside once a record is durable, by ascending numbers of records.
    pub(super) held: VecDeque<(u64, Release)>,
    /// Who is to be told when a promise is settled.
    watchers: HashMap<Id, Vec<oneshot::Sender<Arc<Promise>>>, RandomState>,
    /// Who is to be told when an execution has got on.
    followers: HashMap<Id, Arc<Notify>>,
    pub(super) sessions: Sessions,
    /// Where requests go that are to be sent, and those that are under way.
    outbox: mpsc::UnboundedSender<Id>,
    /// Notified when there is something for other partitions.
    pub(super) mailed: Option<Arc<Notify>>,
    pub(super) requests: HashMap<Id, AbortHandle>,
    /// The record before which the log must be durable for somebody who waits without an output: the store's writer.
    pub(super) wanted: u64,
    /// Whether the committer is to be told of the first record of a group.
    pub(super) committer_dozes: bool,
    /// The committer has ended, with all that there was.
    pub(super) all_committed: bool,
    /// Whether somebody wants to read the store as it is now.
    pub(super) write_now: bool,
    disk: Arc<Disk>,
    hold_crashes: HoldCrashes,
    /// How long an execution may wait for a worker before new calls are turned away.
    queue_limit: Duration,
    /// Why the log or the store takes nothing more, if so.
    failed: Option<String>,
    pub(super) stopping: bool,
    /// The earliest time that the timer waits for.
    pub(super) timer_at: u64,
    courier: Arc<dyn Courier>,
    now: u64,
    /// The time of the request that is at work, if it carries its own: in tests.
    set_time: Option<u64>,
    /// The last such time.
    last_set: u64,
    /// Time stands still, and nothing happens by itself: in tests.
    pub(super) paused: bool,
    /// What the clock of this machine says, where that is simulated.
    pub(super) clock: Option<u64>,
}

/// Something that may be known outside once the records before it are durable.
pub(super) enum Release {
    /// An answer that can be given.
    Answer(oneshot::Sender<()>),
    /// A promise that was settled, or of which that isn't to be expected: it is held.
    Settled(oneshot::Sender<Arc<Promise>>, Arc<Promise>),
    /// An execution that got on.
    Progressed(Arc<Notify>),
    /// Something that others are to be told.
    Message(Arc<dyn Courier>, Message),
    /// There is something for other partitions.
    Mailed(Arc<Notify>),
    /// A request that can be sent.
    Send(mpsc::UnboundedSender<Id>, Id),
}

impl Release {
    pub(super) fn release(self) {
        // Whoever waited may be gone; that is theirs to decide.
        match self {
            Release::Answer(waiter) => drop(waiter.send(())),
            Release::Settled(waiter, promise) => drop(waiter.send(promise)),
            Release::Progressed(followers) => followers.notify_waiters(),
            Release::Mailed(carrier) => carrier.notify_one(),
            Release::Message(courier, message) => courier.send(message),
            Release::Send(outbox, id) => drop(outbox.send(id)),
        }
    }
}

impl Inner {
    pub(super) fn new(
        view: View,
        store: &Store,
        disk: &Arc<Disk>,
        courier: Arc<dyn Courier>,
        outbox: mpsc::UnboundedSender<Id>,
        options: &Options,
    ) -> Inner {
        let (applied, now) = (store.applied(), store.now());
        Inner {
            view,
            group: Group { first: applied + 1, ..Group::default() },
            log: None,
            last_released: 0,
            applied,
            committed: applied,
            written: applied,
            frozen_bytes: 0,
            unwritten_bytes: 0,
            held: VecDeque::new(),
            watchers: HashMap::default(),
            followers: HashMap::new(),
            sessions: Sessions::new(options.sessions, options.sessions_bytes, options.workers),
            outbox,
            mailed: None,
            requests: HashMap::new(),
            wanted: 0,
            committer_dozes: false,
            all_committed: false,
            write_now: false,
            disk: disk.clone(),
            hold_crashes: options.hold_crashes.clone(),
            queue_limit: options.queue_limit,
            failed: None,
            stopping: false,
            timer_at: u64::MAX,
            courier,
            now,
            set_time: None,
            last_set: 0,
            paused: false,
            clock: None,
        }
    }

    /// Apply what the log has beyond the store, and queue whatever has something to do.
    pub(super) fn recover(&mut self, groups: Vec<Group>) -> Result<(), Error> {
        let damaged = |number: u64, error| StoreError::Row { table: "log", key: number.to_string(), error };
        for group in groups {
            if group.first > self.applied + 1 {
                let gap = format!("records {} to {} are missing", self.applied + 1, group.first - 1);
                return Err(damaged(group.first, Corrupt::Content(gap)).into());
            }
            for (number, bytes) in group.records() {
                if number <= self.applied {
                    continue;
                }
                let record: Record = postcard::from_bytes(bytes)
                    .map_err(|error| damaged(number, Corrupt::Content(error.to_string())))?;
                self.now = record.now;
                let applied = machine::apply(&mut self.view, record);
                self.applied = number;
                // A session that was at work is gone; what it was doing is found in the state below.
                // What was to be delivered is found there as well.
                for effect in applied.effects {
                    match effect {
                        Effect::Runnable(id) => self.sessions.queue(id),
                        Effect::Reset => self.sessions.clear(),
                        Effect::Send(id) => drop(self.outbox.send(id)),
                        _ => {}
                    }
                }
            }
        }
        self.group.first = self.applied + 1;
        self.committed = self.applied;
        for id in self.view.reader().clone().runnable()? {
            if let Ok(id) = Id::parse(&id) {
                self.sessions.queue(id);
            }
        }
        // A request that has its answer by now is passed over where it would be sent.
        for id in self.view.reader().clone().requests()? {
            if let Ok(id) = Id::parse(&id) {
                let _ = self.outbox.send(id);
            }
        }
        match self.broken() {
            Some(reason) => Err(Error::Broken(reason)),
            None => Ok(()),
        }
    }

    /// The time of the request that is at work, where that isn't the clock's.
    pub(super) fn set_time(&mut self, at: Option<u64>) {
        self.set_time = at;
        self.last_set = at.unwrap_or(self.last_set);
    }

    /// The time: that of the clock, but never running backwards.
    pub(super) fn now(&mut self) -> u64 {
        if let Some(at) = self.set_time {
            return at;
        }
        if self.paused && self.last_set > 0 {
            return self.last_set;
        }
        let system = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let clock = self.clock.unwrap_or_else(system);
        self.now = self.now.max(clock);
        self.now
    }

    /// Why the host can't go on, if it can't.
    pub(super) fn broken(&self) -> Option<String> {
        self.failed.clone().or_else(|| self.view.fault().map(|fault| fault.to_string()))
    }

    /// Whether nothing is recorded any more: it can't go on, or is to stop and has committed all that there was.
    pub(super) fn is_over(&self) -> bool {
        self.all_committed || self.failed.is_some() || self.view.fault().is_some()
    }

    /// The log or the store takes nothing more: nothing that was not released will be.
    pub(super) fn fail(&mut self, reason: String) {
        tracing::error!("{reason}");
        self.failed.get_or_insert(reason);
        self.held.clear();
        self.watchers.clear();
    }

    /// Why nothing can be recorded at the moment, if so.
    pub(super) fn stalled(&self) -> Option<String> {
        self.disk.full()
    }

    /// Whether anything new from outside is taken on.
    pub(super) fn admit(&self, backlog: usize) -> Result<(), Error> {
        self.admit_underway()?;
        let wait = self.sessions.waited().max(self.sessions.expected_wait());
        if self.is_behind(backlog) || wait > self.queue_limit {
            return Err(Error::Overloaded);
        }
        Ok(())
    }

    /// Whether what belongs to work that was taken on already is taken on.
    pub(super) fn admit_underway(&self) -> Result<(), Error> {
        if let Some(reason) = self.broken() {
            return Err(Error::Broken(reason));
        }
        if self.stopping {
            return Err(Error::Stopping);
        }
        match self.stalled() {
            Some(reason) => Err(Error::Stalled(reason)),
            None => Ok(()),
        }
    }

    /// Whether more than this waits to be run or stored, or more than there may be room for.
    pub(super) fn is_behind(&self, backlog: usize) -> bool {
        self.unstored_bytes() > UNWRITTEN_BYTES || self.view.unsaved() > backlog || self.sessions.backlog() > backlog
    }

    fn unstored_bytes(&self) -> usize {
        self.frozen_bytes + self.unwritten_bytes
    }

    /// Whether guests are to wait until the store has more of what they did. Only they can make so much: nothing new is
    /// taken on long before.
    pub(super) fn is_choked(&self) -> bool {
        self.unstored_bytes() > 2 * UNWRITTEN_BYTES && !self.stopping && !self.is_over()
    }

    /// Apply a record, and see to what follows from it. Who is to be woken is found out when the lock is let go of.
    pub(super) fn apply(&mut self, op: Op) -> Result<Reply, Rejection> {
        let record = Record { now: self.now(), op };
        let is_invoked = matches!(record.op, Op::Invoke { .. });
        let start = self.group.bytes.len();
        let mut bytes = std::mem::take(&mut self.group.bytes);
        bytes.extend_from_slice(&[0; 4]);
        bytes = postcard::to_extend(&record, bytes).expect("records always encode");
        let length = (bytes.len() - start - 4) as u32;
        bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.group.bytes = bytes;

        let Applied { reply, effects, changed } = machine::apply(&mut self.view, record);
        if !changed || self.is_over() {
            self.group.bytes.truncate(start);
        } else {
            self.applied += 1;
            self.group.count += 1;
            self.unwritten_bytes += self.group.bytes.len() - start;
            faults::pass(Point::Applied);
        }
        if self.mailed.is_some() && effects.iter().any(|effect| matches!(effect, Effect::Post(_))) {
            self.mail();
        }
        for effect in effects {
            match effect {
                Effect::Runnable(id) if is_invoked => self.sessions.queue_fresh(id),
                effect => self.effect(effect),
            }
        }
        reply
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Runnable(id) => self.sessions.queue(id),
            Effect::Stop(id) => {
                self.sessions.stop(&id);
                self.progressed(&id);
            }
            // Once for all that a record posts: see `apply`.
            Effect::Post(_) => {}
            Effect::Send(id) => self.hold(Release::Send(self.outbox.clone(), id)),
            Effect::Settled(id) => {
                if let Some(request) = self.requests.remove(&id) {
                    request.abort();
                }
                let Some(watchers) = self.watchers.remove(&id) else { return };
                let Some(promise) = self.view.get(&id) else { return };
                for watcher in watchers {
                    self.hold(Release::Settled(watcher, promise.clone()));
                }
            }
            Effect::Execute { id, version, address } => {
                self.send(Message::Execute { id, version, address });
            }
            Effect::Unblock { id, address } => {
                let Some(promise) = self.view.get(&id) else { return };
                self.send(Message::Unblock { promise, address });
            }
            Effect::Reset => {
                self.sessions.clear();
                self.watchers.clear();
                self.courier.forget();
            }
        }
    }

    /// Whoever carries mail is told once it may leave.
    fn mail(&mut self) {
        if let Some(carrier) = self.mailed.clone() {
            self.hold(Release::Mailed(carrier));
        }
    }

    /// Nothing is delivered while time stands still: it is still to be delivered afterwards.
    fn send(&mut self, message: Message) {
        if !self.paused {
            self.hold(Release::Message(self.courier.clone(), message));
        }
    }

    /// Those who follow an execution are told once what happened is durable.
    pub(super) fn progressed(&mut self, id: &Id) {
        if let Some(followers) = self.followers.get(id) {
            if Arc::strong_count(followers) == 1 {
                self.followers.remove(id);
                return;
            }
            self.hold(Release::Progressed(followers.clone()));
        }
    }

    /// An execution is held: whoever waits for it or for what waits for it, or follows that, is to know that nothing will
    /// come by itself.
    pub(super) fn halted(&mut self, id: &Id) {
        let Some(mut promise) = self.view.get(id) else { return };
        loop {
            for watcher in self.watchers.remove(&promise.id).unwrap_or_default() {
                self.hold(Release::Settled(watcher, promise.clone()));
            }
            self.progressed(&promise.id);
            let caller = promise.owner.as_ref().filter(|owner| !owner.detached);
            let Some(caller) = caller.and_then(|owner| self.view.get(&owner.execution)) else { return };
            promise = caller;
        }
    }

    /// The execution that is held because of which this one doesn't go on: itself, or one below it that it waits for. What it
    /// waits for in other partitions, and beyond the first few hundred, isn't looked at.
    pub(super) fn held_at(&mut self, id: &Id) -> Option<Id> {
        let mut waiting = VecDeque::from([id.clone()]);
        for _ in 0..HELD_LOOKED_AT {
            let id = waiting.pop_front()?;
            let Some(execution) = self.view.promise(&id).and_then(|promise| promise.execution.as_ref()) else {
                continue;
            };
            if execution.held.is_some() {
                return Some(id);
            }
            let own = |(step, other): (&u32, &Option<Id>)| other.clone().or_else(|| id.child(*step).ok());
            let room = HELD_LOOKED_AT.saturating_sub(waiting.len());
            waiting.extend(execution.open.iter().filter_map(own).take(room));
        }
        None
    }

    /// Whoever is to be told when an execution gets on.
    pub(super) fn follow(&mut self, id: &Id) -> Arc<Notify> {
        self.followers.retain(|_, followers| Arc::strong_count(followers) > 1);
        self.followers.entry(id.clone()).or_default().clone()
    }

    /// The promise once it is settled or held, and that is durable.
    pub(super) fn watch(&mut self, id: &Id) -> oneshot::Receiver<Arc<Promise>> {
        let (watcher, settled) = oneshot::channel();
        match self.view.get(id) {
            Some(promise) if promise.outcome.is_some() => self.hold(Release::Settled(watcher, promise)),
            _ => {
                let watchers = self.watchers.entry(id.clone()).or_default();
                // Those who gave up are forgotten when somebody else comes.
                watchers.retain(|watcher| !watcher.is_closed());
                watchers.push(watcher);
            }
        }
        settled
    }

    /// Forget those who gave up waiting for a promise.
    pub(super) fn unwatch(&mut self, id: &Id) {
        if let Some(watchers) = self.watchers.get_mut(id) {
            watchers.retain(|watcher| !watcher.is_closed());
            if watchers.is_empty() {
                self.watchers.remove(id);
            }
        }
    }

    /// Release something when all that was applied until now is durable: now, if it is. Never, if what was applied isn't
    /// recorded any more.
    pub(super) fn hold(&mut self, release: Release) {
        if self.is_over() {
            return;
        }
        if self.applied <= self.committed {
            return release.release();
        }
        self.held.push_back((self.applied, release));
    }

    /// The group that has filled, to be appended. The next one fills from here on.
    pub(super) fn take_group(&mut self) -> Group {
        let next = Group { first: self.applied + 1, ..Group::default() };
        std::mem::replace(&mut self.group, next)
    }

    /// All up to this record is durable: what may be known outside because of that.
    pub(super) fn was_committed(&mut self, last: u64) -> Vec<Release> {
        self.committed = last;
        let known = self.held.partition_point(|(number, _)| *number <= last);
        let released: Vec<Release> = self.held.drain(..known).map(|(_, release)| release).collect();
        self.last_released = released.len();
        released
    }

    /// Whether somebody waits for the group that fills.
    pub(super) fn is_hurried(&self) -> bool {
        !self.held.is_empty() || self.wanted > self.committed || self.stopping
    }

    /// Whether the committer has something to do that it may not know of.
    pub(super) fn wants_committer(&self) -> bool {
        let has_work = self.group.count > 0 && (self.is_hurried() || self.committer_dozes);
        self.may_end() || self.log.is_some() && has_work
    }

    /// Whether the writer has something to do that it may not know of.
    pub(super) fn wants_writer(&self) -> bool {
        self.may_end() || self.write_now || self.is_cut_due()
    }

    /// Whether the host is to stop and nothing is under way that has to be recorded before.
    fn may_end(&self) -> bool {
        self.stopping && !self.sessions.any_running()
    }

    /// Whether there is something that the store doesn't have.
    pub(super) fn unwritten(&self) -> bool {
        self.written < self.applied
    }

    /// What the store doesn't have, frozen to be written.
    pub(super) fn cut(&mut self) -> Arc<Cut> {
        self.frozen_bytes = std::mem::take(&mut self.unwritten_bytes);
        self.view.cut(self.applied, self.now)
    }

    /// The frozen cut is in the store.
    pub(super) fn cut_was_written(&mut self, cut: &Cut, saved: Vec<Saved>, reader: Reader) {
        self.view.cut_was_written(saved, reader);
        self.written = cut.applied;
        self.frozen_bytes = 0;
    }

    /// Whether there is enough for a cut.
    pub(super) fn is_cut_due(&self) -> bool {
        self.view.unsaved() >= CUT_PROMISES || self.unwritten_bytes >= CUT_BYTES
    }

    /// A promise, its deadline observed.
    pub(super) fn promise(&mut self, id: &Id) -> Option<Arc<Promise>> {
        let promise = self.view.get(id)?;
        if promise.outcome.is_none() && promise.timeout_at <= self.now() && !self.is_over() {
            let _ = self.apply(Op::Expire { ids: vec![id.clone()] });
            return self.view.get(id);
        }
        Some(promise)
    }

    /// Whether there is something to tell an execution.
    pub(super) fn has_ready(&mut self, id: &Id) -> bool {
        self.view.promise(id).and_then(|p| p.execution.as_ref()).is_some_and(|e| !e.ready.is_empty())
    }

    /// Whether an execution has something to do.
    pub(super) fn is_runnable(&mut self, id: &Id) -> bool {
        let execution = self.view.promise(id).and_then(|promise| promise.execution.as_ref());
        execution.is_some_and(|execution| execution.task.state == TaskState::Runnable)
    }

    /// What an execution is to be told next.
    pub(super) fn next_ready(&mut self, id: &Id) -> Option<(u32, machine::Completion)> {
        let ready = self.view.promise(id)?.execution.as_ref()?.ready.front()?.clone();
        let completion = match ready.answer {
            machine::Answer::Here(completion) => completion,
            machine::Answer::Promise(id) => machine::Completion::Settled(self.view.promise(&id)?.outcome.clone()?),
        };
        Some((ready.step, completion))
    }

    /// Whether an execution is held if it crashes.
    pub(super) fn holds_crash(&mut self, id: &Id) -> bool {
        let Some(promise) = self.view.promise(id) else { return false };
        promise.function().is_some_and(|function| self.hold_crashes.holds(function))
    }

    /// Whether a session is being asked to end.
    pub(super) fn is_stopped(&self, id: &Id) -> bool {
        matches!(self.sessions.get(id), Some(Live::Stopped) | None)
    }
}
