//! A file in memory, for a simulation: redb works on it as on one on a disk. Copies of it share what is the same in them.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

/// What copies share, or not.
const PAGE: usize = 4096;

type Page = [u8; PAGE];

/// A file. Clones are the same file; for another one, see [`MemoryFile::copy`].
#[derive(Clone, Debug, Default)]
pub struct MemoryFile(Arc<Mutex<Content>>);

#[derive(Clone, Debug, Default)]
struct Content {
    /// None: zeros.
    pages: Vec<Option<Arc<Page>>>,
    length: u64,
    /// After how many more changes it fails, for good.
    fails_in: Option<u64>,
}

impl MemoryFile {
    /// Another file with the same in it, on a disk that doesn't fail.
    pub fn copy(&self) -> MemoryFile {
        MemoryFile(Arc::new(Mutex::new(Content { fails_in: None, ..self.0.lock().clone() })))
    }

    /// So many more changes can be made to it, and then nothing more, and nothing can be read.
    pub fn fail_after(&self, changes: u64) {
        self.0.lock().fails_in = Some(changes);
    }
}

impl Content {
    /// The pages of a range, with where the range begins and ends in each, and in the range.
    fn parts(
        offset: u64,
        length: usize,
    ) -> impl Iterator<Item = (usize, std::ops::Range<usize>, std::ops::Range<usize>)> {
        let (begin, end) = (offset as usize, offset as usize + length);
        (begin / PAGE..end.div_ceil(PAGE)).map(move |page| {
            let (low, high) = (begin.max(page * PAGE), end.min((page + 1) * PAGE));
            (page, low - page * PAGE..high - page * PAGE, low - begin..high - begin)
        })
    }

    /// A change is to be made.
    fn change(&mut self) -> io::Result<()> {
        self.works()?;
        self.fails_in = self.fails_in.map(|left| left - 1);
        Ok(())
    }

    fn works(&self) -> io::Result<()> {
        match self.fails_in {
            Some(0) => Err(io::Error::other("the disk fails")),
            _ => Ok(()),
        }
    }

    fn has(&self, offset: u64, length: usize) -> io::Result<()> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl StorageBackend for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.0.lock();
        content.works()?;
        content.has(offset, out.len())?;
        for (page, of_page, of_range) in Content::parts(offset, out.len()) {
            match &content.pages[page] {
                Some(page) => out[of_range].copy_from_slice(&page[of_page]),
                None => out[of_range].fill(0),
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut content = self.0.lock();
        content.change()?;
        content.pages.resize((length as usize).div_ceil(PAGE), None);
        content.length = length;
        // What is cut off is zero if it is there again.
        let rest = length as usize % PAGE;
        if rest > 0
            && let Some(Some(page)) = content.pages.last_mut()
        {
            Arc::make_mut(page)[rest..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().change()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut content = self.0.lock();
        content.change()?;
        content.has(offset, data.len())?;
        for (page, of_page, of_range) in Content::parts(offset, data.len()) {
            let page = content.pages[page].get_or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[of_page].copy_from_slice(&data[of_range]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &MemoryFile, offset: u64, length: usize) -> Vec<u8> {
        let mut out = vec![1; length];
        file.read(offset, &mut out).expect("it is within the file");
        out
    }

    #[test]
    fn a_file_has_what_was_written_and_its_copies_what_was_written_before() {
        let file = MemoryFile::default();
        file.set_len(3 * PAGE as u64).unwrap();
        let across = PAGE as u64 - 2;
        file.write(across, b"abcd").unwrap();
        let copy = file.copy();
        file.write(across + 1, b"xy").unwrap();
        assert_eq!(read(&file, across - 1, 6), b"\0axyd\0");
        assert_eq!(read(&copy, across - 1, 6), b"\0abcd\0");
        copy.set_len(across + 1).unwrap();
        copy.set_len(2 * PAGE as u64).unwrap();
        assert_eq!(read(&copy, across - 1, 6), b"\0a\0\0\0\0");
        assert!(copy.read(2 * PAGE as u64 - 1, &mut [0; 2]).is_err());
        assert!(copy.write(2 * PAGE as u64 - 1, &[0; 2]).is_err());
    }

    #[test]
    fn a_disk_fails_for_good_and_a_copy_is_on_another() {
        let file = MemoryFile::default();
        file.set_len(PAGE as u64).unwrap();
        file.fail_after(2);
        file.write(0, b"a").unwrap();
        file.sync_data().unwrap();
        assert!(file.write(0, b"b").is_err() && file.sync_data().is_err() && file.read(0, &mut [0]).is_err());
        let copy = file.copy();
        copy.sync_data().unwrap();
        assert_eq!(read(&copy, 0, 2), b"a\0");
    }
}
