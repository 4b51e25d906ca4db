//! What is kept of a market from run to run, and a log whose oldest entries are gone.

use std::sync::Mutex;
use std::sync::atomic::AtomicI64;

use domain::decider::Decider;
use domain::market::Market;
use eventlog::keep::Kept;
use eventlog::log::{Retention, Trim};
use tokio::task::yield_now;

use super::*;
use crate::intake::keeper::{KEEP_END_PATIENCE, KEEP_ENTRIES, KEEP_EVERY};

const MARKET: &str = "market-binance.BTC-USDT";

/// Appends after which a writer is taken to turn in a circle.
const APPENDS_MAX: usize = 100_000;

/// A log of which retention drops the oldest. It counts what is read of streams, and what has gone
/// is remembered here alone.
struct Aged {
    log: Arc<Memory>,
    gone: Mutex<Vec<Entry>>,
    read: AtomicUsize,
    appends: AtomicUsize,
}

impl Aged {
    fn new(log: Arc<Memory>) -> Arc<Self> {
        let (read, appends) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { log, gone: Mutex::default(), read, appends })
    }

    async fn of(observations: impl IntoIterator<Item = Observation>) -> Arc<Self> {
        let log = memory();
        run(log.clone(), observations).await.unwrap();
        Self::new(log)
    }

    /// Drops all but the newest entries.
    async fn leave(&self, left: u64) {
        let all = entries(&self.log).await;
        let head = self.log.head().await.unwrap().0;
        let up_to = Offset(head - left.min(head));
        let retention = Retention { recorded_before: Timestamp::MAX, bytes_max: 0, up_to };
        let trimmed = self.log.trim(retention).await.unwrap();
        assert_eq!(trimmed.floor, up_to);
        let gone = all.into_iter().filter(|entry| entry.offset <= up_to);
        self.gone.lock().unwrap().extend(gone);
    }

    /// Returns what was ever recorded: the trade ids and the other events, in order.
    async fn ever(&self) -> (Vec<u64>, Vec<MarketEvent>) {
        let gone = self.gone.lock().unwrap().clone();
        told(gone.into_iter().chain(entries(&self.log).await))
    }

    /// Returns how many entries were read since this was asked last.
    fn read(&self) -> usize {
        self.read.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl ReadLog for Aged {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.log.read(after, limit).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let entries = self.log.read_stream(stream, after, limit).await?;
        self.read.fetch_add(entries.len(), Ordering::Relaxed);
        Ok(entries)
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
impl EventLog for Aged {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        let appends = self.appends.fetch_add(1, Ordering::Relaxed);
        assert!(appends < APPENDS_MAX, "the writer turns in a circle");
        self.log.append(draft, expected).await
    }
}

struct Watch(AtomicI64);

impl Watch {
    fn at_noon() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(Noon.now().micros())))
    }

    fn pass(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

fn keeping(log: Arc<dyn EventLog>, shelf: &Arc<Shelf>, clock: &Arc<Watch>) -> Intake {
    let options = Options { session: Session(1), books: BookRecording::All };
    let ledger = Arc::new(Memory::new(Log::Ledger));
    Intake::new(log, ledger, shelf.clone(), clock.clone(), live(), options)
}

/// Runs an intake to its end, one observation a round or all at once; what it knew is then kept.
async fn run_and_keep(
    log: Arc<dyn EventLog>,
    shelf: &Arc<Shelf>,
    told: impl IntoIterator<Item = Observation>,
) {
    let (sender, queue) = mpsc::channel(QUEUE_TICKS_MAX);
    let feed = async move {
        for observation in told {
            sender.send(observation).await.unwrap();
        }
    };
    let intake = keeping(log, shelf, &Watch::at_noon()).run(queue);
    let ((), recorded) = future::join(feed, intake).await;
    recorded.unwrap();
}

/// Takes each observation in a round of its own, as in real time, and looks after each.
async fn live_through(intake: &mut Intake, told: impl IntoIterator<Item = Observation>) {
    for observation in told {
        intake.take(&mut vec![observation]).await.unwrap();
        intake.keep_markets();
        // Saves run when the intake waits.
        yield_now().await;
    }
}

fn trades(ids: std::ops::Range<u64>) -> impl Iterator<Item = Observation> {
    ids.map(|id| trade(id, id.cast_signed()))
}

/// Returns the market as the entries of the log leave it at a version.
async fn folded(log: &Memory, version: Version) -> Market {
    let mut market = Market::default();
    for entry in entries(log).await.iter().filter(|entry| entry.version <= version) {
        for event in &entry.events {
            let Event::Market(event) = event else { unreachable!() };
            market.evolve(event);
        }
    }
    market
}

/// Asserts that what is kept says what the log says up to its version, and returns that version.
async fn assert_true(log: &Memory, shelf: &Shelf) -> Version {
    let kept = shelf.get(MARKET).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&kept.state).unwrap();
    let market: Market = serde_json::from_value(state["market"].clone()).unwrap();
    assert_eq!(kept.revision, Market::REVISION);
    assert_eq!(market, folded(log, kept.version).await);
    kept.version
}

#[tokio::test(start_paused = true)]
async fn a_start_reads_only_what_came_after_what_was_kept() {
    let (log, shelf) = (Aged::new(memory()), Arc::new(Shelf::default()));
    run_and_keep(log.clone(), &shelf, trades(0..50_000)).await;
    let kept = assert_true(&log.log, &shelf).await;
    assert_eq!(Some(kept), log.tip(&MARKET.parse().unwrap()).await.unwrap().map(|tip| tip.version));
    assert!(kept > Version(100), "{kept}");

    // Another run that keeps nothing adds to it.
    run(log.log.clone(), trades(50_000..50_600)).await.unwrap();
    let entries = entries(&log.log).await.len();
    log.read();
    run_and_keep(log.clone(), &shelf, trades(49_000..50_700)).await;

    // All that came, and the kept entry itself: that the state is of this log.
    assert_eq!(log.read(), entries - usize::try_from(kept.0).unwrap() + 1);
    assert_eq!(log.ever().await.0, (0..50_700).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_market_whose_entries_are_all_gone_goes_on_at_its_tip() {
    let log = Aged::of(trades(0..600)).await;
    let tip = log.tip(&MARKET.parse().unwrap()).await.unwrap().unwrap().version;
    log.leave(0).await;

    run_and_keep(log.clone(), &Arc::new(Shelf::default()), trades(700..702)).await;

    let last = entries(&log.log).await.pop().unwrap();
    assert_eq!((last.version, last.events.len()), (tip.next(), 2));
    let gone = (0..600).chain(700..702);
    assert_eq!(log.ever().await, (gone.collect(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_market_whose_entries_go_while_an_intake_rests_goes_on_at_its_tip() {
    let (log, shelf, clock) = (Aged::new(memory()), Arc::default(), Watch::at_noon());
    let mut rests = keeping(log.clone(), &shelf, &clock);
    live_through(&mut rests, trades(0..10)).await;
    run(log.log.clone(), trades(10..20)).await.unwrap();
    log.leave(0).await;

    live_through(&mut rests, trades(20..25)).await;
    assert_eq!(log.ever().await.0, (0..25).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn entries_that_are_gone_between_the_kept_and_the_held_count_as_seen() {
    let (log, shelf) = (Aged::new(memory()), Arc::new(Shelf::default()));
    let one_a_round = |ids| async {
        let mut intake = keeping(log.clone(), &Arc::default(), &Watch::at_noon());
        live_through(&mut intake, trades(ids)).await;
    };
    run_and_keep(log.clone(), &shelf, [trade(1, 1), trade(5, 5), trade(6, 9)]).await;
    let kept = assert_true(&log.log, &shelf).await;
    one_a_round(7..300).await;
    log.leave(50).await;
    assert!(log.floor().await.unwrap().0 > kept.0 + 100);

    run_and_keep(log.clone(), &shelf, trades(3..4).chain(trades(200..310))).await;

    let (mut ids, gaps) = log.ever().await;
    ids.sort_unstable();
    assert_eq!(ids, [1, 3].into_iter().chain(5..310).collect::<Vec<_>>());
    let (after, before) = (seconds(1), seconds(5));
    assert_eq!(gaps, [MarketEvent::FeedGapOpened { first_id: 2, last_id: 4, after, before }]);
}

#[tokio::test(start_paused = true)]
async fn without_what_was_kept_the_entries_that_are_held_are_folded() {
    let whole = || async {
        let log = Aged::of(trades(0..300).chain(trades(302..400))).await;
        run(log.log.clone(), trades(400..500)).await.unwrap();
        log
    };
    let damaged = |version| {
        let state = br#"{"hash":"","market":{}}"#.to_vec();
        Kept { revision: Market::REVISION, version: Version(version), state }
    };
    for kept in [None, Some(damaged(1)), Some(damaged(0)), Some(damaged(9_999))] {
        for left in [0, 1, 2, 3, u64::MAX] {
            let (log, shelf) = (whole().await, Arc::new(Shelf::default()));
            if let Some(kept) = kept.clone() {
                shelf.put(MARKET, kept);
            }
            log.leave(left).await;
            run_and_keep(log.clone(), &shelf, trades(499..600)).await;

            let (ids, gaps) = log.ever().await;
            let expected: Vec<u64> = (0..300).chain(302..600).collect();
            // What is gone whole leaves nothing by which the trade before would be known.
            let doubled = u64::from(left == 0);
            assert_eq!(ids.len() as u64, expected.len() as u64 + doubled, "{left}");
            assert_eq!(ids.into_iter().collect::<std::collections::BTreeSet<_>>().len(), 598);
            assert_eq!(gaps.len(), 1, "{left} {gaps:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_of_another_log_is_discarded() {
    // Of a log that goes on otherwise, of one that has lost its end, and of another revision.
    for (others, kept_of, revision) in
        [(500..900, 0..600, 0), (0..300, 0..600, 0), (0..300, 0..300, 1)]
    {
        let (one, shelf) = (memory(), Arc::new(Shelf::default()));
        run_and_keep(one, &shelf, trades(kept_of)).await;
        let mut kept = shelf.get(MARKET).unwrap();
        kept.revision += revision;
        shelf.put(MARKET, kept);

        let other = memory();
        run(other.clone(), trades(others.clone())).await.unwrap();
        run_and_keep(other.clone(), &shelf, trades(others.start..others.end + 400)).await;
        assert_eq!(
            recorded(&other).await,
            ((others.start..others.end + 400).collect(), Vec::new())
        );
        assert_true(&other, &shelf).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_whose_entry_is_gone_is_known_by_the_entry_after_it_and_by_the_tip() {
    for left in [0, 1] {
        let (log, shelf) = (Aged::new(memory()), Arc::new(Shelf::default()));
        run_and_keep(log.clone(), &shelf, trades(0..10)).await;
        let strange = Arc::new(Shelf::default());
        run_and_keep(memory(), &strange, trades(90..100)).await;
        if left == 1 {
            run(log.log.clone(), trades(10..11)).await.unwrap();
        }
        log.leave(left).await;

        run_and_keep(log.clone(), &strange, trades(11..12)).await;
        // By the strange state it would have been seen.
        let end = 10 + left;
        assert_eq!(log.ever().await.0, (0..end).chain(11..12).collect::<Vec<_>>());
        run_and_keep(log.clone(), &shelf, trades(2..13)).await;
        let filled = if left == 0 { vec![11, 10, 12] } else { vec![11, 12] };
        assert_eq!(log.ever().await.0, (0..end).chain(filled).collect::<Vec<_>>(), "{left}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_market_is_kept_after_so_many_entries_or_some_minutes_and_at_the_end() {
    let (log, shelf, clock) = (memory(), Arc::new(Shelf::default()), Watch::at_noon());
    let mut intake = keeping(log.clone(), &shelf, &clock);
    live_through(&mut intake, trades(1..KEEP_ENTRIES)).await;
    assert_eq!(shelf.begun(), 0);
    live_through(&mut intake, trades(KEEP_ENTRIES..KEEP_ENTRIES + 10)).await;
    assert_eq!(assert_true(&log, &shelf).await, Version(KEEP_ENTRIES));

    clock.pass(KEEP_EVERY - 1);
    live_through(&mut intake, trades(9_000..9_001)).await;
    assert_eq!(shelf.begun(), 1);
    clock.pass(1);
    live_through(&mut intake, [top(9_000)]).await;
    let tip = log.tip(&MARKET.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((shelf.begun(), assert_true(&log, &shelf).await), (2, tip.version));
    // Nothing came: there is nothing to keep.
    clock.pass(10 * KEEP_EVERY);
    live_through(&mut intake, [top(9_000)]).await;
    assert_eq!(shelf.begun(), 2);

    let (sender, queue) = mpsc::channel(4);
    sender.send(trade(9_001, 9_001)).await.unwrap();
    drop(sender);
    intake.run(queue).await.unwrap();
    let tip = log.tip(&MARKET.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(assert_true(&log, &shelf).await, tip.version);
}

#[tokio::test(start_paused = true)]
async fn ticks_do_not_wait_for_a_slow_place_and_it_is_asked_once_at_a_time() {
    let (log, shelf, clock) = (memory(), Arc::new(Shelf::default()), Watch::at_noon());
    shelf.gate.forget_permits(usize::MAX);
    let mut intake = keeping(log.clone(), &shelf, &clock);
    for id in 1..20 {
        clock.pass(KEEP_EVERY);
        live_through(&mut intake, trades(id..id + 1)).await;
    }
    assert_eq!((recorded(&log).await.0.len(), shelf.begun(), shelf.get(MARKET)), (19, 1, None));

    // It answers in the end, and what came meanwhile is kept.
    shelf.gate.add_permits(1);
    yield_now().await;
    assert_eq!(assert_true(&log, &shelf).await, Version(2));
    live_through(&mut intake, trades(20..21)).await;
    assert_eq!(shelf.begun(), 2);

    // An end does not wait for ever.
    let began = tokio::time::Instant::now();
    let (sender, queue) = mpsc::channel(1);
    drop(sender);
    intake.run(queue).await.unwrap();
    assert_eq!(began.elapsed(), KEEP_END_PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_could_not_be_kept_is_tried_again_later() {
    let (log, shelf, clock) = (memory(), Arc::new(Shelf::default()), Watch::at_noon());
    shelf.failing.store(2, Ordering::Relaxed);
    let mut intake = keeping(log.clone(), &shelf, &clock);
    live_through(&mut intake, trades(1..2)).await;
    for begun in 1..=3 {
        clock.pass(KEEP_EVERY);
        live_through(&mut intake, [top(2), top(2), top(2)]).await;
        assert_eq!(shelf.begun(), begun);
        assert_eq!(shelf.get(MARKET).is_some(), begun == 3);
    }
    assert_eq!(assert_true(&log, &shelf).await, Version(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Over a log that fails now and then, beside another intake, killed at any moment: a kept state
    /// claims what stands in the log, and nothing more; and each trade is recorded once.
    #[test]
    fn what_is_kept_is_never_ahead_of_the_log(
        runs in prop::collection::vec((1u64..60, 0i64..600), 1..6),
        keeps in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (log, shelf, clock) = (memory(), Arc::new(Shelf::default()), Watch::at_noon());
            let shaky = Arc::new(Shaky {
                log: log.clone(),
                calls: AtomicUsize::new(0),
                reads: AtomicUsize::new(0),
            });
            let mut next = 0;
            for (trades_told, patience_ms) in runs {
                let told = next..next + trades_told;
                let mut intake = keeping(shaky.clone(), &shelf, &clock);
                let lived = async {
                    for id in told.clone() {
                        clock.pass(KEEP_EVERY);
                        live_through(&mut intake, trades(id..id + 1)).await;
                    }
                };
                // Killed in the middle of whatever it does then.
                let patience = Duration::from_millis(patience_ms.unsigned_abs() * 20);
                drop(tokio::time::timeout(patience, lived).await);
                drop(intake);
                if shelf.get(MARKET).is_some() {
                    let tip = log.tip(&MARKET.parse().unwrap()).await.unwrap().unwrap();
                    assert!(assert_true(&log, &shelf).await <= tip.version);
                }
                if keeps {
                    run(log.clone(), trades(told.start..told.end)).await.unwrap();
                } else {
                    run_and_keep(log.clone(), &shelf, trades(told.start..told.end)).await;
                }
                next = told.end;
            }
            let (ids, gaps) = recorded(&log).await;
            prop_assert_eq!(ids, (0..next).collect::<Vec<_>>());
            prop_assert_eq!(gaps, Vec::new());
            Ok(())
        })?;
    }
}
