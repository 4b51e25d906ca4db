//! What is known of an entry without reading its body.

use uuid::Uuid;

use crate::entry::{Hash, Offset, Version};
use crate::log::Tip;

/// An entry and where it stands, in our numbers and in the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: Version,
    pub(crate) offset: Offset,
    /// What the server checks when an entry is put behind this one: the sequence at JetStream, the
    /// revision at KurrentDB.
    pub(crate) number: u64,
    pub(crate) hash: Hash,
    pub(crate) append_id: Uuid,
    pub(crate) command_id: Uuid,
}

impl Place {
    pub(crate) fn tip(&self) -> Tip {
        Tip { version: self.version, hash: self.hash }
    }
}
