//! What a query sees of an instrument: its candles in memory, and before them those of old hours.

use domain::candle::{Candle, Interval};
use domain::ladder::Ladder;
use domain::time::Timestamp;

use crate::candles::InstrumentCandles;

/// The candles of one instrument, as if all that it reaches were in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) held: InstrumentCandles<'a>,
    /// What stands before memory begins.
    older: Option<&'a Ladder>,
    /// Where memory begins.
    since: Timestamp,
}

/// Whether candles of an interval leave memory; coarser ones stay for good.
pub(super) fn is_archived(interval: Interval) -> bool {
    interval <= Interval::FiveMinutes
}

impl<'a> Sight<'a> {
    /// Sees all that is in memory.
    pub(super) const fn of_memory(held: InstrumentCandles<'a>) -> Self {
        Self { held, older: None, since: Timestamp::MIN }
    }

    /// Sees what is in memory from `since` on, and of what is archived no more than `older` holds.
    pub(super) const fn beyond_memory(
        held: InstrumentCandles<'a>,
        since: Timestamp,
        older: Option<&'a Ladder>,
    ) -> Self {
        Self { held, older, since }
    }

    /// Returns the candles whose buckets start in `from..until`, in order of time.
    pub(super) fn range(
        self,
        interval: Interval,
        from: Timestamp,
        until: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &'a Candle> {
        let older = self.older.filter(|_| is_archived(interval));
        let since = if is_archived(interval) { self.since } else { Timestamp::MIN };
        let older =
            older.into_iter().flat_map(move |older| older.range(interval, from, until.min(since)));
        older.chain(self.held.ladder.range(interval, from.max(since), until))
    }

    /// Returns the last candle that starts before `instant`.
    pub(super) fn before(self, interval: Interval, instant: Timestamp) -> Option<&'a Candle> {
        self.range(interval, Timestamp::MIN, instant).next_back()
    }
}
