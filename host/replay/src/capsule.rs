//! Capsules: an execution with all that is needed to run it again, in one file, for another machine.
//!
//! ```text
//! "DURABLE\n"  version (4 bytes, little endian: 2)  section...
//! section:     kind (1 byte)  length (8 bytes, little endian)  content  chain (32 bytes)
//! ```
//!
//! | kind | content |
//! |---|---|
//! | 1 | the manifest, once and first: JSON, see [`Manifest`] |
//! | 2 | a component, as it was uploaded |
//! | 3 | an execution: its promise, its journal and its output, as rows of format 1 (postcard) |
//! | 4 | another promise of the tree, with its value, in the same way |
//! | 5 | what some of the executions were given from outside: JSON, see [`Given`]. Secrets have a digest and no value |
//! | 0 | the end, empty |
//!
//! `chain` is the SHA-256 of the chain before it, the kind, the length and the content; before the first section it is that
//! of the first twelve bytes. So the last chain stands for the whole file: whoever has it from somebody they trust knows
//! that nothing was changed. How it is run is in `opened`.

use std::collections::{BTreeMap, BTreeSet};

use machine::{Arguments, Completion, Digest, Entry, Id, Kind, Outcome, Output, Promise};
use serde::{Deserialize, Serialize};

use super::Difference;

const MAGIC: &[u8; 8] = b"DURABLE\n";
const VERSION: u32 = 2;
const CHAIN_BYTES: usize = 32;

/// What a capsule says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The execution that it is about.
    pub root: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub exported_at_ms: u64,
    /// The version of the host that made it.
    pub host: String,
    /// The digests of its components.
    pub components: Vec<String>,
}

/// What executions were given from outside, beside their arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The ids of the executions. Each is in one of these.
    pub executions: Vec<String>,
    /// What they found in their environment, by name.
    pub variables: BTreeMap<String, GivenVariable>,
    /// What they could use, by the names of the limits: a limit that was passed is passed again.
    pub limits: BTreeMap<String, u64>,
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenVariable {
    /// Of the value and its salt, as the host knows it. The salt isn't known, so the value can't be guessed from it.
    pub digest: String,
    /// Of one that isn't secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// An execution and what is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capsule {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The components, as they were uploaded.
    pub components: Vec<Vec<u8>>,
    /// The executions: each with its journal and output.
    pub executions: Vec<(Promise, Vec<Entry>, Vec<Output>)>,
    /// The other promises.
    pub promises: Vec<Promise>,
    /// What the executions were given.
    pub given: Vec<Given>,
}

/// Why a file is no capsule, or not one to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum CapsuleError {
    /// Another file.
    #[error("this is not a capsule: it doesn't begin as one does")]
    Other,
    /// Of another version of the host.
    #[error("this capsule has version {0}, and this host reads version {VERSION}")]
    Version(u32),
    /// It is cut short, or something follows it.
    #[error("the capsule is not whole: {0}")]
    Broken(String),
    /// A section isn't what it was when the capsule was made.
    #[error("the capsule was tampered with: section {section} ({what}) doesn't fit the chain of hashes")]
    Chain {
        /// From 0.
        section: usize,
        /// What is in it.
        what: &'static str,
    },
    /// Its parts don't fit each other.
    #[error("the parts of the capsule don't fit: {0}")]
    Unfit(String),
    /// A component can't be run here.
    #[error("a component of the capsule can't be run: {0}")]
    Component(String),
    /// A component doesn't do what a journal has.
    #[error("{id:?} doesn't replay: {difference}{}", without(missing))]
    Differs {
        /// The execution.
        id: Id,
        /// Where it differs first.
        difference: Box<Difference>,
        /// The names of the secrets that stand-ins were taken for.
        missing: String,
    },
    /// A secret that none of its executions was given.
    #[error("the capsule has no secret {name:?}{}", only(known))]
    NoSecret {
        /// Which.
        name: String,
        /// The names of those that they were given.
        known: String,
    },
}

fn without(missing: &str) -> String {
    match missing {
        "" => String::new(),
        names => format!("\nit ran without its secrets, which a capsule doesn't have: give {names} with --secret"),
    }
}

fn only(known: &str) -> String {
    if known.is_empty() { String::new() } else { format!("; it has {known}") }
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        0 => "the end",
        1 => "the manifest",
        2 => "a component",
        3 => "an execution",
        4 => "a promise",
        5 => "what executions were given",
        _ => "of an unknown kind",
    }
}

fn chained(before: &Digest, kind: u8, content: &[u8]) -> Digest {
    let mut bytes = before.0.to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(content);
    Digest::of(&bytes)
}

impl Capsule {
    /// As a file, and the hash that stands for it.
    pub fn write(&self) -> (Vec<u8>, Digest) {
        let row = |value: Result<Vec<u8>, postcard::Error>| value.expect("our own types always encode");
        let manifest = serde_json::to_vec(&self.manifest).expect("a manifest is JSON");
        let mut sections = vec![(1, manifest)];
        sections.extend(self.components.iter().map(|wasm| (2, wasm.clone())));
        sections.extend(self.executions.iter().map(|execution| (3, row(postcard::to_allocvec(execution)))));
        sections.extend(self.promises.iter().map(|promise| (4, row(postcard::to_allocvec(promise)))));
        let json = |given: &Given| serde_json::to_vec(given).expect("texts and numbers are JSON");
        sections.extend(self.given.iter().map(|given| (5, json(given))));
        sections.push((0, Vec::new()));
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&VERSION.to_le_bytes());
        let mut chain = Digest::of(&file);
        for (kind, content) in sections {
            chain = chained(&chain, kind, &content);
            file.push(kind);
            file.extend_from_slice(&(content.len() as u64).to_le_bytes());
            file.extend_from_slice(&content);
            file.extend_from_slice(&chain.0);
        }
        (file, chain)
    }

    /// From a file, and the hash that stands for it. Nothing is run yet: see [`Opened`](super::Opened).
    pub fn read(file: &[u8]) -> Result<(Capsule, Digest), CapsuleError> {
        let short = || CapsuleError::Broken("it is cut short".into());
        let rest = file.strip_prefix(MAGIC).ok_or(CapsuleError::Other)?;
        let (version, mut rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(CapsuleError::Version(u32::from_le_bytes(*version)));
        }
        let mut chain = Digest::of(&file[..MAGIC.len() + 4]);
        let (mut manifest, mut components, mut executions) = (None, Vec::new(), Vec::new());
        let (mut promises, mut given) = (Vec::new(), Vec::new());
        for section in 0.. {
            let (kind, after) = rest.split_first().ok_or_else(short)?;
            let (length, after) = after.split_first_chunk::<8>().ok_or_else(short)?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
            let (content, after) = after.split_at_checked(length).ok_or_else(short)?;
            let (hash, after) = after.split_at_checked(CHAIN_BYTES).ok_or_else(short)?;
            chain = chained(&chain, *kind, content);
            if chain.0 != hash {
                return Err(CapsuleError::Chain { section, what: kind_name(*kind) });
            }
            rest = after;
            let bad = |error: &dyn std::fmt::Display| {
                CapsuleError::Unfit(format!("section {section} ({}) can't be read: {error}", kind_name(*kind)))
            };
            match *kind {
                0 => break,
                1 if manifest.is_none() => manifest = Some(serde_json::from_slice(content).map_err(|e| bad(&e))?),
                2 => components.push(content.to_vec()),
                3 => executions.push(postcard::from_bytes(content).map_err(|e| bad(&e))?),
                4 => promises.push(postcard::from_bytes(content).map_err(|e| bad(&e))?),
                5 => given.push(serde_json::from_slice(content).map_err(|e| bad(&e))?),
                _ => return Err(bad(&"there should be none")),
            }
        }
        if !rest.is_empty() {
            return Err(CapsuleError::Broken(format!("{} bytes follow its end", rest.len())));
        }
        let manifest = manifest.ok_or_else(|| CapsuleError::Unfit("there is no manifest".into()))?;
        let capsule = Capsule { manifest, components, executions, promises, given };
        capsule.check_parts()?;
        Ok((capsule, chain))
    }

    /// The names of the secrets that its executions were given.
    pub fn secrets(&self) -> BTreeSet<&str> {
        let variables = self.given.iter().flat_map(|given| &given.variables);
        variables.filter(|(_, variable)| variable.value.is_none()).map(|(name, _)| name.as_str()).collect()
    }

    /// What can be seen without running anything: that the parts are those that they name each other.
    fn check_parts(&self) -> Result<(), CapsuleError> {
        let unfit = |what: String| Err(CapsuleError::Unfit(what));
        let digests: BTreeSet<Digest> = self.components.iter().map(|wasm| Digest::of(wasm)).collect();
        let named: BTreeSet<&str> = self.manifest.components.iter().map(String::as_str).collect();
        if !digests.iter().map(Digest::to_string).eq(named.iter().map(|digest| (*digest).to_owned())) {
            return unfit("the manifest names other components than there are".into());
        }
        let promises: BTreeMap<&Id, &Promise> = self
            .executions
            .iter()
            .map(|(promise, ..)| promise)
            .chain(&self.promises)
            .map(|promise| (&promise.id, promise))
            .collect();
        if !promises.keys().any(|id| id.as_str() == self.manifest.root) {
            return unfit(format!("{:?} is not in it", self.manifest.root));
        }
        let given: BTreeSet<&str> = self.given.iter().flat_map(|given| &given.executions).map(String::as_str).collect();
        for (promise, entries, output) in &self.executions {
            let id = &promise.id;
            if !given.contains(id.as_str()) {
                return unfit(format!("it isn't said what {id:?} was given"));
            }
            let Some(execution) = &promise.execution else { return unfit(format!("{id:?} is no execution")) };
            if machine::Basis::of(entries).map(|basis| (basis.component, basis.seed))
                != Some((execution.component, execution.seed))
            {
                return unfit(format!("the journal of {id:?} is that of another component or seed"));
            }
            if entries.len() as u32 != execution.entries || output.len() as u32 != execution.outputs {
                return unfit(format!("the journal or the output of {id:?} has lost or gained something"));
            }
            for entry in entries {
                check_entry(id, entry, &promises).map_or(Ok(()), unfit)?;
            }
        }
        Ok(())
    }
}

/// What an entry says that the promise of its step doesn't.
fn check_entry(id: &Id, entry: &Entry, promises: &BTreeMap<&Id, &Promise>) -> Option<String> {
    let of_step = |step: u32| promises.get(&id.child(step).ok()?).copied();
    match entry {
        Entry::Asked { step, kind: Kind::Call { arguments, id: None, .. } } => {
            let promise = of_step(*step)?;
            (Arguments::of(&promise.param) != *arguments)
                .then(|| format!("{:?} was called with something else than {id:?} says", promise.id))
        }
        Entry::Told { step, completion: Completion::Settled(outcome), .. } => {
            let promise = of_step(*step)?;
            let is_other = promise.outcome.as_ref().is_some_and(|known: &Outcome| known != outcome);
            is_other.then(|| format!("{id:?} was told something else of step {step} than {:?} says", promise.id))
        }
        _ => None,
    }
}
