//! Beginning anew where what is stored is damaged: it is a cache, and is built from the logs again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::archive::{Progress, Section};
use super::database::{Database, postgres, sqlite};
use super::lease::Lease;
use super::snapshots::Written;
use super::{Place, Store, StoreError};

/// Time after which a server's tables that are damaged again are emptied again.
const AGAIN: Duration = Duration::from_mins(10);

impl Store {
    fn began_anew(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.began_anew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After an error that says that the store is damaged, begins anew.
    pub(super) async fn heal(&self, error: &StoreError) {
        if let StoreError::Damaged(reason) = error {
            let mut written = self.0.written.lock().await;
            if let Err(error) = self.begin_anew(&mut written, reason).await {
                tracing::warn!(%error, "the read store could not be begun anew");
            }
        }
    }

    /// Sets the file aside, or empties what is on the server, and begins anew, with nothing written;
    /// returns where the file stands now. A file once: a second one that is damaged within a run points
    /// at something that a third would not mend. A server's tables not again for a while.
    pub(super) async fn begin_anew(
        &self,
        written: &mut Written,
        reason: &str,
    ) -> Result<Option<PathBuf>, StoreError> {
        let before = *self.began_anew();
        match &self.0.lease {
            Lease::File(lease) if !lease.lock() || before.is_some() => {
                let reason = format!("{reason}; restart, and it is built anew from the logs");
                return Err(StoreError::Damaged(reason));
            }
            Lease::Shared { .. } if before.is_some_and(|before| before.elapsed() < AGAIN) => {
                let reason = format!("{reason}; it was built anew a while ago, and will be again");
                return Err(StoreError::Damaged(reason));
            }
            Lease::File(_) | Lease::Shared { .. } => {}
        }
        *self.began_anew() = Some(Instant::now());
        let aside = match &self.0.place {
            Place::File(path) => Some(self.set_file_aside(path, written).await?),
            Place::Shared { .. } => {
                postgres::schema::begin_anew(&*self.database().await?).await?;
                *written = Written::nothing();
                None
            }
        };
        for section in Section::ALL {
            self.progress(section).send_replace(Progress::default());
        }
        let set_aside = aside.as_ref().map(|aside| aside.display().to_string());
        tracing::error!(
            reason,
            set_aside,
            "the read store is damaged, and is built anew from the logs"
        );
        Ok(aside)
    }

    async fn set_file_aside(
        &self,
        path: &Path,
        written: &mut Written,
    ) -> Result<PathBuf, StoreError> {
        let mut database = self.0.database.lock().await;
        if let Some(old) = database.take() {
            old.close().await;
        }
        *written = Written::nothing();
        if let Lease::File(lease) = &self.0.lease {
            lease.begin_anew();
        }
        let aside = set_aside(path)?;
        *database = Some(Arc::new(Database::open(path).await?.0));
        Ok(aside)
    }
}

pub(super) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    sqlite::set_aside(path).map_err(|error| {
        StoreError::Unreachable(format!("{} cannot be set aside: {error}", path.display()))
    })
}
