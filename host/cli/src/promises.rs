//! `host promises`: durable values that somebody outside makes or settles.

use clap::{Args, Subcommand};
use serde_json::value::RawValue;

use super::client::{Answer, check_json, segment};
use super::documents::{Items, Promise};
use super::executions::{Part, tell_more};
use super::failure::Failure;
use super::get::get;
use super::screen::{Cell, Table, safe, short};
use super::units::Span;
use super::{Context, Ending, times};

/// Create, look at and settle promises
///
/// A promise is a durable value that is settled once. A function can wait for one that somebody outside settles.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    host promises create --id approval-7 --timeout 7d\n  \
    host promises resolve approval-7 true")]
pub(super) struct Promises {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Create a promise, or find the one with the id, and print its id
    #[command(after_help = "Example:\n  host promises create --id approval-7 --timeout 7d")]
    Create {
        /// Its id [default: made up]
        #[arg(long)]
        id: Option<String>,
        /// How long it can be settled [default: what the host is set to]
        #[arg(long, value_name = "DURATION")]
        timeout: Option<Span>,
        /// JSON for whoever settles it
        #[arg(long, value_name = "JSON")]
        param: Option<String>,
    },
    /// Show a promise. With --wait, the exit status is 1 if it has no result
    #[command(after_help = "Example:\n  host promises get approval-7 --wait")]
    Get {
        /// Its id
        id: String,
        /// Wait until it is settled
        #[arg(long)]
        wait: bool,
    },
    /// Settle a promise with a result
    #[command(after_help = "Example:\n  host promises resolve approval-7 '{\"by\": \"alice\"}'")]
    Resolve {
        /// Its id
        id: String,
        /// The result
        #[arg(value_name = "JSON", default_value = "null", allow_negative_numbers = true)]
        value: String,
    },
    /// Settle a promise with an error
    #[command(after_help = "Example:\n  host promises reject approval-7 '\"too expensive\"'")]
    Reject {
        /// Its id
        id: String,
        /// The error
        #[arg(value_name = "JSON", default_value = "null", allow_negative_numbers = true)]
        value: String,
    },
    /// Settle a promise that nobody wants any more
    #[command(after_help = "Example:\n  host promises cancel approval-7")]
    Cancel {
        /// Its id
        id: String,
    },
    /// List promises, the newest first. Executions and their steps are not among them
    #[command(after_help = "Example:\n  host promises list --state pending")]
    List(Part),
}

impl Promises {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        match self.action {
            Action::Create { id, timeout, param } => create(context, id, timeout, param),
            Action::Get { id, wait } => get(context, &id, wait),
            Action::Resolve { id, value } => settle(context, &id, "resolve", &value),
            Action::Reject { id, value } => settle(context, &id, "reject", &value),
            Action::Cancel { id } => settle(context, &id, "cancel", ""),
            Action::List(part) => list(context, &part),
        }
    }
}

fn create(
    context: &Context,
    id: Option<String>,
    timeout: Option<Span>,
    param: Option<String>,
) -> Result<Ending, Failure> {
    #[derive(serde::Serialize)]
    struct New {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        param: Option<Box<RawValue>>,
    }
    if let Some(param) = &param {
        check_json("the parameter", param)?;
    }
    let new = New {
        id,
        timeout_ms: timeout.map(|timeout| timeout.0.as_millis() as u64),
        param: param.and_then(|param| RawValue::from_string(param).ok()),
    };
    let body = serde_json::to_vec(&new).expect("it is made of JSON");
    let answer: Answer<Promise> = context.client.post("/v1/promises", &[], &body)?;
    context.screen.show(&answer.text, || answer.document.id.clone())?;
    Ok(Ending::Well)
}

fn settle(context: &Context, id: &str, how: &str, value: &str) -> Result<Ending, Failure> {
    if !value.is_empty() {
        check_json("the value", value)?;
    }
    let answer = context.client.post(&format!("/v1/promises/{}/{how}", segment(id)), &[], value.as_bytes())?;
    settled(context, &answer)
}

/// Print what a promise was settled with.
pub(super) fn settled(context: &Context, answer: &Answer<Promise>) -> Result<Ending, Failure> {
    let promise = &answer.document;
    let state = context.screen.out.state(&promise.state, &promise.state);
    context.screen.show(&answer.text, || format!("{} {state}", safe(&promise.id)))?;
    Ok(Ending::Well)
}

fn list(context: &Context, part: &Part) -> Result<Ending, Failure> {
    let paint = context.screen.out;
    let Answer { text, document } = context.client.get::<Items<Promise>>("/v1/promises", &part.query())?;
    context.screen.show(&text, || {
        if document.items.is_empty() {
            return String::new();
        }
        let now_ms = times::now_ms();
        let mut table = Table::new(paint, &["ID", "STATE", "AGE", "DEADLINE IN", "VALUE"]);
        for promise in &document.items {
            let left = promise.timeout_at_ms.saturating_sub(now_ms);
            let left = if promise.is_pending() { times::duration(left) } else { "-".into() };
            table.row(vec![
                Cell::plain(safe(&promise.id)),
                Cell::painted(&promise.state, |text| paint.state(text, text)),
                Cell::plain(times::duration(now_ms.saturating_sub(promise.created_at_ms))),
                Cell::plain(left),
                Cell::plain(promise.value.as_ref().map(|value| short(value.get(), 40)).unwrap_or_default()),
            ]);
        }
        table.render()
    })?;
    tell_more(context, &document, "no promises");
    Ok(Ending::Well)
}
