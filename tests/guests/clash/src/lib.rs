//! A component with a function `echo`, as `misbehave` has one too.

use guest_sdk::prelude::*;

/// Another echo than that of misbehave.
#[function]
async fn echo(value: guest_sdk::serde_json::Value) -> String {
    format!("clash: {value}")
}

/// A function that only this component has.
#[function]
async fn only_in_clash() -> u64 {
    1
}
