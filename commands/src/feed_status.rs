//! What is known of each feed: whether it runs, what it has brought, and what time it is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::instrument::{Instrument, Venue};
use domain::observation::{Link, Listing, Pace};
use domain::time::Timestamp;

use crate::clock::Clock;

/// Listings that are kept of a feed. What is listed beyond it is served at the scales of its trades.
const LISTINGS_MAX: usize = 4_096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedState {
    Running,
    /// A recording has been played to its end.
    Finished,
    /// The feed ended with this error.
    Failed(String),
}

/// One feed, as the intake sees it. Counters only grow.
#[derive(Debug)]
pub struct FeedStatus {
    pub venue: Venue,
    pub instruments: Vec<Instrument>,
    pub pace: Pace,
    state: Mutex<FeedState>,
    /// Whether the venue can be reached; `None` before it was tried.
    link: Mutex<Option<Link>>,
    listings: Mutex<BTreeMap<Instrument, Listing>>,
    /// Receive time of what was heard last, in microseconds; it was recorded before this moved.
    heard_at: AtomicI64,
    recorded: AtomicU64,
    repeated: AtomicU64,
    set_aside: AtomicU64,
}

impl FeedStatus {
    pub fn new(venue: Venue, instruments: Vec<Instrument>, pace: Pace) -> Self {
        Self {
            venue,
            instruments,
            pace,
            state: Mutex::new(FeedState::Running),
            link: Mutex::default(),
            listings: Mutex::default(),
            heard_at: AtomicI64::new(i64::MIN),
            recorded: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
        }
    }

    pub fn state(&self) -> FeedState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_state(&self, state: FeedState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Returns whether the venue can be reached, and if not, why; `None` where nobody has said so,
    /// as in a recording.
    pub fn link(&self) -> Option<Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how the venue lists an instrument, once it has said so.
    pub fn listing(&self, instrument: &Instrument) -> Option<Listing> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner).get(instrument).copied()
    }

    /// Returns the receive time of what was heard last; `None` before anything was.
    pub fn heard_at(&self) -> Option<Timestamp> {
        match self.heard_at.load(Ordering::Acquire) {
            i64::MIN => None,
            micros => Some(Timestamp::from_micros(micros)),
        }
    }

    /// Trades that were recorded.
    pub fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    /// Trades that had been recorded before.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Trades that claim to come from the future.
    pub fn set_aside(&self) -> u64 {
        self.set_aside.load(Ordering::Relaxed)
    }

    pub(crate) fn set_link(&self, link: Link) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
    }

    pub fn list(&self, instrument: Instrument, listing: Listing) {
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        if listings.len() < LISTINGS_MAX || listings.contains_key(&instrument) {
            listings.insert(instrument, listing);
        }
    }

    pub(crate) fn hear(&self, received_at: Timestamp) {
        self.heard_at.fetch_max(received_at.micros(), Ordering::Release);
    }

    pub(crate) fn count(&self, recorded: u64, repeated: u64) {
        self.recorded.fetch_add(recorded, Ordering::Relaxed);
        self.repeated.fetch_add(repeated, Ordering::Relaxed);
    }

    pub(crate) fn count_set_aside(&self) {
        self.set_aside.fetch_add(1, Ordering::Relaxed);
    }
}

/// The feeds of a node, by venue. Made at the start; feeds do not come and go.
#[derive(Debug, Default)]
pub struct FeedBoard(BTreeMap<Venue, Vec<Arc<FeedStatus>>>);

impl FeedBoard {
    pub fn new(feeds: impl IntoIterator<Item = Arc<FeedStatus>>) -> Self {
        let mut board: BTreeMap<Venue, Vec<_>> = BTreeMap::new();
        for feed in feeds {
            board.entry(feed.venue.clone()).or_default().push(feed);
        }
        Self(board)
    }

    /// Returns all feeds, in order of venue.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<FeedStatus>> {
        self.0.values().flatten()
    }

    /// Returns the time by which a venue's prices are judged: that of its recording, when all its
    /// feeds are recordings, else the clock's.
    pub fn now(&self, venue: &Venue, clock: &dyn Clock) -> Timestamp {
        let feeds = self.0.get(venue).map(Vec::as_slice).unwrap_or_default();
        if feeds.is_empty() || feeds.iter().any(|feed| feed.pace == Pace::Live) {
            return clock.now();
        }
        feeds.iter().filter_map(|feed| feed.heard_at()).max().unwrap_or_else(|| clock.now())
    }
}
