//! How a snapshot is written: to a file by its one process, to a server by one of the nodes that share
//! it.

use domain::time::Timestamp;

use super::database::{Database, Outlives};
use super::lease::Work;
use super::snapshots::{Snapshot, Written};
use super::{Store, StoreError};
use crate::views::Views;

impl Store {
    /// Writes what is due.
    pub(super) async fn write(
        &self,
        written: &mut Written,
        now: Timestamp,
    ) -> Result<Snapshot, StoreError> {
        let database = self.database().await?;
        if !written.is_due() {
            self.keep_lease(&database).await?;
            return Ok(Snapshot::default());
        }
        // Retention drops what a snapshot covers: a loss of power must not take it back.
        let mut write = database.write(Outlives::PowerLoss).await?;
        let Some(held) = self.0.lease.hold(Work::Snapshots, &mut write).await? else {
            write.roll_back().await?;
            return Ok(Snapshot::default());
        };
        let snapshot = written.write(&mut write, now).await?;
        write.commit().await?;
        self.0.lease.committed(held);
        written.committed();
        Ok(snapshot)
    }

    /// The same where other nodes may write: nothing is taken from the views before the lease is ours,
    /// and what another has written meanwhile is what the changes are written on top of.
    pub(super) async fn write_shared(
        &self,
        written: &mut Written,
        views: &Views,
        now: Timestamp,
    ) -> Result<Snapshot, StoreError> {
        let database = self.database().await?;
        let mut write = database.write(Outlives::PowerLoss).await?;
        let Some(held) = self.0.lease.hold(Work::Snapshots, &mut write).await? else {
            write.roll_back().await?;
            return Ok(Snapshot::default());
        };
        written.take(views);
        written.rebase(&mut write, || views.take_all()).await?;
        let snapshot = written.write(&mut write, now).await?;
        write.commit().await?;
        self.0.lease.committed(held);
        written.committed();
        Ok(snapshot)
    }

    /// While nothing changes: nobody must take an idle process for one that has ended.
    async fn keep_lease(&self, database: &Database) -> Result<(), StoreError> {
        if self.0.lease.is_held(Work::Snapshots) {
            let mut write = database.write(Outlives::Crash).await?;
            let held = self.0.lease.hold(Work::Snapshots, &mut write).await?;
            write.commit().await?;
            self.0.lease.committed(held);
        }
        Ok(())
    }
}
