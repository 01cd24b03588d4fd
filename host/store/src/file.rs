//! The file that has the tables: it is opened, takes one cut after another, and is replaced by a smaller copy of itself.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use machine::Settings;
use redb::{Database, Key, ReadableDatabase, ReadableTable, TableDefinition, Value, WriteTransaction};

use super::compact::{self, Compaction, Copied, Source};
use super::cut::{Cut, Saved, write_cut};
use super::disk::{Disk, Patience, PatientFile};
use super::encoding::{decode, encode};
use super::error::{StoreError, failed};
use super::memory::MemoryFile;
use super::reader::Reader;
use super::tables::{META, Meta, Visit, each_table};

/// Files up to this size are checked whole when they are opened.
const CHECKED_AT_OPEN_BYTES: u64 = 256 << 20;

/// How many promises are removed before it is looked whether a copy of the tables would be smaller.
const MANY_REMOVED: u64 = 10_000;
/// All tables are read for that. Where as many promises come as go, it would be for nothing again and again: so it is done
/// again only after so many times as long as it took.
const SELDOM: u32 = 50;

/// The tables, to write.
pub struct Store {
    /// Readers have it too: redb reads nothing from one that is closed.
    database: Arc<Database>,
    meta: Meta,
    path: PathBuf,
    disk: Arc<Disk>,
    cache_bytes: usize,
    /// How many promises were removed since it was last looked whether a copy would be smaller.
    removed: u64,
    compaction: Option<Compaction>,
    /// Until when it isn't looked again.
    not_before: Instant,
    /// What has been replaced, until nobody reads it.
    replaced: Vec<Arc<Database>>,
}

impl Store {
    /// Open the tables, or make them. Anything that isn't whole is refused.
    pub fn open(path: &Path, cache_bytes: usize, disk: &Arc<Disk>) -> Result<Store, StoreError> {
        // A copy that was not finished, if it is there.
        let _ = std::fs::remove_file(compact::beside(path));
        let database = open_checked(path, cache_bytes, Patience::of(disk))?;
        Store::of(database, path, disk, cache_bytes)
    }

    /// Open the tables in a file that is in memory, or make them there.
    pub fn in_memory(file: &MemoryFile, cache_bytes: usize) -> Result<Store, StoreError> {
        let opened = Database::builder().set_cache_size(cache_bytes).create_with_backend(file.clone());
        let database = opened.map_err(failed("opening a file in memory"))?;
        Store::of(database, Path::new(""), &Arc::new(Disk::disposable()), cache_bytes)
    }

    fn of(database: Database, path: &Path, disk: &Arc<Disk>, cache_bytes: usize) -> Result<Store, StoreError> {
        let transaction = database.begin_write().map_err(failed("beginning a transaction"))?;
        let tables = || transaction.list_tables().map(Iterator::count).map_err(failed(OPENING));
        let before = tables()?;
        each_table(&mut Open(&transaction))?;
        let (meta, is_known) = {
            let mut table = transaction.open_table(META).map_err(failed(OPENING))?;
            let row = table.get("meta").map_err(failed("reading the position of the store"))?;
            let known = row.map(|row| decode(row.value())).transpose().map_err(|error| StoreError::Damaged {
                path: path.into(),
                what: format!("its header can't be read: {error}"),
            })?;
            match known {
                Some(meta) => (meta, true),
                None => {
                    let meta = Meta { identity: *uuid::Uuid::new_v4().as_bytes(), ..Meta::default() };
                    table.insert("meta", encode(&meta).as_slice()).map_err(failed("creating the tables"))?;
                    (meta, false)
                }
            }
        };
        // What is there already needn't be made durable.
        match is_known && before == tables()? {
            true => transaction.abort().map_err(failed("opening the tables"))?,
            false => transaction.commit().map_err(failed("creating the tables"))?,
        }
        let (path, disk) = (path.to_owned(), disk.clone());
        Ok(Store {
            database: Arc::new(database),
            meta,
            path,
            disk,
            cache_bytes,
            removed: MANY_REMOVED,
            compaction: None,
            not_before: Instant::now(),
            replaced: Vec::new(),
        })
    }

    /// The last record of the log that is in the tables.
    pub fn applied(&self) -> u64 {
        self.meta.applied
    }

    /// The time of that record, in milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.meta.now
    }

    /// What was decided when the host was last started.
    pub fn settings(&self) -> &Settings {
        &self.meta.settings
    }

    /// What its log has to have as well.
    pub fn identity(&self) -> [u8; 16] {
        self.meta.identity
    }

    /// The tables as they are now, to read.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::new(&self.database)
    }

    /// Write a cut, durably and all at once. What the tables have of each row afterwards, in the cut's order.
    ///
    /// After an error the store takes nothing more until it is opened again. It is then as it was before the cut, or as
    /// it is with the cut, and says which.
    pub fn write(&mut self, cut: &Arc<Cut>) -> Result<Vec<Saved>, StoreError> {
        let (saved, meta) = write_cut(&self.database, cut, &self.meta)?;
        self.meta = meta;
        if let Some(compaction) = &self.compaction {
            compaction.follow(cut);
        }
        self.removed += cut.gone.len() as u64;
        Ok(saved)
    }

    /// A copy of the tables that is to take their place, if one is made. It has all that was written to them. One is begun
    /// if there may be much room to give back. A copy that fails is no reason to stop: the tables are as good as before.
    pub fn compacted(&mut self) -> Result<Option<Copied>, StoreError> {
        self.replaced.retain(|database| Arc::strong_count(database) > 1);
        if let Some(compaction) = self.compaction.as_ref().filter(|compaction| compaction.is_over()) {
            self.not_before = Instant::now() + compaction.took() * SELDOM;
            match self.compaction.take().map(Compaction::finish) {
                Some(Ok(Some(copy))) if copy.meta == self.meta => return Ok(Some(copy)),
                Some(Ok(Some(copy))) => {
                    tracing::error!("the compacted store isn't used: it is at {:?}, not at {:?}", copy.meta, self.meta);
                }
                Some(Err(error)) => tracing::warn!("the store can't be compacted: {error}"),
                _ => {}
            }
        }
        let may_be_due = self.compaction.is_none() && self.removed >= MANY_REMOVED && Instant::now() >= self.not_before;
        if may_be_due && self.removed >= self.reader()?.count()? / 2 {
            self.removed = 0;
            self.begin_compaction(false)?;
        }
        Ok(None)
    }

    pub(super) fn begin_compaction(&mut self, always: bool) -> Result<(), StoreError> {
        // There is one file for it.
        self.compaction = None;
        let transaction = self.database.begin_read().map_err(failed("compacting the store"))?;
        let (meta, path, disk) = (self.meta.clone(), self.path.clone(), self.disk.clone());
        match Compaction::begin(Source { transaction, meta, path, disk, cache_bytes: self.cache_bytes, always }) {
            Ok(compaction) => self.compaction = Some(compaction),
            Err(error) => tracing::warn!("the store can't be compacted: {error}"),
        }
        Ok(())
    }

    /// Until a copy that was begun is made.
    #[cfg(test)]
    pub(super) fn wait_for_compaction(&self) {
        while self.compaction.as_ref().is_some_and(|compaction| !compaction.is_over()) {
            std::thread::yield_now();
        }
    }

    /// From here on the copy is the store. Readers of before go on reading what was there before.
    pub fn replace(&mut self, copy: Copied) -> Result<(), StoreError> {
        let doing = "moving the compacted store to its place";
        let database = copy.replace(&self.path).map_err(|error| StoreError::File { doing, error })?;
        // It is closed by the writer, and not by whoever happens to read from it last: that takes a while.
        self.replaced.push(std::mem::replace(&mut self.database, Arc::new(database)));
        Ok(())
    }
}

const OPENING: &str = "opening a table";

/// Tables that are opened, and made if they aren't there.
struct Open<'a>(&'a WriteTransaction);

impl Visit for Open<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(&mut self, table: TableDefinition<K, V>) -> Result<(), StoreError> {
        self.0.open_table(table).map(drop).map_err(failed(OPENING))
    }
}

/// Open a redb file, or make it. A file of a moderate size is checked whole; of a larger one, what is read is checked.
pub(super) fn open_checked(path: &Path, cache_bytes: usize, patience: Patience) -> Result<Database, StoreError> {
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes).set_check_integrity_on_open(size <= CHECKED_AT_OPEN_BYTES);
    // A damaged file of a size that isn't checked whole can still make redb panic; that, too, is a damaged file.
    let opened =
        std::panic::catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(PatientFile::open(path, patience)?)));
    let damaged = |what: String| StoreError::Damaged { path: path.into(), what };
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(redb::DatabaseError::DatabaseAlreadyOpen)) => Err(StoreError::InUse(path.into())),
        Ok(Err(redb::DatabaseError::UpgradeRequired(version))) => {
            Err(damaged(format!("it has the file format {version} of another version of redb")))
        }
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Corrupted(what)))) => Err(damaged(what)),
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(error))))
            if matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            Err(damaged(error.to_string()))
        }
        Ok(Err(error)) => Err(failed("opening a file of the data directory")(error)),
        Err(_) => Err(damaged("redb can't make sense of it".into())),
    }
}
