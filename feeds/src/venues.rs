//! The venues whose frames can be read, by name.

use std::sync::Arc;

use domain::instrument::{self, Instrument};

use crate::binance::{Binance, Market};
use crate::venue::Venue;

/// Returns the decoder of a venue's frames, or `None` where there is none yet. What its frames
/// tell of other instruments is ignored.
pub fn decoder(venue: &instrument::Venue, instruments: &[Instrument]) -> Option<Arc<dyn Venue>> {
    match venue.as_str() {
        "binance" => Some(Arc::new(Binance::new(Market::Spot, instruments))),
        "binance_usdm" => Some(Arc::new(Binance::new(Market::Usdm, instruments))),
        _ => None,
    }
}

/// Whether a venue can be listened to as it happens.
pub fn is_live(venue: &str) -> bool {
    matches!(venue, "binance" | "binance_usdm")
}
