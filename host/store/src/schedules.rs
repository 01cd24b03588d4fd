//! All schedules, in memory: there are few, compared with promises.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use machine::Schedule;

#[derive(Debug, Default)]
pub(super) struct Schedules {
    by_id: BTreeMap<String, Schedule>,
    /// When each occurs next.
    next: BTreeSet<(u64, String)>,
    /// Those that the tables don't have as they are.
    unsaved: BTreeSet<String>,
}

impl Schedules {
    pub(super) fn new(saved: Vec<Schedule>) -> Schedules {
        let mut schedules = Schedules::default();
        for schedule in saved {
            schedules.put(schedule);
        }
        schedules.unsaved.clear();
        schedules
    }

    pub(super) fn get(&self, id: &str) -> Option<&Schedule> {
        self.by_id.get(id)
    }

    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Those that come after an id, in the order of the ids.
    pub(super) fn after(&self, id: &str) -> impl Iterator<Item = &Schedule> {
        self.by_id.range::<str, _>((Bound::Excluded(id), Bound::Unbounded)).map(|(_, schedule)| schedule)
    }

    pub(super) fn put(&mut self, schedule: Schedule) {
        self.remove(&schedule.id.clone());
        self.next.insert((schedule.next_run_at, schedule.id.clone()));
        self.by_id.insert(schedule.id.clone(), schedule);
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.unsaved.insert(id.to_owned());
        if let Some(schedule) = self.by_id.remove(id) {
            self.next.remove(&(schedule.next_run_at, schedule.id));
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Schedules::default();
    }

    /// Those whose next occurrence has come, the earliest first.
    pub(super) fn due(&self, now: u64) -> impl Iterator<Item = &String> {
        self.next.iter().take_while(move |(at, _)| *at <= now).map(|(_, id)| id)
    }

    /// When the next of all occurs.
    pub(super) fn next(&self) -> u64 {
        self.next.first().map_or(u64::MAX, |(at, _)| *at)
    }

    /// Those that the tables don't have as they are: for a cut. None: it is no more.
    pub(super) fn take_unsaved(&mut self) -> BTreeMap<String, Option<Schedule>> {
        let unsaved = std::mem::take(&mut self.unsaved);
        unsaved.into_iter().map(|id| (id.clone(), self.by_id.get(&id).cloned())).collect()
    }
}
