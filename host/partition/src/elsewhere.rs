//! Guests of this partition that run on other nodes.
//!
//! A session is messages: what it is told goes there, what it did comes back, and it is recorded here, under the version
//! of the task, like that of any worker. So a node that dies while it has a guest costs that guest a replay and nothing
//! else. What has its session elsewhere is driven by tasks of tokio; no worker waits for it.
//!
//! Guests go elsewhere only if they compute beyond a time slice and no worker is left for that: their session here is dropped,
//! and they begin again there, from the journal. So what comes to rest soon, as most does, never goes anywhere.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use machine::{Completion, Config, Digest, Entry, Event, Id, Outcome, Output, Payload, Promise, Rest};
use serde::{Deserialize, Serialize};

use super::settings::{Settings, configuration};
use super::turn::{Done, Failed, Guest, Resting, SLICES};
use super::workers::Work;
use super::{Error, Programs, Shared};
use host_replay::{History, Reached, follow};
use host_runtime::{Program, Runtime, Session, Setting, Status, Turn, Wanted};
use host_store::{JournalTail, Vault};

/// Before looking again for room on another node, while executions wait.
const BREATHER: Duration = Duration::from_millis(10);
/// The other nodes, as far as they run guests of this one.
pub trait Elsewhere: Send + Sync {
    /// Room for one more guest, if there is any. It is taken until the room is dropped.
    fn room(&self) -> Option<Box<dyn Room>>;
}

/// Room for one guest on another node, and the guest once it has begun. Dropping it ends the guest.
pub trait Room: Send {
    /// Begin a guest.
    fn begin(&mut self, beginning: Beginning) -> BoxFuture<'_, Answer>;
    /// Tell it something, or let it go on.
    fn go_on(&mut self, told: Option<Told>) -> BoxFuture<'_, Answer>;
}

/// What a guest begins with elsewhere. The values of its variables are where every node finds them.
#[derive(Clone, Serialize, Deserialize)]
pub struct Beginning {
    id: Id,
    component: Digest,
    function: String,
    arguments: Payload,
    outcome: Option<Outcome>,
    outputs: u32,
    entries: Vec<Entry>,
    config: Config,
    host: Config,
}

/// What a guest is told.
#[derive(Clone, Serialize, Deserialize)]
pub struct Told {
    /// The step.
    pub step: u32,
    /// Its answer.
    pub completion: Completion,
    /// When.
    pub now: u64,
}

/// What comes back.
#[derive(Clone, Serialize, Deserialize)]
pub enum Answer {
    /// What the guest did.
    Turn {
        /// In order.
        events: Vec<Event>,
        /// What it wrote.
        output: Vec<Output>,
        /// Where it stands.
        rest: Rest,
    },
    /// There is no room after all, or the guest is gone. It begins again.
    Gone,
    /// It did something else than its journal has. Where it is recorded that is found out once more, and said.
    Differs,
}

impl Beginning {
    /// What an execution begins with. Where blocking is fine.
    pub(super) fn of(promise: &Promise, tail: JournalTail, configured: (Config, Config)) -> Result<Beginning, Error> {
        let entries = tail.read()?;
        let beginning = Beginning::with(promise, entries, configured);
        beginning.ok_or_else(|| machine::Rejection::NoExecution(promise.id.clone()).into())
    }

    /// What an execution with this journal begins with. None: it isn't one.
    pub fn with(promise: &Promise, entries: Vec<Entry>, (config, host): (Config, Config)) -> Option<Beginning> {
        let execution = promise.execution.as_ref()?;
        Some(Beginning {
            id: promise.id.clone(),
            component: execution.component,
            function: promise.function()?.to_owned(),
            arguments: promise.param.clone(),
            outcome: promise.outcome.clone(),
            outputs: execution.outputs,
            entries,
            config,
            host,
        })
    }

    /// Which execution.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// What it runs on.
    pub fn component(&self) -> &Digest {
        &self.component
    }

    /// What happened to it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn history(self, setting: Setting) -> History {
        let Beginning { id, function, arguments, entries, outcome, outputs, .. } = self;
        History { id, function, arguments, entries, outcome, outputs, is_at_rest: false, setting }
    }
}

/// A guest of another node's, here.
pub struct Lodger(Session);

impl Lodger {
    /// Begin it, as far as its journal goes. Where blocking is fine.
    pub fn begin(beginning: Beginning, programs: &Programs, vault: &Vault) -> (Option<Lodger>, Answer) {
        let runtime = programs.runtime();
        let begun = Settings::setting(vault, runtime.limits(), &beginning.config, &beginning.host).map_err(Error::from);
        let begun = begun.and_then(|setting| Ok((setting, programs.get(&beginning.component)?)));
        match begun {
            Ok((setting, program)) => Lodger::enter(beginning, setting, runtime, &program),
            Err(error) => {
                tracing::warn!(execution = %beginning.id, "it can't be run for another node: {error}");
                (None, Answer::Gone)
            }
        }
    }

    /// Begin it with what it is given.
    pub fn enter(
        beginning: Beginning,
        setting: Setting,
        runtime: &Runtime,
        program: &Program,
    ) -> (Option<Lodger>, Answer) {
        let history = beginning.history(setting);
        let mut session = history.begin(runtime, program, history.written(), Wanted::Nothing);
        match follow(&mut session, &mut history.replay()) {
            Ok(Reached { events, output, status, .. }) => Lodger(session).finish(events, output, status),
            Err(_) => (None, Answer::Differs),
        }
    }

    /// Tell it something, or let it go on. Where blocking is fine.
    pub fn go_on(mut self, told: Option<Told>) -> (Option<Lodger>, Answer) {
        if let Some(Told { step, completion, now }) = told {
            self.0.tell(step, completion, now);
        }
        let Turn { events, output, status } = self.0.poll();
        self.finish(events, output, status)
    }

    /// Let it go on beyond the end of its time slice, for a while.
    fn finish(
        mut self,
        mut events: Vec<Event>,
        mut output: Vec<Output>,
        mut status: Status,
    ) -> (Option<Lodger>, Answer) {
        for _ in 0..SLICES {
            if status != Status::Yielded {
                break;
            }
            let turn = self.0.poll();
            events.extend(turn.events);
            output.extend(turn.output);
            status = turn.status;
        }
        match status {
            Status::Yielded => (Some(self), Answer::Turn { events, output, rest: Rest::Running }),
            Status::Waiting => (Some(self), Answer::Turn { events, output, rest: Rest::Waiting }),
            Status::Finished(outcome) => (None, Answer::Turn { events, output, rest: Rest::Finished(outcome) }),
            Status::Busy => (None, Answer::Gone),
        }
    }
}

/// Send guests to other nodes while more compute than the workers have hands for.
pub(super) async fn lend(shared: std::sync::Weak<Shared>) {
    loop {
        let Some((notify, elsewhere)) = shared.upgrade().and_then(|shared| {
            let place = shared.place.as_ref()?;
            Some((place.overfull.clone(), place.elsewhere.clone()))
        }) else {
            return;
        };
        notify.notified().await;
        loop {
            let Some(shared) = shared.upgrade() else { return };
            if shared.lock().stopping {
                return;
            }
            if !shared.lock().is_overfull() {
                break;
            }
            let Some(room) = elsewhere.room() else {
                drop(shared);
                tokio::time::sleep(BREATHER).await;
                continue;
            };
            let begun = {
                let mut inner = shared.lock();
                let id = inner.sessions.pop_movable();
                super::workers::drop_ended(&mut inner);
                id.and_then(|id| inner.next_work(&id).map(|work| (id, work)))
            };
            match begun {
                Some((id, Work::Begin { promise, version, tail })) => {
                    let work = Abroad::Begin { room, promise, version, tail };
                    tokio::spawn(drive(shared, id, work));
                }
                // It has begun here meanwhile, or there is nothing to do for it.
                Some((id, work)) => shared.lock().put_back(id, work),
                None => break,
            }
        }
    }
}

/// What is to be done with a guest elsewhere.
pub(super) enum Abroad {
    Begin { room: Box<dyn Room>, promise: Arc<Promise>, version: u32, tail: JournalTail },
    GoOn { room: Box<dyn Room>, version: u32, told: Option<Told> },
}

/// Turn after turn, until it rests or has ended.
pub(super) async fn drive(shared: Arc<Shared>, id: Id, mut work: Abroad) {
    loop {
        let reading = shared.clone();
        let beginning = async move |promise: Arc<Promise>, tail| {
            let read = tokio::task::spawn_blocking(move || {
                let configured = configuration(&reading.lock().view, &promise);
                Beginning::of(&promise, tail, configured)
            });
            read.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
        };
        let done = perform(work, beginning).await;
        let mut inner = shared.lock();
        let may_go_on = !inner.stopping;
        let more = inner.record(&id, done, may_go_on);
        super::workers::drop_ended(&mut inner);
        match more {
            Some(Work::Abroad(more)) => work = more,
            // Sessions don't move: what has begun elsewhere goes on elsewhere.
            Some(_) | None => return,
        }
    }
}

/// One turn of a guest elsewhere. `beginning` reads what it begins with.
pub(super) async fn perform(
    work: Abroad,
    beginning: impl AsyncFnOnce(Arc<Promise>, JournalTail) -> Result<Beginning, Error>,
) -> Result<Done, (u32, Failed)> {
    let (room, version, told, answer) = match work {
        Abroad::Begin { mut room, promise, version, tail } => {
            let answer = match beginning(promise, tail).await {
                Ok(beginning) => room.begin(beginning).await,
                Err(error) => return Err((version, Failed::Unable(error))),
            };
            (room, version, None, answer)
        }
        Abroad::GoOn { mut room, version, told } => {
            let told_at = told.as_ref().map(|told| (told.step, told.now));
            let answer = room.go_on(told).await;
            (room, version, told_at, answer)
        }
    };
    match answer {
        Answer::Turn { events, output, rest } => {
            let is_halfway = rest == Rest::Running;
            let resting = Resting { guest: Guest::Elsewhere(room), version, is_halfway, has_computed: false, bytes: 0 };
            Ok(Done { resting, told, events, output, rest })
        }
        Answer::Gone => Err((version, Failed::Gone)),
        Answer::Differs => Err((version, Failed::Elsewhere)),
    }
}
