//! Files on a disk that can be full.
//!
//! A write for which there is no room waits until there is: redb would take nothing more after an error, reads included,
//! and nothing is gained by giving up. Whoever wants to know asks [`Disk::full`]. Any other error is final: after a failed
//! flush nobody knows what is on the disk, and the host stops and recovers as from a crash.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// Between attempts, when there is no room.
const RETRY: Duration = Duration::from_millis(250);

/// The disk under the files of a data directory.
#[derive(Debug, Default)]
pub struct Disk {
    /// Why something is waiting for room, if it is.
    full: Mutex<Option<String>>,
    /// Whether anything waits at all: not while files are opened, and not when the host is to stop.
    patient: AtomicBool,
    /// Whether its files are copies of what is elsewhere: nothing is flushed, and after a crash they are made again.
    disposable: bool,
}

impl Disk {
    /// For files that are copies of what is kept elsewhere.
    pub fn disposable() -> Disk {
        Disk { disposable: true, ..Disk::default() }
    }

    /// From here on, writes wait for room.
    pub fn be_patient(&self) {
        self.patient.store(true, Ordering::Release);
    }

    /// From here on, writes fail if there is no room. Those that wait fail as well.
    pub fn give_up(&self) {
        self.patient.store(false, Ordering::Release);
    }

    /// Why something is waiting for room, if it is.
    pub fn full(&self) -> Option<String> {
        self.full.lock().clone()
    }

    /// Write, and wait for room if there is none.
    pub fn patiently<T>(&self, path: &Path, mut write: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut waited = false;
        let result = loop {
            match write() {
                Err(error) if is_full(&error) && self.patient.load(Ordering::Acquire) => {
                    if !waited {
                        let what = format!("{} can't be written: {error}", path.display());
                        tracing::error!("{what}; nothing is recorded or answered until there is room");
                        *self.full.lock() = Some(what);
                    }
                    waited = true;
                    std::thread::sleep(RETRY);
                }
                result => break result,
            }
        };
        if waited {
            tracing::info!("there is room for {} again", path.display());
            *self.full.lock() = None;
        }
        result
    }
}

/// Whether a write failed for want of room, so that the same write can succeed later.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// Whether the writes to one file wait for room.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    disk: Arc<Disk>,
    /// A file that nothing depends on isn't worth the wait.
    is_needed: Arc<AtomicBool>,
}

impl Patience {
    /// They wait whenever those to this disk do.
    pub(super) fn of(disk: &Arc<Disk>) -> Patience {
        Patience { disk: disk.clone(), is_needed: Arc::new(AtomicBool::new(true)) }
    }

    /// They don't wait until the file is needed.
    pub(super) fn later(disk: &Arc<Disk>) -> Patience {
        Patience { disk: disk.clone(), is_needed: Arc::default() }
    }

    /// From here on, the file is needed.
    pub(super) fn begin(&self) {
        self.is_needed.store(true, Ordering::Release);
    }

    fn write(&self, path: &Path, mut write: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        if self.is_needed.load(Ordering::Acquire) { self.disk.patiently(path, write) } else { write() }
    }
}

/// A file of redb's that waits for room.
#[derive(Debug)]
pub(super) struct PatientFile {
    file: FileBackend,
    path: Box<Path>,
    patience: Patience,
}

impl PatientFile {
    pub(super) fn open(path: &Path, patience: Patience) -> Result<PatientFile, DatabaseError> {
        let file: File = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(PatientFile { file: FileBackend::new(file)?, path: path.into(), patience })
    }
}

type Range = Bound<u64>;

impl StorageBackend for PatientFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.patience.write(&self.path, || self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.patience.disk.disposable { Ok(()) } else { self.file.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.patience.write(&self.path, || self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
