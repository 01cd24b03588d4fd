//! A cluster: what a log in PostgreSQL costs, how soon a dead node's part is served elsewhere, and how long a node takes
//! that begins with nothing.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::Value;
use tests::Postgres;

use crate::figures::{Figure, Report, Times};
use crate::load::{Call, Connection, Until, closed};
use crate::server::Server;
use crate::system::{System, Work, cpu_of};

/// What is measured.
pub(crate) struct Measured<'a> {
    pub(crate) target: &'a Path,
    pub(crate) guest: &'a Path,
    /// How long each throughput is measured.
    pub(crate) duration: Duration,
    /// How often a node is killed.
    pub(crate) kills: u32,
    /// Which parts of it: throughput, takeover, recovery.
    pub(crate) wants: &'a dyn Fn(&str) -> bool,
}

/// Between two looks at whether something is over.
const LOOK: Duration = Duration::from_millis(5);
/// How many promises live on while histories grow.
const LIVE: u64 = 1_000;

pub(crate) async fn measure(report: &mut Report, measured: &Measured<'_>) -> Result<()> {
    let postgres = Postgres::start_durable();
    if (measured.wants)("throughput") {
        throughputs(report, measured, &postgres).await?;
    }
    if (measured.wants)("takeover") {
        takeovers(report, measured, &postgres).await?;
    }
    if (measured.wants)("recovery") {
        recovery(report, measured, &postgres).await?;
    }
    Ok(())
}

async fn throughputs(report: &mut Report, measured: &Measured<'_>, postgres: &Postgres) -> Result<()> {
    report.section("a single host");
    let embedded = Server::start(measured.target, &[])?;
    embedded.upload(measured.guest).await?;
    throughput(report, measured, "single host", &[&embedded], None).await?;
    drop(embedded);
    for count in [1, 3] {
        report.section(&format!("{count} nodes over PostgreSQL, on this one machine"));
        let database = postgres.database(&format!("nodes{count}"));
        let nodes: Vec<Server> = (0..count).map(|_| node(measured, &database, &[])).collect::<Result<_>>()?;
        for node in &nodes {
            spread(node, count).await?;
        }
        nodes[0].upload(measured.guest).await?;
        throughput(report, measured, &format!("{count} nodes"), &nodes.iter().collect::<Vec<_>>(), Some(postgres))
            .await?;
    }
    Ok(())
}

fn node(measured: &Measured<'_>, database: &str, flags: &[&str]) -> Result<Server> {
    let advertise = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let all = ["--cluster", database, "--advertise", &advertise];
    Server::start(measured.target, &[&all, flags].concat())
}

/// Until a node has its share of the partitions, and all are served.
async fn spread(node: &Server, count: u64) -> Result<()> {
    let share = 64 / count;
    loop {
        let ready = node.get("/ready").await.unwrap_or_default();
        if ready["partitions"].as_u64().is_some_and(|partitions| (share..=share + 1).contains(&partitions)) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Echo, ten steps and a thousand, through all of them at once.
async fn throughput(
    report: &mut Report,
    measured: &Measured<'_>,
    name: &str,
    nodes: &[&Server],
    postgres: Option<&Postgres>,
) -> Result<()> {
    for (work, what) in [(Work::Echo, "echo"), (Work::Steps(10), "10 steps"), (Work::Steps(1_000), "1,000 steps")] {
        let call = nodes[0].call(work);
        for concurrency in [1, 64] {
            let asked = &nodes[..nodes.len().min(concurrency)];
            let before = appended(nodes).await?;
            let database = postgres.map(Postgres::processes).unwrap_or_default();
            let cpu_before = cpu(nodes, &database)?;
            let each = concurrency / asked.len();
            let until = Until::Time(measured.duration);
            let runs = asked.iter().map(|node| closed(node.address(), each, until, |_| call.clone()));
            let runs = try_join_all(runs).await?;
            let figure = Figure::new(format!("{what}, {name}")).concurrency(each * asked.len());
            let per_second = runs.iter().map(|run| run.per_second()).sum();
            let times = Times::new(runs.into_iter().flat_map(|run| run.times.0).collect());
            let mut figure = figure.rate(per_second).times(&times);
            let cpu_after = cpu(nodes, &database)?;
            for (name, n) in [("cpu_us_each", 0), ("database_cpu_us_each", 1)] {
                let used = cpu_after[n].saturating_sub(cpu_before[n]).as_secs_f64() * 1e6;
                figure = figure.with(name, (used / times.count() as f64).round());
            }
            if let (Some(before), Some(after)) = (before, appended(nodes).await?) {
                let [batches, groups, records, seconds, bytes] = [0, 1, 2, 3, 4].map(|n| after[n] - before[n]);
                figure = figure.with("partitions_a_batch", round(groups / batches));
                figure = figure.with("records_a_batch", round(records / batches));
                figure = figure.with("ms_a_batch", round(1e3 * seconds / batches));
                figure = figure.with("bytes_a_call", (bytes / times.count() as f64).round());
            }
            report.add(figure);
        }
    }
    Ok(())
}

/// The processor time of the nodes, and of the database.
fn cpu(nodes: &[&Server], database: &[u32]) -> Result<[Duration; 2]> {
    let nodes = nodes.iter().try_fold(Duration::ZERO, |sum, node| anyhow::Ok(sum + node.cpu()?))?;
    // Some of its processes come and go.
    Ok([nodes, database.iter().filter_map(|process| cpu_of(&[*process]).ok()).sum()])
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Statements, groups and records that were appended by all nodes, the seconds that it took, and bytes. None: it is no cluster.
async fn appended(nodes: &[&Server]) -> Result<Option<[f64; 5]>> {
    let mut sum = [0.0; 5];
    for node in nodes {
        let (status, text) = Connection::open(node.address()).await?.get("/metrics").await?;
        if status != 200 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        for (index, name) in ["batches", "groups", "records", "seconds", "bytes"].into_iter().enumerate() {
            let name = format!("host_append_{name}_total ");
            let value = text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok());
            sum[index] += value.context("a node counts what it appends")?;
        }
    }
    Ok(Some(sum))
}

/// From the death of a node to an answer about what it had, from another one.
async fn takeovers(report: &mut Report, measured: &Measured<'_>, postgres: &Postgres) -> Result<()> {
    report.section("a node is killed: until another one answers a call in a partition that it had; the lease is 5 s");
    let database = postgres.database("takeovers");
    let steady = node(measured, &database, &[])?;
    spread(&steady, 1).await?;
    steady.upload(measured.guest).await?;
    let mut times = Vec::new();
    for kill in 0..measured.kills {
        let mut dead = node(measured, &database, &[])?;
        spread(&dead, 2).await?;
        spread(&steady, 2).await?;
        let partitions = steady.get("/v1/partitions").await?;
        let own = dead.get("/ready").await?["node"].as_i64().context("a node has a number")?;
        let is_there = |id: &String| partitions["items"][usize::from(machine::partition_of(id))]["node"] == own;
        let id = (0..).map(|n| format!("kill-{kill}-{n}")).find(is_there).expect("it has partitions");
        let path = format!("/v1/functions/echo/invoke?id={id}");
        let call = Call { path, body: "[1]".into(), expected: "resolved".into() };
        dead.kill()?;
        let begun = Instant::now();
        Connection::open(steady.address()).await?.call(&call).await?;
        times.push(begun.elapsed());
        drop(dead);
        spread(&steady, 1).await?;
    }
    let times = Times::new(times);
    report.add(
        Figure::new("takeover")
            .times(&times)
            .with("kills", measured.kills)
            .with("max_ms", times.quantile_ms(1.0).round()),
    );
    Ok(())
}

/// How long the histories are that leave nothing behind.
const LENGTHS: [u64; 3] = [10_000, 100_000, 1_000_000];

/// A node that begins with nothing, after histories of different lengths that have left the same behind.
async fn recovery(report: &mut Report, measured: &Measured<'_>, postgres: &Postgres) -> Result<()> {
    report.section("a node that begins with nothing: until all partitions are served, after what is forgotten");
    let promise = |body: String| Call { path: "/v1/promises".into(), body: body.into(), expected: "pending".into() };
    let large = promise(format!("{{\"timeout_ms\":0,\"param\":\"{}\"}}", "x".repeat(2 << 10)));
    let large = Call { expected: "timed_out".into(), ..large };
    for (history, of_these) in [("calls of echo", None), ("promises of 2 KiB", Some(large))] {
        for length in LENGTHS {
            let name = format!("{}{length}", history.replace(' ', "_").to_lowercase());
            let database = postgres.database(&name);
            let flags = ["--retention", "1s"];
            let mut first = node(measured, &database, &flags)?;
            spread(&first, 1).await?;
            first.upload(measured.guest).await?;
            let live = |n| promise(format!("{{\"id\":\"live-{n}\"}}"));
            closed(first.address(), 64, Until::Count(LIVE), live).await?;
            let call = of_these.clone().unwrap_or_else(|| first.call(Work::Echo));
            closed(first.address(), 64, Until::Count(length), |_| call.clone()).await?;
            // Until the newest that there is are those that live.
            while first.get("/v1/executions?limit=1").await?["items"] != Value::Array(Vec::new())
                || first.get("/v1/promises?limit=1").await?["items"][0]["state"] != "pending"
            {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            first.kill()?;
            drop(first);
            // The dead one's lease has to end before anybody else has its partitions.
            tokio::time::sleep(Duration::from_secs(6)).await;
            let rows = postgres.run(&name, "SELECT count(*), coalesce(sum(length(bytes)), 0) FROM durable.log");
            let begun = Instant::now();
            let second = node(measured, &database, &flags)?;
            spread(&second, 1).await?;
            let elapsed = begun.elapsed();
            let promise = second.get("/v1/promises/live-0").await?;
            ensure!(promise["state"] == "pending", "what lived is there: {promise}");
            let figure = Figure::new(format!("recovery after {length} {history}")).times(&Times::new(vec![elapsed]));
            report.add(figure.with("log_groups_and_bytes", rows.join(" ")));
        }
    }
    Ok(())
}
