//! The intake against a log in memory, also one that fails, and beside other intakes.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use domain::book::{Level, Top};
use domain::candle::CLOSE_PATIENCE;
use domain::instrument::Venue;
use domain::market::event::GapReason;
use domain::observation::{Link, Listing, Pace};
use domain::tick::{Side, Tick};
use eventlog::entry::{Draft, Entry, Offset, Version};
use eventlog::log::{Appended, Durability, ReadLog, Tip};
use eventlog::memory::Memory;
use eventlog::stream::Log;
use proptest::prelude::*;

use super::*;

mod books;

mod keeping;

mod native;

mod shelf;

use shelf::Shelf;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2024-03-21T12:00:00Z".parse().unwrap()
    }
}

fn venue() -> Venue {
    "binance".parse().unwrap()
}

fn btc() -> Instrument {
    "BTC-USDT".parse().unwrap()
}

fn seconds(seconds: i64) -> Timestamp {
    Noon.now().plus(seconds * SECOND)
}

fn trade(trade_id: u64, second: i64) -> Observation {
    let tick = Tick {
        trade_id,
        price: "65000.00".parse().unwrap(),
        quantity: "0.500".parse().unwrap(),
        taker: Side::Buy,
        traded_at: seconds(second),
        received_at: seconds(second),
    };
    Observation {
        received_at: tick.received_at,
        venue_time: Some(tick.traded_at),
        heard: Heard::Tick(btc(), tick),
    }
}

fn top(second: i64) -> Observation {
    let level = |price: &str| Level { price: price.parse().unwrap(), quantity: 1.into() };
    let top = Top { update_id: 1, bid: level("64999"), ask: level("65001") };
    Observation { received_at: seconds(second), venue_time: None, heard: Heard::Top(btc(), top) }
}

/// Runs an intake over observations; returns its status.
async fn run(
    log: Arc<dyn EventLog>,
    observations: impl IntoIterator<Item = Observation>,
) -> Result<Arc<FeedStatus>, LogError> {
    let status = Arc::new(FeedStatus::new(venue(), vec![btc()], Pace::Recorded));
    let (sender, queue) = mpsc::channel(QUEUE_TICKS_MAX);
    let intake = intake(log, &status, 1, BookRecording::All);
    let feed = async move {
        for observation in observations {
            sender.send(observation).await.unwrap();
        }
    };
    let ((), recorded) = future::join(feed, intake.run(queue)).await;
    recorded.map(|()| status)
}

fn intake(
    log: Arc<dyn EventLog>,
    status: &Arc<FeedStatus>,
    session: u64,
    books: BookRecording,
) -> Intake {
    let ledger = Arc::new(Memory::new(Log::Ledger));
    let options = Options { session: Session(session), books };
    let keep = Arc::new(Shelf::default());
    Intake::new(log, ledger, keep, Arc::new(Noon), status.clone(), options)
}

fn live() -> Arc<FeedStatus> {
    Arc::new(FeedStatus::new(venue(), vec![btc()], Pace::Live))
}

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(Log::Market))
}

async fn entries(log: &Memory) -> Vec<Entry> {
    log.read(Offset(0), usize::MAX).await.unwrap()
}

/// The recorded trade ids and the other events, in order.
async fn recorded(log: &Memory) -> (Vec<u64>, Vec<MarketEvent>) {
    told(entries(log).await)
}

fn told(entries: impl IntoIterator<Item = Entry>) -> (Vec<u64>, Vec<MarketEvent>) {
    let (mut ids, mut others) = (Vec::new(), Vec::new());
    for entry in entries {
        for event in entry.events {
            match event {
                Event::Market(MarketEvent::TickObserved(tick)) => ids.push(tick.trade_id),
                Event::Market(other) => others.push(other),
                Event::Candle(_)
                | Event::Account(_)
                | Event::Refusal(_)
                | Event::Key(_)
                | Event::Access(_) => {
                    panic!("nothing else stands in a market stream")
                }
            }
        }
    }
    (ids, others)
}

#[tokio::test(start_paused = true)]
async fn trades_are_recorded_in_batches_and_once() {
    let log = memory();
    let told = (0..1_000).chain(0..1_000).map(|id| trade(id, 0));

    let status = run(log.clone(), told).await.unwrap();

    assert_eq!(recorded(&log).await.0, (0..1_000).collect::<Vec<_>>());
    assert_eq!((status.recorded(), status.repeated()), (1_000, 1_000));
    assert_eq!(status.heard_at(), Some(Noon.now()));
    assert!(entries(&log).await.len() < 20);
}

#[tokio::test(start_paused = true)]
async fn an_intake_that_starts_again_knows_what_was_recorded() {
    let log = memory();
    run(log.clone(), (0..600).map(|id| trade(id, 0))).await.unwrap();
    let status = run(log.clone(), (300..700).map(|id| trade(id, 0))).await.unwrap();

    assert_eq!(recorded(&log).await.0, (0..700).collect::<Vec<_>>());
    assert_eq!((status.recorded(), status.repeated()), (100, 300));
}

#[tokio::test(start_paused = true)]
async fn a_hole_is_recorded_as_a_gap_and_its_filling_too() {
    let log = memory();
    let told = [trade(1, 0), trade(4, 1), trade(5, 3)];
    run(log.clone(), told).await.unwrap();
    run(log.clone(), [trade(2, 0), trade(3, 0)]).await.unwrap();

    let (ids, gaps) = recorded(&log).await;
    assert_eq!(ids, [1, 4, 5, 2, 3]);
    let (after, before) = (seconds(0), seconds(1));
    assert_eq!(
        gaps,
        [
            MarketEvent::FeedGapOpened { first_id: 2, last_id: 3, after, before },
            MarketEvent::FeedGapFilled { first_id: 2, last_id: 3 },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_trade_from_the_future_is_set_aside_and_a_venues_fast_clock_is_not_the_future() {
    let log = memory();
    let fast = (0..100).map(|id| {
        let mut observation = trade(id, 0);
        observation.received_at = seconds(-30);
        observation
    });
    let mut wild = trade(100, 0);
    wild.received_at = seconds(-30 - 61);

    let status = run(log.clone(), fast.chain([wild, trade(101, 0)])).await.unwrap();

    assert_eq!(status.set_aside(), 1);
    assert_eq!(recorded(&log).await.0.len(), 101);
}

#[tokio::test(start_paused = true)]
async fn no_other_message_from_the_future_moves_the_venues_clock() {
    let log = memory();
    let wild = |second| Observation { venue_time: Some(seconds(999_999)), ..top(second) };
    let status = live();
    let mut intake = intake(log.clone(), &status, 1, BookRecording::All);
    for observation in (0..10).map(|second: i64| trade(10 + second.unsigned_abs(), second)) {
        intake.take(&mut vec![observation]).await.unwrap();
    }

    intake.take(&mut vec![wild(100)]).await.unwrap();
    assert_eq!(recorded(&log).await.1, []);
    assert_eq!(status.set_aside(), 1);
}

#[tokio::test(start_paused = true)]
async fn ticks_of_several_instruments_never_close_each_others_candles() {
    let log = memory();
    let eth: Instrument = "ETH-USDT".parse().unwrap();
    // Both trade each second over two minutes; all of it waits in the queue at once.
    let told = (0..120).flat_map(|second: i64| {
        let (id, mut other) = (second.unsigned_abs(), trade(second.unsigned_abs(), second));
        let Heard::Tick(instrument, _) = &mut other.heard else { unreachable!() };
        *instrument = eth.clone();
        [trade(id, second), other]
    });
    run(log.clone(), told).await.unwrap();

    let mut clock = Timestamp::MIN;
    for entry in entries(&log).await {
        for event in &entry.events {
            let Event::Market(MarketEvent::TickObserved(tick)) = event else { continue };
            assert!(clock.since(tick.traded_at) < CLOSE_PATIENCE || clock == Timestamp::MIN);
        }
        for event in &entry.events {
            let Event::Market(MarketEvent::TickObserved(tick)) = event else { continue };
            clock = clock.max(tick.traded_at);
        }
    }
    assert_eq!(recorded(&log).await.0.len(), 240);
}

#[tokio::test(start_paused = true)]
async fn a_hole_in_a_resting_instrument_is_noticed_by_the_venues_clock() {
    let log = memory();
    let beat = |second| Observation {
        heard: Heard::Beat,
        venue_time: Some(seconds(second)),
        ..top(second)
    };
    run(log.clone(), [trade(1, 0), trade(4, 1), beat(2)]).await.unwrap();
    assert_eq!(recorded(&log).await.1, []);

    run(log.clone(), [trade(4, 1), beat(3)]).await.unwrap();
    let (after, before) = (seconds(0), seconds(1));
    assert_eq!(
        recorded(&log).await.1,
        [MarketEvent::FeedGapOpened { first_id: 2, last_id: 3, after, before }]
    );
}

#[tokio::test(start_paused = true)]
async fn holes_past_the_limit_are_given_up_at_once() {
    let log = memory();
    let told = (0..6_000).map(|id| trade(2 * id, 0));
    run(log.clone(), told).await.unwrap();

    let given_up = recorded(&log)
        .await
        .1
        .into_iter()
        .filter(|event| matches!(event, MarketEvent::FeedGapUnfillable { .. }))
        .count();
    assert_eq!(given_up, 5_999 - domain::market::GAPS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_venue_that_lives_but_does_not_trade_has_one_pulse_a_minute() {
    let log = memory();
    let quiet = || [trade(1, 0)].into_iter().chain((1..200).map(top));
    // One observation a round, as in real time.
    let (mut last, mut intakes) = (None, Vec::new());
    for session in 0..2 {
        intakes.push(intake(log.clone(), &live(), session, BookRecording::All));
    }
    for observation in quiet() {
        for intake in &mut intakes {
            intake.take(&mut vec![observation.clone()]).await.unwrap();
        }
        last = Some(observation);
    }

    assert!(last.is_some());
    let pulses: Vec<i64> = recorded(&log)
        .await
        .1
        .into_iter()
        .map(|event| match event {
            MarketEvent::PulseObserved { received_at, .. } => {
                received_at.since(Noon.now()) / SECOND
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pulses, [60, 120, 180]);
}

#[tokio::test(start_paused = true)]
async fn trades_that_cannot_be_had_are_given_up() {
    let log = memory();
    let gone = |first_id, last_id| Observation {
        heard: Heard::TradesGone(btc(), first_id, last_id),
        venue_time: None,
        ..top(1)
    };
    // Told in one round with the trade that shows the hole, and once more by another feed.
    run(log.clone(), [trade(1, 0), trade(5, 0), gone(2, 4), gone(1, 9)]).await.unwrap();
    run(log.clone(), [trade(5, 0), gone(2, 4), trade(3, 0)]).await.unwrap();

    let (ids, gaps) = recorded(&log).await;
    assert_eq!(ids, [1, 5, 3]);
    let (after, before) = (seconds(0), seconds(0));
    let reason = GapReason::NotToBeHad;
    assert_eq!(
        gaps,
        [
            MarketEvent::FeedGapOpened { first_id: 2, last_id: 4, after, before },
            MarketEvent::FeedGapUnfillable { first_id: 2, last_id: 4, reason },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_feed_says_of_its_link_and_listings_is_known() {
    let status = live();
    let mut intake = intake(memory(), &status, 1, BookRecording::All);
    assert_eq!((status.link(), status.listing(&btc())), (None, None));

    let down = Link::Down("the venue refuses this region".to_owned());
    let listing = Listing { price_scale: 2, quantity_scale: 5, quantity_min: None, trading: true };
    let told = [Heard::Link(down.clone()), Heard::Listed(btc(), listing)];
    let mut round = told.map(|heard| Observation { heard, venue_time: None, ..top(1) }).to_vec();
    intake.take(&mut round).await.unwrap();

    assert_eq!((status.link(), status.listing(&btc())), (Some(down), Some(listing)));
    // Neither is a sign of the venue's life.
    assert_eq!(intake.venue_clock, Timestamp::MIN);
}

/// A log that cannot be reached now and then: before an append, or after it, so that nobody knows.
struct Shaky {
    log: Arc<Memory>,
    calls: AtomicUsize,
    reads: AtomicUsize,
}

#[async_trait]
impl ReadLog for Shaky {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.log.read(after, limit).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        if self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            return Err(LogError::Unavailable("no answer".to_owned()));
        }
        self.log.read_stream(stream, after, limit).await
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        self.log.last(stream).await
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        self.log.tip(stream).await
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        self.log.floor().await
    }

    async fn head(&self) -> Result<Offset, LogError> {
        self.log.head().await
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        self.log.wait_after(after).await
    }

    fn durability(&self) -> Durability {
        self.log.durability()
    }
}

#[async_trait]
impl EventLog for Shaky {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        match self.calls.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => Err(LogError::Unavailable("no answer".to_owned())),
            1 => {
                self.log.append(draft, expected).await?;
                Err(LogError::OutcomeUnknown)
            }
            2 => Err(LogError::Full),
            _ => self.log.append(draft, expected).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fails_makes_the_feed_wait_and_loses_and_doubles_nothing() {
    let log = memory();
    let shaky = Arc::new(Shaky {
        log: log.clone(),
        calls: AtomicUsize::new(0),
        reads: AtomicUsize::new(0),
    });

    run(shaky, (0..5_000).map(|id| trade(id, 0))).await.unwrap();

    assert_eq!(recorded(&log).await.0, (0..5_000).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Several intakes of one venue, each told the same trades out of order: each trade once.
    #[test]
    fn intakes_beside_each_other_record_each_trade_once(
        ids in (1u64..700).prop_flat_map(|trades| {
            Just((0..trades).collect::<Vec<u64>>()).prop_shuffle()
        }),
        intakes in 1usize..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        let recorded = runtime.block_on(async {
            let log = memory();
            let each = |intake: usize| {
                let mut told = ids.clone();
                let places = intake.min(told.len());
                told.rotate_left(places);
                run(log.clone(), told.into_iter().map(|id| trade(id, 0)))
            };
            let done = future::join_all((0..intakes).map(each)).await;
            assert!(done.iter().all(Result::is_ok));
            recorded(&log).await.0
        });
        let mut sorted = recorded;
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..ids.len() as u64).collect::<Vec<_>>());
    }
}
