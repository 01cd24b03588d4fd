//! Giving room back: a copy of the tables that takes their place.
//!
//! redb uses the room of removed rows again and never gives it back, unless it has the file for itself for a while. So a
//! thread copies what is in the tables at one moment into a file beside them, and follows with the cuts that are written
//! meanwhile. When it has caught up, the copy is moved to the place of the tables, between two cuts. The writer never waits
//! for more than the last of those cuts, and whoever still reads the old file reads on.
//!
//! Nothing depends on a copy before it is in its place. So it is flushed a little at a time, for the log has the same disk;
//! it doesn't wait for room on that; and it is given up when anything goes wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redb::{Database, Key, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, Value};

use super::cut::{Cut, put_meta, write_cut};
use super::disk::{Disk, Patience};
use super::error::{StoreError, failed};
use super::file::open_checked;
use super::tables::{Meta, Visit, each_table};

/// Copied at a time, and flushed. After each part the thread pauses for as long as the part took.
const PART_BYTES: usize = 1 << 20;
/// How much of cuts may wait for the copy before it is given up.
const WAITING_BYTES: usize = 256 << 20;
/// A file is copied if it is twice as large as what is in it, and by this much.
const SLACK_BYTES: u64 = 8 << 20;

const DOING: &str = "copying the store";

/// A copy in the making.
pub(super) struct Compaction {
    cuts: Sender<Arc<Cut>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<Option<Copied>, StoreError>>>,
}

#[derive(Default)]
struct Shared {
    /// Nobody wants the copy any more.
    given_up: AtomicBool,
    /// The size of the cuts that are on their way.
    waiting_bytes: AtomicUsize,
    /// How many milliseconds its thread was at work, once it is over.
    took_ms: AtomicU64,
}

/// All that was in the tables, up to one position of the log.
pub struct Copied {
    database: Database,
    pub(super) meta: Meta,
    file: NewFile,
    patience: Patience,
    cuts: Receiver<Arc<Cut>>,
    shared: Arc<Shared>,
}

/// The file of a copy. It goes if it isn't moved.
struct NewFile(PathBuf);

impl Drop for NewFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a copy is made from.
pub(super) struct Source {
    pub(super) transaction: ReadTransaction,
    pub(super) meta: Meta,
    pub(super) path: PathBuf,
    pub(super) disk: Arc<Disk>,
    /// How much of the copy is kept in memory.
    pub(super) cache_bytes: usize,
    /// Copy it even if that gives little room back.
    pub(super) always: bool,
}

/// Where the copy is made.
pub(super) fn beside(path: &Path) -> PathBuf {
    path.with_extension("redb.new")
}

impl Compaction {
    pub(super) fn begin(source: Source) -> std::io::Result<Compaction> {
        let (cuts, following) = channel();
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("compaction".into()).spawn({
            let shared = shared.clone();
            move || {
                let begun = Instant::now();
                let made = make(source, following, shared.clone());
                shared.took_ms.store(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
                made
            }
        })?;
        Ok(Compaction { cuts, shared, thread: Some(thread) })
    }

    /// A cut was written to the tables: the copy is to have it too.
    pub(super) fn follow(&self, cut: &Arc<Cut>) {
        let bytes = cut.bytes();
        if self.shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > WAITING_BYTES {
            self.shared.given_up.store(true, Ordering::Relaxed);
        }
        if self.shared.given_up.load(Ordering::Relaxed) {
            return;
        }
        // The thread may have ended, with an error that is seen when it is looked at.
        let _ = self.cuts.send(cut.clone());
    }

    /// How long its thread was at work, if it is over.
    pub(super) fn took(&self) -> Duration {
        Duration::from_millis(self.shared.took_ms.load(Ordering::Relaxed))
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The copy, with all cuts that were written. None: it isn't worth it, or was given up.
    pub(super) fn finish(mut self) -> Result<Option<Copied>, StoreError> {
        let Some(Ok(made)) = self.thread.take().map(JoinHandle::join) else { return Ok(None) };
        let Some(mut copy) = made? else { return Ok(None) };
        Ok(copy.catch_up()?.then_some(copy))
    }
}

impl Drop for Compaction {
    fn drop(&mut self) {
        self.shared.given_up.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Copied {
    /// Write the cuts that are waiting. Whether it has them all, and is still wanted.
    fn catch_up(&mut self) -> Result<bool, StoreError> {
        while !self.shared.given_up.load(Ordering::Relaxed) {
            let Ok(cut) = self.cuts.try_recv() else { return Ok(true) };
            (_, self.meta) = write_cut(&self.database, &cut, &self.meta)?;
            self.shared.waiting_bytes.fetch_sub(cut.bytes(), Ordering::Relaxed);
        }
        Ok(false)
    }

    /// Move it to the place of the tables, durably.
    pub(super) fn replace(self, path: &Path) -> std::io::Result<Database> {
        std::fs::rename(&self.file.0, path)?;
        std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        self.patience.begin();
        Ok(self.database)
    }
}

fn make(source: Source, cuts: Receiver<Arc<Cut>>, shared: Arc<Shared>) -> Result<Option<Copied>, StoreError> {
    let Source { transaction, meta, path, disk, cache_bytes, always } = source;
    let begun = Instant::now();
    let mut used = Used { transaction: &transaction, shared: &shared, bytes: 0 };
    each_table(&mut used)?;
    let (used, size) = (used.bytes, file_bytes(&path));
    if !always && (size < 2 * used + SLACK_BYTES || free_bytes(&path) < 2 * used + SLACK_BYTES) {
        return Ok(None);
    }
    let (file, patience) = (NewFile(beside(&path)), Patience::later(&disk));
    let _ = std::fs::remove_file(&file.0);
    let database = open_checked(&file.0, cache_bytes, patience.clone())?;
    let mut tables = Tables { from: &transaction, to: &database, shared: &shared, count: 0 };
    each_table(&mut tables)?;
    let count = transaction.list_tables().map_err(failed(DOING))?.count();
    if tables.count + 1 != count {
        let what = format!("it has {count} tables, of which this version of the host knows {}", tables.count + 1);
        return Err(StoreError::Damaged { path, what });
    }
    put_meta(&database, &meta)?;
    drop(transaction);
    let mut copy = Copied { database, meta, file, patience, cuts, shared };
    if !copy.catch_up()? {
        return Ok(None);
    }
    let took = begun.elapsed();
    tracing::info!("compacted the store, from {} KiB to {}, in {took:.1?}", size >> 10, file_bytes(&copy.file.0) >> 10);
    Ok(Some(copy))
}

/// What is in the tables, in bytes.
struct Used<'a> {
    transaction: &'a ReadTransaction,
    shared: &'a Shared,
    bytes: u64,
}

impl Visit for Used<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(&mut self, table: TableDefinition<K, V>) -> Result<(), StoreError> {
        if self.shared.given_up.load(Ordering::Relaxed) {
            return Ok(());
        }
        let table = self.transaction.open_table(table).map_err(failed(DOING))?;
        let stats = table.stats().map_err(failed(DOING))?;
        self.bytes += stats.stored_bytes() + stats.metadata_bytes();
        Ok(())
    }
}

/// Tables that are copied.
struct Tables<'a> {
    from: &'a ReadTransaction,
    to: &'a Database,
    shared: &'a Shared,
    count: usize,
}

impl Visit for Tables<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(&mut self, table: TableDefinition<K, V>) -> Result<(), StoreError> {
        self.count += 1;
        let from = self.from.open_table(table).map_err(failed(DOING))?;
        let mut rows = from.iter().map_err(failed(DOING))?;
        let mut is_over = false;
        while !is_over && !self.shared.given_up.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let transaction = self.to.begin_write().map_err(failed(DOING))?;
            {
                let mut to = transaction.open_table(table).map_err(failed(DOING))?;
                let mut bytes = 0;
                while bytes < PART_BYTES {
                    let Some(row) = rows.next() else {
                        is_over = true;
                        break;
                    };
                    let (key, value) = row.map_err(failed(DOING))?;
                    bytes += V::as_bytes(&value.value()).as_ref().len();
                    bytes += K::as_bytes(&key.value()).as_ref().len();
                    to.insert(key.value(), value.value()).map_err(failed(DOING))?;
                }
            }
            transaction.commit().map_err(failed(DOING))?;
            if !is_over {
                std::thread::sleep(begun.elapsed());
            }
        }
        Ok(())
    }
}

fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// How much room there is on the disk of a file. Where that can't be told there is none.
fn free_bytes(path: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return 0 };
    // SAFETY: the path ends with a zero, and the struct is one that the call fills.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &mut stat) == 0 { stat.f_bavail * stat.f_frsize } else { 0 }
    }
}
