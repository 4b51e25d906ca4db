//! How the read store fares, for whoever asks whether the house is ready.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::time::Timestamp;
use eventlog::entry::Offset;

use super::StoreError;

/// Failures in a row that say nothing yet: a disk may be slow, a process may be reading.
const FAILURES_MAX: u32 = 3;

/// How the store fares. Queries go on from memory, whatever it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    pub snapshots: Writing,
    pub archive: ArchiveHealth,
}

/// Whether snapshots can be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Writing {
    #[default]
    Good,
    Degraded {
        /// The first of the failures in a row.
        since: Timestamp,
        reason: String,
    },
}

/// How far the archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveHealth {
    /// The ledger's entries up to here are filed.
    pub applied: Offset,
    /// Whether it is answered from.
    pub whole: bool,
    /// Why nothing can be filed at the moment.
    pub degraded: Option<String>,
}

#[derive(Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Default)]
struct State {
    writing: Failures,
    since: Timestamp,
    filing: Failures,
}

#[derive(Default)]
struct Failures {
    count: u32,
    reason: Option<String>,
}

impl Failures {
    /// Notes a failure; returns whether it is now the time to say so.
    fn add(&mut self, error: &StoreError) -> bool {
        self.count = self.count.saturating_add(1);
        let told = self.reason.is_some();
        // What is damaged does not mend by itself.
        if told || self.count >= FAILURES_MAX || matches!(error, StoreError::Damaged(_)) {
            self.reason = Some(error.to_string());
        }
        !told && self.reason.is_some()
    }

    /// Notes a success; returns whether failures had been told of.
    fn clear(&mut self) -> bool {
        self.count = 0;
        self.reason.take().is_some()
    }
}

impl Health {
    pub(super) fn wrote(&self) {
        if self.state().writing.clear() {
            tracing::info!("snapshots are written again");
        }
    }

    pub(super) fn failed(&self, error: &StoreError, now: Timestamp) {
        let mut state = self.state();
        if state.writing.count == 0 {
            state.since = now;
        }
        if state.writing.add(error) {
            tracing::error!(%error, "snapshots cannot be written: queries go on from memory");
        }
    }

    pub(super) fn filed(&self) {
        if self.state().filing.clear() {
            tracing::info!("the archive is filed again");
        }
    }

    pub(super) fn not_filed(&self, error: &StoreError) {
        if self.state().filing.add(error) {
            tracing::error!(%error, "the archive cannot be filed: old minutes may be missing");
        }
    }

    pub(super) fn tell(&self, applied: Offset, whole: bool) -> StoreHealth {
        let state = self.state();
        let snapshots = match &state.writing.reason {
            None => Writing::Good,
            Some(reason) => Writing::Degraded { since: state.since, reason: reason.clone() },
        };
        let degraded = state.filing.reason.clone();
        StoreHealth { snapshots, archive: ArchiveHealth { applied, whole, degraded } }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
