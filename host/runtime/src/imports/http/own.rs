//! `durable:functions/http`: requests with whole bodies.

use std::future::Future;
use std::pin::Pin;

use machine::{Completion, HttpHead, Outcome, Payload};
use wasmtime::AsContext;
use wasmtime::component::{Accessor, ComponentType, Lift, Linker, Lower, WasmList, WasmStr};

use super::begin;
use crate::answer::{Answer, Trouble as Told, TroubleKind};
use crate::fault::Stop;
use crate::guest::Guest;
use crate::wire::Wait;

const INTERFACE: &str = "durable:functions/http@1.0.0";
/// The address and the headers of a request.
const MAX_HEAD_BYTES: usize = 128 << 10;

#[derive(ComponentType, Lift)]
#[component(record)]
struct Request {
    method: WasmStr,
    url: WasmStr,
    headers: WasmList<(WasmStr, WasmStr)>,
    body: WasmList<u8>,
    #[component(name = "timeout-ms")]
    timeout_ms: Option<u64>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
enum Trouble {
    #[component(name = "refused")]
    Refused,
    #[component(name = "invalid-request")]
    InvalidRequest,
    #[component(name = "out-of-reach")]
    OutOfReach,
    #[component(name = "not-resolved")]
    NotResolved,
    #[component(name = "not-connected")]
    NotConnected,
    #[component(name = "connect-timeout")]
    ConnectTimeout,
    #[component(name = "tls")]
    Tls,
    #[component(name = "head-timeout")]
    HeadTimeout,
    #[component(name = "body-timeout")]
    BodyTimeout,
    #[component(name = "body-too-large")]
    BodyTooLarge,
    #[component(name = "broken")]
    Broken,
    #[component(name = "canceled")]
    Canceled,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Failure {
    trouble: Trouble,
    message: String,
}

type Given<T> = Pin<Box<dyn Future<Output = wasmtime::Result<(T,)>> + Send>>;

/// Adds the interface.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap_concurrent("send", |guest, (request,): (Request,)| {
        let wait = ask(guest, &request);
        let sent: Given<Result<Response, Failure>> = Box::pin(async move { Ok((response(wait?.await),)) });
        sent
    })
}

fn ask(guest: &Accessor<Guest>, request: &Request) -> wasmtime::Result<Wait> {
    guest.with(|mut access| {
        let wire = access.as_context().data().wire.clone();
        let bytes = request.body.len();
        let limit = wire.lock().limits.payload_bytes;
        if bytes > limit {
            return Err(Stop::Payload { what: "the body of a request".into(), bytes, limit }.into());
        }
        // An empty header takes room as well.
        let mut head_bytes = request.headers.len().saturating_mul(HttpHead::HEADER_BYTES);
        if head_bytes > MAX_HEAD_BYTES {
            return Err(too_large(head_bytes));
        }
        let headers: Vec<_> = request.headers.iter(&mut access)?.collect::<wasmtime::Result<_>>()?;
        let store = access.as_context();
        let mut text = |text: &WasmStr| {
            let text = text.to_str(store.as_context())?.into_owned();
            head_bytes += text.len();
            match head_bytes > MAX_HEAD_BYTES {
                true => Err(too_large(head_bytes)),
                false => Ok(text),
            }
        };
        let mut head = HttpHead {
            method: text(&request.method)?,
            url: text(&request.url)?,
            head_timeout_ms: request.timeout_ms,
            ..HttpHead::default()
        };
        for (name, value) in &headers {
            head.headers.push((text(name)?.to_ascii_lowercase(), text(value)?));
        }
        let body = Payload::copy_from_slice(request.body.as_le_slice(store.as_context()));
        Ok(begin(&wire, head, body)?)
    })
}

fn too_large(bytes: usize) -> wasmtime::Error {
    Stop::Name { what: "the address and headers of a request", bytes, limit: MAX_HEAD_BYTES }.into()
}

/// What the guest gets.
fn response(completion: Completion) -> Result<Response, Failure> {
    let failure = |trouble, message: String| Err(Failure { trouble, message });
    let unreadable = |error: serde_json::Error| Failure {
        trouble: Trouble::Broken,
        message: format!("the request was answered by hand, with what is no answer: {error}"),
    };
    match completion {
        Completion::Settled(Outcome::Resolved(payload)) => {
            let Answer { status, headers, body } = serde_json::from_slice(&payload).map_err(unreadable)?;
            Ok(Response { status, headers, body: body.into() })
        }
        Completion::Settled(Outcome::Rejected(payload)) => {
            let Told { error, message } = serde_json::from_slice(&payload).map_err(unreadable)?;
            failure(Trouble::from(error), message)
        }
        Completion::Settled(Outcome::Canceled) => failure(Trouble::Canceled, "somebody gave the request up".into()),
        Completion::Settled(Outcome::TimedOut) => failure(Trouble::HeadTimeout, "the deadline passed".into()),
        Completion::Settled(Outcome::Crashed(text)) => failure(Trouble::Broken, text),
        Completion::Refused(reason) => failure(Trouble::Refused, reason),
        Completion::Done => failure(Trouble::Broken, "the host answered without an answer".into()),
    }
}

impl From<TroubleKind> for Trouble {
    fn from(kind: TroubleKind) -> Trouble {
        match kind {
            TroubleKind::InvalidRequest => Trouble::InvalidRequest,
            TroubleKind::OutOfReach => Trouble::OutOfReach,
            TroubleKind::NotResolved => Trouble::NotResolved,
            TroubleKind::NotConnected => Trouble::NotConnected,
            TroubleKind::ConnectTimeout => Trouble::ConnectTimeout,
            TroubleKind::Tls => Trouble::Tls,
            TroubleKind::HeadTimeout => Trouble::HeadTimeout,
            TroubleKind::BodyTimeout => Trouble::BodyTimeout,
            TroubleKind::BodyTooLarge => Trouble::BodyTooLarge,
            TroubleKind::Broken => Trouble::Broken,
        }
    }
}
