//! States of streams that are no view, kept under their names.

use async_trait::async_trait;
use eventlog::keep::{Keep, KeepError, Kept};

use super::database::Outlives;
use super::lease::Work;
use super::{Store, StoreError};

#[async_trait]
impl Keep for Store {
    async fn load(&self, name: &str) -> Result<Option<Kept>, KeepError> {
        match self.kept(name).await {
            // A cache that is damaged is as good as none.
            Err(StoreError::Damaged(_)) => Ok(None),
            kept => kept.map_err(|error| told(&error)),
        }
    }

    async fn save(&self, name: &str, kept: Kept) -> Result<(), KeepError> {
        let saved = self.put_kept(name, &kept).await;
        if let Err(error) = &saved {
            self.heal(error).await;
        }
        saved.map_err(|error| told(&error))
    }
}

impl Store {
    async fn kept(&self, name: &str) -> Result<Option<Kept>, StoreError> {
        let database = self.database().await?;
        let mut read = database.read().await?;
        let kept = read.kept(name).await?;
        read.roll_back().await?;
        Ok(kept)
    }

    async fn put_kept(&self, name: &str, kept: &Kept) -> Result<(), StoreError> {
        let database = self.database().await?;
        let mut write = database.write(Outlives::PowerLoss).await?;
        if self.is_shared() {
            // Whoever has folded it may keep it: a later state is not replaced by an earlier one.
            write.put_kept(name, kept).await?;
            return write.commit().await;
        }
        let held = self.0.lease.hold(Work::Snapshots, &mut write).await?;
        write.put_kept(name, kept).await?;
        write.commit().await?;
        self.0.lease.committed(held);
        Ok(())
    }
}

fn told(error: &StoreError) -> KeepError {
    KeepError(error.to_string())
}
