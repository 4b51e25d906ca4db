//! Binance's messages as they stand on the wire, borrowed from the frame.

use domain::amount::{self, Price, Quantity};
use domain::book::Level;
use domain::time::Timestamp;
use rust_decimal::Decimal;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// What tells one kind of frame from another: one pass, in which nothing else is read.
#[derive(Deserialize)]
pub(super) struct Outline<'a> {
    stream: Option<&'a str>,
    /// The message inside a combined frame.
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    #[serde(rename = "e")]
    event: Option<&'a str>,
    #[serde(rename = "u")]
    update_id: Option<IgnoredAny>,
    #[serde(rename = "lastUpdateId")]
    snapshot_id: Option<IgnoredAny>,
    #[serde(rename = "id")]
    request_id: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Trade,
    Ticker,
    Diff,
    Snapshot,
    Acknowledgement,
    Closing,
    Other,
}

impl Outline<'_> {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Outline { stream: Some(stream), data: Some(_), .. } => kind_of_stream(stream),
            Outline { event: Some(event), .. } => kind_of_event(event),
            // Partial depth (`@depth20`) has this shape too when it comes without a stream name:
            // do not subscribe to it on a raw socket.
            Outline { snapshot_id: Some(_), .. } => Kind::Snapshot,
            // Spot's book ticker is the one message without an event name.
            Outline { update_id: Some(_), .. } => Kind::Ticker,
            Outline { request_id: Some(_), error: None, .. } => Kind::Acknowledgement,
            Outline { .. } => Kind::Other,
        }
    }
}

fn kind_of_event(event: &str) -> Kind {
    match event {
        "trade" => Kind::Trade,
        "bookTicker" => Kind::Ticker,
        "depthUpdate" => Kind::Diff,
        "serverShutdown" => Kind::Closing,
        _ => Kind::Other,
    }
}

fn kind_of_stream(stream: &str) -> Kind {
    match stream.split_once('@') {
        Some((_, "trade")) => Kind::Trade,
        Some((_, "bookTicker")) => Kind::Ticker,
        Some((_, "depth")) => Kind::Diff,
        Some((_, speed)) if speed.starts_with("depth@") => Kind::Diff,
        None if stream == "!serverShutdown" => Kind::Closing,
        _ => Kind::Other,
    }
}

#[derive(Deserialize)]
pub(super) struct Trade<'a> {
    #[serde(rename = "E")]
    pub(super) told_at: Millis,
    #[serde(rename = "s")]
    pub(super) symbol: &'a str,
    #[serde(rename = "t")]
    pub(super) id: u64,
    #[serde(rename = "p")]
    pub(super) price: &'a str,
    #[serde(rename = "q")]
    pub(super) quantity: &'a str,
    #[serde(rename = "T")]
    pub(super) traded_at: Millis,
    #[serde(rename = "m")]
    pub(super) buyer_was_maker: bool,
    #[serde(rename = "X")]
    pub(super) execution: Option<&'a str>,
}

#[derive(Deserialize)]
pub(super) struct Ticker<'a> {
    #[serde(rename = "E")]
    pub(super) told_at: Option<Millis>,
    #[serde(rename = "s")]
    pub(super) symbol: &'a str,
    #[serde(rename = "u")]
    pub(super) update_id: u64,
    #[serde(rename = "b")]
    pub(super) bid: Price,
    #[serde(rename = "B")]
    pub(super) bid_quantity: Resting,
    #[serde(rename = "a")]
    pub(super) ask: Price,
    #[serde(rename = "A")]
    pub(super) ask_quantity: Resting,
}

#[derive(Deserialize)]
pub(super) struct Diff<'a> {
    #[serde(rename = "E")]
    pub(super) told_at: Millis,
    #[serde(rename = "s")]
    pub(super) symbol: &'a str,
    #[serde(rename = "U")]
    pub(super) first_id: u64,
    #[serde(rename = "u")]
    pub(super) last_id: u64,
    #[serde(rename = "pu")]
    pub(super) previous_id: Option<u64>,
    #[serde(rename = "b")]
    pub(super) bids: Vec<(Price, Resting)>,
    #[serde(rename = "a")]
    pub(super) asks: Vec<(Price, Resting)>,
}

#[derive(Deserialize)]
pub(super) struct Snapshot {
    #[serde(rename = "E")]
    pub(super) told_at: Option<Millis>,
    #[serde(rename = "lastUpdateId")]
    pub(super) update_id: u64,
    pub(super) bids: Vec<(Price, Resting)>,
    pub(super) asks: Vec<(Price, Resting)>,
}

pub(super) fn levels(wire: Vec<(Price, Resting)>) -> Vec<Level> {
    wire.into_iter().map(|(price, Resting(quantity))| Level { price, quantity }).collect()
}

/// How much rests at a price: a quantity, or zero.
pub(super) struct Resting(pub(super) Decimal);

impl<'de> Deserialize<'de> for Resting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value =
            amount::decimal(<&str>::deserialize(deserializer)?).map_err(D::Error::custom)?;
        if value.is_zero() {
            return Ok(Self(Decimal::ZERO));
        }
        Quantity::new(value).map(|quantity| Self(quantity.value())).map_err(D::Error::custom)
    }
}

/// An instant in milliseconds since 1970, within the years that have a text form.
#[derive(Clone, Copy)]
pub(super) struct Millis(pub(super) Timestamp);

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis = i64::deserialize(deserializer)?;
        let instant = Timestamp::from_millis(millis);
        if millis < 0 || instant == Timestamp::MAX {
            return Err(D::Error::custom("not a time in milliseconds"));
        }
        Ok(Self(instant))
    }
}
