//! What it means that a guest failed, in words for its author.

use std::fmt::{self, Write as _};
use std::path::Path;

use machine::{IdError, Limit, Outcome};
use wasmtime::{FrameInfo, FrameSymbol, PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::Limits;
use super::wire::Ends;

/// Frames of a crash that are shown.
const SHOWN_FRAMES: usize = 10;
/// In the place of the frames beyond those.
const MORE: &str = "...";
/// The longest text of a crash.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// What the Rust bindings say when a guest awaits something and has nothing outstanding.
const BINDINGS_DEADLOCK: &str = "Rust task cannot sleep waiting only on Rust-originating events";

/// Of the stack that a program has in its memory, beside the one that the host gives it.
const OWN_STACK: &str =
    "a component's own stack is as large as its linker makes it (in Rust 1 MiB, or -C link-arg=-zstack-size=N)";

/// Why the host stopped a guest.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("{what} has {bytes} bytes, more than the limit of {limit} bytes")]
    Payload { what: String, bytes: usize, limit: usize },
    #[error("{what} has {bytes} bytes, and can't have more than {limit}")]
    Name { what: &'static str, bytes: usize, limit: usize },
    #[error("it waits for more than {limit} steps at once")]
    TooManyPending { limit: usize },
    #[error("it has asked for more steps than can be numbered")]
    TooManySteps,
    #[error("it used more than {limit_ms} ms of CPU without waiting")]
    Cpu { limit_ms: u64 },
    #[error(transparent)]
    Id(#[from] IdError),
    #[error("`finish-step` was called for {step}, which is not a step that `start-step` began and nobody finished")]
    NoSuchStep { step: u32 },
    #[error("`{import}` was called while the component described itself; `describe` can't use the host's functions")]
    Describing { import: &'static str },
    #[error(
        "the bodies that it has written and not sent have {bytes} bytes, more than its memory may have, {limit} bytes"
    )]
    Unsent { bytes: usize, limit: usize },
    #[error("it asked for {bytes} random bytes at once, more than {limit}")]
    Random { bytes: u64, limit: u64 },
}

impl Stop {
    /// The limit that was passed, if there is one that can be raised.
    fn limit(&self) -> Option<Limit> {
        match self {
            Stop::Payload { .. } => Some(Limit::Payload),
            Stop::TooManyPending { .. } => Some(Limit::PendingSteps),
            Stop::Cpu { .. } => Some(Limit::Cpu),
            Stop::Unsent { .. } => Some(Limit::Memory),
            _ => None,
        }
    }

    fn explain(&self, limits: &Limits, function: &str) -> String {
        match self.limit() {
            Some(limit) => format!("{self}; {}", limits.advice(limit, function)),
            None => self.to_string(),
        }
    }
}

/// Whether the host had no room: no free instance in the pool, or no memory from the kernel. It says nothing about the
/// guest, which would run another time.
pub(super) fn is_shortage(error: &wasmtime::Error) -> bool {
    // The kernel's ENOMEM has no type that is known here.
    error.is::<PoolConcurrencyLimitError>() || error.root_cause().to_string().contains("(os error 12)")
}

/// The outcome of a function that returned.
pub(super) fn check_result(result: Result<Vec<u8>, Vec<u8>>, function: &str, limits: &Limits) -> Outcome {
    let (Ok(payload) | Err(payload)) = &result;
    if payload.len() > limits.payload_bytes {
        let what = if result.is_ok() { "the result" } else { "the error" };
        let stop = Stop::Payload { what: what.into(), bytes: payload.len(), limit: limits.payload_bytes };
        return Outcome::Crashed(format!("{}\n  in the function {function:?}", stop.explain(limits, function)));
    }
    match result {
        Ok(payload) => Outcome::Resolved(payload.into()),
        Err(payload) => Outcome::Rejected(payload.into()),
    }
}

/// A guest that rests, when nothing that it waits for can ever come.
pub(super) fn waits_for_nothing(function: &str) -> String {
    format!(
        "it waits for nothing: everything that it asked for has been answered, and it neither returned nor asked for \
         more\n  in the function {function:?}"
    )
}

/// What happened, in which function, and where.
pub(super) fn explain(error: &wasmtime::Error, function: &str, ends: &Ends) -> String {
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    let is_deadlock = matches!(error.downcast_ref(), Some(Trap::AsyncDeadlock));
    if is_deadlock || last_words(error, ends).contains(BINDINGS_DEADLOCK) {
        return waits_for_nothing(function);
    }
    let mut text = what(error, frames, function, ends);
    let _ = write!(text, "\n  in the function {function:?}");
    for place in shown(frames) {
        let _ = write!(text, "\n  {}{place}", if place == MORE { "" } else { "at " });
    }
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push_str("...");
    }
    text
}

/// Where a guest is, innermost first: functions, files and lines.
pub(super) fn stack(backtrace: &WasmBacktrace) -> Vec<String> {
    shown(backtrace.frames())
}

fn shown(frames: &[FrameInfo]) -> Vec<String> {
    let places: Vec<Place> = frames.iter().flat_map(places).collect();
    let own: Vec<&Place> = places.iter().filter(|place| !place.is_noise()).collect();
    // Where all is noise, some noise is better than nothing.
    let shown = if own.is_empty() { places.iter().collect() } else { own };
    let mut texts: Vec<String> = shown.iter().take(SHOWN_FRAMES).map(ToString::to_string).collect();
    if shown.len() > SHOWN_FRAMES {
        texts.push(MORE.into());
    }
    texts
}

/// What the guest said before it aborted, if that is how it ended.
fn last_words<'a>(error: &wasmtime::Error, ends: &'a Ends) -> &'a str {
    match error.downcast_ref() {
        Some(Trap::UnreachableCodeReached) => ends.console.last_words(),
        _ => "",
    }
}

fn what(error: &wasmtime::Error, frames: &[FrameInfo], function: &str, ends: &Ends) -> String {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return stop.explain(&ends.limits, function);
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return format!("it ended its process, with status {status}, instead of returning");
    }
    let limit = ends.limits.memory_bytes;
    let advice = ends.limits.advice(Limit::Memory, function);
    let memory = format!("the memory limit of {limit} bytes is reached; {advice}");
    let words = last_words(error, ends);
    if let Some(failed) = words.strip_prefix("memory allocation of ").and(words.lines().next()) {
        return if ends.refused_bytes.is_some() { format!("{failed}: {memory}") } else { failed.to_owned() };
    }
    if let Some((_, panic)) = words.split_once("panicked at ") {
        let (panic, _) = panic.split_once("\nnote: run with `RUST_BACKTRACE").unwrap_or((panic, ""));
        // The place ends in a colon, and what it says follows on a line of its own.
        let (place, message) = panic.split_once(":\n").unwrap_or((panic, ""));
        let message = message.trim_end();
        return if message.is_empty() {
            format!("panicked at {}", place.trim_end())
        } else {
            format!("panicked at {place}: {message}")
        };
    }
    let text = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => format!(
            "the stack overflowed (deep recursion): its limit of {} bytes is reached; {}",
            ends.limits.stack_bytes,
            ends.limits.advice(Limit::Stack, function)
        ),
        // The stack that Rust keeps in a guest's memory grows down, and out of it.
        Some(Trap::MemoryOutOfBounds) if recurses(frames) => {
            format!("out of bounds memory access: most likely the stack overflowed (deep recursion); {OWN_STACK}")
        }
        Some(Trap::MemoryOutOfBounds) => {
            format!(
                "out of bounds memory access: a bug in unsafe code, or a stack overflow (deep recursion, large values on \
                 the stack); {OWN_STACK}"
            )
        }
        Some(Trap::UnreachableCodeReached) => "it aborted (an `unreachable` instruction)".to_owned(),
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    match ends.refused_bytes {
        Some(_) => format!("{text}; before that, {memory}"),
        None => text,
    }
}

/// Whether one function is on the stack again and again.
fn recurses(frames: &[FrameInfo]) -> bool {
    let again = |frame: &FrameInfo| frames.iter().filter(|other| other.func_index() == frame.func_index()).count() > 4;
    frames.iter().take(8).any(again)
}

/// A function that was running, and where in it.
struct Place {
    function: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
}

/// A frame as the functions that were inlined in it, innermost first.
fn places(frame: &FrameInfo) -> Vec<Place> {
    let demangled = |name: &str| format!("{:#}", rustc_demangle::demangle(name));
    let whole = frame.func_name().map(demangled);
    if frame.symbols().is_empty() {
        return vec![Place { function: whole, file: None, line: None, column: None }];
    }
    let last = frame.symbols().len() - 1;
    let place = |(index, symbol): (usize, &FrameSymbol)| Place {
        // The name section says in which crate and module the outermost is. Debug information often doesn't.
        function: if index == last { whole.clone() } else { None }.or_else(|| symbol.name().map(demangled)),
        file: symbol.file().map(str::to_owned),
        line: symbol.line(),
        column: symbol.column(),
    };
    frame.symbols().iter().enumerate().map(place).collect()
}

impl Place {
    /// Whether it is the language's or the bindings' own, and says nothing to the guest's author.
    fn is_noise(&self) -> bool {
        const CRATES: [&str; 8] = [
            "std::",
            "core::",
            "alloc::",
            "wit_bindgen::",
            "futures_util::",
            "futures_core::",
            "dlmalloc::",
            "guest_sdk::",
        ];
        const FUNCTIONS: [&str; 10] = [
            "rust_",
            "__rust",
            "_rdl_",
            "abort",
            "cabi_realloc",
            "call_import",
            "_export_",
            "export_",
            "__callback_",
            "_callback_",
        ];
        if self.file.as_deref().is_some_and(is_library) {
            return true;
        }
        // Macros write functions where they are called, and where no line is theirs.
        let Some(function) = &self.function else { return self.line.is_none() };
        // `<T as core::...>::f` and `<core::...>::f` are of the crate that they name first.
        let name = function.trim_start_matches(['<', '&', '[']);
        CRATES.iter().any(|prefix| name.starts_with(prefix))
            || FUNCTIONS.iter().any(|prefix| name.starts_with(prefix))
            || ["async-lift]", "[callback]", "::_export_", "::__INVENTORY::"].iter().any(|part| name.contains(part))
            || (self.line == Some(1) && self.column == Some(1))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `{async_fn#0}` and the like name nothing.
        let function = self.function.as_deref().filter(|name| !name.starts_with('{'));
        let Some(file) = &self.file else { return f.write_str(function.unwrap_or("an unnamed function")) };
        let numbers = [self.line, self.column].into_iter().flatten();
        if let Some(function) = function {
            write!(f, "{function} in ")?;
        }
        f.write_str(short(file))?;
        numbers.into_iter().try_for_each(|number| write!(f, ":{number}"))
    }
}

/// A path as its author knows it: without the directories of the machine that built it.
fn short(file: &str) -> &str {
    match file.rfind("/src/") {
        Some(src) if Path::new(file).is_absolute() && !is_library(file) => {
            let package = file[..src].rfind('/').map_or(0, |slash| slash + 1);
            &file[package..]
        }
        _ => file,
    }
}

/// Whether a file belongs to a library: the standard one, one that was fetched, or the C library below them.
fn is_library(file: &str) -> bool {
    ["/rustc/", "/library/", "/registry/src/", "/git/checkouts/", "wasi-libc", "wasisdk:", "guest-sdk/src/"]
        .iter()
        .any(|part| file.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(function: &str, file: &str) -> Place {
        Place { function: Some(function.into()), file: Some(file.into()), line: Some(7), column: Some(9) }
    }

    #[test]
    fn a_place_is_as_its_author_knows_it() {
        assert_eq!(place("shop::pay", "/home/me/shop/src/pay.rs").to_string(), "shop::pay in shop/src/pay.rs:7:9");
        assert_eq!(place("{async_fn#0}", "src/lib.rs").to_string(), "src/lib.rs:7:9");
        let nowhere = Place { function: None, file: None, line: None, column: None };
        assert_eq!(nowhere.to_string(), "an unnamed function");
    }

    #[test]
    fn what_is_not_the_authors_is_noise() {
        for (function, file) in [
            ("std::panicking::panic_handler", "src/a.rs"),
            ("<alloc::vec::Vec<u8> as core::ops::Index>::index", "src/a.rs"),
            ("shop::pay", "/rustc/1234/library/core/src/option.rs"),
            ("poll", "/home/ada/.cargo/registry/src/index/futures-0.3/src/lib.rs"),
        ] {
            assert!(place(function, file).is_noise(), "{function}");
        }
        assert!(!place("shop::pay", "shop/src/lib.rs").is_noise());
    }

    #[test]
    fn results_are_bounded() {
        let limits = Limits { payload_bytes: 3, ..Limits::default() };
        assert_eq!(check_result(Ok(vec![1; 3]), "f", &limits), Outcome::Resolved(vec![1; 3].into()));
        assert_eq!(check_result(Err(vec![1]), "f", &limits), Outcome::Rejected(vec![1].into()));
        let Outcome::Crashed(text) = check_result(Err(vec![1; 4]), "f", &limits) else { panic!("it is too large") };
        assert!(
            text.starts_with("the error has 4 bytes, more than the limit of 3 bytes; raise it with --payload-limit")
        );
    }
}
