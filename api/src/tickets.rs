//! Tickets: how a page of a browser, which cannot send headers with a WebSocket, says whose it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::name::AccountId;
use domain::time::Timestamp;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::principal::Principal;

/// Microseconds for which a ticket is good.
pub const LIFE: i64 = 30 * domain::time::SECOND;

/// Tickets that were not used yet. One more is refused.
pub const TICKETS_MAX: usize = 10_000;

/// Tickets of one account that were not used yet. One more is refused, so that nobody keeps the others
/// from theirs.
pub const TICKETS_ACCOUNT_MAX: usize = 16;

const PREFIX: &str = "ent_ticket_";

/// Random bytes of a ticket.
const SECRET_BYTES: usize = 32;

/// A ticket, to be shown once.
#[derive(Debug)]
pub struct Ticket {
    pub text: SecretString,
    pub expires_at: Timestamp,
}

/// Too many wait to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// The tickets of this node that wait to be used. They are good on this node alone.
#[derive(Default)]
pub struct Tickets(Mutex<Waiting>);

/// What is kept of a text: enough to know it again, and nothing to show.
type Trace = [u8; 32];

/// What waits, found by its ticket and by its age.
#[derive(Default)]
struct Waiting {
    tickets: BTreeMap<Trace, Issued>,
    by_age: BTreeSet<(Timestamp, Trace)>,
    by_account: BTreeMap<AccountId, usize>,
}

struct Issued {
    principal: Principal,
    address: IpAddr,
    origin: Option<Trace>,
    expires_at: Timestamp,
}

impl Tickets {
    /// Issues a ticket that is good once, from this address and for pages of this origin.
    pub fn issue(
        &self,
        principal: Principal,
        address: IpAddr,
        origin: Option<&str>,
        now: Timestamp,
    ) -> Result<Ticket, TooMany> {
        let (text, expires_at) = (drawn(), now.plus(LIFE));
        let (address, origin) = (address.to_canonical(), origin.map(trace));
        let mut waiting = self.waiting();
        waiting.forget_expired(now);
        let of_account = waiting.by_account.get(&principal.account).copied().unwrap_or_default();
        if waiting.tickets.len() >= TICKETS_MAX || of_account >= TICKETS_ACCOUNT_MAX {
            return Err(TooMany);
        }
        waiting.put(trace(&text), Issued { principal, address, origin, expires_at });
        Ok(Ticket { text: text.into(), expires_at })
    }

    /// Takes a ticket, and returns whose it was. Whatever the outcome, it is used.
    pub fn redeem(
        &self,
        ticket: &str,
        address: IpAddr,
        origin: Option<&str>,
        now: Timestamp,
    ) -> Option<Principal> {
        // Found by its hash: how long that takes tells nothing about the tickets there are.
        let issued = self.waiting().take(&trace(ticket))?;
        let is_good = now < issued.expires_at
            && issued.address == address.to_canonical()
            && issued.origin == origin.map(trace);
        is_good.then_some(issued.principal)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in it panics between two steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn put(&mut self, trace: Trace, issued: Issued) {
        *self.by_account.entry(issued.principal.account.clone()).or_default() += 1;
        self.by_age.insert((issued.expires_at, trace));
        self.tickets.insert(trace, issued);
    }

    fn take(&mut self, trace: &Trace) -> Option<Issued> {
        let issued = self.tickets.remove(trace)?;
        self.by_age.remove(&(issued.expires_at, *trace));
        if let Some(count) = self.by_account.get_mut(&issued.principal.account) {
            *count -= 1;
            if *count == 0 {
                self.by_account.remove(&issued.principal.account);
            }
        }
        Some(issued)
    }

    fn forget_expired(&mut self, now: Timestamp) {
        while let Some((_, trace)) = self.by_age.first().copied().filter(|(at, _)| *at <= now) {
            self.take(&trace);
        }
    }
}

fn drawn() -> String {
    let mut secret = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret).expect("the system has random bytes");
    let mut text = PREFIX.to_owned();
    for byte in secret {
        write!(text, "{byte:02x}").expect("a text takes all that is written to it");
    }
    text
}

fn trace(text: &str) -> Trace {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use domain::access::Role;
    use secrecy::ExposeSecret;

    use super::*;

    const HOME: &str = "https://app.example.com";

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

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * domain::time::SECOND)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn issued(tickets: &Tickets, account: &str, now: Timestamp) -> Result<String, TooMany> {
        let ticket = tickets.issue(of(account), address("192.0.2.1"), Some(HOME), now)?;
        Ok(ticket.text.expose_secret().to_owned())
    }

    fn redeemed(tickets: &Tickets, text: &str, now: Timestamp) -> Option<String> {
        let principal = tickets.redeem(text, address("::ffff:192.0.2.1"), Some(HOME), now)?;
        Some(principal.account.to_string())
    }

    #[test]
    fn a_ticket_is_good_once() {
        let tickets = Tickets::default();
        let (one, other) =
            (issued(&tickets, "alice", at(0)).unwrap(), issued(&tickets, "bob", at(0)).unwrap());
        assert_ne!(one, other);

        assert_eq!(redeemed(&tickets, &one, at(1)).as_deref(), Some("alice"));
        assert_eq!(redeemed(&tickets, &one, at(1)), None);
        assert_eq!(redeemed(&tickets, &other, at(1)).as_deref(), Some("bob"));
        assert_eq!(redeemed(&tickets, "ent_ticket_", at(1)), None);
    }

    #[test]
    fn a_ticket_is_good_for_thirty_seconds() {
        let tickets = Tickets::default();
        let (in_time, late) =
            (issued(&tickets, "alice", at(0)).unwrap(), issued(&tickets, "alice", at(0)).unwrap());

        assert!(redeemed(&tickets, &in_time, at(30).plus(-1)).is_some());
        assert!(redeemed(&tickets, &late, at(30)).is_none());
    }

    #[test]
    fn a_ticket_that_was_shown_elsewhere_is_used_up() {
        let here = address("192.0.2.1");
        for (elsewhere, origin) in [
            (address("192.0.2.2"), Some(HOME)),
            (here, Some("https://evil.example.com")),
            (here, None),
        ] {
            let tickets = Tickets::default();
            let text = issued(&tickets, "alice", at(0)).unwrap();
            assert_eq!(tickets.redeem(&text, elsewhere, origin, at(1)), None);
            assert_eq!(redeemed(&tickets, &text, at(1)), None, "{elsewhere} {origin:?}");
        }
    }

    #[test]
    fn a_ticket_of_no_page_is_for_no_page() {
        let (tickets, here) = (Tickets::default(), address("192.0.2.1"));
        for (origin, is_good) in [(None, true), (Some(HOME), false)] {
            let ticket = tickets.issue(of("alice"), here, None, at(0)).unwrap();
            let text = ticket.text.expose_secret();
            assert_eq!(tickets.redeem(text, here, origin, at(1)).is_some(), is_good);
        }
    }

    #[test]
    fn an_account_has_only_so_many_until_they_are_used_or_expire() {
        let tickets = Tickets::default();
        let held: Vec<_> =
            (0..TICKETS_ACCOUNT_MAX).map(|_| issued(&tickets, "alice", at(0)).unwrap()).collect();
        assert_eq!(issued(&tickets, "alice", at(1)), Err(TooMany));
        assert!(issued(&tickets, "bob", at(1)).is_ok());

        redeemed(&tickets, &held[0], at(1)).unwrap();
        assert!(issued(&tickets, "alice", at(1)).is_ok());
        assert_eq!(issued(&tickets, "alice", at(29)), Err(TooMany));
        assert!(issued(&tickets, "alice", at(30)).is_ok());
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_expired_go_first() {
        let tickets = Tickets::default();
        let account = |place: usize| format!("account-{}", place / TICKETS_ACCOUNT_MAX);
        for place in 0..TICKETS_MAX {
            issued(&tickets, &account(place), at(0)).unwrap();
        }
        assert_eq!(issued(&tickets, "alice", at(29)), Err(TooMany));
        issued(&tickets, "alice", at(30)).unwrap();

        let waiting = tickets.waiting();
        let kept = (waiting.tickets.len(), waiting.by_age.len(), waiting.by_account.len());
        assert_eq!(kept, (1, 1, 1));
    }

    #[test]
    fn a_ticket_is_not_shown_by_accident() {
        let tickets = Tickets::default();
        let ticket = tickets.issue(of("alice"), address("192.0.2.1"), None, at(0)).unwrap();
        let text = ticket.text.expose_secret();
        let secret = text.strip_prefix("ent_ticket_").unwrap();
        assert_eq!(secret.len(), 2 * SECRET_BYTES);
        assert!(!format!("{ticket:?}").contains(secret));
    }
}
