//! One market as it stood at one of its entries: what it takes to judge a trade.

use domain::event::Event;
use domain::fill::{MarketEntry, Sight};
use domain::market::event::MarketEvent;
use domain::order_book::OrderBook;
use domain::tick::Tick;
use domain::time::{SECOND, Timestamp};
use eventlog::entry::{Entry, Version};
use serde::{Deserialize, Serialize};

/// A book is relied on for trades up to this much later, by the venue's clock, than it was told.
pub(super) const BOOK_FRESH: i64 = 5 * SECOND;

/// A fold of a market's stream. Everything in it is the venue's word: no clock of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    /// Of the entry that it has come to.
    pub(super) version: Version,
    /// When the last trade was, in the venue's order, and its id.
    last: Option<(Timestamp, u64)>,
    /// Only while nothing is missing in it.
    book: Option<Told>,
}

/// A book and the venue's time of its newest change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    book: OrderBook,
    venue_time: Timestamp,
}

impl Seen {
    /// Goes to an entry, of which the events are then taken in one by one.
    pub(super) fn come_to(&mut self, version: Version) {
        if version > self.version.next() {
            // What was dropped in between may have changed the book.
            self.book = None;
        }
        self.version = version;
    }

    /// Takes in an event; returns the trade that it tells of, when it is news: one that came late
    /// belongs to the past.
    pub(super) fn take<'a>(&mut self, event: &'a MarketEvent) -> Option<&'a Tick> {
        match event {
            MarketEvent::TickObserved(tick) => {
                let place = (tick.traded_at, tick.trade_id);
                let is_news = self.last.is_none_or(|last| place > last);
                if is_news {
                    self.last = Some(place);
                }
                return is_news.then_some(tick);
            }
            MarketEvent::BookSnapshotObserved { told, snapshot } => {
                let book = OrderBook::of(snapshot).ok();
                self.book = book.map(|book| Told { book, venue_time: told.venue_time });
            }
            MarketEvent::BookDiffObserved { told, diff } => {
                if let Some(held) = &mut self.book {
                    held.venue_time = told.venue_time;
                    // After a hole, or sides that cross, nothing is known until the next snapshot.
                    if held.book.apply(diff).is_err() {
                        self.book = None;
                    }
                }
            }
            MarketEvent::BookLost { .. } => self.book = None,
            MarketEvent::FeedGapOpened { .. }
            | MarketEvent::FeedGapFilled { .. }
            | MarketEvent::FeedGapUnfillable { .. }
            | MarketEvent::PulseObserved { .. } => {}
        }
        None
    }

    /// Takes in a whole entry.
    pub(super) fn fold(&mut self, entry: &Entry) {
        self.come_to(entry.version);
        for event in &entry.events {
            let Event::Market(event) = event else { continue };
            self.take(event);
        }
    }

    /// Returns the market as it stands at a trade.
    pub(super) fn sight<'a>(&'a self, tick: &Tick, market: &'a MarketEntry) -> Sight<'a> {
        let is_fresh = |told: &&Told| tick.traded_at.since(told.venue_time) <= BOOK_FRESH;
        let book = self.book.as_ref().filter(is_fresh).map(|told| &told.book);
        Sight { book, last: Some(tick.price), market }
    }
}
