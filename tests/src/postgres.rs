//! A PostgreSQL of our own, for the tests of clusters: a server on a loopback address, over a directory that goes with it.
//!
//! The binaries are those in the newest `/usr/lib/postgresql/*/bin`, or in the directory that `TEST_POSTGRES` names.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::authority::Authority;
use crate::places::scratch;
use crate::until;

const PORT: u16 = 5499;

/// A server. It is killed when it is dropped.
pub struct Postgres {
    directory: TempDir,
    address: String,
    child: Option<Child>,
    /// What is said to it when it starts: `name=value`.
    settings: Vec<String>,
    /// Small disks that are mounted in its directory.
    disks: Vec<PathBuf>,
}

/// Connections that are held, and do nothing.
pub struct Occupied(Vec<Child>);

impl Postgres {
    /// Make an empty one, and start it.
    #[track_caller]
    pub fn start() -> Postgres {
        Postgres::make(&own_address(), &["fsync=off"])
    }

    /// The same, with some more settings: `name=value`.
    #[track_caller]
    pub fn start_with(settings: &[&str]) -> Postgres {
        Postgres::make(&own_address(), &[&["fsync=off"], settings].concat())
    }

    /// The same, for encrypted connections alone, with a certificate of this authority.
    #[track_caller]
    pub fn start_encrypted(authority: &Authority) -> Postgres {
        let mut postgres = Postgres::start();
        postgres.end(libc::SIGINT);
        let (certificate, key) = authority.sign(&postgres.address);
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = postgres.data().join(name);
            fs::write(&path, text).expect("a file can be written");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
            postgres.give(&path);
        }
        fs::write(postgres.data().join("pg_hba.conf"), "hostssl all all all trust\n").expect("a file can be written");
        postgres.settings.push("ssl=on".into());
        postgres.restart();
        postgres
    }

    /// The same, with its commits flushed, as they are in earnest.
    #[track_caller]
    pub fn start_durable() -> Postgres {
        Postgres::make(&own_address(), &[])
    }

    /// The same, on an address of this machine that others reach.
    #[track_caller]
    pub fn start_at(address: &str) -> Postgres {
        Postgres::make(address, &["fsync=off"])
    }

    #[track_caller]
    fn make(address: &str, settings: &[&str]) -> Postgres {
        let directory = tempfile::Builder::new().prefix("postgres-").tempdir_in(scratch());
        let directory = directory.expect("a directory can be made");
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut postgres =
            Postgres { directory, address: address.to_owned(), child: None, settings, disks: Vec::new() };
        postgres.give(postgres.directory.path());
        let made = postgres
            .command("initdb")
            .args(["--auth=trust", "--username=host", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(postgres.data())
            .output()
            .expect("initdb can be started");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let known = File::options().append(true).open(postgres.data().join("pg_hba.conf"));
        let added = known.and_then(|mut known| known.write_all(b"host all all 10.0.0.0/8 trust\n"));
        added.expect("who may connect can be written");
        postgres.restart();
        postgres
    }

    /// A standby of it on an address of its own, which has all that it has and follows it.
    #[track_caller]
    pub fn standby(&self) -> Postgres {
        let directory = tempfile::Builder::new().prefix("standby-").tempdir_in(scratch());
        let directory = directory.expect("a directory can be made");
        let settings = self.settings.clone();
        let mut standby = Postgres { directory, address: own_address(), child: None, settings, disks: Vec::new() };
        standby.give(standby.directory.path());
        let copied = standby
            .command("pg_basebackup")
            .args(["-h", &self.address, "-p", &PORT.to_string(), "-U", "host"])
            .args(["--write-recovery-conf", "--checkpoint=fast", "-D"])
            .arg(standby.data())
            .output()
            .expect("pg_basebackup can be started");
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        standby.restart();
        let following = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        until("it follows", || (self.run("postgres", following) == ["1"]).then_some(()));
        standby
    }

    /// From here on a commit waits for a standby.
    #[track_caller]
    pub fn wait_for_standby(&self) {
        self.run("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.run("postgres", "SELECT pg_reload_conf()");
        let waits = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        until("it waits for it", || (self.run("postgres", waits) == ["1"]).then_some(()));
    }

    /// Wait until a standby has all that there is.
    #[track_caller]
    pub fn wait_until_it_has_all(&self, standby: &Postgres) {
        let at = self.run("postgres", "SELECT pg_current_wal_lsn()").remove(0);
        let has = format!("SELECT pg_last_wal_replay_lsn() >= '{at}'");
        until("the standby has all", || (standby.run("postgres", &has) == ["t"]).then_some(()));
    }

    /// It was a standby, and takes what is written from here on.
    #[track_caller]
    pub fn promote(&self) {
        assert_eq!(self.run("postgres", "SELECT pg_promote()"), ["t"]);
    }

    /// Where a database is, on this server or on another one.
    pub fn url_of_either(&self, other: &Postgres, name: &str) -> String {
        format!("postgres://host@{}:{PORT},{}:{PORT}/{name}?sslmode=disable", self.address, other.address)
    }

    /// Start it again, and wait until it takes connections.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it is running");
        let log = File::options().append(true).create(true).open(self.directory.path().join("log"));
        let log = log.expect("its log can be written");
        let mut command = self.command("postgres");
        command.args(["-c", "unix_socket_directories=", "-c", "max_connections=200"]);
        // Mostly without flushing: what is killed here is the process, not the machine, whose cache outlives it.
        command.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        command.arg("-p");
        command.arg(PORT.to_string()).args(["-c", &format!("listen_addresses={}", self.address), "-D"]);
        command.arg(self.data()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(spawn(command));
        until("postgres takes connections", || self.try_run("postgres", "SELECT 1").ok());
    }

    /// A new, empty database: its URL.
    #[track_caller]
    pub fn database(&self, name: &str) -> String {
        self.run("postgres", &format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// The same, for those who know a password: its URL, with that.
    #[track_caller]
    pub fn secret_database(&self, name: &str, password: &str) -> String {
        let url = self.database(name);
        self.run("postgres", &format!("ALTER USER host PASSWORD '{password}'"));
        let rules = self.data().join("pg_hba.conf");
        let others = fs::read_to_string(&rules).expect("who may connect is known");
        fs::write(&rules, format!("host {name} all all scram-sha-256\n{others}")).expect("a file can be written");
        self.run("postgres", "SELECT pg_reload_conf()");
        until("it asks for the password", || self.try_run(name, "SELECT 1").is_err().then_some(()));
        url.replace("host@", &format!("host:{password}@"))
    }

    /// The same, on a disk of its own that has so much room: its URL, and where the disk is. That takes the rights of root.
    #[track_caller]
    pub fn small_database(&mut self, name: &str, bytes: u64) -> (String, PathBuf) {
        let disk = self.directory.path().join(format!("disk-{name}"));
        fs::create_dir(&disk).expect("a directory can be made");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(&disk).status();
        assert!(mounted.is_ok_and(|status| status.success()), "a disk of its own takes the rights of root");
        self.disks.push(disk.clone());
        let place = disk.join("tables");
        fs::create_dir(&place).expect("a directory can be made");
        self.give(&place);
        self.run("postgres", &format!("CREATE TABLESPACE {name} LOCATION '{}'", place.display()));
        self.run("postgres", &format!("CREATE DATABASE {name} TABLESPACE {name}"));
        (self.url(name), disk)
    }

    /// Take all connections that are left, and hold them.
    #[track_caller]
    pub fn occupy(&self) -> Occupied {
        let mut occupied = Occupied(Vec::new());
        loop {
            let mut client = self.psql("postgres");
            client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut client = client.spawn().expect("psql can be started");
            // One that was refused may have ended before it could be asked.
            let _ = writeln!(client.stdin.as_ref().expect("it is a pipe"), "SELECT 1;");
            let mut first = [0; 1];
            let is_connected = client.stdout.as_mut().is_some_and(|out| out.read_exact(&mut first).is_ok());
            occupied.0.push(client);
            if !is_connected {
                return occupied;
            }
        }
    }

    /// Where a database is.
    pub fn url(&self, name: &str) -> String {
        self.url_with(name, "sslmode=disable")
    }

    /// The same, with other options.
    pub fn url_with(&self, name: &str, options: &str) -> String {
        format!("postgres://host@{}:{PORT}/{name}?{options}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Run a statement: the rows that come of it, their columns between `|`.
    #[track_caller]
    pub fn run(&self, database: &str, statement: &str) -> Vec<String> {
        self.try_run(database, statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    fn try_run(&self, database: &str, statement: &str) -> Result<Vec<String>, String> {
        let output = self.psql(database).args(["-c", statement]).output().expect("psql can be started");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Send its main process a signal: `SIGKILL` is a crash, `SIGINT` a fast shutdown, `SIGSTOP` hangs it.
    pub fn signal(&self, signal: i32) {
        let id = self.child.as_ref().expect("it is running").id() as i32;
        // SAFETY: the child hasn't been waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0, "a child can be sent a signal");
    }

    /// The same to all its processes. Connections are taken by the system all the while, and nobody answers.
    pub fn signal_all(&self, signal: i32) {
        for process in self.processes() {
            // SAFETY: nothing is changed but other processes, which are the server's own. Some may have ended since.
            unsafe { libc::kill(process as i32, signal) };
        }
    }

    /// Its main process, and those that serve connections and look after it.
    pub fn processes(&self) -> Vec<u32> {
        let main = self.child.as_ref().expect("it is running").id();
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        std::iter::once(main).chain(children).collect()
    }

    /// End it by a signal, and wait until it has ended.
    pub fn end(&mut self, signal: i32) {
        self.signal(signal);
        let mut child = self.child.take().expect("it was running");
        child.wait().expect("a child can be waited for");
        // Those that it had started see that it is gone, and go as well.
        let lock = self.data().join("postmaster.pid");
        until("nothing holds its files", || {
            let _ = fs::remove_file(&lock);
            Command::new("pgrep")
                .args(["-f", &self.data().display().to_string()])
                .output()
                .ok()
                .filter(|found| found.stdout.is_empty())
        });
    }

    fn psql(&self, database: &str) -> Command {
        let mut command = self.command("psql");
        command.args(["-qAtX", "-h", &self.address, "-p", &PORT.to_string(), "-U", "host", "-d", database]);
        command
    }

    /// Let it be the server's, where the server runs as another user.
    fn give(&self, path: &Path) {
        if let Some((user, group)) = other_user() {
            std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may give it away");
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(binaries().join(name));
        // Nobody's own settings and certificates count.
        command.current_dir(self.directory.path()).env("HOME", self.directory.path());
        if let Some((user, group)) = other_user() {
            command.uid(user).gid(group);
        }
        // SAFETY: it may be called between fork and exec. A test that is killed takes its server with it.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() && self.child.is_some() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            println!(
                "--- the end of what PostgreSQL said ---\n{}\n---",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
        // Those that stand still don't see that it is gone.
        if self.child.is_some() {
            self.signal_all(libc::SIGKILL);
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        for disk in &self.disks {
            let _ = Command::new("umount").arg("--lazy").arg(disk).status();
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        for client in &mut self.0 {
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

/// Start it from a thread that never ends: what is killed with its parent is killed with the parent's thread.
fn spawn(mut command: Command) -> Child {
    let (started, child) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = started.send(command.spawn().expect("postgres can be started"));
        loop {
            std::thread::park();
        }
    });
    child.recv().expect("it was started")
}

/// A loopback address that no other server of a test has.
fn own_address() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let own = COUNT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    format!("127.{}.{low}.{}", high.max(1), 201 + own % 54)
}

fn binaries() -> PathBuf {
    if let Some(path) = std::env::var_os("TEST_POSTGRES") {
        return path.into();
    }
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    let newest = versions.into_iter().rfind(|path: &PathBuf| path.join("postgres").is_file());
    newest.unwrap_or_else(|| {
        panic!("there is no PostgreSQL on this machine: apt-get install postgresql, or set TEST_POSTGRES to its bin/")
    })
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package made.
fn other_user() -> Option<(u32, u32)> {
    // SAFETY: it has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let users = fs::read_to_string(Path::new("/etc/passwd")).expect("there are users");
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("its package makes the user postgres");
    let mut fields = line.split(':').skip(2).map(|field| field.parse().expect("ids are numbers"));
    Some((fields.next()?, fields.next()?))
}
