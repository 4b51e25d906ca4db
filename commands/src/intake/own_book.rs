//! The book as this session sees it, and what of it is asked to be recorded.
//!
//! A session keeps its own book also while another's is followed: so it can take over with a
//! snapshot at any moment, without asking the venue.

use domain::book::{BookDiff, BookSnapshot, SNAPSHOT_LEVELS_MAX, Session};
use domain::market::book::{BookStep, BookTold, Following};
use domain::order_book::{Applied, OrderBook};
use domain::time::SECOND;
use eventlog::entry::{ENTRY_BYTES_MAX, ENTRY_EVENTS_MAX};

use crate::intake::BookRecording;

/// Levels that one entry may hold. A diff with more is recorded as the book that it leads to.
const ENTRY_LEVELS_MAX: usize = 5_000;

/// Bytes of a level and of what stands around levels in a body: two amounts of 33 characters and
/// their marks; names, three ids and three times.
const LEVEL_BYTES_MAX: usize = 74;
const EVENT_BYTES_MAX: usize = 400;
const _: () = assert!(
    ENTRY_LEVELS_MAX * LEVEL_BYTES_MAX + (ENTRY_EVENTS_MAX + 4) * EVENT_BYTES_MAX < ENTRY_BYTES_MAX
);
const SNAPSHOT_LEVELS: usize = 2 * SNAPSHOT_LEVELS_MAX;
const _: () = assert!(SNAPSHOT_LEVELS <= ENTRY_LEVELS_MAX);

/// Venue time between two snapshots while books are sampled.
const SAMPLE_EVERY: i64 = SECOND;

/// One instrument's book in this session; none before its first snapshot and after a loss.
#[derive(Debug, Default)]
pub(super) struct OwnBook(Option<OrderBook>);

impl OwnBook {
    /// Takes in a step; returns it as it can be recorded, or `None` when it says nothing.
    pub(super) fn take(&mut self, step: BookStep) -> Option<BookStep> {
        let told = match step.told {
            BookTold::Snapshot(snapshot) => self.start(&snapshot),
            BookTold::Diff(diff) => self.change(diff)?,
            BookTold::Lost(reason) => {
                self.0 = None;
                BookTold::Lost(reason)
            }
        };
        Some(BookStep { told, ..step })
    }

    fn start(&mut self, snapshot: &BookSnapshot) -> BookTold {
        match OrderBook::of(snapshot) {
            Ok(book) => {
                let cut = book.snapshot(SNAPSHOT_LEVELS_MAX);
                self.0 = Some(book);
                BookTold::Snapshot(cut)
            }
            Err(reason) => {
                self.0 = None;
                BookTold::Lost(reason)
            }
        }
    }

    fn change(&mut self, diff: BookDiff) -> Option<BookTold> {
        let book = self.0.as_mut()?;
        match book.apply(&diff) {
            Ok(Applied::Old) => None,
            Ok(Applied::Changed) if levels(&diff) > ENTRY_LEVELS_MAX => {
                Some(BookTold::Snapshot(book.snapshot(SNAPSHOT_LEVELS_MAX)))
            }
            Ok(Applied::Changed) => Some(BookTold::Diff(diff)),
            Err(reason) => {
                self.0 = None;
                Some(BookTold::Lost(reason))
            }
        }
    }

    /// Returns what is to be recorded of a chunk that was just taken in, by what the market follows
    /// now. The market rules on it again.
    pub(super) fn ask(
        &self,
        chunk: &Chunk,
        following: Option<Following>,
        session: Session,
        recording: BookRecording,
    ) -> Vec<BookStep> {
        let Some(newest) = chunk.steps.last() else { return Vec::new() };
        let stands = || {
            let book = self.0.as_ref()?;
            let told = BookTold::Snapshot(book.snapshot(SNAPSHOT_LEVELS_MAX));
            let BookStep { venue_time, received_at, .. } = *newest;
            Some(BookStep { venue_time, received_at, told })
        };
        let ours = following.is_none_or(|following| following.session == session);
        let followed = following.filter(|following| ours && following.synced);
        match (recording, followed) {
            (BookRecording::Off, _) => Vec::new(),
            (BookRecording::All, Some(_)) => chunk.steps.clone(),
            (BookRecording::Sampled, Some(followed)) => {
                let lost = chunk.steps.iter().rfind(|step| matches!(step.told, BookTold::Lost(_)));
                let due = newest.venue_time.since(followed.venue_time) >= SAMPLE_EVERY;
                let sample = if lost.is_some() || due { stands() } else { None };
                lost.cloned().into_iter().chain(sample).collect()
            }
            // Nobody's book stands in the way: from our newest snapshot on.
            (BookRecording::All, None) if ours && self.0.is_some() => {
                let snapshot = |step: &BookStep| matches!(step.told, BookTold::Snapshot(_));
                match chunk.steps.iter().rposition(snapshot) {
                    Some(place) => chunk.steps.iter().skip(place).cloned().collect(),
                    None => stands().into_iter().collect(),
                }
            }
            (_, None) => {
                let yields =
                    following.is_none_or(|following| following.yields_to(newest.venue_time));
                if ours || yields { stands().into_iter().collect() } else { Vec::new() }
            }
        }
    }
}

/// Steps that go in with one entry.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    steps: Vec<BookStep>,
    levels: usize,
}

impl Chunk {
    pub(super) fn has_room_for(&self, step: &BookStep) -> bool {
        self.steps.len() < ENTRY_EVENTS_MAX && self.levels + weight(step) <= ENTRY_LEVELS_MAX
    }

    pub(super) fn push(&mut self, step: BookStep) {
        self.levels += weight(&step);
        self.steps.push(step);
    }

    pub(super) fn newest(&self) -> Option<&BookStep> {
        self.steps.last()
    }
}

/// The levels that a step puts into an entry, at the most.
fn weight(step: &BookStep) -> usize {
    match &step.told {
        BookTold::Snapshot(_) => SNAPSHOT_LEVELS,
        BookTold::Diff(diff) if levels(diff) > ENTRY_LEVELS_MAX => SNAPSHOT_LEVELS,
        BookTold::Diff(diff) => levels(diff),
        BookTold::Lost(_) => 0,
    }
}

fn levels(diff: &BookDiff) -> usize {
    diff.bids.len() + diff.asks.len()
}
