//! The log of a host that has its disk to itself: two files, written in turn.
//!
//! A group is one frame, written behind the one before, and durable after one flush. A file is made longer ahead of need
//! and filled with zeros, so that a flush finds nothing to write but the frame. When a file has grown enough, and all
//! that the other one has is trimmed, the other one is written from its beginning.
//!
//! Invariants:
//! - At most one frame isn't flushed, and it is the last. So a frame that isn't whole is the last one, which nobody was
//!   told of; or there is something behind it that says that it was durable, and it is damaged.
//! - To that end a mark follows a flush: on a page of its own, so that what damages the last frame doesn't damage the
//!   mark. It is flushed with the next frame, and needn't be before.
//! - A file is a whole number of chunks long, at any moment. Of what was added last some may be missing: that reads as zeros.
//! - The numbers of frames ascend. What is left in a file of the last time that it was written has lower numbers than
//!   all that is in use.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, ALIGN, Header, Seed};
use super::{Group, Log};
use host_store::{Disk, StoreError};

/// The names of the files.
const NAMES: [&str; 2] = ["log-0", "log-1"];
/// Every file begins with this, the identity of the store whose log it is, and a checksum of both.
const MAGIC: [u8; 8] = *b"durable1";
const TITLE: usize = 28;
/// Where the first frame is.
const BEGIN: u64 = PAGE;
const PAGE: u64 = 4096;
/// By how much a file is made longer.
const CHUNK: u64 = 1 << 20;
/// From this size on, the other file is used if it can be.
const ENOUGH: u64 = 8 << 20;

/// A log in two files.
pub struct EmbeddedLog {
    files: [LogFile; 2],
    /// The one that is written.
    current: usize,
    seed: Seed,
    disk: Arc<Disk>,
    /// What was there when it was opened.
    found: Vec<Group>,
    frame: Vec<u8>,
}

struct LogFile {
    file: File,
    path: PathBuf,
    length: u64,
    /// Where the next frame goes.
    end: u64,
    /// The last record in it. 0: none.
    last: u64,
}

impl EmbeddedLog {
    /// Whether there is a log in a directory.
    pub fn exists(directory: &Path) -> bool {
        NAMES.iter().any(|name| directory.join(name).exists())
    }

    /// Open the log of a store, or make it. One that isn't whole, or is of another store, is refused.
    ///
    /// `applied` is the last record that the store has: the log of a store that has any is there.
    pub fn open(
        directory: &Path,
        identity: [u8; 16],
        applied: u64,
        disk: &Arc<Disk>,
    ) -> Result<EmbeddedLog, StoreError> {
        let [first, second] = NAMES.map(|name| directory.join(name));
        let missing = |path: &Path| {
            let what = "it is missing, and there are records of it in the files beside it".into();
            StoreError::Damaged { path: path.into(), what }
        };
        if !first.exists() {
            if applied > 0 || second.exists() {
                return Err(missing(&first));
            }
            create(&first, &identity).map_err(disk_failed("making the log"))?;
        }
        let seed = Seed::new(&identity);
        let (mut found, mut highest) = (Vec::new(), 0);
        let one = LogFile::open(&first, &identity, &seed, &mut found, &mut highest)?;
        if !second.exists() {
            if applied > 0 || one.last > 0 {
                return Err(missing(&second));
            }
            create(&second, &identity).map_err(disk_failed("making the log"))?;
        }
        let two = LogFile::open(&second, &identity, &seed, &mut found, &mut highest)?;
        let current = usize::from(two.last > one.last);
        let files = [one, two];
        let last = files[current].last.max(applied);
        if highest > last + 1 {
            let what = format!("record {} was durable and isn't there, or is damaged", last + 1);
            return Err(StoreError::Damaged { path: files[current].path.clone(), what });
        }
        found.sort_by_key(|group| group.first);
        let mut next = applied + 1;
        for group in found.iter().filter(|group| group.last() > applied) {
            if group.first > next {
                let what = format!("records {next} to {} are in none of {NAMES:?}", group.first - 1);
                return Err(StoreError::Damaged { path: directory.into(), what });
            }
            next = group.last() + 1;
        }
        let log = EmbeddedLog { files, current, seed, disk: disk.clone(), found, frame: Vec::new() };
        // A host that was killed has left what it had written to the system. What is found here is built upon.
        let flushed = log.files.iter().try_for_each(|file| file.file.sync_data());
        flushed.and_then(|()| log.mark()).map_err(disk_failed("flushing the log"))?;
        Ok(log)
    }

    /// The groups that were found to hold records after this one, in order. They are given out once.
    pub fn take_tail(&mut self, after: u64) -> Vec<Group> {
        let mut found = std::mem::take(&mut self.found);
        found.retain(|group| group.last() > after);
        found
    }

    /// `patient`: wait for room. Otherwise `false` is returned if there is none, and nothing is appended.
    fn try_append(&mut self, group: &Group, trim: u64, patient: bool) -> io::Result<bool> {
        let is_long = self.files[self.current].end >= ENOUGH;
        let other = &mut self.files[1 - self.current];
        if is_long && other.last <= trim {
            if other.length > ENOUGH + CHUNK {
                other.file.set_len(ENOUGH)?;
                other.length = ENOUGH;
            }
            other.end = BEGIN;
            self.current = 1 - self.current;
        }
        frame::encode(group, &self.seed, &mut self.frame);
        let (disk, frame) = (&self.disk, &self.frame);
        let file = &mut self.files[self.current];
        let write = |file: &mut LogFile| {
            file.reserve(frame.len() as u64)?;
            file.file.write_all_at(frame, file.end)
        };
        let path = file.path.clone();
        if patient {
            disk.patiently(&path, || write(file))?;
        } else if let Err(error) = write(file) {
            return if host_store::is_full(&error) { Ok(false) } else { Err(error) };
        }
        file.file.sync_data()?;
        file.end += (frame.len() as u64).next_multiple_of(ALIGN);
        file.last = group.last();
        // The group is durable, whatever becomes of the mark.
        let _ = self.mark();
        Ok(true)
    }

    /// Say that all that was written is durable.
    fn mark(&self) -> io::Result<()> {
        let file = &self.files[self.current];
        let place = file.end.next_multiple_of(PAGE);
        if file.last == 0 || place + PAGE > file.length {
            return Ok(());
        }
        file.file.write_all_at(&frame::mark(file.last + 1, &self.seed), place)
    }
}

impl Log for EmbeddedLog {
    fn append(&mut self, group: &Group, trim: u64) -> Result<(), StoreError> {
        self.try_append(group, trim, true).map(drop).map_err(disk_failed("writing to the log"))
    }

    fn append_now(&mut self, group: &Group, trim: u64) -> Result<bool, StoreError> {
        self.try_append(group, trim, false).map_err(disk_failed("writing to the log"))
    }
}

impl LogFile {
    /// Open a file and look through it: its frames go to `found`, and the highest number of any header to `highest`.
    fn open(
        path: &Path,
        identity: &[u8; 16],
        seed: &Seed,
        found: &mut Vec<Group>,
        highest: &mut u64,
    ) -> Result<LogFile, StoreError> {
        let damaged = |what: &str| StoreError::Damaged { path: path.into(), what: what.into() };
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let mut file = opened.map_err(disk_failed("opening the log"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(disk_failed("reading the log"))?;
        match bytes.first_chunk::<TITLE>() {
            None => return Err(damaged("it is cut short")),
            Some(is) if *is == title(identity) => {}
            Some(is) if is[..8] == MAGIC && is[24..] == crc32fast::hash(&is[..24]).to_le_bytes() => {
                return Err(damaged("it is the log of another store"));
            }
            Some(_) => return Err(damaged("it doesn't begin as a log does")),
        }
        let length = bytes.len() as u64;
        if !length.is_multiple_of(CHUNK) {
            return Err(damaged("it is cut short"));
        }
        let (mut end, mut last) = (BEGIN, 0);
        while let Some(header) = header_at(&bytes, end, seed) {
            let follows = last == 0 || header.first == last + 1;
            if !follows || header.count == 0 {
                break;
            }
            header.check_format().map_err(|error| damaged(&format!("record {}: {error}", header.first)))?;
            let Some(records) = header.records(&bytes[end as usize..], seed) else { break };
            let group = Group { first: header.first, count: header.count, bytes: records.to_vec() };
            last = group.last();
            *highest = (*highest).max(group.first);
            end += header.stride();
            found.push(group);
        }
        let mut place = end;
        while place < length {
            *highest = header_at(&bytes, place, seed).map_or(*highest, |header| header.first.max(*highest));
            place += ALIGN;
        }
        Ok(LogFile { file, path: path.into(), length, end, last })
    }

    /// Make room for a frame, and for a mark behind it.
    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let needed = (self.end + bytes).next_multiple_of(PAGE) + PAGE;
        while self.length < needed {
            // A write of this size can end in the middle when the process is killed. That is not to look like a file that
            // was cut short, so the length comes first.
            self.file.set_len(self.length + CHUNK)?;
            self.file.write_all_at(&[0; CHUNK as usize], self.length)?;
            self.length += CHUNK;
        }
        Ok(())
    }
}

fn header_at(bytes: &[u8], place: u64, seed: &Seed) -> Option<Header> {
    Header::decode(bytes.get(usize::try_from(place).ok()?..)?, seed)
}

/// Made under another name, so that a file of the log is whole whenever it is there.
fn create(path: &Path, identity: &[u8; 16]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut content = vec![0; CHUNK as usize];
    content[..TITLE].copy_from_slice(&title(identity));
    let file = File::create(&new)?;
    file.write_all_at(&content, 0)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn title(identity: &[u8; 16]) -> [u8; TITLE] {
    let mut title = [0; TITLE];
    title[..8].copy_from_slice(&MAGIC);
    title[8..24].copy_from_slice(identity);
    let checksum = crc32fast::hash(&title[..24]);
    title[24..].copy_from_slice(&checksum.to_le_bytes());
    title
}

fn disk_failed(doing: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::File { doing, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: [u8; 16] = [7; 16];

    fn group(first: u64, records: &[&[u8]]) -> Group {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
            bytes.extend_from_slice(record);
        }
        Group { first, count: records.len() as u64, bytes }
    }

    fn open(directory: &Path, applied: u64) -> Result<EmbeddedLog, StoreError> {
        EmbeddedLog::open(directory, IDENTITY, applied, &Arc::default())
    }

    #[test]
    fn it_keeps_what_is_not_applied() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two, three) = (group(1, &[b"a", b"bc"]), group(3, &[b"d"]), group(4, &[b"", b"e"]));
        let mut log = open(directory.path(), 0).unwrap();
        log.append(&one, 0).unwrap();
        assert!(log.append_now(&two, 1).unwrap());
        drop(log);
        let mut log = open(directory.path(), 0).unwrap();
        assert_eq!(log.take_tail(0), [one, two.clone()]);
        log.append(&three, 2).unwrap();
        drop(log);
        let groups = open(directory.path(), 2).unwrap().take_tail(2);
        assert_eq!(groups, [two, three]);
        let other = EmbeddedLog::open(directory.path(), [8; 16], 2, &Arc::default());
        assert!(other.is_err_and(|error| error.to_string().contains("another store")));
        let records: Vec<_> = groups.iter().flat_map(|g| g.records().map(|(n, r)| (n, r.to_vec()))).collect();
        assert_eq!(records, [(3, b"d".to_vec()), (4, b"".to_vec()), (5, b"e".to_vec())]);
    }

    #[test]
    fn its_files_are_used_in_turn_and_stay_small() {
        let directory = tempfile::tempdir().unwrap();
        let record = vec![b'x'; 700_000];
        let mut log = open(directory.path(), 0).unwrap();
        for first in 1..=100 {
            // What is trimmed is always a little behind.
            log.append(&group(first, &[&record]), first.saturating_sub(5)).unwrap();
            if first % 7 == 0 {
                drop(log);
                log = open(directory.path(), first.saturating_sub(5)).unwrap();
                let found: Vec<u64> = log.take_tail(first.saturating_sub(5)).iter().map(|g| g.first).collect();
                assert_eq!(found, (first.saturating_sub(4)..=first).collect::<Vec<u64>>());
            }
        }
        for name in NAMES {
            let length = std::fs::metadata(directory.path().join(name)).unwrap().len();
            assert!(length <= ENOUGH + 2 * CHUNK, "{name} has {length} bytes");
        }
        // Nothing is trimmed for a while, and then all.
        for first in 101..=150 {
            log.append(&group(first, &[&record]), 96).unwrap();
        }
        for first in 151..=200 {
            log.append(&group(first, &[&record]), first - 1).unwrap();
        }
        for name in NAMES {
            let length = std::fs::metadata(directory.path().join(name)).unwrap().len();
            assert!(length <= ENOUGH + 2 * CHUNK, "{name} has {length} bytes");
        }
    }

    #[test]
    fn a_frame_that_was_not_flushed_is_none_and_one_that_was_is_missed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAMES[0]);
        let mut log = open(directory.path(), 0).unwrap();
        for first in 1..=3 {
            log.append(&group(first, &[b"some record"]), 0).unwrap();
        }
        let (end, last) = (log.files[0].end, log.files[0].end - ALIGN);
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        let numbers = |log: Result<EmbeddedLog, StoreError>| {
            log.map(|mut log| log.take_tail(0).iter().map(|g| g.first).collect::<Vec<u64>>())
        };
        // Any byte of any frame: it was flushed, as the mark says.
        for place in (BEGIN..end).filter(|place| place % ALIGN < 55) {
            let mut damaged = whole.clone();
            damaged[place as usize] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(open(directory.path(), 0).is_err(), "byte {place} was changed, and nobody noticed");
        }
        // Without the mark, the last one may be one that never was.
        let mut torn = whole.clone();
        torn[last as usize + HEADER_END] ^= 1;
        torn[PAGE as usize * 2..].fill(0);
        std::fs::write(&path, &torn).unwrap();
        assert_eq!(numbers(open(directory.path(), 0)).unwrap(), [1, 2]);
        // It is written again, and counts.
        let mut log = open(directory.path(), 0).unwrap();
        log.append(&group(3, &[b"another"]), 0).unwrap();
        drop(log);
        assert_eq!(numbers(open(directory.path(), 0)).unwrap(), [1, 2, 3]);
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(open(directory.path(), 0).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(open(directory.path(), 0).is_err());
    }

    /// Where the records of a frame begin.
    const HEADER_END: usize = frame::HEADER;
}
