//! The book of one instrument, as its topics are told of it: whole or by its changes.

use std::cmp::Ordering;
use std::sync::Arc;

use domain::amount::Price;
use domain::book::Level;
use domain::event::Event;
use domain::instrument::{Instrument, Venue};
use domain::market::event::{MarketEvent, Told};
use domain::order_book::{Applied, OrderBook};
use domain::time::Timestamp;
use eventlog::entry::{Entry, Offset};
use eventlog::log::LogError;
use eventlog::stream::Stream;
use rust_decimal::Decimal;

use crate::app::App;
use crate::ws::best::{Best, Change, Top};
use crate::ws::frames::{Content, Frame, Lost, Scales};
use crate::ws::sequence;
use crate::ws::topic::{Ring, Subject, Topic};

/// A fold of its own, beside the view: the view may be further than what is being sent.
#[derive(Debug)]
pub struct LiveBook {
    levels: Option<OrderBook>,
    /// The best levels, as deep as the deepest topic; empty while the book is lost.
    top: Arc<Top>,
    told_at: Timestamp,
    /// The sequence of what made the book what it is.
    seq: u64,
    /// Whether the topics were told that it is too old: what comes next must be whole.
    old: bool,
    /// What the views showed at the start: up to here everything is in.
    from: Offset,
    topics: Vec<Arc<Topic>>,
}

impl LiveBook {
    /// Starts from the book as the views show it.
    pub async fn begin(
        app: &App,
        venue: &Venue,
        instrument: &Instrument,
    ) -> Result<Self, LogError> {
        let (from, held) = app.views.at_rest(|at| {
            let books = app.views.books();
            let held = books.get(venue, instrument).map(|book| {
                let levels = book.synced.then(|| book.levels.clone());
                (levels, book.told.venue_time, book.version, book.place)
            });
            (at, held)
        });
        let mut live = Self {
            levels: None,
            top: Arc::new(Top::empty()),
            told_at: Timestamp::MIN,
            seq: 0,
            old: false,
            from,
            topics: Vec::new(),
        };
        if let Some((levels, told_at, version, place)) = held {
            let stream = Stream::Market { venue: venue.clone(), instrument: instrument.clone() };
            let (offset, entry) = app.entry(&stream, version).await?;
            // A book whose last entry has gone is days old: it begins again with the next whole one.
            live.seq = match entry {
                Some(_) => sequence::seq(offset, place),
                None => sequence::end(offset),
            };
            (live.levels, live.told_at) = (levels.filter(|_| entry.is_some()), told_at);
        }
        Ok(live)
    }

    /// Lets one more topic be told.
    pub fn add(&mut self, topic: &Arc<Topic>, scales: Scales) {
        let Subject::Book { depth, .. } = topic.key.subject else { return };
        // What others hold keeps its digits until they are told of a whole book again.
        let held = self.is_told() && !self.topics.is_empty();
        let scales = if held { self.top.scales } else { scales };
        self.topics.push(Arc::clone(topic));
        self.top = self.best(scales);
        if topic.read(Ring::has_begun) {
            self.take_over(topic, depth);
        } else {
            topic.begin(self.seq, self.is_told().then(|| self.whole(depth)));
        }
    }

    /// Goes on with a topic that was told of another venue's book, which nothing here continues.
    fn take_over(&mut self, topic: &Topic, depth: usize) {
        let (last, shows_book) = topic.read(|ring| (ring.last_seq(), ring.whole().is_some()));
        // All that it was told comes from entries before those that are taken here.
        self.seq = self.seq.max(last + 1);
        if self.is_told() {
            let whole = Arc::new(self.whole(depth));
            topic.publish([Arc::clone(&whole)], Some(whole));
        } else if shows_book {
            let content = Content::Lost(Lost::NeverTold);
            topic.publish([Arc::new(Frame::new(self.seq, content))], None);
        }
    }

    /// Keeps only topics that somebody listens to; returns whether there are any.
    pub fn retain(&mut self, mut keep: impl FnMut(&Arc<Topic>) -> bool) -> bool {
        self.topics.retain(|topic| keep(topic));
        !self.topics.is_empty()
    }

    pub fn take(&mut self, entry: &Entry, scales: Scales) {
        if entry.offset <= self.from {
            return;
        }
        for (place, event) in entry.events.iter().enumerate() {
            let Event::Market(event) = event else { continue };
            let seq = sequence::seq(entry.offset, place);
            match event {
                MarketEvent::BookSnapshotObserved { told, snapshot } => {
                    match OrderBook::of(snapshot) {
                        Ok(levels) => self.replace(levels, *told, seq, scales),
                        Err(reason) => self.lose(seq, Lost::Reason(reason)),
                    }
                }
                MarketEvent::BookDiffObserved { told, diff } => {
                    let Some(levels) = &mut self.levels else { continue };
                    match levels.apply(diff) {
                        Ok(Applied::Old) => {}
                        Ok(Applied::Changed) => self.change(*told, seq, scales),
                        Err(reason) => self.lose(seq, Lost::Reason(reason)),
                    }
                }
                MarketEvent::BookLost { reason, .. } => self.lose(seq, Lost::Reason(*reason)),
                MarketEvent::TickObserved(_)
                | MarketEvent::FeedGapOpened { .. }
                | MarketEvent::FeedGapFilled { .. }
                | MarketEvent::FeedGapUnfillable { .. }
                | MarketEvent::PulseObserved { .. } => {}
            }
        }
    }

    /// Whether there is a book that the topics show.
    const fn is_told(&self) -> bool {
        self.levels.is_some() && !self.old
    }

    /// Tells once that nothing was told of the book for too long, as of all entries up to `read`.
    /// Nobody else says so when what brings the book is gone.
    pub fn grow_old(&mut self, read: Offset) {
        let seq = sequence::end(read);
        if !self.is_told() || self.seq >= seq {
            return;
        }
        (self.seq, self.old) = (seq, true);
        self.tell_lost(Lost::Old);
    }

    fn replace(&mut self, levels: OrderBook, told: Told, seq: u64, scales: Scales) {
        self.levels = Some(levels);
        self.tell_whole(told, seq, scales);
    }

    fn tell_whole(&mut self, told: Told, seq: u64, scales: Scales) {
        (self.told_at, self.seq, self.old) = (told.venue_time, seq, false);
        self.top = self.best(scales);
        for topic in &self.topics {
            let Subject::Book { depth, .. } = topic.key.subject else { continue };
            let whole = Arc::new(self.whole(depth));
            topic.publish([Arc::clone(&whole)], Some(whole));
        }
    }

    fn change(&mut self, told: Told, seq: u64, scales: Scales) {
        // Once prices are printed with more digits, no change fits the levels that a client holds.
        if self.old || self.top.scales != scales {
            self.tell_whole(told, seq, scales);
            return;
        }
        (self.told_at, self.seq) = (told.venue_time, seq);
        let before = std::mem::replace(&mut self.top, Arc::new(Top::empty()));
        self.top = self.best(scales);
        for topic in &self.topics {
            let Subject::Book { depth, deltas } = topic.key.subject else { continue };
            let whole = Arc::new(self.whole(depth));
            if !deltas {
                topic.publish([Arc::clone(&whole)], Some(whole));
                continue;
            }
            let cut = |levels: &'_ [Level]| levels.get(..depth).unwrap_or(levels).to_vec();
            let bids = changes(&cut(&before.bids), &cut(&self.top.bids), Ordering::Greater);
            let asks = changes(&cut(&before.asks), &cut(&self.top.asks), Ordering::Less);
            if bids.is_empty() && asks.is_empty() {
                continue;
            }
            let prev_seq = topic.read(Ring::last_seq);
            let after = Best { top: Arc::clone(&self.top), depth };
            let change = Content::Change(Change { prev_seq, bids, asks, after });
            topic.publish([Arc::new(Frame::new(seq, change))], Some(whole));
        }
    }

    /// Tells once that the book cannot be told.
    fn lose(&mut self, seq: u64, lost: Lost) {
        let told = self.is_told();
        self.levels = None;
        if told {
            (self.seq, self.top) = (seq, Arc::new(Top::empty()));
            self.tell_lost(lost);
        }
    }

    fn tell_lost(&self, lost: Lost) {
        for topic in &self.topics {
            topic.publish([Arc::new(Frame::new(self.seq, Content::Lost(lost)))], None);
        }
    }

    fn best(&self, scales: Scales) -> Arc<Top> {
        let Some(levels) = &self.levels else { return Arc::new(Top::empty()) };
        let depth = |topic: &Arc<Topic>| match topic.key.subject {
            Subject::Book { depth, .. } => depth,
            Subject::Trades | Subject::Candles(_) => 0,
        };
        let deepest = self.topics.iter().map(depth).max().unwrap_or_default();
        Arc::new(Top::of(levels, deepest, self.told_at, scales))
    }

    fn whole(&self, depth: usize) -> Frame {
        Frame::new(self.seq, Content::Book(Best { top: Arc::clone(&self.top), depth }))
    }
}

/// Returns what makes `after` of `before`, best first. `better` says how a better price compares to
/// a worse one.
fn changes(before: &[Level], after: &[Level], better: Ordering) -> Vec<Level> {
    let gone = |level: &Level| Level { price: level.price, quantity: Decimal::ZERO };
    let comes_first = |one: Price, other: Price| one.cmp(&other) == better;
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    let mut changes = Vec::new();
    loop {
        match (before.peek(), after.peek()) {
            (None, None) => return changes,
            (Some(old), Some(new)) if old.price == new.price => {
                if old.quantity != new.quantity {
                    changes.push(**new);
                }
                before.next();
                after.next();
            }
            (Some(old), new) if new.is_none_or(|new| comes_first(old.price, new.price)) => {
                changes.push(gone(old));
                before.next();
            }
            (_, new) => {
                changes.extend(new.map(|new| **new));
                after.next();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(text: &str) -> Vec<Level> {
        let level = |level: &str| {
            let (price, quantity) = level.split_once(':').unwrap();
            Level { price: price.parse().unwrap(), quantity: quantity.parse().unwrap() }
        };
        text.split_whitespace().map(level).collect()
    }

    #[test]
    fn changes_make_the_one_side_of_the_other() {
        for (before, after, expected) in [
            ("", "", ""),
            ("", "9:1 8:1", "9:1 8:1"),
            ("9:1 8:1", "", "9:0 8:0"),
            ("9:1 8:1", "9:1 8:1", ""),
            ("9:1 8:1", "9:1.0 8:2", "8:2"),
            ("9:1 8:1", "10:1 9:1", "10:1 8:0"),
            ("10:1 9:1", "9:1 8:1", "10:0 8:1"),
            ("9:1 7:1", "8:1 7:1", "9:0 8:1"),
        ] {
            let changes = changes(&side(before), &side(after), Ordering::Greater);
            assert_eq!(changes, side(expected), "{before} -> {after}");
        }
    }
}
