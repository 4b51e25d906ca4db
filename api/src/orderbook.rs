//! The order book of an instrument, as long as it can be trusted.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]
#![expect(clippy::unused_async, reason = "poem-openapi asks for async handlers")]

use std::sync::Arc;

use domain::book::Level;
use domain::instrument::{Instrument, Venue};
use domain::time::{SECOND, Timestamp};
use eventlog::stream::Stream;
use poem::Result;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use projections::books::Book;
use projections::prices::Freshness;

use crate::app::App;
use crate::market::{EntryBody, Tag};
use crate::principal::MarketReader;
use crate::problem::{Code, Problem};
use crate::scalar::{Dec, Symbol, Ts};
use crate::ws::protocol::{DEPTH_DEFAULT, DEPTH_MAX};
use crate::ws::topic::{Subject, TopicKey};

pub struct OrderbookApi(pub Arc<App>);

#[OpenApi(tag = "Tag::Market")]
impl OrderbookApi {
    /// The order book
    ///
    /// The best levels of the book at the instrument's primary venue. Past the freshness threshold
    /// it says `stale`; a book that is not whole, or ten times past it, is no answer (`MARKET_002`).
    #[oai(path = "/market/orderbook/:symbol", method = "get", operation_id = "market_orderbook")]
    async fn orderbook(
        &self,
        _reader: MarketReader,
        /// The instrument, such as BTC-USDT.
        symbol: Path<Symbol>,
        /// Levels a side; 10 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        depth: Query<Option<u32>>,
    ) -> Result<Json<OrderbookBody>> {
        let instrument = symbol.0.0;
        let depth = depth.0.and_then(|depth| depth.try_into().ok()).unwrap_or(DEPTH_DEFAULT);
        let venue = self.0.known(&instrument)?;
        let now = self.0.feeds.now(&venue, self.0.clock.as_ref());
        let scales = self.0.scales(&venue, &instrument);
        let books = self.0.views.books();
        let book = books.get(&venue, &instrument);
        if let Some(problem) = self.0.book_problem(&venue, &instrument, book.as_ref(), now) {
            return Err(problem.into());
        }
        let body = book.map(|book| {
            OrderbookBody::of((&venue, instrument), &book, depth.min(DEPTH_MAX), scales, now)
        });
        Ok(Json(body.expect("a book without a problem is there")))
    }
}

impl App {
    /// Returns why a book is no answer; `None` when it is one.
    fn book_problem(
        &self,
        venue: &Venue,
        instrument: &Instrument,
        book: Option<&Book<'_>>,
        now: Timestamp,
    ) -> Option<Problem> {
        let detail = match book {
            None => format!("{venue} has told no book of {instrument} yet"),
            Some(book) if !book.synced => format!("the book of {instrument} at {venue} is lost"),
            Some(book) if book.freshness(now) == Freshness::Lost => {
                let seconds = book.age(now) / SECOND;
                format!("the book of {instrument} at {venue} is {seconds} seconds old")
            }
            Some(_) => return None,
        };
        Some(Problem::new(Code::VenueUnreachable, self.with_reason(venue, detail)))
    }

    /// Whether a book is whole, and too old to be an answer all the same.
    pub fn is_book_old(&self, venue: &Venue, instrument: &Instrument) -> bool {
        let now = self.feeds.now(venue, self.clock.as_ref());
        let books = self.views.books();
        books
            .get(venue, instrument)
            .is_some_and(|book| book.synced && book.freshness(now) == Freshness::Lost)
    }

    /// Adds to a detail why the venue cannot be reached, when it cannot.
    pub fn with_reason(&self, venue: &Venue, detail: String) -> String {
        match self.unreachable(venue) {
            Some(reason) => format!("{detail}; the venue cannot be reached: {reason}"),
            None => detail,
        }
    }

    /// Returns why a topic has nothing to show now, as far as it can be said.
    pub fn trouble(&self, key: &TopicKey) -> Option<String> {
        let instrument = &key.instrument;
        let problem = match key.subject {
            Subject::Trades => self.fresh_quote(instrument).err(),
            Subject::Book { .. } => {
                let venue = self.venue(instrument)?;
                let now = self.feeds.now(&venue, self.clock.as_ref());
                let books = self.views.books();
                let book = books.get(&venue, instrument);
                self.book_problem(&venue, instrument, book.as_ref(), now)
            }
            Subject::Candles(_) => None,
        };
        problem.map(|problem| problem.detail)
    }
}

#[derive(Object)]
struct OrderbookBody {
    symbol: Symbol,
    /// Price and size, best first.
    bids: Vec<Vec<Dec>>,
    /// Price and size, best first.
    asks: Vec<Vec<Dec>>,
    /// When the book was told last, by the venue's clock.
    timestamp: Ts,
    exchange: String,
    /// Nothing is missing in it; what is not synced is not shown.
    synced: bool,
    /// The venue's own numbers prove it.
    verified: bool,
    age_ms: u64,
    /// Past the freshness threshold: nothing is filled on such a book.
    stale: bool,
    /// The venue's id of the last update that is in.
    last_update_id: u64,
    entry: EntryBody,
}

impl OrderbookBody {
    fn of(
        (venue, instrument): (&Venue, Instrument),
        book: &Book<'_>,
        depth: usize,
        (price_scale, quantity_scale): (u32, u32),
        now: Timestamp,
    ) -> Self {
        let level = |level: Level| {
            vec![Dec::at(level.price.value(), price_scale), Dec::at(level.quantity, quantity_scale)]
        };
        let stream = Stream::Market { venue: venue.clone(), instrument: instrument.clone() };
        Self {
            symbol: Symbol(instrument),
            bids: book.levels.bids().take(depth).map(level).collect(),
            asks: book.levels.asks().take(depth).map(level).collect(),
            timestamp: Ts(book.told.venue_time),
            exchange: venue.to_string(),
            synced: book.synced,
            verified: book.verified,
            age_ms: u64::try_from(book.age(now) / 1_000).unwrap_or_default(),
            stale: !book.is_fresh(now),
            last_update_id: book.levels.last_id(),
            entry: EntryBody::of(&stream, book.version),
        }
    }
}
