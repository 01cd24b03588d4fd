//! `wasi:http`, both versions: requests to other systems, each a step.
//!
//! A request is asked for when its body is whole, and its answer comes whole as well, so that both are one entry of the
//! journal. Versions 0.2 and 0.3 share the types of wasmtime's implementation. What sends a request is ours: here is the
//! hook of version 0.3, and what both make of a request and an answer; `p2` replaces what version 0.2 would do in tasks
//! of tokio's, and `own` is the host's own interface, for guests that need no streams.

mod own;
mod p2;

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use machine::{Ask, Completion, HttpHead, Outcome};
use wasmtime::component::Linker;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::answer::{Answer, Trouble, TroubleKind};
use crate::fault::Stop;
use crate::guest::Guest;
use crate::wire::{Wait, Wire};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What a guest's store holds for its requests.
pub(crate) struct Http {
    hooks: Hooks,
    context: WasiHttpCtx,
    /// Requests of version 0.2 whose bodies aren't whole, by their place in the guest's table.
    unsent: Vec<u32>,
}

struct Hooks {
    wire: Arc<Wire>,
}

type Sent = Result<Response<WasiBody>, Error>;
type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl Http {
    pub(crate) fn new(wire: &Arc<Wire>) -> Http {
        Http { hooks: Hooks { wire: wire.clone() }, context: WasiHttpCtx::new(), unsent: Vec::new() }
    }
}

/// Adds the interfaces.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    own::add(linker)?;
    linker.allow_shadowing(true);
    p2::replace(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let http = self.http.get_or_insert_with(|| Box::new(Http::new(&self.wire)));
        WasiHttpCtxView { hooks: &mut http.hooks, table: &mut self.table, ctx: &mut http.context }
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Done,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Done), Error>> + Send> {
        let wire = self.wire.clone();
        Box::new(async move {
            let (head, body) = read(&wire, request, options, Gathering::ToCount).await?;
            let response = response(ask(&wire, head, body)?.await)?;
            Ok((response, Box::new(async { Ok(()) }) as Done))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.wire.lock().limits.payload_bytes
    }
}

/// Whether what comes of a body counts already as what the guest has written and not sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gathering {
    Counted,
    ToCount,
}

/// What has come of a body, until it is whole or given up.
struct Gathered<'a> {
    wire: &'a Wire,
    bytes: usize,
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        let mut ends = self.wire.lock();
        ends.unsent_bytes = ends.unsent_bytes.saturating_sub(self.bytes);
    }
}

/// The whole request.
async fn read(
    wire: &Arc<Wire>,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
    gathering: Gathering,
) -> Result<(HttpHead, Bytes), Error> {
    let (parts, body) = request.into_parts();
    let limit = wire.lock().limits.payload_bytes;
    let (mut gathered, mut excess) = (Gathered { wire, bytes: 0 }, None);
    let body = body.map_frame(|frame| {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if gathering == Gathering::ToCount {
            gathered.bytes += bytes;
            let gathered = wire.lock().gather(bytes);
            excess = excess.take().or(gathered.err());
        }
        // There is no way to stop the guest from here. It is told, and what is too much isn't kept.
        if excess.is_some() { hyper::body::Frame::data(Bytes::new()) } else { frame }
    });
    let collected = Limited::new(body, limit).collect().await;
    if let Some(stop) = excess {
        return Err(Error::InternalError(Some(stop.to_string())));
    }
    let body = match collected {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Error::HttpRequestBodySize(Some(limit as u64))),
        Err(error) => return Err(*error.downcast::<Error>().unwrap_or(Box::new(Error::HttpProtocolError))),
    };
    let milliseconds = |timeout: Option<std::time::Duration>| timeout.map(|timeout| timeout.as_millis() as u64);
    let options = options.unwrap_or_default();
    let head = HttpHead {
        method: parts.method.to_string(),
        url: parts.uri.to_string(),
        headers: headers(&parts.headers)?,
        // The connection isn't the guest's own: it may be there already. So both count from the start.
        head_timeout_ms: milliseconds(options.first_byte_timeout.or(options.connect_timeout)),
        body_timeout_ms: milliseconds(options.between_bytes_timeout),
        hidden: Vec::new(),
    };
    Ok((head, body))
}

fn headers(map: &HeaderMap) -> Result<Vec<(String, String)>, Error> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| match std::str::from_utf8(value.as_bytes()) {
        Ok(value) => Ok((name.as_str().to_owned(), value.to_owned())),
        Err(_) => Err(Error::InternalError(Some(format!("the value of the header {name} isn't text")))),
    };
    // The host's own client says where the request goes.
    map.iter().filter(|(name, _)| *name != http::header::HOST).map(text).collect()
}

/// Asks for the request to be sent. Where it can't be asked for, there is no way to stop the guest: it is told why.
fn ask(wire: &Arc<Wire>, head: HttpHead, body: Bytes) -> Result<Wait, Error> {
    begin(wire, head, body).map_err(|stop| Error::InternalError(Some(stop.to_string())))
}

fn begin(wire: &Arc<Wire>, mut head: HttpHead, body: Bytes) -> Result<Wait, Stop> {
    let ends = wire.lock();
    if ends.describing {
        return Err(Stop::Describing { import: "send" });
    }
    if !head.headers.iter().any(|(name, _)| name == IDEMPOTENCY_KEY) {
        head.headers.push((IDEMPOTENCY_KEY.to_owned(), ends.idempotency_key()?));
    }
    let body = ends.environment.hide(&mut head, body);
    drop(ends);
    wire.ask(Ask::Http { head, body })
}

/// What the guest gets.
fn response(completion: Completion) -> Sent {
    let unreadable = |error: serde_json::Error| {
        Error::InternalError(Some(format!("the request was answered by hand, with what is no answer: {error}")))
    };
    match completion {
        Completion::Settled(Outcome::Resolved(payload)) => {
            let answer: Answer = serde_json::from_slice(&payload).map_err(unreadable)?;
            let mut response = Response::new(Full::new(answer.body).map_err(|error| match error {}).boxed_unsync());
            let invalid = |error: &dyn StdError| Error::InternalError(Some(format!("the answer is not one: {error}")));
            *response.status_mut() = answer.status.try_into().map_err(|error| invalid(&error))?;
            for (name, value) in &answer.headers {
                let name = HeaderName::try_from(name).map_err(|error| invalid(&error))?;
                response.headers_mut().append(name, HeaderValue::try_from(value).map_err(|error| invalid(&error))?);
            }
            Ok(response)
        }
        Completion::Settled(Outcome::Rejected(payload)) => {
            Err(trouble(serde_json::from_slice(&payload).map_err(unreadable)?))
        }
        Completion::Settled(Outcome::Canceled) => Err(Error::ConnectionTerminated),
        Completion::Settled(Outcome::TimedOut) => Err(Error::HttpResponseTimeout),
        Completion::Settled(Outcome::Crashed(text)) => Err(Error::InternalError(Some(text))),
        Completion::Refused(reason) => Err(Error::InternalError(Some(reason))),
        Completion::Done => Err(Error::HttpProtocolError),
    }
}

fn trouble(Trouble { error, message }: Trouble) -> Error {
    match error {
        TroubleKind::InvalidRequest => Error::HttpRequestUriInvalid,
        TroubleKind::OutOfReach => Error::DestinationIpProhibited,
        TroubleKind::NotResolved => Error::DnsError { rcode: Some(message), info_code: None },
        TroubleKind::NotConnected => Error::ConnectionRefused,
        TroubleKind::ConnectTimeout => Error::ConnectionTimeout,
        TroubleKind::Tls => Error::TlsProtocolError,
        TroubleKind::HeadTimeout => Error::HttpResponseTimeout,
        TroubleKind::BodyTimeout => Error::ConnectionReadTimeout,
        TroubleKind::BodyTooLarge => Error::HttpResponseBodySize(None),
        TroubleKind::Broken => Error::HttpResponseIncomplete,
    }
}
