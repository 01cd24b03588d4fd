//! Running an execution again from its journal alone, on the component that it ran on or on another one, without side
//! effects.
//!
//! A [`History`] is all that there is to know of an execution. [`check`] says whether a component does what the history
//! has, from its first entry to its last, and if not, where it differs first: what the journal has, what the guest did,
//! and where in its source. The host resumes executions in the same way (see [`follow`]); nothing here knows of it.

mod capsule;
mod difference;
mod opened;
mod report;
mod walk;

use std::collections::BTreeSet;

use machine::{Basis, Divergence, Entry, Event, Id, Outcome, Output, Payload, Promise, Replay, Replayed, TaskState};

use host_runtime::{Program, Runtime, Session, Setting, Stack, Start, Status, Turn, Wanted};

pub use capsule::{Capsule, CapsuleError, Given, GivenVariable, Manifest};
pub use difference::{Difference, Observed};
pub use opened::{Opened, Secrets};
pub use report::{Report, Tally};
pub use walk::{Outstanding, Walk};

/// An execution, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Its name.
    pub id: Id,
    /// The function.
    pub function: String,
    /// A JSON array.
    pub arguments: Payload,
    /// The journal.
    pub entries: Vec<Entry>,
    /// Its result, if it has one.
    pub outcome: Option<Outcome>,
    /// How many pieces of output it has written.
    pub outputs: u32,
    /// Whether its guest came to rest, or to its end, where the journal ends. It can have been in the middle of something.
    pub is_at_rest: bool,
    /// What it was given from outside.
    pub setting: Setting,
}

/// What came of running a history again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The component did all that the history has, and would go on from there.
    Same {
        /// How many pieces of output it wrote on the way.
        replayed: u32,
    },
    /// It did something else.
    Differs(Box<Difference>),
    /// There was no room for it. Later there may be.
    Busy,
}

/// A guest that has come to where its journal ends.
#[derive(Debug)]
pub struct Reached {
    /// What it did beyond that, in order.
    pub events: Vec<Event>,
    /// What it wrote, in order.
    pub output: Vec<Output>,
    /// How much of that it wrote before it was told what the journal has last.
    pub earlier_output: usize,
    /// Where it stands.
    pub status: Status,
}

/// A guest that did something else than its journal has.
#[derive(Debug)]
pub struct Diverged {
    /// Where, and both sides.
    pub divergence: Divergence,
    /// How it ended, if that is what it did.
    pub outcome: Option<Outcome>,
}

/// Whether a component does what a history has, and where in its source it doesn't.
pub fn check(runtime: &Runtime, program: &Program, history: &History) -> Verdict {
    judge(runtime, program, history, |diverged| locate(runtime, program, history, *diverged))
}

/// The same without the place of a difference, which takes a second run and some milliseconds to find.
pub fn check_roughly(runtime: &Runtime, program: &Program, history: &History) -> Verdict {
    judge(runtime, program, history, |diverged| {
        let Diverged { divergence, outcome } = *diverged;
        Difference::new(history.function.clone(), divergence, outcome, Stack::new())
    })
}

fn judge(
    runtime: &Runtime,
    program: &Program,
    history: &History,
    differs: impl Fn(Box<Diverged>) -> Difference,
) -> Verdict {
    let mut session = history.begin(runtime, program, 0, Wanted::Nothing);
    let mut reached = match follow(&mut session, &mut history.replay()) {
        Ok(reached) => reached,
        Err(diverged) => {
            drop(session);
            return Verdict::Differs(Box::new(differs(diverged)));
        }
    };
    // Where its slice of time ended says nothing: it is on the way to where it ended by itself, or came to rest.
    while (history.ended_by_itself() || history.is_at_rest)
        && reached.status == Status::Yielded
        && reached.events.is_empty()
    {
        let Turn { events, output, status } = session.poll();
        reached.events = events;
        reached.output.extend(output);
        reached.status = status;
    }
    drop(session);
    let is_news = !reached.events.is_empty() || matches!(reached.status, Status::Yielded | Status::Finished(_));
    match (&history.outcome, &reached.status) {
        (_, Status::Busy) => Verdict::Busy,
        // What is as it was may have been ended from outside, while it waited or at work.
        (Some(outcome), status) if history.ended_by_itself() && is_news && !is_end(status, outcome) => {
            Verdict::Differs(Box::new(differs(beyond(history, &reached, outcome))))
        }
        _ => Verdict::Same { replayed: replayed(history, &reached, is_news) },
    }
}

/// Brings a guest to where its journal ends: everything that it was told is told again, in the order in which it was, and
/// everything that it does is held against what it did.
pub fn follow(session: &mut Session, replay: &mut Replay) -> Result<Reached, Box<Diverged>> {
    let (mut new, mut written) = (Vec::new(), Vec::new());
    let diverged = |divergence, outcome| Box::new(Diverged { divergence, outcome });
    session.set_replaying(true);
    loop {
        let Turn { events, output, status } = session.poll();
        let earlier_output = written.len();
        written.extend(output);
        for event in events {
            if !replay.observe(&event).map_err(|divergence| diverged(divergence, None))? {
                new.push(event);
            }
        }
        let is_over = match &status {
            // What the journal has beyond this, the guest is still on the way to.
            Status::Yielded => replay.is_over(),
            Status::Busy => true,
            Status::Waiting => match replay.rest().map_err(|divergence| diverged(divergence, None))? {
                Replayed::Tell { step, completion, now } => {
                    session.tell(step, completion, now);
                    false
                }
                Replayed::End => true,
            },
            Status::Finished(outcome) => {
                replay.finish(outcome).map_err(|divergence| diverged(divergence, Some(outcome.clone())))?;
                true
            }
        };
        if is_over {
            session.set_replaying(false);
            return Ok(Reached { events: new, output: written, earlier_output, status });
        }
    }
}

impl History {
    /// Of an execution with this journal. None: the promise isn't one of an execution.
    pub fn of(promise: &Promise, entries: Vec<Entry>, setting: Setting) -> Option<History> {
        Some(History {
            id: promise.id.clone(),
            function: promise.function()?.to_owned(),
            arguments: promise.param.clone(),
            outcome: promise.outcome.clone(),
            outputs: promise.execution.as_ref()?.outputs,
            is_at_rest: promise.execution.as_ref()?.task.state == TaskState::Suspended,
            entries,
            setting,
        })
    }

    /// Whether its end was, as far as one can tell, the guest's doing: what it does at the end of the journal is its end then.
    fn ended_by_itself(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Resolved(_) | Outcome::Rejected(_) | Outcome::Crashed(_)))
    }

    /// How many pieces a run on the component that it is on leaves out, because they were written.
    pub fn written(&self) -> u32 {
        Basis::of(&self.entries).map_or(self.outputs, |basis| basis.leaves_out(self.outputs))
    }

    /// A guest that is to do what the journal has. It leaves out so many pieces of output.
    pub fn begin(&self, runtime: &Runtime, program: &Program, outputs_written: u32, wanted: Wanted) -> Session {
        let basis = Basis::of(&self.entries);
        let start = Start {
            id: self.id.clone(),
            function: self.function.clone(),
            arguments: self.arguments.clone(),
            seed: basis.as_ref().map_or(0, |basis| basis.seed),
            now_ms: basis.as_ref().map_or(0, |basis| basis.now),
            outputs_written,
            names: basis.map(|basis| basis.names).unwrap_or_default(),
            wanted,
            setting: self.setting.clone(),
        };
        runtime.start(program, start)
    }

    /// The journal to hold a guest against: without its end, which can come from outside.
    pub fn replay(&self) -> Replay {
        let is_end = |entry: &&Entry| !matches!(entry, Entry::Finished { .. });
        Replay::new(self.entries.iter().filter(is_end).cloned())
    }
}

/// Whether a guest ended as it had ended. Texts of crashes name lines, which are others in another edition.
fn is_end(status: &Status, outcome: &Outcome) -> bool {
    match (status, outcome) {
        (Status::Finished(Outcome::Crashed(_)), Outcome::Crashed(_)) => true,
        (Status::Finished(ended), outcome) => ended == outcome,
        _ => false,
    }
}

/// The difference of a guest that went on, or ended in another way, where the journal has its end.
fn beyond(history: &History, reached: &Reached, outcome: &Outcome) -> Box<Diverged> {
    let last = history.entries.iter().rposition(|entry| matches!(entry, Entry::Finished { .. }));
    let observed = match (reached.events.first(), &reached.status) {
        (Some(event), _) => Some(Entry::of(event)),
        (None, Status::Finished(ended)) => Some(Entry::Finished { state: ended.state(), now: 0 }),
        _ => None,
    };
    let divergence = Divergence {
        position: last.unwrap_or(history.entries.len()) as u32,
        recorded: Some(Box::new(Entry::Finished { state: outcome.state(), now: 0 })),
        observed: observed.map(Box::new),
    };
    let outcome = match &reached.status {
        Status::Finished(ended) if reached.events.is_empty() => Some(ended.clone()),
        _ => None,
    };
    Box::new(Diverged { divergence, outcome })
}

/// How much of what a guest wrote belongs to the history. Of a turn that went on beyond it that can't be told, and it is
/// as much as had been written.
fn replayed(history: &History, reached: &Reached, is_news: bool) -> u32 {
    let (all, earlier) = (reached.output.len() as u32, reached.earlier_output as u32);
    if !is_news { all } else { history.written().clamp(earlier, all) }
}

/// Where in the guest's source a difference is. That takes another run, in which the guest does the same.
pub fn locate(runtime: &Runtime, program: &Program, history: &History, diverged: Diverged) -> Difference {
    let Diverged { divergence, outcome } = diverged;
    let wanted = match (&outcome, divergence.observed.as_deref()) {
        (Some(_), _) => BTreeSet::new(),
        (None, Some(_)) => [events_before(&history.entries, divergence.position)].into(),
        (None, None) => waited_for(&history.entries, divergence.position),
    };
    let mut stack = Stack::new();
    if !wanted.is_empty() {
        let mut session = history.begin(runtime, program, u32::MAX, Wanted::Events(wanted));
        // It ends as it did before.
        let _ = follow(&mut session, &mut history.replay());
        stack = session.take_places().pop().map(|(_, stack)| stack).unwrap_or_default();
    }
    Difference::new(history.function.clone(), divergence, outcome, stack)
}

fn is_event(entry: &Entry) -> bool {
    matches!(entry, Entry::Asked { .. } | Entry::Dropped { .. } | Entry::Recorded { .. })
}

/// The number of the event that a guest does at a position of its journal.
fn events_before(entries: &[Entry], position: u32) -> u64 {
    entries.iter().take(position as usize).filter(|entry| is_event(entry)).count() as u64
}

/// The event that asked for what a guest waits for last, where it comes to rest at a position.
fn waited_for(entries: &[Entry], position: u32) -> BTreeSet<u64> {
    let before = &entries[..entries.len().min(position as usize)];
    let mut events = Vec::new();
    for entry in before.iter().filter(|entry| is_event(entry)).zip(0..) {
        match entry {
            (Entry::Asked { step, .. }, number) => events.push((*step, number)),
            (Entry::Dropped { step } | Entry::Recorded { step, .. }, _) => events.retain(|(asked, _)| asked != step),
            _ => {}
        }
    }
    for entry in before {
        if let Entry::Told { step, .. } = entry {
            events.retain(|(asked, _)| asked != step);
        }
    }
    events.last().map(|(_, number)| *number).into_iter().collect()
}
