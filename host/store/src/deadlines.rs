//! When something happens to promises by itself: deadlines, leases, offers. What comes soon is in memory; the rest stays
//! in the tables.
//!
//! Invariant: every watched time before `horizon` that is in the tables is in `near`, and so is every one that
//! isn't in the tables yet.

use std::collections::BTreeSet;

use machine::Id;

use super::error::StoreError;
use super::reader::Reader;

/// How far ahead they are read from the tables, and how many at a time.
const AHEAD_MS: u64 = 60_000;
const READ_AT_ONCE: usize = 50_000;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    near: BTreeSet<(u64, Id)>,
    horizon: u64,
}

impl Deadlines {
    pub(super) fn arm(&mut self, at: u64, id: Id) {
        self.near.insert((at, id));
    }

    pub(super) fn disarm(&mut self, at: u64, id: &Id) {
        self.near.remove(&(at, id.clone()));
    }

    pub(super) fn clear(&mut self) {
        *self = Deadlines::default();
    }

    /// It is in the tables now, which the reader used from here on has.
    pub(super) fn saved(&mut self, at: u64, id: &Id) {
        if at >= self.horizon {
            self.near.remove(&(at, id.clone()));
        }
    }

    /// The times that have come, the earliest first, at most `limit`.
    pub(super) fn due(&mut self, now: u64, limit: usize, reader: &Reader) -> Result<Vec<(u64, Id)>, StoreError> {
        self.look_ahead(now, reader)?;
        Ok(self.near.iter().take_while(|(at, _)| *at <= now).take(limit).cloned().collect())
    }

    /// When to look again: at the earliest, or where the known ones end.
    pub(super) fn next(&self) -> u64 {
        self.near.first().map_or(self.horizon, |(at, _)| (*at).min(self.horizon))
    }

    fn look_ahead(&mut self, now: u64, reader: &Reader) -> Result<(), StoreError> {
        while self.horizon <= now.saturating_add(AHEAD_MS / 2) && self.near.len() < READ_AT_ONCE {
            let read = reader.deadlines(self.horizon, READ_AT_ONCE)?;
            let all = read.len() < READ_AT_ONCE;
            let end = now.saturating_add(AHEAD_MS);
            let last = read.last().map_or(self.horizon, |(at, _)| at.saturating_add(1));
            self.horizon = if all || last > end { end.max(self.horizon) } else { last };
            for (at, id) in read.into_iter().take_while(|(at, _)| *at < self.horizon) {
                if let Ok(id) = Id::parse(&id) {
                    self.near.insert((at, id));
                }
            }
        }
        Ok(())
    }
}
