//! What became of the executions of a component's functions when they were replayed on it, counted.

use std::collections::BTreeMap;

use machine::{Component, Id, Promise};

use super::{Difference, Verdict};

/// What became of the executions of a component's functions.
#[derive(Debug, Default)]
pub struct Report {
    /// By the name of the function.
    pub functions: BTreeMap<String, Tally>,
    /// Whether all of them were looked at, in the time there was.
    pub is_complete: bool,
}

/// What became of the executions of one function.
#[derive(Debug, Default)]
pub struct Tally {
    /// Unfinished ones that would go on unchanged, or do.
    pub same: u64,
    /// Unfinished ones that would do something else. They stay where they are.
    pub differ: u64,
    /// The first of those.
    pub first: Option<(Id, Difference)>,
    /// Finished ones that would have gone the same way.
    pub finished_same: u64,
    /// Finished ones that would have gone another way.
    pub finished_differ: u64,
    /// The first of those.
    pub finished_first: Option<(Id, Difference)>,
}

impl Report {
    /// Of a component's functions, with nothing counted.
    pub fn of(component: &Component) -> Report {
        let functions = component.functions.iter().map(|function| (function.name.clone(), Tally::default()));
        Report { functions: functions.collect(), is_complete: true }
    }

    /// Whether a difference of this execution would be shown: it is the first of its function.
    pub fn wants_place(&self, promise: &Promise) -> bool {
        let tally = promise.function().and_then(|name| self.functions.get(name));
        tally.is_some_and(|tally| match promise.outcome {
            None => tally.first.is_none(),
            Some(_) => tally.finished_first.is_none(),
        })
    }

    /// What became of an execution. One of a function that isn't the component's doesn't count.
    pub fn count(&mut self, promise: &Promise, verdict: Verdict) {
        let Some(tally) = promise.function().and_then(|name| self.functions.get_mut(name)) else { return };
        let is_finished = promise.outcome.is_some();
        match verdict {
            Verdict::Same { .. } if is_finished => tally.finished_same += 1,
            Verdict::Same { .. } => tally.same += 1,
            Verdict::Differs(difference) if is_finished => {
                tally.finished_differ += 1;
                tally.finished_first.get_or_insert((promise.id.clone(), *difference));
            }
            Verdict::Differs(difference) => {
                tally.differ += 1;
                tally.first.get_or_insert((promise.id.clone(), *difference));
            }
            Verdict::Busy => self.is_complete = false,
        }
    }
}
