//! Components that are ready to run.

use std::collections::HashMap;

use machine::{Component, Digest};
use parking_lot::Mutex;

use super::Error;
use crate::runtime::{Compiled, Program, Runtime};
use crate::store::Blobs;

/// How many are kept loaded. A loaded one is mapped memory, shared by all its executions.
const LOADED: usize = 256;

pub(super) struct Programs {
    blobs: Blobs,
    runtime: Runtime,
    loaded: Mutex<HashMap<Digest, Program>>,
}

impl Programs {
    pub(super) fn new(blobs: Blobs, runtime: Runtime) -> Programs {
        Programs { blobs, runtime, loaded: Mutex::new(HashMap::new()) }
    }

    /// Compile a component and keep it, durably, so that a record may name it. Takes seconds.
    pub(super) fn add(&self, wasm: &[u8], mount: Option<&str>) -> Result<Component, Error> {
        let Compiled { component, artifact, program: _ } = self.runtime.compile(wasm, mount)?;
        self.blobs.save_component(&component.digest, wasm)?;
        self.blobs.save_compiled(&component.digest, &artifact)?;
        Ok(component)
    }

    /// A component, ready to run. It is compiled again if its compiled file isn't there or is of another version.
    pub(super) fn get(&self, digest: &Digest) -> Result<Program, Error> {
        if let Some(program) = self.loaded.lock().get(digest) {
            return Ok(program.clone());
        }
        let program = match self.load(digest) {
            Some(program) => program,
            None => {
                let compiled = self.runtime.compile(&self.blobs.component(digest)?, None)?;
                self.blobs.save_compiled(digest, &compiled.artifact)?;
                self.load(digest).ok_or_else(|| {
                    std::io::Error::other(format!("component {digest} can't be loaded after it was compiled"))
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

    fn load(&self, digest: &Digest) -> Option<Program> {
        self.runtime.load(&self.blobs.compiled(digest)?).ok()
    }
}
