//! Tickets: how a page of a browser, which cannot send headers with a WebSocket, says whose it is.
//!
//! Each is kept by the node that issued it, and names it: `ent_ticket_{tag}_{secret}`. A node that is
//! shown another's asks that one (`neighbours`), so it is good once, wherever it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::name::AccountId;
use domain::time::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
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

/// Random bytes of a tag: no two runs of any node have the same.
const TAG_BYTES: usize = 8;

/// What one run of a node is called among others. It was drawn, and tells nothing of the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(String);

/// Text that is no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 16 digits of 0-9 and a-f")]
pub struct NotATag;

/// A ticket as it was shown to a node, and from where. What is in it opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    ticket: Trace,
    address: IpAddr,
    origin: Option<Trace>,
}

/// A ticket, to be shown once.
#[derive(Debug)]
pub struct Ticket {
    pub text: SecretString,
    pub expires_at: Timestamp,
}

/// Too many wait to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// The tickets of this node that wait to be used. They are gone with it.
pub struct Tickets {
    tag: Tag,
    waiting: Mutex<Waiting>,
}

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

impl Tag {
    fn drawn() -> Self {
        Self(drawn(TAG_BYTES))
    }

    /// Returns whose a ticket says that it is; `None` when it is no ticket.
    pub fn of_ticket(text: &str) -> Option<Self> {
        let (tag, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
        Self::try_from(tag.to_owned()).ok()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Tag {
    type Error = NotATag;

    fn try_from(text: String) -> Result<Self, NotATag> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 2 * TAG_BYTES && text.bytes().all(is_digit) {
            return Ok(Self(text));
        }
        Err(NotATag)
    }
}

impl From<Tag> for String {
    fn from(Tag(text): Tag) -> Self {
        text
    }
}

impl Shown {
    pub fn of(ticket: &str, address: IpAddr, origin: Option<&str>) -> Self {
        let address = address.to_canonical();
        Self { ticket: trace(ticket), address, origin: origin.map(trace) }
    }
}

impl Default for Tickets {
    fn default() -> Self {
        Self { tag: Tag::drawn(), waiting: Mutex::default() }
    }
}

impl Tickets {
    /// Returns what this node is called in its tickets.
    pub const fn tag(&self) -> &Tag {
        &self.tag
    }

    /// Issues a ticket that is good once, from this address and for pages of this origin.
    pub fn issue(
        &self,
        principal: Principal,
        address: IpAddr,
        origin: Option<&str>,
        now: Timestamp,
    ) -> Result<Ticket, TooMany> {
        let text = format!("{PREFIX}{}_{}", self.tag, drawn(SECRET_BYTES));
        let expires_at = now.plus(LIFE);
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
    pub fn redeem(&self, shown: &Shown, now: Timestamp) -> Option<Principal> {
        // Found by its hash: how long that takes tells nothing about the tickets there are.
        let issued = self.waiting().take(&shown.ticket)?;
        let is_good = now < issued.expires_at
            && issued.address == shown.address
            && issued.origin == shown.origin;
        is_good.then_some(issued.principal)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in it panics between two steps.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Returns so many random bytes, as digits.
fn drawn(bytes: usize) -> String {
    let mut drawn = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut drawn).expect("the system has random bytes");
    let mut text = String::with_capacity(2 * bytes);
    for byte in drawn {
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
        let shown = Shown::of(text, address("::ffff:192.0.2.1"), Some(HOME));
        Some(tickets.redeem(&shown, now)?.account.to_string())
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
            assert_eq!(tickets.redeem(&Shown::of(&text, elsewhere, origin), at(1)), None);
            assert_eq!(redeemed(&tickets, &text, at(1)), None, "{elsewhere} {origin:?}");
        }
    }

    #[test]
    fn a_ticket_of_no_page_is_for_no_page() {
        let (tickets, here) = (Tickets::default(), address("192.0.2.1"));
        for (origin, is_good) in [(None, true), (Some(HOME), false)] {
            let ticket = tickets.issue(of("alice"), here, None, at(0)).unwrap();
            let text = ticket.text.expose_secret();
            let redeemed = tickets.redeem(&Shown::of(text, here, origin), at(1));
            assert_eq!(redeemed.is_some(), is_good);
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
        let (tag, secret) = text.strip_prefix("ent_ticket_").unwrap().split_once('_').unwrap();
        assert_eq!((tag, secret.len()), (&*tickets.tag.0, 2 * SECRET_BYTES));
        assert!(!format!("{ticket:?}").contains(secret));
    }

    #[test]
    fn a_ticket_names_the_node_that_issued_it_and_no_other() {
        let (tickets, others) = (Tickets::default(), Tickets::default());
        let text = issued(&tickets, "alice", at(0)).unwrap();

        assert_eq!(Tag::of_ticket(&text).as_ref(), Some(tickets.tag()));
        assert_ne!(tickets.tag(), others.tag());
        assert_eq!(redeemed(&others, &text, at(1)), None);
        assert!(redeemed(&tickets, &text, at(1)).is_some());
    }

    #[test]
    fn what_is_no_tag_names_no_node() {
        let good = "0123456789abcdef";
        assert!(Tag::of_ticket(&format!("ent_ticket_{good}_00")).is_some());
        for text in [
            "ent_ticket_",
            "ent_ticket_0123456789abcdef",
            "ent_ticket_0123456789abcde_00",
            "ent_ticket_0123456789ABCDEF_00",
            "ent_ticket_0123456789abcd.>_00",
            "ent_key_0123456789abcdef_00",
        ] {
            assert_eq!(Tag::of_ticket(text), None, "{text}");
        }
    }

    #[test]
    fn what_another_node_is_shown_says_nothing_that_opens_anything() {
        let tickets = Tickets::default();
        let text = issued(&tickets, "alice", at(0)).unwrap();
        let shown = Shown::of(&text, address("192.0.2.1"), Some(HOME));
        let sent = serde_json::to_string(&shown).unwrap();

        assert!(!sent.contains(HOME) && !sent.contains(text.rsplit_once('_').unwrap().1));
        let read: Shown = serde_json::from_str(&sent).unwrap();
        assert_eq!(tickets.redeem(&read, at(1)).unwrap().account.as_str(), "alice");
    }
}
