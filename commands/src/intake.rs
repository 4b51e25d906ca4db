//! Ticks become events: batched, judged by the rule of their market, and recorded once.
//!
//! One intake serves one feed. It waits for the log, and its feed waits for it: nothing is dropped
//! in silence. Any number of intakes may serve the same venue, on this node and on others, because
//! every append states the version it rests on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use domain::candle::CLOSE_PATIENCE;
use domain::decider::Decider;
use domain::event::Event;
use domain::instrument::Instrument;
use domain::market::event::MarketEvent;
use domain::market::{Market, MarketCommand};
use domain::median::Median;
use domain::observation::{Heard, Observation};
use domain::tick::Tick;
use domain::time::{MINUTE, SECOND, Timestamp};
use eventlog::entry::{Actor, Draft, ENTRY_EVENTS_MAX, Entry, Version};
use eventlog::log::{Appended, EventLog, Expected, LogError};
use eventlog::stream::Stream;
use futures_util::future;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::clock::Clock;
use crate::feed_status::FeedStatus;

/// Observations that wait for the intake. When it is full, the feed waits: nothing is dropped.
pub const QUEUE_TICKS_MAX: usize = 4_096;

/// Time that the first tick of a batch waits for company. A full batch does not wait.
const LINGER: Duration = Duration::from_millis(2);

/// Observations that are taken from the queue before the log is asked.
const ROUND_MAX: usize = 2_048;

/// Conflicts in a row after which the intake says that something is wrong. It goes on all the same.
const CONFLICTS_MAX: u32 = 16;

/// Waits between attempts while the log cannot be reached or is full.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Venue time over which ticks of several instruments go in side by side; a candle closes later.
const SLICE_MAX: i64 = SECOND;
const _: () = assert!(SLICE_MAX < CLOSE_PATIENCE);

/// A message stamped further ahead of the corrected clock than this is set aside.
const FUTURE_MAX: i64 = 60 * SECOND;

/// Messages whose clock offset is remembered, and how many it takes before the median is believed.
const SKEW_SAMPLES: usize = 1_000;
const SKEW_SAMPLES_MIN: usize = 8;

/// Entries that are read at once when another writer was first.
const CATCH_UP_ENTRIES: usize = 64;

/// Names of feed entries are made in this namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0b_2f5e_3a54_5f0c_9c1e_7d3f_5a61_8e20);
const COMMANDS: Uuid = Uuid::from_u128(0x2c9d_5d0e_8b1f_5a7e_8f43_1f0a_b9d4_63c7);

/// Takes what one feed hears and records it.
pub struct Intake {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    status: Arc<FeedStatus>,
    actor: Actor,
    markets: BTreeMap<Instrument, Recorder>,
    skew: Skew,
    /// The greatest time that the venue has told.
    venue_clock: Timestamp,
    /// When something from this venue was last recorded.
    recorded_at: Option<Timestamp>,
}

impl Intake {
    pub fn new(log: Arc<dyn EventLog>, clock: Arc<dyn Clock>, status: Arc<FeedStatus>) -> Self {
        let actor = Actor {
            principal: status.venue.to_string(),
            role: "feed".to_owned(),
            via: "intake".to_owned(),
        };
        let (markets, skew) = (BTreeMap::new(), Skew::default());
        let venue_clock = Timestamp::MIN;
        Self { log, clock, status, actor, markets, skew, venue_clock, recorded_at: None }
    }

    /// Records what comes out of the queue until it is closed and empty. Ends early only when the
    /// log is damaged.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Observation>) -> Result<(), LogError> {
        let mut round = Vec::with_capacity(ROUND_MAX);
        while self.gather(&mut queue, &mut round).await {
            self.take(&mut round).await?;
        }
        Ok(())
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
        for observation in round.drain(..) {
            let received_at = observation.received_at;
            let Some(venue_time) = self.believed_time(&observation) else { continue };
            match observation.heard {
                Heard::Tick(instrument, tick) => {
                    if slice.is_closed_to(&instrument, &tick) {
                        self.record(std::mem::take(&mut slice)).await?;
                    }
                    slice.push(instrument, tick, received_at);
                }
                // Books are heard, and say that the venue lives.
                Heard::Top(..) | Heard::Snapshot(..) | Heard::Diff(..) | Heard::Beat => {
                    sign_of_life = Some((venue_time, received_at));
                }
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
    /// future is set aside, whatever it says: one would close every candle for good.
    fn believed_time(&mut self, observation: &Observation) -> Option<Timestamp> {
        let Observation { received_at, venue_time, heard } = observation;
        let skew = self.skew.get();
        if let Some(venue_time) = venue_time {
            self.skew.push(venue_time.since(*received_at));
        }
        let stamp = match heard {
            Heard::Tick(_, tick) => tick.traded_at,
            _ => venue_time.unwrap_or(received_at.plus(skew)),
        };
        if stamp.plus(-skew).since(*received_at) > FUTURE_MAX {
            self.status.count_set_aside();
            return None;
        }
        self.venue_clock = self.venue_clock.max(stamp);
        Some(stamp)
    }

    /// Records each instrument's ticks, all instruments at once, so that one fsync serves them all.
    async fn record(&mut self, slice: Slice) -> Result<(), LogError> {
        let Slice { mut ticks, received_at, .. } = slice;
        for instrument in ticks.keys() {
            if !self.markets.contains_key(instrument) {
                let venue = self.status.venue.clone();
                let stream = Stream::Market { venue, instrument: instrument.clone() };
                self.markets.insert(instrument.clone(), Recorder::new(stream));
            }
        }
        let pen = Pen { log: self.log.as_ref(), clock: self.clock.as_ref(), actor: &self.actor };
        let status = &self.status;
        let recorders = self.markets.iter_mut().filter_map(|(instrument, recorder)| {
            let ticks = ticks.remove(instrument)?;
            Some(async move {
                let told = ticks.len() as u64;
                let recorded = recorder.record(&pen, &ticks).await?;
                status.count(recorded, told - recorded);
                Ok::<(), LogError>(())
            })
        });
        future::try_join_all(recorders).await?;
        self.recorded_at = received_at.or(self.recorded_at);
        Ok(())
    }

    /// Asks every market that misses something. A hole becomes a gap by the venue's clock, also
    /// while its instrument rests.
    async fn notice_gaps(&mut self) -> Result<(), LogError> {
        let pen = Pen { log: self.log.as_ref(), clock: self.clock.as_ref(), actor: &self.actor };
        let venue_time = self.venue_clock;
        let recorders = self.markets.values_mut().filter(|recorder| recorder.market.has_gaps());
        let notice = recorders.map(|recorder| recorder.notice_gaps(&pen, venue_time));
        future::try_join_all(notice).await?;
        Ok(())
    }

    /// Records that the venue lives, once a minute at most and only while nothing else came: so
    /// that silent minutes close.
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
        let event = MarketEvent::PulseObserved { venue_time, received_at };
        let pen = Pen { log: self.log.as_ref(), clock: self.clock.as_ref(), actor: &self.actor };
        pen.put(&stream, &name, vec![event], Expected::Any).await?;
        self.recorded_at = Some(received_at);
        Ok(())
    }
}

/// Ticks that go in together. Those of one instrument may span any time; those of several span
/// less than it takes to close a candle, or one entry would close what the next still adds to.
#[derive(Default)]
struct Slice {
    ticks: BTreeMap<Instrument, Vec<Tick>>,
    /// The earliest trade.
    from: Option<Timestamp>,
    /// When the last one came.
    received_at: Option<Timestamp>,
}

impl Slice {
    fn is_closed_to(&self, instrument: &Instrument, tick: &Tick) -> bool {
        let of_several = self.ticks.len() > 1 || !self.ticks.contains_key(instrument);
        of_several && self.from.is_some_and(|from| tick.traded_at.since(from) >= SLICE_MAX)
    }

    fn push(&mut self, instrument: Instrument, tick: Tick, received_at: Timestamp) {
        self.from = Some(self.from.map_or(tick.traded_at, |from| from.min(tick.traded_at)));
        self.received_at = Some(received_at);
        self.ticks.entry(instrument).or_default().push(tick);
    }
}

/// What it takes to write an entry.
#[derive(Clone, Copy)]
struct Pen<'a> {
    log: &'a dyn EventLog,
    clock: &'a dyn Clock,
    actor: &'a Actor,
}

impl Pen<'_> {
    /// Appends, and waits for as long as the log cannot take it. `None` is a conflict; `repeated`
    /// says that somebody else had put in the same.
    async fn put(
        &self,
        stream: &Stream,
        name: &[u8],
        events: Vec<MarketEvent>,
        expected: Expected,
    ) -> Result<Option<Appended>, LogError> {
        let (mut patience, mut unknown) = (Patience::default(), false);
        let draft = Draft {
            stream: stream.clone(),
            append_id: Uuid::new_v5(&NAMESPACE, name),
            command_id: Uuid::new_v5(&COMMANDS, name),
            recorded_at: self.clock.now(),
            actor: self.actor.clone(),
            correlation_id: None,
            causation: None,
            events: events.into_iter().map(Event::Market).collect(),
        };
        loop {
            match self.log.append(draft.clone(), expected).await {
                Ok(appended) => {
                    // What is found after an attempt of unknown outcome is that attempt.
                    let repeated = appended.repeated && !unknown;
                    return Ok(Some(Appended { repeated, ..appended }));
                }
                Err(LogError::Conflict { .. }) => return Ok(None),
                Err(error) => {
                    unknown |= error == LogError::OutcomeUnknown;
                    patience.wait_out(stream, error).await?;
                }
            }
        }
    }

    /// Reads on in a stream, and waits for as long as the log cannot be reached.
    async fn read_on(&self, stream: &Stream, after: Version) -> Result<Vec<Entry>, LogError> {
        let mut patience = Patience::default();
        loop {
            match self.log.read_stream(stream, after, CATCH_UP_ENTRIES).await {
                Ok(entries) => return Ok(entries),
                Err(error) => patience.wait_out(stream, error).await?,
            }
        }
    }
}

/// How long to wait for the log next time.
struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(RETRY_MIN)
    }
}

impl Patience {
    /// Waits, longer each time, for what may pass; gives back what will not.
    async fn wait_out(&mut self, stream: &Stream, error: LogError) -> Result<(), LogError> {
        match error {
            LogError::OutcomeUnknown | LogError::Unavailable(_) | LogError::Full => {
                if self.0 == RETRY_MIN {
                    tracing::warn!(%stream, %error, "the feed waits for the log");
                }
                tokio::time::sleep(self.0).await;
                self.0 = (self.0 * 2).min(RETRY_MAX);
                Ok(())
            }
            LogError::Conflict { .. }
            | LogError::KeyReused
            | LogError::Damaged { .. }
            | LogError::TooLarge => Err(error),
        }
    }
}

/// Records the ticks of one market, and remembers what the rule needs.
struct Recorder {
    stream: Stream,
    market: Market,
    version: Version,
    /// Whether the market's past was read.
    started: bool,
}

impl Recorder {
    fn new(stream: Stream) -> Self {
        Self { stream, market: Market::default(), version: Version(0), started: false }
    }

    /// Records those of the ticks that are news; returns how many this intake put in.
    async fn record(&mut self, pen: &Pen<'_>, ticks: &[Tick]) -> Result<u64, LogError> {
        if !self.started {
            self.catch_up(pen).await?;
            self.started = true;
        }
        let mut recorded = 0;
        for batch in ticks.chunks(ENTRY_EVENTS_MAX) {
            recorded += self.decide(pen, || MarketCommand::RecordTicks(batch.to_vec())).await?;
        }
        Ok(recorded)
    }

    /// Records what there is to say of gaps: entry after entry, until nothing is left.
    async fn notice_gaps(&mut self, pen: &Pen<'_>, venue_time: Timestamp) -> Result<(), LogError> {
        while self.decide(pen, || MarketCommand::NoticeGaps { venue_time }).await? > 0 {}
        Ok(())
    }

    /// Decides and appends; when another writer was first, reads what it wrote and decides again.
    /// Returns how many events went in.
    async fn decide(
        &mut self,
        pen: &Pen<'_>,
        command: impl Fn() -> MarketCommand,
    ) -> Result<u64, LogError> {
        let mut conflicts = 0;
        loop {
            let decided: Result<_, Infallible> = self.market.decide(command());
            let Ok(events) = decided;
            if events.is_empty() {
                return Ok(0);
            }
            let expected = match self.version {
                Version(0) => Expected::Empty,
                version => Expected::At(version),
            };
            let name = name_of_events(&self.stream, &events);
            match pen.put(&self.stream, &name, events.clone(), expected).await? {
                Some(appended) if appended.repeated => {
                    // Another intake was first with the same batch, or the same trades stand
                    // further back, where the market's memory has faded.
                    let known = appended.version <= self.version;
                    self.catch_up(pen).await?;
                    if known {
                        return Ok(0);
                    }
                }
                Some(appended) => {
                    if appended.version == self.version.next() {
                        for event in &events {
                            self.market.evolve(event);
                        }
                        self.version = appended.version;
                    } else {
                        self.catch_up(pen).await?;
                    }
                    return Ok(events.len() as u64);
                }
                None => {
                    conflicts += 1;
                    if conflicts == CONFLICTS_MAX {
                        tracing::warn!(stream = %self.stream, "other writers keep coming first");
                    }
                    self.catch_up(pen).await?;
                }
            }
        }
    }

    /// Takes in what stands in the stream after the version that is known.
    async fn catch_up(&mut self, pen: &Pen<'_>) -> Result<(), LogError> {
        loop {
            let entries = pen.read_on(&self.stream, self.version).await?;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in &entries {
                for event in &entry.events {
                    let Event::Market(event) = event;
                    self.market.evolve(event);
                }
                self.version = entry.version;
            }
        }
    }
}

/// The name of a decision: its stream, and every id in it.
fn name_of_events(stream: &Stream, events: &[MarketEvent]) -> Vec<u8> {
    let mut ids = Vec::with_capacity(events.len() * 8);
    let mut kind = "ticks";
    for event in events {
        match event {
            MarketEvent::TickObserved(tick) => ids.extend(tick.trade_id.to_le_bytes()),
            MarketEvent::FeedGapOpened { first_id, last_id, .. } => {
                kind = "gaps";
                ids.extend([[1; 8], first_id.to_le_bytes(), last_id.to_le_bytes()].concat());
            }
            MarketEvent::FeedGapFilled { first_id, last_id } => {
                kind = "gaps";
                ids.extend([[2; 8], first_id.to_le_bytes(), last_id.to_le_bytes()].concat());
            }
            MarketEvent::FeedGapUnfillable { first_id, last_id, .. } => {
                kind = "gaps";
                ids.extend([[3; 8], first_id.to_le_bytes(), last_id.to_le_bytes()].concat());
            }
            MarketEvent::PulseObserved { venue_time, .. } => {
                kind = "pulse";
                ids.extend(venue_time.micros().to_le_bytes());
            }
        }
    }
    name(stream, kind, &ids)
}

fn name(stream: &Stream, kind: &str, input: &[u8]) -> Vec<u8> {
    let mut name = format!("{stream}/{kind}/").into_bytes();
    name.extend(input);
    name
}

/// The venue's clock minus ours, as the messages tell it.
#[derive(Default)]
struct Skew(Median<SKEW_SAMPLES>);

impl Skew {
    fn push(&mut self, sample: i64) {
        self.0.push(sample);
    }

    fn get(&self) -> i64 {
        let believed = self.0.samples() >= SKEW_SAMPLES_MIN;
        self.0.get().filter(|_| believed).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
