//! What `wasi:http` 0.2 would do in tasks of tokio's, done in the guest's own store: reading the body of a request, and
//! waiting for its answer. Requests, answers, headers and the bodies of answers stay wasmtime's.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Empty};
use machine::HttpHead;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::{DynOutputStream, DynPollable, OutputStream, Pollable, StreamError, StreamResult, subscribe};
use wasmtime_wasi_http::p2::bindings::http::types::{self, ErrorCode};
use wasmtime_wasi_http::p2::body::{HostIncomingBody, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{Error, FieldMap, RequestOptions, WasiHttpView};

use super::{Gathering, Sent, ask, read, response};
use crate::fault::Stop;
use crate::guest::Guest;
use crate::wire::{Wait, Wire};

const TYPES: &str = "wasi:http/types@0.2.12";
const OUTGOING: &str = "wasi:http/outgoing-handler@0.2.12";

type Store<'a> = StoreContextMut<'a, Guest>;
/// The guest knows it as the type that wasmtime gives this resource; in its table is an [`Exchange`].
type FutureId = Resource<HostFutureIncomingResponse>;
type Got = Option<Result<Result<Resource<HostIncomingResponse>, ErrorCode>, ()>>;

/// A request under way.
struct Exchange {
    wire: Arc<Wire>,
    state: State,
}

type Reading = Pin<Box<dyn Future<Output = Result<(HttpHead, Bytes), Error>> + Send>>;

enum State {
    /// Its body isn't whole.
    Reading(Reading),
    /// It was asked for.
    Asked(Wait),
    /// There is an answer, or there will be none.
    Answered(Sent),
    /// The guest has it.
    Taken,
}

/// Puts ours in the place of wasmtime's.
pub(super) fn replace(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(OUTGOING)?.func_wrap("handle", handle)?;
    let mut types = linker.instance(TYPES)?;
    let ty = ResourceType::host::<HostFutureIncomingResponse>();
    types.resource("future-incoming-response", ty, |mut store, rep| {
        store.data_mut().table.delete(Resource::<Exchange>::new_own(rep))?;
        Ok(())
    })?;
    types.func_wrap("[method]future-incoming-response.subscribe", |mut store: Store<'_>, (id,): (FutureId,)| {
        let pollable = subscribe(&mut store.data_mut().table, Resource::<Exchange>::new_borrow(id.rep()))?;
        Ok((pollable,)) as wasmtime::Result<(Resource<DynPollable>,)>
    })?;
    types.func_wrap("[method]future-incoming-response.get", |store: Store<'_>, (id,): (FutureId,)| {
        Ok((get(store, id)?,)) as wasmtime::Result<(Got,)>
    })?;
    types.func_wrap("[method]outgoing-body.write", |mut store: Store<'_>, (id,): (Resource<HostOutgoingBody>,)| {
        let guest = store.data_mut();
        let Some(stream) = guest.table.get_mut(&id)?.take_output_stream() else { return Ok((Err(()),)) };
        let limit = guest.wire.lock().limits.payload_bytes;
        let gathered: DynOutputStream =
            Box::new(Gathered { wire: guest.wire.clone(), stream, bytes: BytesMut::new(), limit });
        Ok((Ok::<_, ()>(guest.table.push_child(gathered, &id)?),))
    })?;
    types.func_wrap("[static]outgoing-body.finish", finish)
}

fn handle(
    mut store: Store<'_>,
    (request, options): (Resource<HostOutgoingRequest>, Option<Resource<types::RequestOptions>>),
) -> wasmtime::Result<(Result<FutureId, ErrorCode>,)> {
    let guest = store.data_mut();
    let options: Option<RequestOptions> = match options {
        Some(options) => Some(guest.table.delete(options)?),
        None => None,
    };
    let request = match assemble(guest.table.delete(request)?) {
        Ok(request) => request,
        Err(code) => return Ok((Err(code),)),
    };
    let wire = guest.wire.clone();
    let reading = {
        let wire = wire.clone();
        async move { read(&wire, request, options, Gathering::Counted).await }
    };
    let mut exchange = Exchange { wire, state: State::Reading(Box::pin(reading)) };
    let is_whole = exchange.try_ask();
    let id = guest.table.push(exchange)?;
    if !is_whole {
        let rep = id.rep();
        let Guest { http, table, .. } = guest;
        if let Some(http) = http {
            http.unsent
                .retain(|rep| table.get(&Resource::<Exchange>::new_borrow(*rep)).is_ok_and(Exchange::is_reading));
            http.unsent.push(rep);
        }
    }
    Ok((Ok(Resource::new_own(id.rep())),))
}

/// What the guest put together, if it can be sent.
fn assemble(request: HostOutgoingRequest) -> Result<Request<wasmtime_wasi_http::WasiBody>, ErrorCode> {
    let method = request.method.try_into();
    let method: Method = method.map_err(|_| ErrorCode::HttpRequestMethodInvalid)?;
    let scheme = match request.scheme {
        Some(types::Scheme::Http) => Scheme::HTTP,
        Some(types::Scheme::Https) | None => Scheme::HTTPS,
        Some(types::Scheme::Other(_)) => return Err(ErrorCode::HttpProtocolError),
    };
    let path = request.path_with_query.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let path: PathAndQuery = path.parse().map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    let uri = Uri::builder().scheme(scheme).authority(request.authority.unwrap_or_default()).path_and_query(path);
    let uri = uri.build().map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    let nothing = || Empty::<Bytes>::new().map_err(|error| match error {}).boxed_unsync();
    let mut assembled = Request::new(request.body.unwrap_or_else(nothing));
    *assembled.method_mut() = method;
    *assembled.uri_mut() = uri;
    *assembled.headers_mut() = request.headers.into();
    Ok(assembled)
}

/// The guest has written the body: of a request, which can be asked for then, or of anything else.
fn finish(
    mut store: Store<'_>,
    (body, trailers): (Resource<HostOutgoingBody>, Option<Resource<FieldMap>>),
) -> wasmtime::Result<(Result<(), ErrorCode>,)> {
    let guest = store.data_mut();
    let body = guest.table.delete(body)?;
    let trailers = trailers.map(|trailers| guest.table.delete(trailers)).transpose()?;
    let finished = body.finish(trailers);
    let Guest { http, table, .. } = guest;
    if let Some(http) = http {
        http.unsent.retain(|rep| match table.get_mut(&Resource::<Exchange>::new_borrow(*rep)) {
            Ok(exchange) => !exchange.try_ask(),
            Err(_) => false,
        });
    }
    Ok((finished,))
}

fn get(mut store: Store<'_>, id: FutureId) -> wasmtime::Result<Got> {
    let guest = store.data_mut();
    let exchange = guest.table.get_mut(&Resource::<Exchange>::new_borrow(id.rep()))?;
    let _ = exchange.poll(&mut Context::from_waker(Waker::noop()));
    let sent = match std::mem::replace(&mut exchange.state, State::Taken) {
        State::Answered(sent) => sent,
        State::Taken => return Ok(Some(Err(()))),
        going => {
            exchange.state = going;
            return Ok(None);
        }
    };
    let (parts, body) = match sent {
        Ok(response) => response.into_parts(),
        Err(error) => return Ok(Some(Ok(Err(code(error))))),
    };
    let headers = FieldMap::new_immutable(guest.http().hooks, parts.headers);
    let body = Some(HostIncomingBody::new(body));
    let response = HostIncomingResponse { status: parts.status.as_u16(), headers, body };
    Ok(Some(Ok(Ok(guest.table.push(response)?))))
}

impl Exchange {
    fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading(_))
    }

    /// Asks for the request if its body is whole. Says whether it was.
    fn try_ask(&mut self) -> bool {
        if self.is_reading() {
            self.poll_reading(&mut Context::from_waker(Waker::noop()));
        }
        !self.is_reading()
    }

    fn poll_reading(&mut self, context: &mut Context<'_>) {
        if let State::Reading(reading) = &mut self.state
            && let Poll::Ready(result) = reading.as_mut().poll(context)
        {
            let asked = result.and_then(|(head, body)| {
                let mut ends = self.wire.lock();
                ends.unsent_bytes = ends.unsent_bytes.saturating_sub(body.len());
                drop(ends);
                ask(&self.wire, head, body)
            });
            self.state = asked.map_or_else(|error| State::Answered(Err(error)), State::Asked);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_reading(context);
        if let State::Asked(wait) = &mut self.state
            && let Poll::Ready(completion) = Pin::new(wait).poll(context)
        {
            self.state = State::Answered(response(completion));
        }
        match self.state {
            State::Reading(_) | State::Asked(_) => Poll::Pending,
            State::Answered(_) | State::Taken => Poll::Ready(()),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Exchange {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }
}

/// The body of a request while the guest writes it. It takes whatever comes at once, and passes it on when it is whole:
/// nobody else is at work who could take it in pieces.
struct Gathered {
    wire: Arc<Wire>,
    stream: Box<dyn OutputStream>,
    bytes: BytesMut,
    limit: usize,
}

impl OutputStream for Gathered {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let (all, limit) = (self.bytes.len() + bytes.len(), self.limit);
        if all > limit {
            let what = "the body of a request or response".into();
            return Err(StreamError::Trap(Stop::Payload { what, bytes: all, limit }.into()));
        }
        self.wire.lock().gather(bytes.len()).map_err(|stop| StreamError::Trap(stop.into()))?;
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.limit.max(1))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Gathered {
    async fn ready(&mut self) {}
}

impl Drop for Gathered {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            // If it isn't as long as its header says, that is found when the body is finished.
            let _ = self.stream.write(std::mem::take(&mut self.bytes).freeze());
        }
    }
}

/// An error as version 0.2 has it.
fn code(error: Error) -> ErrorCode {
    match error {
        Error::HttpRequestUriInvalid => ErrorCode::HttpRequestUriInvalid,
        Error::HttpRequestBodySize(bytes) => ErrorCode::HttpRequestBodySize(bytes),
        Error::DestinationIpProhibited => ErrorCode::DestinationIpProhibited,
        Error::DnsError { rcode, info_code } => ErrorCode::DnsError(types::DnsErrorPayload { rcode, info_code }),
        Error::ConnectionRefused => ErrorCode::ConnectionRefused,
        Error::ConnectionTimeout => ErrorCode::ConnectionTimeout,
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::TlsProtocolError => ErrorCode::TlsProtocolError,
        Error::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        Error::HttpResponseBodySize(bytes) => ErrorCode::HttpResponseBodySize(bytes),
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpProtocolError => ErrorCode::HttpProtocolError,
        Error::InternalError(text) => ErrorCode::InternalError(text),
        other => ErrorCode::InternalError(Some(other.to_string())),
    }
}
