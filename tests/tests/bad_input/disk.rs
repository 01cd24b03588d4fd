//! A disk without room: nothing is acknowledged that isn't kept, whoever asks is told, and when there is room again the
//! host goes on by itself.
//!
//! A limit on the size of files is what stands in for a full disk. It fails like one: whatever would make a file grow.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tests::{Host, Setup, scratch, until};

/// The outcome of filling it up: what was acknowledged, and what was said when there was no room.
struct Filled {
    kept: Vec<(String, Value)>,
    refusal: String,
}

/// Ask for more and more, until the host says that it can't. What was under way when the room ended isn't answered, as
/// nobody can say what will become of it.
fn fill(host: &Host, prefix: &str) -> Filled {
    let mut kept = Vec::new();
    let mut unanswered = 0;
    let refusal = until("the host has no room", || {
        let (id, value) = (format!("{prefix}-{}", kept.len()), json!("a".repeat(200_000)));
        let path = format!("/v1/functions/echo/invoke?id={id}&wait_ms=1000");
        let Ok(answer) = host.impatient().try_post(&path, json!([value]).to_string().as_bytes()) else {
            unanswered += 1;
            assert!(unanswered < 3, "requests are not answered any more");
            return None;
        };
        match answer.status {
            200 => kept.push((id, value)),
            503 => return Some(answer.refusal(503, "cannot_record")),
            _ => panic!("{answer:?}"),
        }
        None
    });
    Filled { kept, refusal }
}

fn check(host: &Host, filled: &Filled) {
    for (id, value) in &filled.kept {
        assert_eq!(host.wait(id)["value"], *value, "{id} was acknowledged");
    }
}

/// Before and during: an execution that sleeps, and one that is to be begun when there is room again.
fn survives(host: &mut Host, prefix: &str, take_room: impl FnOnce(&Host), make_room: impl FnOnce(&Host)) {
    host.start(&format!("{prefix}-asleep"), "slow_chatter", json!([40, 100]));
    take_room(host);
    let filled = fill(host, prefix);
    assert!(filled.refusal.contains("can't record anything at the moment"), "{}", filled.refusal);
    let health = host.get("/health");
    assert_eq!(health.status, 503, "{health:?}");
    host.settle("nowhere", "resolve", &json!(1)).refusal(503, "cannot_record");
    make_room(host);
    until("the host takes on work again", || (host.get("/health").status == 200).then_some(()));
    assert_eq!(host.call("echo", json!([1])), 1);
    check(host, &filled);
    let asleep = format!("{prefix}-asleep");
    assert_eq!(host.wait(&asleep)["value"], 40);
    let lines: Vec<String> = (1..=40).map(|n| format!("line {n}")).collect();
    assert_eq!(host.lines(&asleep), lines, "it went on where it was");
    host.kill();
    host.restart();
    check(host, &filled);
    println!("{prefix}: {} were acknowledged, then: {}", filled.kept.len(), filled.refusal);
}

fn largest_file(host: &Host) -> u64 {
    let size = |name: &str| fs::metadata(host.data().join(name)).map_or(0, |metadata| metadata.len());
    ["log-0", "log-1", "store.redb"].map(size).into_iter().max().expect("there are some")
}

#[test]
fn files_that_cannot_grow() {
    let mut host = Setup::new().start();
    let take_room = |host: &Host| host.limit_files(Some(largest_file(host)));
    survives(&mut host, "grow", take_room, |host| host.limit_files(None));
}

#[test]
fn files_that_cannot_be_written_at_all() {
    let mut host = Setup::new().start();
    host.start("before", "sleeper", json!([10]));
    host.wait("before");
    survives(&mut host, "write", |host| host.limit_files(Some(0)), |host| host.limit_files(None));
    assert_eq!(host.show("before")["value"], 10);
}

#[test]
fn killed_while_there_is_no_room() {
    let mut host = Setup::new().start();
    host.limit_files(Some(largest_file(&host)));
    let filled = fill(&host, "killed");
    host.kill();
    host.restart();
    check(&host, &filled);
    assert_eq!(host.call("echo", json!([1])), 1);
}

#[test]
fn stopped_while_there_is_no_room() {
    let mut host = Setup::new().start();
    host.limit_files(Some(largest_file(&host)));
    let filled = fill(&host, "stopped");
    // What can't be written was not acknowledged, so there is nothing to wait for.
    host.stop();
    host.restart();
    check(&host, &filled);
}

/// A file system of its own, where this can be made.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(mib: u32) -> Option<SmallDisk> {
        let path = scratch().join(format!("disk-{}", std::process::id()));
        fs::create_dir_all(&path).ok()?;
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk(path)),
            other => {
                println!("skipped: a small file system can't be mounted here: {other:?}");
                let _ = fs::remove_dir(&path);
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_small_disk_that_is_full() {
    let Some(disk) = SmallDisk::new(192) else { return };
    let mut host = Setup::new().on(&disk.0).start();
    // Room that is given back later. What is in the log has to be written to the store before the log gives up its own
    // room, so it is to be more than what the host can have filled until then.
    let ballast = disk.0.join("ballast");
    let take_room = |_: &Host| fs::write(&ballast, vec![1; 144 << 20]).expect("there is room");
    survives(&mut host, "disk", take_room, |_| fs::remove_file(&ballast).expect("a file can be removed"));
    drop(host);
}
