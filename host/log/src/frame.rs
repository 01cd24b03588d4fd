//! How a group of records looks in a file of the log: `header | records`, at a multiple of 64 bytes.
//!
//! A header without records is a *mark*: it says that all records before its number are durable.

use super::Group;
use host_store::{Corrupt, FORMAT};

/// Frames begin at multiples of this.
pub(super) const ALIGN: u64 = 64;
pub(super) const HEADER: usize = 40;
const MAGIC: [u8; 4] = *b"DLfr";

/// What stands before the records of a group:
/// `magic (4 bytes) | checksum of all that follows but the format (4) | number of the first record (8) | how many there
/// are (8) | their bytes (8) | their checksum (4) | format (4)`, all little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) length: u64,
    checksum: u32,
    format: u32,
}

/// What the checksums of one log begin from, so that frames of another one are none.
#[derive(Clone)]
pub(super) struct Seed(crc32fast::Hasher);

impl Seed {
    pub(super) fn new(identity: &[u8; 16]) -> Seed {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(identity);
        Seed(hasher)
    }

    fn checksum(&self, bytes: &[u8]) -> u32 {
        let mut hasher = self.0.clone();
        hasher.update(bytes);
        hasher.finalize()
    }
}

impl Header {
    fn of(group: &Group, seed: &Seed) -> Header {
        Header {
            first: group.first,
            count: group.count,
            length: group.bytes.len() as u64,
            checksum: seed.checksum(&group.bytes),
            format: u32::from(FORMAT),
        }
    }

    fn encode(&self, seed: &Seed) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.count.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.length.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[36..].copy_from_slice(&self.format.to_le_bytes());
        let checksum = seed.checksum(&bytes[8..36]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The header that these bytes begin with, if they do.
    pub(super) fn decode(bytes: &[u8], seed: &Seed) -> Option<Header> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[..4] != MAGIC || u32_at(4) != seed.checksum(&bytes[8..36]) {
            return None;
        }
        let (first, count, length) = (u64_at(8), u64_at(16), u64_at(24));
        Some(Header { first, count, length, checksum: u32_at(32), format: u32_at(36) })
    }

    /// The records, if they are those that were written.
    pub(super) fn records<'a>(&self, bytes: &'a [u8], seed: &Seed) -> Option<&'a [u8]> {
        let records = bytes.get(HEADER..)?.get(..usize::try_from(self.length).ok()?)?;
        (seed.checksum(records) == self.checksum).then_some(records)
    }

    /// Whether this version of the host can read the records.
    pub(super) fn check_format(&self) -> Result<(), Corrupt> {
        let format = u8::try_from(self.format).unwrap_or(u8::MAX);
        if format == FORMAT { Ok(()) } else { Err(Corrupt::Newer(format)) }
    }

    /// From the beginning of this frame to that of the next.
    pub(super) fn stride(&self) -> u64 {
        (HEADER as u64 + self.length).next_multiple_of(ALIGN)
    }
}

/// A group as a frame.
pub(super) fn encode(group: &Group, seed: &Seed, frame: &mut Vec<u8>) {
    frame.clear();
    frame.extend_from_slice(&Header::of(group, seed).encode(seed));
    frame.extend_from_slice(&group.bytes);
}

/// That all records before this number are durable.
pub(super) fn mark(next: u64, seed: &Seed) -> [u8; HEADER] {
    Header::of(&Group { first: next, ..Group::default() }, seed).encode(seed)
}
