//! The database, with the contract of the one that there is: rows of nodes and partitions, a fenced log, snapshots. And
//! the truth: whatever it accepts is applied to the simplest state there is, against which everything is held.

use std::collections::{BTreeMap, BTreeSet};

use host_log::{End, FIRST_HASH, Group, chain};
use host_store::MemoryFile;
use machine::{Applied, Memory, Op, Record, apply};

use super::{LEASE, Mutation, guests::PARTS};

#[derive(Clone)]
pub struct Row {
    pub end: End,
    pub owner: Option<i64>,
    /// Who took it last.
    taken_by: i64,
    /// Groups with the hash before each.
    pub log: Vec<(Group, [u8; 32])>,
    /// Up to which record, and the file.
    pub snapshot: Option<(u64, MemoryFile)>,
    pub truth: Memory,
}

#[derive(Clone)]
pub struct Database {
    pub rows: Vec<Row>,
    /// Until when each lives, by the database's clock.
    pub nodes: BTreeMap<i64, u64>,
    last_node: i64,
    pub mutation: Option<Mutation>,
    pub appended: u64,
    pub refused: u64,
    pub takeovers: u64,
    /// Epochs may have been given twice since.
    was_rolled_back: bool,
}

/// What a node saw when it looked.
pub struct Seen {
    pub owners: Vec<Option<i64>>,
    pub epochs: Vec<i64>,
    pub nodes: Vec<i64>,
}

/// What whoever takes a partition gets.
pub struct Taken {
    pub place: usize,
    pub end: End,
    pub snapshot: Option<(u64, MemoryFile)>,
    pub tail: Vec<(Group, [u8; 32])>,
}

impl Database {
    pub fn new(mutation: Option<Mutation>) -> Database {
        let row = |part: &u8| Row {
            end: End { epoch: 0, next: 1, hash: FIRST_HASH },
            owner: None,
            taken_by: 0,
            log: Vec::new(),
            snapshot: None,
            truth: Memory { partition: Some(*part), ..Memory::default() },
        };
        let rows = PARTS.iter().map(row).collect();
        Database {
            rows,
            nodes: BTreeMap::new(),
            last_node: 0,
            mutation,
            appended: 0,
            refused: 0,
            takeovers: 0,
            was_rolled_back: false,
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub fn register(&mut self, now: u64) -> i64 {
        self.last_node += 1;
        self.nodes.insert(self.last_node, now + LEASE);
        self.last_node
    }

    pub fn renew(&mut self, node: i64, now: u64) -> bool {
        self.nodes.get_mut(&node).map(|until| *until = now + LEASE).is_some()
    }

    /// Those whose lease has run out have nothing any more.
    pub fn bury(&mut self, now: u64) {
        self.nodes.retain(|_, until| *until >= now);
        let raise = i64::from(!self.is(Mutation::RaiseNoEpoch));
        for row in &mut self.rows {
            if row.owner.is_some_and(|owner| !self.nodes.contains_key(&owner)) {
                row.owner = None;
                row.end.epoch += raise;
            }
        }
    }

    pub fn look(&self) -> Seen {
        let of_rows = |row: &Row| (row.owner, row.end.epoch);
        let (owners, epochs) = self.rows.iter().map(of_rows).unzip();
        Seen { owners, epochs, nodes: self.nodes.keys().copied().collect() }
    }

    /// Take a partition that nobody has.
    pub fn take(&mut self, node: i64, place: usize) -> Option<Taken> {
        let raise = i64::from(!self.is(Mutation::RaiseNoEpoch));
        let row = &mut self.rows[place];
        if row.owner.is_some() {
            return None;
        }
        (row.owner, row.taken_by) = (Some(node), node);
        row.end.epoch += raise;
        self.takeovers += 1;
        let after = row.snapshot.as_ref().map_or(0, |(applied, _)| *applied);
        let tail = row.log.iter().filter(|(group, _)| group.last() > after).cloned().collect();
        Some(Taken { place, end: row.end, snapshot: row.snapshot.clone(), tail })
    }

    /// A partition is given away by whoever has it under that epoch. What comes late is of one that has ended.
    pub fn give(&mut self, node: i64, place: usize, epoch: i64) {
        let row = &mut self.rows[place];
        if row.owner == Some(node) && row.end.epoch == epoch {
            row.owner = None;
        }
    }

    /// Raise the epoch of a partition that the node has, and see where its log ends.
    pub fn look_at_end(&mut self, node: i64, place: usize) -> Option<End> {
        let row = &mut self.rows[place];
        if row.owner != Some(node) {
            return None;
        }
        row.end.epoch += 1;
        Some(row.end)
    }

    /// Whether the group is accepted. Err: it was, and mustn't have been.
    pub fn append(&mut self, node: i64, place: usize, end: &End, group: &Group) -> Result<bool, String> {
        let row = &self.rows[place];
        let fits = (row.end.epoch == end.epoch || self.is(Mutation::AppendUnderAnyEpoch))
            && (row.end.next == group.first)
            && (row.end.hash == end.hash || self.is(Mutation::AppendToAnyHash));
        if !fits {
            self.refused += 1;
            return Ok(false);
        }
        self.appended += 1;
        let row = &mut self.rows[place];
        let part = PARTS[place];
        // One that took it under the same epoch, before it was rolled back, may append for as long as the history is the
        // same: then what it appends is right, and the other one has lost the partition.
        if row.taken_by != node && !self.was_rolled_back {
            return Err(format!("partition {part}: node {node} recorded something, and node {} has it", row.taken_by));
        }
        if row.end.hash != end.hash {
            return Err(format!("partition {part}: record {} was appended to another history", group.first));
        }
        row.log.push((group.clone(), end.hash));
        row.end = End { epoch: row.end.epoch, next: group.last() + 1, hash: chain(&end.hash, group) };
        for (number, bytes) in group.records() {
            let record: Record = postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
            let is_turn = matches!(record.op, Op::Progress(_));
            if let Op::Hold { id, reason, .. } = &record.op {
                return Err(format!("partition {part}: {id} is held: {reason}"));
            }
            // A sender keeps what it sent until it is known to have come.
            if let Op::Receive { from, number, message } = &record.op
                && let Some(sender) = PARTS.iter().position(|part| part == from)
                && !self.was_rolled_back
            {
                let sent = self.rows[sender].truth.mail.outbox.get(&(part, *number));
                if sent.is_none_or(|sent| **sent != **message) {
                    return Err(format!("partition {part}: message {number} from {from} isn't what came: {message:?}"));
                }
            }
            let Applied { reply, changed, .. } = apply(&mut self.rows[place].truth, record);
            if !changed || is_turn && reply.is_err() {
                return Err(format!(
                    "partition {part}: record {number} can't have been, after those before it: {reply:?}"
                ));
            }
        }
        Ok(true)
    }

    pub fn save(&mut self, node: i64, place: usize, applied: u64, (last, hash): (u64, [u8; 32]), file: MemoryFile) {
        let row = &mut self.rows[place];
        let is_end = row.end.next == last + 1 && row.end.hash == hash;
        let is_of_log = is_end || row.log.iter().any(|(group, before)| group.first == last + 1 && *before == hash);
        if is_of_log && row.owner == Some(node) && row.snapshot.as_ref().is_none_or(|(before, _)| *before <= applied) {
            row.snapshot = Some((applied, file));
            self.trim(place, applied);
        }
    }

    pub fn trim(&mut self, place: usize, applied: u64) {
        self.rows[place].log.retain(|(group, _)| group.last() > applied);
    }

    /// An older copy takes its place. Numbers of nodes are not given twice, and epochs are.
    pub fn roll_back(&mut self, to: &Database) {
        let (last_node, appended, refused) = (self.last_node, self.appended, self.refused);
        *self = Database { last_node, appended, refused, was_rolled_back: true, ..to.clone() };
    }

    /// What isn't settled, durably.
    pub fn pending(&self) -> BTreeSet<String> {
        let promises = self.rows.iter().flat_map(|row| row.truth.promises.values());
        promises.filter(|promise| promise.outcome.is_none()).map(|promise| promise.id.to_string()).collect()
    }
}
