//! What a view is: a fold over entries, and nothing else.

use eventlog::entry::{Entry, Hash};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A read model. The same entries in the same order give the same bytes, whenever and wherever.
pub trait View: Default + Serialize + DeserializeOwned + Send + Sync {
    const NAME: &'static str;

    /// Raised when shape or meaning changes: the view is then folded anew.
    const REVISION: u32;

    /// Takes in one entry. Cannot fail, wait, or know the time.
    fn fold(&mut self, entry: &Entry);

    /// Returns the hash of the state. Offsets and recording times are no part of any state, so it
    /// is the same on every backend.
    fn state_hash(&self) -> Hash {
        let state = serde_json::to_vec(self)
            .expect("a view has only text keys, and writing to memory succeeds");
        Hash::of(&state)
    }
}
