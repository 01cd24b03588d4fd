//! The files of components: each as it was uploaded, and as it was compiled here.
//!
//! A compiled file is executed when it is loaded, so one is used only if it is byte for byte the one that this host
//! wrote. It can be made again from the component at any time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use machine::Digest;

/// The directory of components.
#[derive(Clone, Debug)]
pub struct Blobs {
    directory: PathBuf,
}

impl Blobs {
    /// Of this directory, which is made if it isn't there.
    pub fn open(directory: &Path) -> io::Result<Blobs> {
        fs::create_dir_all(directory)?;
        Ok(Blobs { directory: directory.into() })
    }

    /// Keep a component, durably.
    pub fn save_component(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        self.write(&self.path(digest, "wasm"), bytes)
    }

    /// A component, if it is there and is what its digest says.
    pub fn component(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let path = self.path(digest, "wasm");
        let bytes = fs::read(&path)?;
        if Digest::of(&bytes) != *digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display())));
        }
        Ok(bytes)
    }

    /// Keep what a component was compiled to.
    pub fn save_compiled(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        self.write(&self.path(digest, "compiled"), bytes)?;
        self.write(&self.path(digest, "compiled.sha256"), Digest::of(bytes).to_string().as_bytes())
    }

    /// The file that a component was compiled to, if it is there as it was written.
    pub fn compiled(&self, digest: &Digest) -> Option<PathBuf> {
        let path = self.path(digest, "compiled");
        let expected = fs::read_to_string(self.path(digest, "compiled.sha256")).ok()?;
        let bytes = fs::read(&path).ok()?;
        (Digest::of(&bytes).to_string() == expected).then_some(path)
    }

    fn path(&self, digest: &Digest, extension: &str) -> PathBuf {
        self.directory.join(format!("{digest}.{extension}"))
    }

    /// Whole or not at all: written beside its place, then moved there.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let beside = path.with_extension(format!("{}.part", path.extension().unwrap_or_default().to_string_lossy()));
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(&self.directory)?.sync_all()
    }
}
