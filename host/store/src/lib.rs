//! What people query and guests replay from: promises, journals, outputs and deadlines, in redb.
//!
//! The store is a materialised copy. It is always whole up to one position of the log and says which, so that recovery
//! applies the rest of the log to it. [`View`] is the state that the machine works on: the store's rows, with all that
//! is newer in memory. Nothing here decides anything about promises, and nothing here waits for the log.

#[cfg(test)]
mod against;
mod archive;
mod blobs;
mod compact;
mod cut;
mod deadlines;
mod disk;
mod divide;
mod encoding;
mod error;
mod file;
#[cfg(test)]
mod formats;
mod memory;
mod outbox;
mod parts;
mod reader;
mod schedules;
mod tables;
mod vault;
mod view;

pub use archive::Archive;
pub use blobs::Blobs;
pub use compact::Copied;
pub use cut::{Cut, Gone, MailCut, Row, Saved};
pub use disk::Disk;
pub use disk::is_full;
pub use divide::{DivideError, divide};
pub use encoding::FORMAT;
pub use encoding::{Corrupt, decode_entries, seal, unseal};
pub use error::StoreError;
pub use file::Store;
pub use memory::MemoryFile;
pub use reader::{Page, Reader};
pub use vault::Vault;
pub use view::{JournalTail, View};
