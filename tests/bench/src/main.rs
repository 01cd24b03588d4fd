//! Measures a host on an otherwise idle machine: prints a table, and writes `bench.json` and `bench.md` into the target
//! directory. `bench --peers` measures it beside another system, and writes `bench-peers.json` and `bench-peers.md`;
//! `bench --protocol` measures what it does for clients of the promise protocol, and `bench --cluster` many hosts over one
//! PostgreSQL.
//!
//! Figures stand beside floors that were measured in the same run, since machines differ and are noisy: a flush of the
//! same disk, an instance of the same component, an answered import. Nothing here passes or fails.

mod cluster;
mod figures;
mod floors;
mod load;
mod overload;
mod peers;
mod protocol;
mod replay;
mod restate;
mod server;
mod sleepers;
mod soak;
mod stopped;
mod system;
mod workloads;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

use figures::Report;
use peers::Comparison;
use server::Server;
use workloads::Extent;

/// Measure a host.
#[derive(Debug, Parser)]
struct Options {
    /// The directory of what was built.
    #[arg(long, default_value = "target")]
    target: PathBuf,
    /// Only the workloads that begin with one of these, such as W1 or W4; of a cluster throughput, takeover or recovery.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these concurrencies.
    #[arg(long, value_delimiter = ',')]
    concurrency: Vec<usize>,
    /// How long each throughput is measured, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Durable steps of W2.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000])]
    steps: Vec<u64>,
    /// Children of W3.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 10_000])]
    children: Vec<u64>,
    /// How many executions of W4 and W5 sleep at once.
    #[arg(long, value_delimiter = ',', default_values_t = [100_000])]
    sleepers: Vec<u64>,
    /// How long W7 lasts, in minutes. 0 leaves it out.
    #[arg(long, default_value_t = 0)]
    soak_minutes: u64,
    /// How long the host is kept at its peak before W7's is measured, in seconds: longer than a --retention that is served
    /// with, the peak has what it takes to remove as much as comes.
    #[arg(long, default_value_t = 0)]
    soak_warm_up: u64,
    /// How many rounds there are beside another system.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Measure beside another system: W1 to W5, with 10 steps, 100 children and the first number of sleepers.
    #[arg(long)]
    peers: bool,
    /// Measure a cluster.
    #[arg(long)]
    cluster: bool,
    /// How often a node of the cluster is killed.
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// Measure the promise protocol.
    #[arg(long)]
    protocol: bool,
    /// The binary of Resonate's own server, to measure the protocol beside it.
    #[arg(long)]
    resonate: Option<PathBuf>,
    /// Further flags of `host serve`.
    #[arg(long, allow_hyphen_values = true, value_delimiter = ' ')]
    serve: Vec<String>,
}

impl Options {
    fn wants(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| workload.starts_with(only.as_str()))
    }

    fn guest(&self) -> PathBuf {
        self.target.join("wasm32-wasip2/guest/measured.wasm")
    }

    fn extent(&self) -> Extent {
        Extent {
            duration: Duration::from_secs(self.seconds),
            concurrency: self.concurrency.clone(),
            steps: self.steps.clone(),
            children: self.children.clone(),
        }
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::new();
    if options.peers {
        let guest = options.guest();
        let extent = Extent { steps: vec![10], children: vec![100], ..options.extent() };
        let sleepers = options.sleepers.first().copied().unwrap_or_default();
        let comparison =
            Comparison { target: &options.target, guest: &guest, extent, sleepers, rounds: options.rounds };
        let table = runtime.block_on(peers::compare(&mut report, &comparison))?;
        println!("\n{table}");
        return report.write(&options.target.join("bench-peers"), &table);
    }
    if options.cluster {
        let measured = cluster::Measured {
            target: &options.target,
            guest: &options.guest(),
            duration: Duration::from_secs(options.seconds),
            kills: options.kills,
            wants: &|part| options.wants(part),
        };
        runtime.block_on(cluster::measure(&mut report, &measured))?;
        return report.write(&options.target.join("bench-cluster"), &report.markdown());
    }
    if options.protocol {
        let comparison = protocol::Comparison {
            target: &options.target,
            guest: &options.guest(),
            resonate: options.resonate.as_deref(),
            duration: Duration::from_secs(options.seconds),
            rounds: options.rounds,
        };
        runtime.block_on(protocol::compare(&mut report, &comparison))?;
        return report.write(&options.target.join("bench-protocol"), &report.markdown());
    }
    runtime.block_on(measure(&options, &mut report))?;
    report.write(&options.target.join("bench"), &report.markdown())
}

async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let guest = options.guest();
    let extent = options.extent();

    report.section("floors of this machine, in this run");
    floors::machine(report)?;
    let directory = tempfile::tempdir_in(&options.target)?;
    floors::disk(report, directory.path())?;
    floors::guest(report, &guest)?;
    let floors = floors::known(report);

    // The longest history of W6 has a few entries more than a journal may have by default.
    let mut flags = vec!["--journal-entries-limit", "2000000"];
    flags.extend(options.serve.iter().map(String::as_str));
    let mut server = Server::start(&options.target, &flags)?;
    server.upload(&guest).await?;
    workloads::warm_up(&server, extent.duration / 2).await?;
    if options.wants("W1") {
        workloads::echo(report, &server, &extent, floors).await?;
    }
    if options.wants("W2") {
        workloads::steps(report, &server, &extent, floors).await?;
    }
    if options.wants("W3") {
        workloads::tree(report, &server, &extent, floors).await?;
        workloads::fibonacci(report, &server, &extent, floors).await?;
    }
    for sleepers in options.sleepers.clone() {
        if options.wants("W4") {
            sleepers::sleepers(report, &mut server, sleepers, options.wants("W5")).await?;
        }
        if options.wants("W5") {
            sleepers::overdue(report, &mut server, sleepers).await?;
        }
    }
    if options.wants("W5") {
        sleepers::half_way(report, &mut server).await?;
    }
    if options.wants("W6") {
        replay::replay(report, &mut server, &guest, floors).await?;
    }
    if options.wants("W8") {
        stopped::stopped(report, &server, extent.duration).await?;
    }
    if options.wants("W9") {
        overload::overload(report, &server, extent.duration).await?;
    }
    if options.wants("W7") && options.soak_minutes > 0 {
        let warm_up = Duration::from_secs(options.soak_warm_up);
        soak::soak(report, &server, warm_up, Duration::from_secs(options.soak_minutes * 60)).await?;
    }
    Ok(())
}
