//! Candles as they are streamed: those that form, and each that closes or is corrected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::candle::{CLOSE_PATIENCE, Interval};
use domain::event::Event;
use domain::instrument::Venue;
use domain::market::event::MarketEvent;
use domain::time::Timestamp;
use eventlog::entry::{ENTRY_EVENTS_MAX, Entry, Offset};
use eventlog::stream::Stream;
use projections::candles::InstrumentCandles;
use projections::history::{self, Shown};

use crate::app::App;
use crate::ws::frames::{Content, Frame, Scales};
use crate::ws::sequence;
use crate::ws::topic::{Subject, Topic};

/// One topic of candles. What a candle holds is read from the view, which is never behind.
#[derive(Debug)]
pub struct Bars {
    topic: Arc<Topic>,
    venue: Venue,
    interval: Interval,
    /// The venue's clock, by which buckets close; `None` before anything was heard.
    clock: Option<Timestamp>,
    /// What the views showed at the start: up to here everything is in.
    from: Offset,
    /// Since the last `publish`: buckets that closed or were corrected, in order of sequence, and
    /// those that form.
    closed: Vec<Closed>,
    forming: BTreeMap<Timestamp, u64>,
    /// The newest candle that was sent.
    newest: Option<Arc<Frame>>,
}

/// Buckets that follow each other, and the sequence of the first.
#[derive(Debug)]
struct Closed {
    seq: u64,
    first: Timestamp,
    count: usize,
}

impl Bars {
    /// Begins with the newest candle as the views show it.
    pub fn begin(app: &App, venue: &Venue, topic: Arc<Topic>) -> Option<Self> {
        let Subject::Candles(interval) = topic.key.subject else { return None };
        let instrument = &topic.key.instrument;
        let (from, held) = app.views.at_rest(|at| {
            let candles = app.views.candles();
            let held = candles.get(venue, instrument);
            let query = history::Query { interval, start: None, end: None, limit: 1, fill: true };
            (at, held.map(|held| (held.clock, query.answer(held).candles.pop())))
        });
        let (clock, newest) = held.map_or((None, None), |(clock, newest)| (Some(clock), newest));
        let (seq, scales) = (sequence::end(from), app.scales(venue, instrument));
        let whole = |shown: Shown| {
            let (candle, closed) = (shown.candle, shown.closed);
            Frame::new(seq, Content::Candle { candle, closed, interval, scales })
        };
        topic.begin(seq, newest.map(whole));
        let newest = topic.read(|ring| ring.whole().cloned());
        let (closed, forming) = (Vec::new(), BTreeMap::new());
        let venue = venue.clone();
        Some(Self { topic, venue, interval, clock, from, closed, forming, newest })
    }

    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// Notes what an entry changes. Entries of other instruments move the venue's clock.
    pub fn take(&mut self, entry: &Entry) {
        let ours = match &entry.stream {
            Stream::Market { venue, instrument } if *venue == self.venue => {
                *instrument == self.topic.key.instrument
            }
            Stream::Pulse(venue) if *venue == self.venue => false,
            _ => return,
        };
        if entry.offset <= self.from {
            return;
        }
        let (mut clock, mut traded) = (self.clock, BTreeSet::new());
        for event in &entry.events {
            let time = match event {
                Event::Market(MarketEvent::TickObserved(tick)) => {
                    if ours {
                        traded.insert(self.interval.bucket(tick.traded_at));
                    }
                    tick.traded_at
                }
                // What the view closes candles by: a loss of the book is told by us.
                Event::Market(MarketEvent::PulseObserved { venue_time, .. }) => *venue_time,
                Event::Market(
                    MarketEvent::BookSnapshotObserved { told, .. }
                    | MarketEvent::BookDiffObserved { told, .. },
                ) => told.venue_time,
                Event::Market(_)
                | Event::Candle(_)
                | Event::Account(_)
                | Event::Refusal(_)
                | Event::Key(_)
                | Event::Access(_) => {
                    continue;
                }
            };
            clock = clock.max(Some(time));
        }
        let Some(clock) = clock else { return };
        let open = self.first_open(clock);
        let was_open = self.clock.map_or(open, |clock| self.first_open(clock));
        self.clock = Some(clock);
        self.note(entry.offset, &traded, was_open, open);
    }

    fn note(
        &mut self,
        offset: Offset,
        traded: &BTreeSet<Timestamp>,
        was_open: Timestamp,
        open: Timestamp,
    ) {
        let mut place = 0;
        for bucket in traded.range(..was_open) {
            self.closed.push(Closed {
                seq: sequence::seq(offset, place),
                first: *bucket,
                count: 1,
            });
            place += 1;
        }
        let forming = traded.range(open..);
        // An entry has so many places. When more buckets close at once, which takes hours of
        // silence, the oldest are left to the history.
        let room = ENTRY_EVENTS_MAX.saturating_sub(place + forming.clone().count());
        let closes = open.since(was_open) / self.interval.length();
        let count = usize::try_from(closes).unwrap_or_default().min(room);
        if count > 0 {
            let back = i64::try_from(count).unwrap_or_default() * self.interval.length();
            let seq = sequence::seq(offset, place);
            self.closed.push(Closed { seq, first: open.plus(-back), count });
            place += count;
        }
        self.forming.retain(|bucket, _| *bucket >= open);
        for bucket in forming {
            self.forming.insert(*bucket, sequence::seq(offset, place));
            place += 1;
        }
    }

    /// Sends what was noted.
    pub fn publish(&mut self, app: &App) {
        if self.closed.is_empty() && self.forming.is_empty() {
            return;
        }
        let scales = app.scales(&self.venue, &self.topic.key.instrument);
        let (closed, forming) =
            (std::mem::take(&mut self.closed), std::mem::take(&mut self.forming));
        let mut frames = BTreeMap::new();
        {
            let candles = app.views.candles();
            let Some(held) = candles.get(&self.venue, &self.topic.key.instrument) else { return };
            for run in closed {
                self.show(held, &run, true, scales, &mut frames);
            }
            for (first, seq) in forming {
                self.show(held, &Closed { seq, first, count: 1 }, false, scales, &mut frames);
            }
        }
        for frame in frames.values() {
            let bucket = |frame: &Frame| match &frame.content {
                Content::Candle { candle, .. } => Some(candle.opened_at),
                _ => None,
            };
            if self.newest.as_ref().is_none_or(|newest| bucket(newest) <= bucket(frame)) {
                self.newest = Some(Arc::clone(frame));
            }
        }
        if !frames.is_empty() {
            self.topic.publish(frames.into_values(), self.newest.clone());
        }
    }

    fn show(
        &self,
        held: InstrumentCandles<'_>,
        run: &Closed,
        closed: bool,
        scales: Scales,
        frames: &mut BTreeMap<u64, Arc<Frame>>,
    ) {
        let interval = self.interval;
        let length = interval.length();
        let last = run.first.plus(length * (i64::try_from(run.count).unwrap_or(1) - 1));
        let query = history::Query {
            interval,
            start: Some(run.first),
            end: Some(last),
            limit: run.count,
            fill: true,
        };
        for shown in query.answer(held).candles {
            let candle = shown.candle;
            let place = candle.opened_at.since(run.first) / length;
            let seq = run.seq + u64::try_from(place).unwrap_or_default();
            let content = Content::Candle { candle, closed, interval, scales };
            frames.insert(seq, Arc::new(Frame::new(seq, content)));
        }
    }

    /// The first bucket that is not closed when the venue's clock shows `clock`.
    fn first_open(&self, clock: Timestamp) -> Timestamp {
        self.interval.bucket(clock.plus(-CLOSE_PATIENCE))
    }
}
