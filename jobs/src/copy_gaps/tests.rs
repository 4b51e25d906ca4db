//! The job between two logs in memory, killed and started again, and beside another.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use domain::ladder::gaps::Gap;
use domain::market::event::GapReason;
use domain::time::Timestamp;
use eventlog::entry::Entry;
use eventlog::stream::Log;
use projections::projector;

use super::*;
use crate::house::{House, Shaky, at, tick};

fn opened(first_id: u64, last_id: u64) -> MarketEvent {
    let (after, before) = (at("09:00:00"), at("09:30:00"));
    MarketEvent::FeedGapOpened { first_id, last_id, after, before }
}

const fn filled(first_id: u64, last_id: u64) -> MarketEvent {
    MarketEvent::FeedGapFilled { first_id, last_id }
}

const fn gone(first_id: u64, last_id: u64) -> MarketEvent {
    MarketEvent::FeedGapUnfillable { first_id, last_id, reason: GapReason::NotToBeHad }
}

fn seen(trade_id: u64, time: &str) -> MarketEvent {
    MarketEvent::TickObserved(tick(trade_id, at(time), "10"))
}

async fn take_turn(house: &House, views: &Views) -> Left {
    let left = turn(views, house.ledger.as_ref(), house.clock.as_ref()).await.unwrap();
    house.show(views).await;
    left
}

/// What the ledger holds of gaps: the stream of each entry and its events.
async fn copied(house: &House) -> Vec<(String, Vec<MarketEvent>)> {
    let of = |entry: Entry| {
        let event = |event| match event {
            Event::Market(event) => event,
            other @ (Event::Candle(_)
            | Event::Account(_)
            | Event::Refusal(_)
            | Event::Key(_)
            | Event::Access(_)) => {
                panic!("{other:?}")
            }
        };
        (entry.stream.to_string(), entry.events.into_iter().map(event).collect())
    };
    house.in_ledger("gaps-").await.into_iter().map(of).collect()
}

fn gaps(views: &Views) -> Vec<Gap> {
    let candles = views.candles();
    let btc = candles.get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap());
    btc.map(|btc| btc.gaps(Timestamp::MIN, Timestamp::MAX).copied().collect()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_gaps_is_one_entry_a_market() {
    let house = House::new();
    house.record("BTC-USDT", vec![seen(1, "09:00:00"), seen(9, "09:30:00")]).await;
    house.record("ETH-USDT", vec![seen(1, "09:00:00"), seen(5, "09:30:00")]).await;
    let views = house.views().await;
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    assert_eq!(copied(&house).await, []);

    house.record("BTC-USDT", vec![opened(2, 4), opened(6, 8), gone(2, 4)]).await;
    house.record("ETH-USDT", vec![opened(2, 4)]).await;
    house.show(&views).await;
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    let [btc, eth] = ["gaps-binance.BTC-USDT", "gaps-binance.ETH-USDT"].map(str::to_owned);
    let first =
        [(btc.clone(), vec![opened(2, 4), gone(2, 4), opened(6, 8)]), (eth, vec![opened(2, 4)])];
    assert_eq!(copied(&house).await, first);
    let entry = house.in_ledger("gaps-").await.remove(0);
    let Actor { principal, role, via } = entry.actor;
    assert_eq!([principal, role, via], ["gaps", "job", "jobs"]);
    assert_eq!(entry.recorded_at, at("23:59:59"));

    let filling = (6..9).map(|id| seen(id, "09:20:00")).chain([filled(6, 8)]);
    house.record("BTC-USDT", filling.collect()).await;
    house.show(&views).await;
    take_turn(&house, &views).await;
    assert_eq!(copied(&house).await[2..], [(btc, vec![filled(6, 8)])]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_copied_twice_whenever_the_job_is_killed() {
    let house = House::new();
    let past = vec![seen(1, "09:00:00"), seen(9, "09:30:00"), opened(2, 4), opened(6, 8)];
    house.record("BTC-USDT", past).await;
    let behind = house.views().await;
    for _ in 0..3 {
        let ledger = house.ledger.as_ref();
        turn(&behind, ledger, house.clock.as_ref()).await.unwrap();
        take_turn(&house, &house.views().await.clone()).await;
    }

    assert_eq!(copied(&house).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_nodes_at_once_copy_a_gap_once() {
    let house = House::new();
    house.record("BTC-USDT", vec![seen(1, "09:00:00"), seen(5, "09:30:00"), opened(2, 4)]).await;
    let ledger = Shaky { ledger: house.ledger.clone(), calls: AtomicUsize::new(2), behind: true };
    for views in [house.views().await, Arc::new(Views::new(Vec::new()))] {
        projector::catch_up(Log::Market, house.market.as_ref(), &views).await.unwrap();
        assert_eq!(turn(&views, &ledger, house.clock.as_ref()).await.unwrap(), Left::Nothing);
    }

    assert_eq!(copied(&house).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn more_than_an_entry_holds_is_copied_in_turns() {
    let house = House::new();
    for gap in 0..300 {
        house
            .record(
                "BTC-USDT",
                vec![seen(10 * gap, "09:00:00"), opened(10 * gap + 1, 10 * gap + 9)],
            )
            .await;
    }
    let views = house.views().await;

    assert_eq!(take_turn(&house, &views).await, Left::More);
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    let sizes: Vec<usize> = copied(&house).await.iter().map(|(_, events)| events.len()).collect();
    assert_eq!(sizes, [DECISION_EVENTS_MAX, 300 - DECISION_EVENTS_MAX]);
}

#[tokio::test(start_paused = true)]
async fn the_ledger_alone_tells_the_same_gaps() {
    let house = House::new();
    let past = vec![seen(1, "09:00:00"), seen(20, "09:30:00"), opened(2, 4), opened(6, 8)];
    house.record("BTC-USDT", past).await;
    let views = house.views().await;
    take_turn(&house, &views).await;
    house.record("BTC-USDT", vec![filled(2, 4), opened(10, 12), gone(10, 12)]).await;
    house.show(&views).await;
    take_turn(&house, &views).await;
    // The clock of candles, without which nothing is shown, the hours tell.
    house.trade("BTC-USDT", "30 10:00:02 10").await;
    house.show(&views).await;
    crate::close_candles::turn(&views, house.ledger.as_ref(), house.clock.as_ref()).await.unwrap();

    let market = Arc::new(eventlog::memory::Memory::new(Log::Market));
    let of_ledger = House { market, ..house.clone() }.views().await;
    assert_eq!(gaps(&of_ledger), gaps(&views));
    let told: Vec<(u64, bool)> =
        gaps(&of_ledger).iter().map(|gap| (gap.first_id, gap.unfillable)).collect();
    assert_eq!(told, [(6, false), (10, true)]);
}
