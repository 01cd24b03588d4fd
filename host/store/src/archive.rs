//! Where else a file is, if a data directory is one of many.

use std::io;

use machine::Digest;

/// Files by digest, kept for all hosts that share them. Both may take a while: call them where blocking is fine.
pub trait Archive: Send + Sync {
    /// Keep a file, durably.
    fn save(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()>;
    /// A file that was kept. [`NotFound`](io::ErrorKind::NotFound): there is none.
    fn load(&self, digest: &Digest) -> io::Result<Vec<u8>>;
}
