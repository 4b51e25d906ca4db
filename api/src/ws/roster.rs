//! The sessions of this node that say whose they are: how many an account has, and which of them end
//! when a key or a token is revoked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::name::AccountId;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::auth::judge::{Denied, EXPIRED};
use crate::principal::Principal;

/// All sessions that have a principal.
#[derive(Debug, Default)]
pub struct Roster(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    /// By account, and there by number. No account is without a row.
    by_account: BTreeMap<AccountId, BTreeMap<u64, Row>>,
    last_number: u64,
}

/// A session, as far as its end may come from outside.
#[derive(Debug)]
struct Row {
    principal: Principal,
    address: IpAddr,
    evicted: CancellationToken,
}

/// A session's place among those of its account, until it is dropped.
#[derive(Debug)]
pub struct Place {
    roster: Arc<Roster>,
    account: AccountId,
    number: u64,
}

impl Roster {
    /// Takes in a session, which is to end when `evicted` is cancelled; `None` when its account has
    /// `max` already.
    pub fn enter(
        self: &Arc<Self>,
        principal: &Principal,
        address: IpAddr,
        evicted: CancellationToken,
        max: usize,
    ) -> Option<Place> {
        let (principal, account) = (principal.clone(), principal.account.clone());
        let mut rows = self.rows();
        if rows.by_account.get(&account).is_some_and(|of_account| of_account.len() >= max) {
            return None;
        }
        rows.last_number += 1;
        let number = rows.last_number;
        let of_account = rows.by_account.entry(account.clone()).or_default();
        of_account.insert(number, Row { principal, address, evicted });
        drop(rows);
        Some(Place { roster: Arc::clone(self), account, number })
    }

    /// Ends the sessions of those who would not be let in any more.
    fn review(&self, app: &App) {
        for row in self.rows().by_account.values().flat_map(BTreeMap::values) {
            if is_revoked(app, &row.principal, row.address) {
                row.evicted.cancel();
            }
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // Nothing in it panics between two steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes what the session's client presented since.
    pub fn renew(&self, principal: &Principal) {
        let mut rows = self.roster.rows();
        let of_account = rows.by_account.get_mut(&self.account);
        if let Some(row) = of_account.and_then(|of_account| of_account.get_mut(&self.number)) {
            row.principal.clone_from(principal);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rows = self.roster.rows();
        if let Some(of_account) = rows.by_account.get_mut(&self.account) {
            of_account.remove(&self.number);
            if of_account.is_empty() {
                rows.by_account.remove(&self.account);
            }
        }
    }
}

/// Whether somebody who was let in would not be any more. Who has merely expired is told so by the
/// session, and has time to send a new token.
pub fn is_revoked(app: &App, principal: &Principal, address: IpAddr) -> bool {
    match app.judge_again(principal, address) {
        Ok(()) | Err(Denied::Failed { word: EXPIRED, .. }) => false,
        Err(Denied::Failed { .. } | Denied::Address { .. }) => true,
    }
}

/// Looks through the sessions whenever a key or a token has changed, for ever.
pub async fn run(app: Arc<App>, roster: Arc<Roster>) {
    let mut changes = app.views.access_changes();
    while changes.changed().await.is_ok() {
        roster.review(&app);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::access::Role;

    use super::*;

    fn of(account: &str) -> Principal {
        Principal {
            account: account.parse().unwrap(),
            role: Role::Trader,
            scopes: Role::Trader.scopes(),
            keys: BTreeSet::new(),
            token: None,
            expires_at: None,
        }
    }

    #[test]
    fn an_account_has_only_so_many_places_until_one_is_left() {
        let (roster, address) = (Arc::new(Roster::default()), "192.0.2.1".parse().unwrap());
        let enter =
            |account: &str| roster.enter(&of(account), address, CancellationToken::new(), 2);

        let held = [enter("alice").unwrap(), enter("alice").unwrap()];
        assert!(enter("alice").is_none());
        assert!(enter("bob").is_some());

        drop(held);
        assert!(enter("alice").is_some());
        assert_eq!(roster.rows().by_account.len(), 0, "nobody is kept who has gone");
    }
}
