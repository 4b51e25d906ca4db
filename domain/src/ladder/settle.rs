//! How what was taken is carried up into the coarser candles.

use crate::candle::{Candle, Interval};
use crate::time::Timestamp;

use super::series::{Held, Origin};
use super::sources::Base;
use super::{Changed, Ladder};

impl Ladder {
    /// Brings everything up to date with what was taken since the last time. Candles that trades
    /// changed after they had closed by `clock` are one revision further; no others are.
    pub(super) fn settle(&mut self, clock: Timestamp, minutes_max: usize) -> Vec<Changed> {
        let mut touched = std::mem::take(&mut self.touched);
        tidy(&mut touched);
        for bucket in &touched {
            self.correct(Interval::Minute, *bucket, clock);
            self.stand(*bucket);
        }
        let mut carried = self.settle_stirred();
        if self.forget(minutes_max) {
            touched.retain(|bucket| !self.is_forgotten(*bucket));
            carried.retain(|bucket| !self.is_forgotten(*bucket));
        }
        for bucket in &touched {
            self.look_touched(Interval::Hour.bucket(*bucket));
        }

        let mut changed = Vec::with_capacity(touched.len() * Interval::ALL.len() + carried.len());
        changed.extend(touched.iter().chain(&carried).map(|bucket| (Interval::Minute, *bucket)));
        for interval in Interval::ALL.into_iter().skip(1) {
            lift(&mut touched, interval);
            for bucket in &touched {
                self.derive(interval, *bucket);
                self.correct(interval, *bucket, clock);
            }
            lift(&mut carried, interval);
            carried.append(self.stirred_of(interval));
            tidy(&mut carried);
            carried.retain(|bucket| self.derive_anew(interval, *bucket));
            changed.extend(touched.iter().chain(&carried).map(|bucket| (interval, *bucket)));
        }
        touched.clear();
        self.touched = touched;
        changed
    }

    /// Settles the minutes of which something else than trades has changed; returns those in which
    /// another candle stands now.
    fn settle_stirred(&mut self) -> Vec<Timestamp> {
        let mut stirred = std::mem::take(self.stirred_of(Interval::Minute));
        tidy(&mut stirred);
        let mut hours = stirred.clone();
        hours.extend_from_slice(self.stirred_of(Interval::Hour));
        lift(&mut hours, Interval::Hour);
        stirred.retain(|bucket| self.stand(*bucket));
        for hour in hours {
            self.look(hour);
        }
        stirred
    }

    /// Puts up the candle that stands in a minute now; returns whether it is another.
    fn stand(&mut self, bucket: Timestamp) -> bool {
        let Some(sources) = self.mixed.get_mut(&bucket) else { return false };
        sources.tidy();
        let partial =
            sources.has_native() && (self.began == Some(bucket) || self.gaps.touch(bucket));
        let Some(held) = sources.standing(partial) else { return false };
        if held.origin != Origin::Mixed {
            self.mixed.remove(&bucket);
        }
        let [minutes, ..] = &mut self.series;
        let is_other = minutes.get(bucket).is_none_or(|before| before.candle != held.candle);
        minutes.put(held);
        is_other
    }

    /// Counts a correction of a candle that had closed.
    fn correct(&mut self, interval: Interval, bucket: Timestamp, clock: Timestamp) {
        if !interval.is_closed(bucket, clock) {
            return;
        }
        let Some(series) = self.series.get_mut(interval.level()) else { return };
        match series.find_mut(bucket) {
            Ok(Held { candle, origin: Origin::Built }) => {
                candle.revision = candle.revision.saturating_add(1);
            }
            Ok(Held { origin: Origin::Mixed, .. }) => {
                if let Some(sources) = self.mixed.get_mut(&bucket) {
                    sources.count();
                }
            }
            // What the ledger told is not corrected by trades, but built beside it.
            Ok(_) | Err(_) => {}
        }
    }

    /// Rolls a coarser candle up; where nothing finer is, what the ledger knows of it stands.
    fn derive(&mut self, interval: Interval, bucket: Timestamp) {
        let is_forgotten = self.is_forgotten(bucket);
        let (finer, coarser) = self.series.split_at_mut(interval.level());
        let (Some(finer), Some(series)) = (finer.last(), coarser.first_mut()) else { return };
        let rolled = Candle::rollup(interval, finer.candles(bucket, interval.end(bucket)));
        let Some(candle) = rolled else {
            return self.put_whole(interval, bucket);
        };
        match series.find_mut(bucket) {
            // The count of its corrections goes on.
            Ok(Held { candle: before, origin: Origin::Built }) if !is_forgotten => {
                *before = Candle { revision: before.revision, ..candle };
            }
            Ok(before) => *before = Held { candle, origin: Origin::Built },
            Err(place) => series.insert(place, Held { candle, origin: Origin::Built }),
        }
    }

    /// The same; returns whether it is another candle than before.
    fn derive_anew(&mut self, interval: Interval, bucket: Timestamp) -> bool {
        let held = |ladder: &Self| ladder.series(interval)?.get(bucket).cloned();
        let before = held(self);
        self.derive(interval, bucket);
        before != held(self)
    }

    fn put_whole(&mut self, interval: Interval, bucket: Timestamp) {
        let bar = self.bars.get(&interval).and_then(|bars| bars.get(&bucket));
        let held = match self.hours.recorded(bucket) {
            Some(hour) if interval == Interval::Hour => {
                Some(Held { candle: hour.clone(), origin: Origin::Recorded })
            }
            _ => bar.map(|bar| Held { candle: bar.clone(), origin: Origin::Native }),
        };
        let Some(series) = self.series.get_mut(interval.level()) else { return };
        match held {
            Some(held) => series.put(held),
            None => series.remove(bucket),
        }
    }

    /// Forgets the oldest days while there are too many minutes, and stirs what was rolled up from
    /// them; returns whether it did. Whole days, so that no coarser candle loses a part of itself.
    fn forget(&mut self, minutes_max: usize) -> bool {
        let mut until = None;
        loop {
            let [minutes, coarser @ ..] = &mut self.series;
            let Some(oldest) = minutes.first().filter(|_| minutes.len() > minutes_max) else {
                break;
            };
            let day = Interval::Day.bucket(oldest.opened_at);
            let end = Interval::Day.end(day);
            minutes.drop_before(end);
            for (series, stirred) in coarser.iter().zip(self.stirred.iter_mut().skip(1)) {
                stirred.extend(series.candles(day, end).map(|candle| candle.opened_at));
            }
            until = Some(end);
        }
        let Some(until) = until else { return false };
        self.mixed = self.mixed.split_off(&until);
        self.hours.forget_before(until);
        self.since = Some(until);
        true
    }

    /// Notes that trades came into an hour.
    fn look_touched(&mut self, hour: Timestamp) {
        if self.hours.is_due(hour) {
            return;
        }
        match self.hours.recorded(hour) {
            Some(_) => self.look(hour),
            // Any trade is more than none.
            None => self.hours.look(hour, 1),
        }
    }

    fn look(&mut self, hour: Timestamp) {
        if !self.is_forgotten(hour) {
            let trades =
                self.bases(hour).fold(0, |sum: u64, base| sum.saturating_add(base.trades()));
            self.hours.look(hour, trades);
        }
    }

    /// Returns the built or recorded minutes of an hour.
    pub(super) fn bases(&self, hour: Timestamp) -> impl Iterator<Item = Base<'_>> {
        let [minutes, ..] = &self.series;
        minutes.range(hour, Interval::Hour.end(hour)).filter_map(|held| match held.origin {
            Origin::Mixed => held.base(self.mixed.get(&held.candle.opened_at)),
            _ => held.base(None),
        })
    }
}

fn tidy(buckets: &mut Vec<Timestamp>) {
    buckets.sort_unstable();
    buckets.dedup();
}

/// Names the buckets of a coarser interval that hold these.
fn lift(buckets: &mut Vec<Timestamp>, interval: Interval) {
    for bucket in buckets.iter_mut() {
        *bucket = interval.bucket(*bucket);
    }
    buckets.dedup();
}
