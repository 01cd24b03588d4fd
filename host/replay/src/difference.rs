//! What a replay did otherwise, for people.

use std::fmt;

use machine::{Divergence, Entry, Outcome, PromiseState};

use host_runtime::Stack;

/// Where a guest first did something else than its journal has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The function that the execution is a run of.
    pub function: String,
    /// The index of the entry, from 0.
    pub position: u32,
    /// What the journal has there. None: it has ended.
    pub recorded: Option<Entry>,
    /// What the guest did instead.
    pub observed: Observed,
    /// Where in its source, innermost first: functions, files and lines. Empty: that isn't known.
    pub stack: Stack,
}

/// What a guest did at one point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// This.
    Did(Entry),
    /// It came to rest, and asked for nothing more.
    Rested,
    /// It ended.
    Ended(Outcome),
}

impl Difference {
    pub(super) fn new(
        function: String,
        divergence: Divergence,
        outcome: Option<Outcome>,
        mut stack: Stack,
    ) -> Difference {
        let Divergence { position, recorded, observed } = divergence;
        let observed = match (outcome, observed) {
            (Some(Outcome::Crashed(text)), _) => {
                // The text says where it was, line by line.
                let (what, places) = text.split_once("\n  at ").unwrap_or((&text, ""));
                let what = what.split("\n  in the function").next().unwrap_or_default();
                stack.extend(places.split("\n  at ").filter(|place| !place.is_empty()).map(str::to_owned));
                Observed::Ended(Outcome::Crashed(what.to_owned()))
            }
            (Some(outcome), _) => Observed::Ended(outcome),
            (None, Some(entry)) => Observed::Did(*entry),
            (None, None) => Observed::Rested,
        };
        Difference { function, position, recorded: recorded.map(|entry| *entry), observed, stack }
    }

    /// What the journal has, in words.
    pub fn recorded_text(&self) -> String {
        self.recorded.as_ref().map_or_else(|| "nothing more".into(), words)
    }

    /// What the guest did, in words.
    pub fn observed_text(&self) -> String {
        match &self.observed {
            Observed::Did(entry) => words(entry),
            Observed::Rested => "nothing more: it waits".into(),
            Observed::Ended(outcome) => format!("finished: {}", machine::Brief::of(outcome)),
        }
    }
}

/// An entry as what the guest does there.
fn words(entry: &Entry) -> String {
    match entry {
        Entry::Told { step, .. } => format!("it waits, and is told of step {step}"),
        Entry::Finished { state: PromiseState::Canceled | PromiseState::TimedOut, .. } => {
            format!("{entry}, from outside")
        }
        entry => entry.to_string(),
    }
}

impl std::error::Error for Difference {}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the replay differs at entry {}", self.position)?;
        writeln!(f, "  the journal has  {}", self.recorded_text())?;
        writeln!(f, "  the guest did    {}", self.observed_text())?;
        write!(f, "  in the function {:?}", self.function)?;
        self.stack.iter().try_for_each(|place| write!(f, "\n  at {place}"))
    }
}
