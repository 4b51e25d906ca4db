//! The port: what the house asks of a log, whatever stands behind it.

use async_trait::async_trait;
use domain::time::Timestamp;
use serde::Serialize;

use crate::entry::{Draft, Entry, Hash, Offset, Version};
use crate::stream::Stream;

/// Reading, by pulling: a reader asks for what comes after its place and waits when there is no more.
#[async_trait]
pub trait ReadLog: Send + Sync {
    /// Returns up to `limit` entries of this log after `after`, in offset order. May return fewer
    /// than there are, but none only when there is no more.
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError>;

    /// Returns up to `limit` entries of a stream after `after`, in version order.
    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError>;

    /// Returns a stream's newest entry, if it is still held; never stale.
    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError>;

    /// Returns what stays known of a stream's newest entry, also when retention has dropped the
    /// entry itself; `None` for a stream that never had one. Never stale.
    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError>;

    /// Returns the offset up to which retention has dropped the entries of this log, zero when all
    /// are held. A read below it goes on behind it: that range is a known gap, not damage.
    async fn floor(&self) -> Result<Offset, LogError>;

    /// Returns the offset of the newest entry, zero in an empty log; never stale.
    async fn head(&self) -> Result<Offset, LogError>;

    /// Returns when there is an entry after `after`.
    async fn wait_after(&self, after: Offset) -> Result<(), LogError>;

    fn durability(&self) -> Durability;

    /// Returns how the log fares, as far as it is known without asking it.
    fn standing(&self) -> Standing {
        Standing::Good
    }
}

#[async_trait]
pub trait EventLog: ReadLog {
    /// Puts a draft in as one entry; answers when it is durable, and only then shows it to readers.
    ///
    /// The same append id and command again get the first result, with `repeated` set: always where
    /// the entry stands after the expected version, and else as long as the log remembers the id.
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError>;
}

/// Dropping what need not be kept for ever. Of the market log only: the ledger is never cut.
#[async_trait]
pub trait Trim: Send + Sync {
    /// Drops the oldest entries, as many as may go and as the adapter drops at once: the embedded
    /// log drops whole sealed segments. Each stream's tip stays known, and versions go on.
    async fn trim(&self, retention: Retention) -> Result<Trimmed, LogError>;
}

/// What may go: what is older than `recorded_before`, and the oldest while more than `bytes_max` are
/// held; but nothing past `up_to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub recorded_before: Timestamp,
    pub bytes_max: u64,
    /// The last entry that nobody needs any more: whatever is made of it is kept elsewhere.
    pub up_to: Offset,
}

/// What a trim has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// The log's floor now.
    pub floor: Offset,
    /// Entries that this trim dropped, and their bytes.
    pub entries: u64,
    pub bytes: u64,
    /// Whether more would have gone if `up_to` had allowed it.
    pub held_back: bool,
}

/// A stream's newest entry, as far as it stays known for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    pub version: Version,
    pub hash: Hash,
}

/// What the writer believes of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It has no entry yet.
    Empty,
    /// This is its newest version.
    At(Version),
    /// Nothing: put the entry after whatever is there.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub offset: Offset,
    pub version: Version,
    /// The entry was in already; this is its first result again.
    pub repeated: bool,
}

/// What an acknowledged entry survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing: it is gone with the process.
    Memory,
    /// A crash of the process.
    Os,
    /// A loss of power.
    Fsync,
    /// The loss of a machine.
    Quorum,
}

/// How a log fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// Nothing can be appended now, and perhaps nothing read.
    Down {
        reason: String,
        /// What an operator must do, where it does not pass by itself.
        advice: Option<String>,
    },
    /// It works, and keeps less than it should: a replica is missing, a setting was changed.
    Degraded {
        reason: String,
        advice: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Another entry took the place. `actual` is the stream's newest version.
    #[error("the stream has moved on to version {actual:?}")]
    Conflict { actual: Option<Version> },
    #[error("this append id was used for another command")]
    KeyReused,
    /// It may be in or not. Ask again with the same append id; never treat this as a conflict.
    #[error("the outcome is unknown: repeat with the same append id")]
    OutcomeUnknown,
    #[error("the log cannot be reached: {0}")]
    Unavailable(String),
    /// `offset` is the first entry that cannot be trusted.
    #[error("the log is damaged at offset {offset}: {reason}")]
    Damaged { offset: Offset, reason: String },
    #[error("the log has no space left")]
    Full,
    /// More than an entry may hold, or nothing at all.
    #[error("an entry holds 1 to 256 events in at most 512 KiB")]
    TooLarge,
}
