//! Requests for functions that answer HTTP: everything below `/http/NAME`. Each is an execution of the function NAME, and
//! its result is the answer.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use machine::{Id, Outcome, Payload};
use uuid::Uuid;

use super::Api;
use super::errors::{ErrorDocument, Failure};
use super::fresh::Fresh;
use host_partition::{Error, Invocation};
use host_runtime::{Answer, Incoming};

/// How long an answer may take.
const WAIT: Duration = Duration::from_secs(60);
/// Tells which execution answered.
const EXECUTION: HeaderName = HeaderName::from_static("x-execution-id");
/// What is between two neighbours on the way, and not between the ends of it.
const HOPS: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/http/{name}", any(serve))
        .route("/http/{name}/", any(serve))
        .route("/http/{name}/{*path}", any(serve))
}

/// A request for a component that answers HTTP: it gets what is below its name, and its answer is sent as it is. A repeated
/// `Idempotency-Key` gets the answer that there is.
#[utoipa::path(method(get, head, post, put, patch, delete, options), path = "/http/{name}/{path}",
    params(("name" = String, Path, description = "What the component is mounted as"),
        ("path" = String, Path, description = "May have slashes, or be empty")),
    responses((status = "2XX", description = "What the component answers"), (status = "4XX", body = ErrorDocument),
        (status = "5XX", body = ErrorDocument)))]
pub(super) async fn serve(
    State(api): State<Api>,
    Path(parameters): Path<Vec<(String, String)>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    fresh: Fresh,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let name = parameters.into_iter().find(|(name, _)| name == "name").map(|(_, value)| value).unwrap_or_default();
    let key = headers.get("idempotency-key").map(HeaderValue::to_str).transpose();
    let key = key.map_err(|_| Failure::bad_request("the header Idempotency-Key isn't text"))?;
    let id = key.map_or_else(|| Ok(fresh.id()), Id::root)?;
    let incoming = Incoming {
        method: method.to_string(),
        url: below(&uri),
        headers: kept(&headers).map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: body?,
    };
    let invocation = Invocation {
        id: id.clone(),
        function: name.clone(),
        arguments: Payload::from(serde_json::to_vec(&(incoming,)).expect("a request is always JSON")),
        timeout: api.options.default_timeout,
        seed: Uuid::new_v4().as_u64_pair().0,
    };
    // A request that is repeated can differ in what doesn't matter: a trace, a date. Its key says that it is the same.
    let known = match key {
        Some(_) => api.host.promise(&id).await?.filter(|promise| promise.function() == Some(name.as_str())),
        None => None,
    };
    let answered = async {
        match known {
            Some(_) => api.host.wait(&id, WAIT).await,
            None => api.host.invoke_and_wait(invocation, WAIT).await.map(|(promise, _)| promise),
        }
    };
    let promise = tokio::select! {
        biased;
        answered = answered => answered?,
        () = api.closing() => return Err(Error::Stopping.into()),
    };
    let mut response = match &promise.outcome {
        Some(outcome) => answer(outcome),
        None if let Some(at) = api.host.held_at(&promise) => {
            let message = match promise.execution.as_ref().and_then(|execution| execution.held.as_ref()) {
                Some(reason) => format!("the execution {id} is held: {reason}"),
                None => format!("the execution {id} waits for {at}, which is held"),
            };
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "held", message).into_response()
        }
        None => {
            let message = format!("there is no answer after {} s; the execution {id} goes on", WAIT.as_secs());
            Failure::new(StatusCode::GATEWAY_TIMEOUT, "no_answer_yet", message).into_response()
        }
    };
    if let Ok(id) = HeaderValue::try_from(id.as_str()) {
        response.headers_mut().insert(EXECUTION, id);
    }
    Ok(response)
}

fn answer(outcome: &Outcome) -> Response {
    let bad = |message: String| Failure::new(StatusCode::BAD_GATEWAY, "bad_answer", message).into_response();
    match outcome {
        Outcome::Resolved(payload) => match serde_json::from_slice::<Answer>(payload) {
            Ok(answer) => respond(answer).unwrap_or_else(|error| bad(format!("the answer can't be one: {error}"))),
            Err(error) => bad(format!("the function's result is not an answer: {error}")),
        },
        Outcome::Rejected(payload) => bad(String::from_utf8_lossy(payload).into_owned()),
        Outcome::Crashed(text) => {
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "crashed", text.clone()).into_response()
        }
        Outcome::Canceled => {
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "canceled", "it was canceled").into_response()
        }
        Outcome::TimedOut => {
            Failure::new(StatusCode::GATEWAY_TIMEOUT, "timed_out", "its deadline passed").into_response()
        }
    }
}

fn respond(answer: Answer) -> Result<Response, axum::http::Error> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers.iter().filter(|(name, _)| !HOPS.contains(&name.as_str())) {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body))
}

/// The path below the function's own, with what follows a `?`.
fn below(uri: &Uri) -> String {
    let path = uri.path().strip_prefix("/http/").and_then(|rest| rest.split_once('/')).map_or("", |(_, path)| path);
    uri.query().map_or_else(|| format!("/{path}"), |query| format!("/{path}?{query}"))
}

fn kept(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    headers.iter().filter(|(name, _)| !HOPS.contains(&name.as_str()))
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_sees_what_is_below_it() {
        let below = |uri: &str| below(&uri.parse().unwrap());
        assert_eq!(below("/http/shop"), "/");
        assert_eq!(below("/http/shop?a=b"), "/?a=b");
        assert_eq!(below("/http/shop/cart/7?a=b%20c"), "/cart/7?a=b%20c");
    }
}
