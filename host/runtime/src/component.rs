//! Components: checking, compiling and loading them, and asking what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use machine::{Digest, FunctionInfo, Id, Payload};
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, ComponentType, InstancePre, Lift};

use super::arena::Arena;
use super::drive::{Drive, Progress};
use super::engine::Slice;
use super::guest::{self, Guest};
use super::handler::{self, Handler};
use super::imports::random::Dice;
use super::output::Console;
use super::wire::{Ends, Wire};
use super::{Inner, RuntimeError, fault};

const FUNCTIONS: &str = "durable:functions/functions@1.0.0";
const MAX_FUNCTIONS: usize = 1000;
const MAX_NAME_BYTES: usize = 128;
/// What a description may be in all.
const MAX_DESCRIPTION_BYTES: usize = 4 << 20;
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a component can't be used, for whoever uploaded it.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// Over [`Limits::component_bytes`](super::Limits::component_bytes).
    #[error("the component has {bytes} bytes, more than the limit of {limit} bytes; raise it with --component-limit")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Some other file.
    #[error("this is not a WebAssembly component: it doesn't begin as WebAssembly does")]
    NotWasm,
    /// WebAssembly, but a module.
    #[error("this is a core WebAssembly module, not a component; build it with --target wasm32-wasip2")]
    CoreModule,
    /// It isn't valid, or can't be compiled.
    #[error("the component is not valid: {0}")]
    Invalid(String),
    /// It doesn't export `durable:functions/functions`, or not all of it.
    #[error(
        "the component doesn't export {missing}, so it holds no durable functions (nor a handler of wasi:http); it exports \
         {found}"
    )]
    NoFunctions {
        /// What was looked for.
        missing: String,
        /// What is there instead.
        found: String,
    },
    /// It imports what this host doesn't have.
    #[error("the component needs {import}, which this host doesn't offer: {reason}")]
    Import {
        /// The name of the import.
        import: String,
        /// What is missing in it.
        reason: String,
    },
    /// It needs more than one instance may have.
    #[error("the component can't be instantiated: {0}")]
    Instantiate(String),
    /// All instances are taken by running executions.
    #[error("the host is busy: no instance is free to describe the component in; try again")]
    Busy,
    /// `describe` failed.
    #[error("the component could not describe itself: {0}")]
    Describe(String),
    /// `describe` returned something that can't be.
    #[error("the component's description is not valid: {0}")]
    Description(String),
}

/// A component that can be installed.
pub struct Compiled {
    /// What it said about itself. Its time of installation is left 0.
    pub component: machine::Component,
    /// What [`Runtime::load`](super::Runtime::load) takes, as the contents of a file.
    pub artifact: Vec<u8>,
    /// The same, ready to run.
    pub program: Program,
}

/// A component that is ready to run. Clones share it.
#[derive(Clone)]
pub struct Program(Arc<Loaded>);

struct Loaded {
    main: Arc<Exports>,
    /// The same in other engines, by the sizes of their stacks.
    others: Mutex<BTreeMap<usize, Arc<Exports>>>,
}

/// A component in an engine.
pub(super) struct Exports {
    component: InstancePre<Guest>,
    entry: Entry,
}

/// What of a component is called.
enum Entry {
    /// `durable:functions/functions`.
    Functions { describe: ComponentExportIndex, invoke: ComponentExportIndex },
    /// The handler of `wasi:http`.
    Handler(Handler),
}

pub(super) type InvokeResult = Result<Vec<u8>, Vec<u8>>;

#[derive(ComponentType, Lift)]
#[component(record)]
struct DescribedParameter {
    name: String,
    schema: Option<String>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct DescribedFunction {
    name: String,
    doc: String,
    parameters: Vec<DescribedParameter>,
    output: Option<String>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct Description {
    name: String,
    version: String,
    functions: Vec<DescribedFunction>,
}

/// See [`Runtime::compile`](super::Runtime::compile).
pub(super) fn compile(runtime: &Inner, wasm: &[u8], mount: Option<&str>) -> Result<Compiled, ComponentError> {
    check_kind(wasm, runtime.limits.component_bytes)?;
    let invalid = |error: wasmtime::Error| ComponentError::Invalid(format!("{error:#}"));
    let arena = runtime.arenas.main();
    let artifact = arena.engine.precompile_component(wasm).map_err(invalid)?;
    // SAFETY: these bytes were made by this engine just now, and nobody else had them.
    let component = unsafe { Component::deserialize(&arena.engine, &artifact) }.map_err(invalid)?;
    let program = Program::new(arena, &component)?;
    let digest = Digest::of(wasm);
    let component = match &program.0.main.entry {
        Entry::Functions { .. } => {
            check_description(digest, describe(runtime, &program)?).map_err(ComponentError::Description)?
        }
        Entry::Handler(_) => {
            mount.map_or(Ok(()), check_mount).map_err(ComponentError::Description)?;
            handler::describe(digest, mount)
        }
    };
    Ok(Compiled { component, artifact, program })
}

/// See [`Runtime::load`](super::Runtime::load).
pub(super) fn load(runtime: &Inner, path: &Path) -> Result<Program, RuntimeError> {
    let failed = |reason: String| RuntimeError::Load { path: path.to_owned(), reason };
    let arena = runtime.arenas.main();
    // SAFETY: the caller vouches that the file is what `compile` made.
    let component = unsafe { Component::deserialize_file(&arena.engine, path) };
    let component = component.map_err(|error| failed(format!("{error:#}")))?;
    Program::new(arena, &component).map_err(|error| failed(error.to_string()))
}

/// Tells the usual mistakes apart before the compiler looks. Bytes 4 and 5 are a version, 6 and 7 tell components from
/// modules.
fn check_kind(wasm: &[u8], limit: usize) -> Result<(), ComponentError> {
    if wasm.len() > limit {
        return Err(ComponentError::TooLarge { bytes: wasm.len(), limit });
    }
    match wasm {
        [b'\0', b'a', b's', b'm', _, _, 0, 0, ..] => Err(ComponentError::CoreModule),
        [b'\0', b'a', b's', b'm', _, _, _, _, ..] => Ok(()),
        _ => Err(ComponentError::NotWasm),
    }
}

impl Program {
    fn new(arena: &Arena, component: &Component) -> Result<Program, ComponentError> {
        let main = Exports::new(arena, component)?;
        Ok(Program(Arc::new(Loaded { main: Arc::new(main), others: Mutex::default() })))
    }

    /// The same in an engine whose stacks are of this size.
    pub(super) fn within(&self, arena: &Arena) -> wasmtime::Result<Arc<Exports>> {
        let Program(loaded) = self;
        if arena.is_main {
            return Ok(loaded.main.clone());
        }
        let mut others = loaded.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.get(&arena.stack_bytes) {
            return Ok(known.clone());
        }
        let artifact = loaded.main.component.component().serialize()?;
        // SAFETY: these bytes are of a component that was deserialized, and nobody else had them.
        let component = unsafe { Component::deserialize(&arena.engine, &artifact) }?;
        let exports = Arc::new(Exports::new(arena, &component)?);
        others.insert(arena.stack_bytes, exports.clone());
        Ok(exports)
    }
}

impl Exports {
    fn new(arena: &Arena, component: &Component) -> Result<Exports, ComponentError> {
        let entry = exports(component)?;
        let component = arena.linker.instantiate_pre(component).map_err(import_error)?;
        Ok(Exports { component, entry })
    }

    /// The whole of an execution: instantiate, and call.
    pub(super) async fn invoke(
        self: Arc<Self>,
        mut store: Store<Guest>,
        function: String,
        arguments: Payload,
    ) -> wasmtime::Result<InvokeResult> {
        let result = self.call_invoke(&mut store, &function, &arguments).await;
        // Before the store is dropped, here and now.
        store.data().wire.lock().close();
        result
    }

    async fn call_invoke(
        &self,
        store: &mut Store<Guest>,
        function: &str,
        arguments: &[u8],
    ) -> wasmtime::Result<InvokeResult> {
        let instance = self.component.instantiate_async(&mut *store).await?;
        let invoke = match &self.entry {
            Entry::Functions { invoke, .. } => invoke,
            Entry::Handler(handler) => return handler::answer(store, &instance, *handler, arguments).await,
        };
        let invoke = instance.get_typed_func::<(&str, &[u8]), (InvokeResult,)>(&mut *store, invoke)?;
        let (result,) = invoke.call_async(&mut *store, (function, arguments)).await?;
        Ok(result)
    }
}

/// Finds what a component exports that can be called.
fn exports(component: &Component) -> Result<Entry, ComponentError> {
    let missing = |missing: String| {
        let ty = component.component_type();
        let found: Vec<_> = ty.exports(component.engine()).map(|(name, _)| format!("`{name}`")).collect();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        ComponentError::NoFunctions { missing, found }
    };
    let Some(interface) = component.get_export_index(None, FUNCTIONS) else {
        return handler::find(component).map(Entry::Handler).ok_or_else(|| missing(format!("`{FUNCTIONS}`")));
    };
    let function = |name: &str| {
        let what = || format!("the function `{name}` of `{FUNCTIONS}`");
        match component.get_export(Some(&interface), name) {
            Some((ComponentItem::ComponentFunc(_), index)) => Ok(index),
            _ => Err(missing(what())),
        }
    };
    Ok(Entry::Functions { describe: function("describe")?, invoke: function("invoke")? })
}

/// The linker's error is a chain: the import, and then, deeper and deeper, what was wrong in it.
fn import_error(error: wasmtime::Error) -> ComponentError {
    let mut chain = error.chain().map(|cause| cause.to_string());
    let import = chain.next().and_then(|text| Some(format!("`{}`", text.split('`').nth(1)?)));
    let reason: Vec<_> = chain.collect();
    match import {
        Some(import) => ComponentError::Import { import, reason: reason.join(": ") },
        None => ComponentError::Invalid(format!("{error:#}")),
    }
}

/// Runs `describe`, with the bounds of any guest and without any step.
fn describe(runtime: &Inner, program: &Program) -> Result<Description, ComponentError> {
    let limits = runtime.limits.clone();
    let id = Id::root("describe").expect("it is a valid id");
    let arena = runtime.arenas.main();
    let slice = Slice::new(arena.pulse.clone(), limits.cpu_ms);
    // Nobody reads what it writes.
    let console = Console::new(&limits, "describe", &Arc::default(), u32::MAX);
    let mut ends = Ends::new(id, limits.clone(), 0, console, Dice::new(0), slice);
    ends.describing = true;
    let wire = Wire::new(ends);
    let mut store = guest::store(&arena.engine, &wire, &limits);
    store.set_hostcall_fuel(MAX_DESCRIPTION_BYTES);
    let exports = program.0.main.clone();
    let call = async move {
        let instance = match exports.component.instantiate_async(&mut store).await {
            Ok(instance) => instance,
            Err(error) => return Ok(Err(instantiate_error(error, &store))),
        };
        // Checked here once, so that what is installed is known to have the right types.
        let Entry::Functions { describe, invoke } = &exports.entry else {
            wasmtime::bail!("it is no component of functions")
        };
        instance.get_typed_func::<(&str, &[u8]), (InvokeResult,)>(&mut store, invoke)?;
        let describe = instance.get_typed_func::<(), (Description,)>(&mut store, describe)?;
        Ok(Ok(describe.call_async(&mut store, ()).await?.0))
    };
    let mut drive = Drive::new(&wire, Box::pin(call));
    let began = Instant::now();
    loop {
        match drive.run(&wire) {
            Progress::Yielded if began.elapsed() < DESCRIBE_TIMEOUT => {}
            Progress::Yielded => {
                return Err(ComponentError::Describe(format!("it took more than {} s", DESCRIBE_TIMEOUT.as_secs())));
            }
            Progress::Resting => return Err(ComponentError::Describe(fault::waits_for_nothing("describe"))),
            Progress::Done(Ok(result)) => return result,
            Progress::Done(Err(error)) => {
                return Err(ComponentError::Describe(fault::explain(&error, "describe", &wire.lock())));
            }
        }
    }
}

/// Why a first instance could not be made: too few resources, or code that runs at the start and failed.
fn instantiate_error(error: wasmtime::Error, store: &Store<Guest>) -> ComponentError {
    if fault::is_shortage(&error) {
        return ComponentError::Busy;
    }
    if error.is::<wasmtime::WasmBacktrace>() {
        return ComponentError::Describe(fault::explain(&error, "start", &store.data().wire.lock()));
    }
    ComponentError::Instantiate(format!("{error:#}"))
}

fn check_description(digest: Digest, description: Description) -> Result<machine::Component, String> {
    check_name("the name of the component", &description.name)?;
    if description.version.len() > MAX_NAME_BYTES {
        return Err(format!("the version of the component has more than {MAX_NAME_BYTES} bytes"));
    }
    if description.functions.is_empty() {
        return Err("it has no functions".into());
    }
    if description.functions.len() > MAX_FUNCTIONS {
        return Err(format!("it has {} functions, more than {MAX_FUNCTIONS}", description.functions.len()));
    }
    let mut names = BTreeSet::new();
    for function in &description.functions {
        check_name("the name of a function", &function.name)?;
        if !names.insert(function.name.as_str()) {
            return Err(format!("it has two functions named {:?}", function.name));
        }
        for parameter in &function.parameters {
            let what = || format!("parameter {:?} of {:?}", parameter.name, function.name);
            check_schema(what, parameter.schema.as_deref())?;
        }
        check_schema(|| format!("the result of {:?}", function.name), function.output.as_deref())?;
    }
    let functions = description.functions.into_iter().map(FunctionInfo::from).collect();
    Ok(machine::Component { digest, name: description.name, version: description.version, functions, installed_at: 0 })
}

/// A handler is called by the name of its place in an address.
fn check_mount(mount: &str) -> Result<(), String> {
    check_name("the name to mount it at", mount)?;
    match mount.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        Some(c) => Err(format!("a component can't be mounted at a name with {c:?}: {mount:?}")),
        None => Ok(()),
    }
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("{what} has {} bytes, more than {MAX_NAME_BYTES}: {name:.40}...", name.len()));
    }
    match name.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("{what} contains {c:?}: {name:?}")),
        None => Ok(()),
    }
}

fn check_schema(what: impl Fn() -> String, schema: Option<&str>) -> Result<(), String> {
    let Some(schema) = schema else { return Ok(()) };
    match serde_json::from_str::<serde_json::Value>(schema) {
        Ok(serde_json::Value::Object(_) | serde_json::Value::Bool(_)) => Ok(()),
        Ok(_) => Err(format!("the schema of {} is neither an object nor a boolean", what())),
        Err(error) => Err(format!("the schema of {} is not JSON: {error}", what())),
    }
}

impl From<DescribedFunction> for FunctionInfo {
    fn from(function: DescribedFunction) -> FunctionInfo {
        let parameter =
            |parameter: DescribedParameter| machine::Parameter { name: parameter.name, schema: parameter.schema };
        FunctionInfo {
            name: function.name,
            doc: function.doc,
            parameters: function.parameters.into_iter().map(parameter).collect(),
            output: function.output,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(names: &[&str]) -> Description {
        let function = |name: &&str| DescribedFunction {
            name: (*name).into(),
            doc: String::new(),
            parameters: vec![DescribedParameter { name: "x".into(), schema: Some("{}".into()) }],
            output: None,
        };
        Description { name: "a".into(), version: "1".into(), functions: names.iter().map(function).collect() }
    }

    fn refused(description: Description) -> String {
        check_description(Digest([0; 32]), description).expect_err("it should be refused")
    }

    #[test]
    fn other_files_are_told_apart() {
        let kind = |wasm: &[u8]| check_kind(wasm, 20);
        assert!(kind(b"\0asm\x0d\0\x01\0").is_ok());
        assert!(matches!(kind(b"\0asm\x01\0\0\0"), Err(ComponentError::CoreModule)));
        assert!(matches!(kind(b"#!/bin/sh"), Err(ComponentError::NotWasm)));
        assert!(matches!(kind(b""), Err(ComponentError::NotWasm)));
        assert!(matches!(kind(&[0; 21]), Err(ComponentError::TooLarge { bytes: 21, limit: 20 })));
    }

    #[test]
    fn a_description_is_checked() {
        let component = check_description(Digest([0; 32]), description(&["a", "b"])).expect("it is valid");
        assert!(component.exports("b") && component.installed_at == 0);
        assert_eq!(refused(description(&[])), "it has no functions");
        assert_eq!(refused(description(&["a", "a"])), "it has two functions named \"a\"");
        assert_eq!(refused(description(&[""])), "the name of a function is empty");
        assert!(refused(description(&["a\nb"])).contains("contains"));
        assert!(refused(description(&["x".repeat(129).as_str()])).contains("has 129 bytes"));
        let many: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(refused(description(&many)), "it has 1001 functions, more than 1000");
    }

    #[test]
    fn schemas_are_json() {
        let mut bad = description(&["f"]);
        bad.functions[0].parameters[0].schema = Some("{".into());
        assert!(refused(bad).starts_with("the schema of parameter \"x\" of \"f\" is not JSON"));
        let mut bad = description(&["f"]);
        bad.functions[0].output = Some("1".into());
        assert_eq!(refused(bad), "the schema of the result of \"f\" is neither an object nor a boolean");
    }
}
