//! One run of one function.

use std::sync::Arc;

use machine::{Completion, Event, Id, Names, Outcome, Output, Payload};

use super::component::Program;
use super::drive::{Drive, Progress};
use super::engine::Slice;
use super::environment::Environment;
use super::fault;
use super::imports::random::Dice;
use super::output::Console;
use super::trace::{Stack, Trace, Wanted};
use super::wire::{Ends, Wire};
use super::{Inner, Limits, guest};

/// What an execution begins with, on its first run and on each later one.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its name, which those of its steps are made from.
    pub id: Id,
    /// The function to run.
    pub function: String,
    /// A JSON array.
    pub arguments: Payload,
    /// What its random numbers are drawn from.
    pub seed: u64,
    /// When it was first started: where its clocks begin.
    pub now_ms: u64,
    /// How many pieces of output earlier runs have written. This one leaves out as many.
    pub outputs_written: u32,
    /// What its steps are called, if it is a fork.
    pub names: Names,
    /// Which events it is to find the place of.
    pub wanted: Wanted,
    /// What it may use, and finds in its environment.
    pub setting: Setting,
}

/// What an execution is given from outside, beside its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What it may use.
    pub limits: Arc<Limits>,
    /// What it finds in its environment.
    pub environment: Arc<Environment>,
}

/// What happened in a poll.
#[derive(Debug)]
pub struct Turn {
    /// What the guest did, in order.
    pub events: Vec<Event>,
    /// What it wrote that no earlier run had written, in order.
    pub output: Vec<Output>,
    /// Where it stands.
    pub status: Status,
}

/// Where a guest stands after a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its slice is over. Poll it again, and tell it nothing before: where it stopped is no place that a replay could
    /// find again.
    Yielded,
    /// It rests until it is told something.
    Waiting,
    /// It has ended. The session is of no more use.
    Finished(Outcome),
    /// There was no room for it. Drop it, and start it again when another session is gone. The turn holds nothing,
    /// and nothing that the guest did since its last turn counts.
    Busy,
}

/// One run of one function, in a store of its own. Dropping it drops the store.
pub struct Session {
    wire: Arc<Wire>,
    limits: Arc<Limits>,
    function: String,
    /// None once it has ended, or if it had no room to begin with.
    drive: Option<Drive<Result<Vec<u8>, Vec<u8>>>>,
    at_rest: bool,
    has_room: bool,
}

impl Session {
    pub(super) fn new(runtime: &Inner, program: &Program, start: Start) -> Session {
        let Setting { limits, environment } = start.setting;
        let console = Console::new(&limits, &start.function, &environment, start.outputs_written);
        // A function whose stack is smaller than others' runs in an engine of its own, for which there may be no memory.
        let arena = runtime.arenas.of(limits.stack_bytes).ok();
        let exports = arena.as_ref().and_then(|arena| program.within(arena).ok());
        let arena = arena.as_deref().unwrap_or(runtime.arenas.main());
        let slice = Slice::new(arena.pulse.clone(), limits.cpu_ms);
        let dice = Dice::new(start.seed);
        let mut ends = Ends::new(start.id, limits.clone(), start.now_ms, console, dice, slice);
        ends.names = start.names;
        ends.trace = Trace::new(start.wanted);
        ends.environment = environment;
        let wire = Wire::new(ends);
        let drive = exports.map(|exports| {
            let store = guest::store(&arena.engine, &wire, &limits);
            Drive::new(&wire, Box::pin(exports.invoke(store, start.function.clone(), start.arguments)))
        });
        let has_room = drive.is_some();
        Session { wire, limits, function: start.function, drive, at_rest: false, has_room }
    }

    /// Whether the guest does what it did before. Then it may take as long as it takes: how long that is depends on the
    /// machine and on what else runs on it.
    pub fn set_replaying(&mut self, is_replaying: bool) {
        self.wire.lock().slice.is_bounded = !is_replaying;
    }

    /// The linear memory that the guest has taken.
    pub fn memory_bytes(&self) -> usize {
        self.wire.lock().memory_bytes
    }

    /// The places of events that were wanted, with the events' numbers, since this was last asked. Of a wait that was
    /// dropped, and of a wait through a WASI clock, there is none.
    pub fn take_places(&mut self) -> Vec<(u64, Stack)> {
        self.wire.lock().trace.take()
    }

    /// Answers one step, at a time. Poll before telling anything else.
    ///
    /// Only a session that [waits](Status::Waiting) is told anything. An answer to a step that nobody waits for, as it
    /// was dropped or has been answered, changes nothing at all, not even the guest's time.
    pub fn tell(&mut self, step: u32, completion: Completion, now_ms: u64) {
        debug_assert!(self.at_rest, "a session that doesn't rest is told nothing");
        if self.wire.tell(step, completion, now_ms) {
            self.at_rest = false;
        }
    }

    /// Runs the guest until it rests, ends, or has had its slice of a few milliseconds. After the end nothing happens.
    pub fn poll(&mut self) -> Turn {
        let Some(drive) = &mut self.drive else {
            let status = if self.has_room { Status::Waiting } else { Status::Busy };
            return Turn { events: Vec::new(), output: Vec::new(), status };
        };
        let progress = drive.run(&self.wire);
        let mut ends = self.wire.lock();
        let status = match progress {
            Progress::Yielded => Status::Yielded,
            Progress::Resting if ends.is_waiting() => Status::Waiting,
            Progress::Resting => Status::Finished(Outcome::Crashed(fault::waits_for_nothing(&self.function))),
            Progress::Done(Ok(result)) => Status::Finished(fault::check_result(result, &self.function, &self.limits)),
            Progress::Done(Err(error)) if fault::is_shortage(&error) => Status::Busy,
            Progress::Done(Err(error)) => {
                ends.finish_output();
                Status::Finished(Outcome::Crashed(fault::explain(&error, &self.function, &ends)))
            }
        };
        self.at_rest = status == Status::Waiting;
        if let Status::Finished(_) = status {
            ends.finish_output();
        }
        let turn = match status {
            Status::Busy => Turn { events: Vec::new(), output: Vec::new(), status },
            status => Turn { events: ends.take_events(), output: ends.take_output(), status },
        };
        drop(ends);
        if matches!(turn.status, Status::Finished(_) | Status::Busy) {
            self.drive = None;
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<Session>();
        is_send::<Turn>();
        is_send::<Program>();
    }
}
