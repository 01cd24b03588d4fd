//! The host beside another system: the same machine, load and hour, in rounds that alternate.

use std::path::Path;

use anyhow::Result;

use crate::figures::{Figure, Report};
use crate::restate::Restate;
use crate::server::Server;
use crate::system::System;
use crate::workloads::{Extent, Floors};
use crate::{floors, sleepers, workloads};

/// What is compared, and how long.
pub(crate) struct Comparison<'a> {
    pub(crate) target: &'a Path,
    pub(crate) guest: &'a Path,
    pub(crate) extent: Extent,
    pub(crate) sleepers: u64,
    pub(crate) rounds: u32,
}

/// The host, and Restate at its default and at the number of partitions that suits a small machine better.
const SYSTEMS: [&str; 3] = ["host", "restate", "restate, 1 partition"];

/// A line of the summary: a figure, and how many times better than each of the others it is to be.
struct Goal {
    what: &'static str,
    workload: String,
    concurrency: Option<usize>,
    field: &'static str,
    /// Whether less is better.
    is_less: bool,
    goals: Option<[f64; 2]>,
}

pub(crate) async fn compare(report: &mut Report, comparison: &Comparison<'_>) -> Result<String> {
    report.section("floors of this machine, in this run");
    floors::machine(report)?;
    let directory = tempfile::tempdir_in(comparison.target)?;
    floors::disk(report, directory.path())?;
    floors::guest(report, comparison.guest)?;
    let floors = floors::known(report);
    for round in 1..=comparison.rounds {
        for (index, name) in SYSTEMS.iter().enumerate() {
            report.section(&format!("round {round}: {name}"));
            report.mark(&[("system", (*name).into()), ("round", round.into())]);
            if index == 0 {
                let mut server = Server::start(comparison.target, &[])?;
                server.upload(comparison.guest).await?;
                report.add(Figure::new("settings").with("settings", "all default"));
                measure(report, &mut server, comparison, floors).await?;
            } else {
                let partitions = (index == 2).then_some(1);
                let mut restate = Restate::start(comparison.target, partitions).await?;
                report.add(Figure::new("settings").with("settings", restate.settings()));
                measure(report, &mut restate, comparison, floors).await?;
            }
        }
    }
    report.mark(&[]);
    Ok(summary(report, comparison))
}

async fn measure(
    report: &mut Report,
    system: &mut impl System,
    comparison: &Comparison<'_>,
    floors: Floors,
) -> Result<()> {
    let extent = &comparison.extent;
    workloads::warm_up(system, extent.duration).await?;
    workloads::echo(report, system, extent, floors).await?;
    workloads::steps(report, system, extent, floors).await?;
    workloads::tree(report, system, extent, floors).await?;
    sleepers::sleepers(report, system, comparison.sleepers, false).await?;
    sleepers::overdue(report, system, comparison.sleepers).await?;
    sleepers::half_way(report, system).await
}

fn goals(sleepers: u64) -> Vec<Goal> {
    let goal = |what, workload: &str, concurrency, field, is_less, goals| Goal {
        what,
        workload: workload.into(),
        concurrency,
        field,
        is_less,
        goals,
    };
    let (accept, asleep) = (format!("W4 accept {sleepers} sleepers"), format!("W4 {sleepers} asleep"));
    let lateness = format!("W4 lateness of {sleepers} waking in 1 s");
    let overdue = format!("W5 {sleepers} overdue, after kill -9");
    let half_way = "W5 1,000 half-way, after kill -9";
    vec![
        goal("W1 latency at 1, ms", "W1 echo", Some(1), "p50_ms", true, None),
        goal("W1 invocations a second at 64", "W1 echo", Some(64), "per_second", false, Some([10.0, 5.0])),
        goal("W2 latency of 10 steps at 1, ms", "W2 10 steps", Some(1), "p50_ms", true, None),
        goal("W2 steps a second at 64", "W2 10 steps", Some(64), "steps_per_second", false, Some([40.0, 15.0])),
        goal("W3 latency of 100 children at 1, ms", "W3 100 children", Some(1), "p50_ms", true, None),
        goal("W3 calls a second, at best", "W3 100 children", None, "calls_per_second", false, Some([20.0, 10.0])),
        goal("W4 sleepers accepted a second", &accept, None, "per_second", false, None),
        goal("W4 memory of a sleeper, bytes", &asleep, None, "memory_bytes_each", true, None),
        goal("W4 disk of a sleeper, bytes", &asleep, None, "disk_bytes_each", true, None),
        goal("W4 lateness p99, ms", &lateness, None, "p99_ms", true, None),
        goal("W5 serving again, sleepers overdue, ms", &overdue, None, "serving_ms", true, None),
        goal("W5 overdue sleepers done a second", &overdue, None, "per_second", false, None),
        goal("W5 1,000 half-way done, s", half_way, None, "all_done_s", true, None),
    ]
}

/// The medians of the rounds, and how many times better the host is.
fn summary(report: &Report, comparison: &Comparison) -> String {
    let mut table = format!("| | {} | goal |\n|---|---:|---:|---:|---|\n", SYSTEMS.join(" | "));
    for goal in goals(comparison.sleepers) {
        let of = |system: &str| {
            // At best: of all concurrencies.
            let rounds = (1..=comparison.rounds).filter_map(|round| {
                let is_meant = |figure: &&Figure| {
                    figure.is(&goal.workload, goal.concurrency)
                        && figure.text("system") == Some(system)
                        && figure.number("round") == Some(f64::from(round))
                };
                let values = report.figures().iter().filter(is_meant).filter_map(|figure| figure.number(goal.field));
                values.reduce(if goal.is_less { f64::min } else { f64::max })
            });
            let mut rounds: Vec<f64> = rounds.collect();
            rounds.sort_by(f64::total_cmp);
            rounds.get(rounds.len() / 2).copied()
        };
        let [host, others @ ..] = SYSTEMS.map(of);
        let ratio = |other: Option<f64>| match (host, other) {
            (Some(host), Some(other)) if host > 0.0 && other > 0.0 => {
                Some(if goal.is_less { other / host } else { host / other })
            }
            _ => None,
        };
        let show = |value: Option<f64>| match value {
            Some(value) if value >= 100.0 => format!("{value:.0}"),
            Some(value) => format!("{value:.2}"),
            None => "-".into(),
        };
        let other = |value: Option<f64>| match ratio(value) {
            Some(ratio) => format!("{} ({ratio:.1}x)", show(value)),
            None => show(value),
        };
        let goals = goal.goals.map_or(String::new(), |[first, second]| {
            let is_met =
                |value, wanted| if ratio(value).is_some_and(|ratio| ratio >= wanted) { "met" } else { "missed" };
            format!("{first}x {}, {second}x {}", is_met(others[0], first), is_met(others[1], second))
        });
        let columns = [goal.what.into(), show(host), other(others[0]), other(others[1]), goals];
        table.push_str(&format!("| {} |\n", columns.join(" | ")));
    }
    table
}
