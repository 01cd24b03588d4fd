//! Why the store can't be used.

use std::path::PathBuf;

use super::encoding::Corrupt;

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
    /// What was to be written belongs to somebody else now.
    #[error("{0}")]
    Lost(String),
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

pub(super) fn failed<E: Into<redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Redb { doing, error: Box::new(error.into()) }
}
