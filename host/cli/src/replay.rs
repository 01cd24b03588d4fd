//! `host replay` and `host export`: an execution, run again and looked into, here or on another machine.

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::Args;
use machine::{Digest, Entry, Output};
use serde_json::json;

use super::client::segment;
use super::failure::Failure;
use super::screen::{Paint, safe};
use super::{Context, Ending, times};
use host_replay::{Capsule, CapsuleError, History, Opened, Outstanding, Secrets, Walk};

/// Run an execution again, offline, and look into it at any entry of its journal
///
/// The execution, its component and its journal are fetched from the host, or read from a capsule that `host export` wrote.
/// They are verified first: each execution below it is replayed, and must do what its journal has. Nothing has an effect.
///
/// With --to, what it was like after that entry is shown: what it had been told, what it waited for, and where in its source
/// it had asked for that. Of a wait through a clock of WASI (`std::thread::sleep`), the place is not known.
#[derive(Args)]
#[command(after_help = "Examples:\n  host replay transfer-7 --to 12\n  host replay transfer-7.capsule")]
pub(super) struct Replay {
    /// The id of an execution, or a capsule
    #[arg(value_name = "ID|FILE")]
    what: String,
    /// The last entry, by its number in `host journal` [default: the last one]
    #[arg(long, value_name = "ENTRY")]
    to: Option<usize>,
    /// Of a capsule: another execution in it than the one at its top
    #[arg(long, value_name = "ID")]
    execution: Option<String>,
    #[command(flatten)]
    secrets: SecretsGiven,
}

/// Values of secrets, which no capsule has.
#[derive(Args)]
pub(super) struct SecretsGiven {
    /// The value of a secret that the execution was given, where it does more with it than pass it on; without one, the
    /// value is that of the environment variable of this name
    #[arg(long = "secret", value_name = "NAME[=VALUE]")]
    given: Vec<String>,
}

impl SecretsGiven {
    pub(super) fn read(&self) -> Result<Secrets, Failure> {
        let read = |text: &String| match text.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => match std::env::var(text) {
                Ok(value) => Ok((text.clone(), value)),
                Err(error) => {
                    Err(Failure::Usage(format!("the secret {text} can't be taken from the environment: {error}")))
                }
            },
        };
        self.given.iter().map(read).collect()
    }

    pub(super) fn are_none(&self) -> bool {
        self.given.is_empty()
    }
}

/// Write an execution into a capsule: its component, journal and all below it, in one file
///
/// Anybody can replay it on another machine, without a host: `host replay FILE`. What is in it was all that its functions
/// saw, but for the values of secrets that they were configured with: look at it before you give it away. The hash that is told on stderr stands for the whole of it.
#[derive(Args)]
#[command(after_help = "Example:\n  host export transfer-7 > transfer-7.capsule")]
pub(super) struct Export {
    /// The execution
    id: String,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let mut stdout = std::io::stdout().lock();
        if stdout.is_terminal() {
            return Err(Failure::Usage(format!("a capsule is not text: host export {} > FILE", self.id)));
        }
        let file = context.client.bytes(&format!("/v1/executions/{}/capsule", segment(&self.id)))?;
        let (_, hash) = Capsule::read(&file).map_err(|error| Failure::Capsule(error.to_string()))?;
        stdout.write_all(&file)?;
        stdout.flush()?;
        context.screen.note(&format!("{} bytes, {hash}", file.len()));
        Ok(Ending::Well)
    }
}

impl Replay {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let failed = |error: CapsuleError| Failure::Capsule(format!("{}: {error}", self.what));
        let path = Path::new(&self.what);
        let file = match path.is_file() {
            true => super::check::read(path)?,
            false => context.client.bytes(&format!("/v1/executions/{}/capsule", segment(&self.what)))?,
        };
        let (capsule, hash) = Capsule::read(&file).map_err(failed)?;
        let opened = Opened::new(&capsule, &self.secrets.read()?).map_err(|error| match error {
            error @ CapsuleError::NoSecret { .. } => Failure::Usage(error.to_string()),
            error => failed(error),
        })?;
        let verified = opened.verify().map_err(failed)?;
        let id = self.execution.as_deref().unwrap_or(&capsule.manifest.root);
        let missing = || Failure::Usage(format!("there is no execution {id:?} in it"));
        let (history, program, _) = opened.history(id).ok_or_else(missing)?;
        let last = history.entries.len().saturating_sub(1);
        let to = self.to.unwrap_or(last);
        if to > last {
            return Err(Failure::Usage(format!("{id:?} has no entry {to}: the last one is {last}")));
        }
        let walk = Walk::through(&opened.runtime, program, &history, to + 1)
            .map_err(|difference| Failure::Capsule(difference.to_string()))?;
        let shown = Shown { history: &history, to, walk, hash, verified, executions: capsule.executions.len() };
        context.screen.show(&shown.json().to_string(), || shown.text(context.screen.out))?;
        Ok(Ending::Well)
    }
}

/// How many of the steps that are outstanding after an entry are listed.
const LISTED: usize = 16;

/// What there is to show.
struct Shown<'a> {
    history: &'a History,
    to: usize,
    walk: Walk,
    hash: Digest,
    verified: usize,
    executions: usize,
}

impl Shown<'_> {
    fn entries(&self) -> &[Entry] {
        &self.history.entries[..=self.to]
    }

    fn output(&self, index: usize) -> &[Output] {
        self.walk.output.get(&(index as u32)).map_or(&[], Vec::as_slice)
    }

    fn text(&self, paint: Paint) -> String {
        let mut text = format!(
            "{} entries of {} execution{} replay as they were  {}\n",
            self.verified,
            self.executions,
            if self.executions == 1 { "" } else { "s" },
            paint.dim(&self.hash.to_string())
        );
        let (mut began, mut outstanding) = (None, Outstanding::default());
        for (index, entry) in self.entries().iter().enumerate() {
            let at = match entry {
                Entry::Started { now, .. } | Entry::Told { now, .. } => Some(*now),
                _ => None,
            };
            began = began.or(at);
            let elapsed =
                at.zip(began).map(|(at, began)| times::duration(at.saturating_sub(began))).unwrap_or_default();
            outstanding.follow(entry);
            let mut waiting: Vec<String> = outstanding.steps().take(LISTED).map(|(step, _)| step.to_string()).collect();
            if outstanding.count() > LISTED {
                waiting.push(format!("and {} more", outstanding.count() - LISTED));
            }
            let waiting = if waiting.is_empty() { String::new() } else { format!("  [{}]", waiting.join(" ")) };
            let what = safe(entry.to_string().trim_end()).into_owned();
            text += &format!("{} {elapsed:>8} {what}{}\n", paint.dim(&format!("{index:>5}")), paint.dim(&waiting));
            for piece in self.output(index) {
                text += &format!("{:>15}{} {}\n", "", paint.dim("│"), safe(&piece.text));
            }
        }
        text += &match outstanding.count() {
            0 => "it waits for nothing\n".to_owned(),
            n => format!("it waits for {n}:\n"),
        };
        for (step, entry) in outstanding.steps() {
            text += &format!("  {}\n", safe(&entry.to_string()));
            for place in self.walk.places.get(&step).into_iter().flatten() {
                text += &paint.dim(&format!("    at {}\n", safe(place)));
            }
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let mut outstanding = Outstanding::default();
        let entries = self.entries().iter().enumerate().map(|(index, entry)| {
            outstanding.follow(entry);
            let first: Vec<u32> = outstanding.steps().take(LISTED).map(|(step, _)| step).collect();
            let waiting = json!({ "count": outstanding.count(), "first": first });
            let lines: Vec<&str> = self.output(index).iter().map(|piece| piece.text.as_str()).collect();
            json!({ "index": index, "text": entry.to_string(), "outstanding": waiting, "output": lines })
        });
        let entries: Vec<_> = entries.collect();
        let waiting = outstanding
            .steps()
            .map(|(step, entry)| json!({ "step": step, "text": entry.to_string(), "at": self.walk.places.get(&step) }));
        json!({
            "id": self.history.id.as_str(),
            "hash": self.hash.to_string(),
            "verified": { "executions": self.executions, "entries": self.verified },
            "entries": entries,
            "waiting": waiting.collect::<Vec<_>>(),
        })
    }
}
