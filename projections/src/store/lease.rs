//! Who may write a read store, and who does a work that only one node may do.
//!
//! A row names who holds a lease, until when, and a fence: a number that rises with each holder. Every
//! write begins by moving the row's end; one that finds another holder or fence writes nothing, so
//! whoever slept through its time cannot write over the next one's rows.

use super::StoreError;
use super::database::{Database, Transaction};
use file::FileLease;
use shared::SharedLease;

pub(super) mod file;

pub(super) mod shared;

/// Seconds for which any lease of a shared store is held at the most.
pub(super) const SHARED_SECONDS_MAX: i64 = 30;

/// Seconds after its last snapshot that a node keeps to write them: three times from one to the next.
const SNAPSHOTS_SECONDS: i64 = SHARED_SECONDS_MAX;

/// Seconds after its last sign that a node keeps to file the archive. The nodes that follow see
/// nothing new until another takes over.
const ARCHIVE_SECONDS: i64 = 12;

/// What is written by one node at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Snapshots,
    Archive,
}

/// The leases under which a store is written.
pub(super) enum Lease {
    /// Of a file: one for all that is written.
    File(FileLease),
    /// Of a server that several nodes share.
    Shared { snapshots: SharedLease, archive: SharedLease },
}

/// A lease within one transaction: held when that is committed.
#[must_use]
pub(super) struct Held(Work, file::Held);

impl Lease {
    /// Returns the leases of a node at a shared store, not yet held.
    pub(super) fn shared(node: &str) -> Self {
        Self::Shared {
            snapshots: SharedLease::new("snapshots".to_owned(), node, SNAPSHOTS_SECONDS),
            archive: SharedLease::new("archive".to_owned(), node, ARCHIVE_SECONDS),
        }
    }

    /// Holds the lease for what is written in this transaction; `None` when another node writes this
    /// store, and this one follows.
    pub(super) async fn hold(
        &self,
        work: Work,
        write: &mut Transaction<'_>,
    ) -> Result<Option<Held>, StoreError> {
        let held = match self.of(work) {
            Err(lease) => Some(lease.hold(write).await?),
            Ok(lease) => lease.hold(write).await?,
        };
        Ok(held.map(|held| Held(work, held)))
    }

    /// Notes that the transaction in which the lease was held is committed.
    pub(super) fn committed(&self, held: impl Into<Option<Held>>) {
        let Some(Held(work, held)) = held.into() else { return };
        match self.of(work) {
            Err(lease) => lease.committed(held),
            Ok(lease) => lease.committed(held),
        }
    }

    /// Whether it was held when this was heard of last.
    pub(super) fn is_held(&self, work: Work) -> bool {
        match self.of(work) {
            Err(lease) => lease.is_held(),
            Ok(lease) => lease.is_held(),
        }
    }

    /// Lets others write the store at once.
    pub(super) async fn release(&self, database: Option<&Database>) {
        match self {
            Self::File(lease) => lease.release(),
            Self::Shared { snapshots, archive } => {
                let Some(database) = database else { return };
                for lease in [snapshots, archive] {
                    if let Err(error) = lease.release(database).await {
                        tracing::warn!(%error, "others wait until the time of a lease is over");
                    }
                }
            }
        }
    }

    fn of(&self, work: Work) -> Result<&SharedLease, &FileLease> {
        match (self, work) {
            (Self::File(lease), _) => Err(lease),
            (Self::Shared { snapshots, .. }, Work::Snapshots) => Ok(snapshots),
            (Self::Shared { archive, .. }, Work::Archive) => Ok(archive),
        }
    }
}
