//! What is traded, and where.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::text_form;

/// An instrument in our spelling, `BASE-QUOTE`: `BTC-USDT`. A venue's own spelling never gets here.
///
/// USD, USDT and USDC are three different quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instrument(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an instrument is BASE-QUOTE, each 1 to 15 capital letters or digits")]
pub struct NotAnInstrument;

impl Instrument {
    pub fn base(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }

    pub fn quote(&self) -> &str {
        self.0.split('-').nth(1).unwrap_or_default()
    }
}

fn checked_instrument(text: &str) -> Result<Arc<str>, NotAnInstrument> {
    match text.split_once('-') {
        Some((base, quote)) if is_currency(base) && is_currency(quote) => Ok(text.into()),
        _ => Err(NotAnInstrument),
    }
}

text_form!(Instrument, NotAnInstrument, checked_instrument);

/// What an account is kept in: the quote of the instruments that it trades. `[A-Z0-9]{1,15}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a currency is 1 to 15 capital letters or digits")]
pub struct NotACurrency;

fn is_currency(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn checked_currency(text: &str) -> Result<Arc<str>, NotACurrency> {
    if is_currency(text) { Ok(text.into()) } else { Err(NotACurrency) }
}

text_form!(Currency, NotACurrency, checked_currency);

/// A venue's name, as `exchange` shows it: `binance`. `[a-z0-9_]{1,32}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Venue(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a venue is 1 to 32 small letters, digits or '_'")]
pub struct NotAVenue;

fn checked_venue(text: &str) -> Result<Arc<str>, NotAVenue> {
    let fits = (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if fits { Ok(text.into()) } else { Err(NotAVenue) }
}

text_form!(Venue, NotAVenue, checked_venue);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instrument_knows_its_two_sides() {
        let instrument: Instrument = "BTC-USDT".parse().unwrap();

        assert_eq!((instrument.base(), instrument.quote()), ("BTC", "USDT"));
    }

    #[test]
    fn a_spelling_that_is_not_ours_is_refused() {
        for text in [
            "",
            "BTC",
            "BTCUSDT",
            "btc-usdt",
            "BTC-",
            "-USDT",
            "A-B-C",
            "BTC/USDT",
            " BTC-USDT",
            "ABCDEFGHIJKLMNOP-USD",
        ] {
            assert_eq!(text.parse::<Instrument>(), Err(NotAnInstrument), "{text}");
        }
        assert_eq!("Binance".parse::<Venue>(), Err(NotAVenue));
    }
}
