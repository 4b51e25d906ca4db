//! The candles of each instrument at each venue, and the gaps that run through them.
//!
//! They are folded from both logs: trades and gaps from the market log, recorded candles and the
//! venue's bars from the ledger. What each log tells is kept apart until it is asked for, so the
//! state and the answers are the same however the two are interleaved.

use std::collections::BTreeMap;

use domain::candle::event::CandleEvent;
use domain::candle::{CLOSE_PATIENCE, Candle, Interval, Source};
use domain::event::Event;
use domain::instrument::{Instrument, Venue};
use domain::ladder::Ladder;
use domain::market;
use domain::market::event::MarketEvent;
use domain::time::{DAY, MINUTE, Timestamp};
use eventlog::entry::Entry;
use eventlog::stream::Stream;
use serde::{Deserialize, Serialize};

use crate::view::View;

/// Gaps that are remembered per instrument. Beyond it the oldest is forgotten, and empty candles
/// in it are then filled like any others.
const GAPS_MAX: usize = market::GAPS_MAX;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candles {
    venues: BTreeMap<Venue, VenueCandles>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct VenueCandles {
    /// The greatest venue time so far, as the market log tells it: revisions are counted by it.
    clock: Option<Timestamp>,
    /// The time by which the newest hour in the ledger had closed: it was recorded after that.
    recorded_at: Option<Timestamp>,
    /// The time by which the newest of the venue's bars had closed.
    imported_at: Option<Timestamp>,
    instruments: BTreeMap<Instrument, Held>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    ladder: Ladder,
    /// By the first id that is missing.
    gaps: BTreeMap<u64, Gap>,
}

/// Trades that did not come: they happened between two instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub first_id: u64,
    pub last_id: u64,
    pub after: Timestamp,
    pub before: Timestamp,
    /// Nobody waits for these trades any more.
    pub unfillable: bool,
}

/// The candles of one instrument at one venue, as they stand now.
#[derive(Debug, Clone, Copy)]
pub struct InstrumentCandles<'a> {
    pub ladder: &'a Ladder,
    /// The venue's time: buckets are closed by it.
    pub clock: Timestamp,
    gaps: &'a BTreeMap<u64, Gap>,
}

impl<'a> InstrumentCandles<'a> {
    /// Returns the gaps that touch `from..until`, oldest ids first.
    pub fn gaps(&self, from: Timestamp, until: Timestamp) -> impl Iterator<Item = &'a Gap> {
        self.gaps.values().filter(move |gap| gap.after < until && gap.before > from)
    }

    /// Returns the gaps whose trades may still come.
    pub fn open_gaps(&self) -> impl Iterator<Item = &'a Gap> {
        self.gaps.values().filter(|gap| !gap.unfillable)
    }

    /// Returns the start of the last closed minute up to which nothing is left to be asked of the
    /// venue: each minute that was not heard whole has the venue's own bar.
    pub fn whole_until(&self) -> Option<Timestamp> {
        let minute = Interval::Minute;
        let mut closed = self.ladder.range(minute, Timestamp::MIN, Timestamp::MAX).rev();
        let newest = closed.find(|candle| minute.is_closed(candle.opened_at, self.clock))?;
        let torn = self.gaps.values().filter(|gap| !self.is_native(gap.after, gap.before));
        let torn = torn.map(|gap| minute.bucket(gap.after).plus(-MINUTE)).min();
        // We came in the middle of the first minute that was built. Of what lies before it the
        // venue's bars may have come in part.
        let began = self.ladder.began().filter(|began| {
            let stands = self.ladder.first(minute).is_some_and(|first| first.opened_at <= *began);
            stands && !self.is_native(*began, minute.end(*began))
        });
        let known = began.map_or(newest.opened_at, |began| {
            let before = self.ladder.before(minute, began);
            before.map_or(began.plus(-DAY), |before| before.opened_at)
        });
        Some(torn.map_or(known, |torn| torn.min(known)))
    }

    /// Whether the venue's own bar stands in each minute that `from..until` touches.
    fn is_native(&self, from: Timestamp, until: Timestamp) -> bool {
        let from = Interval::Minute.bucket(from);
        let minutes = until.plus(MINUTE - 1).floor(MINUTE).since(from) / MINUTE;
        let bars = self.ladder.range(Interval::Minute, from, until);
        let native = bars.filter(|bar| bar.source == Source::Native).count();
        i64::try_from(native) == Ok(minutes)
    }
}

impl Candles {
    /// Returns what is held of an instrument at a venue; `None` when it was never traded there.
    pub fn get(&self, venue: &Venue, instrument: &Instrument) -> Option<InstrumentCandles<'_>> {
        let at = self.venues.get(venue)?;
        let held = at.instruments.get(instrument)?;
        Some(InstrumentCandles { ladder: &held.ladder, clock: at.closed_by()?, gaps: &held.gaps })
    }

    /// Returns the hours that have closed and that the ledger does not hold as they are now, at most
    /// `limit`. Costs next to nothing while there are none.
    pub fn unrecorded(&self, limit: usize) -> Vec<Unrecorded> {
        let mut unrecorded = Vec::new();
        for (venue, at) in &self.venues {
            let Some(clock) = at.clock else { continue };
            for (instrument, held) in &at.instruments {
                let left = limit.saturating_sub(unrecorded.len());
                for (hour, candles) in held.ladder.unrecorded(clock, left) {
                    let (venue, instrument) = (venue.clone(), instrument.clone());
                    unrecorded.push(Unrecorded { venue, instrument, hour, candles });
                }
            }
        }
        unrecorded
    }
}

/// A closed hour of an instrument that the ledger does not hold as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unrecorded {
    pub venue: Venue,
    pub instrument: Instrument,
    pub hour: Timestamp,
    /// Its minutes in which something was traded, in order.
    pub candles: Vec<Candle>,
}

impl View for Candles {
    const NAME: &'static str = "candles";
    const REVISION: u32 = 2;

    fn fold(&mut self, entry: &Entry) {
        match &entry.stream {
            Stream::Market { venue, instrument } => {
                if !self.venues.contains_key(venue) {
                    self.venues.insert(venue.clone(), VenueCandles::default());
                }
                if let Some(at) = self.venues.get_mut(venue) {
                    at.fold(instrument, &entry.events);
                }
            }
            Stream::Candles { venue, instrument } => {
                let at = self.venues.entry(venue.clone()).or_default();
                at.fold_ledger(instrument, &entry.events);
            }
            Stream::Pulse(venue) => {
                let at = self.venues.entry(venue.clone()).or_default();
                for event in &entry.events {
                    let Event::Market(MarketEvent::PulseObserved { venue_time, .. }) = event else {
                        continue;
                    };
                    at.clock = at.clock.max(Some(*venue_time));
                }
            }
            _ => {}
        }
    }
}

impl VenueCandles {
    /// Returns the time by which buckets are closed; `None` before anything is known of one.
    ///
    /// The venue's bars say little of it, because trades of their last bucket may still be on their
    /// way: they are asked only while the market log tells no time.
    fn closed_by(&self) -> Option<Timestamp> {
        let imported_at = if self.clock.is_none() { self.imported_at } else { None };
        self.clock.max(self.recorded_at).max(imported_at)
    }

    fn fold(&mut self, instrument: &Instrument, events: &[Event]) {
        let before = self.clock.unwrap_or(Timestamp::MIN);
        let mut clock = self.clock;
        let held = match self.instruments.get_mut(instrument) {
            Some(held) => held,
            None => self.instruments.entry(instrument.clone()).or_default(),
        };
        for event in events {
            let Event::Market(event) = event else { continue };
            match event {
                MarketEvent::TickObserved(tick) => {
                    held.ladder.take(tick);
                    clock = clock.max(Some(tick.traded_at));
                }
                MarketEvent::FeedGapOpened { first_id, last_id, after, before } => {
                    held.ladder.open_gap(*first_id, *after, *before);
                    held.open_gap(Gap {
                        first_id: *first_id,
                        last_id: *last_id,
                        after: *after,
                        before: *before,
                        unfillable: false,
                    });
                }
                MarketEvent::FeedGapFilled { first_id, .. } => {
                    held.ladder.close_gap(*first_id);
                    held.gaps.remove(first_id);
                }
                MarketEvent::FeedGapUnfillable { first_id, .. } => {
                    if let Some(gap) = held.gaps.get_mut(first_id) {
                        gap.unfillable = true;
                    }
                }
                // What a venue tells of a book moves its clock as a pulse does. A loss is told by us.
                MarketEvent::BookSnapshotObserved { told, .. }
                | MarketEvent::BookDiffObserved { told, .. } => {
                    clock = clock.max(Some(told.venue_time));
                }
                // A pulse stands in a stream of its own.
                MarketEvent::BookLost { .. } | MarketEvent::PulseObserved { .. } => {}
            }
        }
        // What each change was, the broadcaster of candles will want to know; folding does not.
        drop(held.ladder.roll(before));
        self.clock = clock;
    }

    fn fold_ledger(&mut self, instrument: &Instrument, events: &[Event]) {
        let (mut closed, mut bars) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Candle(CandleEvent::CandleClosed { interval: Interval::Minute, candle }) => {
                    // Minutes are recorded once their hour has closed.
                    let hour = Interval::Hour.bucket(candle.opened_at);
                    self.recorded_at = self.recorded_at.max(Some(closed_at(Interval::Hour, hour)));
                    closed.push(candle);
                }
                Event::Candle(CandleEvent::CandleImported { interval, candle }) => {
                    let at = closed_at(*interval, interval.bucket(candle.opened_at));
                    self.imported_at = self.imported_at.max(Some(at));
                    bars.push((*interval, candle));
                }
                // Coarser candles are rolled up here, never recorded.
                Event::Candle(CandleEvent::CandleClosed { .. }) | Event::Market(_) => {}
            }
        }
        let held = self.instruments.entry(instrument.clone()).or_default();
        drop(held.ladder.record(closed));
        drop(held.ladder.import(bars));
    }
}

fn closed_at(interval: Interval, opened_at: Timestamp) -> Timestamp {
    interval.end(opened_at).plus(CLOSE_PATIENCE)
}

impl Held {
    fn open_gap(&mut self, gap: Gap) {
        self.gaps.insert(gap.first_id, gap);
        while self.gaps.len() > GAPS_MAX {
            self.gaps.pop_first();
        }
    }
}

#[cfg(test)]
mod tests;
