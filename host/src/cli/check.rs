//! `host check`: what would become of executions under way on a component that isn't uploaded yet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::client::Answer;
use super::documents::{Counts, Difference, Report};
use super::failure::Failure;
use super::screen::{Paint, safe};
use super::units::Span;
use super::{Context, Ending};

/// Replay executions on a component without uploading it, and say which would not go on unchanged
///
/// All unfinished executions of its functions are replayed, and the newest of those that have ended. Nothing has an effect,
/// and nothing is changed. The exit status is 1 if an unfinished one would do something else, or if there was no time for
/// all of them. Finished ones are counted for your information: they are over.
#[derive(Args)]
#[command(after_help = "Example:\n  host check target/wasm32-wasip2/release/transfer.wasm")]
pub(super) struct Check {
    /// A WebAssembly component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many finished executions to replay, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    finished: u32,
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    time: Span,
    /// Fail if a finished execution would have gone another way
    #[arg(long)]
    strict: bool,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let wasm = read(&self.file)?;
        let time_ms = (self.time.0.as_millis() as u64).to_string();
        let query = [("finished", self.finished.to_string()), ("time_ms", time_ms)];
        // Compiling comes before.
        let patience = self.time.0 + Duration::from_secs(120);
        let Answer { text, document } =
            context.client.send_file::<Report>("/v1/components/check", &query, &wasm, patience)?;
        context.screen.show(&text, || show(context.screen.out, &document, "would go on unchanged"))?;
        let finished = document.functions.iter().map(|function| function.finished.differ).sum::<u64>();
        let is_well = document.differ() == 0 && document.complete && (!self.strict || finished == 0);
        if !document.complete && !context.screen.json {
            context.screen.note("there was no time for all of them; --time gives more");
        }
        Ok(if is_well { Ending::Well } else { Ending::Failed })
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::File { path: path.to_owned(), error })
}

/// What became of the executions of each function, and the first of each that differs.
pub(super) fn show(paint: Paint, report: &Report, verb: &str) -> String {
    let digest = report.digest.get(..12).unwrap_or(&report.digest);
    let (name, version) = (safe(&report.name), safe(&report.version));
    let mut text = format!("{} {version} {}\n", paint.bold(&name), paint.dim(digest));
    for function in &report.functions {
        let Counts { same, differ, first } = &function.unfinished;
        let all = same + differ;
        let name = safe(&function.name);
        text += &match (all, differ) {
            (0, _) => format!("  {name}: none under way"),
            (_, 0) => format!("  {name}: {all} under way, {}", paint.state("resolved", &format!("all {verb}"))),
            _ => format!(
                "  {name}: {all} under way, {same} {verb}, {}",
                paint.state("held", &format!("{differ} would not"))
            ),
        };
        let Counts { same, differ, first: finished_first } = &function.finished;
        if same + differ > 0 {
            text += &format!("; {differ} of {} finished would have gone another way", same + differ);
        }
        text.push('\n');
        text.extend(first.iter().map(|first| difference(paint, first)));
        if first.is_none() {
            text.extend(finished_first.iter().map(|first| difference(paint, first)));
        }
    }
    text
}

fn difference(paint: Paint, difference: &Difference) -> String {
    let mut text = format!("    {} differs at entry {}\n", safe(&difference.id), difference.entry);
    text += &format!("      the journal has    {}\n", safe(&difference.recorded));
    text += &format!("      the component did  {}\n", paint.state("held", &safe(&difference.observed)));
    difference.at.iter().for_each(|place| text += &paint.dim(&format!("      at {}\n", safe(place))));
    text
}
