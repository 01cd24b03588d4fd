//! A capsule, ready to be run: its components compiled, and each execution with what it was given from outside.
//!
//! A capsule has no secrets. A stand-in takes the place of each, unless its value is given: a function that only passes a
//! secret on does the same with it, because what it sends is recorded without the secret. One that does something else
//! is found out by that, and then it is said whose value is missing. So the replay itself is the check of a value that
//! is given, and a capsule needn't hold anything that a value could be guessed from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use machine::{Component, Config, Digest, Id, Limit, Output};

use super::capsule::{Capsule, CapsuleError, Given};
use super::{History, Report, Verdict, check};
use host_runtime::{Compiled, Environment, Limits, Program, Runtime, Setting};

/// Values of secrets, by their names.
pub type Secrets = BTreeMap<String, String>;

/// A capsule that can be run.
pub struct Opened<'a> {
    /// What was read.
    pub capsule: &'a Capsule,
    /// Where it runs, with the limits that its guests had.
    pub runtime: Runtime,
    programs: BTreeMap<Digest, Program>,
    /// By the ids of the executions.
    settings: BTreeMap<&'a str, (Setting, BTreeSet<String>)>,
}

impl<'a> Opened<'a> {
    /// Compile its components.
    pub fn new(capsule: &'a Capsule, secrets: &Secrets) -> Result<Opened<'a>, CapsuleError> {
        let known = capsule.secrets();
        if let Some(name) = secrets.keys().find(|name| !known.contains(name.as_str())) {
            return Err(CapsuleError::NoSecret { name: name.clone(), known: list(known) });
        }
        let most = |limit: Limit, least: usize| {
            let values = capsule.given.iter().filter_map(|given| given.limits.get(limit.as_str()));
            values.map(|value| *value as usize).max().unwrap_or(0).max(least)
        };
        let defaults = Limits::default();
        let limits = Limits {
            memory_bytes: most(Limit::Memory, defaults.memory_bytes),
            table_elements: most(Limit::Tables, defaults.table_elements),
            stack_bytes: most(Limit::Stack, defaults.stack_bytes),
            component_bytes: usize::MAX,
            sessions: 4,
            ..defaults
        };
        let runtime = Runtime::new(limits).map_err(|error| CapsuleError::Component(error.to_string()))?;
        let mut programs = BTreeMap::new();
        for wasm in &capsule.components {
            let Compiled { component, program, .. } = compile(&runtime, wasm, None)?;
            programs.insert(component.digest, program);
        }
        let mut settings = BTreeMap::new();
        for given in &capsule.given {
            let (setting, missing) = setting(&runtime, given, secrets)?;
            settings.extend(given.executions.iter().map(|id| (id.as_str(), (setting.clone(), missing.clone()))));
        }
        Ok(Opened { capsule, runtime, programs, settings })
    }

    /// The history of one of its executions, what it runs on, and its output.
    pub fn history(&self, id: &str) -> Option<(History, &Program, &'a [Output])> {
        let (promise, entries, output) =
            self.capsule.executions.iter().find(|(promise, ..)| promise.id.as_str() == id)?;
        let (setting, _) = self.settings.get(id)?;
        let program = self.programs.get(&promise.execution.as_ref()?.component)?;
        Some((History::of(promise, entries.clone(), setting.clone())?, program, output))
    }

    /// Replays every execution. The capsule is what it says it is only if each does what its journal has. How many entries
    /// there were.
    pub fn verify(&self) -> Result<usize, CapsuleError> {
        for (promise, ..) in &self.capsule.executions {
            let id = &promise.id;
            let unfit = || CapsuleError::Unfit(format!("{id:?} has no component"));
            let (history, program, _) = self.history(id.as_str()).ok_or_else(unfit)?;
            match check(&self.runtime, program, &history) {
                Verdict::Differs(difference) => {
                    return Err(CapsuleError::Differs { id: id.clone(), difference, missing: self.missing(id) });
                }
                Verdict::Busy => return Err(CapsuleError::Component("there is no memory for it".into())),
                Verdict::Same { .. } => {}
            }
        }
        Ok(self.capsule.executions.iter().map(|(_, entries, _)| entries.len()).sum())
    }

    /// A component that isn't in it, compiled to run its executions.
    pub fn candidate(&self, wasm: &[u8], mount: Option<&str>) -> Result<(Component, Program), CapsuleError> {
        compile(&self.runtime, wasm, mount).map(|Compiled { component, program, .. }| (component, program))
    }

    /// What a candidate does with each execution of its functions.
    pub fn check(&self, program: &Program, report: &mut Report) {
        for (promise, ..) in &self.capsule.executions {
            let is_its = promise.function().is_some_and(|name| report.functions.contains_key(name));
            if let (true, Some((history, ..))) = (is_its, self.history(promise.id.as_str())) {
                report.count(promise, check(&self.runtime, program, &history));
            }
        }
    }

    /// The secrets that an execution was given and whose values aren't known here.
    fn missing(&self, id: &Id) -> String {
        self.settings.get(id.as_str()).map(|(_, missing)| list(missing.iter().map(String::as_str))).unwrap_or_default()
    }
}

fn compile(runtime: &Runtime, wasm: &[u8], mount: Option<&str>) -> Result<Compiled, CapsuleError> {
    runtime.compile(wasm, mount).map_err(|error| CapsuleError::Component(error.to_string()))
}

/// What guests are given, and which secrets are stand-ins.
fn setting(runtime: &Runtime, given: &Given, secrets: &Secrets) -> Result<(Setting, BTreeSet<String>), CapsuleError> {
    let (mut variables, mut missing) = (Vec::new(), BTreeSet::new());
    for (name, variable) in &given.variables {
        let value = variable.value.as_ref().or(secrets.get(name)).cloned().unwrap_or_else(|| {
            missing.insert(name.clone());
            // No two of them are a part of each other.
            format!("<a stand-in for {name}>")
        });
        variables.push((name.clone(), value, variable.value.is_none()));
    }
    let mut config = Config::default();
    for (name, value) in &given.limits {
        let unknown = || CapsuleError::Unfit(format!("there is no limit {name:?}"));
        config.limits.insert(Limit::parse(name).ok_or_else(unknown)?, *value);
    }
    let limits = Arc::new(runtime.limits().of(&config, &config));
    Ok((Setting { limits, environment: Arc::new(Environment::new(variables)) }, missing))
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}
