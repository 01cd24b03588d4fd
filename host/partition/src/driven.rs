//! A partition without threads: the same state, moved step by step by a simulation. It decides when; what follows is
//! decided by what decides it in a host. All guests are elsewhere: with the simulation.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use machine::{Config, Granted, Id, Op, Promise, Refusal, Rejection, Reply, Request, State};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::elsewhere::{Abroad, perform};
use super::inner::{Inner, Release};
use super::settings::configuration;
use super::turn::{Done, Failed};
use super::workers::{Lane, Work};
use super::{Beginning, Courier, Error, HoldCrashes, Message, Options, Retention, Room, Seen};
use host_log::Group;
use host_store::{Cut, Disk, MemoryFile, Store, StoreError, View};

/// How many of what is due goes into one record.
const AT_ONCE: usize = 16;
/// How many sessions are kept: few, so that guests begin again.
const SESSIONS: usize = 4;

/// A partition, and its store.
pub struct Driven {
    inner: Inner,
    store: Store,
    file: MemoryFile,
    cut: Option<Arc<Cut>>,
    /// Guests that are at work.
    at_work: BTreeMap<Id, AtWork>,
    delivered: Arc<Collected>,
    _requests: mpsc::UnboundedReceiver<Id>,
}

type AtWork = BoxFuture<'static, Result<Done, (u32, Failed)>>;

/// Messages that may leave.
#[derive(Default)]
struct Collected(Mutex<Vec<Message>>);

impl Courier for Collected {
    fn send(&self, message: Message) {
        self.0.lock().push(message);
    }

    fn forget(&self) {
        self.0.lock().clear();
    }
}

impl Driven {
    /// Recover what a store and the log behind it hold, as whoever takes a partition does.
    pub fn open(file: MemoryFile, partition: u8, tail: Vec<Group>, clock: u64) -> Result<Driven, Error> {
        let options = Options {
            data: PathBuf::new(),
            workers: 1,
            sessions: SESSIONS,
            sessions_bytes: usize::MAX,
            // Few, so that rows are read again.
            promises: 8,
            cache_bytes: 1 << 18,
            backlog: usize::MAX,
            limits: Config::default(),
            outbound: Default::default(),
            hold_crashes: HoldCrashes::Never,
            settings: Default::default(),
            queue_limit: Duration::MAX,
            retention: Retention { default: Duration::MAX, by_function: HashMap::new() },
        };
        let store = Store::in_memory(&file, options.cache_bytes)?;
        let view = View::new(store.reader()?, store.settings().clone(), options.promises, Some(partition))?;
        let (outbox, requests) = mpsc::unbounded_channel();
        let delivered = Arc::new(Collected::default());
        let disk = Arc::new(Disk::disposable());
        let mut inner = Inner::new(view, &store, &disk, delivered.clone(), outbox, &options);
        inner.clock = Some(clock);
        inner.recover(tail)?;
        Ok(Driven { inner, store, file, cut: None, at_work: BTreeMap::new(), delivered, _requests: requests })
    }

    /// What the clock of its machine says.
    pub fn set_clock(&mut self, clock: u64) {
        self.inner.clock = Some(clock);
    }

    /// Apply a record.
    pub fn apply(&mut self, op: Op) -> Result<Reply, Rejection> {
        self.inner.apply(op)
    }

    /// Put a request of the promise protocol, and look at what came of it. That is to be held.
    pub fn request<T>(
        &mut self,
        request: Request,
        look: impl FnOnce(Result<Granted, Refusal>, &mut Seen<'_>) -> T,
    ) -> Result<T, Rejection> {
        self.inner.request(request, look)
    }

    /// Look at the rows. What was seen is to be held.
    pub fn see<T>(&mut self, look: impl FnOnce(&mut Seen<'_>) -> T) -> T {
        self.inner.see(look)
    }

    /// Act upon what is due. `false`: nothing is.
    pub fn act(&mut self) -> bool {
        self.inner.act(AT_ONCE)
    }

    /// Let the next execution that has something to do take a turn. One that has to begin does so in a new `room`.
    /// `false`: none has anything to do.
    pub fn turn(&mut self, room: impl FnOnce(&Id) -> Box<dyn Room>) -> bool {
        let Some(id) = self.inner.sessions.pop(Lane::Short) else { return false };
        match self.inner.next_work(&id) {
            Some(Work::Begin { promise, version, tail }) => {
                let room = room(&id);
                self.work(id, Abroad::Begin { room, promise, version, tail });
            }
            Some(Work::Abroad(work)) => self.work(id, work),
            Some(Work::Tell { .. } | Work::GoOn { .. }) => unreachable!("no guest is here"),
            None => {}
        }
        true
    }

    fn work(&mut self, id: Id, work: Abroad) {
        let configured = match &work {
            Abroad::Begin { promise, .. } => configuration(&self.inner.view, promise),
            Abroad::GoOn { .. } => Default::default(),
        };
        let beginning = async move |promise: Arc<Promise>, tail| Beginning::of(&promise, tail, configured);
        self.at_work.insert(id.clone(), Box::pin(perform(work, beginning)));
        self.look_after(&id);
    }

    /// Record what guests did meanwhile.
    pub fn record(&mut self) {
        let at_work: Vec<Id> = self.at_work.keys().cloned().collect();
        at_work.iter().for_each(|id| self.look_after(id));
        drop(self.inner.sessions.take_ended());
    }

    fn look_after(&mut self, id: &Id) {
        let Some(turn) = self.at_work.get_mut(id) else { return };
        let Poll::Ready(done) = turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { return };
        self.at_work.remove(id);
        if let Some(Work::Abroad(more)) = self.inner.record(id, done, true) {
            self.work(id.clone(), more);
        }
    }

    /// Whether anything may have something to do.
    pub fn has_runnable(&self) -> bool {
        self.inner.sessions.takeable() > 0
    }

    /// Whether any guest is at work.
    pub fn has_guests_at_work(&self) -> bool {
        !self.at_work.is_empty()
    }

    /// A promise as it is, durable or not.
    pub fn promise(&mut self, id: &Id) -> Option<Arc<Promise>> {
        self.inner.view.get(id)
    }

    /// Completes once all that was applied until now is durable. It fails if that will never be.
    pub fn hold(&mut self) -> oneshot::Receiver<()> {
        let (waiter, held) = oneshot::channel();
        self.inner.hold(Release::Answer(waiter));
        held
    }

    /// What workers and clients are to be told, and may be.
    pub fn messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.delivered.0.lock())
    }

    /// The partitions that there is mail for.
    pub fn receivers(&self) -> Vec<u8> {
        self.inner.view.receivers()
    }

    /// The first messages for a partition.
    pub fn mail(&self, to: u8, limit: usize) -> Vec<(u64, machine::Message)> {
        self.inner.view.mail(to, limit)
    }

    /// The number of the last message from another partition.
    pub fn received(&self, from: u8) -> u64 {
        self.inner.view.received(from)
    }

    /// Numbers of records: the last that was applied, and the last that is durable.
    pub fn position(&self) -> (u64, u64) {
        (self.inner.applied, self.inner.committed)
    }

    /// What is to be appended, if there is something.
    pub fn take_group(&mut self) -> Option<Group> {
        (self.inner.group.count > 0).then(|| self.inner.take_group())
    }

    /// All up to this record is durable, and what waited for that is released.
    pub fn committed(&mut self, last: u64) {
        self.inner.was_committed(last).into_iter().for_each(Release::release);
    }

    /// Nothing more is to be made of it.
    pub fn abandon(&mut self, reason: &str) {
        self.inner.fail(reason.to_owned());
    }

    /// Why it can't go on, if it can't.
    pub fn broken(&self) -> Option<String> {
        self.inner.broken()
    }

    /// Freeze what the store doesn't have, if there is something and nothing is frozen.
    pub fn freeze(&mut self) {
        if self.cut.is_none() && self.inner.unwritten() {
            self.cut = Some(self.inner.cut());
        }
    }

    /// Write what is frozen, if the log has all of it, which it has up to this record. The record up to which the store is
    /// whole now.
    pub fn write(&mut self, durable: u64) -> Result<Option<u64>, StoreError> {
        let Some(cut) = self.cut.take_if(|cut| cut.applied <= durable) else { return Ok(None) };
        let saved = self.store.write(&cut)?;
        self.inner.cut_was_written(&cut, saved, self.store.reader()?);
        Ok(Some(cut.applied))
    }

    /// The disk that the store is on takes so many more changes.
    pub fn fail_disk(&self, changes: u64) {
        self.file.fail_after(changes);
    }

    /// The store's file, as it is now.
    pub fn file(&self) -> MemoryFile {
        self.file.copy()
    }
}
