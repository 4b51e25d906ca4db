//! Streams: the consistency boundaries, and which log each belongs to.

use std::fmt;
use std::str::FromStr;

use domain::instrument::{Instrument, Venue};
use domain::name::{AccountId, NodeId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One of the two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Log {
    /// What is kept for ever.
    Ledger,
    /// Ticks and books, kept as long as configured.
    Market,
}

impl Log {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Market => "market",
        }
    }
}

impl Log {
    /// Returns how the names of its streams begin: where both logs stand among others, this is what
    /// tells them apart.
    pub const fn stream_prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Ledger => &[
                "access-",
                "account-",
                "candles-",
                "forecasts-",
                "gaps-",
                "keys",
                "refusals-",
                "risk-",
                "system",
            ],
            Self::Market => &["market-", "pulse-"],
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The entries of one consistency boundary. Its text form is its name: `market-binance.BTC-USDT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    Account(AccountId),
    Refusals(AccountId),
    Keys,
    Access(NodeId),
    Candles { venue: Venue, instrument: Instrument },
    Gaps { venue: Venue, instrument: Instrument },
    Forecasts(Instrument),
    Risk(Instrument),
    System,
    Market { venue: Venue, instrument: Instrument },
    Pulse(Venue),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no stream has the name {0:?}")]
pub struct NotAStream(String);

impl Stream {
    /// The log in which this stream stands.
    pub const fn log(&self) -> Log {
        match self {
            Self::Market { .. } | Self::Pulse(_) => Log::Market,
            Self::Account(_)
            | Self::Refusals(_)
            | Self::Keys
            | Self::Access(_)
            | Self::Candles { .. }
            | Self::Gaps { .. }
            | Self::Forecasts(_)
            | Self::Risk(_)
            | Self::System => Log::Ledger,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => write!(f, "account-{account}"),
            Self::Refusals(account) => write!(f, "refusals-{account}"),
            Self::Keys => f.write_str("keys"),
            Self::Access(node) => write!(f, "access-{node}"),
            Self::Candles { venue, instrument } => write!(f, "candles-{venue}.{instrument}"),
            Self::Gaps { venue, instrument } => write!(f, "gaps-{venue}.{instrument}"),
            Self::Forecasts(instrument) => write!(f, "forecasts-{instrument}"),
            Self::Risk(instrument) => write!(f, "risk-{instrument}"),
            Self::System => f.write_str("system"),
            Self::Market { venue, instrument } => write!(f, "market-{venue}.{instrument}"),
            Self::Pulse(venue) => write!(f, "pulse-{venue}"),
        }
    }
}

impl FromStr for Stream {
    type Err = NotAStream;

    fn from_str(text: &str) -> Result<Self, NotAStream> {
        let parse = || {
            let (kind, rest) = text.split_once('-').unwrap_or((text, ""));
            let place = || {
                let (venue, instrument) = rest.split_once('.')?;
                Some((venue.parse().ok()?, instrument.parse().ok()?))
            };
            Some(match kind {
                "account" => Self::Account(rest.parse().ok()?),
                "refusals" => Self::Refusals(rest.parse().ok()?),
                "keys" if text == kind => Self::Keys,
                "access" => Self::Access(rest.parse().ok()?),
                "candles" => {
                    let (venue, instrument) = place()?;
                    Self::Candles { venue, instrument }
                }
                "gaps" => {
                    let (venue, instrument) = place()?;
                    Self::Gaps { venue, instrument }
                }
                "forecasts" => Self::Forecasts(rest.parse().ok()?),
                "risk" => Self::Risk(rest.parse().ok()?),
                "system" if text == kind => Self::System,
                "market" => {
                    let (venue, instrument) = place()?;
                    Self::Market { venue, instrument }
                }
                "pulse" => Self::Pulse(rest.parse().ok()?),
                _ => return None,
            })
        };
        parse().ok_or_else(|| NotAStream(text.to_owned()))
    }
}

impl Serialize for Stream {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stream {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_its_name() {
        for (name, log) in [
            ("account-alice", Log::Ledger),
            ("refusals-alice-2", Log::Ledger),
            ("keys", Log::Ledger),
            ("access-node_1", Log::Ledger),
            ("candles-binance.BTC-USDT", Log::Ledger),
            ("gaps-binance_usdm.BTC-USDT", Log::Ledger),
            ("forecasts-BTC-USDT", Log::Ledger),
            ("risk-BTC-USDT", Log::Ledger),
            ("system", Log::Ledger),
            ("market-binance.BTC-USDT", Log::Market),
            ("pulse-binance", Log::Market),
        ] {
            let stream: Stream = name.parse().unwrap();

            assert_eq!((stream.to_string().as_str(), stream.log()), (name, log));
            for other in [Log::Ledger, Log::Market] {
                let begins = other.stream_prefixes().iter().any(|begin| name.starts_with(begin));
                assert_eq!(begins, other == log, "{name}");
            }
        }
    }

    #[test]
    fn what_names_no_stream_is_refused() {
        for name in [
            "",
            "account",
            "account-",
            "account-a.b",
            "keys-1",
            "market-binance",
            "market-binance.btc",
            "orders-1",
            "system-",
        ] {
            assert!(name.parse::<Stream>().is_err(), "{name}");
        }
    }
}
