//! How rows look on disk: `format (1 byte) | CRC-32 of the rest (4 bytes, little endian) | postcard`.
//!
//! redb checks its own pages only when it repairs a file, so every row carries a checksum of its own: what was damaged
//! at rest is found when it is read, and named.

use machine::Entry;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format of rows, journals and log records. A file of every older format is kept under `tests/formats`.
pub const FORMAT: u8 = 1;
const HEADER: usize = 5;

/// Why bytes are no row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// Fewer bytes than a header has.
    #[error("it is cut short")]
    Short,
    /// Written by a newer version of this program.
    #[error("it has the format {0}, and this version of the host reads formats up to {FORMAT}")]
    Newer(u8),
    /// Changed at rest.
    #[error("its checksum doesn't match its content")]
    Checksum,
    /// The checksum is right and the content is not.
    #[error("its content can't be decoded: {0}")]
    Content(String),
}

/// Put the header before a content.
pub fn seal(content: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(HEADER + content.len());
    row.push(FORMAT);
    row.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
    row.extend_from_slice(content);
    row
}

/// The content after a header, checked.
pub fn unseal(row: &[u8]) -> Result<&[u8], Corrupt> {
    let (header, content) = row.split_at_checked(HEADER).ok_or(Corrupt::Short)?;
    if header[0] != FORMAT {
        return Err(Corrupt::Newer(header[0]));
    }
    if header[1..] != crc32fast::hash(content).to_le_bytes() {
        return Err(Corrupt::Checksum);
    }
    Ok(content)
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut row = vec![0; HEADER];
    row = postcard::to_extend(value, row).expect("our own types always encode");
    row[0] = FORMAT;
    let checksum = crc32fast::hash(&row[HEADER..]);
    row[1..HEADER].copy_from_slice(&checksum.to_le_bytes());
    row
}

pub(super) fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, Corrupt> {
    postcard::from_bytes(unseal(row)?).map_err(|error| Corrupt::Content(error.to_string()))
}

/// Add an item to a run of items without headers.
pub(super) fn push(run: &mut Vec<u8>, item: &impl Serialize) {
    *run = postcard::to_extend(item, std::mem::take(run)).expect("our own types always encode");
}

/// The items of a run.
pub(super) fn items<T: DeserializeOwned>(mut run: &[u8]) -> Result<Vec<T>, Corrupt> {
    let mut items = Vec::new();
    while !run.is_empty() {
        let (item, rest) = postcard::take_from_bytes(run).map_err(|error| Corrupt::Content(error.to_string()))?;
        items.push(item);
        run = rest;
    }
    Ok(items)
}

/// The entries of a run.
pub fn decode_entries(run: &[u8]) -> Result<Vec<Entry>, Corrupt> {
    items(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_row_is_found() {
        let row = encode(&("some", 7u64));
        assert_eq!(decode::<(String, u64)>(&row), Ok(("some".into(), 7)));
        for index in 1..row.len() {
            let mut changed = row.clone();
            changed[index] ^= 1;
            assert_eq!(decode::<(String, u64)>(&changed), Err(Corrupt::Checksum), "byte {index}");
        }
        assert_eq!(decode::<(String, u64)>(&row[..3]), Err(Corrupt::Short));
        let mut newer = row;
        newer[0] = 9;
        assert_eq!(decode::<(String, u64)>(&newer), Err(Corrupt::Newer(9)));
    }
}
