//! Facts about one instrument at one venue, and the venue's pulse.

use serde::{Deserialize, Serialize};

use crate::book::{BookDiff, BookSnapshot, LostReason, Session};
use crate::tick::Tick;
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum MarketEvent {
    /// A trade was seen at the venue, for the first time.
    #[serde(rename = "tick_observed.v1")]
    TickObserved(Tick),

    /// Trades `first_id` to `last_id` did not come. They happened between the two times, which are
    /// those of the nearest trades on either side. A gap goes by its first id; one that opens
    /// within an open gap takes its trades out of it.
    #[serde(rename = "feed_gap_opened.v1")]
    FeedGapOpened { first_id: u64, last_id: u64, after: Timestamp, before: Timestamp },

    /// All trades of the gap have come after all, but for those that became a gap of their own.
    #[serde(rename = "feed_gap_filled.v1")]
    FeedGapFilled { first_id: u64, last_id: u64 },

    /// The rest of the gap is given up, but for what became a gap of its own. A trade of it that
    /// still comes is recorded all the same.
    #[serde(rename = "feed_gap_unfillable.v1")]
    FeedGapUnfillable { first_id: u64, last_id: u64, reason: GapReason },

    /// The venue was heard at this time of its own, while nothing else came from it.
    #[serde(rename = "pulse_observed.v1")]
    PulseObserved { venue_time: Timestamp, received_at: Timestamp },

    /// The whole book, as a session tells it: the book follows that session from here on.
    #[serde(rename = "book_snapshot_observed.v1")]
    BookSnapshotObserved { told: Told, snapshot: BookSnapshot },

    /// A change that continues the book.
    #[serde(rename = "book_diff_observed.v1")]
    BookDiffObserved { told: Told, diff: BookDiff },

    /// The book cannot be told any more, until the next snapshot.
    #[serde(rename = "book_lost.v1")]
    BookLost { told: Told, reason: LostReason },
}

/// By whom and when something of a book was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    pub session: Session,
    /// The venue's time of it; where the venue gives none, the receive time by the venue's clock.
    pub venue_time: Timestamp,
    /// Our time of its arrival.
    pub received_at: Timestamp,
}

/// Why a gap was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// More gaps were open than are kept.
    TooManyGaps,
    /// The venue does not give these trades any more.
    NotToBeHad,
}
