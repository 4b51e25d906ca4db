//! An account as the entries of its stream have made it, up to one of them.

use std::time::Duration;

use domain::account::Account;
use domain::decider::Decider;
use domain::event::Event;
use eventlog::body;
use eventlog::entry::{Draft, Entry, Hash, Offset, Version};
use eventlog::log::{Appended, LogError, ReadLog};
use eventlog::stream::{Log, Stream};
use uuid::Uuid;

use crate::desk::kept::Keeper;
use crate::desk::keys::Keys;

/// Entries that are read at once.
const READ_ENTRIES: usize = 256;

/// How often, and after which wait, a log that does not yet show what is in it is asked again. Then
/// it counts as one that cannot be reached.
const BEHIND_MAX: u32 = 100;
const BEHIND_WAIT: Duration = Duration::from_millis(10);

/// An account and its place in the stream. Before the first entry it is the account that is not
/// there: reading on from here is always right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) account: Account,
    pub(super) version: Version,
    /// Of the entry of that version.
    pub(super) hash: Hash,
    pub(super) offset: Offset,
    pub(super) keys: Keys,
    /// The version that was kept last, or was to be.
    pub(super) kept: Version,
    /// The append that may still come in after this version: nobody knew what came of it when the
    /// desk gave up. Until the stream has moved on, a no to the same order might not be true.
    pub(super) unsettled: Option<(Uuid, Version)>,
}

impl Folded {
    /// Takes in the next entry.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<(), LogError> {
        if entry.version != self.version.next() || entry.prev_hash != self.hash {
            let reason = format!("{} is not what follows {}", entry.version, self.version);
            return Err(LogError::Damaged { offset: entry.offset, reason });
        }
        for event in &entry.events {
            let Event::Account(event) = event else { continue };
            self.account.evolve(event);
        }
        (self.version, self.hash, self.offset) = (entry.version, entry.hash, entry.offset);
        self.keys.push(entry.append_id, entry.version);
        Ok(())
    }

    /// Takes in what was appended after it, and returns the entry as it is read from the log.
    pub(super) fn take_own(&mut self, draft: Draft, place: Appended) -> Result<Entry, LogError> {
        let Appended { offset, version, .. } = place;
        // Once more, as the log has done: that is quicker than to read it back.
        let hash = body::seal(&draft, version, self.hash)?.hash;
        let entry = Entry {
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
        };
        self.take(&entry)?;
        Ok(entry)
    }

    /// Returns the version of the entry that was put in under this id, if it is one of the newest.
    pub(super) fn find(&self, append_id: Uuid) -> Option<Version> {
        self.keys.find(append_id)
    }

    /// Reads on to the stream's end; returns whether anything was new. Whoever drops this half way
    /// has an account that stands at some entry, as before.
    pub(super) async fn catch_up(
        &mut self,
        ledger: &dyn ReadLog,
        keeper: &Keeper,
        stream: &Stream,
    ) -> Result<bool, LogError> {
        let tip = ledger.tip(stream).await?;
        let (version, hash) = tip.map_or_else(Default::default, |tip| (tip.version, tip.hash));
        if version < self.version || (version == self.version && hash != self.hash) {
            let reason = format!("{stream} has lost its entry {}", self.version);
            return Err(LogError::Damaged { offset: self.offset, reason });
        }
        let before = self.version;
        if before == Version(0)
            && version > before
            && let Some(kept) = keeper.load(ledger, stream).await?
        {
            *self = kept;
        }
        while self.version < version {
            for entry in read(ledger, stream, self.version, READ_ENTRIES).await? {
                self.take(&entry)?;
            }
        }
        Ok(self.version > before)
    }
}

/// Returns entries of a stream after a version past which it is known to go on: at least one.
pub(super) async fn read(
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
