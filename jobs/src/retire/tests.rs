//! Retention between two logs in memory: what goes, what stays, and that nothing is forgotten.

use std::sync::Mutex;

use domain::candle::Interval;
use domain::decider::Decider;
use domain::event::Event;
use domain::ladder::gaps::Gap;
use domain::market::event::MarketEvent;
use domain::market::{Market, MarketCommand};
use domain::time::MINUTE;
use eventlog::memory::Memory;
use eventlog::stream::Log;
use projections::history::{PAGE_MAX, Query, Shown};
use proptest::prelude::*;

use super::*;
use crate::copy_gaps;
use crate::house::{House, at, tick};
use crate::turn::Left;

const HOUR: i64 = 60 * MINUTE;

/// The newest cut, as a test says.
#[derive(Default)]
struct Newest(Mutex<Option<Cut>>);

impl Newest {
    /// Takes a snapshot: all that these views hold is kept elsewhere from now on.
    fn take(&self, views: &Views) {
        *self.0.lock().unwrap() = views.take_changed().first().map(|changed| changed.cut);
    }
}

#[async_trait]
impl Snapshots for Newest {
    async fn newest_cut(&self) -> Option<Cut> {
        *self.0.lock().unwrap()
    }
}

/// How far the guardian has come, as a test says.
struct Passed(Mutex<Option<Offset>>);

#[async_trait]
impl Guarded for Passed {
    async fn guarded(&self) -> Option<Offset> {
        *self.0.lock().unwrap()
    }
}

struct Retired {
    house: House,
    newest: Arc<Newest>,
    passed: Arc<Passed>,
    job: Retiring,
}

impl Retired {
    fn new(house: House, market_age: Duration, market_bytes: u64) -> Self {
        let newest = Arc::new(Newest::default());
        let passed = Arc::new(Passed(Mutex::new(Some(Offset(u64::MAX)))));
        let job = Retiring::new(Retirement {
            market: house.market.clone(),
            trim: house.market.clone(),
            snapshots: newest.clone(),
            guarded: passed.clone(),
            settings: Settings { market_age, market_bytes, ..Settings::default() },
        });
        Self { house, newest, passed, job }
    }

    /// Takes a turn; returns how many entries went, and what holds others that should have gone.
    async fn turn(&mut self, views: &Views) -> (u64, Option<Hold>) {
        let House { ledger, clock, .. } = &self.house;
        let trimmed = self.job.turn(views, ledger.as_ref(), clock.as_ref()).await.unwrap();
        (trimmed.unwrap().entries, self.job.held)
    }
}

/// Records what is due in the ledger, and shows it.
async fn record_all(house: &House, views: &Views) {
    let (ledger, clock) = (house.ledger.as_ref(), house.clock.as_ref());
    while close_candles::turn(views, ledger, clock).await.unwrap() != Left::Nothing {
        house.show(views).await;
    }
    while copy_gaps::turn(views, ledger, clock).await.unwrap() != Left::Nothing {
        house.show(views).await;
    }
    house.show(views).await;
}

/// Three hours with a trade in each, and the first minute of a fourth.
async fn three_hours() -> (Retired, Arc<Views>) {
    let house = House::new();
    for trade in ["1 09:10:00 10", "2 10:10:00 11", "3 11:10:00 12", "4 12:00:02 13"] {
        house.clock.set(at(&trade[2..10]));
        house.trade("BTC-USDT", trade).await;
    }
    let views = house.views().await;
    house.clock.set(at("23:00:00"));
    (Retired::new(house, Duration::from_hours(2), u64::MAX), views)
}

#[tokio::test(start_paused = true)]
async fn what_is_old_goes_once_it_is_in_a_snapshot_and_in_the_ledger() {
    let (mut retired, views) = three_hours().await;
    assert_eq!(retired.turn(&views).await, (0, Some(Hold::NoSnapshot)));
    retired.newest.take(&views);
    assert_eq!(retired.turn(&views).await, (0, Some(Hold::UnrecordedHours)));
    record_all(&retired.house, &views).await;

    // The fourth hour is open: it began at twelve, and a venue may be an hour ahead of us.
    assert_eq!(retired.turn(&views).await, (2, Some(Hold::OpenHour)));
    assert_eq!(retired.house.market.floor().await, Ok(Offset(2)));
    assert_eq!(retired.turn(&views).await, (0, Some(Hold::OpenHour)));
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_at_which_the_guardian_has_not_looked() {
    let (mut retired, views) = three_hours().await;
    retired.newest.take(&views);
    record_all(&retired.house, &views).await;

    *retired.passed.0.lock().unwrap() = None;
    assert_eq!(retired.turn(&views).await, (0, Some(Hold::Guardian)));
    *retired.passed.0.lock().unwrap() = Some(Offset(1));
    assert_eq!(retired.turn(&views).await, (1, Some(Hold::Guardian)));
    *retired.passed.0.lock().unwrap() = Some(Offset(9));
    assert_eq!(retired.turn(&views).await, (1, Some(Hold::OpenHour)));
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_that_is_young_and_little() {
    let (mut retired, views) = three_hours().await;
    retired.newest.take(&views);
    record_all(&retired.house, &views).await;
    retired.house.clock.set(at("11:11:00"));

    assert_eq!(retired.turn(&views).await, (1, None));
    retired.job.retirement.settings.market_bytes = 1;
    assert_eq!(retired.turn(&views).await, (1, Some(Hold::OpenHour)));
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_past_the_newest_snapshot() {
    let (mut retired, _) = three_hours().await;
    let early = Arc::new(Views::new(Vec::new()));
    early.fold(Log::Market, &retired.house.market.read(Offset(0), 1).await.unwrap());
    retired.newest.take(&early);
    let views = retired.house.views().await;
    record_all(&retired.house, &views).await;

    assert_eq!(retired.turn(&views).await, (1, Some(Hold::Snapshot)));
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_while_a_gap_is_not_in_the_ledger() {
    let (mut retired, views) = three_hours().await;
    let (after, before) = (at("09:10:00"), at("10:10:00"));
    let opened = MarketEvent::FeedGapOpened { first_id: 7, last_id: 8, after, before };
    retired.house.record("BTC-USDT", vec![opened]).await;
    retired.house.show(&views).await;
    retired.newest.take(&views);
    let (ledger, clock) = (retired.house.ledger.clone(), retired.house.clock.clone());
    close_candles::turn(&views, ledger.as_ref(), clock.as_ref()).await.unwrap();
    retired.house.show(&views).await;

    assert_eq!(retired.turn(&views).await, (0, Some(Hold::UnrecordedGaps)));
    record_all(&retired.house, &views).await;
    assert_eq!(retired.turn(&views).await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_hour_of_a_market_that_fell_silent_is_recorded_and_goes() {
    let (mut retired, views) = three_hours().await;
    retired.newest.take(&views);
    record_all(&retired.house, &views).await;
    // A day after the last word of it.
    retired.house.clock.set(at("12:00:02").plus(STALLED_AFTER));
    let hours = retired.house.in_ledger("candles-").await.len();

    assert_eq!(retired.turn(&views).await, (0, Some(Hold::UnrecordedHours)));
    assert_eq!(retired.house.in_ledger("candles-").await.len(), hours + 1);
    retired.house.show(&views).await;
    assert_eq!(retired.turn(&views).await, (4, None));
    assert_eq!(retired.turn(&views).await, (0, None));
    let market = Arc::new(Memory::new(Log::Market));
    let of_ledger = House { market, ..retired.house.clone() }.views().await;
    assert_eq!(shown(&of_ledger), shown(&views));
}

#[tokio::test(start_paused = true)]
async fn a_market_log_that_cannot_be_cut_now_is_cut_another_time() {
    struct Refuses(LogError);

    #[async_trait]
    impl Trim for Refuses {
        async fn trim(&self, _: Retention) -> Result<Trimmed, LogError> {
            Err(self.0.clone())
        }
    }

    let (mut retired, views) = three_hours().await;
    let damaged = LogError::Damaged { offset: Offset(7), reason: "a bad checksum".to_owned() };
    let waits = [LogError::Full, LogError::Unavailable(String::new()), damaged.clone()];
    let mut turns = Vec::new();
    for error in waits {
        retired.job.retirement.trim = Arc::new(Refuses(error));
        let House { ledger, clock, .. } = &retired.house;
        turns.push(retired.job.turn(&views, ledger.as_ref(), clock.as_ref()).await);
    }
    assert_eq!(turns, [Ok(None), Ok(None), Err(damaged)]);
}

#[tokio::test(start_paused = true)]
async fn the_read_store_says_how_far_its_snapshots_reach() {
    let folder = tempfile::tempdir().unwrap();
    let (mut retired, views) = three_hours().await;
    let (store, _) = Store::open(&folder.path().join("read.db")).await.unwrap();
    retired.job.retirement.snapshots = Arc::new(store.clone());
    assert_eq!(retired.turn(&views).await, (0, Some(Hold::NoSnapshot)));

    record_all(&retired.house, &views).await;
    store.snapshot(&views, at("23:00:00")).await.unwrap();
    assert_eq!(retired.turn(&views).await, (2, Some(Hold::OpenHour)));
    store.close().await;
}

/// All that is shown of a market: its candles of each interval, and its gaps. How often a coarser
/// candle was corrected the trades alone can tell.
type Picture = (Vec<Vec<Shown>>, Vec<Gap>);

fn shown(views: &Views) -> Picture {
    let candles = views.candles();
    let btc = candles.get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap()).unwrap();
    let page = |interval| {
        let query = Query { interval, start: None, end: None, limit: PAGE_MAX, fill: false };
        let mut page = query.answer(btc);
        for shown in &mut page.candles {
            if interval != Interval::Minute {
                shown.candle.revision = 0;
            }
        }
        page.candles
    };
    let gaps = btc.gaps(Timestamp::MIN, Timestamp::MAX).copied();
    (Interval::ALL.into_iter().map(page).collect(), gaps.collect())
}

/// What happens in the days of a house.
#[derive(Debug, Clone)]
enum Happening {
    /// So many seconds later a trade, late by so many, after so many that do not come.
    Trade {
        pause: i64,
        late: i64,
        missing: u64,
        price: u32,
    },
    /// A trade that was missing comes after all, counted from the newest.
    Fill(u64),
    CloseCandles,
    CopyGaps,
    Snapshot,
    /// Retention by age in hours, or by bytes.
    Retire {
        hours: u64,
        bytes: u64,
    },
    /// The views are folded anew, from the ledger and what is left: the snapshots were lost.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let late = prop_oneof![5 => Just(0i64), 1 => 1i64..8_000];
    let missing = prop_oneof![5 => Just(0u64), 1 => 1u64..5];
    let trade = (1i64..3_000, late, missing, 1u32..99)
        .prop_map(|(pause, late, missing, price)| Happening::Trade { pause, late, missing, price });
    let bytes = prop_oneof![Just(u64::MAX), Just(1), 1u64..20_000];
    prop_oneof![
        16 => trade,
        2 => (0u64..6).prop_map(Happening::Fill),
        2 => Just(Happening::CloseCandles),
        2 => Just(Happening::CopyGaps),
        2 => Just(Happening::Snapshot),
        3 => (1u64..30, bytes).prop_map(|(hours, bytes)| Happening::Retire { hours, bytes }),
        1 => Just(Happening::Restart),
    ]
}

/// A house whose market log is cut, and the same market log whole.
struct Days {
    retired: Retired,
    whole: House,
    views: Arc<Views>,
    market: Market,
    now: Timestamp,
    next_id: u64,
    missing: Vec<(u64, Timestamp)>,
}

impl Days {
    async fn new() -> Self {
        let house = House::new();
        let whole = House { market: Arc::new(Memory::new(Log::Market)), ..house.clone() };
        let views = house.views().await;
        let retired = Retired::new(house, Duration::from_hours(1), u64::MAX);
        let (now, missing) = (at("01:00:00"), Vec::new());
        Self { retired, whole, views, market: Market::default(), now, next_id: 1, missing }
    }

    async fn go_on(&mut self, happening: Happening) {
        let house = self.retired.house.clone();
        let (ledger, clock) = (house.ledger.as_ref(), house.clock.as_ref());
        match happening {
            Happening::Trade { pause, late, missing, price } => {
                self.now = self.now.plus(pause * SECOND);
                let traded_at = match self.now.plus(-late * SECOND) {
                    late if late < self.gone_until().await => self.now,
                    late => late,
                };
                for _ in 0..missing {
                    self.missing.push((self.next_id, traded_at));
                    self.next_id += 1;
                }
                self.hear(self.next_id, traded_at, price).await;
                self.next_id += 1;
            }
            Happening::Fill(place) => {
                let place = usize::try_from(place).unwrap() + 1;
                if let Some(place) = self.missing.len().checked_sub(place) {
                    let (id, traded_at) = self.missing.remove(place);
                    if traded_at >= self.gone_until().await {
                        self.hear(id, traded_at, 50).await;
                    }
                }
            }
            Happening::CloseCandles => {
                close_candles::turn(&self.views, ledger, clock).await.unwrap();
            }
            Happening::CopyGaps => {
                copy_gaps::turn(&self.views, ledger, clock).await.unwrap();
            }
            Happening::Snapshot => self.retired.newest.take(&self.views),
            Happening::Retire { hours, bytes } => {
                let settings = &mut self.retired.job.retirement.settings;
                settings.market_age = Duration::from_hours(hours);
                settings.market_bytes = bytes;
                self.retired.turn(&self.views).await;
            }
            Happening::Restart => {
                self.views = house.views().await;
                self.retired.newest.0.lock().unwrap().take();
            }
        }
        house.show(&self.views).await;
    }

    /// Returns the end of the last hour of which trades were dropped. A trade that comes later than
    /// that is known to views that have seen the others, and to no views that are folded anew: the
    /// ledger does not say which trades its record of the hour holds.
    async fn gone_until(&self) -> Timestamp {
        let floor = usize::try_from(self.retired.house.market.floor().await.unwrap().0).unwrap();
        let gone = self.whole.market.read(Offset(0), floor).await.unwrap();
        let ends = gone.iter().flat_map(|entry| &entry.events).filter_map(|event| match event {
            Event::Market(MarketEvent::TickObserved(tick)) => {
                Some(Interval::Hour.end(Interval::Hour.bucket(tick.traded_at)))
            }
            _ => None,
        });
        ends.max().unwrap_or(Timestamp::MIN)
    }

    /// Records a trade by the rule of the market, and what there is to say of gaps.
    async fn hear(&mut self, id: u64, traded_at: Timestamp, price: u32) {
        self.retired.house.clock.set(self.now);
        let trade = tick(id, traded_at, &price.to_string());
        let notice = MarketCommand::NoticeGaps { venue_time: self.now };
        for command in [MarketCommand::RecordTicks(vec![trade]), notice] {
            let Ok(events) = self.market.decide(command);
            if events.is_empty() {
                continue;
            }
            for event in &events {
                self.market.evolve(event);
            }
            self.retired.house.record("BTC-USDT", events.clone()).await;
            self.whole.record("BTC-USDT", events).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was dropped, and whenever: the ledger and what is left of the market log show the
    /// same candles and the same gaps as all that was ever recorded.
    #[test]
    fn retention_eats_no_history(happenings in prop::collection::vec(happening(), 10..160)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut days = Days::new().await;
            days.go_on(Happening::Trade { pause: 1, late: 0, missing: 0, price: 9 }).await;
            for happening in happenings {
                days.go_on(happening).await;
            }
            let (of_rest, of_all) = (days.retired.house.views().await, days.whole.views().await);
            prop_assert_eq!(shown(&of_rest), shown(&of_all));
            prop_assert_eq!(shown(&days.views), shown(&of_all));
            Ok(())
        })?;
    }
}

const _: () = assert!(AHEAD_MAX == HOUR);
