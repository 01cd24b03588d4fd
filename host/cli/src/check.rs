//! `host check`: what would become of executions under way on a component that isn't uploaded yet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::client::Answer;
use super::documents::{Counts, Difference, Report};
use super::failure::Failure;
use super::replay::SecretsGiven;
use super::screen::{Paint, safe};
use super::units::Span;
use super::{Context, Ending};
use host_replay::{self, Capsule, CapsuleError, Opened};

/// Replay executions on a component without uploading it, and say which would not go on unchanged
///
/// All unfinished executions of its functions are replayed, and the newest of those that have ended. Nothing has an effect,
/// and nothing is changed. The exit status is 1 if an unfinished one would do something else, or if there was no time for
/// all of them. Finished ones are counted for your information: they are over.
///
/// With --capsule, no host is asked: the executions are those of capsules that `host export` wrote.
#[derive(Args)]
#[command(after_help = "Examples:\n  host check target/wasm32-wasip2/release/transfer.wasm\n  \
    host check transfer.wasm --capsule transfer-7.capsule transfer-9.capsule")]
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
    /// The name that a component is served under that answers requests over HTTP [default: the file's name]
    #[arg(long, value_name = "NAME")]
    mount: Option<String>,
    /// Capsules with the executions to replay, instead of a host
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["finished", "time"])]
    capsule: Vec<PathBuf>,
    #[command(flatten)]
    secrets: SecretsGiven,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let wasm = read(&self.file)?;
        let Answer { text, document } = match self.capsule.as_slice() {
            [] if self.secrets.are_none() => self.ask(context, &wasm)?,
            [] => return Err(Failure::Usage("--secret is for capsules: a host has the secrets".into())),
            capsules => self.try_capsules(&wasm, capsules)?,
        };
        context.screen.show(&text, || show(context.screen.out, &document, "would go on unchanged"))?;
        let finished = document.functions.iter().map(|function| function.finished.differ).sum::<u64>();
        let is_well = document.differ() == 0 && document.complete && (!self.strict || finished == 0);
        if !document.complete && !context.screen.json {
            context.screen.note("there was no time for all of them; --time gives more");
        }
        Ok(if is_well { Ending::Well } else { Ending::Failed })
    }

    fn ask(&self, context: &Context, wasm: &[u8]) -> Result<Answer<Report>, Failure> {
        let time_ms = (self.time.0.as_millis() as u64).to_string();
        let mut query = vec![("finished", self.finished.to_string()), ("time_ms", time_ms)];
        query.extend(mount(self.mount.as_deref(), &self.file).map(|mount| ("mount", mount)));
        // Compiling comes before.
        let patience = self.time.0 + Duration::from_secs(120);
        context.client.send_file("/v1/components/check", &query, wasm, patience)
    }

    /// Each capsule is run with the limits that its executions had, on a component that is compiled for those.
    fn try_capsules(&self, wasm: &[u8], capsules: &[PathBuf]) -> Result<Answer<Report>, Failure> {
        let secrets = self.secrets.read()?;
        let mut checked = None;
        for path in capsules {
            let failed = |error: CapsuleError| Failure::Capsule(format!("{}: {error}", path.display()));
            let (capsule, _) = Capsule::read(&read(path)?).map_err(failed)?;
            let known = capsule.secrets();
            let own = secrets.iter().filter(|(name, _)| known.contains(name.as_str()));
            let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
            let opened = Opened::new(&capsule, &own).map_err(failed)?;
            opened.verify().map_err(failed)?;
            let candidate = opened.candidate(wasm, mount(self.mount.as_deref(), &self.file).as_deref());
            let (component, program) =
                candidate.map_err(|error| Failure::Usage(format!("{}: {error}", self.file.display())))?;
            let (_, report) = checked.get_or_insert_with(|| (component.clone(), host_replay::Report::of(&component)));
            opened.check(&program, report);
        }
        let (component, report) = checked.expect("there is a capsule at least");
        let document = Report::of(&component, &report);
        Ok(Answer { text: serde_json::to_string(&document).expect("texts and numbers are JSON"), document })
    }
}

/// What a component is called that answers requests over HTTP: as it is told, or as its file.
pub(super) fn mount(told: Option<&str>, file: &Path) -> Option<String> {
    told.map(str::to_owned).or_else(|| file.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
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
