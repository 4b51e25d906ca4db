//! Answers that reach further back than memory: what the ledger told of old minutes comes from the
//! archive, and is made into candles by the code that made those in memory.
//!
//! ```text
//!        archive                      memory
//! ───────────────────────┬──────────────────────────►
//!        [ read already ]│since
//!  more ◄┘              └► more
//! ```
//!
//! A query is tried on what is known. When the page is not full and there is more to be known on the
//! way that it goes, more hours are read, without any lock, and it is tried again.

use std::collections::BTreeSet;
use std::ops::Range;

use domain::candle::Interval;
use domain::instrument::{Instrument, Venue};
use domain::ladder::Ladder;
use domain::ladder::archive::Archived;
use domain::time::Timestamp;
use eventlog::entry::Offset;
use eventlog::stream::Log;

use crate::candles::InstrumentCandles;
use crate::store::StoreError;
use crate::store::archive::{Archive, Direction, HOURS_MAX};
use crate::store::rows::{ArchivedHour, Kind};
use crate::views::Views;

use super::sight::{Sight, is_archived};
use super::{Page, Query, Span};

/// How often more is read for one page. Each time it is twice as much, so this is reached only when
/// memory forgets a day again and again meanwhile; the answer is then an error.
const TURNS_MAX: usize = 24;

/// Why a query that reaches back cannot be answered. What is in memory can be asked all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutOfReach {
    #[error("candles before {0} are in the archive, and this node has none")]
    NoArchive(String),
    #[error("candles before {since} are in the archive: {error}")]
    Archive { since: String, error: StoreError },
    #[error("memory forgets faster than the archive can be read: ask again")]
    Restless,
}

/// Answers from memory and, where the query reaches further back, from the archive. A page is never
/// shorter because something could not be read.
pub async fn answer(
    query: Query,
    views: &Views,
    (venue, instrument): (&Venue, &Instrument),
    archive: Option<&Archive>,
) -> Result<Page, OutOfReach> {
    let mut known = None;
    for _ in 0..TURNS_MAX {
        // At rest: whatever memory has forgotten was recorded in the ledger up to this offset.
        let (tried, ledger) = views.at_rest(|_| {
            let candles = views.candles();
            let held = candles.get(venue, instrument);
            let tried = held.map(|held| query.try_on(held, known.as_ref()));
            (tried, views.applied(Log::Ledger))
        });
        let wanted = match tried {
            None => return Ok(Page::default()),
            Some(Tried::Page(page)) => return Ok(page),
            Some(Tried::Wants(wanted)) => wanted,
        };
        let since = wanted.since.to_shortest();
        let archive = archive.ok_or_else(|| OutOfReach::NoArchive(since.clone()))?;
        let read = read(archive, (venue, instrument), &wanted, ledger).await;
        let (hours, is_oldest) = read.map_err(|error| OutOfReach::Archive { since, error })?;
        known = Some(Known::with(known, wanted, hours, is_oldest));
    }
    Err(OutOfReach::Restless)
}

/// Returns the hours that are wanted, and whether there are none before them.
async fn read(
    archive: &Archive,
    (venue, instrument): (&Venue, &Instrument),
    wanted: &Wanted,
    ledger: Offset,
) -> Result<(Vec<ArchivedHour>, bool), StoreError> {
    archive.wait_applied(ledger).await?;
    let range = wanted.range.clone();
    let hours = archive.hours(venue, instrument, range, wanted.direction, wanted.hours).await?;
    let is_oldest = match wanted.direction {
        Direction::Backward => count(&hours) < wanted.hours,
        Direction::Forward => {
            let before = Timestamp::MIN..wanted.range.start;
            let before = archive.hours(venue, instrument, before, Direction::Backward, 1).await?;
            before.is_empty()
        }
    };
    Ok((hours, is_oldest))
}

fn count(rows: &[ArchivedHour]) -> u32 {
    let hours: BTreeSet<Timestamp> = rows.iter().map(|row| row.hour).collect();
    u32::try_from(hours.len()).unwrap_or(u32::MAX)
}

/// What came of a try.
#[derive(Debug)]
pub(super) enum Tried {
    Page(Page),
    Wants(Wanted),
}

/// What of the archive a page needs, as far as it can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Where memory begins.
    since: Timestamp,
    pub(super) range: Range<Timestamp>,
    pub(super) direction: Direction,
    /// So many hours that hold something are enough for now.
    pub(super) hours: u32,
}

/// What was read of the archive for one query: all that it holds of `from..until`.
#[derive(Debug)]
pub(super) struct Known {
    since: Timestamp,
    from: Timestamp,
    until: Timestamp,
    /// Whether the archive holds nothing before `from`.
    is_oldest: bool,
    /// In order of time.
    hours: Vec<ArchivedHour>,
}

impl Known {
    /// Adds what was read to what was known, of which it is the continuation, unless memory has
    /// forgotten more since then.
    pub(super) fn with(
        known: Option<Self>,
        wanted: Wanted,
        mut hours: Vec<ArchivedHour>,
        is_oldest: bool,
    ) -> Self {
        let Wanted { since, range, direction, hours: hours_max } = wanted;
        let is_all = count(&hours) < hours_max;
        let known = known.filter(|known| known.since == since);
        match direction {
            Direction::Forward => {
                let last = hours.last().map(|row| Interval::Hour.end(row.hour));
                let until = if is_all { range.end } else { last.unwrap_or(range.end) };
                let (from, is_oldest, before) = match known {
                    Some(known) => (known.from, known.is_oldest, known.hours),
                    None => (range.start, is_oldest, Vec::new()),
                };
                let hours = before.into_iter().chain(hours).collect();
                Self { since, from, until, is_oldest, hours }
            }
            Direction::Backward => {
                let first = hours.first().map(|row| row.hour);
                let from = if is_all { range.start } else { first.unwrap_or(range.start) };
                let until = known.as_ref().map_or(range.end, |known| known.until);
                hours.extend(known.into_iter().flat_map(|known| known.hours));
                Self { since, from, until, is_oldest, hours }
            }
        }
    }

    /// Returns the old hours as the ladder in memory would hold them.
    fn ladder(&self, memory: &Ladder) -> Ladder {
        let told = self.hours.iter().map(|row| match row.kind {
            Kind::Closed => Archived::Closed(&row.candles),
            Kind::Imported => Archived::Imported(&row.candles),
        });
        memory.of_archive(self.from, self.until, told)
    }
}

impl Query {
    /// Answers from memory and from what is known of the archive; or says what more is to be known.
    pub(super) fn try_on(&self, held: InstrumentCandles<'_>, known: Option<&Known>) -> Tried {
        let since = match held.ladder.since() {
            Some(since) if is_archived(self.interval) => since,
            _ => return Tried::Page(self.answer(held)),
        };
        let newest = held.ladder.last(self.interval).map(|candle| candle.opened_at);
        let forgotten = since.plus(-self.interval.length());
        let last = self.last(held, newest.map_or(forgotten, |newest| newest.max(forgotten)));
        let asked = Span { first: self.first().unwrap_or(Timestamp::MIN), last };
        if asked.first > asked.last {
            return Tried::Page(Page::default());
        }
        match known.filter(|known| known.since == since) {
            None => self.try_memory(held, since, asked),
            Some(known) => self.try_known(held, known, asked),
        }
    }

    /// Something was forgotten, so there is more before memory begins.
    fn try_memory(&self, held: InstrumentCandles<'_>, since: Timestamp, asked: Span) -> Tried {
        if self.is_ahead() && asked.first < since {
            let range = Interval::Hour.bucket(asked.first)..end_of_archived(since, asked.last);
            let hours = self.hours(0, 0);
            return Tried::Wants(Wanted { since, range, direction: Direction::Forward, hours });
        }
        let span = Span { first: asked.first.max(since), ..asked };
        let sight = Sight::beyond_memory(held, since, None);
        let candles = self.walk(sight, span);
        if self.is_ahead() || candles.len() > self.limit() {
            return Tried::Page(self.page(sight, span, candles));
        }
        let range = Timestamp::MIN..end_of_archived(since, asked.last);
        let hours = self.hours(candles.len(), 0);
        Tried::Wants(Wanted { since, range, direction: Direction::Backward, hours })
    }

    fn try_known(&self, held: InstrumentCandles<'_>, known: &Known, asked: Span) -> Tried {
        let (since, interval) = (known.since, self.interval);
        let ladder = known.ladder(held.ladder);
        let sight = Sight::beyond_memory(held, since, Some(&ladder));
        let first = if known.is_oldest {
            // What was never recorded stands in memory, however old it is.
            let archived = ladder.first(interval).map(|candle| candle.opened_at);
            let in_memory = held.ladder.first(interval).map(|candle| candle.opened_at);
            archived.into_iter().chain(in_memory).min().unwrap_or(known.from)
        } else {
            known.from
        };
        let last =
            if known.until < since { known.until.plus(-interval.length()) } else { asked.last };
        let span = Span { first: asked.first.max(first), last: asked.last.min(last) };
        let candles = self.walk(sight, span);
        let is_whole =
            if self.is_ahead() { span.last == asked.last } else { span.first == asked.first };
        if is_whole || candles.len() > self.limit() || (!self.is_ahead() && known.is_oldest) {
            return Tried::Page(self.page(sight, span, candles));
        }
        let hours = self.hours(candles.len(), count(&known.hours));
        let (range, direction) = if self.is_ahead() {
            (known.until..end_of_archived(since, asked.last), Direction::Forward)
        } else {
            (Timestamp::MIN..known.from, Direction::Backward)
        };
        Tried::Wants(Wanted { since, range, direction, hours })
    }

    /// Returns how many hours are to be read when so many candles were met already, and so many
    /// hours read: enough when something was traded in each bucket, and at least as many again.
    fn hours(&self, candles: usize, read: u32) -> u32 {
        let buckets = usize::try_from(Interval::Hour.length() / self.interval.length());
        let missing = (self.limit() + 1).saturating_sub(candles);
        let dense = missing.div_ceil(buckets.unwrap_or(1)) + 1;
        u32::try_from(dense).unwrap_or(HOURS_MAX).max(read).min(HOURS_MAX)
    }
}

/// Returns the end of the hours that are to be read: that of the last one asked for, or memory.
fn end_of_archived(since: Timestamp, last: Timestamp) -> Timestamp {
    since.min(Interval::Hour.end(Interval::Hour.bucket(last)))
}

#[cfg(test)]
mod tests;
