//! Executions seen through a component: whether they would go on on it unchanged; and moving, resuming and forking them.
//!
//! Looking costs nobody anything: a run that is made to look has no effects, and is dropped. Whether an execution has got
//! on since it was looked at is for the machine to find out, from how many entries were replayed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use machine::{Component, Digest, Entry, Id, Op, Payload, Pinned, Promise, Rejection, State, is_configured_alike};

use super::programs::Candidate;
use super::settings::Settings;
use super::{Error, Partition, Shared};
use host_replay::{Capsule, Difference, Given, History, Manifest, Report, Verdict, check, check_roughly};
use host_runtime::Program;

/// How many deadlines, or rows of finished executions, are looked at in one piece.
const AT_ONCE: usize = 1_000;
/// How many of the newest promises a sample of finished executions is taken from.
const SAMPLED: usize = 20_000;
/// How often an execution that got on while it was looked at is looked at again, and for how long one waits for room.
const ATTEMPTS: usize = 5;
const BREATHER: Duration = Duration::from_millis(20);

/// How many promises a capsule can hold.
const CAPSULE_PROMISES: usize = 10_000;

/// What a component is looked at for.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// How many finished executions are replayed, the newest.
    pub finished: usize,
    /// How long it may take in all. What isn't looked at by then is left out.
    pub time: Duration,
}

/// What decides what an execution is given from outside.
#[derive(PartialEq, Eq)]
struct GivenTo {
    config: Pinned,
    component: Digest,
    function: String,
}

impl GivenTo {
    fn of(promise: &Promise) -> GivenTo {
        let execution = promise.execution.as_ref().expect("only executions are given anything");
        let function = promise.function().unwrap_or_default().to_owned();
        GivenTo { config: execution.config, component: execution.component, function }
    }
}

/// What became of one execution that was to go on on a component.
enum Moved {
    /// It goes on there, or did already.
    Done,
    /// It would do something else, and is where it was.
    Differs(Box<Difference>),
    /// It has ended.
    Ended,
}

impl Partition {
    /// Whether the executions of a component's functions would go on unchanged on it. Nothing is changed, and nothing is
    /// kept of the component.
    pub async fn check(
        &self,
        wasm: Payload,
        mount: Option<String>,
        scope: Scope,
    ) -> Result<(Component, Report), Error> {
        let checked = self.blocking(move |shared| {
            let begun = Instant::now();
            let Candidate { component, program, .. } = shared.programs.candidate(&wasm, mount.as_deref())?;
            machine::can_install(&shared.lock().view, &component)?;
            let mut report = Report::of(&component);
            let unfinished = |promise: &Promise, report: &mut Report| {
                let Some(verdict) = shared.look(promise, &program, report)? else { return Ok(()) };
                report.count(promise, verdict);
                Ok(())
            };
            let has_all = shared.each_unfinished(&component, begun + scope.time, &mut report, unfinished)?;
            report.is_complete &= has_all;
            shared.sample(&component, &program, scope, begun, &mut report)?;
            Ok((component, report))
        });
        let checked = checked.await?;
        // What it tells of is durable when it is told.
        self.read(|_| ()).await?;
        Ok(checked)
    }

    /// Move all unfinished executions of a component's functions to it that would go on unchanged, each by itself.
    pub async fn upgrade(&self, component: Component, time: Duration) -> Result<Report, Error> {
        let upgraded = self.blocking(move |shared| {
            let until = Instant::now() + time;
            let program = shared.programs.get(&component.digest)?;
            let mut report = Report::of(&component);
            let unfinished = |promise: &Promise, report: &mut Report| {
                let is_there = promise.execution.as_ref().is_some_and(|e| e.component == component.digest);
                if is_there && promise.execution.as_ref().is_some_and(|e| e.held.is_none()) {
                    return Ok(());
                }
                match shared.move_to(&promise.id, &component.digest, &program, report.wants_place(promise)) {
                    Ok(Moved::Done) => report.count(promise, Verdict::Same { replayed: 0 }),
                    Ok(Moved::Differs(difference)) => report.count(promise, Verdict::Differs(difference)),
                    Ok(Moved::Ended) | Err(Error::Rejected(Rejection::NoPromise(_))) => {}
                    // One that never stands still doesn't keep the others from being moved, and told of.
                    Err(Error::Rejected(Rejection::GotOn(_))) => report.is_complete = false,
                    Err(error) => return Err(error),
                }
                Ok(())
            };
            let has_all = match shared.each_unfinished(&component, until, &mut report, unfinished) {
                Err(Error::Overloaded) => false,
                others => others?,
            };
            report.is_complete &= has_all;
            Ok(report)
        });
        let report = upgraded.await?;
        self.read(|_| ()).await?;
        Ok(report)
    }

    /// Let an execution that is held go on on a component: on the current one that has its function, unless another is
    /// said. If it would do something else there, that is what is said, and nothing is changed.
    pub async fn resume(&self, id: Id, on: Option<Digest>) -> Result<(), Error> {
        let resumed = self.blocking(move |shared| {
            let promise = shared.execution(&id)?;
            let own = promise.execution.as_ref().map(|execution| execution.component);
            let current = || shared.lock().view.exporter(promise.function()?).map(|component| component.digest);
            let Some(digest) = on.or_else(current).or(own) else { return Err(Rejection::NoExecution(id).into()) };
            if shared.lock().view.component(&digest).is_none() {
                return Err(Rejection::NoComponent(digest).into());
            }
            let program = shared.programs.get(&digest)?;
            match shared.move_to(&id, &digest, &program, true)? {
                Moved::Done => Ok(()),
                Moved::Differs(difference) => Err(Error::Differs { id, component: digest, difference }),
                Moved::Ended => Err(shared.settled(&id).into()),
            }
        });
        resumed.await?;
        self.read(|_| ()).await
    }

    /// Begin a new execution with the history of another one, up to and with an entry of its journal.
    pub async fn fork(&self, id: Id, from: Id, last: u32, on: Option<Digest>, timeout: Duration) -> Result<(), Error> {
        let forked = self.blocking(move |shared| {
            let mut history = shared.history(&from)?;
            let has = history.entries.iter().filter(|entry| !matches!(entry, Entry::Finished { .. })).count();
            if last as usize >= has {
                return Err(Error::NoEntry { id: from, entry: last, last: (has as u32).saturating_sub(1) });
            }
            // What comes before the entry that says that it is a fork is the history of the other one.
            let beyond = history.entries.split_off(last as usize + 1);
            let taken_over = beyond.iter().find_map(|entry| match entry {
                Entry::Forked { from, .. } => Some(from.clone()),
                _ => None,
            });
            let from = taken_over.unwrap_or(from);
            history.outcome = None;
            // Or it goes on beyond, with more events.
            history.is_at_rest = true;
            history.id = from.clone();
            let was_on = machine::Basis::of(&history.entries).map(|basis| basis.component);
            let component = on.or(was_on).ok_or_else(|| Rejection::NoExecution(from.clone()))?;
            if shared.lock().view.component(&component).is_none() {
                return Err(Rejection::NoComponent(component).into());
            }
            let replayed = match shared.check(&shared.programs.get(&component)?, &history, true)? {
                Verdict::Same { replayed } => replayed,
                Verdict::Differs(difference) => return Err(Error::Differs { id: from, component, difference }),
                Verdict::Busy => return Err(Error::Overloaded),
            };
            let mut inner = shared.lock();
            inner.admit(shared.options.backlog)?;
            let timeout_at = inner.now().saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
            let op = Op::Fork { id, from, entries: history.entries, component, replayed, timeout_at };
            inner.apply(op)?;
            Ok(())
        });
        forked.await?;
        self.read(|_| ()).await
    }

    /// A component by its digest, by the beginning of it, or by its name; of a name, the current one.
    pub async fn find_component(&self, text: &str) -> Result<Component, Error> {
        let found: Vec<Component> =
            self.read(|inner| inner.view.components_named(text).take(2).cloned().collect()).await?;
        match found.as_slice() {
            [component] => Ok(component.clone()),
            others => Err(Error::Unnamed { text: text.to_owned(), many: !others.is_empty() }),
        }
    }

    /// An execution and all below it, with what is needed to run it again. At most 10,000 promises.
    pub async fn capsule(&self, id: Id) -> Result<Vec<u8>, Error> {
        let (tree, is_cut) = self.tree(&id, CAPSULE_PROMISES).await?;
        if is_cut {
            return Err(Error::TreeTooLarge { id, limit: CAPSULE_PROMISES });
        }
        self.blocking(move |shared| {
            let (mut executions, mut promises) = (Vec::new(), Vec::new());
            let (mut digests, mut given) = (BTreeSet::new(), Vec::<(GivenTo, Given)>::new());
            let now = shared.lock().now();
            for promise in tree {
                // As they are now: between the first and the last of them, some may have got on.
                let (promise, tail, output) = {
                    let mut inner = shared.lock();
                    let promise = inner.view.get(&promise.id).ok_or(Rejection::NoPromise(promise.id))?;
                    let id = &promise.id;
                    let parts = (inner.view.journal(id, 0), inner.view.output(id, 0));
                    (promise, parts.0, parts.1)
                };
                let promise = (*promise).clone();
                match promise.execution.as_ref().map(|execution| execution.component) {
                    Some(digest) => {
                        digests.insert(digest);
                        let to = GivenTo::of(&promise);
                        let known = given.iter().position(|(known, _)| *known == to);
                        let index = match known {
                            Some(index) => index,
                            None => {
                                given.push((to, Settings::given(shared, &promise)?));
                                given.len() - 1
                            }
                        };
                        given[index].1.executions.push(promise.id.to_string());
                        executions.push((promise, tail.map_or(Ok(Vec::new()), |tail| tail.read())?, output?));
                    }
                    None => promises.push(promise),
                }
            }
            let manifest = Manifest {
                root: id.to_string(),
                exported_at_ms: now,
                host: env!("CARGO_PKG_VERSION").into(),
                components: digests.iter().map(Digest::to_string).collect(),
            };
            let components = digests.iter().map(|digest| shared.programs.wasm(digest)).collect::<Result<_, _>>()?;
            let given = given.into_iter().map(|(_, given)| given).collect();
            Ok(Capsule { manifest, components, executions, promises, given }.write().0)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.written().await?;
        let shared = self.shared.clone();
        let worked = tokio::task::spawn_blocking(move || work(&shared)).await;
        worked.map_err(|error| Error::Broken(format!("replaying executions: {error}")))?
    }
}

impl Shared {
    /// Do something with each unfinished execution of a component's functions. `false`: there was no time for all.
    fn each_unfinished(
        &self,
        component: &Component,
        until: Instant,
        report: &mut Report,
        mut each: impl FnMut(&Promise, &mut Report) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let mut from = 0;
        loop {
            // What is pending has a deadline.
            let reader = self.lock().view.reader().clone();
            let deadlines = reader.deadlines(from, AT_ONCE)?;
            // All that have the last deadline of a piece are in it.
            let is_last = deadlines.len() < AT_ONCE || deadlines.last().is_some_and(|(at, _)| *at == u64::MAX);
            from = deadlines.last().map_or(from, |(at, _)| at.saturating_add(1));
            for (_, id) in deadlines {
                if Instant::now() > until {
                    return Ok(false);
                }
                let Ok(id) = Id::parse(&id) else { continue };
                let Some(promise) = self.lock().view.get(&id) else { continue };
                if promise.outcome.is_none() && self.may_move_to(&promise, component) {
                    each(&promise, report)?;
                }
            }
            if is_last {
                return Ok(true);
            }
        }
    }

    /// Whether a component has the function of an execution, and the execution would keep its configuration there.
    fn may_move_to(&self, promise: &Promise, component: &Component) -> bool {
        let Some(execution) = &promise.execution else { return false };
        promise.function().is_some_and(|name| component.exports(name))
            && self
                .lock()
                .view
                .component(&execution.component)
                .is_none_or(|before| is_configured_alike(execution.config, &before.name, &component.name))
    }

    /// Replay the newest finished executions of a component's functions. How they would have ended is told, and no more.
    fn sample(
        &self,
        component: &Component,
        program: &Program,
        scope: Scope,
        begun: Instant,
        report: &mut Report,
    ) -> Result<(), Error> {
        if scope.finished == 0 {
            return Ok(());
        }
        let is_finished = |promise: &Promise| {
            promise.outcome.is_some() && promise.function().is_some_and(|name| component.exports(name))
        };
        let reader = self.lock().view.reader().clone();
        let newest = reader.newest(u64::MAX, scope.finished, SAMPLED, is_finished)?.items;
        // While somebody reads it, the store can't use the room again that it gives up.
        drop(reader);
        for promise in newest {
            if begun.elapsed() > scope.time {
                report.is_complete = false;
                break;
            }
            if let Some(verdict) = self.look(&promise, program, report)? {
                report.count(&promise, verdict);
            }
        }
        Ok(())
    }

    /// What a component does with the history of an execution. None: there is no history any more.
    fn look(&self, promise: &Promise, program: &Program, report: &Report) -> Result<Option<Verdict>, Error> {
        match self.history(&promise.id) {
            Ok(history) => self.check(program, &history, report.wants_place(promise)).map(Some),
            Err(Error::Rejected(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Move an execution, if it would go on unchanged.
    fn move_to(&self, id: &Id, component: &Digest, program: &Program, wants_place: bool) -> Result<Moved, Error> {
        for _ in 0..ATTEMPTS {
            let history = self.history(id)?;
            if history.outcome.is_some() {
                return Ok(Moved::Ended);
            }
            let replayed = match self.check(program, &history, wants_place)? {
                Verdict::Same { replayed } => replayed,
                Verdict::Differs(difference) => return Ok(Moved::Differs(difference)),
                Verdict::Busy => return Err(Error::Overloaded),
            };
            let (id, component, entries) = (id.clone(), *component, history.entries.len() as u32);
            let mut inner = self.lock();
            inner.admit(self.options.backlog)?;
            match inner.apply(Op::Move { id: id.clone(), component, entries, replayed }) {
                Ok(_) => {
                    inner.progressed(&id);
                    return Ok(Moved::Done);
                }
                Err(Rejection::GotOn(_)) => {}
                Err(Rejection::Settled { .. }) => return Ok(Moved::Ended),
                Err(rejection) => return Err(rejection.into()),
            }
        }
        Err(Rejection::GotOn(id.clone()).into())
    }

    /// The verdict, after waiting for room.
    fn check(&self, program: &Program, history: &History, wants_place: bool) -> Result<Verdict, Error> {
        let check = if wants_place { check } else { check_roughly };
        for _ in 0..ATTEMPTS {
            match check(&self.runtime, program, history) {
                Verdict::Busy => std::thread::sleep(BREATHER),
                verdict => return Ok(verdict),
            }
        }
        Err(Error::Overloaded)
    }

    fn execution(&self, id: &Id) -> Result<Arc<Promise>, Error> {
        let promise = self.lock().view.get(id).ok_or_else(|| Rejection::NoPromise(id.clone()))?;
        if promise.execution.is_none() {
            return Err(Rejection::NoExecution(id.clone()).into());
        }
        Ok(promise)
    }

    fn history(&self, id: &Id) -> Result<History, Error> {
        let (promise, tail) = {
            let mut inner = self.lock();
            let promise = inner.view.get(id).ok_or_else(|| Rejection::NoPromise(id.clone()))?;
            (promise, inner.view.journal(id, 0))
        };
        let entries = tail.map_or(Ok(Vec::new()), |tail| tail.read())?;
        let no_execution = || Error::from(Rejection::NoExecution(id.clone()));
        if promise.execution.is_none() {
            return Err(no_execution());
        }
        let setting = Settings::of(self, &promise)?;
        History::of(&promise, entries, setting).ok_or_else(no_execution)
    }

    fn settled(&self, id: &Id) -> Rejection {
        match self.lock().view.get(id) {
            Some(promise) => Rejection::Settled { id: id.clone(), state: promise.state() },
            None => Rejection::NoPromise(id.clone()),
        }
    }
}
