//! What is measured.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::figures::{Figure, Report, Times};
use crate::load::{Connection, Until, call};
use crate::server::Server;

const RESOLVED: &[u8] = b"\"state\":\"resolved\"";
const ACCEPTED: &[u8] = b"\"state\":\"pending\"";

fn invoke(function: &str) -> String {
    format!("/v1/functions/{function}/invoke")
}

/// W1: a function that returns its argument, request to response.
pub(crate) async fn echo(report: &mut Report, server: &Server, duration: Duration) -> Result<()> {
    report.section("W1 echo: one durable invocation, request to response");
    call(&server.address, &invoke("echo"), "[1]", 16, Until::Time(duration / 2), RESOLVED).await?;
    for concurrency in [1, 16, 64, 256] {
        let before = server.cpu()?;
        let run = call(&server.address, &invoke("echo"), "[1]", concurrency, Until::Time(duration), RESOLVED).await?;
        let cpu_us = (server.cpu()? - before).as_secs_f64() * 1e6 / run.times.count() as f64;
        let figure = Figure::new("W1 echo").concurrency(concurrency).rate(run.per_second()).times(&run.times);
        report.add(figure.with("host_cpu_us_each", cpu_us));
    }
    Ok(())
}

/// W2: a function with sequential durable steps.
pub(crate) async fn steps(report: &mut Report, server: &Server, duration: Duration) -> Result<()> {
    report.section("W2 steps: one invocation with so many named steps, one after the other");
    for (steps, body) in [(10, "[10, 0]"), (1_000, "[1000, 0]")] {
        for concurrency in [1, 16, 64] {
            let until = Until::Time(duration);
            let run = call(&server.address, &invoke("steps"), body, concurrency, until, RESOLVED).await?;
            let figure = Figure::new(format!("W2 {steps} steps")).concurrency(concurrency).rate(run.per_second());
            let figure = figure.times(&run.times);
            report.add(figure.with("steps_per_second", (run.per_second() * f64::from(steps)).round()));
        }
    }
    Ok(())
}

/// W3: trees of calls.
pub(crate) async fn tree(report: &mut Report, server: &Server, duration: Duration) -> Result<()> {
    report.section("W3 tree: one invocation that calls so many children at once and gathers them");
    for (children, body) in [(10, "[10, 0]"), (100, "[100, 0]"), (10_000, "[10000, 0]")] {
        for concurrency in if children < 10_000 { vec![1, 16] } else { vec![1] } {
            let until = Until::Time(duration);
            let run = call(&server.address, &invoke("children_at_once"), body, concurrency, until, RESOLVED).await?;
            let figure = Figure::new(format!("W3 {children} children")).concurrency(concurrency);
            let figure = figure.rate(run.per_second()).times(&run.times);
            report.add(figure.with("calls_per_second", (run.per_second() * f64::from(children)).round()));
        }
    }
    let run = call(&server.address, &invoke("fibonacci"), "[15]", 1, Until::Time(duration), RESOLVED).await?;
    // fibonacci(15) is 1,973 executions.
    let figure = Figure::new("W3 fibonacci(15)").concurrency(1).rate(run.per_second()).times(&run.times);
    report.add(figure.with("calls_per_second", (run.per_second() * 1_973.0).round()));
    Ok(())
}

/// W4 and a part of W5: many executions asleep, a kill, and all of them waking.
pub(crate) async fn sleepers(report: &mut Report, server: &mut Server, sleepers: u64) -> Result<()> {
    report.section("W4 sleepers: executions that sleep, all at once; W5: the host is killed under them");
    let (memory, disk) = (server.memory()?, server.disk()?);
    // All are to be asleep before the first wakes: at this rate, accepting takes at most half the sleep.
    let sleep = Duration::from_secs(20 + sleepers / 2_000);
    let body = format!("[{}]", sleep.as_millis());
    let path = format!("{}?wait_ms=0", invoke("sleeper"));
    let begun = Instant::now();
    let run = call(&server.address, &path, &body, 64, Until::Count(sleepers), ACCEPTED).await?;
    let figure = Figure::new(format!("W4 accept {sleepers} sleepers")).concurrency(64).rate(run.per_second());
    report.add(figure.times(&run.times));
    settled(server).await?;
    let each = |now: u64, before: u64| now.saturating_sub(before) / sleepers;
    let figure = Figure::new("W4 asleep").with("memory_bytes_each", each(server.memory()?, memory));
    let figure = figure.with("memory_mib", server.memory()? >> 20);
    report.add(figure.with("disk_bytes_each", each(server.disk()?, disk)));

    server.kill()?;
    let serving = server.start_again()?;
    let figure = Figure::new("W5 serving after kill -9").with("ms", serving.as_secs_f64() * 1e3);
    report.add(figure.with("memory_mib", server.memory()? >> 20));

    let mut lateness = Vec::new();
    let mut cursor = Some(String::new());
    tokio::time::sleep((sleep + run.elapsed).saturating_sub(begun.elapsed())).await;
    all_done(server).await?;
    let done = begun.elapsed().saturating_sub(sleep);
    while let Some(at) = cursor {
        let page = server.get(&format!("/v1/executions?function=sleeper&limit=1000{at}")).await?;
        for execution in page["items"].as_array().context("no items")? {
            ensure!(execution["state"] == "resolved", "a sleeper ended otherwise: {execution}");
            let ms = |field: &str| execution[field].as_u64().context("no time");
            let late = ms("settled_at_ms")?.saturating_sub(ms("created_at_ms")? + sleep.as_millis() as u64);
            lateness.push(Duration::from_millis(late));
        }
        cursor = page["next"].as_str().map(|next| format!("&cursor={next}"));
    }
    ensure!(lateness.len() as u64 == sleepers, "{} sleepers of {sleepers} woke", lateness.len());
    let figure = Figure::new("W4 lateness of waking").times(&Times::new(lateness));
    let figure = figure.with("memory_mib", server.memory()? >> 20);
    report.add(figure.with("all_done_after_first_due_s", done.as_secs_f64()));
    Ok(())
}

/// W5: a kill with a thousand executions half-way.
pub(crate) async fn half_way(report: &mut Report, server: &mut Server) -> Result<()> {
    // 100 naps of 20 ms each: all are under way when the host dies.
    let path = format!("{}?wait_ms=0", invoke("naps"));
    call(&server.address, &path, "[100, 20]", 64, Until::Count(1_000), ACCEPTED).await?;
    server.kill()?;
    let serving = server.start_again()?;
    let begun = Instant::now();
    all_done(server).await?;
    let figure = Figure::new("W5 1,000 half-way, after kill -9").with("serving_ms", serving.as_secs_f64() * 1e3);
    report.add(figure.with("all_done_s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// W6: replaying histories of many lengths, and starting the host.
pub(crate) async fn replay(report: &mut Report, server: &mut Server, component: &Path) -> Result<()> {
    report.section("W6 replay: an execution is resumed after a kill, its history replayed");
    for entries in [100u64, 10_000, 100_000, 1_000_000] {
        let naps = entries / 2;
        let id = format!("replay-{entries}");
        // Naps of no length, then one that is long enough for a kill: the history is replayed when it ends.
        let path = format!("{}?wait_ms=0&id={id}", invoke("naps_then_sleep"));
        let body = format!("[{naps}, {}]", 4_000);
        let (status, answer) = Connection::open(&server.address).await?.post(&path, body.into()).await?;
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
        server.start_again()?;
        let execution = server.get(&format!("/v1/executions/{id}?wait_ms=60000")).await?;
        ensure!(execution["state"] == "resolved", "{execution}");
        let sleep = server.get(&format!("/v1/executions/{id}:{}", naps + 1)).await?;
        let due = sleep["timeout_at_ms"].as_u64().context("no time")?;
        let took_ms = execution["settled_at_ms"].as_u64().context("no time")?.saturating_sub(due).max(1);
        let figure = Figure::new(format!("W6 replay {entries} entries")).with("ms", took_ms);
        report.add(figure.rate(entries as f64 / (took_ms as f64 / 1e3)));
    }
    server.kill()?;
    let serving = server.start_again()?;
    let begun = Instant::now();
    server.upload(component).await?;
    let figure = Figure::new("W6 start the host; upload again").with("start_ms", serving.as_secs_f64() * 1e3);
    report.add(figure.with("upload_ms", begun.elapsed().as_secs_f64() * 1e3));
    Ok(())
}

/// W7: a mix of everything, for a long time, at a rate below the peak.
pub(crate) async fn soak(report: &mut Report, server: &Server, duration: Duration) -> Result<()> {
    report.section("W7 soak");
    let begun = Instant::now();
    let slice = Duration::from_secs(30);
    while begun.elapsed() < duration {
        let run = call(&server.address, &invoke("steps"), "[10, 0]", 8, Until::Time(slice), RESOLVED).await?;
        let figure = Figure::new(format!("W7 after {} s", begun.elapsed().as_secs())).concurrency(8);
        let figure = figure.rate(run.per_second()).times(&run.times);
        let figure = figure.with("memory_mib", server.memory()? >> 20);
        report.add(figure.with("disk_mib", server.disk()? >> 20));
    }
    Ok(())
}

/// Until the host has nothing more to do.
async fn settled(server: &Server) -> Result<Value> {
    loop {
        let health = server.get("/health").await?;
        if health["queued"] == 0 && health["unsaved"] == 0 {
            return Ok(health);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Until no execution is pending.
async fn all_done(server: &Server) -> Result<()> {
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/executions?state=pending&limit=1{cursor}")).await?;
        if page["items"].as_array().is_some_and(|items| !items.is_empty()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        match page["next"].as_str() {
            // Those before this point were not pending, and never will be again.
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(()),
        }
    }
}
