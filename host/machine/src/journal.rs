//! The ordered record of one execution, and the check of a replay against it.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Ask, Completion, Digest, Event, Hidden, HttpHead, Id, Outcome, Payload, PromiseState};

/// Payloads up to this size are kept in an entry as they are, longer ones as their digest: the promise has the value.
/// It is part of the format: with another size, a replay would differ from the journals that are there.
const INLINE_BYTES: usize = 128;

/// An item of a journal. What the guest does and what it is told are one sequence, in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// Always the first. The function and its arguments are those of the promise.
    Started {
        /// What it runs on.
        component: Digest,
        /// What its random numbers are drawn from.
        seed: u64,
        /// The time that it sees at first.
        now: u64,
    },
    /// The guest called an import.
    Asked {
        /// From 1, without gaps.
        step: u32,
        /// What it asked.
        kind: Kind,
    },
    /// A completion was delivered to the guest. The order of these is the schedule.
    Told {
        /// Of which step.
        step: u32,
        /// What it was told.
        completion: Completion,
        /// The time that it sees from here on.
        now: u64,
    },
    /// The guest stopped waiting for a step.
    Dropped {
        /// Which.
        step: u32,
    },
    /// The guest gave the result of a step of its own.
    Recorded {
        /// Which.
        step: u32,
        /// Whether it went well, and with what.
        outcome: Brief,
    },
    /// Always the last. The result is that of the promise.
    Finished {
        /// Which kind of result.
        state: PromiseState,
        /// When.
        now: u64,
    },
    /// The execution goes on on another component, on which a run did all that is above as it had been done.
    Moved {
        /// What it runs on from here on.
        component: Digest,
        /// How many pieces of output a run on that component writes up to here.
        replayed: u32,
        /// How many the execution had written.
        written: u32,
        /// When.
        now: u64,
    },
    /// What is above is a part of the history of another execution, of which this one is a fork.
    Forked {
        /// Which.
        from: Id,
        /// The last step in that part.
        steps: u32,
        /// How many pieces of output a run writes up to here. None of them is the fork's own.
        replayed: u32,
        /// When.
        now: u64,
    },
}

/// What was asked: an [`Ask`] whose payloads may be digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Ask")]
pub enum Kind {
    Call {
        function: String,
        arguments: Arguments,
        id: Option<String>,
        timeout_ms: Option<u64>,
        target: Option<String>,
        detached: bool,
    },
    Sleep {
        until_ms: u64,
    },
    CreatePromise {
        timeout_ms: Option<u64>,
    },
    AwaitPromise {
        id: String,
    },
    SettlePromise {
        id: String,
        outcome: Brief,
    },
    Step {
        name: String,
    },
    Http {
        method: String,
        url: Arguments,
        /// Of the names and values, and of where secrets were cut out of the request.
        headers: Digest,
        body: Arguments,
    },
}

/// A payload in an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arguments {
    /// As it was.
    Inline(Payload),
    /// Too long to be kept twice.
    Digest {
        /// Of its bytes.
        digest: Digest,
        /// How long it was.
        bytes: u64,
    },
}

/// An outcome in an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// Which kind of outcome.
    pub state: PromiseState,
    /// Its value, if it has one.
    pub value: Option<Arguments>,
}

impl Arguments {
    /// What an entry keeps of it.
    fn size(&self) -> u64 {
        match self {
            Arguments::Inline(payload) => payload.len() as u64,
            Arguments::Digest { .. } => 40,
        }
    }

    /// Of a payload.
    pub fn of(payload: &Payload) -> Arguments {
        if payload.len() <= INLINE_BYTES {
            Arguments::Inline(payload.clone())
        } else {
            Arguments::Digest { digest: Digest::of(payload), bytes: payload.len() as u64 }
        }
    }
}

impl Brief {
    /// Of an outcome.
    pub fn of(outcome: &Outcome) -> Brief {
        let value = match outcome {
            Outcome::Resolved(payload) | Outcome::Rejected(payload) => Some(Arguments::of(payload)),
            Outcome::Crashed(text) => Some(Arguments::of(&Payload::copy_from_slice(text.as_bytes()))),
            Outcome::Canceled | Outcome::TimedOut => None,
        };
        Brief { state: outcome.state(), value }
    }

    /// The outcome, if nothing of it is left out.
    pub fn whole(&self) -> Option<Outcome> {
        let payload = match &self.value {
            None => None,
            Some(Arguments::Inline(payload)) => Some(payload.clone()),
            Some(Arguments::Digest { .. }) => return None,
        };
        Some(match (self.state, payload) {
            (PromiseState::Resolved, Some(payload)) => Outcome::Resolved(payload),
            (PromiseState::Rejected, Some(payload)) => Outcome::Rejected(payload),
            (PromiseState::Crashed, Some(text)) => Outcome::Crashed(String::from_utf8(text.into()).ok()?),
            (PromiseState::Canceled, None) => Outcome::Canceled,
            (PromiseState::TimedOut, None) => Outcome::TimedOut,
            _ => return None,
        })
    }
}

impl Kind {
    /// Of what a guest asks.
    pub fn of(ask: &Ask) -> Kind {
        match ask {
            Ask::Call { function, arguments, options, detached } => Kind::Call {
                function: function.clone(),
                arguments: Arguments::of(arguments),
                id: options.id.clone(),
                timeout_ms: options.timeout_ms,
                target: options.target.clone(),
                detached: *detached,
            },
            Ask::Sleep { until_ms } => Kind::Sleep { until_ms: *until_ms },
            Ask::CreatePromise { timeout_ms } => Kind::CreatePromise { timeout_ms: *timeout_ms },
            Ask::AwaitPromise { id } => Kind::AwaitPromise { id: id.clone() },
            Ask::SettlePromise { id, outcome } => Kind::SettlePromise { id: id.clone(), outcome: Brief::of(outcome) },
            Ask::Step { name } => Kind::Step { name: name.clone() },
            Ask::Http { head, body } => Kind::Http {
                method: head.method.clone(),
                url: Arguments::of(&Payload::copy_from_slice(head.url.as_bytes())),
                headers: headers_digest(head),
                body: Arguments::of(body),
            },
        }
    }
}

/// Each text is preceded by its length, so that no two lists of headers look the same.
fn headers_digest(head: &HttpHead) -> Digest {
    let mut bytes = Vec::new();
    let mut add = |text: &str| {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    head.headers.iter().flat_map(|(name, value)| [name, value]).for_each(|text| add(text));
    for Hidden { part, at, name } in &head.hidden {
        add(&format!("{part:?} {at} {name}"));
    }
    Digest::of(&bytes)
}

impl Entry {
    /// What it counts towards the size of a journal: its payloads, and a little for the rest. What isn't the guest's own
    /// doing counts nothing.
    pub fn size(&self) -> u64 {
        const REST_BYTES: u64 = 16;
        let brief = |outcome: &Brief| outcome.value.as_ref().map_or(0, Arguments::size);
        let size = match self {
            Entry::Asked { kind, .. } => match kind {
                Kind::Call { function, arguments, .. } => function.len() as u64 + arguments.size(),
                Kind::SettlePromise { outcome, .. } => brief(outcome),
                Kind::Step { name } => name.len() as u64,
                Kind::Http { url, body, .. } => url.size() + body.size(),
                Kind::Sleep { .. } | Kind::CreatePromise { .. } | Kind::AwaitPromise { .. } => 0,
            },
            Entry::Told { completion, .. } => match completion {
                Completion::Settled(outcome) => outcome.size() as u64,
                Completion::Refused(reason) => reason.len() as u64,
                Completion::Done => 0,
            },
            Entry::Recorded { outcome, .. } => brief(outcome),
            Entry::Dropped { .. } => 0,
            Entry::Started { .. } | Entry::Finished { .. } | Entry::Moved { .. } | Entry::Forked { .. } => return 0,
        };
        REST_BYTES + size
    }

    /// What an event leaves in the journal.
    pub fn of(event: &Event) -> Entry {
        match event {
            Event::Asked { step, ask } => Entry::Asked { step: *step, kind: Kind::of(ask) },
            Event::Dropped { step } => Entry::Dropped { step: *step },
            Event::Recorded { step, outcome } => Entry::Recorded { step: *step, outcome: Brief::of(outcome) },
        }
    }

    /// Whether the guest neither did this nor was told of it: something was done with its execution.
    pub fn is_note(&self) -> bool {
        matches!(self, Entry::Moved { .. } | Entry::Forked { .. })
    }
}

/// A run of a guest beside the journal of an earlier one. Every event of the guest is put to it; it says what the guest
/// is to be told, and stops at the first difference.
///
/// Partial turns are fine: a journal can end after some of the events between two completions, and the rest is new.
#[derive(Debug)]
pub struct Replay {
    entries: VecDeque<Entry>,
    /// Index in the journal of the first of `entries`.
    position: u32,
}

/// What follows in the journal once the guest has come to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Tell the guest this.
    Tell {
        /// Of which step.
        step: u32,
        /// What.
        completion: Completion,
        /// The time that it sees from here on.
        now: u64,
    },
    /// The journal ends here: what comes is new.
    End,
}

/// A replay that did something else than the run that wrote the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The index of the entry, from 0.
    pub position: u32,
    /// What the journal has there.
    pub recorded: Option<Box<Entry>>,
    /// What the guest did. None: nothing more.
    pub observed: Option<Box<Entry>>,
}

impl Replay {
    /// Of these entries, all that the journal has.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Replay {
        let mut entries: VecDeque<Entry> = entries.into_iter().collect();
        let started = matches!(entries.front(), Some(Entry::Started { .. }));
        if started {
            entries.pop_front();
        }
        let mut replay = Replay { entries, position: u32::from(started) };
        replay.pass_notes();
        replay
    }

    /// The index in the journal of the entry that is to happen next.
    pub fn position(&self) -> u32 {
        self.position
    }

    /// The guest did this. `true`: so it did before. `false`: the journal has ended, and this is new.
    pub fn observe(&mut self, event: &Event) -> Result<bool, Divergence> {
        let Some(recorded) = self.entries.front() else { return Ok(false) };
        let observed = Entry::of(event);
        if *recorded != observed {
            return Err(self.divergence(Some(observed)));
        }
        self.advance();
        Ok(true)
    }

    /// The guest has come to rest.
    pub fn rest(&mut self) -> Result<Replayed, Divergence> {
        match self.entries.front() {
            None => Ok(Replayed::End),
            Some(Entry::Told { .. }) => match self.advance() {
                Some(Entry::Told { step, completion, now }) => Ok(Replayed::Tell { step, completion, now }),
                _ => unreachable!("the front was an Entry::Told"),
            },
            Some(_) => Err(self.divergence(None)),
        }
    }

    /// The guest has finished. `true`: so it did before. `false`: the journal has ended, and this is new.
    pub fn finish(&mut self, outcome: &Outcome) -> Result<bool, Divergence> {
        match self.entries.front() {
            None => Ok(false),
            Some(Entry::Finished { state, .. }) if *state == outcome.state() => {
                self.advance();
                Ok(true)
            }
            // The time that the guest would have finished at is not its own doing: any will do to show the difference.
            Some(_) => Err(self.divergence(Some(Entry::Finished { state: outcome.state(), now: 0 }))),
        }
    }

    /// Whether everything that the journal has, has happened again.
    pub fn is_over(&self) -> bool {
        self.entries.is_empty()
    }

    fn advance(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front();
        self.position += 1;
        self.pass_notes();
        entry
    }

    fn pass_notes(&mut self) {
        while self.entries.front().is_some_and(Entry::is_note) {
            self.entries.pop_front();
            self.position += 1;
        }
    }

    fn divergence(&self, observed: Option<Entry>) -> Divergence {
        let recorded = self.entries.front().cloned().map(Box::new);
        Divergence { position: self.position, recorded, observed: observed.map(Box::new) }
    }
}

impl std::error::Error for Divergence {}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |entry: &Option<Box<Entry>>| entry.as_ref().map_or("nothing more".into(), |e| e.to_string());
        write!(
            f,
            "the replay differs at entry {}: the journal has [{}], the guest did [{}]",
            self.position,
            side(&self.recorded),
            side(&self.observed)
        )
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Started { .. } => write!(f, "started"),
            Entry::Asked { step, kind } => write!(f, "step {step}: {kind}"),
            Entry::Told { step, completion, .. } => match completion {
                Completion::Settled(outcome) => write!(f, "told of step {step}: {}", Brief::of(outcome)),
                Completion::Refused(reason) => write!(f, "told of step {step}: refused: {reason}"),
                Completion::Done => write!(f, "told of step {step}: done"),
            },
            Entry::Dropped { step } => write!(f, "step {step} no longer awaited"),
            Entry::Recorded { step, outcome } => write!(f, "step {step} recorded: {outcome}"),
            Entry::Finished { state, .. } => write!(f, "finished: {}", state.as_str()),
            Entry::Moved { component, .. } => write!(f, "moved to component {component}"),
            Entry::Forked { from, .. } => write!(f, "forked from {from}"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Call { function, arguments, id, timeout_ms, target, detached } => {
                write!(f, "{} {function}{arguments}", if *detached { "start" } else { "call" })?;
                if let Some(id) = id {
                    write!(f, " as {id}")?;
                }
                if let Some(timeout_ms) = timeout_ms {
                    write!(f, " within {timeout_ms} ms")?;
                }
                target.as_ref().map_or(Ok(()), |target| write!(f, " at {target}"))
            }
            Kind::Sleep { until_ms } => write!(f, "sleep until {until_ms}"),
            Kind::CreatePromise { timeout_ms: None } => write!(f, "create a promise"),
            Kind::CreatePromise { timeout_ms: Some(ms) } => write!(f, "create a promise for {ms} ms"),
            Kind::AwaitPromise { id } => write!(f, "wait for promise {id}"),
            Kind::SettlePromise { id, outcome } => write!(f, "settle promise {id}: {outcome}"),
            Kind::Step { name } => write!(f, "begin {name:?}"),
            Kind::Http { method, url: Arguments::Inline(url), .. } => {
                write!(f, "request {method} {}", String::from_utf8_lossy(url))
            }
            Kind::Http { method, url, .. } => write!(f, "request {method} {url}"),
        }
    }
}

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.state.as_str())?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, " {value}"))
    }
}

impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arguments::Inline(payload) => f.write_str(&String::from_utf8_lossy(payload)),
            Arguments::Digest { digest, bytes } => write!(f, "<{bytes} bytes, sha256 {digest}>"),
        }
    }
}

#[cfg(test)]
mod tests;
