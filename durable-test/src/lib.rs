//! Tests of durable functions, for the `cargo test` of the crate that has them.
//!
//! A test runs the function in a world of its own, under virtual time: once from end to end; then again and again, crashing
//! at each boundary of its journals and going on from what was durable; and then with what runs at once completing in
//! other orders. Every run must have the same outcome; after a crash it must also do the same things, once each.
//! `host test` does the same from the command line.
//!
//! ```toml
//! [dev-dependencies]
//! durable-test = { path = "…/durable-test" }
//! ```
//!
//! ```no_run
//! // tests/survives.rs
//! use std::time::Duration;
//!
//! #[test]
//! fn it_counts_whatever_happens() {
//!     let wasm = durable_test::component!();
//!     let report = durable_test::function(&wasm, "countdown", (3, 86_400_000)).passes();
//!     assert_eq!(report.value(), Some(3));
//!     assert_eq!(report.virtual_time, Duration::from_secs(3 * 86_400));
//!     assert_eq!(report.effects.lines, 4);
//! }
//! # fn main() {}
//! ```
//!
//! Nothing leaves the test. Other systems are [stubs](Stub), which answer requests, and are asked again after a crash that
//! has lost an answer; what a function is configured with is a [`Configuration`].
//!
//! ```no_run
//! use durable_test::{Configuration, Stub};
//!
//! # fn main() -> Result<(), String> {
//! # let wasm: Vec<u8> = Vec::new();
//! let bank = Stub::new("https://bank.example/charge").method("POST").answer(503, "").answer(200, r#"{"paid":true}"#);
//! let key = Configuration::default().secret("BANK_KEY", "a key for tests").allow("bank.example")?;
//! let report = durable_test::function(&wasm, "charge", (500,)).http([bank]).configure("charge", key).passes();
//! assert_eq!(report.effects.requests["POST https://bank.example/charge"], 2);
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde::Serialize;

pub use host_testing::{Configuration, Effects, Failure, ROOT, Report, Run, Stub, Test, TestError, TroubleKind};

/// The crate's own component, built for this test: the bytes of its file. See [`build`].
#[macro_export]
macro_rules! component {
    () => {
        $crate::build(env!("CARGO_MANIFEST_DIR"), env!("CARGO_PKG_NAME"))
    };
}

/// A function of a component, to be tested with these arguments: a tuple or an array of what is JSON.
///
/// # Panics
///
/// If the component can't be used, has no such function, or the function takes other arguments.
#[track_caller]
pub fn function(wasm: &[u8], name: &str, arguments: impl Serialize) -> Test {
    let arguments =
        serde_json::to_string(&arguments).unwrap_or_else(|error| panic!("the arguments of {name}: {error}"));
    Test::new(wasm, name, &arguments).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Builds the component of a package, by the directory of its manifest and its name: `cargo build --release --target
/// wasm32-wasip2`, once for a process. If `DURABLE_TEST_COMPONENTS` names a directory, what is there is taken instead.
///
/// # Panics
///
/// If it can't be built.
pub fn build(directory: &str, package: &str) -> Vec<u8> {
    static BUILT: Mutex<Option<HashMap<String, Vec<u8>>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let built = built.get_or_insert_default();
    built.entry(directory.to_owned()).or_insert_with(|| build_now(directory, package)).clone()
}

fn build_now(directory: &str, package: &str) -> Vec<u8> {
    let name = package.replace('-', "_");
    if let Some(components) = std::env::var_os("DURABLE_TEST_COMPONENTS") {
        return read(&Path::new(&components).join(format!("{name}.wasm")));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--lib", "--release", "--target", "wasm32-wasip2", "--message-format", "json"]);
    let output = command.current_dir(directory).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("cargo can't be started: {error}"));
    assert!(output.status.success(), "{package} can't be built for wasm32-wasip2: {}", output.status);
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut files = messages.flat_map(|message| match message["filenames"].as_array() {
        Some(files) => files.iter().filter_map(|file| file.as_str().map(str::to_owned)).collect(),
        None => Vec::new(),
    });
    let file = files.find(|file| file.ends_with(&format!("/{name}.wasm")));
    read(Path::new(&file.unwrap_or_else(|| panic!("{package} makes no component: is its crate-type \"cdylib\"?"))))
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
