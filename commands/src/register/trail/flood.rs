//! Who comes too fast: what of one address, and of all, is recorded one by one, and what is only
//! counted.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use domain::access::event::AccessEvent;
use domain::time::Timestamp;
use tokio::time::Instant;

/// Failures and denials of one address that are recorded one by one in a second. More are counted,
/// and told in one event.
pub const FAILURES_PER_SECOND_MAX: u32 = 10;

/// The same, of all addresses together: whoever has many of them is a flood, too.
pub const FAILURES_IN_ALL_PER_SECOND_MAX: u32 = 100;

/// Addresses that are watched at once. What comes from further ones is counted under 0.0.0.0.
pub const ADDRESSES_MAX: usize = 4_096;

/// A second: what an address may do in it, and how long it has been quiet when its flood is over.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// A flood that goes on is told of so often.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// Bits of an IPv6 address that tell one site from another. Whoever has one has all that are behind.
const SITE_BITS: u32 = 64;

/// Everybody who comes.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// What was recorded one by one, whoever it came from.
    in_all: Option<Second>,
    addresses: BTreeMap<IpAddr, Seen>,
    /// What came from addresses that are not watched.
    others: Option<Counted>,
    /// When addresses that are quiet were last forgotten.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    second: Second,
    counted: Option<Counted>,
}

/// The second that counts now: when it began, and how many were recorded in it.
#[derive(Debug)]
struct Second {
    began: Instant,
    recorded: u32,
}

#[derive(Debug)]
struct Counted {
    count: u64,
    from: Timestamp,
    to: Timestamp,
    first: Instant,
    last: Instant,
}

impl Flood {
    /// Whether one more of an address is recorded by itself now.
    pub(super) fn lets(&mut self, address: IpAddr, now: Instant) -> bool {
        let address = site(address);
        let in_all = self.in_all.get_or_insert_with(|| Second::new(now));
        if !in_all.has_room(now, FAILURES_IN_ALL_PER_SECOND_MAX) {
            return false;
        }
        if !self.addresses.contains_key(&address) && !self.has_room(now) {
            return false;
        }
        let new = || Seen { second: Second::new(now), counted: None };
        let seen = self.addresses.entry(address).or_insert_with(new);
        let lets = seen.second.has_room(now, FAILURES_PER_SECOND_MAX);
        if lets && let Some(in_all) = &mut self.in_all {
            seen.second.recorded += 1;
            in_all.recorded += 1;
        }
        lets
    }

    /// Counts one of an address that is not recorded by itself; returns whether it is the first.
    pub(super) fn count(&mut self, address: IpAddr, (at, now): (Timestamp, Instant)) -> bool {
        let counted = match self.addresses.get_mut(&site(address)) {
            Some(seen) => &mut seen.counted,
            None => &mut self.others,
        };
        let is_first = counted.is_none();
        let new = || Counted { count: 0, from: at, to: at, first: now, last: now };
        let counted = counted.get_or_insert_with(new);
        counted.count += 1;
        // A clock that is put back makes no flood that ends before it began.
        (counted.to, counted.last) = (at.max(counted.from), now);
        is_first
    }

    /// Returns what was counted, at most so much, of floods that are over or have gone on for long
    /// by `now`; of all when there is no `now`.
    pub(super) fn tell(&mut self, now: Option<Instant>, max: usize) -> Vec<AccessEvent> {
        let seen = self.addresses.iter_mut().map(|(address, seen)| (*address, &mut seen.counted));
        let others = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), &mut self.others);
        let due = [others].into_iter().chain(seen).filter_map(|(address, counted)| {
            let counted = counted.take_if(|counted| now.is_none_or(|now| counted.is_due(now)))?;
            let Counted { count, from, to, .. } = counted;
            Some(AccessEvent::FailuresCounted { address, count, from, to })
        });
        due.take(max).collect()
    }

    /// Whether something was counted and not told.
    pub(super) fn is_counting(&self) -> bool {
        self.others.is_some() || self.addresses.values().any(|seen| seen.counted.is_some())
    }

    /// Returns how much was counted and not told.
    pub(super) fn counted(&self) -> u64 {
        let counted = self.addresses.values().map(|seen| &seen.counted).chain([&self.others]);
        counted.flatten().map(|counted| counted.count).sum()
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.addresses.len() < ADDRESSES_MAX {
            return true;
        }
        // Not for each that comes: looking through all of them is work that a flood must not cause.
        if self.swept.is_some_and(|swept| now.duration_since(swept) < WINDOW) {
            return false;
        }
        self.swept = Some(now);
        self.addresses.retain(|_, seen| seen.counted.is_some() || !seen.second.is_over(now));
        self.addresses.len() < ADDRESSES_MAX
    }
}

impl Second {
    const fn new(began: Instant) -> Self {
        Self { began, recorded: 0 }
    }

    /// Whether fewer than `max` were recorded in the second that counts at `now`.
    fn has_room(&mut self, now: Instant, max: u32) -> bool {
        if self.is_over(now) {
            *self = Self::new(now);
        }
        self.recorded < max
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.began) >= WINDOW
    }
}

impl Counted {
    fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.last) >= WINDOW || now.duration_since(self.first) >= TELL_AFTER
    }
}

/// Returns the address that stands for all that its holder has.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let bits = address.to_bits() & !(u128::MAX >> SITE_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
    }
}
