//! What workers and clients elsewhere are told. A message leaves only once all that it rests on is durable, and can be
//! lost: the rows know what is still to be told, and it is sent again.

use std::sync::Arc;

use machine::{Id, Op, Promise, TaskState};

use super::Partition;

/// Something that is to be delivered.
#[derive(Clone, Debug)]
pub enum Message {
    /// A task can be taken. Whoever does so says that it has arrived.
    Execute {
        /// The task.
        id: Id,
        /// At which version.
        version: u32,
        /// Where its workers are.
        address: String,
    },
    /// A promise was settled. [`Partition::delivered`] says that it has arrived.
    Unblock {
        /// As it was settled.
        promise: Arc<Promise>,
        /// Where to.
        address: String,
    },
}

/// Whoever delivers. It is called with what may be known outside, and must not wait.
pub trait Courier: Send + Sync {
    /// Deliver, if that can be done now or soon.
    fn send(&self, message: Message);
    /// Forget what wasn't delivered: there is nothing any more that it is about.
    fn forget(&self);
}

impl Partition {
    /// Whether a task can be taken at a version.
    pub fn is_offered(&self, id: &Id, version: u32) -> bool {
        let promise = self.shared.lock().view.get(id);
        let task = promise.as_ref().and_then(|promise| promise.claim()).map(|claim| &claim.task);
        task.is_some_and(|task| task.state == TaskState::Runnable && task.version == version)
    }

    /// Whether an address is to be told of a settled promise.
    pub fn is_untold(&self, id: &Id, address: &str) -> bool {
        let promise = self.shared.lock().view.get(id);
        let untold = promise.as_ref().and_then(|promise| promise.foreign.as_ref()?.untold.as_ref());
        untold.is_some_and(|untold| untold.addresses.contains(address))
    }

    /// An address was told of a settled promise: it needn't be told again.
    pub fn delivered(&self, id: Id, address: String) {
        let mut inner = self.shared.lock();
        // A host that can't record it tells the address again.
        if !inner.stopping && !inner.is_over() {
            let _ = inner.apply(Op::Told { id, address });
        }
    }
}
