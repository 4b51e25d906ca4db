//! An append: guarded by the server's number of the stream's newest entry, and answered by what the
//! leader has, never by what a timeout suggests.
//!
//! A write of ours that comes late can do no harm: it carries the number that it expects, so it fails
//! if somebody took its version, and else a search finds it.

use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{self, Instant};
use uuid::Uuid;

use crate::entry::{Hash, Version};
use crate::log::{Appended, LogError, Tip};
use crate::remote::outgoing::{Append, Outgoing};
use crate::remote::place::Place;
use crate::remote::tips::Tips;
use crate::stream::{Log, Stream};

/// How often one append looks at its stream and sends. Past it the answer is what is known by then.
pub(crate) const ATTEMPTS_MAX: u8 = 64;
/// The longest wait between two of them. They grow, and each append's are others.
const JITTER_MILLIS_MAX: u64 = 64;
/// Writers of one process that may be at work at once, on streams of their own.
const TURNS: usize = 1_024;
/// Versions that a search looks through at once.
const SEARCH_ENTRIES: usize = 256;

/// A server that takes an entry only behind the one that is named.
#[async_trait]
pub(crate) trait Guarded: Sync {
    fn log(&self) -> Log;

    /// How long one append may take in all.
    fn patience(&self) -> Duration;

    fn tips(&self) -> &Tips;

    fn turns(&self) -> &Turns;

    /// An error where nothing can be sent at all.
    fn reach(&self) -> Result<(), LogError>;

    /// Returns what is remembered of an entry with this append id, whenever it was put in.
    fn remembered(&self, _stream: &Stream, _append_id: Uuid) -> Option<Place> {
        None
    }

    /// Returns the version up to which no id of a stream can have escaped [`Self::remembered`]: an append
    /// that expects nothing is looked for behind it. As a rule that is the stream's newest version.
    fn remembered_to(&self, _stream: &Stream, newest: Version) -> Version {
        newest
    }

    /// Returns a stream's tip, from the leader.
    async fn base(&self, stream: &Stream) -> Result<Base, LogError>;

    /// Returns some entries of a stream after a version, in order; none only when there are none.
    async fn places_after(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Place>, LogError>;

    /// Does what must be done before an entry can be sent behind a base. Nothing of the entry leaves.
    async fn prepare(&self, _stream: &Stream, _base: &Base) -> Result<(), LogError> {
        Ok(())
    }

    /// Sends an entry that belongs right behind a base.
    async fn send(&self, entry: &Outgoing<'_>, base: &Base) -> Result<Sent, LogError>;

    /// An append that was silent was found to be stored, or not.
    fn heard(&self, _stored: bool) {}
}

/// What became of an entry that was to be sent.
pub(crate) enum Sent {
    /// It is in; nobody had put in one with its id before.
    Stored(Place),
    /// One with its id was in already.
    Found(Place),
    /// The server has taken another, or may have: look again.
    Lost,
    /// The server says that one with its id was there, and does not show it yet.
    Hidden,
    /// Nothing has left.
    Unsent,
    /// No word came: it may be in, or come yet.
    Silent,
    /// The server has said no: so it is, once it is certain that nothing of ours is there.
    No(LogError),
}

/// The writers of this process take turns at a stream: all but one would lose, and look again.
pub(crate) struct Turns(Vec<Mutex<()>>);

impl Turns {
    pub(crate) fn new() -> Self {
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

/// The tip of a stream as an append rests on it.
pub(crate) struct Base {
    pub(crate) tip: Tip,
    /// What the server checks; `None` where it has nothing of the stream.
    pub(crate) number: Option<u64>,
    /// The entry itself, where the server still has it.
    pub(crate) place: Option<Place>,
    /// The leader has just said so.
    is_certain: bool,
}

impl Base {
    /// A stream that has never had an entry.
    pub(crate) fn empty() -> Self {
        Self::of_dropped(Tip { version: Version(0), hash: Hash::default() }, None)
    }

    /// A stream of which the server no longer shows the newest entry.
    pub(crate) fn of_dropped(tip: Tip, number: Option<u64>) -> Self {
        Self { tip, number, place: None, is_certain: true }
    }

    /// A stream whose newest entry the leader has just shown.
    pub(crate) fn of_leader(place: Place) -> Self {
        Self { is_certain: true, ..Self::guessed(place) }
    }

    fn guessed(place: Place) -> Self {
        Self { tip: place.tip(), number: Some(place.number), place: Some(place), is_certain: false }
    }
}

/// Appends within the patience of the log. Once bytes may have left, an answer is one that was read.
pub(crate) async fn put_in(
    server: &impl Guarded,
    append: &impl Append,
) -> Result<Appended, LogError> {
    let (log, patience) = (server.log(), server.patience());
    if append.stream().log() != log {
        let text = format!("{} is not in the {log} log", append.stream());
        return Err(LogError::Unavailable(text));
    }
    if let Some(place) = remembered(server, append) {
        return first_result(append, &place);
    }
    server.reach()?;
    let sent = AtomicBool::new(false);
    let answer = time::timeout_at(Instant::now() + patience, attempts(server, append, &sent));
    let answer = answer.await.unwrap_or_else(|_| {
        server.tips().doubt(append.stream());
        Err(LogError::Unavailable(format!("the log does not answer within {patience:?}")))
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
    server: &impl Guarded,
    append: &impl Append,
    sent: &AtomicBool,
) -> Result<Appended, LogError> {
    let (stream, tips) = (append.stream(), server.tips());
    let _turn = server.turns().of(stream).await;
    // Where a search begins: after the version that the first attempt rested on.
    let mut searched_after: Option<Version> = None;
    // A no that may be said once it is certain that nothing of ours is there.
    let mut no: Option<LogError> = None;
    // Whether something was sent of which nothing was heard: it may come yet.
    let mut is_unknown = false;
    let mut was_silent = false;
    // What was sent of which nothing was heard: found, it is the first result itself.
    let mut silent: Option<Hash> = None;
    for attempt in 0..ATTEMPTS_MAX {
        // Whoever had the turn before may have put it in.
        if let Some(place) = remembered(server, append) {
            return result(append, &place, silent);
        }
        let base = if let Some(place) = tips.guess(stream).filter(|_| attempt == 0) {
            Base::guessed(place)
        } else {
            let base = server.base(stream).await?;
            if let Some(place) = base.place {
                tips.note(stream, place);
            }
            base
        };
        if let Some(place) = base.place.filter(|it| append.has_place(it)) {
            if was_silent {
                server.heard(true);
            }
            return result(append, &place, silent);
        }
        let expected = append.base(&base.tip);
        let after = *searched_after.get_or_insert_with(|| {
            if append.expects_nothing() { server.remembered_to(stream, expected) } else { expected }
        });
        let after = after.min(expected);
        if base.tip.version > after {
            if !base.is_certain {
                tips.doubt(stream);
                continue;
            }
            if let Some(place) = search(server, append, after, base.tip.version).await? {
                return result(append, &place, silent);
            }
        }
        if base.tip.version != expected {
            if !base.is_certain {
                tips.doubt(stream);
                continue;
            }
            return Err(LogError::Conflict { actual: known(base.tip.version) });
        }
        // The version is free, and nothing of ours is there.
        if std::mem::take(&mut was_silent) {
            server.heard(false);
        }
        if let Some(no) = no {
            return Err(if is_unknown { LogError::OutcomeUnknown } else { no });
        }
        let ready = append.seal(&base.tip)?;
        server.prepare(stream, &base).await?;
        let entry = Outgoing {
            stream,
            append_id: append.append_id(),
            command_id: append.command_id(),
            ready: &ready,
        };
        let had_sent = sent.swap(true, Ordering::Relaxed);
        match server.send(&entry, &base).await? {
            Sent::Stored(place) => {
                server.heard(true);
                tips.note(stream, place);
                let Place { offset, version, .. } = place;
                return Ok(Appended { offset, version, repeated: false });
            }
            Sent::Found(place) => return result(append, &place, silent),
            Sent::Lost => {}
            Sent::Unsent => sent.store(had_sent, Ordering::Relaxed),
            Sent::Hidden => is_unknown = true,
            Sent::Silent => {
                (is_unknown, was_silent) = (true, true);
                silent = Some(ready.hash);
            }
            Sent::No(error) => no = Some(error),
        }
        tips.doubt(stream);
        time::sleep(jitter(append.append_id(), attempt)).await;
    }
    Err(LogError::OutcomeUnknown)
}

fn remembered(server: &impl Guarded, append: &impl Append) -> Option<Place> {
    let place = server.remembered(append.stream(), append.append_id());
    place.filter(|place| append.has_place(place))
}

/// Looks for an entry of ours after a version.
async fn search(
    server: &impl Guarded,
    append: &impl Append,
    mut after: Version,
    newest: Version,
) -> Result<Option<Place>, LogError> {
    while after < newest {
        let places = server.places_after(append.stream(), after, SEARCH_ENTRIES).await?;
        for place in &places {
            if append.has_place(place) {
                return Ok(Some(*place));
            }
            after = place.version;
        }
        if places.is_empty() {
            break;
        }
    }
    Ok(None)
}

/// Returns the result of an entry that was found: the first one, where it was just sent and not heard of.
fn result(append: &impl Append, place: &Place, silent: Option<Hash>) -> Result<Appended, LogError> {
    let first = first_result(append, place)?;
    Ok(Appended { repeated: silent != Some(place.hash), ..first })
}

fn first_result(append: &impl Append, place: &Place) -> Result<Appended, LogError> {
    if append.is(place) {
        let Place { offset, version, .. } = *place;
        Ok(Appended { offset, version, repeated: true })
    } else {
        Err(LogError::KeyReused)
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
