//! The archive: what the ledger tells of each hour, found by market and time.

use std::ops::Range;
use std::time::Duration;

use domain::instrument::{Instrument, Venue};
use domain::time::Timestamp;
use eventlog::entry::Offset;

use super::rows::ArchivedHour;
use super::{Store, StoreError};

/// Hours that one query gives at the most, about 15 KB each. Whoever asks for more gets as many, and
/// asks again from there.
pub const HOURS_MAX: u32 = 2_000;

/// Time that a query waits for the archivist, who goes through the archive once after a start.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which hours of a range come when there are more than asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The oldest.
    Forward,
    /// The newest.
    Backward,
}

/// How far the archivist has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The ledger's entries up to here are in.
    pub(super) applied: Offset,
    /// Whether every row was held against its checksum since the start.
    pub(super) checked: bool,
    /// Whether the ledger's end was reached since then.
    pub(super) whole: bool,
}

/// Reads the archive.
#[derive(Clone)]
pub struct Archive {
    pub(super) store: Store,
}

impl Archive {
    /// Returns what the ledger told of up to `hours_max` hours that begin in `range`, in order of
    /// hour and version.
    ///
    /// Nothing is answered before the archivist has gone through the archive and reached the
    /// ledger's end once: an hour that is not there yet must not seem empty.
    pub async fn hours(
        &self,
        venue: &Venue,
        instrument: &Instrument,
        range: Range<Timestamp>,
        direction: Direction,
        hours_max: u32,
    ) -> Result<Vec<ArchivedHour>, StoreError> {
        self.wait_applied(Offset(0)).await?;
        let sqlite = self.store.sqlite().await?;
        let mut read = sqlite.read().await?;
        let (market, ends) = ((venue, instrument), (range.start, range.end));
        let rows = match read.hours(market, ends, direction, hours_max.min(HOURS_MAX)).await {
            Ok(Some(rows)) => rows,
            Ok(None) => {
                self.store.suspect_archive();
                return Err(StoreError::Damaged("a row of the archive is not sound".to_owned()));
            }
            Err(error) => {
                if matches!(error, StoreError::Damaged(_)) {
                    self.store.suspect_archive();
                }
                return Err(error);
            }
        };
        read.roll_back().await?;
        Ok(rows.into_iter().map(|(hour, _)| hour).collect())
    }

    /// Returns the offset up to which the ledger's entries are in.
    pub fn applied(&self) -> Offset {
        self.store.progress().borrow().applied
    }

    /// Waits until the archive is answered from and holds the ledger's entries up to `offset`, for
    /// as long as a query may.
    pub async fn wait_applied(&self, offset: Offset) -> Result<(), StoreError> {
        let mut progress = self.store.progress().subscribe();
        let there = progress.wait_for(|progress| progress.whole && progress.applied >= offset);
        match tokio::time::timeout(PATIENCE, there).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(StoreError::Unreachable(
                "the archive is being built from the ledger: ask again".to_owned(),
            )),
        }
    }
}
