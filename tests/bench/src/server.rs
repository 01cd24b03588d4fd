//! A host, as a process of its own.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::load::Connection;

/// A host on a data directory of its own.
pub(crate) struct Server {
    binary: PathBuf,
    data: TempDir,
    pub(crate) address: String,
    process: Child,
}

impl Server {
    pub(crate) fn start(target: &Path) -> Result<Server> {
        let binary = target.join("release/host");
        let data = tempfile::tempdir_in(target)?;
        // Free now, and nobody else looks for one.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let process = spawn(&binary, data.path(), &address)?;
        let mut server = Server { binary, data, address, process };
        server.ready()?;
        Ok(server)
    }

    /// End it as a power cut would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Start it again, and wait until it serves. How long that took.
    pub(crate) fn start_again(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.process = spawn(&self.binary, self.data.path(), &self.address)?;
        self.ready()?;
        Ok(begun.elapsed())
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

    /// Its memory that is not of files, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).context("no RssAnon")?;
        Ok(line.split_whitespace().nth(1).context("no figure")?.parse::<u64>()? * 1024)
    }

    /// The processor time that it has used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let after_name = stat.rsplit(") ").next().context("no name")?;
        let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        // SAFETY: it only reads a constant of the system.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
        Ok(Duration::from_millis(ticks * 1000 / per_second))
    }

    /// What its files take on the disk, in bytes.
    pub(crate) fn disk(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt;
        let files = ["store.redb", "log.redb"];
        files.iter().try_fold(0, |sum, file| Ok(sum + std::fs::metadata(self.data.path().join(file))?.blocks() * 512))
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

fn spawn(binary: &Path, data: &Path, address: &str) -> Result<Child> {
    let mut command = Command::new(binary);
    command.args(["serve", "--listen", address, "--data"]).arg(data).stdout(Stdio::null());
    command.env("HOST_LOG", "error").spawn().with_context(|| format!("{}: build it first", binary.display()))
}
