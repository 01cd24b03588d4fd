//! What the API says of itself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::errors::Failure;
use super::{Api, components, configs, events, executions, incoming, moves, promises, protocol};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Durable functions",
        description = "Functions that survive: call them, look at them, and settle the promises that they wait for."
    ),
    paths(
        components::upload,
        components::list,
        components::functions,
        components::function,
        configs::function,
        configs::change_function,
        configs::component,
        configs::change_component,
        executions::invoke,
        executions::list,
        executions::get,
        executions::tree,
        executions::journal,
        executions::logs,
        events::events,
        executions::cancel,
        moves::check,
        moves::upgrade,
        moves::resume,
        moves::fork,
        moves::capsule,
        executions::remove,
        promises::create,
        promises::list,
        promises::get,
        promises::resolve,
        promises::reject,
        promises::cancel,
        promises::remove,
        incoming::serve,
        protocol::request,
        protocol::poll,
        health,
    )
)]
struct Document;

pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

/// The same, with what is there besides, or is otherwise, where this API is a part of another.
pub fn described_with(mut other: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let own = Document::openapi();
    other.info = own.info.clone();
    // What is in both stays as it is in the first.
    other.merge(own);
    other
}

/// How the host is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`; anything else is an error.
    status: &'static str,
    version: &'static str,
    /// Executions that wait for a worker.
    queued: usize,
    /// Sessions in memory.
    sessions: usize,
    /// Promises that are to be written to the store.
    unsaved: usize,
    /// Records since the first, applied.
    applied: u64,
    /// Records in the log.
    committed: u64,
    /// Records in the store.
    written: u64,
}

/// Whether the host takes on work, and how much it has.
#[utoipa::path(get, path = "/health",
    responses((status = 200, body = Health), (status = 503, body = super::errors::ErrorDocument)))]
pub(super) async fn health(State(api): State<Api>) -> Result<(StatusCode, Json<Health>), Failure> {
    api.host.admits()?;
    let load = api.host.load();
    let health = Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        queued: load.queued,
        sessions: load.sessions,
        unsaved: load.unsaved,
        applied: load.applied,
        committed: load.committed,
        written: load.written,
    };
    Ok((StatusCode::OK, Json(health)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described() {
        let source = include_str!("lib.rs");
        let document = Document::openapi();
        let routes: Vec<&str> = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(routes.len() > 10);
        for route in routes.iter().filter(|route| **route != "/openapi.json") {
            assert!(document.paths.paths.contains_key(*route), "{route} is not in the document");
        }
    }
}
