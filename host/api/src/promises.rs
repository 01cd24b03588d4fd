//! Promises that somebody outside makes or settles.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use machine::{Id, Outcome, Payload, PromiseKind, Rejection};
use serde_json::value::RawValue;

use super::Api;
use super::errors::{ErrorDocument, Failure};
use super::executions::{self, check_size, existing, page, settle, state, without_spaces};
use super::fresh::Fresh;
use super::types::{Items, ListQuery, NewPromise, PromiseDocument, RemovedDocument, WaitQuery};
use host_partition::Error;

/// Make a promise, or find the one that has the id.
#[utoipa::path(post, path = "/v1/promises", request_body = NewPromise,
    responses((status = 201, description = "It was made", body = PromiseDocument),
        (status = 200, description = "It was there", body = PromiseDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn create(
    State(api): State<Api>,
    fresh: Fresh,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<PromiseDocument>), Failure> {
    let body = body?;
    let new: NewPromise = match body.is_empty() {
        true => NewPromise::default(),
        false => serde_json::from_slice(&body).map_err(|error| Failure::bad_request(error.to_string()))?,
    };
    let id = match &new.id {
        Some(id) => Id::root(id)?,
        None => fresh.id(),
    };
    let param = new.param.map_or(Payload::new(), |param| without_spaces(param.get().as_bytes()));
    check_size(&api, param.len())?;
    let timeout = new.timeout_ms.map_or(api.options.default_timeout, Duration::from_millis);
    let created = api.host.create_promise(id.clone(), param, timeout).await?;
    let promise = api.host.promise(&id).await?.ok_or(Error::from(Rejection::NoPromise(id)))?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(PromiseDocument::whole(&promise))))
}

/// Promises that are not executions or their steps, the newest first.
#[utoipa::path(get, path = "/v1/promises", params(ListQuery),
    responses((status = 200, body = Items<PromiseDocument>), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn list(
    State(api): State<Api>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Items<PromiseDocument>>, Failure> {
    let Query(query) = query?;
    let state = state(&query.state)?;
    page(&api, &query, move |promise| {
        promise.kind == PromiseKind::External && state.is_none_or(|state| promise.state() == state)
    })
    .await
}

/// A promise.
#[utoipa::path(get, path = "/v1/promises/{id}", params(("id" = String, Path,), WaitQuery),
    responses((status = 200, body = PromiseDocument), (status = 404, body = ErrorDocument)))]
pub(super) async fn get(
    state: State<Api>,
    id: Path<String>,
    query: Result<Query<WaitQuery>, QueryRejection>,
) -> Result<Json<PromiseDocument>, Failure> {
    executions::get(state, id, query).await
}

/// Remove a promise that is settled, without waiting for its retention to pass.
#[utoipa::path(delete, path = "/v1/promises/{id}", params(("id" = String, Path,)),
    responses((status = 200, body = RemovedDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn remove(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<RemovedDocument>, Failure> {
    let id = existing(&id)?;
    let promises = api.host.remove(&id).await?;
    Ok(Json(RemovedDocument { id: id.to_string(), promises }))
}

/// Settle a promise with a result.
#[utoipa::path(post, path = "/v1/promises/{id}/resolve", params(("id" = String, Path,)),
    request_body(content = Object, description = "Any JSON value"),
    responses((status = 200, body = PromiseDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn resolve(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<PromiseDocument>, Failure> {
    let value = value(&api, &body?)?;
    settle(&api, existing(&id)?, Outcome::Resolved(value)).await
}

/// Settle a promise with an error.
#[utoipa::path(post, path = "/v1/promises/{id}/reject", params(("id" = String, Path,)),
    request_body(content = Object, description = "Any JSON value"),
    responses((status = 200, body = PromiseDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn reject(
    State(api): State<Api>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<PromiseDocument>, Failure> {
    let value = value(&api, &body?)?;
    settle(&api, existing(&id)?, Outcome::Rejected(value)).await
}

/// Settle a promise that nobody wants any more.
#[utoipa::path(post, path = "/v1/promises/{id}/cancel", params(("id" = String, Path,)),
    responses((status = 200, body = PromiseDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn cancel(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<PromiseDocument>, Failure> {
    settle(&api, existing(&id)?, Outcome::Canceled).await
}

/// The value that a promise is settled with. No body is null.
fn value(api: &Api, body: &Bytes) -> Result<Payload, Failure> {
    if body.is_empty() {
        return Ok(Payload::from_static(b"null"));
    }
    check_size(api, body.len())?;
    serde_json::from_slice::<&RawValue>(body)
        .map_err(|error| Failure::bad_request(format!("the body must be a JSON value: {error}")))?;
    Ok(without_spaces(body))
}
