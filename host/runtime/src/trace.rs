//! Where in a guest its events come from. Finding that out takes up to a millisecond for each, so it is done only where
//! somebody wants to know, in a run that is made for it.

use std::collections::BTreeSet;

/// Which events a run is to find the place of. Events are counted from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// None.
    #[default]
    Nothing,
    /// These.
    Events(BTreeSet<u64>),
}

/// Where a guest was: functions, files and lines, innermost first.
pub type Stack = Vec<String>;

/// The places of a run's events.
#[derive(Debug, Default)]
pub(super) struct Trace {
    wanted: Wanted,
    /// How many events there were.
    events: u64,
    marked: Vec<(u64, Stack)>,
}

impl Trace {
    pub(super) fn new(wanted: Wanted) -> Trace {
        Trace { wanted, events: 0, marked: Vec::new() }
    }

    /// Whether the place of the event that is about to happen is wanted.
    pub(super) fn is_wanted(&self) -> bool {
        match &self.wanted {
            Wanted::Nothing => false,
            Wanted::Events(events) => events.contains(&self.events),
        }
    }

    /// The place of the event that is about to happen.
    pub(super) fn mark(&mut self, stack: Stack) {
        self.marked.push((self.events, stack));
    }

    /// An event has happened.
    pub(super) fn passed(&mut self) {
        self.events += 1;
    }

    pub(super) fn take(&mut self) -> Vec<(u64, Stack)> {
        std::mem::take(&mut self.marked)
    }
}
