//! Binance spot and USDⓈ-M futures: trades, best bid and ask, book diffs and snapshots.
//!
//! The two markets differ by fields that only the futures send (`pu`, `X`, times on the book
//! ticker), so one decoder reads both.

mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use domain::book::{BookDiff, BookSnapshot, Level, Top};
use domain::instrument::Instrument;
use domain::observation::{Heard, Observation};
use domain::tick::{Side, Tick};
use domain::time::Timestamp;

use crate::binance::wire::{Diff, Kind, Millis, Outline, Snapshot, Ticker, Trade, levels};
use crate::venue::{DecodeError, Decoded, Venue};

/// The decoder for a set of wanted instruments; what is told of others is ignored.
#[derive(Debug, Clone)]
pub struct Binance {
    /// By Binance's spelling, which is composed from ours: cutting `XBTUSD` is a guess.
    wanted: BTreeMap<String, Instrument>,
}

impl Binance {
    pub fn new(instruments: &[Instrument]) -> Self {
        let spelled = |instrument: &Instrument| {
            (format!("{}{}", instrument.base(), instrument.quote()), instrument.clone())
        };
        Self { wanted: instruments.iter().map(spelled).collect() }
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
            Kind::Snapshot => Some(self.snapshot(body)?),
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

    fn snapshot(&self, body: &str) -> Result<Told, DecodeError> {
        let snapshot: Snapshot = serde_json::from_str(body)?;
        let book = BookSnapshot {
            update_id: snapshot.update_id,
            bids: levels(snapshot.bids),
            asks: levels(snapshot.asks),
        };
        Ok((snapshot.told_at, Heard::Snapshot(self.unnamed()?, book)))
    }
}
