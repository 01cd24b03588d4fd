//! What executions are configured with, and what becomes of those that use more than they may.

use super::{Rejection, Reply, Step};
use crate::{Bounds, Config, Digest, Id, Limit, Pinned, Reach, Scope, State, allowed};

impl<S: State> Step<'_, S> {
    pub(super) fn configure(&mut self, scope: Scope, config: Config) -> Result<Reply, Rejection> {
        config.check().map_err(Rejection::Config)?;
        if scope != Scope::Host {
            self.decides()?;
        }
        self.put_config(scope, config);
        Ok(Reply::Done)
    }

    pub(super) fn put_config(&mut self, scope: Scope, config: Config) {
        let latest = self.state.revision(&scope);
        if self.state.config(&scope, latest).map_or(config.is_empty(), |now| *now == config) {
            return;
        }
        self.changed = true;
        self.spread_config(&scope, &config);
        self.state.configure(scope, latest + 1, config);
    }

    /// What an execution that starts now is configured with.
    pub(super) fn configuration(&self, component: &Digest, function: &str) -> (Pinned, Bounds) {
        let component = self.component_name(component);
        let pinned = Pinned::latest(self.state, component, function);
        let scopes = scopes(pinned, component, function);
        let configs = scopes.iter().filter_map(|(revision, scope)| self.state.config(scope, *revision));
        (pinned, Bounds::of(configs))
    }

    /// How far an execution's request may reach, or why it is refused.
    pub(super) fn reach(&mut self, id: &Id, url: &str) -> Result<Reach, String> {
        let ended = || "the execution has ended".to_owned();
        let promise = self.state.promise(id).ok_or_else(ended)?;
        let function = promise.function().unwrap_or_default().to_owned();
        let (pinned, digest) = promise.execution.as_ref().map(|e| (e.config, e.component)).ok_or_else(ended)?;
        let config = configured(self.state, pinned, self.component_name(&digest), &function);
        allowed(&config.egress, url).map_err(|host| {
            format!(
                "the function {function:?} may not send requests to {host:?}; `host config set {function} --allow HOST` \
                 allows it, for executions that start from then on"
            )
        })
    }

    /// The limit that an execution has passed, if it has: for its author.
    pub(super) fn passed_limit(&mut self, id: &Id) -> Option<String> {
        let promise = self.state.promise(id).filter(|promise| promise.outcome.is_none())?;
        let execution = promise.execution.as_ref()?;
        let Bounds { entries, bytes, children } = execution.bounds;
        let (passed, revision) = (
            (execution.entries > entries, execution.journal_bytes > bytes, execution.children > children),
            execution.config.host,
        );
        if passed == (false, false, false) {
            return None;
        }
        let function = promise.function().unwrap_or_default().to_owned();
        let host = Bounds::of(self.state.config(&Scope::Host, revision).into_iter());
        let (what, limit, is_own) = match passed {
            (true, ..) => {
                (format!("its journal has more than {entries} entries"), Limit::JournalEntries, entries < host.entries)
            }
            (_, true, _) => {
                (format!("its journal has more than {bytes} bytes"), Limit::JournalBytes, bytes < host.bytes)
            }
            _ => {
                let what = format!("more than {children} executions that it called are under way at once");
                (what, Limit::Children, children < host.children)
            }
        };
        Some(format!("{what}; {}\n  in the function {function:?}", limit.advice(is_own, &function)))
    }

    fn component_name(&self, digest: &Digest) -> &str {
        self.state.component(digest).map_or("", |component| component.name.as_str())
    }
}

/// The configuration of an execution: that of all its scopes together.
pub fn configured<S: State + ?Sized>(state: &S, pinned: Pinned, component: &str, function: &str) -> Config {
    let scopes = scopes(pinned, component, function);
    let configs = scopes.iter().filter_map(|(revision, scope)| state.config(scope, *revision));
    configs.fold(Config::default(), Config::under)
}

/// The nearest last.
fn scopes(pinned: Pinned, component: &str, function: &str) -> [(u32, Scope); 3] {
    [
        (pinned.host, Scope::Host),
        (pinned.component, Scope::Component(component.into())),
        (pinned.function, Scope::Function(function.into())),
    ]
}
