//! What a venue is to us: a way to read its frames, and what to ask of it.

use std::sync::Arc;
use std::time::Duration;

use domain::amount::NotAnAmount;
use domain::candle::Candle;
use domain::instrument::Instrument;
use domain::observation::{Listing, Observation};
use domain::tick::Tick;
use domain::time::Timestamp;

/// A venue's wire format. All of it is a pure function of its input: no clock, no I/O, no panic,
/// so that sockets, recordings and fuzzers call the same code.
pub trait Venue: Send + Sync {
    /// Returns what one frame says, heard at `received_at`.
    fn decode(&self, frame: &[u8], received_at: Timestamp) -> Result<Decoded, DecodeError>;

    /// Returns where the venue is reached, and what it allows.
    fn terms(&self) -> Terms;

    /// Returns path and query of the socket on which everything wanted is told.
    fn streams(&self) -> String;

    /// Returns what has to be said on a new socket before anything is told on it.
    fn subscriptions(&self) -> Vec<String>;

    /// Returns what to request for an answer.
    fn request(&self, ask: &Ask) -> Request;

    /// Reads the answer to [`Ask::Listings`]: what is wanted and the venue has.
    fn listed(&self, body: &[u8]) -> Result<Vec<Listed>, DecodeError>;

    /// Returns the same venue, with the spelling that it gave of what is wanted.
    fn knowing(&self, listed: &[Listed]) -> Arc<dyn Venue>;

    /// Reads the answer to [`Ask::Snapshot`].
    fn snapshot(
        &self,
        instrument: &Instrument,
        body: &[u8],
        received_at: Timestamp,
    ) -> Result<Observation, DecodeError>;

    /// Reads the answer to [`Ask::Minutes`], oldest first. The last may still be forming.
    fn minutes(&self, body: &[u8]) -> Result<Vec<Candle>, DecodeError>;

    /// Reads the answer to [`Ask::Trades`], in order of their ids.
    fn trades(&self, body: &[u8], received_at: Timestamp) -> Result<Vec<Tick>, DecodeError>;

    /// Returns the venue's own words in an answer that is none, such as `-1121 Invalid symbol.`
    fn complaint(&self, body: &[u8]) -> Option<String>;
}

/// Where a venue is reached, and what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub ws_url: &'static str,
    pub rest_url: &'static str,
    /// The header of an answer that says how much of `weight_max` is used up.
    pub weight_header: &'static str,
    /// Weight of the requests of one minute.
    pub weight_max: u32,
    /// The age at which a socket gets its successor, well before the venue hangs up.
    pub socket_age: Duration,
    /// Minutes, and trades, of one answer.
    pub minutes_max: u16,
    pub trades_max: u16,
}

/// What can be asked of a venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// How it lists what is wanted.
    Listings,
    /// A whole book.
    Snapshot(Instrument),
    /// Its own bars, by the start of the first and of the last minute.
    Minutes { instrument: Instrument, first: Timestamp, last: Timestamp },
    /// Single trades from this id on.
    Trades { instrument: Instrument, first_id: u64 },
}

/// A request as the venue wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub path_and_query: String,
    /// What it costs.
    pub weight: u32,
}

/// An instrument that the venue has, in its own spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub instrument: Instrument,
    pub symbol: String,
    pub listing: Listing,
}

/// What one frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// One observation.
    One(Observation),
    /// The venue's yes to a request of ours.
    Acknowledged,
    /// The venue is about to hang up.
    Closing,
    /// A kind of message or a symbol that nobody asked for: no error, but counted.
    Ignored,
}

/// Why a frame or an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the frame is not utf-8 text")]
    NotText(#[from] std::str::Utf8Error),
    #[error("not in the venue's shape: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("bad price or quantity: {0}")]
    Amount(#[from] NotAnAmount),
    #[error("price times quantity of trade {trade_id} cannot be kept exactly")]
    Inexact { trade_id: u64 },
    #[error("the frame names no instrument: it can be read only where exactly one is wanted")]
    Unnamed,
    #[error("a bar that starts at {0} is not of one minute")]
    NotAMinute(Timestamp),
}
