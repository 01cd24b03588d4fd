//! W1 to W3: what is asked and answered at once.

use std::time::Duration;

use anyhow::Result;

use crate::figures::{Figure, Report};
use crate::load::{Call, Run, Until, closed};
use crate::server::Server;
use crate::system::{System, Work};

/// How much of it, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    /// How long each throughput is measured.
    pub(crate) duration: Duration,
    /// Only these concurrencies, if there are any.
    pub(crate) concurrency: Vec<usize>,
    /// Steps of W2.
    pub(crate) steps: Vec<u64>,
    /// Children of W3.
    pub(crate) children: Vec<u64>,
}

/// What the parts of a workload cost at least, in milliseconds: see `floors`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floors {
    /// Making one group durable: the flushes of one commit.
    pub(crate) commit: f64,
    /// Starting a guest, calling it and dropping it.
    pub(crate) guest: f64,
    /// Telling a guest of one import.
    pub(crate) import: f64,
}

impl Extent {
    fn concurrencies(&self, all: &[usize]) -> Vec<usize> {
        all.iter().copied().filter(|c| self.concurrency.is_empty() || self.concurrency.contains(c)).collect()
    }
}

/// Measure one work at one concurrency: its figure, and how often it was answered.
async fn measure(
    system: &impl System,
    name: String,
    call: Call,
    concurrency: usize,
    duration: Duration,
) -> Result<(Figure, Run)> {
    let before = system.cpu()?;
    let run = closed(system.address(), concurrency, Until::Time(duration), move |_| call.clone()).await?;
    let cpu_us = (system.cpu()? - before).as_secs_f64() * 1e6 / run.times.count() as f64;
    let figure = Figure::new(name).concurrency(concurrency).rate(run.per_second()).times(&run.times);
    let figure = figure.with("cpu_us_each", cpu_us.round());
    // Of what goes on for longer than the host can take it on.
    let figure = if run.refused > 0 { figure.with("told_to_come_back", run.refused) } else { figure };
    Ok((figure, run))
}

/// Let a system come to its usual speed.
pub(crate) async fn warm_up(system: &impl System, duration: Duration) -> Result<()> {
    let call = system.call(Work::Echo);
    closed(system.address(), 16, Until::Time(duration), move |_| call.clone()).await.map(drop)
}

/// W1: a function that returns its argument, request to response.
pub(crate) async fn echo(report: &mut Report, system: &impl System, extent: &Extent, floors: Floors) -> Result<()> {
    report.section("W1 echo: one durable invocation, request to response");
    let call = system.call(Work::Echo);
    for concurrency in extent.concurrencies(&[1, 16, 64, 256]) {
        let (figure, _) = measure(system, "W1 echo".into(), call.clone(), concurrency, extent.duration).await?;
        report.add(figure.floor(floors.commit + floors.guest));
    }
    Ok(())
}

/// W2: a function with sequential durable steps.
pub(crate) async fn steps(report: &mut Report, system: &impl System, extent: &Extent, floors: Floors) -> Result<()> {
    report.section("W2 steps: one invocation with so many named steps, one after the other");
    for steps in extent.steps.clone() {
        for concurrency in extent.concurrencies(&[1, 16, 64]) {
            let name = format!("W2 {steps} steps");
            let call = system.call(Work::Steps(steps));
            let (figure, run) = measure(system, name, call, concurrency, extent.duration).await?;
            let floor = floors.commit + floors.guest + floors.import * steps as f64;
            report.add(figure.floor(floor).with("steps_per_second", (run.per_second() * steps as f64).round()));
        }
    }
    Ok(())
}

/// W3: trees of calls.
pub(crate) async fn tree(report: &mut Report, system: &impl System, extent: &Extent, floors: Floors) -> Result<()> {
    report.section("W3 tree: one invocation that calls so many children at once and gathers them");
    let floor = |calls: u64| floors.commit + (floors.guest + floors.import) * calls as f64 + floors.guest;
    for children in extent.children.clone() {
        // A tree of thousands keeps all cores busy by itself.
        for concurrency in extent.concurrencies(if children < 1_000 { &[1, 16, 64] } else { &[1] }) {
            let name = format!("W3 {children} children");
            let call = system.call(Work::FanOut(children));
            let (figure, run) = measure(system, name, call, concurrency, extent.duration).await?;
            let figure = figure.floor(floor(children));
            report.add(figure.with("calls_per_second", (run.per_second() * children as f64).round()));
        }
    }
    Ok(())
}

/// W3, the recursive one: fibonacci(15) is 1,973 executions.
pub(crate) async fn fibonacci(report: &mut Report, server: &Server, extent: &Extent, floors: Floors) -> Result<()> {
    const CALLS: f64 = 1_972.0;
    let name = "W3 fibonacci(15)".into();
    let (figure, run) = measure(server, name, server.fibonacci(15), 1, extent.duration).await?;
    let figure = figure.floor(floors.commit + (floors.guest + floors.import) * CALLS + floors.guest);
    report.add(figure.with("calls_per_second", (run.per_second() * CALLS).round()));
    Ok(())
}
