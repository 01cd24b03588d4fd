//! `host executions`.

use clap::Args;

use super::client::Answer;
use super::documents::{Items, Promise};
use super::failure::Failure;
use super::screen::{Cell, Table, safe, short};
use super::{Context, Ending, times};

/// The states that a promise can be in.
pub(super) const STATES: [&str; 6] = ["pending", "resolved", "rejected", "canceled", "timed_out", "crashed"];

/// List executions, the newest first
#[derive(Args)]
#[command(after_help = "Examples:\n  host executions\n  host executions --state crashed --function transfer --all\n  \
    host executions --held")]
pub(super) struct Executions {
    #[command(flatten)]
    part: Part,
    /// Only those of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only those that were invoked from outside or detached. This is so unless --all is given
    #[arg(long, conflicts_with = "all")]
    roots: bool,
    /// Those that other executions called too
    #[arg(long)]
    all: bool,
    /// Only those that are held, whoever called them: see `host get` for the reason, and `host resume`
    #[arg(long, conflicts_with_all = ["roots", "state"])]
    held: bool,
}

/// Which part of a list.
#[derive(Args)]
pub(super) struct Part {
    /// Only those in this state
    #[arg(long, value_parser = STATES)]
    state: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Where to go on: what the part before said
    #[arg(long)]
    cursor: Option<String>,
}

impl Part {
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.state.clone().map(|state| ("state", state)));
        query.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
        query
    }
}

impl Executions {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let mut query = self.part.query();
        query.extend(self.function.map(|function| ("function", function)));
        query.push(("roots", (!self.all && !self.held).to_string()));
        if self.held {
            query.push(("held", "true".into()));
        }
        let Answer { text, document } = context.client.get::<Items<Promise>>("/v1/executions", &query)?;
        context.screen.show(&text, || list(context, &document.items))?;
        tell_more(context, &document, "no executions");
        Ok(Ending::Well)
    }
}

/// Say where a list goes on, or that there is nothing in it.
pub(super) fn tell_more(context: &Context, part: &Items<Promise>, nothing: &str) {
    if context.screen.json {
        return;
    }
    match &part.next {
        Some(cursor) => context.screen.note(&format!("there may be more: --cursor {cursor}")),
        None if part.items.is_empty() => context.screen.note(nothing),
        None => {}
    }
}

fn list(context: &Context, executions: &[Promise]) -> String {
    if executions.is_empty() {
        return String::new();
    }
    let paint = context.screen.out;
    let now_ms = times::now_ms();
    let mut table = Table::new(paint, &["ID", "STATE", "AGE", "TOOK", "FUNCTION", "VALUE"]);
    for execution in executions {
        let took = if execution.is_pending() { "-".into() } else { times::duration(execution.took_ms(now_ms)) };
        let state = if execution.held.is_some() { "held" } else { &execution.state };
        table.row(vec![
            Cell::plain(safe(&execution.id)),
            Cell::painted(state, |text| paint.state(state, text)),
            Cell::plain(times::duration(now_ms.saturating_sub(execution.created_at_ms))),
            Cell::plain(took),
            Cell::plain(short(&execution.what(), 40)),
            Cell::plain(execution.value.as_ref().map(|value| short(value.get(), 40)).unwrap_or_default()),
        ]);
    }
    table.render()
}
