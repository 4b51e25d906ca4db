//! The candles of each instrument at each venue, and the gaps that run through them.
//!
//! They are folded from both logs: trades and gaps from the market log, recorded candles and the
//! venue's bars from the ledger. What each log tells is kept apart until it is asked for, so the
//! state and the answers are the same however the two are interleaved.

use std::collections::{BTreeMap, BTreeSet};

use domain::candle::event::CandleEvent;
use domain::candle::{CLOSE_PATIENCE, Candle, Interval, Source};
use domain::event::Event;
use domain::instrument::{Instrument, Venue};
use domain::ladder::Ladder;
use domain::ladder::gaps::Gap;
use domain::ladder::part::{Day, Head};
use domain::market::DECISION_EVENTS_MAX;
use domain::market::event::MarketEvent;
use domain::time::{DAY, MINUTE, Timestamp};
use eventlog::entry::Entry;
use eventlog::stream::{Log, Stream};
use serde::{Deserialize, Serialize};

use crate::part::{self, Mark, PartName};
use crate::view::{NotAPart, View};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candles {
    venues: BTreeMap<Venue, VenueCandles>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct VenueCandles {
    times: Times,
    instruments: BTreeMap<Instrument, Ladder>,
    mark: Mark,
}

/// How far a venue has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    /// The greatest venue time so far, as the market log tells it: revisions are counted by it.
    clock: Option<Timestamp>,
    /// The time by which the newest hour in the ledger had closed: it was recorded after that.
    recorded_at: Option<Timestamp>,
    /// The time by which the newest of the venue's bars had closed.
    imported_at: Option<Timestamp>,
}

/// The candles of one instrument at one venue, as they stand now.
#[derive(Debug, Clone, Copy)]
pub struct InstrumentCandles<'a> {
    pub ladder: &'a Ladder,
    /// The venue's time: buckets are closed by it.
    pub clock: Timestamp,
}

impl<'a> InstrumentCandles<'a> {
    /// Returns the gaps that touch `from..until`, oldest ids first.
    pub fn gaps(&self, from: Timestamp, until: Timestamp) -> impl Iterator<Item = &'a Gap> {
        self.ladder.gaps().filter(move |gap| gap.after < until && gap.before > from)
    }

    /// Returns the gaps whose trades may still come.
    pub fn open_gaps(&self) -> impl Iterator<Item = &'a Gap> {
        self.ladder.gaps().filter(|gap| !gap.unfillable)
    }

    /// Returns the start of the last closed minute up to which nothing is left to be asked of the
    /// venue: each minute that was not heard whole has the venue's own bar.
    pub fn whole_until(&self) -> Option<Timestamp> {
        let minute = Interval::Minute;
        let mut closed = self.ladder.range(minute, Timestamp::MIN, Timestamp::MAX).rev();
        let newest = closed.find(|candle| minute.is_closed(candle.opened_at, self.clock))?;
        let torn = self.ladder.gaps().filter(|gap| !self.is_native(gap.after, gap.before));
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
        let ladder = at.instruments.get(instrument)?;
        Some(InstrumentCandles { ladder, clock: at.times.closed_by()? })
    }

    /// Returns the hours that have closed and that the ledger does not hold as they are now, at most
    /// `limit`. Costs next to nothing while there are none.
    pub fn unrecorded(&self, limit: usize) -> Vec<Unrecorded> {
        let mut unrecorded = Vec::new();
        for (venue, at) in &self.venues {
            let Some(clock) = at.times.clock else { continue };
            for (instrument, ladder) in &at.instruments {
                let left = limit.saturating_sub(unrecorded.len());
                for (hour, candles) in ladder.unrecorded(clock, left) {
                    let (venue, instrument) = (venue.clone(), instrument.clone());
                    unrecorded.push(Unrecorded { venue, instrument, hour, candles });
                }
            }
        }
        unrecorded
    }

    /// Returns what the market log tells of gaps and the ledger does not yet, of at most `limit`
    /// instruments, and of each as much as fits one entry: the rest shows once that is recorded.
    /// Costs next to nothing while there is none.
    pub fn unrecorded_gaps(&self, limit: usize) -> Vec<UnrecordedGaps> {
        let each = self.venues.iter().flat_map(|(venue, at)| {
            at.instruments.iter().map(move |(instrument, ladder)| (venue, instrument, ladder))
        });
        let unrecorded = each.map(|(venue, instrument, ladder)| UnrecordedGaps {
            events: ladder.unrecorded_gaps(DECISION_EVENTS_MAX),
            venue: venue.clone(),
            instrument: instrument.clone(),
        });
        unrecorded.filter(|unrecorded| !unrecorded.events.is_empty()).take(limit).collect()
    }
}

/// What the market log tells of an instrument's gaps and the ledger does not yet, in the order in
/// which it is to be recorded. A gap that came and went meanwhile is not among it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrecordedGaps {
    pub venue: Venue,
    pub instrument: Instrument,
    /// At most [`DECISION_EVENTS_MAX`].
    pub events: Vec<MarketEvent>,
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
    const REVISION: u32 = 3;
    const LOGS: &'static [Log] = &[Log::Ledger, Log::Market];

    fn fold(&mut self, entry: &Entry) {
        match &entry.stream {
            Stream::Market { venue, instrument } => self.at(venue).fold(instrument, &entry.events),
            Stream::Candles { venue, instrument } => {
                self.at(venue).fold_ledger(instrument, &entry.events);
            }
            Stream::Gaps { venue, instrument } => {
                self.at(venue).fold_gaps(instrument, &entry.events);
            }
            Stream::Pulse(venue) => self.at(venue).fold_pulse(&entry.events),
            Stream::Account(_)
            | Stream::Refusals(_)
            | Stream::Keys
            | Stream::Access(_)
            | Stream::Forecasts(_)
            | Stream::Risk(_)
            | Stream::System => {}
        }
    }

    fn parts(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (venue, at) in &self.venues {
            names.insert(PartName::Venue(venue.clone()).to_string());
            for (instrument, ladder) in &at.instruments {
                names.extend(names_of(venue, instrument, true, ladder.days()));
            }
        }
        names
    }

    fn take_changed(&mut self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (venue, at) in &mut self.venues {
            if at.mark.take() {
                names.insert(PartName::Venue(venue.clone()).to_string());
            }
            for (instrument, ladder) in &mut at.instruments {
                let (head, days) = ladder.take_changed();
                names.extend(names_of(venue, instrument, head, days));
            }
        }
        names
    }

    fn part(&self, name: &str) -> Option<Vec<u8>> {
        match name.parse().ok()? {
            PartName::Venue(venue) => serde_json::to_vec(&self.venues.get(&venue)?.times),
            PartName::Instrument(venue, instrument) => {
                serde_json::to_vec(&self.ladder(&venue, &instrument)?.head())
            }
            PartName::Day(venue, instrument, day) => {
                serde_json::to_vec(&self.ladder(&venue, &instrument)?.day(day)?)
            }
        }
        .ok()
    }

    fn restore(&mut self, name: &str, state: &[u8]) -> Result<(), NotAPart> {
        match name.parse()? {
            PartName::Venue(venue) => self.at(&venue).times = part::read(name, state)?,
            PartName::Instrument(venue, instrument) => {
                let head: Head = part::read(name, state)?;
                part::held(&mut self.at(&venue).instruments, &instrument).restore_head(head);
            }
            PartName::Day(venue, instrument, _) => {
                let day: Day = part::read(name, state)?;
                part::held(&mut self.at(&venue).instruments, &instrument).restore_day(day);
            }
        }
        Ok(())
    }
}

fn names_of(
    venue: &Venue,
    instrument: &Instrument,
    head: bool,
    days: BTreeSet<Timestamp>,
) -> impl Iterator<Item = String> {
    let head = head.then(|| PartName::Instrument(venue.clone(), instrument.clone()));
    let day = |day| PartName::Day(venue.clone(), instrument.clone(), day);
    head.into_iter().chain(days.into_iter().map(day)).map(|name| name.to_string())
}

impl Candles {
    fn ladder(&self, venue: &Venue, instrument: &Instrument) -> Option<&Ladder> {
        self.venues.get(venue)?.instruments.get(instrument)
    }

    fn at(&mut self, venue: &Venue) -> &mut VenueCandles {
        part::held(&mut self.venues, venue)
    }
}

impl VenueCandles {
    fn fold(&mut self, instrument: &Instrument, events: &[Event]) {
        let before = self.times.clock.unwrap_or(Timestamp::MIN);
        let mut clock = self.times.clock;
        let ladder = part::held(&mut self.instruments, instrument);
        for event in events {
            let Event::Market(event) = event else { continue };
            match event {
                MarketEvent::TickObserved(tick) => {
                    ladder.take(tick);
                    clock = clock.max(Some(tick.traded_at));
                }
                MarketEvent::FeedGapOpened { .. }
                | MarketEvent::FeedGapFilled { .. }
                | MarketEvent::FeedGapUnfillable { .. } => ladder.hear_gap(event),
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
        drop(ladder.roll(before));
        self.set(Times { clock, ..self.times });
    }

    fn fold_pulse(&mut self, events: &[Event]) {
        let mut clock = self.times.clock;
        for event in events {
            if let Event::Market(MarketEvent::PulseObserved { venue_time, .. }) = event {
                clock = clock.max(Some(*venue_time));
            }
        }
        self.set(Times { clock, ..self.times });
    }

    fn fold_ledger(&mut self, instrument: &Instrument, events: &[Event]) {
        let mut times = self.times;
        let (mut closed, mut bars) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Candle(CandleEvent::CandleClosed { interval: Interval::Minute, candle }) => {
                    // Minutes are recorded once their hour has closed.
                    let hour = Interval::Hour.bucket(candle.opened_at);
                    times.recorded_at =
                        times.recorded_at.max(Some(closed_at(Interval::Hour, hour)));
                    closed.push(candle);
                }
                Event::Candle(CandleEvent::CandleImported { interval, candle }) => {
                    let at = closed_at(*interval, interval.bucket(candle.opened_at));
                    times.imported_at = times.imported_at.max(Some(at));
                    bars.push((*interval, candle));
                }
                // Coarser candles are rolled up here, never recorded.
                Event::Candle(CandleEvent::CandleClosed { .. })
                | Event::Market(_)
                | Event::Account(_)
                | Event::Refusal(_)
                | Event::Key(_)
                | Event::Access(_) => {}
            }
        }
        let ladder = part::held(&mut self.instruments, instrument);
        drop(ladder.record(closed));
        drop(ladder.import(bars));
        self.set(times);
    }

    fn fold_gaps(&mut self, instrument: &Instrument, events: &[Event]) {
        let gaps = events.iter().filter_map(|event| match event {
            Event::Market(event) => Some(event),
            Event::Candle(_)
            | Event::Account(_)
            | Event::Refusal(_)
            | Event::Key(_)
            | Event::Access(_) => None,
        });
        drop(part::held(&mut self.instruments, instrument).copy_gaps(gaps));
    }

    fn set(&mut self, times: Times) {
        if times != self.times {
            self.times = times;
            self.mark.set();
        }
    }
}

impl Times {
    /// Returns the time by which buckets are closed; `None` before anything is known of one.
    ///
    /// The venue's bars say little of it, because trades of their last bucket may still be on their
    /// way: they are asked only while the market log tells no time.
    fn closed_by(self) -> Option<Timestamp> {
        let imported_at = if self.clock.is_none() { self.imported_at } else { None };
        self.clock.max(self.recorded_at).max(imported_at)
    }
}

fn closed_at(interval: Interval, opened_at: Timestamp) -> Timestamp {
    interval.end(opened_at).plus(CLOSE_PATIENCE)
}

#[cfg(test)]
mod tests;
