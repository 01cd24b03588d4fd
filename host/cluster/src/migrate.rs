//! From one host to a cluster: a data directory becomes the snapshots that the partitions begin with.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use machine::{Digest, Record};

use super::snapshots;
use host_database::Database;
use host_log::EmbeddedLog;
use host_store::{Disk, Store, View, divide};

/// Memory for pages of the store that is read.
const CACHE_BYTES: usize = 64 << 20;
/// Promises in memory while the rest of the log is applied.
const PROMISES: usize = 20_000;

/// What was moved.
pub struct Migrated {
    /// Promises, executions among them.
    pub promises: u64,
    /// Components, and values of variables.
    pub files: usize,
}

/// Move what a data directory has into the database of a cluster that has nothing yet. The directory stays as it is.
pub async fn migrate(data: &Path, url: &str, name: &str) -> anyhow::Result<Migrated> {
    let database = Database::new(url)?;
    database.prepare(name, true).await?;
    let path = data.join("store.redb");
    ensure!(path.exists(), "{} is not the data directory of a host", data.display());
    let store = recover(data, &path).with_context(|| format!("the data directory {} can't be read", data.display()))?;
    let directory = tempfile::Builder::new().prefix("migrate-").tempdir_in(data)?;
    let parts = divide(&store, directory.path())?;
    let mut client = database.connect("migrate").await?;
    let transaction = client.transaction().await?;
    transaction.batch_execute("LOCK TABLE durable.partition, durable.node IN EXCLUSIVE MODE").await?;
    let lives = "SELECT count(*) FROM durable.node WHERE lease_until > clock_timestamp()";
    let nodes: i64 = transaction.query_one(lives, &[]).await?.get(0);
    ensure!(nodes == 0, "{nodes} nodes of the cluster are running: stop them first");
    let begun = "SELECT count(*) FROM durable.partition WHERE next_seq > 1 OR snapshot > 0";
    let begun: i64 = transaction.query_one(begun, &[]).await?.get(0);
    if begun > 0 {
        bail!("the cluster of this database has something already: migrate into one that was never used");
    }
    for (partition, part) in (0u8..).zip(&parts) {
        let file = std::fs::read(part)?;
        snapshots::found(&transaction, partition, store.applied(), &file).await?;
    }
    let mut files = 0;
    for (kind, extension) in [("components", Some("wasm")), ("vault", None)] {
        for entry in std::fs::read_dir(data.join(kind)).into_iter().flatten() {
            let path = entry?.path();
            if path.extension().and_then(|extension| extension.to_str()) != extension {
                continue;
            }
            let bytes = std::fs::read(&path)?;
            let insert = "INSERT INTO durable.blob VALUES ($1, $2) ON CONFLICT DO NOTHING";
            transaction.execute(insert, &[&Digest::of(&bytes).0.as_slice(), &bytes]).await?;
            files += 1;
        }
    }
    transaction.commit().await?;
    Ok(Migrated { promises: store.reader()?.count()?, files })
}

/// The store of a data directory, whole up to the end of its log.
fn recover(data: &Path, path: &Path) -> anyhow::Result<Store> {
    let disk = Arc::new(Disk::default());
    let mut store = Store::open(path, CACHE_BYTES, &disk)?;
    let mut log = EmbeddedLog::open(data, store.identity(), store.applied(), &disk)?;
    let mut view = View::new(store.reader()?, store.settings().clone(), PROMISES, None)?;
    let (mut applied, mut now) = (store.applied(), store.now());
    for group in log.take_tail(applied) {
        for (number, bytes) in group.records().filter(|(number, _)| *number > store.applied()) {
            ensure!(number == applied + 1, "record {} of the log is missing", applied + 1);
            let record: Record = postcard::from_bytes(bytes).with_context(|| format!("record {number} of the log"))?;
            now = record.now;
            machine::apply(&mut view, record);
            applied = number;
        }
        if view.unsaved() >= PROMISES {
            write(&mut store, &mut view, applied, now)?;
        }
    }
    write(&mut store, &mut view, applied, now)?;
    if let Some(fault) = view.fault() {
        bail!("{fault}");
    }
    Ok(store)
}

fn write(store: &mut Store, view: &mut View, applied: u64, now: u64) -> anyhow::Result<()> {
    let cut = view.cut(applied, now);
    let saved = store.write(&cut)?;
    view.cut_was_written(saved, store.reader()?);
    Ok(())
}
