//! A component with a function `echo`, as `misbehave` has one too, and with functions that tell which edition of it
//! they are.

use std::hint::black_box;

use guest_sdk::prelude::*;

/// A test makes a newer component of this one by putting other letters in the place of these.
static EDITION: &str = "edition one";

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

/// Which edition this is.
#[function]
async fn edition() -> String {
    black_box(EDITION).to_owned()
}

/// Which edition this is, and which one it calls, before and after a sleep.
#[function]
async fn editions(ms: u64) -> Result<Vec<String>> {
    let before = [black_box(EDITION).to_owned(), edition().await?];
    sleep(Duration::from_millis(ms)).await;
    let after = [black_box(EDITION).to_owned(), edition().await?];
    Ok(before.into_iter().chain(after).collect())
}
