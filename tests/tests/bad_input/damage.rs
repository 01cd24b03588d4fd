//! Files of the data directory that were changed at rest, are of a newer format, or are in use. A host opens what is
//! whole, and refuses the rest by name; it never reads something else than was written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::json;
use tests::{Client, Host, Random, Setup, host_binary, until};

/// The files of a data directory that can be damaged. The log has two, of which one is in use here.
const FILES: [&str; 3] = ["store.redb", "log-0", "log-1"];

/// How often files are damaged, unless `DAMAGE_COUNT` says otherwise.
const DAMAGES: u64 = 120;

/// Executions that have ended and such that sleep for long, promises settled and not: nothing here changes by itself.
fn fill(host: &Client) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..12 {
        let id = format!("chatter-{n}");
        host.post(&format!("/v1/functions/slow_chatter/invoke?id={id}"), &json!([4, 0])).expect(200);
        let promise = host.promise(json!({ "id": format!("promise-{n}"), "param": "a".repeat(500) }));
        if n % 2 == 0 {
            host.settle(&promise, "resolve", &json!({ "n": n, "text": "b".repeat(500) })).expect(200);
        }
        let asleep = format!("asleep-{n}");
        host.start(&asleep, "slow_chatter", json!([2, 600_000]));
        until("it sleeps", || (host.show(&asleep)["task"] == "suspended").then_some(()));
        ids.extend([id, promise, asleep]);
    }
    ids
}

/// All that can be read, by where it was read. An error of the host is told as such.
fn read_all(host: &Client, ids: &[String]) -> Result<BTreeMap<String, String>, String> {
    let mut read = BTreeMap::new();
    for id in ids {
        for part in ["", "/journal", "/logs", "/tree"] {
            let path = format!("/v1/executions/{id}{part}");
            let answer = host.try_get(&path).map_err(|_| "the host has ended".to_owned())?;
            if answer.status >= 500 {
                return Err(answer.text);
            }
            read.insert(path, format!("{} {}", answer.status, answer.text));
        }
    }
    Ok(read)
}

/// A host with something in it, that was killed: the files of its data directory, and all that can be read.
struct Filled {
    host: Host,
    ids: Vec<String>,
    all: BTreeMap<String, String>,
    files: Vec<(&'static str, Vec<u8>)>,
}

fn filled() -> Filled {
    let mut host = Setup::new().start();
    let ids = fill(&host);
    host.kill();
    host.restart();
    let all = read_all(&host, &ids).expect("all can be read");
    // Something is in the log that isn't in the store.
    host.start("last", "echo", json!(["the last one"]));
    host.kill();
    let read = |name| (name, fs::read(host.data().join(name)).expect("a file can be read"));
    let files = FILES.map(read).to_vec();
    Filled { host, ids, all, files }
}

impl Filled {
    fn restore(&self) {
        for (name, bytes) in &self.files {
            fs::write(self.host.data().join(name), bytes).expect("a file can be written");
        }
    }

    /// Start it on what is there now: refused by name, or everything as it was.
    fn check(&mut self, name: &str, what: &str) -> &'static str {
        let logged = self.host.log().len();
        self.host.spawn();
        let host = &mut self.host;
        let served = until("it serves or ends", || match host.exited() {
            Some(status) => Some(Err(status)),
            None => host.try_get("/health").ok().map(Ok),
        });
        let refused = |text: &str| {
            let names = text.contains(name) || text.contains("damaged");
            assert!(names, "{what}: it doesn't say what is damaged: {text}");
        };
        match served {
            Err(status) => {
                assert!(!status.success(), "{what}: {status}");
                // The end of its output arrives a little later than that of the process.
                let told = until("it says why", || {
                    let log = host.log().split_off(logged);
                    log.contains(name).then_some(log)
                });
                assert!(!told.contains("panicked"), "{what}: {told}");
                return "refused";
            }
            Ok(_) => match read_all(host, &self.ids) {
                Ok(read) => {
                    for (path, before) in &self.all {
                        assert_eq!(read.get(path), Some(before), "{what}: {path} is another than was told");
                    }
                    let last = host.get("/v1/promises/last?wait_ms=10000");
                    assert_eq!(last.status, 200, "{what}: the last thing that was acknowledged is lost: {last:?}");
                }
                Err(text) if text == "the host has ended" => {}
                Err(text) => refused(&text),
            },
        }
        self.host.kill();
        "whole"
    }
}

#[test]
fn damaged_files_are_refused_or_harmless() {
    let mut random = Random::from_env("DAMAGE_SEED");
    let mut filled = filled();
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for n in 0..tests::number("DAMAGE_COUNT").unwrap_or(DAMAGES) {
        filled.restore();
        let (name, bytes) = &filled.files[random.below(2) as usize];
        let (name, path, length) = (*name, filled.host.data().join(name), bytes.len() as u64);
        let file = File::options().write(true).open(&path).expect("a file can be opened");
        // Most of a log is room that it made ahead of need: damage is most often where it is used.
        let is_ahead = name != "store.redb" && random.below(4) > 0;
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("it isn't empty") as u64 + 1;
        let place = random.below(if is_ahead { used } else { length });
        let (kind, what) = match n % 4 {
            0 => {
                let bit = 1 << random.below(8);
                file.write_all_at(&[bytes[place as usize] ^ bit], place).expect("a file can be written");
                ("flipped", format!("{n}: bit {bit} at {place} of {name}"))
            }
            1 => {
                let page = place & !4095;
                let length = (length - page).min(4096);
                file.write_all_at(&vec![0; length as usize], page).expect("a file can be written");
                ("zeroed", format!("{n}: the page at {page} of {name} zeroed"))
            }
            2 => {
                let from = random.below(length) & !4095;
                let (page, other) = ((place & !4095) as usize, from as usize);
                let copied = bytes[other..(other + 4096).min(bytes.len())].to_vec();
                let room = copied.len().min(bytes.len() - page);
                file.write_all_at(&copied[..room], page as u64).expect("a file can be written");
                ("misplaced", format!("{n}: the page at {other} of {name} written to {page} as well"))
            }
            _ => {
                file.set_len(place).expect("a file can be cut");
                ("cut", format!("{n}: {name} cut from {length} to {place} bytes"))
            }
        };
        *counts.entry((kind, filled.check(name, &what))).or_default() += 1;
    }
    println!("{counts:?}");
    assert!(counts.iter().any(|((_, outcome), _)| *outcome == "refused"), "no damage was noticed at all");
}

#[test]
fn a_file_that_is_gone_is_missed() {
    let mut filled = filled();
    for name in FILES {
        filled.restore();
        fs::remove_file(filled.host.data().join(name)).expect("a file can be removed");
        // Any may be the one that is named: they no longer belong together.
        assert_eq!(filled.check("", &format!("{name} was removed")), "refused");
        filled.restore();
        File::create(filled.host.data().join(name)).expect("a file can be emptied");
        assert_eq!(filled.check("", &format!("{name} was emptied")), "refused");
    }
    filled.restore();
    assert_eq!(filled.check("", "nothing was damaged"), "whole");
}

/// Every row begins with the number of its format.
#[test]
fn a_newer_format_is_refused() {
    let mut filled = filled();
    let (store, log) = (filled.host.data().join("store.redb"), filled.host.data().join("log-0"));
    make_newer(&store, TableDefinition::<&str, &[u8]>::new("meta"), "meta");
    told_newer(&mut filled, "store.redb");
    // The first frame of a log is on its second page, and its format is behind 36 bytes.
    let file = File::options().write(true).open(&log).expect("the log can be opened");
    file.write_all_at(&[255], 4096 + 36).expect("it can be written");
    told_newer(&mut filled, "log-0");
    let promises = TableDefinition::new("promises");
    make_newer(&store, promises, first(&store, promises));
    filled.host.restart();
    // The first promise is that of the first call, and is read when somebody asks for it.
    let answer = filled.host.get("/v1/executions/chatter-0");
    let refusal = answer.refusal(500, "store_damaged");
    assert!(refusal.contains("format 255"), "{refusal}");
}

/// Give the first row of a table a newer format.
fn make_newer<'k, K: redb::Key + 'static>(path: &Path, table: TableDefinition<K, &'static [u8]>, key: K::SelfType<'k>) {
    let database = Database::open(path).expect("the file can be opened");
    let transaction = database.begin_write().expect("it can be written");
    {
        let mut table = transaction.open_table(table).expect("the table is there");
        let mut row = table.get(&key).expect("it can be read").expect("there is a row").value().to_vec();
        row[0] = 255;
        table.insert(&key, &row[..]).expect("it can be written");
    }
    transaction.commit().expect("it can be written");
}

/// The first key of a table of numbers.
fn first(path: &Path, table: TableDefinition<u64, &'static [u8]>) -> u64 {
    let database = Database::open(path).expect("the file can be opened");
    let transaction = database.begin_read().expect("it can be read");
    let table = transaction.open_table(table).expect("the table is there");
    table.first().expect("it can be read").expect("there is a row").0.value()
}

#[track_caller]
fn told_newer(filled: &mut Filled, name: &str) {
    filled.host.spawn();
    let status = filled.host.exit();
    assert!(!status.success(), "{name}: {status}");
    until("it says why", || {
        let log = filled.host.log();
        (log.contains("format 255") && log.contains(name)).then_some(())
    });
    filled.restore();
}

#[test]
fn a_directory_serves_one_host() {
    let host = Setup::new().start();
    let mut second = Command::new(host_binary());
    second.args(["serve", "--data"]).arg(host.data()).args(["--listen", "127.0.0.1:0"]);
    let output = second.stdin(Stdio::null()).output().expect("it can be started");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("in use by another host"), "{told}");
    assert!(told.contains(&host.data().display().to_string()), "{told}");
    assert_eq!(host.call("echo", json!([1])), 1, "the first one goes on");
}
