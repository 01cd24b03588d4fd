//! Configurations of functions and components.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use machine::{Egress, Limit, Scope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::errors::{ErrorDocument, Failure};
use host_partition::{Change, Shown};

/// What executions are configured with that start from now on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConfigDocument {
    /// How often it was changed.
    revision: u32,
    /// What the function finds in its environment, by name.
    variables: BTreeMap<String, VariableDocument>,
    /// What it may send requests to: `[scheme://]host[:port]`.
    allow: Vec<String>,
    /// What it may use, where that is less than the host allows: `cpu` in milliseconds, `memory`, `output`, `payload`,
    /// `journal-bytes` and `stack` in bytes, `tables`, `pending-steps`, `journal-entries` and `children` in numbers.
    limits: BTreeMap<&'static str, u64>,
}

/// A variable.
#[derive(Debug, Serialize, ToSchema)]
struct VariableDocument {
    /// Nothing, if it is secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    secret: bool,
    /// Of the value and what it was salted with.
    digest: String,
}

/// A change of a configuration. What isn't named stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigChange {
    /// Variables to set, or to forget where there is null.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, NewVariable>)]
    variables: BTreeMap<String, Option<NewVariable>>,
    /// What may be sent requests to from now on: `api.example.com`, `*.example.com:443`, `https://example.com`.
    #[serde(default)]
    allow: Vec<String>,
    /// What may no longer.
    #[serde(default)]
    disallow: Vec<String>,
    /// Limits to set, or to leave to the host where there is null.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, u64>)]
    limits: BTreeMap<String, Option<u64>>,
}

/// A variable to set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewVariable {
    value: String,
    /// Whether the value is shown to nobody but the function.
    #[serde(default)]
    secret: bool,
}

/// The configuration of a function.
#[utoipa::path(get, path = "/v1/functions/{name}/config", params(("name" = String, Path,)),
    responses((status = 200, body = ConfigDocument)))]
pub(super) async fn function(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<ConfigDocument>, Failure> {
    show(&api, Scope::Function(name)).await
}

/// Change the configuration of a function, for executions that start from then on.
#[utoipa::path(post, path = "/v1/functions/{name}/config", params(("name" = String, Path,)), request_body = ConfigChange,
    responses((status = 200, body = ConfigDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn change_function(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ConfigDocument>, Failure> {
    change(&api, Scope::Function(name), &body?).await
}

/// The configuration of a component, which is that of all its functions: a function's own variables come before it, what
/// either allows is allowed, and of limits the smaller holds.
#[utoipa::path(get, path = "/v1/components/{name}/config", params(("name" = String, Path,)),
    responses((status = 200, body = ConfigDocument)))]
pub(super) async fn component(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<ConfigDocument>, Failure> {
    show(&api, Scope::Component(name)).await
}

/// Change the configuration of a component, for executions that start from then on.
#[utoipa::path(post, path = "/v1/components/{name}/config", params(("name" = String, Path,)), request_body = ConfigChange,
    responses((status = 200, body = ConfigDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn change_component(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<ConfigDocument>, Failure> {
    change(&api, Scope::Component(name), &body?).await
}

async fn show(api: &Api, scope: Scope) -> Result<Json<ConfigDocument>, Failure> {
    let Shown { config, revision, mut values } = api.host.config(scope).await?;
    let variable = |(name, variable): (String, machine::Variable)| {
        let value = values.remove(&name);
        (name, VariableDocument { value, secret: variable.secret, digest: variable.digest.to_string() })
    };
    Ok(Json(ConfigDocument {
        revision,
        variables: config.variables.into_iter().map(variable).collect(),
        allow: config.egress.iter().map(Egress::to_string).collect(),
        limits: config.limits.iter().map(|(limit, value)| (limit.as_str(), *value)).collect(),
    }))
}

async fn change(api: &Api, scope: Scope, body: &[u8]) -> Result<Json<ConfigDocument>, Failure> {
    let change: ConfigChange = serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("the body is not a change of a configuration: {error}")))?;
    let egress = |texts: &[String]| texts.iter().map(|text| Egress::parse(text)).collect::<Result<Vec<_>, _>>();
    let limit = |(name, value): (String, Option<u64>)| match Limit::parse(&name) {
        Some(limit) => Ok((limit, value)),
        None => {
            let names: Vec<_> = Limit::ALL.iter().map(|limit| limit.as_str()).collect();
            Err(Failure::bad_request(format!("there is no limit {name:?}; limits are {}", names.join(", "))))
        }
    };
    let variable = |(name, new): (String, Option<NewVariable>)| (name, new.map(|new| (new.value, new.secret)));
    let change = Change {
        variables: change.variables.into_iter().map(variable).collect(),
        allow: egress(&change.allow).map_err(Failure::bad_request)?,
        disallow: egress(&change.disallow).map_err(Failure::bad_request)?,
        limits: change.limits.into_iter().map(limit).collect::<Result<_, _>>()?,
    };
    api.host.configure(scope.clone(), change).await?;
    show(api, scope).await
}
