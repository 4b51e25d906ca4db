//! How what was taken is carried up into the coarser candles.

use crate::candle::{Candle, Interval};
use crate::time::Timestamp;

use super::days::Limits;
use super::series::{Held, Origin};
use super::sources::Base;
use super::{Began, Changed, Ladder};

impl Ladder {
    /// Brings everything up to date with what was taken since the last time. Candles that trades
    /// changed after they had closed by `clock` are one revision further; no others are.
    pub(super) fn settle(&mut self, clock: Timestamp, limits: Limits) -> Vec<Changed> {
        let mut touched = std::mem::take(&mut self.touched);
        tidy(&mut touched);
        self.hear_market(&touched);
        self.count(&touched, clock);
        touched.retain(|bucket| !self.passes_over(*bucket));
        for bucket in &touched {
            self.correct(*bucket, clock);
            self.stand(*bucket);
            self.look_touched(Interval::Hour.bucket(*bucket));
        }
        let mut carried = self.settle_stirred();
        if self.forget(limits) {
            touched.retain(|bucket| !self.is_gone(*bucket));
            carried.retain(|bucket| !self.is_gone(*bucket));
        }

        let mut changed = Vec::with_capacity(touched.len() * Interval::ALL.len() + carried.len());
        changed.extend(touched.iter().chain(&carried).map(|bucket| (Interval::Minute, *bucket)));
        for interval in Interval::ALL.into_iter().skip(1) {
            lift(&mut touched, interval);
            for bucket in &touched {
                self.derive(interval, *bucket);
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

    /// Notes which minutes trades told of, whether or not they make a candle.
    fn hear_market(&mut self, touched: &[Timestamp]) {
        let Some(first) = touched.first() else { return };
        self.begin(Began { built: Some(*first), recorded: None });
        for bucket in touched {
            self.marks.day(*bucket);
            if self.days.hear_market(*bucket) {
                self.marks.head();
            }
        }
    }

    /// Counts a correction of each coarser candle that had closed, whether or not its minutes are
    /// still held.
    fn count(&mut self, touched: &[Timestamp], clock: Timestamp) {
        let mut buckets = Vec::new();
        for interval in Interval::ALL.into_iter().skip(1) {
            let closed = touched.iter().map(|minute| interval.bucket(*minute));
            buckets.extend(closed.filter(|bucket| interval.is_closed(*bucket, clock)));
            buckets.dedup();
            for bucket in buckets.drain(..) {
                self.stir(interval, bucket);
                if let Some(oldest) = self.revisions.count(interval, bucket) {
                    self.marks.day(oldest);
                    self.stir(interval, oldest);
                }
            }
        }
    }

    /// Settles the minutes of which something else than trades has changed; returns those in which
    /// another candle stands now.
    fn settle_stirred(&mut self) -> Vec<Timestamp> {
        let mut stirred = std::mem::take(self.stirred_of(Interval::Minute));
        tidy(&mut stirred);
        let mut hours = stirred.clone();
        lift(&mut hours, Interval::Hour);
        stirred.retain(|bucket| self.stand(*bucket));
        for hour in hours {
            self.marks.day(hour);
            self.look(hour);
        }
        stirred
    }

    /// Puts up the candle that stands in a minute now; returns whether it is another.
    pub(super) fn stand(&mut self, bucket: Timestamp) -> bool {
        let Some(sources) = self.mixed.get(&bucket) else { return false };
        let partial =
            sources.has_native() && (self.began() == Some(bucket) || self.gaps.touch(bucket));
        let held = sources.standing(partial);
        if held.as_ref().is_none_or(|held| held.origin != Origin::Mixed) {
            self.mixed.remove(&bucket);
        }
        let [minutes, ..] = &mut self.series;
        let Some(held) = held else {
            minutes.remove(bucket);
            return true;
        };
        let is_other = minutes.get(bucket).is_none_or(|before| before.candle != held.candle);
        minutes.put(held);
        is_other
    }

    /// Counts a correction of a minute that had closed.
    fn correct(&mut self, bucket: Timestamp, clock: Timestamp) {
        if !Interval::Minute.is_closed(bucket, clock) {
            return;
        }
        let [minutes, ..] = &mut self.series;
        match minutes.find_mut(bucket) {
            Ok(Held { candle, origin: Origin::Built }) => {
                candle.revision = candle.revision.saturating_add(1);
            }
            Ok(_) | Err(_) => {
                if let Some(sources) = self.mixed.get_mut(&bucket) {
                    sources.count();
                }
            }
        }
    }

    /// Rolls a coarser candle up; where nothing finer is, the venue's bar stands.
    pub(super) fn derive(&mut self, interval: Interval, bucket: Timestamp) {
        let revision = self.revisions.get(interval, bucket);
        let rolled = if interval == Interval::Hour && self.is_forgotten(bucket) {
            self.past_hour(bucket)
        } else {
            let finer = self.series.get(interval.level() - 1).into_iter();
            let finer = finer.flat_map(|finer| finer.candles(bucket, interval.end(bucket)));
            Candle::rollup(interval, finer)
        };
        let built =
            rolled.map(|it| Held { candle: Candle { revision, ..it }, origin: Origin::Built });
        let held = built.or_else(|| {
            let candle = self.bars.get(&interval)?.get(&bucket)?.clone();
            Some(Held { candle, origin: Origin::Native })
        });
        let Some(series) = self.series.get_mut(interval.level()) else { return };
        match held {
            Some(held) => series.put(held),
            None => series.remove(bucket),
        }
    }

    /// The same; returns whether it is another candle than before.
    fn derive_anew(&mut self, interval: Interval, bucket: Timestamp) -> bool {
        let held = |ladder: &Self| ladder.series(interval)?.get(bucket).cloned();
        let before = held(self);
        self.derive(interval, bucket);
        let is_other = before != held(self);
        if is_other {
            self.marks.day(bucket);
        }
        is_other
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

    /// Looks whether an hour is due. One whose minutes are forgotten is when some still wait.
    pub(super) fn look(&mut self, hour: Timestamp) {
        let trades = self.bases(hour).fold(0, |sum: u64, base| sum.saturating_add(base.trades()));
        self.hours.look(hour, trades);
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

pub(super) fn tidy(buckets: &mut Vec<Timestamp>) {
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
