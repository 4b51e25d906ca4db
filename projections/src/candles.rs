//! The candles of each instrument at each venue, and the gaps that run through them.

use std::collections::BTreeMap;

use domain::event::Event;
use domain::instrument::{Instrument, Venue};
use domain::ladder::Ladder;
use domain::market::event::MarketEvent;
use domain::time::Timestamp;
use eventlog::entry::Entry;
use eventlog::stream::Stream;
use serde::{Deserialize, Serialize};

use crate::view::View;

/// Gaps that are remembered per instrument. Beyond it the oldest is forgotten, and empty candles
/// in it are then filled like any others.
const GAPS_MAX: usize = 4_096;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candles {
    venues: BTreeMap<Venue, VenueCandles>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct VenueCandles {
    /// The greatest venue time so far: buckets close by it.
    clock: Option<Timestamp>,
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
    pub clock: Timestamp,
    gaps: &'a BTreeMap<u64, Gap>,
}

impl<'a> InstrumentCandles<'a> {
    /// Returns the gaps that touch `from..until`, oldest ids first.
    pub fn gaps(&self, from: Timestamp, until: Timestamp) -> impl Iterator<Item = &'a Gap> {
        self.gaps.values().filter(move |gap| gap.after < until && gap.before > from)
    }
}

impl Candles {
    /// Returns what is held of an instrument at a venue; `None` when it was never traded there.
    pub fn get(&self, venue: &Venue, instrument: &Instrument) -> Option<InstrumentCandles<'_>> {
        let at = self.venues.get(venue)?;
        let held = at.instruments.get(instrument)?;
        Some(InstrumentCandles { ladder: &held.ladder, clock: at.clock?, gaps: &held.gaps })
    }
}

impl View for Candles {
    const NAME: &'static str = "candles";
    const REVISION: u32 = 1;

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
    fn fold(&mut self, instrument: &Instrument, events: &[Event]) {
        let before = self.clock.unwrap_or(Timestamp::MIN);
        let mut clock = self.clock;
        let held = match self.instruments.get_mut(instrument) {
            Some(held) => held,
            None => self.instruments.entry(instrument.clone()).or_default(),
        };
        for event in events {
            let Event::Market(event) = event;
            match event {
                MarketEvent::TickObserved(tick) => {
                    held.ladder.take(tick);
                    clock = clock.max(Some(tick.traded_at));
                }
                MarketEvent::FeedGapOpened { first_id, last_id, after, before } => {
                    held.open_gap(Gap {
                        first_id: *first_id,
                        last_id: *last_id,
                        after: *after,
                        before: *before,
                        unfillable: false,
                    });
                }
                MarketEvent::FeedGapFilled { first_id, .. } => {
                    held.gaps.remove(first_id);
                }
                MarketEvent::FeedGapUnfillable { first_id, .. } => {
                    if let Some(gap) = held.gaps.get_mut(first_id) {
                        gap.unfillable = true;
                    }
                }
                // A pulse stands in a stream of its own.
                MarketEvent::PulseObserved { .. } => {}
            }
        }
        // What each change was, the broadcaster of candles will want to know; folding does not.
        drop(held.ladder.roll(before));
        self.clock = clock;
    }
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
