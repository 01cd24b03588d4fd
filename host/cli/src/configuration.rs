//! `host config`: what functions are told and allowed.

use std::collections::BTreeMap;
use std::io::Read;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::client::{Answer, segment};
use super::documents;
use super::failure::Failure;
use super::screen::{Cell, Table, safe};
use super::units::{Size, Span};
use super::{Context, Ending};

/// Configure functions: variables, secrets, what they may send requests to, and limits
///
/// A change is for executions that start from then on; those under way keep what they started with. With --component, the
/// name is that of a component, and the configuration that of all its functions: a function's own variables come before it,
/// what either allows is allowed, and of limits the smaller holds.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    host config set transfer CURRENCY=EUR --allow api.bank.example\n  \
    host config set transfer --secret API_KEY < key.txt\n  \
    host config set transfer --limit memory=64MiB --limit cpu=2s\n  \
    host config list transfer\n  \
    host config unset transfer CURRENCY")]
pub(super) struct Configuration {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Set variables, secrets, addresses or limits
    #[command(
        after_help = "Example:\n  host config set transfer CURRENCY=EUR --secret API_KEY=s3cr3t --allow bank.example"
    )]
    Set {
        #[command(flatten)]
        of: Of,
        /// Variables that the function finds in its environment
        #[arg(value_name = "NAME=VALUE")]
        variables: Vec<String>,
        /// A variable that is shown to nobody but the function. Without a value, the value is read from stdin
        #[arg(long, value_name = "NAME[=VALUE]")]
        secret: Vec<String>,
        /// What it may send requests to: a host, *.domain or *, with http:// or https:// before it and :port behind it
        /// where only that is meant
        #[arg(long, value_name = "HOST")]
        allow: Vec<String>,
        /// What it may use, where that is less than the host allows: cpu, memory, tables, output, payload,
        /// pending-steps, journal-entries, journal-bytes, children, stack
        #[arg(long, value_name = "NAME=VALUE")]
        limit: Vec<String>,
    },
    /// Forget variables, secrets, addresses or limits
    #[command(after_help = "Example:\n  host config unset transfer CURRENCY --allow bank.example --limit memory")]
    Unset {
        #[command(flatten)]
        of: Of,
        /// Variables and secrets
        #[arg(value_name = "NAME")]
        variables: Vec<String>,
        /// What it may no longer send requests to
        #[arg(long, value_name = "HOST")]
        allow: Vec<String>,
        /// Limits
        #[arg(long, value_name = "NAME")]
        limit: Vec<String>,
    },
    /// Show a configuration. The values of secrets are not shown
    #[command(after_help = "Example:\n  host config list transfer")]
    List {
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Args)]
struct Of {
    /// The function
    name: String,
    /// The name is that of a component
    #[arg(long)]
    component: bool,
}

/// As it travels.
#[derive(Default, Serialize)]
struct Change {
    variables: BTreeMap<String, Option<Variable>>,
    allow: Vec<String>,
    disallow: Vec<String>,
    limits: BTreeMap<String, Option<u64>>,
}

#[derive(Serialize)]
struct Variable {
    value: String,
    secret: bool,
}

impl Configuration {
    pub(super) fn run(self, context: &Context) -> Result<Ending, Failure> {
        let answer = match self.action {
            Action::List { of } => context.client.get(&of.path(), &[])?,
            Action::Set { of, variables, secret, allow, limit } => {
                let mut change = Change { allow, ..Change::default() };
                for text in &variables {
                    let (name, value) = pair("a variable", text)?;
                    change.variables.insert(name, Some(Variable { value, secret: false }));
                }
                if secret.iter().filter(|text| !text.contains('=')).count() > 1 {
                    let what =
                        "only one secret can be read from stdin: set the others with NAME=VALUE, or one after another";
                    return Err(Failure::Usage(what.to_owned()));
                }
                for text in secret {
                    let (name, value) = match text.split_once('=') {
                        Some((name, value)) => (name.to_owned(), value.to_owned()),
                        None => (text, read_secret()?),
                    };
                    change.variables.insert(name, Some(Variable { value, secret: true }));
                }
                for text in &limit {
                    let (name, value) = pair("a limit", text)?;
                    change.limits.insert(name.clone(), Some(amount(&name, &value)?));
                }
                context.client.post(&of.path(), &[], &change.json())?
            }
            Action::Unset { of, variables, allow, limit } => {
                let change = Change {
                    variables: variables.into_iter().map(|name| (name, None)).collect(),
                    disallow: allow,
                    limits: limit.into_iter().map(|name| (name, None)).collect(),
                    ..Change::default()
                };
                context.client.post(&of.path(), &[], &change.json())?
            }
        };
        let Answer { text, document } = answer;
        context.screen.show(&text, || describe(context, &document))?;
        Ok(Ending::Well)
    }
}

impl Of {
    fn path(&self) -> String {
        let kind = if self.component { "components" } else { "functions" };
        format!("/v1/{kind}/{}/config", segment(&self.name))
    }
}

impl Change {
    fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are always JSON")
    }
}

fn pair(what: &str, text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::Usage(format!("{what} is written as NAME=VALUE, and not as {text:?}"))),
    }
}

fn read_secret() -> Result<String, Failure> {
    let mut value = String::new();
    std::io::stdin()
        .read_to_string(&mut value)
        .map_err(|error| Failure::Usage(format!("the secret can't be read from stdin: {error}")))?;
    // Whoever pipes a line in doesn't mean its end.
    let value = value.strip_suffix('\n').unwrap_or(&value);
    Ok(value.strip_suffix('\r').unwrap_or(value).to_owned())
}

/// Times in milliseconds, sizes in bytes, and all else in numbers.
fn amount(name: &str, text: &str) -> Result<u64, Failure> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let amount = match name {
        "cpu" => text.parse::<Span>().map(|span| span.0.as_millis() as u64),
        "memory" | "output" | "payload" | "journal-bytes" | "stack" => text.parse::<Size>().map(|size| size.0 as u64),
        _ => Err(format!("{text:?} is not a number")),
    };
    amount.map_err(|what| Failure::Usage(format!("the limit {name}: {what}")))
}

fn describe(context: &Context, config: &documents::Config) -> String {
    let mut table = Table::new(context.screen.out, &["WHAT", "NAME", "VALUE"]);
    for (name, variable) in &config.variables {
        let (what, value) = match &variable.value {
            Some(value) => ("variable", safe(value).into_owned()),
            None => ("secret", "***".to_owned()),
        };
        table.row(vec![Cell::plain(what), Cell::plain(safe(name)), Cell::plain(value)]);
    }
    for host in &config.allow {
        table.row(vec![Cell::plain("allow"), Cell::plain(safe(host)), Cell::plain("")]);
    }
    for (name, value) in &config.limits {
        table.row(vec![Cell::plain("limit"), Cell::plain(safe(name)), Cell::plain(value.to_string())]);
    }
    let nothing = config.variables.is_empty() && config.allow.is_empty() && config.limits.is_empty();
    if nothing { "nothing is set".into() } else { table.render() }
}
