//! `host logs`.

use clap::Args;

use super::client::{items_json, segment};
use super::documents::Line;
use super::events::{Happening, Seen};
use super::failure::Failure;
use super::patience::Patience;
use super::{Context, Ending, times};

/// Show what an execution wrote: standard output, standard error, and its log
#[derive(Args)]
#[command(after_help = "Example:\n  host logs transfer-7 -f")]
pub(super) struct Logs {
    /// The execution
    id: String,
    /// Go on until it ends
    #[arg(long, short)]
    follow: bool,
    /// Show when each line was written
    #[arg(long, short)]
    timestamps: bool,
}

impl Logs {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let Context { client, screen } = context;
        if self.follow {
            self.follow(context)?;
        }
        // A document is whole, so with --json it is printed when the execution has ended.
        if !self.follow || screen.json {
            let items = client.all(&format!("/v1/executions/{}/logs", segment(&self.id)))?;
            if screen.json {
                screen.print(&items_json(items.iter().map(|item| item.get())))?;
            } else {
                let lines =
                    items.iter().map(|item| client.read::<Line>(item.get()).map(|line| self.show(context, &line)));
                screen.print(&lines.collect::<Result<String, Failure>>()?)?;
            }
        }
        Ok(Ending::Well)
    }

    fn follow(&self, context: &Context) -> Result<(), Failure> {
        let mut seen = Seen::no_entries();
        let ended = Patience::new(context).until(|patience| {
            seen.follow(context, &self.id, patience, |happening| match happening {
                Happening::Line(line) if !context.screen.json => context.screen.print(&self.show(context, &line)),
                _ => Ok(()),
            })
        });
        ended.map(drop)
    }

    fn show(&self, context: &Context, line: &Line) -> String {
        let paint = context.screen.out;
        let text = paint.line(line);
        if self.timestamps { format!("{} {text}\n", paint.dim(&times::timestamp(line.at_ms))) } else { text + "\n" }
    }
}
