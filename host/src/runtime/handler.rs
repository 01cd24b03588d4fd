//! Components that answer requests over HTTP: those that export the handler of `wasi:http` 0.2. To everybody else such a
//! component is one function, whose argument is a request and whose result is an answer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use machine::{Digest, FunctionInfo, Parameter};
use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Instance, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};

use super::answer::{Answer, body, json};
use super::component::InvokeResult;
use super::guest::Guest;

pub(super) const INTERFACE: &str = "wasi:http/incoming-handler@0.2.12";
/// What a handler is called that nobody named.
const UNNAMED: &str = "http";

const REQUEST_SCHEMA: &str = r#"{"type":"object","title":"Request","required":["method","url"],"properties":{
"method":{"type":"string"},"url":{"type":"string"},"headers":{"type":"array","items":{"type":"array","items":{"type":"string"},
"minItems":2,"maxItems":2}},"body":{"type":"string"},"body_base64":{"type":"string"}}}"#;

/// A request that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incoming {
    /// `GET` and the like.
    pub method: String,
    /// The path and what follows a `?`, or the whole address.
    pub url: String,
    /// Names and values, in order.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(flatten, with = "body")]
    pub body: Bytes,
}

/// The component as a function of this name.
pub(super) fn describe(digest: Digest, name: Option<&str>) -> machine::Component {
    let name = name.unwrap_or(UNNAMED).to_owned();
    let function = FunctionInfo {
        name: name.clone(),
        doc: format!("Answers requests over HTTP, at /http/{name}/."),
        parameters: vec![Parameter { name: "request".into(), schema: Some(REQUEST_SCHEMA.into()) }],
        output: None,
    };
    machine::Component { digest, name, version: String::new(), functions: vec![function], installed_at: 0 }
}

/// Answers one request. The error is for whoever sent it.
pub(super) async fn answer(
    store: &mut Store<Guest>,
    instance: &Instance,
    handle: &ComponentExportIndex,
    arguments: &[u8],
) -> wasmtime::Result<InvokeResult> {
    let failed = |text: String| Ok(Err(json(&text).to_vec()));
    let request = match serde_json::from_slice::<(Incoming,)>(arguments) {
        Ok((incoming,)) => request(incoming),
        Err(error) => return failed(format!("the argument is not a request: {error}")),
    };
    let request = match request {
        Ok(request) => request,
        Err(error) => return failed(format!("the request can't be one: {error}")),
    };
    let given = Arc::new(Mutex::new(None));
    let gives = given.clone();
    let mut view = store.data_mut().http();
    let request = view.new_incoming_request(Scheme::Http, request)?;
    let response = view.new_response_outparam_from_callback(move |response| {
        *gives.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
    })?;
    type Handle = (Resource<HostIncomingRequest>, Resource<HostResponseOutparam>);
    let handle = instance.get_typed_func::<Handle, ()>(&mut *store, handle)?;
    handle.call_async(&mut *store, (request, response)).await?;
    let given = given.lock().unwrap_or_else(PoisonError::into_inner).take();
    let response = match given {
        Some(Ok(response)) => response,
        Some(Err(code)) => return failed(format!("the handler answered with an error: {code:?}")),
        None => return failed("the handler returned without an answer".into()),
    };
    let (head, body) = response.into_parts();
    // All of it has been written: nobody is left who could write more.
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return failed(format!("the answer is not whole: {error}")),
    };
    let answer = Answer { status: head.status.as_u16(), headers: texts(&head.headers), body };
    Ok(Ok(json(&answer).to_vec()))
}

fn request(incoming: Incoming) -> Result<Request<Full<Bytes>>, http::Error> {
    let Incoming { method, url, headers, body } = incoming;
    let has_host = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    let mut request = Request::builder().method(method.as_str()).uri(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if !has_host {
        request = request.header(http::header::HOST, "localhost");
    }
    request.body(Full::new(body))
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
