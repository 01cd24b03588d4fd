//! Runs guests: WebAssembly components of durable functions.
//!
//! A [`Runtime`] compiles a component, loads the result and starts [`Session`]s on it. A session is one execution of
//! one function, and nothing but messages: what the guest asked comes out of [`Session::poll`] as events, and what it
//! is told goes in through [`Session::tell`]. The same sequence of messages gives the same run, byte for byte, because
//! a guest has no other way to learn anything:
//!
//! - Time is the time of the last message that it was told; randomness is drawn from a seed. Neither moves by itself.
//! - No answer is ready at once. An import that is journaled always pends first, and is completed by a `tell`.
//! - `tell` completes exactly one import, and the guest runs until it rests before it is told anything else.
//! - Nothing outside wakes a guest. There is no timer, socket or task of another runtime in its store.
//!
//! Everything that a guest can make grow is bounded by [`Limits`]. A guest that passes a limit, traps or panics ends
//! with [`machine::Outcome::Crashed`] and a text for its author; it never takes anything else down.
//!
//! The module knows the words of `machine`. It knows no store, log or HTTP, and not when sessions run or which: whoever
//! owns a session polls it, decides what to tell it, and drops it to evict it.

mod answer;
mod arena;
mod component;
mod drive;
mod engine;
mod environment;
mod fault;
mod guest;
mod handler;
mod imports;
mod output;
mod session;
mod trace;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use answer::{Answer, Trouble, TroubleKind};
pub use component::{Compiled, ComponentError, Program};
pub use environment::Environment;
pub use handler::Incoming;
use machine::{Config, Limit};
pub use session::{Session, Setting, Start, Status, Turn};
pub use trace::{Stack, Wanted};

use arena::Arenas;

/// What one guest may use, and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The linear memory of one session.
    pub memory_bytes: usize,
    /// The native stack of one session. A Rust guest has another one inside its memory, which its linker sizes.
    pub stack_bytes: usize,
    /// The entries of each table of one session.
    pub table_elements: usize,
    /// How long a guest may compute before it waits for something.
    pub cpu_ms: u64,
    /// What one execution may write to its standard output, standard error and log. A line counts 16 bytes more than
    /// its text.
    pub output_bytes: usize,
    /// An argument, a result or an outcome that a guest gives.
    pub payload_bytes: usize,
    /// A component, as uploaded.
    pub component_bytes: usize,
    /// The steps of one execution that have begun and not ended.
    pub pending_steps: usize,
    /// The sessions that can be alive at a time. Address space is set aside for each.
    pub sessions: u32,
    /// The limits that are lower than the host's, because the function's own configuration says so.
    pub own: Vec<Limit>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 128 << 20,
            stack_bytes: 1 << 20,
            table_elements: 20_000,
            cpu_ms: 10_000,
            output_bytes: 1 << 20,
            payload_bytes: 1 << 20,
            component_bytes: 64 << 20,
            pending_steps: 20_000,
            sessions: 1_000,
            own: Vec::new(),
        }
    }
}

impl Limits {
    /// These limits as the configuration of a host has them.
    pub fn config(&self) -> Config {
        let limits = [
            (Limit::Cpu, self.cpu_ms),
            (Limit::Memory, self.memory_bytes as u64),
            (Limit::Tables, self.table_elements as u64),
            (Limit::Output, self.output_bytes as u64),
            (Limit::Payload, self.payload_bytes as u64),
            (Limit::PendingSteps, self.pending_steps as u64),
            (Limit::Stack, self.stack_bytes as u64),
        ];
        Config { limits: limits.into(), ..Config::default() }
    }

    /// The limits of an execution with this configuration, on a host with that one.
    pub fn of(&self, config: &Config, host: &Config) -> Limits {
        let value = |limit, default| config.limits.get(&limit).map_or(default, |value| *value as usize);
        let is_own = |limit: &Limit| match (config.limits.get(limit), host.limits.get(limit)) {
            (Some(own), Some(host)) => own < host,
            (own, _) => own.is_some(),
        };
        Limits {
            cpu_ms: config.limits.get(&Limit::Cpu).copied().unwrap_or(self.cpu_ms),
            memory_bytes: value(Limit::Memory, self.memory_bytes),
            stack_bytes: arena::stack_bytes(value(Limit::Stack, self.stack_bytes), self.stack_bytes),
            table_elements: value(Limit::Tables, self.table_elements),
            output_bytes: value(Limit::Output, self.output_bytes),
            payload_bytes: value(Limit::Payload, self.payload_bytes),
            pending_steps: value(Limit::PendingSteps, self.pending_steps),
            own: Limit::ALL.into_iter().filter(is_own).collect(),
            ..*self
        }
    }

    /// How a limit is raised, for whoever owns a function.
    fn advice(&self, limit: Limit, function: &str) -> String {
        limit.advice(self.own.contains(&limit), function)
    }
}

/// Why the runtime itself can't go on. Unlike a crash of a guest, this is for the operator of the host.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The engine refused its configuration, or the address space for its sessions.
    #[error("the WebAssembly engine can't be set up: {0}")]
    Setup(String),
    /// A compiled component is missing, or was made by another version or configuration. Compile it again.
    #[error("the compiled component {path} can't be loaded: {reason}", path = path.display())]
    Load {
        /// Where it was looked for.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
}

/// Where guests run. Clones share it.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    arenas: Arenas,
    limits: Arc<Limits>,
}

impl Runtime {
    /// Sets aside the address space for all sessions, and starts the thread that bounds their time slices.
    pub fn new(limits: Limits) -> Result<Runtime, RuntimeError> {
        let limits = Arc::new(limits);
        Ok(Runtime(Arc::new(Inner { arenas: Arenas::new(&limits)?, limits })))
    }

    /// Checks a component, compiles it and asks it to describe itself. One that answers requests over HTTP can't; it gets
    /// the name `mount`. It takes up to seconds of all cores: call it
    /// where blocking is fine.
    pub fn compile(&self, wasm: &[u8], mount: Option<&str>) -> Result<Compiled, ComponentError> {
        component::compile(&self.0, wasm, mount)
    }

    /// Maps a component that [`compile`](Runtime::compile) made.
    ///
    /// The file is native code, and is trusted: the caller vouches that it is, byte for byte, what this host wrote.
    pub fn load(&self, artifact: &Path) -> Result<Program, RuntimeError> {
        component::load(&self.0, artifact)
    }

    /// Begins an execution, or begins it again. Nothing runs before the first poll.
    pub fn start(&self, program: &Program, start: Start) -> Session {
        Session::new(&self.0, program, start)
    }

    /// What a guest is given that nothing is configured for.
    pub fn setting(&self) -> Setting {
        Setting { limits: self.0.limits.clone(), environment: Arc::default() }
    }

    /// What each guest may use, unless its configuration says less.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.0.limits
    }
}
