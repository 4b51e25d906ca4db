//! One feed and its intake: what is known from before, and how both end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use commands::feed_status::{FeedState, FeedStatus};
use commands::intake::{Intake, QUEUE_TICKS_MAX};
use domain::instrument::{Instrument, Venue};
use domain::ladder::gaps::Gap;
use eventlog::log::LogError;
use feeds::counts::Counts;
use feeds::feed::{Hole, Known, Resume, Surroundings};
use feeds::spec::FeedSpec;
use projections::candles::InstrumentCandles;
use projections::views::Views;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Time that an intake has for its last ticks when the house stops. A log that takes none by then
/// would keep the house from ever stopping; those ticks were shown to nobody.
const INTAKE_STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Returns what is known of a venue's instruments from before: a feed goes on from there.
pub(crate) fn resume(views: &Views, venue: &Venue, instruments: &[Instrument]) -> Resume {
    let (prices, candles) = (views.prices(), views.candles());
    let known = instruments.iter().map(|instrument| {
        let trade_id = prices.get(venue, instrument).map(|quote| quote.tick.trade_id);
        let held = candles.get(venue, instrument);
        let minute = held.and_then(|held| held.whole_until());
        let hole = |gap: &Gap| Hole {
            first: gap.first_id,
            last: gap.last_id,
            after: Some(gap.after),
            before: gap.before,
        };
        let missing = held.iter().flat_map(InstrumentCandles::open_gaps).map(hole).collect();
        (instrument.clone(), Known { trade_id, missing, minute })
    });
    Resume(known.collect())
}

/// Runs one feed and its intake. What the feed has said when it is stopped is still recorded. A
/// feed that ends in an error leaves the house running: its prices grow old, and say so.
pub(crate) async fn take_in(
    feed: FeedSpec,
    surroundings: Surroundings,
    status: Arc<FeedStatus>,
    intake: Intake,
    stop: CancellationToken,
) -> Result<()> {
    let (sender, queue) = mpsc::channel(QUEUE_TICKS_MAX);
    let counts = Arc::new(Counts::default());
    let record = intake.run(queue);
    let intake = async {
        tokio::select! {
            recorded = record => recorded,
            () = too_late(&stop) => Err(LogError::Unavailable("it did not take the last ticks".to_owned())),
        }
    };
    let hear = async {
        tokio::select! {
            ended = feeds::feed::run(feed, surroundings, sender, counts) => Some(ended),
            () = stop.cancelled() => None,
        }
    };
    let (heard, recorded) = tokio::join!(hear, intake);
    match (heard, recorded) {
        (_, Err(error)) => {
            Err(error).with_context(|| format!("ticks of {} cannot be recorded", status.venue))
        }
        (Some(Ok(())), Ok(())) => {
            tracing::info!(venue = %status.venue, recorded = status.recorded(), "feed finished");
            status.set_state(FeedState::Finished);
            Ok(())
        }
        (Some(Err(error)), Ok(())) => {
            tracing::error!(venue = %status.venue, %error, "feed failed");
            status.set_state(FeedState::Failed(error.to_string()));
            Ok(())
        }
        (None, Ok(())) => Ok(()),
    }
}

/// Returns when the house has been stopping for longer than an intake may wait for its log.
async fn too_late(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(INTAKE_STOP_PATIENCE).await;
}
