//! What every session is sent: each trade encoded once, in a ring that all of them read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::candle::Place;
use domain::event::Event;
use domain::instrument::{Instrument, Venue};
use domain::market::event::MarketEvent;
use domain::tick::Tick;
use eventlog::entry::{Entry, Offset, Version};
use eventlog::stream::{Log, Stream};
use projections::prices::Prices;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracing::warn;

use crate::app::App;
use crate::ws::protocol;

/// Entries that are read at once. The rest waits for the next turn.
const READ_ENTRIES_MAX: usize = 256;

/// Frames that a session takes at once. The rest waits until these are written.
const PULL_FRAMES_MAX: usize = 1_024;

/// How long we wait before we ask again a log that could not be read, or views that lag.
const PAUSE: Duration = Duration::from_secs(1);

/// The trades of one entry, as they go over the wire.
#[derive(Debug)]
pub struct Batch {
    pub venue: Venue,
    pub instrument: Instrument,
    pub version: Version,
    pub frames: Vec<Utf8Bytes>,
}

/// The newest batches. It never waits for a reader: who falls behind its end has been lapped.
pub struct Ring {
    kept: Mutex<Kept>,
    /// The place after the newest batch.
    head: watch::Sender<u64>,
    frames_max: usize,
}

#[derive(Default)]
struct Kept {
    batches: VecDeque<Arc<Batch>>,
    frames: usize,
    /// The place after the newest batch.
    head: u64,
}

/// What a session is due.
#[derive(Debug)]
pub enum Due {
    Batches(Vec<Arc<Batch>>),
    /// Some of it is gone. The place is now the newest.
    Lapped,
}

impl Ring {
    /// Returns an empty ring that keeps up to `frames_max` frames, and one batch at least.
    pub fn new(frames_max: usize) -> Self {
        Self { kept: Mutex::default(), head: watch::Sender::new(0), frames_max }
    }

    pub fn publish(&self, batches: impl IntoIterator<Item = Batch>) {
        let mut kept = self.kept();
        for batch in batches {
            kept.frames += batch.frames.len();
            kept.batches.push_back(Arc::new(batch));
            kept.head += 1;
            while kept.frames > self.frames_max
                && kept.batches.len() > 1
                && let Some(oldest) = kept.batches.pop_front()
            {
                kept.frames -= oldest.frames.len();
            }
        }
        let head = kept.head;
        drop(kept);
        self.head.send_replace(head);
    }

    fn is_watched(&self) -> bool {
        self.head.receiver_count() > 0
    }

    /// Returns the place after the newest batch, and wakes whoever waits for the next.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Returns what comes after `place`, and moves it on.
    pub fn pull(&self, place: &mut u64) -> Due {
        let kept = self.kept();
        let oldest = kept.head - kept.batches.len() as u64;
        let Some(skip) = place.checked_sub(oldest) else {
            *place = kept.head;
            return Due::Lapped;
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let mut frames = 0;
        let due: Vec<Arc<Batch>> = kept
            .batches
            .iter()
            .skip(skip)
            .take_while(|batch| {
                let fits = frames < PULL_FRAMES_MAX;
                frames += batch.frames.len();
                fits
            })
            .cloned()
            .collect();
        *place += due.len() as u64;
        Due::Batches(due)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic elsewhere leaves at worst a batch too few: a session then goes on with the newest.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the market log from `after` on, for ever, and puts what is to be sent into the ring.
pub async fn run(app: Arc<App>, ring: Arc<Ring>, mut after: Offset) {
    let mut newest = Newest::of(&app.views.prices());
    loop {
        let entries = match app.market.read(after, READ_ENTRIES_MAX).await {
            Ok(entries) => entries,
            Err(error) => {
                warn!(%error, "the market log cannot be read");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(last) = entries.last() else {
            if let Err(error) = app.market.wait_after(after).await {
                warn!(%error, "the market log cannot be watched");
                tokio::time::sleep(PAUSE).await;
            }
            continue;
        };
        after = last.offset;
        // Only then: what a socket has shown, a query must show too. And the views know the digits
        // of an instrument and which venue speaks for it.
        while !app.views.wait_applied(Log::Market, after, PAUSE).await {
            warn!(%after, "frames wait for the views");
        }
        let batches: Vec<Batch> =
            entries.iter().filter_map(|entry| batch(&app, &mut newest, entry)).collect();
        // Whoever comes now starts from the views, which show all this already.
        if ring.is_watched() {
            ring.publish(batches);
        }
    }
}

/// The newest trade that was streamed of each instrument, in its venue's order. One row for each
/// market of the views.
struct Newest(BTreeMap<(Venue, Instrument), Place>);

impl Newest {
    /// Starts from what the views show: so does every session.
    fn of(prices: &Prices) -> Self {
        let mut newest = Self(BTreeMap::new());
        for quote in prices.iter() {
            newest.advance(&(quote.venue, quote.instrument), &quote.tick);
        }
        newest
    }

    /// Whether a trade is newer than all before it; then it counts as streamed. A late one is
    /// history: as a price it would be stale, and look fresh.
    fn advance(&mut self, market: &(Venue, Instrument), tick: &Tick) -> bool {
        let place = Place { traded_at: tick.traded_at, trade_id: tick.trade_id };
        match self.0.get_mut(market) {
            Some(newest) if *newest >= place => false,
            Some(newest) => {
                *newest = place;
                true
            }
            None => {
                self.0.insert(market.clone(), place);
                true
            }
        }
    }
}

/// Encodes the trades of an entry; `None` when it has none that are streamed.
fn batch(app: &App, newest: &mut Newest, entry: &Entry) -> Option<Batch> {
    let Stream::Market { venue, instrument } = &entry.stream else { return None };
    let quote = app.views.quote(instrument).filter(|quote| quote.venue == *venue)?;
    let scales = (quote.price_scale, quote.quantity_scale);
    let market = (quote.venue, quote.instrument);
    let mut frames = Vec::with_capacity(entry.events.len());
    for event in &entry.events {
        let Event::Market(MarketEvent::TickObserved(tick)) = event else { continue };
        if !newest.advance(&market, tick) {
            continue;
        }
        frames.push(protocol::trade_frame(instrument, tick, scales));
    }
    let (venue, instrument) = market;
    (!frames.is_empty()).then(|| Batch { venue, instrument, version: entry.version, frames })
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    fn batches(versions: Range<u64>, frames: usize) -> impl Iterator<Item = Batch> {
        versions.map(move |version| Batch {
            venue: "binance".parse().unwrap(),
            instrument: "BTC-USDT".parse().unwrap(),
            version: Version(version),
            frames: vec!["{}".into(); frames],
        })
    }

    fn versions(due: Due) -> Vec<u64> {
        match due {
            Due::Batches(batches) => batches.iter().map(|batch| batch.version.0).collect(),
            Due::Lapped => panic!("lapped"),
        }
    }

    #[test]
    fn every_reader_gets_what_came_after_its_place() {
        let ring = Ring::new(100);
        ring.publish(batches(1..3, 1));
        let (mut early, mut late) = (0, 2);
        ring.publish(batches(3..5, 1));

        assert_eq!(versions(ring.pull(&mut early)), [1, 2, 3, 4]);
        assert_eq!(versions(ring.pull(&mut late)), [3, 4]);
        assert_eq!(versions(ring.pull(&mut late)), [0; 0]);
    }

    #[test]
    fn a_reader_that_was_lapped_goes_on_with_the_newest() {
        let ring = Ring::new(10);
        let mut place = 0;
        ring.publish(batches(1..30, 2));

        assert!(matches!(ring.pull(&mut place), Due::Lapped));
        ring.publish(batches(30..31, 2));
        assert_eq!(versions(ring.pull(&mut place)), [30]);
    }

    #[test]
    fn a_batch_larger_than_the_ring_is_kept_all_the_same() {
        let ring = Ring::new(1);
        let mut place = 0;
        ring.publish(batches(1..2, 256));

        assert_eq!(versions(ring.pull(&mut place)), [1]);
    }

    #[test]
    fn a_reader_takes_no_more_than_it_can_write_at_once() {
        let ring = Ring::new(10_000);
        let mut place = 0;
        ring.publish(batches(0..10, 256));

        assert_eq!(versions(ring.pull(&mut place)), [0, 1, 2, 3]);
        assert_eq!(versions(ring.pull(&mut place)), [4, 5, 6, 7]);
    }
}
