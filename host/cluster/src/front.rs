//! Taking any request, and having it answered where its id is.
//!
//! A request that is about one id goes to the partition of the id: to its own API, if it is here, or to the node that has
//! it. While the partition moves, it waits, and is put again: an id stands for one call and a promise is settled once, so
//! what was done already is found done. One that makes something under an id of our choice is given that id here, so that
//! it has the same one when it is put again. What is of all partitions is in `lists` and `everywhere`; requests of the
//! promise protocol find their partition in `envelopes`.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http_body_util::Full;
use hyper::body::Incoming;
use machine::{Id, Message, PARTITIONS, partition_of};
use serde::Deserialize;
use tower::ServiceExt;
use uuid::Uuid;

use super::assignment::NodeId;
use super::node::{Node, Owned};
use super::{envelopes, everywhere, guests, letters, lists, status};
use host_api::{FreshId, refuse, unavailable};

/// How long a request waits for a partition that nobody serves, before it is refused.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look again while it waits, if nothing is heard.
const LOOK: Duration = Duration::from_millis(200);
/// How long mail may take to be durable elsewhere.
const MAIL: Duration = Duration::from_secs(5);
/// How long what all partitions are to know waits until they do.
const SPREAD: Duration = Duration::from_secs(30);
/// Says that a node doesn't have the partition that it was asked about.
const NOT_HERE: StatusCode = StatusCode::MISDIRECTED_REQUEST;
/// Names the partition that a request from a peer is for.
const PARTITION: &str = "x-partition";
/// The id of what a request makes, if it names none.
const FRESH: &str = "x-fresh-id";

/// The API of a whole cluster, as any of its nodes offers it.
pub(crate) fn router(node: Node) -> Router {
    Router::new().fallback(answer).with_state(node)
}

/// A request that was read, so that it can be put more than once.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The id of what it makes, if it names none.
    pub(super) fresh: Option<Id>,
}

/// Where a request is answered.
enum Target {
    /// Where the id is.
    Partition(u8),
    /// Where an id of our choice is.
    Fresh,
    /// Anywhere: all partitions would say the same.
    Any,
    /// By all partitions together: a list, the newest first.
    List,
    /// By all partitions together: a report of what was done with a component.
    Report,
    /// By the first partition, which then tells all others.
    First,
    /// The same, of a component, which all partitions may have to check before.
    Upload,
    /// A request of the promise protocol.
    Envelope,
    /// Messages of the promise protocol, for a member of a group.
    Poll(String, String),
    /// By this node, whether it has its database or not, to anybody.
    Open(fn(&Node) -> Response),
    /// By this node, of the cluster.
    Own(fn(&Node) -> Response),
}

async fn answer(State(node): State<Node>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let api = &node.0.options.api;
    let limit = match parts.uri.path() {
        "/" => api.envelope_bytes(),
        path if path.starts_with("/v1/components") => api.component_bytes,
        _ => api.payload_bytes + 4096,
    };
    let Ok(body) = to_bytes(body, limit).await else { return host_api::too_large() };
    let mut headers = parts.headers;
    headers.remove(FRESH);
    let asked = Asked { method: parts.method, uri: parts.uri, headers, body, fresh: None };
    match target(&asked) {
        Target::Open(answer) => answer(&node),
        target => match refuses(&node) {
            Some(refused) => refused,
            None => taken_on(&node, target, asked).await,
        },
    }
}

async fn taken_on(node: &Node, target: Target, asked: Asked) -> Response {
    let api = &node.0.options.api;
    match target {
        Target::Envelope => envelopes::answer(node, asked).await,
        target => match refuse(&api.token, &asked.headers) {
            Some(refused) => refused,
            None => granted(node, target, asked).await,
        },
    }
}

async fn granted(node: &Node, target: Target, mut asked: Asked) -> Response {
    match target {
        Target::Open(answer) | Target::Own(answer) => answer(node),
        Target::Partition(partition) => {
            asked.fresh = Some(id_in(partition));
            put(node, partition, asked).await
        }
        Target::Fresh => {
            let partition = node.some_partition();
            asked.fresh = Some(id_in(partition));
            put(node, partition, asked).await
        }
        Target::Any | Target::Envelope => put(node, node.some_partition(), asked).await,
        Target::List => lists::answer(node, asked).await,
        Target::Report => everywhere::report(node, asked).await,
        // It decides about names and configurations, and tells all others.
        Target::First => put(node, 0, asked).await,
        Target::Upload => everywhere::upload(node, asked).await,
        Target::Poll(group, member) => letters::poll(node, group, member),
    }
}

/// Why nothing is taken on, if so: nobody is kept waiting for what can't be kept.
pub(super) fn refuses(node: &Node) -> Option<Response> {
    if !node.may_answer() {
        return Some(lost_database(node));
    }
    let stalled = node.0.counts.stalled()?;
    Some(unavailable(&format!("nothing can be recorded at the moment: {stalled}")))
}

fn lost_database(node: &Node) -> Response {
    let why = node.lost().map_or(String::new(), |why| format!(" ({why})"));
    unavailable(&format!("this node has lost the database of its cluster{why}, and answers once it has it again"))
}

fn target(asked: &Asked) -> Target {
    let path = asked.uri.path().trim_matches('/');
    let segments: Vec<&str> = path.split('/').collect();
    let is_get = asked.method == Method::GET;
    let by_key = || match asked.headers.get("idempotency-key").and_then(|key| key.to_str().ok()) {
        Some(key) => Target::Partition(partition_of(key)),
        None => Target::Fresh,
    };
    match segments.as_slice() {
        [""] if asked.method == Method::POST => Target::Envelope,
        ["poll", group, member] if is_get => Target::Poll(decoded(group), decoded(member)),
        ["openapi.json"] => Target::Open(status::document),
        ["health"] => Target::Open(status::health),
        ["ready"] => Target::Open(status::ready),
        ["metrics"] => Target::Open(status::metrics),
        ["v1", "nodes"] => Target::Own(status::nodes),
        ["v1", "partitions"] => Target::Own(status::partitions),
        ["v1", "components"] if !is_get => Target::Upload,
        ["v1", "components", "check"] | ["v1", "components", _, "upgrade"] => Target::Report,
        ["v1", "components" | "functions", _, "config"] => Target::First,
        ["v1", "executions" | "promises"] if is_get => Target::List,
        ["v1", "functions", _, "invoke"] => match query_value(&asked.uri, "id") {
            Some(id) => Target::Partition(partition_of(&id)),
            None => by_key(),
        },
        ["http", ..] => by_key(),
        ["v1", "promises"] => {
            #[derive(Deserialize)]
            struct Named {
                id: Option<String>,
            }
            // What can't be read is refused where it is looked at.
            let named = serde_json::from_slice::<Named>(&asked.body).ok().and_then(|named| named.id);
            named.map_or(Target::Fresh, |id| Target::Partition(partition_of(&id)))
        }
        ["v1", "executions" | "promises", id, ..] => Target::Partition(partition_of(&decoded(id))),
        _ => Target::Any,
    }
}

/// An id that was made up, of a partition. Ids that are made up ascend with time.
fn id_in(partition: u8) -> Id {
    let made = Uuid::now_v7().as_u128();
    let ids = (0..).map(|n| Uuid::from_u128(made.wrapping_add(n)).simple().to_string());
    let ids = ids.map(|text| Id::root(&text).expect("hexadecimal digits are an id"));
    debug_assert!(usize::from(partition) < PARTITIONS);
    ids.into_iter().find(|id| id.partition() == partition).expect("there is always another number")
}

pub(super) fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(&value.replace('+', " "))).next()
}

/// Without percent signs; what doesn't decode stays as it is.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), |text| text.into_owned())
}

/// Have a request answered by a partition, wherever it is, and wherever it goes meanwhile.
pub(super) async fn put(node: &Node, partition: u8, asked: Asked) -> Response {
    let mut moves = node.moves();
    let mut refused_since: Option<Instant> = None;
    loop {
        moves.borrow_and_update();
        let attempt = attempt(node, partition, &asked).await;
        if !node.may_answer() {
            return lost_database(node);
        }
        let why = match attempt {
            Ok(response) => return response,
            Err(why) => why,
        };
        if node.is_cut_off() && node.owner(partition).is_some_and(|owner| node.0.reach.is_silent(owner)) {
            return unavailable(&format!("this node and others of its cluster don't reach each other: {why}"));
        }
        if refused_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return unavailable(&format!("nobody serves partition {partition} of the cluster at the moment: {why}"));
        }
        node.look_soon();
        let _ = tokio::time::timeout(LOOK, moves.changed()).await;
    }
}

/// One attempt. An error: it is to be put again, once partitions have moved.
async fn attempt(node: &Node, partition: u8, asked: &Asked) -> Result<Response, String> {
    if let Some(owned) = node.owned(partition) {
        return ask_here(node, &owned, asked).await;
    }
    match node.owner(partition) {
        Some(owner) if owner != node.id() => ask_there(node, owner, partition, asked).await,
        Some(_) => Err("it is being restored".into()),
        None => Err("it has no owner".into()),
    }
}

async fn ask_here(node: &Node, owned: &Owned, asked: &Asked) -> Result<Response, String> {
    let mut gone = owned.gone.subscribe();
    let mut request = Request::new(Body::from(asked.body.clone()));
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = asked.uri.clone();
    *request.headers_mut() = asked.headers.clone();
    if let Some(id) = &asked.fresh {
        request.extensions_mut().insert(FreshId(id.clone()));
    }
    let response = tokio::select! {
        response = owned.router.clone().oneshot(request) => response.unwrap_or_else(|never| match never {}),
        _ = gone.wait_for(|gone| *gone) => return Err("it has moved".into()),
    };
    let is_closing = *node.0.closing.borrow();
    let has_failed = owned.partition.failure().is_some() || *owned.gone.borrow();
    if response.status().is_server_error() && has_failed && !is_closing {
        return Err("it was lost".into());
    }
    let is_for_all = matches!(target(asked), Target::First | Target::Upload) && asked.method != Method::GET;
    if is_for_all && owned.is_first && response.status().is_success() {
        return Ok(spread(owned, response).await);
    }
    let is_stream = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if !is_stream {
        return Ok(response);
    }
    // A stream of a partition that has gone would never say anything again: its client is to come back.
    let (parts, body) = response.into_parts();
    let until = async move { drop(gone.wait_for(|gone| *gone).await) };
    let body = body.into_data_stream().take_until(Box::pin(until));
    Ok(Response::from_parts(parts, Body::from_stream(body)))
}

/// What all partitions are to know is answered when they do.
async fn spread(owned: &Owned, response: Response) -> Response {
    let begun = Instant::now();
    let sent = owned.partition.mail_sent();
    while !owned.partition.is_mail_delivered(&sent) {
        if begun.elapsed() > SPREAD || *owned.gone.borrow() {
            let what = "it was done, and not all partitions of the cluster know of it yet: do it again to be sure";
            return unavailable(what);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    response
}

async fn ask_there(node: &Node, owner: NodeId, partition: u8, asked: &Asked) -> Result<Response, String> {
    let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = peer_request(asked.method.clone(), path, asked.body.clone());
    for (name, value) in &asked.headers {
        let is_of_connection = [header::CONNECTION, header::HOST, header::TRANSFER_ENCODING, header::UPGRADE];
        if !is_of_connection.contains(name) && name != "keep-alive" && name != header::CONTENT_LENGTH {
            request.headers_mut().append(name, value.clone());
        }
    }
    request.headers_mut().insert(PARTITION, u16::from(partition).into());
    if let Some(id) = &asked.fresh {
        let id = HeaderValue::try_from(id.as_str()).expect("hexadecimal digits go into a header");
        request.headers_mut().insert(FRESH, id);
    }
    let response = node.0.peers.send(owner, request).await.map_err(|error| error.to_string())?;
    if response.status() == NOT_HERE {
        return Err("its owner doesn't have it any more, or not yet".into());
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::DATE);
    let is_stream = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if is_stream {
        return Ok(Response::from_parts(parts, Body::new(body)));
    }
    // Whole before the client is told anything: the node may die in the middle of it.
    let whole = to_bytes(Body::new(body), usize::MAX).await.map_err(|error| error.to_string())?;
    Ok(Response::from_parts(parts, Body::from(whole)))
}

pub(super) fn peer_request(method: Method, path: &str, body: Bytes) -> axum::http::Request<Full<Bytes>> {
    let uri: Uri = format!("https://node{path}").parse().expect("it was the path of a request");
    let mut request = axum::http::Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request
}

/// A request from another node of the cluster.
pub(super) async fn answer_peer(node: Node, request: axum::http::Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    // Peers have looked at sizes before they forward anything.
    let Ok(body) = to_bytes(Body::new(body), usize::MAX).await else { return StatusCode::BAD_REQUEST.into_response() };
    let Parts { method, uri, mut headers, .. } = parts;
    let partition = headers.remove(PARTITION).and_then(|value| value.to_str().ok()?.parse::<u8>().ok());
    match (uri.path(), partition) {
        ("/peer/wake", _) => {
            node.look_soon();
            StatusCode::NO_CONTENT.into_response()
        }
        ("/peer/there", _) => StatusCode::NO_CONTENT.into_response(),
        ("/peer/mail", Some(to)) => receive_mail(&node, to, &body).await,
        (path, None) if path.starts_with("/peer/letters/") => letters::answer(&node, path, &body),
        (path, None) if path.starts_with("/peer/guests/") => guests::answer(&node, path, body).await,
        (_, Some(partition)) if node.may_answer() => {
            let Some(owned) = node.owned(partition) else { return NOT_HERE.into_response() };
            if let Some(refused) = refuses(&node) {
                return refused;
            }
            // The address is that of the client's request, without the name of this node.
            let uri = uri.path_and_query().and_then(|path| path.as_str().parse().ok()).unwrap_or_default();
            let fresh = headers.remove(FRESH).and_then(|id| Id::root(id.to_str().ok()?).ok());
            let asked = Asked { method, uri, headers, body, fresh };
            match ask_here(&node, &owned, &asked).await {
                Ok(response) if node.may_answer() => response,
                _ => NOT_HERE.into_response(),
            }
        }
        _ => NOT_HERE.into_response(),
    }
}

/// Mail as it travels: the sender's partition, and messages with their numbers.
type Sent = (u8, Vec<(u64, Message)>);

/// Carry mail to a partition that isn't here. It is durable there when this returns.
pub(super) async fn send_mail(
    node: &Node,
    from: u8,
    to: u8,
    messages: Vec<(u64, Message)>,
) -> Result<(), anyhow::Error> {
    let owner = node.owner(to).filter(|owner| *owner != node.id());
    let owner = owner.ok_or_else(|| anyhow::anyhow!("it has no owner"))?;
    let sent: Sent = (from, messages);
    let mut request = peer_request(Method::POST, "/peer/mail", postcard::to_stdvec(&sent)?.into());
    request.headers_mut().insert(PARTITION, u16::from(to).into());
    let response = tokio::time::timeout(MAIL, node.0.peers.send(owner, request)).await;
    let status = response.map_err(|_| anyhow::anyhow!("its owner doesn't answer"))??.status();
    if status == NOT_HERE {
        node.look_soon();
    }
    anyhow::ensure!(status == StatusCode::NO_CONTENT, "its owner answered {status}");
    Ok(())
}

async fn receive_mail(node: &Node, to: u8, body: &[u8]) -> Response {
    let Some(owned) = node.owned(to) else { return NOT_HERE.into_response() };
    let Ok((from, messages)) = postcard::from_bytes::<Sent>(body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match owned.partition.receive(from, messages).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            tracing::debug!("mail from partition {from} to {to} was not taken: {error}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// Have another node look at the database now.
pub(super) async fn wake(node: &Node, peer: NodeId) {
    // It looks by itself a little later.
    let request = peer_request(Method::POST, "/peer/wake", Bytes::new());
    let _ = tokio::time::timeout(Duration::from_secs(1), node.0.peers.send(peer, request)).await;
}

/// Whether another node answers.
pub(super) async fn is_there(node: &Node, peer: NodeId, patience: Duration) -> bool {
    let request = peer_request(Method::GET, "/peer/there", Bytes::new());
    let answer = tokio::time::timeout(patience, node.0.peers.send(peer, request)).await;
    answer.is_ok_and(|answer| answer.is_ok())
}
