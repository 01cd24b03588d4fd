//! `host invoke`: calls a function, and waits for its result however long it takes and whatever happens to the host.

use std::io::Read;

use clap::Args;
use uuid::Uuid;

use super::client::{Answer, Query, check_json, segment};
use super::documents::Promise;
use super::events::{Happening, Seen};
use super::failure::Failure;
use super::patience::Patience;
use super::screen::safe;
use super::units::Span;
use super::{Context, Ending};

/// How long the host is asked to keep a request open.
pub(super) const WAIT_MS: u64 = 60_000;

/// Call a function, and wait for its result
///
/// The result is printed on stdout. On a terminal the steps and the log are shown on stderr as they happen. The exit
/// status is 0 if there is a result, and 1 if the function failed: it returned an error, crashed, timed out or was
/// canceled. It is 4 if the execution is held, or waits for one that is: then it goes on when somebody resumes that.
///
/// The call goes on whatever happens to this command. If the host goes away, the command waits until it is back.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    host invoke countdown '[10, 1000]'\n  \
    host invoke transfer '[\"alice\", \"bob\", 100, \"none\", 0]' --id transfer-7\n  \
    host invoke countdown '[5, 60000]' --detach")]
pub(super) struct Invoke {
    /// The function
    name: String,
    /// Its arguments, as a JSON array; - reads them from stdin
    #[arg(default_value = "[]")]
    arguments: String,
    /// The id of the execution. One that exists is attached to, and not started again
    #[arg(long)]
    id: Option<String>,
    /// Print the id, and don't wait for the result
    #[arg(long, conflicts_with = "follow")]
    detach: bool,
    /// How long it may take [default: what the host is set to]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    /// Show the steps and the log on stderr even if it is not a terminal
    #[arg(long, short)]
    follow: bool,
}

impl Invoke {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let arguments = arguments(&self.arguments)?;
        // The id is chosen here and before anything is sent, so that asking again can't start a second execution. It
        // ascends with time, which keeps what is new together in the host's store.
        let id = self.id.clone().unwrap_or_else(|| Uuid::now_v7().simple().to_string());
        let follows = self.follow || context.screen.err.is_terminal && !context.screen.json && !self.detach;
        let call = Call { context, function: &self.name, arguments: &arguments, id: &id, timeout: self.timeout };
        if self.detach {
            let answer = Patience::new(context).until(|_| call.ask(0).map(Some))?;
            context.screen.show(&answer.text, || id)?;
            return Ok(Ending::Well);
        }
        let answer = if follows { call.follow()? } else { call.wait()? };
        finish(context, &answer)
    }
}

/// A call that can be made any number of times.
struct Call<'a> {
    context: &'a Context,
    function: &'a str,
    arguments: &'a str,
    id: &'a str,
    timeout: Option<Span>,
}

impl Call<'_> {
    /// Start the execution, or attach to it.
    fn ask(&self, wait_ms: u64) -> Result<Answer<Promise>, Failure> {
        let path = format!("/v1/functions/{}/invoke", segment(self.function));
        let mut query = vec![("id", self.id.to_owned()), ("wait_ms", wait_ms.to_string())];
        query.extend(self.timeout.map(|timeout| ("timeout_ms", timeout.0.as_millis().to_string())));
        self.context.client.post(&path, &query, self.arguments.as_bytes())
    }

    fn wait(&self) -> Result<Answer<Promise>, Failure> {
        let mut is_known = false;
        Patience::new(self.context).until(|patience| {
            if is_known {
                return look(self.context, self.id, patience);
            }
            let answer = self.ask(WAIT_MS)?;
            patience.reached();
            is_known = true;
            must_go_on(self.context, &answer.document)?;
            Ok(Some(answer).filter(|answer| !answer.document.is_pending()))
        })
    }

    fn follow(&self) -> Result<Answer<Promise>, Failure> {
        let (screen, paint) = (&self.context.screen, self.context.screen.err);
        let mut seen = Seen::default();
        let mut began = None;
        let mut elapsed = None;
        Patience::new(self.context).until(|patience| {
            if began.is_none() {
                began = Some(self.ask(0)?.document.created_at_ms);
                let hint = if paint.is_terminal { "  (Ctrl-C stops watching, and not the execution)" } else { "" };
                screen.note(&format!("{} {}{}", paint.bold(self.function), self.id, paint.dim(hint)));
            }
            seen.follow(self.context, self.id, patience, |happening| {
                let at_ms = match &happening {
                    Happening::Entry(entry) => entry.at_ms,
                    Happening::Line(line) => Some(line.at_ms),
                    Happening::Nothing => {
                        let path = format!("/v1/promises/{}", segment(self.id));
                        return must_go_on(self.context, &self.context.client.get::<Promise>(&path, &[])?.document);
                    }
                };
                let since = |at_ms: u64| at_ms.saturating_sub(began.unwrap_or(at_ms));
                // Entries without a time of their own happened at that of the one before.
                elapsed = at_ms.map(since).or(elapsed);
                screen.note(&match &happening {
                    Happening::Entry(entry) => paint.entry(entry, elapsed),
                    Happening::Line(line) => paint.line_between(line, elapsed),
                    Happening::Nothing => return Ok(()),
                });
                Ok(())
            })
        })
    }
}

/// Wait once for an execution or a promise that exists. None: it is still pending.
pub(super) fn look(context: &Context, id: &str, patience: &mut Patience) -> Result<Option<Answer<Promise>>, Failure> {
    // Without waiting at first if the host was away, so that whoever was told so learns that it is back.
    let wait_ms = if patience.is_away() { 0 } else { WAIT_MS };
    let query: Query = &[("wait_ms", wait_ms.to_string())];
    let answer = context.client.get::<Promise>(&format!("/v1/promises/{}", segment(id)), query)?;
    patience.reached();
    must_go_on(context, &answer.document)?;
    Ok(Some(answer).filter(|answer| !answer.document.is_pending()))
}

/// Fails if something is pending because it is held, or because something that it called is.
fn must_go_on(context: &Context, promise: &Promise) -> Result<(), Failure> {
    if let Some(reason) = &promise.held {
        return Err(held(&promise.id, &promise.id, reason));
    }
    let Some(below) = &promise.held_at else { return Ok(()) };
    match context.client.get::<Promise>(&format!("/v1/promises/{}", segment(below)), &[])?.document.held {
        Some(reason) => Err(held(&promise.id, below, &reason)),
        None => Ok(()),
    }
}

fn held(id: &str, held: &str, reason: &str) -> Failure {
    // Line by line: what a guest wrote mustn't steer the terminal.
    let reason: Vec<_> = reason.lines().map(safe).collect();
    let (id, held, reason) = (safe(id), safe(held), reason.join("\n"));
    let what = if id == held { format!("{id} is held") } else { format!("{id} waits for {held}, which is held") };
    Failure::Held(format!(
        "{what}: {reason}\n(nothing is lost: upload a component that is mended, and `host resume {held}` lets it go on where \
         it stopped; `host cancel {held}` ends it)"
    ))
}

/// Print what became of a call: its result on stdout, or why there is none on stderr.
fn finish(context: &Context, answer: &Answer<Promise>) -> Result<Ending, Failure> {
    let screen = &context.screen;
    let promise = &answer.document;
    if screen.json {
        screen.print(&answer.text)?;
    }
    match promise.complaint() {
        Some(complaint) => {
            // Line by line: a crash tells its place on several, and what a guest wrote mustn't steer the terminal.
            let lines: Vec<_> = complaint.lines().map(safe).collect();
            screen.note(&format!("{} {}", screen.err.red("error:"), lines.join("\n")));
            return Ok(Ending::Failed);
        }
        None if screen.json => {}
        None => screen.print(promise.value())?,
    }
    Ok(Ending::Well)
}

/// The arguments, checked here because the mistake is easily made and the shell's quotes are the usual cause.
fn arguments(text: &str) -> Result<String, Failure> {
    let text = match text {
        "-" => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::Usage(format!("the arguments can't be read from stdin: {error}")))?;
            text
        }
        text => text.to_owned(),
    };
    check_json("the arguments", &text)?;
    if !text.trim_start().starts_with('[') {
        let text = text.trim();
        return Err(Failure::Usage(format!("the arguments are a JSON array, with one element for each: '[{text}]'")));
    }
    Ok(text)
}
