//! What the outside can ask. Every answer waits until all that it tells of is durable.

use std::sync::Arc;
use std::time::Duration;

use machine::{
    Component, Digest, Entry, Id, Old, Op, Outcome, Output, Payload, Promise, Rejection, Reply, State, TaskState,
};
use tokio::sync::{Notify, oneshot};

use super::inner::{Inner, Release};
use super::retention::AT_ONCE;
use super::{Error, Partition, committer, workers};
use host_store::{Page, Reader, StoreError};

/// How many promises a list looks at for one page, at most.
const SCAN: usize = 20_000;

/// How many parts of a tree are looked up at a time to be removed.
const PARTS: usize = 1_000;

/// How often whoever waits for a flush looks whether the disk is full.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long somebody waits for an execution that is held, or waits for one: it goes on when somebody sees to that.
const HELD: Duration = Duration::from_secs(1);

/// Where a page of a list begins: the number that came with the page before. None: at the newest.
pub type Position = Option<u64>;

/// A page of a list of promises.
pub type Listed = Page<Promise>;

/// A function called from outside.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Of the execution.
    pub id: Id,
    /// Its name.
    pub function: String,
    /// A JSON array.
    pub arguments: Payload,
    /// From now to its deadline.
    pub timeout: Duration,
    /// What its random numbers are drawn from.
    pub seed: u64,
}

/// How much the host has to do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Executions that wait for a worker.
    pub queued: usize,
    /// Promises that aren't written to the store.
    pub unsaved: usize,
    /// Sessions in memory.
    pub sessions: usize,
    /// Those of them that are at work.
    pub running: usize,
    /// Records applied, durable, and in the store.
    pub applied: u64,
    /// See `applied`.
    pub committed: u64,
    /// See `applied`.
    pub written: u64,
}

impl Partition {
    /// Compile a component and make it the current one of its name, which is `mount` if it answers requests over HTTP.
    pub async fn upload(&self, wasm: Payload, mount: Option<String>) -> Result<Component, Error> {
        self.shared.lock().admit(usize::MAX)?;
        let shared = self.shared.clone();
        let _upload = shared.programs.upload(Digest::of(&wasm));
        let compiled = tokio::task::spawn_blocking(move || shared.programs.add(&wasm, mount.as_deref())).await;
        let component = compiled.map_err(|error| Error::Broken(format!("compiling a component: {error}")))??;
        let digest = component.digest;
        self.submit(|_| Op::Install { component: component.clone() }).await?;
        let installed = self.read(|inner| inner.view.component(&digest).cloned()).await?;
        Ok(installed.unwrap_or(component))
    }

    /// The components that functions are called from, by name.
    pub async fn components(&self) -> Result<Vec<Component>, Error> {
        self.read(|inner| inner.view.current_components().cloned().collect()).await
    }

    /// The current component that has a function of this name, and the function's index in it.
    pub fn function(&self, name: &str) -> Option<(Arc<Component>, usize)> {
        let component = self.shared.lock().view.shared_exporter(name)?;
        let index = component.functions.iter().position(|function| function.name == name)?;
        Some((component, index))
    }

    /// Call a function, or find the call that has the id: the promise as it is then, and whether it was called now.
    pub async fn invoke(&self, invocation: Invocation) -> Result<(Arc<Promise>, bool), Error> {
        let id = invocation.id.clone();
        let (reply, promise, durable) = {
            let mut inner = self.shared.lock();
            inner.admit(self.shared.options.backlog)?;
            let op = invocation.op(inner.now());
            let reply = inner.apply(op);
            workers::help(&mut inner, &id);
            let promise = inner.promise(&id);
            let durable = inner.durable();
            committer::help(&mut inner);
            workers::drop_ended(&mut inner);
            (reply, promise, durable)
        };
        self.until(durable).await?;
        let created = reply? == Reply::Promise { created: true };
        Ok((promise.ok_or(Rejection::NoPromise(id))?, created))
    }

    /// Call a function, or find the call that has the id, and wait until it has its outcome: the promise, and whether
    /// it was called now. When the wait is over before that, or it is held or waits for what is, the promise is as it is then.
    ///
    /// It costs one flush of the disk, where `invoke` and `wait` one after the other cost two. When little is going on,
    /// all of it is done by the thread that asks, down to the flush: to wake another one takes longer. That thread is
    /// kept for no more than a time slice of the guest and a flush.
    pub async fn invoke_and_wait(&self, invocation: Invocation, wait: Duration) -> Result<(Arc<Promise>, bool), Error> {
        let id = invocation.id.clone();
        let (rejected, created, settled, is_held) = {
            let mut inner = self.shared.lock();
            inner.admit(self.shared.options.backlog)?;
            let op = invocation.op(inner.now());
            match inner.apply(op) {
                Ok(reply) => {
                    let created = reply == Reply::Promise { created: true };
                    let is_held = !created && inner.held_at(&id).is_some();
                    let settled = inner.watch(&id);
                    workers::help(&mut inner, &id);
                    committer::help(&mut inner);
                    workers::drop_ended(&mut inner);
                    (None, created, settled, is_held)
                }
                Err(rejection) => (Some((rejection, inner.durable())), false, oneshot::channel().1, false),
            }
        };
        if let Some((rejection, durable)) = rejected {
            self.until(durable).await?;
            return Err(rejection.into());
        }
        let wait = if is_held { wait.min(HELD) } else { wait };
        match tokio::time::timeout(wait, settled).await {
            Ok(Ok(promise)) => Ok((promise, created)),
            Ok(Err(_)) => Err(self.stopped()),
            Err(_) => Ok((self.promise_after_wait(&id).await?, created)),
        }
    }

    /// The promise once it is settled, or as it is when the wait is over, or it is held or waits for what is.
    pub async fn wait(&self, id: &Id, wait: Duration) -> Result<Arc<Promise>, Error> {
        let found = {
            let mut inner = self.shared.lock();
            match inner.promise(id) {
                Some(_) => {
                    let is_held = inner.held_at(id).is_some();
                    Ok((inner.watch(id), is_held))
                }
                None => Err(inner.durable()),
            }
        };
        let (settled, is_held) = match found {
            Ok(found) => found,
            Err(durable) => {
                self.until(durable).await?;
                return Err(Rejection::NoPromise(id.clone()).into());
            }
        };
        let wait = if is_held { wait.min(HELD) } else { wait };
        match tokio::time::timeout(wait, settled).await {
            Ok(Ok(promise)) => Ok(promise),
            Ok(Err(_)) => Err(self.stopped()),
            Err(_) => self.promise_after_wait(id).await,
        }
    }

    /// The execution that is held because of which a pending one doesn't go on: itself, or one below that it waits for.
    pub fn held_at(&self, promise: &Promise) -> Option<Id> {
        let execution = promise.execution.as_ref().filter(|_| promise.outcome.is_none())?;
        // One that is at work, or can go on, waits for nobody.
        if !matches!(execution.task.state, TaskState::Suspended | TaskState::Held) {
            return None;
        }
        self.shared.lock().held_at(&promise.id)
    }

    async fn promise_after_wait(&self, id: &Id) -> Result<Arc<Promise>, Error> {
        self.shared.lock().unwatch(id);
        self.promise(id).await?.ok_or_else(|| Rejection::NoPromise(id.clone()).into())
    }

    /// Make a promise, or find it. `true`: it was made now.
    pub async fn create_promise(&self, id: Id, param: Payload, timeout: Duration) -> Result<bool, Error> {
        match self.submit(|now| Op::CreatePromise { id, param, timeout_at: after(now, timeout) }).await? {
            Reply::Promise { created } => Ok(created),
            _ => Ok(false),
        }
    }

    /// Settle a promise, or end an execution.
    pub async fn settle(&self, id: Id, outcome: Outcome) -> Result<(), Error> {
        self.submit(|_| Op::Settle { id, outcome }).await.map(drop)
    }

    /// Remove a promise, or an execution and all below it, without waiting for its retention to pass. How many promises
    /// that were.
    pub async fn remove(&self, id: &Id) -> Result<usize, Error> {
        if self.promise(id).await?.is_none() {
            return Err(Rejection::NoPromise(id.clone()).into());
        }
        let mut removed = 0;
        loop {
            let before = removed;
            let root = id.clone();
            let parts = self.read_store(move |reader| {
                let mut parts = Vec::new();
                reader.upwards(&root, AT_ONCE, |ids| {
                    parts.push(ids);
                    parts.len() < PARTS
                })?;
                Ok(parts)
            });
            for ids in parts.await? {
                let is_last = ids.contains(id);
                let trees = vec![Old { root: id.clone(), ids, retention_ms: 0 }];
                if let Reply::Forgotten { count } = self.submit(|_| Op::Forget { trees }).await? {
                    removed += count;
                }
                if is_last && self.promise(id).await?.is_none() {
                    return Ok(removed);
                }
            }
            if removed == before {
                let why = "somebody has not been told yet how a part of it ended, or what its tags say that it is a part of \
                           has not ended";
                return Err(Rejection::Needed { id: id.clone(), why }.into());
            }
        }
    }

    /// A promise as it is now.
    pub async fn promise(&self, id: &Id) -> Result<Option<Arc<Promise>>, Error> {
        self.read(|inner| inner.promise(id)).await
    }

    /// The entries of an execution's journal from an index on.
    pub async fn journal(&self, id: &Id, from: u32) -> Result<Vec<Entry>, Error> {
        let tail = self.read(|inner| inner.view.journal(id, from)).await?;
        Ok(tail.map_or(Ok(Vec::new()), |tail| tail.read())?)
    }

    /// The pieces of an execution's output from an index on.
    pub async fn output(&self, id: &Id, from: u32) -> Result<Vec<Output>, Error> {
        Ok(self.read(|inner| inner.view.output(id, from)).await??)
    }

    /// Notified whenever an execution has got on, durably.
    pub fn follow(&self, id: &Id) -> Arc<Notify> {
        self.shared.lock().follow(id)
    }

    /// Promises, from the newest to the oldest: those that `keep` picks.
    pub async fn list(
        &self,
        position: Position,
        limit: usize,
        keep: impl Fn(&Promise) -> bool + Send + 'static,
    ) -> Result<Listed, Error> {
        self.read_store(move |reader| reader.newest(position.unwrap_or(u64::MAX), limit, SCAN, keep)).await
    }

    /// A promise and those below it in its call tree, at most `limit`. `true`: there are more.
    pub async fn tree(&self, id: &Id, limit: usize) -> Result<(Vec<Promise>, bool), Error> {
        let id = id.clone();
        self.read_store(move |reader| reader.tree(&id, limit)).await
    }

    /// How much there is to do.
    pub fn load(&self) -> Load {
        let inner = self.shared.lock();
        Load {
            queued: inner.sessions.backlog(),
            unsaved: inner.view.unsaved(),
            sessions: inner.sessions.count(),
            running: inner.sessions.running(),
            applied: inner.applied,
            committed: inner.committed,
            written: inner.written,
        }
    }

    /// Why nothing can be taken on, if that is so.
    pub fn admits(&self) -> Result<(), Error> {
        self.shared.lock().admit(self.shared.options.backlog)
    }

    /// Apply a record from outside, made at the time that it is given; the answer, once all that it tells of is durable.
    pub(super) async fn submit(&self, op: impl FnOnce(u64) -> Op) -> Result<Reply, Error> {
        self.submit_with(|inner| op(inner.now())).await
    }

    /// Apply a record from outside that is made of the state as it is.
    pub(super) async fn submit_with(&self, op: impl FnOnce(&mut Inner) -> Op) -> Result<Reply, Error> {
        let (reply, durable) = {
            let mut inner = self.shared.lock();
            inner.admit(self.shared.options.backlog)?;
            let op = op(&mut inner);
            let reply = inner.apply(op);
            let durable = inner.durable();
            committer::help(&mut inner);
            (reply, durable)
        };
        self.until(durable).await?;
        Ok(reply?)
    }

    /// Look at the state; what was seen, once it is durable.
    pub(super) async fn read<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> Result<T, Error> {
        let (seen, durable) = {
            let mut inner = self.shared.lock();
            if let Some(reason) = inner.broken() {
                return Err(Error::Broken(reason));
            }
            let seen = look(&mut inner);
            if let Some(reason) = inner.broken() {
                return Err(Error::Broken(reason));
            }
            (seen, inner.durable())
        };
        self.until(durable).await?;
        Ok(seen)
    }

    /// Look at the tables, after all that has happened until now was written to them.
    pub(super) async fn read_store<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        self.written().await?;
        let reader = self.shared.lock().view.reader().clone();
        let looked = tokio::task::spawn_blocking(move || Ok(look(&reader)?)).await;
        looked.map_err(|error| Error::Broken(format!("reading the store: {error}")))?
    }

    /// Completes when all that has happened until now is in the tables.
    pub(super) async fn written(&self) -> Result<(), Error> {
        let shared = self.shared.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut inner = shared.lock();
            let wanted = inner.applied;
            while inner.written < wanted {
                if let Some(reason) = inner.stalled() {
                    return Err(Error::Stalled(reason));
                }
                if inner.stopping {
                    return Err(Error::Stopping);
                }
                if let Some(reason) = inner.broken() {
                    return Err(Error::Broken(reason));
                }
                inner.write_now = true;
                inner.wait_for(|signals| &signals.written, Duration::from_millis(200));
            }
            Ok(())
        });
        written.await.map_err(|error| Error::Broken(format!("writing to the store: {error}")))?
    }

    pub(super) async fn until(&self, durable: Option<oneshot::Receiver<()>>) -> Result<(), Error> {
        let Some(mut durable) = durable else { return Ok(()) };
        loop {
            match tokio::time::timeout(PATIENCE, &mut durable).await {
                Ok(answer) => return answer.map_err(|_| self.stopped()),
                // Nobody is kept waiting for room on the disk. What was asked may be done once there is some.
                Err(_) => {
                    if let Some(reason) = self.shared.disk.full() {
                        return Err(Error::Stalled(reason));
                    }
                }
            }
        }
    }

    /// Why somebody who waited was never answered.
    fn stopped(&self) -> Error {
        let inner = self.shared.lock();
        match inner.broken() {
            Some(reason) => Error::Broken(reason),
            None => Error::Stopping,
        }
    }
}

impl Invocation {
    fn op(self, now: u64) -> Op {
        let Invocation { id, function, arguments, timeout, seed } = self;
        Op::Invoke { id, function, arguments, timeout_at: after(now, timeout), seed }
    }
}

fn after(now: u64, timeout: Duration) -> u64 {
    now.saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))
}

impl Inner {
    /// Completes when all that was applied until now is durable, and fails if it never will be. None: it is.
    pub(super) fn durable(&mut self) -> Option<oneshot::Receiver<()>> {
        if self.applied <= self.committed && !self.is_over() {
            return None;
        }
        let (waiter, durable) = oneshot::channel();
        self.hold(Release::Answer(waiter));
        Some(durable)
    }
}
