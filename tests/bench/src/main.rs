//! Measures a host on an otherwise idle machine: prints a table, and writes `bench.json` into the target directory.
//!
//! Every figure stands beside a floor that was measured in the same run, since machines differ and are noisy: a flush of
//! the same disk, an instance of the same component, an answered import. Nothing here passes or fails.

mod figures;
mod floors;
mod load;
mod server;
mod workloads;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use figures::Report;
use server::Server;

/// Measure a host.
#[derive(Debug, Parser)]
struct Options {
    /// The directory of what was built.
    #[arg(long, default_value = "target")]
    target: PathBuf,
    /// Only the workloads that begin with one of these, such as W1 or W4.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How long each throughput is measured, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many executions sleep at once.
    #[arg(long, default_value_t = 100_000)]
    sleepers: u64,
    /// How long the soak lasts, in minutes. 0 leaves it out.
    #[arg(long, default_value_t = 0)]
    soak_minutes: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::new();
    runtime.block_on(measure(&options, &mut report))?;
    let path = options.target.join("bench.json");
    std::fs::write(&path, report.json()).with_context(|| format!("writing {}", path.display()))?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let wants =
        |workload: &str| options.only.is_empty() || options.only.iter().any(|o| workload.starts_with(o.as_str()));
    let guest = options.target.join("wasm32-wasip2/guest/misbehave.wasm");
    let fibonacci = options.target.join("wasm32-wasip2/guest/fibonacci.wasm");
    let duration = Duration::from_secs(options.seconds);

    report.section("floors of this machine, in this run");
    let directory = tempfile::tempdir_in(&options.target)?;
    floors::disk(report, directory.path())?;
    floors::guest(report, &guest)?;

    let mut server = Server::start(&options.target)?;
    server.upload(&guest).await?;
    server.upload(&fibonacci).await?;
    if wants("W1") {
        workloads::echo(report, &server, duration).await?;
    }
    if wants("W2") {
        workloads::steps(report, &server, duration).await?;
    }
    if wants("W3") {
        workloads::tree(report, &server, duration).await?;
    }
    if wants("W4") || wants("W5") {
        workloads::sleepers(report, &mut server, options.sleepers).await?;
    }
    if wants("W5") {
        workloads::half_way(report, &mut server).await?;
    }
    if wants("W6") {
        workloads::replay(report, &mut server, &guest).await?;
    }
    if wants("W7") && options.soak_minutes > 0 {
        workloads::soak(report, &server, Duration::from_secs(options.soak_minutes * 60)).await?;
    }
    Ok(())
}
