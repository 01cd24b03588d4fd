//! Building blocks: each does one thing, in a chosen number or size.

use guest_sdk::prelude::*;
use guest_sdk::serde_json::Value;

/// Returns its argument.
#[function]
pub(crate) async fn echo(value: Value) -> Value {
    value
}

/// Calls a function of two arguments that runs elsewhere, and returns what it returns.
#[function]
async fn call_elsewhere(function: String, target: String, a: Value, b: Value) -> Result<Value> {
    Ok(call::<Value>(function, (a, b)).target(target).await?)
}

/// Returns its argument after a while.
#[function]
pub(crate) async fn echo_after(value: u64, ms: u64) -> u64 {
    sleep(Duration::from_millis(ms)).await;
    value
}

/// Sleeps, and returns for how long.
#[function]
pub(crate) async fn sleeper(ms: u64) -> u64 {
    sleep(Duration::from_millis(ms)).await;
    ms
}

/// Sleeps so many times, one after the other.
#[function]
async fn naps(n: u64, ms: u64) -> u64 {
    for _ in 0..n {
        sleep(Duration::from_millis(ms)).await;
    }
    n
}

/// So many naps of no length, then one of `ms`: a long history, and time to kill the host.
#[function]
async fn naps_then_sleep(n: u64, ms: u64) -> u64 {
    for _ in 0..n {
        sleep(Duration::ZERO).await;
    }
    sleep(Duration::from_millis(ms)).await;
    n
}

/// So many named steps, one after the other, with a sleep of `ms` in each unless it is 0. Returns the sum of 1..=n.
#[function]
async fn steps(n: u64, ms: u64) -> Result<u64> {
    let mut sum = 0;
    for number in 1..=n {
        sum += run(format!("step {number}"), async || {
            if ms > 0 {
                sleep(Duration::from_millis(ms)).await;
            }
            println!("step {number}");
            Ok(number)
        })
        .await?;
    }
    Ok(sum)
}

/// So many calls of `echo_after`, one after the other. Returns the sum of 1..=n.
#[function]
async fn children(n: u64, ms: u64) -> Result<u64> {
    let mut sum = 0;
    for number in 1..=n {
        sum += echo_after(number, ms).await?;
    }
    Ok(sum)
}

/// So many calls of `echo_after`, all at once. Returns the sum of 1..=n.
#[function]
async fn children_at_once(n: u64, ms: u64) -> Result<u64> {
    let values = try_join_all((1..=n).map(|number| echo_after(number, ms))).await?;
    Ok(values.into_iter().sum())
}

/// A tree of calls: each node calls so many children, down to a depth. Returns the number of leaves.
#[function]
async fn tree(width: u64, depth: u64, ms: u64) -> Result<u64> {
    if depth == 0 {
        return Ok(sleeper(ms).await.map(|_| 1)?);
    }
    let leaves = try_join_all((0..width).map(|_| tree(width, depth - 1, ms))).await?;
    Ok(leaves.into_iter().sum())
}

/// Calls a function by its name, with these arguments, under an id if there is one, and returns its result.
#[function]
async fn call_by_name(name: String, arguments: Vec<Value>, id: Option<String>) -> Result<Value> {
    // Arguments of any number: the tuples of `call` have a fixed one.
    let call = match &arguments[..] {
        [] => call::<Value>(name, ()),
        [a] => call(name, (a,)),
        [a, b] => call(name, (a, b)),
        [a, b, c] => call(name, (a, b, c)),
        _ => bail!("at most three arguments"),
    };
    Ok(match id {
        Some(id) => call.id(id).await?,
        None => call.await?,
    })
}

/// Waits for a promise by its id.
#[function]
async fn wait_for(id: String) -> Result<Value> {
    Ok(await_promise(id).await?)
}

/// Makes a promise, prints its id and waits for it, until a deadline if there is one.
#[function]
async fn wait_for_own(timeout_ms: Option<u64>) -> Result<Value> {
    let mut promise = promise::<Value>();
    if let Some(ms) = timeout_ms {
        promise = promise.timeout(Duration::from_millis(ms));
    }
    println!("waiting for {}", promise.id());
    Ok(promise.await?)
}

/// Makes so many promises and returns their ids, without waiting for any.
#[function]
async fn make_promises(n: u64) -> Vec<String> {
    (0..n).map(|_| promise::<Value>().id().to_owned()).collect()
}

/// Settles a promise: how is "resolve", "reject" or "cancel". Returns the text of the error if it couldn't be.
#[function]
async fn settle(id: String, how: String, value: Value) -> Result<Option<String>> {
    let settled = match how.as_str() {
        "resolve" => resolve(id, value).await,
        "reject" => reject(id, value).await,
        "cancel" => cancel(id).await,
        _ => bail!("resolve, reject or cancel, not {how}"),
    };
    Ok(settled.err().map(|error| error.to_string()))
}

/// Starts a `sleeper` outside of the call tree and returns its id at once.
#[function]
async fn spawn_detached(ms: u64, id: Option<String>) -> String {
    let call = sleeper(ms);
    let call = match id {
        Some(id) => call.id(id),
        None => call,
    };
    call.detached().id().to_owned()
}

/// Starts a `sleeper` outside of the call tree and waits for it by its id.
#[function]
async fn spawn_and_wait(ms: u64) -> Result<u64> {
    Ok(sleeper(ms).detached().await?)
}

/// Writes to the log in every way there is, and returns.
#[function]
async fn chatter(n: u64) -> u64 {
    for number in 1..=n {
        println!("out {number}");
        eprintln!("err {number}");
        trace!("trace {number}");
        debug!("debug {number}");
        info!("info {number}");
        warn!("warn {number}");
        log::error!("error {number}");
    }
    print!("without a newline");
    n
}

/// Says so many lines with a sleep after each.
#[function]
async fn slow_chatter(n: u64, ms: u64) -> u64 {
    for number in 1..=n {
        println!("line {number}");
        sleep(Duration::from_millis(ms)).await;
    }
    n
}

/// Computes for so many rounds, about a nanosecond each.
#[function]
async fn busy(rounds: u64) -> u64 {
    (0..rounds).fold(1, |value: u64, round| std::hint::black_box(value.wrapping_mul(31) ^ round))
}
