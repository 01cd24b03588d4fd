//! Restate: its server as it comes from npm, and the service of `tests/peers/restate` beside it.
//!
//! All of its settings are its defaults, but for addresses, the data directory and, where it is said, the number of
//! partitions. By default it flushes its log to disk before it acknowledges, as the host does.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::figures::Times;
use crate::load::{Call, Connection};
use crate::system::{System, Work};

/// Between two looks at whether something is over.
const LOOK: Duration = Duration::from_millis(50);
/// How long it may take to start.
const STARTING: Duration = Duration::from_secs(120);

/// A server of Restate, and the service that it calls.
pub(crate) struct Restate {
    binary: PathBuf,
    data: TempDir,
    partitions: Option<u32>,
    ingress: String,
    admin: String,
    fabric: String,
    server: Child,
    service: Child,
}

impl Restate {
    /// Start both and register the service. `partitions`: other than its default.
    pub(crate) async fn start(target: &Path, partitions: Option<u32>) -> Result<Restate> {
        let peers = target.join("peers");
        let binary = server_binary(&peers.join("node_modules/@restatedev"))?;
        let service_binary = peers.join("build/release/restate-peer");
        let data = tempfile::tempdir_in(target)?;
        let [ingress, admin, fabric, service_address] = free_addresses()?;
        let mut service = Command::new(&service_binary);
        let service = service.arg(&service_address).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let service = service.with_context(|| format!("{}: build it first", service_binary.display()))?;
        let server = spawn(&binary, data.path(), partitions, [&ingress, &admin, &fabric])?;
        let restate = Restate { binary, data, partitions, ingress, admin, fabric, server, service };
        restate.admits().await?;
        let deployment = json!({ "uri": format!("http://{service_address}") }).to_string();
        let begun = Instant::now();
        loop {
            let answer = post(&restate.admin, "/deployments", deployment.clone()).await;
            match answer {
                Ok((200..=299, _)) => break,
                answer if begun.elapsed() > STARTING => anyhow::bail!("the service isn't registered: {answer:?}"),
                _ => tokio::time::sleep(LOOK).await,
            }
        }
        restate.serves().await?;
        Ok(restate)
    }

    /// What of its settings isn't the default.
    pub(crate) fn settings(&self) -> String {
        let partitions = self.partitions.map_or("default-num-partitions 24 (default)".into(), |partitions| {
            format!("RESTATE_DEFAULT_NUM_PARTITIONS={partitions}")
        });
        format!("{partitions}; the handler of sleepers has inactivity_timeout 0s; all else default")
    }

    /// Until its administrator's interface answers.
    async fn admits(&self) -> Result<()> {
        let begun = Instant::now();
        while !matches!(get(&self.admin, "/health").await, Ok((200, _))) {
            ensure!(begun.elapsed() < STARTING, "restate-server doesn't start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Until a call is answered.
    async fn serves(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let call = async { Connection::open(&self.ingress).await?.call(&self.call(Work::Echo)).await };
            // A request that was lost on the way would be waited for in vain.
            match tokio::time::timeout(Duration::from_secs(1), call).await {
                Ok(Ok(())) => return Ok(()),
                other => ensure!(begun.elapsed() < STARTING, "restate-server doesn't serve: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ask(&self, handler: &str) -> Result<Value> {
        let (status, answer) = post(&self.ingress, &format!("/Measured/{handler}"), String::new()).await?;
        ensure!(status < 300, "{handler}: {status} {}", String::from_utf8_lossy(&answer));
        Ok(serde_json::from_slice(&answer)?)
    }

    async fn until_count(&self, which: usize, count: u64) -> Result<()> {
        while self.ask("counts").await?[which].as_u64() < Some(count) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

impl System for Restate {
    fn address(&self) -> &str {
        &self.ingress
    }

    fn call(&self, work: Work) -> Call {
        let call = |handler: &str, body: String, expected: String| Call {
            path: format!("/Measured/{handler}"),
            body: body.into(),
            expected: expected.into(),
        };
        let accepted = |handler: &str, body: String| call(handler, body, "\"status\":\"Accepted\"".into());
        let sum = |n: u64| (n * (n + 1) / 2).to_string();
        match work {
            Work::Echo => call("echo", "1".into(), "1".into()),
            Work::Steps(n) => call("steps", n.to_string(), sum(n)),
            Work::FanOut(n) => call("fan_out", n.to_string(), sum(n)),
            Work::Sleeper { number, until_ms } => accepted("sleeper/send", format!("[{number},{until_ms}]")),
            Work::SlowSteps { number, ms } => accepted("slow_steps/send", format!("[{number},{ms}]")),
        }
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.server.id(), self.service.id()]
    }

    fn disk(&self) -> Result<u64> {
        disk(self.data.path())
    }

    fn kill(&mut self) -> Result<()> {
        self.server.kill()?;
        self.server.wait()?;
        Ok(())
    }

    async fn start_again(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let addresses = [&self.ingress, &self.admin, &self.fabric].map(String::as_str);
        self.server = spawn(&self.binary, self.data.path(), self.partitions, addresses)?;
        self.serves().await?;
        Ok(begun.elapsed())
    }

    async fn settled(&self) -> Result<()> {
        // It has no figure for it. Sleepers are put away as soon as they sleep.
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    }

    async fn all_stepped(&self, count: u64) -> Result<()> {
        self.until_count(1, count).await
    }

    async fn all_woken(&self, count: u64) -> Result<()> {
        self.until_count(0, count).await
    }

    async fn lateness(&self) -> Result<Times> {
        let answer = self.ask("lateness").await?;
        let late = answer.as_array().context("no list")?.iter().filter_map(Value::as_u64);
        Ok(Times::new(late.map(Duration::from_millis).collect()))
    }
}

impl Drop for Restate {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

/// npm installs the package of this machine's kind beside the one that was asked for.
fn server_binary(packages: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(packages).with_context(|| format!("{}: install it first", packages.display()))?;
    let binaries = entries.flatten().map(|package| package.path().join("bin/restate-server"));
    binaries.into_iter().find(|binary| binary.is_file()).context("there is no restate-server for this machine")
}

/// Four addresses of this machine that are free now.
fn free_addresses() -> Result<[String; 4]> {
    let listeners: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    let addresses: Vec<_> =
        listeners.iter().map(|l| Ok(l.local_addr()?.to_string())).collect::<std::io::Result<_>>()?;
    Ok(addresses.try_into().expect("there are four"))
}

async fn post(address: &str, path: &str, body: String) -> Result<(u16, bytes::Bytes)> {
    Connection::open(address).await?.post(path, body.into()).await
}

async fn get(address: &str, path: &str) -> Result<(u16, bytes::Bytes)> {
    Connection::open(address).await?.get(path).await
}

fn disk(directory: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { disk(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

fn spawn(binary: &Path, data: &Path, partitions: Option<u32>, [ingress, admin, fabric]: [&str; 3]) -> Result<Child> {
    let mut command = Command::new(binary);
    command.args(["--no-logo", "--listen-mode", "tcp", "--node-name", "measured", "--base-dir"]).arg(data);
    command.args(["--bind-ip", "127.0.0.1"]);
    command.env("RESTATE_BIND_ADDRESS", fabric).env("RESTATE_ADVERTISED_ADDRESS", format!("http://{fabric}"));
    command.env("RESTATE_INGRESS__BIND_ADDRESS", ingress).env("RESTATE_ADMIN__BIND_ADDRESS", admin);
    command.env("RESTATE_DISABLE_TELEMETRY", "true").env("RESTATE_LOG_FILTER", "error");
    if let Some(partitions) = partitions {
        command.env("RESTATE_DEFAULT_NUM_PARTITIONS", partitions.to_string());
    }
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    spawned.with_context(|| format!("{}: install it first", binary.display()))
}
