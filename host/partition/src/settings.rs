//! What executions run with: the limits and the environment that follow from the configuration that they are pinned to.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use machine::{Config, Digest, Egress, Limit, Pinned, Promise, Reply, Scope, State, Variable, configured};
use parking_lot::Mutex;

use super::{Error, Partition, Shared};
use host_replay::{Given, GivenVariable};
use host_runtime::{Environment, Limits, Setting};
use host_store::Vault;

/// How many settings are kept.
const KEPT: usize = 1_000;
/// The longest value of a variable.
const MAX_VALUE_BYTES: usize = 32 << 10;

pub(super) struct Settings {
    vault: Vault,
    /// Those of the host.
    limits: Arc<Limits>,
    known: Mutex<HashMap<Key, Setting>>,
}

/// A component and a function matter only where one of them has a configuration.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    pinned: (u32, u32, u32),
    of: Option<(Digest, String)>,
}

/// A change of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Variables by name, with their values and whether these are secret. None: not any more.
    pub variables: BTreeMap<String, Option<(String, bool)>>,
    /// What may be sent requests to from now on.
    pub allow: Vec<Egress>,
    /// What may no longer.
    pub disallow: Vec<Egress>,
    /// Limits. None: the host's.
    pub limits: BTreeMap<Limit, Option<u64>>,
}

/// A configuration as it can be shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// As it is kept.
    pub config: Config,
    /// How often it was changed.
    pub revision: u32,
    /// The values of the variables that aren't secret.
    pub values: BTreeMap<String, String>,
}

impl Settings {
    pub(super) fn new(vault: Vault, limits: Arc<Limits>) -> Settings {
        Settings { vault, limits, known: Mutex::default() }
    }

    /// What an execution runs with.
    pub(super) fn of(shared: &Shared, promise: &Promise) -> io::Result<Setting> {
        let settings = &shared.settings;
        let execution = promise.execution.as_ref().expect("only executions are run");
        let (pinned, function) = (execution.config, promise.function().unwrap_or_default());
        let Pinned { host, component, function: own } = pinned;
        let of = (component > 0 || own > 0).then(|| (execution.component, function.to_owned()));
        let key = Key { pinned: (host, component, own), of };
        if let Some(setting) = settings.known.lock().get(&key) {
            return Ok(setting.clone());
        }
        let (config, host) = configuration(&shared.lock().view, promise);
        let setting = Settings::setting(&settings.vault, &settings.limits, &config, &host)?;
        let mut known = settings.known.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(key, setting.clone());
        Ok(setting)
    }

    /// What follows from a configuration, and the host's part of it.
    pub(super) fn setting(vault: &Vault, limits: &Limits, config: &Config, host: &Config) -> io::Result<Setting> {
        let mut variables = Vec::new();
        for (name, Variable { digest, secret }) in &config.variables {
            variables.push((name.clone(), vault.get(digest)?, *secret));
        }
        let limits = Arc::new(limits.of(config, host));
        Ok(Setting { limits, environment: Arc::new(Environment::new(variables)) })
    }

    /// What an execution was given from outside, but for the values of secrets, as a capsule has it.
    pub(super) fn given(shared: &Shared, promise: &Promise) -> io::Result<Given> {
        let settings = &shared.settings;
        let (config, host) = configuration(&shared.lock().view, promise);
        let mut given = Given::default();
        for (name, Variable { digest, secret }) in &config.variables {
            let value = if *secret { None } else { Some(settings.vault.get(digest)?) };
            given.variables.insert(name.clone(), GivenVariable { digest: digest.to_string(), value });
        }
        let limits = settings.limits.of(&config, &host).config().limits;
        given.limits = limits.into_iter().map(|(limit, value)| (limit.as_str().to_owned(), value)).collect();
        Ok(given)
    }
}

/// What an execution is configured with, and the host's part of that.
pub(super) fn configuration(state: &impl State, promise: &Promise) -> (Config, Config) {
    let execution = promise.execution.as_ref().expect("only executions are configured");
    let name = state.component(&execution.component).map_or("", |component| component.name.as_str());
    let host = state.config(&Scope::Host, execution.config.host).cloned().unwrap_or_default();
    (configured(state, execution.config, name, promise.function().unwrap_or_default()), host)
}

impl Partition {
    /// The configuration of a scope, as it is now.
    pub async fn config(&self, scope: Scope) -> Result<Shown, Error> {
        let (config, revision) = self.read(move |inner| latest(&inner.view, &scope)).await?;
        let mut values = BTreeMap::new();
        for (name, variable) in config.variables.iter().filter(|(_, variable)| !variable.secret) {
            values.insert(name.clone(), self.shared.settings.vault.get(&variable.digest)?);
        }
        Ok(Shown { config, revision, values })
    }

    /// Change the configuration of a scope, for executions that start from then on.
    pub async fn configure(&self, scope: Scope, change: Change) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Rejected(machine::Rejection::Config(what)));
        for (limit, value) in &change.limits {
            let most = self.shared.limits.limits.get(limit);
            if let (Some(value), Some(most)) = (value, most)
                && value > most
            {
                let name = limit.as_str();
                return refuse(format!(
                    "the limit {name} can't exceed the host's, which is {most}: see --{name}-limit"
                ));
            }
        }
        if let Some((name, _)) = change.variables.iter().find(|(_, value)| {
            value.as_ref().is_some_and(|(value, _)| value.len() > MAX_VALUE_BYTES || value.contains('\0'))
        }) {
            return refuse(format!("the value of {name} has more than {MAX_VALUE_BYTES} bytes, or a zero byte"));
        }
        // Values are kept before a record names them. One that is not named in the end is in nobody's way.
        let kept = self.keep(&scope, &change).await?;
        self.submit_with(move |inner| {
            let (mut config, _) = latest(&inner.view, &scope);
            for (name, variable) in kept {
                match variable {
                    Some(variable) => drop(config.variables.insert(name, variable)),
                    None => drop(config.variables.remove(&name)),
                }
            }
            config.egress.extend(change.allow);
            config.egress.retain(|egress| !change.disallow.contains(egress));
            for (limit, value) in change.limits {
                match value {
                    Some(value) => drop(config.limits.insert(limit, value)),
                    None => drop(config.limits.remove(&limit)),
                }
            }
            machine::Op::Configure { scope, config }
        })
        .await
        .map(|_: Reply| ())
    }

    /// Keep the values that are new.
    async fn keep(&self, scope: &Scope, change: &Change) -> Result<BTreeMap<String, Option<Variable>>, Error> {
        let (config, _) = latest(&self.shared.lock().view, scope);
        let (shared, variables) = (self.shared.clone(), change.variables.clone());
        let keep = move || {
            let vault = &shared.settings.vault;
            let mut kept = BTreeMap::new();
            for (name, value) in variables {
                let variable = match value {
                    None => None,
                    Some((value, secret)) => {
                        let known = config.variables.get(&name);
                        let is_same = |known: &&Variable| vault.get(&known.digest).is_ok_and(|known| known == value);
                        let digest = match known.filter(is_same) {
                            Some(known) => known.digest,
                            None => vault.save(&value)?,
                        };
                        Some(Variable { digest, secret })
                    }
                };
                kept.insert(name, variable);
            }
            io::Result::Ok(kept)
        };
        let kept = tokio::task::spawn_blocking(keep).await;
        Ok(kept.map_err(|error| Error::Broken(format!("keeping a value: {error}")))??)
    }
}

fn latest(state: &impl State, scope: &Scope) -> (Config, u32) {
    let revision = state.revision(scope);
    (state.config(scope, revision).cloned().unwrap_or_default(), revision)
}
