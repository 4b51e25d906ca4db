//! Makes one whole book of what a venue tells in pieces, or says that there is none.
//!
//! ```text
//!             snapshot fits                  hole, crossed, contradicted
//! Buffering ─────────────────▶ Synced ────────────────────────────────────▶ Buffering
//!     ▲                          │ disconnected, silent
//!     └── a diff goes on exactly ┘ (the book is kept: nothing was missed, so it comes back whole)
//! ```
//!
//! A pure state machine: no clock, no I/O. Every feed passes what it hears through it, so that what
//! leaves is a `Snapshot`, the `Diff`s that continue it, or `BookLost` and then nothing but the next
//! `Snapshot`.
//!
//! When a diff continues a book is `domain::order_book`'s to say. It holds what a diff covers, from
//! after `previous` (the futures' `pu`, else U − 1) to u, against the book's last update L: old when
//! u ≤ L, a hole when L < `previous`. For spot that is U ≤ L + 1 ≤ u, for futures U ≤ L ≤ u and from
//! then on `pu` = L. A diff that begins before L and ends after it, as two overlapping sockets may
//! cut them, continues the book too: quantities are absolute.

mod witness;

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use domain::book::{BookDiff, BookSnapshot, LostReason, SNAPSHOT_LEVELS_MAX, Top};
use domain::instrument::Instrument;
use domain::observation::{Heard, Observation};
use domain::order_book::{self, Applied, OrderBook};
use domain::time::Timestamp;

use crate::splice::witness::Witness;

/// Diffs that wait for a snapshot: 100 s of Binance's spot. Beyond it the oldest is forgotten, and
/// only a later snapshot fits.
pub const DIFFS_MAX: usize = 1_024;

/// Snapshots that may fail to fit one buffer. Then it is thrown away and the wait begins anew.
pub const TRIES_MAX: u32 = 5;

/// Diffs in a row that a kept book may know already. After so many the venue's ids have started
/// again, and the book is not kept any longer: it would never go on.
pub const OLD_MAX: u32 = 64;

/// The books of one feed.
#[derive(Debug, Default)]
pub struct Splices(BTreeMap<Instrument, Splice>);

impl Splices {
    /// Takes in what was decoded and adds to `out` what is to be handed on, in order. What is not
    /// about books passes.
    pub fn hear(&mut self, observation: Observation, out: &mut Vec<Observation>) {
        let Observation { received_at, venue_time, heard } = observation;
        let stamp = Stamp { received_at, venue_time };
        match heard {
            Heard::Diff(instrument, diff) => {
                let told = self.of(&instrument).diff(stamp, diff);
                out.extend(told.into_iter().map(|told| told.by(&instrument)));
            }
            Heard::Snapshot(instrument, snapshot) => {
                let told = self.of(&instrument).snapshot(stamp, &snapshot);
                out.extend(told.into_iter().map(|told| told.by(&instrument)));
            }
            Heard::Top(instrument, top) => {
                let told = self.of(&instrument).top(stamp, top);
                out.push(stamp.with(Heard::Top(instrument.clone(), top)));
                out.extend(told.map(|told| told.by(&instrument)));
            }
            heard @ (Heard::Tick(..)
            | Heard::BookLost(..)
            | Heard::Candles(..)
            | Heard::TradesGone(..)
            | Heard::Listed(..)
            | Heard::Link(..)
            | Heard::Beat) => out.push(stamp.with(heard)),
        }
    }

    /// Gives a book up, for a reason that its messages do not show.
    pub fn lose(
        &mut self,
        instrument: &Instrument,
        reason: LostReason,
        at: Timestamp,
        out: &mut Vec<Observation>,
    ) {
        let told = self.of(instrument).lose(Stamp { received_at: at, venue_time: None }, reason);
        out.extend(told.map(|told| told.by(instrument)));
    }

    /// Returns the state of an instrument's book.
    pub fn of(&mut self, instrument: &Instrument) -> &mut Splice {
        self.0.entry(instrument.clone()).or_default()
    }
}

/// The book of one instrument.
#[derive(Debug, Default)]
pub struct Splice {
    state: State,
    witness: Witness,
    tries: u32,
}

#[derive(Debug)]
enum State {
    Buffering {
        /// Each continues the one before.
        diffs: VecDeque<(Stamp, BookDiff)>,
        /// The book as it stood when it was lost for no fault of its own.
        kept: Option<OrderBook>,
        /// Diffs since then that it knew already.
        old: u32,
    },
    Synced(OrderBook),
}

impl Default for State {
    fn default() -> Self {
        Self::Buffering { diffs: VecDeque::new(), kept: None, old: 0 }
    }
}

/// When a message came, by our clock and by the venue's.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    pub received_at: Timestamp,
    pub venue_time: Option<Timestamp>,
}

/// What is to be handed on of one book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub received_at: Timestamp,
    pub venue_time: Option<Timestamp>,
    pub book: Book,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Book {
    Snapshot(BookSnapshot),
    Diff(BookDiff),
    Lost(LostReason),
}

impl Splice {
    /// Takes in a change.
    pub fn diff(&mut self, stamp: Stamp, diff: BookDiff) -> Vec<Told> {
        match &mut self.state {
            State::Buffering { kept: Some(kept), old, .. }
                if *old < OLD_MAX && kept.continues(&diff) == Ok(Applied::Old) =>
            {
                *old += 1;
                Vec::new()
            }
            State::Buffering { diffs, kept, .. } => match kept.take() {
                Some(kept) if kept.continues(&diff) == Ok(Applied::Changed) => {
                    self.revive(stamp, kept, &diff).into_iter().collect()
                }
                _ => {
                    buffer(diffs, stamp, diff);
                    Vec::new()
                }
            },
            State::Synced(book) => match book.continues(&diff) {
                Ok(Applied::Old) => Vec::new(),
                Ok(Applied::Changed) => {
                    let judged = apply(book, &diff, &mut self.witness);
                    match judged {
                        Ok(()) => vec![stamp.told(Book::Diff(diff))],
                        Err(reason) => self.lose(stamp, reason).into_iter().collect(),
                    }
                }
                Err(reason) => {
                    let told = self.lose(stamp, reason);
                    buffer(diffs_of(&mut self.state), stamp, diff);
                    told.into_iter().collect()
                }
            },
        }
    }

    /// Takes in a whole book: one that was asked for, or one that came by itself.
    pub fn snapshot(&mut self, stamp: Stamp, raw: &BookSnapshot) -> Vec<Told> {
        // Cut before anything is applied: whoever listens knows no more than this either.
        let snapshot = match OrderBook::of(raw) {
            Ok(book) => book.snapshot(SNAPSHOT_LEVELS_MAX),
            Err(_crossed) => {
                self.fail();
                return Vec::new();
            }
        };
        let diffs = match &mut self.state {
            State::Synced(book) if snapshot.update_id <= book.last_id() => return Vec::new(),
            State::Synced(_) => VecDeque::new(),
            State::Buffering { diffs, .. } => {
                // None of them can matter again: later snapshots are later.
                diffs.retain(|(_, diff)| diff.last_id > snapshot.update_id);
                diffs.clone()
            }
        };
        match spliced(&snapshot, &diffs, &mut self.witness) {
            Ok(book) => {
                self.state = State::Synced(book);
                self.tries = 0;
                let first = stamp.told(Book::Snapshot(snapshot));
                let rest = diffs.into_iter().map(|(stamp, diff)| stamp.told(Book::Diff(diff)));
                std::iter::once(first).chain(rest).collect()
            }
            Err(reason) => {
                self.witness.forget();
                let told = self.lose(stamp, reason);
                self.fail();
                told.into_iter().collect()
            }
        }
    }

    /// Takes in the venue's own best bid and ask.
    pub fn top(&mut self, stamp: Stamp, top: Top) -> Option<Told> {
        let agrees = self.witness.hear(top);
        match (&self.state, agrees) {
            (State::Synced(_), false) => self.lose(stamp, LostReason::Contradicted),
            _ => None,
        }
    }

    /// Gives the book up; tells of it when there was one.
    pub fn lose(&mut self, stamp: Stamp, reason: LostReason) -> Option<Told> {
        self.witness.forget();
        let book = match &mut self.state {
            State::Synced(book) => book,
            State::Buffering { diffs, .. } => {
                // Another line begins elsewhere. A silence may end where it began.
                if reason == LostReason::Disconnected {
                    diffs.clear();
                }
                return None;
            }
        };
        let kept = match reason {
            LostReason::Disconnected | LostReason::Silent => Some(book.clone()),
            LostReason::Hole | LostReason::Crossed | LostReason::Contradicted => None,
        };
        self.state = State::Buffering { diffs: VecDeque::new(), kept, old: 0 };
        Some(stamp.told(Book::Lost(reason)))
    }

    /// Notes that a snapshot that was asked for did not come, or did not fit.
    pub fn fail(&mut self) {
        self.tries += 1;
        if self.tries.is_multiple_of(TRIES_MAX) {
            diffs_of(&mut self.state).clear();
        }
    }

    /// Whether a snapshot is needed now. Not before the first diff: there would be nothing to
    /// splice it to, and a quiet market would be asked again and again.
    pub fn wants_snapshot(&self) -> bool {
        matches!(&self.state, State::Buffering { diffs, .. } if !diffs.is_empty())
    }

    /// Returns how many snapshots have failed in a row. Each waits longer than the one before.
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// Returns the book, while it is whole.
    pub const fn book(&self) -> Option<&OrderBook> {
        match &self.state {
            State::Synced(book) => Some(book),
            State::Buffering { .. } => None,
        }
    }

    /// Returns at how many updates the venue's own best bid and ask were those of the book.
    pub const fn witnessed(&self) -> u64 {
        self.witness.agreed()
    }

    /// Brings a kept book back when the first diff goes on from it. It is told as it stands after
    /// the diff, so that no snapshot is ever told twice.
    fn revive(&mut self, stamp: Stamp, mut whole: OrderBook, diff: &BookDiff) -> Option<Told> {
        apply(&mut whole, diff, &mut self.witness).ok()?;
        let snapshot = whole.snapshot(SNAPSHOT_LEVELS_MAX);
        self.state = State::Synced(OrderBook::of(&snapshot).ok()?);
        self.tries = 0;
        Some(stamp.told(Book::Snapshot(snapshot)))
    }
}

/// Returns the buffer; of a synced book there is none, and it begins.
fn diffs_of(state: &mut State) -> &mut VecDeque<(Stamp, BookDiff)> {
    if let State::Synced(_) = state {
        *state = State::default();
    }
    match state {
        State::Buffering { diffs, .. } => diffs,
        State::Synced(_) => unreachable!("it was made to buffer just now"),
    }
}

fn buffer(diffs: &mut VecDeque<(Stamp, BookDiff)>, stamp: Stamp, diff: BookDiff) {
    let last = diffs.back().map(|(_, last)| last.last_id);
    match last.map(|last| order_book::continues(last, &diff)) {
        Some(Ok(Applied::Old)) => return,
        // What lies before a hole is of no use to any book.
        Some(Err(_)) => diffs.clear(),
        Some(Ok(Applied::Changed)) | None => {}
    }
    if diffs.len() == DIFFS_MAX {
        diffs.pop_front();
    }
    diffs.push_back((stamp, diff));
}

/// Returns the book that a snapshot and the diffs after it make.
fn spliced(
    snapshot: &BookSnapshot,
    diffs: &VecDeque<(Stamp, BookDiff)>,
    witness: &mut Witness,
) -> Result<OrderBook, LostReason> {
    let mut book = OrderBook::of(snapshot)?;
    witness.judge(&book)?;
    for (_, diff) in diffs {
        apply(&mut book, diff, witness)?;
    }
    Ok(book)
}

fn apply(book: &mut OrderBook, diff: &BookDiff, witness: &mut Witness) -> Result<(), LostReason> {
    book.apply(diff)?;
    witness.judge(book)
}

impl Stamp {
    fn told(self, book: Book) -> Told {
        Told { received_at: self.received_at, venue_time: self.venue_time, book }
    }

    fn with(self, heard: Heard) -> Observation {
        Observation { received_at: self.received_at, venue_time: self.venue_time, heard }
    }
}

impl Told {
    fn by(self, instrument: &Instrument) -> Observation {
        let instrument = instrument.clone();
        let heard = match self.book {
            Book::Snapshot(snapshot) => Heard::Snapshot(instrument, snapshot),
            Book::Diff(diff) => Heard::Diff(instrument, diff),
            Book::Lost(reason) => Heard::BookLost(instrument, reason),
        };
        Observation { received_at: self.received_at, venue_time: self.venue_time, heard }
    }
}
