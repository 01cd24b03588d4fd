//! HTTP/JSON for people and programs. One file per resource; the types that travel are in `types`.
//!
//! A handler reads a request, asks the partition, and writes down what it says. It decides nothing about promises, and
//! answers nothing that isn't durable: the partition answers only then.

mod access;
mod bodies;
mod components;
mod configs;
mod errors;
mod events;
mod executions;
mod fresh;
mod incoming;
mod moves;
mod openapi;
mod promises;
mod protocol;
mod server;
mod types;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use machine::Settings;
use tokio::sync::watch;

use errors::Failure;
use host_partition::Partition;
use host_protocol::Post;

pub use access::Token;
pub use access::refuse;
pub use errors::ErrorDocument;
pub use fresh::FreshId;
pub use moves::ReportDocument;
pub use openapi::described_with;
pub use protocol::messages;
pub use server::serve;

/// What the API needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The largest body of a request, and the largest value in it.
    pub payload_bytes: usize,
    /// The largest component.
    pub component_bytes: usize,
    /// The deadline of what is created without one.
    pub default_timeout: Duration,
    /// What the rules depend on.
    pub settings: Settings,
    /// What every request has to carry.
    pub token: Option<Token>,
    /// Whether clients can set the time and forget everything.
    pub debug: bool,
}

impl Options {
    /// The largest request of the promise protocol: its payload is written as base64, and may have tags and headers.
    pub fn envelope_bytes(&self) -> usize {
        self.payload_bytes * 2 + (256 << 10)
    }
}

/// What every handler has.
#[derive(Clone)]
struct Api(Arc<Parts>);

struct Parts {
    host: Partition,
    post: Post,
    options: Options,
    schemas: components::Schemas,
    /// True once the host is on its way out: nobody is kept waiting then.
    closing: watch::Receiver<bool>,
}

/// The API of one partition.
pub fn router(host: Partition, mail: Post, options: Options, closing: watch::Receiver<bool>) -> Router {
    // A request carries a little more than its payload.
    let (payload, component) = (options.payload_bytes + 4096, options.component_bytes);
    let refuse_above = |limit| from_fn_with_state(limit, bodies::refuse_large);
    let api = Api(Arc::new(Parts { host, post: mail, options, schemas: Default::default(), closing }));
    let access = from_fn_with_state(api.clone(), access::check);
    let components = Router::new()
        .route("/v1/components", post(components::upload).get(components::list))
        .route("/v1/components/check", post(moves::check));
    let components = components.layer(DefaultBodyLimit::max(component)).layer(refuse_above(component));
    Router::new()
        .route("/v1/functions", get(components::functions))
        .route("/v1/functions/{name}", get(components::function))
        .route("/v1/functions/{name}/invoke", post(executions::invoke))
        .route("/v1/functions/{name}/config", get(configs::function).post(configs::change_function))
        .route("/v1/components/{name}/config", get(configs::component).post(configs::change_component))
        .route("/v1/executions", get(executions::list))
        .route("/v1/executions/{id}", get(executions::get).delete(executions::remove))
        .route("/v1/executions/{id}/tree", get(executions::tree))
        .route("/v1/executions/{id}/journal", get(executions::journal))
        .route("/v1/executions/{id}/logs", get(executions::logs))
        .route("/v1/executions/{id}/events", get(events::events))
        .route("/v1/executions/{id}/cancel", post(executions::cancel))
        .route("/v1/executions/{id}/resume", post(moves::resume))
        .route("/v1/executions/{id}/capsule", get(moves::capsule))
        .route("/v1/executions/{id}/fork", post(moves::fork))
        .route("/v1/components/{name}/upgrade", post(moves::upgrade))
        .route("/v1/promises", post(promises::create).get(promises::list))
        .route("/v1/promises/{id}", get(promises::get).delete(promises::remove))
        .route("/v1/promises/{id}/resolve", post(promises::resolve))
        .route("/v1/promises/{id}/reject", post(promises::reject))
        .route("/v1/promises/{id}/cancel", post(promises::cancel))
        .merge(incoming::router())
        .layer(DefaultBodyLimit::max(payload))
        .layer(refuse_above(payload))
        .merge(components)
        .route("/poll/{group}/{id}", get(protocol::poll))
        .layer(access)
        .merge(Router::new().route("/", post(protocol::request)))
        .route("/health", get(openapi::health))
        .route("/openapi.json", get(openapi::document))
        .fallback(errors::no_such_path)
        .method_not_allowed_fallback(errors::no_such_method)
        .with_state(api)
}

/// An answer for somebody who is to come again.
pub fn unavailable(message: &str) -> Response {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).into_response()
}

/// An answer for somebody who has to ask something else.
pub fn bad_request(message: &str) -> Response {
    Failure::bad_request(message).into_response()
}

/// An answer for somebody who sends too much.
pub fn too_large() -> Response {
    Failure::body_too_large().into_response()
}

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Api {
    /// Completes when the host is on its way out.
    async fn closing(&self) {
        let mut closing = self.closing.clone();
        // An error means that the server is gone, which is the same.
        let _ = closing.wait_for(|closing| *closing).await;
    }
}
