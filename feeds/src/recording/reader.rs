//! Decodes a recording in batches.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use domain::observation::Observation;
use tracing::warn;

use crate::counts::Counts;
use crate::recording::RecordingError;
use crate::recording::lines::{Line, Lines};
use crate::scales::Scales;
use crate::splice::Splices;
use crate::venue::{Decoded, Venue};

/// Lines of this many bytes are decoded at a time: long enough to be worth a visit to another
/// thread, short enough to be forgotten in memory.
const BATCH_BYTES: usize = 256 * 1024;

/// Malformed lines that are logged with their reason. The ones after them are counted only.
const MALFORMED_LOGGED_MAX: u64 = 10;

/// Reads lines and decodes them. All of it is blocking work.
pub(super) struct Reader {
    lines: Lines,
    venue: Arc<dyn Venue>,
    splices: Splices,
    scales: Scales,
    counts: Arc<Counts>,
}

/// What was decoded, and the reader for the rest: none at the end.
pub(super) type Batch = (Vec<Observation>, Result<Option<Reader>, RecordingError>);

impl Reader {
    pub(super) fn open(
        files: Vec<PathBuf>,
        venue: Arc<dyn Venue>,
        counts: Arc<Counts>,
    ) -> Result<Self, RecordingError> {
        let (splices, scales) = (Splices::default(), Scales::default());
        Ok(Self { lines: Lines::open(files)?, venue, splices, scales, counts })
    }

    /// Decodes the next lines. What was read before an error still counts.
    pub(super) fn batch(mut self) -> Batch {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES {
            let line = match self.lines.read() {
                Ok(Some(line)) => line,
                Ok(None) => return (batch, Ok(None)),
                Err(error) => return (batch, Err(error)),
            };
            bytes += line.bytes.len();
            let start = batch.len();
            if let Some(observation) = decode(line, self.venue.as_ref(), &self.counts) {
                self.splices.hear(observation, &mut batch);
            }
            for observation in batch.iter_mut().skip(start) {
                self.scales.apply(observation);
            }
        }
        (batch, Ok(Some(self)))
    }
}

fn decode(line: Line<'_>, venue: &dyn Venue, counts: &Counts) -> Option<Observation> {
    counts.frame();
    let Some((received_at, frame)) = line.parts() else {
        malformed(line, counts, &"no receive time in nanoseconds before the frame");
        return None;
    };
    match venue.decode(frame, received_at) {
        Ok(Decoded::One(observation)) => return Some(observation),
        Ok(Decoded::Ignored) => counts.ignore(),
        // They concern a connection, and a recording has none.
        Ok(Decoded::Acknowledged | Decoded::Closing) => {}
        Err(error) => malformed(line, counts, &error),
    }
    None
}

fn malformed(line: Line<'_>, counts: &Counts, reason: &dyn Display) {
    let before = counts.malform();
    if before < MALFORMED_LOGGED_MAX {
        warn!(file = %line.file.display(), line = line.number, %reason, "malformed line");
    } else if before == MALFORMED_LOGGED_MAX {
        warn!("more malformed lines: from here on they are only counted");
    }
}
