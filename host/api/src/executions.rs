//! Calling functions, and looking at what became of it.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use machine::{Id, Outcome, Payload, Promise, PromiseState, Rejection};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Api;
use super::errors::{ErrorDocument, Failure};
use super::fresh::Fresh;
use super::types::{
    EntryDocument, FromQuery, InvokeQuery, Items, ListQuery, LogDocument, PromiseDocument, RemovedDocument, TreeQuery,
    WaitQuery,
};
use host_partition::{Error, Invocation};

const DEFAULT_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Entries and lines of output in one answer.
const AT_ONCE: usize = 10_000;

type Answer = (StatusCode, Json<PromiseDocument>);

/// Call a function, or attach to the call that has the id.
#[utoipa::path(post, path = "/v1/functions/{name}/invoke", params(("name" = String, Path,), InvokeQuery),
    request_body(content = Vec<Object>, description = "The arguments: a JSON array"),
    responses((status = 200, description = "It has ended", body = PromiseDocument),
        (status = 202, description = "It is under way", body = PromiseDocument),
        (status = "4XX", body = ErrorDocument)))]
pub(super) async fn invoke(
    State(api): State<Api>,
    Path(function): Path<String>,
    query: Result<Query<InvokeQuery>, QueryRejection>,
    headers: HeaderMap,
    fresh: Fresh,
    body: Result<Bytes, BytesRejection>,
) -> Result<Answer, Failure> {
    let Query(query) = query?;
    let arguments = arguments(&api, &function, &body?)?;
    let key = match headers.get("idempotency-key") {
        Some(key) => {
            Some(key.to_str().map_err(|_| Failure::bad_request("the header Idempotency-Key isn't text"))?.to_owned())
        }
        None => None,
    };
    let id = match query.id.or(key) {
        Some(id) => Id::root(&id)?,
        None => fresh.id(),
    };
    let invocation = Invocation {
        id,
        function,
        arguments,
        timeout: query.timeout_ms.map_or(api.options.default_timeout, Duration::from_millis),
        seed: Uuid::new_v4().as_u64_pair().0,
    };
    let wait = query.wait_ms.map_or(DEFAULT_WAIT, Duration::from_millis).min(LONGEST_WAIT);
    if wait.is_zero() {
        return Ok(answer(&api, &api.host.invoke(invocation).await?.0));
    }
    tokio::select! {
        biased;
        waited = api.host.invoke_and_wait(invocation, wait) => Ok(answer(&api, &waited?.0)),
        () = api.closing() => Err(Error::Stopping.into()),
    }
}

/// The arguments of a call, held against what the function takes, in the form in which they are kept: without spaces.
fn arguments(api: &Api, function: &str, body: &Bytes) -> Result<Payload, Failure> {
    let body = if body.is_empty() { &Bytes::from_static(b"[]") } else { body };
    check_size(api, body.len())?;
    let array: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
        Failure::bad_request(format!("the body must be the arguments as a JSON array, such as [1, \"two\"]: {error}"))
    })?;
    if let Some((component, index)) = api.host.function(function) {
        api.schemas.check(&component, index, &array)?;
    }
    Ok(without_spaces(body))
}

/// Values are kept as they were written, but for the spaces between: so numbers of any size keep their digits.
pub(super) fn without_spaces(json: &[u8]) -> Payload {
    let (mut in_string, mut escaped) = (false, false);
    let is_kept = |byte: &u8| {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            return true;
        }
        in_string = *byte == b'"';
        !byte.is_ascii_whitespace()
    };
    json.iter().copied().filter(is_kept).collect::<Vec<u8>>().into()
}

pub(super) fn check_size(api: &Api, bytes: usize) -> Result<(), Failure> {
    let limit = api.options.payload_bytes;
    if bytes > limit {
        let message = format!("the value has {bytes} bytes, and this host takes {limit}; see its --payload-limit");
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message));
    }
    Ok(())
}

pub(super) fn answer(api: &Api, promise: &Promise) -> Answer {
    let status = if promise.outcome.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    (status, Json(PromiseDocument::explained(promise, &api.host)))
}

/// Executions, the newest first.
#[utoipa::path(get, path = "/v1/executions", params(ListQuery),
    responses((status = 200, body = Items<PromiseDocument>), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn list(
    State(api): State<Api>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Items<PromiseDocument>>, Failure> {
    let Query(query) = query?;
    let (state, function) = (state(&query.state)?, query.function.clone());
    let (only_held, only_roots) = (query.held.unwrap_or(false), query.roots.unwrap_or(true));
    page(&api, &query, move |promise| {
        let is_root = promise.owner.as_ref().is_none_or(|owner| owner.detached);
        promise.function().is_some_and(|name| function.as_ref().is_none_or(|function| function == name))
            && state.is_none_or(|state| promise.state() == state)
            && (is_root || !only_roots)
            && (!only_held || promise.execution.as_ref().is_some_and(|execution| execution.held.is_some()))
    })
    .await
}

pub(super) fn state(name: &Option<String>) -> Result<Option<PromiseState>, Failure> {
    use PromiseState as S;
    let all = [S::Pending, S::Resolved, S::Rejected, S::Canceled, S::TimedOut, S::Crashed];
    let Some(name) = name else { return Ok(None) };
    match all.iter().find(|state| state.as_str() == name) {
        Some(state) => Ok(Some(*state)),
        None => {
            let names: Vec<_> = all.iter().map(|state| state.as_str()).collect();
            Err(Failure::bad_request(format!("there is no state {name:?}; states are {}", names.join(", "))))
        }
    }
}

/// A page of promises.
pub(super) async fn page(
    api: &Api,
    query: &ListQuery,
    keep: impl Fn(&Promise) -> bool + Send + 'static,
) -> Result<Json<Items<PromiseDocument>>, Failure> {
    let limit = query.limit.unwrap_or(50).clamp(1, 1_000);
    let position = match &query.cursor {
        None => None,
        Some(cursor) => Some(
            cursor.parse().map_err(|_| Failure::bad_request(format!("{cursor:?} is no cursor that a list gave")))?,
        ),
    };
    let page = api.host.list(position, limit, keep).await?;
    Ok(Json(Items {
        items: page.items.iter().map(PromiseDocument::brief).collect(),
        next: Some(page.next.map(|position| position.to_string())),
        truncated: None,
    }))
}

/// An execution, or any promise.
#[utoipa::path(get, path = "/v1/executions/{id}", params(("id" = String, Path,), WaitQuery),
    responses((status = 200, body = PromiseDocument), (status = 404, body = ErrorDocument)))]
pub(super) async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Result<Query<WaitQuery>, QueryRejection>,
) -> Result<Json<PromiseDocument>, Failure> {
    let Query(query) = query?;
    let id = existing(&id)?;
    let wait = Duration::from_millis(query.wait_ms.unwrap_or(0)).min(LONGEST_WAIT);
    let waited = async {
        if wait.is_zero() {
            return Ok(None);
        }
        tokio::select! {
            biased;
            promise = api.host.wait(&id, wait) => promise.map(Some),
            () = api.closing() => Ok(None),
        }
    };
    let promise = match waited.await? {
        Some(promise) => promise,
        None => api.host.promise(&id).await?.ok_or(Error::from(Rejection::NoPromise(id)))?,
    };
    Ok(Json(PromiseDocument::explained(&promise, &api.host)))
}

/// An id that somebody asks about. A text that can't be one is that of nothing.
pub(super) fn existing(id: &str) -> Result<Id, Failure> {
    Id::parse(id).map_err(|error| {
        let message = format!("there is no promise with the id {id:?}: {error}");
        Failure::new(StatusCode::NOT_FOUND, "no_promise", message)
    })
}

pub(super) async fn execution(api: &Api, id: &str) -> Result<Id, Failure> {
    let id = existing(id)?;
    match api.host.promise(&id).await? {
        None => Err(Error::from(Rejection::NoPromise(id)).into()),
        Some(promise) if promise.execution.is_none() => Err(Error::from(Rejection::NoExecution(id)).into()),
        Some(_) => Ok(id),
    }
}

/// An execution and everything below it in its call tree.
#[utoipa::path(get, path = "/v1/executions/{id}/tree", params(("id" = String, Path,), TreeQuery),
    responses((status = 200, body = Items<PromiseDocument>), (status = 404, body = ErrorDocument)))]
pub(super) async fn tree(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Result<Query<TreeQuery>, QueryRejection>,
) -> Result<Json<Items<PromiseDocument>>, Failure> {
    let Query(query) = query?;
    let id = execution(&api, &id).await?;
    let (promises, truncated) = api.host.tree(&id, query.limit.unwrap_or(1_000).clamp(1, 10_000)).await?;
    let items = promises.iter().map(PromiseDocument::brief).collect();
    Ok(Json(Items { items, next: None, truncated: Some(truncated) }))
}

/// The journal of an execution: everything that it did and was told, in order. At most 10,000 entries at a time.
#[utoipa::path(get, path = "/v1/executions/{id}/journal", params(("id" = String, Path,), FromQuery),
    responses((status = 200, body = Items<EntryDocument>), (status = 404, body = ErrorDocument)))]
pub(super) async fn journal(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Result<Query<FromQuery>, QueryRejection>,
) -> Result<Json<Items<EntryDocument>>, Failure> {
    let from = query?.0.from.unwrap_or(0);
    let id = execution(&api, &id).await?;
    let entries = api.host.journal(&id, from).await?;
    let truncated = entries.len() > AT_ONCE;
    let items =
        (from..=u32::MAX).zip(entries.iter().take(AT_ONCE)).map(|(index, entry)| EntryDocument::of(index, entry));
    Ok(Json(Items { items: items.collect(), next: None, truncated: Some(truncated) }))
}

/// What an execution wrote. At most 10,000 lines at a time.
#[utoipa::path(get, path = "/v1/executions/{id}/logs", params(("id" = String, Path,), FromQuery),
    responses((status = 200, body = Items<LogDocument>), (status = 404, body = ErrorDocument)))]
pub(super) async fn logs(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Result<Query<FromQuery>, QueryRejection>,
) -> Result<Json<Items<LogDocument>>, Failure> {
    let from = query?.0.from.unwrap_or(0);
    let id = execution(&api, &id).await?;
    let output = api.host.output(&id, from).await?;
    let truncated = output.len() > AT_ONCE;
    let items = (from..=u32::MAX).zip(output.iter().take(AT_ONCE)).map(|(index, piece)| LogDocument::of(index, piece));
    Ok(Json(Items { items: items.collect(), next: None, truncated: Some(truncated) }))
}

/// End an execution, and those that it called.
#[utoipa::path(post, path = "/v1/executions/{id}/cancel", params(("id" = String, Path,)),
    responses((status = 200, body = PromiseDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn cancel(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<PromiseDocument>, Failure> {
    let id = execution(&api, &id).await?;
    settle(&api, id, Outcome::Canceled).await
}

/// Remove an execution that has ended, and all below it, without waiting for its retention to pass. Its id can be used
/// anew after that.
#[utoipa::path(delete, path = "/v1/executions/{id}", params(("id" = String, Path,)),
    responses((status = 200, body = RemovedDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn remove(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<RemovedDocument>, Failure> {
    let id = execution(&api, &id).await?;
    let promises = api.host.remove(&id).await?;
    Ok(Json(RemovedDocument { id: id.to_string(), promises }))
}

/// Settle a promise, and show it.
pub(super) async fn settle(api: &Api, id: Id, outcome: Outcome) -> Result<Json<PromiseDocument>, Failure> {
    api.host.settle(id.clone(), outcome).await?;
    let promise = api.host.promise(&id).await?.ok_or(Error::from(Rejection::NoPromise(id)))?;
    Ok(Json(PromiseDocument::whole(&promise)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_between_values_go_and_those_in_strings_stay() {
        let json = br#" [ 1 , "a \" b\\" , { "k" : 12345678901234567890123 } ] "#;
        assert_eq!(&without_spaces(json)[..], br#"[1,"a \" b\\",{"k":12345678901234567890123}]"#);
    }
}
