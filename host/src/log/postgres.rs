//! The log of a cluster: PostgreSQL, used as a fenced log and nothing more.
//!
//! A partition has one row that says who may append, where, and to what; an append moves it and adds a row to `log`, in
//! one statement, for all partitions of a node that have something. Whoever lost a partition finds its row moved or its
//! lease epoch raised, and appends nothing. All that is appended is chained by hashes, so that a log that was rolled back
//! is noticed. A database that was may also give an epoch or the number of a node again: so the row has to name the node
//! as well, and the node's own row has to have the certificate of this process.
//!
//! When an answer is lost it isn't known whether the statement was executed, or will be. Then nothing is released; the
//! epoch is raised, so that a statement that is still on its way is fenced off, and the row tells what became of it.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::{Group, Log};
use crate::database::{Database, DatabaseError};
use crate::store::StoreError;

/// The hash before the first group.
pub(crate) const FIRST_HASH: [u8; 32] = [0; 32];
/// How many bytes are appended in one statement, at most, where more than one partition has something.
const BATCH_BYTES: usize = 8 << 20;
/// How long a statement may take before its outcome counts as unknown.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long nothing can be appended before that is said.
const STALL: Duration = Duration::from_secs(2);
/// Between attempts to find out what became of an append.
const RETRY: Duration = Duration::from_millis(200);

const APPEND: &str = "
    WITH wanted AS (
        SELECT * FROM unnest($1::int2[], $2::int8[], $3::int8[], $4::int8[], $5::bytea[], $6::bytea[], $7::bytea[],
            $8::int8[]) AS w(id, epoch, first, count, previous, hash, bytes, owner)
    ), locked AS MATERIALIZED (
        SELECT p.id FROM durable.partition p JOIN wanted w USING (id) ORDER BY p.id FOR UPDATE OF p
    ), moved AS (
        UPDATE durable.partition p SET next_seq = w.first + w.count, hash = w.hash
        FROM wanted w, locked l
        WHERE p.id = w.id AND l.id = w.id AND p.lease_epoch = w.epoch AND p.next_seq = w.first AND p.hash = w.previous
            AND p.owner = w.owner AND EXISTS (SELECT FROM durable.node n WHERE n.id = w.owner AND n.certificate = $9)
        RETURNING p.id
    )
    INSERT INTO durable.log (partition, first, count, lease_epoch, previous_hash, bytes)
    SELECT w.id, w.first, w.count, w.epoch, w.previous, w.bytes FROM wanted w JOIN moved USING (id)
    RETURNING partition";

/// Where a partition's log ends, and under which epoch it is appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Raised whenever somebody takes the partition.
    pub epoch: i64,
    /// The number of the next record.
    pub next: u64,
    /// The hash of all that was appended.
    pub hash: [u8; 32],
}

/// Where the groups of a partition end that were appended lately, with the hashes there: what a snapshot has to follow from.
#[derive(Default)]
pub struct Trail(Mutex<VecDeque<(u64, [u8; 32])>>);

impl Trail {
    /// A group was appended, up to this record.
    pub fn push(&self, last: u64, hash: [u8; 32]) {
        self.0.lock().push_back((last, hash));
    }

    /// The end of the group that a durable record is in. Those before it are forgotten.
    pub fn after(&self, record: u64) -> Option<(u64, [u8; 32])> {
        let mut ends = self.0.lock();
        while ends.front().is_some_and(|(last, _)| *last < record) {
            ends.pop_front();
        }
        ends.front().copied()
    }
}

/// What others on the node see of a partition's log.
#[derive(Default)]
pub struct Watched {
    /// Bytes that were appended since the last snapshot.
    pub bytes: AtomicU64,
    /// The epoch that it is appended to under. It is raised by the log itself when it has to find out where it ends.
    pub epoch: AtomicI64,
    /// Where its groups end.
    pub trail: Trail,
}

/// The log of one partition, as its owner has it.
pub struct PostgresLog {
    partition: u8,
    node: i64,
    end: End,
    appender: Appender,
    watched: Arc<Watched>,
}

/// What all partitions of a node append through. Clones are the same.
#[derive(Clone)]
pub struct Appender {
    queue: mpsc::UnboundedSender<Append>,
}

/// What was appended, for those who watch.
#[derive(Debug, Default)]
pub struct AppendCounts {
    /// Statements.
    pub batches: AtomicU64,
    /// Groups in them, one for each partition.
    pub groups: AtomicU64,
    /// Records in them.
    pub records: AtomicU64,
    /// Bytes in them.
    pub bytes: AtomicU64,
    /// The time that they took together, in microseconds.
    pub micros: AtomicU64,
    /// Groups that were refused, because the partition had been lost.
    pub fenced: AtomicU64,
    /// Groups of which it was not known whether they were appended.
    pub unknown: AtomicU64,
    /// Since when nothing can be appended, and why, if that is so.
    stall: Mutex<Option<(Instant, String)>>,
}

impl AppendCounts {
    /// Why nothing can be appended, if that has been so for a while.
    pub fn stalled(&self) -> Option<String> {
        self.stall.lock().as_ref().filter(|(since, _)| since.elapsed() > STALL).map(|(_, why)| why.clone())
    }

    fn stall(&self, why: &DatabaseError) {
        let mut stall = self.stall.lock();
        if stall.is_none() {
            tracing::error!("{why}; nothing is recorded or answered until it takes what is appended");
        }
        let since = stall.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        *stall = Some((since, why.to_string()));
    }

    fn go_on(&self) {
        if self.stall.lock().take().is_some() {
            tracing::info!("the database takes what is appended again");
        }
    }
}

struct Append {
    partition: u8,
    node: i64,
    end: End,
    group: Group,
    hash: [u8; 32],
    answer: oneshot::Sender<Appended>,
}

/// What became of an append.
enum Appended {
    /// It is durable. The epoch may have been raised by ourselves.
    Durable { epoch: i64 },
    /// The partition was lost.
    Fenced,
}

/// The hash of a group at the end of a chain.
pub(crate) fn chain(previous: &[u8; 32], group: &Group) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(group.first.to_le_bytes());
    hash.update(group.count.to_le_bytes());
    hash.update(&group.bytes);
    hash.finalize().into()
}

/// What an append turned out to have come to, of which that wasn't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is there.
    Durable,
    /// It isn't, and can't come any more: it can be appended again.
    Missing,
    /// Something else is there, or the partition is somebody else's.
    Lost,
}

impl Found {
    /// Of a group that was to go from one end to another. `seen`: the end that there is, once the epoch was raised, so that
    /// nothing that is still on its way counts; None if the partition isn't ours.
    pub(crate) fn of(seen: Option<&End>, before: &End, after: &End) -> Found {
        match seen.map(|end| (end.next, end.hash)) {
            Some(seen) if seen == (after.next, after.hash) => Found::Durable,
            Some(seen) if seen == (before.next, before.hash) => Found::Missing,
            _ => Found::Lost,
        }
    }
}

/// The groups of a partition after a record, as rows `first, count, previous_hash, bytes` in order, checked: each follows
/// on the one before, and the last is the end.
pub fn check_tail(rows: Vec<(u64, u64, Vec<u8>, Vec<u8>)>, after: u64, end: &End) -> Result<Vec<Group>, String> {
    let mut groups = Vec::with_capacity(rows.len());
    let mut expected: Option<(u64, [u8; 32])> = None;
    for (first, count, previous, bytes) in rows {
        let group = Group { first, count, bytes };
        let previous: [u8; 32] = previous.try_into().map_err(|_| format!("group {first} has no hash"))?;
        match expected {
            Some((next, hash)) if next != first || hash != previous => {
                return Err(format!("group {first} doesn't follow on the one before it, which ends before {next}"));
            }
            None if first == 1 && previous != FIRST_HASH => {
                return Err("the first group follows on another".into());
            }
            None if first > after + 1 => {
                return Err(format!("records {} to {} are missing", after + 1, first - 1));
            }
            _ => {}
        }
        expected = Some((first + count, chain(&previous, &group)));
        groups.push(group);
    }
    let (next, hash) = match expected {
        Some(expected) => expected,
        // Everything is in the snapshot, or nothing was ever appended.
        None if end.next == after + 1 => return Ok(groups),
        None => (after + 1, FIRST_HASH),
    };
    if (next, hash) != (end.next, end.hash) {
        return Err(format!("the log ends before record {next}, and should end before {}", end.next));
    }
    Ok(groups)
}

impl PostgresLog {
    /// Of a partition that a node has taken.
    pub fn new(partition: u8, node: i64, end: End, appender: Appender, watched: Arc<Watched>) -> PostgresLog {
        watched.epoch.store(end.epoch, Relaxed);
        watched.trail.push(end.next - 1, end.hash);
        PostgresLog { partition, node, end, appender, watched }
    }
}

impl Log for PostgresLog {
    /// It is trimmed behind snapshots, and not here. A large group, as one is that has gathered while the database was away,
    /// goes in parts: each is a statement that has to end in time.
    fn append(&mut self, group: &Group, _trim: u64) -> Result<(), StoreError> {
        match group.bytes.len() > BATCH_BYTES {
            true => group.parts(BATCH_BYTES).iter().try_for_each(|part| self.append_one(part)),
            false => self.append_one(group),
        }
    }

    fn append_now(&mut self, _group: &Group, _trim: u64) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn read(&mut self, _after: u64) -> Result<Vec<Group>, StoreError> {
        // Whoever takes a partition has read it before.
        Ok(Vec::new())
    }
}

impl PostgresLog {
    fn append_one(&mut self, group: &Group) -> Result<(), StoreError> {
        let lost = |why: &str| Err(StoreError::Lost(format!("partition {} was lost: {why}", self.partition)));
        let hash = chain(&self.end.hash, group);
        let (answer, appended) = oneshot::channel();
        let (partition, node, end) = (self.partition, self.node, self.end);
        let append = Append { partition, node, end, group: group.clone(), hash, answer };
        let sent = self.appender.queue.send(append);
        match sent.ok().and_then(|()| appended.blocking_recv().ok()) {
            Some(Appended::Durable { epoch }) => {
                self.end = End { epoch, next: group.last() + 1, hash };
                self.watched.bytes.fetch_add(group.bytes.len() as u64, Relaxed);
                self.watched.epoch.store(epoch, Relaxed);
                self.watched.trail.push(group.last(), hash);
                Ok(())
            }
            Some(Appended::Fenced) => lost("another node has taken it"),
            None => lost("this node is on its way out"),
        }
    }
}

impl Appender {
    /// Start appending for a node that shows this certificate. It ends when the last clone is gone.
    pub fn start(database: Database, certificate: Vec<u8>, counts: Arc<AppendCounts>) -> Appender {
        let (queue, appends) = mpsc::unbounded_channel();
        tokio::spawn(run(Connection { database, certificate, open: None }, appends, counts));
        Appender { queue }
    }
}

async fn run(mut connection: Connection, mut appends: mpsc::UnboundedReceiver<Append>, counts: Arc<AppendCounts>) {
    while let Some(first) = appends.recv().await {
        let mut bytes = first.group.bytes.len();
        let mut batch = vec![first];
        while bytes < BATCH_BYTES
            && let Ok(more) = appends.try_recv()
        {
            bytes += more.group.bytes.len();
            batch.push(more);
        }
        let begun = Instant::now();
        let appended = patiently(append(&mut connection, &batch)).await;
        counts.batches.fetch_add(1, Relaxed);
        counts.groups.fetch_add(batch.len() as u64, Relaxed);
        counts.records.fetch_add(batch.iter().map(|append| append.group.count).sum(), Relaxed);
        counts.bytes.fetch_add(bytes as u64, Relaxed);
        counts.micros.fetch_add(begun.elapsed().as_micros() as u64, Relaxed);
        match appended {
            Ok(durable) => {
                for append in batch {
                    let answer = match durable.contains(&i16::from(append.partition)) {
                        true => Appended::Durable { epoch: append.end.epoch },
                        false => {
                            counts.fenced.fetch_add(1, Relaxed);
                            Appended::Fenced
                        }
                    };
                    // A partition that was abandoned doesn't wait.
                    let _ = append.answer.send(answer);
                }
            }
            Err(why) => {
                tracing::warn!("it isn't known whether {} groups were appended: {why}", batch.len());
                counts.unknown.fetch_add(batch.len() as u64, Relaxed);
                connection.open = None;
                for mut append in batch {
                    let answer = find_out(&mut connection, &mut append, &counts).await;
                    counts.fenced.fetch_add(u64::from(matches!(answer, Appended::Fenced)), Relaxed);
                    let _ = append.answer.send(answer);
                }
                counts.go_on();
            }
        }
    }
}

/// What the database says, if it says it in time.
async fn patiently<T>(asked: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, DatabaseError> {
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(DatabaseError::Silent))
}

/// What is appended through.
struct Connection {
    database: Database,
    certificate: Vec<u8>,
    open: Option<Open>,
}

/// A connection that is open, with the statement that it is for.
struct Open {
    client: tokio_postgres::Client,
    append: tokio_postgres::Statement,
}

impl Connection {
    /// Open it if it isn't.
    async fn open(&mut self) -> Result<(&Open, &[u8]), DatabaseError> {
        if self.open.as_ref().is_none_or(|open| open.client.is_closed()) {
            let client = self.database.connect("append").await?;
            let append = client.prepare(APPEND).await?;
            self.open = Some(Open { client, append });
        }
        Ok((self.open.as_ref().expect("it was opened above"), &self.certificate))
    }
}

/// The partitions whose group is durable now.
async fn append(connection: &mut Connection, batch: &[Append]) -> Result<Vec<i16>, DatabaseError> {
    let (open, certificate) = connection.open().await?;
    let ids: Vec<i16> = batch.iter().map(|a| i16::from(a.partition)).collect();
    let epochs: Vec<i64> = batch.iter().map(|a| a.end.epoch).collect();
    let firsts: Vec<i64> = batch.iter().map(|a| a.group.first as i64).collect();
    let counts: Vec<i64> = batch.iter().map(|a| a.group.count as i64).collect();
    let previous: Vec<&[u8]> = batch.iter().map(|a| a.end.hash.as_slice()).collect();
    let hashes: Vec<&[u8]> = batch.iter().map(|a| a.hash.as_slice()).collect();
    let bytes: Vec<&[u8]> = batch.iter().map(|a| a.group.bytes.as_slice()).collect();
    let owners: Vec<i64> = batch.iter().map(|a| a.node).collect();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
        [&ids, &epochs, &firsts, &counts, &previous, &hashes, &bytes, &owners, &certificate];
    let rows = open.client.query(&open.append, &parameters).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Fence off what may still be on its way, look where the log ends, and append again if it isn't there.
async fn find_out(connection: &mut Connection, append: &mut Append, counts: &AppendCounts) -> Appended {
    let after = End { epoch: append.end.epoch, next: append.group.last() + 1, hash: append.hash };
    loop {
        let failed = match patiently(look(connection, append)).await {
            Ok(seen) => match (Found::of(seen.as_ref(), &append.end, &after), seen) {
                (Found::Durable, Some(end)) => return Appended::Durable { epoch: end.epoch },
                (Found::Missing, Some(end)) => {
                    append.end = end;
                    match patiently(self::append(connection, std::slice::from_ref(append))).await {
                        Ok(durable) if !durable.is_empty() => return Appended::Durable { epoch: end.epoch },
                        // Somebody has taken it in between: the next look tells.
                        Ok(_) => None,
                        Err(error) => Some(error),
                    }
                }
                _ => return Appended::Fenced,
            },
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            connection.open = None;
            counts.stall(&error);
        }
        if append.answer.is_closed() {
            return Appended::Fenced;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Raise the epoch, and see where the log ends. None: the partition isn't ours.
///
/// What is ours by number and certificate is ours, whatever answer was lost before: no other process has both.
async fn look(connection: &mut Connection, append: &Append) -> Result<Option<End>, DatabaseError> {
    let (open, certificate) = connection.open().await?;
    let row = open
        .client
        .query_opt(
            "UPDATE durable.partition SET lease_epoch = lease_epoch + 1 WHERE id = $1 AND owner = $2
                 AND EXISTS (SELECT FROM durable.node n WHERE n.id = $2 AND n.certificate = $3)
             RETURNING lease_epoch, next_seq, hash",
            &[&i16::from(append.partition), &append.node, &certificate],
        )
        .await?;
    row.map(|row| End::of(&row)).transpose()
}

impl End {
    /// Of a row of the partition's `lease_epoch, next_seq, hash`.
    pub fn of(row: &tokio_postgres::Row) -> Result<End, DatabaseError> {
        let hash: Vec<u8> = row.try_get(2)?;
        let hash = hash.try_into().map_err(|_| DatabaseError::Foreign("a partition has no hash".into()))?;
        Ok(End { epoch: row.try_get(0)?, next: row.try_get::<_, i64>(1)? as u64, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (u64, u64, Vec<u8>, Vec<u8>);

    fn rows(records: &[&str]) -> (Vec<Row>, End) {
        let mut hash = FIRST_HASH;
        let mut rows = Vec::new();
        for (first, record) in (1..).zip(records) {
            let group = Group { first, count: 1, bytes: record.as_bytes().to_vec() };
            rows.push((first, 1, hash.to_vec(), group.bytes.clone()));
            hash = chain(&hash, &group);
        }
        (rows, End { epoch: 1, next: records.len() as u64 + 1, hash })
    }

    #[test]
    fn a_group_in_parts_has_the_same_records() {
        let record = |length: usize| [&(length as u32).to_le_bytes()[..], &vec![7; length]].concat();
        let bytes = [10, 0, 30, 5, 5, 5].map(record).concat();
        let group = Group { first: 8, count: 6, bytes };
        let parts = group.parts(24);
        assert_eq!(
            parts.iter().map(|part| (part.first, part.count)).collect::<Vec<_>>(),
            [(8, 2), (10, 1), (11, 2), (13, 1)]
        );
        let records: Vec<_> = parts.iter().flat_map(Group::records).collect();
        assert_eq!(records, group.records().collect::<Vec<_>>());
        assert_eq!(group.parts(1_000), [group]);
    }

    #[test]
    fn a_log_that_is_not_what_was_appended_is_noticed() {
        let (rows, end) = rows(&["a", "b", "c"]);
        assert_eq!(check_tail(rows.clone(), 0, &end).unwrap().len(), 3);
        assert_eq!(check_tail(rows[1..].to_vec(), 1, &end).unwrap().len(), 2);
        assert_eq!(check_tail(Vec::new(), 3, &end), Ok(Vec::new()));
        let mut changed = rows.clone();
        changed[1].3 = b"x".to_vec();
        let missing = [rows[0].clone(), rows[2].clone()].to_vec();
        for (bad, after) in [
            (changed, 0),
            (missing, 0),
            (rows[..2].to_vec(), 0),
            (rows[1..].to_vec(), 0),
            (Vec::new(), 0),
            (Vec::new(), 2),
        ] {
            assert!(check_tail(bad, after, &end).is_err());
        }
    }
}
