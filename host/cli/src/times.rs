//! Times and durations as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// In milliseconds since the Unix epoch.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Two units at most, and no more digits than anybody wants: `12ms`, `3.4s`, `5m20s`, `2h05m`, `30d`.
pub(super) fn duration(ms: u64) -> String {
    // To the nearest of the smaller unit, so that a deadline of five days isn't shown as one in 4d23h at once.
    let ms = match ms {
        0..MINUTE => ms,
        MINUTE..HOUR => ms + SECOND / 2,
        HOUR..DAY => ms + MINUTE / 2,
        _ => ms.saturating_add(HOUR / 2),
    };
    let two = |large: u64, large_unit, small: u64, small_unit| match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit}{small:02}{small_unit}"),
    };
    match ms {
        0..SECOND => format!("{ms}ms"),
        SECOND..MINUTE => format!("{}.{}s", ms / SECOND, ms % SECOND / 100),
        MINUTE..HOUR => two(ms / MINUTE, "m", ms % MINUTE / SECOND, "s"),
        HOUR..DAY => two(ms / HOUR, "h", ms % HOUR / MINUTE, "m"),
        _ if ms >= 10 * DAY => format!("{}d", ms / DAY),
        _ => two(ms / DAY, "d", ms % DAY / HOUR, "h"),
    }
}

/// A time of the world, in UTC: `2026-01-31 23:59:59.123Z`.
pub(super) fn timestamp(at_ms: u64) -> String {
    let (days, ms) = (at_ms / DAY, at_ms % DAY);
    let (year, month, day) = civil(days);
    let (hour, minute) = (ms / HOUR, ms % HOUR / MINUTE);
    let (second, ms) = (ms % MINUTE / SECOND, ms % SECOND);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant's `civil_from_days`). Years begin in March
/// inside, so that the day that leap years add is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let of = [(12, "12ms"), (3_456, "3.4s"), (320_000, "5m20s"), (7_500_000, "2h05m"), (30 * DAY, "30d")];
        for (ms, text) in of {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(duration(DAY + HOUR), "1d01h");
        assert_eq!(duration(5 * DAY - 30), "5d");
        assert_eq!(duration(HOUR - 1), "1h");
    }

    #[test]
    fn timestamps() {
        assert_eq!(timestamp(0), "1970-01-01 00:00:00.000Z");
        assert_eq!(timestamp(951_827_696_789), "2000-02-29 12:34:56.789Z");
        assert_eq!(timestamp(1_767_225_599_999), "2025-12-31 23:59:59.999Z");
    }
}
