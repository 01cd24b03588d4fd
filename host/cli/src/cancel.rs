//! `host cancel`.

use clap::Args;

use super::client::segment;
use super::failure::Failure;
use super::promises::settled;
use super::{Context, Ending};

/// End an execution, and those that it called
///
/// Executions that it started detached go on.
#[derive(Args)]
#[command(after_help = "Example:\n  host cancel transfer-7")]
pub(super) struct Cancel {
    /// The execution
    id: String,
}

impl Cancel {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let answer = context.client.post(&format!("/v1/executions/{}/cancel", segment(&self.id)), &[], b"")?;
        settled(context, &answer)
    }
}
