//! Forgetting what has ended, tree by tree.
//!
//! A tree is needed until all of it is settled, with what it called in other trees; its root was settled long enough ago;
//! and the execution that called the root, if one of another tree did, has ended, or the work of a worker elsewhere that
//! it is a part of. From then on nothing in it can change and nothing waits for it, so it can go in parts: each promise
//! after those below it, the root last. After that its id can be used anew.

use super::{Rejection, Reply, Step};
use crate::foreign::{BRANCH, ORIGIN, PARENT};
use crate::{Id, Old, Promise, State};

/// What there is of a promise that another one could be needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Absent,
    /// It is not settled.
    Pending,
    /// It is settled.
    Settled,
    /// Another partition knows.
    Elsewhere,
}

/// What a root is needed for, if it is. `standing` says what there is of another promise.
pub fn needed_for(
    promise: &Promise,
    now: u64,
    retention_ms: u64,
    mut standing: impl FnMut(&Id) -> Standing,
) -> Option<&'static str> {
    let Some(settled_at) = promise.settled_at else { return Some("it has not ended") };
    if !promise.is_over() {
        return Some("something that it called has not ended");
    }
    if promise.due_at().is_some() {
        return Some("somebody elsewhere has not been told of it");
    }
    if now.saturating_sub(settled_at) < retention_ms {
        return Some("it has not ended long enough ago");
    }
    let root = Id::root(promise.id.origin()).ok().filter(|_| !promise.id.is_root());
    if root.is_some_and(|root| standing(&root) == Standing::Pending) {
        return Some("the tree that it is in has not ended");
    }
    if is_part(promise, now, &mut standing) {
        return Some("what its tags say that it is a part of has not ended");
    }
    let owner = promise.owner.as_ref()?;
    let caller = standing(&owner.execution);
    if matches!(caller, Standing::Absent | Standing::Elsewhere) {
        return None;
    }
    if promise.parent().is_some() {
        return Some("it is a part of the execution that called it, and goes with that");
    }
    (caller == Standing::Pending && !owner.detached).then_some("the execution that called it has not ended")
}

/// Whether the tags of a promise name something that it is a part of and that has not ended: a worker elsewhere that goes on
/// with that asks for its parts again. Where another partition knows, that is taken to be so until its deadline.
fn is_part(promise: &Promise, now: u64, mut standing: impl FnMut(&Id) -> Standing) -> bool {
    let tags = promise.given_tags().into_iter().flat_map(|tags| [ORIGIN, BRANCH, PARENT].map(|tag| tags.get(tag)));
    let mut wholes = tags.flatten().filter_map(|id| Id::parse(id).ok()).filter(|id| *id != promise.id);
    wholes.any(|whole| match standing(&whole) {
        Standing::Pending => true,
        Standing::Elsewhere => promise.timeout_at > now,
        Standing::Absent | Standing::Settled => false,
    })
}

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
            self.expire(id);
            // Clients can put promises into a tree that no parent counts. They are looked at each for itself, and stay
            // for as long as a root would if there is none any more.
            let is_needed = match has_root {
                true => match self.state.promise(id) {
                    Some(promise) if !promise.is_over() || promise.due_at().is_some() => true,
                    Some(promise) if promise.given_tags().is_some() => {
                        let promise = promise.clone();
                        is_part(&promise, self.now, |id| self.standing(id))
                    }
                    _ => false,
                },
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
        let promise = self.state.promise(id)?.clone();
        needed_for(&promise, self.now, retention_ms, |id| self.standing(id))
    }

    fn standing(&mut self, id: &Id) -> Standing {
        let is_elsewhere = self.is_elsewhere(id);
        match self.state.promise(id) {
            Some(promise) if promise.outcome.is_none() => Standing::Pending,
            Some(_) => Standing::Settled,
            None if is_elsewhere => Standing::Elsewhere,
            None => Standing::Absent,
        }
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
