//! The market: prices, history, instruments, gaps.
#![expect(clippy::disallowed_types, reason = "what the macro of poem-openapi writes is not ours")]
#![expect(clippy::unused_async, reason = "poem-openapi asks for async handlers")]

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use domain::candle::{Candle, Source};
use domain::instrument::{Instrument, Venue};
use domain::ladder::gaps::Gap;
use domain::observation::Listing;
use domain::tick::Side;
use domain::time::Timestamp;
use eventlog::entry::Version;
use eventlog::stream::Stream;
use poem::{Request, Result};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, Tags};
use projections::history::{self, Cursor, Page, reach};
use projections::prices::{Freshness, Quote};
use projections::store::Store;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::app::App;
use crate::entity::{self, Encoded};
use crate::positions::{ARCHIVE_LATE, ARCHIVE_PATIENCE};
use crate::principal::MarketReader;
use crate::problem::{Code, Problem};
use crate::scalar::{Dec, IntervalName, Symbol, Ts};

/// Candles of a page when nobody says how many; at most [`history::PAGE_MAX`].
const PAGE_DEFAULT: usize = 500;

/// Digits after the point of a change in percent.
const PERCENT_SCALE: u32 = 2;

#[derive(Tags)]
pub enum Tag {
    /// Prices, books, candles, instruments and gaps.
    Market,
    /// The caller's own account: its positions, its money, and what may be done with them.
    Portfolio,
    /// Accounts, and money in and out of them.
    Operator,
    /// Tokens and tickets: what a key is exchanged for.
    Auth,
    /// Keys, given and taken.
    Admin,
}

pub struct MarketApi(pub Arc<App>);

#[OpenApi(tag = "Tag::Market")]
impl MarketApi {
    /// The last price
    ///
    /// The price of the last trade at the instrument's primary venue. Past the freshness threshold
    /// it says `stale`; ten times past it there is no answer any more (`MARKET_002`).
    #[oai(path = "/market/price/:symbol", method = "get", operation_id = "market_price")]
    async fn price(
        &self,
        _reader: MarketReader,
        /// The instrument, such as BTC-USDT.
        symbol: Path<Symbol>,
    ) -> Result<Json<PriceBody>> {
        let quote = self.0.fresh_quote(&symbol.0.0)?;
        let now = self.0.feeds.now(&quote.venue, self.0.clock.as_ref());
        Ok(Json(PriceBody::of(&quote, now)))
    }

    /// Candles
    ///
    /// `start` and `end` are both inclusive and mean the start of a candle. With neither, or with
    /// `end` alone, the newest come; with `start`, the oldest from there on.
    #[oai(path = "/market/history/:symbol", method = "get", operation_id = "market_history")]
    #[expect(clippy::too_many_arguments, reason = "they are the parameters of the operation")]
    async fn history(
        &self,
        _reader: MarketReader,
        request: &Request,
        /// The instrument, such as BTC-USDT.
        symbol: Path<Symbol>,
        /// The length of a candle; 1m when absent.
        interval: Query<Option<IntervalName>>,
        /// The first candle, RFC 3339; a time without zone is UTC.
        start: Query<Option<Ts>>,
        /// The last candle, RFC 3339; a time without zone is UTC.
        end: Query<Option<Ts>>,
        /// Candles of a page; 500 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
        /// Where the page starts: `next_cursor` of the page before.
        cursor: Query<Option<String>>,
        /// What stands for an interval without trades; flat when absent.
        fill: Query<Option<Fill>>,
        /// The ETags of the answers that the client holds.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<HistoryAnswer> {
        let instrument = symbol.0.0;
        let venue = self.0.known(&instrument)?;
        let interval = interval.0.map_or(domain::candle::Interval::Minute, |name| name.0);
        let (start, end) = (start.0.map(|ts| ts.0), end.0.map(|ts| ts.0));
        if start.zip(end).is_some_and(|(start, end)| start > end) {
            return Err(Problem::field("start", "must not be after end").into());
        }
        let limit = limit.0.and_then(|limit| limit.try_into().ok()).unwrap_or(PAGE_DEFAULT);
        let fill = fill.0.unwrap_or(Fill::Flat) == Fill::Flat;
        let mut query = history::Query { interval, start, end, limit, fill };
        if let Some(cursor) = cursor.0 {
            let cursor: Cursor =
                cursor.parse().map_err(|error| Problem::field("cursor", format!("{error}")))?;
            query = query.at(cursor);
        }
        let scales = self.0.scales(&venue, &instrument);
        let archive = self.0.store.as_ref().map(Store::archive);
        let market = (&venue, &instrument);
        let page = reach::answer(query, &self.0.views, market, archive.as_ref());
        let problem = |detail| Problem::new(Code::LogUnreachable, detail);
        let page = tokio::time::timeout(ARCHIVE_PATIENCE, page)
            .await
            .map_err(|_| problem(ARCHIVE_LATE.to_owned()))?
            .map_err(|error| problem(error.to_string()))?;
        let link = page.next.map(|cursor| next_link(request, cursor));
        let body = HistoryBody {
            symbol: Symbol(instrument),
            data: page.candles.iter().map(|shown| CandleBody::of(shown, scales)).collect(),
            interval: IntervalName(interval),
            exchange: venue.to_string(),
            gaps: gap_bodies(&page),
            next_cursor: page.next.map(|cursor| cursor.to_string()),
        };
        let body = Encoded::of(&body);
        let (tag, caching) = (body.tag(), "no-cache".to_owned());
        if entity::holds(if_none_match.0.as_deref(), &tag) {
            return Ok(HistoryAnswer::NotModified(tag, caching));
        }
        Ok(HistoryAnswer::History(body, tag, caching, link))
    }

    /// Instruments
    ///
    /// All instruments that were ever traded or that a feed brings, and where.
    #[oai(path = "/market/symbols", method = "get", operation_id = "market_symbols")]
    async fn symbols(&self, _reader: MarketReader) -> Json<SymbolsBody> {
        let instruments: BTreeSet<(Instrument, Venue)> = {
            let prices = self.0.views.prices();
            let traded = prices.iter().map(|quote| (quote.instrument, quote.venue));
            let brought = self.0.feeds.iter().flat_map(|feed| {
                feed.instruments.iter().map(|instrument| (instrument.clone(), feed.venue.clone()))
            });
            traded.chain(brought).collect()
        };
        let mut symbols: Vec<SymbolBody> = Vec::new();
        for (instrument, venue) in instruments {
            let exchange = self.0.exchange_body(&instrument, &venue);
            match symbols.last_mut().filter(|last| last.symbol.0 == instrument) {
                Some(last) => last.exchanges.push(exchange),
                None => symbols.push(SymbolBody {
                    base: instrument.base().to_owned(),
                    quote: instrument.quote().to_owned(),
                    exchange: self.0.venue(&instrument).unwrap_or(venue).to_string(),
                    exchanges: vec![exchange],
                    symbol: Symbol(instrument),
                }),
            }
        }
        Json(SymbolsBody { symbols })
    }

    /// Gaps in the record
    ///
    /// The trades of the instrument's primary venue that were missed and did not come yet. No
    /// candle is filled across them.
    #[oai(path = "/market/gaps/:symbol", method = "get", operation_id = "market_gaps")]
    async fn gaps(
        &self,
        _reader: MarketReader,
        /// The instrument, such as BTC-USDT.
        symbol: Path<Symbol>,
    ) -> Result<Json<GapsBody>> {
        let instrument = symbol.0.0;
        let venue = self.0.known(&instrument)?;
        let gaps = {
            let candles = self.0.views.candles();
            match candles.get(&venue, &instrument) {
                Some(held) => held.gaps(Timestamp::MIN, Timestamp::MAX).map(GapBody::of).collect(),
                None => Vec::new(),
            }
        };
        Ok(Json(GapsBody { symbol: Symbol(instrument), exchange: venue.to_string(), gaps }))
    }
}

impl App {
    /// Returns the venue that speaks for an instrument that must be known.
    pub fn known(&self, instrument: &Instrument) -> Result<Venue, Problem> {
        self.venue(instrument).ok_or_else(|| {
            Problem::new(Code::InvalidSymbol, format!("{instrument} was never traded here"))
        })
    }

    /// Returns the price of an instrument that must be known, unless it is too old to be one.
    pub fn fresh_quote(&self, instrument: &Instrument) -> Result<Quote, Problem> {
        let venue = self.known(instrument)?;
        let Some(quote) = self.views.quote(instrument) else {
            let detail = format!("{venue} has brought no price of {instrument} yet");
            let detail = self.with_reason(&venue, detail);
            return Err(Problem::new(Code::VenueUnreachable, detail));
        };
        let now = self.feeds.now(&quote.venue, self.clock.as_ref());
        match quote.freshness(now) {
            Freshness::Fresh | Freshness::Stale => Ok(quote),
            Freshness::Lost => {
                let seconds = quote.age(now) / domain::time::SECOND;
                let detail = format!("the last price of {venue} is {seconds} seconds old");
                let detail = self.with_reason(&venue, detail);
                Err(Problem::new(Code::VenueUnreachable, detail))
            }
        }
    }

    fn exchange_body(&self, instrument: &Instrument, venue: &Venue) -> ExchangeBody {
        let listing = self.listing(venue, instrument);
        let listed = listing.map(|listing| (listing.price_scale, listing.quantity_scale));
        let scales = self.views.prices().scales(venue, instrument).or(listed);
        let status = |listing: Listing| {
            if listing.trading { StatusBody::Trading } else { StatusBody::Halted }
        };
        ExchangeBody {
            exchange: venue.to_string(),
            price_scale: scales.map(|(price, _)| price),
            size_scale: scales.map(|(_, quantity)| quantity),
            status: listing.map(status),
            size_min: listing.and_then(|listing| listing.quantity_min).map(|min| Dec(min.value())),
        }
    }
}

#[derive(ApiResponse)]
enum HistoryAnswer {
    /// The candles, oldest first.
    #[oai(status = 200)]
    History(
        Encoded<HistoryBody>,
        #[oai(header = "ETag")] String,
        #[oai(header = "Cache-Control")] String,
        #[oai(header = "Link")] Option<String>,
    ),
    /// The client holds this very answer.
    #[oai(status = 304)]
    NotModified(#[oai(header = "ETag")] String, #[oai(header = "Cache-Control")] String),
}

#[derive(Object)]
struct PriceBody {
    symbol: Symbol,
    price: Dec,
    /// When the trade happened, by the venue's clock.
    timestamp: Ts,
    /// What was traded in the window, in base currency.
    volume: Dec,
    exchange: String,
    age_ms: u64,
    /// Past the freshness threshold: nothing is filled, opened or liquidated on such a price.
    stale: bool,
    /// What the last trade moved, in base currency.
    quantity: Dec,
    taker: TakerBody,
    trade_id: u64,
    /// What was traded in the window, in quote currency.
    quote_volume: Dec,
    /// The price at which the window opened, and the change since.
    open_24h: Dec,
    change_24h: Dec,
    change_24h_percent: Dec,
    window: String,
    resolution: String,
    entry: EntryBody,
}

#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum TakerBody {
    Buy,
    Sell,
}

/// Where the fact stands that a figure comes from.
#[derive(Object)]
pub struct EntryBody {
    stream: String,
    version: u64,
}

impl EntryBody {
    pub fn of(stream: &Stream, version: Version) -> Self {
        Self { stream: stream.to_string(), version: version.0 }
    }
}

#[derive(Object)]
struct HistoryBody {
    symbol: Symbol,
    data: Vec<CandleBody>,
    interval: IntervalName,
    exchange: String,
    /// Gaps in the record that this page spans. No candle is filled across them.
    gaps: Vec<GapBody>,
    /// Where the next page starts; null on the last one.
    next_cursor: Option<String>,
}

#[derive(Object)]
struct CandleBody {
    timestamp: Ts,
    open: Dec,
    high: Dec,
    low: Dec,
    close: Dec,
    volume: Dec,
    quote_volume: Dec,
    /// The part of the volume whose taker bought.
    taker_buy: Dec,
    trades: u64,
    first_trade_id: Option<u64>,
    last_trade_id: Option<u64>,
    closed: bool,
    source: SourceBody,
    /// How often the candle changed after it had closed.
    revision: u32,
}

/// Where a candle comes from: the venue's own bar, trades, or nothing but the close before.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum SourceBody {
    Native,
    Built,
    Filled,
}

/// What stands for an interval without trades: a flat candle at the close before, or nothing.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
enum Fill {
    Flat,
    None,
}

#[derive(Object)]
struct GapsBody {
    symbol: Symbol,
    exchange: String,
    gaps: Vec<GapBody>,
}

/// Trades that did not come; they happened between two times.
#[derive(Object)]
struct GapBody {
    first_trade_id: u64,
    last_trade_id: u64,
    after: Ts,
    before: Ts,
    state: GapState,
}

#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum GapState {
    Open,
    Unfillable,
}

#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum StatusBody {
    Trading,
    Halted,
}

#[derive(Object)]
struct SymbolsBody {
    symbols: Vec<SymbolBody>,
}

#[derive(Object)]
struct SymbolBody {
    symbol: Symbol,
    base: String,
    quote: String,
    /// The venue that the price comes from.
    exchange: String,
    exchanges: Vec<ExchangeBody>,
}

/// Digits after the point of prices and sizes, as far as they are known.
#[derive(Object)]
struct ExchangeBody {
    exchange: String,
    price_scale: Option<u32>,
    size_scale: Option<u32>,
    /// Whether the venue trades it now, where the venue says so.
    #[oai(skip_serializing_if_is_none)]
    status: Option<StatusBody>,
    /// The least size of an order, where the venue says so.
    #[oai(skip_serializing_if_is_none)]
    size_min: Option<Dec>,
}

impl PriceBody {
    fn of(quote: &Quote, now: Timestamp) -> Self {
        let (price, open) = (quote.tick.price.value(), quote.day_open.value());
        let change = price - open;
        let percent = change.checked_mul(Decimal::ONE_HUNDRED).and_then(|hundred| {
            Some(
                hundred
                    .checked_div(open)?
                    .round_dp_with_strategy(PERCENT_SCALE, RoundingStrategy::MidpointNearestEven),
            )
        });
        let stream =
            Stream::Market { venue: quote.venue.clone(), instrument: quote.instrument.clone() };
        Self {
            symbol: Symbol(quote.instrument.clone()),
            price: Dec::at(price, quote.price_scale),
            timestamp: Ts(quote.tick.traded_at),
            volume: Dec::at(quote.volume, quote.quantity_scale),
            exchange: quote.venue.to_string(),
            age_ms: u64::try_from(quote.age(now) / 1_000).unwrap_or_default(),
            stale: quote.freshness(now) != Freshness::Fresh,
            quantity: Dec::at(quote.tick.quantity.value(), quote.quantity_scale),
            taker: match quote.tick.taker {
                Side::Buy => TakerBody::Buy,
                Side::Sell => TakerBody::Sell,
            },
            trade_id: quote.tick.trade_id,
            quote_volume: Dec::at(quote.quote_volume, quote.price_scale),
            open_24h: Dec::at(open, quote.price_scale),
            change_24h: Dec::at(change, quote.price_scale),
            change_24h_percent: Dec::at(percent.unwrap_or_default(), PERCENT_SCALE),
            window: "24h_rolling".to_owned(),
            resolution: "1m".to_owned(),
            entry: EntryBody::of(&stream, quote.version),
        }
    }
}

impl CandleBody {
    fn of(shown: &history::Shown, (price_scale, quantity_scale): (u32, u32)) -> Self {
        let candle: &Candle = &shown.candle;
        let price = |price: domain::amount::Price| Dec::at(price.value(), price_scale);
        Self {
            timestamp: Ts(candle.opened_at),
            open: price(candle.open),
            high: price(candle.high),
            low: price(candle.low),
            close: price(candle.close),
            volume: Dec::at(candle.volume, quantity_scale),
            quote_volume: Dec::at(candle.quote_volume, price_scale),
            taker_buy: Dec::at(candle.taker_buy, quantity_scale),
            trades: candle.trades,
            first_trade_id: candle.first.map(|place| place.trade_id),
            last_trade_id: candle.last.map(|place| place.trade_id),
            closed: shown.closed,
            source: match candle.source {
                Source::Native => SourceBody::Native,
                Source::Built => SourceBody::Built,
                Source::Filled => SourceBody::Filled,
            },
            revision: candle.revision,
        }
    }
}

impl GapBody {
    fn of(gap: &Gap) -> Self {
        Self {
            first_trade_id: gap.first_id,
            last_trade_id: gap.last_id,
            after: Ts(gap.after),
            before: Ts(gap.before),
            state: if gap.unfillable { GapState::Unfillable } else { GapState::Open },
        }
    }
}

fn gap_bodies(page: &Page) -> Vec<GapBody> {
    page.gaps.iter().map(GapBody::of).collect()
}

/// The address of the next page: that of this one, with another cursor.
pub fn next_link(request: &Request, cursor: impl Display) -> String {
    let uri = request.original_uri();
    let mut link = format!("<{}?", uri.path());
    let pairs = uri.query().unwrap_or_default().split('&');
    for pair in pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor=")) {
        link.push_str(pair);
        link.push('&');
    }
    link + &format!("cursor={cursor}>; rel=\"next\"")
}
