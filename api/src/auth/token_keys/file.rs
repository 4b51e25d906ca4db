//! How the keys of tokens are written into their file: JSON, `{"keys": [...]}`, the newest first.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE_NO_PAD, URL_SAFE_NO_PAD_INDIFFERENT};
use domain::time::Timestamp;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::auth::key_text::random_text;
use crate::auth::token_keys::{self, Algorithm, BadTokenKeys, SECRET_BYTES_MIN};

/// Characters of a `kid` that is drawn.
const KID_CHARS: usize = 8;

/// What the `kid` of a secret that was brought is a hash of, beside the secret: so it is no hash that
/// is kept anywhere else.
const KID_OF_SECRET: &[u8] = b"entasis: kid of the secret\n";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    pub(super) keys: Vec<WrittenKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenKey {
    pub(super) kid: String,
    pub(super) algorithm: AlgorithmName,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "secret")]
    secret: Option<SecretString>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "secret")]
    private_key: Option<SecretString>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) verify_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum AlgorithmName {
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// What a key is made of.
pub(super) enum Material {
    Secret(SecretSlice<u8>),
    PrivateKey(SecretSlice<u8>),
}

impl KeyFile {
    pub(super) fn read(text: &str) -> Result<Self, BadTokenKeys> {
        // What serde says of a value shows the value: only where it stands is told.
        let place = |error: serde_json::Error| BadTokenKeys::Unreadable {
            line: error.line(),
            column: error.column(),
        };
        serde_json::from_str(text).map_err(place)
    }

    pub(super) fn text(&self) -> SecretString {
        let text = serde_json::to_string_pretty(self).expect("texts can always be written as JSON");
        SecretString::from(text + "\n")
    }

    /// Puts a new key in front of those that are still needed.
    pub(super) fn rotate(&mut self, algorithm: Algorithm, now: Timestamp, until: Timestamp) {
        self.keys.retain(|key| key.verify_until.is_none_or(|until| now < until));
        for key in &mut self.keys {
            key.verify_until.get_or_insert(until);
        }
        self.keys.insert(0, WrittenKey::drawn(algorithm));
    }
}

impl WrittenKey {
    pub(super) fn drawn(algorithm: Algorithm) -> Self {
        let (secret, private_key) = match algorithm {
            Algorithm::Hs256 => {
                let mut secret = [0; SECRET_BYTES_MIN];
                rand::fill(&mut secret).expect("a system without chance cannot keep a secret");
                (Some(encoded(&secret)), None)
            }
            Algorithm::EdDsa => (None, Some(encoded(token_keys::drawn_ed25519().expose_secret()))),
        };
        let kid = random_text(KID_CHARS);
        Self { kid, algorithm: algorithm.into(), secret, private_key, verify_until: None }
    }

    pub(super) fn of_secret(secret: &SecretString) -> Self {
        let secret = secret.expose_secret().as_bytes();
        let hash = Sha256::new().chain_update(KID_OF_SECRET).chain_update(secret).finalize();
        let kid = URL_SAFE_NO_PAD.encode(hash).chars().take(KID_CHARS).collect();
        Self {
            kid,
            algorithm: AlgorithmName::Hs256,
            secret: Some(encoded(secret)),
            private_key: None,
            verify_until: None,
        }
    }

    /// Returns what it is made of: what its algorithm needs, and nothing else beside it.
    pub(super) fn material(&self, place: usize) -> Result<Material, BadTokenKeys> {
        match (self.algorithm, &self.secret, &self.private_key) {
            (AlgorithmName::Hs256, Some(secret), None) => {
                decoded(secret, place).map(Material::Secret)
            }
            (AlgorithmName::EdDsa, None, Some(key)) => {
                decoded(key, place).map(Material::PrivateKey)
            }
            (AlgorithmName::Hs256 | AlgorithmName::EdDsa, _, _) => {
                Err(BadTokenKeys::Material { place })
            }
        }
    }
}

fn encoded(bytes: &[u8]) -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads base64url, with padding or without: tools differ.
fn decoded(text: &SecretString, place: usize) -> Result<SecretSlice<u8>, BadTokenKeys> {
    let bytes = URL_SAFE_NO_PAD_INDIFFERENT.decode(text.expose_secret());
    bytes.map(SecretSlice::from).map_err(|_| BadTokenKeys::Base64 { place })
}

/// Secrets in the text of their own file, the one place where they may be written.
mod secret {
    use secrecy::{ExposeSecret, SecretString};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(
        secret: &Option<SecretString>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(SecretString::expose_secret).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SecretString>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
    }
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Hs256 => Self::Hs256,
            AlgorithmName::EdDsa => Self::EdDsa,
        }
    }
}

impl From<Algorithm> for AlgorithmName {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::Hs256,
            Algorithm::EdDsa => Self::EdDsa,
        }
    }
}
