//! Which components there are: they are installed, executions are pinned to them, and they go when nothing needs them.

use super::{Rejection, Reply, Step};
use crate::{Component, Digest, State};

/// Whether a component would be accepted. Functions have one namespace: a name belongs to the component that has it now; a
/// newer version of that component can drop it. A component has one name, by which its executions know its functions.
pub fn can_install(state: &impl State, component: &Component) -> Result<(), Rejection> {
    if let Some(known) = state.component(&component.digest)
        && known.name != component.name
    {
        return Err(Rejection::Renamed { known: known.name.clone(), name: component.name.clone() });
    }
    for function in &component.functions {
        if let Some(owner) = state.exporter(&function.name)
            && owner.name != component.name
        {
            return Err(Rejection::FunctionTaken { function: function.name.clone(), owner: owner.name.clone() });
        }
    }
    Ok(())
}

/// Whether a component is called from, or an execution that is kept runs on it: its record replays on nothing else. Where
/// ids are divided between partitions, it may be one of another partition, which calls its own functions here.
pub fn is_needed(state: &impl State, digest: &Digest) -> bool {
    state.partition().is_some() || state.is_current(digest) || state.executions_on(digest) > 0
}

impl<S: State> Step<'_, S> {
    pub(super) fn install(&mut self, mut component: Component) -> Result<Reply, Rejection> {
        self.decides()?;
        can_install(self.state, &component)?;
        component.installed_at = self.now;
        self.put_component(component);
        Ok(Reply::Done)
    }

    pub(super) fn put_component(&mut self, component: Component) {
        if self.is_installed(&component) {
            return;
        }
        self.changed = true;
        self.spread_component(&component);
        self.state.install(component);
    }

    /// Whether all that a component exports is called from it already. One without functions never is.
    fn is_installed(&self, component: &Component) -> bool {
        let Some(known) = self.state.component(&component.digest) else { return false };
        let exported = |name: &str| self.state.exporter(name).is_some_and(|c| c.digest == component.digest);
        known.name == component.name
            && known.version == component.version
            && known.functions == component.functions
            && !component.functions.is_empty()
            && component.functions.iter().all(|function| exported(&function.name))
    }

    /// Where a function called from a component runs: its own functions are those that it was compiled with, all others
    /// are the current ones.
    pub(super) fn component_for(&self, function: &str, caller: Option<&Digest>) -> Option<Digest> {
        if let Some(digest) = caller
            && self.state.component(digest).is_some_and(|component| component.exports(function))
        {
            return Some(*digest);
        }
        self.state.exporter(function).map(|component| component.digest)
    }

    pub(super) fn uninstall(&mut self, digests: &[Digest]) -> Result<Reply, Rejection> {
        for digest in digests {
            if self.state.component(digest).is_some() && !is_needed(self.state, digest) {
                self.state.uninstall(digest);
                self.changed = true;
            }
        }
        Ok(Reply::Done)
    }

    /// There is one more execution on a component.
    pub(super) fn pin(&mut self, component: &Digest) {
        let count = self.state.executions_on(component);
        self.state.count_executions_on(component, count + 1);
    }

    /// There is one less.
    pub(super) fn unpin(&mut self, component: &Digest) {
        let count = self.state.executions_on(component);
        self.state.count_executions_on(component, count.saturating_sub(1));
    }
}
