//! W6: replaying histories of many lengths, and starting the host.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::figures::{Figure, Report};
use crate::load::Connection;
use crate::server::Server;
use crate::system::System;
use crate::workloads::Floors;

/// W6: replaying histories of many lengths, and starting the host.
pub(crate) async fn replay(report: &mut Report, server: &mut Server, component: &Path, floors: Floors) -> Result<()> {
    report.section("W6 replay: an execution is resumed after a kill, its history replayed");
    for entries in [100u64, 10_000, 100_000, 1_000_000] {
        let naps = entries / 2;
        let id = format!("replay-{entries}");
        // Naps of no length, then one that is long enough for a kill: the history is replayed when it ends.
        let path = format!("/v1/functions/naps_then_sleep/invoke?wait_ms=0&id={id}");
        let body = format!("[{naps}, {}]", 4_000);
        let (status, answer) = Connection::open(server.address()).await?.post(&path, body.into()).await?;
        ensure!(status == 202, "{}", String::from_utf8_lossy(&answer));
        loop {
            let execution = server.get(&format!("/v1/executions/{id}")).await?;
            if execution["task"] == "suspended" && execution["entries"].as_u64() > Some(entries) {
                break;
            }
            ensure!(execution["state"] == "pending", "{execution}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.kill()?;
        server.start_again().await?;
        let execution = server.get(&format!("/v1/executions/{id}?wait_ms=60000")).await?;
        ensure!(execution["state"] == "resolved", "{execution}");
        let sleep = server.get(&format!("/v1/executions/{id}:{}", naps + 1)).await?;
        let due = sleep["timeout_at_ms"].as_u64().context("no time")?;
        let took_ms = execution["settled_at_ms"].as_u64().context("no time")?.saturating_sub(due).max(1);
        let figure = Figure::new(format!("W6 replay {entries} entries")).with("ms", took_ms);
        let figure = figure.rate(entries as f64 / (took_ms as f64 / 1e3));
        report.add(figure.floor(floors.guest + floors.import * naps as f64));
    }
    server.kill()?;
    let serving = server.start_again().await?;
    let begun = Instant::now();
    server.upload(component).await?;
    let figure = Figure::new("W6 start the host; upload again").with("start_ms", serving.as_secs_f64() * 1e3);
    report.add(figure.with("upload_ms", begun.elapsed().as_secs_f64() * 1e3));
    Ok(())
}
