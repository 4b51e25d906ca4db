//! The rule on whose book is recorded: one session at a time, and never across a hole.
//!
//! Every feed splices and checks its own book. Here it is ruled whose is followed: another session
//! takes over with a snapshot of its own once the first has lost its book or fallen silent. What a
//! session tells a second time adds nothing.

use serde::{Deserialize, Serialize};

use crate::book::{BookDiff, BookSnapshot, LostReason, SNAPSHOT_LEVELS_MAX, Session};
use crate::market::DECISION_EVENTS_MAX;
use crate::market::event::{MarketEvent, Told};
use crate::order_book::{self, Applied};
use crate::time::{SECOND, Timestamp};

/// Venue time without a word on the book after which another session may take it over.
pub const BOOK_SILENCE: i64 = 5 * SECOND;

/// One thing that a session tells of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookStep {
    pub venue_time: Timestamp,
    pub received_at: Timestamp,
    pub told: BookTold,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookTold {
    Snapshot(BookSnapshot),
    Diff(BookDiff),
    Lost(LostReason),
}

/// Whose book is followed, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Following {
    pub session: Session,
    /// The last update that is in.
    pub last_id: u64,
    /// The latest of the venue's times of what was told.
    pub venue_time: Timestamp,
    /// The latest of our times of its arrival.
    pub received_at: Timestamp,
    /// Until it is lost.
    pub synced: bool,
}

impl Following {
    /// Whether another session's snapshot of this time would be taken. It never turns back time: of
    /// what the followed session told, nothing is told again by the next.
    pub fn yields_to(&self, venue_time: Timestamp) -> bool {
        let ahead = venue_time.since(self.venue_time);
        if self.synced { ahead >= BOOK_SILENCE } else { ahead > 0 }
    }

    /// Whether the followed session's own snapshot says more than it told before.
    fn goes_on_with(&self, by: Told, snapshot: &BookSnapshot) -> bool {
        let further = snapshot.update_id > self.last_id;
        // Update ids may start again when a venue does, so a lost book takes any later one.
        further || !self.synced && self.is_outrun_by(by)
    }

    /// Whether something came after all that was told, by either clock: each may step back a little.
    fn is_outrun_by(&self, by: Told) -> bool {
        by.received_at > self.received_at || by.venue_time > self.venue_time
    }
}

/// Decides which steps are recorded.
pub(super) fn follow(
    mut following: Option<Following>,
    session: Session,
    steps: Vec<BookStep>,
) -> Vec<MarketEvent> {
    let mut events = Vec::with_capacity(steps.len().min(DECISION_EVENTS_MAX));
    for step in steps.into_iter().take(DECISION_EVENTS_MAX) {
        let Some(event) = rule(following, session, step) else { continue };
        following = evolved(following, &event);
        events.push(event);
    }
    events
}

fn rule(following: Option<Following>, session: Session, step: BookStep) -> Option<MarketEvent> {
    let BookStep { venue_time, received_at, told } = step;
    let by = Told { session, venue_time, received_at };
    let ours = following.filter(|following| following.session == session);
    match told {
        BookTold::Snapshot(snapshot) => {
            let taken = match (ours, following) {
                (Some(ours), _) => ours.goes_on_with(by, &snapshot),
                (None, Some(theirs)) => theirs.yields_to(venue_time),
                (None, None) => true,
            };
            let snapshot = cut(snapshot);
            taken.then_some(MarketEvent::BookSnapshotObserved { told: by, snapshot })
        }
        BookTold::Diff(diff) => {
            let ours = ours.filter(|ours| ours.synced)?;
            match order_book::continues(ours.last_id, &diff) {
                Ok(Applied::Changed) => Some(MarketEvent::BookDiffObserved { told: by, diff }),
                Ok(Applied::Old) => None,
                Err(reason) => Some(MarketEvent::BookLost { told: by, reason }),
            }
        }
        BookTold::Lost(reason) => {
            let ours = ours.filter(|ours| ours.synced)?;
            // At the same instant it still counts: rather lost twice than trusted once too often.
            let old = received_at < ours.received_at && venue_time < ours.venue_time;
            (!old).then_some(MarketEvent::BookLost { told: by, reason })
        }
    }
}

/// Returns the snapshot with no more levels than are recorded.
fn cut(mut snapshot: BookSnapshot) -> BookSnapshot {
    snapshot.bids.truncate(SNAPSHOT_LEVELS_MAX);
    snapshot.asks.truncate(SNAPSHOT_LEVELS_MAX);
    snapshot
}

/// Returns what is followed after an event.
pub(super) fn evolved(following: Option<Following>, event: &MarketEvent) -> Option<Following> {
    let (told, last_id, synced) = match event {
        MarketEvent::BookSnapshotObserved { told, snapshot } => (told, snapshot.update_id, true),
        MarketEvent::BookDiffObserved { told, diff } => (told, diff.last_id, true),
        MarketEvent::BookLost { told, .. } => (told, following?.last_id, false),
        _ => return following,
    };
    let (venue_time, received_at) = following
        .filter(|following| following.session == told.session)
        .map_or((told.venue_time, told.received_at), |before| {
            let received_at = before.received_at.max(told.received_at);
            (before.venue_time.max(told.venue_time), received_at)
        });
    Some(Following { session: told.session, last_id, venue_time, received_at, synced })
}

#[cfg(test)]
mod tests;
