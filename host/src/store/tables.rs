//! The tables, how a cut of the state is written to them, and how they are read.
//!
//! A promise gets a number when it is first written; everything about it is kept under that number, in ascending order,
//! which redb writes ten times faster than scattered keys. Only `ids` is in the order of the ids.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine::{Component, Config, Entry, Id, Output, Promise, PromiseKind, Schedule, Scope, Settings, TaskState};
use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, PatientFile};
use super::encoding::{Corrupt, decode, encode, items, seal, unseal};

/// `"meta"` to a [`Meta`].
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Digest to a [`Component`], and name to the digest of the current one.
const COMPONENTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("components");
const CURRENT: TableDefinition<&str, &[u8]> = TableDefinition::new("current");
/// Id to number.
const IDS: TableDefinition<&str, u64> = TableDefinition::new("ids");
/// Number to a [`Promise`].
const PROMISES: TableDefinition<u64, &[u8]> = TableDefinition::new("promises");
/// Number and index of the first entry or piece, to a sealed run of them.
const JOURNALS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("journals");
const OUTPUTS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("outputs");
/// When something happens to a promise by itself, and its number, to the id.
const DEADLINES: TableDefinition<(u64, u64), &str> = TableDefinition::new("deadlines");
/// Number of an execution that has something to do, to its id.
const RUNNABLE: TableDefinition<u64, &str> = TableDefinition::new("runnable");
/// Number of a request that has no answer, to its id.
const REQUESTS: TableDefinition<u64, &str> = TableDefinition::new("requests");
/// A number in the order in which they came, to a [`Scope`] and its [`Config`].
const CONFIGS: TableDefinition<u64, &[u8]> = TableDefinition::new("configs");
/// Function, time and number of a root that was settled, to its id. Promises without a function have an empty one.
const SETTLED: TableDefinition<Settled<'static>, &str> = TableDefinition::new("settled");
type Settled<'a> = (&'a str, u64, u64);

/// Id to a [`Schedule`].
const SCHEDULES: TableDefinition<&str, &[u8]> = TableDefinition::new("schedules");

/// Files up to this size are checked whole when they are opened.
const CHECKED_AT_OPEN_BYTES: u64 = 256 << 20;

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{0} is in use by another host: one data directory serves one host at a time")]
    InUse(PathBuf),
    /// What is there is damaged or of another version.
    #[error("{path} is damaged and was not opened: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A row is damaged or of another version.
    #[error("{table} {key} is damaged: {error}")]
    Row {
        /// Which table.
        table: &'static str,
        /// Which row.
        key: String,
        /// What is wrong with it.
        error: Corrupt,
    },
    /// The disk didn't do as asked.
    #[error("{doing} failed: {error}")]
    Redb {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        error: Box<redb::Error>,
    },
    /// The disk under another file than the store didn't do as asked.
    #[error("{doing} failed: {error}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        error: std::io::Error,
    },
}

fn failed<E: Into<redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Redb { doing, error: Box::new(error.into()) }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Meta {
    /// The last record of the log that is in here.
    applied: u64,
    /// The time of that record, so that time doesn't run backwards over a restart.
    now: u64,
    /// The last number given to a promise.
    numbered: u64,
    /// Made up when the store is made. Its log has the same, so that no other log is taken for it.
    identity: [u8; 16],
    /// What was decided when the host was last started.
    settings: Settings,
}

/// The tables, to write.
pub struct Store {
    database: Database,
    meta: Meta,
}

/// What has changed in the state since the last cut, all of it at one position of the log.
#[derive(Debug, Default)]
pub struct Cut {
    /// That position.
    pub applied: u64,
    /// The time of the record there.
    pub now: u64,
    /// The promises that changed.
    pub rows: Vec<Row>,
    /// The components that were installed, in order.
    pub components: Vec<Component>,
    /// The schedules that changed, by id. None: it is no more.
    pub schedules: BTreeMap<String, Option<Schedule>>,
    /// As they are now.
    pub settings: Settings,
    /// Whether the promises and schedules that the tables have are to go first.
    pub clear: bool,
    /// New revisions of configurations, in order.
    pub configs: Vec<(Scope, Config)>,
    /// The promises that were removed. It comes before `rows`, where another one can have the same id.
    pub gone: Vec<(Id, Gone)>,
}

/// A promise that was removed.
#[derive(Debug)]
pub struct Gone {
    /// What the tables have of it.
    saved: Saved,
    /// Its function, and when it was settled.
    settled: (String, u64),
    /// Whether it has a journal.
    is_execution: bool,
}

impl Gone {
    pub(super) fn of(promise: &Promise, saved: Saved) -> Gone {
        let function = promise.function().unwrap_or_default().to_owned();
        Gone {
            saved,
            settled: (function, promise.settled_at.unwrap_or_default()),
            is_execution: promise.execution.is_some(),
        }
    }
}

/// A promise that has changed.
#[derive(Debug)]
pub struct Row {
    /// As it is now.
    pub promise: Arc<Promise>,
    /// What the tables have of it. None: nothing.
    pub saved: Option<Saved>,
    /// The new entries of its journal, encoded one after another.
    pub journal: Vec<u8>,
    /// The index of the first of them.
    pub first_entry: u32,
    /// The new pieces of its output, encoded one after another.
    pub output: Vec<u8>,
    /// The index of the first of them.
    pub first_output: u32,
}

/// What the tables have of a promise, beside its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Under which number.
    pub number: u64,
    /// When something happens to it by itself.
    pub due_at: Option<u64>,
    /// Whether it is listed as having something to do.
    pub runnable: bool,
    /// Whether it is listed as a request without an answer.
    pub request: bool,
    /// Whether it is listed as a root that was settled.
    pub settled: bool,
}

impl Saved {
    fn of(number: u64, promise: &Promise) -> Saved {
        let runnable = promise.execution.as_ref().is_some_and(|e| e.task.state == TaskState::Runnable);
        let request = promise.outcome.is_none() && matches!(promise.kind, PromiseKind::Http { .. });
        let settled = promise.outcome.is_some() && promise.parent().is_none();
        Saved { number, due_at: promise.due_at(), runnable, request, settled }
    }
}

impl Store {
    /// Open the tables, or make them. Anything that isn't whole is refused.
    pub fn open(path: &Path, cache_bytes: usize, disk: &Arc<Disk>) -> Result<Store, StoreError> {
        let database = open_checked(path, cache_bytes, disk)?;
        let transaction = database.begin_write().map_err(failed("beginning a transaction"))?;
        let opening = || failed("opening a table");
        {
            let _ = transaction.open_table(COMPONENTS).map_err(opening())?;
            let _ = transaction.open_table(CURRENT).map_err(opening())?;
            let _ = transaction.open_table(IDS).map_err(opening())?;
            let _ = transaction.open_table(PROMISES).map_err(opening())?;
            let _ = transaction.open_table(JOURNALS).map_err(opening())?;
            let _ = transaction.open_table(OUTPUTS).map_err(opening())?;
            let _ = transaction.open_table(DEADLINES).map_err(opening())?;
            let _ = transaction.open_table(RUNNABLE).map_err(opening())?;
            let _ = transaction.open_table(SCHEDULES).map_err(opening())?;
            let _ = transaction.open_table(REQUESTS).map_err(opening())?;
            let _ = transaction.open_table(CONFIGS).map_err(opening())?;
            let _ = transaction.open_table(SETTLED).map_err(opening())?;
        }
        let meta = {
            let mut table = transaction.open_table(META).map_err(opening())?;
            let row = table.get("meta").map_err(failed("reading the position of the store"))?;
            let known = row.map(|row| decode(row.value())).transpose().map_err(|error| StoreError::Damaged {
                path: path.into(),
                what: format!("its header can't be read: {error}"),
            })?;
            match known {
                Some(meta) => meta,
                None => {
                    let meta = Meta { identity: *uuid::Uuid::new_v4().as_bytes(), ..Meta::default() };
                    table.insert("meta", encode(&meta).as_slice()).map_err(failed("creating the tables"))?;
                    meta
                }
            }
        };
        transaction.commit().map_err(failed("creating the tables"))?;
        Ok(Store { database, meta })
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
    pub fn write(&mut self, cut: &Cut) -> Result<Vec<Saved>, StoreError> {
        let (saved, meta) = write_cut(&self.database, cut, &self.meta)?;
        self.meta = meta;
        Ok(saved)
    }
}

fn write_cut(database: &Database, cut: &Cut, before: &Meta) -> Result<(Vec<Saved>, Meta), StoreError> {
    let doing = "writing to the store";
    let mut numbered = before.numbered;
    let mut transaction = database.begin_write().map_err(failed(doing))?;
    transaction.set_durability(Durability::Immediate).map_err(failed(doing))?;
    transaction.set_quick_repair(true);
    let mut saved = Vec::with_capacity(cut.rows.len());
    {
        let mut ids = transaction.open_table(IDS).map_err(failed(doing))?;
        let mut promises = transaction.open_table(PROMISES).map_err(failed(doing))?;
        let mut journals = transaction.open_table(JOURNALS).map_err(failed(doing))?;
        let mut outputs = transaction.open_table(OUTPUTS).map_err(failed(doing))?;
        let mut deadlines = transaction.open_table(DEADLINES).map_err(failed(doing))?;
        let mut runnable = transaction.open_table(RUNNABLE).map_err(failed(doing))?;
        let mut requests = transaction.open_table(REQUESTS).map_err(failed(doing))?;
        let mut settled = transaction.open_table(SETTLED).map_err(failed(doing))?;
        if cut.clear {
            ids.retain(|_, _| false).map_err(failed(doing))?;
            promises.retain(|_, _| false).map_err(failed(doing))?;
            journals.retain(|_, _| false).map_err(failed(doing))?;
            outputs.retain(|_, _| false).map_err(failed(doing))?;
            deadlines.retain(|_, _| false).map_err(failed(doing))?;
            runnable.retain(|_, _| false).map_err(failed(doing))?;
            requests.retain(|_, _| false).map_err(failed(doing))?;
            settled.retain(|_, _| false).map_err(failed(doing))?;
        }
        for (id, gone) in &cut.gone {
            let (saved, number) = (gone.saved, gone.saved.number);
            ids.remove(id.as_str()).map_err(failed(doing))?;
            promises.remove(number).map_err(failed(doing))?;
            if gone.is_execution {
                let all = (number, 0)..=(number, u32::MAX);
                journals.retain_in(all.clone(), |_, _| false).map_err(failed(doing))?;
                outputs.retain_in(all, |_, _| false).map_err(failed(doing))?;
            }
            // It was settled before it was removed, and may have been saved before it was settled.
            if let Some(at) = saved.due_at {
                deadlines.remove((at, number)).map_err(failed(doing))?;
            }
            if saved.runnable {
                runnable.remove(number).map_err(failed(doing))?;
            }
            if saved.request {
                requests.remove(number).map_err(failed(doing))?;
            }
            if saved.settled {
                let (function, at) = &gone.settled;
                settled.remove((function.as_str(), *at, number)).map_err(failed(doing))?;
            }
        }
        for row in &cut.rows {
            let promise = &*row.promise;
            let id = promise.id.as_str();
            let number = match row.saved {
                Some(saved) => saved.number,
                None => {
                    numbered += 1;
                    ids.insert(id, numbered).map_err(failed(doing))?;
                    numbered
                }
            };
            promises.insert(number, encode(promise).as_slice()).map_err(failed(doing))?;
            if !row.journal.is_empty() {
                let key = (number, row.first_entry);
                journals.insert(key, seal(&row.journal).as_slice()).map_err(failed(doing))?;
            }
            if !row.output.is_empty() {
                let key = (number, row.first_output);
                outputs.insert(key, seal(&row.output).as_slice()).map_err(failed(doing))?;
            }
            let now = Saved::of(number, promise);
            let nothing = Saved { number, due_at: None, runnable: false, request: false, settled: false };
            let before = row.saved.unwrap_or(nothing);
            if before.due_at != now.due_at {
                if let Some(at) = before.due_at {
                    deadlines.remove((at, number)).map_err(failed(doing))?;
                }
                if let Some(at) = now.due_at {
                    deadlines.insert((at, number), id).map_err(failed(doing))?;
                }
            }
            match (before.runnable, now.runnable) {
                (false, true) => drop(runnable.insert(number, id).map_err(failed(doing))?),
                (true, false) => drop(runnable.remove(number).map_err(failed(doing))?),
                _ => {}
            }
            match (before.request, now.request) {
                (false, true) => drop(requests.insert(number, id).map_err(failed(doing))?),
                (true, false) => drop(requests.remove(number).map_err(failed(doing))?),
                _ => {}
            }
            if now.settled && !before.settled {
                let key = (promise.function().unwrap_or_default(), promise.settled_at.unwrap_or_default(), number);
                settled.insert(key, id).map_err(failed(doing))?;
            }
            saved.push(now);
        }
    }
    if !cut.components.is_empty() {
        let mut components = transaction.open_table(COMPONENTS).map_err(failed(doing))?;
        let mut current = transaction.open_table(CURRENT).map_err(failed(doing))?;
        for component in &cut.components {
            let digest = component.digest.0.as_slice();
            components.insert(digest, encode(component).as_slice()).map_err(failed(doing))?;
            current.insert(component.name.as_str(), digest).map_err(failed(doing))?;
        }
    }
    if cut.clear || !cut.schedules.is_empty() {
        let mut schedules = transaction.open_table(SCHEDULES).map_err(failed(doing))?;
        if cut.clear {
            schedules.retain(|_, _| false).map_err(failed(doing))?;
        }
        for (id, schedule) in &cut.schedules {
            match schedule {
                Some(schedule) => {
                    drop(schedules.insert(id.as_str(), encode(schedule).as_slice()).map_err(failed(doing))?)
                }
                None => drop(schedules.remove(id.as_str()).map_err(failed(doing))?),
            }
        }
    }
    if !cut.configs.is_empty() {
        let mut configs = transaction.open_table(CONFIGS).map_err(failed(doing))?;
        let known = configs.len().map_err(failed(doing))?;
        for (number, config) in (known..).zip(&cut.configs) {
            configs.insert(number, encode(config).as_slice()).map_err(failed(doing))?;
        }
    }
    let settings = cut.settings.clone();
    let meta = Meta { applied: cut.applied, now: cut.now, numbered, identity: before.identity, settings };
    {
        let mut table = transaction.open_table(META).map_err(failed(doing))?;
        table.insert("meta", encode(&meta).as_slice()).map_err(failed(doing))?;
    }
    transaction.commit().map_err(failed(doing))?;
    Ok((saved, meta))
}

/// Open a redb file, or make it. A file of a moderate size is checked whole; of a larger one, what is read is checked.
fn open_checked(path: &Path, cache_bytes: usize, disk: &Arc<Disk>) -> Result<Database, StoreError> {
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes).set_check_integrity_on_open(size <= CHECKED_AT_OPEN_BYTES);
    // A damaged file of a size that isn't checked whole can still make redb panic; that, too, is a damaged file.
    let opened =
        std::panic::catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(PatientFile::open(path, disk)?)));
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

/// The tables at one moment, to read.
pub struct Reader {
    components: ReadOnlyTable<&'static [u8], &'static [u8]>,
    current: ReadOnlyTable<&'static str, &'static [u8]>,
    ids: ReadOnlyTable<&'static str, u64>,
    promises: ReadOnlyTable<u64, &'static [u8]>,
    journals: ReadOnlyTable<(u64, u32), &'static [u8]>,
    outputs: ReadOnlyTable<(u64, u32), &'static [u8]>,
    deadlines: ReadOnlyTable<(u64, u64), &'static str>,
    runnable: ReadOnlyTable<u64, &'static str>,
    schedules: ReadOnlyTable<&'static str, &'static [u8]>,
    requests: ReadOnlyTable<u64, &'static str>,
    configs: ReadOnlyTable<u64, &'static [u8]>,
    settled: ReadOnlyTable<Settled<'static>, &'static str>,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// In the order of the list.
    pub items: Vec<T>,
    /// Where the next part begins. None: there is none.
    pub next: Option<u64>,
}

const READING: &str = "reading from the store";

impl Reader {
    fn new(database: &Database) -> Result<Reader, StoreError> {
        let transaction = database.begin_read().map_err(failed(READING))?;
        Ok(Reader {
            components: transaction.open_table(COMPONENTS).map_err(failed(READING))?,
            current: transaction.open_table(CURRENT).map_err(failed(READING))?,
            ids: transaction.open_table(IDS).map_err(failed(READING))?,
            promises: transaction.open_table(PROMISES).map_err(failed(READING))?,
            journals: transaction.open_table(JOURNALS).map_err(failed(READING))?,
            outputs: transaction.open_table(OUTPUTS).map_err(failed(READING))?,
            deadlines: transaction.open_table(DEADLINES).map_err(failed(READING))?,
            runnable: transaction.open_table(RUNNABLE).map_err(failed(READING))?,
            schedules: transaction.open_table(SCHEDULES).map_err(failed(READING))?,
            requests: transaction.open_table(REQUESTS).map_err(failed(READING))?,
            configs: transaction.open_table(CONFIGS).map_err(failed(READING))?,
            settled: transaction.open_table(SETTLED).map_err(failed(READING))?,
        })
    }

    /// A promise, and what else the tables have of it.
    pub fn promise(&self, id: &str) -> Result<Option<(Promise, Saved)>, StoreError> {
        let Some(number) = self.ids.get(id).map_err(failed(READING))? else { return Ok(None) };
        let number = number.value();
        let damaged = |error| StoreError::Row { table: "promise", key: id.into(), error };
        let row = self.promises.get(number).map_err(failed(READING))?;
        let row = row.ok_or(damaged(Corrupt::Content("it is missing".into())))?;
        let promise: Promise = decode(row.value()).map_err(damaged)?;
        if promise.id.as_str() != id {
            return Err(damaged(Corrupt::Content(format!("it is that of {:?}", promise.id))));
        }
        let saved = Saved::of(number, &promise);
        Ok(Some((promise, saved)))
    }

    /// The entries of a journal from an index on, as far as the tables have them.
    pub fn journal(&self, number: u64, from: u32) -> Result<Vec<Entry>, StoreError> {
        runs(&self.journals, "journal", number, from)
    }

    /// The pieces of an output from an index on, as far as the tables have them.
    pub fn output(&self, number: u64, from: u32) -> Result<Vec<Output>, StoreError> {
        runs(&self.outputs, "output", number, from)
    }

    /// Promises from the newest to the oldest, of numbers below `before`: those that `keep` picks, at most `limit`, of
    /// at most `scan` that are looked at.
    pub fn newest(
        &self,
        before: u64,
        limit: usize,
        scan: usize,
        mut keep: impl FnMut(&Promise) -> bool,
    ) -> Result<Page<Promise>, StoreError> {
        let mut items = Vec::new();
        let rows = self.promises.range(..before).map_err(failed(READING))?.rev();
        for (scanned, row) in rows.enumerate() {
            let (number, row) = row.map_err(failed(READING))?;
            if items.len() == limit || scanned == scan {
                return Ok(Page { items, next: Some(number.value() + 1) });
            }
            let promise: Promise = decode(row.value()).map_err(|error| StoreError::Row {
                table: "promise",
                key: number.value().to_string(),
                error,
            })?;
            if keep(&promise) {
                items.push(promise);
            }
        }
        Ok(Page { items, next: None })
    }

    /// Promises after an id, in the order of the ids: those that `keep` picks, at most `limit`, of at most `scan` that are
    /// looked at. And the id after which the rest begins.
    pub fn by_id(
        &self,
        after: &str,
        limit: usize,
        scan: usize,
        mut keep: impl FnMut(&Promise) -> bool,
    ) -> Result<(Vec<Promise>, Option<String>), StoreError> {
        let (mut found, mut last) = (Vec::new(), None);
        let range = (Bound::Excluded(after), Bound::Unbounded);
        for (scanned, row) in self.ids.range::<&str>(range).map_err(failed(READING))?.enumerate() {
            let (id, number) = row.map_err(failed(READING))?;
            if found.len() == limit || scanned == scan {
                return Ok((found, last));
            }
            let damaged = |error| StoreError::Row { table: "promise", key: id.value().into(), error };
            let row = self.promises.get(number.value()).map_err(failed(READING))?;
            let row = row.ok_or(damaged(Corrupt::Content("it is missing".into())))?;
            let promise: Promise = decode(row.value()).map_err(damaged)?;
            last = Some(id.value().to_owned());
            if keep(&promise) {
                found.push(promise);
            }
        }
        Ok((found, None))
    }

    /// A promise and all those below it in its call tree, at most `limit`. `true`: there are more.
    pub fn tree(&self, id: &Id, limit: usize) -> Result<(Vec<Promise>, bool), StoreError> {
        let mut tree = Vec::new();
        let separator = if id.is_root() { ':' } else { '.' };
        // '/' and ';' are the characters after '.' and ':'.
        let end = format!("{id}{}", char::from(separator as u8 + 1));
        let own = self.ids.get(id.as_str()).map_err(failed(READING))?.map(|number| number.value());
        let below = self.ids.range(format!("{id}{separator}").as_str()..end.as_str()).map_err(failed(READING))?;
        let below = below.map(|row| row.map(|(_, number)| number.value()));
        for number in own.map(Ok).into_iter().chain(below) {
            let number = number.map_err(failed(READING))?;
            if tree.len() == limit {
                return Ok((tree, true));
            }
            let damaged = |error| StoreError::Row { table: "promise", key: number.to_string(), error };
            let row = self.promises.get(number).map_err(failed(READING))?;
            let row = row.ok_or(damaged(Corrupt::Content("it is missing".into())))?;
            tree.push(decode(row.value()).map_err(damaged)?);
        }
        Ok((tree, false))
    }

    /// When something happens to promises by itself, from a time on, the earliest first. All those of the last millisecond that is in the list are in it,
    /// so that there can be more than `limit`.
    pub fn deadlines(&self, from: u64, limit: usize) -> Result<Vec<(u64, String)>, StoreError> {
        let mut deadlines: Vec<(u64, String)> = Vec::new();
        for row in self.deadlines.range((from, 0)..).map_err(failed(READING))? {
            let (key, id) = row.map_err(failed(READING))?;
            let at = key.value().0;
            if deadlines.len() >= limit && deadlines.last().is_some_and(|(last, _)| *last != at) {
                break;
            }
            deadlines.push((at, id.value().to_owned()));
        }
        Ok(deadlines)
    }

    /// The executions that have something to do.
    pub fn runnable(&self) -> Result<Vec<String>, StoreError> {
        ids(&self.runnable)
    }

    /// The requests that have no answer.
    pub fn requests(&self) -> Result<Vec<String>, StoreError> {
        ids(&self.requests)
    }

    /// All revisions of all configurations, those of each scope in order.
    pub fn configs(&self) -> Result<Vec<(Scope, Config)>, StoreError> {
        let mut configs = Vec::new();
        for row in self.configs.iter().map_err(failed(READING))? {
            let (key, row) = row.map_err(failed(READING))?;
            let damaged = |error| StoreError::Row { table: "configuration", key: key.value().to_string(), error };
            configs.push(decode(row.value()).map_err(damaged)?);
        }
        Ok(configs)
    }

    /// All schedules.
    pub fn schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        let mut schedules = Vec::new();
        for row in self.schedules.iter().map_err(failed(READING))? {
            let (id, row) = row.map_err(failed(READING))?;
            schedules.push(decode(row.value()).map_err(|error| StoreError::Row {
                table: "schedule",
                key: id.value().into(),
                error,
            })?);
        }
        Ok(schedules)
    }

    /// The name after this one, in their order, of a function of which there are roots that were settled.
    pub fn settled_function(&self, after: Option<&str>) -> Result<Option<String>, StoreError> {
        let mut rows = match after {
            None => self.settled.range::<Settled>(..),
            Some(name) => self.settled.range((name, u64::MAX, u64::MAX)..),
        }
        .map_err(failed(READING))?;
        Ok(rows.next().transpose().map_err(failed(READING))?.map(|(key, _)| key.value().0.to_owned()))
    }

    /// Roots of a function that were settled until a time, the longest ago first: those after a time and number, with
    /// their own.
    pub fn settled(
        &self,
        function: &str,
        after: (u64, u64),
        until: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64, String)>, StoreError> {
        let (from, to) = ((function, after.0, after.1 + 1), (function, until, u64::MAX));
        if from > to {
            return Ok(Vec::new());
        }
        let rows = self.settled.range(from..to).map_err(failed(READING))?.take(limit);
        rows.map(|row| {
            let (key, id) = row.map_err(failed(READING))?;
            let (_, at, number) = key.value();
            Ok((at, number, id.value().to_owned()))
        })
        .collect()
    }

    /// The ids of a tree, each after those below it, in parts of at most so many.
    pub fn upwards(&self, root: &Id, part: usize, mut each: impl FnMut(Vec<Id>) -> bool) -> Result<(), StoreError> {
        let (below, end) = (format!("{root}:"), format!("{root};"));
        let rows = self.ids.range(below.as_str()..end.as_str()).map_err(failed(READING))?.rev();
        let mut ids = Vec::new();
        for row in rows {
            let (id, _) = row.map_err(failed(READING))?;
            ids.extend(Id::parse(id.value()));
            if ids.len() == part && !each(std::mem::take(&mut ids)) {
                return Ok(());
            }
        }
        ids.push(root.clone());
        each(ids);
        Ok(())
    }

    /// How many promises there are.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.promises.len().map_err(failed(READING))
    }

    /// All components, those that are current last.
    pub fn components(&self) -> Result<Vec<Component>, StoreError> {
        let mut current = Vec::new();
        for row in self.current.iter().map_err(failed(READING))? {
            current.push(row.map_err(failed(READING))?.1.value().to_vec());
        }
        let mut components: Vec<Component> = Vec::new();
        for row in self.components.iter().map_err(failed(READING))? {
            let (digest, row) = row.map_err(failed(READING))?;
            let key = || digest.value().iter().map(|byte| format!("{byte:02x}")).collect();
            components.push(decode(row.value()).map_err(|error| StoreError::Row {
                table: "component",
                key: key(),
                error,
            })?);
        }
        components.sort_by_key(|component| current.iter().any(|digest| *digest == component.digest.0));
        Ok(components)
    }
}

fn ids(table: &ReadOnlyTable<u64, &'static str>) -> Result<Vec<String>, StoreError> {
    let rows = table.iter().map_err(failed(READING))?;
    rows.map(|row| row.map(|(_, id)| id.value().to_owned()).map_err(failed(READING))).collect()
}

/// The items of the runs under a number, from an index on.
fn runs<T: serde::de::DeserializeOwned>(
    table: &ReadOnlyTable<(u64, u32), &'static [u8]>,
    name: &'static str,
    number: u64,
    from: u32,
) -> Result<Vec<T>, StoreError> {
    // The run that has `from` begins at or before it.
    let first = table.range((number, 0)..=(number, from)).map_err(failed(READING))?.next_back();
    let first = first.transpose().map_err(failed(READING))?.map_or(from, |(key, _)| key.value().1);
    let mut found = Vec::new();
    for row in table.range((number, first)..=(number, u32::MAX)).map_err(failed(READING))? {
        let (key, row) = row.map_err(failed(READING))?;
        let (number, start) = key.value();
        let damaged = |error| StoreError::Row { table: name, key: format!("{number}/{start}"), error };
        let run: Vec<T> = items(unseal(row.value()).map_err(damaged)?).map_err(damaged)?;
        found.extend(run.into_iter().skip(from.saturating_sub(start) as usize));
    }
    Ok(found)
}
