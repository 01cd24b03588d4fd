//! Files that are whole or not there: written beside their place, then moved there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

const EXTENSION: &str = "part";
/// Whoever writes for longer than this has been killed.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Put a file there, durably. Several may do so at once, in several processes.
pub(super) fn put(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let beside = directory.join(format!("{}.{EXTENSION}", uuid::Uuid::new_v4().simple()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

/// Remove what was left when somebody was killed.
pub(super) fn sweep(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_part = path.extension().is_some_and(|extension| extension == EXTENSION);
        let age = || fs::metadata(&path).and_then(|file| file.modified()).ok()?.elapsed().ok();
        if is_part && age().is_some_and(|age| age > ABANDONED) {
            // Another process may have been faster.
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_long_ago_goes() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        put(&at("whole"), 0o600, b"1").unwrap();
        for (name, age) in [("old.part", 2), ("new.part", 0)] {
            let hours_ago = std::time::SystemTime::now() - ABANDONED * age;
            File::create(at(name)).unwrap().set_modified(hours_ago).unwrap();
        }
        sweep(directory.path()).unwrap();
        assert_eq!(["whole", "old.part", "new.part"].map(|name| at(name).exists()), [true, false, true]);
    }
}
