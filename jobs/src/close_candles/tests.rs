//! The job between two logs in memory, killed and started again, and beside another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use domain::candle::Candle;
use domain::market::event::MarketEvent;
use domain::tick::{Side, Tick};
use domain::time::Timestamp;
use eventlog::entry::{Draft, Entry, Offset, Version};
use eventlog::log::{Appended, Durability, ReadLog};
use eventlog::memory::Memory;
use projections::history::{PAGE_MAX, Page, Query};
use projections::projector;
use proptest::prelude::*;

use super::*;

struct Midnight;

impl Clock for Midnight {
    fn now(&self) -> Timestamp {
        at("23:59:59")
    }
}

fn at(time: &str) -> Timestamp {
    format!("2024-03-21T{time}Z").parse().unwrap()
}

/// A node's two logs. Views come and go; the logs stay.
#[derive(Clone)]
struct House {
    ledger: Arc<Memory>,
    market: Arc<Memory>,
}

impl House {
    fn new() -> Self {
        Self {
            ledger: Arc::new(Memory::new(Log::Ledger)),
            market: Arc::new(Memory::new(Log::Market)),
        }
    }

    /// Records trades of an instrument, drawn as `ID TIME PRICE` and parted by commas.
    async fn trade(&self, instrument: &str, trades: &str) {
        let tick = |trade: &str| {
            let words: Vec<&str> = trade.split_whitespace().collect();
            Event::Market(MarketEvent::TickObserved(Tick {
                trade_id: words[0].parse().unwrap(),
                price: words[2].parse().unwrap(),
                quantity: "0.5".parse().unwrap(),
                taker: Side::Buy,
                traded_at: at(words[1]),
                received_at: at(words[1]),
            }))
        };
        let actor =
            Actor { principal: "binance".into(), role: "feed".into(), via: "intake".into() };
        let pen = Pen { log: self.market.as_ref(), clock: &Midnight, actor: &actor };
        let stream: Stream = format!("market-binance.{instrument}").parse().unwrap();
        let events = trades.split(',').map(tick).collect();
        pen.put(&stream, trades.as_bytes(), events, Expected::Any).await.unwrap();
    }

    /// Returns views that show both logs, as after a start.
    async fn views(&self) -> Arc<Views> {
        let views = Arc::new(Views::new(Vec::new()));
        self.show(&views).await;
        views
    }

    async fn show(&self, views: &Views) {
        projector::catch_up(Log::Ledger, self.ledger.as_ref(), views).await.unwrap();
        projector::catch_up(Log::Market, self.market.as_ref(), views).await.unwrap();
    }

    async fn turn(&self, views: &Views) -> Left {
        turn(views, self.ledger.as_ref(), &Midnight).await.unwrap()
    }

    /// What the ledger holds: an entry a line, each minute as its time, trades and revision.
    async fn recorded(&self) -> Vec<String> {
        let draw = |event: &Event| match event {
            Event::Candle(CandleEvent::CandleClosed { interval: Interval::Minute, candle }) => {
                let Candle { opened_at, trades, revision, .. } = candle;
                format!("{} {trades} r{revision}", &opened_at.to_shortest()[11..16])
            }
            other => panic!("{other:?}"),
        };
        let entries = self.ledger.read(Offset(0), usize::MAX).await.unwrap();
        let line = |entry: &Entry| {
            let minutes: Vec<String> = entry.events.iter().map(draw).collect();
            format!("{}: {}", entry.stream, minutes.join(", "))
        };
        entries.iter().map(line).collect()
    }
}

/// All candles of BTC-USDT that are closed, of every interval.
fn closed(views: &Views) -> Vec<Page> {
    let candles = views.candles();
    let btc = candles.get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap()).unwrap();
    let page = |interval| {
        let query = Query { interval, start: None, end: None, limit: PAGE_MAX, fill: false };
        let mut page = query.answer(btc);
        page.candles.retain(|shown| shown.closed);
        page
    };
    Interval::ALL.into_iter().map(page).collect()
}

#[tokio::test(start_paused = true)]
async fn an_hour_that_has_closed_is_one_entry() {
    let house = House::new();
    house.trade("BTC-USDT", "1 09:10:00 10,2 09:10:30 11,3 09:59:59 12,4 10:00:01 13").await;
    let views = house.views().await;
    assert_eq!(house.turn(&views).await, Left::Nothing);
    assert!(house.recorded().await.is_empty());

    house.trade("ETH-USDT", "1 10:00:02 10").await;
    house.show(&views).await;
    assert_eq!(house.turn(&views).await, Left::Nothing);
    assert_eq!(house.recorded().await, ["candles-binance.BTC-USDT: 09:10 2 r0, 09:59 1 r0"]);
    let entry = house.ledger.read(Offset(0), 1).await.unwrap().remove(0);
    let Actor { principal, role, via } = entry.actor;
    assert_eq!([principal, role, via], ["candles", "job", "jobs"]);
    assert_eq!(entry.recorded_at, at("23:59:59"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_recorded_twice_whenever_the_job_is_killed() {
    let house = House::new();
    house.trade("BTC-USDT", "1 09:10:00 10,2 10:30:00 11,3 11:00:02 12").await;
    let killed_before_the_fold = house.views().await;
    house.turn(&killed_before_the_fold).await;
    // It goes on without a restart, and its views are behind.
    assert_eq!(house.turn(&killed_before_the_fold).await, Left::All);

    for _ in 0..3 {
        let views = house.views().await;
        assert_eq!(house.turn(&views).await, Left::Nothing);
    }
    assert_eq!(house.recorded().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_late_trade_has_its_hour_recorded_again() {
    let house = House::new();
    house.trade("BTC-USDT", "1 09:10:00 10,2 09:20:00 11,3 10:00:02 12").await;
    let views = house.views().await;
    house.turn(&views).await;
    house.trade("BTC-USDT", "0 09:10:01 9").await;
    house.show(&views).await;
    house.turn(&views).await;

    assert_eq!(
        house.recorded().await,
        [
            "candles-binance.BTC-USDT: 09:10 1 r0, 09:20 1 r0",
            "candles-binance.BTC-USDT: 09:10 2 r1, 09:20 1 r0",
        ]
    );
    let views = house.views().await;
    house.turn(&views).await;
    assert_eq!(house.recorded().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_recorded_in_turns() {
    let house = House::new();
    for instrument in 0..70 {
        house.trade(&format!("I{instrument}-USDT"), "1 09:10:00 10").await;
    }
    house.trade("BTC-USDT", "1 10:00:02 10").await;
    let views = house.views().await;

    assert_eq!(house.turn(&views).await, Left::More);
    assert_eq!(house.recorded().await.len(), TURN_HOURS_MAX);
    house.show(&views).await;
    assert_eq!(house.turn(&views).await, Left::Nothing);
    assert_eq!(house.recorded().await.len(), 70);
}

#[tokio::test(start_paused = true)]
async fn the_ledger_alone_gives_the_same_closed_candles_and_so_do_both_logs() {
    let house = House::new();
    for hour in 0..22 {
        let minutes = [3, 4, 17, 59].map(|minute| {
            let id = hour * 100 + minute;
            format!("{id} {hour:02}:{minute:02}:01 {}", 100 + (id * 7) % 31)
        });
        house.trade("BTC-USDT", &minutes.join(",")).await;
    }
    let views = house.views().await;
    while house.turn(&views).await != Left::Nothing {
        house.show(&views).await;
    }
    house.show(&views).await;

    // The last hour is open still; the next one closes it.
    house.trade("BTC-USDT", "9999 22:00:02 100").await;
    house.show(&views).await;
    house.turn(&views).await;
    house.show(&views).await;
    let of_both = house.views().await;
    assert_eq!(closed(&of_both), closed(&views));

    let market = Arc::new(Memory::new(Log::Market));
    let of_ledger = House { market, ..house.clone() }.views().await;
    assert_eq!(closed(&of_ledger), closed(&views));
    let counts: Vec<usize> = closed(&views).iter().map(|page| page.candles.len()).collect();
    assert_eq!(counts, [88, 66, 22, 5, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Wherever the market log was cut: what is left of it and the ledger give the closed candles
    /// that both logs gave. Only how often a coarser one was corrected the trades alone can tell.
    #[test]
    fn what_retention_takes_from_the_market_log_the_ledger_still_tells(
        told in prop::collection::vec(
            (1i64..1_500, prop_oneof![4 => Just(0i64), 1 => 1i64..3_000], 1u32..99), 1..60,
        ),
        cut in 0usize..60,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let house = House::new();
            let rest = House { ledger: house.ledger.clone(), ..House::new() };
            let mut now = at("01:00:00");
            let mut trades = Vec::new();
            for (id, (pause, late, price)) in told.iter().enumerate() {
                now = now.plus(pause * 1_000_000);
                let traded_at = now.plus(-late * 1_000_000).to_shortest();
                trades.push(format!("{} {} {price}", id + 1, &traded_at[11..19]));
            }
            // The hour of the last trade closes.
            let end = Interval::Hour.end(Interval::Hour.bucket(now)).plus(2_000_000);
            trades.push(format!("{} {} 50", told.len() + 1, &end.to_shortest()[11..19]));
            for (place, trade) in trades.iter().enumerate() {
                house.trade("BTC-USDT", trade).await;
                if place >= cut.min(told.len()) {
                    rest.trade("BTC-USDT", trade).await;
                }
                if place % 5 == 0 {
                    let views = house.views().await;
                    house.turn(&views).await;
                }
            }
            let views = house.views().await;
            house.turn(&views).await;
            house.show(&views).await;
            let of_rest = rest.views().await;
            let all_but_coarse_revisions = |views| {
                let mut pages = closed(views);
                for shown in pages.iter_mut().skip(1).flat_map(|page| &mut page.candles) {
                    shown.candle.revision = 0;
                }
                pages
            };
            prop_assert_eq!(all_but_coarse_revisions(&of_rest), all_but_coarse_revisions(&views));
            let started_again = house.views().await;
            prop_assert_eq!(closed(&started_again), closed(&views));
            prop_assert_eq!(of_rest.candles().unrecorded(9), []);
            Ok(())
        })?;
    }
}

/// A ledger that cannot be reached now and then, and whose head is behind: as for another node
/// that asked a moment ago.
struct Shaky {
    ledger: Arc<Memory>,
    calls: AtomicUsize,
    behind: bool,
}

#[async_trait]
impl ReadLog for Shaky {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.ledger.read(after, limit).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        self.ledger.read_stream(stream, after, limit).await
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        self.ledger.last(stream).await
    }

    async fn head(&self) -> Result<Offset, LogError> {
        if self.behind {
            return Ok(Offset(0));
        }
        match self.calls.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Err(LogError::Unavailable("no answer".to_owned())),
            _ => self.ledger.head().await,
        }
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        self.ledger.wait_after(after).await
    }

    fn durability(&self) -> Durability {
        self.ledger.durability()
    }
}

#[async_trait]
impl EventLog for Shaky {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        match self.calls.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => Err(LogError::Unavailable("no answer".to_owned())),
            1 => {
                self.ledger.append(draft, expected).await?;
                Err(LogError::OutcomeUnknown)
            }
            _ => self.ledger.append(draft, expected).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_nodes_at_once_record_an_hour_once() {
    let house = House::new();
    house.trade("BTC-USDT", "1 09:10:00 10,2 10:00:02 12").await;
    let ledger = Shaky { ledger: house.ledger.clone(), calls: AtomicUsize::new(2), behind: true };
    for views in [house.views().await, Arc::new(Views::new(Vec::new()))] {
        projector::catch_up(Log::Market, house.market.as_ref(), &views).await.unwrap();
        assert_eq!(turn(&views, &ledger, &Midnight).await.unwrap(), Left::Nothing);
    }
    assert_eq!(house.recorded().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_job_runs_on_its_own_and_outlasts_a_ledger_that_fails() {
    let house = House::new();
    let ledger: Arc<Shaky> =
        Arc::new(Shaky { ledger: house.ledger.clone(), calls: AtomicUsize::new(0), behind: false });
    let views = house.views().await;
    let job = tokio::spawn(crate::run(views.clone(), ledger, Arc::new(Midnight)));
    let projectors = [
        tokio::spawn(projector::follow(Log::Market, house.market.clone(), views.clone())),
        tokio::spawn(projector::follow(Log::Ledger, house.ledger.clone(), views.clone())),
    ];
    for hour in 1..6_u64 {
        house.trade("BTC-USDT", &format!("{hour} {hour:02}:30:00 10")).await;
        if hour > 1 {
            house.ledger.wait_after(Offset(hour - 2)).await.unwrap();
        }
    }

    assert_eq!(house.recorded().await.len(), 4);
    job.abort();
    for projector in projectors {
        projector.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_ledger_ends_the_jobs() {
    struct Damaged(Memory);

    #[async_trait]
    impl ReadLog for Damaged {
        async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
            self.0.read(after, limit).await
        }
        async fn read_stream(
            &self,
            stream: &Stream,
            after: Version,
            limit: usize,
        ) -> Result<Vec<Entry>, LogError> {
            self.0.read_stream(stream, after, limit).await
        }
        async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
            self.0.last(stream).await
        }
        async fn head(&self) -> Result<Offset, LogError> {
            Err(LogError::Damaged { offset: Offset(7), reason: "a bad checksum".to_owned() })
        }
        async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
            self.0.wait_after(after).await
        }
        fn durability(&self) -> Durability {
            self.0.durability()
        }
    }

    #[async_trait]
    impl EventLog for Damaged {
        async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
            self.0.append(draft, expected).await
        }
    }

    let views = Arc::new(Views::new(Vec::new()));
    let ledger = Arc::new(Damaged(Memory::new(Log::Ledger)));
    let error = crate::run(views, ledger, Arc::new(Midnight)).await;
    assert!(matches!(error, LogError::Damaged { .. }));
}
