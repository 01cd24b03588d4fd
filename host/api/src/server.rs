//! Connections. Each stays with one thread, from its first request to its last, and each thread has a runtime of its own:
//! an answer is then most often written by the thread that read the request, and no other is woken for it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::TcpStream as StdStream;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tower_service::Service as _;

use super::bodies;

/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// How long answers that are under way may take once the host is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Before accepting again after an error, such as too many open files.
const BREATHER: Duration = Duration::from_millis(50);

/// Serve until `shutdown` completes, then answer what is under way. Whoever waits for something that takes longer is
/// told how it stands: `close` says so to all who are to know.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    close: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: Vec<_> = (0..threads).map(|n| start_thread(n, router.clone())).collect::<io::Result<_>>()?;
    let mut shutdown = std::pin::pin!(shutdown);
    let mut threads_in_turn = threads.iter().cycle();
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
        // It leaves this runtime here, and joins that of the thread there.
        if let (Ok(stream), Some(thread)) = (stream.into_std(), threads_in_turn.next()) {
            let _ = thread.send((stream, graceful.watcher()));
        }
    }
    drop(listener);
    let _ = close.send(true);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections were still open after {} s, and are closed", DRAIN.as_secs());
    }
    Ok(())
}

async fn answer(mut router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    match bodies::read_small(request).await {
        Ok(request) => router.call(request).await,
        Err(refusal) => Ok(refusal),
    }
}

/// A thread that serves the connections that it is given, until there are no more to come and all have ended.
fn start_thread(number: usize, router: Router) -> io::Result<mpsc::UnboundedSender<(StdStream, Watcher)>> {
    let (given, mut connections) = mpsc::unbounded_channel::<(StdStream, Watcher)>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = async move {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD);
        let mut serving = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = serving.join_next() => {}
                connection = connections.recv() => {
                    let Some((stream, watcher)) = connection else { break };
                    let Ok(stream) = TcpStream::from_std(stream) else { continue };
                    let router = router.clone();
                    let service = service_fn(move |request| answer(router.clone(), request));
                    let connection = watcher.watch(http.serve_connection(TokioIo::new(stream), service));
                    serving.spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!("a connection ended early: {error}");
                        }
                    });
                }
            }
        }
        while serving.join_next().await.is_some() {}
    };
    std::thread::Builder::new().name(format!("http-{number}")).spawn(move || runtime.block_on(run))?;
    Ok(given)
}
