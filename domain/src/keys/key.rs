//! A key that opens the door, without its secret, and the names of keys and tokens.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::access::{Role, Scopes};
use crate::name::{AccountId, from_text, text_form};
use crate::network::Network;
use crate::time::Timestamp;

/// Characters of a label. A longer one is refused.
pub const LABEL_CHARS_MAX: usize = 64;

/// What a key is called in public: eight letters or digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(Arc<str>);

/// What a token is called, its `jti`: 1 to 64 letters, digits, '_' or '-'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenId(Arc<str>);

/// What its holders call a key: 1 to 64 characters that can be seen, without blanks at its ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(Arc<str>);

/// The SHA-256 of a key's secret. 256 random bits need no slow hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

/// To whom a key belongs, and what it opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Whose account it is; of those who hold none, their name.
    pub account: AccountId,
    pub role: Role,
    pub scopes: Scopes,
    /// It is good from these networks only; from everywhere when there are none.
    pub networks: BTreeSet<Network>,
    pub expires_at: Option<Timestamp>,
    pub label: Option<Label>,
}

/// A secret that was replaced, and is good as long as it is before `until`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Former {
    pub secret: SecretHash,
    pub until: Timestamp,
}

/// A key as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    pub grant: Grant,
    pub secret: SecretHash,
    pub former: Option<Former>,
    pub revoked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the id of a key is eight letters or digits")]
pub struct NotAKeyId;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the id of a token is 1 to 64 letters, digits, '_' or '-'")]
pub struct NotATokenId;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a label is 1 to {} printable characters, without blanks at its ends", LABEL_CHARS_MAX)]
pub struct NotALabel;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the hash of a secret is 64 lower-case hexadecimal digits")]
pub struct NotASecretHash;

impl FromStr for SecretHash {
    type Err = NotASecretHash;

    fn from_str(text: &str) -> Result<Self, NotASecretHash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NotASecretHash),
        };
        let (pairs, []) = text.as_bytes().as_chunks() else { return Err(NotASecretHash) };
        let mut hash = [0; 32];
        if pairs.len() != hash.len() {
            return Err(NotASecretHash);
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Not even the hash belongs into a log line.
impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

impl Serialize for SecretHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

fn key_id(text: &str) -> Result<Arc<str>, NotAKeyId> {
    let fits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { Ok(text.into()) } else { Err(NotAKeyId) }
}

fn token_id(text: &str) -> Result<Arc<str>, NotATokenId> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if fits { Ok(text.into()) } else { Err(NotATokenId) }
}

fn label(text: &str) -> Result<Arc<str>, NotALabel> {
    let fits = (1..=LABEL_CHARS_MAX).contains(&text.chars().take(LABEL_CHARS_MAX + 1).count())
        && text.trim() == text
        && text.chars().all(is_printable);
    if fits { Ok(text.into()) } else { Err(NotALabel) }
}

/// Whether a character shows as itself. Those that break a line, or turn or hide what stands beside
/// them, could make one key look like another.
fn is_printable(character: char) -> bool {
    let hides = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    );
    !character.is_control() && !hides
}

text_form!(Label, NotALabel, label);
text_form!(KeyId, NotAKeyId, key_id);
text_form!(TokenId, NotATokenId, token_id);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_eight_letters_or_digits() {
        assert_eq!("a1B2c3D4".parse::<KeyId>().unwrap().as_str(), "a1B2c3D4");
        for text in ["", "a1B2c3D", "a1B2c3D45", "a1B2c3D_", "a1B2c3é", " a1B2c3D"] {
            assert_eq!(text.parse::<KeyId>(), Err(NotAKeyId), "{text}");
        }
    }

    #[test]
    fn a_token_is_named_as_its_jti_says() {
        for text in ["0", "0192f0c1-7a2b-7000-8000-000000000001", &"a".repeat(64)] {
            assert_eq!(text.parse::<TokenId>().unwrap().as_str(), text);
        }
        for text in ["", "a b", "a.b", "é", "a\n", &"a".repeat(65)] {
            assert_eq!(text.parse::<TokenId>(), Err(NotATokenId), "{text}");
        }
    }

    #[test]
    fn a_label_is_what_can_be_seen() {
        for text in ["ci", "desk 2, Seoul", "서울 데스크", &"é".repeat(LABEL_CHARS_MAX)] {
            assert_eq!(text.parse::<Label>().unwrap().as_str(), text);
        }
        for text in [
            "",
            " ",
            " ci",
            "ci ",
            "c\ni",
            "c\u{0}i",
            "c\u{202e}i",
            "c\u{2028}i",
            "c\u{200b}i",
            "c\u{7f}i",
            &"é".repeat(LABEL_CHARS_MAX + 1),
        ] {
            assert_eq!(text.parse::<Label>(), Err(NotALabel), "{text:?}");
        }
    }

    #[test]
    fn the_hash_of_a_secret_has_one_text_and_shows_in_no_log_line() {
        let hash = SecretHash(std::array::from_fn(|place| u8::try_from(place * 8).unwrap()));
        let text = hash.to_string();

        assert!(text.starts_with("0008101820") && text.ends_with("e8f0f8"), "{text}");
        assert_eq!(text.parse(), Ok(hash));
        for other in [&text[1..], &text.to_uppercase(), &format!("+{}", &text[1..]), ""] {
            assert_eq!(other.parse::<SecretHash>(), Err(NotASecretHash), "{other}");
        }
        let former = Former { secret: hash, until: Timestamp::MIN };
        for told in [format!("{hash:?}"), format!("{former:?}")] {
            assert!(!told.contains("0810") && !told.contains("8, 16"), "{told}");
        }
    }
}
