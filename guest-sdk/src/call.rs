//! The future of a durable call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::FusedFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CallError, Error, ErrorKind};
use crate::host::{self, CallOptions, Failure};
use crate::payload::{self, Raw};
use crate::promise::Promise;
use crate::retry::Retry;
use crate::time::{sleep, whole_ms};
use crate::waiting::Boxed;

/// Call a function of any component by its name. The arguments are a tuple; the type of the result is given.
///
/// A function that is called from several places reads better with a declared signature: see
/// [`function`](macro@crate::function).
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # async fn example() -> Result<()> {
/// let sum = call::<u64>("add", (1, 2)).await?;
/// # Ok(()) }
/// ```
pub fn call<T: DeserializeOwned>(function: impl Into<String>, arguments: impl Arguments) -> Call<T, Error> {
    Call::new(function.into(), arguments.encode(), payload::decode_as)
}

/// A durable call that was not begun or not finished: what a function marked with
/// [`#[function]`](macro@crate::function) returns.
///
/// Nothing happens until it is first polled, so options can be given first. Dropping it stops waiting for the result; the
/// called function runs on. It can be polled in `join!`, `select!`, `FuturesUnordered` and the like as it is.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// #[data]
/// struct Receipt { number: u64 }
///
/// #[function]
/// async fn charge(cents: u64) -> Result<Receipt>;
///
/// #[function]
/// async fn checkout(order: u64, cents: u64) -> Result<u64> {
///     let receipt = charge(cents)
///         .id(format!("charge-{order}"))
///         .timeout(Duration::from_secs(30))
///         .retry(Retry::attempts(3))
///         .await?;
///     Ok(receipt.number)
/// }
/// ```
#[must_use = "a call begins when it is awaited or detached"]
pub struct Call<T, E = Error> {
    state: State,
    decode: Decode<T, E>,
}

type Decode<T, E> = fn(Raw) -> Result<T, CallError<E>>;
type Condition = Box<dyn Fn(&Failure) -> bool>;

enum State {
    Idle(Box<Request>),
    Running(Boxed<'static, Raw>),
    Done,
}

struct Request {
    function: String,
    /// The error says why they can't be sent.
    arguments: Result<Vec<u8>, String>,
    id: Option<String>,
    timeout_ms: Option<u64>,
    target: Option<String>,
    retry: Retry,
    /// A condition beyond the policy's.
    retry_if: Option<Condition>,
}

impl<T, E> Call<T, E> {
    pub(crate) fn new(function: String, arguments: Result<Vec<u8>, String>, decode: Decode<T, E>) -> Self {
        let request = Request {
            function,
            arguments,
            id: None,
            timeout_ms: None,
            target: None,
            retry: Retry::never(),
            retry_if: None,
        };
        Call { state: State::Idle(Box::new(request)), decode }
    }

    /// The id of the execution. A call with the id of an execution that exists waits for that one, so that however often
    /// and from wherever it is asked for, it happens once. Without it, the host derives one from the caller's.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// # #[function] async fn ship(order: u64) -> Result<()>;
    /// # async fn example() -> Result<()> {
    /// ship(7).id("ship-7").await?;
    /// # Ok(()) }
    /// ```
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.request().id = Some(id.into());
        self
    }

    /// The function's deadline, counted from when the call is begun: when it passes, the execution and all that it called
    /// end as timed out. With [`retry`](Call::retry) it is the deadline of each attempt.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// # #[function] async fn ship(order: u64) -> Result<()>;
    /// # async fn example() -> Result<()> {
    /// ship(7).timeout(Duration::from_secs(60)).await?;
    /// # Ok(()) }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request().timeout_ms = Some(whole_ms(timeout));
        self
    }

    /// Where the function runs, as an address. Without it: on this host.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// # #[function] async fn ship(order: u64) -> Result<()>;
    /// # async fn example() -> Result<()> {
    /// ship(7).target("poll://any@warehouse").await?;
    /// # Ok(()) }
    /// ```
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.request().target = Some(target.into());
        self
    }

    /// Try again when it fails. Each attempt is a call of its own; with an [`id`](Call::id), the second attempt has the
    /// id `<id>-2`, and so on.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// # #[function] async fn ship(order: u64) -> Result<()>;
    /// # async fn example() -> Result<()> {
    /// ship(7).retry(Retry::attempts(3)).await?;
    /// # Ok(()) }
    /// ```
    pub fn retry(mut self, retry: Retry) -> Self {
        self.request().retry = retry;
        self
    }

    /// Besides the policy's own condition, try again only after errors for which this holds.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// #[data]
    /// enum ChargeError { Declined, Busy }
    ///
    /// #[function]
    /// async fn charge(cents: u64) -> Result<(), ChargeError>;
    ///
    /// # async fn example() {
    /// let charged = charge(500)
    ///     .retry(Retry::attempts(3))
    ///     .retry_if(|error| !matches!(error, CallError::Failed(ChargeError::Declined)))
    ///     .await;
    /// # }
    /// ```
    pub fn retry_if(mut self, condition: impl Fn(&CallError<E>) -> bool + 'static) -> Self
    where
        T: 'static,
        E: 'static,
    {
        let decode = self.decode;
        self.request().retry_if =
            Some(Box::new(move |failure| decode(Err(failure.clone())).err().is_some_and(|error| condition(&error))));
        self
    }

    /// Start the function now, on its own: it isn't canceled with its caller, and has its own deadline. The promise of
    /// its result has an id that can be handed out, and may be awaited or dropped. A retry policy has no effect: nobody
    /// may be there to retry.
    ///
    /// # Panics
    /// If the arguments can't be written as JSON.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// # #[function] async fn newsletter() -> Result<()>;
    /// # async fn example() {
    /// let sending = newsletter().detached();
    /// println!("follow it as {}", sending.id());
    /// # }
    /// ```
    pub fn detached(mut self) -> Promise<T, E> {
        let request = self.request();
        match &request.arguments {
            Ok(arguments) => {
                let id = host::spawn(&request.function, arguments, &request.options(1));
                Promise::existing(id, self.decode)
            }
            Err(reason) => panic!("{reason}"),
        }
    }

    fn request(&mut self) -> &mut Request {
        match &mut self.state {
            State::Idle(request) => request,
            _ => panic!("the options of a call are given before it is polled"),
        }
    }
}

impl<T> Call<T, Error> {
    /// The type of the function's error, for a [`call`] by name.
    ///
    /// ```no_run
    /// # use guest_sdk::prelude::*;
    /// #[data]
    /// enum ChargeError { Declined }
    ///
    /// # async fn example() {
    /// let charged = call::<u64>("charge", (500,)).fails_with::<ChargeError>().await;
    /// # }
    /// ```
    pub fn fails_with<E: DeserializeOwned>(self) -> Call<T, E>
    where
        T: DeserializeOwned,
    {
        Call { state: self.state, decode: payload::decode_as }
    }
}

impl Request {
    fn options(&self, attempt: u32) -> CallOptions {
        let id = self.id.as_ref().map(|id| if attempt == 1 { id.clone() } else { format!("{id}-{attempt}") });
        CallOptions { id, timeout_ms: self.timeout_ms, target: self.target.clone() }
    }

    async fn run(self: Box<Self>) -> Raw {
        let arguments = self.arguments.clone().map_err(Failure::Refused)?;
        let mut attempt = 1;
        loop {
            let outcome = host::call(self.function.clone(), arguments.clone(), self.options(attempt)).await;
            let outcome = outcome.map_err(payload::find_refusal);
            let Err(failure) = &outcome else { return outcome };
            match self.retry.delay_after(attempt, kind(failure)) {
                Some(delay) if self.retry_if.as_ref().is_none_or(|condition| condition(failure)) => sleep(delay).await,
                _ => return outcome,
            }
            attempt += 1;
        }
    }
}

fn kind(failure: &Failure) -> ErrorKind {
    match failure {
        Failure::Rejected(_) => ErrorKind::Failed,
        Failure::Canceled => ErrorKind::Canceled,
        Failure::TimedOut => ErrorKind::TimedOut,
        Failure::Crashed(_) => ErrorKind::Crashed,
        Failure::Refused(_) => ErrorKind::Refused,
    }
}

impl<T, E> Future for Call<T, E> {
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut running = match std::mem::replace(&mut self.state, State::Done) {
            State::Idle(request) => Box::pin(request.run()),
            State::Running(running) => running,
            State::Done => panic!("a call was polled after it had completed"),
        };
        match running.as_mut().poll(context) {
            Poll::Ready(raw) => Poll::Ready((self.decode)(raw)),
            Poll::Pending => {
                self.state = State::Running(running);
                Poll::Pending
            }
        }
    }
}

impl<T, E> FusedFuture for Call<T, E> {
    fn is_terminated(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Idle(request) => write!(f, "Call({}, not begun)", request.function),
            State::Running(_) => f.write_str("Call(begun)"),
            State::Done => f.write_str("Call(done)"),
        }
    }
}

/// The arguments of a call: a tuple of serde values, one for each parameter.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # async fn example() {
/// let none = call::<u64>("now", ());
/// let one = call::<u64>("double", (2,));
/// let two = call::<u64>("add", (1, 2));
/// # }
/// ```
pub trait Arguments {
    /// One JSON array, or why it can't be written.
    #[doc(hidden)]
    fn encode(&self) -> Result<Vec<u8>, String>;
}

// serde writes `()` as null, and not as the array that a call needs.
impl Arguments for () {
    fn encode(&self) -> Result<Vec<u8>, String> {
        Ok(b"[]".to_vec())
    }
}

macro_rules! arguments {
    ($($name:ident)+) => {
        impl<$($name: Serialize),+> Arguments for ($($name,)+) {
            fn encode(&self) -> Result<Vec<u8>, String> {
                payload::encode(self).map_err(|e| format!("the arguments can't be written as JSON: {e}"))
            }
        }
    };
}

arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D F);
arguments!(A B C D F G);
arguments!(A B C D F G H);
arguments!(A B C D F G H I);
arguments!(A B C D F G H I J);
arguments!(A B C D F G H I J K);
arguments!(A B C D F G H I J K L);
arguments!(A B C D F G H I J K L M);
