//! `host remove`.

use clap::Args;
use serde::Deserialize;

use super::client::{Answer, segment};
use super::failure::Failure;
use super::screen::safe;
use super::{Context, Ending};

/// Remove an execution that has ended, or a promise that is settled, and all below it
///
/// What has ended is removed by itself when its retention has passed (see `host serve --help`). This is for what is to go
/// at once. Its journal, its output and its result are gone for good, and its id can be used for another call.
#[derive(Args)]
#[command(after_help = "Example:\n  host remove transfer-7")]
pub(super) struct Remove {
    /// Its id
    id: String,
}

#[derive(Deserialize)]
struct Removed {
    id: String,
    promises: usize,
}

impl Remove {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let path = format!("/v1/promises/{}", segment(&self.id));
        let Answer { text, document } = context.client.delete::<Removed>(&path)?;
        context.screen.show(&text, || match document.promises {
            1 => format!("{} removed", safe(&document.id)),
            promises => format!("{} removed, {promises} promises in all", safe(&document.id)),
        })?;
        Ok(Ending::Well)
    }
}
