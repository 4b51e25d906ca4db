//! How minutes are forgotten, and what is left of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::candle::{Candle, Interval};
use crate::time::Timestamp;

use super::Ladder;
use super::days::Limits;
use super::past::PastHour;
use super::series::{Held, Origin};
use super::sources::Sources;

impl Ladder {
    /// Forgets the oldest days while there are too many, and stirs what was rolled up from them;
    /// returns whether it did. Whole days, so that no coarser candle loses a part of itself.
    pub(super) fn forget(&mut self, limits: Limits) -> bool {
        let (since, built_since) = (self.days.since(), self.days.built_since());
        let is_less = self.days.bound_ledger(limits);
        let is_less_built = self.days.bound_market(limits);
        if !is_less && !is_less_built {
            return false;
        }
        self.marks.head();
        for hour in self.hours_between(since, self.days.since()) {
            self.forget_hour(hour);
        }
        for hour in self.hours_between(built_since, self.days.built_since()) {
            self.give_up_hour(hour);
        }
        true
    }

    /// Whether nothing stands in this minute that is built or would be.
    pub(super) fn is_gone(&self, bucket: Timestamp) -> bool {
        let [minutes, ..] = &self.series;
        (self.is_forgotten(bucket) || self.days.is_given_up(bucket))
            && minutes.get(bucket).is_none()
    }

    /// Returns what is known of an hour whose minutes are forgotten: what the ledger told, and the
    /// minutes that still wait to be recorded.
    pub(super) fn past_hour(&self, hour: Timestamp) -> Option<Candle> {
        let mut past = self.past.get(hour).cloned().unwrap_or_default();
        for base in self.bases(hour) {
            past.add(Interval::Minute, &base.to_candle());
        }
        past.whole.map(|whole| whole.candle)
    }

    /// Takes the minutes that one entry recorded of an hour whose minutes are forgotten. What waited
    /// for that waits no longer.
    pub(super) fn record_past(&mut self, hour: Timestamp, minutes: &BTreeMap<Timestamp, &Candle>) {
        self.past_mut(hour).record(minutes);
        self.stir(Interval::Hour, hour);
        self.drop_minutes(hour);
    }

    /// Takes a bar whose minutes are forgotten.
    pub(super) fn import_past(&mut self, interval: Interval, candle: &Candle) {
        if interval > Interval::FiveMinutes {
            return;
        }
        let hour = Interval::Hour.bucket(candle.opened_at);
        self.past_mut(hour).add(interval, candle);
        self.stir(Interval::Hour, hour);
    }

    fn past_mut(&mut self, hour: Timestamp) -> &mut PastHour {
        let (_, oldest) = self.past.hour(hour);
        if let Some(oldest) = oldest {
            self.marks.day(oldest);
            self.stir(Interval::Hour, oldest);
        }
        self.past.hour(hour).0
    }

    /// Returns the hours of which a minute, a bar or a recording is held between two bounds.
    fn hours_between(
        &self,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> BTreeSet<Timestamp> {
        let (from, until) = (from.unwrap_or(Timestamp::MIN), until.unwrap_or(Timestamp::MIN));
        if from >= until {
            return BTreeSet::new();
        }
        let [minutes, ..] = &self.series;
        let minutes = minutes.candles(from, until).map(|candle| candle.opened_at);
        let bars = self.bars.get(&Interval::FiveMinutes).into_iter();
        let bars = bars.flat_map(|bars| bars.range(from..until)).map(|(bucket, _)| *bucket);
        minutes.chain(bars).map(|bucket| Interval::Hour.bucket(bucket)).collect()
    }

    /// Forgets the minutes of an hour. What the ledger told of them is rolled up; what was built
    /// stays until it is recorded.
    fn forget_hour(&mut self, hour: Timestamp) {
        let end = Interval::Hour.end(hour);
        let mut past = self.past.get(hour).cloned().unwrap_or_default();
        for minute in self.of_ledger(hour) {
            past.add(Interval::Minute, &minute);
        }
        for bar in
            self.bars.get(&Interval::FiveMinutes).into_iter().flat_map(|it| it.range(hour..end))
        {
            past.add(Interval::FiveMinutes, bar.1);
        }
        past.recorded = self.hours.forget(hour);
        let is_recorded = past.recorded.is_some();
        if past != PastHour::default() {
            *self.past_mut(hour) = past;
        }
        self.stir_hour(hour);
        if is_recorded {
            self.drop_minutes(hour);
        } else {
            self.keep_of(hour, |sources| Sources { built: sources.built, ..Sources::default() });
        }
    }

    /// Forgets what was built in an hour, recorded or not.
    fn give_up_hour(&mut self, hour: Timestamp) {
        self.stir_hour(hour);
        self.keep_of(hour, |sources| sources.of_ledger());
    }

    /// Drops all minutes of an hour.
    fn drop_minutes(&mut self, hour: Timestamp) {
        self.stir_hour(hour);
        self.keep_of(hour, |_| Sources::default());
    }

    /// Leaves of each minute of an hour what `keep` does.
    fn keep_of(&mut self, hour: Timestamp, keep: impl Fn(Sources) -> Sources) {
        for bucket in self.minutes_of(hour) {
            let sources = keep(std::mem::take(self.sources(bucket)));
            self.mixed.insert(bucket, sources);
            self.stand(bucket);
        }
        self.marks.day(hour);
        self.look(hour);
    }

    /// Returns the candles that would stand in the minutes of an hour if the ledger alone told of
    /// them.
    fn of_ledger(&self, hour: Timestamp) -> Vec<Candle> {
        let [minutes, ..] = &self.series;
        let minutes = minutes.range(hour, Interval::Hour.end(hour));
        let told = minutes.filter_map(|held| {
            let bucket = held.candle.opened_at;
            let sources = match held.origin {
                Origin::Mixed => self.mixed.get(&bucket)?.of_ledger(),
                _ => Sources::of(held).of_ledger(),
            };
            let partial = sources.has_native()
                && (self.began.recorded == Some(bucket) || self.gaps.touch_in_ledger(bucket));
            sources.standing(partial).map(|Held { candle, .. }| candle)
        });
        told.collect()
    }

    fn minutes_of(&self, hour: Timestamp) -> Vec<Timestamp> {
        let [minutes, ..] = &self.series;
        let minutes = minutes.candles(hour, Interval::Hour.end(hour));
        minutes.map(|candle| candle.opened_at).collect()
    }

    /// Stirs all that is rolled up from the minutes of an hour.
    fn stir_hour(&mut self, hour: Timestamp) {
        for minute in self.minutes_of(hour) {
            self.stir(Interval::FiveMinutes, Interval::FiveMinutes.bucket(minute));
        }
        self.stir(Interval::Hour, hour);
    }
}
