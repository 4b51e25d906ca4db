//! What nodes tell each other of the requests that they have accepted, so that an account has one limit
//! wherever it asks.
//!
//! Each node counts its own requests exactly, and takes in what the others tell: every
//! [`TELL_EVERY`], so many of an account, the newest of them so long ago. Ages and not times, since
//! no two clocks agree.
//!
//! What others have accepted of late is not known yet, so of late nobody may have accepted much. Within
//! any [`BLIND`], a node accepts of an account one part in 4·n of what was left at its start, where n
//! nodes share the limit L and "left" counts up to L + L/10. Be K(t) what all have accepted by t within
//! the window that ends in the end, R(t) = L + L/10 − K(t), and D the blind time. Whoever accepts at t
//! knows at least K(t − D). So in D all of them accept at most n · R(t − 2D) / 4n together:
//!
//! ```text
//! R(t) ≥ R(t − D) − R(t − 2D) / 4,   and by induction, with R(t − D) ≥ R(t − 2D) / 2,
//! R(t) ≥ R(t − D) − R(t − D) / 2 = R(t − D) / 2 > 0
//! ```
//!
//! In no window are more than L + L/10 accepted, whoever asks wherever. A limit below 40·n leaves parts
//! below one; there each node may still accept one, and the bound is L + 2·n. It holds while what is
//! told arrives within the blind time, and from when nodes know of each other.
//!
//! Whoever asks for more than that part at once is not refused: the request waits until it is known
//! what others have accepted, and is judged then. A node alone waits for nobody.

use std::time::Duration;

use domain::name::AccountId;
use serde::{Deserialize, Serialize};

/// Time from one telling to the next, as long as there is something to tell.
pub const TELL_EVERY: Duration = Duration::from_millis(100);

/// Within this, what one node has accepted is known to the others: the time to the next telling, and
/// its way. What takes longer is still counted when it comes, but no bound holds meanwhile.
pub const BLIND: Duration = Duration::from_millis(250);

/// What others tell is kept to this, and counted up to so much too long: of a window, six hundred
/// slices for an account, however many nodes there are.
pub const SLICE: Duration = Duration::from_millis(100);

/// What was accepted elsewhere may be counted for so much longer than its window.
pub(super) const LATE: Duration = BLIND.saturating_add(SLICE);

/// How long a request waits to be judged. Then it is refused. Two nodes accept a burst of nine tenths
/// of the limit at one of them in three seconds, four nodes in seven.
pub const JUDGED_PATIENCE: Duration = Duration::from_secs(8);

/// Requests that wait to be judged. One more is refused at once.
pub const WAITING_MAX: usize = 1_024;

/// Of a limit, so many parts may be left to chance: one in ten.
pub(super) const SLACK_PART: usize = 10;

/// Of what is left, all nodes together accept one part in so many within the blind time.
pub(super) const LEFT_PARTS: usize = 4;

/// It cannot be judged yet: others may have accepted as much. Ask again after this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotYet(pub Duration);

/// What a node has accepted of one account since it last told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    pub account: AccountId,
    /// Oldest first.
    pub slices: Vec<Slice>,
}

/// So many requests, the newest of which was accepted so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct Slice {
    pub count: u32,
    pub age_ms: u32,
}

impl From<(u32, u32)> for Slice {
    fn from((count, age_ms): (u32, u32)) -> Self {
        Self { count, age_ms }
    }
}

impl From<Slice> for (u32, u32) {
    fn from(Slice { count, age_ms }: Slice) -> Self {
        (count, age_ms)
    }
}

#[cfg(test)]
mod tests;
