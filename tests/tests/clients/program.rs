//! A program of `clients/`: how it is started, and what it says.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::{Client, scratch, until};

/// The SDK, and its flavour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Language {
    Generators,
    Async,
    Rust,
    Python,
}

/// A program that belongs to a host, and is a group of its own there.
pub(crate) struct Program {
    language: Language,
    url: String,
    directory: TempDir,
    lease: Duration,
}

/// A program that runs. It is killed when it is dropped.
pub(crate) struct Running(Child);

impl Language {
    pub(crate) const ALL: [Language; 4] = [Language::Generators, Language::Async, Language::Rust, Language::Python];

    fn command(self) -> Command {
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let (binary, program) = match self {
            Language::Generators => (clients.join("typescript/node_modules/.bin/node"), "typescript/generators.ts"),
            Language::Async => (clients.join("typescript/node_modules/.bin/node"), "typescript/async.ts"),
            Language::Rust => (built().join("rust/debug/clients"), ""),
            Language::Python => (built().join("python/bin/python"), "python/program.py"),
        };
        assert!(binary.is_file(), "there is no {}: `make clients` makes it", binary.display());
        let mut command = Command::new(binary);
        if !program.is_empty() {
            command.arg(clients.join(program));
        }
        command
    }
}

/// Where `make clients` puts what it builds: beside the scratch of the tests.
fn built() -> PathBuf {
    scratch().ancestors().nth(2).expect("it is in the target directory").join("clients")
}

impl Program {
    pub(crate) fn new(language: Language, host: &Client) -> Program {
        let directory =
            tempfile::Builder::new().prefix("client-").tempdir_in(scratch()).expect("a directory can be made");
        Program { language, url: host.url().to_owned(), directory, lease: Duration::from_secs(60) }
    }

    /// With claims that end after this time without a sign of life.
    pub(crate) fn lease(mut self, lease: Duration) -> Program {
        self.lease = lease;
        self
    }

    /// The group that it works for.
    pub(crate) fn group(&self) -> String {
        format!("{:?}", self.language).to_lowercase()
    }

    /// A worker, once it says that it serves.
    #[track_caller]
    pub(crate) fn serve(&self) -> Running {
        // Nobody reads what it complains of: it is in a file, for whoever looks into a test that failed.
        let log = File::options().append(true).create(true).open(self.directory.path().join("log"));
        let mut running = self.spawn(&["serve"], log.expect("a log can be made").into());
        let mut line = String::new();
        let output = running.0.stdout.as_mut().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it can be read");
        assert_eq!(line.trim(), "serving");
        running
    }

    /// What it prints when it is told this.
    #[track_caller]
    pub(crate) fn ask(&self, words: &[&str]) -> Value {
        self.begin(words).result()
    }

    /// Have it begin with this.
    pub(crate) fn begin(&self, words: &[&str]) -> Running {
        self.spawn(words, Stdio::piped())
    }

    fn spawn(&self, words: &[&str], stderr: Stdio) -> Running {
        let mut command = self.language.command();
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        // Who only calls takes no work: it would keep it when it has its answer and leaves.
        let group = if words == ["serve"] { self.group() } else { format!("{}-callers", self.group()) };
        command.env("RESONATE_URL", &self.url).env("GROUP", group).env("TARGET", self.group());
        command.env("MARKS", self.marks_path());
        command.env("LEASE_MS", self.lease.as_millis().to_string());
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// What its functions have let be seen.
    pub(crate) fn marks(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.marks_path()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    pub(crate) fn wait_for_marks(&self, count: usize) {
        until(&format!("{count} marks are made"), || (self.marks().len() >= count).then_some(()));
    }

    fn marks_path(&self) -> PathBuf {
        self.directory.path().join("marks")
    }
}

impl Running {
    /// What it printed before it ended.
    #[track_caller]
    pub(crate) fn result(self) -> Value {
        let (succeeded, stdout, stderr) = self.end();
        assert!(succeeded, "it failed: {stdout}\n{stderr}");
        let line = stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"))
    }

    /// What it complained of.
    #[track_caller]
    pub(crate) fn refusal(self) -> String {
        let (succeeded, stdout, stderr) = self.end();
        assert!(!succeeded, "it succeeded: {stdout}");
        stderr
    }

    #[track_caller]
    fn end(mut self) -> (bool, String, String) {
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let stdout = std::thread::spawn(move || stdout.map(std::io::read_to_string));
        let stderr = std::thread::spawn(move || stderr.map(std::io::read_to_string));
        let status = until("the program has ended", || self.0.try_wait().expect("a child can be looked at"));
        let text = |thread: std::thread::JoinHandle<Option<std::io::Result<String>>>| {
            thread.join().expect("it doesn't panic").and_then(Result::ok).unwrap_or_default()
        };
        (status.success(), text(stdout), text(stderr))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            eprintln!("--- what the workers of {} said\n{log}---\nmarks: {:?}", self.group(), self.marks());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
