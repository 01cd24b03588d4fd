//! The driver: it takes input, steps the machine, commits, and releases what others may know.
//!
//! A partition owns one state and one log. Records are applied in memory at once; what is internal follows at once
//! (a child starts, its result reaches its parent), and what is external waits until the records that it depends on are
//! durable (*output commit*). One lock guards it all and is held for one record at a time; guests run, groups are
//! committed and the store is written outside of it.
//!
//! - `locked`: the one lock; whoever lets go of it wakes whom it has made something to do for
//! - `inner`: the state under the lock, and the only place where records are applied
//! - `workers`: guests, one turn at a time; `turn`: what a turn is, replay included
//! - `elsewhere`: guests that other nodes run
//! - `committer`: groups of records to the log, then what waited for them
//! - `writer`: cuts of the state to the store
//! - `timer`: what happens by itself when its time has come
//! - `retention`: what has ended long ago; `unneeded`: components that nothing needs any more
//! - `messages`: what workers and clients elsewhere are told; `mail`: what other partitions are
//! - `faults`: dying on purpose, for tests
//! - `requests`: what the outside can ask; `moves`: what it can ask about replaying; `protocol`: what clients of the
//!   promise protocol can
//! - `settings`: what executions run with; `sending`: their requests to other systems

mod committer;
mod driven;
mod elsewhere;
mod faults;
mod inner;
mod locked;
mod mail;
mod messages;
mod moves;
mod programs;
mod protocol;
mod requests;
mod retention;
mod sending;
mod settings;
mod timer;
mod turn;
mod unneeded;
mod workers;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use machine::{Config, Digest, Id, Op, Rejection, State};
use parking_lot::Mutex;
use tokio::sync::Notify;

use host_log::{EmbeddedLog, Group, Log};
use host_outbound as outbound;
use host_replay::Difference;
use host_runtime::{ComponentError, Runtime, RuntimeError};
use host_store::{Blobs, Disk, Store, StoreError, Vault, View};
use inner::Inner;
use locked::Signals;
use settings::Settings;
use workers::Lane;

pub use driven::Driven;
pub use elsewhere::{Answer, Beginning, Elsewhere, Lodger, Room, Told};
pub use mail::Bundle;
pub use messages::{Courier, Message};
pub use moves::Scope;
pub use programs::Programs;
pub use protocol::{Found, Seen};
pub use requests::{Invocation, Listed, Load, Position};
pub use retention::Retention;
pub use settings::{Change, Shown};

/// How a partition is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept.
    pub data: PathBuf,
    /// Threads that run guests, and as many for those that compute beyond a time slice.
    pub workers: usize,
    /// Sessions that are kept in memory, at work and waiting.
    pub sessions: usize,
    /// The memory of guests that wait in memory, together. Beyond it those that have waited longest are evicted.
    pub sessions_bytes: usize,
    /// Promises that are kept in memory.
    pub promises: usize,
    /// Memory for the store's pages.
    pub cache_bytes: usize,
    /// Promises and executions that may be waiting to be written or run before new ones are turned away.
    pub backlog: usize,
    /// What functions may use at most, as a configuration: beside the runtime's limits those of journals and children.
    pub limits: Config,
    /// What sends requests.
    pub outbound: outbound::Client,
    /// Which functions are held when they crash, instead of ending.
    pub hold_crashes: HoldCrashes,
    /// What the rules depend on.
    pub settings: machine::Settings,
    /// How long an execution may wait for a worker before new calls are turned away.
    pub queue_limit: Duration,
    /// How long what has ended is kept.
    pub retention: Retention,
}

/// Which functions are held when they crash: what they did in the turn in which they crashed is not recorded, and they
/// can be resumed once they are mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HoldCrashes {
    /// None: a crash is how they end.
    #[default]
    Never,
    /// All of them.
    Always,
    /// Those with these names.
    Of(Vec<String>),
}

impl HoldCrashes {
    fn holds(&self, function: &str) -> bool {
        match self {
            HoldCrashes::Never => false,
            HoldCrashes::Always => true,
            HoldCrashes::Of(functions) => functions.iter().any(|name| name == function),
        }
    }
}

/// Why something that was asked of the host was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine's rules.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Too much is under way. Nothing was done.
    #[error("the host has more work than it may take on: try again in a second")]
    Overloaded,
    /// The host can't record anything just now. What was asked was not done, or is done once it can.
    #[error("the host can't record anything at the moment: {0}")]
    Stalled(String),
    /// An execution would not go on as it has gone until now. Nothing was changed.
    #[error("{id:?} would not go on unchanged on component {component}: {difference}")]
    Differs {
        /// The execution.
        id: Id,
        /// The component that it was to go on on.
        component: Digest,
        /// Where it would differ first.
        difference: Box<Difference>,
    },
    /// A journal doesn't go as far.
    #[error("{id:?} has no entry {entry} that a fork can take over: the last one is {last}")]
    NoEntry {
        /// The execution.
        id: Id,
        /// The entry that was asked for.
        entry: u32,
        /// The last one that there is, before the end.
        last: u32,
    },
    /// A call tree that is too large to be taken at once.
    #[error("there are more than {limit} promises below {id:?}: take a part of it, by the id of one of its calls")]
    TreeTooLarge {
        /// The execution at its top.
        id: Id,
        /// How many there may be.
        limit: usize,
    },
    /// A text that names no component, or several.
    #[error("{text:?} names {}: a component is named by its name, its digest, or the first digits of it",
        if *many { "more than one component" } else { "no component" })]
    Unnamed {
        /// The text.
        text: String,
        /// Several.
        many: bool,
    },
    /// The host is on its way out.
    #[error("the host is shutting down")]
    Stopping,
    /// The store is damaged.
    #[error("the host has stopped: {0}")]
    Broken(String),
    /// The component isn't one that can be run.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The engine can't load what it compiled.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A file of the data directory can't be read or written.
    #[error("a file of the data directory can't be used: {0}")]
    File(#[from] io::Error),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One state, one log, and the threads that work on them.
#[derive(Clone)]
pub struct Partition {
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

struct Shared {
    inner: Mutex<Inner>,
    disk: Arc<Disk>,
    signals: Signals,
    runtime: Runtime,
    programs: Arc<Programs>,
    settings: Settings,
    /// The host's own configuration, which is nobody else's to change.
    limits: Config,
    options: Options,
    place: Option<Place>,
    tokio: tokio::runtime::Handle,
}

/// What a partition is made of.
pub struct Parts {
    /// How it is run.
    pub options: Options,
    /// Under its store.
    pub disk: Arc<Disk>,
    /// Whole up to some record.
    pub store: Store,
    /// Where new records become durable.
    pub log: Box<dyn Log>,
    /// What the log has beyond the store.
    pub tail: Vec<Group>,
    /// Components that are ready to run.
    pub programs: Arc<Programs>,
    /// The values of variables.
    pub vault: Vault,
    /// Who is told what is to be delivered.
    pub courier: Arc<dyn Courier>,
    /// If it is one of many.
    pub place: Option<Place>,
}

/// One of the partitions that divide all ids between them.
pub struct Place {
    /// Which.
    pub number: u8,
    /// Notified when there is something for others, durably.
    pub posted: Arc<Notify>,
    /// The other nodes, as far as they run guests.
    pub elsewhere: Arc<dyn Elsewhere>,
    /// Notified when more executions wait than there are hands for.
    pub overfull: Arc<Notify>,
    /// Told of each cut that was written: the store is whole up to this record, and isn't written while it looks.
    pub written: Box<dyn Fn(u64) + Send + Sync>,
}

impl Partition {
    /// Open a data directory, recover what it holds, and set to work. `courier` is told what is to be delivered; requests
    /// of guests are sent on the given tokio runtime.
    pub fn open(
        options: Options,
        runtime: Runtime,
        courier: Arc<dyn Courier>,
        tokio: &tokio::runtime::Handle,
    ) -> Result<Partition, Error> {
        faults::prepare().map_err(io::Error::other)?;
        std::fs::create_dir_all(&options.data)?;
        let disk = Arc::new(Disk::default());
        let store_path = options.data.join("store.redb");
        if EmbeddedLog::exists(&options.data) && !store_path.exists() {
            let what = "it is missing, and its log is there".into();
            return Err(StoreError::Damaged { path: store_path, what }.into());
        }
        let store = Store::open(&store_path, options.cache_bytes, &disk)?;
        let mut log = EmbeddedLog::open(&options.data, store.identity(), store.applied(), &disk)?;
        let programs = Arc::new(Programs::new(Blobs::open(&options.data.join("components"), None)?, runtime));
        let vault = Vault::open(&options.data.join("vault"), None)?;
        let (tail, log) = (log.take_tail(store.applied()), Box::new(log));
        Partition::assemble(Parts { options, disk, store, log, tail, programs, vault, courier, place: None }, tokio)
    }

    /// Recover what a store and a log hold, and set to work.
    pub fn assemble(parts: Parts, tokio: &tokio::runtime::Handle) -> Result<Partition, Error> {
        let Parts { options, disk, store, log, tail, programs, vault, courier, place } = parts;
        let number = place.as_ref().map(|place| place.number);
        let view = View::new(store.reader()?, store.settings().clone(), options.promises, number)?;
        let (outbox, posted) = tokio::sync::mpsc::unbounded_channel();
        let mut inner = Inner::new(view, &store, &disk, courier, outbox, &options);
        inner.mailed = place.as_ref().map(|place| place.posted.clone());
        inner.recover(tail)?;
        let limits = options.limits.clone();
        inner.apply(Op::Configure { scope: machine::Scope::Host, config: limits.clone() })?;
        inner.log = Some(log);
        disk.be_patient();
        let runtime = programs.runtime().clone();
        let shared = Arc::new(Shared {
            disk,
            inner: Mutex::new(inner),
            signals: Signals::default(),
            settings: Settings::new(vault, runtime.limits().clone()),
            programs,
            limits,
            runtime,
            options,
            place,
            tokio: tokio.clone(),
        });
        if shared.place.is_some() {
            tokio.spawn(elsewhere::lend(Arc::downgrade(&shared)));
        }
        let settings = &shared.options.settings;
        if shared.lock().view.settings() != settings {
            shared.lock().apply(Op::Adopt(settings.clone()))?;
        }
        tokio.spawn(sending::run(Arc::downgrade(&shared), posted));
        let partition = Partition { shared, threads: Arc::default() };
        if let Err(error) = partition.begin(store) {
            partition.stop();
            return Err(error.into());
        }
        Ok(partition)
    }

    /// Start its threads.
    fn begin(&self, store: Store) -> io::Result<()> {
        let shared = &self.shared;
        let begun = |thread: io::Result<JoinHandle<()>>| thread.map(|thread| self.threads.lock().push(thread));
        for n in 0..shared.options.workers {
            begun(spawn(format!("worker-{n}"), shared, |shared| workers::run(shared, Lane::Short)))?;
            begun(spawn(format!("long-{n}"), shared, |shared| workers::run(shared, Lane::Long)))?;
        }
        begun(spawn("timer".into(), shared, timer::run))?;
        begun(spawn("retention".into(), shared, retention::run))?;
        begun(spawn("writer".into(), shared, move |shared| writer::run(shared, store)))?;
        begun(spawn("committer".into(), shared, committer::run))
    }

    /// Take nothing more, finish the turns that are under way, commit and write everything.
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        // What waits for room now was never acknowledged, or is in the log.
        self.shared.disk.give_up();
        self.shared.signals.wake_all();
        if let Some(place) = &self.shared.place {
            place.overfull.notify_one();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the host had panicked");
            }
        }
    }

    /// Why it can't go on, if it can't.
    pub fn failure(&self) -> Option<String> {
        self.shared.lock().broken()
    }

    /// Take nothing more, and let go of everything: what isn't durable is lost, and nobody was told of it.
    pub fn abandon(&self, reason: &str) {
        let mut inner = self.shared.lock();
        if inner.broken().is_none() {
            inner.fail(reason.to_owned());
        }
        // Whoever has it from here on sends them.
        inner.requests.drain().for_each(|(_, request)| request.abort());
        drop(inner);
        self.shared.signals.wake_all();
    }

    /// Completes when the host can't go on: its store is damaged.
    pub async fn broken(&self) -> String {
        loop {
            if let Some(reason) = self.shared.lock().broken() {
                return reason;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

fn spawn(
    name: String,
    shared: &Arc<Shared>,
    run: impl FnOnce(&Arc<Shared>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let shared = shared.clone();
    std::thread::Builder::new().name(name).spawn(move || run(&shared))
}
