//! Appends to the log, and finding out what became of those of which that isn't known.

use host::simulation::{End, Group, chain, found};

use super::Mutation;
use super::events::Event;
use super::nodes::Carrier;
use super::world::{PATIENCE, World};

pub struct Appending {
    pub number: u64,
    pub group: Group,
    /// Its outcome isn't known.
    pub is_unknown: bool,
}

impl World {
    pub(super) fn append(&mut self, carrier: Carrier) {
        let Some(owned) = self.owned(carrier) else { return };
        if owned.appending.is_some() || owned.driven.broken().is_some() {
            return;
        }
        let Some(group) = owned.driven.take_group() else { return };
        self.order += 1;
        let number = self.order;
        let Some(owned) = self.owned(carrier) else { return };
        owned.appending = Some(Appending { number, group, is_unknown: false });
        self.send_append(carrier);
    }

    pub(super) fn send_append(&mut self, carrier: Carrier) {
        let (id, there, back) = (self.nodes[carrier.node].id, self.delay_to_database(carrier.node), self.travel());
        let Some(owned) = self.owned(carrier) else { return };
        let Some(Appending { number, group, .. }) = &owned.appending else { return };
        let (number, group, end) = (*number, group.clone(), owned.end);
        if let Some(there) = there {
            self.at(self.now + there, Event::AppendAtDatabase { carrier, id, number, end, group, back });
        }
        self.at(self.now + PATIENCE, Event::AppendIsLate { carrier, number });
    }

    pub(super) fn appended(&mut self, carrier: Carrier, number: u64, epoch: i64, accepted: bool) {
        let Some(owned) = self.owned(carrier) else { return };
        let is_this = |appending: &Appending| appending.number == number;
        // One whose outcome is being found out is found out.
        let Some(appending) = owned.appending.take_if(|a| is_this(a) && (!a.is_unknown || epoch == owned.end.epoch))
        else {
            return;
        };
        match accepted {
            true => self.is_durable(carrier, appending.group, epoch),
            false if appending.is_unknown => {
                // Somebody has taken it in between, or it had come after all: the next look tells.
                owned.appending = Some(appending);
            }
            false => owned.driven.abandon("another node has taken it"),
        }
    }

    pub(super) fn is_durable(&mut self, carrier: Carrier, group: Group, epoch: i64) {
        let Some(owned) = self.owned(carrier) else { return };
        owned.end = End { epoch, next: group.last() + 1, hash: chain(&owned.end.hash, &group) };
        owned.trail.push(group.last(), owned.end.hash);
        owned.driven.committed(group.last());
        self.released(carrier);
    }

    pub(super) fn append_is_late(&mut self, carrier: Carrier, number: u64) {
        let (trust, retry) = (self.is(Mutation::TrustUnknown), self.is(Mutation::RetryBlindly));
        let id = self.nodes[carrier.node].id;
        let Some(owned) = self.owned(carrier) else { return };
        let Some(appending) = owned.appending.as_mut().filter(|appending| appending.number == number) else { return };
        let was_unknown = std::mem::replace(&mut appending.is_unknown, true);
        let group = appending.group.clone();
        self.counts.unknown += u64::from(!was_unknown);
        if trust {
            let epoch = self.owned(carrier).map_or(0, |owned| owned.end.epoch);
            if let Some(owned) = self.owned(carrier) {
                owned.appending = None;
            }
            return self.is_durable(carrier, group, epoch);
        }
        if retry {
            // At whatever end there is.
            let end = self.database.rows[carrier.place].end;
            let again = Group { first: end.next, ..group };
            if self.database.rows[carrier.place].owner == Some(id)
                && let Err(what) = self.database.append(id, carrier.place, &end, &again)
            {
                self.violated(what);
            }
        }
        if let Some(travel) = self.delay_to_database(carrier.node) {
            self.at(self.now + travel, Event::FindOut { carrier, id, number });
        }
        self.at(self.now + PATIENCE, Event::AppendIsLate { carrier, number });
    }

    pub(super) fn found(&mut self, carrier: Carrier, number: u64, seen: Option<End>) {
        let Some(owned) = self.owned(carrier) else { return };
        let Some(appending) = owned.appending.as_ref().filter(|appending| appending.number == number) else { return };
        let group = appending.group.clone();
        let after = End { epoch: 0, next: group.last() + 1, hash: chain(&owned.end.hash, &group) };
        match (found(seen.as_ref(), &owned.end, &after), seen) {
            (Some(true), Some(end)) => {
                owned.appending = None;
                self.counts.found_durable += 1;
                self.is_durable(carrier, group, end.epoch);
            }
            (Some(false), Some(end)) => {
                owned.end.epoch = end.epoch;
                self.counts.found_missing += 1;
                self.send_append(carrier);
            }
            _ => owned.driven.abandon("another node has taken it"),
        }
    }
}
