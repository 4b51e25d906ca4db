//! The job between two logs in memory, over midnights that were slept through.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use commands::desk::append_id;
use domain::account::command::{OpenPosition, Terms};
use domain::account::event::{AccountEvent, DayClosed};
use domain::account::limits::Limits;
use domain::account::position::{Leverage, Mode, PositionId, PositionSide};
use domain::event::Event;
use domain::fill::{Fill, MarketEntry};
use domain::margin::Tiers;
use expect_test::{Expect, expect};
use rust_decimal::Decimal;

use super::*;
use crate::house::{House, Shaky, at};

/// Midnight after the day on which tests play, and so many days and seconds more.
fn midnight(days: i64, seconds: i64) -> Timestamp {
    at("00:00:00").plus((1 + days) * DAY + seconds * 1_000_000)
}

async fn ask(house: &House, account: &str, command: AccountCommand) {
    let account: AccountId = account.parse().unwrap();
    let number = house.ledger.head().await.unwrap();
    let order = Order {
        append_id: append_id(&account, &number.to_string()),
        account,
        command: "{}".to_owned(),
        actor: Actor { principal: "alice".into(), role: "trader".into(), via: "test".into() },
        correlation_id: None,
        causation: None,
    };
    let desk = house.desk(house.ledger.clone());
    let asked = |_: &Account| Ok::<_, Infallible>(command.clone());
    desk.submit(order, asked).await.unwrap();
}

/// Opens an account with money in it.
async fn fund(house: &House, account: &str) {
    open(house, account).await;
    ask(house, account, AccountCommand::Deposit { amount: "10000".parse().unwrap() }).await;
}

async fn open(house: &House, account: &str) {
    let limits = Limits {
        positions_max: 10,
        notional_max: "1000000".parse().unwrap(),
        quantity_max: BTreeMap::new(),
    };
    let (currency, mode) = ("USDT".parse().unwrap(), Mode::Hedging);
    ask(house, account, AccountCommand::OpenAccount { currency, mode, limits }).await;
}

async fn buy(house: &House, account: &str, instrument: &str, price: &str) {
    let instrument: Instrument = instrument.parse().unwrap();
    let market = MarketEntry {
        venue: "binance".parse().unwrap(),
        instrument: instrument.clone(),
        version: 1,
    };
    let fill = Fill::at_price("2".parse().unwrap(), price.parse().unwrap(), market).unwrap();
    let order = OpenPosition {
        position_id: PositionId::new(house.ledger.head().await.unwrap().0.into()),
        instrument,
        side: PositionSide::Long,
        leverage: Leverage::new(Decimal::TWO).unwrap(),
        reduce_only: false,
        fill,
        terms: Terms { fee_rate: Decimal::ZERO, tiers: Arc::new(Tiers::default()) },
    };
    ask(house, account, AccountCommand::OpenPosition(order)).await;
}

async fn take_turn(house: &House, views: &Views) -> Left {
    let desk = house.desk(house.ledger.clone());
    turn(views, house.ledger.as_ref(), &desk, house.clock.as_ref()).await.unwrap()
}

/// What the ledger holds: a closed day a line.
async fn days(house: &House) -> String {
    let mut lines = String::new();
    for entry in house.in_ledger("account-").await {
        for event in &entry.events {
            let Event::Account(AccountEvent::DayClosed(day)) = event else { continue };
            let DayClosed { day, marks, free, margin, unrealized, equity } = day;
            let marks: Vec<String> = marks
                .iter()
                .map(|(instrument, mark)| {
                    format!("{instrument} {} v{}", mark.price, mark.market.version)
                })
                .collect();
            let (day, marks) = (&day.to_shortest()[..10], marks.join(", "));
            writeln!(
                lines,
                "{} {day} [{marks}] {free} + {margin} + {unrealized} = {equity}",
                entry.stream
            )
            .unwrap();
        }
    }
    lines
}

async fn check(house: &House, expected: Expect) {
    expected.assert_eq(&days(house).await);
}

#[tokio::test(start_paused = true)]
async fn a_day_is_closed_two_seconds_after_its_end_at_its_last_prices() {
    let house = House::new();
    house.clock.set(at("09:00:00"));
    fund(&house, "alice").await;
    house.trade("BTC-USDT", "1 09:10:00 100.00").await;
    buy(&house, "alice", "BTC-USDT", "100.00").await;
    house.trade("BTC-USDT", "2 23:59:59 110.50").await;
    let views = house.views().await;
    house.clock.set(midnight(0, 1));
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    check(&house, expect![[""]]).await;

    // What trades in the new day is none of the old one.
    let next = crate::house::tick(3, midnight(0, 1), "999");
    house.record("BTC-USDT", vec![domain::market::event::MarketEvent::TickObserved(next)]).await;
    house.show(&views).await;
    house.clock.set(midnight(0, 2));
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    check(
        &house,
        expect![[r#"
            account-alice 2024-03-21 [BTC-USDT 110.50 v3] 9900.00 + 100.00 + 21.00 = 10021.00
        "#]],
    )
    .await;
    let entry = house.in_ledger("account-").await.pop().unwrap();
    let Actor { principal, role, via } = entry.actor;
    assert_eq!([principal, role, via], ["days", "job", "jobs"]);
    assert_eq!(entry.recorded_at, midnight(0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_market_that_was_silent_since_is_marked_at_its_last_price() {
    let house = House::new();
    house.clock.set(at("09:00:00"));
    fund(&house, "alice").await;
    house.trade("BTC-USDT", "1 09:10:00 100.00,2 09:10:01 101.00").await;
    buy(&house, "alice", "BTC-USDT", "100.00").await;
    house.clock.set(midnight(1, 2));
    let views = house.views().await;
    take_turn(&house, &views).await;

    check(
        &house,
        expect![[r#"
            account-alice 2024-03-21 [BTC-USDT 101.00 v1] 9900.00 + 100.00 + 2.00 = 10002.00
            account-alice 2024-03-22 [BTC-USDT 101.00 v1] 9900.00 + 100.00 + 2.00 = 10002.00
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn days_that_were_slept_through_are_closed_in_order_and_in_turns() {
    let house = House::new();
    house.clock.set(at("09:00:00"));
    fund(&house, "alice").await;
    fund(&house, "bob").await;
    house.clock.set(midnight(39, 2));
    let views = house.views().await;
    assert_eq!(take_turn(&house, &views).await, Left::More);
    assert_eq!(days(&house).await.lines().count(), TURN_DAYS_MAX);
    house.show(&views).await;
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);

    let days = days(&house).await;
    for account in ["alice", "bob"] {
        let of_account = days.lines().filter(|line| line.contains(account));
        let closed: Vec<&str> = of_account.map(|line| line.split(' ').nth(1).unwrap()).collect();
        let expected: Vec<String> =
            (0..40).map(|day| midnight(day - 1, 0).to_shortest()[..10].to_owned()).collect();
        assert_eq!(closed, expected, "{account}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_is_closed_once_by_any_number_of_nodes() {
    let house = House::new();
    house.clock.set(at("09:00:00"));
    fund(&house, "alice").await;
    house.clock.set(midnight(0, 2));
    let (views, others) = (house.views().await, house.views().await);
    let ledger =
        Arc::new(Shaky { ledger: house.ledger.clone(), calls: AtomicUsize::new(1), behind: true });
    for views in [&views, &others] {
        let desk = house.desk(ledger.clone());
        while turn(views, ledger.as_ref(), &desk, house.clock.as_ref()).await.unwrap()
            != Left::Nothing
        {
            house.clock.set(midnight(0, 60));
        }
    }
    for _ in 0..3 {
        assert_eq!(take_turn(&house, house.views().await.as_ref()).await, Left::Nothing);
    }

    assert_eq!(days(&house).await.lines().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_account_that_never_had_money_has_no_days() {
    let house = House::new();
    house.clock.set(at("09:00:00"));
    open(&house, "alice").await;
    house.clock.set(midnight(3, 2));
    assert_eq!(take_turn(&house, house.views().await.as_ref()).await, Left::Nothing);
    check(&house, expect![[""]]).await;
}

#[tokio::test(start_paused = true)]
async fn an_account_whose_mark_is_missing_waits_and_holds_up_no_other() {
    let house = House::new();
    house.clock.set(at("09:00:00"));
    fund(&house, "alice").await;
    buy(&house, "alice", "ETH-USDT", "100.00").await;
    fund(&house, "bob").await;
    house.clock.set(midnight(1, 2));
    let views = house.views().await;
    assert_eq!(take_turn(&house, &views).await, Left::All);
    check(
        &house,
        expect![[r#"
            account-bob 2024-03-21 [] 10000 + 0 + 0 = 10000
            account-bob 2024-03-22 [] 10000 + 0 + 0 = 10000
        "#]],
    )
    .await;
    assert!(house.in_ledger("refusals-").await.is_empty());

    house.trade("ETH-USDT", "1 09:10:00 90.00").await;
    house.show(&views).await;
    assert_eq!(take_turn(&house, &views).await, Left::Nothing);
    assert_eq!(days(&house).await.lines().count(), 4);
}
