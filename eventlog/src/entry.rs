//! What one decision puts into a log.

use std::fmt;
use std::str::FromStr;

use domain::event::Event;
use domain::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::stream::{Log, Stream};

/// Events that one entry may hold.
pub const ENTRY_EVENTS_MAX: usize = 256;

/// Bytes of an entry's body: what every backend takes in one message.
pub const ENTRY_BYTES_MAX: usize = 512 * 1024;

/// A place in a log: 1, 2, 3… on the embedded log, increasing with gaps elsewhere. Zero is the
/// place before the first entry.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(pub u64);

/// A place in a stream: 1, 2, 3…, without gaps, on every backend. Zero is the place before the
/// first entry.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 over an entry's body as stored. All zero stands for "no entry before".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Returns the hash of a body as stored.
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        // Byte by byte through `write!` would be a tenth of the cost of an append.
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 lower-case hexadecimal digits")]
pub struct NotAHash;

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NotAHash),
        };
        let (pairs, []) = text.as_bytes().as_chunks() else { return Err(NotAHash) };
        let mut hash = Self::default();
        if pairs.len() != hash.0.len() {
            return Err(NotAHash);
        }
        for (byte, [high, low]) in hash.0.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(hash)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who decided, in which role, and through which door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    pub principal: String,
    pub role: String,
    pub via: String,
}

/// The entry that brought this one about, named by stream and version: those are the same on
/// every backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Causation {
    pub stream: Stream,
    pub version: Version,
}

/// An entry before it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub stream: Stream,
    /// Makes the append happen once: the same id and command get the first result again.
    pub append_id: Uuid,
    /// The command itself, in canonical form, as a name-based UUID.
    pub command_id: Uuid,
    pub recorded_at: Timestamp,
    pub actor: Actor,
    /// The request that asked for it, at most 128 printable characters.
    pub correlation_id: Option<String>,
    pub causation: Option<Causation>,
    /// 1 to [`ENTRY_EVENTS_MAX`] events, written and read whole.
    pub events: Vec<Event>,
}

/// What one decision put into a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub log: Log,
    pub offset: Offset,
    pub stream: Stream,
    pub version: Version,
    pub append_id: Uuid,
    pub command_id: Uuid,
    pub recorded_at: Timestamp,
    pub actor: Actor,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation: Option<Causation>,
    /// The hash of the stream's entry before.
    pub prev_hash: Hash,
    pub hash: Hash,
    pub events: Vec<Event>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits() {
        let hash = Hash(std::array::from_fn(|place| u8::try_from(place * 8).unwrap()));
        let text = hash.to_string();

        assert!(text.starts_with("0008101820") && text.ends_with("e8f0f8"), "{text}");
        assert_eq!(text.parse(), Ok(hash));
        for other in [&text[1..], &text.to_uppercase(), &format!("+{}", &text[1..]), ""] {
            assert_eq!(other.parse::<Hash>(), Err(NotAHash), "{other}");
        }
    }
}
