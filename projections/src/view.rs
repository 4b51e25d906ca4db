//! What a view is: a fold over entries, and nothing else.

use std::collections::BTreeSet;

use eventlog::entry::{Entry, Hash};
use eventlog::stream::Log;
use sha2::{Digest, Sha256};

/// A read model. The same entries in the same order give the same bytes, whenever and wherever.
///
/// Its state falls into named parts, so that a snapshot writes only those that have changed. All
/// parts together are the state, whole: a view that takes them back is equal to the one that wrote
/// them.
pub trait View: Default + Send + Sync {
    const NAME: &'static str;

    /// Raised when shape or meaning changes: the view is then folded anew.
    const REVISION: u32;

    /// The logs that it reads. It is never behind in another.
    const LOGS: &'static [Log];

    /// Takes in one entry. Cannot fail, wait, or know the time.
    fn fold(&mut self, entry: &Entry);

    /// Returns the names of all parts, in order.
    fn parts(&self) -> BTreeSet<String>;

    /// Returns the names of the parts that came, changed or went since this was asked last.
    fn take_changed(&mut self) -> BTreeSet<String>;

    /// Returns a part as bytes; `None` when there is none of this name.
    fn part(&self, name: &str) -> Option<Vec<u8>>;

    /// Takes back a part of which it holds nothing.
    fn restore(&mut self, name: &str, state: &[u8]) -> Result<(), NotAPart>;

    /// Returns the hash of the state. Offsets and recording times are no part of any state, so it
    /// is the same on every backend.
    fn state_hash(&self) -> Hash {
        let part = |name: String| self.part(&name).map(|state| (name, Hash::of(&state)));
        hash_of_parts(self.parts().into_iter().filter_map(part))
    }
}

/// Returns the hash of a state from its parts in order of their names, each with the hash of its
/// bytes.
pub fn hash_of_parts(parts: impl IntoIterator<Item = (String, Hash)>) -> Hash {
    let mut digest = Sha256::new();
    for (name, hash) in parts {
        digest.update((name.len() as u64).to_le_bytes());
        digest.update(name);
        digest.update(hash.0);
    }
    Hash(digest.finalize().into())
}

/// Bytes that are no part of this view: altered, or of another revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("part {name:?} does not read: {reason}")]
pub struct NotAPart {
    pub name: String,
    pub reason: String,
}

#[cfg(test)]
mod tests;
