//! Takes what the market log tells of gaps into the ledger, where it outlives retention.
//!
//! What is due, the view of candles says, as it does for closed hours.

use commands::clock::Clock;
use commands::pen::{Pen, name};
use domain::event::Event;
use domain::market::DECISION_EVENTS_MAX;
use domain::market::event::MarketEvent;
use eventlog::entry::Actor;
use eventlog::log::{EventLog, Expected, LogError};
use eventlog::stream::Stream;
use projections::candles::UnrecordedGaps;
use projections::views::Views;

use crate::turn::{Left, shows_ledger};

/// Markets whose gaps are recorded in one turn, an entry each. When more are due, or more of one
/// market than an entry holds, the next turn comes at once.
const TURN_MARKETS_MAX: usize = 64;

/// Records what is told of gaps and not in the ledger yet, an entry a market.
pub async fn turn(
    views: &Views,
    ledger: &dyn EventLog,
    clock: &dyn Clock,
) -> Result<Left, LogError> {
    if !shows_ledger(views, ledger).await? {
        return Ok(Left::All);
    }
    let due = views.candles().unrecorded_gaps(TURN_MARKETS_MAX);
    let is_full = |gaps: &UnrecordedGaps| gaps.events.len() == DECISION_EVENTS_MAX;
    let is_more = due.len() == TURN_MARKETS_MAX || due.iter().any(is_full);
    let left = if is_more { Left::More } else { Left::Nothing };
    for gaps in due {
        record(gaps, ledger, clock).await?;
    }
    Ok(left)
}

async fn record(
    gaps: UnrecordedGaps,
    ledger: &dyn EventLog,
    clock: &dyn Clock,
) -> Result<(), LogError> {
    let actor =
        Actor { principal: "gaps".to_owned(), role: "job".to_owned(), via: "jobs".to_owned() };
    let UnrecordedGaps { venue, instrument, events } = gaps;
    let stream = Stream::Gaps { venue, instrument };
    // Two nodes that see the same name it alike.
    let input: Vec<u8> = events.iter().flat_map(words).collect();
    let events = events.into_iter().map(Event::Market).collect();
    let pen = Pen { log: ledger, clock, actor: &actor };
    pen.put(&stream, &name(&stream, "copied", &input), events, Expected::Any).await?;
    Ok(())
}

/// What tells one word on a gap from another.
fn words(event: &MarketEvent) -> Vec<u8> {
    let (kind, first_id, last_id) = match event {
        MarketEvent::FeedGapOpened { first_id, last_id, .. } => (1, first_id, last_id),
        MarketEvent::FeedGapFilled { first_id, last_id } => (2, first_id, last_id),
        MarketEvent::FeedGapUnfillable { first_id, last_id, .. } => (3, first_id, last_id),
        MarketEvent::TickObserved(_)
        | MarketEvent::PulseObserved { .. }
        | MarketEvent::BookSnapshotObserved { .. }
        | MarketEvent::BookDiffObserved { .. }
        | MarketEvent::BookLost { .. } => return Vec::new(),
    };
    [&[kind][..], &first_id.to_le_bytes(), &last_id.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests;
