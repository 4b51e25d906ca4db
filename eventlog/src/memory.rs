//! A log in memory: for tests, and the measure of the other adapters.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use crate::body::{self, Content, Sealed};
use crate::entry::{Draft, Entry, Hash, Offset, Version};
use crate::log::{
    Appended, Durability, EventLog, Expected, LogError, ReadLog, Retention, Tip, Trim, Trimmed,
};
use crate::stream::{Log, Stream};
use crate::transfer::{ReadStored, Stored, Transfer};

/// One log whose entries live as long as the process. Bounded by memory alone: for tests.
pub struct Memory {
    log: Log,
    state: Mutex<State>,
    head: watch::Sender<Offset>,
}

#[derive(Default)]
struct State {
    /// Those that were dropped count too: the entry of offset `n` stands at `n - 1 - dropped`.
    dropped: usize,
    entries: VecDeque<Held>,
    streams: BTreeMap<Stream, Known>,
}

/// An entry, and how it is stored.
struct Held {
    entry: Entry,
    content: Content,
    body: Vec<u8>,
}

/// What stays known of a stream.
#[derive(Default)]
struct Known {
    /// The version before the first that was ever here.
    before: Version,
    /// The offset of each version after that.
    offsets: Vec<Offset>,
    tip: Option<Tip>,
    /// Append id and command of each version after that.
    ids: Vec<(Uuid, Uuid)>,
}

impl Memory {
    pub fn new(log: Log) -> Self {
        Self { log, state: Mutex::default(), head: watch::Sender::new(Offset(0)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the entries whole: they are pushed in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the entries of a stream that are still held.
    fn stream(&self, stream: &Stream) -> impl DoubleEndedIterator<Item = &Entry> {
        let offsets = self.streams.get(stream).into_iter().flat_map(|known| &known.offsets);
        offsets.filter_map(|offset| self.entry(*offset))
    }

    fn entry(&self, offset: Offset) -> Option<&Entry> {
        Some(&self.entries.get(self.place(offset)?)?.entry)
    }

    fn place(&self, offset: Offset) -> Option<usize> {
        usize::try_from(offset.0).ok()?.checked_sub(self.dropped + 1)
    }

    fn tip(&self, stream: &Stream) -> Option<Tip> {
        self.streams.get(stream)?.tip
    }

    /// Returns the first result of an append id, and its command.
    fn first(&self, stream: &Stream, append_id: Uuid) -> Option<(Uuid, Appended)> {
        let known = self.streams.get(stream)?;
        let place = known.ids.iter().position(|(id, _)| *id == append_id)?;
        let (_, command_id) = *known.ids.get(place)?;
        let offset = *known.offsets.get(place)?;
        let version = Version(known.before.0 + place as u64 + 1);
        Some((command_id, Appended { offset, version, repeated: true }))
    }

    /// Puts in an entry that follows its stream's tip, or begins a stream.
    fn push(&mut self, log: Log, sealed: Sealed) -> Result<Offset, LogError> {
        let offset = Offset((self.dropped + self.entries.len()) as u64 + 1);
        let Sealed { content, body, hash } = sealed;
        let entry = body::open(log, offset, content, &body)
            .map_err(|error| LogError::Damaged { offset, reason: error.0 })?;
        let known = self.streams.entry(entry.stream.clone()).or_default();
        if known.tip.is_none() {
            known.before = Version(entry.version.0.saturating_sub(1));
        }
        known.offsets.push(offset);
        known.ids.push((entry.append_id, entry.command_id));
        known.tip = Some(Tip { version: entry.version, hash });
        self.entries.push_back(Held { entry, content, body });
        Ok(offset)
    }

    fn take_over(&mut self, log: Log, stored: &Stored) -> Result<Appended, LogError> {
        let header = stored.header(log)?;
        let (version, hash) = (header.version, stored.hash());
        let tip = self.tip(&header.stream);
        // Of the ledger nothing is ever dropped: it begins at the beginning.
        let begins = log == Log::Market && tip.is_none();
        let before = tip.map_or((Version(0), Hash::default()), |tip| (tip.version, tip.hash));
        if begins || (before.0.next(), before.1) == (version, header.prev_hash) {
            let Stored { content, body, .. } = stored.clone();
            let offset = self.push(log, Sealed { content, body, hash })?;
            return Ok(Appended { offset, version, repeated: false });
        }
        let held = self.stream(&header.stream).find(|entry| entry.version == version);
        match held.filter(|held| held.hash == hash) {
            Some(held) => Ok(Appended { offset: held.offset, version, repeated: true }),
            None => Err(LogError::Conflict { actual: tip.map(|tip| tip.version) }),
        }
    }
}

#[async_trait]
impl ReadLog for Memory {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        let state = self.state();
        let after = usize::try_from(after.0).unwrap_or(usize::MAX).saturating_sub(state.dropped);
        Ok(state.entries.iter().skip(after).take(limit).map(|held| held.entry.clone()).collect())
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let later = |entry: &&Entry| entry.version > after;
        Ok(self.state().stream(stream).filter(later).take(limit).cloned().collect())
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        Ok(self.state().stream(stream).next_back().cloned())
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        Ok(self.state().tip(stream))
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        Ok(Offset(self.state().dropped as u64))
    }

    async fn head(&self) -> Result<Offset, LogError> {
        Ok(*self.head.borrow())
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        let mut head = self.head.subscribe();
        head.wait_for(|head| *head > after)
            .await
            .map(|_| ())
            .map_err(|_| LogError::Unavailable("the log is closed".to_owned()))
    }

    fn durability(&self) -> Durability {
        Durability::Memory
    }
}

#[async_trait]
impl EventLog for Memory {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        if draft.stream.log() != self.log {
            return Err(LogError::Unavailable(format!("{} is not in this log", draft.stream)));
        }
        let mut state = self.state();
        if let Some((command_id, first)) = state.first(&draft.stream, draft.append_id) {
            return if command_id == draft.command_id {
                Ok(first)
            } else {
                Err(LogError::KeyReused)
            };
        }
        let tip = state.tip(&draft.stream);
        let actual = tip.map(|tip| tip.version);
        match expected {
            Expected::Any => {}
            Expected::Empty if actual.is_none() => {}
            Expected::At(version) if actual.unwrap_or_default() == version => {}
            Expected::Empty | Expected::At(_) => return Err(LogError::Conflict { actual }),
        }
        let (version, prev_hash) =
            tip.map_or((Version(1), Hash::default()), |tip| (tip.version.next(), tip.hash));
        let sealed = body::seal(&draft, version, prev_hash)?;
        let offset = state.push(self.log, sealed)?;
        // Under the lock, so that the head never goes back and is never behind what was read.
        self.head.send_replace(offset);
        Ok(Appended { offset, version, repeated: false })
    }
}

#[async_trait]
impl ReadStored for Memory {
    async fn stored(&self, after: Offset, limit: usize) -> Result<Vec<Stored>, LogError> {
        let state = self.state();
        let after = usize::try_from(after.0).unwrap_or(usize::MAX).saturating_sub(state.dropped);
        let stored = |held: &Held| Stored {
            offset: held.entry.offset,
            content: held.content,
            body: held.body.clone(),
        };
        Ok(state.entries.iter().skip(after).take(limit).map(stored).collect())
    }
}

#[async_trait]
impl Transfer for Memory {
    async fn take_over(&self, batch: &[Stored]) -> Result<Vec<Appended>, LogError> {
        let mut state = self.state();
        let appended = batch.iter().map(|stored| state.take_over(self.log, stored)).collect();
        self.head.send_replace(Offset((state.dropped + state.entries.len()) as u64));
        appended
    }
}

/// Drops entry by entry.
#[async_trait]
impl Trim for Memory {
    async fn trim(&self, retention: Retention) -> Result<Trimmed, LogError> {
        if self.log == Log::Ledger {
            return Err(LogError::Unavailable("the ledger is kept for ever".to_owned()));
        }
        let mut state = self.state();
        let bytes = |held: &Held| held.body.len() as u64;
        let mut held: u64 = state.entries.iter().map(bytes).sum();
        let (mut entries, mut dropped, mut held_back) = (0, 0, false);
        while let Some(oldest) = state.entries.front() {
            let is_old = oldest.entry.recorded_at < retention.recorded_before;
            if !is_old && held <= retention.bytes_max {
                break;
            }
            if oldest.entry.offset > retention.up_to {
                held_back = true;
                break;
            }
            let size = bytes(oldest);
            (held, dropped, entries) = (held - size, dropped + size, entries + 1);
            state.entries.pop_front();
            state.dropped += 1;
        }
        Ok(Trimmed { floor: Offset(state.dropped as u64), entries, bytes: dropped, held_back })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_log_in_memory_keeps_the_promises_of_the_port() {
        contract::check(async |log| Memory::new(log)).await;
        contract::check_trimmed(async |log| Memory::new(log)).await;
        contract::transfer::check(async |log| Memory::new(log)).await;
    }
}
