//! What an adapter needs to know of an entry without reading its events, and what it cannot read.

use domain::time::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::entry::{Hash, Version};
use crate::stream::Stream;

/// A body that cannot be read: altered, or written by a version that knows more than this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// What an adapter needs to know of an entry without reading its events.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Header {
    pub stream: Stream,
    pub version: Version,
    pub append_id: Uuid,
    pub command_id: Uuid,
    pub recorded_at: Timestamp,
    pub prev_hash: Hash,
}
