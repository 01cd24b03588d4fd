//! One durable run of a function, and the components that functions come from.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::{Bounds, Completion, Id, Pinned};

/// The SHA-256 of a component's bytes, which is its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

/// A component, as it described itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Of its bytes.
    pub digest: Digest,
    /// The name under which a newer version replaces this one.
    pub name: String,
    /// For people.
    pub version: String,
    /// What it exports.
    pub functions: Vec<FunctionInfo>,
    /// When it was uploaded, in milliseconds since the Unix epoch.
    pub installed_at: u64,
}

/// A function, as its component describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionInfo {
    /// Its name, unique among all that can be called at a time.
    pub name: String,
    /// What it does, for people.
    pub doc: String,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
    /// A JSON Schema of its result, as text.
    pub output: Option<String>,
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// As in the source.
    pub name: String,
    /// A JSON Schema, as text.
    pub schema: Option<String>,
}

/// The part of a call's promise that is needed to run it, and to run it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The component that it runs on, from its first entry to its last.
    pub component: Digest,
    /// What its random numbers are drawn from.
    pub seed: u64,
    /// The claim on advancing it.
    pub task: Task,
    /// How many steps it has asked for.
    pub steps: u32,
    /// How many entries its journal has.
    pub entries: u32,
    /// How many pieces of output it has written.
    pub outputs: u32,
    /// What it is to be told, in the order in which it happened.
    pub ready: VecDeque<Ready>,
    /// The steps whose promise is still pending, with the id of the promise where it isn't the step's own.
    pub open: BTreeMap<u32, Option<Id>>,
    /// Why it is held, if it is.
    pub held: Option<String>,
    /// The configuration that it has, from its first entry to its last.
    pub config: Pinned,
    /// What of it the machine watches.
    pub bounds: Bounds,
    /// What its journal has in bytes: see [`Entry::size`](crate::Entry::size).
    pub journal_bytes: u64,
    /// How many executions that it called have not ended, leaving out those that are detached.
    pub children: u32,
    /// How many promises of its steps there are below it, in its tree.
    pub below: u32,
    /// How many promises of its steps, in any tree, are not settled, or of which something came that isn't.
    pub unsettled: u32,
}

/// A step that has its answer, which the guest hasn't been told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Which.
    pub step: u32,
    /// Where the answer is.
    pub answer: Answer,
}

/// Where the answer to a step is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The outcome of a promise.
    Promise(Id),
    /// Here.
    Here(Completion),
}

/// The claim on advancing an execution, here or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Whether there is something to do.
    pub state: TaskState,
    /// The fence: progress is recorded only under the latest version.
    pub version: u32,
}

/// Whether there is something to do for an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// A session can go on: it hasn't come to rest, or there is something to tell it. Elsewhere: a worker can take it.
    Runnable,
    /// Everything that it can do is done until something that it waits for is settled.
    Suspended,
    /// A replay differed from the journal, or somebody wanted it to stop: it waits for somebody to look at it.
    Held,
    /// It has its result.
    Fulfilled,
    /// A worker elsewhere has it, until its lease ends.
    Acquired,
}

impl TaskState {
    /// The protocol's word for it.
    pub fn as_protocol(self) -> &'static str {
        match self {
            TaskState::Runnable => "pending",
            TaskState::Suspended => "suspended",
            TaskState::Held => "halted",
            TaskState::Fulfilled => "fulfilled",
            TaskState::Acquired => "acquired",
        }
    }
}

impl Execution {
    /// One that has something to do and has done nothing.
    pub fn new(component: Digest, seed: u64, (config, bounds): (Pinned, Bounds)) -> Execution {
        Execution {
            component,
            seed,
            task: Task { state: TaskState::Runnable, version: 0 },
            steps: 0,
            entries: 0,
            outputs: 0,
            ready: VecDeque::new(),
            open: BTreeMap::new(),
            held: None,
            config,
            bounds,
            journal_bytes: 0,
            children: 0,
            below: 0,
            unsettled: 0,
        }
    }
}

impl Component {
    /// Whether it exports a function of this name.
    pub fn exports(&self, function: &str) -> bool {
        self.functions.iter().any(|f| f.name == function)
    }
}

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Digest> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        f.write_str(std::str::from_utf8(&text).expect("digits are text"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = Digest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::parse(text), Some(digest));
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace("ba", "+a"), &text.replace("ba", "gä")] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }
}
