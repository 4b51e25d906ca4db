//! The log on files of our own: one folder, one writer thread, one sync for all that waited.
//!
//! A log has a folder to itself (`<data>/ledger`, `<data>/market`) and a lock in it, so both logs
//! of a data folder are opened one by one. `segment` owns the bytes, `sealed` those of the index
//! beside a segment that no longer grows, `floor` what is known of segments that were dropped;
//! `recovery` reads them at a start, `index` knows where everything durable stands, `reader` gets it
//! from there, `tail` is where it grows, `writer` lets it, `chores` tidies up behind and ahead of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use crate::body;
use crate::embedded::chores::{Chores, Worker};
use crate::embedded::contents::Ids;
use crate::embedded::index::{Index, Ruling};
use crate::embedded::next::Next;
use crate::embedded::reader::{Ask, Reader};
use crate::embedded::recovery::Recovered;
use crate::embedded::writer::{Answer, Placed, Put, Request, Writer};
use crate::entry::{Draft, Entry, Hash, Offset, Version};
use crate::files::{Files, Lock};
use crate::header::Header;
use crate::log::{Appended, Durability, EventLog, Expected, LogError, ReadLog, Tip};
use crate::stream::{Log, Stream};

mod segment;

mod contents;
mod floor;
mod sealed;
mod whole_file;

mod append_ids;
mod frames;
mod handles;
mod index;
mod pieces;
mod reader;
mod recovery;
mod scan;

mod next;
mod tail;
mod writer;

mod chores;
mod trim;

mod transfer;

pub mod read_only;

mod walk;

pub mod verify;

pub mod copy;

/// Bytes of a segment, whatever is configured: a start holds one in memory.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Appends that wait for the writer. When it is full, callers wait.
pub const QUEUE_APPENDS_MAX: usize = 1_024;

/// How often one append seals its entry before it gives up its place in a contended stream with a
/// `Conflict`. Only `Any` tries more than twice: each try waits behind at least one entry that won.
pub const ATTEMPTS_MAX: usize = 256;

const LOCK: &str = "lock";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A segment that would grow past this is closed and the next one begun. Only a single group
    /// that is larger makes a segment longer.
    pub segment_bytes: u64,
    /// The step in which the open segment grows, filled with zeros ahead of the groups.
    pub prepare_bytes: u64,
    /// The append ids that are remembered, log-wide, about 60 bytes each. An older one is still
    /// found after an expected version, but under `Any` its entry would be put in again.
    pub append_ids_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, prepare_bytes: 4 << 20, append_ids_max: 1 << 16 }
    }
}

/// What a start found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Entries that are held.
    pub entries: u64,
    pub cut: Option<Cut>,
}

/// The end of the newest segment, which was not whole: as a crash leaves it, never acknowledged.
/// Whether something acknowledged is missing, a checkpoint from elsewhere must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub segment: String,
    pub byte: u64,
    /// What was cut. Zero when the file simply ended early.
    pub bytes: u64,
    /// The first offset that is missing, and will be given anew.
    pub offset: Offset,
}

/// One log in one folder.
pub struct Embedded {
    shared: Arc<Shared>,
    /// `None` only while it is dropped, so that the writer sees the end of its queue.
    queue: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    worker: Option<JoinHandle<()>>,
    /// Held as long as the writer can write.
    _lock: Box<dyn Lock>,
}

/// What callers, readers and the writer have in common.
struct Shared {
    log: Log,
    reader: Arc<Reader>,
    head: watch::Sender<Offset>,
    chores: Arc<Chores>,
    next: Next,
    /// Held while segments are dropped, and while a segment that must not be is worked on.
    dropping: Mutex<()>,
    /// Why the writer has stopped for good.
    stopped: OnceLock<String>,
}

impl Embedded {
    /// Reads and checks the whole log; blocks until that is done.
    pub fn open(
        files: Arc<dyn Files>,
        log: Log,
        options: Options,
    ) -> Result<(Self, Opened), LogError> {
        let segment_bytes = options.segment_bytes.min(SEGMENT_BYTES_MAX);
        let options = Options { segment_bytes, ..options };
        let lock = files.lock(LOCK).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                LogError::Unavailable(format!("another process has the {log} log open"))
            }
            _ => unavailable(LOCK, &error),
        })?;
        let Recovered { index, tail, report } = recovery::recover(&*files, log, &options)?;
        let shared = Arc::new(Shared::new(log, Arc::clone(&files), index));
        let worker = Worker { files: Arc::clone(&files), shared: Arc::clone(&shared), options };
        // Where a start could not write an index, the worker goes on trying.
        shared.chores.want_filing();
        let writer =
            Writer { files, shared: Arc::clone(&shared), tail, options, wants_next: false };
        let (queue, requests) = mpsc::channel(QUEUE_APPENDS_MAX);
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(format!("{log}-{name}")).spawn(run);
            thread.map_err(|error| unavailable(name, &error))
        };
        // Built first, so that a thread that is not the last one ends with it.
        let mut log = Self { shared, queue: Some(queue), writer: None, worker: None, _lock: lock };
        log.writer = Some(start("writer", Box::new(move || writer.run(requests)))?);
        log.worker = Some(start("chores", Box::new(move || worker.run()))?);
        Ok((log, report))
    }

    /// Returns the number of entries that are held.
    pub fn entries(&self) -> u64 {
        let index = self.shared.reader.index();
        index.head().0 - index.floor().offset().0
    }

    /// Returns the memory that the log's index holds.
    pub fn memory_bytes(&self) -> usize {
        self.shared.reader.index().memory_bytes()
    }

    /// Hands an entry to the writer and waits for its answer. `None`: another entry took the place.
    async fn write(
        &self,
        draft: &Draft,
        after: (Version, Hash),
    ) -> Result<Option<Appended>, LogError> {
        if self.shared.is_stopped() {
            return Err(self.shared.unavailable());
        }
        let (version, prev_hash) = (after.0.next(), after.1);
        let sealed = body::seal(draft, version, prev_hash)?;
        let header = Header {
            stream: draft.stream.clone(),
            version,
            append_id: draft.append_id,
            command_id: draft.command_id,
            recorded_at: draft.recorded_at,
            prev_hash,
        };
        let offset = self.put(vec![(header, sealed)]).await?;
        Ok(offset.map(|offset| Appended { offset, version, repeated: false }))
    }

    /// Has the writer put in entries, all or none, and returns where the first of them stands.
    /// `None`: another entry took the place.
    async fn put(&self, entries: Vec<Placed>) -> Result<Option<Offset>, LogError> {
        let (answer, answered) = oneshot::channel();
        self.send(Request::Put(Put { entries, answer })).await?;
        match answered.await {
            Ok(Answer::Written(offset)) => Ok(Some(offset)),
            Ok(Answer::Moved) => Ok(None),
            Ok(Answer::Full) => Err(LogError::Full),
            // The writer has stopped, with these entries in its hands or in its queue.
            Err(_) => Err(LogError::OutcomeUnknown),
        }
    }

    async fn send(&self, request: Request) -> Result<(), LogError> {
        let queue = self.queue.as_ref().ok_or_else(|| self.shared.unavailable())?;
        queue.send(request).await.map_err(|_| self.shared.unavailable())
    }

    /// Looks for the append id among all entries after a version.
    async fn search(
        &self,
        draft: &Draft,
        mut after: Version,
    ) -> Result<Option<Appended>, LogError> {
        loop {
            let entries = self.read_stream(&draft.stream, after, usize::MAX).await?;
            let Some(newest) = entries.last() else { return Ok(None) };
            after = newest.version;
            if let Some(found) = entries.iter().find(|entry| entry.append_id == draft.append_id) {
                let Entry { offset, version, .. } = *found;
                let appended = Appended { offset, version, repeated: true };
                return index::same(found.command_id == draft.command_id, appended).map(Some);
            }
        }
    }
}

impl Shared {
    fn new(log: Log, files: Arc<dyn Files>, index: Index) -> Self {
        let (chores, head) = (Arc::<Chores>::default(), index.head());
        Self {
            log,
            head: watch::Sender::new(head),
            reader: Arc::new(Reader::new(log, files, index, Arc::clone(&chores))),
            chores,
            next: Next::default(),
            dropping: Mutex::default(),
            stopped: OnceLock::new(),
        }
    }

    fn dropping(&self) -> MutexGuard<'_, ()> {
        self.dropping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.get().is_some()
    }

    fn stop(&self, error: &io::Error) {
        let log = self.log;
        tracing::error!(%log, %error, "the log has stopped; restart to read what is durable");
        self.stopped.get_or_init(|| format!("the {log} log has stopped: {error}"));
        // Wakes those that wait for more.
        self.head.send_modify(|_| {});
    }

    fn unavailable(&self) -> LogError {
        let reason = self.stopped.get().cloned();
        LogError::Unavailable(reason.unwrap_or_else(|| "the log is closed".to_owned()))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            // Its panic was told where it happened, and whoever waited has learnt of it.
            drop(writer.join());
        }
        self.shared.chores.close();
        if let Some(worker) = self.worker.take() {
            drop(worker.join());
        }
    }
}

#[async_trait]
impl ReadLog for Embedded {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.shared.reader.answer(Ask::Log { after, limit }).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let ask = Ask::Stream { stream: stream.clone(), after, limit };
        self.shared.reader.answer(ask).await
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        let ask = self.shared.reader.ask_last(stream);
        Ok(self.shared.reader.answer(ask).await?.pop())
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        Ok(self.shared.reader.tip(stream))
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        Ok(self.shared.reader.index().floor().offset())
    }

    async fn head(&self) -> Result<Offset, LogError> {
        Ok(*self.shared.head.borrow())
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        let mut head = self.shared.head.subscribe();
        let over = |head: &Offset| *head > after || self.shared.is_stopped();
        match head.wait_for(over).await {
            Ok(head) if *head > after => Ok(()),
            // Nothing will ever come: whoever waits must not take this for silence.
            Ok(_) | Err(_) => Err(self.shared.unavailable()),
        }
    }

    fn durability(&self) -> Durability {
        Durability::Fsync
    }
}

#[async_trait]
impl EventLog for Embedded {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        let log = self.shared.log;
        if draft.stream.log() != log {
            return Err(LogError::Unavailable(format!("{} is not in the {log} log", draft.stream)));
        }
        let Draft { ref stream, append_id, command_id, .. } = draft;
        let ids = Ids { append_id, command_id };
        for _ in 0..ATTEMPTS_MAX {
            let ruling = self.shared.reader.index().rule(stream, ids, expected);
            match ruling {
                Ruling::Known(answer) => return answer,
                Ruling::Moved { actual, all_remembered: true } => {
                    return Err(LogError::Conflict { actual });
                }
                Ruling::Moved { actual, all_remembered: false } => {
                    let after = match expected {
                        Expected::At(version) => version,
                        Expected::Empty | Expected::Any => Version(0),
                    };
                    let found = self.search(&draft, after).await?;
                    return found.ok_or(LogError::Conflict { actual });
                }
                Ruling::After(version, hash) => {
                    if let Some(appended) = self.write(&draft, (version, hash)).await? {
                        return Ok(appended);
                    }
                }
            }
        }
        let (actual, _) = self.shared.reader.index().tip(stream);
        Err(LogError::Conflict { actual: Some(actual) })
    }
}

fn unavailable(what: &str, error: &io::Error) -> LogError {
    LogError::Unavailable(format!("{what}: {error}"))
}

/// Whether it was for want of space.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns about the memory that a map holds by itself: its nodes are at least half full.
fn map_bytes<K, V>(map: &BTreeMap<K, V>) -> usize {
    2 * map.len() * (size_of::<K>() + size_of::<V>())
}

#[cfg(test)]
mod tests;
