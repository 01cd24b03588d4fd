//! A guest without the SDK: nothing but the WIT and wit-bindgen. Payloads are JSON text, here taken as they come.

#![cfg_attr(not(target_family = "wasm"), allow(dead_code, unused))]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durable::functions::durable::{self as host, CallOptions, Failure, Level, Outcome};
use exports::durable::functions::functions::{Component, Function, Guest, Parameter};

wit_bindgen::generate!({ path: "../../../wit", world: "durable-functions" });

struct Bare;
// The names of the exports are no names to a native linker.
#[cfg(target_family = "wasm")]
export!(Bare);

impl Guest for Bare {
    fn describe() -> Component {
        let function = |name: &str, doc: &str, parameters: &[&str]| Function {
            name: name.to_owned(),
            doc: doc.to_owned(),
            parameters: parameters.iter().map(|name| Parameter { name: (*name).to_owned(), schema: None }).collect(),
            output: None,
        };
        Component {
            name: "bare".to_owned(),
            version: "0.1.0".to_owned(),
            functions: vec![
                function("bare_echo", "Returns its arguments, as the array that they came in.", &["value"]),
                function(
                    "bare_pair",
                    "Calls bare_echo twice at once, and returns both results as an array.",
                    &["value"],
                ),
                function("bare_nap", "Sleeps for 50 ms.", &[]),
                function("bare_promise", "Makes a promise, resolves it with 42 and awaits it.", &[]),
                function("bare_reject", "Fails with the JSON text \"no\".", &[]),
                function(
                    "bare_missing",
                    "Calls a function that doesn't exist, and returns what kind of failure it saw.",
                    &[],
                ),
                function(
                    "bare_step",
                    "A named step, a log line and a detached bare_echo, whose result it returns.",
                    &[],
                ),
            ],
        }
    }

    async fn invoke(function: String, arguments: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
        let plain = || CallOptions { id: None, timeout_ms: None, target: None };
        match function.as_str() {
            "bare_echo" => Ok(arguments),
            "bare_pair" => {
                let call = || host::call("bare_echo".to_owned(), arguments.clone(), plain());
                let (a, b) = futures::join!(call(), call());
                Ok([b"[", &a.map_err(told)?[..], b",", &b.map_err(told)?[..], b"]"].concat())
            }
            "bare_nap" => {
                let until = SystemTime::now() + Duration::from_millis(50);
                let since = until.duration_since(UNIX_EPOCH).expect("the clock is after 1970");
                host::sleep(since.as_millis() as u64).await;
                Ok(b"null".to_vec())
            }
            "bare_promise" => {
                let id = host::create_promise(None);
                host::settle_promise(id.clone(), Outcome::Resolved(b"42".to_vec())).await.map_err(quoted)?;
                host::await_promise(id).await.map_err(told)
            }
            "bare_reject" => Err(quoted("no")),
            "bare_missing" => match host::call("bare_nowhere".to_owned(), b"[]".to_vec(), plain()).await {
                Err(failure) => Ok(told(failure)),
                Ok(_) => Err(quoted("it exists")),
            },
            "bare_step" => {
                let step = host::start_step("think");
                host::log(Level::Info, "thinking");
                host::finish_step(step, &Outcome::Resolved(b"7".to_vec()));
                let id = host::spawn("bare_echo", b"[7]", &plain());
                host::await_promise(id).await.map_err(told)
            }
            other => Err(quoted(format!("no function {other}"))),
        }
    }
}

/// The kind of a failure, as JSON text.
fn told(failure: Failure) -> Vec<u8> {
    quoted(match failure {
        Failure::Rejected(_) => "rejected",
        Failure::Canceled => "canceled",
        Failure::TimedOut => "timed out",
        Failure::Crashed(_) => "crashed",
        Failure::Refused(_) => "refused",
    })
}

/// Text that needs no escapes as JSON.
fn quoted(text: impl AsRef<str>) -> Vec<u8> {
    format!("\"{}\"", text.as_ref()).into_bytes()
}
