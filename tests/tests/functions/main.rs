//! What functions do when nothing goes wrong with the host: every example, every feature of the SDK, and the API.

mod api;
mod examples;
mod lifecycle;
mod pinning;
mod promises;
mod replay;
mod retention;
mod sdk;
mod serving;
mod world;

use serde_json::Value;
use tests::{Client, Look};

/// Call a function and wait for its end: its document, and all that there is to see of it.
#[track_caller]
fn run(host: &Client, function: &str, arguments: Value) -> (Value, Look) {
    let document = host.invoke(function, arguments);
    let look = Look::at(host, document["id"].as_str().expect("ids are text"));
    (document, look)
}

/// A part of a look: what was seen of the execution itself or of one below it.
fn of<'a>(part: &'a std::collections::BTreeMap<String, Vec<String>>, id: &str) -> Vec<&'a str> {
    part.get(id).map(|items| items.iter().map(String::as_str).collect()).unwrap_or_default()
}
