//! `host test`: a function in a world of its own, without a host.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use machine::Outcome;

use super::check::read;
use super::failure::Failure;
use super::screen::{Screen, fields, safe, short};
use super::units::Span;
use super::{Ending, times};
use host_testing::{Configuration, Report, Stub, Test, TestError};

/// How much of a result is shown.
const SHOWN_CHARS: usize = 300;

/// Test a function: crash it everywhere, and shuffle what runs at once
///
/// The function runs in a world without a host, in which a month-long sleep takes no time. Then it runs again, crashing at
/// each boundary of its journals and going on from what was durable; and again with what runs at once completing in other
/// orders. Each run must have the same outcome; after a crash it must also do the same things, once each, entry by entry.
/// The exit status is 1 if not.
///
/// What the function gives back, an error or a crash included, is for you to judge: --expect checks its result.
///
/// Requests over HTTP are answered by what --http says, an array such as [{"url": "https://bank.example/", "status": 200, "body":
/// {"paid": true}}], and refused without it. One that a crash has left without an answer is sent again, with the same
/// idempotency key; "again": {"status": 409} is how a system answers that doesn't know its keys.
///
/// A promise that nobody settles times out. The execution's id is `test`, and its steps are `test:1` and so on.
#[derive(Args)]
#[command(
    name = "test",
    after_help = "Examples:\n  \
    host test countdown.wasm countdown '[3, 86400000]'\n  \
    host test approval.wasm approval '[\"the trip\", 5000, 60000]' --resolve test:1@7s=true --expect '\"approved\"'"
)]
pub(super) struct TestVerb {
    /// A WebAssembly component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One of its functions
    function: String,
    /// Its arguments: a JSON array
    #[arg(default_value = "[]")]
    arguments: String,
    /// Another component, whose functions it calls
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// What chance and order are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// In how many other orders it runs
    #[arg(long, value_name = "N", default_value_t = 20)]
    shuffles: u64,
    /// Crash after this record alone
    #[arg(long, value_name = "N")]
    crash_at: Option<usize>,
    /// How long to go on, in real time
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    time: Span,
    /// Resolve a promise, as soon as it is there or so long after the beginning
    #[arg(long, value_name = "ID[@DURATION]=VALUE")]
    resolve: Vec<String>,
    /// Reject a promise, likewise
    #[arg(long, value_name = "ID[@DURATION]=VALUE")]
    reject: Vec<String>,
    /// What answers requests: a JSON array of objects with url (what addresses begin with), and if needed method, status,
    /// headers, body, error, after_ms, answers and again
    #[arg(long, value_name = "FILE")]
    http: Option<PathBuf>,
    /// What a function is configured with, the tested one unless said: JSON as `host config list --json` prints it, with
    /// the values of secrets
    #[arg(long, value_name = "[FUNCTION=]FILE")]
    config: Vec<String>,
    /// Fail if the result isn't this JSON value
    #[arg(long, value_name = "VALUE")]
    expect: Option<String>,
}

impl TestVerb {
    pub(super) fn run(self, screen: &Screen) -> Result<Ending, Failure> {
        let begun = Instant::now();
        let expected = match self.expect.as_deref().map(serde_json::from_str::<serde_json::Value>) {
            None => None,
            Some(Ok(value)) => Some(value),
            Some(Err(error)) => return Err(Failure::Usage(format!("--expect is not JSON: {error}"))),
        };
        let tested = match self.test().and_then(|test| test.run()) {
            Ok(report) => report,
            Err(TestError::Setup(text)) => return Err(Failure::Usage(text)),
            Err(error @ TestError::Component(_)) => {
                return Err(Failure::Usage(format!("{}: {error}", self.file.display())));
            }
            Err(error @ (TestError::Runtime(_) | TestError::Endless(_) | TestError::Differs(_))) => {
                let how = match &error {
                    TestError::Differs(failure) => format!("\n{}", again(&failure.run, failure.seed)),
                    _ => String::new(),
                };
                return Err(Failure::Test(format!("{}: {error}{how}", self.function)));
            }
        };
        screen.show(&json(&tested).to_string(), || self.show(screen, &tested, begun.elapsed()))?;
        let Some(expected) = expected.filter(|expected| tested.value().as_ref() != Some(expected)) else {
            return Ok(Ending::Well);
        };
        // A program sees it in the report, and by the exit status.
        if screen.json {
            return Ok(Ending::Failed);
        }
        let outcome = machine::Brief::of(&tested.outcome);
        Err(Failure::Test(format!("{}: the result is {outcome}, and {expected} was expected", self.function)))
    }

    fn test(&self) -> Result<Test, TestError> {
        let file = |path: &PathBuf| read(path).map_err(|failure| TestError::Setup(failure.to_string()));
        let mut test = Test::new(&file(&self.file)?, &self.function, &self.arguments)?;
        for path in &self.with {
            test = test.with(&file(path)?)?;
        }
        for (text, is_resolved) in
            self.resolve.iter().map(|text| (text, true)).chain(self.reject.iter().map(|text| (text, false)))
        {
            let (id, after, value) = settlement(text).map_err(TestError::Setup)?;
            let value = value.into_bytes().into();
            let outcome = if is_resolved { Outcome::Resolved(value) } else { Outcome::Rejected(value) };
            test = test.settle(id, outcome, after)?;
        }
        let text = |path: &Path| {
            let failed = |error| TestError::Setup(Failure::File { path: path.to_owned(), error }.to_string());
            std::fs::read_to_string(path).map_err(failed)
        };
        let wrong = |path: &Path, what: String| TestError::Setup(format!("{}: {what}", path.display()));
        if let Some(path) = &self.http {
            test = test.http(Stub::read(&text(path)?).map_err(|what| wrong(path, what))?);
        }
        for config in &self.config {
            let (function, path) = config.split_once('=').unwrap_or((&self.function, config));
            let path = Path::new(path);
            test = test.configure(function, Configuration::read(&text(path)?).map_err(|what| wrong(path, what))?);
        }
        if let Some(record) = self.crash_at {
            test = test.crash_at(record);
        }
        Ok(test.seed(self.seed).shuffles(self.shuffles).time(self.time.0))
    }

    fn show(&self, screen: &Screen, report: &Report, took: Duration) -> String {
        let paint = screen.out;
        let state = report.outcome.state().as_str();
        let outcome = match &report.outcome {
            Outcome::Resolved(payload) | Outcome::Rejected(payload) => {
                format!("{state} {}", short(&String::from_utf8_lossy(payload), SHOWN_CHARS))
            }
            Outcome::Crashed(text) => format!("{state} {text}"),
            Outcome::Canceled | Outcome::TimedOut => state.to_owned(),
        };
        let (outcome, rest) = outcome.split_once('\n').unwrap_or((&outcome, ""));
        let mut list = vec![("outcome", paint.state(state, &safe(outcome)))];
        list.extend(rest.lines().map(|line| ("", safe(line).into_owned())));
        let (virtual_ms, took_ms) = (report.virtual_time.as_millis() as u64, took.as_millis() as u64);
        list.push(("took", format!("{} of virtual time", times::duration(virtual_ms))));
        list.push(("did", report.effects.to_string()));
        let of = if report.crashes < report.boundaries {
            format!("of {}, for want of time (see --time)", report.boundaries)
        } else {
            "of as many".into()
        };
        let again = match report.sent_again {
            0 => String::new(),
            1 => "; a request was sent again, with its key".to_owned(),
            n => format!("; requests were sent again {n} times, with their keys"),
        };
        list.push(("crashes", format!("at {} boundaries {of}: all the same{again}", report.crashes)));
        let varied = match report.varied {
            0 => String::new(),
            varied => format!("; what it did on the way differed in {varied}"),
        };
        list.push(("orders", format!("{} others: the same outcome{varied}", report.shuffles)));
        list.push(("seed", format!("{}, in {}", report.seed, times::duration(took_ms))));
        if report.effects.refused > 0 {
            list.push(("refused", "requests: what --http answers is allowed, and what --config allows".into()));
        }
        fields(paint, &list)
    }
}

/// How to see a difference again.
fn again(run: &host_testing::Run, seed: u64) -> String {
    match run {
        host_testing::Run::Crashed { after } => format!("to see it again: --seed {seed} --crash-at {after}"),
        host_testing::Run::Shuffled { seed: other } => {
            format!("to see it again: --seed {seed} --shuffles {}", other.wrapping_sub(seed))
        }
    }
}

fn json(report: &Report) -> serde_json::Value {
    let value = match &report.outcome {
        Outcome::Resolved(payload) | Outcome::Rejected(payload) => serde_json::from_slice(payload).ok(),
        Outcome::Crashed(text) => Some(serde_json::Value::from(text.as_str())),
        Outcome::Canceled | Outcome::TimedOut => None,
    };
    let effects = &report.effects;
    serde_json::json!({
        "state": report.outcome.state().as_str(),
        "value": value.unwrap_or_default(),
        "virtual_ms": report.virtual_time.as_millis() as u64,
        "calls": effects.calls,
        "steps": effects.steps,
        "sleeps": effects.sleeps,
        "promises": effects.promises,
        "lines": effects.lines,
        "requests": effects.requests,
        "refused": effects.refused,
        "sent_again": report.sent_again,
        "boundaries": report.boundaries,
        "crashes": report.crashes,
        "shuffles": report.shuffles,
        "varied": report.varied,
        "seed": report.seed,
    })
}

/// `ID[@DURATION]=VALUE`.
fn settlement(text: &str) -> Result<(&str, Duration, String), String> {
    let (which, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no '=' before a value"))?;
    let value: &serde_json::value::RawValue =
        serde_json::from_str(value).map_err(|error| format!("the value in {text:?} is not JSON: {error}"))?;
    let (id, after) = match which.split_once('@') {
        Some((id, after)) => (id, after.parse::<Span>()?.0),
        None => (which, Duration::ZERO),
    };
    Ok((id, after, value.get().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settlements() {
        assert_eq!(settlement("test:1=true"), Ok(("test:1", Duration::ZERO, "true".into())));
        assert_eq!(settlement("p@2h=\"a=b\""), Ok(("p", Duration::from_secs(7200), "\"a=b\"".into())));
        for bad in ["test:1", "test:1=yes", "test:1@soon=1"] {
            assert!(settlement(bad).is_err(), "{bad}");
        }
    }
}
