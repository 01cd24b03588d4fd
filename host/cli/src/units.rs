//! Sizes and durations as people write them: `64MiB`, `10s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A number of bytes: `65536`, `64KiB`, `128MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Size(pub(super) usize);

/// A length of time: `500ms`, `10s`, `1h30m`, `365d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Span(pub(super) Duration);

/// As it can stand in a configuration file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

const SIZES: [(&str, u64); 8] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
];

const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let not_a_size = || format!("{text:?} is not a size; sizes are written like 65536, 64KiB, 128MiB or 1GiB");
        let (number, unit) = split(text.trim()).ok_or_else(not_a_size)?;
        let unit = unit.trim().to_ascii_lowercase();
        let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(not_a_size)?;
        let bytes = number.checked_mul(*factor).and_then(|bytes| usize::try_from(bytes).ok());
        match bytes {
            Some(0) => Err("it can't be 0".into()),
            Some(bytes) => Ok(Size(bytes)),
            None => Err(format!("{text} is more than this machine can count")),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let not_a_span =
            || format!("{text:?} is not a duration; durations are written like 500ms, 10s, 5m, 1h30m or 7d");
        let too_long = || format!("{text} is longer than can be counted");
        let mut rest = text.trim();
        let mut total_ms: u64 = 0;
        if rest.is_empty() {
            return Err(not_a_span());
        }
        while !rest.is_empty() {
            let (number, tail) = split(rest).ok_or_else(not_a_span)?;
            let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at(end);
            let (_, factor_ms) = SPANS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(not_a_span)?;
            total_ms = number.checked_mul(*factor_ms).and_then(|ms| ms.checked_add(total_ms)).ok_or_else(too_long)?;
            rest = next;
        }
        Ok(Span(Duration::from_millis(total_ms)))
    }
}

/// A number, and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

impl TryFrom<Written> for Size {
    type Error = String;

    fn try_from(written: Written) -> Result<Size, String> {
        match written {
            Written::Number(bytes) => bytes.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
    }
}

impl TryFrom<Written> for Span {
    type Error = String;

    fn try_from(written: Written) -> Result<Span, String> {
        match written {
            Written::Number(number) => Err(format!("{number} has no unit: write \"{number}s\" or \"{number}ms\"")),
            Written::Text(text) => text.parse(),
        }
    }
}

impl fmt::Display for Size {
    /// In the largest unit that needs no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match units.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let size = |text: &str| text.parse::<Size>().map(|size| size.0);
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(size("128 mib"), Ok(128 << 20));
        assert_eq!(size("2GB"), Ok(2_000_000_000));
        for bad in ["", "MiB", "-1", "1.5MiB", "1M", "1TiB", "0", "0KiB", "99999999999GiB", "9999999999999999999999"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(Size(128 << 20).to_string(), "128MiB");
        assert_eq!(Size(1500).to_string(), "1500");
    }

    #[test]
    fn spans() {
        let span = |text: &str| text.parse::<Span>().map(|span| span.0.as_millis());
        assert_eq!(span("500ms"), Ok(500));
        assert_eq!(span("10s"), Ok(10_000));
        assert_eq!(span("1h30m"), Ok(5_400_000));
        assert_eq!(span("365d"), Ok(31_536_000_000));
        for bad in ["", "10", "s", "10 parsecs", "-1s", "1.5h", "999999999999999999d"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
