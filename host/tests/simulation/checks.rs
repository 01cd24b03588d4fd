//! How it has to end.

use std::collections::BTreeMap;

use machine::{Id, Outcome, Promise, PromiseKind};

use super::world::World;

impl World {
    pub(super) fn is_over(&self) -> bool {
        let all_are_answered = self.clients.iter().all(|client| client.done == client.asks.len());
        all_are_answered && self.protocol.untold().is_none() && self.database.pending().is_empty()
    }

    /// There is an order that explains what clients were told. All of them have their answers, all that was begun has ended, and as it does where nothing goes wrong.
    pub(super) fn check_end(&mut self) {
        if let Some(what) = self.protocol.contradiction() {
            return self.violated(what);
        }
        if let Some(client) = self.clients.iter().find(|client| client.done < client.asks.len()) {
            let what = client.asks[client.done].id().clone();
            return self.violated(format!("somebody who asked about {what} has no answer"));
        }
        let pending = self.database.pending();
        if !pending.is_empty() {
            return self.violated(format!("{pending:?} didn't end"));
        }
        if let Some(id) = self.protocol.untold() {
            let truth = self.database.rows[super::guests::place(id)].truth.promises.get(id);
            return self.violated(format!("somebody who listens for {id} wasn't told: {truth:?}"));
        }
        let expected = super::undisturbed::outcomes(self.seed, &self.names, &self.cast);
        let truth = self.database.rows.iter().flat_map(|row| row.truth.promises.values());
        let is_own = |promise: &&Promise| {
            !matches!(promise.kind, PromiseKind::Remote { .. }) && !self.protocol.promises.contains(&promise.id)
        };
        let own = truth.filter(is_own);
        let outcomes: BTreeMap<Id, Option<Outcome>> = own.map(|p| (p.id.clone(), p.outcome.clone())).collect();
        if outcomes != expected {
            let differs = expected.iter().find(|(id, outcome)| outcomes.get(*id) != Some(*outcome));
            self.violated(format!(
                "it came to another end: {differs:?} and {:?}",
                differs.map(|(id, _)| outcomes.get(id))
            ));
        }
    }
}
