//! What came of a request, as the promise of its step holds it: JSON, so that people and programs can read it, and so
//! that somebody can answer a request by hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use machine::{Outcome, Payload};
use serde::{Deserialize, Serialize};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// Names and values, in order. Values that aren't text are kept as far as they are.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(flatten, with = "body")]
    pub body: Bytes,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// For programs.
    pub error: TroubleKind,
    /// For people.
    pub message: String,
}

/// Why there is no answer, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// The request made no sense.
    InvalidRequest,
    /// Its address led where it may not go.
    OutOfReach,
    /// The name leads nowhere.
    NotResolved,
    /// Nobody answered at the address.
    NotConnected,
    /// Connecting took too long.
    ConnectTimeout,
    /// No encryption was agreed on.
    Tls,
    /// The answer didn't begin in time.
    HeadTimeout,
    /// The answer didn't end in time.
    BodyTimeout,
    /// The answer was larger than it may be.
    BodyTooLarge,
    /// The connection broke, or what came was no answer.
    Broken,
}

impl Answer {
    /// How the promise of the request is settled.
    pub fn outcome(&self) -> Outcome {
        Outcome::Resolved(json(self))
    }
}

impl Trouble {
    /// How the promise of the request is settled.
    pub fn outcome(&self) -> Outcome {
        Outcome::Rejected(json(self))
    }
}

pub(super) fn json(value: &impl Serialize) -> Payload {
    serde_json::to_vec(value).expect("these types are always JSON").into()
}

/// As `"body": "text"`, or as `"body_base64"` where it is no text; nothing for nothing.
pub(super) mod body {
    use super::*;
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Parts<'a> {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<std::borrow::Cow<'a, str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body_base64: Option<String>,
    }

    pub(in super::super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = match std::str::from_utf8(bytes) {
            Ok("") => Parts { body: None, body_base64: None },
            Ok(text) => Parts { body: Some(text.into()), body_base64: None },
            Err(_) => Parts { body: None, body_base64: Some(STANDARD.encode(bytes)) },
        };
        parts.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        match Parts::deserialize(deserializer)? {
            Parts { body: Some(text), .. } => Ok(text.into_owned().into()),
            Parts { body_base64: Some(text), .. } => Ok(STANDARD.decode(text).map_err(D::Error::custom)?.into()),
            Parts { body: None, body_base64: None } => Ok(Bytes::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_are_written() {
        for (body, text) in [
            (&b""[..], r#"{"status":200,"headers":[["a","b"]]}"#),
            (b"\"hi\"", r#"{"status":200,"headers":[["a","b"]],"body":"\"hi\""}"#),
            (b"\xff", r#"{"status":200,"headers":[["a","b"]],"body_base64":"/w=="}"#),
        ] {
            let answer =
                Answer { status: 200, headers: vec![("a".into(), "b".into())], body: Bytes::from_static(body) };
            assert_eq!(answer.outcome(), Outcome::Resolved(Payload::copy_from_slice(text.as_bytes())));
            assert_eq!(serde_json::from_str::<Answer>(text).unwrap(), answer);
        }
        assert_eq!(serde_json::from_str::<Answer>(r#"{"status":204}"#).unwrap().body, Bytes::new());
    }
}
