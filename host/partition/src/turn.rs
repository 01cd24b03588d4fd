//! A turn of a session: one completion told, and everything that the guest does until it comes to rest. And its
//! beginning from a journal: all the turns that were, again.

use std::sync::Arc;

use machine::{Completion, Event, Output, Promise, Rejection, Rest};

use super::elsewhere::Room;
use super::settings::Settings;
use super::{Error, Shared};
use host_replay::{Difference, History, Reached, follow, locate};
use host_runtime::{Session, Status, Turn, Wanted};
use host_store::JournalTail;

/// A guest that computes goes on for so many time slices before others get theirs.
pub(super) const SLICES: usize = 32;

/// A session between two turns.
pub(super) struct Resting {
    pub(super) guest: Guest,
    /// The version of the task under which it runs.
    pub(super) version: u32,
    /// It isn't waiting: its time slice was over.
    pub(super) is_halfway: bool,
    /// It has gone on beyond a time slice since it last waited, for a while.
    pub(super) has_computed: bool,
    /// The memory of its guest, when it was last put down.
    pub(super) bytes: usize,
}

/// Where a session is.
pub(super) enum Guest {
    Here(Session),
    /// On another node.
    Elsewhere(Box<dyn Room>),
}

/// What a session did that isn't recorded.
pub(super) struct Done {
    pub(super) resting: Resting,
    pub(super) told: Option<(u32, u64)>,
    pub(super) events: Vec<Event>,
    pub(super) output: Vec<Output>,
    pub(super) rest: Rest,
}

/// Why a session could not be brought to where its journal ends.
pub(super) enum Failed {
    /// It did something else than before.
    Diverged(Box<Difference>),
    /// It could not be begun. It may be later.
    Unable(Error),
    /// The node that had it is gone, or has no room for it. It begins again.
    Gone,
    /// On another node it did something else than before. It begins again here, where that is looked into.
    Elsewhere,
}

impl Resting {
    /// Tell the guest of a step, and let it go on.
    pub(super) fn tell(mut self, step: u32, completion: Completion, now: u64) -> Result<Done, Failed> {
        self.session().tell(step, completion, now);
        self.go_on(Some((step, now)))
    }

    fn session(&mut self) -> &mut Session {
        match &mut self.guest {
            Guest::Here(session) => session,
            Guest::Elsewhere(_) => unreachable!("workers have no guests of other nodes"),
        }
    }

    /// The linear memory that its guest has taken here.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.guest {
            Guest::Here(session) => session.memory_bytes(),
            Guest::Elsewhere(_) => 0,
        }
    }

    /// Let the guest go on.
    fn go_on(mut self, told: Option<(u32, u64)>) -> Result<Done, Failed> {
        let turn = self.session().poll();
        self.has_computed = false;
        self.did(turn, told)
    }

    /// Let the guest go on from the end of its time slice, for a while unless it does something that is to be recorded.
    pub(super) fn compute(mut self) -> Result<Done, Failed> {
        let mut turn = self.session().poll();
        for _ in 1..SLICES {
            if turn.status != Status::Yielded || !turn.events.is_empty() || !turn.output.is_empty() {
                break;
            }
            turn = self.session().poll();
        }
        self.has_computed = true;
        self.did(turn, None)
    }

    fn did(mut self, turn: Turn, told: Option<(u32, u64)>) -> Result<Done, Failed> {
        let Turn { events, output, status } = turn;
        self.is_halfway = status == Status::Yielded;
        Ok(Done { rest: rest(status)?, resting: self, told, events, output })
    }
}

fn rest(status: Status) -> Result<Rest, Failed> {
    match status {
        Status::Yielded => Ok(Rest::Running),
        Status::Waiting => Ok(Rest::Waiting),
        Status::Finished(outcome) => Ok(Rest::Finished(outcome)),
        Status::Busy => Err(Failed::Unable(Error::Overloaded)),
    }
}

/// A session at the point where its journal ends.
pub(super) fn replay(shared: &Shared, promise: &Arc<Promise>, version: u32, tail: JournalTail) -> Result<Done, Failed> {
    let unable = |error: Error| Failed::Unable(error);
    let entries = tail.read().map_err(|error| unable(error.into()))?;
    let no_execution = || unable(Rejection::NoExecution(promise.id.clone()).into());
    let execution = promise.execution.as_ref().ok_or_else(no_execution)?;
    let setting = Settings::of(shared, promise).map_err(|error| unable(error.into()))?;
    let history = History::of(promise, entries, setting).ok_or_else(no_execution)?;
    let program = shared.programs.get(&execution.component).map_err(unable)?;
    let mut session = history.begin(&shared.runtime, &program, history.written(), Wanted::Nothing);
    let Reached { events, output, status, .. } = match follow(&mut session, &mut history.replay()) {
        Ok(reached) => reached,
        Err(diverged) => {
            drop(session);
            return Err(Failed::Diverged(Box::new(locate(&shared.runtime, &program, &history, *diverged))));
        }
    };
    let is_halfway = matches!(status, Status::Yielded);
    let resting = Resting { guest: Guest::Here(session), version, is_halfway, has_computed: false, bytes: 0 };
    Ok(Done { resting, told: None, events, output, rest: rest(status)? })
}
