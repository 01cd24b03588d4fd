//! Errors as they travel: one function from what went wrong to a status, a code and a sentence.

use std::io::ErrorKind;

use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use machine::{IdError, Rejection};
use serde::Serialize;
use utoipa::ToSchema;

use host_partition::Error;
use host_runtime::ComponentError;

/// What a request that failed is answered with.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDocument {
    error: ErrorBody,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorBody {
    /// For programs: a word that stays the same.
    code: &'static str,
    /// For people: what failed, and what can be done.
    message: String,
}

/// A request that failed.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Failure {
        Failure { status, code, message: message.into() }
    }

    /// For people: what failed.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn body_too_large() -> Failure {
        let message = "the body is larger than this host takes; see its --payload-limit and --component-limit";
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        use StatusCode as S;
        let (status, code) = match &error {
            Error::Rejected(rejection) => match rejection {
                Rejection::NoFunction(_) => (S::NOT_FOUND, "no_function"),
                Rejection::NoPromise(_) => (S::NOT_FOUND, "no_promise"),
                Rejection::NoExecution(_) => (S::NOT_FOUND, "no_execution"),
                Rejection::Settled { .. } => (S::CONFLICT, "already_settled"),
                Rejection::Needed { .. } => (S::CONFLICT, "still_needed"),
                Rejection::Taken { .. } => (S::CONFLICT, "id_taken"),
                Rejection::FunctionTaken { .. } => (S::CONFLICT, "function_taken"),
                Rejection::Renamed { .. } => (S::CONFLICT, "renamed"),
                Rejection::NoComponent(_) => (S::NOT_FOUND, "no_component"),
                Rejection::NotExported { .. } => (S::CONFLICT, "not_exported"),
                Rejection::GotOn(_) => (S::CONFLICT, "got_on"),
                Rejection::Id(_) => (S::UNPROCESSABLE_ENTITY, "invalid_id"),
                Rejection::Refused(_) => (S::CONFLICT, "refused"),
                Rejection::Config(_) => (S::UNPROCESSABLE_ENTITY, "invalid_config"),
                Rejection::Apart { .. } => (S::CONFLICT, "apart"),
                Rejection::Elsewhere(_) | Rejection::NotFirst => (S::MISDIRECTED_REQUEST, "elsewhere"),
                Rejection::Stale(_) | Rejection::Early { .. } | Rejection::Malformed { .. } => {
                    (S::INTERNAL_SERVER_ERROR, "internal")
                }
            },
            Error::Component(ComponentError::TooLarge { .. }) => (S::PAYLOAD_TOO_LARGE, "component_too_large"),
            Error::Component(ComponentError::Busy) => (S::SERVICE_UNAVAILABLE, "overloaded"),
            Error::Component(_) => (S::UNPROCESSABLE_ENTITY, "invalid_component"),
            Error::Differs { .. } => (S::CONFLICT, "differs"),
            Error::TreeTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "tree_too_large"),
            Error::NoEntry { .. } => (S::UNPROCESSABLE_ENTITY, "no_entry"),
            Error::Unnamed { many: true, .. } => (S::CONFLICT, "ambiguous"),
            Error::Unnamed { many: false, .. } => (S::NOT_FOUND, "no_component"),
            Error::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded"),
            Error::Stalled(_) => (S::SERVICE_UNAVAILABLE, "cannot_record"),
            Error::Stopping => (S::SERVICE_UNAVAILABLE, "stopping"),
            Error::Broken(_) | Error::Store(_) => (S::INTERNAL_SERVER_ERROR, "store_damaged"),
            Error::File(error) if error.kind() == ErrorKind::StorageFull => (S::INSUFFICIENT_STORAGE, "disk_full"),
            // A file that is kept elsewhere, which can't be reached at the moment.
            Error::File(error) if error.kind() == ErrorKind::ResourceBusy => (S::SERVICE_UNAVAILABLE, "unavailable"),
            Error::File(_) => (S::INTERNAL_SERVER_ERROR, "file"),
            Error::Runtime(_) => (S::INTERNAL_SERVER_ERROR, "runtime"),
        };
        if status.is_server_error() && status != S::SERVICE_UNAVAILABLE {
            tracing::error!("{error}");
        }
        Failure::new(status, code, error.to_string())
    }
}

impl From<IdError> for Failure {
    fn from(error: IdError) -> Failure {
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_id", error.to_string())
    }
}

impl From<BytesRejection> for Failure {
    fn from(rejection: BytesRejection) -> Failure {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Failure::body_too_large(),
            status => Failure::new(status, "bad_request", rejection.body_text()),
        }
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Failure {
        Failure::bad_request(rejection.body_text())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = ErrorBody { code: self.code, message: self.message };
        let mut response = (self.status, Json(ErrorDocument { error })).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

pub(super) async fn no_such_path(uri: Uri) -> Failure {
    let message = format!("there is nothing at {}; /openapi.json describes what there is", uri.path());
    Failure::new(StatusCode::NOT_FOUND, "no_such_path", message)
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Failure {
    let message = format!("{} takes no {method}; /openapi.json describes what it takes", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", message)
}
