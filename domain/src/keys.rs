//! The rule of the stream `keys`: which keys and tokens open the door.

use std::collections::{BTreeMap, VecDeque};

use crate::decider::Decider;
use crate::keys::command::{KeyCommand, KeyRefusal};
use crate::keys::event::KeyEvent;
use crate::keys::key::{ApiKey, Former, Grant, KeyId, SecretHash, TokenId};
use crate::keys::revoked::{RevokedToken, RevokedTokens};
use crate::time::Timestamp;

pub mod key;

pub mod event;

pub mod command;

pub mod revoked;

/// Keys that are not revoked. One more is refused.
pub const KEYS_MAX: usize = 10_000;

/// Keys that were revoked last and are still known. One before them is forgotten: it opens nothing,
/// like a key that never was.
pub const REVOKED_KNOWN_MAX: usize = 10_000;

/// Networks of one key. More are refused.
pub const NETWORKS_MAX: usize = 64;

/// Tokens that are revoked and would not have expired yet. One more is refused.
pub const TOKENS_MAX: usize = 100_000;

/// The same, of one account. One more is refused: nobody is to use up what all share. Who has so many
/// tokens to take back revokes the key that they came from.
pub const TOKENS_ACCOUNT_MAX: usize = 1_000;

/// What a command leads to.
type Ruling = Result<Vec<KeyEvent>, KeyRefusal>;

/// All keys that are known, and the tokens that must be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    by_id: BTreeMap<KeyId, ApiKey>,
    /// Those of them that are revoked, oldest first.
    revoked: VecDeque<KeyId>,
    tokens: RevokedTokens,
}

impl Keys {
    pub fn get(&self, key: &KeyId) -> Option<&ApiKey> {
        self.by_id.get(key)
    }

    /// Returns all keys, in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyId, &ApiKey)> {
        self.by_id.iter()
    }

    /// Returns the keys that are revoked, oldest first.
    pub const fn revoked(&self) -> &VecDeque<KeyId> {
        &self.revoked
    }

    /// Returns the tokens that were revoked before they expired.
    pub const fn tokens(&self) -> &RevokedTokens {
        &self.tokens
    }

    /// Whether a token was revoked before it expired.
    pub fn is_revoked(&self, token: &TokenId) -> bool {
        self.tokens.contains(token)
    }

    /// Takes back a key as it stood.
    pub fn restore_key(&mut self, id: KeyId, key: ApiKey) {
        self.by_id.insert(id, key);
    }

    /// Takes back which keys are revoked, oldest first.
    pub fn restore_revoked(&mut self, revoked: VecDeque<KeyId>) {
        self.revoked = revoked;
    }

    /// Takes back a token that was revoked.
    pub fn restore_token(&mut self, token: TokenId, revoked: RevokedToken) {
        self.tokens.insert(token, revoked);
    }

    fn create(&self, id: KeyId, grant: Grant, secret: SecretHash, now: Timestamp) -> Ruling {
        if let Some(key) = self.by_id.get(&id) {
            let is_same = key.grant == grant && key.secret == secret && !key.revoked;
            return if is_same { Ok(Vec::new()) } else { Err(KeyRefusal::KeyTaken) };
        }
        if grant.scopes.is_empty() {
            return Err(KeyRefusal::NoScope);
        }
        let allowed = grant.role.scopes();
        if !grant.scopes.are_within(&allowed) {
            return Err(KeyRefusal::ScopeBeyondRole { allowed });
        }
        if grant.networks.len() > NETWORKS_MAX {
            return Err(KeyRefusal::TooManyNetworks { max: NETWORKS_MAX });
        }
        if grant.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(KeyRefusal::ExpiredAlready);
        }
        if self.by_id.len() - self.revoked.len() >= KEYS_MAX {
            return Err(KeyRefusal::TooManyKeys { max: KEYS_MAX });
        }
        Ok(vec![KeyEvent::ApiKeyCreated { key: id, grant, secret }])
    }

    fn rotate(&self, id: KeyId, secret: SecretHash, former_until: Timestamp) -> Ruling {
        let key = self.by_id.get(&id).ok_or(KeyRefusal::KeyUnknown)?;
        if key.revoked {
            return Err(KeyRefusal::KeyRevoked);
        }
        if key.secret == secret {
            return Ok(Vec::new());
        }
        Ok(vec![KeyEvent::ApiKeyRotated { key: id, secret, former_until }])
    }

    fn revoke(&self, id: KeyId) -> Ruling {
        let key = self.by_id.get(&id).ok_or(KeyRefusal::KeyUnknown)?;
        if key.revoked { Ok(Vec::new()) } else { Ok(vec![KeyEvent::ApiKeyRevoked { key: id }]) }
    }
}

impl Decider for Keys {
    type Command = KeyCommand;
    type Event = KeyEvent;
    type Refusal = KeyRefusal;

    fn decide(&self, command: KeyCommand) -> Ruling {
        match command {
            KeyCommand::CreateApiKey { key, grant, secret, now } => {
                self.create(key, grant, secret, now)
            }
            KeyCommand::RotateApiKey { key, secret, former_until } => {
                self.rotate(key, secret, former_until)
            }
            KeyCommand::RevokeApiKey { key } => self.revoke(key),
            KeyCommand::RevokeToken { token, account, now, until } => {
                if until <= now || self.is_revoked(&token) {
                    return Ok(Vec::new());
                }
                if self.tokens.remembered_at(now) >= TOKENS_MAX {
                    return Err(KeyRefusal::TooManyTokens { max: TOKENS_MAX });
                }
                if self.tokens.remembered_of(&account, now) >= TOKENS_ACCOUNT_MAX {
                    return Err(KeyRefusal::TooManyTokensOfAccount { max: TOKENS_ACCOUNT_MAX });
                }
                Ok(vec![KeyEvent::TokenRevoked { token, account, at: now, until }])
            }
        }
    }

    fn evolve(&mut self, event: &KeyEvent) {
        match event {
            KeyEvent::ApiKeyCreated { key, grant, secret } => {
                let (grant, secret) = (grant.clone(), *secret);
                let made = ApiKey { grant, secret, former: None, revoked: false };
                self.by_id.insert(key.clone(), made);
            }
            KeyEvent::ApiKeyRotated { key, secret, former_until } => {
                let key = self.known(key);
                let former = Former { secret: key.secret, until: *former_until };
                (key.secret, key.former) = (*secret, Some(former));
            }
            KeyEvent::ApiKeyRevoked { key } => {
                self.known(key).revoked = true;
                self.revoked.push_back(key.clone());
                if self.revoked.len() > REVOKED_KNOWN_MAX
                    && let Some(oldest) = self.revoked.pop_front()
                {
                    self.by_id.remove(&oldest);
                }
            }
            KeyEvent::TokenRevoked { token, account, at, until } => {
                self.tokens.forget_before(*at);
                let revoked = RevokedToken { account: account.clone(), until: *until };
                self.tokens.insert(token.clone(), revoked);
            }
        }
    }
}

impl Keys {
    fn known(&mut self, id: &KeyId) -> &mut ApiKey {
        self.by_id.get_mut(id).expect("only a key that is known is ruled on")
    }
}

#[cfg(test)]
mod tests;
