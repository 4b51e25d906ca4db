//! Entries as they are stored, on their way from one log to another: every byte is kept, and with it
//! every hash.

use async_trait::async_trait;

use crate::body::{self, Content};
use crate::entry::{ENTRY_BYTES_MAX, Hash, Offset};
use crate::header::Header;
use crate::log::{Appended, LogError, ReadLog};
use crate::stream::Log;

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it stands in the log that it was read from.
    pub offset: Offset,
    pub content: Content,
    pub body: Vec<u8>,
}

impl Stored {
    /// Returns the hash by which the next entry of its stream names it.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.body)
    }

    /// Returns what its body says of it, if it can stand in a log of this kind at all.
    pub fn header(&self, log: Log) -> Result<Header, LogError> {
        let damaged = |reason| LogError::Damaged { offset: self.offset, reason };
        if self.body.len() > ENTRY_BYTES_MAX {
            return Err(LogError::TooLarge);
        }
        let header = body::header(self.content, &self.body).map_err(|error| damaged(error.0))?;
        if header.stream.log() != log {
            return Err(damaged(format!("{} is not in the {log} log", header.stream)));
        }
        Ok(header)
    }
}

/// A log that gives entries as they are stored.
#[async_trait]
pub trait ReadStored: ReadLog {
    /// Returns up to `limit` entries after `after`, as [`ReadLog::read`] does, each held against
    /// its checksum.
    async fn stored(&self, after: Offset, limit: usize) -> Result<Vec<Stored>, LogError>;
}

/// A log that takes entries as they are stored.
#[async_trait]
pub trait Transfer: ReadStored {
    /// Puts in entries of another log, byte for byte and in this order, each after the entry that
    /// it names as its stream's one before. A stream of the market log that never had an entry takes
    /// one of any version: retention may have dropped those before. Of the ledger nothing is dropped.
    ///
    /// One that is in already is answered with `repeated`. One that does not continue its stream
    /// ends it with a `Conflict`. After an error those before the one that failed may be in, and
    /// none after it; the same batch again goes on from there.
    async fn take_over(&self, batch: &[Stored]) -> Result<Vec<Appended>, LogError>;
}
