//! An append: guarded by the sequence of the stream's last message, and answered by what the leader
//! has, never by what a timeout suggests.
//!
//! A message of ours that comes late can do no harm: it carries the sequence that it expects, so it
//! fails if somebody took its version, and else a search finds it.

use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{self, Instant};
use uuid::Uuid;

use crate::body::{self, Content};
use crate::entry::{Draft, Hash, Offset, Version};
use crate::header::Header;
use crate::log::{Appended, Expected, LogError, Tip};
use crate::nats::Shared;
use crate::nats::broker::{Acknowledged, Fault, STORED_WAIT, codes};
use crate::nats::message::{Guard, Outgoing, Place, Raw};
use crate::nats::names;
use crate::stream::{Log, Stream};
use crate::transfer::Stored;

/// How often one append looks at its stream and sends. Past it the answer is what is known by then.
pub(super) const ATTEMPTS_MAX: u8 = 64;
/// The longest wait between two of them. They grow, and each append's are others.
const JITTER_MILLIS_MAX: u64 = 64;
/// Writers of one process that may be at work at once, on streams of their own.
const TURNS: usize = 1_024;
/// Versions that a search looks through at once.
const SEARCH_ENTRIES: usize = 256;

/// The writers of this process take turns at a stream: all but one would lose, and look again.
pub(super) struct Turns(Vec<Mutex<()>>);

impl Turns {
    pub(super) fn new() -> Self {
        Self((0..TURNS).map(|_| Mutex::default()).collect())
    }

    /// Held across an append: it orders writers and nothing else. The guard decides, whoever else
    /// writes.
    async fn of(&self, stream: &Stream) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        stream.hash(&mut hasher);
        let place = hasher.finish() % TURNS as u64;
        Some(self.0.get(usize::try_from(place).ok()?)?.lock().await)
    }
}

/// What is to go into a stream.
pub(super) trait Append: Sync {
    fn stream(&self) -> &Stream;

    fn append_id(&self) -> Uuid;

    fn command_id(&self) -> Uuid;

    /// The version after which it belongs, given the stream's tip.
    fn base(&self, tip: &Tip) -> Version;

    /// Writes it after a tip.
    fn seal(&self, tip: &Tip) -> Result<Ready, LogError>;

    /// Whether an entry that has its append id is the same.
    fn is(&self, place: &Place) -> bool;
}

/// A body with its place.
pub(super) struct Ready {
    version: Version,
    hash: Hash,
    content: Content,
    body: Vec<u8>,
    message_id: String,
}

/// A draft and what is expected of its stream.
pub(super) struct OfDraft<'a> {
    pub(super) draft: &'a Draft,
    pub(super) expected: Expected,
}

impl Append for OfDraft<'_> {
    fn stream(&self) -> &Stream {
        &self.draft.stream
    }

    fn append_id(&self) -> Uuid {
        self.draft.append_id
    }

    fn command_id(&self) -> Uuid {
        self.draft.command_id
    }

    fn base(&self, tip: &Tip) -> Version {
        match self.expected {
            Expected::Empty => Version(0),
            Expected::At(version) => version,
            Expected::Any => tip.version,
        }
    }

    fn seal(&self, tip: &Tip) -> Result<Ready, LogError> {
        let version = tip.version.next();
        let sealed = body::seal(self.draft, version, tip.hash)?;
        Ok(Ready {
            version,
            hash: sealed.hash,
            content: sealed.content,
            body: sealed.body,
            message_id: names::message_id(&self.draft.stream, self.draft.append_id),
        })
    }

    fn is(&self, place: &Place) -> bool {
        place.command_id == self.draft.command_id
    }
}

/// An entry of another log.
pub(super) struct OfStored<'a> {
    pub(super) header: &'a Header,
    pub(super) hash: Hash,
    pub(super) stored: &'a Stored,
}

impl Append for OfStored<'_> {
    fn stream(&self) -> &Stream {
        &self.header.stream
    }

    fn append_id(&self) -> Uuid {
        self.header.append_id
    }

    fn command_id(&self) -> Uuid {
        self.header.command_id
    }

    fn base(&self, tip: &Tip) -> Version {
        let is_first = tip.version == Version(0);
        match self.header.stream.log() {
            // Retention may have dropped those before.
            Log::Market if is_first => Version(0),
            Log::Market | Log::Ledger => Version(self.header.version.0.saturating_sub(1)),
        }
    }

    fn seal(&self, tip: &Tip) -> Result<Ready, LogError> {
        if tip.version > Version(0) && tip.hash != self.header.prev_hash {
            return Err(LogError::Conflict { actual: Some(tip.version) });
        }
        Ok(Ready {
            version: self.header.version,
            hash: self.hash,
            content: self.stored.content,
            body: self.stored.body.clone(),
            message_id: names::message_id(&self.header.stream, self.header.append_id),
        })
    }

    fn is(&self, place: &Place) -> bool {
        place.hash == self.hash
    }
}

/// The tip of a stream as an append rests on it.
struct Base {
    tip: Tip,
    /// Of its message; zero when the broker has none.
    sequence: u64,
    place: Option<Place>,
    /// The leader has just said so.
    is_certain: bool,
}

impl Shared {
    /// Appends within the patience of the log.
    pub(super) async fn append(&self, append: &impl Append) -> Result<Appended, LogError> {
        let log = self.names().log;
        if append.stream().log() != log {
            let text = format!("{} is not in the {log} log", append.stream());
            return Err(LogError::Unavailable(text));
        }
        if !self.broker.is_connected() {
            return Err(LogError::Unavailable("there is no connection to NATS".to_owned()));
        }
        let sent = AtomicBool::new(false);
        let patience = self.options.patience;
        let answer = time::timeout_at(Instant::now() + patience, self.attempts(append, &sent));
        let answer = answer.await.unwrap_or_else(|_| {
            self.tips.doubt(append.stream());
            Err(LogError::Unavailable(format!("NATS does not answer within {patience:?}")))
        });
        match answer {
            // Bytes have left: they may have come, or may come yet.
            Err(LogError::Unavailable(_)) if sent.load(Ordering::Relaxed) => {
                Err(LogError::OutcomeUnknown)
            }
            answer => answer,
        }
    }

    async fn attempts(
        &self,
        append: &impl Append,
        sent: &AtomicBool,
    ) -> Result<Appended, LogError> {
        let stream = append.stream();
        let subject = self.names().subject(stream);
        let _turn = self.turns.of(stream).await;
        // Where a search begins: after the version that the first attempt rested on.
        let mut searched_after: Option<Version> = None;
        // A no that may be said once it is certain that nothing of ours is there.
        let mut no: Option<LogError> = None;
        // Whether something was sent of which nothing was heard: it may come yet.
        let mut is_unknown = false;
        let mut was_silent = false;
        for attempt in 0..ATTEMPTS_MAX {
            let base = match self.tips.guess(stream).filter(|_| attempt == 0) {
                Some(place) => Base::at(place, false),
                None => self.base_of_leader(stream, &subject).await?,
            };
            if let Some(place) = base.place.filter(|it| it.append_id == append.append_id()) {
                if was_silent {
                    self.heard_of_no_fault();
                }
                return first_result(append, &place);
            }
            let expected = append.base(&base.tip);
            let after = *searched_after.get_or_insert(expected);
            let after = after.min(expected);
            if base.tip.version > after {
                if !base.is_certain {
                    self.tips.doubt(stream);
                    continue;
                }
                if let Some(place) = self.search(append, after, base.tip.version).await? {
                    return first_result(append, &place);
                }
            }
            if base.tip.version != expected {
                if !base.is_certain {
                    self.tips.doubt(stream);
                    continue;
                }
                return Err(LogError::Conflict { actual: known(base.tip.version) });
            }
            // The version is free, and nothing of ours is there.
            if std::mem::take(&mut was_silent) {
                self.heard_of_unstored();
            }
            if let Some(no) = no {
                return Err(if is_unknown { LogError::OutcomeUnknown } else { no });
            }
            let ready = append.seal(&base.tip)?;
            sent.store(true, Ordering::Relaxed);
            match self.send(append, &subject, &ready, base.sequence).await {
                Ok(Acknowledged { sequence, duplicate: false }) => {
                    self.heard_of_no_fault();
                    self.tips.note(stream, place_of(append, &ready, sequence));
                    let (offset, version) = (Offset(sequence), ready.version);
                    return Ok(Appended { offset, version, repeated: false });
                }
                Ok(Acknowledged { sequence, duplicate: true }) => {
                    if let Some(place) = self.what_was_there(append, sequence).await? {
                        return first_result(append, &place);
                    }
                    is_unknown = true;
                }
                Err(Fault::No { code, text }) => no = self.judge(code, &text)?,
                Err(Fault::Unsent(_)) => {}
                Err(Fault::Silence(_)) => (is_unknown, was_silent) = (true, true),
            }
            self.tips.doubt(stream);
            time::sleep(jitter(append.append_id(), attempt)).await;
        }
        Err(LogError::OutcomeUnknown)
    }

    /// Returns what a no of JetStream means: go on, or go on and if nothing of ours is found, that.
    fn judge(&self, code: u64, text: &str) -> Result<Option<LogError>, LogError> {
        match code {
            // Somebody was quicker, or is about to be: look again.
            codes::WRONG_LAST_SEQUENCE | codes::WRITE_IN_FLIGHT | codes::MESSAGE_IN_FLIGHT => {
                Ok(None)
            }
            codes::INSUFFICIENT_RESOURCES | codes::STORAGE_EXCEEDED => {
                self.heard_of_full(text);
                Ok(Some(LogError::Full))
            }
            codes::STORE_FAILED if self.options.replicas == 1 => {
                self.heard_of_full(text);
                Ok(Some(LogError::Full))
            }
            // One replica has failed to store it. The others may have it.
            codes::STORE_FAILED => {
                self.heard_of_full(text);
                Err(LogError::OutcomeUnknown)
            }
            _ => Ok(Some(LogError::Unavailable(format!("NATS says: {text} ({code})")))),
        }
    }

    async fn send(
        &self,
        append: &impl Append,
        subject: &str,
        ready: &Ready,
        after_sequence: u64,
    ) -> Result<Acknowledged, Fault> {
        let outgoing = Outgoing {
            version: ready.version,
            append_id: append.append_id(),
            command_id: append.command_id(),
            hash: ready.hash,
            content: ready.content,
            message_id: Some(&ready.message_id),
            guard: Guard::OfSubject(after_sequence),
        };
        let body = bytes::Bytes::copy_from_slice(&ready.body);
        self.broker.publish(subject.to_owned(), outgoing.headers(), body, STORED_WAIT).await
    }

    /// Reads a stream's tip from the leader, or where all has aged out, from where it is kept.
    async fn base_of_leader(&self, stream: &Stream, subject: &str) -> Result<Base, LogError> {
        if let Some(newest) = self.leader(self.broker.last(subject)).await? {
            let place = newest.place()?;
            self.tips.note(stream, place);
            return Ok(Base::at(place, true));
        }
        let none = Tip { version: Version(0), hash: Hash::default() };
        let tip = self.tips.aged_out(stream).await?.unwrap_or(none);
        Ok(Base { tip, sequence: 0, place: None, is_certain: true })
    }

    /// Looks for an entry of ours after a version.
    async fn search(
        &self,
        append: &impl Append,
        mut after: Version,
        newest: Version,
    ) -> Result<Option<Place>, LogError> {
        while after < newest {
            let raws = self.raws_of(append.stream(), after, SEARCH_ENTRIES).await?;
            for raw in &raws {
                let place = raw.place()?;
                if place.append_id == append.append_id() {
                    return Ok(Some(place));
                }
                after = place.version;
            }
            if raws.is_empty() {
                break;
            }
        }
        Ok(None)
    }

    /// Returns the entry with our id that was there before. A leader knows an id from when it is
    /// sent on through the cluster, a little before the message is there.
    async fn what_was_there(
        &self,
        append: &impl Append,
        sequence: u64,
    ) -> Result<Option<Place>, LogError> {
        let subject = self.names().subject(append.stream());
        let found = self.leader(self.broker.next(sequence, Some(&subject))).await?;
        found.filter(|raw| raw.sequence == sequence).as_ref().map(Raw::place).transpose()
    }
}

impl Base {
    fn at(place: Place, is_certain: bool) -> Self {
        Self { tip: place.tip(), sequence: place.sequence, place: Some(place), is_certain }
    }
}

fn first_result(append: &impl Append, place: &Place) -> Result<Appended, LogError> {
    if append.is(place) {
        let (offset, version) = (Offset(place.sequence), place.version);
        Ok(Appended { offset, version, repeated: true })
    } else {
        Err(LogError::KeyReused)
    }
}

fn place_of(append: &impl Append, ready: &Ready, sequence: u64) -> Place {
    Place {
        version: ready.version,
        sequence,
        hash: ready.hash,
        append_id: append.append_id(),
        command_id: append.command_id(),
    }
}

fn known(version: Version) -> Option<Version> {
    Some(version).filter(|version| *version > Version(0))
}

/// Returns how long an append waits before it looks again: each otherwise, so that they part.
fn jitter(append_id: Uuid, attempt: u8) -> Duration {
    let longest = (1 << attempt.min(63)).min(JITTER_MILLIS_MAX);
    let mut hasher = DefaultHasher::new();
    (append_id, attempt).hash(&mut hasher);
    Duration::from_millis(longest / 2 + hasher.finish() % longest)
}
