//! What a token says, and when it is good.
//!
//! A token is read here from its three parts, member by member: libraries pass over what they do not
//! know, take the last of two members of one name, round times, and ask the system's clock. Only the
//! signature is left to one.

use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::access::{Role, Scope, Scopes};
use domain::keys::key::{KeyId, TokenId};
use domain::name::AccountId;
use domain::time::{SECOND, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::auth::token_keys::TokenKeys;
use crate::body::Object;

/// Who issues our tokens, and for whom.
pub const ISSUER: &str = "entasis";
pub const AUDIENCE: &str = "entasis";

/// A token lives for so long at most.
pub const LIFETIME_MAX: Duration = Duration::from_hours(24);

/// Bytes of a token. A longer one is not read.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// How far the clocks of those who sign and those who verify may be apart.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// The second after the last that has a text form. Later ones are no times.
const SECONDS_END: i64 = Timestamp::MAX.micros() / SECOND + 1;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Its `jti`.
    pub id: TokenId,
    /// Its `sub`.
    pub account: AccountId,
    pub role: Role,
    pub scopes: Scopes,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// The key that it was exchanged for: the token is good for as long as the key is.
    pub key: Option<KeyId>,
}

/// Why a token is not good, in the order in which it is looked for. What it claims is read only when
/// its signature is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error("the token is too long")]
    TooLong,
    #[error("the token is malformed")]
    Malformed,
    #[error("the token asks for what is not understood: crit, b64, or another typ")]
    NotUnderstood,
    #[error("the token is signed with an unknown key")]
    KeyUnknown,
    #[error("the token is not signed the way its key signs")]
    Algorithm,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("a claim of the token is missing or malformed")]
    Claims,
    #[error("the token is of another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token claims more than its role may")]
    Scope,
    #[error("the token lives too long, or not at all")]
    Lifetime,
    #[error("the token is not good yet")]
    NotYet,
    #[error("the token has expired")]
    Expired,
}

impl BadToken {
    /// Returns the reason in one word, for the record of failures.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooLong => "token_too_long",
            Self::Malformed => "token_malformed",
            Self::NotUnderstood => "token_not_understood",
            Self::KeyUnknown => "token_key_unknown",
            Self::Algorithm => "token_algorithm",
            Self::Signature => "token_signature",
            Self::Claims => "token_claims",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Scope => "token_scope",
            Self::Lifetime => "token_lifetime",
            Self::NotYet => "token_not_yet",
            Self::Expired => "token_expired",
        }
    }

    /// Returns what its holder is told: of time, so that they can help themselves, and of nothing
    /// else, so that nobody learns how to forge one.
    pub const fn told(self) -> &'static str {
        match self {
            Self::NotYet => "the token is not good yet",
            Self::Expired => "the token has expired",
            Self::TooLong
            | Self::Malformed
            | Self::NotUnderstood
            | Self::KeyUnknown
            | Self::Algorithm
            | Self::Signature
            | Self::Claims
            | Self::Issuer
            | Self::Audience
            | Self::Scope
            | Self::Lifetime => "the token is not good",
        }
    }
}

/// Signs what a token says with the newest key. Its times are whole seconds; what is finer is cut.
pub fn sign(keys: &TokenKeys, claims: &Claims) -> SecretString {
    let key = keys.signing();
    // In the order of the specification's sample, of which every token of HS256 begins alike.
    let header = json!({"alg": key.algorithm.as_str(), "typ": "JWT", "kid": key.kid});
    let scope: Vec<&str> = claims.scopes.iter().map(Scope::as_str).collect();
    let mut payload = Map::new();
    let mut claim = |name: &str, value: Value| drop(payload.insert(name.to_owned(), value));
    claim("iss", ISSUER.into());
    claim("aud", AUDIENCE.into());
    claim("sub", claims.account.as_str().into());
    claim("jti", claims.id.as_str().into());
    claim("iat", seconds(claims.issued_at).into());
    claim("exp", seconds(claims.expires_at).into());
    claim("role", claims.role.as_str().into());
    claim("scope", scope.join(" ").into());
    if let Some(key) = &claims.key {
        claim("key", key.as_str().into());
    }
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(Value::Object(payload)));
    let signature = key.sign(message.as_bytes()).expect("each key has signed when it was read");
    SecretString::from(format!("{message}.{signature}"))
}

/// Returns what a token says, if it is good at `now`.
pub fn verify(keys: &TokenKeys, token: &str, now: Timestamp) -> Result<Claims, BadToken> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(BadToken::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
    // A fourth part would stand in the payload, and the dot is no letter of base64.
    let (header, payload) = message.split_once('.').ok_or(BadToken::Malformed)?;
    let header = members(header).ok_or(BadToken::Malformed)?;
    let (kid, algorithm) = understood(&header)?;
    let key = keys.verifying(&kid, now).ok_or(BadToken::KeyUnknown)?;
    if key.algorithm.as_str() != algorithm {
        return Err(BadToken::Algorithm);
    }
    if !key.has_signed(message.as_bytes(), signature) {
        return Err(BadToken::Signature);
    }
    let claimed = members(payload).ok_or(BadToken::Claims)?;
    check_parties(&claimed)?;
    let claims = claims(&claimed)?;
    check_scopes(&claims)?;
    check_times(&claimed, &claims, now)?;
    Ok(claims)
}

/// Returns the members of a part, none of which comes twice.
fn members(part: &str) -> Option<Object> {
    let json = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    serde_json::from_str(&json).ok()
}

/// Returns `kid` and `alg` of a header in which nothing stands that changes how it is to be read.
/// Where it says that a key can be found (`jku`, `x5u`, `jwk`), nobody looks.
fn understood(header: &Object) -> Result<(String, String), BadToken> {
    if header.has("crit") || header.has("b64") {
        return Err(BadToken::NotUnderstood);
    }
    if header.has("typ") {
        let typ: String = member(header, "typ").ok_or(BadToken::Malformed)?;
        if !["JWT", "at+jwt"].iter().any(|known| known.eq_ignore_ascii_case(&typ)) {
            return Err(BadToken::NotUnderstood);
        }
    }
    let kid = member(header, "kid").ok_or(BadToken::Malformed)?;
    let algorithm = member(header, "alg").ok_or(BadToken::Malformed)?;
    Ok((kid, algorithm))
}

fn check_parties(claimed: &Object) -> Result<(), BadToken> {
    let issuer: String = member(claimed, "iss").ok_or(BadToken::Claims)?;
    let audience = claimed.get("aud").ok_or(BadToken::Claims)?;
    let audiences = serde_json::from_str::<String>(audience.get()).map(|one| vec![one]);
    let audiences: Vec<String> = audiences
        .or_else(|_| serde_json::from_str(audience.get()))
        .map_err(|_| BadToken::Claims)?;
    if issuer != ISSUER {
        return Err(BadToken::Issuer);
    }
    if audiences.iter().all(|audience| audience != AUDIENCE) {
        return Err(BadToken::Audience);
    }
    Ok(())
}

fn claims(claimed: &Object) -> Result<Claims, BadToken> {
    let role: Role = text(claimed, "role").ok_or(BadToken::Claims)?;
    let scopes = optional(claimed, "scope", scopes)?.unwrap_or_else(|| role.scopes());
    let key = optional(claimed, "key", text)?;
    Ok(Claims {
        id: text(claimed, "jti").ok_or(BadToken::Claims)?,
        account: text(claimed, "sub").ok_or(BadToken::Claims)?,
        role,
        scopes,
        issued_at: time(claimed, "iat").ok_or(BadToken::Claims)?,
        expires_at: time(claimed, "exp").ok_or(BadToken::Claims)?,
        key,
    })
}

fn check_scopes(claims: &Claims) -> Result<(), BadToken> {
    if claims.scopes.are_within(&claims.role.scopes()) { Ok(()) } else { Err(BadToken::Scope) }
}

fn check_times(claimed: &Object, claims: &Claims, now: Timestamp) -> Result<(), BadToken> {
    let Claims { issued_at, expires_at, .. } = *claims;
    let not_before = optional(claimed, "nbf", time)?.unwrap_or(issued_at);
    let lifetime = expires_at.since(issued_at);
    if !(1..=micros(LIFETIME_MAX)).contains(&lifetime) {
        return Err(BadToken::Lifetime);
    }
    let latest = now.plus(micros(LEEWAY));
    if issued_at > latest || not_before > latest {
        return Err(BadToken::NotYet);
    }
    if expires_at.plus(micros(LEEWAY)) <= now {
        return Err(BadToken::Expired);
    }
    Ok(())
}

/// Returns a member that is there and of its type.
fn member<'a, T: Deserialize<'a>>(members: &'a Object, name: &str) -> Option<T> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

/// Returns a member that is a string, and in it what we have a type for.
fn text<T: FromStr>(members: &Object, name: &str) -> Option<T> {
    member::<String>(members, name)?.parse().ok()
}

/// Returns a claim that may be absent. One that is there and not what it should be is not absent.
fn optional<T>(
    claimed: &Object,
    name: &str,
    read: impl FnOnce(&Object, &str) -> Option<T>,
) -> Result<Option<T>, BadToken> {
    if !claimed.has(name) {
        return Ok(None);
    }
    read(claimed, name).map(Some).ok_or(BadToken::Claims)
}

/// Returns the scopes that are named, one space between two. To name none is no way to say so.
fn scopes(members: &Object, name: &str) -> Option<Scopes> {
    let text: String = member(members, name)?;
    text.split(' ').map(|scope| scope.parse().ok()).collect()
}

/// Returns a time: whole seconds since 1970, and nothing that is rounded to them.
fn time(members: &Object, name: &str) -> Option<Timestamp> {
    let seconds = member::<u64>(members, name)?;
    let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds < SECONDS_END)?;
    Some(Timestamp::from_micros(seconds * SECOND))
}

const fn seconds(time: Timestamp) -> i64 {
    time.micros().div_euclid(SECOND)
}

/// Returns a duration as the house counts time.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).expect("a day has fewer microseconds than that")
}

#[cfg(test)]
mod tests;
