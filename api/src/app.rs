//! What the door stands on: views, feeds, logs, the desk, a clock, and the limits.

use std::sync::Arc;

use commands::clock::Clock;
use commands::desk::Desk;
use commands::feed_status::FeedBoard;
use commands::terms::TradingTerms;
use domain::amount::PRICE_SCALE_MIN;
use domain::instrument::{Instrument, Venue};
use domain::observation::{Link, Listing};
use eventlog::entry::{Entry, Offset, Version};
use eventlog::log::{LogError, ReadLog};
use eventlog::stream::{Log, Stream};
use projections::store::Store;
use projections::views::Views;

use crate::gate::Gate;
use crate::opening::Opening;
use crate::settings::Settings;

/// What is asked and served.
pub struct App {
    pub views: Arc<Views>,
    pub feeds: Arc<FeedBoard>,
    pub clock: Arc<dyn Clock>,
    pub ledger: Arc<dyn ReadLog>,
    pub market: Arc<dyn ReadLog>,
    /// Where what is asked of accounts is carried out.
    pub desk: Arc<Desk>,
    pub terms: Arc<TradingTerms>,
    /// Where old candles stand; a node without one answers from memory alone.
    pub store: Option<Store>,
    /// Who may come in. Shared with whoever changes its keys and rules.
    pub gate: Arc<Gate>,
    pub opening: Opening,
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

    /// Returns the digits after the point of an instrument's prices and quantities: those of its
    /// trades or, before the first, those of the venue's list.
    pub fn scales(&self, venue: &Venue, instrument: &Instrument) -> (u32, u32) {
        let traded = self.views.prices().scales(venue, instrument);
        let listed = || {
            let listing = self.listing(venue, instrument)?;
            Some((listing.price_scale, listing.quantity_scale))
        };
        traded.or_else(listed).unwrap_or((PRICE_SCALE_MIN, 0))
    }

    /// Returns how a venue lists an instrument, where a feed has said so.
    pub fn listing(&self, venue: &Venue, instrument: &Instrument) -> Option<Listing> {
        let feeds = self.feeds.iter().filter(|feed| feed.venue == *venue);
        feeds.into_iter().find_map(|feed| feed.listing(instrument))
    }

    /// Returns why a venue cannot be reached, when no feed of it has a connection.
    pub fn unreachable(&self, venue: &Venue) -> Option<String> {
        let mut reason = None;
        for feed in self.feeds.iter().filter(|feed| feed.venue == *venue) {
            match feed.link() {
                Some(Link::Down(why)) => reason = Some(why),
                Some(Link::Up) | None => return None,
            }
        }
        reason
    }

    /// Returns where an entry of the market log stands, and the entry; without it once retention
    /// has dropped it, and then with the offset up to which all has gone.
    pub async fn entry(
        &self,
        stream: &Stream,
        version: Version,
    ) -> Result<(Offset, Option<Entry>), LogError> {
        let before = Version(version.0.saturating_sub(1));
        let entries = self.market.read_stream(stream, before, 1).await?;
        match entries.into_iter().next().filter(|entry| entry.version == version) {
            Some(entry) => Ok((entry.offset, Some(entry))),
            None => Ok((self.market.floor().await?, None)),
        }
    }
}
