//! Binance spot and USDⓈ-M futures: trades, best bid and ask, book diffs and snapshots.
//!
//! The two markets differ by fields that only the futures send (`pu`, `X`, times on the book
//! ticker), so one decoder reads both.

mod rest;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::book::{BookDiff, BookSnapshot, Level, Top};
use domain::candle::Candle;
use domain::instrument::Instrument;
use domain::observation::{Heard, Observation};
use domain::tick::{Side, Tick};
use domain::time::Timestamp;

use crate::binance::wire::{Diff, Kind, Millis, Outline, Snapshot, Ticker, Trade, levels};
use crate::venue::{Ask, DecodeError, Decoded, Listed, Request, Terms, Venue};

/// The two markets of Binance: venues of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Market {
    Spot,
    /// Perpetual futures that are settled in the quote.
    Usdm,
}

/// The venue for a set of wanted instruments; what is told of others is ignored.
#[derive(Debug, Clone)]
pub struct Binance {
    market: Market,
    /// By Binance's spelling. Until its listings are known, and for recordings, that is composed
    /// from ours: cutting `XBTUSD` would be a guess.
    wanted: BTreeMap<String, Instrument>,
}

impl Binance {
    pub fn new(market: Market, instruments: &[Instrument]) -> Self {
        let spelled = |instrument: &Instrument| {
            (format!("{}{}", instrument.base(), instrument.quote()), instrument.clone())
        };
        Self { market, wanted: instruments.iter().map(spelled).collect() }
    }

    /// Returns Binance's spelling of a wanted instrument.
    fn symbol(&self, instrument: &Instrument) -> &str {
        let found = self.wanted.iter().find(|(_, wanted)| *wanted == instrument);
        found.map_or("", |(symbol, _)| symbol)
    }

    /// Returns the only wanted instrument: a snapshot's body does not say whose it is.
    fn unnamed(&self) -> Result<Instrument, DecodeError> {
        let mut wanted = self.wanted.values();
        match (wanted.next(), wanted.next()) {
            (Some(only), None) => Ok(only.clone()),
            _ => Err(DecodeError::Unnamed),
        }
    }

    fn wanted(&self, symbol: &str) -> Option<Instrument> {
        self.wanted.get(symbol).cloned()
    }
}

impl Venue for Binance {
    fn decode(&self, frame: &[u8], received_at: Timestamp) -> Result<Decoded, DecodeError> {
        let frame = std::str::from_utf8(frame)?;
        let outline: Outline<'_> = serde_json::from_str(frame)?;
        let body = outline.data.map_or(frame, |data| data.get());

        let told = match outline.kind() {
            Kind::Trade => self.trade(body, received_at)?,
            Kind::Ticker => self.ticker(body)?,
            Kind::Diff => self.diff(body)?,
            Kind::Snapshot => Some(book(self.unnamed()?, body)?),
            Kind::Acknowledgement => return Ok(Decoded::Acknowledged),
            Kind::Closing => return Ok(Decoded::Closing),
            Kind::Other => None,
        };
        Ok(match told {
            None => Decoded::Ignored,
            Some((venue_time, heard)) => Decoded::One(Observation {
                received_at,
                venue_time: venue_time.map(|Millis(instant)| instant),
                heard,
            }),
        })
    }

    fn terms(&self) -> Terms {
        self.market.terms()
    }

    /// One combined stream. The notice `serverShutdown` comes on it unasked.
    fn streams(&self) -> String {
        let of = |symbol: &String| {
            let symbol = symbol.to_lowercase();
            format!("{symbol}@trade/{symbol}@depth@100ms/{symbol}@bookTicker")
        };
        format!("/stream?streams={}", self.wanted.keys().map(of).collect::<Vec<_>>().join("/"))
    }

    /// None: the address of the socket says it all.
    fn subscriptions(&self) -> Vec<String> {
        Vec::new()
    }

    fn request(&self, ask: &Ask) -> Request {
        let symbol = match ask {
            Ask::Listings => "",
            Ask::Snapshot(instrument)
            | Ask::Minutes { instrument, .. }
            | Ask::Trades { instrument, .. } => self.symbol(instrument),
        };
        self.market.request(ask, symbol)
    }

    fn listed(&self, body: &[u8]) -> Result<Vec<Listed>, DecodeError> {
        rest::listed(body, &self.wanted.values())
    }

    fn knowing(&self, listed: &[Listed]) -> Arc<dyn Venue> {
        let spelled = |listed: &Listed| (listed.symbol.clone(), listed.instrument.clone());
        Arc::new(Self { market: self.market, wanted: listed.iter().map(spelled).collect() })
    }

    fn snapshot(
        &self,
        instrument: &Instrument,
        body: &[u8],
        received_at: Timestamp,
    ) -> Result<Observation, DecodeError> {
        let (venue_time, heard) = book(instrument.clone(), std::str::from_utf8(body)?)?;
        Ok(Observation { received_at, venue_time: venue_time.map(|Millis(at)| at), heard })
    }

    fn minutes(&self, body: &[u8]) -> Result<Vec<Candle>, DecodeError> {
        rest::minutes(body)
    }

    fn trades(&self, body: &[u8], received_at: Timestamp) -> Result<Vec<Tick>, DecodeError> {
        rest::trades(body, received_at)
    }

    fn complaint(&self, body: &[u8]) -> Option<String> {
        rest::complaint(body)
    }
}

type Told = (Option<Millis>, Heard);

impl Binance {
    fn trade(&self, body: &str, received_at: Timestamp) -> Result<Option<Told>, DecodeError> {
        let trade: Trade<'_> = serde_json::from_str(body)?;
        // Futures also tell of insurance fund and liquidation transfers; those are no market
        // trades, and may carry zeros, so that nothing else of them is read.
        let of_market = trade.execution.is_none_or(|kind| kind == "MARKET");
        let Some(instrument) = self.wanted(trade.symbol).filter(|_| of_market) else {
            return Ok(None);
        };
        let tick = Tick {
            trade_id: trade.id,
            price: trade.price.parse()?,
            quantity: trade.quantity.parse()?,
            taker: if trade.buyer_was_maker { Side::Sell } else { Side::Buy },
            traded_at: trade.traded_at.0,
            received_at,
        };
        if !tick.is_exact() {
            return Err(DecodeError::Inexact { trade_id: tick.trade_id });
        }
        Ok(Some((Some(trade.told_at), Heard::Tick(instrument, tick))))
    }

    fn ticker(&self, body: &str) -> Result<Option<Told>, DecodeError> {
        let ticker: Ticker<'_> = serde_json::from_str(body)?;
        let Some(instrument) = self.wanted(ticker.symbol) else { return Ok(None) };
        let top = Top {
            update_id: ticker.update_id,
            bid: Level { price: ticker.bid, quantity: ticker.bid_quantity.0 },
            ask: Level { price: ticker.ask, quantity: ticker.ask_quantity.0 },
        };
        Ok(Some((ticker.told_at, Heard::Top(instrument, top))))
    }

    fn diff(&self, body: &str) -> Result<Option<Told>, DecodeError> {
        let diff: Diff<'_> = serde_json::from_str(body)?;
        let Some(instrument) = self.wanted(diff.symbol) else { return Ok(None) };
        let changes = BookDiff {
            first_id: diff.first_id,
            last_id: diff.last_id,
            previous_id: diff.previous_id,
            bids: levels(diff.bids),
            asks: levels(diff.asks),
        };
        Ok(Some((Some(diff.told_at), Heard::Diff(instrument, changes))))
    }
}

fn book(instrument: Instrument, body: &str) -> Result<Told, DecodeError> {
    let snapshot: Snapshot = serde_json::from_str(body)?;
    let book = BookSnapshot {
        update_id: snapshot.update_id,
        bids: levels(snapshot.bids),
        asks: levels(snapshot.asks),
    };
    Ok((snapshot.told_at, Heard::Snapshot(instrument, book)))
}
