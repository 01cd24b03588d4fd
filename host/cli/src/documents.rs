//! What the verbs read of the documents that a host answers with. Fields that aren't listed are not looked at; with
//! `--json` everything is printed as it came.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use host_replay as replay;

/// Any JSON, as it was written: numbers of any size keep their digits.
pub(super) type Json = Box<RawValue>;

/// A part of a list.
#[derive(Deserialize)]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
    #[serde(default)]
    pub(super) truncated: bool,
}

/// A promise. An execution is the promise of its result.
#[derive(Deserialize)]
pub(super) struct Promise {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) value: Option<Json>,
    #[serde(default)]
    pub(super) kind: String,
    pub(super) function: Option<String>,
    pub(super) arguments: Option<Json>,
    pub(super) name: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) step: Option<u32>,
    #[serde(default)]
    pub(super) detached: bool,
    #[serde(default)]
    pub(super) created_at_ms: u64,
    #[serde(default)]
    pub(super) timeout_at_ms: u64,
    pub(super) settled_at_ms: Option<u64>,
    pub(super) component: Option<String>,
    pub(super) task: Option<String>,
    pub(super) held: Option<String>,
    pub(super) held_at: Option<String>,
    pub(super) steps: Option<u32>,
    pub(super) entries: Option<u32>,
}

/// What a function is configured with.
#[derive(Deserialize)]
pub(super) struct Config {
    pub(super) variables: BTreeMap<String, Variable>,
    pub(super) allow: Vec<String>,
    pub(super) limits: BTreeMap<String, u64>,
}

/// A variable of a configuration. One without a value is secret.
#[derive(Deserialize)]
pub(super) struct Variable {
    pub(super) value: Option<String>,
}

/// An entry of a journal.
#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) index: u32,
    pub(super) entry: String,
    pub(super) text: String,
    pub(super) at_ms: Option<u64>,
    /// Of a sleep that was asked for.
    pub(super) until_ms: Option<u64>,
    pub(super) state: Option<String>,
}

/// A line that an execution wrote.
#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) index: u32,
    pub(super) at_ms: u64,
    pub(super) level: Option<String>,
    pub(super) text: String,
}

/// A component.
#[derive(Deserialize)]
pub(super) struct Component {
    pub(super) digest: String,
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) functions: Vec<Function>,
}

/// A function.
#[derive(Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    #[serde(default)]
    pub(super) doc: String,
    #[serde(default)]
    pub(super) parameters: Vec<Parameter>,
    pub(super) output: Option<serde_json::Value>,
    pub(super) component: Option<Source>,
}

/// The component that a function is in.
#[derive(Deserialize)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) digest: String,
}

/// A parameter of a function.
#[derive(Deserialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) schema: Option<serde_json::Value>,
}

/// What became of a component's executions, or would.
#[derive(Deserialize, Serialize)]
pub(super) struct Report {
    pub(super) digest: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) complete: bool,
    pub(super) functions: Vec<Tally>,
}

/// What became of the executions of a function, or would.
#[derive(Deserialize, Serialize)]
pub(super) struct Tally {
    pub(super) name: String,
    pub(super) unfinished: Counts,
    pub(super) finished: Counts,
}

/// How many executions there are of either kind.
#[derive(Deserialize, Serialize)]
pub(super) struct Counts {
    pub(super) same: u64,
    pub(super) differ: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<Difference>,
}

/// Where an execution would do something else.
#[derive(Deserialize, Serialize)]
pub(super) struct Difference {
    pub(super) id: String,
    pub(super) entry: u32,
    pub(super) recorded: String,
    pub(super) observed: String,
    pub(super) at: Vec<String>,
}

impl Report {
    /// Of executions that were replayed here.
    pub(super) fn of(component: &machine::Component, report: &replay::Report) -> Report {
        let counts = |same, differ, first: &Option<(machine::Id, replay::Difference)>| Counts {
            same,
            differ,
            first: first.as_ref().map(|(id, difference)| Difference {
                id: id.to_string(),
                entry: difference.position,
                recorded: difference.recorded_text(),
                observed: difference.observed_text(),
                at: difference.stack.clone(),
            }),
        };
        let tally = |(name, tally): (&String, &replay::Tally)| Tally {
            name: name.clone(),
            unfinished: counts(tally.same, tally.differ, &tally.first),
            finished: counts(tally.finished_same, tally.finished_differ, &tally.finished_first),
        };
        Report {
            digest: component.digest.to_string(),
            name: component.name.clone(),
            version: component.version.clone(),
            complete: report.is_complete,
            functions: report.functions.iter().map(tally).collect(),
        }
    }

    /// How many unfinished executions would do something else.
    pub(super) fn differ(&self) -> u64 {
        self.functions.iter().map(|function| function.unfinished.differ).sum()
    }
}

/// An error.
#[derive(Deserialize)]
pub(super) struct Error {
    pub(super) error: ErrorBody,
}

/// What it says.
#[derive(Deserialize)]
pub(super) struct ErrorBody {
    pub(super) code: String,
    pub(super) message: String,
}

impl Promise {
    pub(super) fn is_pending(&self) -> bool {
        self.state == "pending"
    }

    /// Its value as JSON text. That of a function without a result is null.
    pub(super) fn value(&self) -> &str {
        self.value.as_ref().map_or("null", |value| value.get())
    }

    /// How long it took, or has taken until now.
    pub(super) fn took_ms(&self, now_ms: u64) -> u64 {
        self.settled_at_ms.unwrap_or(now_ms).saturating_sub(self.created_at_ms)
    }

    /// What it is, in a word or two: a call with its arguments, the name of a step.
    pub(super) fn what(&self) -> String {
        match (&self.function, &self.name, self.kind.as_str()) {
            (Some(function), ..) => {
                // Without their brackets, arguments look as they do in source.
                let arguments = self.arguments.as_ref().map_or("[…]", |arguments| arguments.get());
                let inner = arguments.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(arguments);
                format!("{function}({inner})")
            }
            (None, Some(name), _) => name.clone(),
            (None, None, "external") => "promise".into(),
            (None, None, kind) => kind.to_owned(),
        }
    }

    /// Why it has no result, for its owner. None: it has, or may still get one.
    pub(super) fn complaint(&self) -> Option<String> {
        let what = match &self.function {
            Some(function) => format!("{function} ({})", self.id),
            None => self.id.clone(),
        };
        match self.state.as_str() {
            "pending" | "resolved" => None,
            "timed_out" => Some(format!("{what} timed out: its deadline passed before it had a result")),
            "canceled" => Some(format!("{what} was canceled")),
            "crashed" => Some(format!("{what} crashed: {}", reason(self.value()))),
            "rejected" => Some(format!("{what} failed: {}", reason(self.value()))),
            other => Some(format!("{what} is {other}: {}", self.value())),
        }
    }
}

/// An error as text. Errors that aren't a type of the guest's own travel as `{"message": …, "causes": […]}`.
fn reason(value: &str) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Reason {
        Text(String),
        Error {
            message: String,
            #[serde(default)]
            causes: Vec<String>,
        },
    }
    match serde_json::from_str(value) {
        Ok(Reason::Text(text)) => text,
        Ok(Reason::Error { message, causes }) => causes.into_iter().fold(message, |all, cause| all + ": " + &cause),
        Err(_) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shown_as_what_they_say() {
        assert_eq!(reason(r#""no""#), "no");
        assert_eq!(reason(r#"{"message":"a","causes":["b","c"]}"#), "a: b: c");
        assert_eq!(reason(r#"{"AccountClosed":{"account":"bob"}}"#), r#"{"AccountClosed":{"account":"bob"}}"#);
    }

    #[test]
    fn values_keep_their_digits() {
        let json = r#"{"id":"a","state":"resolved","value":[1.10,12345678901234567890123]}"#;
        let promise: Promise = serde_json::from_str(json).unwrap();
        assert_eq!(promise.value(), "[1.10,12345678901234567890123]");
    }
}
