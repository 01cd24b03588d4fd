//! What can go wrong with something that was awaited, and how errors travel between functions.
//!
//! An error crosses as JSON. A serde type crosses as it is. Everything else that is an error ([`Error`], `anyhow`, boxed
//! errors, std's own) crosses as `{"message": …, "causes": […], "kind": …}`.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// `Result` with [`Error`], where no other error is named.
///
/// ```
/// # use guest_sdk::prelude::*;
/// fn parse(text: &str) -> Result<u64> {
///     Ok(text.trim().parse()?)
/// }
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call, a promise or a step has no result. `E` is the error of the function that was called.
///
/// ```no_run
/// # use guest_sdk::prelude::*;
/// # #[function] async fn charge(cents: u64) -> Result<String>;
/// #[function]
/// async fn checkout(cents: u64) -> Result<String> {
///     match charge(cents).timeout(Duration::from_secs(30)).await {
///         Ok(receipt) => Ok(receipt),
///         Err(CallError::TimedOut) => Ok("we will send you the receipt".to_owned()),
///         Err(CallError::Failed(error)) => bail!("the card was not charged: {error}"),
///         Err(error) => Err(error.into()),
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum CallError<E = Error> {
    /// The function returned this error, or somebody rejected the promise with it.
    Failed(E),
    /// Somebody canceled it.
    Canceled,
    /// Its deadline passed.
    TimedOut,
    /// The function stopped without a result: it panicked, or passed a limit. The text says which, and where.
    Crashed(String),
    /// The host or the function didn't accept the request: there is no such function, an id isn't allowed, the arguments
    /// don't fit.
    Refused(String),
    /// What arrived is not of the type that was declared.
    Mismatch {
        /// What arrived: JSON, as a rule.
        payload: String,
        /// Why it doesn't fit.
        reason: String,
    },
}

impl<E> CallError<E> {
    /// Which kind of failure this is.
    ///
    /// ```
    /// # use guest_sdk::{prelude::*, ErrorKind};
    /// let error: CallError = CallError::TimedOut;
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        match self {
            CallError::Failed(_) | CallError::Mismatch { .. } => ErrorKind::Failed,
            CallError::Canceled => ErrorKind::Canceled,
            CallError::TimedOut => ErrorKind::TimedOut,
            CallError::Crashed(_) => ErrorKind::Crashed,
            CallError::Refused(_) => ErrorKind::Refused,
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // In full: the causes of an `Error` or an `anyhow::Error` can't be reached through `source`.
            CallError::Failed(error) => write!(f, "{error:#}"),
            CallError::Canceled => f.write_str("canceled"),
            CallError::TimedOut => f.write_str("timed out"),
            CallError::Crashed(text) => write!(f, "crashed: {text}"),
            CallError::Refused(text) => write!(f, "refused: {text}"),
            CallError::Mismatch { payload, reason } => match serde_json::from_str::<Wire>(payload) {
                Ok(wire) => write!(f, "{:#}", Error::from(wire)),
                Err(_) => write!(f, "{payload} is not of the declared type: {reason}"),
            },
        }
    }
}

impl<E: fmt::Debug + fmt::Display> StdError for CallError<E> {
    /// For all but the function's own errors a marker of the kind, so that it survives in a chain of any error type.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.kind() {
            ErrorKind::Failed => None,
            kind => Some(Marker::of(kind)),
        }
    }
}

/// The kinds of failure that an owner may want to tell apart.
///
/// ```
/// # use guest_sdk::{prelude::*, ErrorKind};
/// fn again_tomorrow(error: &Error) -> bool {
///     matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Crashed)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// It returned an error.
    #[default]
    Failed,
    /// It was canceled.
    Canceled,
    /// Its deadline passed.
    TimedOut,
    /// It panicked, or passed a limit.
    Crashed,
    /// It was never begun.
    Refused,
}

impl ErrorKind {
    pub(crate) fn is_worth_a_retry(self) -> bool {
        matches!(self, ErrorKind::Failed | ErrorKind::TimedOut | ErrorKind::Crashed)
    }
}

/// The end of a chain of sources, by which the kind of a failure is found again whatever was wrapped around it.
#[derive(Debug)]
pub(crate) struct Marker(ErrorKind);

impl Marker {
    pub(crate) fn of(kind: ErrorKind) -> &'static Marker {
        match kind {
            ErrorKind::Failed => &Marker(ErrorKind::Failed),
            ErrorKind::Canceled => &Marker(ErrorKind::Canceled),
            ErrorKind::TimedOut => &Marker(ErrorKind::TimedOut),
            ErrorKind::Crashed => &Marker(ErrorKind::Crashed),
            ErrorKind::Refused => &Marker(ErrorKind::Refused),
        }
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ErrorKind::Failed => "it returned an error",
            ErrorKind::Canceled => "somebody canceled it",
            ErrorKind::TimedOut => "its deadline passed",
            ErrorKind::Crashed => "it stopped without a result",
            ErrorKind::Refused => "it was not begun",
        })
    }
}

impl StdError for Marker {}

/// Any error: a message and its causes. It is made by `?` from every error type, and travels from function to function
/// without losing the [kind](Error::kind) of failure that it began with.
///
/// ```
/// # use guest_sdk::prelude::*;
/// fn port(text: &str) -> Result<u16> {
///     let port: u16 = text.parse().context("the port")?;
///     ensure!(port > 1023, "port {port} is reserved");
///     Ok(port)
/// }
/// assert_eq!(port("80").unwrap_err().to_string(), "port 80 is reserved");
/// assert_eq!(format!("{:#}", port("x").unwrap_err()), "the port: invalid digit found in string");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Error {
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    #[serde(skip_serializing_if = "is_failed")]
    kind: ErrorKind,
}

fn is_failed(kind: &ErrorKind) -> bool {
    *kind == ErrorKind::Failed
}

impl Error {
    /// An error with this message.
    ///
    /// ```
    /// # use guest_sdk::prelude::*;
    /// let error = Error::new("the shelf is empty");
    /// ```
    pub fn new(message: impl fmt::Display) -> Error {
        Error { message: message.to_string(), causes: Vec::new(), kind: ErrorKind::Failed }
    }

    /// The same error, with a message that says what was being done.
    ///
    /// ```
    /// # use guest_sdk::prelude::*;
    /// let error = Error::new("the shelf is empty").context("packing order 7");
    /// assert_eq!(format!("{error:#}"), "packing order 7: the shelf is empty");
    /// ```
    pub fn context(mut self, message: impl fmt::Display) -> Error {
        self.causes.insert(0, std::mem::replace(&mut self.message, message.to_string()));
        self
    }

    /// The causes, the nearest first.
    ///
    /// ```
    /// # use guest_sdk::prelude::*;
    /// let error = Error::new("the shelf is empty").context("packing order 7");
    /// assert_eq!(error.causes(), ["the shelf is empty"]);
    /// ```
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// The kind of failure that this error began with, here or in a function that was called.
    ///
    /// ```
    /// # use guest_sdk::{prelude::*, ErrorKind};
    /// let error = Error::from(CallError::<Error>::Canceled).context("booking the hotel");
    /// assert_eq!(error.kind(), ErrorKind::Canceled);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What there is to know of an error and its sources. One of ours within it is taken in whole.
    pub(crate) fn of_chain<E: StdError + ?Sized>(error: &E) -> Error {
        let mut all = Error::new(error);
        let mut next = error.source();
        while let Some(source) = next {
            if let Some(Marker(kind)) = source.downcast_ref() {
                all.kind = *kind;
            } else if let Some(CallError::Failed(inner)) = source.downcast_ref::<CallError<Error>>() {
                all.kind = inner.kind;
                all.causes.push(inner.message.clone());
                all.causes.extend_from_slice(&inner.causes);
            } else {
                all.causes.push(source.to_string());
            }
            next = source.source();
        }
        all
    }
}

/// `is_timeout` and its like, the same for both types.
macro_rules! kinds {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> $type {
            /// Whether a deadline passed.
            ///
            /// ```
            /// # use guest_sdk::prelude::*;
            /// let error: CallError = CallError::TimedOut;
            /// assert!(error.is_timeout() && Error::from(error).is_timeout());
            /// ```
            pub fn is_timeout(&self) -> bool {
                self.kind() == ErrorKind::TimedOut
            }

            /// Whether somebody canceled it.
            ///
            /// ```
            /// # use guest_sdk::prelude::*;
            /// let error: CallError = CallError::Canceled;
            /// assert!(error.is_canceled() && Error::from(error).is_canceled());
            /// ```
            pub fn is_canceled(&self) -> bool {
                self.kind() == ErrorKind::Canceled
            }

            /// Whether a function panicked or passed a limit.
            ///
            /// ```
            /// # use guest_sdk::prelude::*;
            /// let error: CallError = CallError::Crashed("panicked at src/lib.rs:7".to_owned());
            /// assert!(error.is_crash() && Error::from(error).is_crash());
            /// ```
            pub fn is_crash(&self) -> bool {
                self.kind() == ErrorKind::Crashed
            }

            /// Whether it was never begun.
            ///
            /// ```
            /// # use guest_sdk::prelude::*;
            /// let error: CallError = CallError::Refused("no such function".to_owned());
            /// assert!(error.is_refused() && Error::from(error).is_refused());
            /// ```
            pub fn is_refused(&self) -> bool {
                self.kind() == ErrorKind::Refused
            }
        }
    };
}

kinds!([] Error);
kinds!([E] CallError<E>);

impl<E: StdError + 'static> From<E> for Error {
    fn from(error: E) -> Error {
        // Ours go through unchanged, however often they are handed up.
        match (&error as &dyn Any).downcast_ref::<CallError<Error>>() {
            Some(CallError::Failed(inner)) => inner.clone(),
            _ => match (&error as &dyn Any).downcast_ref::<Chain>() {
                Some(chain) => chain.error.clone(),
                None => Error::of_chain(&error),
            },
        }
    }
}

/// For functions that return boxed errors.
impl From<Error> for Box<dyn StdError + Send + Sync> {
    fn from(error: Error) -> Self {
        Box::new(Chain::new(error))
    }
}

/// The message, and with `{:#}` its causes as well.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            for cause in &self.causes {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

/// For people: it is what `unwrap` prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

/// An error as an object. Anything else is taken for a message, because others may reject promises too.
#[derive(Deserialize)]
struct Wire {
    message: String,
    #[serde(default)]
    causes: Vec<String>,
    #[serde(default, deserialize_with = "known_kind")]
    kind: ErrorKind,
}

/// A kind of somebody else's is none of ours, and no reason to lose the message.
fn known_kind<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<ErrorKind, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(ErrorKind::deserialize(value).unwrap_or_default())
}

impl From<Wire> for Error {
    fn from(Wire { message, causes, kind }: Wire) -> Error {
        Error { message, causes, kind }
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(match Wire::deserialize(&value) {
            Ok(wire) => wire.into(),
            Err(_) => match value {
                serde_json::Value::String(message) => Error::new(message),
                other => Error::new(other),
            },
        })
    }
}

/// An [`Error`] as a chain of sources: what error types that box others are made from.
#[derive(Debug)]
#[doc(hidden)]
pub struct Chain {
    error: Error,
    source: Option<Box<Chain>>,
}

impl Chain {
    pub(crate) fn new(error: Error) -> Chain {
        let mut causes = error.causes.iter();
        let source = causes.next().map(|message| {
            let cause = Error { message: message.clone(), causes: causes.cloned().collect(), kind: error.kind };
            Box::new(Chain::new(cause))
        });
        Chain { error, source }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error.message)
    }
}

impl StdError for Chain {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.source {
            Some(source) => Some(source),
            None if self.error.kind == ErrorKind::Failed => None,
            None => Some(Marker::of(self.error.kind)),
        }
    }
}

/// Say what was being done when an error arose, as in `anyhow`.
///
/// ```
/// # use guest_sdk::prelude::*;
/// fn shelf(text: &str) -> Result<u32> {
///     let shelf = text.strip_prefix("shelf-").context("not the name of a shelf")?;
///     shelf.parse().with_context(|| format!("the number of {text}"))
/// }
/// assert_eq!(format!("{:#}", shelf("shelf-x").unwrap_err()), "the number of shelf-x: invalid digit found in string");
/// ```
pub trait Context<T> {
    /// With a message that exists.
    fn context(self, message: impl fmt::Display) -> Result<T>;

    /// With a message that is made when it is needed.
    fn with_context<M: fmt::Display>(self, message: impl FnOnce() -> M) -> Result<T>
    where
        Self: Sized;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(message))
    }

    fn with_context<M: fmt::Display>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| error.into().context(message()))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, message: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error::new(message))
    }

    fn with_context<M: fmt::Display>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.ok_or_else(|| Error::new(message()))
    }
}

/// Return an [`Error`] with a formatted message.
///
/// ```
/// # use guest_sdk::prelude::*;
/// fn pick(shelf: u32) -> Result<()> {
///     bail!("shelf {shelf} is empty")
/// }
/// ```
#[macro_export]
macro_rules! bail {
    ($($message:tt)+) => {
        return ::core::result::Result::Err($crate::Error::new(::core::format_args!($($message)+)).into())
    };
}

/// Return an [`Error`] with a formatted message, unless a condition holds.
///
/// ```
/// # use guest_sdk::prelude::*;
/// fn withdraw(balance: u64, cents: u64) -> Result<u64> {
///     ensure!(cents <= balance, "{cents} is more than {balance}");
///     Ok(balance - cents)
/// }
/// ```
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::bail!($($message)+);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_goes_through_any_error_type() {
        let timed_out = || CallError::<String>::TimedOut;
        assert!(Error::from(timed_out()).is_timeout());
        let boxed = anyhow::Error::from(timed_out()).context("outer");
        let error = Error::of_chain::<dyn StdError + Send + Sync>(&*boxed);
        assert_eq!((error.is_timeout(), format!("{error:#}").as_str()), (true, "outer: timed out"));
    }

    #[test]
    fn an_error_of_ours_is_handed_up_unchanged() {
        let deep = Error::from(CallError::<Error>::Crashed("boom".into())).context("inner");
        let json = serde_json::to_string(&deep).unwrap();
        assert_eq!(json, r#"{"message":"inner","causes":["crashed: boom"],"kind":"crashed"}"#);
        let back: Error = serde_json::from_str(&json).unwrap();
        assert_eq!(back, deep);
        assert_eq!(Error::from(CallError::Failed(back)), deep);
        let boxed: Box<dyn StdError + Send + Sync> = deep.clone().into();
        assert_eq!(Error::of_chain(&*boxed), deep);
    }

    #[test]
    fn what_others_reject_with_is_read_as_a_message() {
        let read = |json: &str| serde_json::from_str::<Error>(json).unwrap().to_string();
        assert_eq!(read(r#""no""#), "no");
        assert_eq!(read(r#"{"message":"no","name":"TypeError","kind":7}"#), "no");
        assert_eq!(read(r#"{"code":5}"#), r#"{"code":5}"#);
    }
}
