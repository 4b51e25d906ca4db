//! What a feed hands to the intake: one thing heard from a venue.

use crate::amount::Quantity;
use crate::book::{BookDiff, BookSnapshot, LostReason, Top};
use crate::candle::{Candle, Interval};
use crate::instrument::Instrument;
use crate::tick::Tick;
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    pub received_at: Timestamp,
    /// The venue's own time of the message, where it carries one.
    pub venue_time: Option<Timestamp>,
    pub heard: Heard,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Tick(Instrument, Tick),
    Top(Instrument, Top),
    /// A whole book. What a decoder reads is raw; what reaches the intake has been spliced.
    Snapshot(Instrument, BookSnapshot),
    /// A change of the book. What reaches the intake continues the book before.
    Diff(Instrument, BookDiff),
    /// The book cannot be told any more, until the next snapshot.
    BookLost(Instrument, LostReason),
    /// The venue's own bars of closed buckets, oldest first.
    Candles(Instrument, Interval, Vec<Candle>),
    /// Trades that the venue does not give any more, first to last id.
    TradesGone(Instrument, u64, u64),
    /// How the venue lists an instrument.
    Listed(Instrument, Listing),
    /// Whether the venue can be reached.
    Link(Link),
    /// A sign of life that says nothing of an instrument.
    Beat,
}

/// How a venue trades an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// Digits after the point of prices and of quantities.
    pub price_scale: u32,
    pub quantity_scale: u32,
    /// The least quantity of an order, where there is one.
    pub quantity_min: Option<Quantity>,
    /// Whether it can be traded now.
    pub trading: bool,
}

/// The connection to a venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    Up,
    /// Not now, and why.
    Down(String),
}

/// How time passes in a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As it does for everybody.
    Live,
    /// By the receive times of a recording, at any speed. After its last line that clock stands still.
    Recorded,
}
