//! The hours of forgotten days: what the ledger told of their minutes, rolled up.
//!
//! Nothing of the market log goes in here, so it is the same whichever log was read first. A minute
//! that is told of after its day was forgotten, such as those of an old import, still comes in.

use std::collections::BTreeMap;

use crate::candle::{Candle, Interval};
use crate::time::{MINUTE, Timestamp};

use super::CANDLES_MAX;

/// At most [`CANDLES_MAX`] hours; beyond it the oldest goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Past(pub(super) BTreeMap<Timestamp, PastHour>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PastHour {
    pub(super) whole: Option<Whole>,
    /// The most trades that one entry recorded of it; `None` when it was never recorded.
    pub(super) recorded: Option<u64>,
}

/// The rollup of some minutes of an hour, and which they are: a bit each, the lowest the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) candle: Candle,
    pub(super) minutes: u64,
    /// Those of them in which something was traded.
    pub(super) traded: u64,
}

impl Past {
    pub(super) fn get(&self, hour: Timestamp) -> Option<&PastHour> {
        self.0.get(&hour)
    }

    /// Whether an hour was ever recorded: what trades tell of it is then passed over.
    pub(super) fn is_recorded(&self, hour: Timestamp) -> bool {
        self.get(hour).is_some_and(|past| past.recorded.is_some())
    }

    /// Returns an hour to be added to, and the one that had to go for it.
    pub(super) fn hour(&mut self, hour: Timestamp) -> (&mut PastHour, Option<Timestamp>) {
        let is_full = self.0.len() >= CANDLES_MAX && !self.0.contains_key(&hour);
        let oldest = if is_full { self.0.pop_first().map(|(oldest, _)| oldest) } else { None };
        (self.0.entry(hour).or_default(), oldest)
    }
}

impl PastHour {
    /// Adds a candle of `interval` within the hour, unless a minute of it is in already.
    pub(super) fn add(&mut self, interval: Interval, part: &Candle) {
        let part = Whole::of(interval, part);
        match &mut self.whole {
            Some(whole) => whole.add(&part),
            None => self.whole = Some(part),
        }
    }

    /// Takes the minutes that one entry recorded. Those that are not in yet are added; when the
    /// entry knows of more trades than all that is in, it takes its place.
    pub(super) fn record(&mut self, minutes: &BTreeMap<Timestamp, &Candle>) {
        let mut entry = Self::default();
        for minute in minutes.values() {
            entry.add(Interval::Minute, minute);
        }
        let trades = entry.trades();
        self.recorded = self.recorded.max(Some(trades));
        if trades > self.trades() {
            self.whole = entry.whole;
            return;
        }
        for minute in minutes.values() {
            self.add(Interval::Minute, minute);
        }
    }

    fn trades(&self) -> u64 {
        self.whole.as_ref().map_or(0, |whole| whole.candle.trades)
    }
}

impl Whole {
    fn of(interval: Interval, part: &Candle) -> Self {
        let first = part.opened_at.since(Interval::Hour.bucket(part.opened_at)) / MINUTE;
        let minutes = ((1 << (interval.length() / MINUTE)) - 1) << first;
        let candle = Candle {
            opened_at: Interval::Hour.bucket(part.opened_at),
            revision: 0,
            ..part.clone()
        };
        Self { candle, minutes, traded: if part.trades > 0 { minutes } else { 0 } }
    }

    /// Adds what it does not hold: the same as if all parts were rolled up in order of time.
    fn add(&mut self, part: &Self) {
        if self.minutes & part.minutes != 0 {
            return;
        }
        let (whole, added) = (&self.candle, &part.candle);
        let is_earlier = part.minutes.trailing_zeros() < self.minutes.trailing_zeros();
        let is_later = part.minutes.leading_zeros() < self.minutes.leading_zeros();
        // Of nothing traded the first and the last are not known, wherever it stands.
        let is_first = part.traded.trailing_zeros() < self.traded.trailing_zeros();
        let is_last = part.traded.leading_zeros() < self.traded.leading_zeros();
        let mut candle =
            Candle::rollup(Interval::Hour, [whole, added]).unwrap_or_else(|| whole.clone());
        candle.open = if is_earlier { added.open } else { whole.open };
        candle.close = if is_later { added.close } else { whole.close };
        candle.first = if is_first { added.first } else { whole.first };
        candle.last = if is_last { added.last } else { whole.last };
        self.candle = candle;
        self.minutes |= part.minutes;
        self.traded |= part.traded;
    }
}
