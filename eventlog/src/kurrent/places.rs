//! Offsets at which entries stand: from there a walk may begin.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::entry::Offset;

/// Offsets that are remembered. When there are more, every other one is forgotten: then more is passed
/// over on the way to an offset that is none of an entry.
pub(super) const PLACES_MAX: usize = 1 << 14;

#[derive(Default)]
pub(super) struct Places(Mutex<BTreeSet<Offset>>);

impl Places {
    fn known(&self) -> MutexGuard<'_, BTreeSet<Offset>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, offset: Offset) {
        let mut known = self.known();
        if known.len() >= PLACES_MAX {
            let mut keep = false;
            known.retain(|_| {
                keep = !keep;
                keep
            });
        }
        known.insert(offset);
    }

    /// Returns the newest one at or before an offset.
    pub(super) fn before(&self, offset: Offset) -> Option<Offset> {
        self.known().range(..=offset).next_back().copied()
    }
}
