//! Facts about one instrument at one venue, and the venue's pulse.

use serde::{Deserialize, Serialize};

use crate::tick::Tick;
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum MarketEvent {
    /// A trade was seen at the venue, for the first time.
    #[serde(rename = "tick_observed.v1")]
    TickObserved(Tick),

    /// Trades `first_id` to `last_id` did not come. They happened between the two times, which are
    /// those of the trades on either side.
    #[serde(rename = "feed_gap_opened.v1")]
    FeedGapOpened { first_id: u64, last_id: u64, after: Timestamp, before: Timestamp },

    /// All trades of the gap have come after all.
    #[serde(rename = "feed_gap_filled.v1")]
    FeedGapFilled { first_id: u64, last_id: u64 },

    /// The rest of the gap is given up. A trade of it that still comes is recorded all the same.
    #[serde(rename = "feed_gap_unfillable.v1")]
    FeedGapUnfillable { first_id: u64, last_id: u64, reason: GapReason },

    /// The venue was heard at this time of its own, while nothing else came from it.
    #[serde(rename = "pulse_observed.v1")]
    PulseObserved { venue_time: Timestamp, received_at: Timestamp },
}

/// Why a gap was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// More gaps were open than are kept.
    TooManyGaps,
}
