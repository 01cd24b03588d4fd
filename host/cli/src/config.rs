//! The configuration of `serve`: flags over environment over file over defaults.
//!
//! One struct is all three sources: clap fills it from flags and environment, serde from the file. So a setting can't
//! have two names, and one that has none is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory};
use machine::{Bounds, Limit};
use serde::Deserialize;

use super::failure::Failure;
use super::units::{Size, Span};
use host_api as api;
use host_cluster as cluster;
use host_outbound as outbound;
use host_partition::{self, HoldCrashes};
use host_runtime::Limits;

/// What is logged: `info`, or a filter such as `host=debug`.
pub(super) const LOG_VARIABLE: &str = "HOST_LOG";
/// Read where it matters: see `partition/faults.rs`.
const KILL_VARIABLE: &str = "HOST_KILL_AT";
/// Promises that are kept in memory. They are about 1 KiB each; those that aren't are read from the store when needed.
const PROMISES: usize = 20_000;
/// What a cluster is called if nothing is said.
pub(super) const CLUSTER_NAME: &str = "default";
/// A lease is renewed five times while it lasts, over the network.
const SHORTEST_LEASE: Duration = Duration::from_millis(500);

/// What can be set. Everything is optional here; the defaults are in [`Settings::resolve`].
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    /// The directory where everything is kept; it is made if it isn't there [default: ./data]
    #[arg(long, env = "HOST_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address to serve on; port 0 takes a free one [default: 127.0.0.1:7700]
    #[arg(long, env = "HOST_LISTEN", value_name = "ADDR")]
    listen: Option<String>,
    /// The deadline of what is created without one [default: 365d]
    #[arg(long, env = "HOST_DEFAULT_TIMEOUT", value_name = "DURATION")]
    default_timeout: Option<Span>,
    /// Hold functions that crash instead of ending them, so that they can be resumed once they are mended: all, or those
    /// that are named, with commas between
    #[arg(long, env = "HOST_HOLD_CRASHES", value_name = "FUNCTIONS", num_args = 0..=1, require_equals = true,
        default_missing_value = "all")]
    hold_crashes: Option<String>,
    /// The name under which the host's functions are a group of workers: poll://any@NAME [default: wasm]
    #[arg(long, env = "HOST_GROUP", value_name = "NAME")]
    group: Option<String>,
    /// How long a task that was offered to workers is left to them before it is offered again [default: 5s]
    #[arg(long, env = "HOST_TASK_RETRY", value_name = "DURATION")]
    task_retry: Option<Span>,
    /// A token that every request has to carry, but for /health, /ready, /metrics and /openapi.json; without one, everybody
    /// may ask anything
    #[arg(long, env = "HOST_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// For tests: let clients of the promise protocol set the time and forget everything
    #[arg(long, env = "HOST_DEBUG", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    debug: Option<bool>,
    /// How long executions and promises are kept after they have ended; then they are removed [default: 7d]
    #[arg(long, env = "HOST_RETENTION", value_name = "DURATION")]
    retention: Option<Span>,
    /// The same for the executions of one function, such as charge=90d; in the file it is a table, [retention-of]
    #[arg(long, env = "HOST_RETENTION_OF", value_name = "FUNCTION=DURATION", value_delimiter = ',')]
    #[arg(value_parser = retention_of)]
    #[serde(default, deserialize_with = "by_name")]
    retention_of: Option<Vec<(String, Span)>>,

    /// The database of a cluster, which this host takes part in: postgres://USER:PASSWORD@HOST/NAME, or with several
    /// servers, HOST,STANDBY, of which one takes what is written
    #[arg(long, env = "HOST_CLUSTER", value_name = "URL", help_heading = "Cluster", hide_env_values = true)]
    cluster: Option<String>,
    /// What the cluster is called; the database of another one is refused [default: default]
    #[arg(long, env = "HOST_CLUSTER_NAME", value_name = "NAME", help_heading = "Cluster")]
    cluster_name: Option<String>,
    /// Where the other nodes of the cluster reach this one; it listens there for them alone
    #[arg(long, env = "HOST_ADVERTISE", value_name = "ADDR", help_heading = "Cluster")]
    advertise: Option<String>,
    /// How long a node that says nothing counts as alive; then others take over what it had [default: 5s]
    #[arg(long, env = "HOST_LEASE", value_name = "DURATION", help_heading = "Cluster")]
    lease: Option<Span>,

    /// Threads that run functions, and as many more for those that compute for long [default: one per core]
    #[arg(long, env = "HOST_WORKERS", value_name = "N", help_heading = "Resources")]
    workers: Option<usize>,
    /// Executions kept in memory; those beyond are put away while they wait [default: 1000]
    #[arg(long, env = "HOST_SESSIONS", value_name = "N", help_heading = "Resources")]
    sessions: Option<u32>,
    /// Memory of the executions that wait in memory, all together [default: 1GiB]
    #[arg(long, env = "HOST_SESSIONS_MEMORY", value_name = "SIZE", help_heading = "Resources")]
    sessions_memory: Option<Size>,
    /// Memory for pages of the store [default: 64MiB]
    #[arg(long, env = "HOST_CACHE", value_name = "SIZE", help_heading = "Resources")]
    cache: Option<Size>,
    /// Executions and promises that may wait to be run or stored before new ones are turned away [default: 100000]
    #[arg(long, env = "HOST_BACKLOG", value_name = "N", help_heading = "Resources")]
    backlog: Option<usize>,
    /// How long an execution may wait for a thread before new calls are turned away [default: 1s]
    #[arg(long, env = "HOST_QUEUE_LIMIT", value_name = "DURATION", help_heading = "Resources")]
    queue_limit: Option<Span>,

    /// The memory of an execution [default: 128MiB]
    #[arg(long, env = "HOST_MEMORY_LIMIT", value_name = "SIZE", help_heading = "Limits")]
    memory_limit: Option<Size>,
    /// The stack of an execution [default: 1MiB]
    #[arg(long, env = "HOST_STACK_LIMIT", value_name = "SIZE", help_heading = "Limits")]
    stack_limit: Option<Size>,
    /// How long an execution may compute without waiting for anything [default: 10s]
    #[arg(long, env = "HOST_CPU_LIMIT", value_name = "DURATION", help_heading = "Limits")]
    cpu_limit: Option<Span>,
    /// What an execution may print [default: 1MiB]
    #[arg(long, env = "HOST_OUTPUT_LIMIT", value_name = "SIZE", help_heading = "Limits")]
    output_limit: Option<Size>,
    /// The arguments of a call, a result, a promise's value, the body of a request or an answer [default: 1MiB]
    #[arg(long, env = "HOST_PAYLOAD_LIMIT", value_name = "SIZE", help_heading = "Limits")]
    payload_limit: Option<Size>,
    /// A component, as uploaded [default: 64MiB]
    #[arg(long, env = "HOST_COMPONENT_LIMIT", value_name = "SIZE", help_heading = "Limits")]
    component_limit: Option<Size>,
    /// Steps of one execution that are under way at a time [default: 20000]
    #[arg(long, env = "HOST_PENDING_STEPS_LIMIT", value_name = "N", help_heading = "Limits")]
    pending_steps_limit: Option<usize>,
    /// Entries of each table of an execution [default: 20000]
    #[arg(long, env = "HOST_TABLES_LIMIT", value_name = "N", help_heading = "Limits")]
    tables_limit: Option<usize>,
    /// Entries of an execution's journal [default: 1000000]
    #[arg(long, env = "HOST_JOURNAL_ENTRIES_LIMIT", value_name = "N", help_heading = "Limits")]
    journal_entries_limit: Option<u32>,
    /// What an execution's journal has, its values included [default: 256MiB]
    #[arg(long, env = "HOST_JOURNAL_BYTES_LIMIT", value_name = "SIZE", help_heading = "Limits")]
    journal_bytes_limit: Option<Size>,
    /// Executions that an execution has called and that are under way at a time [default: 20000]
    #[arg(long, env = "HOST_CHILDREN_LIMIT", value_name = "N", help_heading = "Limits")]
    children_limit: Option<u32>,
}

/// What `serve` runs with.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// Where to listen.
    pub(super) listen: String,
    /// How the partition is run.
    pub(super) partition: host_partition::Options,
    /// What a guest may use.
    pub(super) limits: Limits,
    /// What the API needs to know.
    pub(super) api: api::Options,
    /// The cluster that it takes part in.
    pub(super) cluster: Option<cluster::Options>,
}

impl Settings {
    /// What stands in a file. A key that isn't known is refused, with its place.
    pub(super) fn read(path: &Path) -> Result<Settings, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::File { path: path.to_owned(), error })?;
        toml::from_str(&text)
            .map_err(|error| Failure::Usage(format!("the configuration file {} is wrong: {error}", path.display())))
    }

    /// These settings, with those that are missing from `other`.
    pub(super) fn or(self, other: Settings) -> Settings {
        Settings {
            data: self.data.or(other.data),
            listen: self.listen.or(other.listen),
            default_timeout: self.default_timeout.or(other.default_timeout),
            hold_crashes: self.hold_crashes.or(other.hold_crashes),
            group: self.group.or(other.group),
            task_retry: self.task_retry.or(other.task_retry),
            token: self.token.or(other.token),
            debug: self.debug.or(other.debug),
            retention: self.retention.or(other.retention),
            retention_of: self.retention_of.or(other.retention_of),
            cluster: self.cluster.or(other.cluster),
            cluster_name: self.cluster_name.or(other.cluster_name),
            advertise: self.advertise.or(other.advertise),
            lease: self.lease.or(other.lease),
            workers: self.workers.or(other.workers),
            sessions: self.sessions.or(other.sessions),
            sessions_memory: self.sessions_memory.or(other.sessions_memory),
            cache: self.cache.or(other.cache),
            backlog: self.backlog.or(other.backlog),
            queue_limit: self.queue_limit.or(other.queue_limit),
            memory_limit: self.memory_limit.or(other.memory_limit),
            stack_limit: self.stack_limit.or(other.stack_limit),
            cpu_limit: self.cpu_limit.or(other.cpu_limit),
            output_limit: self.output_limit.or(other.output_limit),
            payload_limit: self.payload_limit.or(other.payload_limit),
            component_limit: self.component_limit.or(other.component_limit),
            pending_steps_limit: self.pending_steps_limit.or(other.pending_steps_limit),
            tables_limit: self.tables_limit.or(other.tables_limit),
            journal_entries_limit: self.journal_entries_limit.or(other.journal_entries_limit),
            journal_bytes_limit: self.journal_bytes_limit.or(other.journal_bytes_limit),
            children_limit: self.children_limit.or(other.children_limit),
        }
    }

    /// These settings, with defaults for those that are missing.
    pub(super) fn resolve(self) -> Result<Config, Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let defaults = Limits::default();
        let bytes = |size: Option<Size>, default| size.map_or(default, |size| size.0);
        let limits = Limits {
            memory_bytes: bytes(self.memory_limit, defaults.memory_bytes),
            stack_bytes: bytes(self.stack_limit, defaults.stack_bytes),
            table_elements: self.tables_limit.unwrap_or(defaults.table_elements),
            cpu_ms: self.cpu_limit.map_or(defaults.cpu_ms, |span| span.0.as_millis() as u64),
            output_bytes: bytes(self.output_limit, defaults.output_bytes),
            payload_bytes: bytes(self.payload_limit, defaults.payload_bytes),
            component_bytes: bytes(self.component_limit, defaults.component_bytes),
            pending_steps: self.pending_steps_limit.unwrap_or(defaults.pending_steps),
            sessions: self.sessions.unwrap_or(defaults.sessions),
            own: Vec::new(),
        };
        let defaults = machine::Settings::default();
        let settings = machine::Settings {
            group: self.group.unwrap_or(defaults.group),
            retry_ms: self.task_retry.map_or(defaults.retry_ms, |span| span.0.as_millis() as u64),
        };
        let bounds = Bounds::default();
        let mut most = limits.config();
        most.limits.extend([
            (Limit::JournalEntries, self.journal_entries_limit.unwrap_or(bounds.entries).into()),
            (Limit::JournalBytes, self.journal_bytes_limit.map_or(bounds.bytes, |size| size.0 as u64)),
            (Limit::Children, self.children_limit.unwrap_or(bounds.children).into()),
        ]);
        let partition = host_partition::Options {
            data: self.data.unwrap_or_else(|| "./data".into()),
            workers: self.workers.unwrap_or(cores),
            sessions: limits.sessions as usize,
            sessions_bytes: bytes(self.sessions_memory, 1 << 30),
            promises: PROMISES,
            cache_bytes: bytes(self.cache, 64 << 20),
            backlog: self.backlog.unwrap_or(100_000),
            hold_crashes: match self.hold_crashes.as_deref() {
                None => HoldCrashes::Never,
                Some("all") => HoldCrashes::Always,
                Some(names) => HoldCrashes::Of(names.split(',').map(|name| name.trim().to_owned()).collect()),
            },
            settings: settings.clone(),
            limits: most,
            outbound: outbound::Client::default(),
            queue_limit: self.queue_limit.map_or(Duration::from_secs(1), |span| span.0),
            retention: host_partition::Retention {
                default: self.retention.map_or(Duration::from_secs(7 * 86_400), |span| span.0),
                by_function: self
                    .retention_of
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(name, span)| (name, span.0))
                    .collect(),
            },
        };
        let api = api::Options {
            payload_bytes: limits.payload_bytes,
            component_bytes: limits.component_bytes,
            default_timeout: self.default_timeout.map_or(Duration::from_secs(365 * 86_400), |span| span.0),
            settings,
            token: self.token.as_deref().map(api::Token::new),
            debug: self.debug.unwrap_or(false),
        };
        let listen = self.listen.unwrap_or_else(|| "127.0.0.1:7700".into());
        let lease = self.lease.map_or(Duration::from_secs(5), |span| span.0);
        let name = self.cluster_name.as_deref().map(cluster_name).transpose().map_err(Failure::Usage)?;
        if name.is_some() && self.cluster.is_none() {
            return Err(Failure::Usage("cluster-name means nothing without cluster".into()));
        }
        let name = name.unwrap_or_else(|| CLUSTER_NAME.into());
        let cluster = match (self.cluster, self.advertise) {
            (Some(database), Some(advertise)) => {
                let (partition, api) = (partition.clone(), api.clone());
                Some(cluster::Options { database, name, advertise, lease, partition, api })
            }
            (Some(_), None) => {
                let what = "cluster needs advertise: the address where the other nodes reach this one";
                return Err(Failure::Usage(what.into()));
            }
            (None, Some(_)) => return Err(Failure::Usage("advertise means nothing without cluster".into())),
            (None, None) => None,
        };
        let config = Config { listen, partition, limits, api, cluster };
        config.check()?;
        Ok(config)
    }
}

/// `charge=90d`.
fn retention_of(text: &str) -> Result<(String, Span), String> {
    let (name, span) = text.split_once('=').ok_or("it is written FUNCTION=DURATION, such as charge=90d")?;
    Ok((name.trim().to_owned(), span.parse()?))
}

/// What a cluster can be called: it is shown, and typed.
pub(super) fn cluster_name(text: &str) -> Result<String, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    match (1..=63).contains(&text.len()) && is_plain {
        true => Ok(text.to_owned()),
        false => Err("a cluster's name has letters, digits, dots, dashes and underscores, 63 at most".into()),
    }
}

/// A table of names.
fn by_name<'de, D: serde::Deserializer<'de>>(table: D) -> Result<Option<Vec<(String, Span)>>, D::Error> {
    Ok(Some(BTreeMap::deserialize(table)?.into_iter().collect()))
}

impl Config {
    /// Settings with which nothing could ever run are mistakes.
    fn check(&self) -> Result<(), Failure> {
        let Config { partition, limits, api, .. } = self;
        let zero = [
            ("workers", partition.workers == 0),
            ("sessions", limits.sessions == 0),
            ("backlog", partition.backlog == 0),
            ("queue-limit", partition.queue_limit.is_zero()),
            ("default-timeout", api.default_timeout.is_zero()),
            ("task-retry", api.settings.retry_ms == 0),
        ];
        if let Some((limit, _)) = partition.limits.limits.iter().find(|(_, value)| **value == 0) {
            return Err(Failure::Usage(format!("{}-limit can't be 0", limit.as_str())));
        }
        if let Some((name, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
            return Err(Failure::Usage(format!("{name} can't be 0")));
        }
        let is_here = |listen: &str| {
            let (host, _) = listen.rsplit_once(':').unwrap_or((listen, ""));
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        };
        if let Some(cluster) = &self.cluster {
            if cluster.lease < SHORTEST_LEASE {
                return Err(Failure::Usage(format!("lease can't be shorter than {SHORTEST_LEASE:?}")));
            }
            if api.debug {
                return Err(Failure::Usage("a cluster has no debug surface: its nodes keep their own time".into()));
            }
        }
        if api.debug && api.token.is_none() && !is_here(&self.listen) {
            return Err(Failure::Usage(format!(
                "with debug, whoever reaches {} can let this host forget everything: set a token, or listen on 127.0.0.1",
                self.listen
            )));
        }
        let group = &api.settings.group;
        if group.is_empty() || group.contains(['/', '@', ' ']) {
            return Err(Failure::Usage(format!(
                "group can't be {group:?}: it is part of the address poll://any@GROUP"
            )));
        }
        if partition.workers > limits.sessions as usize {
            return Err(Failure::Usage(format!(
                "{} workers need as many sessions; sessions is {}",
                partition.workers, limits.sessions
            )));
        }
        Ok(())
    }
}

/// Variables that begin as ours do and that nobody reads: misspelt, perhaps. They are warned about and not refused,
/// because others may set variables of such names on a whole machine.
pub(super) fn unknown_variables(variables: impl Iterator<Item = OsString>) -> Vec<String> {
    let cli = super::Cli::command();
    let serve = cli.get_subcommands().filter(|verb| verb.get_name() == "serve");
    let known: Vec<&std::ffi::OsStr> = serve
        .chain([&cli])
        .flat_map(|command| command.get_arguments())
        .filter_map(|argument| argument.get_env())
        .collect();
    let mut unknown: Vec<String> = variables
        .filter(|name| !known.contains(&name.as_os_str()) && name != LOG_VARIABLE && name != KILL_VARIABLE)
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("HOST_"))
        .collect();
    unknown.sort();
    unknown
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Verb};
    use super::*;

    fn flags(arguments: &[&str]) -> Settings {
        match Cli::try_parse_from(["host", "serve"].iter().chain(arguments)).map(|cli| cli.verb) {
            Ok(Verb::Serve(serve)) => serve.settings,
            _ => panic!("{arguments:?} is not understood"),
        }
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file: Settings = toml::from_str("memory-limit = '1MiB'\nsessions = 7\ncpu-limit = '2s'").unwrap();
        let config = flags(&["--memory-limit", "2MiB", "--workers", "3"]).or(file).resolve().unwrap();
        assert_eq!(config.limits.memory_bytes, 2 << 20);
        assert_eq!((config.limits.sessions, config.partition.sessions, config.limits.cpu_ms), (7, 7, 2000));
        assert_eq!(config.limits.payload_bytes, Limits::default().payload_bytes);
    }

    #[test]
    fn the_help_tells_the_defaults_that_are() {
        let mut command = Cli::command();
        let help = command.find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        let config = Settings::default().resolve().unwrap();
        let size = |bytes| Size(bytes).to_string();
        for (flag, default) in [
            ("--data", config.partition.data.display().to_string()),
            ("--listen", config.listen),
            ("--sessions", config.limits.sessions.to_string()),
            ("--cluster-name", CLUSTER_NAME.to_owned()),
            ("--cache", size(config.partition.cache_bytes)),
            ("--backlog", config.partition.backlog.to_string()),
            ("--memory-limit", size(config.limits.memory_bytes)),
            ("--stack-limit", size(config.limits.stack_bytes)),
            ("--cpu-limit", super::super::times::duration(config.limits.cpu_ms).replace(".0s", "s")),
            ("--output-limit", size(config.limits.output_bytes)),
            ("--payload-limit", size(config.limits.payload_bytes)),
            ("--component-limit", size(config.limits.component_bytes)),
            ("--pending-steps-limit", config.limits.pending_steps.to_string()),
            ("--tables-limit", config.limits.table_elements.to_string()),
            ("--journal-entries-limit", Bounds::default().entries.to_string()),
            ("--journal-bytes-limit", size(Bounds::default().bytes as usize)),
            ("--children-limit", Bounds::default().children.to_string()),
        ] {
            let text = help.split_once(flag).unwrap().1;
            let told = text.split_once("[default: ").unwrap().1.split_once(']').unwrap().0;
            assert_eq!(told, default, "{flag}");
        }
    }

    #[test]
    fn retention_is_set_for_all_and_for_one_function() {
        let file: Settings = toml::from_str("retention = '1h'\n[retention-of]\ncharge = '90d'\naudit = '2d'").unwrap();
        let retention = file.clone().resolve().unwrap().partition.retention;
        assert_eq!(retention.default, Duration::from_secs(3_600));
        assert_eq!(retention.by_function["charge"], Duration::from_secs(90 * 86_400));
        let flags = flags(&["--retention-of", "charge=1d,other=5s", "--retention-of", "third=0s"]);
        let retention = flags.or(file).resolve().unwrap().partition.retention;
        assert_eq!(retention.by_function.len(), 3);
        assert_eq!(retention.by_function["charge"], Duration::from_secs(86_400));
        assert_eq!(Settings::default().resolve().unwrap().partition.retention.default.as_secs(), 7 * 86_400);
        assert!(Cli::try_parse_from(["host", "serve", "--retention-of", "charge"]).is_err());
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("host.toml");
        std::fs::write(&path, "sessions = 7\nmemory-limt = '1MiB'\n").unwrap();
        let message = Settings::read(&path).unwrap_err().to_string();
        assert!(message.contains("memory-limt") && message.contains("host.toml"), "{message}");
    }

    #[test]
    fn settings_with_which_nothing_runs_are_refused() {
        for bad in [&["--workers", "0"], &["--sessions", "0"], &["--cpu-limit", "0s"]] {
            assert!(flags(bad).resolve().is_err(), "{bad:?}");
        }
        assert!(flags(&["--workers", "9", "--sessions", "8"]).resolve().is_err());
        for bad in [&["--group", "a/b"], &["--task-retry", "0s"]] {
            assert!(flags(bad).resolve().is_err(), "{bad:?}");
        }
        let open = ["--debug", "--listen", "0.0.0.0:1"];
        assert!(flags(&open).resolve().is_err());
        assert!(flags(&[&open[..], &["--token", "t"]].concat()).resolve().is_ok());
        assert!(flags(&["--debug"]).resolve().is_ok());
    }

    #[test]
    fn misspelt_variables_are_noticed() {
        let names = ["HOST_DATA", "HOST_MEMORY", "HOST_URL", "HOST_LOG", "HOST_CONFIG", "PATH"];
        assert_eq!(unknown_variables(names.iter().map(OsString::from)), ["HOST_MEMORY"]);
    }
}
