//! The imports, one function each: the only place that touches the generated bindings.
//!
//! Natively there is no host behind them. Everything compiles, so that a guest's ordinary functions can be tested with
//! `cargo test`, and the first durable operation panics and says why.

#[allow(missing_docs, unreachable_pub, clippy::all)]
pub(crate) mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "durable-functions" });
}

use bindings::durable::functions::{durable, http};
pub(crate) use durable::{CallOptions, Failure, Level, Outcome};
pub(crate) use http::{Failure as HttpFailure, Request, Response, Trouble};

fn need(operation: &str) {
    if !cfg!(target_family = "wasm") {
        panic!(
            "guest_sdk: {operation} needs a host: it works in a component built for wasm32-wasip2, not in a native program"
        );
    }
}

pub(crate) async fn call(function: String, arguments: Vec<u8>, options: CallOptions) -> Result<Vec<u8>, Failure> {
    need("calling a durable function");
    durable::call(function, arguments, options).await
}

pub(crate) fn spawn(function: &str, arguments: &[u8], options: &CallOptions) -> String {
    need("starting a durable function");
    durable::spawn(function, arguments, options)
}

pub(crate) async fn sleep(until_unix_ms: u64) {
    need("a durable sleep");
    durable::sleep(until_unix_ms).await
}

pub(crate) fn create_promise(timeout_ms: Option<u64>) -> String {
    need("creating a promise");
    durable::create_promise(timeout_ms)
}

pub(crate) async fn await_promise(id: String) -> Result<Vec<u8>, Failure> {
    need("awaiting a promise");
    durable::await_promise(id).await
}

pub(crate) async fn settle_promise(id: String, outcome: Outcome) -> Result<(), String> {
    need("settling a promise");
    durable::settle_promise(id, outcome).await
}

pub(crate) async fn send(request: Request) -> Result<Response, HttpFailure> {
    need("a request");
    http::send(request).await
}

pub(crate) fn start_step(name: &str) -> u32 {
    need("a step");
    durable::start_step(name)
}

pub(crate) fn finish_step(step: u32, outcome: &Outcome) {
    durable::finish_step(step, outcome)
}

pub(crate) fn log(level: Level, message: &str) {
    durable::log(level, message)
}
