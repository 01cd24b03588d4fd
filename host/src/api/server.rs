//! Connections.

use std::future::Future;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Options, router};
use crate::partition::Partition;
use crate::protocol::Post;

/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// How long answers that are under way may take once the host is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Before accepting again after an error, such as too many open files.
const BREATHER: Duration = Duration::from_millis(50);

/// Serve until `shutdown` completes, then answer what is under way. Whoever waits for something that takes longer is
/// told how it stands.
pub async fn serve(
    host: Partition,
    post: Post,
    listener: TcpListener,
    options: Options,
    shutdown: impl Future<Output = ()>,
) {
    let (close, closing) = watch::channel(false);
    let service = TowerToHyperService::new(router(host, post, options, closing));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(BREATHER).await;
                continue;
            }
        };
        // Answers are small and written whole: they are not to wait for more.
        let _ = stream.set_nodelay(true);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended early: {error}");
            }
        });
    }
    drop(listener);
    let _ = close.send(true);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections were still open after {} s, and are closed", DRAIN.as_secs());
    }
}
