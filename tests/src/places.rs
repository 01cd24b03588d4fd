//! Where things are: the host's binary, the guests, and room for data directories.

use std::path::{Path, PathBuf};

/// All guests that every host of a test begins with. `clash` is not among them: it doesn't go with `misbehave`.
pub const GUESTS: [&str; 10] =
    ["approval", "countdown", "fibonacci", "panics", "pipeline", "primes", "transfer", "misbehave", "bare", "web"];

/// The binary under test.
pub fn host_binary() -> PathBuf {
    let path = match std::env::var_os("TEST_HOST") {
        Some(path) => path.into(),
        None => target().join("release").join("host"),
    };
    assert!(
        path.is_file(),
        "there is no host at {}: `make host` builds it (cargo build --release -p host), or set TEST_HOST",
        path.display()
    );
    path
}

/// The bytes of a guest, by the name of its package.
pub fn guest(name: &str) -> Vec<u8> {
    let path = guest_path(name);
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "there is no guest at {}: {error}\n`make guests` builds it (cargo build --profile guest --target \
             wasm32-wasip2 -p {name}), or set TEST_GUESTS",
            path.display()
        )
    })
}

/// The component `editions` in one of its editions: `one`, `two` or `fix`. Each has a digest of its own.
pub fn edition(name: &str) -> Vec<u8> {
    let (old, new) = (b"edition one", format!("edition {name}"));
    let mut wasm = guest("editions");
    let mut places = wasm.windows(old.len()).enumerate().filter(|(_, bytes)| bytes == old).map(|(place, _)| place);
    let place = places.next().expect("the text is in the component");
    assert_eq!(places.next(), None, "the text is in the component once");
    wasm[place..place + new.len()].copy_from_slice(new.as_bytes());
    wasm
}

/// Where a guest is, or would be.
pub fn guest_path(name: &str) -> PathBuf {
    let directory = match std::env::var_os("TEST_GUESTS") {
        Some(path) => path.into(),
        None => target().join("wasm32-wasip2").join("guest"),
    };
    directory.join(format!("{name}.wasm"))
}

/// Where temporary directories are made: beside what was built, on the same disk.
pub fn scratch() -> PathBuf {
    let path = target().join("tmp").join("hosts");
    std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{} can't be made: {error}", path.display()));
    path
}

/// Cargo's target directory: a test runs as `<target>/<profile>/deps/<test>`, however that directory was chosen.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its own binary");
    test.ancestors().nth(3).map(Path::to_path_buf).expect("a test runs in a target directory")
}
