//! W7: a mix of everything for a long time, at a rate below the peak.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::figures::{Figure, Report};
use crate::load::{Until, closed, paced};
use crate::server::Server;
use crate::system::{System, Work, now_ms};

/// The share of the peak at which the host is kept.
const SHARE: f64 = 0.7;
const CONCURRENCY: usize = 64;
/// One line of the table.
const SLICE: Duration = Duration::from_secs(30);

/// Of ten requests six are echoes, two have ten steps, one calls ten children, one is a sleeper of a second.
fn mixed(number: u64) -> Work {
    match number % 10 {
        0..=5 => Work::Echo,
        6 | 7 => Work::Steps(10),
        8 => Work::FanOut(10),
        _ => Work::Sleeper { number, until_ms: now_ms() + 1_000 },
    }
}

pub(crate) async fn soak(report: &mut Report, server: &Server, warm_up: Duration, duration: Duration) -> Result<()> {
    report.section("W7 soak: a mix at 70% of its peak");
    let call = |number| server.call(mixed(number));
    let begun = Instant::now();
    while begun.elapsed() < warm_up {
        let slice = SLICE.min(warm_up - begun.elapsed());
        let run = closed(server.address(), CONCURRENCY, Until::Time(slice), call).await?;
        let figure = Figure::new(format!("W7 at its peak after {} s", begun.elapsed().as_secs()));
        let figure = figure.rate(run.per_second()).times(&run.times).with("disk_mib", server.disk()? >> 20);
        report.add(figure.concurrency(CONCURRENCY).with("told_to_come_back", run.refused));
    }
    let peak = closed(server.address(), CONCURRENCY, Until::Time(duration.min(SLICE)), call).await?;
    server.settled().await?;
    report.add(Figure::new("W7 peak").concurrency(CONCURRENCY).rate(peak.per_second()).times(&peak.times));
    let rate = peak.per_second() * SHARE;
    let begun = Instant::now();
    let (mut done, mut disk) = (0, server.disk()?);
    while begun.elapsed() < duration {
        let slice = SLICE.min(duration - begun.elapsed());
        let run = paced(server.address(), rate, slice, call).await?;
        done += run.times.count() as u64;
        let (now, memory) = (server.disk()?, server.memory()?);
        let figure = Figure::new(format!("W7 after {} s", begun.elapsed().as_secs()));
        let figure = figure.rate(run.per_second()).times(&run.times).with("memory_mib", memory >> 20);
        let growth = now.saturating_sub(disk) / run.times.count().max(1) as u64;
        report.add(figure.with("disk_mib", now >> 20).with("disk_growth_bytes_each", growth).with("done", done));
        disk = now;
    }
    Ok(())
}
