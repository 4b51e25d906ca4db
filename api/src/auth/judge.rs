//! How what somebody presents is judged: all of it, and together.

use std::collections::BTreeSet;
use std::net::IpAddr;

use domain::keys::key::{ApiKey, KeyId, SecretHash};
use domain::time::Timestamp;
use projections::access::Access;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::auth::credentials::Credentials;
use crate::auth::key_text::KeyText;
use crate::auth::token::{self, BadToken, Claims};
use crate::principal::Principal;

/// What is told of every key that is not good, so that nothing tells whether it exists.
const KEY_NOT_GOOD: &str = "the API key is not good";

/// The word of somebody who was let in, and whose time is over.
pub const EXPIRED: &str = "expired";

/// What an unknown key is compared with: a known one is not to take longer. No text has this hash
/// that anybody will find.
const NO_SECRET: SecretHash = SecretHash([0; 32]);

/// Why somebody may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// What is presented is not good: 401. Why, in one word for the record, and in words for whoever
    /// presents it; of a key, not even whether it exists.
    Failed { word: &'static str, detail: String, key: Option<KeyId> },
    /// The key is good, but not from there: 403.
    Address { key: KeyId },
}

impl Denied {
    fn failed(word: &'static str, detail: &str, key: Option<KeyId>) -> Self {
        Self::Failed { word, detail: detail.to_owned(), key }
    }

    fn of_token(reason: BadToken) -> Self {
        Self::failed(reason.word(), reason.told(), None)
    }
}

/// Why a key opens nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shut {
    Unknown,
    Revoked,
    Expired,
}

impl Shut {
    const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "key_unknown",
            Self::Revoked => "key_revoked",
            Self::Expired => "key_expired",
        }
    }
}

impl App {
    /// Returns who presents this, from this address. Each credential must be good for itself, and
    /// all must be of one account and role; what they may is what each of them may.
    pub fn judge(&self, presented: &Credentials, from: IpAddr) -> Result<Principal, Denied> {
        let now = self.clock.now();
        // What takes a while comes first, so that nobody who writes the view waits for it.
        let claims = presented.token.as_ref().map(|token| {
            token::verify(&self.gate.token_keys.load(), token.expose_secret(), now)
                .map_err(Denied::of_token)
        });
        let claims = claims.transpose()?;
        let key = presented.key.as_ref().map(|key| {
            KeyText::read(key.expose_secret())
                .map_err(|_| Denied::failed("key_malformed", KEY_NOT_GOOD, None))
        });
        let key = key.transpose()?.map(|key| (key.hash(), key.id));

        let access = self.views.access();
        let by_token = claims.map(|claims| of_token(&access, claims, now)).transpose()?;
        let by_key = key.map(|(secret, id)| of_key(&access, id, secret, now)).transpose()?;
        let principal = match (by_token, by_key) {
            (None, None) => {
                let detail = "a token or an API key is needed";
                return Err(Denied::failed("nothing_presented", detail, None));
            }
            (Some(one), None) | (None, Some(one)) => one,
            (Some(one), Some(other)) => together(one, other)?,
        };
        check_networks(&access, &principal, from)?;
        drop(access);
        for key in &principal.keys {
            self.gate.trail.used(key, now);
        }
        Ok(principal)
    }

    /// Whether somebody who was let in would be let in now: no key revoked, no token revoked or
    /// expired. What was taken back comes before what has expired: nobody gets time for that.
    pub fn judge_again(&self, principal: &Principal, from: IpAddr) -> Result<(), Denied> {
        let now = self.clock.now();
        let access = self.views.access();
        if principal.token.as_ref().is_some_and(|token| access.is_revoked(token)) {
            return Err(Denied::failed("token_revoked", "the token is not good any more", None));
        }
        for id in &principal.keys {
            match open(access.key(id), now) {
                // Among the ends of `expires_at`: that is looked at last.
                Ok(_) | Err(Shut::Expired) => {}
                Err(why @ (Shut::Unknown | Shut::Revoked)) => {
                    let detail = "the API key is not good any more";
                    return Err(Denied::failed(why.word(), detail, Some(id.clone())));
                }
            }
        }
        check_networks(&access, principal, from)?;
        if principal.expires_at.is_some_and(|until| until <= now) {
            return Err(Denied::failed(EXPIRED, "what was presented has expired", None));
        }
        Ok(())
    }
}

fn of_token(access: &Access, claims: Claims, now: Timestamp) -> Result<Principal, Denied> {
    let not_good = |word| Denied::failed(word, BadToken::Signature.told(), claims.key.clone());
    if access.is_revoked(&claims.id) {
        return Err(not_good("token_revoked"));
    }
    let mut principal = Principal {
        account: claims.account,
        role: claims.role,
        scopes: claims.scopes,
        keys: BTreeSet::new(),
        token: Some(claims.id),
        expires_at: Some(claims.expires_at),
    };
    let Some(id) = &claims.key else { return Ok(principal) };
    let key = open(access.key(id), now).map_err(|why| not_good(why.word()))?;
    if (&key.grant.account, key.grant.role) != (&principal.account, principal.role) {
        return Err(not_good("token_of_another_key"));
    }
    principal.scopes = principal.scopes.common(&key.grant.scopes);
    principal.expires_at = first(principal.expires_at, key.grant.expires_at);
    principal.keys.insert(id.clone());
    Ok(principal)
}

fn of_key(
    access: &Access,
    id: KeyId,
    secret: SecretHash,
    now: Timestamp,
) -> Result<Principal, Denied> {
    let known = access.key(&id);
    let former = known.and_then(|key| key.former.as_ref()).filter(|former| now < former.until);
    // Both are always compared, also where there is none, and of a key that is not there.
    let is_current = is_same(known.map_or(NO_SECRET, |key| key.secret), secret);
    let is_former = is_same(former.map_or(NO_SECRET, |former| former.secret), secret);
    let not_good = |word| Denied::failed(word, KEY_NOT_GOOD, Some(id.clone()));
    if known.is_some() && !is_current && !is_former {
        return Err(not_good("key_secret"));
    }
    let key = open(known, now).map_err(|why| not_good(why.word()))?;
    let until = former.filter(|_| !is_current).map(|former| former.until);
    Ok(Principal {
        account: key.grant.account.clone(),
        role: key.grant.role,
        scopes: key.grant.scopes.clone(),
        keys: BTreeSet::from([id]),
        token: None,
        expires_at: first(key.grant.expires_at, until),
    })
}

/// Returns whom two credentials are of: one account and one role, and what both of them may.
fn together(one: Principal, other: Principal) -> Result<Principal, Denied> {
    if (&one.account, one.role) != (&other.account, other.role) {
        let detail = "the token and the API key are not of one account and role";
        return Err(Denied::failed("credentials_differ", detail, other.keys.into_iter().next()));
    }
    Ok(Principal {
        scopes: one.scopes.common(&other.scopes),
        keys: one.keys.into_iter().chain(other.keys).collect(),
        expires_at: first(one.expires_at, other.expires_at),
        ..one
    })
}

/// Refuses whoever comes from where one of their keys is not good.
fn check_networks(access: &Access, principal: &Principal, from: IpAddr) -> Result<(), Denied> {
    let is_good_there = |key: &ApiKey| {
        let networks = &key.grant.networks;
        networks.is_empty() || networks.iter().any(|network| network.contains(from))
    };
    let elsewhere =
        principal.keys.iter().find(|id| access.key(id).is_some_and(|key| !is_good_there(key)));
    elsewhere.map_or(Ok(()), |key| Err(Denied::Address { key: key.clone() }))
}

/// Returns a key that is not revoked and has not expired.
fn open(key: Option<&ApiKey>, now: Timestamp) -> Result<&ApiKey, Shut> {
    let key = key.ok_or(Shut::Unknown)?;
    if key.revoked {
        return Err(Shut::Revoked);
    }
    match key.grant.expires_at {
        Some(until) if until <= now => Err(Shut::Expired),
        Some(_) | None => Ok(key),
    }
}

fn is_same(kept: SecretHash, presented: SecretHash) -> bool {
    kept.0.ct_eq(&presented.0).into()
}

/// Returns the earlier of two ends, where there is any.
fn first(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;
