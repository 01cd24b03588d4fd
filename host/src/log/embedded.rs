//! The log of a host that has its disk to itself: one row of a redb file for each group, under ascending keys.

use std::path::Path;
use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{Group, Log};
use crate::store::{Corrupt, Disk, StoreError, failed, open_checked, seal, unseal};

/// Number of the first record, to a sealed run: `count (8 bytes, little endian) | records`.
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// `"store"` to the identity of the store whose log it is.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const CACHE_BYTES: usize = 16 << 20;

/// A log in a redb file.
pub struct EmbeddedLog {
    database: Database,
}

const APPENDING: &str = "writing to the log";
const READING: &str = "reading the log";

impl EmbeddedLog {
    /// Open the log of a store, or make it. One that isn't whole, or is of another store, is refused.
    ///
    /// `applied` is the last record that the store has: the log of a store that has any is there.
    pub fn open(path: &Path, identity: [u8; 16], applied: u64, disk: &Arc<Disk>) -> Result<EmbeddedLog, StoreError> {
        let damaged = |what: &str| StoreError::Damaged { path: path.into(), what: what.into() };
        if applied > 0 && !path.exists() {
            return Err(damaged("it is missing, and the store beside it has records of it"));
        }
        let database = open_checked(path, CACHE_BYTES, disk)?;
        let transaction = database.begin_write().map_err(failed(APPENDING))?;
        {
            let mut meta = transaction.open_table(META).map_err(failed(APPENDING))?;
            let known = meta.get("store").map_err(failed(READING))?.map(|row| row.value().to_vec());
            match known {
                Some(known) if known == identity => {}
                Some(_) => return Err(damaged("it is the log of another store")),
                None if applied > 0 => return Err(damaged("it is empty, and the store beside it has records of it")),
                None => drop(meta.insert("store", identity.as_slice()).map_err(failed(APPENDING))?),
            }
            transaction.open_table(LOG).map_err(failed(APPENDING))?;
        }
        transaction.commit().map_err(failed(APPENDING))?;
        Ok(EmbeddedLog { database })
    }

    fn try_append(&self, group: &Group, trim: u64) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_two_phase_commit(true);
        {
            let mut table = transaction.open_table(LOG)?;
            loop {
                let oldest = table.first()?.map(|(key, row)| (key.value(), count(row.value())));
                let Some((first, Some(count))) = oldest.filter(|(first, _)| *first <= trim) else { break };
                if first + count > trim + 1 {
                    break;
                }
                table.remove(first)?;
            }
            let content_bytes = 8 + group.bytes.len();
            let mut content = Vec::with_capacity(content_bytes);
            content.extend_from_slice(&group.count.to_le_bytes());
            content.extend_from_slice(&group.bytes);
            table.insert(group.first, seal(&content).as_slice())?;
        }
        transaction.commit()?;
        Ok(())
    }
}

impl Log for EmbeddedLog {
    fn append(&mut self, group: &Group, trim: u64) -> Result<(), StoreError> {
        self.try_append(group, trim).map_err(failed(APPENDING))
    }

    fn read(&self, after: u64) -> Result<Vec<Group>, StoreError> {
        let transaction = self.database.begin_read().map_err(failed(READING))?;
        let table = transaction.open_table(LOG).map_err(failed(READING))?;
        let mut groups = Vec::new();
        for row in table.iter().map_err(failed(READING))? {
            let (first, row) = row.map_err(failed(READING))?;
            let first = first.value();
            let damaged = |error| StoreError::Row { table: "log", key: first.to_string(), error };
            let content = unseal(row.value()).map_err(damaged)?;
            let (count, bytes) = content.split_first_chunk::<8>().ok_or(damaged(Corrupt::Short))?;
            let group = Group { first, count: u64::from_le_bytes(*count), bytes: bytes.to_vec() };
            if group.last() > after {
                groups.push(group);
            }
        }
        Ok(groups)
    }
}

/// How many records a row holds, as far as it can be told. The checksum is not looked at: the row is to be removed.
fn count(row: &[u8]) -> Option<u64> {
    row.get(5..13).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("the slice has eight bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(first: u64, records: &[&[u8]]) -> Group {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
            bytes.extend_from_slice(record);
        }
        Group { first, count: records.len() as u64, bytes }
    }

    #[test]
    fn it_keeps_what_is_not_trimmed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.redb");
        let disk = Arc::new(Disk::default());
        let (one, two, three) = (group(1, &[b"a", b"bc"]), group(3, &[b"d"]), group(4, &[b"", b"e"]));
        let mut log = EmbeddedLog::open(&path, [7; 16], 0, &disk).unwrap();
        log.append(&one, 0).unwrap();
        log.append(&two, 1).unwrap();
        assert_eq!(log.read(0).unwrap(), [one.clone(), two.clone()]);
        assert_eq!(log.read(2).unwrap(), std::slice::from_ref(&two));
        log.append(&three, 2).unwrap();
        drop(log);
        let log = EmbeddedLog::open(&path, [7; 16], 0, &disk).unwrap();
        let groups = log.read(0).unwrap();
        drop(log);
        assert_eq!(groups, [two, three]);
        assert!(EmbeddedLog::open(&path, [8; 16], 0, &disk).is_err());
        let records: Vec<_> = groups.iter().flat_map(|g| g.records().map(|(n, r)| (n, r.to_vec()))).collect();
        assert_eq!(records, [(3, b"d".to_vec()), (4, b"".to_vec()), (5, b"e".to_vec())]);
    }
}
