//! What is measured: a system that runs durable functions, and what is asked of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::figures::Times;
use crate::load::Call;

/// What is asked. Each is a function of `tests/guests/measured`, and of the services in `tests/peers`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Returns its argument.
    Echo,
    /// So many durable steps, one after the other.
    Steps(u64),
    /// So many calls of echo at once, and gathered.
    FanOut(u64),
    /// Sleeps until a time. It is accepted, and not waited for.
    Sleeper { number: u64, until_ms: u64 },
    /// Ten steps with a sleep after each. It is accepted, and not waited for.
    SlowSteps { number: u64, ms: u64 },
}

/// A system under load, as processes of this machine.
pub(crate) trait System {
    /// Where it takes requests.
    fn address(&self) -> &str;
    /// The request for a work.
    fn call(&self, work: Work) -> Call;
    /// All its processes, those that run the functions included.
    fn processes(&self) -> Vec<u32>;
    /// What its files take on the disk, in bytes.
    fn disk(&self) -> Result<u64>;
    /// End it as a power cut would. What runs the functions of a system that doesn't do so itself stays.
    fn kill(&mut self) -> Result<()>;
    /// Start it again, and wait until it answers a durable call. How long that took.
    async fn start_again(&mut self) -> Result<Duration>;
    /// Until all that was accepted is at rest.
    async fn settled(&self) -> Result<()>;
    /// Until so many `SlowSteps` have ended.
    async fn all_stepped(&self, count: u64) -> Result<()>;
    /// Until so many `Sleeper`s have ended.
    async fn all_woken(&self, count: u64) -> Result<()>;
    /// How late each `Sleeper` woke that woke since this was last asked.
    async fn lateness(&self) -> Result<Times>;

    /// Its memory that is not of files, in bytes.
    fn memory(&self) -> Result<u64> {
        self.processes().iter().try_fold(0, |sum, pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find(|line| line.starts_with("RssAnon:")).context("no RssAnon")?;
            Ok(sum + line.split_whitespace().nth(1).context("no figure")?.parse::<u64>()? * 1024)
        })
    }

    /// The processor time that it has used.
    fn cpu(&self) -> Result<Duration> {
        cpu_of(&self.processes())
    }
}

/// The processor time that processes have used.
pub(crate) fn cpu_of(processes: &[u32]) -> Result<Duration> {
    // SAFETY: it only reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    processes.iter().try_fold(Duration::ZERO, |sum, pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit(") ").next().context("no name")?;
        let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(sum + Duration::from_millis(ticks * 1000 / per_second))
    })
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
