//! A lease of a store that several nodes share: it goes from node to node by itself, and the clock that
//! ends it is the server's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::file::Held;
use crate::store::StoreError;
use crate::store::database::leases::LeaseRow;
use crate::store::database::{Database, Outlives, Transaction};

pub(in crate::store) struct SharedLease {
    name: String,
    owner: String,
    /// For which it is held after each sign.
    seconds: i64,
    /// The fence under which it is held; `None` while it is not.
    fence: Mutex<Option<u64>>,
}

impl SharedLease {
    pub(in crate::store) fn new(name: String, node: &str, seconds: i64) -> Self {
        let owner = format!("{node}/{}", Uuid::now_v7());
        Self { name, owner, seconds, fence: Mutex::default() }
    }

    /// Holds the lease for what is written in this transaction, taking it when nobody has it; `None`
    /// when somebody has.
    pub(in crate::store) async fn hold(
        &self,
        write: &mut Transaction<'_>,
    ) -> Result<Option<Held>, StoreError> {
        let held = *self.fence();
        if let Some(fence) = held {
            if self.renew(write, fence).await? {
                return Ok(Some(Held(fence)));
            }
            *self.fence() = None;
            tracing::warn!(lease = self.name, "another node has taken over what this one did");
        }
        Ok(write.take_lease(&self.name, &self.owner, self.seconds).await?.map(Held))
    }

    /// Notes that the transaction in which it was held is committed.
    pub(in crate::store) fn committed(&self, Held(fence): Held) {
        let before = self.fence().replace(fence);
        if before != Some(fence) {
            tracing::info!(lease = self.name, owner = self.owner, fence, "this node does it now");
        }
    }

    pub(in crate::store) fn is_held(&self) -> bool {
        self.fence().is_some()
    }

    /// Takes it, in a transaction of its own; false when somebody else has it.
    pub(in crate::store) async fn take(&self, database: &Database) -> Result<bool, StoreError> {
        let mut write = database.write(Outlives::PowerLoss).await?;
        let Some(held) = self.hold(&mut write).await? else {
            write.roll_back().await?;
            return Ok(false);
        };
        write.commit().await?;
        self.committed(held);
        Ok(true)
    }

    /// Keeps it, without taking it anew; false when it is somebody else's.
    pub(in crate::store) async fn keep(&self, database: &Database) -> Result<bool, StoreError> {
        let held = *self.fence();
        let Some(fence) = held else { return Ok(false) };
        let mut write = database.write(Outlives::PowerLoss).await?;
        if !self.renew(&mut write, fence).await? {
            write.roll_back().await?;
            *self.fence() = None;
            return Ok(false);
        }
        write.commit().await?;
        Ok(true)
    }

    /// Lets others take it at once.
    pub(in crate::store) async fn release(&self, database: &Database) -> Result<(), StoreError> {
        let held = self.fence().take();
        let Some(fence) = held else { return Ok(()) };
        let mut write = database.write(Outlives::Crash).await?;
        write.renew_lease(&self.name, &self.row(fence, 0)).await?;
        write.commit().await
    }

    async fn renew(&self, write: &mut Transaction<'_>, fence: u64) -> Result<bool, StoreError> {
        let expires_at = write.clock().await?.saturating_add(self.seconds);
        write.renew_lease(&self.name, &self.row(fence, expires_at)).await
    }

    fn row(&self, fence: u64, expires_at: i64) -> LeaseRow {
        LeaseRow { owner: self.owner.clone(), fence, expires_at }
    }

    fn fence(&self) -> MutexGuard<'_, Option<u64>> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
