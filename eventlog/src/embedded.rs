//! The log on files of our own: one folder, one writer thread, one sync for all that waited.
//!
//! A log has a folder to itself (`<data>/ledger`, `<data>/market`) and a lock in it, so both logs
//! of a data folder are opened one by one. `segment` owns the bytes, `recovery` reads them at a
//! start, `index` knows where everything durable stands, `tail` is where it grows, `writer` lets it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task;

use crate::body::{self, Content};
use crate::embedded::index::{Index, Ruling, Span};
use crate::embedded::recovery::Recovered;
use crate::embedded::writer::{Answer, Request, Writer};
use crate::entry::{Draft, Entry, Hash, Offset, Version};
use crate::files::{Files, Lock};
use crate::header::Header;
use crate::log::{Appended, Durability, EventLog, Expected, LogError, ReadLog};
use crate::stream::{Log, Stream};

mod segment;

mod index;
mod recovery;
mod tail;
mod writer;

/// Bytes of a segment, whatever is configured: a start holds one in memory.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Appends that wait for the writer. When it is full, callers wait.
pub const QUEUE_APPENDS_MAX: usize = 1_024;

/// How often one append seals its entry before it gives up its place in a contended stream with a
/// `Conflict`. Only `Any` tries more than twice: each try waits behind at least one entry that won.
pub const ATTEMPTS_MAX: usize = 256;

/// Bytes that one read takes from the disk; one entry may be more. A reader asks again for more.
const READ_BYTES_MAX: u64 = 1 << 20;

/// Bytes that are read on the caller's thread. They are in the page cache as a rule, and a change
/// of threads would cost more than they do; more than this could hold up others of its runtime.
const READ_INLINE_BYTES_MAX: u64 = 32 * 1024;

const LOCK: &str = "lock";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A segment that would grow past this is closed and the next one begun. Only a single group
    /// that is larger makes a segment longer.
    pub segment_bytes: u64,
    /// The step in which the open segment grows, filled with zeros ahead of the groups.
    pub prepare_bytes: u64,
    /// The append ids that are remembered, log-wide, about 50 bytes each. An older one is still
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
    /// Held as long as the writer can write.
    _lock: Box<dyn Lock>,
}

/// What callers, readers and the writer have in common.
struct Shared {
    log: Log,
    /// Never held while the disk works.
    index: Mutex<Index>,
    head: watch::Sender<Offset>,
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
        let shared = Arc::new(Shared {
            log,
            head: watch::Sender::new(index.head()),
            index: Mutex::new(index),
            stopped: OnceLock::new(),
        });
        let writer = Writer { files, shared: Arc::clone(&shared), tail, options };
        let (queue, requests) = mpsc::channel(QUEUE_APPENDS_MAX);
        let thread = thread::Builder::new()
            .name(format!("{log}-writer"))
            .spawn(move || writer.run(requests))
            .map_err(|error| unavailable("the writer", &error))?;
        let log = Self { shared, queue: Some(queue), writer: Some(thread), _lock: lock };
        Ok((log, report))
    }

    /// Hands an entry to the writer and waits for its answer.
    async fn write(&self, draft: &Draft, after: (Version, Hash)) -> Written {
        if self.shared.stopped.get().is_some() {
            return Err(self.shared.unavailable());
        }
        let (version, prev_hash) = (after.0.next(), after.1);
        let sealed = body::seal(draft, version, prev_hash)?;
        let header = Header {
            stream: draft.stream.clone(),
            version,
            append_id: draft.append_id,
            command_id: draft.command_id,
            prev_hash,
        };
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(|| self.shared.unavailable())?;
        let request = Request { header, sealed, answer };
        queue.send(request).await.map_err(|_| self.shared.unavailable())?;
        match answered.await {
            Ok(Answer::Written(offset)) => Ok(Some(Appended { offset, version, repeated: false })),
            Ok(Answer::Moved) => Ok(None),
            Ok(Answer::Full) => Err(LogError::Full),
            // The writer has stopped, with this entry in its hands or in its queue.
            Err(_) => Err(LogError::OutcomeUnknown),
        }
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

    async fn read_spans(&self, spans: Vec<Span>) -> Result<Vec<Entry>, LogError> {
        let log = self.shared.log;
        if spans.iter().map(|span| span.end - span.start).sum::<u64>() <= READ_INLINE_BYTES_MAX {
            return read_spans(log, &spans);
        }
        task::spawn_blocking(move || read_spans(log, &spans))
            .await
            .unwrap_or_else(|error| Err(unavailable("the reader", &error.into())))
    }
}

/// `None`: another entry took the place.
type Written = Result<Option<Appended>, LogError>;

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
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
    }
}

#[async_trait]
impl ReadLog for Embedded {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        let spans = {
            let index = self.shared.index();
            let offsets = (after.0.saturating_add(1)..=index.head().0).map(Offset).take(limit);
            index.spans(offsets, READ_BYTES_MAX)
        };
        self.read_spans(spans).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let spans = {
            let index = self.shared.index();
            let offsets = index.offsets(stream, after).iter().copied().take(limit);
            index.spans(offsets, READ_BYTES_MAX)
        };
        self.read_spans(spans).await
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        let spans = {
            let index = self.shared.index();
            index.spans(index.offsets(stream, Version(0)).last().copied(), READ_BYTES_MAX)
        };
        Ok(self.read_spans(spans).await?.pop())
    }

    async fn head(&self) -> Result<Offset, LogError> {
        Ok(*self.shared.head.borrow())
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        let mut head = self.shared.head.subscribe();
        let over = |head: &Offset| *head > after || self.shared.stopped.get().is_some();
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
        for _ in 0..ATTEMPTS_MAX {
            let ruling = self.shared.index().rule(stream, append_id, command_id, expected);
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
        let (actual, _) = self.shared.index().tip(stream);
        Err(LogError::Conflict { actual: Some(actual) })
    }
}

/// Reads whole entries, and holds each against its checksum once more: a disk may have forgotten
/// what it knew at the start.
fn read_spans(log: Log, spans: &[Span]) -> Result<Vec<Entry>, LogError> {
    let entries = spans.iter().map(|span| span.entries).sum::<u64>();
    let mut out = Vec::with_capacity(usize::try_from(entries).unwrap_or_default());
    for span in spans {
        let bytes = read_bytes(span)?;
        let mut rest = bytes.as_slice();
        let mut offsets = (span.first.0..span.first.0 + span.entries).map(Offset);
        let Some(mut offset) = offsets.next() else { continue };
        loop {
            let damaged = |rest: &[u8], reason: &str| {
                let byte = span.start + (bytes.len() - rest.len()) as u64;
                let name = segment::name(span.segment);
                LogError::Damaged { offset, reason: format!("{name}, byte {byte}: {reason}") }
            };
            let (frame, after) =
                segment::read_frame(rest, offset).map_err(|reason| damaged(rest, reason))?;
            if !frame.is_group_header() {
                let content = Content::from_byte(frame.content_type)
                    .ok_or_else(|| damaged(rest, "no entry has this content type"))?;
                let entry = body::open(log, offset, content, frame.body)
                    .map_err(|error| damaged(rest, &error.0))?;
                out.push(entry);
                let Some(next) = offsets.next() else { break };
                offset = next;
            }
            rest = after;
        }
    }
    Ok(out)
}

/// Reads a span's bytes: all, or as many as the file still has.
fn read_bytes(span: &Span) -> Result<Vec<u8>, LogError> {
    let length =
        |end: u64| usize::try_from(end.saturating_sub(span.start)).map_err(io::Error::other);
    let read = |end: u64| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length(end)?];
        span.file.read_at(&mut bytes, span.start)?;
        Ok(bytes)
    };
    read(span.end)
        .or_else(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => read(span.file.length()?.min(span.end)),
            _ => Err(error),
        })
        .map_err(|error| unavailable(&segment::name(span.segment), &error))
}

fn unavailable(what: &str, error: &io::Error) -> LogError {
    LogError::Unavailable(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests;
