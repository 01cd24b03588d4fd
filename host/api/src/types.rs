//! The documents that travel.

use machine::{
    Completion, Component, Entry, Execution, FunctionInfo, Kind, Outcome, Output, Payload, Promise, PromiseKind,
    Stream, TaskState,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use host_partition::Partition;

/// Any JSON, as it was written.
type Json = Box<RawValue>;

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
    /// To be given as `cursor` for the part that follows. Null: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<Option<String>>,
    /// There is more, which has to be asked for in another way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) truncated: Option<bool>,
}

impl<T> Items<T> {
    pub(super) fn all(items: Vec<T>) -> Items<T> {
        Items { items, next: None, truncated: None }
    }
}

/// A promise: a durable value that is settled once. An execution of a function is the promise of its result.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PromiseDocument {
    id: String,
    /// `pending`, `resolved`, `rejected`, `canceled`, `timed_out` or `crashed`.
    state: &'static str,
    /// The result; the error if it was rejected; the text if it crashed; else null.
    #[schema(value_type = Object)]
    value: Option<Json>,
    /// `call`, `external`, `sleep`, `step` or `http`.
    kind: &'static str,
    /// Of a call: the function's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<String>,
    /// Of a call: what it was called with. Of another promise: what it was created with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    arguments: Option<Json>,
    /// Of a step: its name. Of a request: its method and address.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The execution that it is a step of.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// Which step it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u32>,
    /// It lives on when its parent is cancelled.
    detached: bool,
    created_at_ms: u64,
    timeout_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at_ms: Option<u64>,
    #[serde(flatten)]
    execution: Option<ExecutionPart>,
    /// The execution that is held because of which this one doesn't go on: itself, or one below that it waits for. Not in
    /// lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_at: Option<String>,
}

/// What an execution has beyond a promise.
#[derive(Debug, Serialize, ToSchema)]
struct ExecutionPart {
    /// The digest of the component that it runs on.
    component: String,
    /// `runnable`, `suspended`, `held` or `fulfilled`.
    task: &'static str,
    /// Why it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
    /// How many steps it has asked for.
    steps: u32,
    /// How many entries its journal has.
    entries: u32,
}

/// How much of a value a list shows.
const LISTED_BYTES: usize = 256;

impl PromiseDocument {
    /// All of it.
    pub(super) fn whole(promise: &Promise) -> PromiseDocument {
        PromiseDocument::new(promise, usize::MAX)
    }

    /// All of it, and why it doesn't go on if something is held.
    pub(super) fn explained(promise: &Promise, host: &Partition) -> PromiseDocument {
        let held_at = host.held_at(promise).map(|id| id.to_string());
        PromiseDocument { held_at, ..PromiseDocument::whole(promise) }
    }

    /// For a list: long values are left out.
    pub(super) fn brief(promise: &Promise) -> PromiseDocument {
        PromiseDocument::new(promise, LISTED_BYTES)
    }

    fn new(promise: &Promise, value_bytes: usize) -> PromiseDocument {
        let value = match &promise.outcome {
            Some(Outcome::Resolved(payload) | Outcome::Rejected(payload)) => json(payload, value_bytes),
            Some(Outcome::Crashed(text)) => Some(string(text)),
            None | Some(Outcome::Canceled | Outcome::TimedOut) => None,
        };
        let (kind, name) = match &promise.kind {
            PromiseKind::External => ("external", None),
            PromiseKind::Call { .. } => ("call", None),
            PromiseKind::Sleep => ("sleep", None),
            PromiseKind::Step { name } => ("step", Some(name.clone())),
            PromiseKind::Http { head, .. } => ("http", Some(head.to_string())),
            PromiseKind::Remote { id, .. } => ("remote", Some(id.to_string())),
        };
        PromiseDocument {
            id: promise.id.to_string(),
            state: promise.state().as_str(),
            value,
            kind,
            function: promise.function().map(str::to_owned),
            arguments: json(&promise.param, value_bytes),
            name,
            parent: promise.owner.as_ref().map(|owner| owner.execution.to_string()),
            step: promise.owner.as_ref().map(|owner| owner.step),
            detached: promise.owner.as_ref().is_some_and(|owner| owner.detached),
            created_at_ms: promise.created_at,
            timeout_at_ms: promise.timeout_at,
            settled_at_ms: promise.settled_at,
            execution: promise.execution.as_deref().map(ExecutionPart::of),
            held_at: None,
        }
    }
}

impl ExecutionPart {
    fn of(execution: &Execution) -> ExecutionPart {
        ExecutionPart {
            component: execution.component.to_string(),
            task: match execution.task.state {
                TaskState::Runnable => "runnable",
                TaskState::Suspended => "suspended",
                TaskState::Held => "held",
                TaskState::Fulfilled => "fulfilled",
                TaskState::Acquired => "acquired",
            },
            held: execution.held.clone(),
            steps: execution.steps,
            entries: execution.entries,
        }
    }
}

/// A payload as JSON. One that isn't JSON is shown as text; one of more than `limit` bytes is left out.
fn json(payload: &Payload, limit: usize) -> Option<Json> {
    if payload.is_empty() || payload.len() > limit {
        return None;
    }
    let text = String::from_utf8_lossy(payload);
    Some(serde_json::from_str::<Json>(&text).unwrap_or_else(|_| string(&text)))
}

fn string(text: &str) -> Json {
    serde_json::value::to_raw_value(text).expect("a string is JSON")
}

/// A component of functions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ComponentDocument {
    digest: String,
    name: String,
    version: String,
    installed_at_ms: u64,
    functions: Vec<FunctionDocument>,
}

/// A function.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FunctionDocument {
    name: String,
    doc: String,
    parameters: Vec<ParameterDocument>,
    /// The JSON Schema of its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    output: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<ComponentReference>,
}

/// A parameter of a function.
#[derive(Debug, Serialize, ToSchema)]
struct ParameterDocument {
    name: String,
    /// Its JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    schema: Option<Json>,
}

/// The component that a function is in.
#[derive(Debug, Serialize, ToSchema)]
struct ComponentReference {
    name: String,
    version: String,
    digest: String,
}

impl ComponentDocument {
    pub(super) fn of(component: &Component) -> ComponentDocument {
        ComponentDocument {
            digest: component.digest.to_string(),
            name: component.name.clone(),
            version: component.version.clone(),
            installed_at_ms: component.installed_at,
            functions: component.functions.iter().map(|function| FunctionDocument::new(function, None)).collect(),
        }
    }
}

impl FunctionDocument {
    pub(super) fn of(function: &FunctionInfo, component: &Component) -> FunctionDocument {
        let reference = ComponentReference {
            name: component.name.clone(),
            version: component.version.clone(),
            digest: component.digest.to_string(),
        };
        FunctionDocument::new(function, Some(reference))
    }

    fn new(function: &FunctionInfo, component: Option<ComponentReference>) -> FunctionDocument {
        let schema = |text: &Option<String>| text.as_ref().and_then(|text| serde_json::from_str(text).ok());
        FunctionDocument {
            name: function.name.clone(),
            doc: function.doc.clone(),
            parameters: function
                .parameters
                .iter()
                .map(|p| ParameterDocument { name: p.name.clone(), schema: schema(&p.schema) })
                .collect(),
            output: schema(&function.output),
            component,
        }
    }
}

/// An entry of a journal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EntryDocument {
    /// From 0.
    index: u32,
    /// `started`, `asked`, `told`, `dropped`, `recorded` or `finished`; `moved`: to another component; `forked`: what is
    /// above is the history of another execution.
    entry: &'static str,
    /// The number of the step that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u32>,
    /// What was asked: `call`, `spawn`, `sleep`, `create_promise`, `await_promise`, `settle_promise`, `step` or
    /// `http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<&'static str>,
    /// For people, in a line.
    text: String,
    /// The time that the guest sees from here on, or at which it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    /// Of a sleep: when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    /// What the guest was told, or how it ended: `resolved`, …, `refused` or `done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
}

impl EntryDocument {
    pub(super) fn of(index: u32, entry: &Entry) -> EntryDocument {
        let document = |name, step| EntryDocument {
            index,
            entry: name,
            step,
            ask: None,
            text: entry.to_string(),
            at_ms: None,
            until_ms: None,
            state: None,
        };
        match entry {
            Entry::Started { now, .. } => EntryDocument { at_ms: Some(*now), ..document("started", None) },
            Entry::Asked { step, kind } => {
                let until_ms = match kind {
                    Kind::Sleep { until_ms } => Some(*until_ms),
                    _ => None,
                };
                EntryDocument { ask: Some(ask(kind)), until_ms, ..document("asked", Some(*step)) }
            }
            Entry::Told { step, completion, now } => EntryDocument {
                at_ms: Some(*now),
                state: Some(match completion {
                    Completion::Settled(outcome) => outcome.state().as_str(),
                    Completion::Refused(_) => "refused",
                    Completion::Done => "done",
                }),
                ..document("told", Some(*step))
            },
            Entry::Dropped { step } => document("dropped", Some(*step)),
            Entry::Recorded { step, outcome } => {
                EntryDocument { state: Some(outcome.state.as_str()), ..document("recorded", Some(*step)) }
            }
            Entry::Finished { state, now } => {
                EntryDocument { at_ms: Some(*now), state: Some(state.as_str()), ..document("finished", None) }
            }
            Entry::Moved { now, .. } => EntryDocument { at_ms: Some(*now), ..document("moved", None) },
            Entry::Forked { now, .. } => EntryDocument { at_ms: Some(*now), ..document("forked", None) },
        }
    }
}

impl EntryDocument {
    /// When the turn began that the entry begins, if it begins one.
    pub(super) fn turn_at_ms(&self) -> Option<u64> {
        self.at_ms.filter(|_| matches!(self.entry, "started" | "told"))
    }

    /// Whether nothing comes after it.
    pub(super) fn is_last(&self) -> bool {
        self.entry == "finished"
    }
}

fn ask(kind: &Kind) -> &'static str {
    match kind {
        Kind::Call { detached: false, .. } => "call",
        Kind::Call { detached: true, .. } => "spawn",
        Kind::Sleep { .. } => "sleep",
        Kind::CreatePromise { .. } => "create_promise",
        Kind::AwaitPromise { .. } => "await_promise",
        Kind::SettlePromise { .. } => "settle_promise",
        Kind::Step { .. } => "step",
        Kind::Http { .. } => "http",
    }
}

/// A line that an execution wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogDocument {
    /// From 0.
    index: u32,
    at_ms: u64,
    /// `stdout`, `stderr` or `log`.
    stream: &'static str,
    /// Of the log: `trace`, `debug`, `info`, `warn` or `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    text: String,
}

impl LogDocument {
    pub(super) fn of(index: u32, output: &Output) -> LogDocument {
        use machine::Level;
        let (stream, level) = match output.stream {
            Stream::Stdout => ("stdout", None),
            Stream::Stderr => ("stderr", None),
            Stream::Log(level) => (
                "log",
                Some(match level {
                    Level::Trace => "trace",
                    Level::Debug => "debug",
                    Level::Info => "info",
                    Level::Warn => "warn",
                    Level::Error => "error",
                }),
            ),
        };
        LogDocument { index, at_ms: output.at_ms, stream, level, text: output.text.clone() }
    }
}

/// How a function is invoked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct InvokeQuery {
    /// Of the execution. The same id again attaches to the same execution. The header `Idempotency-Key` does the same.
    pub(super) id: Option<String>,
    /// How long to wait for the result: 60,000 unless said, at most 300,000, 0 for not at all. The wait is over as well when
    /// it, or what it waits for, is held.
    pub(super) wait_ms: Option<u64>,
    /// From now to its deadline.
    pub(super) timeout_ms: Option<u64>,
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// How long to wait until it is settled, or it or what it waits for is held, at most 300,000. 0 unless said.
    pub(super) wait_ms: Option<u64>,
}

/// Which executions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Those in this state.
    pub(super) state: Option<String>,
    /// Those of this function.
    pub(super) function: Option<String>,
    /// Only those that are held.
    pub(super) held: Option<bool>,
    /// Only those that no other execution waits for. True unless said.
    pub(super) roots: Option<bool>,
    /// At most so many: 50 unless said, at most 1,000.
    pub(super) limit: Option<usize>,
    /// Where the list goes on: `next` of the part before.
    pub(super) cursor: Option<String>,
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RemovedDocument {
    /// What was asked for.
    pub(super) id: String,
    /// How many promises that was, with those below it.
    pub(super) promises: usize,
}

/// How much of a tree.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TreeQuery {
    /// At most so many promises: 1,000 unless said, at most 10,000.
    pub(super) limit: Option<usize>,
}

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FromQuery {
    /// The index of the first.
    pub(super) from: Option<u32>,
}

/// From where on to stream.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// The index of the first journal entry.
    pub(super) journal_from: Option<u32>,
    /// The index of the first line of output.
    pub(super) logs_from: Option<u32>,
}

/// A promise to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPromise {
    /// Made up unless said.
    pub(super) id: Option<String>,
    /// From now to its deadline.
    pub(super) timeout_ms: Option<u64>,
    /// A value for whoever settles it.
    #[schema(value_type = Object)]
    pub(super) param: Option<Json>,
}
