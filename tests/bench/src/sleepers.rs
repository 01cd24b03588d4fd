//! W4 and W5: many executions that wait, and kills under them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::figures::{Figure, Report};
use crate::load::{Run, Until, closed};
use crate::system::{System, Work, now_ms};

/// All sleepers of a load wake within this time.
const WAKING_MS: u64 = 1_000;
/// Sleepers that tell how fast this system accepts.
const TRIAL: u64 = 2_000;
const CONCURRENCY: usize = 64;
/// Executions that are half-way when W5's second kill comes, and how long each of their ten steps takes.
const HALF_WAY: u64 = 1_000;
const STEP_MS: u64 = 1_000;

/// Sleepers that were accepted, all asleep.
struct Asleep {
    run: Run,
    /// When the first and the last of them wake.
    first_ms: u64,
    last_ms: u64,
}

/// W4, and W5 with a kill while all sleep: so many executions asleep, which all wake within a second.
pub(crate) async fn sleepers(report: &mut Report, system: &mut impl System, count: u64, kills: bool) -> Result<()> {
    report.section(&format!("W4 sleepers: {count} executions that sleep, all at once"));
    // What the trial leaves is in the figures before.
    let per_second = trial(system).await?;
    let (memory, disk) = (system.memory()?, system.disk()?);
    let Asleep { run, first_ms, last_ms } = accept(system, count, per_second, Duration::from_secs(5)).await?;
    let figure = Figure::new(format!("W4 accept {count} sleepers")).concurrency(CONCURRENCY);
    report.add(figure.rate(run.per_second()).times(&run.times));
    let each = |now: u64, before: u64| now.saturating_sub(before) / count;
    let figure = Figure::new(format!("W4 {count} asleep")).with("memory_bytes_each", each(system.memory()?, memory));
    let figure = figure.with("memory_mib", system.memory()? >> 20);
    report.add(figure.with("disk_bytes_each", each(system.disk()?, disk)));
    if kills {
        system.kill()?;
        let serving = system.start_again().await?;
        let figure = Figure::new(format!("W5 serving, {count} asleep")).with("ms", serving.as_secs_f64() * 1e3);
        report.add(figure.with("memory_mib", system.memory()? >> 20));
        ensure!(now_ms() < first_ms, "the first sleepers woke while the system started: give them more time");
    }
    until(last_ms).await;
    system.all_woken(count).await?;
    let after_ms = now_ms().saturating_sub(last_ms);
    let lateness = system.lateness().await?;
    ensure!(lateness.count() as u64 >= count, "{} sleepers of {count} woke", lateness.count());
    let figure = Figure::new(format!("W4 lateness of {count} waking in 1 s")).times(&lateness);
    report.add(figure.with("all_done_after_last_due_ms", after_ms).with("memory_mib", system.memory()? >> 20));
    Ok(())
}

/// W5: the host is down when the sleepers are to wake, and finds them all overdue.
pub(crate) async fn overdue(report: &mut Report, system: &mut impl System, count: u64) -> Result<()> {
    report.section(&format!("W5 recovery: {count} sleepers are overdue when the host comes back"));
    let per_second = trial(system).await?;
    let Asleep { last_ms, .. } = accept(system, count, per_second, Duration::from_secs(2)).await?;
    system.kill()?;
    until(last_ms).await;
    let begun = Instant::now();
    let serving = system.start_again().await?;
    system.all_woken(count).await?;
    let done = begun.elapsed();
    let figure = Figure::new(format!("W5 {count} overdue, after kill -9")).rate(count as f64 / done.as_secs_f64());
    report.add(figure.with("serving_ms", serving.as_secs_f64() * 1e3).with("all_done_s", done.as_secs_f64()));
    system.lateness().await.map(drop)
}

/// W5: a kill with a thousand executions in the middle of their steps.
pub(crate) async fn half_way(report: &mut Report, system: &mut impl System) -> Result<()> {
    let begun = Instant::now();
    let call = |number| system.call(Work::SlowSteps { number, ms: STEP_MS });
    closed(system.address(), CONCURRENCY, Until::Count(HALF_WAY), call).await?;
    tokio::time::sleep(Duration::from_millis(STEP_MS * 5).saturating_sub(begun.elapsed())).await;
    system.kill()?;
    let begun = Instant::now();
    let serving = system.start_again().await?;
    system.all_stepped(HALF_WAY).await?;
    let figure = Figure::new("W5 1,000 half-way, after kill -9").with("serving_ms", serving.as_secs_f64() * 1e3);
    report.add(figure.with("all_done_s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// How many sleepers a second are accepted, by those that have nothing to wait for.
async fn trial(system: &impl System) -> Result<f64> {
    let from = u64::MAX - TRIAL;
    let call = |number| system.call(Work::Sleeper { number: from + number, until_ms: now_ms() + WAKING_MS });
    let run = closed(system.address(), CONCURRENCY, Until::Count(TRIAL), call).await?;
    tokio::time::sleep(Duration::from_millis(2 * WAKING_MS)).await;
    system.settled().await?;
    system.lateness().await?;
    Ok(run.per_second())
}

/// Let so many go to sleep, so that all do before the first wakes. `spare` is for what is done while they sleep.
async fn accept(system: &impl System, count: u64, per_second: f64, spare: Duration) -> Result<Asleep> {
    // Accepting can slow down as more sleep.
    let accepting = Duration::from_secs_f64(count as f64 / per_second * 2.0) + Duration::from_secs(1);
    let first_ms = now_ms() + (accepting + spare).as_millis() as u64;
    // Numbers of one run differ from those of another.
    let offset = first_ms << 20;
    let until_ms = move |number: u64| first_ms + number * WAKING_MS / count;
    let call = |number| system.call(Work::Sleeper { number: offset + number, until_ms: until_ms(number) });
    let run = closed(system.address(), CONCURRENCY, Until::Count(count), call).await?;
    system.settled().await?;
    ensure!(
        now_ms() < first_ms,
        "the first sleepers woke while others were still accepted: it was slower than at first"
    );
    Ok(Asleep { run, first_ms, last_ms: until_ms(count - 1) })
}

async fn until(at_ms: u64) {
    tokio::time::sleep(Duration::from_millis(at_ms.saturating_sub(now_ms()))).await;
}
