//! How a key is written: `ent_live_<id 8>_<secret 43>_<check 6>`, in base62.

use aws_lc_rs::rand;
use domain::keys::key::{KeyId, SecretHash};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// What every key begins with, so that a scanner of source texts finds one that was left there.
pub const PREFIX: &str = "ent_live_";

const ID_CHARS: usize = 8;

/// 62 to the 43rd is more than 2 to the 256th.
const SECRET_CHARS: usize = 43;

/// 62 to the 6th is more than 2 to the 32nd, which is all that the check can be.
const CHECK_CHARS: usize = 6;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The largest multiple of 62 that a byte can hold. What lies at or above it would make some letters
/// likelier than others, and is drawn again.
const FAIR: u8 = 248;

/// A key as its holder has it.
pub struct KeyText {
    pub id: KeyId,
    /// The 43 letters and digits between id and check: 256 random bits.
    pub secret: SecretString,
}

/// Text that is no key: mistyped, cut off, or something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key")]
pub struct NotAKey;

impl KeyText {
    /// Reads a key; a mistyped one fails its check.
    pub fn read(text: &str) -> Result<Self, NotAKey> {
        let (said, check) = text.rsplit_once('_').ok_or(NotAKey)?;
        let (id, secret) = said
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .filter(|(_, secret)| is_secret(secret))
            .ok_or(NotAKey)?;
        if check != check_of(said) {
            return Err(NotAKey);
        }
        let id = id.parse().map_err(|_| NotAKey)?;
        Ok(Self { id, secret: SecretString::from(secret) })
    }

    /// Returns the whole text, to be shown once.
    pub fn text(&self) -> SecretString {
        let said =
            SecretString::from(format!("{PREFIX}{}_{}", self.id, self.secret.expose_secret()));
        let check = check_of(said.expose_secret());
        SecretString::from(format!("{}_{check}", said.expose_secret()))
    }

    /// Returns what is kept of the secret.
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.secret.expose_secret()).into())
    }
}

/// Draws a new key.
pub fn drawn() -> KeyText {
    drawn_for(random_text(ID_CHARS).parse().expect("eight letters or digits are an id"))
}

/// Draws a new secret for a key.
pub fn drawn_for(id: KeyId) -> KeyText {
    KeyText { id, secret: SecretString::from(random_text(SECRET_CHARS)) }
}

/// Draws so many letters and digits, each as likely as any other.
pub fn random_text(chars: usize) -> String {
    let mut text = String::with_capacity(chars);
    let mut bytes = [0; 64];
    while text.len() < chars {
        rand::fill(&mut bytes).expect("a system without chance cannot keep a secret");
        let fair = bytes.iter().filter(|byte| **byte < FAIR).map(|byte| digit(u32::from(*byte)));
        text.extend(fair.take(chars - text.len()));
    }
    text
}

fn is_secret(text: &str) -> bool {
    text.len() == SECRET_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Returns the CRC-32 of a text in six digits. It guards against mistakes, not against anybody.
fn check_of(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [' '; CHECK_CHARS];
    for place in digits.iter_mut().rev() {
        *place = digit(rest);
        rest /= 62;
    }
    digits.iter().collect()
}

/// Returns the last digit of a number in base62.
fn digit(number: u32) -> char {
    let place = usize::try_from(number % 62).unwrap_or_default();
    BASE62.get(place).copied().map(char::from).expect("there are 62 digits")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_has_one_text_for_ever() {
        let secret = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg";
        let key = KeyText { id: "k3yN4me0".parse().unwrap(), secret: SecretString::from(secret) };

        let text = "ent_live_k3yN4me0_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg_38FLmv";
        assert_eq!(key.text().expose_secret(), text);
        // `printf %s <the 43 characters> | sha256sum`
        assert_eq!(
            key.hash().to_string(),
            "71d84b1859bad11abcb3dfd9353c8d1873aafd883ffaf6f2c9df7cbcfc3e1850"
        );
    }

    #[test]
    fn what_is_drawn_is_read_again_and_never_drawn_twice() {
        let mut seen = BTreeSet::new();
        for _ in 0..500 {
            let drawn = drawn();
            let read = KeyText::read(drawn.text().expose_secret()).ok().unwrap();

            assert_eq!((&read.id, read.hash()), (&drawn.id, drawn.hash()));
            assert_eq!(read.secret.expose_secret(), drawn.secret.expose_secret());
            assert!(seen.insert(drawn.text().expose_secret().to_owned()));
        }
    }

    #[test]
    fn a_new_secret_of_a_key_keeps_its_id() {
        let old = drawn();
        let new = drawn_for(old.id.clone());

        assert_eq!(new.id, old.id);
        assert_ne!(new.hash(), old.hash());
    }

    /// 62 letters, 310,000 draws: 5,000 each are expected, with a spread of 70. Seven spreads off
    /// happen once in more runs than there will be; a bias of the last letters would be 25 %.
    #[test]
    fn every_letter_is_as_likely_as_any_other() {
        let mut counts = BTreeMap::new();
        for letter in random_text(310_000).chars() {
            *counts.entry(letter).or_insert(0_u32) += 1;
        }

        assert_eq!(counts.len(), 62);
        assert!(counts.values().all(|count| (4_500..=5_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn each_change_of_one_character_and_each_cut_is_noticed() {
        let text = drawn().text().expose_secret().to_owned();
        for place in 0..text.len() {
            for other in (b' '..=b'~').filter(|other| *other != text.as_bytes()[place]) {
                let mut bytes = text.clone().into_bytes();
                bytes[place] = other;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(KeyText::read(&changed).is_err(), "place {place}, {}", char::from(other));
            }
            assert!(KeyText::read(&text[..place]).is_err(), "cut at {place}");
            assert!(KeyText::read(&text[place + 1..]).is_err(), "begun at {place}");
        }
        for around in [format!(" {text}"), format!("{text} "), format!("{text}\n")] {
            assert!(KeyText::read(&around).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_has_another_form_is_no_key(text in "\\PC{0,80}") {
            prop_assert!(KeyText::read(&text).is_err());
        }

        /// With a good check, so that it is the form that is judged.
        #[test]
        fn an_id_or_secret_of_another_length_is_no_key(
            id in "[0-9A-Za-z]{0,12}",
            secret in "[0-9A-Za-z_é-]{0,60}",
        ) {
            let said = format!("{PREFIX}{id}_{secret}");
            let text = format!("{said}_{}", check_of(&said));
            let is_one = id.len() == 8 && secret.len() == 43
                && secret.chars().all(|letter| letter.is_ascii_alphanumeric());
            prop_assert_eq!(KeyText::read(&text).is_ok(), is_one);
        }
    }
}
