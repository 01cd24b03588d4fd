//! The values of variables, each in a file of its own that only the host's user may read.
//!
//! Everything else that the host keeps and shows has a value's digest in its place. A value is salted before it is
//! digested, so that nobody who sees a digest can find the value by trying.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine::Digest;

use super::Archive;
use super::parts;

const SALT_BYTES: usize = 16;
const MODE: u32 = 0o600;

/// The directory of values.
#[derive(Clone)]
pub struct Vault {
    directory: PathBuf,
    archive: Option<Arc<dyn Archive>>,
}

impl Vault {
    /// Of this directory, which is made if it isn't there. What isn't in it is sought in the archive.
    pub fn open(directory: &Path, archive: Option<Arc<dyn Archive>>) -> io::Result<Vault> {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        parts::sweep(directory)?;
        Ok(Vault { directory: directory.into(), archive })
    }

    /// Keep a value, durably.
    pub fn save(&self, value: &str) -> io::Result<Digest> {
        let salt = uuid::Uuid::new_v4();
        let mut bytes = salt.as_bytes()[..SALT_BYTES].to_vec();
        bytes.extend_from_slice(value.as_bytes());
        let digest = Digest::of(&bytes);
        parts::put(&self.path(&digest), MODE, &bytes)?;
        if let Some(archive) = &self.archive {
            archive.save(&digest, &bytes)?;
        }
        Ok(digest)
    }

    fn read(&self, digest: &Digest, path: &Path) -> io::Result<Vec<u8>> {
        match (fs::read(path), &self.archive) {
            (Err(error), Some(archive)) if error.kind() == io::ErrorKind::NotFound => {
                let bytes = archive.load(digest)?;
                parts::put(path, MODE, &bytes)?;
                Ok(bytes)
            }
            (bytes, _) => bytes,
        }
    }

    /// A value, if it is there and is what its digest says.
    pub fn get(&self, digest: &Digest) -> io::Result<String> {
        let path = self.path(digest);
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{} {what}", path.display()));
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut bytes = self.read(digest, &path).map_err(named)?;
        if Digest::of(&bytes) != *digest || bytes.len() < SALT_BYTES {
            return Err(invalid("is damaged"));
        }
        String::from_utf8(bytes.split_off(SALT_BYTES)).map_err(|_| invalid("is no text"))
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_for_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::open(&directory.path().join("vault"), None).unwrap();
        let (first, second) = (vault.save("hunter2").unwrap(), vault.save("hunter2").unwrap());
        assert_ne!(first, second, "equal values can't be told from their digests");
        assert_eq!(vault.get(&first).unwrap(), "hunter2");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&vault.directory), mode(&vault.path(&first))), (0o700, 0o600));
        fs::write(vault.path(&first), "something else").unwrap();
        assert!(vault.get(&first).unwrap_err().to_string().contains("damaged"));
    }
}
