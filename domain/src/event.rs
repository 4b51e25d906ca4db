//! All facts that can be recorded, each under a name with a version that never changes its meaning.

use serde::Serialize;

use crate::candle::event::CandleEvent;
use crate::market::event::MarketEvent;

/// One fact. In JSON it is an object whose `type` is the versioned name: `tick_observed.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    Market(MarketEvent),
    Candle(CandleEvent),
}

/// Which enum a name belongs to, so that a reader can go straight to the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Market,
    Candle,
}

/// Every name ever recorded. A name is added, never changed and never removed; each has its sample
/// in `domain/golden/`.
pub const NAMES: &[(&str, Family)] = &[
    ("tick_observed.v1", Family::Market),
    ("feed_gap_opened.v1", Family::Market),
    ("feed_gap_filled.v1", Family::Market),
    ("feed_gap_unfillable.v1", Family::Market),
    ("pulse_observed.v1", Family::Market),
    ("book_snapshot_observed.v1", Family::Market),
    ("book_diff_observed.v1", Family::Market),
    ("book_lost.v1", Family::Market),
    ("candle_closed.v1", Family::Candle),
    ("candle_imported.v1", Family::Candle),
];

/// Returns the family of a recorded name; `None` is a name that this version does not know.
pub fn family(name: &str) -> Option<Family> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, family)| *family)
}

impl From<MarketEvent> for Event {
    fn from(event: MarketEvent) -> Self {
        Self::Market(event)
    }
}

impl From<CandleEvent> for Event {
    fn from(event: CandleEvent) -> Self {
        Self::Candle(event)
    }
}

#[cfg(test)]
mod tests;
