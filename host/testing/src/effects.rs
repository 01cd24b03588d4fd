//! What a run did, and where two runs differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use machine::{Completion, Entry, Id, Kind, Memory, Promise, PromiseKind};

/// How often a run did what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Functions that were called, itself included, by name.
    pub calls: BTreeMap<String, u64>,
    /// Named steps.
    pub steps: u64,
    /// Sleeps.
    pub sleeps: u64,
    /// Promises that were made for others to settle.
    pub promises: u64,
    /// Lines of output.
    pub lines: u64,
    /// Requests to other systems, by method and address, the latter without what follows a `?`.
    pub requests: BTreeMap<String, u64>,
    /// Requests that the configuration doesn't allow.
    pub refused: u64,
}

impl Effects {
    pub(super) fn of(state: &Memory) -> Effects {
        let mut effects = Effects::default();
        for promise in state.promises.values() {
            match &promise.kind {
                PromiseKind::Call { function } => *effects.calls.entry(function.clone()).or_default() += 1,
                PromiseKind::Step { .. } => effects.steps += 1,
                PromiseKind::Sleep => effects.sleeps += 1,
                PromiseKind::External => effects.promises += 1,
                PromiseKind::Http { head, .. } => {
                    let address = head.url.split(['?', '#']).next().unwrap_or_default();
                    *effects.requests.entry(format!("{} {address}", head.method)).or_default() += 1;
                }
                // All ids are here.
                PromiseKind::Remote { .. } => {}
            }
        }
        effects.refused = state.journals.values().map(|entries| refused(entries)).sum();
        effects.lines = state.outputs.values().map(|lines| lines.len() as u64).sum();
        effects
    }
}

/// How many requests an execution was not allowed to send.
fn refused(entries: &[Entry]) -> u64 {
    let mut asked = BTreeSet::new();
    let mut refused = 0;
    for entry in entries {
        match entry {
            Entry::Asked { step, kind: Kind::Http { .. } } => drop(asked.insert(*step)),
            Entry::Told { step, completion: Completion::Refused(_), .. } if asked.contains(step) => refused += 1,
            _ => {}
        }
    }
    refused
}

impl fmt::Display for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Effects { calls, steps, sleeps, promises, lines, requests, refused } = self;
        let calls: Vec<String> = calls.iter().chain(requests).map(|(what, count)| format!("{what} ×{count}")).collect();
        write!(f, "{}", calls.join(", "))?;
        let counts =
            [(refused, "refused request"), (steps, "step"), (sleeps, "sleep"), (promises, "promise"), (lines, "line")];
        for (count, what) in counts.into_iter().filter(|(count, _)| **count > 0) {
            write!(f, ", {count} {what}{}", if *count == 1 { "" } else { "s" })?;
        }
        Ok(())
    }
}

/// What differs first between the ends of two runs that should be the same, and both sides of it. How often an execution
/// was claimed by a session is nobody's business.
pub(super) fn difference(expected: &Memory, seen: &Memory) -> Option<(String, String, String)> {
    let text = |promise: Option<&Promise>| promise.map_or("nothing".into(), |promise| format!("{promise:?}"));
    let unclaimed = |promise: &Promise| {
        let mut promise = promise.clone();
        promise.execution.iter_mut().for_each(|execution| execution.task.version = 0);
        promise
    };
    let outcome = |promise: Option<&Promise>| {
        let outcome = promise.and_then(|promise| promise.outcome.as_ref());
        outcome.map_or("pending".into(), |outcome| machine::Brief::of(outcome).to_string())
    };
    for id in ids(expected.promises.keys(), seen.promises.keys()) {
        let (one, other) = (expected.promises.get(id).map(unclaimed), seen.promises.get(id).map(unclaimed));
        if outcome(one.as_ref()) != outcome(other.as_ref()) {
            return Some((format!("the outcome of {id}"), outcome(one.as_ref()), outcome(other.as_ref())));
        }
        let (journal, other_journal) = (expected.journals.get(id), seen.journals.get(id));
        if journal != other_journal {
            let (one, other) = (journal.map_or(&[][..], Vec::as_slice), other_journal.map_or(&[][..], Vec::as_slice));
            let position = one.iter().zip(other).take_while(|(one, other)| one == other).count();
            let entry =
                |entries: &[machine::Entry]| entries.get(position).map_or("nothing".into(), ToString::to_string);
            return Some((format!("entry {position} of the journal of {id}"), entry(one), entry(other)));
        }
        let (lines, other_lines) = (expected.outputs.get(id), seen.outputs.get(id));
        if lines != other_lines {
            return Some((format!("the output of {id}"), format!("{lines:?}"), format!("{other_lines:?}")));
        }
        if one != other {
            return Some((format!("what is known of {id}"), text(one.as_ref()), text(other.as_ref())));
        }
    }
    None
}

fn ids<'a>(one: impl Iterator<Item = &'a Id>, other: impl Iterator<Item = &'a Id>) -> Vec<&'a Id> {
    let mut ids: Vec<&Id> = one.chain(other).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use machine::{Op, Outcome, Record, apply};

    use super::*;

    fn state(outcome: Outcome) -> Memory {
        let (mut state, id) = (Memory::default(), Id::root("p").unwrap());
        let ops = [
            Op::CreatePromise { id: id.clone(), param: Default::default(), timeout_at: 9 },
            Op::Settle { id, outcome },
        ];
        ops.into_iter().for_each(|op| drop(apply(&mut state, Record { now: 1, op })));
        state
    }

    #[test]
    fn a_difference_is_found_and_named() {
        let (one, other) = (state(Outcome::Canceled), state(Outcome::Resolved("1".into())));
        assert_eq!(difference(&one, &one), None);
        let (what, expected, seen) = difference(&one, &other).unwrap();
        assert_eq!((what.as_str(), expected.as_str(), seen.as_str()), ("the outcome of p", "canceled", "resolved 1"));
        assert!(difference(&one, &Memory::default()).is_some());
    }
}
