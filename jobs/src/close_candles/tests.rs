//! The job between two logs in memory, killed and started again, and beside another.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use eventlog::entry::{Entry, Offset};
use eventlog::log::ReadLog;
use eventlog::memory::Memory;
use eventlog::stream::Log;
use projections::history::{PAGE_MAX, Page, Query};
use projections::projector;
use proptest::prelude::*;

use super::*;
use crate::Jobs;
use crate::house::{House, Shaky, at, drawn};

async fn take_turn(house: &House, views: &Views) -> Left {
    turn(views, house.ledger.as_ref(), house.clock.as_ref()).await.unwrap()
}

/// What the ledger holds: an entry a line.
async fn recorded(house: &House) -> Vec<String> {
    let draw = |event: &Event| match event {
        Event::Candle(CandleEvent::CandleClosed { interval: Interval::Minute, candle }) => {
            drawn(candle)
        }
        other => panic!("{other:?}"),
    };
    let line = |entry: &Entry| {
        let minutes: Vec<String> = entry.events.iter().map(draw).collect();
        format!("{}: {}", entry.stream, minutes.join(", "))
    };
    house.in_ledger("candles-").await.iter().map(line).collect()
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
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    assert!(recorded(&house).await.is_empty());

    house.trade("ETH-USDT", "1 10:00:02 10").await;
    house.show(&views).await;
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    assert_eq!(recorded(&house).await, ["candles-binance.BTC-USDT: 09:10 2 r0, 09:59 1 r0"]);
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
    take_turn(&house, &killed_before_the_fold).await;
    // It goes on without a restart, and its views are behind.
    assert_eq!(take_turn(&house, &killed_before_the_fold).await, Left::All);

    for _ in 0..3 {
        let views = house.views().await;
        assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    }
    assert_eq!(recorded(&house).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_late_trade_has_its_hour_recorded_again() {
    let house = House::new();
    house.trade("BTC-USDT", "1 09:10:00 10,2 09:20:00 11,3 10:00:02 12").await;
    let views = house.views().await;
    take_turn(&house, &views).await;
    house.trade("BTC-USDT", "0 09:10:01 9").await;
    house.show(&views).await;
    take_turn(&house, &views).await;

    assert_eq!(
        recorded(&house).await,
        [
            "candles-binance.BTC-USDT: 09:10 1 r0, 09:20 1 r0",
            "candles-binance.BTC-USDT: 09:10 2 r1, 09:20 1 r0",
        ]
    );
    let views = house.views().await;
    take_turn(&house, &views).await;
    assert_eq!(recorded(&house).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_recorded_in_turns() {
    let house = House::new();
    for instrument in 0..70 {
        house.trade(&format!("I{instrument}-USDT"), "1 09:10:00 10").await;
    }
    house.trade("BTC-USDT", "1 10:00:02 10").await;
    let views = house.views().await;

    assert_eq!(take_turn(&house, &views).await, Left::More);
    assert_eq!(recorded(&house).await.len(), TURN_HOURS_MAX);
    house.show(&views).await;
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    assert_eq!(recorded(&house).await.len(), 70);
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
    while take_turn(&house, &views).await != Left::Nothing {
        house.show(&views).await;
    }
    house.show(&views).await;

    // The last hour is open still; the next one closes it.
    house.trade("BTC-USDT", "9999 22:00:02 100").await;
    house.show(&views).await;
    take_turn(&house, &views).await;
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
                    take_turn(&house, &views).await;
                }
            }
            let views = house.views().await;
            take_turn(&house, &views).await;
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

#[tokio::test(start_paused = true)]
async fn two_nodes_at_once_record_an_hour_once() {
    let house = House::new();
    house.trade("BTC-USDT", "1 09:10:00 10,2 10:00:02 12").await;
    let ledger = Shaky { ledger: house.ledger.clone(), calls: AtomicUsize::new(2), behind: true };
    for views in [house.views().await, Arc::new(Views::new(Vec::new()))] {
        projector::catch_up(Log::Market, house.market.as_ref(), &views).await.unwrap();
        assert_eq!(turn(&views, &ledger, house.clock.as_ref()).await.unwrap(), Left::Nothing);
    }
    assert_eq!(recorded(&house).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_job_runs_on_its_own_and_outlasts_a_ledger_that_fails() {
    let house = House::new();
    let ledger: Arc<Shaky> =
        Arc::new(Shaky { ledger: house.ledger.clone(), calls: AtomicUsize::new(0), behind: false });
    let views = house.views().await;
    let (clock, jobs_views) = (house.clock.clone(), views.clone());
    let desk = house.desk(ledger.clone());
    let jobs = Jobs { views: jobs_views, ledger, desk, clock, retirement: None };
    let job = tokio::spawn(crate::run(jobs));
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

    assert_eq!(recorded(&house).await.len(), 4);
    job.abort();
    for projector in projectors {
        projector.abort();
    }
}
