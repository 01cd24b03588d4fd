//! Who plays: guests that are simulated, or those of a real component, which a host's own sessions and replays run.

use std::sync::Arc;

use crate::stage::Stage;
use host_partition::{Answer, Beginning, Lodger, Told};
use machine::{Component, Rest};

use super::guests::{self, Names, Scripted};

/// Real guests that there may be at a time, in all simulations of a process.
const GUESTS: u32 = 400;

#[derive(Clone)]
pub enum Cast {
    Scripted,
    Real(Arc<Stage>, Component),
}

pub enum Guest {
    Scripted(Scripted),
    Real(Box<Lodger>),
}

impl Cast {
    /// The guests of a component.
    pub fn real(wasm: &[u8]) -> Cast {
        let mut stage = Stage::new(GUESTS).expect("there is an engine");
        let component = stage.add(wasm).expect("it is a component");
        Cast::Real(Arc::new(stage), Component { installed_at: 0, ..component })
    }

    pub fn component(&self) -> Component {
        match self {
            Cast::Scripted => guests::component(),
            Cast::Real(_, component) => component.clone(),
        }
    }

    pub fn names(&self) -> Names {
        Names::new(matches!(self, Cast::Real(..)))
    }

    /// A guest at the end of its journal, and what it did beyond that: at most so much, if it can be stopped.
    pub fn begin(&self, names: &Names, seed: u64, beginning: Beginning, most: usize) -> (Option<Guest>, Answer) {
        match self {
            Cast::Scripted => {
                let script = names.script(seed, beginning.id());
                Guest::Scripted(Scripted::begin(script, beginning.entries())).go_on(None, most)
            }
            Cast::Real(stage, _) => {
                let (lodger, answer) = stage.begin(beginning);
                (lodger.map(|lodger| Guest::Real(Box::new(lodger))), answer)
            }
        }
    }
}

impl Guest {
    /// Tell it something, or let it go on.
    pub fn go_on(self, told: Option<Told>, most: usize) -> (Option<Guest>, Answer) {
        match self {
            Guest::Scripted(mut guest) => {
                if let Some(Told { step, completion, .. }) = told
                    && !guest.tell(step, completion)
                {
                    // It was told something at work: a replay wouldn't find that place.
                    return (None, Answer::Differs);
                }
                let (events, goes_on, outcome) = guest.go_on(most);
                let rest = match outcome {
                    Some(outcome) => Rest::Finished(outcome),
                    None if goes_on => Rest::Running,
                    None => Rest::Waiting,
                };
                let guest = (!matches!(rest, Rest::Finished(_))).then_some(Guest::Scripted(guest));
                (guest, Answer::Turn { events, output: Vec::new(), rest })
            }
            Guest::Real(lodger) => {
                let (lodger, answer) = lodger.go_on(told);
                (lodger.map(|lodger| Guest::Real(Box::new(lodger))), answer)
            }
        }
    }
}
