//! A host as a process of its own, on a data directory of its own.
//!
//! Every host listens on a loopback address that only it has, so that it keeps its address across restarts and nothing
//! else takes its port in between. Its output goes through a pipe to a file, so that it can't be hindered by a limit on
//! files that a test sets, and is shown if the test fails.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::network::Place;
use crate::places::{GUESTS, guest, guest_path, host_binary, scratch};
use crate::{Client, PATIENCE, until};

/// On each host's own address.
pub(crate) const PORT: u16 = 7070;
pub(crate) const PEER_PORT: u16 = 7071;
/// How much of a host's output is shown when a test fails.
const SHOWN_BYTES: usize = 16 << 10;

/// How a host is to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    flags: Vec<String>,
    env: Vec<(String, String)>,
    is_bare: bool,
    place: PathBuf,
    /// The database of the cluster that it is a node of.
    cluster: Option<String>,
    /// On a network of its own.
    network: Option<Place>,
}

/// A host. It is killed when it is dropped, and what it printed is shown if that is because a test failed.
pub struct Host {
    setup: Setup,
    directory: TempDir,
    child: Option<Child>,
    client: Client,
    address: String,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup::new()
    }
}

impl Setup {
    /// With all guests but `clash`, and two workers.
    pub fn new() -> Setup {
        let setup = Setup {
            flags: Vec::new(),
            env: Vec::new(),
            is_bare: false,
            place: scratch(),
            cluster: None,
            network: None,
        };
        setup.flag("--workers", 2)
    }

    /// With an option of `host serve`.
    pub fn flag(mut self, name: &str, value: impl ToString) -> Setup {
        self.flags.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// With an option of `host serve` that stands alone.
    pub fn switch(mut self, name: &str) -> Setup {
        self.flags.push(name.to_owned());
        self
    }

    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: impl ToString) -> Setup {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Without any guest.
    pub fn bare(mut self) -> Setup {
        self.is_bare = true;
        self
    }

    /// As a node of a cluster, without any guest of its own.
    pub fn node_of(mut self, database: &str) -> Setup {
        self.cluster = Some(database.to_owned());
        self.bare()
    }

    /// At a place of a network.
    pub fn at(mut self, place: Place) -> Setup {
        self.network = Some(place);
        self
    }

    /// With its data directory made in this one.
    pub fn on(mut self, place: &Path) -> Setup {
        self.place = place.to_owned();
        self
    }

    /// Start it, and wait until it serves.
    #[track_caller]
    pub fn start(self) -> Host {
        let mut host = self.prepare();
        host.restart();
        host
    }

    /// Make its data directory, and don't start it yet.
    pub fn prepare(self) -> Host {
        let directory =
            tempfile::Builder::new().prefix("host-").tempdir_in(&self.place).expect("a directory can be made");
        let data = directory.path().join("data");
        if self.is_bare {
            fs::create_dir(&data).expect("the directory is new");
        } else {
            copy(&template(), &data);
        }
        let address = self.network.as_ref().map_or_else(own_address, |place| place.listen.clone());
        let client = Client::new(&format!("http://{address}"));
        Host { setup: self, directory, child: None, client, address }
    }
}

impl Host {
    /// Start it again, and wait until it serves.
    #[track_caller]
    pub fn restart(&mut self) {
        self.spawn();
        self.ready();
    }

    /// Start it, without waiting for anything.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the host is running");
        let mut command = self.command();
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        command.stdin(Stdio::null()).stdout(writer.try_clone().expect("a pipe can be shared")).stderr(writer);
        let mut log = File::options().append(true).create(true).open(self.log_path()).expect("the log can be opened");
        let child = command.spawn().unwrap_or_else(|error| panic!("{} can't be started: {error}", command_name()));
        drop(command);
        let mut reader = reader;
        // It ends when the last process that has the other end is gone.
        std::thread::spawn(move || io::copy(&mut reader, &mut log));
        self.child = Some(child);
    }

    /// Wait until it serves.
    #[track_caller]
    pub fn ready(&mut self) {
        let begun = Instant::now();
        loop {
            let path = if self.setup.cluster.is_some() { "/ready" } else { "/health" };
            if self.client.try_get(path).is_ok_and(|answer| answer.status == 200) {
                return;
            }
            if let Some(status) = self.exited() {
                panic!("the host ended instead of serving: {status}");
            }
            assert!(begun.elapsed() < PATIENCE, "the host isn't ready after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(host_binary());
        command.args(["serve", "--data"]).arg(self.data()).args(["--listen", &self.address]).args(&self.setup.flags);
        if let Some(database) = &self.setup.cluster {
            command.args(["--cluster", database, "--advertise", &self.peer_address()]);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HOST_") {
                command.env_remove(name);
            }
        }
        command.envs(self.setup.env.iter().map(|(name, value)| (name, value)));
        if let Some(place) = &self.setup.network {
            place.enter(&mut command);
        }
        // SAFETY: both may be called between fork and exec. A write beyond a limit on files is to fail, not to kill; and a
        // test that is killed takes its host with it.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        command
    }

    /// Have later starts be of a node of this cluster, or of none.
    pub fn set_cluster(&mut self, database: Option<&str>) {
        self.setup.cluster = database.map(str::to_owned);
    }

    /// Change the environment of later starts.
    pub fn set_env(&mut self, env: &[(&str, &str)]) {
        self.setup.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }

    /// Kill it, as by a power cut to the process. It is gone when this returns.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
    }

    /// Ask it to stop, as the system does, and wait until it has.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.exit()
    }

    /// Send it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the child hasn't been waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0, "a child can be sent a signal");
    }

    /// Wait until it ends by itself.
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        self.exit_within("the host has ended")
    }

    /// Wait until it ends by itself, for a reason.
    #[track_caller]
    pub fn exit_within(&mut self, what: &str) -> ExitStatus {
        until(what, || self.exited())
    }

    /// How it ended, if it has. It can be started again then.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("a child can be looked at")?;
        self.child = None;
        Some(status)
    }

    /// The largest file that it may write, from now on.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = libc::rlimit { rlim_cur: bytes.unwrap_or(libc::RLIM_INFINITY), rlim_max: libc::RLIM_INFINITY };
        // SAFETY: both pointers are valid or null, as the call wants them.
        let set = unsafe { libc::prlimit(self.pid(), libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut()) };
        assert_eq!(set, 0, "the limit of a child can be set: {}", io::Error::last_os_error());
    }

    /// Where the other nodes of its cluster reach it.
    pub fn peer_address(&self) -> String {
        if let Some(place) = &self.setup.network {
            return place.advertise.clone();
        }
        let (ip, _) = self.address.split_once(':').expect("an address has a port");
        format!("{ip}:{PEER_PORT}")
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().expect("the host is running").id() as i32
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// All that it has printed since it was first started.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Deref for Host {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let ended = if self.child.is_some() { self.exited() } else { None };
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let shown = log.get(log.floor_char_boundary(log.len().saturating_sub(SHOWN_BYTES))..).unwrap_or_default();
            println!("--- the output of the host in {} ---\n{shown}---", self.data().display());
            if let Some(status) = ended {
                println!("it had ended by itself: {status}");
            }
        }
    }
}

fn command_name() -> String {
    host_binary().display().to_string()
}

/// A loopback address that no other host of a test has: all of 127.0.0.0/8 is this machine.
fn own_address() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let own = COUNT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high.max(1), low, (1 + own % 200) as u8);
    format!("{ip}:{PORT}")
}

/// A data directory with all guests uploaded, made once for a binary and a set of guests: compiling takes seconds.
fn template() -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let path = scratch().join(format!("template-{:016x}", fingerprint()));
    if path.exists() {
        return path;
    }
    remove_old_templates();
    let mut host = Setup::new().bare().start();
    for name in GUESTS {
        host.upload(&guest(name)).expect(201);
    }
    let status = host.stop();
    assert!(status.success(), "the host that the others are copied from stopped with {status}");
    // Another process may have been faster, and then its directory is as good.
    if let Err(error) = fs::rename(host.data(), &path) {
        assert!(path.exists(), "{} can't be made: {error}", path.display());
    }
    path
}

/// Each new binary makes a new one. Those of an hour ago are in nobody's way any more.
fn remove_old_templates() {
    for entry in fs::read_dir(scratch()).expect("a directory can be read").flatten() {
        let is_template = entry.file_name().to_string_lossy().starts_with("template-");
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
        if is_template && age.is_some_and(|age| age > Duration::from_secs(3_600)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Changes with the host's binary and the guests.
fn fingerprint() -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for path in std::iter::once(host_binary()).chain(GUESTS.map(guest_path)) {
        let metadata = fs::metadata(&path).ok();
        (path, metadata.as_ref().map(fs::Metadata::len)).hash(&mut hasher);
        metadata.and_then(|metadata| metadata.modified().ok()).hash(&mut hasher);
    }
    hasher.finish()
}

/// Copy a directory. Components are linked: a host never writes into their files, it replaces them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the directory is new");
    for entry in fs::read_dir(from).expect("a directory can be read") {
        let entry = entry.expect("a directory can be read");
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &copied);
        } else if !from.ends_with("components") {
            fs::copy(&path, &copied).expect("a file can be copied");
        } else {
            // On another file system there are no links to this one.
            fs::hard_link(&path, &copied).or_else(|_| fs::copy(&path, &copied).map(drop)).expect("it can be copied");
        }
    }
}
