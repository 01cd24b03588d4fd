//! Walking through a history, entry by entry: what was outstanding, what the guest wrote, and where it waits.

use std::collections::{BTreeMap, BTreeSet};

use machine::{Entry, Output, Replayed};

use super::{Difference, Diverged, History, locate};
use host_runtime::{Program, Runtime, Stack, Status, Turn, Wanted};

/// A walk, up to an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The entries that a turn of the guest began at, and what it wrote in that turn.
    pub output: BTreeMap<u32, Vec<Output>>,
    /// Where in the guest's source each step that is outstanding at the end was asked for, innermost first.
    pub places: BTreeMap<u32, Stack>,
}

impl Walk {
    /// Through the first entries of a history, on a component that does what it has.
    pub fn through(
        runtime: &Runtime,
        program: &Program,
        history: &History,
        entries: usize,
    ) -> Result<Walk, Box<Difference>> {
        // What it does next is known, so it comes to its end or to rest, however many slices of time that takes.
        let goes_on = entries < history.entries.len() || history.ended_by_itself();
        let mut part = history.clone();
        part.entries.truncate(entries);
        let mut session = part.begin(runtime, program, 0, Wanted::Events(asking(&part.entries)));
        let mut replay = part.replay();
        let (mut walk, mut event_steps, mut turn_at) = (Walk::default(), Vec::new(), 0);
        let differs = |divergence, outcome| {
            let diverged = Box::new(Diverged { divergence, outcome });
            Box::new(locate(runtime, program, &part, *diverged))
        };
        loop {
            let Turn { events, output, status } = session.poll();
            if !output.is_empty() {
                walk.output.entry(turn_at).or_default().extend(output);
            }
            for event in events {
                event_steps.push(event.step());
                replay.observe(&event).map_err(|divergence| differs(divergence, None))?;
            }
            for (event, stack) in session.take_places() {
                if let Some(step) = event_steps.get(event as usize) {
                    walk.places.entry(*step).or_insert(stack);
                }
            }
            match status {
                Status::Yielded if goes_on || !replay.is_over() => {}
                Status::Waiting => {
                    let position = replay.position();
                    match replay.rest().map_err(|divergence| differs(divergence, None))? {
                        Replayed::Tell { step, completion, now } => {
                            session.tell(step, completion, now);
                            turn_at = position;
                        }
                        Replayed::End => return Ok(walk),
                    }
                }
                Status::Finished(outcome) => {
                    replay.finish(&outcome).map_err(|divergence| differs(divergence, Some(outcome.clone())))?;
                    return Ok(walk);
                }
                Status::Yielded | Status::Busy => return Ok(walk),
            }
        }
    }
}

/// The events that asked for what is outstanding after these entries, counted from 0. To find the place of one takes
/// milliseconds.
fn asking(entries: &[Entry]) -> BTreeSet<u64> {
    let outstanding = Outstanding::after(entries);
    let events =
        entries.iter().filter(|e| matches!(e, Entry::Asked { .. } | Entry::Dropped { .. } | Entry::Recorded { .. }));
    let asks = |entry: &Entry| matches!(entry, Entry::Asked { step, .. } if outstanding.0.contains_key(step));
    (0..).zip(events).filter(|(_, entry)| asks(entry)).map(|(number, _)| number).collect()
}

/// What an execution waits for: steps, with the entries that asked for them.
#[derive(Debug, Default)]
pub struct Outstanding<'a>(BTreeMap<u32, &'a Entry>);

impl<'a> Outstanding<'a> {
    /// After these first entries of its journal.
    pub fn after(entries: &'a [Entry]) -> Outstanding<'a> {
        let mut outstanding = Outstanding::default();
        entries.iter().for_each(|entry| outstanding.follow(entry));
        outstanding
    }

    /// After one more entry.
    pub fn follow(&mut self, entry: &'a Entry) {
        match entry {
            Entry::Asked { step, kind } if !is_immediate(kind) => drop(self.0.insert(*step, entry)),
            Entry::Told { step, .. } | Entry::Dropped { step } | Entry::Recorded { step, .. } => {
                self.0.remove(step);
            }
            Entry::Finished { .. } => self.0.clear(),
            _ => {}
        }
    }

    /// How many steps it waits for.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// They, in the order in which they were asked for.
    pub fn steps(&self) -> impl Iterator<Item = (u32, &'a Entry)> {
        self.0.iter().map(|(step, entry)| (*step, *entry))
    }
}

/// Whether a guest doesn't wait for an answer.
fn is_immediate(kind: &machine::Kind) -> bool {
    matches!(kind, machine::Kind::CreatePromise { .. } | machine::Kind::Call { detached: true, .. })
}
