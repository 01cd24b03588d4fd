//! Executions seen through a component: checking a candidate, upgrading, resuming what is held, and forking.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use machine::{Component, Id, Rejection};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::errors::{ErrorDocument, Failure};
use super::executions::execution;
use super::fresh::Fresh;
use super::types::PromiseDocument;
use host_partition::{Error, Scope};
use host_replay::{Difference, Report, Tally};

/// How long a component is looked at unless more is asked for, and at most.
const DEFAULT_TIME: Duration = Duration::from_secs(60);
const LONGEST_TIME: Duration = Duration::from_secs(3600);
/// How many finished executions are looked at unless more is asked for, and at most.
const DEFAULT_FINISHED: usize = 100;
const MOST_FINISHED: usize = 10_000;

/// What a candidate is checked with.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CheckQuery {
    /// How many finished executions, the newest: 100 unless said, at most 10,000.
    finished: Option<usize>,
    /// How long it may take: 60,000 unless said.
    time_ms: Option<u64>,
    /// The name of a component that answers requests over HTTP, as for its upload.
    mount: Option<String>,
}

/// How executions are moved.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UpgradeQuery {
    /// How long it may take: 60,000 unless said.
    time_ms: Option<u64>,
}

/// How a component is uploaded.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UploadQuery {
    /// Refuse it if an unfinished execution would not go on unchanged on it.
    pub(super) check: Option<bool>,
    /// Where it is served if it answers requests over HTTP: at `/http/NAME/`.
    pub(super) mount: Option<String>,
}

/// What an execution is resumed on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ResumeQuery {
    /// The digest of a component, the first digits of it, or a component's name. The current component that has its
    /// function unless said.
    on: Option<String>,
}

/// How an execution is forked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ForkQuery {
    /// The index of the last entry that the fork takes over.
    at: u32,
    /// Of the fork. Made up unless said.
    id: Option<String>,
    /// The component that it goes on on; the one that the history was on unless said.
    on: Option<String>,
    /// From now to its deadline.
    timeout_ms: Option<u64>,
}

/// What became of a component's executions, or would.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct ReportDocument {
    digest: String,
    name: String,
    version: String,
    /// Whether all of them were looked at in the time that there was.
    complete: bool,
    functions: Vec<TallyDocument>,
}

/// What became of the executions of a function, or would.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
struct TallyDocument {
    name: String,
    /// Those that have not ended.
    unfinished: CountsDocument,
    /// Of those that have ended, the newest.
    finished: CountsDocument,
}

/// How many executions there are of either kind.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
struct CountsDocument {
    /// They go on, or went, as they have.
    same: u64,
    /// They don't.
    differ: u64,
    /// The first of those, and where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<DifferenceDocument>,
}

/// Where an execution would do something else than its journal has.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
struct DifferenceDocument {
    /// The execution.
    id: String,
    /// The index of the entry.
    entry: u32,
    /// What the journal has there.
    recorded: String,
    /// What the component does.
    observed: String,
    /// Where in its source, innermost first. Empty: that isn't known.
    at: Vec<String>,
}

impl ReportDocument {
    fn of(component: &Component, report: &Report) -> ReportDocument {
        ReportDocument {
            digest: component.digest.to_string(),
            name: component.name.clone(),
            version: component.version.clone(),
            complete: report.is_complete,
            functions: report.functions.iter().map(|(name, tally)| TallyDocument::of(name, tally)).collect(),
        }
    }
}

impl ReportDocument {
    /// Count what another partition has counted for the same component.
    pub fn add(&mut self, other: ReportDocument) {
        self.complete &= other.complete;
        for tally in other.functions {
            match self.functions.iter_mut().find(|own| own.name == tally.name) {
                Some(own) => {
                    own.unfinished.add(tally.unfinished);
                    own.finished.add(tally.finished);
                }
                None => self.functions.push(tally),
            }
        }
    }

    /// Why the component isn't uploaded, if what is under way has to go on unchanged on it.
    pub fn refusal(&self) -> Option<Response> {
        self.differs().map(Failure::into_response)
    }

    fn differs(&self) -> Option<Failure> {
        let differ: u64 = self.functions.iter().map(|tally| tally.unfinished.differ).sum();
        let first = self.functions.iter().find_map(|tally| Some((&tally.name, tally.unfinished.first.as_ref()?)));
        let message = match first {
            Some((function, DifferenceDocument { id, entry, recorded, observed, at })) => {
                let at: String = at.iter().map(|place| format!("\n  at {place}")).collect();
                format!(
                    "{differ} of the executions under way would not go on unchanged on {} {}, and it was not uploaded. \
                     The first is {id}: the replay differs at entry {entry}\n  the journal has  {recorded}\n  \
                     the guest did    {observed}\n  in the function {function:?}{at}",
                    self.name, self.version,
                )
            }
            None if !self.complete => format!(
                "there was no time to replay all executions under way in {} s, and it was not uploaded",
                DEFAULT_TIME.as_secs()
            ),
            None => return None,
        };
        Some(Failure::new(StatusCode::CONFLICT, "differs", message))
    }
}

impl CountsDocument {
    fn add(&mut self, other: CountsDocument) {
        self.same += other.same;
        self.differ += other.differ;
        if self.first.is_none() {
            self.first = other.first;
        }
    }
}

impl TallyDocument {
    fn of(name: &str, tally: &Tally) -> TallyDocument {
        let first = |first: &Option<(Id, Difference)>| {
            first.as_ref().map(|(id, difference)| DifferenceDocument {
                id: id.to_string(),
                entry: difference.position,
                recorded: difference.recorded_text(),
                observed: difference.observed_text(),
                at: difference.stack.clone(),
            })
        };
        let Tally { same, differ, finished_same, finished_differ, .. } = *tally;
        TallyDocument {
            name: name.to_owned(),
            unfinished: CountsDocument { same, differ, first: first(&tally.first) },
            finished: CountsDocument {
                same: finished_same,
                differ: finished_differ,
                first: first(&tally.finished_first),
            },
        }
    }
}

impl CheckQuery {
    fn scope(&self) -> Scope {
        Scope { finished: self.finished.unwrap_or(DEFAULT_FINISHED).min(MOST_FINISHED), time: time(self.time_ms) }
    }
}

fn time(ms: Option<u64>) -> Duration {
    ms.map_or(DEFAULT_TIME, Duration::from_millis).min(LONGEST_TIME)
}

/// Replay all unfinished executions of a component's functions on it, and some that have ended, without keeping it or
/// changing anything.
#[utoipa::path(post, path = "/v1/components/check", params(CheckQuery),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 200, body = ReportDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn check(
    State(api): State<Api>,
    query: Result<Query<CheckQuery>, QueryRejection>,
    wasm: Result<Bytes, BytesRejection>,
) -> Result<Json<ReportDocument>, Failure> {
    let Query(query) = query?;
    let scope = query.scope();
    let (component, report) = api.host.check(wasm?, query.mount, scope).await?;
    Ok(Json(ReportDocument::of(&component, &report)))
}

/// Refuse a component on which an unfinished execution would do something else, or on which there was no time for all.
pub(super) async fn must_go_on(api: &Api, wasm: Bytes, mount: Option<String>) -> Result<(), Failure> {
    let scope = Scope { finished: 0, time: DEFAULT_TIME };
    let (component, report) = api.host.check(wasm, mount, scope).await?;
    ReportDocument::of(&component, &report).differs().map_or(Ok(()), Err)
}

/// Move all unfinished executions of the current component of this name to it that would go on unchanged, each by itself.
/// The others stay where they are.
#[utoipa::path(post, path = "/v1/components/{name}/upgrade", params(("name" = String, Path,), UpgradeQuery),
    responses((status = 200, body = ReportDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn upgrade(
    State(api): State<Api>,
    Path(name): Path<String>,
    query: Result<Query<UpgradeQuery>, QueryRejection>,
) -> Result<Json<ReportDocument>, Failure> {
    let time = time(query?.0.time_ms);
    let component = api.host.find_component(&name).await?;
    let report = api.host.upgrade(component.clone(), time).await?;
    Ok(Json(ReportDocument::of(&component, &report)))
}

/// Let an execution that is held go on. If it would do something else than its journal has, that is the answer, and
/// nothing is changed.
#[utoipa::path(post, path = "/v1/executions/{id}/resume", params(("id" = String, Path,), ResumeQuery),
    responses((status = 200, body = PromiseDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn resume(
    State(api): State<Api>,
    Path(id): Path<String>,
    query: Result<Query<ResumeQuery>, QueryRejection>,
) -> Result<Json<PromiseDocument>, Failure> {
    let Query(query) = query?;
    let id = execution(&api, &id).await?;
    let on = match &query.on {
        Some(text) => Some(api.host.find_component(text).await?.digest),
        None => None,
    };
    api.host.resume(id.clone(), on).await?;
    show(&api, id).await
}

/// Begin a new execution with the history of another one, up to an entry of its journal.
///
/// It is told all that the history was told, and goes on from there by itself: calls, sleeps and steps that were under way
/// begin anew as its own, promises that the history had made are its own and as they were, and nothing of the other
/// execution is touched.
#[utoipa::path(post, path = "/v1/executions/{id}/fork", params(("id" = String, Path,), ForkQuery),
    responses((status = 201, body = PromiseDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn fork(
    State(api): State<Api>,
    Path(from): Path<String>,
    fresh: Fresh,
    query: Result<Query<ForkQuery>, QueryRejection>,
) -> Result<(StatusCode, Json<PromiseDocument>), Failure> {
    let Query(query) = query?;
    let from = execution(&api, &from).await?;
    let id = query.id.as_deref().map_or_else(|| Ok(fresh.id()), Id::root)?;
    let on = match &query.on {
        Some(text) => Some(api.host.find_component(text).await?.digest),
        None => None,
    };
    let timeout = query.timeout_ms.map_or(api.options.default_timeout, Duration::from_millis);
    api.host.fork(id.clone(), from, query.at, on, timeout).await?;
    Ok((StatusCode::CREATED, show(&api, id).await?))
}

/// An execution and all below it, with what is needed to run it again on another machine, as one file.
#[utoipa::path(get, path = "/v1/executions/{id}/capsule", params(("id" = String, Path,)),
    responses((status = 200, content_type = "application/octet-stream"), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn capsule(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Failure> {
    let id = execution(&api, &id).await?;
    let file = api.host.capsule(id).await?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], file).into_response())
}

async fn show(api: &Api, id: Id) -> Result<Json<PromiseDocument>, Failure> {
    let promise = api.host.promise(&id).await?.ok_or(Error::from(Rejection::NoPromise(id)))?;
    Ok(Json(PromiseDocument::whole(&promise)))
}
