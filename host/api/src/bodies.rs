//! Bodies, before anybody looks at what they say. An answer that is given while the client still sends ends the connection,
//! and the client, which may have another request on its way by then, sees that and not the answer. So a small body is read
//! before its request is looked at, and one that is too large is read to its end before it is refused, and thrown away.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};

use super::errors::Failure;

/// The largest body that is read at once.
const SMALL_BYTES: u64 = 64 << 10;
/// How much of a refused body is read, and for how long. A client that sends more has to live with less of an answer.
const READ_BYTES: u64 = 1 << 30;
const READ_TIME: Duration = Duration::from_secs(60);

/// How long a client may take for a small body, and for each piece of another one.
const PIECE_TIME: Duration = Duration::from_secs(30);
const LATE: &str = "the body didn't come within 30 seconds";

/// A request with its body, if that is a small one: whoever answers it needn't read it.
pub(super) async fn read_small(request: hyper::Request<Incoming>) -> Result<Request, Response> {
    let (head, body) = request.into_parts();
    let body = match body.size_hint().exact() {
        Some(0) => Body::empty(),
        Some(1..=SMALL_BYTES) => match tokio::time::timeout(PIECE_TIME, body.collect()).await {
            Ok(Ok(whole)) => Body::from(whole.to_bytes()),
            Ok(Err(_)) => {
                return Err(Failure::bad_request("the body is shorter than it was said to be").into_response());
            }
            Err(_) => return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", LATE).into_response()),
        },
        _ => Body::from_stream(futures_util::stream::try_unfold(body, next_piece)),
    };
    Ok(Request::from_parts(head, body))
}

async fn next_piece(mut body: Incoming) -> io::Result<Option<(Bytes, Incoming)>> {
    match tokio::time::timeout(PIECE_TIME, body.frame()).await {
        Ok(Some(Ok(frame))) => Ok(Some((frame.into_data().unwrap_or_default(), body))),
        Ok(Some(Err(error))) => Err(io::Error::other(error)),
        Ok(None) => Ok(None),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, LATE)),
    }
}

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
