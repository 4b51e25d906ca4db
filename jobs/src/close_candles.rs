//! Takes closed candles into the ledger, where they outlive the trades they were made of.
//!
//! What is due, the view of candles says: it holds both what the trades make and what the ledger
//! has. So nothing is remembered here, and a job that was killed anywhere goes on where it was.

use commands::clock::Clock;
use commands::pen::{Pen, name};
use domain::candle::Interval;
use domain::candle::event::CandleEvent;
use domain::event::Event;
use eventlog::entry::Actor;
use eventlog::log::{EventLog, Expected, LogError};
use eventlog::stream::Stream;
use projections::candles::Unrecorded;
use projections::views::Views;

use crate::turn::{Left, shows_ledger};

/// Hours that are recorded in one turn. When more are due, the next turn comes at once.
const TURN_HOURS_MAX: usize = 64;

/// Records the hours that are closed and not in the ledger yet, or no longer as they stand there,
/// each in an entry of its own.
pub async fn turn(
    views: &Views,
    ledger: &dyn EventLog,
    clock: &dyn Clock,
) -> Result<Left, LogError> {
    if !shows_ledger(views, ledger).await? {
        return Ok(Left::All);
    }
    let due = views.candles().unrecorded(TURN_HOURS_MAX);
    let left = if due.len() == TURN_HOURS_MAX { Left::More } else { Left::Nothing };
    for hour in due {
        record(hour, ledger, clock).await?;
    }
    Ok(left)
}

/// Records an hour as the view of candles holds it.
pub(crate) async fn record(
    hour: Unrecorded,
    ledger: &dyn EventLog,
    clock: &dyn Clock,
) -> Result<(), LogError> {
    let actor =
        Actor { principal: "candles".to_owned(), role: "job".to_owned(), via: "jobs".to_owned() };
    let Unrecorded { venue, instrument, hour, candles } = hour;
    let stream = Stream::Candles { venue, instrument };
    // Two nodes that see the same name it alike; after a late trade it has another name.
    let mut input = hour.micros().to_le_bytes().to_vec();
    for candle in &candles {
        input.extend(candle.opened_at.micros().to_le_bytes());
        input.extend(candle.trades.to_le_bytes());
        input.extend(candle.revision.to_le_bytes());
    }
    let closed = |candle| CandleEvent::CandleClosed { interval: Interval::Minute, candle };
    let events = candles.into_iter().map(closed).map(Event::Candle).collect();
    let pen = Pen { log: ledger, clock, actor: &actor };
    pen.put(&stream, &name(&stream, "closed", &input), events, Expected::Any).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
