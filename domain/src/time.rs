//! Instants: microseconds since 1970-01-01 UTC, the finest time that the house keeps.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds in a second, a minute and a day.
pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const DAY: i64 = 24 * 60 * MINUTE;

/// An instant in UTC, in whole microseconds. It is always an input: nothing here asks a clock.
///
/// Bounded to the years 0001 to 9999, so that each instant has a text form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time: expected RFC 3339 such as 2024-03-21T09:30:00Z")]
pub struct NotATime;

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800 * SECOND);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_800 * SECOND - 1);

    /// Returns the instant, held within the years that have a text form.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    pub const fn from_millis(millis: i64) -> Self {
        Self::from_micros(millis.saturating_mul(1_000))
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Returns the instant `micros` later (earlier when negative).
    #[must_use]
    pub const fn plus(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Returns the microseconds from `earlier` to this instant.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Returns the start of the interval of `length` microseconds that holds this instant.
    #[must_use]
    pub const fn floor(self, length: i64) -> Self {
        Self(self.0 - self.0.rem_euclid(length))
    }

    /// Returns the text with just the digits that count: none, three or six of a second.
    pub fn to_shortest(self) -> String {
        self.text(SecondsFormat::AutoSi)
    }

    /// Returns the text with three digits of a second, cut, never rounded up.
    pub fn to_millis_text(self) -> String {
        self.text(SecondsFormat::Millis)
    }

    fn text(self, digits: SecondsFormat) -> String {
        DateTime::<Utc>::from_timestamp_micros(self.0)
            .expect("the bounds of Timestamp lie within chrono's")
            .to_rfc3339_opts(digits, true)
    }
}

/// Six digits of a second, always, and `Z`: the form in which auditors read history.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(SecondsFormat::Micros))
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    /// Reads RFC 3339; digits past the microsecond are cut.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let instant = DateTime::parse_from_rfc3339(text).map_err(|_| NotATime)?;
        let micros = instant.timestamp_micros();
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) { Ok(Self(micros)) } else { Err(NotATime) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::name::from_text(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_has_one_text_for_each_reader() {
        let instant: Timestamp = "2024-03-21T18:30:00.120000+09:00".parse().unwrap();

        assert_eq!(instant.to_string(), "2024-03-21T09:30:00.120000Z");
        assert_eq!(instant.to_shortest(), "2024-03-21T09:30:00.120Z");
        assert_eq!(instant.floor(SECOND).to_shortest(), "2024-03-21T09:30:00Z");
        assert_eq!(instant.floor(SECOND).to_millis_text(), "2024-03-21T09:30:00.000Z");
        assert_eq!(instant.to_string().parse(), Ok(instant));
    }

    #[test]
    fn an_interval_before_1970_still_starts_at_or_before_its_instants() {
        let instant: Timestamp = "1969-12-31T23:59:59.5Z".parse().unwrap();

        assert_eq!(instant.floor(MINUTE).to_shortest(), "1969-12-31T23:59:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "2024-03-21", "1711013400", "2024-13-01T00:00:00Z", "2024-03-21T09:30:00"]
        {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
    }
}
