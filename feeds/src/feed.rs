//! Runs a feed: observations go into one bounded queue, and nothing is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::instrument::{self, Instrument};
use domain::observation::Observation;
use domain::time::Timestamp;
use tokio::sync::mpsc::Sender;
use tracing::info;

use crate::counts::Counts;
use crate::live::tempo::Tempo;
use crate::live::{self, LiveError};
use crate::recording::{self, Recording, RecordingError};
use crate::spec::FeedSpec;
use crate::{simulated, venues};

/// The clock that a feed was given.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a feed is given by whoever runs it: a feed has no clock, no chance and no memory of its own.
pub struct Surroundings {
    pub now: Now,
    pub addresses: Addresses,
    pub resume: Resume,
    /// What its waits are drawn from.
    pub seed: u64,
}

/// Where a venue is reached; `None` is the venue's own address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    pub ws_url: Option<String>,
    pub rest_url: Option<String>,
}

/// What is known of each instrument from before this run. Of what is not in here, nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resume(pub BTreeMap<Instrument, Known>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The last trade that was recorded.
    pub trade_id: Option<u64>,
    /// The trades before it that are still waited for.
    pub missing: Vec<Hole>,
    /// The start of the last closed minute up to which no bar is wanted.
    pub minute: Option<Timestamp>,
}

/// Trades that are missing, first to last id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    pub first: u64,
    pub last: u64,
    /// The venue's time of the trades on either side; none where the one before was recorded long
    /// ago.
    pub after: Option<Timestamp>,
    pub before: Timestamp,
}

/// Why a feed ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("frames of {0} cannot be read")]
    NoDecoder(instrument::Venue),
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error(transparent)]
    Live(#[from] LiveError),
}

/// Runs the feed until its recording has ended, or nobody listens any more. When `out` is full it
/// waits. Dropping the future stops it.
pub async fn run(
    spec: FeedSpec,
    surroundings: Surroundings,
    out: Sender<Observation>,
    counts: Arc<Counts>,
) -> Result<(), FeedError> {
    match spec {
        FeedSpec::Simulated { seed } => {
            simulated::run(seed, surroundings.now.as_ref(), out, counts).await;
        }
        FeedSpec::Recording(recording) => play(recording, out, counts).await?,
        FeedSpec::Live(live) => {
            live::run(live, surroundings, Tempo::default(), out, counts).await?;
        }
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

    fn stopped_clock() -> Surroundings {
        Surroundings {
            now: Arc::new(|| Timestamp::from_millis(1_711_013_400_000)),
            addresses: Addresses::default(),
            resume: Resume::default(),
            seed: 1,
        }
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
        // Of three diffs that came before the snapshot, two are in it already.
        assert_eq!((heard.len(), counts.ticks()), (299, 100));
        let books = heard.iter().filter(|heard| !matches!(heard, Heard::Tick(..) | Heard::Top(..)));
        let [Heard::Snapshot(_, book), diffs @ ..] = &books.collect::<Vec<_>>()[..] else {
            panic!("the first that is told of the book is all of it")
        };
        assert_eq!(diffs.len(), 98);
        assert!(matches!(diffs[0], Heard::Diff(_, first) if first.first_id == book.update_id + 1));
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
