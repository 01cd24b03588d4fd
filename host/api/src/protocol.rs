//! The promise protocol over HTTP: requests at `POST /`, messages at `GET /poll/{group}/{id}`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::stream;
use machine::{Granted, Payload, Promise};
use serde_json::value::RawValue;
use tokio::sync::watch;
use uuid::Uuid;

use super::Api;
use super::access::{self, Token};
use super::bodies;
use host_protocol::{
    Answer, Calls, Debug, Envelope, Facts, Failure, List, Look, Parsed, Post, Salvaged, Search, To, snapshot,
};

/// Comments keep a quiet connection from being cut.
const QUIET: Duration = Duration::from_secs(15);
/// What a debugger may say the time is: whatever JSON readers agree on.
const LATEST: u64 = machine::NEVER;

/// A request of Resonate's promise protocol, version 2026-04-01: `{kind, head: {corrId, version}, data}`. The answer has the
/// same form, and its `head.status` is the status of HTTP too.
#[utoipa::path(post, path = "/", request_body(content = Object),
    responses((status = 200, body = Object), (status = 300, body = Object), (status = "4XX", body = Object)))]
pub(super) async fn request(State(api): State<Api>, request: Request) -> Response {
    let token = Token::of(request.headers());
    let limit = api.options.envelope_bytes();
    let said = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let too_large = || {
        let message =
            format!("the request has more than the {limit} bytes that this host takes; see its --payload-limit");
        Failure::nonsense(message).answer(To { kind: "", corr_id: "" })
    };
    if said.is_some_and(|bytes| bytes > limit) {
        bodies::discard(request.into_body()).await;
        return send(too_large());
    }
    let Ok(body) = axum::body::to_bytes(request.into_body(), limit).await else { return send(too_large()) };
    send(respond(&api, &body, token).await)
}

fn send(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, json)], answer.body).into_response()
}

async fn respond(api: &Api, body: &[u8], token: Option<Token>) -> Answer {
    let envelope = match Envelope::read(body) {
        Ok(envelope) => envelope,
        Err((Salvaged { kind, corr_id }, why)) => {
            return Failure::nonsense(why).answer(To { kind: &kind, corr_id: &corr_id });
        }
    };
    let to = To { kind: &envelope.kind, corr_id: &envelope.head.corr_id };
    let given = envelope.head.auth.as_deref().map(Token::new).or(token);
    if !access::is_granted(&api.options.token, given.as_ref()) {
        let message = "this host wants a token, in head.auth or in the header Authorization";
        return Failure { status: 401, message: message.into() }.answer(to);
    }
    let debug_time = envelope.head.debug_time.map(|time| time.0);
    if debug_time.is_some() && !api.options.debug {
        return no_debug().answer(to);
    }
    if debug_time.is_some_and(|at| at > LATEST) {
        return Failure::nonsense(format!("resonate:debug_time is at most {LATEST}")).answer(to);
    }
    let parsed = match envelope.parse(&api.options.settings, api) {
        Ok(parsed) => parsed,
        Err(why) => return Failure::nonsense(why).answer(to),
    };
    match act(api, to, parsed, debug_time).await {
        Ok(answer) => answer,
        Err(failure) => failure.answer(to),
    }
}

async fn act(api: &Api, to: To<'_>, parsed: Parsed, at: Option<u64>) -> Result<Answer, Failure> {
    let Parsed { kind, look, inner } = parsed;
    let (host, settings, inner) = (&api.host, &api.options.settings, inner.as_ref());
    let facts = match look {
        Look::Change(request, id) => {
            host.request(request, at, |granted, seen| Facts::of_promise(kind, &id, inner, granted, seen)).await?
        }
        Look::ChangeSchedule(request, id) => {
            host.request(request, at, |granted, seen| Facts::of_schedule(&id, granted, seen)).await?
        }
        Look::Promise(id) => host.see(at, |seen| Facts::of_promise(kind, &id, None, Ok(Granted::Done), seen)).await?,
        Look::Schedule(id) => host.see(at, |seen| Facts::of_schedule(&id, Ok(Granted::Done), seen)).await?,
        Look::Promises(search) => return promises(api, to, search, at).await,
        Look::Tasks(search) => return tasks(api, to, search, at).await,
        Look::Schedules(search) => return schedules(api, to, search, at).await,
        Look::Debug(debug) => return act_on(api, to, debug).await,
    };
    Ok(facts.answer(to, kind, inner, settings))
}

async fn promises(api: &Api, to: To<'_>, search: Search, at: Option<u64>) -> Result<Answer, Failure> {
    let Search { state, tags, limit, cursor } = search;
    let settings = api.options.settings.clone();
    let address = settings.address();
    let keep = move |promise: &Promise, now| {
        let has = |all: &machine::Tags| tags.iter().all(|(name, value)| all.get(name) == Some(value));
        has(&promise.tags(&address))
            && state.as_deref().is_none_or(|state| state == host_protocol::state(promise, &address, now))
    };
    let found = api.host.search(at, cursor, limit, keep).await?;
    let list = List::Promises(found.promises.into_iter().map(Arc::new).collect());
    Ok(list.answer(to, found.next.as_deref(), &settings, found.now))
}

async fn tasks(api: &Api, to: To<'_>, search: Search, at: Option<u64>) -> Result<Answer, Failure> {
    let Search { state, limit, cursor, .. } = search;
    let settings = api.options.settings.clone();
    let known = settings.clone();
    let keep = move |promise: &Promise, now| {
        let task = host_protocol::task_state(promise, &known, now);
        task.is_some_and(|task| state.as_deref().is_none_or(|state| state == task))
    };
    let found = api.host.search(at, cursor, limit, keep).await?;
    let list = List::Tasks(found.promises.into_iter().map(Arc::new).collect());
    Ok(list.answer(to, found.next.as_deref(), &settings, found.now))
}

async fn schedules(api: &Api, to: To<'_>, search: Search, at: Option<u64>) -> Result<Answer, Failure> {
    let Search { tags, limit, cursor, .. } = search;
    let (mut found, now) = api
        .host
        .see(at, |seen| {
            let has = |all: &machine::Tags| tags.iter().all(|(name, value)| all.get(name) == Some(value));
            (seen.schedules(&cursor, limit + 1, |schedule| has(&schedule.template.tags)), seen.now())
        })
        .await?;
    let next = (found.len() > limit).then(|| found.pop()).and_then(|_| found.last().map(|last| last.id.clone()));
    Ok(List::Schedules(found).answer(to, next.as_deref(), &api.options.settings, now))
}

fn no_debug() -> Failure {
    Failure { status: 403, message: "this host wasn't started with --debug".into() }
}

async fn act_on(api: &Api, to: To<'_>, debug: Debug) -> Result<Answer, Failure> {
    if !api.options.debug {
        return Err(no_debug());
    }
    match debug {
        Debug::Start => api.host.pause(),
        Debug::Stop => api.host.unpause(),
        Debug::Reset => api.host.reset().await?,
        Debug::Tick { at } => {
            if at > LATEST {
                return Err(Failure::nonsense(format!("time is at most {LATEST}")));
            }
            api.host.tick(at).await?;
            return Ok(Answer::list(to));
        }
        Debug::Snap => {
            let (mut promises, mut after) = (Vec::new(), Some(String::new()));
            while let Some(id) = after {
                let found = api.host.search(None, id, usize::MAX, |_, _| true).await?;
                promises.extend(found.promises.into_iter().map(Arc::new));
                after = found.next;
            }
            return Ok(snapshot(to, &promises, &api.options.settings));
        }
    }
    Ok(Answer::done(to))
}

/// Messages of the promise protocol for a member of a group of workers, as they come.
#[utoipa::path(get, path = "/poll/{group}/{id}", params(("group" = String, Path,), ("id" = String, Path,)),
    responses((status = 200, content_type = "text/event-stream"), (status = 429)))]
pub(super) async fn poll(State(api): State<Api>, Path((group, member)): Path<(String, String)>) -> Response {
    messages(&api.post, &group, &member, api.closing.clone())
}

/// Messages for a member of a group, until this host closes.
pub fn messages(post: &Post, group: &str, member: &str, closing: watch::Receiver<bool>) -> Response {
    let Some(line) = post.connect(group, member) else {
        return (StatusCode::TOO_MANY_REQUESTS, "this host has as many connections as it takes").into_response();
    };
    let messages = stream::unfold((line, closing), |(mut line, mut closing)| async move {
        let text = tokio::select! {
            text = line.next() => text?,
            _ = closing.wait_for(|closing| *closing) => return None,
        };
        Some((Ok::<_, Infallible>(Event::default().data(text)), (line, closing)))
    });
    Sse::new(messages).keep_alive(KeepAlive::new().interval(QUIET)).into_response()
}

impl Calls for Api {
    fn takes(&self, function: &str) -> Option<usize> {
        let (component, index) = self.host.function(function)?;
        Some(component.functions[index].parameters.len())
    }

    fn check(&self, function: &str, arguments: &Payload) -> Result<(), String> {
        // One that isn't there is for the machine to find.
        let Some((component, index)) = self.host.function(function) else { return Ok(()) };
        let array: Vec<&RawValue> = serde_json::from_slice(arguments).map_err(|error| error.to_string())?;
        let checked = self.schemas.check(&component, index, &array);
        checked.map_err(|failure| failure.message().to_owned())
    }

    fn seed(&self) -> u64 {
        Uuid::new_v4().as_u64_pair().0
    }

    fn payload_bytes(&self) -> usize {
        self.options.payload_bytes
    }
}
