//! `host serve`: the host itself, from its start to its end.

use std::future::Future;
use std::io::{self, IsTerminal};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use machine::PARTITIONS;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::Ending;
use super::config::{Config, LOG_VARIABLE, Settings, unknown_variables};
use super::failure::Failure;
use super::screen::Screen;
use host_cluster::Node;
use host_partition::Partition;
use host_protocol::Post;
use host_runtime::Runtime;

/// Serve functions from a data directory until Ctrl-C
///
/// What is set by a flag wins over the environment, that over the configuration file, and that over the defaults. The
/// file is TOML, with the names of the flags: `memory-limit = "256MiB"`. HOST_LOG sets what is logged on stderr: info,
/// debug, or a filter such as host=debug.
///
/// Ctrl-C and SIGTERM end it in good order; a second Ctrl-C at once. Nothing is lost either way.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    host serve\n  \
    host serve --data /var/lib/host --listen 0.0.0.0:7700 --memory-limit 256MiB\n  \
    HOST_LOG=debug host serve --config host.toml")]
pub(super) struct Serve {
    /// A file with settings, in TOML
    #[arg(long, env = "HOST_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: Settings,
}

impl Serve {
    pub(super) fn run(self, screen: &Screen) -> Result<Ending, Failure> {
        let file = self.config.map_or(Ok(Settings::default()), |path| Settings::read(&path))?;
        let config = self.settings.or(file).resolve()?;
        start_log()?;
        for name in unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
            tracing::warn!("the environment variable {name} means nothing to the host; see host serve --help");
        }
        raise_open_files();
        // First, because it costs nothing and is what fails most often.
        let listener = listen(&config.listen)?;
        let failed = |what: &str, error: &dyn std::error::Error| Failure::Serve(format!("{what}: {error}"));
        let mut limits = config.limits.clone();
        if config.cluster.is_some() {
            // Each partition keeps some, and few are busy at a time: what is set aside is address space alone.
            limits.sessions = limits.sessions.saturating_mul(4).max(PARTITIONS as u32 * 8);
        }
        let runtime = Runtime::new(limits).map_err(|error| failed("the host can't start", &error))?;
        if config.cluster.is_some() {
            // Its lease is kept by whichever thread has time for it.
            let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("node").build();
            let tokio = tokio.map_err(|error| failed("the threads of the node can't be started", &error))?;
            let ending = tokio.block_on(serve_cluster(screen, config, runtime, listener));
            // What waits for a database that doesn't answer would wait for ever. It was never acknowledged.
            tokio.shutdown_timeout(Duration::from_secs(2));
            return ending;
        }
        let data = config.partition.data.display().to_string();
        let cluster = host_cluster::cluster_of(&config.partition.data);
        if let Some(name) =
            cluster.map_err(|error| failed(&format!("the data directory {data} can't be opened"), &error))?
        {
            return Err(Failure::Serve(format!(
                "{data} is the data of a node of the cluster {name:?}: say which with --cluster, or take another directory"
            )));
        }
        // It accepts connections, sends requests to other systems and waits for signals; connections are served by threads
        // of their own.
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tokio = tokio.map_err(|error| failed("connections can't be accepted", &error))?;
        let post = Post::new(config.partition.settings.clone());
        let partition = Partition::open(config.partition.clone(), runtime, Arc::new(post.clone()), tokio.handle())
            .map_err(|error| failed(&format!("the data directory {data} can't be opened"), &error))?;
        tokio.block_on(serve(screen, config, partition, post, listener))
    }
}

/// Serve as a node of a cluster.
async fn serve_cluster(
    screen: &Screen,
    mut config: Config,
    runtime: Runtime,
    listener: TcpListener,
) -> Result<Ending, Failure> {
    let options = config.cluster.take().expect("the caller has looked");
    let listener = prepare(listener)?;
    let shutdown = asked_to_stop().map_err(|error| Failure::Serve(format!("signals can't be caught: {error}")))?;
    let address = listener.local_addr().map_or(config.listen, |address| address.to_string());
    let (close, closing) = watch::channel(false);
    let peers = options.advertise.clone();
    let url = format!("http://{address}");
    let node = Node::join(options, runtime, url.clone(), closing)
        .await
        .map_err(|error| Failure::Serve(format!("the host can't take part in the cluster: {error:#}")))?;
    let ready = serde_json::json!({ "url": url, "peers": peers });
    // Nobody may be reading, and that is no reason not to serve.
    let _ = screen.show(&ready.to_string(), || format!("serving on {url}, for other nodes on {peers}"));
    let leaving = node.clone();
    let shutdown = async move {
        shutdown.await;
        // What comes in meanwhile is answered, by this node or by those that take over.
        leaving.leave().await;
    };
    host_api::serve(node.router(), listener, close, shutdown)
        .await
        .map_err(|error| Failure::Serve(format!("the threads for connections can't be started: {error}")))?;
    tracing::info!("stopped");
    Ok(Ending::Well)
}

fn prepare(listener: TcpListener) -> Result<tokio::net::TcpListener, Failure> {
    let prepared = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    prepared.map_err(|error| Failure::Serve(format!("the listening socket can't be used: {error}")))
}

async fn serve(
    screen: &Screen,
    config: Config,
    partition: Partition,
    post: Post,
    listener: TcpListener,
) -> Result<Ending, Failure> {
    let listener = prepare(listener)?;
    let shutdown = asked_to_stop().map_err(|error| Failure::Serve(format!("signals can't be caught: {error}")))?;
    let address = listener.local_addr().map_or(config.listen, |address| address.to_string());
    let data = config.partition.data.display().to_string();
    let ready = serde_json::json!({ "url": format!("http://{address}"), "data": data });
    // Nobody may be reading, and that is no reason not to serve.
    let _ = screen.show(&ready.to_string(), || format!("serving on http://{address}, data in {data}"));

    if config.api.debug {
        tracing::warn!("started with --debug: whoever reaches this host can set its time and let it forget everything");
    }
    post.open(Arc::new(partition.clone()), format!("http://{address}"), config.partition.outbound.clone());
    let (close, closing) = watch::channel(false);
    let router = host_api::router(partition.clone(), post, config.api, closing);
    let serving = host_api::serve(router, listener, close, shutdown);
    tokio::select! {
        served = serving => {
            served.map_err(|error| Failure::Serve(format!("the threads for connections can't be started: {error}")))?;
        }
        reason = partition.broken() => {
            return Err(Failure::Serve(format!("the host has stopped, because it can't go on safely: {reason}")));
        }
    }
    let stopping = partition.clone();
    let stopped = tokio::task::spawn_blocking(move || stopping.stop()).await;
    stopped.map_err(|error| Failure::Serve(format!("stopping failed: {error}")))?;
    tracing::info!("stopped");
    Ok(Ending::Well)
}

/// Completes at the first Ctrl-C or SIGTERM. From then on, a Ctrl-C ends the process at once.
fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping, after what is under way is done and stored; Ctrl-C again stops at once");
        tokio::spawn(async move {
            interrupt.recv().await;
            // It is safe at any moment: what isn't stored wasn't acknowledged. 130 is what shells call an interrupt.
            std::process::exit(130);
        });
    })
}

fn listen(address: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "the address is in use, perhaps by another host; --listen takes another one".to_owned()
            }
            io::ErrorKind::InvalidInput => "an address is written like 127.0.0.1:7700".to_owned(),
            _ => error.to_string(),
        };
        Failure::Serve(format!("the host can't listen on {address}: {why}"))
    })
}

fn start_log() -> Result<(), Failure> {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter)
            .map_err(|error| Failure::Usage(format!("{LOG_VARIABLE} is not a filter for the log: {error}")))?,
        _ => EnvFilter::new("info"),
    };
    let colors = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colors).init();
    Ok(())
}

/// Each connection is an open file, and the usual limit of 1024 is there for programs that can't have more.
fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a valid rlimit, which outlives them.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0
        }
    };
    if !raised {
        tracing::warn!("the limit of open files can't be raised: {}", io::Error::last_os_error());
    }
}
