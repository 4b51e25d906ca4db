//! What the door stands on: views, feeds, logs, a clock, and the limits.

use std::sync::Arc;

use commands::clock::Clock;
use commands::feed_status::FeedBoard;
use domain::instrument::{Instrument, Venue};
use eventlog::log::ReadLog;
use eventlog::stream::Log;
use projections::views::Views;

use crate::settings::Settings;

/// What is asked and served.
pub struct App {
    pub views: Arc<Views>,
    pub feeds: Arc<FeedBoard>,
    pub clock: Arc<dyn Clock>,
    pub ledger: Arc<dyn ReadLog>,
    pub market: Arc<dyn ReadLog>,
    pub settings: Settings,
}

impl App {
    pub fn log(&self, log: Log) -> &dyn ReadLog {
        match log {
            Log::Ledger => self.ledger.as_ref(),
            Log::Market => self.market.as_ref(),
        }
    }

    /// Returns the venue that speaks for an instrument: the one that its price comes from or, before
    /// it was ever traded, one that would bring it. `None` means that nobody knows the instrument.
    pub fn venue(&self, instrument: &Instrument) -> Option<Venue> {
        self.views.primary(instrument).or_else(|| {
            let feed = self.feeds.iter().find(|feed| feed.instruments.contains(instrument))?;
            Some(feed.venue.clone())
        })
    }
}
