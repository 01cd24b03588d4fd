//! `durable:functions/durable`: the steps of an execution.
//!
//! Each function here turns what the guest gave into an [`Ask`], and the answer back into what the guest gets. Whether
//! an id is allowed or a function exists is decided by whoever answers. Only what could not be written down is stopped
//! here: what is too large, and steps that have no id.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use machine::{Ask, CallOptions, Completion, Outcome, Payload};
use wasmtime::component::{Accessor, ComponentType, Lift, Linker, LinkerInstance, Lower, WasmList, WasmStr};
use wasmtime::{AsContext, StoreContextMut, WasmBacktrace};

use crate::fault::{self, Stop};
use crate::guest::Guest;
use crate::wire::{Wait, Wire};

const INTERFACE: &str = "durable:functions/durable@1.0.0";
/// The longest name of a function or step, and the longest id or address.
const MAX_NAME_BYTES: usize = 1024;

/// Why something that was awaited has no result.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum Failure {
    #[component(name = "rejected")]
    Rejected(Vec<u8>),
    #[component(name = "canceled")]
    Canceled,
    #[component(name = "timed-out")]
    TimedOut,
    #[component(name = "crashed")]
    Crashed(String),
    #[component(name = "refused")]
    Refused(String),
}

/// An outcome where the guest put it, not yet copied.
#[derive(ComponentType, Lift)]
#[component(variant)]
enum GivenOutcome {
    #[component(name = "resolved")]
    Resolved(WasmList<u8>),
    #[component(name = "rejected")]
    Rejected(WasmList<u8>),
    #[component(name = "canceled")]
    Canceled,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct GivenOptions {
    id: Option<WasmStr>,
    #[component(name = "timeout-ms")]
    timeout_ms: Option<u64>,
    target: Option<WasmStr>,
}

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "they are made from the number that a guest gives")]
enum GivenLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

type Given<T> = Pin<Box<dyn Future<Output = wasmtime::Result<(T,)>> + Send>>;

/// Adds the interface.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut durable = linker.instance(INTERFACE)?;
    add_awaited(&mut durable)?;
    add_immediate(&mut durable)
}

/// The functions that complete when they are answered.
fn add_awaited(durable: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    durable.func_wrap_concurrent(
        "call",
        |guest, (function, arguments, options): (WasmStr, WasmList<u8>, GivenOptions)| {
            let wait = ask(guest, "call", |read| read.call(&function, &arguments, &options, false));
            settled(wait)
        },
    )?;
    durable.func_wrap_concurrent("await-promise", |guest, (id,): (WasmStr,)| {
        let wait = ask(guest, "await-promise", |read| Ok(Ask::AwaitPromise { id: read.name("an id", &id)? }));
        settled(wait)
    })?;
    durable.func_wrap_concurrent("sleep", |guest, (until_ms,): (u64,)| {
        let wait = ask(guest, "sleep", |_| Ok(Ask::Sleep { until_ms }));
        Box::pin(async move {
            wait?.await;
            Ok(())
        })
    })?;
    durable.func_wrap_concurrent("settle-promise", |guest, (id, outcome): (WasmStr, GivenOutcome)| {
        let wait = ask(guest, "settle-promise", |read| {
            Ok(Ask::SettlePromise { id: read.name("an id", &id)?, outcome: read.outcome(&outcome)? })
        });
        let done: Given<Result<(), String>> = Box::pin(async move { Ok((done(wait?.await),)) });
        done
    })
}

/// The functions that return at once, and are never answered.
fn add_immediate(durable: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    durable.func_wrap(
        "spawn",
        |guest: StoreContextMut<'_, Guest>, (function, arguments, options): (WasmStr, WasmList<u8>, GivenOptions)| {
            let read = Read::new(&guest, "spawn")?;
            let ask = read.call(&function, &arguments, &options, true)?;
            read.mark();
            let mut ends = read.wire.lock();
            let id = match &ask {
                Ask::Call { options, .. } => ends.call_id(options)?,
                _ => ends.next_id()?,
            };
            ends.begin(ask)?;
            Ok((id.to_string(),))
        },
    )?;
    durable.func_wrap("create-promise", |guest: StoreContextMut<'_, Guest>, (timeout_ms,): (Option<u64>,)| {
        let read = Read::new(&guest, "create-promise")?;
        read.mark();
        let mut ends = read.wire.lock();
        let id = ends.next_id()?;
        ends.begin(Ask::CreatePromise { timeout_ms })?;
        Ok((id.to_string(),))
    })?;
    durable.func_wrap("start-step", |guest: StoreContextMut<'_, Guest>, (name,): (WasmStr,)| {
        let read = Read::new(&guest, "start-step")?;
        let name = read.name("the name of a step", &name)?;
        read.mark();
        Ok((read.wire.lock().begin(Ask::Step { name })?,))
    })?;
    durable.func_wrap("finish-step", |guest: StoreContextMut<'_, Guest>, (step, outcome): (u32, GivenOutcome)| {
        let read = Read::new(&guest, "finish-step")?;
        let outcome = read.outcome(&outcome)?;
        read.mark();
        Ok(read.wire.lock().record(step, outcome)?)
    })?;
    durable.func_wrap("log", |guest: StoreContextMut<'_, Guest>, (level, message): (GivenLevel, WasmStr)| {
        let message = message.to_str(guest.as_context())?;
        let mut ends = guest.data().wire.lock();
        let now_ms = ends.now_ms();
        ends.console.log(level.into(), &message, now_ms);
        Ok(())
    })
}

/// Asks for a step that will be answered.
fn ask(
    guest: &Accessor<Guest>,
    import: &'static str,
    make: impl FnOnce(&Read<'_>) -> wasmtime::Result<Ask>,
) -> wasmtime::Result<Wait> {
    guest.with(|access| {
        let read = Read::new(&access, import)?;
        let ask = make(&read)?;
        read.mark();
        Ok(read.wire.ask(ask)?)
    })
}

/// The answer to what is awaited.
fn settled(wait: wasmtime::Result<Wait>) -> Given<Result<Vec<u8>, Failure>> {
    Box::pin(async move {
        Ok((match wait?.await {
            Completion::Settled(Outcome::Resolved(payload)) => Ok(payload.into()),
            Completion::Settled(Outcome::Rejected(payload)) => Err(Failure::Rejected(payload.into())),
            Completion::Settled(Outcome::Canceled) => Err(Failure::Canceled),
            Completion::Settled(Outcome::TimedOut) => Err(Failure::TimedOut),
            Completion::Settled(Outcome::Crashed(text)) => Err(Failure::Crashed(text)),
            Completion::Refused(reason) => Err(Failure::Refused(reason)),
            Completion::Done => Err(Failure::Refused("the host answered without an outcome".into())),
        },))
    })
}

/// The answer to what is only done or not.
fn done(completion: Completion) -> Result<(), String> {
    match completion {
        Completion::Done => Ok(()),
        Completion::Refused(reason) => Err(reason),
        Completion::Settled(outcome) => Err(format!("it was settled before: {}", outcome.state().as_str())),
    }
}

/// Copies what a guest gave out of its memory, if it isn't too large.
struct Read<'a> {
    store: wasmtime::StoreContext<'a, Guest>,
    wire: Arc<Wire>,
    payload_limit: usize,
}

impl<'a> Read<'a> {
    fn new(store: &'a impl AsContext<Data = Guest>, import: &'static str) -> Result<Read<'a>, Stop> {
        let store = store.as_context();
        let wire = store.data().wire.clone();
        let ends = wire.lock();
        if ends.describing {
            return Err(Stop::Describing { import });
        }
        let payload_limit = ends.limits.payload_bytes;
        drop(ends);
        Ok(Read { store, wire, payload_limit })
    }

    /// The guest is about to do something: where it does, if somebody wants to know.
    fn mark(&self) {
        if self.wire.lock().trace.is_wanted() {
            let stack = fault::stack(&WasmBacktrace::force_capture(self.store.as_context()));
            self.wire.lock().trace.mark(stack);
        }
    }

    fn name(&self, what: &'static str, name: &WasmStr) -> wasmtime::Result<String> {
        let name = name.to_str(self.store.as_context())?;
        if name.len() > MAX_NAME_BYTES {
            return Err(Stop::Name { what, bytes: name.len(), limit: MAX_NAME_BYTES }.into());
        }
        Ok(name.into_owned())
    }

    fn payload(&self, what: impl FnOnce() -> String, payload: &WasmList<u8>) -> Result<Payload, Stop> {
        let (bytes, limit) = (payload.len(), self.payload_limit);
        if bytes > limit {
            return Err(Stop::Payload { what: what(), bytes, limit });
        }
        Ok(Payload::copy_from_slice(payload.as_le_slice(self.store.as_context())))
    }

    fn outcome(&self, outcome: &GivenOutcome) -> Result<Outcome, Stop> {
        let what = || "the outcome of a step or promise".to_owned();
        Ok(match outcome {
            GivenOutcome::Resolved(payload) => Outcome::Resolved(self.payload(what, payload)?),
            GivenOutcome::Rejected(payload) => Outcome::Rejected(self.payload(what, payload)?),
            GivenOutcome::Canceled => Outcome::Canceled,
        })
    }

    fn call(
        &self,
        function: &WasmStr,
        arguments: &WasmList<u8>,
        options: &GivenOptions,
        detached: bool,
    ) -> wasmtime::Result<Ask> {
        let function = self.name("the name of a function", function)?;
        let arguments = self.payload(|| format!("the argument list of a call of {function:?}"), arguments)?;
        let name = |what, name: &Option<WasmStr>| name.as_ref().map(|name| self.name(what, name)).transpose();
        let options = CallOptions {
            id: name("an id", &options.id)?,
            timeout_ms: options.timeout_ms,
            target: name("an address", &options.target)?,
        };
        Ok(Ask::Call { function, arguments, options, detached })
    }
}

impl From<GivenLevel> for machine::Level {
    fn from(level: GivenLevel) -> machine::Level {
        match level {
            GivenLevel::Trace => machine::Level::Trace,
            GivenLevel::Debug => machine::Level::Debug,
            GivenLevel::Info => machine::Level::Info,
            GivenLevel::Warn => machine::Level::Warn,
            GivenLevel::Error => machine::Level::Error,
        }
    }
}
