//! Runs a feed: observations go into one bounded queue, and nothing is dropped.

use std::sync::Arc;

use domain::instrument;
use domain::observation::Observation;
use domain::time::Timestamp;
use tokio::sync::mpsc::Sender;
use tracing::info;

use crate::counts::Counts;
use crate::recording::{self, Recording, RecordingError};
use crate::spec::FeedSpec;
use crate::{simulated, venues};

/// The clock that a feed was given.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Why a feed ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("frames of {0} cannot be read")]
    NoDecoder(instrument::Venue),
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

/// Runs the feed until its recording has ended, or nobody listens any more. When `out` is full it
/// waits. Dropping the future stops it.
pub async fn run(
    spec: FeedSpec,
    now: Now,
    out: Sender<Observation>,
    counts: Arc<Counts>,
) -> Result<(), FeedError> {
    match spec {
        FeedSpec::Simulated { seed } => simulated::run(seed, now.as_ref(), out, counts).await,
        FeedSpec::Recording(recording) => play(recording, out, counts).await?,
    }
    Ok(())
}

async fn play(
    recording: Recording,
    out: Sender<Observation>,
    counts: Arc<Counts>,
) -> Result<(), FeedError> {
    let venue = recording.venue.clone();
    let decoder = venues::decoder(&venue, &recording.instruments)
        .ok_or_else(|| FeedError::NoDecoder(venue.clone()))?;
    recording::play(recording, decoder, out, Arc::clone(&counts)).await?;
    info!(
        %venue,
        frames = counts.frames(),
        ticks = counts.ticks(),
        ignored = counts.ignored(),
        malformed = counts.malformed(),
        "recording ended"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use domain::observation::Heard;
    use tokio::sync::mpsc;

    use super::*;
    use crate::samples::sample;

    fn stopped_clock() -> Now {
        Arc::new(|| Timestamp::from_millis(1_711_013_400_000))
    }

    #[tokio::test]
    async fn a_recording_runs_to_its_end_and_is_counted() {
        let file = sample("simulated_btcusdt.rec");
        let spec = format!("recording:{}?venue=binance&symbol=BTC-USDT", file.display());
        let counts = Arc::new(Counts::default());
        let (out, mut queue) = mpsc::channel(1_000);

        run(spec.parse().unwrap(), stopped_clock(), out, Arc::clone(&counts)).await.unwrap();

        let mut heard = Vec::new();
        while let Some(observation) = queue.recv().await {
            heard.push(observation.heard);
        }
        assert_eq!((counts.frames(), counts.malformed(), counts.ignored()), (301, 0, 0));
        assert_eq!((heard.len(), counts.ticks()), (301, 100));
        assert!(matches!(heard[..], [Heard::Tick(..), Heard::Tick(..), Heard::Diff(..), ..]));
    }

    #[tokio::test]
    async fn the_simulated_market_runs_until_nobody_listens() {
        let (out, mut queue) = mpsc::channel::<Observation>(1);
        let spec = "simulated?seed=7".parse().unwrap();
        let listener = async move {
            assert!(matches!(queue.recv().await.unwrap().heard, Heard::Snapshot(..)));
        };

        let (end, ()) = tokio::join!(run(spec, stopped_clock(), out, Arc::default()), listener);

        assert!(end.is_ok());
    }

    #[tokio::test]
    async fn frames_that_nobody_can_read_are_an_error() {
        let spec = FeedSpec::Recording(Recording {
            files: Vec::new(),
            venue: "nasdaq".parse().unwrap(),
            instruments: Vec::new(),
            speed: crate::recording::Speed::Max,
        });
        let (out, _queue) = mpsc::channel(1);

        let end = run(spec, stopped_clock(), out, Arc::default()).await;

        assert!(matches!(end, Err(FeedError::NoDecoder(_))));
    }
}
