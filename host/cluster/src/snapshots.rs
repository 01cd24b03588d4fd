//! Snapshots: what a new owner begins with, so that the log needn't be kept for ever.
//!
//! A snapshot is the file of a partition's store, as it is between two cuts. One is made when about as much was appended
//! as the last one holds, so that both its cost and the time of a recovery stay in proportion to what is alive.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::assignment::NodeId;
use super::members::Taken;
use host_database::{Database, DatabaseError, LONG};
use host_log::{Group, Watched, check_tail};

/// The least that is appended between two snapshots of a partition.
const LEAST_BYTES: u64 = 256 << 10;
/// A snapshot is kept in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// Makes snapshots of one partition.
pub(super) struct Snapshots {
    pub(super) database: Database,
    /// Bounds those that are made at a time.
    pub(super) turns: Arc<Semaphore>,
    pub(super) tokio: Handle,
    pub(super) node: NodeId,
    pub(super) partition: u8,
    /// The epoch under which it was taken: it tells snapshots of the same position apart.
    pub(super) epoch: i64,
    pub(super) path: PathBuf,
    pub(super) log: Arc<Watched>,
    pub(super) last_bytes: AtomicU64,
    pub(super) is_busy: Arc<AtomicBool>,
}

impl Snapshots {
    /// The store is whole up to this record, and isn't written while this runs.
    pub(super) fn written(&self, applied: u64) {
        let Some(end) = self.log.trail.after(applied) else { return };
        let due = LEAST_BYTES.max(self.last_bytes.load(Ordering::Relaxed));
        if self.log.bytes.load(Ordering::Relaxed) < due || self.is_busy.swap(true, Ordering::Acquire) {
            return;
        }
        let file = match std::fs::read(&self.path) {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!("partition {} can't be read for a snapshot: {error}", self.partition);
                self.is_busy.store(false, Ordering::Release);
                return;
            }
        };
        self.log.bytes.store(0, Ordering::Relaxed);
        self.last_bytes.store(file.len() as u64, Ordering::Relaxed);
        let (database, turns, is_busy) = (self.database.clone(), self.turns.clone(), self.is_busy.clone());
        let (node, partition, epoch) = (self.node, self.partition, self.epoch);
        self.tokio.spawn(async move {
            let _turn = turns.acquire().await;
            match save(&database, node, partition, epoch, applied, end, file).await {
                Ok(()) => tracing::debug!("partition {partition} has a snapshot of record {applied}"),
                // The log keeps what it has; the next one does as well.
                Err(error) => tracing::warn!("a snapshot of partition {partition} failed: {error}"),
            }
            is_busy.store(false, Ordering::Release);
        });
    }
}

async fn save(
    database: &Database,
    node: NodeId,
    partition: u8,
    epoch: i64,
    applied: u64,
    (last, hash): (u64, [u8; 32]),
    file: Vec<u8>,
) -> Result<(), DatabaseError> {
    let mut client = database.connect("snapshot").await?;
    let (id, applied) = (i16::from(partition), applied as i64);
    let insert = "INSERT INTO durable.snapshot (partition, applied, lease_epoch, piece, bytes)
                  VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    for (piece, bytes) in file.chunks(PIECE_BYTES).enumerate() {
        database.within(LONG, client.execute(insert, &[&id, &applied, &epoch, &(piece as i32), &bytes])).await?;
    }
    database.within(LONG, point_to(&mut client, node, id, applied, epoch, (last, hash))).await
}

/// From here on a partition begins with this snapshot, if its log has what the snapshot has.
async fn point_to(
    client: &mut tokio_postgres::Client,
    node: NodeId,
    id: i16,
    applied: i64,
    epoch: i64,
    (last, hash): (u64, [u8; 32]),
) -> Result<(), DatabaseError> {
    let transaction = client.transaction().await?;
    // What is appended meanwhile is seen below.
    transaction.execute("SELECT FROM durable.partition WHERE id = $1 FOR UPDATE", &[&id]).await?;
    // A log that was rolled back may have gone on without what the snapshot has.
    let point = "UPDATE durable.partition SET snapshot = $3, snapshot_epoch = $4
                 WHERE id = $1 AND owner = $2 AND snapshot <= $3 AND (
                     next_seq = $5::int8 + 1 AND hash = $6 OR EXISTS (
                         SELECT FROM durable.log
                         WHERE partition = $1 AND first = $5::int8 + 1 AND previous_hash = $6))";
    let last = last as i64;
    if transaction.execute(point, &[&id, &node, &applied, &epoch, &last, &hash.as_slice()]).await? == 1 {
        let trim = "DELETE FROM durable.log WHERE partition = $1 AND first + count <= $2::int8 + 1";
        transaction.execute(trim, &[&id, &applied]).await?;
        let replace = "DELETE FROM durable.snapshot WHERE partition = $1 AND (applied, lease_epoch) <> ($2, $3)";
        transaction.execute(replace, &[&id, &applied, &epoch]).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Let a partition of a new cluster begin with this snapshot of a record.
pub(super) async fn found(
    transaction: &tokio_postgres::Transaction<'_>,
    partition: u8,
    applied: u64,
    file: &[u8],
) -> Result<(), DatabaseError> {
    let (id, applied) = (i16::from(partition), applied as i64);
    let insert =
        "INSERT INTO durable.snapshot (partition, applied, lease_epoch, piece, bytes) VALUES ($1, $2, 0, $3, $4)";
    for (piece, bytes) in file.chunks(PIECE_BYTES).enumerate() {
        transaction.execute(insert, &[&id, &applied, &(piece as i32), &bytes]).await?;
    }
    let point =
        "UPDATE durable.partition SET snapshot = $2::int8, snapshot_epoch = 0, next_seq = $2::int8 + 1 WHERE id = $1";
    transaction.execute(point, &[&id, &applied]).await?;
    Ok(())
}

/// Fetch what a partition that was taken begins with: its snapshot into this file, if there is one, and the log behind it.
pub(super) async fn restore(
    database: &Database,
    client: &tokio_postgres::Client,
    taken: &Taken,
    path: &Path,
) -> Result<Vec<Group>, anyhow::Error> {
    let id = i16::from(taken.partition);
    let (applied, epoch) = taken.snapshot;
    let mut file = Vec::new();
    for piece in 0i32.. {
        let select = "SELECT bytes FROM durable.snapshot
                      WHERE partition = $1 AND applied = $2 AND lease_epoch = $3 AND piece = $4";
        match database.within(LONG, client.query_opt(select, &[&id, &applied, &epoch, &piece])).await? {
            Some(row) => file.extend_from_slice(row.get(0)),
            None => break,
        }
    }
    anyhow::ensure!(applied == 0 || !file.is_empty(), "its snapshot of record {applied} is missing");
    if applied > 0 {
        std::fs::write(path, &file)?;
    }
    let select = "SELECT first, count, previous_hash, bytes FROM durable.log
                  WHERE partition = $1 AND first + count > $2::int8 + 1 ORDER BY first";
    let rows = database.within(LONG, client.query(select, &[&id, &applied])).await?;
    let number = |row: &tokio_postgres::Row, column| row.get::<_, i64>(column) as u64;
    let rows = rows.iter().map(|row| (number(row, 0), number(row, 1), row.get(2), row.get(3))).collect();
    check_tail(rows, applied as u64, &taken.end).map_err(anyhow::Error::msg)
}
