//! Which keys and tokens open the door, and when each key was used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use domain::access::event::AccessEvent;
use domain::decider::Decider;
use domain::event::Event;
use domain::keys::Keys;
use domain::keys::event::KeyEvent;
use domain::keys::key::{ApiKey, KeyId, TokenId};
use domain::keys::revoked::RevokedToken;
use domain::time::{MINUTE, Timestamp};
use eventlog::entry::Entry;
use eventlog::stream::{Log, Stream};
use serde::{Deserialize, Serialize};

use crate::part::{self, Marks};
use crate::view::{NotAPart, View};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    keys: Keys,
    made: BTreeMap<KeyId, Made>,
    marks: Marks,
}

/// What is known of a key beside the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    pub created_at: Timestamp,
    pub rotated_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// To the day: the first use of that day.
    pub used_at: Option<Timestamp>,
}

/// What a part tells of: `key/a1B2c3D4`, `revoked`, `tokens/2024-03-21T09:30:00Z`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PartName {
    Key(KeyId),
    /// The order in which keys were revoked.
    Revoked,
    /// The tokens that are forgotten in the minute that begins then. All of them together would be
    /// written anew with each token that is revoked.
    Tokens(Timestamp),
}

/// A key, as a part.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyPart {
    key: ApiKey,
    made: Made,
}

impl Access {
    pub fn key(&self, id: &KeyId) -> Option<&ApiKey> {
        self.keys.get(id)
    }

    /// Returns all keys, revoked or not, in order of their ids.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyId, &ApiKey, &Made)> {
        self.keys.iter().filter_map(|(id, key)| Some((id, key, self.made.get(id)?)))
    }

    pub fn made(&self, id: &KeyId) -> Option<&Made> {
        self.made.get(id)
    }

    /// Whether a token was revoked before it expired.
    pub fn is_revoked(&self, token: &TokenId) -> bool {
        self.keys.is_revoked(token)
    }

    fn take(&mut self, event: &KeyEvent, recorded_at: Timestamp) {
        let oldest = self.keys.revoked().front().cloned();
        match event {
            KeyEvent::ApiKeyCreated { key, .. } => {
                let (rotated_at, revoked_at, used_at) = (None, None, None);
                let made = Made { created_at: recorded_at, rotated_at, revoked_at, used_at };
                self.made.insert(key.clone(), made);
                self.mark(&PartName::Key(key.clone()));
            }
            KeyEvent::ApiKeyRotated { key, .. } => {
                self.change(key, |made| made.rotated_at = Some(recorded_at));
            }
            KeyEvent::ApiKeyRevoked { key } => {
                self.change(key, |made| made.revoked_at = Some(recorded_at));
                self.mark(&PartName::Revoked);
            }
            KeyEvent::TokenRevoked { at, until, .. } => {
                let forgotten = self.keys.tokens().within(Timestamp::MIN, *at);
                let mut minutes: BTreeSet<_> = forgotten.map(|(until, _)| minute(until)).collect();
                minutes.insert(minute(*until));
                for minute in minutes {
                    self.mark(&PartName::Tokens(minute));
                }
            }
        }
        self.keys.evolve(event);
        if let Some(oldest) = oldest.filter(|oldest| self.keys.get(oldest).is_none()) {
            self.made.remove(&oldest);
            self.mark(&PartName::Key(oldest));
        }
    }

    fn use_key(&mut self, key: &KeyId, at: Timestamp) {
        // Of two nodes either may have noted it first.
        self.change(key, |made| made.used_at = made.used_at.max(Some(at)));
    }

    fn change(&mut self, key: &KeyId, change: impl FnOnce(&mut Made)) {
        // A key that was forgotten may have been used a moment before.
        let Some(made) = self.made.get_mut(key) else { return };
        change(made);
        self.mark(&PartName::Key(key.clone()));
    }

    fn mark(&mut self, part: &PartName) {
        self.marks.set(part.to_string());
    }

    fn tokens_of(&self, minute: Timestamp) -> BTreeMap<&TokenId, &RevokedToken> {
        let tokens = self.keys.tokens();
        let within = tokens.within(minute, minute.plus(MINUTE));
        within.filter_map(|(_, token)| Some((token, tokens.get(token)?))).collect()
    }
}

fn minute(until: Timestamp) -> Timestamp {
    until.floor(MINUTE)
}

impl View for Access {
    const NAME: &'static str = "access";
    const REVISION: u32 = 1;
    const LOGS: &'static [Log] = &[Log::Ledger];

    fn fold(&mut self, entry: &Entry) {
        for event in &entry.events {
            match (&entry.stream, event) {
                (Stream::Keys, Event::Key(event)) => self.take(event, entry.recorded_at),
                (Stream::Access(_), Event::Access(AccessEvent::ApiKeyUsed { at, key })) => {
                    self.use_key(key, *at);
                }
                _ => {}
            }
        }
    }

    fn parts(&self) -> BTreeSet<String> {
        let keys = self.made.keys().cloned().map(PartName::Key);
        let revoked = (!self.keys.revoked().is_empty()).then_some(PartName::Revoked);
        let tokens = self.keys.tokens().iter().map(|(until, _)| PartName::Tokens(minute(until)));
        keys.chain(revoked).chain(tokens).map(|part| part.to_string()).collect()
    }

    fn take_changed(&mut self) -> BTreeSet<String> {
        self.marks.take()
    }

    fn part(&self, name: &str) -> Option<Vec<u8>> {
        match name.parse().ok()? {
            PartName::Key(id) => {
                let (key, made) = (self.keys.get(&id)?.clone(), self.made.get(&id)?.clone());
                serde_json::to_vec(&KeyPart { key, made })
            }
            PartName::Revoked => {
                let revoked = Some(self.keys.revoked()).filter(|revoked| !revoked.is_empty());
                serde_json::to_vec(revoked?)
            }
            PartName::Tokens(minute) => {
                let tokens = Some(self.tokens_of(minute)).filter(|tokens| !tokens.is_empty());
                serde_json::to_vec(&tokens?)
            }
        }
        .ok()
    }

    fn restore(&mut self, name: &str, state: &[u8]) -> Result<(), NotAPart> {
        match name.parse()? {
            PartName::Key(id) => {
                let KeyPart { key, made } = part::read(name, state)?;
                self.keys.restore_key(id.clone(), key);
                self.made.insert(id, made);
            }
            PartName::Revoked => self.keys.restore_revoked(part::read(name, state)?),
            PartName::Tokens(minute) => {
                let tokens: BTreeMap<TokenId, RevokedToken> = part::read(name, state)?;
                for (token, revoked) in tokens {
                    if self::minute(revoked.until) != minute {
                        return Err(part::not(name, "a token of another minute"));
                    }
                    self.keys.restore_token(token, revoked);
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key/{id}"),
            Self::Revoked => f.write_str("revoked"),
            Self::Tokens(minute) => write!(f, "tokens/{}", minute.to_shortest()),
        }
    }
}

impl FromStr for PartName {
    type Err = NotAPart;

    fn from_str(name: &str) -> Result<Self, NotAPart> {
        let part = match name.split_once('/') {
            None if name == "revoked" => Some(Self::Revoked),
            Some(("key", id)) => id.parse().ok().map(Self::Key),
            Some(("tokens", minute)) => {
                minute.parse().ok().map(|at| Self::Tokens(self::minute(at)))
            }
            _ => None,
        };
        // One part has one name.
        let part = part.filter(|part: &Self| part.to_string() == name);
        part.ok_or_else(|| part::not(name, "no such name"))
    }
}

#[cfg(test)]
mod tests;
