//! Queries over candles: which buckets a range means, and what stands in an empty one.

use std::fmt;
use std::str::FromStr;

use domain::candle::{Candle, Interval};
use domain::ladder::gaps::Gap;
use domain::time::Timestamp;

use crate::candles::InstrumentCandles;

use self::sight::Sight;
use self::unknown::Unknown;

mod sight;

mod unknown;

pub mod reach;

/// Candles that one page may hold.
pub const PAGE_MAX: usize = 1_000;

/// What is asked of an instrument's candles. Both ends are inclusive and mean the start of a bucket.
///
/// With neither end, or with `end` alone, the newest come; with `start`, the oldest from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    pub interval: Interval,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    /// At most [`PAGE_MAX`].
    pub limit: usize,
    /// Whether empty buckets show as flat candles at the close before.
    pub fill: bool,
}

/// A part of the answer, in order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub candles: Vec<Shown>,
    /// Gaps in the record that the page spans. No bucket in them is filled.
    pub gaps: Vec<Gap>,
    /// Where the next page starts, when there is more.
    pub next: Option<Cursor>,
}

/// A candle and whether its bucket is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub candle: Candle,
    pub closed: bool,
}

/// Where the next page goes on: it takes the place of the query's own ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// From this bucket on, up to the query's end.
    From(Timestamp),
    /// Up to this bucket, the newest of what is left.
    UpTo(Timestamp),
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(bucket) => write!(f, "f{}", bucket.micros()),
            Self::UpTo(bucket) => write!(f, "u{}", bucket.micros()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: give back next_cursor as it came")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let bucket =
            |digits: &str| digits.parse().map(Timestamp::from_micros).map_err(|_| NotACursor);
        match text.split_at_checked(1) {
            Some(("f", digits)) => bucket(digits).map(Self::From),
            Some(("u", digits)) => bucket(digits).map(Self::UpTo),
            _ => Err(NotACursor),
        }
    }
}

impl Query {
    /// Returns the same query with its ends moved to where the cursor points.
    #[must_use]
    pub fn at(self, cursor: Cursor) -> Self {
        match cursor {
            Cursor::From(bucket) => Self { start: Some(bucket), ..self },
            Cursor::UpTo(bucket) => Self { start: None, end: Some(bucket), ..self },
        }
    }

    /// Answers from what is in memory of an instrument.
    pub fn answer(&self, held: InstrumentCandles<'_>) -> Page {
        let ladder = held.ladder;
        let (Some(oldest), Some(newest)) =
            (ladder.first(self.interval), ladder.last(self.interval))
        else {
            return Page::default();
        };
        let first = self.first().unwrap_or(Timestamp::MIN).max(oldest.opened_at);
        let span = Span { first, last: self.last(held, newest.opened_at) };
        let sight = Sight::of_memory(held);
        self.page(sight, span, self.walk(sight, span))
    }

    /// Returns the first bucket that is asked for. A start inside a bucket means the next one.
    fn first(&self) -> Option<Timestamp> {
        let bucket = self.interval.bucket(self.start?);
        Some(if Some(bucket) < self.start { self.interval.end(bucket) } else { bucket })
    }

    /// Returns the last bucket that can be answered: that of the newest candle or, where empty ones
    /// are filled, that of the venue's time.
    fn last(&self, held: InstrumentCandles<'_>, newest: Timestamp) -> Timestamp {
        let interval = self.interval;
        let newest = if self.fill { newest.max(interval.bucket(held.clock)) } else { newest };
        self.end.map_or(newest, |end| interval.bucket(end).min(newest))
    }

    /// Returns the candles of a span as they are met from the end at which the page begins; one
    /// more than the page takes, when there is one.
    fn walk(&self, sight: Sight<'_>, span: Span) -> Vec<Candle> {
        let (interval, enough) = (self.interval, self.limit() + 1);
        if span.first > span.last {
            return Vec::new();
        }
        let until = interval.end(span.last);
        let traded = sight.range(interval, span.first, until);
        let traded: Box<dyn Iterator<Item = &Candle>> =
            if self.is_ahead() { Box::new(traded) } else { Box::new(traded.rev()) };
        if !self.fill {
            return traded.take(enough).cloned().collect();
        }
        let mut traded = traded.peekable();
        let unknown = Unknown::of(sight, interval, span.first, until);
        let mut candles = Vec::new();
        let mut bucket = if self.is_ahead() { span.first } else { span.last };
        while span.holds(bucket) && candles.len() < enough {
            let mut next = self.next(bucket);
            if let Some(candle) = traded.next_if(|candle| candle.opened_at == bucket) {
                candles.push(candle.clone());
            } else if let Some((from, until)) = unknown.touching(bucket) {
                // Go on behind what is unknown, or at the next trade within it.
                let traded = traded.peek().map(|candle| candle.opened_at);
                next = if self.is_ahead() {
                    interval.bucket(traded.map_or(until, |at| at.min(until))).max(next)
                } else {
                    interval.bucket(traded.map_or(from, |at| at.max(from))).min(next)
                };
            } else if let Some(close) = unknown.close_before(bucket) {
                candles.push(Candle::filled(bucket, close));
            }
            bucket = next;
        }
        candles
    }

    fn limit(&self) -> usize {
        self.limit.min(PAGE_MAX)
    }

    /// Whether the page begins with the oldest candle; else with the newest.
    const fn is_ahead(&self) -> bool {
        self.start.is_some()
    }

    fn next(&self, bucket: Timestamp) -> Timestamp {
        let length = self.interval.length();
        bucket.plus(if self.is_ahead() { length } else { -length })
    }

    /// Makes the page of what was met.
    fn page(&self, sight: Sight<'_>, span: Span, mut candles: Vec<Candle>) -> Page {
        if span.first > span.last {
            return Page::default();
        }
        let extra = (candles.len() > self.limit()).then(|| candles.pop()).flatten();
        // What the page spans: the range that was asked for, cut where the next page goes on.
        let cut = extra.as_ref().and(candles.last()).map(|candle| candle.opened_at);
        let (mut from, mut until) = (span.first, span.last);
        if self.is_ahead() {
            until = cut.unwrap_or(until);
        } else {
            from = cut.unwrap_or(from);
            candles.reverse();
        }
        let to = if self.is_ahead() { Cursor::From } else { Cursor::UpTo };
        let held = sight.held;
        let shown = |candle: Candle| Shown {
            closed: self.interval.is_closed(candle.opened_at, held.clock),
            candle,
        };
        Page {
            candles: candles.into_iter().map(shown).collect(),
            gaps: held.gaps(from, self.interval.end(until)).copied().collect(),
            next: extra.map(|extra| to(extra.opened_at)),
        }
    }
}

/// The first and the last bucket of what is answered; none when they have crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: Timestamp,
    last: Timestamp,
}

impl Span {
    fn holds(self, bucket: Timestamp) -> bool {
        (self.first..=self.last).contains(&bucket)
    }
}

#[cfg(test)]
mod tests;
