//! What people query and guests replay from: promises, journals, outputs and deadlines, in redb.
//!
//! The store is a materialised copy. It is always whole up to one position of the log and says which, so that recovery
//! applies the rest of the log to it. [`View`] is the state that the machine works on: the store's rows, with all that
//! is newer in memory. Nothing here decides anything about promises, and nothing here waits for the log.

#[cfg(test)]
mod against;
mod blobs;
mod deadlines;
mod disk;
mod encoding;
#[cfg(test)]
mod formats;
mod schedules;
mod tables;
mod vault;
mod view;

pub use blobs::Blobs;
pub use disk::Disk;
pub(crate) use disk::is_full;
pub(crate) use encoding::FORMAT;
pub use encoding::{Corrupt, decode_entries, seal, unseal};
pub use tables::{Cut, Gone, Page, Reader, Row, Saved, Store, StoreError};
pub use vault::Vault;
pub use view::{JournalTail, View};
