//! A log that only the owner of a partition can append to, whatever it is kept in (see [`Ledger`]).
//!
//! A partition's log has an end: the epoch of whoever may append, the number of the next record, and the hash of all that was
//! appended. An append moves it from one end to another, or does nothing: whoever lost the partition finds its epoch
//! raised. All that is appended is chained by hashes, so that a log that was rolled back is noticed.
//!
//! When an answer is lost it isn't known whether a group was appended, or will be. Then nothing is released; the epoch is
//! raised, so that an append that is still on its way is fenced off, and the end tells what became of it.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::{Group, Log};
use host_store::StoreError;

/// The hash before the first group.
pub const FIRST_HASH: [u8; 32] = [0; 32];
/// How many bytes are appended at a time, at most, where more than one partition has something.
const BATCH_BYTES: usize = 8 << 20;
/// For how long nothing can be appended before that is said.
const STALL: Duration = Duration::from_secs(2);

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

/// What the logs of all partitions are kept in, as one node reaches it. After an error it isn't known what was done, or will
/// be.
pub trait Ledger: Send {
    /// Why it doesn't answer.
    type Error: Display + Send;

    /// Append, all at once, those groups whose partition is the node's and is where the append begins. The partitions of
    /// these.
    fn append(&mut self, batch: &[Append]) -> impl Future<Output = Result<Vec<u8>, Self::Error>> + Send;

    /// Raise the epoch of an append's partition, and see where its log ends. None: the partition isn't the node's.
    fn look(&mut self, append: &Append) -> impl Future<Output = Result<Option<End>, Self::Error>> + Send;

    /// Let a while pass, before it is asked again.
    fn pause(&mut self) -> impl Future<Output = ()> + Send;
}

/// A group on its way from one end of a log to another.
pub struct Append {
    /// Whose log it is.
    pub partition: u8,
    /// The node that has it.
    pub node: i64,
    /// Where the log ends before.
    pub end: End,
    /// What is appended.
    pub group: Group,
    /// The hash after it.
    pub hash: [u8; 32],
    watched: Arc<Watched>,
    answer: oneshot::Sender<Appended>,
}

impl Append {
    /// Nobody waits for it any more: whoever has the partition from here on does so under another epoch.
    fn is_abandoned(&self) -> bool {
        self.watched.is_abandoned.load(Relaxed) || self.answer.is_closed()
    }
}

/// What became of an append.
enum Appended {
    /// It is durable. The epoch may have been raised by ourselves.
    Durable { epoch: i64 },
    /// The partition was lost.
    Fenced,
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

/// What others on the node see of a partition's log, and tell it.
#[derive(Default)]
pub struct Watched {
    /// Bytes that were appended since the last snapshot.
    pub bytes: AtomicU64,
    /// The epoch that it is appended to under. It is raised by the log itself when it has to find out where it ends.
    pub epoch: AtomicI64,
    /// The number of the next record, as far as is known.
    pub next: AtomicU64,
    /// Where its groups end.
    pub trail: Trail,
    /// This node has the partition no longer, at least not as it was taken then.
    pub is_abandoned: AtomicBool,
}

/// The log of one partition, as its owner has it.
pub struct FencedLog {
    partition: u8,
    node: i64,
    end: End,
    appender: Appender,
    watched: Arc<Watched>,
}

/// An append that is under way.
pub struct UnderWay {
    after: End,
    bytes: u64,
    answer: oneshot::Receiver<Appended>,
}

/// What all partitions of a node append through. Clones are the same.
#[derive(Clone)]
pub struct Appender {
    queue: mpsc::UnboundedSender<Append>,
}

/// What was appended, for those who watch.
#[derive(Debug, Default)]
pub struct AppendCounts {
    /// Batches of groups.
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

    fn stall(&self, why: &impl Display) {
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

/// The hash of a group at the end of a chain.
pub fn chain(previous: &[u8; 32], group: &Group) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(group.first.to_le_bytes());
    hash.update(group.count.to_le_bytes());
    hash.update(&group.bytes);
    hash.finalize().into()
}

/// What an append turned out to have come to, of which that wasn't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
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
    fn of(seen: Option<&End>, before: &End, after: &End) -> Found {
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

impl FencedLog {
    /// Of a partition that a node has taken.
    pub fn new(partition: u8, node: i64, end: End, appender: Appender, watched: Arc<Watched>) -> FencedLog {
        watched.epoch.store(end.epoch, Relaxed);
        watched.next.store(end.next, Relaxed);
        watched.trail.push(end.next - 1, end.hash);
        FencedLog { partition, node, end, appender, watched }
    }

    /// Where it ends, as far as is known.
    pub fn end(&self) -> End {
        self.end
    }

    /// Send a group on its way. Until that has ended no other may be: it would begin where this one does, and be refused.
    pub fn begin(&mut self, group: &Group) -> UnderWay {
        let hash = chain(&self.end.hash, group);
        let (answer, appended) = oneshot::channel();
        let (partition, node, end, watched) = (self.partition, self.node, self.end, self.watched.clone());
        let append = Append { partition, node, end, group: group.clone(), hash, watched, answer };
        // If nobody takes it the answer never comes.
        let _ = self.appender.queue.send(append);
        let after = End { next: group.last() + 1, hash, ..end };
        UnderWay { after, bytes: group.bytes.len() as u64, answer: appended }
    }

    /// What became of it, if that is known.
    pub fn ended(&mut self, under_way: &mut UnderWay) -> Option<Result<(), StoreError>> {
        match under_way.answer.try_recv() {
            Ok(appended) => Some(self.moved(under_way.after, under_way.bytes, Some(appended))),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(self.moved(under_way.after, under_way.bytes, None)),
        }
    }

    fn moved(&mut self, after: End, bytes: u64, appended: Option<Appended>) -> Result<(), StoreError> {
        let lost = |why: &str| Err(StoreError::Lost(format!("partition {} was lost: {why}", self.partition)));
        match appended {
            Some(Appended::Durable { epoch }) => {
                self.end = End { epoch, ..after };
                self.watched.bytes.fetch_add(bytes, Relaxed);
                self.watched.epoch.store(epoch, Relaxed);
                self.watched.next.store(after.next, Relaxed);
                self.watched.trail.push(after.next - 1, after.hash);
                Ok(())
            }
            Some(Appended::Fenced) => lost("another node has taken it"),
            None => lost("this node is on its way out"),
        }
    }

    fn append_one(&mut self, group: &Group) -> Result<(), StoreError> {
        let UnderWay { after, bytes, answer } = self.begin(group);
        self.moved(after, bytes, answer.blocking_recv().ok())
    }
}

impl Log for FencedLog {
    /// It is trimmed behind snapshots, and not here. A large group, as one is that has gathered while the ledger was away,
    /// goes in parts, each of which has to be appended in time.
    fn append(&mut self, group: &Group, _trim: u64) -> Result<(), StoreError> {
        match group.bytes.len() > BATCH_BYTES {
            true => group.parts(BATCH_BYTES).iter().try_for_each(|part| self.append_one(part)),
            false => self.append_one(group),
        }
    }

    fn append_now(&mut self, _group: &Group, _trim: u64) -> Result<bool, StoreError> {
        Ok(false)
    }
}

impl Appender {
    /// An appender, and what it does, until its last clone is gone.
    pub fn new(ledger: impl Ledger, counts: Arc<AppendCounts>) -> (Appender, impl Future<Output = ()> + Send) {
        let (queue, appends) = mpsc::unbounded_channel();
        (Appender { queue }, run(ledger, appends, counts))
    }
}

async fn run(mut ledger: impl Ledger, mut appends: mpsc::UnboundedReceiver<Append>, counts: Arc<AppendCounts>) {
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
        let appended = ledger.append(&batch).await;
        counts.batches.fetch_add(1, Relaxed);
        counts.groups.fetch_add(batch.len() as u64, Relaxed);
        counts.records.fetch_add(batch.iter().map(|append| append.group.count).sum(), Relaxed);
        counts.bytes.fetch_add(bytes as u64, Relaxed);
        counts.micros.fetch_add(begun.elapsed().as_micros() as u64, Relaxed);
        match appended {
            Ok(durable) => {
                for append in batch {
                    let answer = match durable.contains(&append.partition) {
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
                for mut append in batch {
                    let answer = find_out(&mut ledger, &mut append, &counts).await;
                    counts.fenced.fetch_add(u64::from(matches!(answer, Appended::Fenced)), Relaxed);
                    let _ = append.answer.send(answer);
                }
                counts.go_on();
            }
        }
    }
}

/// Fence off what may still be on its way, look where the log ends, and append again if it isn't there.
async fn find_out(ledger: &mut impl Ledger, append: &mut Append, counts: &AppendCounts) -> Appended {
    let after = End { epoch: append.end.epoch, next: append.group.last() + 1, hash: append.hash };
    while !append.is_abandoned() {
        let failed = match ledger.look(append).await {
            Ok(seen) => match (Found::of(seen.as_ref(), &append.end, &after), seen) {
                (Found::Durable, Some(end)) => return Appended::Durable { epoch: end.epoch },
                (Found::Missing, Some(end)) => {
                    append.end = end;
                    match ledger.append(std::slice::from_ref(append)).await {
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
            counts.stall(&error);
        }
        ledger.pause().await;
    }
    Appended::Fenced
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
