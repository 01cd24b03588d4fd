//! A turn of a session: one completion told, and everything that the guest does until it comes to rest. And its
//! beginning from a journal: all the turns that were, again.

use std::sync::Arc;

use machine::{Completion, Divergence, Entry, Event, Output, Promise, Replay, Replayed, Rest};

use super::{Error, Shared};
use crate::runtime::{Session, Start, Status, Turn};
use crate::store::JournalTail;

/// A session between two turns.
pub(super) struct Resting {
    pub(super) session: Session,
    /// The version of the task under which it runs.
    pub(super) version: u32,
    /// It isn't waiting: its time slice was over.
    pub(super) is_halfway: bool,
    /// The memory of its guest, when it was last put down.
    pub(super) bytes: usize,
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
    Diverged(Divergence),
    /// It could not be begun. It may be later.
    Unable(Error),
}

impl Resting {
    /// Tell the guest of a step, and let it go on.
    pub(super) fn tell(mut self, step: u32, completion: Completion, now: u64) -> Result<Done, Failed> {
        self.session.tell(step, completion, now);
        self.go_on(Some((step, now)))
    }

    /// Let the guest go on.
    pub(super) fn go_on(mut self, told: Option<(u32, u64)>) -> Result<Done, Failed> {
        let Turn { events, output, status } = self.session.poll();
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

/// A session at the point where its journal ends: everything that the guest was told is told again, in the order in
/// which it was, and everything that it does is held against what it did.
pub(super) fn replay(shared: &Shared, promise: &Arc<Promise>, version: u32, tail: JournalTail) -> Result<Done, Failed> {
    let unable = |error: Error| Failed::Unable(error);
    let execution = promise.execution.as_ref().expect("only executions are run");
    let entries = tail.read().map_err(|error| unable(error.into()))?;
    let now_ms = match entries.first() {
        Some(Entry::Started { now, .. }) => *now,
        _ => promise.created_at,
    };
    let program = shared.programs.get(&execution.component).map_err(unable)?;
    let start = Start {
        id: promise.id.clone(),
        function: promise.function().unwrap_or_default().to_owned(),
        arguments: promise.param.clone(),
        seed: execution.seed,
        now_ms,
        outputs_written: execution.outputs,
    };
    let mut session = shared.runtime.start(&program, start);
    let mut replay = Replay::new(entries);
    let (mut new, mut written) = (Vec::new(), Vec::new());
    loop {
        let Turn { events, output, status } = session.poll();
        written.extend(output);
        for event in events {
            if !replay.observe(&event).map_err(Failed::Diverged)? {
                new.push(event);
            }
        }
        let is_over = match &status {
            // What the journal has beyond this, the guest is still on the way to.
            Status::Yielded => replay.is_over(),
            Status::Busy => true,
            Status::Waiting => match replay.rest().map_err(Failed::Diverged)? {
                Replayed::Tell { step, completion, now } => {
                    session.tell(step, completion, now);
                    false
                }
                Replayed::End => true,
            },
            Status::Finished(outcome) => !replay.finish(outcome).map_err(Failed::Diverged)?,
        };
        if is_over {
            let is_halfway = matches!(status, Status::Yielded);
            let resting = Resting { session, version, is_halfway, bytes: 0 };
            return Ok(Done { resting, told: None, events: new, output: written, rest: rest(status)? });
        }
    }
}
