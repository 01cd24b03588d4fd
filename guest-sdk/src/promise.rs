//! Durable promises: values that somebody else provides, perhaps much later.

use std::cell::OnceCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::FusedFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CallError, Error};
use crate::host::{self, Outcome};
use crate::payload::{self, Raw};
use crate::time::whole_ms;
use crate::waiting::{Waiting, wait};

/// Make a promise for somebody else to settle: a person, another function, another system. Give them its id.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// #[function]
/// async fn confirm(address: String) -> Result<bool> {
///     let answer = promise::<bool>().timeout(Duration::from_secs(3 * 24 * 60 * 60));
///     println!("mail to {address}: to confirm, settle {}", answer.id());
///     Ok(answer.await?)
/// }
/// ```
pub fn promise<T: DeserializeOwned>() -> Promise<T> {
    Promise { id: OnceCell::new(), timeout_ms: None, state: Waiting::Done, begun: false, decode: payload::decode_as }
}

/// Wait for a promise made elsewhere, by its id. The id of an execution is the id of the promise of its result.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # async fn example() -> Result<()> {
/// let total = await_promise::<u64>("order-7").await?;
/// # Ok(()) }
/// ```
pub fn await_promise<T: DeserializeOwned>(id: impl Into<String>) -> Promise<T> {
    Promise::existing(id.into(), payload::decode_as)
}

/// A durable promise: it has an id, and it can be awaited. Dropping it settles nothing.
///
/// A promise from [`promise`] is created when its id is first asked for, or when it is first polled. One that is rejected
/// gives [`CallError::Failed`]; its reason is read as an [`Error`] if not [said otherwise](Promise::fails_with).
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # async fn example() -> Result<()> {
/// let name: Promise<String> = promise();
/// println!("what is your name? settle {}", name.id());
/// println!("hello {}", name.await?);
/// # Ok(()) }
/// ```
#[must_use = "a promise is created when its id is asked for or when it is awaited"]
pub struct Promise<T, E = Error> {
    id: OnceCell<String>,
    timeout_ms: Option<u64>,
    state: Waiting<'static, Raw>,
    begun: bool,
    decode: fn(Raw) -> Result<T, CallError<E>>,
}

impl<T, E> Promise<T, E> {
    pub(crate) fn existing(id: String, decode: fn(Raw) -> Result<T, CallError<E>>) -> Self {
        Promise { id: OnceCell::from(id), timeout_ms: None, state: Waiting::Done, begun: false, decode }
    }

    /// The deadline, counted from when the promise is created: when it passes, the promise is settled as timed out, for
    /// everybody. To stop waiting sooner and leave the promise as it is, use [`timeout`](crate::timeout()).
    ///
    /// # Panics
    /// If the promise exists already.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// let answer = promise::<bool>().timeout(Duration::from_secs(60));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        assert!(self.id.get().is_none(), "the timeout of a promise is given before the promise exists");
        self.timeout_ms = Some(whole_ms(timeout));
        self
    }

    /// Its id, for whoever will settle it.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// let answer = promise::<bool>();
    /// println!("settle {}", answer.id());
    /// ```
    pub fn id(&self) -> &str {
        self.id.get_or_init(|| host::create_promise(self.timeout_ms))
    }
}

impl<T: DeserializeOwned> Promise<T, Error> {
    /// The type of the reason for which it may be rejected.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// #[data]
    /// enum Refusal { TooExpensive, TooLate }
    ///
    /// # async fn example() {
    /// let answer = promise::<u64>().fails_with::<Refusal>();
    /// if let Err(CallError::Failed(Refusal::TooLate)) = answer.await {
    ///     println!("next year, then");
    /// }
    /// # }
    /// ```
    pub fn fails_with<E: DeserializeOwned>(self) -> Promise<T, E> {
        let Promise { id, timeout_ms, state, begun, .. } = self;
        Promise { id, timeout_ms, state, begun, decode: payload::decode_as }
    }
}

impl<T, E> Future for Promise<T, E> {
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.begun {
            let id = self.id().to_owned();
            self.begun = true;
            self.state = Waiting::new(|| host::await_promise(id));
        }
        self.state.poll(context).map(|raw| (self.decode)(raw.map_err(payload::find_refusal)))
    }
}

impl<T, E> FusedFuture for Promise<T, E> {
    fn is_terminated(&self) -> bool {
        self.begun && self.state.is_done()
    }
}

impl<T, E> fmt::Debug for Promise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("id", &self.id.get()).finish()
    }
}

/// Settle a promise with a value.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// #[function]
/// async fn answer(promise: String, text: String) -> Result<()> {
///     resolve(promise, text).await?;
///     Ok(())
/// }
/// ```
pub fn resolve(id: impl Into<String>, value: impl Serialize) -> Settle {
    Settle::new(id.into(), payload::encode(&value).map(Outcome::Resolved))
}

/// Settle a promise with a reason for which it has no value: text, or any serde type.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # async fn example(promise: String) -> Result<()> {
/// reject(promise, "out of stock").await?;
/// # Ok(()) }
/// ```
pub fn reject(id: impl Into<String>, reason: impl Serialize) -> Settle {
    Settle::new(id.into(), payload::encode(&reason).map(Outcome::Rejected))
}

/// Cancel a promise. The id of an execution cancels the execution, and all that it called.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # async fn example(promise: String) -> Result<()> {
/// cancel(promise).await?;
/// # Ok(()) }
/// ```
pub fn cancel(id: impl Into<String>) -> Settle {
    Settle::new(id.into(), Ok(Outcome::Canceled))
}

/// The future of [`resolve`], [`reject`] and [`cancel`].
///
/// ```no_run
/// # use guest_sdk::{prelude::*, Settle};
/// # async fn example(promise: String) {
/// let settling: Settle = resolve(promise, true);
/// if let Err(error) = settling.await {
///     println!("somebody was faster: {error}");
/// }
/// # }
/// ```
#[must_use = "a promise is settled when this is awaited"]
pub struct Settle {
    waiting: Waiting<'static, Result<(), SettleError>>,
}

impl Settle {
    fn new(id: String, outcome: Result<Outcome, String>) -> Settle {
        Settle {
            waiting: Waiting::new(|| async {
                let outcome = outcome.map_err(|e| SettleError(format!("the value can't be written as JSON: {e}")))?;
                host::settle_promise(id, outcome).await.map_err(SettleError)
            }),
        }
    }
}

wait!([] Settle => Result<(), SettleError>);

impl fmt::Debug for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settle").field("done", &self.waiting.is_done()).finish()
    }
}

/// Why a promise could not be settled: it is unknown, or was settled before in another way.
///
/// ```no_run
/// # use guest_sdk::{prelude::*, SettleError};
/// # async fn example(promise: String) {
/// let settled: Result<(), SettleError> = resolve(promise, true).await;
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleError(String);

impl fmt::Display for SettleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettleError {}
