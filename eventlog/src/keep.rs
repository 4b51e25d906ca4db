//! A small place for states that are no view: what a part of the house has folded of one stream, so
//! that it need not fold it from the beginning again, which retention may have dropped by then.
//!
//! What is kept is a cache. Whoever loads it reads on from its version, and whoever finds nothing
//! folds what the log still holds.

use async_trait::async_trait;

use crate::entry::Version;

/// Where named states are kept. Names are those of streams.
#[async_trait]
pub trait Keep: Send + Sync {
    /// Returns what was kept last under a name. What is damaged is as good as nothing.
    async fn load(&self, name: &str) -> Result<Option<Kept>, KeepError>;

    /// Keeps a state in place of the one before.
    async fn save(&self, name: &str, kept: Kept) -> Result<(), KeepError>;
}

/// A state and the version of its stream up to which it is folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Of the shape and meaning of `state`: another revision than one's own is nothing.
    pub revision: u32,
    pub version: Version,
    pub state: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state cannot be kept or loaded: {0}")]
pub struct KeepError(pub String);
