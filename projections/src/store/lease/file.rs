//! The lease of the one process that writes a read store in a file.
//!
//! A row names who holds it, until when, and a fence: a number that rises with each holder. Every
//! write begins by moving the row's end; one that finds another holder or fence writes nothing, so a
//! process that slept through its time cannot write over the next one's rows.
//! A lock on a file beside the store is let go by the system when its process ends, however it ends.
//! Whoever has it need not wait for the row's end: a crash keeps nobody waiting.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::store::StoreError;
use crate::store::database::Transaction;
use crate::store::database::leases::LeaseRow;
use crate::store::database::sqlite::beside;

/// Seconds after its last write that a holder keeps the lease: three times from one snapshot to the
/// next, each of which moves its end.
const LEASE_SECONDS: i64 = 30;

/// The name of the one lease: what is kept, archived and snapshot has one writer.
const NAME: &str = "writer";

pub(in crate::store) struct FileLease {
    owner: String,
    lock_path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lock: Option<File>,
    /// The fence under which the lease is held; `None` while it never was.
    fence: Option<u64>,
    /// Somebody else has taken it: what was read of the store may have changed since.
    lost: bool,
}

/// A lease within one transaction: held when that is committed.
#[must_use]
pub(in crate::store) struct Held(pub(super) u64);

impl FileLease {
    /// Returns the lease of the store at `path`, not yet held.
    pub(in crate::store) fn new(path: &Path) -> Self {
        let lease = Self {
            owner: Uuid::now_v7().to_string(),
            lock_path: beside(path, ".lock"),
            state: Mutex::default(),
        };
        lease.lock();
        lease
    }

    /// Holds the lease for what is written in this transaction.
    pub(in crate::store) async fn hold(
        &self,
        write: &mut Transaction<'_>,
    ) -> Result<Held, StoreError> {
        let (fence, lost) = self.known();
        let expires_at = write.clock().await?.saturating_add(LEASE_SECONDS);
        let row = |fence| LeaseRow { owner: self.owner.clone(), fence, expires_at };
        let alone = self.lock();
        match fence {
            _ if lost => Err(taken()),
            Some(fence) if write.renew_lease(NAME, &row(fence)).await? => Ok(Held(fence)),
            Some(_) => {
                self.state().lost = true;
                Err(taken())
            }
            None => {
                let stands = write.lease(NAME).await?;
                let fence = stands.as_ref().map_or(0, |stands| stands.fence).saturating_add(1);
                let free = stands.is_none_or(|stands| {
                    let now = expires_at - LEASE_SECONDS;
                    alone || stands.owner == self.owner || !stands.lasts(now, LEASE_SECONDS)
                });
                if !free {
                    return Err(StoreError::Unreachable(
                        "another process writes this read store".to_owned(),
                    ));
                }
                write.put_lease(NAME, &row(fence)).await?;
                Ok(Held(fence))
            }
        }
    }

    /// Notes that the transaction in which the lease was held is committed.
    pub(in crate::store) fn committed(&self, Held(fence): Held) {
        self.state().fence = Some(fence);
    }

    /// Notes that the store was begun anew: there is no row yet.
    pub(in crate::store) fn begin_anew(&self) {
        self.state().fence = None;
    }

    /// Returns whether no other process of this machine has the store open for writing.
    pub(in crate::store) fn lock(&self) -> bool {
        let mut state = self.state();
        if state.lock.is_none() {
            let options = OpenOptions::new().create(true).append(true).open(&self.lock_path);
            state.lock = options.ok().filter(|file| match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
            });
        }
        state.lock.is_some()
    }

    pub(in crate::store) fn is_held(&self) -> bool {
        self.state().fence.is_some()
    }

    /// Lets others write the store at once.
    pub(in crate::store) fn release(&self) {
        self.state().lock = None;
    }

    fn known(&self) -> (Option<u64>, bool) {
        let state = self.state();
        (state.fence, state.lost)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn taken() -> StoreError {
    StoreError::Unreachable(
        "another process has taken this read store over: restart to write it again".to_owned(),
    )
}

#[cfg(test)]
mod tests;
