//! What functions are told and allowed from outside: variables, the systems that they may talk to, and limits.
//!
//! A configuration belongs to a *scope*, and every change of it is a new *revision*. An execution is pinned to the
//! revisions that were the latest when it started, so that a replay of it sees the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Digest, Egress, State};

/// Variables, systems and limits of one scope, and how long their names may be.
const MAX_ITEMS: usize = 1_000;
const MAX_NAME_BYTES: usize = 256;

/// Whom a configuration is for. Of variables, a function's go over its component's. Of limits, the smallest holds: those
/// of the host are what its operator allows at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// All functions.
    Host,
    /// The functions of the components of this name.
    Component(String),
    /// The function of this name.
    Function(String),
}

/// A configuration, as one scope has it, or as the scopes of an execution have it together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// What a guest finds in its environment, by name. The values are kept elsewhere.
    pub variables: BTreeMap<String, Variable>,
    /// What it may send requests to.
    pub egress: BTreeSet<Egress>,
    /// What it may use.
    pub limits: BTreeMap<Limit, u64>,
}

/// A variable, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Of the value and what it was salted with, under which the value is kept.
    pub digest: Digest,
    /// Whether the value may be shown to nobody but the guest.
    pub secret: bool,
}

/// Something that is bounded for each execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Limit {
    /// Milliseconds of computing before it waits for something.
    Cpu,
    /// Bytes of linear memory.
    Memory,
    /// Entries of each table.
    Tables,
    /// Bytes of what it prints.
    Output,
    /// Bytes of an argument, a result, or the body of a request or its answer.
    Payload,
    /// Steps that have begun and not ended.
    PendingSteps,
    /// Entries of its journal.
    JournalEntries,
    /// Bytes of its journal.
    JournalBytes,
    /// Executions that it called and that have not ended.
    Children,
    /// Bytes of its stack.
    Stack,
}

/// The revisions that an execution is pinned to. 0: there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is a scope")]
pub struct Pinned {
    pub host: u32,
    pub component: u32,
    pub function: u32,
}

impl Pinned {
    /// The latest ones for a function of a component, by their names.
    pub fn latest(state: &impl State, component: &str, function: &str) -> Pinned {
        Pinned {
            host: state.revision(&Scope::Host),
            component: state.revision(&Scope::Component(component.into())),
            function: state.revision(&Scope::Function(function.into())),
        }
    }
}

/// The limits that the machine itself watches, as an execution has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// See [`Limit::JournalEntries`].
    pub entries: u32,
    /// See [`Limit::JournalBytes`].
    pub bytes: u64,
    /// See [`Limit::Children`].
    pub children: u32,
}

impl Limit {
    /// All, in the order in which they are listed.
    pub const ALL: [Limit; 10] = [
        Limit::Cpu,
        Limit::Memory,
        Limit::Tables,
        Limit::Output,
        Limit::Payload,
        Limit::PendingSteps,
        Limit::JournalEntries,
        Limit::JournalBytes,
        Limit::Children,
        Limit::Stack,
    ];

    /// As it is written everywhere: `cpu`, `journal-entries`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Cpu => "cpu",
            Limit::Memory => "memory",
            Limit::Tables => "tables",
            Limit::Output => "output",
            Limit::Payload => "payload",
            Limit::PendingSteps => "pending-steps",
            Limit::JournalEntries => "journal-entries",
            Limit::JournalBytes => "journal-bytes",
            Limit::Children => "children",
            Limit::Stack => "stack",
        }
    }

    /// What to do about it, for whoever owns the function: `is_own` if it is the function's own configuration that sets
    /// it, and not the host's.
    pub fn advice(self, is_own: bool, function: &str) -> String {
        let name = self.as_str();
        if is_own {
            format!("raise it with `host config set {function} --limit {name}=N`")
        } else {
            format!("raise it with --{name}-limit")
        }
    }

    /// The limit of this name.
    pub fn parse(name: &str) -> Option<Limit> {
        Limit::ALL.into_iter().find(|limit| limit.as_str() == name)
    }
}

impl Default for Bounds {
    /// A million entries, 256 MiB, and 20,000 children.
    fn default() -> Bounds {
        Bounds { entries: 1_000_000, bytes: 256 << 20, children: 20_000 }
    }
}

impl Bounds {
    /// Those of the configurations of all scopes.
    pub fn of<'a>(configs: impl Iterator<Item = &'a Config>) -> Bounds {
        let [mut entries, mut bytes, mut children] = [None, None, None];
        for Config { limits, .. } in configs {
            for (limit, known) in [
                (Limit::JournalEntries, &mut entries),
                (Limit::JournalBytes, &mut bytes),
                (Limit::Children, &mut children),
            ] {
                let value = limits.get(&limit).copied();
                *known = (*known).into_iter().chain(value).min();
            }
        }
        let default = Bounds::default();
        let count = |count: Option<u64>, default| count.map_or(default, |n| u32::try_from(n).unwrap_or(u32::MAX));
        Bounds {
            entries: count(entries, default.entries),
            bytes: bytes.unwrap_or(default.bytes),
            children: count(children, default.children),
        }
    }
}

impl Config {
    /// This configuration under another one, which has the last word on variables that both set. What either allows is
    /// allowed, and of limits the smaller holds.
    pub fn under(mut self, over: &Config) -> Config {
        self.variables.extend(over.variables.iter().map(|(name, variable)| (name.clone(), *variable)));
        self.egress.extend(over.egress.iter().cloned());
        for (limit, value) in &over.limits {
            let known = self.limits.entry(*limit).or_insert(*value);
            *known = (*known).min(*value);
        }
        self
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty() && self.egress.is_empty() && self.limits.is_empty()
    }

    /// What of it can't be.
    pub fn check(&self) -> Result<(), String> {
        if self.variables.len() + self.egress.len() > MAX_ITEMS {
            return Err(format!("a configuration has at most {MAX_ITEMS} variables and addresses"));
        }
        for name in self.variables.keys() {
            if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(['=', '\0']) {
                return Err(format!(
                    "{name:?} can't be the name of a variable: it has from 1 to {MAX_NAME_BYTES} bytes, and no '='"
                ));
            }
        }
        match self.limits.iter().find(|(_, value)| **value == 0) {
            Some((limit, _)) => Err(format!("the limit {} can't be 0", limit.as_str())),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Host => f.write_str("all functions"),
            Scope::Component(name) => write!(f, "the component {name}"),
            Scope::Function(name) => write!(f, "the function {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_the_nearest_and_limits_the_smallest() {
        let variable = |byte| Variable { digest: Digest([byte; 32]), secret: false };
        let config = |byte, host: &str, entries| Config {
            variables: [("A".into(), variable(byte)), (format!("B{byte}"), variable(byte))].into(),
            egress: [Egress::parse(host).unwrap()].into(),
            limits: [(Limit::JournalEntries, entries)].into(),
        };
        let (far, near) = (config(1, "a.example", 9), config(2, "b.example", 7));
        let both = far.clone().under(&near);
        assert_eq!(both.variables["A"], variable(2));
        assert_eq!(both.variables.len(), 3);
        assert_eq!(both.egress.len(), 2);
        for bounds in [Bounds::of([&far, &near].into_iter()), Bounds::of([&near, &far].into_iter())] {
            assert_eq!(bounds, Bounds { entries: 7, ..Bounds::default() }, "nobody raises what is set further out");
        }
        assert_eq!(near.under(&far).limits[&Limit::JournalEntries], 7);
    }

    #[test]
    fn limits_are_read_as_they_are_written() {
        for limit in Limit::ALL {
            assert_eq!(Limit::parse(limit.as_str()), Some(limit));
        }
        assert_eq!(Limit::parse("heap"), None);
    }
}
