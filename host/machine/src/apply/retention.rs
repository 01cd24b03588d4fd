//! Forgetting what has ended, tree by tree.
//!
//! A tree is needed until all of it is settled, with what it called in other trees; its root was settled long enough ago;
//! and the execution that called the root, if one of another tree did, has ended. From then on nothing in it can change and nothing waits for it, so it can
//! go in parts: each promise after those below it, the root last. After that its id can be used anew.

use super::{Rejection, Reply, Step};
use crate::{Id, Old, State};

impl<S: State> Step<'_, S> {
    /// It is rejected if there is nothing that could go, with the reason of the first tree.
    pub(super) fn forget(&mut self, trees: &[Old]) -> Result<Reply, Rejection> {
        let (mut count, mut rejection) = (0, None);
        for Old { root, ids, retention_ms } in trees {
            self.expire(root);
            match self.need(root, *retention_ms) {
                Some(why) => drop(rejection.get_or_insert(Rejection::Needed { id: root.clone(), why })),
                None => count += self.forget_part(root, ids, *retention_ms),
            }
        }
        rejection.filter(|_| count == 0).map_or(Ok(Reply::Forgotten { count }), Err)
    }

    fn forget_part(&mut self, root: &Id, ids: &[Id], retention_ms: u64) -> usize {
        let has_root = self.state.promise(root).is_some();
        let mut count = 0;
        for id in ids.iter().filter(|id| id.origin() == root.origin()) {
            // Clients can put promises into a tree that no parent counts. They are looked at each for itself, and stay
            // for as long as a root would if there is none any more.
            let is_needed = match has_root {
                true => self.state.promise(id).is_some_and(|p| !p.is_over() || p.due_at().is_some()),
                false => self.need(id, retention_ms).is_some(),
            };
            if !is_needed && self.is_lowest(id) {
                self.remove(id);
                count += 1;
            }
        }
        count
    }

    /// What a root is needed for. One that isn't there isn't needed.
    fn need(&mut self, id: &Id, retention_ms: u64) -> Option<&'static str> {
        let promise = self.state.promise(id)?;
        let Some(settled_at) = promise.settled_at else { return Some("it has not ended") };
        if !promise.is_over() {
            return Some("something that it called has not ended");
        }
        if promise.due_at().is_some() {
            return Some("somebody elsewhere has not been told of it");
        }
        if self.now.saturating_sub(settled_at) < retention_ms {
            return Some("it has not ended long enough ago");
        }
        let root = Id::root(id.origin()).ok().filter(|_| !id.is_root());
        if root.and_then(|root| self.state.promise(&root)).is_some_and(|root| root.outcome.is_none()) {
            return Some("the tree that it is in has not ended");
        }
        let promise = self.state.promise(id)?;
        let (is_part, owner) = (promise.parent().is_some(), promise.owner.clone()?);
        let caller = self.state.promise(&owner.execution)?;
        if is_part {
            return Some("it is a part of the execution that called it, and goes with that");
        }
        let is_pending = caller.outcome.is_none() && !owner.detached;
        is_pending.then_some("the execution that called it has not ended")
    }

    /// Whether it is there, and nothing below it is.
    fn is_lowest(&mut self, id: &Id) -> bool {
        let promise = self.state.promise(id);
        promise.is_some_and(|promise| promise.execution.as_ref().is_none_or(|execution| execution.below == 0))
    }

    fn remove(&mut self, id: &Id) {
        let parent = self.state.promise(id).and_then(|promise| promise.parent().cloned());
        if let Some(execution) = parent.and_then(|parent| self.state.promise_mut(&parent)?.execution.as_mut()) {
            execution.below = execution.below.saturating_sub(1);
        }
        let ran_on = self.state.promise(id).and_then(|promise| Some(promise.execution.as_ref()?.component));
        if let Some(component) = ran_on {
            self.unpin(&component);
        }
        self.state.remove(id);
        self.changed = true;
    }
}
