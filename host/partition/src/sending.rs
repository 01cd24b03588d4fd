//! Requests to other systems: sent once all that led to them is durable, and their answers recorded.
//!
//! A request is sent again only if the host died before its answer was durable. It is the same request then, with the
//! same idempotency key.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use machine::{HttpHead, Id, Op, Outcome, Promise, PromiseKind, Reach};
use tokio::sync::{Semaphore, mpsc};

use super::Shared;
use super::settings::Settings;
use host_outbound::{self, Bounds};
use host_runtime::{Answer, Trouble, TroubleKind};

/// Requests that are under way at a time. Those beyond wait.
const AT_ONCE: usize = 1_000;
/// The longest that a guest may want to wait for the head of an answer, or between two pieces of it.
const LONGEST: Duration = Duration::from_secs(600);

/// Sends what comes out of the outbox, while the partition lives.
pub(super) async fn run(shared: Weak<Shared>, mut outbox: mpsc::UnboundedReceiver<Id>) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(id) = outbox.recv().await {
        let Some(shared) = shared.upgrade() else { return };
        let mut inner = shared.lock();
        if inner.requests.contains_key(&id) {
            continue;
        }
        if inner.view.get(&id).is_none_or(|promise| promise.outcome.is_some()) {
            continue;
        }
        let (sending, permits, sent) = (shared.clone(), permits.clone(), id.clone());
        let task = tokio::spawn(async move {
            let Ok(_permit) = permits.acquire().await else { return };
            // Read when it is sent: those that wait may be many, and each has a body.
            let promise = {
                let mut inner = sending.lock();
                if inner.stopping || inner.is_over() {
                    return;
                }
                inner.view.get(&sent).filter(|promise| promise.outcome.is_none())
            };
            let outcome = match &promise {
                Some(promise) => Some(exchange(&sending, promise).await),
                None => None,
            };
            let mut inner = sending.lock();
            inner.requests.remove(&sent);
            if let Some(outcome) = outcome
                && !inner.is_over()
                && !inner.stopping
            {
                // It may have been settled in the meantime. Then nobody wants the answer.
                let _ = inner.apply(Op::Settle { id: sent, outcome });
            }
        });
        inner.requests.insert(id, task.abort_handle());
    }
}

async fn exchange(shared: &Shared, promise: &Promise) -> Outcome {
    let PromiseKind::Http { head, reach } = &promise.kind else { return Outcome::Canceled };
    match prepare(shared, promise, head, *reach) {
        Ok((request, bounds)) => match shared.options.outbound.send(request, &bounds).await {
            Ok(response) => answer(response).outcome(),
            Err(error) => trouble(&error).outcome(),
        },
        Err(message) => Trouble { error: TroubleKind::InvalidRequest, message }.outcome(),
    }
}

/// The request as it is sent, with its secrets.
fn prepare(
    shared: &Shared,
    promise: &Promise,
    head: &HttpHead,
    reach: Reach,
) -> Result<(Request<Bytes>, Bounds), String> {
    let owner = promise.owner.as_ref().and_then(|owner| shared.lock().view.get(&owner.execution));
    let owner = owner.filter(|owner| owner.execution.is_some()).ok_or("nobody has asked for it")?;
    let setting = Settings::of(shared, &owner).map_err(|error| error.to_string())?;
    let mut head = head.clone();
    let body = setting.environment.reveal(&mut head, promise.param.clone())?;
    let method = Method::from_bytes(head.method.as_bytes()).map_err(|error| error.to_string())?;
    let uri: Uri = head.url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in &head.headers {
        request = request.header(name, value);
    }
    let default = Bounds::default();
    let timeout = |ms: Option<u64>, default| ms.map_or(default, |ms| Duration::from_millis(ms).min(LONGEST));
    let bounds = Bounds {
        reach,
        head_timeout: timeout(head.head_timeout_ms, default.head_timeout),
        body_timeout: timeout(head.body_timeout_ms, default.body_timeout),
        total_timeout: default.total_timeout,
        body_bytes: setting.limits.payload_bytes,
    };
    Ok((request.body(body).map_err(|error| error.to_string())?, bounds))
}

fn answer(response: http::Response<Bytes>) -> Answer {
    let (head, body) = response.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Answer { status: head.status.as_u16(), headers, body }
}

fn trouble(error: &host_outbound::Error) -> Trouble {
    use host_outbound::Error as E;
    let kind = match error {
        E::Request(_) => TroubleKind::InvalidRequest,
        E::OutOfReach { .. } => TroubleKind::OutOfReach,
        E::Resolve(_) => TroubleKind::NotResolved,
        E::Connect(_) => TroubleKind::NotConnected,
        E::ConnectTimeout(_) => TroubleKind::ConnectTimeout,
        E::Tls(_) => TroubleKind::Tls,
        E::HeadTimeout(_) => TroubleKind::HeadTimeout,
        E::BodyTimeout(_) => TroubleKind::BodyTimeout,
        E::BodyTooLarge { .. } => TroubleKind::BodyTooLarge,
        E::Broken(_) => TroubleKind::Broken,
    };
    Trouble { error: kind, message: error.to_string() }
}
