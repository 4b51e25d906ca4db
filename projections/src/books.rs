//! The order book of each instrument at each venue, and whether it can be trusted.

use std::collections::{BTreeMap, BTreeSet};

use domain::book::BookSnapshot;
use domain::event::Event;
use domain::instrument::{Instrument, Venue};
use domain::market::event::{MarketEvent, Told};
use domain::median::Median;
use domain::order_book::OrderBook;
use domain::time::{SECOND, Timestamp};
use eventlog::entry::{Entry, Version};
use eventlog::stream::{Log, Stream};
use serde::{Deserialize, Serialize};

use crate::part::{self, Mark, PartName};
use crate::prices::{Freshness, SKEW_SAMPLES};
use crate::view::{NotAPart, View};

/// A book is fresh for so long after it was told last.
pub const BOOK_FRESH: i64 = 5 * SECOND;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    venues: BTreeMap<Venue, VenueBooks>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct VenueBooks {
    /// Venue time minus receive time, one sample an entry.
    skew: Median<SKEW_SAMPLES>,
    instruments: BTreeMap<Instrument, Held>,
    mark: Mark,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    book: OrderBook,
    synced: bool,
    told: Told,
    version: Version,
    place: usize,
    #[serde(skip)]
    mark: Mark,
}

/// A book as it stands, with what it takes to judge how fresh it is.
#[derive(Debug, Clone, Copy)]
pub struct Book<'a> {
    pub levels: &'a OrderBook,
    /// Whether nothing is missing in it. What is not synced is shown to nobody.
    pub synced: bool,
    /// Whether the venue's own numbers prove that nothing is missing: so for every synced book whose
    /// updates are numbered one after the other, as all are that we read.
    pub verified: bool,
    /// When and by whom the newest was told that is in `levels`.
    pub told: Told,
    /// The entry that made it what it is, in the instrument's market stream.
    pub version: Version,
    /// The place of that event in its entry, from zero.
    pub place: usize,
    /// The venue's clock minus ours, in microseconds.
    skew: i64,
}

impl Book<'_> {
    /// Returns the microseconds since it was told last, by our clock at `now`; never below zero.
    pub fn age(&self, now: Timestamp) -> i64 {
        now.since(self.told_at()).max(0)
    }

    /// Returns when it was told last, by our clock.
    pub fn told_at(&self) -> Timestamp {
        self.told.venue_time.plus(-self.skew)
    }

    /// Returns how far it can be trusted at `now`; one that is not synced is lost.
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        if self.synced { Freshness::of(self.age(now), BOOK_FRESH) } else { Freshness::Lost }
    }

    /// Whether it can be relied on at `now`.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.freshness(now) == Freshness::Fresh
    }
}

impl Books {
    /// Returns the book of an instrument at a venue; `None` when none was ever told there.
    pub fn get(&self, venue: &Venue, instrument: &Instrument) -> Option<Book<'_>> {
        let at = self.venues.get(venue)?;
        let held = at.instruments.get(instrument)?;
        Some(Book {
            levels: &held.book,
            synced: held.synced,
            verified: held.synced,
            told: held.told,
            version: held.version,
            place: held.place,
            skew: at.skew.get().unwrap_or_default(),
        })
    }
}

impl View for Books {
    const NAME: &'static str = "books";
    const REVISION: u32 = 2;
    const LOGS: &'static [Log] = &[Log::Market];

    fn fold(&mut self, entry: &Entry) {
        let Stream::Market { venue, instrument } = &entry.stream else { return };
        let mut sample = None;
        for (place, event) in entry.events.iter().enumerate() {
            let Event::Market(event) = event else { continue };
            let at = (entry.version, place);
            match event {
                MarketEvent::BookSnapshotObserved { told, snapshot } => {
                    sample = Some(told.venue_time.since(told.received_at));
                    self.at(venue)
                        .instruments
                        .insert(instrument.clone(), Held::of(snapshot, *told, at));
                }
                MarketEvent::BookDiffObserved { told, diff } => {
                    sample = Some(told.venue_time.since(told.received_at));
                    let Some(held) = self.held(venue, instrument) else { continue };
                    // After a hole, or sides that cross, nothing is known until the next snapshot.
                    if held.synced {
                        held.synced = held.book.apply(diff).is_ok();
                        (held.version, held.place) = at;
                    }
                    if held.synced {
                        held.told = *told;
                    }
                }
                MarketEvent::BookLost { .. } => {
                    let Some(held) = self.held(venue, instrument) else { continue };
                    held.synced = false;
                    (held.version, held.place) = at;
                }
                MarketEvent::TickObserved(_)
                | MarketEvent::FeedGapOpened { .. }
                | MarketEvent::FeedGapFilled { .. }
                | MarketEvent::FeedGapUnfillable { .. }
                | MarketEvent::PulseObserved { .. } => {}
            }
        }
        if let Some(sample) = sample {
            let at = self.at(venue);
            at.skew.push(sample);
            at.mark.set();
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
            let changed = changed.filter_map(|(name, held)| held.mark.take().then_some(name));
            names.extend(part::names(venue, at.mark.take(), changed));
        }
        names
    }

    fn part(&self, name: &str) -> Option<Vec<u8>> {
        match name.parse().ok()? {
            PartName::Venue(venue) => serde_json::to_vec(&self.venues.get(&venue)?.skew),
            PartName::Instrument(venue, instrument) => {
                serde_json::to_vec(self.venues.get(&venue)?.instruments.get(&instrument)?)
            }
            PartName::Day(..) => return None,
        }
        .ok()
    }

    fn restore(&mut self, name: &str, state: &[u8]) -> Result<(), NotAPart> {
        match name.parse()? {
            PartName::Venue(venue) => self.at(&venue).skew = part::read(name, state)?,
            PartName::Instrument(venue, instrument) => {
                self.at(&venue).instruments.insert(instrument, part::read(name, state)?);
            }
            PartName::Day(..) => return Err(part::not(name, "there are no days")),
        }
        Ok(())
    }
}

impl Books {
    fn at(&mut self, venue: &Venue) -> &mut VenueBooks {
        part::held(&mut self.venues, venue)
    }

    /// Returns what is about to change.
    fn held(&mut self, venue: &Venue, instrument: &Instrument) -> Option<&mut Held> {
        let held = self.venues.get_mut(venue)?.instruments.get_mut(instrument)?;
        held.mark.set();
        Some(held)
    }
}

impl Held {
    /// A snapshot whose sides cross tells of no book, and takes the one before away all the same.
    fn of(snapshot: &BookSnapshot, told: Told, (version, place): (Version, usize)) -> Self {
        let empty = || {
            let nothing =
                BookSnapshot { update_id: snapshot.update_id, bids: Vec::new(), asks: Vec::new() };
            OrderBook::of(&nothing).expect("sides without levels do not cross")
        };
        let (book, synced) = match OrderBook::of(snapshot) {
            Ok(book) => (book, true),
            Err(_) => (empty(), false),
        };
        Self { book, synced, told, version, place, mark: Mark::default() }
    }
}

#[cfg(test)]
mod tests;
