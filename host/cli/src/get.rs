//! `host get`: an execution, or any promise.

use clap::Args;

use super::client::{Answer, segment};
use super::documents::Promise;
use super::failure::Failure;
use super::invoke::look;
use super::patience::Patience;
use super::screen::{fields, safe, when};
use super::{Context, Ending, times};

/// Show an execution
///
/// With --wait, the exit status is that of `host invoke`: 1 if it has no result, 4 if it is held.
#[derive(Args)]
#[command(after_help = "Example:\n  host get transfer-7 --wait")]
pub(super) struct Get {
    /// Its id
    id: String,
    /// Wait until it has its result
    #[arg(long)]
    wait: bool,
}

impl Get {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        get(context, &self.id, self.wait)
    }
}

/// Show a promise, with all that is known of it.
pub(super) fn get(context: &Context, id: &str, wait: bool) -> Result<Ending, Failure> {
    let Answer { text, document } = if wait {
        Patience::new(context).until(|patience| look(context, id, patience))?
    } else {
        context.client.get(&format!("/v1/promises/{}", segment(id)), &[])?
    };
    context.screen.show(&text, || show(context, &document))?;
    // What is wrong has been shown.
    Ok(if wait && document.complaint().is_some() { Ending::Failed } else { Ending::Well })
}

fn show(context: &Context, promise: &Promise) -> String {
    let paint = context.screen.out;
    let now_ms = times::now_ms();
    let state = paint.state(&promise.state, &promise.state);
    let mut list = vec![("id", safe(&promise.id).into_owned())];
    list.push((
        "state",
        match promise.task.as_deref() {
            Some(task @ ("runnable" | "suspended")) => format!("{state} ({})", doing(task)),
            _ => state,
        },
    ));
    list.extend(promise.held.as_ref().map(|held| ("held", paint.state("held", &lines(held)))));
    let what = if promise.function.is_some() { "function" } else { "kind" };
    list.push((what, safe(&promise.what()).into_owned()));
    if promise.function.is_none() {
        list.extend(promise.arguments.as_ref().map(|param| ("param", param.get().to_owned())));
    }
    if !promise.is_pending() {
        list.push(("value", value(promise)));
    }
    list.push(("created", when(promise.created_at_ms, now_ms)));
    match promise.settled_at_ms {
        Some(at_ms) => {
            let took = times::duration(promise.took_ms(now_ms));
            list.push(("settled", format!("{} (it took {took})", times::timestamp(at_ms))));
        }
        None => list.push(("deadline", when(promise.timeout_at_ms, now_ms))),
    }
    if let Some(parent) = &promise.parent {
        let step = promise.step.map(|step| format!(", step {step}")).unwrap_or_default();
        let detached = if promise.detached { ", detached" } else { "" };
        list.push(("called by", format!("{}{step}{detached}", safe(parent))));
    }
    if let (Some(steps), Some(entries)) = (promise.steps, promise.entries) {
        list.push(("steps", format!("{steps}, in a journal of {entries} entries")));
    }
    list.extend(promise.component.clone().map(|digest| ("component", digest)));
    fields(paint, &list)
}

/// JSON as it is. The text of a crash is for people, and has lines.
fn value(promise: &Promise) -> String {
    match serde_json::from_str::<String>(promise.value()) {
        Ok(text) if promise.state == "crashed" => lines(&text),
        _ => promise.value().to_owned(),
    }
}

/// A text of several lines, as the value of a field.
fn lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n           ")
}

fn doing(task: &str) -> &'static str {
    match task {
        "suspended" => "it waits for something",
        _ => "it runs, or is about to",
    }
}
