//! Reading a log: one walk through the database from a place to its end, of which our events are kept;
//! and a stream by its revisions.
//!
//! A server that shuts down ends a read as if that were all. A walk through what the tail has seen must
//! bring an entry, as there is one. One through what is new has a witness: the newest event
//! of the database, whatever it is, seen before the walk began. The walk looks for it too, and what ends
//! without having come to it has not come to the end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eventstore::{Position, RecordedEvent, StreamPosition};
use tokio::time::{self, Instant};

use crate::entry::{Offset, Version};
use crate::kurrent::Shared;
use crate::kurrent::ahead::Follow;
use crate::kurrent::event::Raw;
use crate::kurrent::server::{ANSWER_WAIT, Fault, Newest, Next, Reading};
use crate::log::LogError;
use crate::stream::Stream;

/// Entries that one read returns at the most, and bytes of their bodies after which it returns.
pub(super) const READ_ENTRIES_MAX: usize = 1_024;
pub(super) const READ_BYTES_MAX: usize = 8 << 20;

/// Entries that a start looks back for: their append ids are known again.
const BACK_ENTRIES: usize = 1_024;
/// How long it looks back for more than one, and for that one: the server passes over all else.
const BACK_WAIT: Duration = Duration::from_secs(1);
const BACK_FIRST_WAIT: Duration = Duration::from_mins(10);
/// Who asks for fewer wants just them.
const SMALL_LIMIT: usize = 16;
/// How long a reader waits: with what has come by then it goes on.
const READ_WAIT: Duration = Duration::from_millis(900);
/// How often that is doubled for a server that answers and finds nothing in its time: it may have to
/// pass over much that is not ours.
const DOUBLED_MAX: u32 = 6;

/// How long walks may take.
#[derive(Default)]
pub(super) struct WalkWait {
    doubled: AtomicU32,
}

impl WalkWait {
    fn now(&self) -> Duration {
        READ_WAIT * (1 << self.doubled.load(Ordering::Relaxed).min(DOUBLED_MAX))
    }

    fn brought_something(&self) {
        self.doubled.store(0, Ordering::Relaxed);
    }

    fn brought_nothing(&self) {
        let doubled = self.doubled.load(Ordering::Relaxed);
        self.doubled.store((doubled + 1).min(DOUBLED_MAX), Ordering::Relaxed);
    }
}

/// The newest event of the whole database.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    pub(super) position: u64,
    stream: String,
}

impl Witness {
    fn of(event: &RecordedEvent) -> Self {
        Self { position: event.position.commit, stream: event.stream_id().to_owned() }
    }

    pub(super) fn stream(&self) -> &str {
        &self.stream
    }
}

/// What a walk has found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) raws: Vec<Raw>,
    /// Up to where all that is ours was seen; `None` when nothing was.
    pub(super) seen_to: Option<u64>,
}

impl Shared {
    /// Returns the newest event of the database, from the leader; `None` in an empty one.
    pub(super) async fn end(&self) -> Result<Option<Witness>, LogError> {
        self.ask_for_end().await.map_err(Fault::unavailable)
    }

    /// The same, and why there is no answer.
    pub(super) async fn ask_for_end(&self) -> Result<Option<Witness>, Fault> {
        match self.server.all_backward(None, 1, ANSWER_WAIT).await?.event().await? {
            Next::Event(event) => Ok(Some(Witness::of(&event))),
            // A database that once held something holds something.
            Next::End { .. } if self.has_seen_any() => Err(Fault::Silence(ENDED_EARLY.to_owned())),
            // A server that shuts down does not say that there is no stream.
            Next::End { .. } => match self.server.newest(&self.names.of(&Stream::System)).await? {
                Newest::Never => Ok(None),
                Newest::Event(_) | Newest::Hidden(_) => Err(Fault::Silence(ENDED_EARLY.to_owned())),
            },
        }
    }

    /// Returns until when a walk may take that begins now.
    pub(super) fn soon(&self) -> Instant {
        // One that is away is not waited for any longer.
        let wait = self.faring.reach().map_or(READ_WAIT, |()| self.walk_wait.now());
        Instant::now() + wait
    }

    /// Returns entries after an offset; none only when there are none.
    pub(super) async fn raws(&self, after: Offset, limit: usize) -> Result<Vec<Raw>, LogError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        if let Some(raws) = self.ahead.take(after, limit) {
            return Ok(raws);
        }
        let by = self.soon();
        // Who asks for few wants just them.
        let asked = if limit < SMALL_LIMIT { limit } else { READ_ENTRIES_MAX };
        let (seen_to, newest) = self.seen_to_and_newest();
        let raws = if after < newest {
            // No witness: on a long way there may be more of its stream than of ours.
            self.walk(after, asked, None, by).await?.raws
        } else {
            let Some(witness) = self.end().await? else { return Ok(Vec::new()) };
            if witness.position <= after.0.max(seen_to.0) {
                return Ok(Vec::new());
            }
            // Nothing of ours stands between.
            self.walk_from(seen_to, after, asked, Some(&witness), by).await?.raws
        };
        let first = raws.first().cloned();
        match self.ahead.put(after, raws, limit) {
            Err(damage) => {
                let jump = first.filter(|first| self.ahead.jumps(after, first));
                let Some(first) = jump else { return Err(damage) };
                if !self.is_dropped_before(&first).await? {
                    return Err(damage);
                }
                self.ahead.go_on(after, &first);
                Ok(vec![first])
            }
            raws => raws,
        }
    }

    /// Walks from behind an offset until there is enough, or it has to be: without a witness, at least
    /// to one entry.
    pub(super) async fn walk(
        &self,
        after: Offset,
        limit: usize,
        witness: Option<&Witness>,
        by: Instant,
    ) -> Result<Found, LogError> {
        self.walk_from(after, after, limit, witness, by).await
    }

    /// The same, and passes over what stands between a place and the offset.
    async fn walk_from(
        &self,
        place: Offset,
        after: Offset,
        limit: usize,
        witness: Option<&Witness>,
        by: Instant,
    ) -> Result<Found, LogError> {
        let found = self.step(place, after, limit, witness, by).await;
        match &found {
            Ok(_) => self.walk_wait.brought_something(),
            Err(_) if Instant::now() >= by => self.walk_wait.brought_nothing(),
            Err(_) => {}
        }
        found
    }

    async fn step(
        &self,
        place: Offset,
        after: Offset,
        limit: usize,
        witness: Option<&Witness>,
        by: Instant,
    ) -> Result<Found, LogError> {
        // With the one at the place itself. A read that ends by itself is cheaper than one that is given
        // up, and a server takes who gives up many for an attack.
        let mut count = limit.min(READ_ENTRIES_MAX) + 1;
        let mut position = place.0;
        let mut walk = self.begin(place, witness, count, by).await?;
        let (mut found, mut bytes, mut events) = (Found::default(), 0, 0);
        let mut next = walk.first.take();
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => match walk.reading.event_by(by).await {
                    Ok(Next::Event(event)) => event,
                    // As many as were asked for, and none of them was one of ours.
                    Ok(Next::End { .. }) if events >= count && found.raws.is_empty() => {
                        (events, count) = (0, READ_ENTRIES_MAX);
                        walk = self.begin(Offset(position), witness, count, by).await?;
                        next = walk.first.take();
                        continue;
                    }
                    Ok(Next::End { .. }) => break,
                    Err(_) if !found.raws.is_empty() => return Ok(found),
                    Err(fault) => return Err(fault.unavailable()),
                },
            };
            events += 1;
            position = event.position.commit;
            let raw = self.take(*event).filter(|raw| raw.offset > after);
            // One behind the last that is wanted is only let run out.
            if found.raws.len() < limit {
                found.seen_to = Some(position.max(after.0));
                if let Some(raw) = raw {
                    bytes += raw.bytes();
                    found.raws.push(raw);
                }
            }
            let is_enough = found.raws.len() >= limit && events + 1 < count;
            if is_enough || bytes >= READ_BYTES_MAX {
                return Ok(found);
            }
        }
        let at_end = found.seen_to.zip(witness).is_some_and(|(to, end)| to >= end.position);
        if at_end || !found.raws.is_empty() { Ok(found) } else { Err(ended_early()) }
    }

    /// Begins a walk. Only a place where a record begins can be read from: `after` is one when it was
    /// told by us; and one who looks for an entry asks with the offset before it.
    async fn begin(
        &self,
        after: Offset,
        witness: Option<&Witness>,
        count: usize,
        by: Instant,
    ) -> Result<Walk<'_>, LogError> {
        let at =
            |offset: u64| StreamPosition::Position(Position { commit: offset, prepare: offset });
        let places = match after {
            Offset(0) => vec![],
            // Not asked with a place that is none: the client would connect anew.
            Offset(after) if self.places.before(Offset(after + 1)) == Some(Offset(after + 1)) => {
                vec![at(after + 1)]
            }
            Offset(after) => vec![at(after), at(after + 1)],
        };
        for place in places {
            match self.begin_at(place, witness, count, by).await {
                Ok(walk) => return Ok(walk),
                Err(Fault::No(_)) => {}
                Err(fault) => return Err(fault.unavailable()),
            }
        }
        // All that comes before it is passed over.
        let before = self.places.before(after);
        let begin = before.map_or(StreamPosition::Start, |Offset(before)| at(before));
        self.begin_at(begin, witness, count, by).await.map_err(Fault::unavailable)
    }

    async fn begin_at(
        &self,
        place: StreamPosition<Position>,
        witness: Option<&Witness>,
        count: usize,
        by: Instant,
    ) -> Result<Walk<'_>, Fault> {
        let filter = self.names.filter_with_settings();
        let filter = match witness {
            Some(witness) => filter.add_prefix(&witness.stream),
            None => filter,
        };
        let wait = by.saturating_duration_since(Instant::now());
        let mut reading = self.server.all_from(place, filter, count, wait).await?;
        // A place that is none is told with the first event.
        let first = match reading.event().await? {
            Next::Event(event) => Some(event),
            Next::End { .. } => None,
        };
        Ok(Walk { reading, first })
    }

    /// Takes an event if it is ours.
    pub(super) fn take(&self, event: RecordedEvent) -> Option<Raw> {
        self.note_settings(&event);
        let raw = Raw::of(event, &self.names)?;
        self.places.note(raw.offset);
        Some(raw)
    }

    /// Returns the newest entries of the log, oldest first, as far back as there is time to look; all
    /// that is ours up to the witness was seen then.
    pub(super) async fn look_back(&self, witness: &Witness) -> Result<Vec<Raw>, LogError> {
        let filter = self.names.filter().add_prefix(&witness.stream);
        let reading = self.server.all_backward(Some(filter), usize::MAX, BACK_FIRST_WAIT).await;
        let mut reading = reading.map_err(Fault::unavailable)?;
        let begun = Instant::now();
        let (mut raws, mut is_whole) = (Vec::new(), false);
        while raws.len() < BACK_ENTRIES && (raws.is_empty() || begun.elapsed() < BACK_WAIT) {
            match reading.event_within(BACK_FIRST_WAIT).await.map_err(Fault::unavailable)? {
                Next::Event(event) => {
                    is_whole |= event.position.commit >= witness.position;
                    raws.extend(self.take(*event));
                }
                Next::End { .. } => break,
            }
        }
        raws.reverse();
        if is_whole { Ok(raws) } else { Err(ended_early()) }
    }

    /// Returns the newest entry of a stream that is shown, or else its newest revision.
    pub(super) async fn newest_of(&self, stream: &Stream) -> Result<NewestOf, LogError> {
        let name = self.names.of(stream);
        Ok(match self.server.newest(&name).await {
            Ok(Newest::Event(event)) => match self.take(*event) {
                Some(raw) => NewestOf::Raw(raw),
                None => return Err(LogError::Unavailable(format!("{name} is no stream of ours"))),
            },
            Ok(Newest::Hidden(revision)) => NewestOf::Hidden(revision),
            Ok(Newest::Never) => NewestOf::Never,
            Err(Fault::Deleted) => {
                let reason = format!("the stream {name} was deleted in KurrentDB");
                return Err(LogError::Damaged { offset: Offset(0), reason });
            }
            Err(fault) => return Err(fault.unavailable()),
        })
    }

    /// Returns entries of a stream after a version, whose versions rise by one.
    pub(super) async fn raws_of(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Raw>, LogError> {
        if limit == 0 || stream.log() != self.names.log {
            return Ok(Vec::new());
        }
        let by = Instant::now() + READ_WAIT;
        let NewestOf::Raw(newest) = self.newest_of(stream).await? else { return Ok(Vec::new()) };
        let place = newest.place()?;
        self.tips.note(stream, place);
        if place.version <= after {
            return Ok(Vec::new());
        }
        if place.version == after.next() {
            return Ok(vec![newest]);
        }
        // Revisions and versions rise together; a stream that was copied may begin later.
        let from = newest.revision.saturating_sub(place.version.0 - after.next().0);
        let name = self.names.of(stream);
        let wanted = usize::try_from(newest.revision - from + 1).unwrap_or(usize::MAX);
        let wanted = wanted.min(limit).min(READ_ENTRIES_MAX);
        let reading = time::timeout_at(by, self.server.stream_from(&name, from, wanted)).await;
        let mut reading = reading.map_err(|_| ended_early())?.map_err(Fault::unavailable)?;
        let (mut raws, mut bytes) = (Vec::new(), 0);
        while raws.len() < wanted && bytes < READ_BYTES_MAX {
            match reading.event_by(by).await {
                Ok(Next::Event(event)) => {
                    let Some(raw) = self.take(*event) else { continue };
                    bytes += raw.bytes();
                    raws.push(raw);
                }
                Ok(Next::End { .. }) => break,
                Err(_) if !raws.is_empty() => break,
                Err(fault) => return Err(fault.unavailable()),
            }
        }
        if raws.is_empty() {
            return Err(ended_early());
        }
        let mut follow = Follow::default();
        let rising = raws.iter().take_while(|raw| follow.take(raw).is_ok()).count();
        if rising == 0 {
            Follow::default().take(raws.first().ok_or_else(ended_early)?)?;
        }
        raws.truncate(rising);
        // It begins with the next one, or with the first that retention has left.
        if let Some(first) = raws.first()
            && first.place()?.version != after.next()
            && !self.is_dropped_before(first).await?
        {
            return Err(first.damaged(&format!("the revisions from {from} on are not there")));
        }
        Ok(raws)
    }
}

/// What a stream's newest entry is.
pub(super) enum NewestOf {
    Raw(Raw),
    /// It is there, and not shown any more; its revision.
    Hidden(u64),
    Never,
}

struct Walk<'a> {
    reading: Reading<'a>,
    first: Option<Box<RecordedEvent>>,
}

const ENDED_EARLY: &str = "KurrentDB has ended a read before its end";

fn ended_early() -> LogError {
    LogError::Unavailable(ENDED_EARLY.to_owned())
}
