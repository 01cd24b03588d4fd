//! The files of components: each as it was uploaded, and as it was compiled here.
//!
//! A compiled file is executed when it is loaded, so one is used only if it is byte for byte the one that this host
//! wrote. It can be made again from the component at any time.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine::Digest;

use super::Archive;
use super::parts;

const MODE: u32 = 0o644;

/// The directory of components.
#[derive(Clone)]
pub struct Blobs {
    directory: PathBuf,
    archive: Option<Arc<dyn Archive>>,
}

impl Blobs {
    /// Of this directory, which is made if it isn't there. What isn't in it is sought in the archive.
    pub fn open(directory: &Path, archive: Option<Arc<dyn Archive>>) -> io::Result<Blobs> {
        fs::create_dir_all(directory)?;
        parts::sweep(directory)?;
        Ok(Blobs { directory: directory.into(), archive })
    }

    /// Keep a component, durably.
    pub fn save_component(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        parts::put(&self.path(digest, "wasm"), MODE, bytes)?;
        self.archive.as_ref().map_or(Ok(()), |archive| archive.save(digest, bytes))
    }

    /// A component, if it is there and is what its digest says.
    pub fn component(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let path = self.path(digest, "wasm");
        let bytes = match (fs::read(&path), &self.archive) {
            (Err(error), Some(archive)) if error.kind() == io::ErrorKind::NotFound => {
                let bytes = archive.load(digest)?;
                parts::put(&path, MODE, &bytes)?;
                bytes
            }
            (bytes, _) => bytes?,
        };
        if Digest::of(&bytes) != *digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display())));
        }
        Ok(bytes)
    }

    /// Keep what a component was compiled to.
    pub fn save_compiled(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        parts::put(&self.path(digest, "compiled"), MODE, bytes)?;
        parts::put(&self.path(digest, "compiled.sha256"), MODE, Digest::of(bytes).to_string().as_bytes())
    }

    /// The file that a component was compiled to, if it is there as it was written.
    pub fn compiled(&self, digest: &Digest) -> Option<PathBuf> {
        let path = self.path(digest, "compiled");
        let expected = fs::read_to_string(self.path(digest, "compiled.sha256")).ok()?;
        let bytes = fs::read(&path).ok()?;
        (Digest::of(&bytes).to_string() == expected).then_some(path)
    }

    /// All components of which there are files.
    pub fn all(&self) -> io::Result<BTreeSet<Digest>> {
        let digest = |name: &str| Digest::parse(name.split('.').next()?);
        let entries = fs::read_dir(&self.directory)?;
        entries
            .filter_map(|entry| entry.map(|entry| digest(&entry.file_name().to_string_lossy())).transpose())
            .collect()
    }

    /// Remove the files of a component.
    pub fn remove(&self, digest: &Digest) -> io::Result<()> {
        for extension in ["compiled", "compiled.sha256", "wasm"] {
            match fs::remove_file(self.path(digest, extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, digest: &Digest, extension: &str) -> PathBuf {
        self.directory.join(format!("{digest}.{extension}"))
    }
}
