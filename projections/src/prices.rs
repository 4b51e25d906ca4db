//! The last price of each instrument at each venue, its rolling day, and how fresh it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::amount::{PRICE_SCALE_MIN, Price, scale_that_counts};
use domain::candle::Place;
use domain::event::Event;
use domain::instrument::{Instrument, Venue};
use domain::market::event::MarketEvent;
use domain::median::Median;
use domain::tick::Tick;
use domain::time::{DAY, MINUTE, SECOND, Timestamp};
use eventlog::entry::{Entry, Version};
use eventlog::stream::{Log, Stream};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::books::BOOK_FRESH;
use crate::part::{self, Mark, PartName};
use crate::view::{NotAPart, View};

/// Entries whose clock offset is remembered per venue.
pub const SKEW_SAMPLES: usize = 1_000;

/// Trades whose distance in time is remembered per instrument.
const PAUSE_SAMPLES: usize = 64;

/// Distances that must be known before they lengthen how long a price is fresh: the first trades of
/// a quiet hour say nothing of the next.
const PAUSE_SAMPLES_MIN: usize = 8;

/// A price is fresh for at least this long after its trade.
const FRESH_MIN: i64 = 60 * SECOND;

/// Median pauses between trades that a price stays fresh.
const FRESH_PAUSES: i64 = 10;

/// Past so many times the first threshold a price is no answer any more.
const LOST_TIMES: i64 = 10;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices {
    venues: BTreeMap<Venue, VenuePrices>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct VenuePrices {
    clocks: Clocks,
    instruments: BTreeMap<Instrument, Last>,
    mark: Mark,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clocks {
    /// The greatest venue time so far.
    venue: Option<Timestamp>,
    /// Venue time minus receive time, one sample an entry.
    skew: Median<SKEW_SAMPLES>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    tick: Tick,
    version: Version,
    price_scale: u32,
    quantity_scale: u32,
    pauses: Median<PAUSE_SAMPLES>,
    day: RollingDay,
    #[serde(skip)]
    mark: Mark,
}

/// What is known of a price, with what it takes to judge how fresh it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    pub venue: Venue,
    pub instrument: Instrument,
    /// The last trade in the venue's order, its price at `price_scale`.
    pub tick: Tick,
    /// The version of the entry that holds it, in the instrument's market stream.
    pub version: Version,
    pub price_scale: u32,
    pub quantity_scale: u32,
    /// Volume of the rolling 24 hours in base and in quote currency.
    pub volume: Decimal,
    pub quote_volume: Decimal,
    /// The price at which the rolling 24 hours opened.
    pub day_open: Price,
    /// When the synced book was told last, by our clock: while it is fresh, so is the price. Set by
    /// [`crate::views::Views::quote`]; `None` without a synced book.
    pub book_told_at: Option<Timestamp>,
    /// The venue's clock minus ours, in microseconds.
    skew: i64,
    /// The median time between trades, in microseconds; zero while too few are known.
    pause: i64,
}

/// How far an answer can be trusted, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    Fresh,
    /// Shown, and said to be stale; nothing is filled, opened or liquidated on it.
    Stale,
    /// No answer any more.
    Lost,
}

impl Freshness {
    /// Returns how far something of this age can be trusted that is fresh for so long, both in
    /// microseconds.
    pub fn of(age: i64, fresh: i64) -> Self {
        if age <= fresh {
            Self::Fresh
        } else if age <= fresh.saturating_mul(LOST_TIMES) {
            Self::Stale
        } else {
            Self::Lost
        }
    }
}

impl Quote {
    /// Returns the microseconds since the trade, by our clock at `now`; never below zero.
    pub fn age(&self, now: Timestamp) -> i64 {
        now.since(self.tick.traded_at.plus(-self.skew)).max(0)
    }

    /// Returns how far the price can be trusted: as far as its trade, or the book where that is
    /// fresher. A market whose book is told and that does not trade is quiet, not broken.
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        let fresh = FRESH_MIN.max(self.pause.saturating_mul(FRESH_PAUSES));
        let trade = Freshness::of(self.age(now), fresh);
        let book = |told_at| Freshness::of(now.since(told_at), BOOK_FRESH);
        self.book_told_at.map_or(trade, |told_at| trade.min(book(told_at)))
    }
}

impl Prices {
    /// Returns the last price of an instrument at a venue; `None` when it was never traded there.
    pub fn get(&self, venue: &Venue, instrument: &Instrument) -> Option<Quote> {
        let at = self.venues.get(venue)?;
        at.instruments.get(instrument).map(|last| at.quote(venue, instrument, last))
    }

    /// Returns all prices of all venues, in order of venue and instrument.
    pub fn iter(&self) -> impl Iterator<Item = Quote> {
        self.venues.iter().flat_map(|(venue, at)| {
            at.instruments.iter().map(move |(instrument, last)| at.quote(venue, instrument, last))
        })
    }

    /// Returns the digits after the point of an instrument's prices and quantities at a venue.
    pub fn scales(&self, venue: &Venue, instrument: &Instrument) -> Option<(u32, u32)> {
        let last = self.venues.get(venue)?.instruments.get(instrument)?;
        Some((last.price_scale, last.quantity_scale))
    }
}

impl View for Prices {
    const NAME: &'static str = "prices";
    const REVISION: u32 = 3;
    const LOGS: &'static [Log] = &[Log::Market];

    fn fold(&mut self, entry: &Entry) {
        match &entry.stream {
            Stream::Market { venue, instrument } => {
                let at = self.at(venue);
                let mut sample = None;
                for event in &entry.events {
                    match event {
                        Event::Market(MarketEvent::TickObserved(tick)) => {
                            // A trade that was fetched late says how late, not how clocks differ.
                            if at.take(instrument, tick, entry.version) {
                                sample = Some(tick.traded_at.since(tick.received_at));
                            }
                        }
                        // What a venue tells of a book moves its clock as a pulse does.
                        Event::Market(
                            MarketEvent::BookSnapshotObserved { told, .. }
                            | MarketEvent::BookDiffObserved { told, .. },
                        ) => at.advance(told.venue_time),
                        Event::Market(_)
                        | Event::Candle(_)
                        | Event::Account(_)
                        | Event::Refusal(_)
                        | Event::Key(_)
                        | Event::Access(_) => {}
                    }
                }
                if let Some(sample) = sample {
                    at.clocks.skew.push(sample);
                    at.mark.set();
                }
            }
            Stream::Pulse(venue) => {
                let at = self.at(venue);
                for event in &entry.events {
                    let Event::Market(MarketEvent::PulseObserved { venue_time, .. }) = event else {
                        continue;
                    };
                    at.advance(*venue_time);
                }
            }
            _ => {}
        }
    }

    fn parts(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (venue, at) in &self.venues {
            names.extend(part::names(venue, true, at.instruments.keys()));
        }
        names
    }

    fn take_changed(&mut self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (venue, at) in &mut self.venues {
            let changed = at.instruments.iter_mut();
            let changed = changed.filter_map(|(name, last)| last.mark.take().then_some(name));
            names.extend(part::names(venue, at.mark.take(), changed));
        }
        names
    }

    fn part(&self, name: &str) -> Option<Vec<u8>> {
        match name.parse().ok()? {
            PartName::Venue(venue) => serde_json::to_vec(&self.venues.get(&venue)?.clocks),
            PartName::Instrument(venue, instrument) => {
                serde_json::to_vec(self.venues.get(&venue)?.instruments.get(&instrument)?)
            }
            PartName::Day(..) => return None,
        }
        .ok()
    }

    fn restore(&mut self, name: &str, state: &[u8]) -> Result<(), NotAPart> {
        match name.parse()? {
            PartName::Venue(venue) => self.at(&venue).clocks = part::read(name, state)?,
            PartName::Instrument(venue, instrument) => {
                self.at(&venue).instruments.insert(instrument, part::read(name, state)?);
            }
            PartName::Day(..) => return Err(part::not(name, "there are no days")),
        }
        Ok(())
    }
}

impl Prices {
    fn at(&mut self, venue: &Venue) -> &mut VenuePrices {
        part::held(&mut self.venues, venue)
    }
}

impl VenuePrices {
    /// Takes in a trade; returns whether it is its instrument's last.
    fn take(&mut self, instrument: &Instrument, tick: &Tick, version: Version) -> bool {
        self.advance(tick.traded_at);
        let clock = self.clocks.venue.unwrap_or(tick.traded_at);
        if let Some(last) = self.instruments.get_mut(instrument) {
            return last.take(tick, version, clock);
        }
        self.instruments.insert(instrument.clone(), Last::first(tick, version, clock));
        true
    }

    /// Moves the venue's clock on. As a minute passes, it leaves the rolling day of every instrument.
    fn advance(&mut self, venue_time: Timestamp) {
        let before = self.clocks.venue;
        if before.is_some_and(|clock| venue_time <= clock) {
            return;
        }
        self.clocks.venue = Some(venue_time);
        self.mark.set();
        if before.is_none_or(|clock| clock.floor(MINUTE) != venue_time.floor(MINUTE)) {
            for last in self.instruments.values_mut() {
                last.leave(venue_time);
            }
        }
    }

    fn quote(&self, venue: &Venue, instrument: &Instrument, last: &Last) -> Quote {
        let tick = Tick { price: last.tick.price.at_scale(last.price_scale), ..last.tick };
        Quote {
            venue: venue.clone(),
            instrument: instrument.clone(),
            tick,
            version: last.version,
            price_scale: last.price_scale,
            quantity_scale: last.quantity_scale,
            volume: last.day.volume,
            quote_volume: last.day.quote_volume,
            day_open: last.day.open().unwrap_or(tick.price).at_scale(last.price_scale),
            book_told_at: None,
            skew: self.clocks.skew.get().unwrap_or_default(),
            pause: last.pause(),
        }
    }
}

impl Last {
    fn first(tick: &Tick, version: Version, clock: Timestamp) -> Self {
        let mut last = Self {
            tick: *tick,
            version,
            price_scale: PRICE_SCALE_MIN,
            quantity_scale: 0,
            pauses: Median::default(),
            day: RollingDay::default(),
            mark: Mark::default(),
        };
        last.take(tick, version, clock);
        last
    }

    fn take(&mut self, tick: &Tick, version: Version, clock: Timestamp) -> bool {
        let (price, quantity) = (tick.price.value(), tick.quantity.value());
        if price.scale() > self.price_scale {
            self.price_scale = self.price_scale.max(scale_that_counts(price));
        }
        if quantity.scale() > self.quantity_scale {
            self.quantity_scale = self.quantity_scale.max(scale_that_counts(quantity));
        }
        let place = |tick: &Tick| (tick.traded_at, tick.trade_id);
        if place(tick) > place(&self.tick) {
            self.pauses.push(tick.traded_at.since(self.tick.traded_at));
        }
        // A late trade is history, not news.
        let is_last = place(tick) >= place(&self.tick);
        if is_last {
            (self.tick, self.version) = (*tick, version);
        }
        self.day.take(tick, clock);
        self.mark.set();
        is_last
    }

    /// Lets go of what has left the rolling day at `clock`.
    fn leave(&mut self, clock: Timestamp) {
        if self.day.leave(clock) {
            self.mark.set();
        }
    }

    fn pause(&self) -> i64 {
        let believed = self.pauses.samples() >= PAUSE_SAMPLES_MIN;
        self.pauses.get().filter(|_| believed).unwrap_or_default()
    }
}

/// 1,440 one-minute buckets and the live minute, with their sums.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollingDay {
    minutes: VecDeque<Minute>,
    volume: Decimal,
    quote_volume: Decimal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
struct Minute {
    starts_at: Timestamp,
    first: Place,
    open: Price,
    volume: Decimal,
    quote_volume: Decimal,
}

/// A minute as it is written down, because a day has 1,440: its start and its first trade in
/// microseconds, that trade's id, open, volume, quote volume.
type Row = (i64, i64, u64, Price, Decimal, Decimal);

impl From<Minute> for Row {
    fn from(minute: Minute) -> Self {
        let Minute { starts_at, first, open, volume, quote_volume } = minute;
        let first_at = first.traded_at.micros();
        (starts_at.micros(), first_at, first.trade_id, open, volume, quote_volume)
    }
}

impl From<Row> for Minute {
    fn from((starts_at, first_at, trade_id, open, volume, quote_volume): Row) -> Self {
        let first = Place { traded_at: Timestamp::from_micros(first_at), trade_id };
        let starts_at = Timestamp::from_micros(starts_at);
        Self { starts_at, first, open, volume, quote_volume }
    }
}

impl RollingDay {
    fn take(&mut self, tick: &Tick, clock: Timestamp) {
        let starts_at = tick.traded_at.floor(MINUTE);
        if starts_at < Self::start(clock) {
            return;
        }
        let volume = tick.quantity.value();
        let Some(quote_volume) = tick.price.value().checked_mul(volume) else { return };
        let place = Place { traded_at: tick.traded_at, trade_id: tick.trade_id };
        let found = match self.minutes.back() {
            Some(last) if last.starts_at == starts_at => Ok(self.minutes.len() - 1),
            Some(last) if last.starts_at < starts_at => Err(self.minutes.len()),
            _ => self.minutes.binary_search_by_key(&starts_at, |minute| minute.starts_at),
        };
        let minute = match found {
            Ok(index) => self.minutes.get_mut(index),
            Err(index) => {
                let (zero, open) = (Decimal::ZERO, tick.price);
                let minute =
                    Minute { starts_at, first: place, open, volume: zero, quote_volume: zero };
                self.minutes.insert(index, minute);
                self.minutes.get_mut(index)
            }
        };
        let Some(minute) = minute else { return };
        if place < minute.first {
            (minute.first, minute.open) = (place, tick.price);
        }
        minute.volume += volume;
        minute.quote_volume += quote_volume;
        self.volume += volume;
        self.quote_volume += quote_volume;
    }

    /// Lets go of the minutes that have left the window at `clock`; returns whether any did.
    fn leave(&mut self, clock: Timestamp) -> bool {
        let (start, minutes) = (Self::start(clock), self.minutes.len());
        while let Some(oldest) = self.minutes.front().filter(|minute| minute.starts_at < start) {
            self.volume -= oldest.volume;
            self.quote_volume -= oldest.quote_volume;
            self.minutes.pop_front();
        }
        self.minutes.len() < minutes
    }

    fn open(&self) -> Option<Price> {
        self.minutes.front().map(|minute| minute.open)
    }

    fn start(clock: Timestamp) -> Timestamp {
        clock.floor(MINUTE).plus(-DAY)
    }
}

#[cfg(test)]
mod tests;
