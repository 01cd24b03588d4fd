//! The promise protocol: what a server that speaks it does in a second, and how long a call takes through it. The host,
//! and beside it Resonate's own server, if there is one: the same machine, load and hour, in rounds that alternate.

use std::cell::Cell;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::figures::{Figure, Report, Times};
use crate::load::{Call, Connection};
use crate::server::Server;
use crate::system::{System, now_ms};

/// Calls whose latency is measured.
const CALLS: u64 = 500;
const CONCURRENCY: usize = 64;
const HOUR_MS: u64 = 3_600_000;
/// `{"func":"echo","args":[1]}` and `1`, in base64.
const ECHO: &str = "eyJmdW5jIjoiZWNobyIsImFyZ3MiOlsxXX0=";
const ONE: &str = "MQ==";

/// What is compared, and how long.
pub(crate) struct Comparison<'a> {
    pub(crate) target: &'a Path,
    pub(crate) guest: &'a Path,
    /// The binary of Resonate's own server.
    pub(crate) resonate: Option<&'a Path>,
    pub(crate) duration: Duration,
    pub(crate) rounds: u32,
}

pub(crate) async fn compare(report: &mut Report, comparison: &Comparison<'_>) -> Result<()> {
    for round in 1..=comparison.rounds {
        report.section(&format!("round {round}: host"));
        report.mark(&[("system", "host".into()), ("round", round.into())]);
        let server = Server::start(comparison.target, &[])?;
        server.upload(comparison.guest).await?;
        pairs(report, server.address(), comparison.duration).await?;
        calls(report, server.address(), "P2 rpc to a worker", "poll://any@bench").await?;
        calls(report, server.address(), "P3 rpc to WebAssembly", "poll://any@wasm").await?;
        drop(server);
        if let Some(binary) = comparison.resonate {
            report.section(&format!("round {round}: resonate"));
            report.mark(&[("system", "resonate".into()), ("round", round.into())]);
            let resonate = Resonate::start(comparison.target, binary)?;
            pairs(report, &resonate.address, comparison.duration).await?;
            calls(report, &resonate.address, "P2 rpc to a worker", "poll://any@bench").await?;
        }
    }
    Ok(())
}

/// P1: make a promise and settle it, again and again. Each answer of the host is durable.
async fn pairs(report: &mut Report, address: &str, duration: Duration) -> Result<()> {
    let mut connections = Vec::new();
    for _ in 0..CONCURRENCY {
        connections.push(Connection::open(address).await?);
    }
    let count = Cell::new(0u64);
    let (begun, count) = (Instant::now(), &count);
    let one = |mut connection: Connection| async move {
        let mut times = Vec::new();
        while begun.elapsed() < duration {
            let id = format!("p{}", count.replace(count.get() + 1));
            let sent = Instant::now();
            connection.call(&call("promise.create", new(&id, json!({}), json!({})), "\"pending\"")).await?;
            let settle = json!({ "id": id, "state": "resolved", "value": value(ONE) });
            connection.call(&call("promise.settle", settle, "\"resolved\"")).await?;
            times.push(sent.elapsed());
        }
        anyhow::Ok(times)
    };
    let times = Times::new(try_join_all(connections.into_iter().map(one)).await?.concat());
    let per_second = times.count() as f64 / begun.elapsed().as_secs_f64();
    let figure = Figure::new("P1 create and settle").concurrency(CONCURRENCY).rate(per_second).times(&times);
    report.add(figure.with("requests_per_second", (2.0 * per_second).round()));
    Ok(())
}

/// P2 and P3: from a call, made as the SDKs do, until whoever listens to it is told. If it is for the group of this
/// program, this program answers it.
async fn calls(report: &mut Report, address: &str, workload: &str, target: &str) -> Result<()> {
    let mut messages = Messages::open(address).await?;
    let mut connection = Connection::open(address).await?;
    let mut times = Vec::new();
    for n in 0..CALLS {
        let id = format!("{}-{n}", &workload[..2]);
        let sent = Instant::now();
        let tags = json!({ "resonate:target": target });
        let create = new(&id, value(ECHO), tags);
        connection.call(&call("promise.create", create, &id)).await?;
        let listener = json!({ "awaited": id, "address": "poll://uni@bench/bench" });
        let answer = connection.ask(&call("promise.register_listener", listener, &id)).await?;
        // It can be over by then.
        if answer["promise"]["state"] != "pending" {
            continue;
        }
        loop {
            let message = messages.next().await?;
            if message["kind"] == "unblock" && message["data"]["promise"]["id"] == id.as_str() {
                break;
            }
            let task = &message["data"]["task"];
            if message["kind"] != "execute" || task["id"] != id.as_str() {
                continue;
            }
            let claim = json!({ "id": id, "version": task["version"], "pid": "bench", "ttl": 60_000 });
            let task = connection.ask(&call("task.acquire", claim, "\"acquired\"")).await?["task"].clone();
            let settle = json!({ "id": id, "state": "resolved", "value": value(ONE) });
            let head = json!({ "corrId": "b", "version": "2026-04-01" });
            let action = json!({ "kind": "promise.settle", "head": head, "data": settle });
            let fulfill = json!({ "id": id, "version": task["version"], "action": action });
            connection.call(&call("task.fulfill", fulfill, "\"resolved\"")).await?;
        }
        times.push(sent.elapsed());
    }
    report.add(Figure::new(workload).concurrency(1).times(&Times::new(times)));
    Ok(())
}

/// A request, and a part of its answer.
fn call(kind: &str, data: Value, expected: &str) -> Call {
    let head = json!({ "corrId": "b", "version": "2026-04-01" });
    let body = json!({ "kind": kind, "head": head, "data": data }).to_string();
    Call { path: "/".into(), body: body.into(), expected: Bytes::from(expected.to_owned()) }
}

fn new(id: &str, param: Value, tags: Value) -> Value {
    json!({ "id": id, "timeoutAt": now_ms() + HOUR_MS, "param": param, "tags": tags })
}

/// A value, as the SDKs write it.
fn value(data: &str) -> Value {
    json!({ "headers": {}, "data": data })
}

/// What the server says to the only member of the group `bench`.
struct Messages {
    body: Incoming,
    text: Vec<u8>,
}

impl Messages {
    async fn open(address: &str) -> Result<Messages> {
        let body = Connection::open(address).await?.stream("/poll/bench/bench").await?;
        Ok(Messages { body, text: Vec::new() })
    }

    async fn next(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                if let Some(message) = line.strip_prefix(b"data:") {
                    return Ok(serde_json::from_slice(message)?);
                }
                continue;
            }
            let frame = tokio::time::timeout(Duration::from_secs(30), self.body.frame()).await.context("no message")?;
            if let Ok(data) = frame.context("the messages have ended")??.into_data() {
                self.text.extend_from_slice(&data);
            }
        }
    }
}

/// Resonate's own server, on a database of its own, with all that can be configured at its default.
struct Resonate {
    process: Child,
    address: String,
    _data: TempDir,
}

impl Resonate {
    fn start(target: &Path, binary: &Path) -> Result<Resonate> {
        let data = tempfile::tempdir_in(target)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new(std::path::absolute(binary)?)
            .args(["serve", "--server-bind", "127.0.0.1", "--server-port", &address.port().to_string()])
            .current_dir(data.path())
            .env("RESONATE_LEVEL", "error")
            .env("RESONATE_OBSERVABILITY__METRICS_PORT", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} can't be started", binary.display()))?;
        let resonate = Resonate { process, address: address.to_string(), _data: data };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(30), "resonate doesn't serve");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(resonate)
    }
}

impl Drop for Resonate {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
