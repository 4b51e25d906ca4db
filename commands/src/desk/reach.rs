//! How far a stream was read, and what it has put in last: what every writer knows of its stream.

use std::time::Duration;

use eventlog::body;
use eventlog::entry::{Draft, Entry, Hash, Offset, Version};
use eventlog::log::{Appended, LogError, ReadLog};
use eventlog::stream::{Log, Stream};
use uuid::Uuid;

use crate::desk::keys::Keys;

/// Entries that are read at once.
const READ_ENTRIES: usize = 256;

/// How often, and after which wait, a log that does not yet show what is in it is asked again. Then
/// it counts as one that cannot be reached.
const BEHIND_MAX: u32 = 100;
const BEHIND_WAIT: Duration = Duration::from_millis(10);

/// A place in a stream. Before the first entry there is nothing: reading on from here is always
/// right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) version: Version,
    /// Of the entry of that version.
    pub(crate) hash: Hash,
    pub(crate) offset: Offset,
    pub(crate) keys: Keys,
    /// The append that may still come in after this version: nobody knew what came of it when its
    /// writer gave up. Until the stream has moved on, a no to the same order might not be true.
    pub(crate) unsettled: Option<(Uuid, Version)>,
}

impl Reach {
    /// Moves on to the next entry.
    pub(crate) fn take(&mut self, entry: &Entry) -> Result<(), LogError> {
        if entry.version != self.version.next() || entry.prev_hash != self.hash {
            let reason = format!("{} is not what follows {}", entry.version, self.version);
            return Err(LogError::Damaged { offset: entry.offset, reason });
        }
        (self.version, self.hash, self.offset) = (entry.version, entry.hash, entry.offset);
        self.keys.push(entry.append_id, entry.version);
        Ok(())
    }

    /// Returns what was appended after it as it is read from the log.
    pub(crate) fn own(&self, draft: Draft, place: Appended) -> Result<Entry, LogError> {
        let Appended { offset, version, .. } = place;
        // Once more, as the log has done: that is quicker than to read it back.
        let hash = body::seal(&draft, version, self.hash)?.hash;
        Ok(Entry {
            log: Log::Ledger,
            offset,
            stream: draft.stream,
            version,
            append_id: draft.append_id,
            command_id: draft.command_id,
            recorded_at: draft.recorded_at,
            actor: draft.actor,
            correlation_id: draft.correlation_id,
            causation: draft.causation,
            prev_hash: self.hash,
            hash,
            events: draft.events,
        })
    }

    /// Returns the version of the entry that was put in under this id, if it is one of the newest.
    pub(crate) fn find(&self, append_id: Uuid) -> Option<Version> {
        self.keys.find(append_id)
    }

    /// Whether an append of this id may still come in here.
    pub(crate) fn awaits(&self, append_id: Uuid) -> bool {
        self.unsettled == Some((append_id, self.version))
    }

    /// Returns the version at which the stream ends now. It holds what was read of it.
    pub(crate) async fn end(
        &self,
        ledger: &dyn ReadLog,
        stream: &Stream,
    ) -> Result<Version, LogError> {
        let tip = ledger.tip(stream).await?;
        let (version, hash) = tip.map_or_else(Default::default, |tip| (tip.version, tip.hash));
        if version < self.version || (version == self.version && hash != self.hash) {
            let reason = format!("{stream} has lost its entry {}", self.version);
            return Err(LogError::Damaged { offset: self.offset, reason });
        }
        Ok(version)
    }

    /// Returns entries after this place, past which the stream is known to go on: at least one.
    pub(crate) async fn next(
        &self,
        ledger: &dyn ReadLog,
        stream: &Stream,
    ) -> Result<Vec<Entry>, LogError> {
        read(ledger, stream, self.version, READ_ENTRIES).await
    }
}

/// Returns the entry of an order that was carried out before, at this version. Where it cannot be read,
/// nobody is told that the log could not be reached: that would sound as if nothing were in.
pub(crate) async fn first(
    ledger: &dyn ReadLog,
    stream: &Stream,
    version: Version,
    append_id: Uuid,
) -> Result<Entry, LogError> {
    let before = Version(version.0.saturating_sub(1));
    let entry = match read(ledger, stream, before, 1).await {
        Ok(mut entries) => entries.pop(),
        Err(LogError::Unavailable(_)) => None,
        Err(error) => return Err(error),
    };
    entry.filter(|entry| entry.append_id == append_id).ok_or(LogError::OutcomeUnknown)
}

/// Returns entries of a stream after a version past which it is known to go on: at least one.
async fn read(
    ledger: &dyn ReadLog,
    stream: &Stream,
    after: Version,
    limit: usize,
) -> Result<Vec<Entry>, LogError> {
    for _ in 0..BEHIND_MAX {
        let entries = ledger.read_stream(stream, after, limit).await?;
        if !entries.is_empty() {
            return Ok(entries);
        }
        tokio::time::sleep(BEHIND_WAIT).await;
    }
    Err(LogError::Unavailable(format!("{stream} cannot be read past {after}")))
}
