//! Where entries of streams were seen: from there the next reader of a stream goes on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::entry::Version;
use crate::stream::Stream;

/// Streams of which a place is remembered. When there are more, all are forgotten, and searched for.
pub(super) const PLACES_MAX: usize = 1 << 14;

/// For some streams, the version that was read last, and its sequence.
#[derive(Default)]
pub(super) struct Places(Mutex<BTreeMap<Stream, (Version, u64)>>);

impl Places {
    fn known(&self) -> MutexGuard<'_, BTreeMap<Stream, (Version, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, stream: &Stream, version: Version, sequence: u64) {
        let mut known = self.known();
        if known.len() >= PLACES_MAX && !known.contains_key(stream) {
            known.clear();
        }
        known.insert(stream.clone(), (version, sequence));
    }

    pub(super) fn before(&self, stream: &Stream, at: Version) -> Option<(Version, u64)> {
        self.known().get(stream).copied().filter(|(version, _)| *version <= at)
    }
}
