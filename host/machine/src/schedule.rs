//! Schedules: promises that are made by the calendar.

use std::str::FromStr;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::{Id, Template};

/// When something that never comes comes: the largest number that all JSON readers agree on.
pub const NEVER: u64 = (1 << 53) - 1;
/// The longest cron expression. They are usually about ten characters long.
const MAX_CRON_BYTES: usize = 256;

/// A rule by which promises are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name.
    pub id: String,
    /// When, as cron has it: five fields, or six with seconds. In UTC.
    pub cron: String,
    /// The ids of its promises, with `{{.id}}` and `{{.timestamp}}`.
    pub promise_id: String,
    /// From an occurrence to the deadline of its promise.
    pub promise_timeout_ms: u64,
    /// What its promises are made of.
    pub template: Template,
    /// In milliseconds since the Unix epoch.
    pub created_at: u64,
    /// The next occurrence, or [`NEVER`].
    pub next_run_at: u64,
    /// The last occurrence that was acted upon.
    pub last_run_at: Option<u64>,
}

impl Schedule {
    /// The id of the promise of an occurrence.
    pub fn promise_at(&self, at: u64) -> Option<Id> {
        expand(&self.promise_id, &self.id, at)
    }
}

/// The id that a template makes for an occurrence.
pub(crate) fn expand(template: &str, schedule: &str, at: u64) -> Option<Id> {
    let id = template.replace("{{.id}}", schedule).replace("{{.timestamp}}", &at.to_string());
    Id::parse(&id).ok()
}

/// The first time after this one that a cron expression comes: milliseconds since the Unix epoch. None: it isn't one,
/// or never comes.
pub fn next_occurrence(cron: &str, after_ms: u64) -> Option<u64> {
    if cron.len() > MAX_CRON_BYTES {
        return None;
    }
    let cron = Cron::from_str(cron).ok()?;
    let after = Timestamp::from_millisecond(i64::try_from(after_ms).ok()?).ok()?.to_zoned(TimeZone::UTC);
    let next = cron.find_next_occurrence(&after, false).ok()?.timestamp().as_millisecond();
    u64::try_from(next).ok().filter(|next| *next > after_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_come_after_the_time_that_is_given() {
        let minute = 60_000;
        assert_eq!(next_occurrence("* * * * *", 0), Some(minute));
        assert_eq!(next_occurrence("* * * * *", minute - 1), Some(minute));
        assert_eq!(next_occurrence("* * * * *", minute), Some(2 * minute));
        assert_eq!(next_occurrence("*/5 * * * * *", 1), Some(5_000));
        assert_eq!(next_occurrence("@hourly", 1), Some(60 * minute));
        assert_eq!(next_occurrence("0 9 * * MON-FRI", 1_700_000_000_000), Some(1_700_038_800_000));
    }

    #[test]
    fn what_never_comes_is_none() {
        for bad in ["", "* * *", "61 * * * *", "* * * * * * * *", "hello", "0 0 31 2 *", &"* ".repeat(1000)] {
            assert_eq!(next_occurrence(bad, 0), None, "{bad}");
        }
        assert_eq!(next_occurrence("* * * * *", u64::MAX), None);
    }
}
