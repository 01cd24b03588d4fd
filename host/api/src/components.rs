//! Components and their functions.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jsonschema::Validator;
use machine::{Component, Digest, Rejection};
use parking_lot::Mutex;
use serde_json::Value;

use super::Api;
use super::errors::{ErrorDocument, Failure};
use super::moves::{UploadQuery, must_go_on};
use super::types::{ComponentDocument, FunctionDocument, Items};
use host_partition::Error;

/// Upload a component, in place of the one with its name if there is one. The same component again changes nothing.
#[utoipa::path(post, path = "/v1/components", params(UploadQuery), request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 201, body = ComponentDocument), (status = "4XX", body = ErrorDocument)))]
pub(super) async fn upload(
    State(api): State<Api>,
    query: Result<Query<UploadQuery>, QueryRejection>,
    wasm: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<ComponentDocument>), Failure> {
    let wasm = wasm?;
    let Query(UploadQuery { check, mount }) = query?;
    if check.unwrap_or(false) {
        must_go_on(&api, wasm.clone(), mount.clone()).await?;
    }
    let component = api.host.upload(wasm, mount).await?;
    Ok((StatusCode::CREATED, Json(ComponentDocument::of(&component))))
}

/// The current components.
#[utoipa::path(get, path = "/v1/components", responses((status = 200, body = Items<ComponentDocument>)))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<Items<ComponentDocument>>, Failure> {
    let components = api.host.components().await?;
    Ok(Json(Items::all(components.iter().map(ComponentDocument::of).collect())))
}

/// All functions that can be called.
#[utoipa::path(get, path = "/v1/functions", responses((status = 200, body = Items<FunctionDocument>)))]
pub(super) async fn functions(State(api): State<Api>) -> Result<Json<Items<FunctionDocument>>, Failure> {
    let components = api.host.components().await?;
    let functions = components.iter().flat_map(|c| c.functions.iter().map(|f| FunctionDocument::of(f, c)));
    Ok(Json(Items::all(functions.collect())))
}

/// A function.
#[utoipa::path(get, path = "/v1/functions/{name}", params(("name" = String, Path,)),
    responses((status = 200, body = FunctionDocument), (status = 404, body = ErrorDocument)))]
pub(super) async fn function(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<FunctionDocument>, Failure> {
    match api.host.function(&name) {
        Some((component, index)) => Ok(Json(FunctionDocument::of(&component.functions[index], &component))),
        None => Err(Error::from(Rejection::NoFunction(name)).into()),
    }
}

/// Validators of arguments, made when they are first needed.
#[derive(Default)]
pub(super) struct Schemas(Mutex<HashMap<Digest, Functions>>);

/// The validators of a component's functions, in their order.
type Functions = Arc<[OnceLock<Vec<Option<Validator>>>]>;

/// How many components' validators are kept.
const KEPT: usize = 100;

impl Schemas {
    /// Hold arguments against what a function takes: that of this index in the component.
    pub(super) fn check(
        &self,
        component: &Component,
        index: usize,
        arguments: &[&serde_json::value::RawValue],
    ) -> Result<(), Failure> {
        let function = &component.functions[index];
        let invalid = |message| Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_arguments", message);
        let takes = function.parameters.len();
        if arguments.len() != takes {
            let names: Vec<&str> = function.parameters.iter().map(|p| p.name.as_str()).collect();
            let plural = if takes == 1 { "" } else { "s" };
            return Err(invalid(format!(
                "{} takes {takes} argument{plural} ({}), and was given {}",
                function.name,
                names.join(", "),
                arguments.len()
            )));
        }
        let functions = self.functions(component);
        let validators = functions[index].get_or_init(|| {
            let compile = |schema: &Option<String>| {
                let schema: Value = serde_json::from_str(schema.as_ref()?).ok()?;
                jsonschema::validator_for(&schema).ok()
            };
            function.parameters.iter().map(|p| compile(&p.schema)).collect()
        });
        for ((argument, parameter), validator) in arguments.iter().zip(&function.parameters).zip(validators.iter()) {
            let Some(validator) = validator else { continue };
            let value: Value = serde_json::from_str(argument.get()).map_err(|error| invalid(error.to_string()))?;
            if let Err(error) = validator.validate(&value) {
                let path = error.instance_path().to_string();
                return Err(invalid(format!(
                    "the argument {:?} of {} doesn't fit{}{path}: {error}",
                    parameter.name,
                    function.name,
                    if path.is_empty() { "" } else { " at " },
                )));
            }
        }
        Ok(())
    }

    fn functions(&self, component: &Component) -> Functions {
        let mut kept = self.0.lock();
        if let Some(functions) = kept.get(&component.digest) {
            return functions.clone();
        }
        if kept.len() >= KEPT {
            kept.clear();
        }
        let functions: Functions = component.functions.iter().map(|_| OnceLock::new()).collect();
        kept.insert(component.digest, functions.clone());
        functions
    }
}
