//! Values and errors as payloads: JSON text.
//!
//! A function's error can be a serde type, a boxed error such as `anyhow::Error`, or any other error. Which of them a type
//! is can't be asked in a generic function, but it can where the type is known, in the code that `#[function]` writes:
//! there `(&&&&Probe::<E>::NEW).method()` finds the first trait in order of references whose bounds hold.

use std::error::Error as StdError;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{CallError, Chain, Error};
use crate::host::Failure;

/// What the host tells of something that was awaited.
pub type Raw = Result<Vec<u8>, Failure>;

pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|e| e.to_string())
}

/// The reason has no line and column: payloads are written by machines, on one line.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| {
        let reason = e.to_string();
        let place = format!(" at line {} column {}", e.line(), e.column());
        reason.strip_suffix(&place).map(str::to_owned).unwrap_or(reason)
    })
}

/// What a caller sees of an outcome. `decode_error` reads the function's own error.
pub fn decode<T: DeserializeOwned, E>(
    raw: Raw,
    decode_error: fn(&str) -> Result<E, String>,
) -> Result<T, CallError<E>> {
    let (payload, decoded) = match raw {
        Ok(payload) => {
            let decoded = text(&payload).and_then(parse).map(Ok);
            (payload, decoded)
        }
        Err(Failure::Rejected(payload)) => {
            let decoded = text(&payload).and_then(decode_error).map(|error| Err(CallError::Failed(error)));
            (payload, decoded)
        }
        Err(Failure::Canceled) => return Err(CallError::Canceled),
        Err(Failure::TimedOut) => return Err(CallError::TimedOut),
        Err(Failure::Crashed(text)) => return Err(CallError::Crashed(text)),
        Err(Failure::Refused(text)) => return Err(CallError::Refused(text)),
    };
    decoded.unwrap_or_else(|reason| {
        Err(CallError::Mismatch { payload: String::from_utf8_lossy(&payload).into_owned(), reason })
    })
}

/// As [`decode`], where the error is known to be a serde type.
pub(crate) fn decode_as<T: DeserializeOwned, E: DeserializeOwned>(raw: Raw) -> Result<T, CallError<E>> {
    decode(raw, |text| parse(text))
}

fn text(payload: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(payload).map_err(|e| e.to_string())
}

/// A function that was given arguments which don't fit was never begun, and rejects with this. Its callers see it as
/// refused, not as an error of the function's own, so that they don't retry it.
#[derive(Serialize, Deserialize)]
struct InvalidArguments {
    kind: InvalidArgumentsKind,
    message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum InvalidArgumentsKind {
    InvalidArguments,
}

pub(crate) fn invalid_arguments(message: String) -> Vec<u8> {
    let invalid = InvalidArguments { kind: InvalidArgumentsKind::InvalidArguments, message };
    encode(&invalid).expect("two strings can be written as JSON")
}

pub(crate) fn find_refusal(failure: Failure) -> Failure {
    match &failure {
        Failure::Rejected(payload) => match serde_json::from_slice::<InvalidArguments>(payload) {
            Ok(invalid) => Failure::Refused(invalid.message),
            Err(_) => failure,
        },
        _ => failure,
    }
}

/// A function's result as a payload.
pub fn encode_value<T: Serialize>(value: &T) -> Result<Vec<u8>, Vec<u8>> {
    encode(value).map_err(|e| encode_own(&Error::new(format!("the result can't be written as JSON: {e}"))))
}

fn encode_own(error: &Error) -> Vec<u8> {
    encode(error).expect("strings can be written as JSON")
}

/// What a function that returns a `Result` gives to its callers. Aliases of `Result` are taken apart by this.
#[diagnostic::on_unimplemented(message = "`{Self}` is not a `Result`, though it is named like one")]
pub trait Returns {
    /// What it returns when it succeeds.
    type Value;
    /// What it returns when it fails.
    type Error;
    /// Itself.
    fn into_result(self) -> Result<Self::Value, Self::Error>;
}

impl<T, E> Returns for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_result(self) -> Self {
        self
    }
}

/// Asks what a type can do, where the type is known. See the module.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

impl<T> Probe<T> {
    /// The only one.
    pub const NEW: Probe<T> = Probe(PhantomData);
}

/// The error is a serde type.
pub trait EncodeSerde<E> {
    /// As JSON.
    fn encode_error(&self, error: &E) -> Vec<u8>;
}

impl<E: Serialize> EncodeSerde<E> for &&&Probe<E> {
    fn encode_error(&self, error: &E) -> Vec<u8> {
        encode(error).unwrap_or_else(|e| encode_own(&Error::new(format!("the error can't be written as JSON: {e}"))))
    }
}

/// The error is a box of any error: `anyhow::Error`, `Box<dyn Error>` and their like.
pub trait EncodeBoxed<E> {
    /// As JSON.
    fn encode_error(&self, error: &E) -> Vec<u8>;
}

impl<E: Deref<Target: StdError>> EncodeBoxed<E> for &&Probe<E> {
    fn encode_error(&self, error: &E) -> Vec<u8> {
        encode_own(&Error::of_chain(&**error))
    }
}

/// The error is any other.
pub trait EncodeText<E> {
    /// As JSON.
    fn encode_error(&self, error: &E) -> Vec<u8>;
}

impl<E: StdError> EncodeText<E> for &Probe<E> {
    fn encode_error(&self, error: &E) -> Vec<u8> {
        encode_own(&Error::of_chain(error))
    }
}

/// The error can't be sent.
pub trait EncodeNothing<E> {
    /// It doesn't compile.
    fn encode_error(&self, error: &E) -> Vec<u8>
    where
        E: FunctionError;
}

impl<E> EncodeNothing<E> for Probe<E> {
    fn encode_error(&self, error: &E) -> Vec<u8>
    where
        E: FunctionError,
    {
        error.never()
    }
}

/// Implemented by nothing: it carries the message for types that can't be the error of a function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the error of a durable function",
    note = "use `guest_sdk::Result`, a type marked with `#[data]`, or any type that implements serde's `Serialize` and `Deserialize` or `std::error::Error`"
)]
pub trait FunctionError {
    /// Never called.
    fn never(&self) -> Vec<u8>;
}

/// The error can be read back as it was.
pub trait DecodeSerde<E> {
    /// From JSON.
    fn decode_error(&self, text: &str) -> Result<E, String>;
}

impl<E: DeserializeOwned> DecodeSerde<E> for &&Probe<E> {
    fn decode_error(&self, text: &str) -> Result<E, String> {
        parse(text)
    }
}

/// The error can box another.
pub trait DecodeBoxed<E> {
    /// From JSON.
    fn decode_error(&self, text: &str) -> Result<E, String>;
}

impl<E: From<Chain>> DecodeBoxed<E> for &Probe<E> {
    fn decode_error(&self, text: &str) -> Result<E, String> {
        parse::<Error>(text).map(|error| Chain::new(error).into())
    }
}

/// The error can't be read back: only its text reaches the caller.
pub trait DecodeText<E> {
    /// Always an error.
    fn decode_error(&self, text: &str) -> Result<E, String>;
}

impl<E> DecodeText<E> for Probe<E> {
    fn decode_error(&self, _: &str) -> Result<E, String> {
        Err(format!("`{}` does not implement `Deserialize`", std::any::type_name::<E>()))
    }
}

/// The type has a JSON Schema.
pub trait Schema {
    /// The schema as JSON text.
    fn schema(&self) -> Option<String>;
}

impl<T: JsonSchema> Schema for Probe<T> {
    fn schema(&self) -> Option<String> {
        let settings = SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
        let schema = settings.into_generator().into_root_schema_for::<T>();
        Some(serde_json::to_string(&schema).expect("a schema can be written as JSON"))
    }
}

/// The type has none.
pub trait NoSchema {
    /// None.
    fn schema(&self) -> Option<String>;
}

impl<T> NoSchema for &Probe<T> {
    fn schema(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Boxed = Box<dyn StdError + Send + Sync>;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Typed {
        Declined,
    }

    macro_rules! round_trip {
        ($ty:ty, $error:expr) => {{
            let payload = (&&&&Probe::<$ty>::NEW).encode_error(&$error);
            let json = String::from_utf8(payload.clone()).unwrap();
            let back =
                decode::<(), $ty>(Err(Failure::Rejected(payload)), |text| (&&&Probe::<$ty>::NEW).decode_error(text));
            (json, back.unwrap_err())
        }};
    }

    #[test]
    fn each_sort_of_error_arrives() {
        let (json, back) = round_trip!(Typed, Typed::Declined);
        assert_eq!((json.as_str(), back), (r#""Declined""#, CallError::Failed(Typed::Declined)));

        let (json, back) = round_trip!(anyhow::Error, anyhow::anyhow!("inner").context("outer"));
        assert_eq!(json, r#"{"message":"outer","causes":["inner"]}"#);
        assert_eq!(back.to_string(), "outer: inner");

        let (_, back) = round_trip!(Boxed, Boxed::from(CallError::<String>::Canceled));
        let CallError::Failed(back) = back else { panic!("{back:?}") };
        assert!(Error::of_chain(&*back).is_canceled());

        let (json, back) = round_trip!(std::num::ParseIntError, "x".parse::<u8>().unwrap_err());
        assert_eq!(json, r#"{"message":"invalid digit found in string"}"#);
        assert!(matches!(&back, CallError::Mismatch { .. }));
        assert_eq!(back.to_string(), "invalid digit found in string");
    }

    #[test]
    fn a_value_of_another_type_is_not_lost() {
        let error = decode_as::<u64, Error>(Ok(b"\"ten\"".to_vec())).unwrap_err();
        assert_eq!(error.to_string(), r#""ten" is not of the declared type: invalid type: string "ten", expected u64"#);
    }

    #[test]
    #[allow(clippy::needless_borrow)]
    fn schemas_are_optional() {
        struct Opaque;
        let _ = Opaque;
        assert!((&Probe::<Opaque>::NEW).schema().is_none());
        assert!((&Probe::<u64>::NEW).schema().unwrap().contains(r#""type":"integer""#));
    }
}
