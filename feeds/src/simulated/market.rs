//! One instrument of the exchange: its listing, its book, its trades.

use std::array;

use domain::amount::{Price, Quantity};
use domain::book::{BookDiff, BookSnapshot, Level, Top};
use domain::instrument::Instrument;
use domain::observation::{Heard, Observation};
use domain::tick::{Side, Tick};
use domain::time::{SECOND, Timestamp};
use rust_decimal::Decimal;

use crate::chance::Chance;
use crate::simulated::book::{Book, Grid, Half, Resting};
use crate::simulated::path::Path;
use crate::simulated::{SLOT, start_of};

/// Trades of an instrument in each second. Constant, so that the id of any trade can be worked
/// out; when in the second they happen is drawn.
pub(super) const TRADES_PER_SECOND: usize = 4;

const SLOTS_PER_SECOND: u64 = (SECOND / SLOT).unsigned_abs();
const SECOND_MICROS: u32 = 1_000_000;

/// The deviation of the logarithm of a trade's size: many small ones, a few large.
const TRADE_SIZES_SPREAD: f64 = 1.5;

/// What the exchange trades, and in which steps.
#[derive(Debug)]
pub(super) struct Listing {
    name: &'static str,
    price_scale: u32,
    size_scale: u32,
    /// Around which price it moves.
    home: f64,
    /// The deviation of the logarithm of its price over a year.
    pub(super) volatility: f64,
    cell_ticks: u32,
    /// The median size of a level and of a trade.
    level_lots: f64,
    trade_lots: f64,
}

pub(super) const LISTINGS: [Listing; 3] = [
    Listing {
        name: "BTC-USDT",
        price_scale: 2,
        size_scale: 5,
        home: 65_000.0,
        volatility: 0.6,
        cell_ticks: 50,
        level_lots: 40_000.0,
        trade_lots: 1_500.0,
    },
    Listing {
        name: "ETH-USDT",
        price_scale: 2,
        size_scale: 4,
        home: 3_200.0,
        volatility: 0.75,
        cell_ticks: 5,
        level_lots: 60_000.0,
        trade_lots: 2_500.0,
    },
    Listing {
        name: "SOL-USDT",
        price_scale: 2,
        size_scale: 3,
        home: 150.0,
        volatility: 0.9,
        cell_ticks: 2,
        level_lots: 80_000.0,
        trade_lots: 4_000.0,
    },
];

impl Listing {
    pub(super) fn instrument(&self) -> Instrument {
        self.name.parse().expect("listings are named BASE-QUOTE")
    }

    fn price(&self, ticks: i64) -> Price {
        Price::new(Decimal::new(ticks, self.price_scale))
            .expect("the path keeps within a factor of ten of home, which is far above zero")
    }

    fn quantity(&self, lots: i64) -> Quantity {
        Quantity::new(Decimal::new(lots, self.size_scale))
            .expect("a trade has at least one lot, and at most what rests at its level")
    }

    fn level(&self, resting: Resting) -> Level {
        Level {
            price: self.price(resting.ticks),
            quantity: Decimal::new(resting.lots, self.size_scale),
        }
    }

    fn levels(&self, resting: Vec<Resting>) -> Vec<Level> {
        resting.into_iter().map(|resting| self.level(resting)).collect()
    }
}

/// An instrument under one seed.
pub(super) struct Market {
    pub(super) listing: &'static Listing,
    instrument: Instrument,
    pub(super) path: Path,
    grid: Grid,
    instants: Chance,
    takers: Chance,
}

impl Market {
    pub(super) fn new(listing: &'static Listing, seed: Chance) -> Self {
        let chance = listing.name.bytes().fold(seed, |chance, byte| chance.at(u64::from(byte)));
        Self {
            listing,
            instrument: listing.instrument(),
            path: Path::new(chance.at(1), listing.home, listing.volatility),
            grid: Grid {
                chance: chance.at(2),
                cell_ticks: listing.cell_ticks,
                lots_median: listing.level_lots,
            },
            instants: chance.at(3),
            takers: chance.at(4),
        }
    }

    pub(super) fn snapshot(&self, slot: u64) -> Observation {
        let book = self.book(slot);
        let snapshot = BookSnapshot {
            update_id: slot,
            bids: self.listing.levels(book.levels(Half::Bids)),
            asks: self.listing.levels(book.levels(Half::Asks)),
        };
        told(slot, start_of(slot + 1), Heard::Snapshot(self.instrument.clone(), snapshot))
    }

    /// Tells of a slot: its trades, the book's changes, the top.
    pub(super) fn slot(&self, slot: u64, heard: &mut Vec<Observation>) {
        let (before, book) = (self.book(slot.saturating_sub(1)), self.book(slot));
        for tick in self.ticks(slot, &book) {
            heard.push(told(slot, tick.traded_at, Heard::Tick(self.instrument.clone(), tick)));
        }
        let diff = BookDiff {
            first_id: slot,
            last_id: slot,
            previous_id: Some(slot.saturating_sub(1)),
            bids: self.listing.levels(book.changes(&before, Half::Bids)),
            asks: self.listing.levels(book.changes(&before, Half::Asks)),
        };
        let top = Top {
            update_id: slot,
            bid: self.listing.level(book.best(Half::Bids)),
            ask: self.listing.level(book.best(Half::Asks)),
        };
        let end = start_of(slot + 1);
        heard.push(told(slot, end, Heard::Diff(self.instrument.clone(), diff)));
        heard.push(told(slot, end, Heard::Top(self.instrument.clone(), top)));
    }

    fn book(&self, slot: u64) -> Book<'_> {
        let scale = 10_f64.powi(self.listing.price_scale.cast_signed());
        #[expect(clippy::cast_possible_truncation, reason = "prices lie far below 2^52 ticks")]
        let middle_ticks = (self.path.price(slot) * scale).round() as i64;
        Book::around(middle_ticks, slot, &self.grid)
    }

    fn ticks(&self, slot: u64, book: &Book<'_>) -> impl Iterator<Item = Tick> {
        let second = slot / SLOTS_PER_SECOND;
        let chance = self.instants.at(second);
        let mut instants: [i64; TRADES_PER_SECOND] =
            array::from_fn(|trade| i64::from(chance.at(trade as u64).below(SECOND_MICROS)));
        instants.sort_unstable();

        let in_slot = start_of(slot)..start_of(slot + 1);
        let ids = second * TRADES_PER_SECOND as u64 + 1..;
        ids.zip(instants.map(|micros| start_of(second * SLOTS_PER_SECOND).plus(micros)))
            .filter(move |(_, traded_at)| in_slot.contains(traded_at))
            .map(move |(id, traded_at)| self.tick(id, traded_at, start_of(slot + 1), book))
    }

    fn tick(&self, id: u64, traded_at: Timestamp, received_at: Timestamp, book: &Book<'_>) -> Tick {
        let chance = self.takers.at(id);
        let (taker, level) = match chance.at(0).below(2) {
            0 => (Side::Buy, book.best(Half::Asks)),
            _ => (Side::Sell, book.best(Half::Bids)),
        };
        let bell = TRADE_SIZES_SPREAD * chance.at(1).normal();
        #[expect(clippy::cast_possible_truncation, reason = "at most e^5.2 = 190 medians")]
        let lots = (self.listing.trade_lots * bell.exp()).round() as i64;
        Tick {
            trade_id: id,
            price: self.listing.price(level.ticks),
            quantity: self.listing.quantity(lots.clamp(1, level.lots)),
            taker,
            traded_at,
            received_at,
        }
    }
}

/// Received at the slot's end, not at the wall's time of sending: the same seed tells the same
/// bytes.
fn told(slot: u64, venue_time: Timestamp, heard: Heard) -> Observation {
    Observation { received_at: start_of(slot + 1), venue_time: Some(venue_time), heard }
}
