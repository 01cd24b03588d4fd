//! Bodies that are too large. A client that is refused while it still sends sees a broken connection, and not the answer;
//! so what it sends is read to its end before it is refused, and thrown away.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::errors::Failure;

/// How much of a refused body is read, and for how long. A client that sends more has to live with less of an answer.
const READ_BYTES: u64 = 1 << 30;
const READ_TIME: Duration = Duration::from_secs(60);

/// Refuse a body that says it is larger than the limit. One that doesn't say is measured where it is read.
pub(super) async fn refuse_large(State(limit): State<usize>, request: Request, next: Next) -> Response {
    let said = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_none_or(|bytes| bytes <= limit as u64) {
        return next.run(request).await;
    }
    discard(request.into_body()).await;
    Failure::body_too_large().into_response()
}

/// Read a body to its end, or as much of it as can be expected, and throw it away.
pub(super) async fn discard(body: Body) {
    let mut body = body.into_data_stream();
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(piece)) = body.next().await {
            bytes += piece.len() as u64;
            if bytes > READ_BYTES {
                break;
            }
        }
    };
    // However it ended, the answer is the same.
    let _ = tokio::time::timeout(READ_TIME, read).await;
}
