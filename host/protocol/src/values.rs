//! How payloads are written in the protocol: base64 of JSON, with headers beside it.
//!
//! What a client wrote is given back to it as it was. If it is the base64 of JSON, as the libraries write it, only the
//! JSON is kept, and is what guests see. Any other text is kept as it is, and a guest sees it as JSON if it is JSON, or
//! as a string.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use machine::{Data, Form, Outcome, Payload, Promise, PromiseKind, Tags};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A value, as a client writes it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    headers: Option<Tags>,
    #[serde(default)]
    data: Option<String>,
}

/// A value, as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<&'a Tags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, str>>,
}

/// A call, as the libraries write it into the value of a promise.
#[derive(Debug, Deserialize)]
struct GivenCall<'a> {
    func: String,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
}

impl Given {
    /// What guests see of it, and how it was written.
    pub(super) fn read(self) -> (Payload, Form) {
        let headers = self.headers;
        let Some(data) = self.data else { return (Payload::new(), Form { headers, data: Data::Encoded }) };
        if let Some(json) = decode(&data) {
            return (json, Form { headers, data: Data::Encoded });
        }
        let payload = match data.as_str() {
            "" => Payload::from_static(b"null"),
            text if is_json(text.as_bytes()) => Payload::copy_from_slice(text.as_bytes()),
            text => string(text),
        };
        (payload, Form { headers, data: Data::Text(data) })
    }

    /// The function that it names, and its arguments.
    pub(super) fn call(&self) -> Result<(String, Vec<Payload>), String> {
        let json = decode(self.data.as_deref().unwrap_or_default()).ok_or("its param isn't the base64 of JSON")?;
        let wrong = |error| format!("its param isn't of the form {{\"func\": …, \"args\": […]}}: {error}");
        let call: GivenCall = serde_json::from_slice(&json).map_err(wrong)?;
        let args: Vec<&RawValue> = match call.args {
            None => Vec::new(),
            Some(args) if args.get() == "null" => Vec::new(),
            Some(args) if args.get().starts_with('[') => serde_json::from_str(args.get()).map_err(wrong)?,
            // A library can leave out the brackets around a single argument.
            Some(args) => vec![args],
        };
        let args = args.into_iter().map(|arg| Payload::copy_from_slice(arg.get().as_bytes())).collect();
        Ok((call.func, args))
    }

    /// How a call of a function was written.
    pub(super) fn call_form(self, function: &str, arguments: &Payload) -> Form {
        let text = self.data.unwrap_or_default();
        let data = if text == encode_call(function, arguments) { Data::Encoded } else { Data::Text(text) };
        Form { headers: self.headers, data }
    }
}

/// A form that doesn't need the payload.
pub(super) fn without_payload(form: Form, payload: &Payload) -> Form {
    match (form.data, encode(payload)) {
        (Data::Encoded, Some(text)) => Form { headers: form.headers, data: Data::Text(text) },
        (data, _) => Form { headers: form.headers, data },
    }
}

impl<'a> Shown<'a> {
    /// What a promise was created with.
    pub(super) fn param(promise: &'a Promise) -> Shown<'a> {
        let form = promise.foreign.as_ref().map(|foreign| &foreign.param);
        Shown::new(form, || match &promise.kind {
            PromiseKind::Call { function } => Some(encode_call(function, &promise.param)),
            _ => encode(&promise.param),
        })
    }

    /// What it was settled with.
    pub(super) fn value(promise: &'a Promise) -> Shown<'a> {
        let form = promise.foreign.as_ref().map(|foreign| &foreign.value);
        Shown::new(form, || match promise.outcome.as_ref()? {
            Outcome::Resolved(payload) => encode(payload),
            // An error that a client gave is as it was given; that of a function here is made one that libraries know.
            Outcome::Rejected(payload) if promise.execution.is_none() => encode(payload),
            Outcome::Rejected(payload) => Some(STANDARD.encode(error(payload))),
            Outcome::Crashed(text) => Some(STANDARD.encode(error(&string(text)))),
            Outcome::Canceled | Outcome::TimedOut => None,
        })
    }

    /// What a schedule creates its promises with.
    pub(super) fn template(template: &'a machine::Template) -> Shown<'a> {
        Shown::new(Some(&template.form), || match &template.call {
            Some(machine::Call::Function { name, .. }) => Some(encode_call(name, &template.param)),
            _ => encode(&template.param),
        })
    }

    fn new(form: Option<&'a Form>, derive: impl FnOnce() -> Option<String>) -> Shown<'a> {
        let data = match form.map(|form| &form.data) {
            Some(Data::Text(text)) => Some(Cow::Borrowed(text.as_str())),
            Some(Data::Encoded) | None => derive().map(Cow::Owned),
        };
        Shown { headers: form.and_then(|form| form.headers.as_ref()), data }
    }
}

/// A call, as the libraries write it. `arguments` is a JSON array.
fn encode_call(function: &str, arguments: &Payload) -> String {
    let mut json = br#"{"func":"#.to_vec();
    json.extend_from_slice(&string(function));
    json.extend_from_slice(br#","args":"#);
    json.extend_from_slice(if arguments.is_empty() { b"[]" } else { arguments });
    json.extend_from_slice(br#","version":1}"#);
    STANDARD.encode(json)
}

fn encode(payload: &Payload) -> Option<String> {
    (!payload.is_empty()).then(|| STANDARD.encode(payload))
}

/// The JSON that a text is the base64 of, if it is exactly what would be written for it.
fn decode(data: &str) -> Option<Payload> {
    let json = STANDARD.decode(data).ok()?;
    (!json.is_empty() && is_json(&json)).then(|| json.into())
}

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn string(text: &str) -> Payload {
    serde_json::to_vec(text).expect("a string is JSON").into()
}

/// The error of a function of this host in the form in which the libraries know errors: an object with a message.
fn error(payload: &Payload) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Error<'a> {
        #[serde(rename = "message")]
        _message: String,
        #[serde(borrow, rename = "__type")]
        kind: Option<&'a RawValue>,
    }
    if let Ok(error) = serde_json::from_slice::<Error<'_>>(payload)
        && error.kind.is_none()
        && let Some(rest) = payload.strip_prefix(b"{")
    {
        return [br#"{"__type":"error","#, rest].concat();
    }
    if let Ok(message) = serde_json::from_slice::<String>(payload) {
        let message = string(&message);
        return [br#"{"__type":"error","name":"Error","message":"#, &message[..], b"}"].concat();
    }
    payload.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(data: &str) -> (String, Form) {
        let (payload, form) = Given { headers: None, data: Some(data.into()) }.read();
        (String::from_utf8(payload.to_vec()).unwrap(), form)
    }

    #[test]
    fn what_the_libraries_write_is_kept_as_json() {
        assert_eq!(given(&STANDARD.encode("{\"a\":1}")), ("{\"a\":1}".into(), Form::default()));
    }

    #[test]
    fn any_other_text_is_kept_as_it_is() {
        let text = |text: &str| Form { headers: None, data: Data::Text(text.into()) };
        assert_eq!(given("true"), ("true".into(), text("true")));
        assert_eq!(given("hello"), ("\"hello\"".into(), text("hello")));
        assert_eq!(given(""), ("null".into(), text("")));
        // The base64 of text that isn't JSON, and base64 that would be written in another way.
        assert_eq!(given("aGVsbG8="), ("\"aGVsbG8=\"".into(), text("aGVsbG8=")));
        assert_eq!(given("MQ"), ("\"MQ\"".into(), text("MQ")));
    }

    #[test]
    fn a_call_is_read_in_each_librarys_way() {
        let read = |json: &str| Given { headers: None, data: Some(STANDARD.encode(json)) }.call().map(|call| call.1);
        assert_eq!(read(r#"{"func":"f","args":[1,"a"],"version":1}"#).unwrap(), ["1", "\"a\""]);
        assert_eq!(read(r#"{"args":{"n":2},"func":"f"}"#).unwrap(), ["{\"n\":2}"]);
        assert!(read(r#"{"func":"f"}"#).unwrap().is_empty());
        assert!(read(r#"{"args":[]}"#).is_err());
        assert!(Given::default().call().is_err());
    }

    #[test]
    fn errors_become_errors_that_the_libraries_know() {
        let become_ = |json: &str| String::from_utf8(error(&Payload::copy_from_slice(json.as_bytes()))).unwrap();
        assert_eq!(become_(r#"{"message":"no"}"#), r#"{"__type":"error","message":"no"}"#);
        assert_eq!(become_(r#""no""#), r#"{"__type":"error","name":"Error","message":"no"}"#);
        for other in [r#"{"__type":"x","message":"no"}"#, "7", r#"{"code":1}"#] {
            assert_eq!(become_(other), other);
        }
    }
}
