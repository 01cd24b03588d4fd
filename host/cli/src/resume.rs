//! `host resume` and `host fork`: executions that go on elsewhere than they were.

use clap::Args;

use super::client::{Answer, segment};
use super::documents::Promise;
use super::failure::Failure;
use super::screen::safe;
use super::units::Span;
use super::{Context, Ending};

/// Let an execution that is held go on
///
/// It is replayed from its first entry, without side effects, on the current component that has its function or on the one
/// that --on names. If it does there what its journal has, it goes on there; if not, the difference is shown and nothing
/// is changed.
#[derive(Args)]
#[command(after_help = "Examples:\n  host resume transfer-7\n  host resume transfer-7 --on 5d41402abc4b")]
pub(super) struct Resume {
    /// The execution
    id: String,
    /// The digest of a component, its first digits, or the name of a component
    #[arg(long, value_name = "DIGEST|NAME")]
    on: Option<String>,
}

/// Begin a new execution with the history of another one, up to an entry of its journal
///
/// The new one is told what the history was told, and goes on from there by itself. Calls, sleeps and steps that were under
/// way at that point begin anew as its own; promises that the history had made are its own, as they were at that point.
/// Nothing of the other execution is touched, and what its history has done already is not done again.
#[derive(Args)]
#[command(after_help = "Example:\n  host fork transfer-7 --at 12 --id transfer-7-again")]
pub(super) struct Fork {
    /// The execution whose history is taken
    id: String,
    /// The last entry that is taken over, by its number in `host journal`
    #[arg(long, value_name = "ENTRY")]
    at: u32,
    /// The id of the new one [default: made up]
    #[arg(long = "id", value_name = "ID")]
    new: Option<String>,
    /// The component that it goes on on, as for `host resume` [default: the one that the history was on]
    #[arg(long, value_name = "DIGEST|NAME")]
    on: Option<String>,
    /// The time until its deadline [default: that of the host]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
}

impl Resume {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let path = format!("/v1/executions/{}/resume", segment(&self.id));
        let query: Vec<_> = self.on.map(|on| ("on", on)).into_iter().collect();
        let Answer { text, document } = context.client.post::<Promise>(&path, &query, b"")?;
        context.screen.show(&text, || {
            let component = document.component.as_deref().and_then(|digest| digest.get(..12)).unwrap_or_default();
            format!("{} goes on on {component}", safe(&document.id))
        })?;
        Ok(Ending::Well)
    }
}

impl Fork {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let path = format!("/v1/executions/{}/fork", segment(&self.id));
        let mut query = vec![("at", self.at.to_string())];
        query.extend(self.new.map(|id| ("id", id)));
        query.extend(self.on.map(|on| ("on", on)));
        query.extend(self.timeout.map(|timeout| ("timeout_ms", timeout.0.as_millis().to_string())));
        let Answer { text, document } = context.client.post::<Promise>(&path, &query, b"")?;
        context.screen.show(&text, || safe(&document.id).into_owned())?;
        Ok(Ending::Well)
    }
}
