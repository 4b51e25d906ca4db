//! Which commands a stream has carried out last, by the ids of their entries.

use std::collections::{BTreeMap, VecDeque};

use eventlog::entry::Version;
use uuid::Uuid;

/// Commands of a stream that are known again. One before them that is sent again is known only
/// as long as the log itself remembers its id; past that it is a new command.
pub const KEYS_REMEMBERED_MAX: usize = 10_000;

/// The append ids of a stream's newest entries, and the version of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Oldest first; versions have no gaps.
    ids: VecDeque<Uuid>,
    // Nearly every key is new, so to look through all ids would be the rule: that takes 16 µs.
    versions: BTreeMap<Uuid, Version>,
}

impl Keys {
    /// Returns the keys of a stream's newest entries, oldest first, of which the last is `newest`.
    pub(crate) fn of(ids: VecDeque<Uuid>, newest: Version) -> Self {
        let back = ids.iter().rev().zip((0..=newest.0).rev());
        let versions = back.map(|(id, version)| (*id, Version(version))).collect();
        Self { ids, versions }
    }

    /// Takes in the id of the next entry.
    pub(crate) fn push(&mut self, append_id: Uuid, version: Version) {
        if self.ids.len() >= KEYS_REMEMBERED_MAX
            && let Some(oldest) = self.ids.pop_front()
        {
            self.versions.remove(&oldest);
        }
        self.ids.push_back(append_id);
        self.versions.insert(append_id, version);
    }

    /// Returns the version of the entry with this id, if it is among them.
    pub(crate) fn find(&self, append_id: Uuid) -> Option<Version> {
        self.versions.get(&append_id).copied()
    }

    /// Returns the ids, oldest first.
    pub(crate) const fn ids(&self) -> &VecDeque<Uuid> {
        &self.ids
    }
}
