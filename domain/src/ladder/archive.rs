//! A ladder of minutes that are forgotten, made anew from what the ledger recorded of them.

use crate::candle::{Candle, Interval};
use crate::time::Timestamp;

use super::series::{Held, Origin};
use super::sources::Sources;
use super::{Began, Ladder};

/// Minutes that stand in the ledger, as one entry told of them, or of those of one hour.
#[derive(Debug, Clone, Copy)]
pub enum Archived<'a> {
    /// Recorded when they had closed.
    Closed(&'a [Candle]),
    /// The venue's own bars.
    Imported(&'a [Candle]),
}

impl Ladder {
    /// Returns a ladder of the hours from the one that holds `from` up to, not including, `until`. It
    /// shows each minute and each five minutes as this one would had it never forgotten any: of
    /// minutes before [`Ladder::since`] it holds what was archived, in the order of the ledger, and
    /// what still waits to be recorded; of all others what this ladder holds, whatever was archived.
    ///
    /// Coarser candles are this ladder's own: those of the days that the hours touch, and the last
    /// one before. Nothing is due in it, and nothing more is to be told to it.
    #[must_use]
    pub fn of_archive<'a>(
        &self,
        from: Timestamp,
        until: Timestamp,
        told: impl IntoIterator<Item = Archived<'a>>,
    ) -> Self {
        let from = Interval::Hour.bucket(from);
        let until = Interval::Hour.bucket(until.plus(Interval::Hour.length() - 1));
        let mut ladder = Self {
            gaps: self.gaps.to_look_at(),
            began: Began { built: self.began(), recorded: None },
            ..Self::default()
        };
        let since = self.since().unwrap_or(Timestamp::MIN);
        for told in told {
            ladder.take_archived(from, until.min(since), told);
        }
        ladder.take_live(self, from, until, since);
        ladder.take_bars_of(self, from, until);
        for bucket in ladder.mixed.keys().copied().collect::<Vec<_>>() {
            ladder.stand(bucket);
        }
        ladder.derive_five_minutes(self, from, until);
        ladder.take_coarse(self, from, until);
        ladder
    }

    fn take_archived(&mut self, from: Timestamp, until: Timestamp, told: Archived<'_>) {
        let (Archived::Closed(minutes) | Archived::Imported(minutes)) = told;
        for minute in minutes {
            if !minute.is_sound(Interval::Minute) || !(from..until).contains(&minute.opened_at) {
                continue;
            }
            let sources = self.mixed.entry(minute.opened_at).or_default();
            match told {
                Archived::Closed(_) => sources.record(minute),
                Archived::Imported(_) => sources.import(minute),
            }
        }
    }

    /// Takes what a live ladder holds of the minutes; before `since` that is what trades made.
    fn take_live(&mut self, live: &Self, from: Timestamp, until: Timestamp, since: Timestamp) {
        let [minutes, ..] = &live.series;
        for held in minutes.range(from, until) {
            let bucket = held.candle.opened_at;
            let sources = match held.origin {
                Origin::Mixed => live.mixed.get(&bucket).cloned().unwrap_or_default(),
                _ => Sources::of(held),
            };
            if bucket < since {
                self.mixed.entry(bucket).or_default().built = sources.built;
            } else {
                self.mixed.insert(bucket, sources);
            }
        }
    }

    fn take_bars_of(&mut self, live: &Self, from: Timestamp, until: Timestamp) {
        let interval = Interval::FiveMinutes;
        let bars = live.bars.get(&interval).into_iter().flat_map(|bars| bars.range(from..until));
        self.bars.insert(interval, bars.map(|(bucket, bar)| (*bucket, bar.clone())).collect());
    }

    fn derive_five_minutes(&mut self, live: &Self, from: Timestamp, until: Timestamp) {
        let interval = Interval::FiveMinutes;
        for (bucket, revision) in live.revisions.range(interval, from, until) {
            self.revisions.set(interval, bucket, revision);
        }
        let [minutes, ..] = &self.series;
        let minutes = minutes.candles(from, until).map(|candle| interval.bucket(candle.opened_at));
        let bars = self.bars.get(&interval).into_iter().flat_map(|bars| bars.keys().copied());
        let mut buckets: Vec<Timestamp> = minutes.chain(bars).collect();
        super::settle::tidy(&mut buckets);
        for bucket in buckets {
            self.derive(interval, bucket);
        }
    }

    fn take_coarse(&mut self, live: &Self, from: Timestamp, until: Timestamp) {
        let day = Interval::Day;
        let (from, until) = (day.bucket(from), day.bucket(until.plus(day.length() - 1)));
        for interval in Interval::ALL.into_iter().filter(|it| *it > Interval::FiveMinutes) {
            let level = interval.level();
            let (Some(theirs), Some(mine)) = (live.series.get(level), self.series.get_mut(level))
            else {
                continue;
            };
            let before = theirs.range(Timestamp::MIN, from).next_back();
            for held in before.into_iter().chain(theirs.range(from, until)) {
                mine.put(Held::clone(held));
            }
        }
    }
}
