//! Components that answer requests over HTTP: those that export the handler of `wasi:http`, 0.2 or 0.3. To everybody else
//! such a component is one function, whose argument is a request and whose result is an answer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Full};
use machine::{Digest, FunctionInfo, Parameter};
use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Instance, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};
use wasmtime_wasi_http::{WasiBody, p3};

use super::answer::{Answer, body, json};
use super::component::InvokeResult;
use super::fault::Stop;
use super::guest::Guest;

/// Of version 0.3 and 0.2.
const INTERFACE: &str = "wasi:http/handler@0.3.0";
const OLD_INTERFACE: &str = "wasi:http/incoming-handler@0.2.12";
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

/// What of a component answers requests.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    /// Version 0.2: it is given where to put the answer.
    Old(ComponentExportIndex),
    /// Version 0.3: it returns the answer, and may go on writing its body.
    New(ComponentExportIndex),
}

/// Finds it.
pub(super) fn find(component: &Component) -> Option<Handler> {
    let handle = |interface| {
        let interface = component.get_export_index(None, interface)?;
        component.get_export_index(Some(&interface), "handle")
    };
    handle(INTERFACE).map(Handler::New).or_else(|| handle(OLD_INTERFACE).map(Handler::Old))
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
    handler: Handler,
    arguments: &[u8],
) -> wasmtime::Result<InvokeResult> {
    let request = match serde_json::from_slice::<(Incoming,)>(arguments) {
        Ok((incoming,)) => request(incoming),
        Err(error) => return failed(format!("the argument is not a request: {error}")),
    };
    let request = match request {
        Ok(request) => request,
        Err(error) => return failed(format!("the request can't be one: {error}")),
    };
    match handler {
        Handler::Old(handle) => answer_old(store, instance, handle, request).await,
        Handler::New(handle) => answer_new(store, instance, handle, request).await,
    }
}

fn failed(text: String) -> wasmtime::Result<InvokeResult> {
    Ok(Err(json(&text).to_vec()))
}

fn answered(head: http::response::Parts, body: Bytes) -> wasmtime::Result<InvokeResult> {
    let answer = Answer { status: head.status.as_u16(), headers: texts(&head.headers), body };
    Ok(Ok(json(&answer).to_vec()))
}

async fn answer_old(
    store: &mut Store<Guest>,
    instance: &Instance,
    handle: ComponentExportIndex,
    request: Request<Full<Bytes>>,
) -> wasmtime::Result<InvokeResult> {
    let given = Arc::new(Mutex::new(None));
    let gives = given.clone();
    let mut view = store.data_mut().http();
    let request = view.new_incoming_request(Scheme::Http, request)?;
    let response = view.new_response_outparam_from_callback(move |response| {
        *gives.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
    })?;
    type Handle = (Resource<HostIncomingRequest>, Resource<HostResponseOutparam>);
    let handle = instance.get_typed_func::<Handle, ()>(&mut *store, &handle)?;
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
    answered(head, body)
}

async fn answer_new(
    store: &mut Store<Guest>,
    instance: &Instance,
    handle: ComponentExportIndex,
    request: Request<Full<Bytes>>,
) -> wasmtime::Result<InvokeResult> {
    type Given = (Result<Resource<p3::Response>, p3::bindings::http::types::ErrorCode>,);
    let handle = instance.get_typed_func::<(Resource<p3::Request>,), Given>(&mut *store, &handle)?;
    let limit = store.data().wire.lock().limits.payload_bytes;
    let view = store.data_mut().http();
    // Whether the request was read is nobody's business.
    let (request, _) = p3::Request::from_http(view.hooks, request);
    let request = view.table.push(request)?;
    let answered = store.run_concurrent(async |guest| {
        let response = match handle.call_concurrent(guest, (request,)).await? {
            (Ok(response),) => response,
            (Err(code),) => return failed(format!("the handler answered with an error: {code:?}")),
        };
        // The body is written by the guest while it is read here.
        let response = guest.with(|mut access| {
            let response = access.data_mut().http().table.delete(response)?;
            response.into_http(access, async { Ok(()) })
        })?;
        let (head, body) = response.into_parts();
        match whole(body, limit).await? {
            Ok(body) => answered(head, body),
            Err(error) => failed(format!("the answer is not whole: {error}")),
        }
    });
    answered.await?
}

/// A body that is still written. The inner error is whoever writes it's, who didn't get to its end.
async fn whole(mut body: WasiBody, limit: usize) -> wasmtime::Result<Result<Bytes, wasmtime_wasi_http::Error>> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return Ok(Err(error)),
        };
        let all = bytes.len() + data.len();
        if all > limit {
            return Err(Stop::Payload { what: "the body of the answer".into(), bytes: all, limit }.into());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Ok(bytes.freeze()))
}

fn request(incoming: Incoming) -> Result<Request<Full<Bytes>>, http::Error> {
    let Incoming { method, url, headers, body } = incoming;
    let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let (has_host, host) = (host.is_some(), host.map_or("localhost", |(_, host)| host).to_owned());
    // A handler sees a whole address.
    let mut uri = url.parse::<Uri>()?.into_parts();
    uri.scheme.get_or_insert(http::uri::Scheme::HTTP);
    if uri.authority.is_none() {
        uri.authority = Some(host.parse()?);
    }
    let mut request = Request::builder().method(method.as_str()).uri(Uri::from_parts(uri)?);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if !has_host {
        request = request.header(http::header::HOST, host);
    }
    request.body(Full::new(body))
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
