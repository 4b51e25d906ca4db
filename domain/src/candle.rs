//! One candle: what was traded in an interval of venue time.

pub mod event;

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

    /// Returns its place in [`Interval::ALL`].
    pub const fn level(self) -> usize {
        self as usize
    }

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
#[serde(deny_unknown_fields)]
pub struct Place {
    pub traded_at: Timestamp,
    pub trade_id: u64,
}

/// What was traded from `opened_at` up to, not including, the end of its interval.
///
/// All fields are open: whoever reads a venue's bar writes it down as it is told, with
/// [`Source::Native`], no first and no last trade, and asks [`Candle::is_sound`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The first and the last trade, by venue time and id; none where nothing was traded, or where
    /// the venue's bar does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
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

    /// Whether it can be a candle of `interval`: it opens where a bucket does, its prices lie
    /// between low and high, and no volume is negative. A venue's bar that is not is not taken.
    pub fn is_sound(&self, interval: Interval) -> bool {
        let within = |price| (self.low..=self.high).contains(&price);
        self.opened_at == interval.bucket(self.opened_at)
            && within(self.open)
            && within(self.close)
            && !self.quote_volume.is_sign_negative()
            && !self.taker_buy.is_sign_negative()
            && self.taker_buy <= self.volume
    }

    /// Returns the candle of `interval` that these finer ones make, given in order of time; `None`
    /// when there are none. Its revision is not theirs: it counts its own corrections.
    ///
    /// It is native when any part is: the whole can then not be traced to trades that we hold. It
    /// knows its first and last trade when the parts at its ends do.
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
            if whole.trades == 0 {
                whole.first = part.first;
            }
            if part.trades > 0 {
                whole.last = part.last;
            }
            whole.trades = whole.trades.saturating_add(part.trades);
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
