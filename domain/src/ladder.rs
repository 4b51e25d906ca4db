//! All candles of one instrument: minutes from trades, and each coarser interval from the finer.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Interval};
use crate::tick::Tick;
use crate::time::Timestamp;

/// Candles that are kept of each interval: a year of minutes. The oldest go first.
pub const CANDLES_MAX: usize = 366 * 1_440;

/// The five series of one instrument.
///
/// Trades are taken one by one into minutes; [`Ladder::roll`] then brings the coarser candles up
/// to date, once for a whole entry, because a rollup costs more than a trade.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    series: [Series; Interval::ALL.len()],
    /// Minutes that changed since the last `roll`; seldom more than two.
    #[serde(skip)]
    touched: Vec<Timestamp>,
}

/// Candles of one interval in order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Series(VecDeque<Candle>);

impl Ladder {
    /// Takes one trade into its minute.
    pub fn take(&mut self, tick: &Tick) {
        let bucket = Interval::Minute.bucket(tick.traded_at);
        let [minutes, ..] = &mut self.series;
        match minutes.find_mut(bucket) {
            Ok(candle) => candle.take(tick),
            Err(place) => minutes.0.insert(place, Candle::of(tick, Interval::Minute)),
        }
        if self.touched.last() != Some(&bucket) {
            self.touched.push(bucket);
        }
    }

    /// Cascades what was taken into the coarser candles. `clock` is the venue's time before the
    /// first of these trades: each changed candle that had closed by then is one revision further.
    /// Returns the changed candles as (interval, bucket), finest first.
    pub fn roll(&mut self, clock: Timestamp) -> Vec<(Interval, Timestamp)> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        let mut changed = Vec::with_capacity(touched.len() * Interval::ALL.len());

        for (level, interval) in Interval::ALL.into_iter().enumerate() {
            let (finer, rest) = self.series.split_at_mut(level);
            let Some(series) = rest.first_mut() else { break };
            if let Some(finer) = finer.last() {
                for bucket in &mut touched {
                    *bucket = interval.bucket(*bucket);
                }
                touched.dedup();
                for bucket in &touched {
                    series
                        .put(Candle::rollup(interval, finer.range(*bucket, interval.end(*bucket))));
                }
            }
            for bucket in &touched {
                if interval.is_closed(*bucket, clock)
                    && let Ok(candle) = series.find_mut(*bucket)
                {
                    candle.revision += 1;
                }
                changed.push((interval, *bucket));
            }
            series.bound();
        }
        changed
    }

    /// Returns the candles whose buckets start in `from..until`, in order of time.
    pub fn range(
        &self,
        interval: Interval,
        from: Timestamp,
        until: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &Candle> {
        self.series(interval).into_iter().flat_map(move |series| series.range(from, until))
    }

    /// Returns the last candle that starts before `instant`.
    pub fn before(&self, interval: Interval, instant: Timestamp) -> Option<&Candle> {
        self.range(interval, Timestamp::MIN, instant).next_back()
    }

    pub fn first(&self, interval: Interval) -> Option<&Candle> {
        self.series(interval)?.0.front()
    }

    pub fn last(&self, interval: Interval) -> Option<&Candle> {
        self.series(interval)?.0.back()
    }

    fn series(&self, interval: Interval) -> Option<&Series> {
        self.series.get(Interval::ALL.iter().position(|one| *one == interval)?)
    }
}

impl Series {
    /// The place of a bucket, or the place where it would stand. Most trades belong to the last.
    fn place(&self, opened_at: Timestamp) -> Result<usize, usize> {
        match self.0.back() {
            Some(last) if last.opened_at == opened_at => Ok(self.0.len() - 1),
            Some(last) if last.opened_at > opened_at => {
                self.0.binary_search_by_key(&opened_at, |candle| candle.opened_at)
            }
            _ => Err(self.0.len()),
        }
    }

    fn find_mut(&mut self, opened_at: Timestamp) -> Result<&mut Candle, usize> {
        let place = self.place(opened_at)?;
        self.0.get_mut(place).ok_or(place)
    }

    /// Puts a new version of a candle in place; the count of its revisions goes on.
    fn put(&mut self, candle: Option<Candle>) {
        let Some(candle) = candle else { return };
        match self.find_mut(candle.opened_at) {
            Ok(old) => *old = Candle { revision: old.revision, ..candle },
            Err(place) => self.0.insert(place, candle),
        }
    }

    fn range(&self, from: Timestamp, until: Timestamp) -> impl DoubleEndedIterator<Item = &Candle> {
        let (Ok(start) | Err(start)) = self.place(from);
        let (Ok(end) | Err(end)) = self.place(until);
        self.0.range(start..end.max(start))
    }

    fn bound(&mut self) {
        while self.0.len() > CANDLES_MAX {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
