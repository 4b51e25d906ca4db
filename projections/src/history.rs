//! Queries over candles: which buckets a range means, and what stands in an empty one.

use std::fmt;
use std::str::FromStr;

use domain::amount::Price;
use domain::candle::{Candle, Interval};
use domain::ladder::Ladder;
use domain::time::Timestamp;

use crate::candles::{Gap, InstrumentCandles};

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

    /// Answers from what is held of an instrument.
    pub fn answer(&self, held: InstrumentCandles<'_>) -> Page {
        let Some((first, last)) = self.bounds(held) else { return Page::default() };
        let limit = self.limit.min(PAGE_MAX);
        let mut candles = if self.start.is_some() {
            self.forward(held, first, last, limit + 1)
        } else {
            self.backward(held, first, last, limit + 1)
        };
        let next = (candles.len() > limit).then(|| candles.pop()).flatten().map(|extra| {
            if self.start.is_some() {
                Cursor::From(extra.opened_at)
            } else {
                Cursor::UpTo(extra.opened_at)
            }
        });
        if self.start.is_none() {
            candles.reverse();
        }
        // What the page spans: the range that was asked for, cut where the next page goes on.
        let (from, until) = match next {
            None => (first, last),
            Some(Cursor::From(_)) => {
                (first, candles.last().map_or(last, |candle| candle.opened_at))
            }
            Some(Cursor::UpTo(_)) => {
                (candles.first().map_or(first, |candle| candle.opened_at), last)
            }
        };
        let gaps = held.gaps(from, self.interval.end(until)).copied().collect();
        let shown = |candle: Candle| Shown {
            closed: self.interval.is_closed(candle.opened_at, held.clock),
            candle,
        };
        Page { candles: candles.into_iter().map(shown).collect(), gaps, next }
    }

    /// The first and the last bucket that can be answered.
    fn bounds(&self, held: InstrumentCandles<'_>) -> Option<(Timestamp, Timestamp)> {
        let interval = self.interval;
        let oldest = held.ladder.first(interval)?.opened_at;
        let newest = held.ladder.last(interval)?.opened_at;
        let newest = if self.fill { newest.max(interval.bucket(held.clock)) } else { newest };
        let first = match self.start {
            // A start inside a bucket means the next one.
            Some(start) if interval.bucket(start) < start => interval.end(interval.bucket(start)),
            Some(start) => start,
            None => oldest,
        };
        let (first, last) =
            (first.max(oldest), self.end.map_or(newest, |end| interval.bucket(end).min(newest)));
        (first <= last).then_some((first, last))
    }

    fn forward(
        &self,
        held: InstrumentCandles<'_>,
        first: Timestamp,
        last: Timestamp,
        limit: usize,
    ) -> Vec<Candle> {
        let interval = self.interval;
        let mut traded = held.ladder.range(interval, first, interval.end(last)).peekable();
        if !self.fill {
            return traded.take(limit).cloned().collect();
        }
        let unknown = Unknown::of(held, interval, first, interval.end(last));
        let mut close = unknown.close_before(first);
        let mut candles = Vec::new();
        let mut bucket = first;
        while bucket <= last && candles.len() < limit {
            if let Some(candle) = traded.next_if(|candle| candle.opened_at == bucket) {
                close = Some(candle.close);
                candles.push(candle.clone());
            } else if let Some((_, until)) = unknown.touching(bucket) {
                // Go on behind what is unknown, or at the next trade within it.
                let next = traded.peek().map_or(until, |candle| candle.opened_at.min(until));
                bucket = interval.bucket(next).max(interval.end(bucket));
                close = unknown.close_before(bucket);
                continue;
            } else if let Some(close) = close {
                candles.push(Candle::filled(bucket, close));
            }
            bucket = interval.end(bucket);
        }
        candles
    }

    /// The same from the newest down.
    fn backward(
        &self,
        held: InstrumentCandles<'_>,
        first: Timestamp,
        last: Timestamp,
        limit: usize,
    ) -> Vec<Candle> {
        let interval = self.interval;
        let mut traded = held.ladder.range(interval, first, interval.end(last)).rev().peekable();
        if !self.fill {
            return traded.take(limit).cloned().collect();
        }
        let unknown = Unknown::of(held, interval, first, interval.end(last));
        let mut candles = Vec::new();
        let mut bucket = last;
        while bucket >= first && candles.len() < limit {
            let before = bucket.plus(-interval.length());
            if let Some(candle) = traded.next_if(|candle| candle.opened_at == bucket) {
                candles.push(candle.clone());
            } else if let Some((from, _)) = unknown.touching(bucket) {
                let next = traded.peek().map_or(from, |candle| candle.opened_at.max(from));
                bucket = interval.bucket(next).min(before);
                continue;
            } else if let Some(close) = unknown.close_before(bucket) {
                candles.push(Candle::filled(bucket, close));
            }
            bucket = before;
        }
        candles
    }
}

/// The times of which it is not known what was traded in each bucket of an interval.
struct Unknown<'a> {
    ladder: &'a Ladder,
    interval: Interval,
    /// Gaps, joined where they overlap, in order.
    gaps: Vec<(Timestamp, Timestamp)>,
}

impl<'a> Unknown<'a> {
    /// Takes the gaps that touch `from..until`.
    fn of(
        held: InstrumentCandles<'a>,
        interval: Interval,
        from: Timestamp,
        until: Timestamp,
    ) -> Self {
        let mut gaps: Vec<_> = held.gaps(from, until).map(|gap| (gap.after, gap.before)).collect();
        gaps.sort_unstable();
        let mut spans: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (after, before) in gaps {
            match spans.last_mut() {
                Some(last) if after <= last.1 => last.1 = last.1.max(before),
                _ => spans.push((after, before)),
            }
        }
        Self { ladder: held.ladder, interval, gaps: spans }
    }

    /// Returns the span that touches a bucket without a candle; of gaps the last, when there are
    /// several.
    fn touching(&self, bucket: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let place = self.gaps.partition_point(|(after, _)| *after < self.interval.end(bucket));
        let gap = place.checked_sub(1).and_then(|place| self.gaps.get(place)).copied();
        gap.filter(|(_, before)| *before > bucket).or_else(|| self.coarse(bucket))
    }

    /// Returns the last price before a bucket: of its own interval, or of a later bar of a coarser
    /// one.
    fn close_before(&self, bucket: Timestamp) -> Option<Price> {
        let mut last = self.ladder.before(self.interval, bucket);
        for coarser in Interval::ALL.into_iter().filter(|coarser| *coarser > self.interval) {
            let bar = self.ladder.before(coarser, coarser.bucket(bucket));
            if bar.map(|bar| bar.opened_at) > last.map(|last| last.opened_at) {
                last = bar;
            }
        }
        last.map(|last| last.close)
    }

    /// Returns the coarser bucket around this one of which only the venue's bar is known: something
    /// was traded in it, but not when.
    fn coarse(&self, bucket: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let steps = Interval::ALL.into_iter().zip(Interval::ALL.into_iter().skip(1));
        steps.filter(|(finer, _)| *finer >= self.interval).find_map(|(finer, coarser)| {
            let span = (coarser.bucket(bucket), coarser.end(coarser.bucket(bucket)));
            let bar = self.ladder.range(coarser, span.0, span.1).next()?;
            let unknown =
                bar.trades > 0 && self.ladder.range(finer, span.0, span.1).next().is_none();
            unknown.then_some(span)
        })
    }
}

#[cfg(test)]
mod tests;
