//! What a feed hears becomes events: batched, judged by the rule of its market, and recorded once.
//!
//! One intake serves one feed. It waits for the log, and its feed waits for it: nothing is dropped
//! in silence. Any number of intakes may serve the same venue, on this node and on others, because
//! every append states the version it rests on.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use domain::book::Session;
use domain::candle::{Candle, Interval};
use domain::event::Event;
use domain::instrument::Instrument;
use domain::market::book::{BookStep, BookTold};
use domain::market::event::MarketEvent;
use domain::median::Median;
use domain::observation::{Heard, Observation};
use domain::time::{MINUTE, SECOND, Timestamp};
use eventlog::entry::{Actor, ENTRY_EVENTS_MAX};
use eventlog::keep::Keep;
use eventlog::log::{EventLog, Expected, LogError};
use eventlog::stream::Stream;
use futures_util::future;
use tokio::sync::mpsc;

use self::keeper::Keeper;
use self::recorder::Recorder;
use self::slice::{Part, Slice};
use crate::clock::Clock;
use crate::feed_status::FeedStatus;
use crate::pen::{Pen, name};

mod slice;

mod own_book;

mod recorder;

mod kept;

mod keeper;

mod native;

/// Observations that wait for the intake. When it is full, the feed waits: nothing is dropped.
pub const QUEUE_TICKS_MAX: usize = 4_096;

/// Time that the first tick of a batch waits for company. A full batch does not wait.
const LINGER: Duration = Duration::from_millis(2);

/// Observations that are taken from the queue before the log is asked.
const ROUND_MAX: usize = 2_048;

/// A message stamped further ahead of the corrected clock than this is set aside.
const FUTURE_MAX: i64 = 60 * SECOND;

/// Messages whose clock offset is remembered, and how many it takes before the median is believed.
const SKEW_SAMPLES: usize = 1_000;
const SKEW_SAMPLES_MIN: usize = 8;

/// What of the books is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BookRecording {
    /// Every change as it comes.
    #[default]
    All,
    /// A snapshot a second.
    Sampled,
    /// Nothing.
    Off,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("books are recorded as one of: all, sampled, off")]
pub struct NotABookRecording;

impl FromStr for BookRecording {
    type Err = NotABookRecording;

    fn from_str(text: &str) -> Result<Self, NotABookRecording> {
        match text {
            "all" => Ok(Self::All),
            "sampled" => Ok(Self::Sampled),
            "off" => Ok(Self::Off),
            _ => Err(NotABookRecording),
        }
    }
}

/// How an intake is set.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// This run of this feed: another one for each start of it.
    pub session: Session,
    pub books: BookRecording,
}

/// Takes what one feed hears and records it.
pub struct Intake {
    market: Arc<dyn EventLog>,
    ledger: Arc<dyn EventLog>,
    keep: Arc<dyn Keep>,
    clock: Arc<dyn Clock>,
    status: Arc<FeedStatus>,
    options: Options,
    actor: Actor,
    markets: BTreeMap<Instrument, Recorder>,
    keeper: Keeper,
    skew: Skew,
    /// The last message with a time of the venue's that was believed, and when it came.
    dated: Option<(Timestamp, Timestamp)>,
    /// The greatest time that the venue has told.
    venue_clock: Timestamp,
    /// When something from this venue was last recorded.
    recorded_at: Option<Timestamp>,
}

impl Intake {
    /// Returns an intake that goes on where the one before it has ended. What it knows of its markets
    /// it keeps in `keep` from time to time, and at its end.
    pub fn new(
        market: Arc<dyn EventLog>,
        ledger: Arc<dyn EventLog>,
        keep: Arc<dyn Keep>,
        clock: Arc<dyn Clock>,
        status: Arc<FeedStatus>,
        options: Options,
    ) -> Self {
        let actor = Actor {
            principal: status.venue.to_string(),
            role: "feed".to_owned(),
            via: "intake".to_owned(),
        };
        let keeper = Keeper::new(keep.clone(), market.clone());
        Self {
            market,
            ledger,
            keep,
            clock,
            status,
            options,
            actor,
            markets: BTreeMap::new(),
            keeper,
            skew: Skew::default(),
            dated: None,
            venue_clock: Timestamp::MIN,
            recorded_at: None,
        }
    }

    /// Records what comes out of the queue until it is closed and empty. Ends early only when a log
    /// is damaged.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Observation>) -> Result<(), LogError> {
        let mut round = Vec::with_capacity(ROUND_MAX);
        while self.gather(&mut queue, &mut round).await {
            self.take(&mut round).await?;
            self.keep_markets();
        }
        let markets =
            self.markets.values().map(|recorder| (recorder.stream(), recorder.standing()));
        self.keeper.finish(markets, self.clock.now()).await;
        Ok(())
    }

    fn keep_markets(&mut self) {
        let now = self.clock.now();
        for recorder in self.markets.values() {
            self.keeper.look(recorder.stream(), recorder.standing(), now);
        }
    }

    /// Fills a round: what is there, and what comes while the first waits for company.
    async fn gather(
        &self,
        queue: &mut mpsc::Receiver<Observation>,
        round: &mut Vec<Observation>,
    ) -> bool {
        if queue.recv_many(round, ROUND_MAX).await == 0 {
            return false;
        }
        let deadline = tokio::time::Instant::now() + LINGER;
        while round.len() < ENTRY_EVENTS_MAX {
            let more = queue.recv_many(round, ROUND_MAX);
            match tokio::time::timeout_at(deadline, more).await {
                Ok(1..) => {}
                // Closed, or the time is over: what is here goes in now.
                Ok(0) | Err(_) => break,
            }
        }
        true
    }

    async fn take(&mut self, round: &mut Vec<Observation>) -> Result<(), LogError> {
        let Some(last) = round.last().map(|observation| observation.received_at) else {
            return Ok(());
        };
        let (mut slice, mut sign_of_life) = (Slice::default(), None);
        for Observation { received_at, venue_time, heard } in round.drain(..) {
            match heard {
                Heard::Tick(instrument, tick) => {
                    let stamp = Some(tick.traded_at);
                    if self.believe(received_at, venue_time, stamp).is_err() {
                        continue;
                    }
                    if slice.is_closed_to_tick(&instrument, &tick) {
                        self.record(std::mem::take(&mut slice)).await?;
                    }
                    slice.push_tick(instrument, tick, received_at);
                }
                Heard::Top(..) | Heard::Beat => {
                    if let Ok(stamp) = self.believe(received_at, venue_time, venue_time) {
                        sign_of_life = Some((stamp, received_at));
                    }
                }
                Heard::Snapshot(instrument, snapshot) => {
                    let stamp = self.believe(received_at, venue_time, venue_time);
                    sign_of_life = stamp.ok().map(|stamp| (stamp, received_at)).or(sign_of_life);
                    let told = BookTold::Snapshot(snapshot);
                    self.step(&mut slice, instrument, received_at, stamp, told).await?;
                }
                Heard::Diff(instrument, diff) => {
                    let stamp = self.believe(received_at, venue_time, venue_time);
                    sign_of_life = stamp.ok().map(|stamp| (stamp, received_at)).or(sign_of_life);
                    let told = BookTold::Diff(diff);
                    self.step(&mut slice, instrument, received_at, stamp, told).await?;
                }
                // These are words of the feed: the venue's clock is not moved by them.
                Heard::BookLost(instrument, reason) => {
                    let stamp = Ok(self.arrival(received_at));
                    let told = BookTold::Lost(reason);
                    self.step(&mut slice, instrument, received_at, stamp, told).await?;
                }
                Heard::TradesGone(instrument, first_id, last_id) => {
                    // What came before may be what shows that they are missing.
                    self.record(std::mem::take(&mut slice)).await?;
                    self.give_up(instrument, first_id, last_id).await?;
                }
                Heard::Candles(instrument, interval, candles) => {
                    self.import(received_at, instrument, interval, &candles).await?;
                }
                Heard::Listed(instrument, listing) => self.status.list(instrument, listing),
                Heard::Link(link) => self.status.set_link(link),
            }
        }
        self.record(slice).await?;
        self.notice_gaps().await?;
        if let Some((venue_time, received_at)) = sign_of_life {
            self.pulse(venue_time, received_at).await?;
        }
        self.status.hear(last);
        Ok(())
    }

    /// Returns the venue's time of a message, and moves the venue's clock on. A message from the
    /// future moves nothing, whatever it says: one would close every candle for good. The error is
    /// the time that its arrival tells.
    fn believe(
        &mut self,
        received_at: Timestamp,
        venue_time: Option<Timestamp>,
        stamp: Option<Timestamp>,
    ) -> Result<Timestamp, Timestamp> {
        let (arrived, guess) = (received_at.plus(self.skew.get()), self.arrival(received_at));
        let founded = self.skew.is_believed() || self.dated.is_some();
        if let Some(venue_time) = venue_time {
            self.skew.push(venue_time.since(received_at));
        }
        let Some(stamp) = stamp else {
            if founded {
                self.venue_clock = self.venue_clock.max(guess);
            }
            return Ok(guess);
        };
        if stamp.since(arrived) > FUTURE_MAX {
            self.status.count_set_aside();
            return Err(guess);
        }
        // A trade that was fetched late came without a time of now.
        if venue_time.is_some() {
            self.dated = Some((stamp, received_at));
        }
        self.venue_clock = self.venue_clock.max(stamp);
        Ok(stamp)
    }

    /// Returns the venue's time of an arrival. Our clock may be far from the venue's: before their
    /// distance is believed, the last dated message and what has passed since are the better guess.
    fn arrival(&self, received_at: Timestamp) -> Timestamp {
        match self.dated {
            Some((stamp, then)) if !self.skew.is_believed() => stamp.plus(received_at.since(then)),
            _ => received_at.plus(self.skew.get()),
        }
    }

    /// Adds to a slice what is told of a book. A stamp from the future is set aside, not what it
    /// stands on: without it, all that follows would not continue the book.
    async fn step(
        &mut self,
        slice: &mut Slice,
        instrument: Instrument,
        received_at: Timestamp,
        stamp: Result<Timestamp, Timestamp>,
        told: BookTold,
    ) -> Result<(), LogError> {
        if self.options.books == BookRecording::Off {
            return Ok(());
        }
        let (Ok(venue_time) | Err(venue_time)) = stamp;
        let step = BookStep { venue_time, received_at, told };
        if slice.is_closed_to_step(&step) {
            self.record(std::mem::take(slice)).await?;
        }
        slice.push_step(instrument, step);
        Ok(())
    }

    /// Records each instrument's ticks and then its book, all instruments at once, so that one
    /// fsync serves them all.
    async fn record(&mut self, slice: Slice) -> Result<(), LogError> {
        let Slice { mut parts, received_at, .. } = slice;
        for instrument in parts.keys() {
            self.recorder(instrument);
        }
        let pen = Pen { log: self.market.as_ref(), clock: self.clock.as_ref(), actor: &self.actor };
        let (status, options) = (&self.status, self.options);
        let recorders = self.markets.iter_mut().filter_map(|(instrument, recorder)| {
            let Part { ticks, steps } = parts.remove(instrument)?;
            Some(async move {
                let told = ticks.len() as u64;
                let recorded = recorder.record(&pen, &ticks).await?;
                status.count(recorded, told - recorded);
                recorder.follow(&pen, steps, options).await
            })
        });
        let books = future::try_join_all(recorders).await?;
        self.recorded_at =
            books.into_iter().flatten().chain(received_at).max().or(self.recorded_at);
        Ok(())
    }

    fn recorder(&mut self, instrument: &Instrument) -> &mut Recorder {
        let (venue, keep) = (&self.status.venue, &self.keep);
        self.markets.entry(instrument.clone()).or_insert_with(|| {
            let (venue, instrument) = (venue.clone(), instrument.clone());
            Recorder::new(Stream::Market { venue, instrument }, keep.clone())
        })
    }

    async fn give_up(
        &mut self,
        instrument: Instrument,
        first_id: u64,
        last_id: u64,
    ) -> Result<(), LogError> {
        let (market, clock, actor) = (self.market.clone(), self.clock.clone(), self.actor.clone());
        let pen = Pen { log: market.as_ref(), clock: clock.as_ref(), actor: &actor };
        self.recorder(&instrument).give_up(&pen, first_id, last_id).await
    }

    async fn import(
        &self,
        received_at: Timestamp,
        instrument: Instrument,
        interval: Interval,
        candles: &[Candle],
    ) -> Result<(), LogError> {
        let pen = Pen { log: self.ledger.as_ref(), clock: self.clock.as_ref(), actor: &self.actor };
        let stream = Stream::Candles { venue: self.status.venue.clone(), instrument };
        let until = received_at.plus(self.skew.get()).plus(FUTURE_MAX);
        native::import(&pen, &stream, interval, candles, until).await
    }

    /// Asks every market that misses something. A hole becomes a gap by the venue's clock, also
    /// while its instrument rests.
    async fn notice_gaps(&mut self) -> Result<(), LogError> {
        let pen = Pen { log: self.market.as_ref(), clock: self.clock.as_ref(), actor: &self.actor };
        let venue_time = self.venue_clock;
        let recorders = self.markets.values_mut().filter(|recorder| recorder.has_gaps());
        let notice = recorders.map(|recorder| recorder.notice_gaps(&pen, venue_time));
        future::try_join_all(notice).await?;
        Ok(())
    }

    /// Records that the venue lives, once a minute at most and only while nothing else came: so
    /// that silent minutes close. What is recorded of a book says so too.
    async fn pulse(
        &mut self,
        venue_time: Timestamp,
        received_at: Timestamp,
    ) -> Result<(), LogError> {
        // Silence is measured from the first thing heard.
        let since = *self.recorded_at.get_or_insert(received_at);
        if received_at.since(since) < MINUTE {
            return Ok(());
        }
        let stream = Stream::Pulse(self.status.venue.clone());
        // Two intakes of a venue name the same minute alike, so it is recorded once.
        let minute = venue_time.floor(MINUTE).micros().to_le_bytes();
        let name = name(&stream, "pulse", &minute);
        let event = Event::Market(MarketEvent::PulseObserved { venue_time, received_at });
        let pen = Pen { log: self.market.as_ref(), clock: self.clock.as_ref(), actor: &self.actor };
        pen.put(&stream, &name, vec![event], Expected::Any).await?;
        self.recorded_at = Some(received_at);
        Ok(())
    }
}

/// The venue's clock minus ours, as the messages tell it.
#[derive(Default)]
struct Skew(Median<SKEW_SAMPLES>);

impl Skew {
    fn push(&mut self, sample: i64) {
        self.0.push(sample);
    }

    fn is_believed(&self) -> bool {
        self.0.samples() >= SKEW_SAMPLES_MIN
    }

    /// Returns zero until it is believed.
    fn get(&self) -> i64 {
        self.0.get().filter(|_| self.is_believed()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
