//! The command line: each verb as a person and as a program uses it, and what `serve` takes and refuses.

mod capsules;
mod moves;
mod serve;
mod testing;
mod verbs;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tests::{Client, host_binary};

/// The verbs, put to one host.
struct Cli {
    url: String,
    token: Option<String>,
}

/// How a command ended.
struct Ran {
    output: Output,
    command: String,
}

impl Cli {
    fn of(host: &Client) -> Cli {
        Cli { url: host.url().to_owned(), token: None }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command();
        command.args(arguments).env("HOST_URL", &self.url);
        command.envs(self.token.iter().map(|token| ("HOST_TOKEN", token)));
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments))
    }

    /// Run it with `--json`: the one document on stdout.
    #[track_caller]
    fn json(&self, arguments: &[&str], status: i32) -> Value {
        let mut command = self.command(arguments);
        command.arg("--json");
        let ran = run(command).ended(status);
        serde_json::from_str(&ran.out()).unwrap_or_else(|error| panic!("{}: {error}: {}", ran.command, ran.out()))
    }
}

/// The binary, without settings from the environment of the tests.
fn command() -> Command {
    let mut command = Command::new(host_binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HOST_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> Ran {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
    Ran { output, command: format!("{command:?}") }
}

/// Run it with something on its standard input.
fn run_with_input(mut command: Command, input: &str) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    child.stdin.take().expect("it is a pipe").write_all(input.as_bytes()).expect("it reads its input");
    Ran { output: child.wait_with_output().expect("it ends"), command: format!("{command:?}") }
}

impl Ran {
    #[track_caller]
    fn ended(self, status: i32) -> Ran {
        let is = self.output.status.code();
        assert_eq!(is, Some(status), "{}\n{}\n{}", self.command, self.out(), self.err());
        self
    }

    fn out(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).expect("it prints text")
    }

    fn err(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).expect("it prints text")
    }

    #[track_caller]
    fn says(&self, parts: &[&str]) {
        let all = self.out() + &self.err();
        for part in parts {
            assert!(all.contains(part), "{}: {part:?} is not in\n{all}", self.command);
        }
    }
}
