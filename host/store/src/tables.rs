//! Which tables there are, and what is in them.
//!
//! A promise gets a number when it is first written; everything about it is kept under that number, in ascending order,
//! which redb writes ten times faster than scattered keys. Only `ids` is in the order of the ids.

use machine::Settings;
use redb::{Key, TableDefinition, Value};
use serde::{Deserialize, Serialize};

use super::error::StoreError;

/// `"meta"` to a [`Meta`].
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Digest to a [`Component`], and name to the digest of the current one.
pub(super) const COMPONENTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("components");
pub(super) const CURRENT: TableDefinition<&str, &[u8]> = TableDefinition::new("current");
/// Id to number.
pub(super) const IDS: TableDefinition<&str, u64> = TableDefinition::new("ids");
/// Number to a [`Promise`].
pub(super) const PROMISES: TableDefinition<u64, &[u8]> = TableDefinition::new("promises");
/// Number and index of the first entry or piece, to a sealed run of them.
pub(super) const JOURNALS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("journals");
pub(super) const OUTPUTS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("outputs");
/// When something happens to a promise by itself, and its number, to the id.
pub(super) const DEADLINES: TableDefinition<(u64, u64), &str> = TableDefinition::new("deadlines");
/// Number of an execution that has something to do, to its id.
pub(super) const RUNNABLE: TableDefinition<u64, &str> = TableDefinition::new("runnable");
/// Number of a request that has no answer, to its id.
pub(super) const REQUESTS: TableDefinition<u64, &str> = TableDefinition::new("requests");
/// A number in the order in which they came, to a [`Scope`] and its [`Config`].
pub(super) const CONFIGS: TableDefinition<u64, &[u8]> = TableDefinition::new("configs");
/// Function, time and number of a root that was settled, or is at that time if nobody settles it before, to its id. Promises
/// without a function have an empty one.
pub(super) const SETTLED: TableDefinition<Settled<'static>, &str> = TableDefinition::new("settled");
/// Digest to how many executions there are that run on it, or have run on it to their end.
pub(super) const EXECUTIONS_ON: TableDefinition<&[u8], u64> = TableDefinition::new("executions_on");
pub(super) type Settled<'a> = (&'a str, u64, u64);

/// Receiving partition and number to a [`Message`].
pub(super) const OUTBOX: TableDefinition<(u8, u64), &[u8]> = TableDefinition::new("outbox");
/// A partition to the number of the last message to it, and of the last one from it.
pub(super) const SENT: TableDefinition<u8, u64> = TableDefinition::new("sent");
pub(super) const RECEIVED: TableDefinition<u8, u64> = TableDefinition::new("received");

/// Id to a [`Schedule`].
pub(super) const SCHEDULES: TableDefinition<&str, &[u8]> = TableDefinition::new("schedules");

/// The header: up to where the tables are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// The last record of the log that is in here.
    pub(super) applied: u64,
    /// The time of that record, so that time doesn't run backwards over a restart.
    pub(super) now: u64,
    /// The last number given to a promise.
    pub(super) numbered: u64,
    /// Made up when the store is made. Its log has the same, so that no other log is taken for it.
    pub(super) identity: [u8; 16],
    /// What was decided when the host was last started.
    pub(super) settings: Settings,
}

/// Something to be done with each table.
pub(super) trait Visit {
    fn table<K: Key + 'static, V: Value + 'static>(&mut self, table: TableDefinition<K, V>) -> Result<(), StoreError>;
}

/// All tables but that of the header: one that isn't named here is neither made nor copied.
pub(super) fn each_table(visit: &mut impl Visit) -> Result<(), StoreError> {
    visit.table(COMPONENTS)?;
    visit.table(CURRENT)?;
    visit.table(IDS)?;
    visit.table(PROMISES)?;
    visit.table(JOURNALS)?;
    visit.table(OUTPUTS)?;
    visit.table(DEADLINES)?;
    visit.table(RUNNABLE)?;
    visit.table(SCHEDULES)?;
    visit.table(REQUESTS)?;
    visit.table(CONFIGS)?;
    visit.table(SETTLED)?;
    visit.table(OUTBOX)?;
    visit.table(SENT)?;
    visit.table(RECEIVED)?;
    visit.table(EXECUTIONS_ON)
}
