//! `host upgrade`: executions under way go on on a newer component.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::check::{mount, read, show};
use super::client::{Answer, segment};
use super::documents::{Component, Report};
use super::failure::Failure;
use super::units::Span;
use super::{Context, Ending};

/// Move executions under way to the current edition of their component
///
/// Each is replayed on it first, and moved if it would go on unchanged: by itself, at one moment, with an entry in its
/// journal that says so. Those that would do something else stay on the component that they are on, and the exit status
/// is 1. Those that were held go on if they are moved.
///
/// A file is uploaded first.
#[derive(Args)]
#[command(after_help = "Examples:\n  host upgrade transfer\n  host upgrade target/wasm32-wasip2/release/transfer.wasm")]
pub(super) struct Upgrade {
    /// The name of a component, or a file to upload
    #[arg(value_name = "NAME|FILE")]
    what: String,
    /// The name of a file that answers requests over HTTP, as for `host upload` [default: the file's name]
    #[arg(long, value_name = "NAME")]
    mount: Option<String>,
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    time: Span,
}

impl Upgrade {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let path = Path::new(&self.what);
        let name = if path.extension().is_some_and(|extension| extension == "wasm") || path.is_file() {
            let query: Vec<_> = mount(self.mount.as_deref(), path).map(|mount| ("mount", mount)).into_iter().collect();
            context.client.upload::<Component>("/v1/components", &query, &read(path)?)?.document.name
        } else {
            self.what
        };
        let path = format!("/v1/components/{}/upgrade", segment(&name));
        let query = [("time_ms", (self.time.0.as_millis() as u64).to_string())];
        let patience = self.time.0 + Duration::from_secs(60);
        let Answer { text, document } = context.client.send_file::<Report>(&path, &query, b"", patience)?;
        context.screen.show(&text, || show(context.screen.out, &document, "go on on it"))?;
        if !document.complete && !context.screen.json {
            context.screen.note("there was no time for all of them: run it again");
        }
        Ok(if document.differ() == 0 && document.complete { Ending::Well } else { Ending::Failed })
    }
}
