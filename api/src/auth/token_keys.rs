//! The keys that tokens are signed with, by `kid`. The newest signs; those before it are good until
//! the last token that they have signed has expired.
//!
//! How they are written into their file stands in `token_keys/file`.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::time::Timestamp;
use jsonwebtoken::crypto::{self, aws_lc};
use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::auth::token_keys::file::{KeyFile, Material, WrittenKey};

mod file;

/// Bytes of a secret for HS256 at least: a shorter one can be guessed.
pub const SECRET_BYTES_MIN: usize = 32;

/// Keys of a file. With more it is refused: whoever rotates so often has lost sight of them.
pub const KEYS_MAX: usize = 16;

/// Characters of a `kid`. A longer one names no key.
pub const KID_CHARS_MAX: usize = 64;

/// What each key signs and verifies once when it is read, so that a key that cannot is found then.
const SELF_TEST: &[u8] = b"entasis";

/// What each key signs for the fingerprint of all: no token reads like it.
const FINGERPRINT: &[u8] = b"entasis: the fingerprint of token keys";

/// Bytes of a fingerprint.
const FINGERPRINT_BYTES: usize = 12;

/// How a key signs. Each key has one way, whatever a token says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    EdDsa,
}

/// The keys of a file, newest first.
pub struct TokenKeys(Vec<TokenKey>);

/// One of them. Which way it signs is its own, and not the token's to say.
pub(super) struct TokenKey {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    signing: EncodingKey,
    verifying: DecodingKey,
    /// The public key of those that have one.
    public: Option<Vec<u8>>,
    /// It signs no more, and verifies until then; the one that signs has no such time.
    verify_until: Option<Timestamp>,
}

/// Why a key file cannot be used. No text of the file stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTokenKeys {
    #[error("not a key file: see line {line}, column {column}")]
    Unreadable { line: usize, column: usize },
    #[error("key {place}: its kid must be 1 to {KID_CHARS_MAX} letters, digits, '_' or '-'")]
    Kid { place: usize },
    #[error("key {place}: its kid is that of another key")]
    KidTwice { place: usize },
    #[error("key {place}: HS256 needs a secret, EdDSA a private_key, and neither the other's")]
    Material { place: usize },
    #[error("key {place}: not base64url")]
    Base64 { place: usize },
    #[error("key {place}: a secret has at least {SECRET_BYTES_MIN} bytes")]
    SecretTooShort { place: usize },
    #[error("key {place}: not an Ed25519 private key in PKCS#8")]
    PrivateKey { place: usize },
    #[error("key {place}: it does not verify what it has signed")]
    SelfTest { place: usize },
    #[error("there is no key that signs: one must have no verify_until")]
    NoneSigns,
    #[error("there are more than {KEYS_MAX} keys")]
    TooMany,
}

impl Algorithm {
    /// Returns what a token's header calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
        }
    }

    const fn of_crate(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl TokenKeys {
    /// Reads the text of a key file, and signs and verifies once with each key.
    pub fn read(text: &str) -> Result<Self, BadTokenKeys> {
        Self::of(&KeyFile::read(text)?)
    }

    /// Returns the text of a new key file with one key that was drawn.
    pub fn drawn(algorithm: Algorithm) -> SecretString {
        KeyFile { keys: vec![WrittenKey::drawn(algorithm)] }.text()
    }

    /// Returns the text of a key file for an HS256 secret that an operator brings. Its `kid` follows
    /// from the secret: nodes that are given the same one know each other's tokens.
    pub fn of_secret(secret: &SecretString) -> Result<SecretString, BadTokenKeys> {
        let file = KeyFile { keys: vec![WrittenKey::of_secret(secret)] };
        Self::of(&file)?;
        Ok(file.text())
    }

    /// Returns the text of a key file whose newest key was drawn; those before it verify until
    /// `until`, and those that had to go by `now` are gone.
    pub fn rotated(
        text: &str,
        algorithm: Algorithm,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<SecretString, BadTokenKeys> {
        let mut file = KeyFile::read(text)?;
        Self::of(&file)?;
        file.rotate(algorithm, now, until);
        Self::of(&file)?;
        Ok(file.text())
    }

    /// Returns the public keys, for whoever wants to verify our tokens: `/.well-known/jwks.json`.
    /// A secret of HS256 has no public part, and does not appear.
    pub fn jwks(&self, now: Timestamp) -> Value {
        let public = |key: &TokenKey| {
            let x = URL_SAFE_NO_PAD.encode(key.public.as_ref()?);
            let alg = key.algorithm.as_str();
            Some(json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": alg, "kid": key.kid, "x": x,
            }))
        };
        let good = self.0.iter().filter(|key| key.verifies_at(now));
        json!({"keys": good.filter_map(public).collect::<Vec<_>>()})
    }

    /// Returns what tells these keys from others, and nothing of them. Of two nodes with the same, each
    /// takes the tokens of the other.
    pub fn fingerprint(&self) -> String {
        let mut marks: Vec<String> = self
            .0
            .iter()
            .map(|key| {
                let signature = key.sign(FINGERPRINT).unwrap_or_default();
                format!("{}:{}:{signature}", key.kid, key.algorithm.as_str())
            })
            .collect();
        marks.sort_unstable();
        let hash = Sha256::digest(marks.join("\n"));
        URL_SAFE_NO_PAD.encode(hash.get(..FINGERPRINT_BYTES).unwrap_or_default())
    }

    /// Returns the newest key, which signs.
    pub(super) fn signing(&self) -> &TokenKey {
        let signing = self.0.iter().find(|key| key.verify_until.is_none());
        signing.expect("a file without a key that signs is not read")
    }

    /// Returns the key of a name, if what it has signed is good at `now`.
    pub(super) fn verifying(&self, kid: &str, now: Timestamp) -> Option<&TokenKey> {
        self.0.iter().find(|key| key.kid == kid && key.verifies_at(now))
    }

    fn of(file: &KeyFile) -> Result<Self, BadTokenKeys> {
        if file.keys.len() > KEYS_MAX {
            return Err(BadTokenKeys::TooMany);
        }
        let mut keys: Vec<TokenKey> = Vec::with_capacity(file.keys.len());
        for (place, written) in (1..).zip(&file.keys) {
            if keys.iter().any(|key| key.kid == written.kid) {
                return Err(BadTokenKeys::KidTwice { place });
            }
            keys.push(TokenKey::of(written, place)?);
        }
        if keys.iter().all(|key| key.verify_until.is_some()) {
            return Err(BadTokenKeys::NoneSigns);
        }
        Ok(Self(keys))
    }
}

impl TokenKey {
    fn of(written: &WrittenKey, place: usize) -> Result<Self, BadTokenKeys> {
        if !is_kid(&written.kid) {
            return Err(BadTokenKeys::Kid { place });
        }
        let (signing, verifying, public) = match written.material(place)? {
            Material::Secret(secret) => hs256(&secret, place)?,
            Material::PrivateKey(der) => ed25519(&der, place)?,
        };
        let (kid, verify_until) = (written.kid.clone(), written.verify_until);
        let algorithm = written.algorithm.into();
        let key = Self { kid, algorithm, signing, verifying, public, verify_until };
        let signature = key.sign(SELF_TEST);
        if signature.is_some_and(|signature| key.has_signed(SELF_TEST, &signature)) {
            return Ok(key);
        }
        Err(BadTokenKeys::SelfTest { place })
    }

    /// Returns a signature as a token carries it; `None` where the key does not fit its algorithm,
    /// which is found when it is read.
    pub(super) fn sign(&self, message: &[u8]) -> Option<String> {
        crypto::sign(message, &self.signing, self.algorithm.of_crate()).ok()
    }

    /// Whether a signature, as a token carries it, is this key's.
    pub(super) fn has_signed(&self, message: &[u8], signature: &str) -> bool {
        let verified =
            crypto::verify(signature, message, &self.verifying, self.algorithm.of_crate());
        verified.unwrap_or(false)
    }

    fn verifies_at(&self, now: Timestamp) -> bool {
        self.verify_until.is_none_or(|until| now < until)
    }
}

type Parts = (EncodingKey, DecodingKey, Option<Vec<u8>>);

fn hs256(secret: &SecretSlice<u8>, place: usize) -> Result<Parts, BadTokenKeys> {
    let secret = secret.expose_secret();
    if secret.len() < SECRET_BYTES_MIN {
        return Err(BadTokenKeys::SecretTooShort { place });
    }
    install();
    Ok((EncodingKey::from_secret(secret), DecodingKey::from_secret(secret), None))
}

fn ed25519(der: &SecretSlice<u8>, place: usize) -> Result<Parts, BadTokenKeys> {
    let der = der.expose_secret();
    let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| BadTokenKeys::PrivateKey { place })?;
    let public = pair.public_key().as_ref().to_vec();
    install();
    Ok((EncodingKey::from_ed_der(der), DecodingKey::from_ed_der(&public), Some(public)))
}

/// Draws an Ed25519 key, in PKCS#8.
fn drawn_ed25519() -> SecretSlice<u8> {
    let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let pair = pair.expect("a system without chance cannot keep a secret");
    SecretSlice::from(pair.as_ref().to_vec())
}

/// Says which implementation signs. Without that the crate guesses from the features that it was
/// built with, and panics at the first token when another crate of the build switched a second on.
fn install() {
    // A no says that one is installed already, which is this one: nobody else installs any.
    let _installed = aws_lc::DEFAULT_PROVIDER.install_default();
}

fn is_kid(text: &str) -> bool {
    (1..=KID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests;
