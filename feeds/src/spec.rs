//! Which feed an operator asks for: `simulated?seed=7`, `binance:BTC-USDT,ETH-USDT`,
//! `recording:FILE?venue=binance&…`.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use domain::instrument::{Instrument, NotAVenue, NotAnInstrument, Venue};
use domain::observation::Pace;

use crate::live::{INSTRUMENTS_MAX, Live};
use crate::recording::{Recording, Speed};
use crate::{simulated, venues};

/// A feed in the words of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedSpec {
    Simulated { seed: u64 },
    Recording(Recording),
    Live(Live),
}

/// The simulated market that is run where no seed is given.
pub const SEED_DEFAULT: u64 = 1;

/// Venues that have words of their own on the command line, but no adapter yet.
const VENUES_PLANNED: [&str; 3] = ["coinbase", "kraken", "bybit"];

/// Why words are no feed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAFeed {
    #[error(
        "unknown feed '{0}': expected simulated, simulated?seed=N, binance:BASE-QUOTE[,BASE-QUOTE], \
         binance_usdm:BASE-QUOTE, or recording:FILE[,FILE]?venue=VENUE&symbol=BASE-QUOTE&speed=max"
    )]
    Unknown(String),
    #[error(
        "this version has no live adapter for {0}: use simulated, or \
         recording:FILE?venue={0}&symbol=BASE-QUOTE"
    )]
    NoLiveAdapter(String),
    #[error("{0} needs its instruments: {0}:BASE-QUOTE[,BASE-QUOTE]")]
    NoInstruments(String),
    #[error("{venue} takes at most {INSTRUMENTS_MAX} instruments a feed: use several feeds")]
    TooManyInstruments { venue: String },
    #[error("recordings of {0} cannot be read: expected binance or binance_usdm")]
    NoDecoder(Venue),
    #[error("'{0}' is no parameter: expected name=value, joined by '&'")]
    NotAParameter(String),
    #[error("unknown parameter '{name}': expected {expected}")]
    UnknownParameter { name: String, expected: &'static str },
    #[error("parameter '{0}' is given twice")]
    GivenTwice(String),
    #[error("a recording needs {0}")]
    Missing(&'static str),
    #[error("seed={0} is not a whole number from 0 to 18446744073709551615")]
    BadSeed(String),
    #[error("speed={0} is neither max nor a whole number from 1 to 4294967295")]
    BadSpeed(String),
    #[error("symbol={text}: {source}")]
    BadSymbol { text: String, source: NotAnInstrument },
    #[error("symbol={0} is named twice")]
    SymbolTwice(Instrument),
    #[error("symbol={0},{1}: both are spelled alike at the venue, so they need a feed each")]
    SpelledAlike(Instrument, Instrument),
    #[error("venue={text}: {source}")]
    BadVenue { text: String, source: NotAVenue },
}

impl FeedSpec {
    /// Returns the venue's name, as its streams and `exchange` have it.
    pub fn venue(&self) -> Venue {
        match self {
            Self::Simulated { .. } => simulated::venue(),
            Self::Recording(recording) => recording.venue.clone(),
            Self::Live(live) => live.venue.clone(),
        }
    }

    /// Returns what the feed tells of.
    pub fn instruments(&self) -> Vec<Instrument> {
        match self {
            Self::Simulated { .. } => simulated::instruments(),
            Self::Recording(recording) => recording.instruments.clone(),
            Self::Live(live) => live.instruments.clone(),
        }
    }

    pub fn pace(&self) -> Pace {
        match self {
            Self::Simulated { .. } | Self::Live(_) => Pace::Live,
            Self::Recording(_) => Pace::Recorded,
        }
    }
}

impl FromStr for FeedSpec {
    type Err = NotAFeed;

    fn from_str(text: &str) -> Result<Self, NotAFeed> {
        let (name, parameters) = text.rsplit_once('?').unwrap_or((text, ""));
        match name.split_once(':') {
            None if name == simulated::VENUE => simulation(parameters),
            Some(("recording", files)) => recording(files, parameters),
            Some((venue, instruments)) if venues::is_live(venue) => {
                live(venue, instruments, parameters)
            }
            None if venues::is_live(name) => Err(NotAFeed::NoInstruments(name.to_owned())),
            Some((venue, _)) if VENUES_PLANNED.contains(&venue) => {
                Err(NotAFeed::NoLiveAdapter(venue.to_owned()))
            }
            None if VENUES_PLANNED.contains(&name) => Err(NotAFeed::NoLiveAdapter(name.to_owned())),
            _ => Err(NotAFeed::Unknown(text.to_owned())),
        }
    }
}

fn simulation(parameters: &str) -> Result<FeedSpec, NotAFeed> {
    let [seed] = read(parameters, ["seed"], "seed=N")?;
    let seed = match seed {
        None => SEED_DEFAULT,
        Some(text) => text.parse().map_err(|_| NotAFeed::BadSeed(text.to_owned()))?,
    };
    Ok(FeedSpec::Simulated { seed })
}

fn live(venue: &str, instruments: &str, parameters: &str) -> Result<FeedSpec, NotAFeed> {
    let [] = read(parameters, [], "none")?;
    let instruments = symbols(instruments)?;
    if instruments.len() > INSTRUMENTS_MAX {
        return Err(NotAFeed::TooManyInstruments { venue: venue.to_owned() });
    }
    let venue = venue.parse().expect("live venues are named in a venue's letters");
    Ok(FeedSpec::Live(Live { venue, instruments }))
}

fn recording(files: &str, parameters: &str) -> Result<FeedSpec, NotAFeed> {
    let [venue, symbol, speed] =
        read(parameters, ["venue", "symbol", "speed"], "venue=, symbol= or speed=")?;
    if files.split(',').any(str::is_empty) {
        return Err(NotAFeed::Missing("a file: recording:FILE[,FILE]"));
    }
    Ok(FeedSpec::Recording(Recording {
        files: files.split(',').map(PathBuf::from).collect(),
        venue: recorded_venue(venue.ok_or(NotAFeed::Missing("venue=binance"))?)?,
        instruments: symbols(symbol.ok_or(NotAFeed::Missing("symbol=BASE-QUOTE"))?)?,
        speed: speed.map_or(Ok(Speed::Max), speed_of)?,
    }))
}

fn recorded_venue(text: &str) -> Result<Venue, NotAFeed> {
    let venue: Venue =
        text.parse().map_err(|source| NotAFeed::BadVenue { text: text.to_owned(), source })?;
    if venues::decoder(&venue, &[]).is_some() { Ok(venue) } else { Err(NotAFeed::NoDecoder(venue)) }
}

fn symbols(text: &str) -> Result<Vec<Instrument>, NotAFeed> {
    let mut instruments: Vec<Instrument> = Vec::new();
    for symbol in text.split(',') {
        let instrument = symbol
            .parse()
            .map_err(|source| NotAFeed::BadSymbol { text: symbol.to_owned(), source })?;
        if instruments.contains(&instrument) {
            return Err(NotAFeed::SymbolTwice(instrument));
        }
        let spelled = |one: &Instrument| format!("{}{}", one.base(), one.quote());
        if let Some(other) = instruments.iter().find(|one| spelled(one) == spelled(&instrument)) {
            return Err(NotAFeed::SpelledAlike(other.clone(), instrument));
        }
        instruments.push(instrument);
    }
    Ok(instruments)
}

fn speed_of(text: &str) -> Result<Speed, NotAFeed> {
    match (text, text.parse::<NonZeroU32>()) {
        ("max", _) => Ok(Speed::Max),
        (_, Ok(times)) => Ok(Speed::Times(times)),
        _ => Err(NotAFeed::BadSpeed(text.to_owned())),
    }
}

/// Reads `name=value&name=value` into the values of the named parameters, in their order.
fn read<'a, const N: usize>(
    parameters: &'a str,
    names: [&str; N],
    expected: &'static str,
) -> Result<[Option<&'a str>; N], NotAFeed> {
    let mut values = [None; N];
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter
            .split_once('=')
            .ok_or_else(|| NotAFeed::NotAParameter(parameter.to_owned()))?;
        let place = names.iter().position(|known| *known == name);
        match place.and_then(|place| values.get_mut(place)) {
            None => return Err(NotAFeed::UnknownParameter { name: name.to_owned(), expected }),
            Some(Some(_)) => return Err(NotAFeed::GivenTwice(name.to_owned())),
            Some(value_of_name) => *value_of_name = Some(value),
        }
    }
    Ok(values)
}
