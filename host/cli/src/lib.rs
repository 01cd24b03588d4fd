//! The command line: `host serve`, and the verbs that talk to a host over HTTP. One file per verb.
//!
//! A verb prints what it was asked for on stdout, and everything else on stderr. With `--json`, stdout is exactly one
//! JSON document, errors included. The exit status tells the cases apart that a script needs:
//!
//! - 0: it was done; a function that was waited for has its result
//! - 1: the function that was waited for failed: rejected, crashed, timed out or canceled. For `serve`: it can't serve. For
//!   what looks (`check`, `test`, …): it found what it looks for
//! - 2: the command doesn't make sense as it was given
//! - 3: the host can't be reached, or refused
//! - 4: what is waited for is held, and goes on when somebody sees to it
//!
//! The verbs know HTTP only. What they need to know of the documents that travel is in `documents`, apart from what the
//! server calls them: a client that is older or newer than its host shows what it understands.

mod cancel;
mod check;
mod client;
mod config;
mod configuration;
mod documents;
mod events;
mod executions;
mod failure;
mod functions;
mod get;
mod invoke;
mod journal;
mod logs;
mod migrate;
mod nodes;
mod patience;
mod promises;
mod remove;
mod replay;
mod resume;
mod screen;
mod serve;
mod test;
mod times;
mod tree;
mod units;
mod upgrade;
mod upload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::Client;
use failure::Failure;
use screen::Screen;

/// Runs durable WebAssembly functions: async functions that survive crashes, restarts and redeploys.
#[derive(Parser)]
#[command(
    name = "host",
    version,
    max_term_width = 110,
    after_help = "Try it:\n  \
        host serve\n  \
        host upload countdown.wasm\n  \
        host invoke countdown '[10, 1000]'\n\n\
        `host help VERB` shows more of each, with an example."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Where the host is.
    #[arg(long, global = true, env = "HOST_URL", value_name = "URL", default_value = client::DEFAULT_URL)]
    url: String,
    /// Print one JSON document, and nothing else, on stdout.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    Serve(Box<serve::Serve>),
    Upload(upload::Upload),
    Check(check::Check),
    Upgrade(upgrade::Upgrade),
    Functions(functions::Functions),
    #[command(name = "config")]
    Configuration(configuration::Configuration),
    Invoke(invoke::Invoke),
    Executions(executions::Executions),
    Get(get::Get),
    Tree(tree::Tree),
    Journal(journal::Journal),
    Logs(logs::Logs),
    Test(Box<test::TestVerb>),
    Replay(replay::Replay),
    Export(replay::Export),
    Resume(resume::Resume),
    Fork(resume::Fork),
    Cancel(cancel::Cancel),
    Remove(remove::Remove),
    Promises(promises::Promises),
    Nodes(nodes::Nodes),
    Partitions(nodes::Partitions),
    Migrate(migrate::Migrate),
}

/// What every verb has.
struct Context {
    client: Client,
    screen: Screen,
}

/// How a verb that did its work leaves.
enum Ending {
    /// All is well.
    Well,
    /// What was waited for failed.
    Failed,
}

/// Run the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_command(&error),
    };
    let screen = Screen::new(cli.json);
    match run(cli) {
        Ok(Ending::Well) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::from(1),
        Err(failure) => {
            screen.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<Ending, Failure> {
    let screen = Screen::new(cli.json);
    // These need no host.
    let verb = match cli.verb {
        Verb::Serve(verb) => return verb.run(&screen),
        Verb::Test(verb) => return verb.run(&screen),
        Verb::Migrate(verb) => return verb.run(&screen),
        verb => verb,
    };
    let context = Context { client: Client::new(&cli.url)?, screen };
    match verb {
        Verb::Serve(verb) => verb.run(&context.screen),
        Verb::Test(verb) => verb.run(&context.screen),
        Verb::Migrate(verb) => verb.run(&context.screen),
        Verb::Upload(verb) => verb.run(&context),
        Verb::Check(verb) => verb.run(&context),
        Verb::Upgrade(verb) => verb.run(&context),
        Verb::Functions(verb) => verb.run(&context),
        Verb::Configuration(verb) => verb.run(&context),
        Verb::Invoke(verb) => verb.run(&context),
        Verb::Executions(verb) => verb.run(&context),
        Verb::Get(verb) => verb.run(&context),
        Verb::Tree(verb) => verb.run(&context),
        Verb::Journal(verb) => verb.run(&context),
        Verb::Logs(verb) => verb.run(&context),
        Verb::Replay(verb) => verb.run(&context),
        Verb::Export(verb) => verb.run(&context),
        Verb::Resume(verb) => verb.run(&context),
        Verb::Fork(verb) => verb.run(&context),
        Verb::Cancel(verb) => verb.run(&context),
        Verb::Remove(verb) => verb.run(&context),
        Verb::Promises(verb) => verb.run(&context),
        Verb::Nodes(verb) => verb.run(&context),
        Verb::Partitions(verb) => verb.run(&context),
    }
}

/// Help, or what is wrong with the command. With `--json` that is a document too: whoever reads stdout expects one.
fn refuse_command(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args().any(|argument| argument == "--json") {
        let message = error.render().to_string();
        let failure = Failure::Usage(message.trim().trim_start_matches("error: ").to_owned());
        Screen::new(true).failure(&failure);
        return ExitCode::from(failure.exit_code());
    }
    // It is for a person who has gone away, if it can't be printed.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verbs_and_options_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn each_verb_has_an_example() {
        use clap::CommandFactory;
        for verb in Cli::command().get_subcommands() {
            let example = verb.get_after_help().map(|help| help.to_string()).unwrap_or_default();
            assert!(example.contains(&format!("host {}", verb.get_name())), "{} has no example", verb.get_name());
        }
    }
}
