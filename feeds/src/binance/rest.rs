//! What is asked of Binance over HTTP, and how its answers read.

use std::borrow::Cow;
use std::time::Duration;

use domain::amount::{self, NotAnAmount, Price, Quantity, scale_that_counts};
use domain::candle::{Candle, Interval, Source};
use domain::instrument::Instrument;
use domain::observation::Listing;
use domain::tick::{Side, Tick};
use domain::time::{MINUTE, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::binance::Market;
use crate::binance::wire::Millis;
use crate::venue::{Ask, DecodeError, Listed, Request, Terms};

impl Market {
    pub(super) const fn terms(self) -> Terms {
        let common = Terms {
            ws_url: "wss://stream.binance.com:9443",
            rest_url: "https://api.binance.com",
            weight_header: "x-mbx-used-weight-1m",
            weight_max: 6_000,
            // Binance hangs up after 24 hours.
            socket_age: Duration::from_hours(23),
            minutes_max: 1_000,
            trades_max: 1_000,
        };
        match self {
            Self::Spot => common,
            Self::Usdm => Terms {
                ws_url: "wss://fstream.binance.com",
                rest_url: "https://fapi.binance.com",
                weight_max: 2_400,
                trades_max: 500,
                ..common
            },
        }
    }

    /// Returns the request; `symbol` is the asked instrument in Binance's spelling.
    pub(super) fn request(self, ask: &Ask, symbol: &str) -> Request {
        let Terms { minutes_max, trades_max, .. } = self.terms();
        let (base, weights) = match self {
            Self::Spot => ("/api/v3", [20, 50, 2, 25]),
            Self::Usdm => ("/fapi/v1", [1, 20, 5, 20]),
        };
        let [listings, snapshot, minutes, trades] = weights;
        let (path, weight) = match ask {
            // The sets of permissions are most of spot's answer, and nothing to us.
            Ask::Listings => {
                let query = if self == Self::Spot { "?showPermissionSets=false" } else { "" };
                (format!("exchangeInfo{query}"), listings)
            }
            Ask::Snapshot(_) => (format!("depth?symbol={symbol}&limit=1000"), snapshot),
            Ask::Minutes { first, last, .. } => {
                let (start, end) = (first.micros() / 1_000, last.plus(MINUTE).micros() / 1_000 - 1);
                let range = format!("startTime={start}&endTime={end}&limit={minutes_max}");
                (format!("klines?symbol={symbol}&interval=1m&{range}"), minutes)
            }
            Ask::Trades { first_id, .. } => {
                let range = format!("limit={trades_max}&fromId={first_id}");
                (format!("historicalTrades?symbol={symbol}&{range}"), trades)
            }
        };
        Request { path_and_query: format!("{base}/{path}"), weight }
    }
}

#[derive(Deserialize)]
struct Listings<'a> {
    #[serde(borrow)]
    symbols: Vec<Symbol<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Symbol<'a> {
    #[serde(borrow, rename = "symbol")]
    spelling: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    base_asset: Cow<'a, str>,
    #[serde(borrow)]
    quote_asset: Cow<'a, str>,
    #[serde(borrow)]
    contract_type: Option<Cow<'a, str>>,
    /// Read only where the symbol is wanted.
    #[serde(borrow)]
    filters: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter<'a> {
    #[serde(borrow, rename = "filterType")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    tick_size: Option<Cow<'a, str>>,
    #[serde(borrow)]
    step_size: Option<Cow<'a, str>>,
    #[serde(borrow)]
    min_qty: Option<Cow<'a, str>>,
}

/// Reads `exchangeInfo`. Base and quote are what it says they are, never a cut through a symbol.
pub(super) fn listed<'w>(
    body: &[u8],
    wanted: &(impl Iterator<Item = &'w Instrument> + Clone),
) -> Result<Vec<Listed>, DecodeError> {
    let listings: Listings<'_> = serde_json::from_str(std::str::from_utf8(body)?)?;
    let mut listed = Vec::new();
    for symbol in &listings.symbols {
        // A future that ends has the same two assets as the perpetual one.
        let ends = symbol.contract_type.as_ref().is_some_and(|kind| !kind.ends_with("PERPETUAL"));
        let found = wanted.clone().find(|instrument| {
            instrument.base() == symbol.base_asset && instrument.quote() == symbol.quote_asset
        });
        if let Some(instrument) = found.filter(|_| !ends) {
            listed.push(Listed {
                instrument: instrument.clone(),
                symbol: symbol.spelling.clone().into_owned(),
                listing: listing(symbol)?,
            });
        }
    }
    Ok(listed)
}

fn listing(symbol: &Symbol<'_>) -> Result<Listing, DecodeError> {
    let filters: Vec<Filter<'_>> = serde_json::from_str(symbol.filters.get())?;
    let mut listing = Listing {
        price_scale: 0,
        quantity_scale: 0,
        quantity_min: None,
        trading: symbol.status == "TRADING",
    };
    for filter in &filters {
        match &*filter.kind {
            "PRICE_FILTER" => listing.price_scale = scale(filter.tick_size.as_deref())?,
            "LOT_SIZE" => {
                listing.quantity_scale = scale(filter.step_size.as_deref())?;
                let least = filter.min_qty.as_deref().map(amount::decimal).transpose()?;
                listing.quantity_min = least.and_then(|least| Quantity::new(least).ok());
            }
            _ => {}
        }
    }
    Ok(listing)
}

/// Returns the digits of a step; a step of zero means that any digit goes.
fn scale(step: Option<&str>) -> Result<u32, NotAnAmount> {
    match scale_that_counts(step.map_or(Ok(Decimal::ZERO), amount::decimal)?) {
        scale if scale > amount::SCALE_MAX => Err(NotAnAmount::TooFine),
        scale => Ok(scale),
    }
}

/// A row as it stands: by place, not by name.
#[derive(Deserialize)]
struct Row<'a>(
    Millis,
    Price,
    Price,
    Price,
    Price,
    &'a str,
    IgnoredAny,
    &'a str,
    u64,
    &'a str,
    IgnoredAny,
    IgnoredAny,
);

/// Reads `klines` of one minute.
pub(super) fn minutes(body: &[u8]) -> Result<Vec<Candle>, DecodeError> {
    let rows: Vec<Row<'_>> = serde_json::from_str(std::str::from_utf8(body)?)?;
    rows.iter().map(minute).collect()
}

fn minute(row: &Row<'_>) -> Result<Candle, DecodeError> {
    let &Row(Millis(opened_at), open, high, low, close, volume, _, quote, trades, taker_buy, ..) =
        row;
    if Interval::Minute.bucket(opened_at) != opened_at {
        return Err(DecodeError::NotAMinute(opened_at));
    }
    Ok(Candle {
        opened_at,
        open,
        high,
        low,
        close,
        volume: sum(volume)?,
        quote_volume: sum(quote)?,
        taker_buy: sum(taker_buy)?,
        trades,
        first: None,
        last: None,
        source: Source::Native,
        revision: 0,
    })
}

/// A volume: what was traded in a minute, or zero.
fn sum(text: &str) -> Result<Decimal, NotAnAmount> {
    match amount::decimal(text)? {
        value if value.is_sign_negative() && !value.is_zero() => Err(NotAnAmount::NotPositive),
        value if value.scale() > amount::SCALE_MAX => Err(NotAnAmount::TooFine),
        value => Ok(value),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PastTrade<'a> {
    id: u64,
    price: &'a str,
    qty: &'a str,
    time: Millis,
    is_buyer_maker: bool,
}

/// Reads `historicalTrades`.
pub(super) fn trades(body: &[u8], received_at: Timestamp) -> Result<Vec<Tick>, DecodeError> {
    let rows: Vec<PastTrade<'_>> = serde_json::from_str(std::str::from_utf8(body)?)?;
    let mut ticks = Vec::with_capacity(rows.len());
    for row in rows {
        let (price, quantity) = match (row.price.parse(), row.qty.parse()) {
            // Futures count transfers that are no market trades, of nothing at no price.
            (Err(NotAnAmount::NotPositive), _) | (_, Err(NotAnAmount::NotPositive)) => continue,
            (price, quantity) => (price?, quantity?),
        };
        let tick = Tick {
            trade_id: row.id,
            price,
            quantity,
            taker: if row.is_buyer_maker { Side::Sell } else { Side::Buy },
            traded_at: row.time.0,
            received_at,
        };
        if !tick.is_exact() {
            return Err(DecodeError::Inexact { trade_id: tick.trade_id });
        }
        ticks.push(tick);
    }
    ticks.sort_by_key(|tick| tick.trade_id);
    Ok(ticks)
}

#[derive(Deserialize)]
struct Complaint<'a> {
    code: i64,
    #[serde(borrow)]
    msg: Cow<'a, str>,
}

/// Reads `{"code":-1121,"msg":"Invalid symbol."}`.
pub(super) fn complaint(body: &[u8]) -> Option<String> {
    let complaint: Complaint<'_> = serde_json::from_slice(body).ok()?;
    Some(format!("{} {}", complaint.code, complaint.msg))
}
