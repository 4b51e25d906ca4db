//! A ladder in parts, as they are written down: its head, and one for each UTC day.
//!
//! Candles are rows of few words, because a busy day has 1,440 of them.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::amount::Price;
use crate::candle::{Candle, Interval, Place, Source};
use crate::time::Timestamp;

use super::days::Days;
use super::gaps::{Gaps, Tale};
use super::past::{PastHour, Whole};
use super::series::{Held, Origin, Series};
use super::sources::Sources;
use super::{Began, Ladder};

/// What does not belong to a day.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    market_gaps: Tale,
    ledger_gaps: Tale,
    built_since: Option<Timestamp>,
    recorded_since: Option<Timestamp>,
    days: Days,
}

/// All that opened on one day.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Day {
    /// What stands, of each interval.
    series: [Vec<(Origin, Row)>; Interval::ALL.len()],
    /// Minutes of which more is known: what was built, recorded, and told by the venue.
    mixed: Vec<(Timestamp, [Option<Row>; 3])>,
    bars: Vec<(Interval, Row)>,
    /// Hours that were recorded, and the most trades of one entry.
    recorded: Vec<(Timestamp, u64)>,
    due: Vec<Timestamp>,
    past: Vec<PastRow>,
    revisions: Vec<(Interval, Timestamp, u32)>,
}

/// An hour whose minutes are forgotten: the most trades that were recorded; the whole, the bits of
/// its minutes and of those traded.
type PastRow = (Timestamp, Option<u64>, Option<(Row, u64, u64)>);

/// A candle: opened at; open, high, low, close; volume, quote volume, taker buy; trades; first and
/// last trade, by time and id; source; revision. Instants in microseconds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row(i64, [Price; 4], [Decimal; 3], u64, Option<(i64, u64)>, Option<(i64, u64)>, Source, u32);

impl Ladder {
    pub fn head(&self) -> Head {
        let (market_gaps, ledger_gaps) = self.gaps.tales();
        Head {
            market_gaps: market_gaps.clone(),
            ledger_gaps: ledger_gaps.clone(),
            built_since: self.began.built,
            recorded_since: self.began.recorded,
            days: self.days.clone(),
        }
    }

    /// Takes a head back.
    pub fn restore_head(&mut self, head: Head) {
        self.gaps = Gaps::of(head.market_gaps, head.ledger_gaps);
        self.began = Began { built: head.built_since, recorded: head.recorded_since };
        self.days = head.days;
    }

    /// Returns the days on which something opened.
    pub fn days(&self) -> BTreeSet<Timestamp> {
        let mut days = BTreeSet::new();
        for series in &self.series {
            let mut from = Timestamp::MIN;
            while let Some(candle) = series.candles(from, Timestamp::MAX).next() {
                let day = Interval::Day.bucket(candle.opened_at);
                days.insert(day);
                from = Interval::Day.end(day);
            }
        }
        days.extend(self.rest().map(|instant| Interval::Day.bucket(instant)));
        days
    }

    /// Returns the day that begins at `from`; `None` when nothing opened on it.
    pub fn day(&self, from: Timestamp) -> Option<Day> {
        let until = Interval::Day.end(from);
        let rows = |series: &Series| {
            let held = series.range(from, until);
            held.map(|held| (held.origin, Row::of(&held.candle))).collect()
        };
        let mixed = self.mixed.range(from..until).map(|(bucket, sources)| {
            let row = |candle: &Option<Candle>| candle.as_ref().map(Row::of);
            (*bucket, [row(&sources.built), row(&sources.recorded), row(&sources.native)])
        });
        let bars = self.bars.iter().flat_map(|(interval, bars)| {
            bars.range(from..until).map(|(_, bar)| (*interval, Row::of(bar)))
        });
        let past = self.past.0.range(from..until).map(|(hour, past)| {
            let whole = past.whole.as_ref();
            let whole = whole.map(|it| (Row::of(&it.candle), it.minutes, it.traded));
            (*hour, past.recorded, whole)
        });
        let revisions = Interval::ALL.into_iter().flat_map(|interval| {
            let revisions = self.revisions.range(interval, from, until);
            revisions.map(move |(bucket, revision)| (interval, bucket, revision))
        });
        let recorded = self.hours.recorded.range(from..until);
        let day = Day {
            series: self.series.each_ref().map(rows),
            mixed: mixed.collect(),
            bars: bars.collect(),
            recorded: recorded.map(|(hour, trades)| (*hour, *trades)).collect(),
            due: self.hours.due.range(from..until).copied().collect(),
            past: past.collect(),
            revisions: revisions.collect(),
        };
        (day != Day::default()).then_some(day)
    }

    /// Takes back a day of which nothing is held.
    pub fn restore_day(&mut self, day: Day) {
        for (series, rows) in self.series.iter_mut().zip(day.series) {
            for (origin, row) in rows {
                series.put(Held { candle: row.candle(), origin });
            }
        }
        for (bucket, rows) in day.mixed {
            let [built, recorded, native] = rows.map(|row| row.map(Row::candle));
            self.mixed.insert(bucket, Sources { built, recorded, native });
        }
        for (interval, row) in day.bars {
            let bar = row.candle();
            self.bars.entry(interval).or_default().insert(bar.opened_at, bar);
        }
        self.hours.recorded.extend(day.recorded);
        self.hours.due.extend(day.due);
        for (hour, recorded, whole) in day.past {
            let whole =
                whole.map(|(row, minutes, traded)| Whole { candle: row.candle(), minutes, traded });
            self.past.0.insert(hour, PastHour { whole, recorded });
        }
        for (interval, bucket, revision) in day.revisions {
            self.revisions.set(interval, bucket, revision);
        }
    }

    /// Returns whether the head changed since this was asked last, and the days that came, changed
    /// or went.
    pub fn take_changed(&mut self) -> (bool, BTreeSet<Timestamp>) {
        self.marks.take()
    }

    /// All instants under which something else than a series is held.
    fn rest(&self) -> impl Iterator<Item = Timestamp> {
        let bars = self.bars.values().flat_map(BTreeMap::keys);
        let hours = self.hours.recorded.keys().chain(&self.hours.due).chain(self.past.0.keys());
        let revisions = Interval::ALL.into_iter().flat_map(|interval| {
            self.revisions.range(interval, Timestamp::MIN, Timestamp::MAX).map(|(bucket, _)| bucket)
        });
        self.mixed.keys().chain(bars).chain(hours).copied().chain(revisions)
    }
}

impl Row {
    fn of(candle: &Candle) -> Self {
        let place = |place: Place| (place.traded_at.micros(), place.trade_id);
        Self(
            candle.opened_at.micros(),
            [candle.open, candle.high, candle.low, candle.close],
            [candle.volume, candle.quote_volume, candle.taker_buy],
            candle.trades,
            candle.first.map(place),
            candle.last.map(place),
            candle.source,
            candle.revision,
        )
    }

    fn candle(self) -> Candle {
        let Self(opened_at, prices, volumes, trades, first, last, source, revision) = self;
        let [open, high, low, close] = prices;
        let [volume, quote_volume, taker_buy] = volumes;
        let place = |(traded_at, trade_id)| Place {
            traded_at: Timestamp::from_micros(traded_at),
            trade_id,
        };
        Candle {
            opened_at: Timestamp::from_micros(opened_at),
            open,
            high,
            low,
            close,
            volume,
            quote_volume,
            taker_buy,
            trades,
            first: first.map(place),
            last: last.map(place),
            source,
            revision,
        }
    }
}
