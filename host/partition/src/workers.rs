//! Guests, one turn at a time, in two lanes with as many threads each as there are cores: most turns end within a time
//! slice, and one that doesn't goes on in the other lane. So guests that compute for long, or never give way, keep each
//! other waiting and nobody else: the system divides the cores among threads, far finer than guests can be stopped.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use machine::{Completion, Id, Op, Outcome, Progress, Promise, PromiseKind, Rejection, Reply, Rest, State};

use super::Shared;
use super::elsewhere::{self, Abroad, Told};
use super::faults::{self, Point};
use super::inner::Inner;
use super::locked::Locked;
use super::turn::{Done, Failed, Guest, Resting, replay};
use host_store::JournalTail;

/// How many turns a session may take before others get theirs.
const TURNS: usize = 64;
/// A session that sleeps for longer than this isn't kept in memory, if its journal is short: it is soon replayed.
const LONG_MS: u64 = 10_000;
const SHORT_JOURNAL: u32 = 1_000;
/// The most steps that are looked at to find that out.
const FEW_STEPS: usize = 4;
/// How long workers wait at a time while the store is far behind.
const BREATHER: Duration = Duration::from_millis(50);
/// By how much threads of the long lane give way, as `nice` counts: they get a third of what another busy thread gets.
#[cfg(target_os = "linux")]
const NICE: libc::c_int = 5;

/// Which guests a worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Those that begin, or are told something.
    Short,
    /// Those whose time slice was over before they came to rest.
    Long,
}

/// The sessions that are in memory, and the executions that want one.
pub(super) struct Sessions {
    by_id: HashMap<Id, Live, RandomState>,
    queue: VecDeque<(Id, Instant)>,
    /// Those that were just invoked from outside. They take turns with all others, so that a new call is begun soon even
    /// if ten thousand sleepers wake at once.
    fresh: VecDeque<(Id, Instant)>,
    /// Whose turn it is.
    is_fresh_next: bool,
    /// Those that there was no room for. They come first once there is.
    roomless: VecDeque<(Id, Instant)>,
    /// Those that go on beyond a time slice, and those that have gone on for many. These take turns as well.
    long: VecDeque<Id>,
    longer: VecDeque<Id>,
    is_longer_next: bool,
    /// Waiting sessions, the longest rested first; some have gone on since.
    warm: VecDeque<(Id, u64)>,
    /// How many sessions there are, and may be.
    count: usize,
    limit: usize,
    /// The memory of those that are in nobody's hands, and how much that may be.
    bytes: usize,
    bytes_limit: usize,
    running: usize,
    /// Workers that wait for something to do, of each lane.
    idle: usize,
    idle_long: usize,
    /// Counts rests, to tell them apart.
    rests: u64,
    /// Sessions that have ended, to be dropped without the lock.
    ended: Vec<Resting>,
    /// Executions that could not be begun, to be tried again.
    later: Vec<Id>,
    /// About how long a turn of the short lane takes.
    turn: Duration,
    /// How many threads there are to take them.
    workers: usize,
    /// The last execution that has to be run here, to see what is wrong with it.
    stay: Option<Id>,
}

/// An execution that has a session, or wants one.
pub(super) enum Live {
    /// In the queue, with its session if it has one.
    Queued(Option<Resting>),
    /// In the hands of a worker.
    Running,
    /// In the hands of a worker, and no longer wanted.
    Stopped,
    /// At rest, until something that it waits for is settled.
    Warm(Resting, u64),
}

impl Sessions {
    pub(super) fn new(limit: usize, bytes_limit: usize, workers: usize) -> Sessions {
        Sessions {
            by_id: HashMap::default(),
            queue: VecDeque::new(),
            fresh: VecDeque::new(),
            is_fresh_next: false,
            roomless: VecDeque::new(),
            long: VecDeque::new(),
            longer: VecDeque::new(),
            is_longer_next: false,
            warm: VecDeque::new(),
            count: 0,
            limit,
            bytes: 0,
            bytes_limit,
            running: 0,
            idle: 0,
            idle_long: 0,
            rests: 0,
            ended: Vec::new(),
            later: Vec::new(),
            turn: Duration::ZERO,
            workers,
            stay: None,
        }
    }

    /// An execution can go on.
    pub(super) fn queue(&mut self, id: Id) {
        let live = match self.by_id.remove(&id) {
            None => Live::Queued(None),
            Some(Live::Warm(resting, _)) => Live::Queued(Some(resting)),
            Some(other) => {
                self.by_id.insert(id, other);
                return;
            }
        };
        self.by_id.insert(id.clone(), live);
        self.queue.push_back((id, Instant::now()));
    }

    /// An execution was invoked from outside.
    pub(super) fn queue_fresh(&mut self, id: Id) {
        if self.by_id.contains_key(&id) {
            return self.queue(id);
        }
        self.by_id.insert(id.clone(), Live::Queued(None));
        self.fresh.push_back((id, Instant::now()));
    }

    /// How many workers of a lane have something to do and wait.
    pub(super) fn wanted_workers(&self, lane: Lane) -> usize {
        match lane {
            Lane::Short => self.idle.min(self.takeable()),
            Lane::Long => self.idle_long.min(self.long.len() + self.longer.len()),
        }
    }

    /// How many of the short lane have something to do and room for it.
    pub(super) fn takeable(&self) -> usize {
        let roomless = if self.has_room() { self.roomless.len() } else { 0 };
        self.queue.len() + self.fresh.len() + roomless
    }

    fn idle(&mut self, lane: Lane) -> &mut usize {
        match lane {
            Lane::Short => &mut self.idle,
            Lane::Long => &mut self.idle_long,
        }
    }

    /// Take an execution that was just queued, if it is alone and a worker would have to be woken for it.
    fn take_alone(&mut self, id: &Id) -> bool {
        let first = self.fresh.front().or(self.queue.front()).map(|(first, _)| first);
        let is_alone = self.idle > 0 && self.backlog() == 1 && first == Some(id);
        if is_alone {
            self.fresh.clear();
            self.queue.clear();
        }
        is_alone
    }

    /// A turn of the short lane took so long.
    fn took(&mut self, time: Duration) {
        self.turn = (self.turn * 255 + time) / 256;
    }

    /// Take one of the long lane that hasn't computed for long, the last, and drop its session: it is to begin again
    /// elsewhere, from its journal.
    pub(super) fn pop_movable(&mut self) -> Option<Id> {
        let index = self.long.iter().rposition(|id| self.stay.as_ref() != Some(id))?;
        let id = self.long.remove(index)?;
        match self.by_id.remove(&id)? {
            Live::Queued(Some(resting)) => {
                self.bytes -= resting.bytes;
                self.end(resting);
                self.by_id.insert(id.clone(), Live::Queued(None));
                Some(id)
            }
            // It was stopped meanwhile, and has gone other ways.
            other => {
                self.by_id.insert(id, other);
                None
            }
        }
    }

    /// The next to get a worker.
    pub(super) fn pop(&mut self, lane: Lane) -> Option<Id> {
        if lane == Lane::Long {
            self.is_longer_next = !self.is_longer_next;
            return match self.is_longer_next {
                true => self.longer.pop_front().or_else(|| self.long.pop_front()),
                false => self.long.pop_front().or_else(|| self.longer.pop_front()),
            };
        }
        if self.has_room()
            && let Some((id, _)) = self.roomless.pop_front()
        {
            return Some(id);
        }
        self.is_fresh_next = !self.is_fresh_next;
        let next = match self.is_fresh_next {
            true => self.fresh.pop_front().or_else(|| self.queue.pop_front()),
            false => self.queue.pop_front().or_else(|| self.fresh.pop_front()),
        };
        next.map(|(id, _)| id)
    }

    /// An execution has ended: its session has nothing more to do.
    pub(super) fn stop(&mut self, id: &Id) {
        match self.by_id.get_mut(id) {
            None | Some(Live::Stopped) => {}
            Some(live @ Live::Running) => *live = Live::Stopped,
            Some(_) => {
                if let Some(Live::Queued(Some(resting)) | Live::Warm(resting, _)) = self.by_id.remove(id) {
                    self.bytes -= resting.bytes;
                    self.end(resting);
                }
            }
        }
    }

    /// Nothing has anything to do any more.
    pub(super) fn clear(&mut self) {
        for (id, live) in std::mem::take(&mut self.by_id) {
            match live {
                Live::Queued(Some(resting)) | Live::Warm(resting, _) => {
                    self.bytes -= resting.bytes;
                    self.end(resting);
                }
                Live::Queued(None) => {}
                // Its worker finds out when it wants to record something.
                Live::Running | Live::Stopped => drop(self.by_id.insert(id, Live::Stopped)),
            }
        }
        self.queue.clear();
        self.fresh.clear();
        self.roomless.clear();
        self.long.clear();
        self.longer.clear();
        self.warm.clear();
        self.later.clear();
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Live> {
        self.by_id.get(id)
    }

    /// How many executions wait for a worker of the short lane.
    pub(super) fn backlog(&self) -> usize {
        self.queue.len() + self.fresh.len() + self.roomless.len()
    }

    /// For how long the one has waited for a worker that has waited longest.
    pub(super) fn waited(&self) -> Duration {
        let first = [self.fresh.front(), self.queue.front(), self.roomless.front()]
            .into_iter()
            .flatten()
            .map(|(_, since)| since)
            .min();
        first.map_or(Duration::ZERO, Instant::elapsed)
    }

    /// About how long one would wait for a worker that is queued now, behind all that is queued already.
    pub(super) fn expected_wait(&self) -> Duration {
        let turns = self.backlog().div_ceil(self.workers.max(1));
        self.turn.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX))
    }

    /// How many sessions are in memory.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// How many are at work.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Whether any worker has one in its hands.
    pub(super) fn any_running(&self) -> bool {
        self.running > 0
    }

    /// Those that have ended, to be dropped without the lock.
    pub(super) fn take_ended(&mut self) -> Vec<Resting> {
        std::mem::take(&mut self.ended)
    }

    fn end(&mut self, resting: Resting) {
        self.count -= 1;
        self.ended.push(resting);
    }

    /// Whether there is room for one more session, or may be.
    fn has_room(&self) -> bool {
        !self.warm.is_empty() || (self.count < self.limit && self.bytes <= self.bytes_limit)
    }

    /// Room for one more session: those that have rested longest give way. `false`: all have something to do.
    fn make_room(&mut self) -> bool {
        while self.count >= self.limit || self.bytes > self.bytes_limit {
            if !self.evict() {
                return false;
            }
        }
        true
    }

    /// The session that has rested longest gives way, unless it has gone on since. `false`: none rests.
    fn evict(&mut self) -> bool {
        let Some((id, rest)) = self.warm.pop_front() else { return false };
        if matches!(self.by_id.get(&id), Some(Live::Warm(_, r)) if *r == rest)
            && let Some(Live::Warm(resting, _)) = self.by_id.remove(&id)
        {
            self.bytes -= resting.bytes;
            self.end(resting);
        }
        true
    }

    fn rest(&mut self, id: Id, mut resting: Resting) {
        self.rests += 1;
        resting.bytes = resting.memory_bytes();
        self.bytes += resting.bytes;
        self.warm.push_back((id.clone(), self.rests));
        self.by_id.insert(id, Live::Warm(resting, self.rests));
        if self.warm.len() > 4 * self.limit {
            let by_id = &self.by_id;
            self.warm.retain(|(id, rest)| matches!(by_id.get(id), Some(Live::Warm(_, r)) if r == rest));
        }
        // They grow while they are at work, too.
        while self.bytes > self.bytes_limit && self.evict() {}
    }

    fn requeue(&mut self, id: Id, mut resting: Resting) {
        resting.bytes = resting.memory_bytes();
        self.bytes += resting.bytes;
        let has_computed = resting.has_computed;
        let is_long = resting.is_halfway && matches!(resting.guest, Guest::Here(_));
        self.by_id.insert(id.clone(), Live::Queued(Some(resting)));
        match is_long {
            true if has_computed => self.longer.push_back(id),
            true => self.long.push_back(id),
            false => self.queue.push_back((id, Instant::now())),
        }
    }
}

/// What a worker is to do next.
pub(super) enum Work {
    /// Begin a session, from the journal.
    Begin { promise: Arc<Promise>, version: u32, tail: JournalTail },
    /// Tell a waiting session of a step.
    Tell { resting: Resting, step: u32, completion: Completion, now: u64 },
    /// Let a session go on that its time slice had stopped.
    GoOn { resting: Resting },
    /// Something with a session on another node.
    Abroad(Abroad),
}

impl Work {
    fn tell(resting: Resting, step: u32, completion: Completion, now: u64) -> Work {
        match resting.guest {
            Guest::Here(_) => Work::Tell { resting, step, completion, now },
            Guest::Elsewhere(room) => {
                let told = Some(Told { step, completion, now });
                Work::Abroad(Abroad::GoOn { room, version: resting.version, told })
            }
        }
    }

    fn go_on(resting: Resting) -> Work {
        match resting.guest {
            Guest::Here(_) => Work::GoOn { resting },
            Guest::Elsewhere(room) => Work::Abroad(Abroad::GoOn { room, version: resting.version, told: None }),
        }
    }
}

pub(super) fn run(shared: &Arc<Shared>, lane: Lane) {
    if lane == Lane::Long {
        give_way();
    }
    let mut inner = shared.lock();
    loop {
        drop_ended(&mut inner);
        if inner.stopping {
            return;
        }
        if inner.is_choked() {
            inner.wait_for(|signals| &signals.written, BREATHER);
            continue;
        }
        let Some(id) = inner.sessions.pop(lane) else {
            *inner.sessions.idle(lane) += 1;
            inner.wait(|signals| signals.of(lane));
            *inner.sessions.idle(lane) -= 1;
            continue;
        };
        let Some(mut work) = inner.next_work(&id) else { continue };
        for turn in 1.. {
            if let Work::Abroad(abroad) = work {
                shared.tokio.spawn(elsewhere::drive(shared.clone(), id.clone(), abroad));
                break;
            }
            let begun = Instant::now();
            let done = inner.unlocked(|shared| perform(shared, work));
            if lane == Lane::Short {
                inner.sessions.took(begun.elapsed());
            }
            // Once it rests, what it is told next is a turn like any other.
            match inner.record(&id, done, lane == Lane::Short && turn < TURNS) {
                Some(more) => work = more,
                None => break,
            }
        }
    }
}

/// Have the system prefer all other threads to this one: those that answer, commit, and renew a node's lease have little to
/// do, and soon.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: it takes no pointers. On Linux the process 0 is this thread.
        let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        if result != 0 {
            tracing::debug!("guests that compute have the priority of all else: {}", std::io::Error::last_os_error());
        }
    }
}

/// Give an execution that was just queued its first turn, if nothing else is queued and no worker is awake: it would have
/// to be woken, which takes longer than most turns. What came of it isn't known to anybody when this returns: whoever
/// asked may want to commit it himself.
pub(super) fn help(inner: &mut Locked<'_>, id: &Id) {
    if inner.stopping || !inner.is_ready_to_run(id) || !inner.sessions.take_alone(id) {
        return;
    }
    if let Some(work) = inner.next_work(id) {
        if let Work::Abroad(_) = work {
            inner.put_back(id.clone(), work);
            return;
        }
        let done = inner.unlocked(|shared| perform(shared, work));
        inner.record(id, done, false);
    }
}

/// Drop the sessions that have ended, without the lock.
pub(super) fn drop_ended(inner: &mut Locked<'_>) {
    if !inner.sessions.ended.is_empty() {
        let ended = inner.sessions.take_ended();
        inner.unlocked(|_| drop(ended));
    }
}

fn perform(shared: &Shared, work: Work) -> Result<Done, (u32, Failed)> {
    let done = match work {
        Work::Begin { promise, version, tail } => {
            replay(shared, &promise, version, tail).map_err(|failed| (version, failed))
        }
        Work::Tell { resting, step, completion, now } => {
            let version = resting.version;
            resting.tell(step, completion, now).map_err(|failed| (version, failed))
        }
        Work::GoOn { resting } => {
            let version = resting.version;
            resting.compute().map_err(|failed| (version, failed))
        }
        Work::Abroad(_) => unreachable!("whoever has it sends it there"),
    };
    faults::pass(Point::MidTurn);
    done
}

impl Inner {
    /// Take an execution from the queue. None: there is nothing to do for it now.
    pub(super) fn next_work(&mut self, id: &Id) -> Option<Work> {
        match self.sessions.by_id.remove(id)? {
            Live::Queued(None) => self.begin(id),
            Live::Queued(Some(resting)) => {
                self.sessions.by_id.insert(id.clone(), Live::Running);
                self.sessions.running += 1;
                self.sessions.bytes -= resting.bytes;
                if resting.is_halfway { Some(Work::go_on(resting)) } else { self.tell_next(id, resting) }
            }
            other => {
                self.sessions.by_id.insert(id.clone(), other);
                None
            }
        }
    }

    fn begin(&mut self, id: &Id) -> Option<Work> {
        if !self.sessions.make_room() {
            self.sessions.by_id.insert(id.clone(), Live::Queued(None));
            self.sessions.roomless.push_back((id.clone(), Instant::now()));
            return None;
        }
        let Ok(Reply::Acquired { version }) = self.apply(Op::Acquire { id: id.clone() }) else { return None };
        let promise = self.view.get(id)?;
        let tail = self.view.journal(id, 0)?;
        self.sessions.by_id.insert(id.clone(), Live::Running);
        self.sessions.running += 1;
        self.sessions.count += 1;
        Some(Work::Begin { promise, version, tail })
    }

    /// The next thing to tell a session in a worker's hands. None: nothing, and it is put to rest.
    fn tell_next(&mut self, id: &Id, resting: Resting) -> Option<Work> {
        match self.next_ready(id) {
            Some((step, completion)) => Some(Work::tell(resting, step, completion, self.now())),
            None if self.sleeps_long(id) => self.end_session(id, resting),
            None => {
                self.sessions.running -= 1;
                self.sessions.rest(id.clone(), resting);
                None
            }
        }
    }

    /// Whether an execution waits for nothing but a time that is far off.
    fn sleeps_long(&mut self, id: &Id) -> bool {
        let until = self.now() + LONG_MS;
        let Some(execution) = self.view.promise(id).and_then(|promise| promise.execution.as_ref()) else {
            return false;
        };
        if execution.open.is_empty() || execution.open.len() > FEW_STEPS || execution.entries > SHORT_JOURNAL {
            return false;
        }
        let awaited = |(step, other): (&u32, &Option<Id>)| other.clone().map_or_else(|| id.child(*step).ok(), Some);
        let awaited: Vec<Option<Id>> = execution.open.iter().map(awaited).collect();
        awaited.into_iter().all(|awaited| {
            let promise = awaited.and_then(|awaited| self.view.promise(&awaited));
            promise.is_some_and(|promise| match promise.kind {
                PromiseKind::Sleep => promise.timeout_at > until,
                // A step of its own work, in which it sleeps.
                PromiseKind::Step { .. } => true,
                _ => false,
            })
        })
    }

    /// Record a turn. What the worker is to do next with the same session, if it may go on and there is something.
    pub(super) fn record(&mut self, id: &Id, done: Result<Done, (u32, Failed)>, may_go_on: bool) -> Option<Work> {
        let Done { resting, told, events, output, rest } = match done {
            Ok(done) => done,
            Err((version, failed)) => {
                self.give_up(id, version, failed);
                return None;
            }
        };
        let is_stopped = self.is_stopped(id);
        let version = resting.version;
        if let Rest::Finished(Outcome::Crashed(text)) = &rest
            && !is_stopped
            && self.holds_crash(id)
        {
            let reason = format!("it crashed: {text}");
            if self.apply(Op::Hold { id: id.clone(), version, reason }).is_ok() {
                self.halted(id);
            }
            return self.end_session(id, resting);
        }
        let is_quiet = told.is_none() && events.is_empty() && output.is_empty();
        let is_news = match rest {
            Rest::Finished(_) => true,
            Rest::Running => !is_quiet,
            // A replay that comes to rest with something to be told has nothing to record.
            Rest::Waiting => !is_quiet || !self.has_ready(id),
        };
        let is_finished = matches!(rest, Rest::Finished(_));
        if is_news && !is_stopped {
            let progress = Progress { id: id.clone(), version, told, events, output, rest };
            match self.apply(Op::Progress(progress)) {
                Ok(_) => self.progressed(id),
                Err(Rejection::Stale(_)) => return self.end_session(id, resting),
                Err(rejection) => {
                    tracing::error!(execution = %id, "{rejection}");
                    let hold = Op::Hold { id: id.clone(), version, reason: rejection.to_string() };
                    let _ = self.apply(hold);
                    self.halted(id);
                    return self.end_session(id, resting);
                }
            }
        }
        // Applying the record may have stopped it as well.
        if is_finished || self.is_stopped(id) {
            return self.end_session(id, resting);
        }
        if resting.is_halfway || (!may_go_on && self.has_ready(id)) {
            self.sessions.running -= 1;
            self.sessions.requeue(id.clone(), resting);
            return None;
        }
        self.tell_next(id, resting)
    }

    fn end_session(&mut self, id: &Id, resting: Resting) -> Option<Work> {
        self.sessions.running -= 1;
        self.sessions.by_id.remove(id);
        self.sessions.end(resting);
        // It may have been moved, or halted and continued, or removed and its id used anew, while a worker had it: then it
        // begins again.
        if self.is_runnable(id) {
            self.sessions.queue(id.clone());
        }
        None
    }

    fn give_up(&mut self, id: &Id, version: u32, failed: Failed) {
        self.sessions.running -= 1;
        self.sessions.count -= 1;
        self.sessions.by_id.remove(id);
        match failed {
            Failed::Diverged(difference) => {
                let reason = difference.to_string();
                tracing::error!(execution = %id, "{reason}");
                if self.apply(Op::Hold { id: id.clone(), version, reason }).is_ok() {
                    self.halted(id);
                } else if self.is_runnable(id) {
                    // It was moved meanwhile, or halted and continued: then it begins again.
                    self.sessions.queue(id.clone());
                }
            }
            Failed::Gone => self.sessions.queue(id.clone()),
            Failed::Elsewhere => {
                self.sessions.stay = Some(id.clone());
                self.sessions.queue(id.clone());
            }
            Failed::Unable(error) => {
                tracing::error!(execution = %id, "it can't be run, and is tried again: {error}");
                self.sessions.later.push(id.clone());
            }
        }
    }

    /// Leave to others what was taken from the queue.
    pub(super) fn put_back(&mut self, id: Id, work: Work) {
        self.sessions.running -= 1;
        let resting = match work {
            Work::Begin { .. } => None,
            Work::Tell { resting, .. } | Work::GoOn { resting } => Some(resting),
            Work::Abroad(Abroad::Begin { .. }) => None,
            Work::Abroad(Abroad::GoOn { room, version, told }) => {
                let is_halfway = told.is_none();
                Some(Resting { guest: Guest::Elsewhere(room), version, is_halfway, has_computed: false, bytes: 0 })
            }
        };
        match resting {
            Some(resting) => self.sessions.requeue(id, resting),
            None => {
                self.sessions.count -= 1;
                self.sessions.by_id.remove(&id);
                self.sessions.queue(id);
            }
        }
    }

    /// Whether more compute than the workers have hands for.
    pub(super) fn is_overfull(&self) -> bool {
        let sessions = &self.sessions;
        !self.stopping && sessions.idle_long == 0 && !sessions.long.is_empty()
    }

    /// Try again what could not be begun.
    pub(super) fn retry_later(&mut self) {
        std::mem::take(&mut self.sessions.later).into_iter().for_each(|id| self.sessions.queue(id));
    }
}
