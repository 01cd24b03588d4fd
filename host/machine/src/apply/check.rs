//! Whether a turn can have been. It is looked at whole before any of it is recorded, so that a session with a fault
//! leaves nothing half recorded. What passes here is recorded without a second look.
//!
//! It doesn't ask whether the guest could have done it: that is the replay's question.

use std::collections::BTreeSet;

use super::{Rejection, Step, is_given, malformed};
use crate::execution::Answer;
use crate::{Ask, Awaiter, Event, Execution, Id, Outcome, Progress, PromiseKind, Ready, Rest, State};

/// What the events of a turn have led to so far.
#[derive(Default)]
struct Turn {
    /// The last step that was asked.
    steps: u32,
    /// Steps asked in this turn that wait for an answer.
    waiting: BTreeSet<u32>,
    /// Steps of the guest's own work that were begun in this turn.
    begun: BTreeSet<u32>,
    /// Steps of earlier turns that ended in this one.
    over: BTreeSet<u32>,
    /// Steps that had their answer when the turn began, if anybody has asked.
    ready: Option<BTreeSet<u32>>,
}

impl<S: State> Step<'_, S> {
    pub(super) fn check(&mut self, progress: &Progress) -> Result<(), Rejection> {
        self.impossible(progress).map_or(Ok(()), |what| Err(malformed(&progress.id, what)))
    }

    /// What of a turn can't have been.
    fn impossible(&mut self, progress: &Progress) -> Option<String> {
        let Progress { id, version: _, told, events, output, rest } = progress;
        let execution = self.executed(id)?;
        let mut turn = Turn { steps: execution.steps, ..Turn::default() };
        // One more entry than there are: the last is that of the end, and there is always room for it.
        let has_room = |count: u32, more: usize| more < (u32::MAX - count) as usize;
        if !has_room(execution.entries, events.len() + 1) || !has_room(execution.outputs, output.len()) {
            return Some("its journal or its output is full".into());
        }
        if let Some((step, _)) = told {
            let ready = execution.ready.iter().find(|ready| ready.step == *step);
            if !ready.cloned().is_some_and(|ready| self.is_answered(&ready)) {
                return Some(format!("told of step {step}, which has no answer"));
            }
            turn.over.insert(*step);
        }
        if let Some(what) = events.iter().find_map(|event| self.impossible_event(id, &mut turn, event)) {
            return Some(what);
        }
        (*rest == Rest::Finished(Outcome::TimedOut)).then(|| "it finished by its deadline".into())
    }

    fn impossible_event(&mut self, id: &Id, turn: &mut Turn, event: &Event) -> Option<String> {
        match event {
            Event::Asked { step, ask } => {
                if turn.steps.checked_add(1) != Some(*step) {
                    return Some(format!("asked step {step} after step {}", turn.steps));
                }
                turn.steps = *step;
                match ask {
                    Ask::SettlePromise { outcome, .. } if !is_given(outcome) => {
                        return Some(format!("step {step} settles a promise as {}", outcome.state().as_str()));
                    }
                    Ask::Step { .. } => turn.begun.insert(*step),
                    Ask::Call { detached: true, .. } | Ask::CreatePromise { .. } => false,
                    _ => turn.waiting.insert(*step),
                };
                None
            }
            Event::Dropped { step } => {
                let waited = turn.waiting.remove(step) || (turn.over.insert(*step) && self.waits(id, turn, *step));
                (!waited).then(|| format!("stopped waiting for step {step}, for which it didn't wait"))
            }
            Event::Recorded { step, outcome } => {
                if !is_given(outcome) {
                    return Some(format!("recorded step {step} as {}", outcome.state().as_str()));
                }
                let begun = turn.begun.remove(step) || (turn.over.insert(*step) && self.is_work(id, *step));
                (!begun).then(|| format!("recorded step {step}, which it hadn't begun"))
            }
        }
    }

    /// Whether an execution waited for a step when the turn began.
    fn waits(&mut self, id: &Id, turn: &mut Turn, step: u32) -> bool {
        let Some(execution) = self.executed(id) else { return false };
        if let Some(other) = execution.open.get(&step) {
            let Some(awaited) = other.clone().or_else(|| id.child(step).ok()) else { return false };
            let awaiter = Awaiter { execution: id.clone(), step };
            return self.state.promise(&awaited).is_some_and(|p| p.awaiters.contains(&awaiter));
        }
        turn.ready.get_or_insert_with(|| execution.ready.iter().map(|ready| ready.step).collect()).contains(&step)
    }

    /// Whether a step is one of the guest's own work.
    fn is_work(&mut self, id: &Id, step: u32) -> bool {
        let promise = id.child(step).ok().and_then(|child| self.state.promise(&child));
        promise.is_some_and(|p| matches!(p.kind, PromiseKind::Step { .. }))
    }

    fn is_answered(&mut self, ready: &Ready) -> bool {
        match &ready.answer {
            Answer::Here(_) => true,
            Answer::Promise(promise) => self.state.promise(promise).is_some_and(|p| p.outcome.is_some()),
        }
    }

    fn executed(&mut self, id: &Id) -> Option<&Execution> {
        self.state.promise(id)?.execution.as_deref()
    }
}
