//! A log in memory: for tests, and the measure of the other adapters.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::body;
use crate::entry::{Draft, Entry, Hash, Offset, Version};
use crate::log::{Appended, Durability, EventLog, Expected, LogError, ReadLog};
use crate::stream::{Log, Stream};

/// One log whose entries live as long as the process. Bounded by memory alone: for tests.
pub struct Memory {
    log: Log,
    state: Mutex<State>,
    head: watch::Sender<Offset>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// The places of each stream's entries in `entries`.
    streams: BTreeMap<Stream, Vec<usize>>,
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
    fn stream(&self, stream: &Stream) -> impl DoubleEndedIterator<Item = &Entry> {
        self.streams.get(stream).into_iter().flatten().filter_map(|place| self.entries.get(*place))
    }
}

#[async_trait]
impl ReadLog for Memory {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        let after = usize::try_from(after.0).unwrap_or(usize::MAX);
        Ok(self.state().entries.iter().skip(after).take(limit).cloned().collect())
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
        if let Some(first) =
            state.stream(&draft.stream).find(|entry| entry.append_id == draft.append_id)
        {
            return if first.command_id == draft.command_id {
                Ok(Appended { offset: first.offset, version: first.version, repeated: true })
            } else {
                Err(LogError::KeyReused)
            };
        }
        let tip = state.stream(&draft.stream).next_back().map(|tip| (tip.version, tip.hash));
        let actual = tip.map(|(version, _)| version);
        match expected {
            Expected::Any => {}
            Expected::Empty if actual.is_none() => {}
            Expected::At(version) if actual.unwrap_or_default() == version => {}
            Expected::Empty | Expected::At(_) => return Err(LogError::Conflict { actual }),
        }
        let (version, prev_hash) = tip.unwrap_or((Version(0), Hash::default()));
        let sealed = body::seal(&draft, version.next(), prev_hash)?;
        let place = state.entries.len();
        let offset = Offset(place as u64 + 1);
        let entry = body::open(self.log, offset, sealed.content, &sealed.body)
            .expect("a body that was just written can be read");
        state.streams.entry(draft.stream).or_default().push(place);
        state.entries.push(entry);
        // Under the lock, so that the head never goes back and is never behind what was read.
        self.head.send_replace(offset);
        Ok(Appended { offset, version: version.next(), repeated: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_log_in_memory_keeps_the_promises_of_the_port() {
        contract::check(async |log| Memory::new(log)).await;
    }
}
