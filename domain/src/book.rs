//! What a venue tells of its order book, and who it is told by.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::amount::{self, Price, Quantity};
use crate::name::from_text;

/// Levels a side of a recorded snapshot: deeper ones are cut off. It is also the depth that is known
/// for sure, so nothing deeper is ever shown.
pub const SNAPSHOT_LEVELS_MAX: usize = 1_000;

/// A price and how much rests there. In a diff, zero removes the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub price: Price,
    pub quantity: Decimal,
}

/// The best bid and the best ask: a witness of the book and a sign of life, not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Top {
    pub update_id: u64,
    pub bid: Level,
    pub ask: Level,
}

/// A whole book as of `update_id`: bids from the best down, asks from the best up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookSnapshot {
    pub update_id: u64,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

/// What changed from update `first_id` to `last_id`. Quantities are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BookDiff {
    pub first_id: u64,
    pub last_id: u64,
    /// The `last_id` of the diff before, where the venue says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_id: Option<u64>,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

/// Why a book can no longer be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostReason {
    /// A diff did not continue the one before.
    Hole,
    /// The best bid was not below the best ask.
    Crossed,
    /// The venue's own best bid and ask were others, at the same update.
    Contradicted,
    /// The connection ended.
    Disconnected,
    /// The stream fell silent.
    Silent,
}

/// One run of one feed. A book follows one session at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(pub u64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a session is 16 lower-case hexadecimal digits")]
pub struct NotASession;

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Session {
    type Err = NotASession;

    fn from_str(text: &str) -> Result<Self, NotASession> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u64::from_str_radix(text, 16) {
            Ok(session) if digits && text.len() == 16 => Ok(Self(session)),
            _ => Err(NotASession),
        }
    }
}

impl Serialize for Session {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Session {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// How much rests at a price: a quantity, or zero.
struct Resting(Decimal);

impl FromStr for Resting {
    type Err = amount::NotAnAmount;

    fn from_str(text: &str) -> Result<Self, amount::NotAnAmount> {
        let value = amount::decimal(text)?;
        if value.is_zero() && value.scale() <= amount::SCALE_MAX {
            return Ok(Self(value));
        }
        Quantity::new(value).map(|quantity| Self(quantity.value()))
    }
}

impl<'de> Deserialize<'de> for Resting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

/// A level is `["65000.00","1.234"]`.
impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.price, self.quantity).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (price, Resting(quantity)) = Deserialize::deserialize(deserializer)?;
        Ok(Self { price, quantity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(text: &str) -> Option<Level> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn a_level_is_a_pair_of_strings_that_keep_their_zeros() {
        for text in [r#"["65000.00","1.234"]"#, r#"["65000.00","0.00000000"]"#, r#"["1","0"]"#] {
            assert_eq!(serde_json::to_string(&level(text).unwrap()).unwrap(), text);
        }
    }

    #[test]
    fn what_cannot_rest_is_no_level() {
        for text in [
            r#"["65000.00","-1"]"#,
            r#"["65000.00","0.0000000000000000000"]"#,
            r#"["65000.00","10000000000001"]"#,
            r#"["65000.00","1e3"]"#,
            r#"["0","1"]"#,
            r#"["65000.00"]"#,
            r#"["65000.00","1","2"]"#,
            r#"[65000.00,"1"]"#,
            r#"["65000.00",1]"#,
            r#"{"price":"65000.00","quantity":"1"}"#,
        ] {
            assert_eq!(level(text), None, "{text}");
        }
    }

    #[test]
    fn a_session_has_one_text() {
        let session = Session(0x00c0_ffee_5eed_0001);

        assert_eq!(session.to_string(), "00c0ffee5eed0001");
        assert_eq!(session.to_string().parse(), Ok(session));
        assert_eq!(serde_json::to_string(&session).unwrap(), r#""00c0ffee5eed0001""#);
        for text in ["", "c0ffee", "00C0FFEE5EED0001", "+0c0ffee5eed0001", "00c0ffee5eed00010"] {
            assert_eq!(text.parse::<Session>(), Err(NotASession), "{text}");
        }
    }

    #[test]
    fn a_diff_leaves_out_what_its_venue_does_not_say() {
        let spot = BookDiff {
            first_id: 3,
            last_id: 5,
            previous_id: None,
            bids: Vec::new(),
            asks: Vec::new(),
        };
        let text = r#"{"first_id":3,"last_id":5,"bids":[],"asks":[]}"#;

        assert_eq!(serde_json::to_string(&spot).unwrap(), text);
        assert_eq!(serde_json::from_str::<BookDiff>(text).unwrap(), spot);
        assert!(serde_json::from_str::<BookDiff>(&text.replace("bids", "bid")).is_err());
    }
}
