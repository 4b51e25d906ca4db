//! A market that is watched: where it stands, who looks at it, and how to go back in it for a
//! condition that is learned of late.

use std::collections::VecDeque;

use domain::amount::Price;
use eventlog::entry::Version;

use crate::guardian::armed::Armed;
use crate::guardian::conditions::Condition;
use crate::guardian::seen::Seen;

/// Entries with trades whose prices are remembered. A condition that looks at older ones is judged by
/// reading them again.
pub(super) const PRICES_MAX: usize = 4_096;

/// Entries between two copies of a market.
pub(super) const COPY_ENTRIES: u64 = 256;

/// Copies of a market, each about twice as old as the next: the oldest is a million entries back. To
/// go back further, the stream is read from its beginning.
pub(super) const COPIES_MAX: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) seen: Seen,
    pub(super) armed: Armed,
    prices: Prices,
    copies: Copies,
}

/// The least and the greatest price of the trades in one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: Price,
    pub(super) high: Price,
}

impl Span {
    pub(super) fn with(span: Option<Self>, price: Price) -> Self {
        match span {
            Some(Self { low, high }) => Self { low: low.min(price), high: high.max(price) },
            None => Self { low: price, high: price },
        }
    }
}

impl Watched {
    /// Returns a market that was left so before, with the copies that are still there.
    pub(super) fn of(seen: Seen, mut copies: Vec<Seen>) -> Self {
        copies.push(seen.clone());
        let prices = Prices { after: seen.version, spans: VecDeque::new() };
        Self { seen, armed: Armed::default(), prices, copies: Copies(copies) }
    }

    /// Takes in that an entry was passed with trades at these prices.
    pub(super) fn passed(&mut self, span: Option<Span>) {
        if let Some(span) = span {
            self.prices.push(self.seen.version, span);
        }
        self.copies.look(&self.seen);
    }

    /// Whether an entry that was passed already may meet a condition.
    pub(super) fn may_have_met(&self, condition: &Condition) -> bool {
        let after = Version(condition.after.version);
        after < self.seen.version && self.prices.may_meet(after, condition)
    }

    /// Returns the newest copy that has come no further than this; the beginning, where none is old
    /// enough.
    pub(super) fn copy(&self, version: Version) -> Seen {
        let old_enough = |copy: &&Seen| copy.version <= version;
        self.copies.0.iter().rev().find(old_enough).cloned().unwrap_or_default()
    }

    /// Returns the copies, oldest first.
    pub(super) fn copies(&self) -> &[Seen] {
        &self.copies.0
    }
}

/// At which prices was traded of late.
#[derive(Debug, Default)]
struct Prices {
    /// All that was traded after this entry is here.
    after: Version,
    spans: VecDeque<(Version, Span)>,
}

impl Prices {
    fn push(&mut self, version: Version, span: Span) {
        self.spans.push_back((version, span));
        if self.spans.len() > PRICES_MAX
            && let Some((version, _)) = self.spans.pop_front()
        {
            self.after = version;
        }
    }

    /// Whether a trade after an entry may meet a condition: also when that is not known any more.
    fn may_meet(&self, after: Version, condition: &Condition) -> bool {
        let mut later = self.spans.iter().rev().take_while(|(version, _)| *version > after);
        after < self.after || later.any(|(_, span)| condition.is_met_within(span.low, span.high))
    }
}

/// Copies of a market as it stood, oldest first.
#[derive(Debug, Default)]
struct Copies(Vec<Seen>);

impl Copies {
    fn look(&mut self, seen: &Seen) {
        let newest = self.0.last().map_or(0, ordinal);
        if ordinal(seen) > newest {
            self.0.push(seen.clone());
            self.thin();
        }
    }

    /// Leaves of every second, every fourth, every eighth copy and so on the two newest.
    fn thin(&mut self) {
        let newest = self.0.last().map_or(0, ordinal);
        self.0.dedup_by_key(|copy| ordinal(copy));
        self.0.retain(|copy| {
            let age = newest - ordinal(copy);
            age >> ordinal(copy).trailing_zeros().min(u64::BITS - 1) < 2
        });
        if self.0.len() > COPIES_MAX {
            self.0.remove(0);
        }
    }
}

/// Returns the number of a copy: one is made at each.
const fn ordinal(seen: &Seen) -> u64 {
    seen.version.0 / COPY_ENTRIES
}
