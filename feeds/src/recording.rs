//! Plays recorded frames, as fast as they are taken or at a multiple of their own speed.

pub mod lines;

mod reader;

#[cfg(test)]
mod tests;

use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::instrument::{self, Instrument};
use domain::observation::Observation;
use domain::time::Timestamp;
use tokio::sync::mpsc::Sender;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::counts::Counts;
use crate::recording::reader::Reader;
use crate::venue::Venue;

/// What to play: files in their order, and whose frames they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Lines of `<receive time, ns> <raw frame>`; gzip where the name ends in `.gz`.
    pub files: Vec<PathBuf>,
    pub venue: instrument::Venue,
    /// What is wanted of the frames.
    pub instruments: Vec<Instrument>,
    pub speed: Speed,
}

/// How fast a recording is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// As fast as the observations are taken.
    Max,
    /// This many times as fast as it was recorded.
    Times(NonZeroU32),
}

/// Why a recording could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("cannot open {}", file.display())]
    Missing { file: PathBuf, source: io::Error },
    /// The line is the first that could not be had whole.
    #[error("cannot read {}, line {line}", file.display())]
    Unreadable { file: PathBuf, line: u64, source: io::Error },
    #[error("reading was stopped")]
    Stopped(#[from] JoinError),
}

/// Plays the recording into `out` and returns when it has ended, or nobody listens any more.
///
/// One batch is read, unpacked and decoded on a blocking thread while the batch before it is
/// handed over. Dropping the future stops the replay: a batch that is being read then is read to
/// its end and thrown away.
pub async fn play(
    recording: Recording,
    venue: Arc<dyn Venue>,
    out: Sender<Observation>,
    counts: Arc<Counts>,
) -> Result<(), RecordingError> {
    let mut metronome = Metronome::new(recording.speed);
    let counted = Arc::clone(&counts);
    let open = move || Reader::open(recording.files, venue, counted);
    let reader = spawn_blocking(open).await??;
    let mut reading = spawn_blocking(move || reader.batch());
    loop {
        let (batch, rest) = reading.await?;
        let next = rest.map(|reader| reader.map(|reader| spawn_blocking(move || reader.batch())));
        for observation in batch {
            metronome.wait_for(observation.received_at).await;
            if !counts.hand_over(observation, &out).await {
                return Ok(());
            }
        }
        match next? {
            Some(batch) => reading = batch,
            None => return Ok(()),
        }
    }
}

/// Keeps the distances between receive times, divided by the speed.
struct Metronome {
    speed: Speed,
    /// When the first observation was played, and its receive time.
    began: Option<(Instant, Timestamp)>,
}

impl Metronome {
    fn new(speed: Speed) -> Self {
        Self { speed, began: None }
    }

    /// Waits until an observation of this receive time is due; late ones do not wait, so that a
    /// slow listener is caught up with.
    async fn wait_for(&mut self, received_at: Timestamp) {
        let Speed::Times(times) = self.speed else { return };
        let (began, first) = *self.began.get_or_insert_with(|| (Instant::now(), received_at));
        let micros = u64::try_from(received_at.since(first)).unwrap_or(0);
        let due = began + Duration::from_micros(micros) / times.get();
        if due > Instant::now() {
            sleep_until(due).await;
        }
    }
}
