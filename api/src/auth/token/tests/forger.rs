//! Makes tokens, good and bad, in a way of its own: nothing of what it tests is used.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::time::{SECOND, Timestamp};
use serde_json::json;

use crate::auth::token_keys::TokenKeys;

/// Now, in seconds: 2024-03-21T09:30:01Z.
pub(super) const NOW: i64 = 1_711_013_401;

const SECRET: &[u8] = b"the secret of h1, for tests only";
const OLD_SECRET: &[u8] = b"an older secret, that verifies until half past ten";
const GONE_SECRET: &[u8] = b"a secret that was good once, and is gone";

/// The keys of the house, and those of somebody who has none of them.
pub(super) struct Forger {
    pub(super) keys: TokenKeys,
    pair: Ed25519KeyPair,
    foreign: Ed25519KeyPair,
}

/// What a signature is made with.
#[derive(Clone, Copy)]
pub(super) enum Signer<'a> {
    Hmac(hmac::Algorithm, &'a [u8]),
    House,
    Foreign,
}

impl Forger {
    pub(super) fn new() -> Self {
        let pair = || Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let house = pair();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let file = json!({"keys": [
            {"kid": "h1", "algorithm": "HS256", "secret": text(SECRET)},
            {"kid": "e1", "algorithm": "EdDSA", "private_key": text(house.as_ref())},
            {"kid": "old", "algorithm": "HS256", "secret": text(OLD_SECRET),
             "verify_until": "2024-03-21T10:30:01Z"},
            {"kid": "gone", "algorithm": "HS256", "secret": text(GONE_SECRET),
             "verify_until": "2024-03-21T09:30:01Z"},
        ]});
        Self {
            keys: TokenKeys::read(&file.to_string()).unwrap(),
            pair: Ed25519KeyPair::from_pkcs8(house.as_ref()).unwrap(),
            foreign: Ed25519KeyPair::from_pkcs8(pair().as_ref()).unwrap(),
        }
    }

    pub(super) fn now() -> Timestamp {
        Timestamp::from_micros(NOW * SECOND)
    }

    /// Returns the public key of `e1`, which anybody can have.
    pub(super) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Returns `alg` and signer of a key of the house.
    pub(super) fn key(kid: &str) -> (&'static str, Signer<'static>) {
        match kid {
            "h1" => ("HS256", Signer::Hmac(hmac::HMAC_SHA256, SECRET)),
            "old" => ("HS256", Signer::Hmac(hmac::HMAC_SHA256, OLD_SECRET)),
            "gone" => ("HS256", Signer::Hmac(hmac::HMAC_SHA256, GONE_SECRET)),
            "e1" => ("EdDSA", Signer::House),
            other => panic!("no key {other}"),
        }
    }

    /// Returns a token with these texts in its parts, rightly signed with a key of the house.
    pub(super) fn signed(&self, kid: &str, header: &str, payload: &str) -> String {
        self.signed_by(Self::key(kid).1, header, payload)
    }

    pub(super) fn signed_by(&self, signer: Signer<'_>, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", encoded(header), encoded(payload));
        let signature = encoded(self.signature(signer, &message));
        format!("{message}.{signature}")
    }

    pub(super) fn signature(&self, signer: Signer<'_>, message: &str) -> Vec<u8> {
        let message = message.as_bytes();
        match signer {
            Signer::Hmac(algorithm, secret) => {
                hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
            }
            Signer::House => self.pair.sign(message).as_ref().to_vec(),
            Signer::Foreign => self.foreign.sign(message).as_ref().to_vec(),
        }
    }
}

pub(super) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The members of an object, each with the text of its value.
#[derive(Clone)]
pub(super) struct Members(Vec<(String, String)>);

impl Members {
    /// What the header of a good token says.
    pub(super) fn header(kid: &str) -> Self {
        let (algorithm, _) = Forger::key(kid);
        Self(Vec::new())
            .with("alg", &format!("\"{algorithm}\""))
            .with("typ", "\"JWT\"")
            .with("kid", &format!("\"{kid}\""))
    }

    /// What a good token claims.
    pub(super) fn claims() -> Self {
        Self(Vec::new())
            .with("iss", "\"entasis\"")
            .with("aud", "\"entasis\"")
            .with("sub", "\"demo\"")
            .with("jti", "\"t-1\"")
            .with("iat", &NOW.to_string())
            .with("exp", &(NOW + 900).to_string())
            .with("role", "\"trader\"")
            .with("scope", "\"market:read portfolio:read\"")
    }

    /// Returns the same with a member that is this.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Returns the same with this behind the other members, whatever they are called.
    pub(super) fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    pub(super) fn text(&self) -> String {
        let members: Vec<_> =
            self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }

    /// Returns the values alone, in a list.
    pub(super) fn values(&self) -> String {
        let values: Vec<_> = self.0.iter().map(|(_, value)| value.as_str()).collect();
        format!("[{}]", values.join(","))
    }

    pub(super) fn get(&self, name: &str) -> String {
        self.0.iter().find(|(known, _)| known == name).unwrap().1.clone()
    }
}
