//! What is asked of all partitions, and comes to one report.

use axum::Json;
use axum::body::to_bytes;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use machine::PARTITIONS;

use super::front::{Asked, put, query_value};
use super::node::Node;
use host_api::{ReportDocument, bad_request, unavailable};

/// How many partitions are asked at a time: each compiles or replays with what a node has of cores.
const AT_ONCE: usize = 4;

/// Of a component: what would become of the executions of all partitions on it, or did.
pub(super) async fn report(node: &Node, asked: Asked) -> Response {
    match gather(node, asked).await {
        Ok(report) => Json(report).into_response(),
        Err(refused) => refused,
    }
}

/// Upload a component. If what is under way has to go on on it, then in all partitions.
pub(super) async fn upload(node: &Node, asked: Asked) -> Response {
    if query_value(&asked.uri, "check").as_deref() == Some("true") {
        let query = asked.uri.query().unwrap_or_default().split('&').filter(|pair| pair.starts_with("mount="));
        let query: Vec<&str> = query.chain(["finished=0"]).collect();
        let Ok(uri) = format!("/v1/components/check?{}", query.join("&")).parse() else {
            return bad_request("the address is no URI");
        };
        let refused = match gather(node, Asked { uri, ..asked.clone() }).await {
            Ok(report) => report.refusal(),
            Err(refused) => Some(refused),
        };
        if let Some(refused) = refused {
            return refused;
        }
    }
    put(node, 0, asked).await
}

async fn gather(node: &Node, asked: Asked) -> Result<ReportDocument, Response> {
    let ask = |partition| put(node, partition as u8, asked.clone());
    let mut answers = stream::iter(0..PARTITIONS).map(ask).buffer_unordered(AT_ONCE);
    let mut whole: Option<ReportDocument> = None;
    while let Some(answer) = answers.next().await {
        if !answer.status().is_success() {
            return Err(answer);
        }
        let broken = |error: &dyn std::fmt::Display| unavailable(&format!("a partition's report is broken: {error}"));
        let body = to_bytes(answer.into_body(), usize::MAX).await.map_err(|error| broken(&error))?;
        let part: ReportDocument = serde_json::from_slice(&body).map_err(|error| broken(&error))?;
        match &mut whole {
            Some(whole) => whole.add(part),
            None => whole = Some(part),
        }
    }
    Ok(whole.expect("there are partitions"))
}
