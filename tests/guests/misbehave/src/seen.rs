//! What a caller sees of others: errors of every sort and kind, timeouts, cancellations, retries.

use std::collections::BTreeMap;

use guest_sdk::prelude::*;
use guest_sdk::serde_json::Value;

use crate::good::sleeper;

#[data]
pub(crate) enum OwnError {
    Declined { reason: String },
    Busy,
}

/// Fails with an error of its own type, or succeeds: how is "ok", "declined" or "busy".
#[function]
async fn typed(how: String) -> Result<u64, OwnError> {
    match how.as_str() {
        "ok" => Ok(1),
        "busy" => Err(OwnError::Busy),
        reason => Err(OwnError::Declined { reason: reason.to_owned() }),
    }
}

/// Fails with a message and a cause.
#[function]
async fn untyped() -> Result<u64> {
    let number: u64 = "x".parse().context("reading the number")?;
    Ok(number)
}

/// Fails with any error, boxed.
#[function]
async fn boxed() -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    Ok("x".parse::<u64>()?)
}

/// Fails with text.
#[function]
async fn text_error(text: String) -> Result<u64, String> {
    Err(text)
}

/// Hands up what a function that it called failed with.
#[function]
async fn handed_up(ms: u64) -> Result<u64> {
    sleeper(ms).timeout(Duration::from_millis(10)).await.context("waiting for the sleeper")
}

#[function(name = "explode")]
async fn explode_elsewhere(text: String, ms: u64) -> u64;

#[function]
async fn there_is_no_such_function(n: u64) -> u64;

/// A declaration that doesn't fit: `sleeper` takes a number.
#[function(name = "sleeper")]
async fn sleeper_of_text(text: String) -> u64;

/// A declaration that doesn't fit: `sleeper` returns a number.
#[function(name = "sleeper")]
async fn sleeper_with_text(ms: u64) -> String;

/// Calls one function for each kind of outcome, and returns what it saw of each.
#[function]
async fn outcomes() -> BTreeMap<String, String> {
    let short = Duration::from_millis(20);
    let mut seen = BTreeMap::new();
    let mut see = |what: &str, outcome: String| drop(seen.insert(what.to_owned(), outcome));

    see("value", format!("{:?}", typed("ok".into()).await));
    see("typed error", format!("{:?}", typed("no money".into()).await));
    see("untyped error", format!("{:?}", untyped().await));
    see("boxed error", format!("{}", boxed().await.unwrap_err()));
    see("text error", format!("{:?}", text_error("no".into()).await));
    see("timed out", format!("{:?}", sleeper(60_000).timeout(short).await));
    see("timed out below", format!("{:?}", handed_up(60_000).await.map_err(|error| Error::from(error).is_timeout())));
    see("crashed", format!("{:?}", explode_elsewhere("boom".into(), 0).await.map_err(|error| error.is_crash())));
    see("no such function", format!("{:?}", there_is_no_such_function(1).await.map_err(|error| error.is_refused())));
    see("wrong argument", format!("{:?}", sleeper_of_text("x".into()).await));
    see("wrong result", format!("{:?}", sleeper_with_text(0).await));
    see(
        "no such promise",
        format!("{:?}", await_promise::<Value>("nowhere").await.map_err(|error| error.is_refused())),
    );

    let canceled = promise::<Value>();
    let settled = cancel(canceled.id()).await;
    see("canceled promise", format!("{settled:?} {:?}", canceled.await));
    let rejected = promise::<Value>();
    let settled = reject(rejected.id(), "no").await;
    see("rejected promise", format!("{settled:?} {:?}", rejected.await));
    let resolved = promise::<u64>();
    let settled = resolve(resolved.id(), 7).await;
    see("resolved promise", format!("{settled:?} {:?}", resolved.await));
    see("promise with deadline", format!("{:?}", promise::<Value>().timeout(short).await));
    seen
}

/// Cancels a child that it started, and returns what it saw of it.
#[function]
async fn cancel_child(ms: u64) -> String {
    let child = sleeper(ms).detached();
    let canceled = cancel(child.id()).await;
    format!("{canceled:?} {:?}", child.await)
}

/// Fails `explode` so many times over, with a pause between, and returns what was left of it.
#[function]
async fn retries(attempts: u32, pause_ms: u64) -> String {
    let policy = Retry::attempts(attempts).delay(Duration::from_millis(pause_ms)).factor(1);
    let outcome = explode_elsewhere("again".into(), 0).retry(policy).await;
    format!("{:?}", outcome.map_err(|error| error.kind()))
}

/// A step that fails until its last attempt. Returns the number of attempts.
#[function]
async fn step_retries(attempts: u32, pause_ms: u64) -> Result<u32> {
    let mut made = 0;
    let policy = Retry::attempts(attempts).delay(Duration::from_millis(pause_ms)).factor(1);
    run("a flaky step", async || {
        made += 1;
        ensure!(made == attempts, "attempt {made}");
        Ok(())
    })
    .retry(policy)
    .await?;
    Ok(made)
}

/// So many steps, one after another, each of which is given up while it waits.
#[function]
async fn gives_up_steps(count: u32) -> u32 {
    let mut given_up = 0;
    for _ in 0..count {
        let mut step = run("a step that is given up", async || {
            sleep(Duration::from_secs(3600)).await;
            Ok(())
        });
        select! {
            _ = step => {}
            _ = sleep(Duration::ZERO) => given_up += 1,
        }
    }
    given_up
}

/// Errors of the function's own by which a retry is decided: "busy" is tried again, others aren't.
#[function]
async fn choosy_retries(how: String, id: String) -> String {
    let outcome = typed(how)
        .id(id)
        .retry(Retry::attempts(3).delay(Duration::from_millis(1)))
        .retry_if(|error| matches!(error, CallError::Failed(OwnError::Busy)))
        .await;
    format!("{outcome:?}")
}

/// Calls a `sleeper` of `child_ms` with its own deadline `call_ms` inside of a wait of `wait_ms`.
#[function]
async fn timeouts(child_ms: u64, call_ms: u64, wait_ms: u64) -> String {
    let call = sleeper(child_ms).timeout(Duration::from_millis(call_ms));
    match timeout(Duration::from_millis(wait_ms), call).await {
        Err(elapsed) => format!("the wait {elapsed}"),
        Ok(Err(error)) => format!("the call {error}"),
        Ok(Ok(ms)) => format!("slept {ms}"),
    }
}
