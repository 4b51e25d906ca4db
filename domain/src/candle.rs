//! One candle: what was traded in an interval of venue time.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::amount::Price;
use crate::tick::{Side, Tick};
use crate::time::{DAY, MINUTE, SECOND, Timestamp};

/// Venue time past a bucket's end after which the bucket counts as closed.
pub const CLOSE_PATIENCE: i64 = 2 * SECOND;

/// The length of a bucket. Buckets start at multiples of it, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Interval {
    #[serde(rename = "1m")]
    Minute,
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "4h")]
    FourHours,
    #[serde(rename = "1d")]
    Day,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an interval is 1m, 5m, 1h, 4h or 1d")]
pub struct NotAnInterval;

impl Interval {
    /// All intervals, each the rollup of the one before it.
    pub const ALL: [Self; 5] =
        [Self::Minute, Self::FiveMinutes, Self::Hour, Self::FourHours, Self::Day];

    /// Returns the microseconds of a bucket.
    pub const fn length(self) -> i64 {
        match self {
            Self::Minute => MINUTE,
            Self::FiveMinutes => 5 * MINUTE,
            Self::Hour => 60 * MINUTE,
            Self::FourHours => 240 * MINUTE,
            Self::Day => DAY,
        }
    }

    /// Returns the start of the bucket that holds this instant.
    pub const fn bucket(self, instant: Timestamp) -> Timestamp {
        instant.floor(self.length())
    }

    /// Returns the end of the bucket that starts at `opened_at`.
    pub const fn end(self, opened_at: Timestamp) -> Timestamp {
        opened_at.plus(self.length())
    }

    /// Whether the bucket that starts at `opened_at` is closed when the venue's clock shows `clock`.
    pub fn is_closed(self, opened_at: Timestamp, clock: Timestamp) -> bool {
        clock >= self.end(opened_at).plus(CLOSE_PATIENCE)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::FourHours => "4h",
            Self::Day => "1d",
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Interval {
    type Err = NotAnInterval;

    fn from_str(text: &str) -> Result<Self, NotAnInterval> {
        Self::ALL.into_iter().find(|interval| interval.as_str() == text).ok_or(NotAnInterval)
    }
}

/// Where a candle comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The venue's own bar.
    Native,
    /// Built here, from trades.
    Built,
    /// Nothing was traded: flat at the close before.
    Filled,
}

/// The place of a trade in its venue's order: by time, then by id. Arrival does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub traded_at: Timestamp,
    pub trade_id: u64,
}

/// What was traded from `opened_at` up to, not including, the end of its interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candle {
    pub opened_at: Timestamp,
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub close: Price,
    /// In base currency.
    pub volume: Decimal,
    /// In quote currency: the sum of price times quantity.
    pub quote_volume: Decimal,
    /// The part of `volume` whose taker bought.
    pub taker_buy: Decimal,
    pub trades: u64,
    /// The first and the last trade, by venue time and id; none in a filled candle.
    pub first: Option<Place>,
    pub last: Option<Place>,
    pub source: Source,
    /// How often the candle changed after it had closed.
    pub revision: u32,
}

impl Candle {
    /// Returns the candle of one trade.
    pub fn of(tick: &Tick, interval: Interval) -> Self {
        let place = Some(Place { traded_at: tick.traded_at, trade_id: tick.trade_id });
        let volume = tick.quantity.value();
        Self {
            opened_at: interval.bucket(tick.traded_at),
            open: tick.price,
            high: tick.price,
            low: tick.price,
            close: tick.price,
            volume,
            quote_volume: product(tick),
            taker_buy: if tick.taker == Side::Buy { volume } else { Decimal::ZERO },
            trades: 1,
            first: place,
            last: place,
            source: Source::Built,
            revision: 0,
        }
    }

    /// Returns the flat candle of a bucket in which nothing was traded.
    pub fn filled(opened_at: Timestamp, close: Price) -> Self {
        Self {
            opened_at,
            open: close,
            high: close,
            low: close,
            close,
            volume: Decimal::ZERO,
            quote_volume: Decimal::ZERO,
            taker_buy: Decimal::ZERO,
            trades: 0,
            first: None,
            last: None,
            source: Source::Filled,
            revision: 0,
        }
    }

    /// Takes in one more trade of this bucket, in whatever order trades come.
    pub fn take(&mut self, tick: &Tick) {
        let place = Some(Place { traded_at: tick.traded_at, trade_id: tick.trade_id });
        if self.first.is_none() || place < self.first {
            (self.first, self.open) = (place, tick.price);
        }
        if self.last < place {
            (self.last, self.close) = (place, tick.price);
        }
        self.high = self.high.max(tick.price);
        self.low = self.low.min(tick.price);
        self.volume = sum(self.volume, tick.quantity.value());
        self.quote_volume = sum(self.quote_volume, product(tick));
        if tick.taker == Side::Buy {
            self.taker_buy = sum(self.taker_buy, tick.quantity.value());
        }
        self.trades += 1;
    }

    /// Returns the candle of `interval` that these finer ones make, given in order of time; `None`
    /// when there are none. Its revision is not theirs: it counts its own corrections.
    pub fn rollup<'a>(
        interval: Interval,
        finer: impl IntoIterator<Item = &'a Self>,
    ) -> Option<Self> {
        let mut finer = finer.into_iter();
        let mut whole = finer.next()?.clone();
        whole.opened_at = interval.bucket(whole.opened_at);
        whole.revision = 0;
        for part in finer {
            whole.high = whole.high.max(part.high);
            whole.low = whole.low.min(part.low);
            whole.close = part.close;
            whole.volume = sum(whole.volume, part.volume);
            whole.quote_volume = sum(whole.quote_volume, part.quote_volume);
            whole.taker_buy = sum(whole.taker_buy, part.taker_buy);
            whole.trades += part.trades;
            whole.first = whole.first.or(part.first);
            whole.last = part.last.or(whole.last);
            whole.source = whole.source.min(part.source);
        }
        Some(whole)
    }
}

/// Exact for every tick that passed [`Tick::is_exact`].
fn product(tick: &Tick) -> Decimal {
    tick.price.value().checked_mul(tick.quantity.value()).unwrap_or(Decimal::MAX)
}

/// A volume past what `Decimal` holds stays at its greatest value: a fold cannot fail.
fn sum(left: Decimal, right: Decimal) -> Decimal {
    left.checked_add(right).unwrap_or(Decimal::MAX)
}
