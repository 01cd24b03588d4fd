//! Named steps of a function's own work.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use serde::Serialize;

use crate::error::{CallError, Result};
use crate::host::{self, Outcome};
use crate::payload;
use crate::retry::Retry;
use crate::time::sleep;
use crate::waiting::{Waiting, wait};

/// Give a piece of work a name: it appears as a step of the execution, with its result, and it can be retried.
///
/// What a step does to the world happens once. On a replay its code is run again, as all of the function's code is, but
/// every effect in it (a call, a sleep, a request, the time, random numbers) is answered from the journal. Only a request
/// whose answer was not recorded before a crash reaches the world a second time, with the same key. A step that is dropped
/// before its work is done (the loser of a `select!`, say) appears as canceled.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # async fn post(url: &str, body: &str) -> Result<u64> { Ok(1) }
/// #[function]
/// async fn publish(article: String) -> Result<u64> {
///     let number = run("post the article", async || post("https://example.org", &article).await)
///         .retry(Retry::attempts(5))
///         .await?;
///     Ok(number)
/// }
/// ```
pub fn run<'a, T: Serialize + 'a>(
    name: impl Into<String>,
    mut work: impl AsyncFnMut() -> Result<T> + 'a,
) -> Step<'a, T> {
    let name = name.into();
    let retry = Rc::new(Cell::new(Retry::never()));
    Step {
        retry: retry.clone(),
        waiting: Waiting::new(move || async move {
            let mut attempt = 1;
            loop {
                let step = Begun(Some(host::start_step(&name)));
                let result = work().await;
                step.finish(&outcome(&result));
                let Err(error) = &result else { break result };
                let Some(delay) = retry.get().delay_after(attempt, error.kind()) else { break result };
                sleep(delay).await;
                attempt += 1;
            }
            .map_err(CallError::Failed)
        }),
    }
}

/// A step that has begun. One that is dropped before its work is done was given up, and says so.
struct Begun(Option<u32>);

impl Begun {
    fn finish(mut self, outcome: &Outcome) {
        if let Some(step) = self.0.take() {
            host::finish_step(step, outcome);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(step) = self.0.take() {
            host::finish_step(step, &Outcome::Canceled);
        }
    }
}

fn outcome<T: Serialize>(result: &Result<T>) -> Outcome {
    let written = match result {
        Ok(value) => payload::encode(value).map(Outcome::Resolved),
        Err(error) => payload::encode(error).map(Outcome::Rejected),
    };
    // The value itself stays in the guest, so that it can't be written harms nobody but the reader of the journal.
    written.unwrap_or_else(|reason| Outcome::Resolved(payload::encode(&reason).expect("text can be written as JSON")))
}

/// The future of [`run`]. As a call's, its error is a [`CallError`], so that `?` takes it to any error type.
///
/// ```no_run
/// # use guest_sdk::{prelude::*, Step};
/// # async fn example() -> Result<()> {
/// let dice: Step<u64> = run("roll the dice", async || Ok(4));
/// println!("{}", dice.await?);
/// # Ok(()) }
/// ```
#[must_use = "a step begins when it is awaited"]
pub struct Step<'a, T> {
    /// Read when the step begins: until then it can be changed.
    retry: Rc<Cell<Retry>>,
    waiting: Waiting<'a, Result<T, CallError>>,
}

impl<T> Step<'_, T> {
    /// Try again when it fails. Each attempt appears as a step of its own.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// # async fn example() -> Result<()> {
    /// run("fetch the rates", async || call::<u64>("rates", ()).await.context("the bank")).retry(Retry::attempts(3)).await?;
    /// # Ok(()) }
    /// ```
    pub fn retry(self, retry: Retry) -> Self {
        self.retry.set(retry);
        self
    }
}

wait!([T] Step<'_, T> => Result<T, CallError>);

impl<T> fmt::Debug for Step<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("done", &self.waiting.is_done()).finish()
    }
}
