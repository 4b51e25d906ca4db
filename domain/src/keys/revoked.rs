//! Tokens that were revoked, each for as long as it would open the door otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use serde::{Deserialize, Serialize};

use crate::keys::key::TokenId;
use crate::name::AccountId;
use crate::time::Timestamp;

/// A token that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedToken {
    pub account: AccountId,
    /// When it may be forgotten.
    pub until: Timestamp,
}

/// By name, and by when each may be forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedTokens {
    by_id: BTreeMap<TokenId, RevokedToken>,
    /// The same, soonest first: what may be forgotten is found without looking through all.
    by_until: BTreeMap<Timestamp, BTreeSet<TokenId>>,
}

impl RevokedTokens {
    pub fn contains(&self, token: &TokenId) -> bool {
        self.by_id.contains_key(token)
    }

    pub fn get(&self, token: &TokenId) -> Option<&RevokedToken> {
        self.by_id.get(token)
    }

    /// Returns all of them, soonest to be forgotten first.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &TokenId)> {
        of_each(self.by_until.iter())
    }

    /// Returns those whose time is `from` or later, and before `to`.
    pub fn within(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, &TokenId)> {
        of_each(self.by_until.range(from..to.max(from)))
    }

    /// Returns how many of them would still open the door at `now`.
    pub(super) fn remembered_at(&self, now: Timestamp) -> usize {
        let expired = self.by_until.range(..now).map(|(_, tokens)| tokens.len());
        self.by_id.len() - expired.sum::<usize>()
    }

    /// Returns how many of an account's would still open the door at `now`.
    pub(super) fn remembered_of(&self, account: &AccountId, now: Timestamp) -> usize {
        // All are looked at: a token is revoked far less often than one is judged.
        let theirs = |revoked: &&RevokedToken| revoked.until >= now && revoked.account == *account;
        self.by_id.values().filter(theirs).count()
    }

    pub(super) fn insert(&mut self, token: TokenId, revoked: RevokedToken) {
        let until = revoked.until;
        if let Some(former) = self.by_id.insert(token.clone(), revoked)
            && let Some(tokens) = self.by_until.get_mut(&former.until)
        {
            tokens.remove(&token);
            if tokens.is_empty() {
                self.by_until.remove(&former.until);
            }
        }
        self.by_until.entry(until).or_default().insert(token);
    }

    pub(super) fn forget_before(&mut self, now: Timestamp) {
        let kept = self.by_until.split_off(&now);
        for token in mem::replace(&mut self.by_until, kept).into_values().flatten() {
            self.by_id.remove(&token);
        }
    }
}

fn of_each<'a>(
    tokens: impl Iterator<Item = (&'a Timestamp, &'a BTreeSet<TokenId>)>,
) -> impl Iterator<Item = (Timestamp, &'a TokenId)> {
    tokens.flat_map(|(until, tokens)| tokens.iter().map(|token| (*until, token)))
}
