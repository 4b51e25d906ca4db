//! What a feed hands to the intake: one thing heard from a venue.

use crate::book::{BookDiff, BookSnapshot, Top};
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
    Snapshot(Instrument, BookSnapshot),
    Diff(Instrument, BookDiff),
    /// A sign of life that says nothing of an instrument.
    Beat,
}

/// How time passes in a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As it does for everybody.
    Live,
    /// By the receive times of a recording, at any speed. After its last line that clock stands still.
    Recorded,
}
