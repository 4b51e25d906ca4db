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

use crate::candle::{Candle, Interval};
use crate::market::event::MarketEvent;
use crate::tick::Tick;
use crate::time::Timestamp;

use self::days::{Days, Limits};
use self::gaps::{Gap, Gaps, Teller};
use self::hours::Hours;
use self::marks::Marks;
use self::past::Past;
use self::revisions::Revisions;
use self::series::{Held, Origin, Series};
use self::sources::{Base, Sources};

mod series;

mod sources;

pub mod gaps;

mod hours;

mod revisions;

mod days;

mod past;

mod settle;

mod forget;

mod marks;

pub mod part;

pub mod archive;

/// Days whose minutes are kept, of those that the ledger told of. Past it the oldest is forgotten:
/// its minutes then stand in the archive, and its coarser candles stay. A built minute stays until
/// its hour has been recorded.
pub const DAYS_MAX: usize = 32;

/// Days whose built minutes are kept, recorded or not. Past it those of the oldest go: what was not
/// recorded in all that time is lost to the candles.
pub const DAYS_UNRECORDED_MAX: usize = 366;

/// The venue's bars of each coarser interval that are kept, the hours whose minutes are forgotten,
/// and the counts of corrections. Past it the oldest goes.
pub const CANDLES_MAX: usize = 366 * 1_440;

const LIMITS: Limits = Limits { ledger_days: DAYS_MAX, market_days: DAYS_UNRECORDED_MAX };

/// A candle that changed: its interval, and the start of its bucket.
pub type Changed = (Interval, Timestamp);

/// The five series of one instrument.
///
/// Trades are taken one by one into minutes; [`Ladder::roll`] then brings the coarser candles up
/// to date, once for a whole entry, because a rollup costs more than a trade.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ladder {
    series: [Series; Interval::ALL.len()],
    /// Minutes of which more is known than the candle that stands.
    mixed: BTreeMap<Timestamp, Sources>,
    /// The venue's bars of coarser intervals.
    bars: BTreeMap<Interval, BTreeMap<Timestamp, Candle>>,
    hours: Hours,
    past: Past,
    revisions: Revisions,
    gaps: Gaps,
    began: Began,
    days: Days,
    /// Minutes that trades told of since the last `roll`; seldom more than two.
    touched: Vec<Timestamp>,
    /// Buckets of each interval of which something else has changed.
    stirred: [Vec<Timestamp>; Interval::ALL.len()],
    marks: Marks,
}

/// The earliest minute that was ever built, and the earliest that was ever recorded. We came in the
/// middle of the earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Began {
    built: Option<Timestamp>,
    recorded: Option<Timestamp>,
}

impl Ladder {
    /// Takes one trade into its minute.
    pub fn take(&mut self, tick: &Tick) {
        let bucket = Interval::Minute.bucket(tick.traded_at);
        if self.touched.last() != Some(&bucket) {
            self.touched.push(bucket);
        }
        if self.passes_over(bucket) {
            return;
        }
        let [minutes, ..] = &mut self.series;
        match minutes.find_mut(bucket) {
            Ok(Held { candle, origin: Origin::Built }) => candle.take(tick),
            Ok(_) => self.sources(bucket).take(tick),
            Err(place) => {
                let candle = Candle::of(tick, Interval::Minute);
                minutes.insert(place, Held { candle, origin: Origin::Built });
            }
        }
    }

    /// Cascades what the market told into the coarser candles. `clock` is the venue's time before the
    /// first of these trades: each changed candle that had closed by then is one revision further.
    /// Returns the changed candles, finest first.
    pub fn roll(&mut self, clock: Timestamp) -> Vec<Changed> {
        self.settle(clock, LIMITS)
    }

    /// Takes what the market log tells of a gap; passes over other events. Takes effect with the
    /// next `roll`.
    pub fn hear_gap(&mut self, event: &MarketEvent) {
        self.take_gap(Teller::Market, event);
    }

    /// Takes what the ledger tells of gaps; returns the changed candles, finest first.
    pub fn copy_gaps<'a>(
        &mut self,
        events: impl IntoIterator<Item = &'a MarketEvent>,
    ) -> Vec<Changed> {
        for event in events {
            self.take_gap(Teller::Ledger, event);
        }
        self.settle(Timestamp::MIN, LIMITS)
    }

    /// Takes the closed minutes that one entry recorded; returns the changed candles, finest first.
    pub fn record<'a>(&mut self, minutes: impl IntoIterator<Item = &'a Candle>) -> Vec<Changed> {
        self.take_recorded(minutes);
        self.settle(Timestamp::MIN, LIMITS)
    }

    /// Takes bars that the venue made; returns the changed candles, finest first.
    pub fn import<'a>(
        &mut self,
        bars: impl IntoIterator<Item = (Interval, &'a Candle)>,
    ) -> Vec<Changed> {
        self.take_bars(bars);
        self.settle(Timestamp::MIN, LIMITS)
    }

    /// Returns the gaps that were not filled, by their first ids.
    pub fn gaps(&self) -> impl Iterator<Item = &Gap> + Clone {
        self.gaps.shown()
    }

    /// Returns what the market log tells of gaps and the ledger does not yet, at most `limit` events
    /// in the order in which they are to be recorded. Costs next to nothing while there is nothing.
    pub fn unrecorded_gaps(&self, limit: usize) -> Vec<MarketEvent> {
        self.gaps.unrecorded(limit)
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
    pub fn began(&self) -> Option<Timestamp> {
        self.began.earliest()
    }

    /// Returns the start of the first day whose minutes are held; `None` while none was forgotten.
    /// Minutes before it stand in the archive, but for built ones whose hour was never recorded:
    /// those still stand here.
    pub const fn since(&self) -> Option<Timestamp> {
        self.days.since()
    }

    fn series(&self, interval: Interval) -> Option<&Series> {
        self.series.get(interval.level())
    }

    /// Whether trades of this minute make no candle any more: its hour was recorded and its minutes
    /// are forgotten, or too many days have passed.
    fn passes_over(&self, bucket: Timestamp) -> bool {
        self.days.is_given_up(bucket)
            || (self.is_forgotten(bucket) && self.past.is_recorded(Interval::Hour.bucket(bucket)))
    }

    fn take_gap(&mut self, teller: Teller, event: &MarketEvent) {
        self.marks.head();
        for (after, before) in self.gaps.take(teller, event) {
            self.stir_between(after, before);
        }
    }

    fn take_recorded<'a>(&mut self, minutes: impl IntoIterator<Item = &'a Candle>) {
        let mut hours: BTreeMap<Timestamp, BTreeMap<Timestamp, &Candle>> = BTreeMap::new();
        for candle in minutes.into_iter().filter(|candle| candle.is_sound(Interval::Minute)) {
            let hour = Interval::Hour.bucket(candle.opened_at);
            hours.entry(hour).or_default().insert(candle.opened_at, candle);
        }
        for (hour, minutes) in hours {
            self.marks.day(hour);
            self.hear_ledger(hour);
            if let Some((first, _)) = minutes.first_key_value() {
                self.begin(Began { recorded: Some(*first), built: None });
            }
            if self.is_forgotten(hour) {
                self.record_past(hour, &minutes);
                continue;
            }
            let trades = minutes.values().map(|candle| candle.trades);
            self.hours.record(hour, trades.fold(0, u64::saturating_add));
            for (bucket, candle) in minutes {
                self.sources(bucket).record(candle);
                self.stir(Interval::Minute, bucket);
            }
        }
    }

    fn take_bars<'a>(&mut self, bars: impl IntoIterator<Item = (Interval, &'a Candle)>) {
        for (interval, candle) in bars.into_iter().filter(|(of, bar)| bar.is_sound(*of)) {
            let bucket = candle.opened_at;
            self.marks.day(bucket);
            if interval == Interval::Minute {
                self.hear_ledger(bucket);
            } else {
                self.take_bar(interval, candle);
            }
            if self.is_forgotten(bucket) {
                self.import_past(interval, candle);
            } else if interval == Interval::Minute {
                self.sources(bucket).import(candle);
            }
            self.stir(interval, bucket);
        }
    }

    fn take_bar(&mut self, interval: Interval, candle: &Candle) {
        let bars = self.bars.entry(interval).or_default();
        bars.insert(candle.opened_at, candle.clone());
        let forgotten = if bars.len() > CANDLES_MAX { bars.pop_first() } else { None };
        if let Some((oldest, _)) = forgotten {
            self.marks.day(oldest);
            self.stir(interval, oldest);
        }
    }

    fn hear_ledger(&mut self, bucket: Timestamp) {
        if self.days.hear_ledger(bucket) {
            self.marks.head();
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

    /// Notes a minute that was built, or recorded.
    fn begin(&mut self, also: Began) {
        let before = self.began;
        self.began = before.with(also);
        if self.began == before {
            return;
        }
        self.marks.head();
        if let Some(earliest) = before.earliest().filter(|_| before.earliest() != self.began()) {
            // It is whole after all.
            self.stir(Interval::Minute, earliest);
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
        self.days.is_forgotten(bucket)
    }
}

impl Began {
    fn earliest(self) -> Option<Timestamp> {
        self.built.into_iter().chain(self.recorded).min()
    }

    fn with(self, also: Self) -> Self {
        let earlier = |one: Option<Timestamp>, other| one.into_iter().chain(other).min();
        Self {
            built: earlier(self.built, also.built),
            recorded: earlier(self.recorded, also.recorded),
        }
    }
}

#[cfg(test)]
mod tests;
