//! `host serve`: what it is told by flags, environment and file, how it starts and stops.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Client, Setup, guest, scratch};

use crate::{Cli, command, run};

fn directory() -> TempDir {
    tempfile::tempdir_in(scratch()).expect("a directory can be made")
}

fn serve(data: &Path) -> Command {
    let mut command = command();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    command
}

/// A host that says by itself where it listens, killed in the end.
struct Served(Child, Client);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn served(mut command: Command) -> Served {
    command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it can be started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is a pipe")).read_line(&mut line).expect("it says where it is");
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    let client = Client::new(ready["url"].as_str().expect("an address is text"));
    Served(child, client)
}

#[test]
fn it_says_where_it_serves() {
    let directory = directory();
    let host = served(serve(&directory.path().join("made/when/needed")));
    assert_eq!(host.1.health()["status"], "ok");
    assert!(directory.path().join("made/when/needed").is_dir());
}

/// A flag wins over the environment, that over the file, and that over the default.
#[test]
fn settings_come_from_flags_environment_and_file() {
    let directory = directory();
    let config = directory.path().join("host.toml");
    std::fs::write(&config, "payload-limit = '3000'\noutput-limit = '4KiB'\n").expect("a file can be written");
    let limit = |host: &Client| {
        host.upload(&guest("misbehave")).expect(201);
        let sizes = [500, 1_500, 2_500, 3_500];
        let fits = |size: &&usize| host.invoke("big_result", json!([size]))["state"] == "resolved";
        sizes.iter().filter(fits).count()
    };
    let data = |name: &str| directory.path().join(name);
    let mut command = serve(&data("file"));
    command.arg("--config").arg(&config);
    assert_eq!(limit(&served(command).1), 3, "from the file");
    let mut command = serve(&data("environment"));
    command.env("HOST_CONFIG", &config).env("HOST_PAYLOAD_LIMIT", "2000");
    assert_eq!(limit(&served(command).1), 2, "from the environment");
    let mut command = serve(&data("flag"));
    command.env("HOST_CONFIG", &config).env("HOST_PAYLOAD_LIMIT", "2000").args(["--payload-limit", "1000"]);
    assert_eq!(limit(&served(command).1), 1, "from the flag");
    assert_eq!(limit(&served(serve(&data("default"))).1), 4, "the default");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let directory = directory();
    let refused = |arguments: &[&str], parts: &[&str]| {
        let mut command = serve(&directory.path().join("data"));
        command.args(arguments);
        run(command).ended(2).says(parts);
    };
    refused(&["--memory-limit", "much"], &["--memory-limit", "much"]);
    refused(&["--cpu-limit", "10"], &["--cpu-limit", "10"]);
    refused(&["--colour", "red"], &["--colour"]);
    refused(&["--workers", "0"], &["workers can't be 0"]);
    refused(&["--config", "/nowhere.toml"], &["/nowhere.toml"]);
    let config = directory.path().join("host.toml");
    std::fs::write(&config, "memory-limt = '1MiB'\n").expect("a file can be written");
    let mut command = serve(&directory.path().join("data"));
    command.arg("--config").arg(&config);
    run(command).ended(2).says(&["memory-limt", "host.toml"]);
}

#[test]
fn what_it_cannot_serve_on_is_said() {
    let host = Setup::new().start();
    let directory = directory();
    let address = host.url().trim_start_matches("http://").to_owned();
    let mut command = command();
    command.args(["serve", "--listen", &address, "--data"]).arg(directory.path().join("data"));
    run(command).ended(1).says(&[&address, "in use"]);
    let mut command = crate::command();
    command.args(["serve", "--listen", "nonsense", "--data"]).arg(directory.path().join("data"));
    run(command).ended(1).says(&["nonsense"]);
    // A file in the place of the directory.
    let file = directory.path().join("file");
    std::fs::write(&file, "text").expect("a file can be written");
    run(serve(&file)).ended(1).says(&[&file.display().to_string()]);
}

/// Ctrl-C drains: what is under way is recorded, and goes on at the next start.
#[test]
fn ctrl_c_drains() {
    let mut host = Setup::new().start();
    host.start("long", "slow_chatter", json!([8, 60]));
    host.signal(libc::SIGINT);
    assert_eq!(host.exit().code(), Some(0));
    host.restart();
    assert_eq!(host.wait("long")["value"], 8);
    assert_eq!(host.lines("long").len(), 8);
    // The verbs find it by the environment as well as by the flag.
    let cli = Cli { url: "http://127.0.0.1:1".into(), token: None };
    cli.run(&["get", "long", "--url", host.url()]).ended(0).says(&["resolved"]);
}

/// A host that dies at a chosen point says so beforehand, and an unknown point is no point.
#[test]
fn a_point_that_does_not_exist_is_refused() {
    let directory = directory();
    let mut command = serve(&directory.path().join("data"));
    command.env("HOST_KILL_AT", "nowhere:1");
    run(command).ended(1).says(&["HOST_KILL_AT", "nowhere", "after-commit"]);
}
