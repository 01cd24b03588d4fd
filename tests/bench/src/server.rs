//! A host, as a process of its own.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::figures::Times;
use crate::load::{Call, Connection};
use crate::system::{System, Work};

const RESOLVED: &str = "\"state\":\"resolved\"";
const ACCEPTED: &str = "\"state\":\"pending\"";
/// Between two looks at whether something is over.
const LOOK: Duration = Duration::from_millis(20);

/// A host on a data directory of its own.
pub(crate) struct Server {
    binary: PathBuf,
    data: TempDir,
    address: String,
    process: Child,
    flags: Vec<String>,
    /// Those sleepers whose lateness was asked for.
    seen: RefCell<HashSet<u64>>,
}

impl Server {
    /// Start a host with further flags of `serve`.
    pub(crate) fn start(target: &Path, flags: &[&str]) -> Result<Server> {
        let binary = target.join("release/host");
        let data = tempfile::tempdir_in(target)?;
        // Free now, and nobody else looks for one.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
        let process = spawn(&binary, data.path(), &address, &flags)?;
        let mut server = Server { binary, data, address, process, flags, seen: RefCell::default() };
        server.ready()?;
        Ok(server)
    }

    fn ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        while !is_healthy(&self.address) {
            ensure!(begun.elapsed() < Duration::from_secs(60), "the host doesn't serve");
            if let Some(status) = self.process.try_wait()? {
                anyhow::bail!("the host has ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(crate) async fn upload(&self, component: &Path) -> Result<()> {
        let wasm = std::fs::read(component).with_context(|| format!("{}: build it first", component.display()))?;
        let (status, answer) = Connection::open(&self.address).await?.post("/v1/components", wasm.into()).await?;
        ensure!(status == 201, "{}: {}", component.display(), String::from_utf8_lossy(&answer));
        Ok(())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let (status, answer) = Connection::open(&self.address).await?.get(path).await?;
        ensure!(status < 300, "{path}: {}", String::from_utf8_lossy(&answer));
        Ok(serde_json::from_slice(&answer)?)
    }

    /// A call of a function that only the host is measured with.
    pub(crate) fn fibonacci(&self, n: u64) -> Call {
        let body = format!("[{n}]").into();
        Call { path: "/v1/functions/fibonacci/invoke".into(), body, expected: RESOLVED.into() }
    }

    /// Until no execution is pending.
    async fn all_done(&self) -> Result<()> {
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/v1/executions?state=pending&limit=1{cursor}")).await?;
            if page["items"].as_array().is_some_and(|items| !items.is_empty()) {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            match page["next"].as_str() {
                // Those before this point were not pending, and never will be again.
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(()),
            }
        }
    }
}

impl System for Server {
    fn address(&self) -> &str {
        &self.address
    }

    fn call(&self, work: Work) -> Call {
        let call = |function: &str, arguments: String| Call {
            path: format!("/v1/functions/{function}/invoke"),
            body: arguments.into(),
            expected: RESOLVED.into(),
        };
        let accepted = |function: &str, arguments: String| Call {
            path: format!("/v1/functions/{function}/invoke?wait_ms=0"),
            body: arguments.into(),
            expected: ACCEPTED.into(),
        };
        match work {
            Work::Echo => call("echo", "[1]".into()),
            Work::Steps(n) => call("steps", format!("[{n}]")),
            Work::FanOut(n) => call("fan_out", format!("[{n}]")),
            Work::Sleeper { number, until_ms } => accepted("sleeper", format!("[{number},{until_ms}]")),
            Work::SlowSteps { number, ms } => accepted("slow_steps", format!("[{number},10,{ms}]")),
        }
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.process.id()]
    }

    fn disk(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt;
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.data.path())? {
            let metadata = entry?.metadata()?;
            bytes += if metadata.is_file() { metadata.blocks() * 512 } else { 0 };
        }
        Ok(bytes)
    }

    fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    async fn start_again(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.process = spawn(&self.binary, self.data.path(), &self.address, &self.flags)?;
        self.ready()?;
        let call = self.call(Work::Echo);
        Connection::open(&self.address).await?.call(&call).await?;
        Ok(begun.elapsed())
    }

    async fn settled(&self) -> Result<()> {
        loop {
            let health = self.get("/health").await?;
            if health["queued"] == 0 && health["unsaved"] == 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn all_stepped(&self, _count: u64) -> Result<()> {
        self.all_done().await
    }

    async fn all_woken(&self, _count: u64) -> Result<()> {
        self.all_done().await
    }

    async fn lateness(&self) -> Result<Times> {
        let mut times = Vec::new();
        let mut cursor = Some(String::new());
        while let Some(at) = cursor {
            let page = self.get(&format!("/v1/executions?function=sleeper&limit=1000{at}")).await?;
            for execution in page["items"].as_array().context("no items")? {
                ensure!(execution["state"] == "resolved", "a sleeper ended otherwise: {execution}");
                let number = execution["arguments"][0].as_u64().context("no number")?;
                let until_ms = execution["arguments"][1].as_u64().context("no time")?;
                let settled_ms = execution["settled_at_ms"].as_u64().context("no time")?;
                if self.seen.borrow_mut().insert(number) {
                    times.push(Duration::from_millis(settled_ms.saturating_sub(until_ms)));
                }
            }
            cursor = page["next"].as_str().map(|next| format!("&cursor={next}"));
        }
        Ok(Times::new(times))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Whether the host answers. It listens before it has recovered, so that a connection alone says nothing.
fn is_healthy(address: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

fn spawn(binary: &Path, data: &Path, address: &str, flags: &[String]) -> Result<Child> {
    let mut command = Command::new(binary);
    command.args(["serve", "--listen", address, "--data"]).arg(data).args(flags).stdout(Stdio::null());
    command.env("HOST_LOG", "error").spawn().with_context(|| format!("{}: build it first", binary.display()))
}
