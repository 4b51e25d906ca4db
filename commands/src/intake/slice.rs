//! What goes into the log together.

use std::collections::BTreeMap;

use domain::candle::CLOSE_PATIENCE;
use domain::instrument::Instrument;
use domain::market::book::BookStep;
use domain::tick::Tick;
use domain::time::{SECOND, Timestamp};

/// Venue time over which several instruments, or ticks and books, go in together.
const SLICE_MAX: i64 = SECOND;

// Instruments go in side by side, in any order, and the views close candles by the greatest time
// in what went in. All times of a slice lie closer together than a closed candle's patience, so
// nothing in a slice closes a candle that the rest of it still adds to.
const _: () = assert!(SLICE_MAX < CLOSE_PATIENCE);

/// Ticks and books that go in together. Ticks of one instrument alone may span any time; all else
/// spans less than [`SLICE_MAX`].
#[derive(Debug, Default)]
pub(super) struct Slice {
    pub(super) parts: BTreeMap<Instrument, Part>,
    holds_books: bool,
    /// The earliest and the latest time of the venue in it.
    span: Option<(Timestamp, Timestamp)>,
    /// When the last tick came.
    pub(super) received_at: Option<Timestamp>,
}

/// What one instrument has in a slice. Its ticks go in before its book.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) ticks: Vec<Tick>,
    pub(super) steps: Vec<BookStep>,
}

impl Slice {
    /// Whether it must go in before a tick can be taken.
    pub(super) fn is_closed_to_tick(&self, instrument: &Instrument, tick: &Tick) -> bool {
        let alone = !self.holds_books && self.parts.keys().all(|held| held == instrument);
        !alone && self.is_too_long_with(tick.traded_at)
    }

    /// Whether it must go in before a step of a book can be taken.
    pub(super) fn is_closed_to_step(&self, step: &BookStep) -> bool {
        self.is_too_long_with(step.venue_time)
    }

    pub(super) fn push_tick(&mut self, instrument: Instrument, tick: Tick, received_at: Timestamp) {
        self.stretch(tick.traded_at);
        self.received_at = Some(received_at);
        self.parts.entry(instrument).or_default().ticks.push(tick);
    }

    pub(super) fn push_step(&mut self, instrument: Instrument, step: BookStep) {
        self.stretch(step.venue_time);
        self.holds_books = true;
        self.parts.entry(instrument).or_default().steps.push(step);
    }

    fn is_too_long_with(&self, stamp: Timestamp) -> bool {
        self.span.is_some_and(|(from, until)| until.max(stamp).since(from.min(stamp)) >= SLICE_MAX)
    }

    fn stretch(&mut self, stamp: Timestamp) {
        let (from, until) = self.span.unwrap_or((stamp, stamp));
        self.span = Some((from.min(stamp), until.max(stamp)));
    }
}
