//! Which days' minutes are held.
//!
//! Each log has a bound of its own, and moves it alone: the ledger's counts the days that the ledger
//! told of, the market log's those that it told of. So the bounds are the same in the end, however
//! the two are interleaved, and a venue's one bad time costs one day and no more.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::candle::Interval;
use crate::time::Timestamp;

/// How many days of each log are held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) ledger_days: usize,
    pub(super) market_days: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Days {
    ledger: Newest,
    market: Newest,
}

/// The newest days of which one log told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Newest {
    days: BTreeSet<Timestamp>,
    /// What lies before it is forgotten. A day begins with it.
    since: Option<Timestamp>,
}

impl Days {
    /// Minutes before it are forgotten, but for those built ones whose hour was never recorded.
    pub(super) const fn since(&self) -> Option<Timestamp> {
        self.ledger.since
    }

    /// Minutes before it are not built any more, recorded or not.
    pub(super) const fn built_since(&self) -> Option<Timestamp> {
        self.market.since
    }

    pub(super) fn is_forgotten(&self, bucket: Timestamp) -> bool {
        is_before(bucket, self.ledger.since)
    }

    pub(super) fn is_given_up(&self, bucket: Timestamp) -> bool {
        is_before(bucket, self.market.since)
    }

    /// Notes that the ledger told of a minute; whether that was news.
    pub(super) fn hear_ledger(&mut self, bucket: Timestamp) -> bool {
        self.ledger.hear(bucket)
    }

    /// Notes that the market log told of a minute; whether that was news.
    pub(super) fn hear_market(&mut self, bucket: Timestamp) -> bool {
        self.market.hear(bucket)
    }

    /// Moves the ledger's bound on; whether it did.
    pub(super) fn bound_ledger(&mut self, limits: Limits) -> bool {
        self.ledger.bound(limits.ledger_days)
    }

    /// Moves the market log's bound on; whether it did.
    pub(super) fn bound_market(&mut self, limits: Limits) -> bool {
        self.market.bound(limits.market_days)
    }
}

impl Newest {
    fn hear(&mut self, bucket: Timestamp) -> bool {
        let day = Interval::Day.bucket(bucket);
        // Nearly all is told of the newest day.
        self.days.last() != Some(&day) && !is_before(day, self.since) && self.days.insert(day)
    }

    fn bound(&mut self, days_max: usize) -> bool {
        let before = self.since;
        while self.days.len() > days_max {
            self.since = self.days.pop_first().map(|day| Interval::Day.end(day));
        }
        self.since != before
    }
}

fn is_before(bucket: Timestamp, since: Option<Timestamp>) -> bool {
    since.is_some_and(|since| bucket < since)
}
