//! Where records become durable. Appending is all that an answer waits for.
//!
//! A log is an ordered run of records, numbered from 1, appended in groups. It knows nothing of what is in a record.
//! - `embedded`: in one host it is files of its own, so that an append never waits for the store to be written
//! - `fenced`: in a cluster only the owner of a partition can append to its log, which is kept in a ledger
//! - `postgres`: the ledger of a cluster. Another one, in memory and with faults, is that of the simulation

mod embedded;
mod fenced;
mod frame;
mod postgres;

pub use embedded::EmbeddedLog;
pub use fenced::{
    Append, AppendCounts, Appender, End, FIRST_HASH, FencedLog, Ledger, Trail, UnderWay, Watched, chain, check_tail,
};
pub use postgres::PostgresLedger;

use host_store::StoreError;

/// Records that are appended together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The number of the first.
    pub first: u64,
    /// How many there are.
    pub count: u64,
    /// Each as its length (4 bytes, little endian) and its bytes.
    pub bytes: Vec<u8>,
}

/// An ordered, durable run of records.
pub trait Log: Send {
    /// Make a group durable, and forget all records up to `trim`. When this returns `Ok`, and only then, the group will
    /// survive whatever happens.
    ///
    /// After an error it isn't known whether the group is there, and the log takes nothing more: whoever opens it again
    /// finds out.
    fn append(&mut self, group: &Group, trim: u64) -> Result<(), StoreError>;

    /// The same for somebody who can't wait for more than the disk. `false`: it would take longer just now, and the group
    /// isn't appended.
    fn append_now(&mut self, group: &Group, trim: u64) -> Result<bool, StoreError>;
}

impl Group {
    /// The number of the last record, or of the one before the first if there is none.
    pub fn last(&self) -> u64 {
        self.first + self.count - 1
    }

    /// The same in parts of no more than so many bytes, or of one record.
    pub fn parts(&self, bytes: usize) -> Vec<Group> {
        let mut parts = Vec::new();
        let mut part = Group { first: self.first, ..Group::default() };
        for (number, record) in self.records() {
            if part.count > 0 && part.bytes.len() + 4 + record.len() > bytes {
                parts.push(std::mem::replace(&mut part, Group { first: number, ..Group::default() }));
            }
            part.bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
            part.bytes.extend_from_slice(record);
            part.count += 1;
        }
        parts.push(part);
        parts
    }

    /// The records, with their numbers.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = self.bytes.as_slice();
        let mut number = self.first;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (record, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = after;
            number += 1;
            Some((number - 1, record))
        })
    }
}
