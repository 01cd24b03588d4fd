//! Write durable functions in ordinary async Rust.
//!
//! A durable function survives crashes and restarts of its host: it goes on from where it was, and no step that it completed
//! is done again. There is no context to pass, no table to register it in and no state machine to learn:
//!
//! ```no_run
//! use guest_sdk::prelude::*;
//!
//! /// The n-th Fibonacci number.
//! #[function]
//! async fn fibonacci(n: u64) -> Result<u64> {
//!     if n < 2 { return Ok(n) }
//!     let (a, b) = join!(fibonacci(n - 1), fibonacci(n - 2));   // each a durable call of its own
//!     Ok(a? + b?)
//! }
//! ```
//!
//! # A crate of functions
//! A component is a library crate. This crate is the only dependency that it needs:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! guest-sdk = { path = "…" }
//! ```
//!
//! `cargo build --release --target wasm32-wasip2` makes the component, `host upload` takes it. It can hold any number of
//! functions; the names are those of the Rust functions, and shared by all components of a host.
//!
//! # What there is
//! - [`#[function]`](macro@function) makes an `async fn` durable. Calling it gives a [`Call`], which takes options (an
//!   id, a deadline, a [retry policy](Retry), a target) and is awaited like any future. A plain function stays a plain
//!   local call. Functions of other components are called through a declared signature, or [by name](call()).
//! - [`sleep`] and [`sleep_until`] wait, for a moment or for months. [`timeout()`] gives up on any future.
//! - [`promise`] makes a value that somebody else provides: a person, a web hook, another function.
//!   [`await_promise`], [`resolve`], [`reject`] and [`cancel`] work with the id of any promise.
//! - [`run`] gives a piece of work a name and a retry policy.
//! - [`http`] sends requests to other systems. One whose answer was lost in a crash is sent again, with the same idempotency
//!   key.
//! - [`#[data]`](macro@data) marks the types that travel. [`Error`] carries any error; [`CallError`] tells apart what a
//!   function returned from a timeout, a cancellation and a crash.
//!
//! Everything else is Rust: `join!`, `select!`, `FuturesUnordered` and the rest of the futures ecosystem work as they
//! are. `println!`, `eprintln!` and the `log` macros write to the execution's log. `SystemTime::now()`, `Instant::now()`,
//! random numbers and the order of a `HashMap` are as always, and the same on every replay. `std::env::var` reads what the
//! function is configured with, secrets included. Clients for `wasi:http` work as they are.
//!
//! # What happens on a replay
//! When the host goes on with an execution after a crash, it runs the function again from the top, and answers what it
//! asks (each call, sleep, promise, step, the time, random numbers) from its journal, until the journal ends. So the
//! function's *code* runs more than once, and its *effects* happen once; only a request to another system whose answer was
//! not recorded is sent again, with the same key. This is why a guest has no files, sockets,
//! threads or global state that outlives an execution: all that it can see is in the journal.
//!
//! # Tests
//! The crate compiles natively as well, so a guest's plain functions can be tested with `cargo test`. There is no host
//! then: the first durable operation that is polled panics and says so.

// The macros write paths that begin with `::guest_sdk`, in this crate's own tests too.
extern crate self as guest_sdk;

mod call;
mod error;
mod host;
pub mod http;
mod payload;
mod promise;
mod retry;
mod runtime;
mod step;
mod time;
mod waiting;

pub use call::{Arguments, Call, call};
pub use error::{CallError, Context, Error, ErrorKind, Result};
pub use promise::{Promise, Settle, SettleError, await_promise, cancel, promise, reject, resolve};
pub use retry::Retry;
pub use step::{Step, run};
pub use time::{Elapsed, Sleep, Timeout, sleep, sleep_until, timeout};

// So that a guest needs no other dependency, and has the same versions.
pub use {futures, log, schemars, serde, serde_json};

/// Make an `async fn` a durable function.
///
/// The arguments and the result are owned serde types. Calling the function gives a [`Call`]: its output is
/// `Result<T, CallError<E>>` for a function that returns `Result<T, E>`, and `Result<T, CallError<Infallible>>` for one
/// that returns a plain `T`. The doc comment describes the function to those who call it.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// /// Adds two numbers.
/// #[function]
/// async fn add(a: u64, b: u64) -> u64 {
///     a + b
/// }
///
/// /// Adds three numbers.
/// #[function]
/// async fn add_three(a: u64, b: u64, c: u64) -> Result<u64> {
///     let sum = add(a, b).await?;
///     Ok(add(sum, c).timeout(Duration::from_secs(5)).await?)
/// }
/// ```
///
/// Without a body it declares the signature of a function in another component:
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// #[function]
/// async fn ship(order: u64) -> Result<String>;
/// ```
///
/// The name by which the host knows it can be another than Rust's:
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// #[function(name = "ship-order")]
/// async fn ship(order: u64) -> Result<String> {
///     Ok(format!("parcel-{order}"))
/// }
/// ```
///
/// A function's error is any serde type, [`Error`], `anyhow::Error`, a boxed error, or any `std::error::Error` (of which
/// only the text arrives). A result is taken for a `Result` if its type is named so: another name for an alias of
/// `Result` makes it a plain value, with an `Ok` or `Err` inside.
///
/// What can't travel is refused:
///
/// ```compile_fail
/// # use guest_sdk::prelude::*;
/// #[function]
/// async fn greet(name: &str) -> String { // take a `String`
///     format!("hello {name}")
/// }
/// ```
///
/// ```compile_fail
/// # use guest_sdk::prelude::*;
/// #[function]
/// async fn first<T>(of: Vec<T>) -> Option<T> { // can't be generic
///     of.into_iter().next()
/// }
/// ```
///
/// ```compile_fail
/// # use guest_sdk::prelude::*;
/// #[function]
/// fn add(a: u64, b: u64) -> u64 { // a plain `fn` needs no attribute
///     a + b
/// }
/// ```
pub use guest_sdk_macros::function;

/// Mark a type that travels between functions.
///
/// It derives serde's `Serialize` and `Deserialize`, a JSON Schema, `Debug`, `Clone` and `PartialEq`, less those that are
/// in a `#[derive]` below it. The attributes of serde and schemars work as always.
///
/// ```
/// use guest_sdk::prelude::*;
///
/// #[data]
/// #[derive(Eq, Hash)]
/// #[serde(rename_all = "camelCase")]
/// struct Order {
///     order_number: u64,
///     items: Vec<String>,
/// }
///
/// let order: Order = guest_sdk::serde_json::from_str(r#"{"orderNumber": 7, "items": []}"#).unwrap();
/// assert_eq!(order, Order { order_number: 7, items: vec![] });
/// ```
///
/// Types with derives of their own work too. One without a JSON Schema only lacks it in the function's description.
pub use guest_sdk_macros::data;

/// All that a function needs, and what is most used of the futures crate.
///
/// ```
/// use guest_sdk::prelude::*;
/// ```
pub mod prelude {
    pub use crate::{
        Call, CallError, Context, Error, Promise, Result, Retry, await_promise, bail, call, cancel, data, ensure,
        function, promise, reject, resolve, run, sleep, sleep_until, timeout,
    };
    pub use futures::future::{FutureExt, join_all, try_join_all};
    pub use futures::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
    pub use futures::{join, select, select_biased, try_join};
    pub use log::{self, debug, info, trace, warn};
    pub use std::time::{Duration, SystemTime};
}

/// What the code that the macros write uses. It can change with any version.
#[doc(hidden)]
pub mod __private {
    pub use crate::payload::*;
    pub use crate::runtime::{Arguments, Function};
    pub use inventory;

    /// A call of a function with a declared signature.
    pub fn call<T, E>(
        function: &str,
        arguments: impl crate::Arguments,
        decode: fn(Raw) -> Result<T, crate::CallError<E>>,
    ) -> crate::Call<T, E> {
        crate::Call::new(function.to_owned(), arguments.encode(), decode)
    }
}

#[cfg(test)]
mod tests {
    use crate::prelude::*;

    #[function]
    async fn elsewhere(n: u64) -> Result<u64>;

    #[test]
    fn futures_of_all_sorts_are_lazy_unpin_and_fused() {
        fn check<F: futures::future::FusedFuture + Unpin>(future: F) {
            assert!(!future.is_terminated());
        }
        check(elsewhere(1).id("a").retry(Retry::attempts(2)));
        check(call::<u64>("elsewhere", (1,)));
        check(sleep(Duration::ZERO));
        check(promise::<u64>().timeout(Duration::ZERO));
        check(await_promise::<u64>("id"));
        check(resolve("id", 1));
        check(run("step", async || Ok(1)));
        check(timeout(Duration::ZERO, elsewhere(1)));
    }

    #[test]
    #[should_panic(expected = "calling a durable function needs a host")]
    fn without_a_host_the_first_operation_says_so() {
        let _ = elsewhere(1).now_or_never();
    }
}
