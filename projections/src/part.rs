//! The names of the parts of a view, and what has changed in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use domain::instrument::{Instrument, Venue};
use domain::time::Timestamp;
use serde::de::DeserializeOwned;

use crate::view::NotAPart;

/// What a part tells of: `binance`, `binance/BTC-USDT`, `binance/BTC-USDT/2024-06-01`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PartName {
    Venue(Venue),
    Instrument(Venue, Instrument),
    /// The UTC day that begins then.
    Day(Venue, Instrument, Timestamp),
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Venue(venue) => write!(f, "{venue}"),
            Self::Instrument(venue, instrument) => write!(f, "{venue}/{instrument}"),
            Self::Day(venue, instrument, day) => {
                let day = day.to_shortest();
                let (day, _) = day.split_once('T').unwrap_or_default();
                write!(f, "{venue}/{instrument}/{day}")
            }
        }
    }
}

impl FromStr for PartName {
    type Err = NotAPart;

    fn from_str(name: &str) -> Result<Self, NotAPart> {
        let mut words = name.split('/');
        let mut word = || words.next();
        let part = match (word(), word(), word(), word()) {
            (Some(venue), None, ..) => venue.parse().ok().map(Self::Venue),
            (Some(venue), Some(instrument), None, _) => venue
                .parse()
                .ok()
                .zip(instrument.parse().ok())
                .map(|(venue, instrument)| Self::Instrument(venue, instrument)),
            (Some(venue), Some(instrument), Some(day), None) => {
                let day = format!("{day}T00:00:00Z").parse().ok();
                let place = venue.parse().ok().zip(instrument.parse().ok());
                place.zip(day).map(|((venue, instrument), day)| Self::Day(venue, instrument, day))
            }
            _ => None,
        };
        part.ok_or_else(|| not(name, "no such name"))
    }
}

/// Returns the names of a venue's parts: its own, where that is meant, and one for each instrument.
pub(crate) fn names<'a>(
    venue: &Venue,
    own: bool,
    instruments: impl Iterator<Item = &'a Instrument>,
) -> impl Iterator<Item = String> {
    let of = |instrument: &Instrument| PartName::Instrument(venue.clone(), instrument.clone());
    let own = own.then(|| PartName::Venue(venue.clone()));
    own.into_iter().chain(instruments.map(of)).map(|name| name.to_string())
}

/// Says that what stands under a name is no part.
pub(crate) fn not(name: &str, reason: impl fmt::Display) -> NotAPart {
    NotAPart { name: name.to_owned(), reason: reason.to_string() }
}

/// Reads a part from its bytes.
pub(crate) fn read<T: DeserializeOwned>(name: &str, state: &[u8]) -> Result<T, NotAPart> {
    serde_json::from_slice(state).map_err(|error| not(name, error))
}

/// Returns what is held under a key. A key is copied only when it is new: this is on the way of
/// every tick.
pub(crate) fn held<'a, K: Ord + Clone, V: Default>(
    of: &'a mut BTreeMap<K, V>,
    key: &K,
) -> &'a mut V {
    if !of.contains_key(key) {
        of.insert(key.clone(), V::default());
    }
    of.get_mut(key).expect("it was put there when it was missing")
}

/// Whether a part has changed since it was asked for last. What is new has. No part of the state:
/// two views are equal whatever is marked in them.
#[derive(Debug, Clone)]
pub(crate) struct Mark(bool);

impl Mark {
    pub(crate) const fn set(&mut self) {
        self.0 = true;
    }

    /// Returns whether it was set, and unsets it.
    pub(crate) const fn take(&mut self) -> bool {
        std::mem::replace(&mut self.0, false)
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self(true)
    }
}

impl PartialEq for Mark {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Mark {}

/// The names of the parts that came, changed or went since this was asked for last. No part of the
/// state, like [`Mark`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks(BTreeSet<String>);

impl Marks {
    pub(crate) fn set(&mut self, name: String) {
        self.0.insert(name);
    }

    /// Returns what was set, and unsets it.
    pub(crate) fn take(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.0)
    }
}

impl PartialEq for Marks {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Marks {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_its_name() {
        let (venue, instrument): (Venue, Instrument) =
            ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap());
        let day = "2024-06-01T00:00:00Z".parse().unwrap();
        for (name, part) in [
            ("binance", PartName::Venue(venue.clone())),
            ("binance/BTC-USDT", PartName::Instrument(venue.clone(), instrument.clone())),
            ("binance/BTC-USDT/2024-06-01", PartName::Day(venue, instrument, day)),
        ] {
            assert_eq!(part.to_string(), name);
            assert_eq!(name.parse(), Ok(part));
        }
    }

    #[test]
    fn what_names_no_part_is_refused() {
        for name in
            ["", "Binance", "binance/", "binance/btc", "binance/BTC-USDT/", "binance/BTC-USDT/1/2"]
        {
            assert!(name.parse::<PartName>().is_err(), "{name}");
        }
    }
}
