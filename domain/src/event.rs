//! All facts that can be recorded, each under a name with a version that never changes its meaning.

use serde::Serialize;

use crate::market::event::MarketEvent;

/// One fact. In JSON it is an object whose `type` is the versioned name: `tick_observed.v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    Market(MarketEvent),
}

/// Which enum a name belongs to, so that a reader can go straight to the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Market,
}

/// Every name ever recorded. A name is added, never changed and never removed; each has its sample
/// in `domain/golden/`.
pub const NAMES: &[(&str, Family)] = &[
    ("tick_observed.v1", Family::Market),
    ("feed_gap_opened.v1", Family::Market),
    ("feed_gap_filled.v1", Family::Market),
    ("feed_gap_unfillable.v1", Family::Market),
    ("pulse_observed.v1", Family::Market),
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

#[cfg(test)]
mod tests;
