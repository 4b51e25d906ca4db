//! The venue's own bars: recorded in the ledger, where they outlive the trades.

use domain::candle::event::CandleEvent;
use domain::candle::{Candle, Interval};
use domain::time::Timestamp;
use eventlog::entry::ENTRY_EVENTS_MAX;
use eventlog::log::{Expected, LogError};
use eventlog::stream::Stream;

use crate::pen::{Pen, name};

/// Buckets that stand in one entry: an hour of minutes. Entries begin and end where such spans do,
/// whoever asks the venue and from when on, so that what two feeds import is recorded once.
const ENTRY_BUCKETS: i64 = 60;

/// Records bars of closed buckets, oldest first. What cannot be one is left out: also a bar that
/// ends after `until`, the latest that the venue's clock may show.
pub(super) async fn import(
    pen: &Pen<'_>,
    stream: &Stream,
    interval: Interval,
    candles: &[Candle],
    until: Timestamp,
) -> Result<(), LogError> {
    let can_be =
        |candle: &&Candle| candle.is_sound(interval) && interval.end(candle.opened_at) <= until;
    let sound: Vec<&Candle> = candles.iter().filter(can_be).collect();
    if sound.len() < candles.len() {
        tracing::warn!(%stream, left_out = candles.len() - sound.len(), "bars that make no sense");
    }
    let span = |candle: &Candle| candle.opened_at.floor(interval.length() * ENTRY_BUCKETS);
    for chunk in sound
        .chunk_by(|left, right| span(left) == span(right))
        .flat_map(|chunk| chunk.chunks(ENTRY_EVENTS_MAX))
    {
        let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { continue };
        let mut input = interval.as_str().as_bytes().to_vec();
        for candle in [first, last] {
            input.extend(candle.opened_at.micros().to_le_bytes());
        }
        let imported = |candle: Candle| CandleEvent::CandleImported { interval, candle };
        let events = chunk.iter().map(|bar| imported(Candle::clone(bar)).into()).collect();
        match pen.put(stream, &name(stream, "native", &input), events, Expected::Any).await {
            Ok(_) => {}
            // The same buckets stand there already, told otherwise: the first word stands.
            Err(LogError::KeyReused) => {
                tracing::warn!(%stream, from = %first.opened_at, "these bars were imported before");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
