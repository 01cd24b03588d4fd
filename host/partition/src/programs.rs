//! Components that are ready to run.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use machine::{Component, Digest};
use parking_lot::Mutex;

use super::Error;
use host_runtime::{Compiled, Program, Runtime};
use host_store::Blobs;

/// How many are kept loaded. A loaded one is mapped memory, shared by all its executions.
const LOADED: usize = 256;

/// Components by digest, in memory over a directory.
pub struct Programs {
    blobs: Blobs,
    runtime: Runtime,
    loaded: Mutex<HashMap<Digest, Program>>,
    /// Held while one is loaded: it isn't compiled twice.
    loading: Mutex<()>,
    /// What was checked last and isn't kept: a cluster asks each of its partitions about the same one.
    candidate: Mutex<Option<Candidate>>,
    /// How often each of those is being uploaded of which no record has been made yet: their files stay.
    uploads: Arc<Mutex<HashMap<Digest, u32>>>,
}

/// A component that was compiled, and not kept.
#[derive(Clone)]
pub(super) struct Candidate {
    wasm: Digest,
    mount: Option<String>,
    pub(super) component: Component,
    pub(super) program: Program,
}

/// A component that is being uploaded.
pub(super) struct Upload {
    uploads: Arc<Mutex<HashMap<Digest, u32>>>,
    digest: Digest,
}

impl Programs {
    /// Of these files.
    pub fn new(blobs: Blobs, runtime: Runtime) -> Programs {
        let (loaded, loading, candidate, uploads) = Default::default();
        Programs { blobs, runtime, loaded, loading, candidate, uploads }
    }

    /// What they run in.
    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A component is being uploaded, until what this gives is dropped.
    pub(super) fn upload(&self, digest: Digest) -> Upload {
        *self.uploads.lock().entry(digest).or_insert(0) += 1;
        Upload { uploads: self.uploads.clone(), digest }
    }

    /// Remove the files of components that are not known and not being uploaded: those whose they were.
    pub(super) fn sweep(&self, is_known: impl Fn(&Digest) -> bool) -> io::Result<Vec<Digest>> {
        let uploads = self.uploads.lock();
        let mut removed = Vec::new();
        for digest in self.blobs.all()? {
            if !uploads.contains_key(&digest) && !is_known(&digest) {
                self.blobs.remove(&digest)?;
                self.loaded.lock().remove(&digest);
                removed.push(digest);
            }
        }
        Ok(removed)
    }

    /// Compile a component and keep it, durably, so that a record may name it. Takes seconds.
    pub(super) fn add(&self, wasm: &[u8], mount: Option<&str>) -> Result<Component, Error> {
        let Compiled { component, artifact, program: _ } = self.runtime.compile(wasm, mount)?;
        self.blobs.save_component(&component.digest, wasm)?;
        self.blobs.save_compiled(&component.digest, &artifact)?;
        Ok(component)
    }

    /// Compile a component without keeping it.
    pub(super) fn candidate(&self, wasm: &[u8], mount: Option<&str>) -> Result<Candidate, Error> {
        let digest = Digest::of(wasm);
        // Whoever asks about the same one meanwhile waits for it.
        let mut last = self.candidate.lock();
        if let Some(known) = last.as_ref().filter(|known| known.wasm == digest && known.mount.as_deref() == mount) {
            return Ok(known.clone());
        }
        let Compiled { component, program, .. } = self.runtime.compile(wasm, mount)?;
        let mount = mount.map(str::to_owned);
        Ok(last.insert(Candidate { wasm: digest, mount, component, program }).clone())
    }

    /// A component, ready to run. It is compiled again if its compiled file isn't there or is of another version.
    pub(super) fn get(&self, digest: &Digest) -> Result<Program, Error> {
        if let Some(program) = self.known(digest) {
            return Ok(program);
        }
        let _loading = self.loading.lock();
        if let Some(program) = self.known(digest) {
            return Ok(program);
        }
        let program = match self.load(digest) {
            Some(program) => program,
            None => {
                let compiled = self.runtime.compile(&self.blobs.component(digest)?, None)?;
                self.blobs.save_compiled(digest, &compiled.artifact)?;
                self.load(digest).ok_or_else(|| {
                    io::Error::other(format!("component {digest} can't be loaded after it was compiled"))
                })?
            }
        };
        let mut loaded = self.loaded.lock();
        if loaded.len() >= LOADED {
            let some = *loaded.keys().next().expect("it is full");
            loaded.remove(&some);
        }
        loaded.insert(*digest, program.clone());
        Ok(program)
    }

    /// The file of a component, as it was uploaded.
    pub(super) fn wasm(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        Ok(self.blobs.component(digest)?)
    }

    /// Whether it is in memory.
    pub(super) fn is_loaded(&self, digest: &Digest) -> bool {
        self.loaded.lock().contains_key(digest)
    }

    fn known(&self, digest: &Digest) -> Option<Program> {
        self.loaded.lock().get(digest).cloned()
    }

    fn load(&self, digest: &Digest) -> Option<Program> {
        self.runtime.load(&self.blobs.compiled(digest)?).ok()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut uploads = self.uploads.lock();
        if let Some(count) = uploads.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                uploads.remove(&self.digest);
            }
        }
    }
}
