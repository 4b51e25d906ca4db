//! All candles of one instrument: minutes from three sources, and each coarser interval from the finer.
//!
//! ```text
//! trades ──► built ──┐
//!                    ├─► base ──┐
//! ledger ─► recorded ┘          ├─► minute ──► 5m ──► 1h ──► 4h ──► 1d
//! venue's bars ─────► native ───┘              ▲      ▲      ▲      ▲
//!        └── coarser bars, where nothing finer is ──────────────────┘
//! ```
//!
//! Trades and gaps come from the market log, recorded candles and the venue's bars from the ledger.
//! The same entries of each, in their order, give the same ladder, however the two are interleaved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Interval};
use crate::tick::Tick;
use crate::time::Timestamp;

use self::gaps::Gaps;
use self::hours::Hours;
use self::series::{Held, Origin, Series};
use self::sources::{Base, Sources};

mod series;

mod sources;

mod gaps;

mod hours;

mod settle;

/// Minutes that are kept: a year. Past it the oldest day goes; what is coarser than a minute is then
/// known of that day only where an hour was recorded or a bar imported. Also the bars of each coarser
/// interval, and the recorded hours, that are kept; of them the oldest goes.
pub const CANDLES_MAX: usize = 366 * 1_440;

/// A candle that changed: its interval, and the start of its bucket.
pub type Changed = (Interval, Timestamp);

/// The five series of one instrument.
///
/// Trades are taken one by one into minutes; [`Ladder::roll`] then brings the coarser candles up
/// to date, once for a whole entry, because a rollup costs more than a trade.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    series: [Series; Interval::ALL.len()],
    /// Minutes of which more is known than the candle that stands.
    mixed: BTreeMap<Timestamp, Sources>,
    /// The venue's bars of coarser intervals.
    bars: BTreeMap<Interval, BTreeMap<Timestamp, Candle>>,
    hours: Hours,
    gaps: Gaps,
    /// The earliest minute that was ever built. We came in its middle.
    began: Option<Timestamp>,
    /// Minutes before it are forgotten, and what is told of them is passed over. A day begins with it.
    since: Option<Timestamp>,
    /// Minutes that trades changed since the last `roll`; seldom more than two.
    #[serde(skip)]
    touched: Vec<Timestamp>,
    /// Buckets of each interval of which something else has changed.
    #[serde(skip)]
    stirred: [Vec<Timestamp>; Interval::ALL.len()],
}

impl Ladder {
    /// Takes one trade into its minute.
    pub fn take(&mut self, tick: &Tick) {
        let bucket = Interval::Minute.bucket(tick.traded_at);
        let [minutes, ..] = &mut self.series;
        match minutes.find_mut(bucket) {
            Ok(Held { candle, origin: Origin::Built }) => candle.take(tick),
            Ok(_) => {
                self.sources(bucket).take(tick);
                self.begin(bucket);
            }
            Err(_) if self.since.is_some_and(|since| bucket < since) => return self.begin(bucket),
            Err(place) => {
                let candle = Candle::of(tick, Interval::Minute);
                minutes.insert(place, Held { candle, origin: Origin::Built });
                self.begin(bucket);
            }
        }
        if self.touched.last() != Some(&bucket) {
            self.touched.push(bucket);
        }
    }

    /// Cascades what the market told into the coarser candles. `clock` is the venue's time before the
    /// first of these trades: each changed candle that had closed by then is one revision further.
    /// Returns the changed candles, finest first.
    pub fn roll(&mut self, clock: Timestamp) -> Vec<Changed> {
        self.settle(clock, CANDLES_MAX)
    }

    /// Says that trades between two instants are missing. Takes effect with the next `roll`.
    pub fn open_gap(&mut self, first_id: u64, after: Timestamp, before: Timestamp) {
        for (after, before) in self.gaps.open(first_id, after, before) {
            self.stir_between(after, before);
        }
    }

    /// Says that they have come after all. Takes effect with the next `roll`.
    pub fn close_gap(&mut self, first_id: u64) {
        if let Some((after, before)) = self.gaps.close(first_id) {
            self.stir_between(after, before);
        }
    }

    /// Takes the closed minutes that one entry recorded; returns the changed candles, finest first.
    pub fn record<'a>(&mut self, minutes: impl IntoIterator<Item = &'a Candle>) -> Vec<Changed> {
        self.take_recorded(minutes);
        self.settle(Timestamp::MIN, CANDLES_MAX)
    }

    /// Takes bars that the venue made; returns the changed candles, finest first.
    pub fn import<'a>(
        &mut self,
        bars: impl IntoIterator<Item = (Interval, &'a Candle)>,
    ) -> Vec<Changed> {
        self.take_bars(bars);
        self.settle(Timestamp::MIN, CANDLES_MAX)
    }

    /// Returns the hours, oldest first and at most `limit`, that are closed at `clock` and hold more
    /// trades than were ever recorded of them, each with its minutes as they are to be recorded.
    pub fn unrecorded(&self, clock: Timestamp, limit: usize) -> Vec<(Timestamp, Vec<Candle>)> {
        let due = self.hours.due(clock).take(limit);
        due.map(|hour| (hour, self.bases(hour).map(Base::to_candle).collect())).collect()
    }

    /// Returns the candles whose buckets start in `from..until`, in order of time.
    pub fn range(
        &self,
        interval: Interval,
        from: Timestamp,
        until: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &Candle> {
        self.series(interval).into_iter().flat_map(move |series| series.candles(from, until))
    }

    /// Returns the last candle that starts before `instant`.
    pub fn before(&self, interval: Interval, instant: Timestamp) -> Option<&Candle> {
        self.range(interval, Timestamp::MIN, instant).next_back()
    }

    pub fn first(&self, interval: Interval) -> Option<&Candle> {
        self.series(interval)?.first()
    }

    pub fn last(&self, interval: Interval) -> Option<&Candle> {
        self.series(interval)?.last()
    }

    /// Returns the earliest minute that was ever built. We came in its middle.
    pub const fn began(&self) -> Option<Timestamp> {
        self.began
    }

    fn series(&self, interval: Interval) -> Option<&Series> {
        self.series.get(interval.level())
    }

    fn take_recorded<'a>(&mut self, minutes: impl IntoIterator<Item = &'a Candle>) {
        let mut hours: BTreeMap<Timestamp, BTreeMap<Timestamp, &Candle>> = BTreeMap::new();
        for candle in minutes.into_iter().filter(|candle| candle.is_sound(Interval::Minute)) {
            let hour = Interval::Hour.bucket(candle.opened_at);
            hours.entry(hour).or_default().insert(candle.opened_at, candle);
        }
        for minutes in hours.into_values() {
            for (&bucket, &candle) in &minutes {
                self.begin(bucket);
                if !self.is_forgotten(bucket) {
                    self.sources(bucket).record(candle);
                    self.stir(Interval::Minute, bucket);
                }
            }
            if let Some(whole) = Candle::rollup(Interval::Hour, minutes.into_values()) {
                for changed in self.hours.record(whole) {
                    self.stir(Interval::Hour, changed);
                }
            }
        }
    }

    fn take_bars<'a>(&mut self, bars: impl IntoIterator<Item = (Interval, &'a Candle)>) {
        for (interval, candle) in bars {
            let bucket = candle.opened_at;
            if !candle.is_sound(interval) {
                continue;
            }
            if interval != Interval::Minute {
                let bars = self.bars.entry(interval).or_default();
                bars.insert(bucket, candle.clone());
                let forgotten = if bars.len() > CANDLES_MAX { bars.pop_first() } else { None };
                if let Some((oldest, _)) = forgotten {
                    self.stir(interval, oldest);
                }
            } else if !self.is_forgotten(bucket) {
                self.sources(bucket).import(candle);
            } else {
                continue;
            }
            self.stir(interval, bucket);
        }
    }

    /// Returns all that is known of a minute, so that more can be added.
    fn sources(&mut self, bucket: Timestamp) -> &mut Sources {
        let [minutes, ..] = &mut self.series;
        self.mixed.entry(bucket).or_insert_with(|| match minutes.find_mut(bucket) {
            Ok(held) => {
                let sources = Sources::of(held);
                held.origin = Origin::Mixed;
                sources
            }
            Err(_) => Sources::default(),
        })
    }

    /// Notes that a minute was built, now or when it was recorded.
    fn begin(&mut self, bucket: Timestamp) {
        if self.began.is_some_and(|began| began <= bucket) {
            return;
        }
        if let Some(began) = self.began.replace(bucket) {
            // It is whole after all.
            self.stir(Interval::Minute, began);
        }
    }

    fn stir(&mut self, interval: Interval, bucket: Timestamp) {
        self.stirred_of(interval).push(bucket);
    }

    fn stirred_of(&mut self, interval: Interval) -> &mut Vec<Timestamp> {
        let [minutes, five_minutes, hours, four_hours, days] = &mut self.stirred;
        match interval {
            Interval::Minute => minutes,
            Interval::FiveMinutes => five_minutes,
            Interval::Hour => hours,
            Interval::FourHours => four_hours,
            Interval::Day => days,
        }
    }

    fn stir_between(&mut self, after: Timestamp, before: Timestamp) {
        let from = Interval::Minute.bucket(after);
        if from >= before {
            return;
        }
        let [minutes, ..] = &mut self.stirred;
        let mixed = self.mixed.range(from..before);
        minutes.extend(mixed.filter(|(_, sources)| sources.has_native()).map(|(at, _)| *at));
    }

    fn is_forgotten(&self, bucket: Timestamp) -> bool {
        self.since.is_some_and(|since| bucket < since)
    }
}

#[cfg(test)]
mod tests;
