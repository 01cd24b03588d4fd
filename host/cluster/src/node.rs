//! One node: its lease, taking partitions and giving them away.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use machine::PARTITIONS;
use parking_lot::RwLock;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_postgres::Client;

use super::archive::DatabaseArchive;
use super::assignment::{NodeId, plan};
use super::guests::Guests;
use super::members::{self, Members, Own, State, Taken};
use super::peers::{Identity, Peer, Peers};
use super::reach::{self, Reach};
use super::snapshots::{Snapshots, restore};
use super::{Options, carrier, directory, front};
use host_database::{Cluster, Database, DatabaseError, LONG};
use host_log::{AppendCounts, Appender, FencedLog, PostgresLedger, Watched};
use host_partition::{Partition, Parts, Place, Programs};
use host_protocol::Post;
use host_runtime::Runtime;
use host_store::{Archive, Blobs, Disk, Store, Vault};

/// How long the database may take to answer what keeps the lease.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between attempts when it doesn't.
const RETRY: Duration = Duration::from_millis(200);
/// Before a partition is given back that can't be restored, so that this isn't all that the node does.
const BREATHER: Duration = Duration::from_secs(1);
/// How many partitions are restored at a time; and how many are given away, each with a connection of its own.
const AT_ONCE: usize = 8;
/// How many snapshots are made at a time.
const SNAPSHOTS: usize = 4;
/// How many messages of the promise protocol are on their way to other nodes at a time.
const CARRIERS: usize = 64;
/// How long a node that is asked to stop tries to give away what it has.
const FAREWELL: Duration = Duration::from_secs(20);

/// A node of a cluster. Clones are the same.
#[derive(Clone)]
pub struct Node(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) peers: Peers,
    pub(super) reach: Reach,
    pub(super) counts: Arc<AppendCounts>,
    pub(super) takeovers: AtomicU64,
    /// Bounds the letters that are on their way to other nodes.
    pub(super) carriers: Arc<Semaphore>,
    /// Bounds the connections for what is given away, and for snapshots.
    gives: Semaphore,
    snapshots: Arc<Semaphore>,
    /// Whose turn it is, for what any partition can do.
    turns: AtomicU64,
    pub(super) database: Database,
    pub(super) cluster: Cluster,
    pub(super) closing: watch::Receiver<bool>,
    pub(super) tokio: Handle,
    pub(super) post: Post,
    pub(super) guests: Guests,
    appender: Appender,
    programs: Arc<Programs>,
    vault: Vault,
    directory: tempfile::TempDir,
    id: std::sync::atomic::AtomicI64,
    lease: Lease,
    /// Why the lease can't be renewed, if so.
    lost: RwLock<Option<String>>,
    members: RwLock<Members>,
    owned: RwLock<HashMap<u8, Arc<Owned>>>,
    /// Partitions that are being restored or given away: not to be touched by another plan.
    moving: RwLock<Moving>,
    /// Something may have changed: look at the database now.
    look: Notify,
    /// Counts looks and moves, for those who wait for either.
    moves: watch::Sender<u64>,
    leaving: AtomicBool,
}

/// A partition that this node has.
pub(super) struct Owned {
    pub(super) partition: Partition,
    /// Whether it is the one that tells all others of components and configurations.
    pub(super) is_first: bool,
    pub(super) router: Router,
    pub(super) posted: Arc<Notify>,
    /// True once the node has it no longer.
    pub(super) gone: watch::Sender<bool>,
    log: Arc<Watched>,
    path: PathBuf,
}

/// Until when this node may answer, by its own clock.
#[derive(Default)]
struct Lease {
    /// In milliseconds after `base`.
    until: AtomicU64,
    base: std::sync::OnceLock<Instant>,
}

impl Lease {
    fn base(&self) -> Instant {
        *self.base.get_or_init(Instant::now)
    }

    fn extend(&self, until: Instant) {
        let until = until.saturating_duration_since(self.base()).as_millis() as u64;
        self.until.store(until, Ordering::Release);
    }

    fn holds(&self) -> bool {
        self.base().elapsed().as_millis() as u64 <= self.until.load(Ordering::Acquire)
    }
}

impl Node {
    /// Join the cluster, or found it. It takes partitions from here on.
    pub async fn join(
        options: Options,
        runtime: Runtime,
        url: String,
        closing: watch::Receiver<bool>,
    ) -> anyhow::Result<Node> {
        let database = Database::new(&options.database)?;
        let data = &options.partition.data;
        let known = directory::open(data)?;
        let cluster = database.prepare(&options.name, known.is_none()).await?;
        directory::claim(data, known, &cluster)?;
        // What is in it is a copy, and of no use to the next process.
        let directory = tempfile::Builder::new().prefix("partitions-").tempdir_in(data)?;
        let tokio = Handle::current();
        let archive: Arc<dyn Archive> = Arc::new(DatabaseArchive::start(database.clone())?);
        let blobs = Blobs::open(&data.join("components"), Some(archive.clone()))?;
        let programs = Arc::new(Programs::new(blobs, runtime));
        let vault = Vault::open(&data.join("vault"), Some(archive))?;
        let listener = listen(&options.advertise).await?;
        let identity = Identity::new().context("a certificate can't be made")?;
        let counts = Arc::new(AppendCounts::default());
        let ledger = PostgresLedger::new(database.clone(), identity.certificate().to_vec());
        let (appender, appending) = Appender::new(ledger, counts.clone());
        tokio.spawn(appending);
        let node = Node(Arc::new(Inner {
            appender,
            peers: Peers::new(identity, tokio.clone()),
            reach: Reach::default(),
            counts,
            takeovers: AtomicU64::new(0),
            carriers: Arc::new(Semaphore::new(CARRIERS)),
            gives: Semaphore::new(AT_ONCE),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS)),
            turns: AtomicU64::new(0),
            database,
            cluster,
            closing,
            tokio: tokio.clone(),
            guests: Guests::new(options.partition.workers, options.partition.sessions),
            post: Post::new(options.partition.settings.clone()),
            programs,
            vault,
            directory,
            id: 0.into(),
            lease: Lease::default(),
            lost: RwLock::default(),
            members: RwLock::default(),
            owned: RwLock::default(),
            moving: RwLock::default(),
            look: Notify::new(),
            moves: watch::Sender::new(0),
            leaving: AtomicBool::new(false),
            options,
        }));
        let outbound = node.0.options.partition.outbound.clone();
        node.0.post.open(Arc::new(node.clone()), url, outbound);
        let serving = node.clone();
        tokio.spawn(async move {
            let answer = serving.clone();
            let answer = move |request| {
                let node = answer.clone();
                async move { front::answer_peer(node, request).await }
            };
            serving.0.peers.serve(listener, answer).await;
        });
        // The first look is waited for, so that what is wrong with the database is said at once.
        let mut client = None;
        node.0.database.within(LONG, node.look(&mut client)).await?;
        let keeping = node.clone();
        tokio.spawn(async move { keeping.keep(client).await });
        tokio.spawn(reach::run(node.clone()));
        Ok(node)
    }

    /// The API of the cluster.
    pub fn router(&self) -> Router {
        front::router(self.clone())
    }

    /// Whether this node may answer: its lease lasts.
    pub(super) fn may_answer(&self) -> bool {
        self.0.lease.holds()
    }

    /// Why the lease can't be renewed, if so.
    pub(super) fn lost(&self) -> Option<String> {
        self.0.lost.read().clone()
    }

    /// A partition, if it is here.
    pub(super) fn owned(&self, partition: u8) -> Option<Arc<Owned>> {
        self.0.owned.read().get(&partition).cloned()
    }

    /// All partitions that are here, in order.
    pub(super) fn all_owned(&self) -> Vec<(u8, Arc<Owned>)> {
        let mut owned: Vec<_> = self.0.owned.read().iter().map(|(n, owned)| (*n, owned.clone())).collect();
        owned.sort_by_key(|(number, _)| *number);
        owned
    }

    /// A partition, for what can be asked of any: one that is here, if there is one.
    pub(super) fn some_partition(&self) -> u8 {
        let owned = self.0.owned.read();
        let turn = self.0.turns.fetch_add(1, Ordering::Relaxed) as usize;
        owned.keys().nth(turn % owned.len().max(1)).copied().unwrap_or_default()
    }

    /// The node that has a partition, as far as is known. It may be this one, which may be about to have it.
    pub(super) fn owner(&self, partition: u8) -> Option<NodeId> {
        self.0.members.read().owners.get(usize::from(partition)).copied().flatten()
    }

    pub(super) fn id(&self) -> NodeId {
        self.0.id.load(Ordering::Acquire)
    }

    /// This process, as the database knows it.
    fn own(&self) -> Own<'_> {
        Own { id: self.id(), certificate: self.0.peers.identity().certificate() }
    }

    /// Whether this node and others don't reach each other, so that partitions are for others.
    pub(super) fn is_cut_off(&self) -> bool {
        self.0.members.read().cut_off.contains(&self.id())
    }

    pub(super) fn programs(&self) -> Arc<Programs> {
        self.0.programs.clone()
    }

    pub(super) fn vault(&self) -> Vault {
        self.0.vault.clone()
    }

    pub(super) fn members(&self) -> Members {
        self.0.members.read().clone()
    }

    /// Look at the database soon: what it was believed to say isn't so.
    pub(super) fn look_soon(&self) {
        self.0.look.notify_one();
    }

    /// Changes whenever partitions may have moved.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.0.moves.subscribe()
    }

    /// Keep the lease, and have what is to be had, until the process ends.
    async fn keep(&self, mut client: Option<Client>) {
        loop {
            let next = match self.0.database.within(PATIENCE, self.look(&mut client)).await {
                Ok(next) => {
                    if self.0.lost.write().take().is_some() {
                        tracing::info!("the database answers again");
                    }
                    next
                }
                Err(error) => {
                    client = None;
                    let why = error.to_string();
                    if self.0.lost.read().as_ref() != Some(&why) {
                        tracing::error!("{why}; nothing is answered once the lease is over");
                        *self.0.lost.write() = Some(why);
                    }
                    RETRY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = self.0.look.notified() => {}
            }
        }
    }

    /// Renew the lease, see who lives, and do what is to be done about it. When to look again.
    async fn look(&self, client: &mut Option<Client>) -> Result<Duration, DatabaseError> {
        if client.as_ref().is_none_or(Client::is_closed) {
            *client = Some(self.0.database.connect("member").await?);
        }
        let client = client.as_ref().expect("it was connected above");
        let lease = self.0.options.lease;
        let begun = Instant::now();
        let durable: Vec<(u8, u64)> = {
            let owned = self.0.owned.read();
            owned.iter().map(|(number, owned)| (*number, owned.log.next.load(Ordering::Relaxed))).collect()
        };
        let state = State { leaving: self.0.leaving.load(Ordering::Acquire), unreached: self.0.reach.silent() };
        if self.id() == 0 || !members::renew(client, self.own(), lease, &state).await? {
            if self.id() != 0 {
                tracing::warn!("the lease of node {} ran out, and its partitions went to others", self.id());
            }
            self.lose_all();
            let certificate = self.0.peers.identity().certificate().to_vec();
            let workers = self.0.options.partition.workers;
            let peer = Peer { address: self.0.options.advertise.clone(), certificate, workers };
            let id = members::register(client, &self.0.cluster, &peer, lease, state.leaving).await?;
            tracing::info!("this is node {id}, which others reach at {}", peer.address);
            self.0.id.store(id, Ordering::Release);
        }
        let freed = members::bury(client).await?;
        if freed > 0 {
            tracing::info!("{freed} partitions of nodes that are gone are free");
        }
        let seen = members::look(client).await?;
        let id = self.id();
        self.0.peers.know(seen.peers.clone());
        self.0.guests.know(|node| seen.peers.contains_key(&node));
        let lost = |number: &u8| seen.owners[usize::from(*number)] != Some(id);
        let lost: Vec<u8> = self.0.owned.read().keys().copied().filter(lost).collect();
        lost.into_iter().for_each(|number| self.lose(number, "another node has taken it"));
        // A partition may have nothing to append for long, and would go on showing what is lost.
        for (number, next) in durable {
            let next_there = seen.next_records[usize::from(number)];
            if next_there < next {
                let lost = next - next_there;
                tracing::error!("the database has lost the last {lost} records of partition {number}");
                self.lose(number, "the database has lost what it had acknowledged");
            }
        }
        // Whatever others took, they took before this was seen; from here on they can't until the lease is over.
        self.0.lease.extend(begun + super::answer_time(lease));
        let failed: Vec<u8> = {
            let owned = self.0.owned.read();
            owned.iter().filter(|(_, owned)| owned.partition.failure().is_some()).map(|(n, _)| *n).collect()
        };
        let next = seen.next_end;
        let was_cut_off = self.is_cut_off();
        let changed = {
            let mut members = self.0.members.write();
            let changed = members.owners != seen.owners || members.cut_off != seen.cut_off;
            *members = seen;
            changed
        };
        if changed {
            self.moved();
        }
        match (was_cut_off, self.is_cut_off()) {
            (false, true) => {
                tracing::warn!("this node and others don't reach each other: what it has is for others until they do");
            }
            (true, false) => tracing::info!("this node and the others reach each other again"),
            _ => {}
        }
        for number in failed {
            let why = self.owned(number).and_then(|owned| owned.partition.failure()).unwrap_or_default();
            tracing::warn!("partition {number} has failed, and is restored: {why}");
            self.lose(number, "it has failed");
            let epoch = self.0.members.read().epochs[usize::from(number)];
            members::give(client, id, number, epoch).await?;
            self.0.look.notify_one();
        }
        self.follow_plan(client).await?;
        let regular = lease / 5;
        Ok(regular.min(next.saturating_add(Duration::from_millis(10)).max(Duration::from_millis(50))))
    }

    async fn follow_plan(&self, client: &Client) -> Result<(), DatabaseError> {
        let id = self.id();
        let plan = {
            let members = self.0.members.read();
            plan(id, &members.staying, &members.owners)
        };
        for number in plan.give {
            if self.owned(number).is_some()
                && let Some(ticket) = self.0.moving.write().begin_if_none(number)
            {
                let node = self.clone();
                tokio::spawn(async move { node.give(number, ticket).await });
            }
        }
        if plan.take.is_empty() {
            // What is ours and not here was taken by a look that failed afterwards.
            let members = self.0.members.read().clone();
            for (number, owner) in (0..=u8::MAX).zip(&members.owners) {
                let is_here = self.owned(number).is_some() || self.0.moving.read().is_under_way(number);
                if *owner == Some(id) && !is_here {
                    members::give(client, id, number, members.epochs[usize::from(number)]).await?;
                    self.0.look.notify_one();
                }
            }
            return Ok(());
        }
        let taken = members::take(client, self.own(), &plan.take).await?;
        if taken.is_empty() {
            return Ok(());
        }
        tracing::info!("node {id} takes {} partitions", taken.len());
        self.0.takeovers.fetch_add(taken.len() as u64, Ordering::Relaxed);
        let taken = {
            let mut members = self.0.members.write();
            let mut moving = self.0.moving.write();
            let begin = |taken: Taken| {
                members.owners[usize::from(taken.partition)] = Some(id);
                (moving.begin(taken.partition), taken)
            };
            taken.into_iter().map(begin).collect()
        };
        let node = self.clone();
        tokio::spawn(async move { node.restore_all(id, taken).await });
        Ok(())
    }

    async fn restore_all(&self, id: NodeId, taken: Vec<(u64, Taken)>) {
        use futures_util::{StreamExt, stream};
        let count = taken.len();
        let begun = Instant::now();
        // A connection is a process of the database, and takes longer than what it is for.
        let connection = tokio::sync::Mutex::new(None);
        let connection = &connection;
        let restore = |(ticket, taken): (u64, Taken)| async move {
            let number = taken.partition;
            // The lease may be lost, and all with it, before it is restored; and it may have been taken again since.
            let is_ours = || self.id() == id && self.0.moving.read().is(number, ticket);
            if !is_ours() {
                return self.0.moving.write().end(number, ticket);
            }
            let path = self.path_of(number, taken.end.epoch);
            match self.restore(connection, id, taken).await {
                Ok(owned) if is_ours() => {
                    if let Some(before) = self.0.owned.write().insert(number, owned.clone()) {
                        before.end("it was taken again");
                    }
                    tokio::spawn(carrier::run(self.clone(), number, owned));
                }
                Ok(owned) => owned.end("the lease ran out"),
                Err(error) => {
                    tracing::error!("partition {number} can't be restored: {error:#}");
                    let _ = std::fs::remove_file(path);
                    tokio::time::sleep(BREATHER).await;
                }
            }
            self.0.moving.write().end(number, ticket);
            self.moved();
        };
        stream::iter(taken).for_each_concurrent(AT_ONCE, restore).await;
        tracing::info!("{count} partitions are ready after {:?}", begun.elapsed());
        self.wake_peers();
    }

    /// The store of a partition under an epoch.
    fn path_of(&self, number: u8, epoch: i64) -> PathBuf {
        self.0.directory.path().join(format!("{number}-{epoch}.redb"))
    }

    async fn restore(
        &self,
        connection: &tokio::sync::Mutex<Option<Arc<Client>>>,
        id: NodeId,
        taken: Taken,
    ) -> anyhow::Result<Arc<Owned>> {
        let inner = &self.0;
        let number = taken.partition;
        let path = self.path_of(number, taken.end.epoch);
        let client = {
            let mut connection = connection.lock().await;
            match connection.as_ref().filter(|client| !client.is_closed()) {
                Some(client) => client.clone(),
                None => connection.insert(Arc::new(inner.database.connect("restore").await?)).clone(),
            }
        };
        let tail = match restore(&inner.database, &client, &taken, &path).await {
            Ok(tail) => tail,
            Err(error) => {
                *connection.lock().await = None;
                return Err(error);
            }
        };
        let watched = Arc::new(Watched::default());
        watched.bytes.store(tail.iter().map(|group| group.bytes.len() as u64).sum(), Ordering::Relaxed);
        let last_bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let snapshots = Snapshots {
            database: inner.database.clone(),
            turns: inner.snapshots.clone(),
            tokio: Handle::current(),
            node: id,
            partition: number,
            epoch: taken.end.epoch,
            path: path.clone(),
            log: watched.clone(),
            last_bytes: AtomicU64::new(last_bytes),
            is_busy: Arc::default(),
        };
        let posted = Arc::new(Notify::new());
        let log = FencedLog::new(number, id, taken.end, inner.appender.clone(), watched.clone());
        let mut options = inner.options.partition.clone();
        // What a node has is shared by its partitions, of which few are busy at a time.
        options.sessions = (options.sessions / 32).max(2 * options.workers + 2);
        options.sessions_bytes /= 8;
        options.promises = (options.promises / 32).max(1_000);
        options.cache_bytes = (options.cache_bytes / 32).max(1 << 20);
        options.backlog = (options.backlog / 8).max(1_000);
        let (programs, vault) = (inner.programs.clone(), inner.vault.clone());
        let (store_path, carried) = (path.clone(), posted.clone());
        let (courier, elsewhere, tokio) = (Arc::new(self.clone()), Arc::new(self.clone()), inner.tokio.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let disk = Arc::new(Disk::disposable());
            let store = Store::open(&store_path, options.cache_bytes, &disk)?;
            let written = Box::new(move |applied| snapshots.written(applied));
            let overfull = Arc::new(Notify::new());
            let place = Some(Place { number, posted: carried, elsewhere, overfull, written });
            let log = Box::new(log);
            Partition::assemble(Parts { options, disk, store, log, tail, programs, vault, courier, place }, &tokio)
        });
        let partition = opening.await??;
        let (api, closing) = (inner.options.api.clone(), inner.closing.clone());
        let router = host_api::router(partition.clone(), inner.post.clone(), api, closing);
        let (is_first, gone) = (number == 0, watch::Sender::new(false));
        Ok(Arc::new(Owned { partition, is_first, router, posted, gone, log: watched, path }))
    }

    /// Finish what is under way in a partition, and let it go.
    async fn give(&self, number: u8, ticket: u64) {
        let owned = self.0.owned.write().remove(&number);
        if let Some(owned) = owned {
            owned.gone.send_replace(true);
            self.moved();
            let stopping = owned.clone();
            // It ends with all that was applied in the log, if it can.
            let _ = tokio::task::spawn_blocking(move || stopping.partition.stop()).await;
            let _ = std::fs::remove_file(&owned.path);
            let given = async {
                let _turn = self.0.gives.acquire().await;
                let client = self.0.database.connect("give").await?;
                let epoch = owned.log.epoch.load(Ordering::Relaxed);
                self.0.database.within(LONG, members::give(&client, self.id(), number, epoch)).await
            };
            // What is ours and not here is given away by a later look.
            if let Err(error) = given.await {
                tracing::warn!("partition {number} could not be given away: {error}");
            }
        }
        if self.0.moving.read().is(number, ticket) {
            let mut members = self.0.members.write();
            if members.owners[usize::from(number)] == Some(self.id()) {
                members.owners[usize::from(number)] = None;
            }
        }
        self.0.moving.write().end(number, ticket);
        self.moved();
        self.wake_peers();
    }

    /// A partition is no longer ours: what isn't durable is forgotten, and nobody was told of it.
    fn lose(&self, number: u8, why: &str) {
        if let Some(owned) = self.0.owned.write().remove(&number) {
            owned.end(why);
            self.moved();
        }
    }

    fn lose_all(&self) {
        let numbers: Vec<u8> = self.0.owned.read().keys().copied().collect();
        numbers.into_iter().for_each(|number| self.lose(number, "the lease ran out"));
    }

    fn moved(&self) {
        self.0.moves.send_modify(|count| *count += 1);
    }

    /// Others are to look at the database. They do so by themselves a little later.
    fn wake_peers(&self) {
        let node = self.clone();
        tokio::spawn(async move {
            let id = node.id();
            let peers: Vec<NodeId> = node.members().peers.into_keys().filter(|peer| *peer != id).collect();
            let wake = |peer| front::wake(&node, peer);
            futures::future::join_all(peers.into_iter().map(wake)).await;
        });
    }

    /// Give away all that this node has, and leave.
    pub async fn leave(&self) {
        self.0.leaving.store(true, Ordering::Release);
        self.look_soon();
        let mut moves = self.moves();
        let empty = async {
            while !self.0.owned.read().is_empty() || !self.0.moving.read().tickets.is_empty() {
                if tokio::time::timeout(RETRY, moves.changed()).await.is_err() {
                    self.look_soon();
                }
            }
        };
        if tokio::time::timeout(FAREWELL, empty).await.is_err() {
            tracing::warn!("not all partitions could be given away: others take them when the lease is over");
            return;
        }
        let left = async {
            let client = self.0.database.connect("leave").await?;
            members::leave(&client, self.own()).await
        };
        match tokio::time::timeout(PATIENCE, left).await {
            Ok(Ok(())) => {}
            _ => tracing::warn!("the database could not be told that this node has left"),
        }
    }

    /// How many partitions have an owner that lives, and how many are ready here.
    pub(super) fn spread(&self) -> (usize, usize) {
        let owned = self.0.members.read().owners.iter().flatten().count();
        (owned.min(PARTITIONS), self.0.owned.read().len())
    }
}

/// The partitions that are on their way here or away, each with the ticket of that way: what ends late doesn't end
/// another one.
#[derive(Default)]
struct Moving {
    tickets: HashMap<u8, u64>,
    last: u64,
}

impl Moving {
    fn begin(&mut self, number: u8) -> u64 {
        self.last += 1;
        self.tickets.insert(number, self.last);
        self.last
    }

    fn begin_if_none(&mut self, number: u8) -> Option<u64> {
        (!self.is_under_way(number)).then(|| self.begin(number))
    }

    fn end(&mut self, number: u8, ticket: u64) {
        if self.is(number, ticket) {
            self.tickets.remove(&number);
        }
    }

    fn is(&self, number: u8, ticket: u64) -> bool {
        self.tickets.get(&number) == Some(&ticket)
    }

    fn is_under_way(&self, number: u8) -> bool {
        self.tickets.contains_key(&number)
    }
}

impl Owned {
    fn end(self: &Arc<Owned>, why: &str) {
        self.log.is_abandoned.store(true, Ordering::Relaxed);
        self.partition.abandon(why);
        self.gone.send_replace(true);
        let owned = self.clone();
        tokio::task::spawn_blocking(move || {
            owned.partition.stop();
            let _ = std::fs::remove_file(&owned.path);
        });
    }
}

/// Listen where others are told to come; or, if that is an address of something in between, on its port.
async fn listen(advertise: &str) -> anyhow::Result<TcpListener> {
    let error = match TcpListener::bind(advertise).await {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    let port = advertise.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(port) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
            TcpListener::bind(("0.0.0.0", port)).await.with_context(|| format!("port {port} can't be listened on"))
        }
        _ => Err(error).with_context(|| format!("{advertise} can't be listened on (--advertise HOST:PORT)")),
    }
}
