//! The guardian on two logs in memory. What fires is drawn as lines of text.

use domain::account::position::PositionSide::{Long, Short};
use eventlog::entry::Offset;
use futures_util::future;

use super::*;

mod house;

mod interleavings;

mod lateness;

mod restarts;

use house::{House, diff, lost, snapshot, trade};

/// Lets a guardian of a new node look at everything.
async fn guard(house: &House) {
    house.guardian().catch_up().await.unwrap();
}

#[tokio::test]
async fn the_first_trade_that_touches_a_condition_fires_it() {
    for (side, leverage, stops, prices, fired) in [
        (Long, 10, ("-", "-"), "100 91 90.01 90.00 80", "liquidation: trade 5 at 90.00 in entry 5"),
        (Short, 10, ("-", "-"), "100 109 109.99 110 120", "liquidation: trade 5 at 110 in entry 5"),
        (Long, 1, ("95", "-"), "100 96 95.01 95 80", "stop_loss: trade 5 at 95 in entry 5"),
        (
            Short,
            1,
            ("105", "-"),
            "100 104 104.99 105.00 120",
            "stop_loss: trade 5 at 105.00 in entry 5",
        ),
        (Long, 1, ("-", "105"), "100 104 104.99 106 120", "take_profit: trade 5 at 106 in entry 5"),
        (Short, 1, ("-", "95"), "100 96 95.01 94 80", "take_profit: trade 5 at 94 in entry 5"),
        (Long, 1, ("95", "105"), "100 96 104 105 94", "take_profit: trade 5 at 105 in entry 5"),
    ] {
        let house = House::with(&["alice"]).await;
        house.trades("100").await;
        house.open("alice", 1, (side, leverage), "100", 1).await;
        if stops != ("-", "-") {
            house.stops("alice", 1, stops, 1).await;
        }
        for price in prices.split_whitespace() {
            house.trades(price).await;
        }

        guard(&house).await;

        assert_eq!(house.fired().await, [format!("alice 1 {fired}, filled")], "{side:?} {stops:?}");
    }
}

#[tokio::test]
async fn a_trade_at_or_before_the_entry_at_which_a_condition_was_made_does_not_fire_it() {
    let house = House::with(&["alice"]).await;
    house.trades("94").await;
    house.trades("100 94 100").await;
    house.open("alice", 1, (Long, 1), "100", 2).await;
    house.stops("alice", 1, ("95", "-"), 3).await;
    house.trades("94").await;
    house.trades("96 95 94").await;

    guard(&house).await;

    assert_eq!(house.fired().await, ["alice 1 stop_loss: trade 7 at 95 in entry 4, filled"]);
}

#[tokio::test]
async fn on_one_mark_liquidations_come_first_then_stops_then_profits_each_by_account_and_position()
{
    let house = House::with(&["alice", "bob"]).await;
    house.trades("100").await;
    house.open("bob", 1, (Long, 20), "100", 1).await;
    house.open("alice", 5, (Short, 1), "100", 1).await;
    house.open("alice", 4, (Long, 1), "100", 1).await;
    house.open("alice", 3, (Long, 20), "100", 1).await;
    house.open("alice", 2, (Long, 20), "100", 1).await;
    house.stops("alice", 5, ("-", "95"), 1).await;
    house.stops("alice", 4, ("95", "-"), 1).await;
    house.stops("alice", 3, ("96", "-"), 1).await;
    house.trades("100 90").await;

    guard(&house).await;

    assert_eq!(
        house.fired().await,
        [
            "alice 2 liquidation: trade 3 at 90 in entry 2, filled",
            "alice 3 liquidation: trade 3 at 90 in entry 2, filled",
            "bob 1 liquidation: trade 3 at 90 in entry 2, filled",
            "alice 4 stop_loss: trade 3 at 90 in entry 2, filled",
            "alice 5 take_profit: trade 3 at 90 in entry 2, filled",
        ]
    );
}

/// A house in which Alice is long one at 100, to be closed at 99.7, and a book was told at a second.
async fn with_book(bids: &str, asks: &str) -> House {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 1), "100", 1).await;
    house.stops("alice", 1, ("99.7", "-"), 1).await;
    house.tell(vec![snapshot(7, 1, bids, asks)]).await;
    house
}

#[tokio::test]
async fn a_trade_far_outside_of_the_book_fires_nothing() {
    let house = with_book("99.5x2", "100.5x2").await;
    house.tell(vec![trade(2, "90", 2), trade(3, "99.6", 2)]).await;

    guard(&house).await;

    let fired = "alice 1 stop_loss: trade 3 at 99.6 in entry 3, filled by the book at 99.5";
    assert_eq!(house.fired().await, [fired]);
}

#[tokio::test]
async fn a_trade_is_judged_by_the_book_as_it_stands_in_the_same_entry() {
    for (told, fired) in [
        (diff(8, 2, "99.5x0 90x0.5 89.9x1", ""), "filled by the book at 89.95"),
        (diff(8, 2, "99.5x0 90x0.5 80x1", ""), "filled"),
        (diff(9, 2, "99.5x1", ""), "filled"),
        (diff(8, 2, "101x1", ""), "filled"),
        (snapshot(20, 2, "90x3", "91x1"), "filled by the book at 90"),
        (lost(2), "filled"),
    ] {
        let house = with_book("99.5x2", "100.5x2").await;
        house.tell(vec![told, trade(2, "90", 2), diff(10, 2, "", "")]).await;

        guard(&house).await;

        let fired = format!("alice 1 stop_loss: trade 2 at 90 in entry 3, {fired}");
        assert_eq!(house.fired().await, [fired]);
    }
}

#[tokio::test]
async fn a_book_is_relied_on_for_five_seconds_of_the_venue() {
    let house = with_book("99.5x2", "100.5x2").await;
    house.tell(vec![trade(2, "90", 6)]).await;
    house.tell(vec![trade(3, "90", 7)]).await;

    guard(&house).await;

    let fired = "alice 1 stop_loss: trade 3 at 90 in entry 4, filled";
    assert_eq!(house.fired().await, [fired]);
}

#[tokio::test]
async fn a_trade_that_comes_late_is_history() {
    let house = House::with(&["alice"]).await;
    house.tell(vec![trade(5, "100", 5)]).await;
    house.open("alice", 1, (Long, 1), "100", 1).await;
    house.stops("alice", 1, ("95", "-"), 1).await;
    house.tell(vec![trade(4, "90", 4)]).await;
    house.tell(vec![trade(3, "90", 5)]).await;
    house.tell(vec![trade(6, "94", 5)]).await;

    guard(&house).await;

    assert_eq!(house.fired().await, ["alice 1 stop_loss: trade 6 at 94 in entry 4, filled"]);
}

#[tokio::test]
async fn only_the_newest_stops_and_the_newest_liquidation_price_fire() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    for position in 1..=3 {
        house.open("alice", position, (Long, 1), "100", 1).await;
        house.stops("alice", position, ("95", "105"), 1).await;
    }
    house.stops("alice", 1, ("-", "-"), 1).await;
    house.stops("alice", 2, ("93", "-"), 1).await;
    house.reduce("alice", 3, "1", 1).await;
    house.trades("94 106 93").await;

    guard(&house).await;

    assert_eq!(house.fired().await, ["alice 2 stop_loss: trade 4 at 93 in entry 2, filled"]);
}

#[tokio::test]
async fn an_entry_names_who_fired_what_and_the_market_entry_behind_it() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.trades("90").await;

    guard(&house).await;

    let entry =
        house.ledger.last(&Stream::Account("alice".parse().unwrap())).await.unwrap().unwrap();
    let causation = entry.causation.unwrap();
    assert_eq!((causation.stream, causation.version), (house::market_stream(), Version(2)));
    assert_eq!(entry.actor.principal, "guardian");
    let name = Name {
        trigger: domain::account::event::Trigger::Liquidation,
        account: "alice".parse().unwrap(),
        position_id: domain::account::position::PositionId::new(1),
        set_by: 1,
    };
    assert_eq!(entry.append_id, firing::append_id(&name));
}

#[tokio::test(start_paused = true)]
async fn a_firing_waits_for_the_ledger_and_is_never_skipped() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.trades("100 90 100").await;
    let line = house::Line::to(house.ledger.clone());
    line.appends_lost.store(20, std::sync::atomic::Ordering::Relaxed);
    let desk = Desk::new(line, house.keep.clone(), house.clock.clone());
    let mut guardian = Guardian::new(GuardianParts { desk: Arc::new(desk), ..house.parts() });

    guardian.catch_up().await.unwrap();

    assert_eq!(house.fired().await, ["alice 1 liquidation: trade 3 at 90 in entry 2, filled"]);
}

#[tokio::test]
async fn what_cannot_be_filled_at_a_trade_waits_for_the_next() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    let quantity = "90000000".parse().unwrap();
    house.order("alice", 1, (Long, 1), ("100", quantity), 1).await;
    house.stops("alice", 1, ("-", "105"), 1).await;
    // Worth more than any fill may be.
    house.trades("120 120 110 120").await;

    guard(&house).await;

    let fired = "alice 1 take_profit: trade 4 at 110 in entry 2, filled";
    assert_eq!(house.fired().await, [fired]);
}

/// A house in which twenty positions are all closed by what the market does.
async fn with_many_positions() -> House {
    let house = House::with(&["alice", "bob"]).await;
    house.trades("100").await;
    for position in 0..20 {
        let account = if position % 2 == 0 { "alice" } else { "bob" };
        let side = if position % 4 < 2 { Long } else { Short };
        house.open(account, position, (side, 10 + position), "100", 1).await;
    }
    house.trades("100 96 93 90").await;
    house.trades("90 104 107 111").await;
    house
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_guardians_fire_each_condition_once() {
    let (house, alone) = (with_many_positions().await, with_many_positions().await);
    guard(&alone).await;
    // Two on one node, and three elsewhere.
    let parts = house.parts();
    let desk = parts.desk.clone();
    let mut guardians = vec![Guardian::new(parts)];
    guardians.push(Guardian::new(GuardianParts { desk, ..house.parts() }));
    guardians.extend((0..3).map(|_| house.guardian()));
    let guards = guardians
        .into_iter()
        .map(|mut guardian| tokio::spawn(async move { guardian.catch_up().await }));

    for guarded in future::join_all(guards).await {
        guarded.unwrap().unwrap();
    }

    let (mut together, mut alone) = (house.fired().await, alone.fired().await);
    assert_eq!(together.len(), 20, "{together:#?}");
    together.sort_unstable();
    alone.sort_unstable();
    assert_eq!(together, alone);
}

#[tokio::test]
async fn what_guardians_see_otherwise_is_told_and_does_not_stop_them() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.open("alice", 2, (Long, 20), "100", 1).await;
    house.trades("90").await;
    guard(&house).await;
    // As if the same market had gone another way for this one.
    let market = House::new();
    market.trades("100 99").await;
    market.trades("85").await;
    let other = GuardianParts { market: market.market, keep: market.keep, ..house.parts() };
    let mut other = Guardian::new(other);
    other.started = true;
    for entry in house.ledger.read(Offset(0), 4).await.unwrap() {
        other.learn(&entry);
    }

    other.arm().await.unwrap();
    other.read_market().await.unwrap();

    assert_eq!(house.fired().await.len(), 2);
    assert_eq!(other.known.conditions, conditions::Conditions::default());
}

#[tokio::test]
async fn a_market_is_watched_for_those_who_trade_in_it() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    let mut elsewhere = house.market.last(&house::market_stream()).await.unwrap().unwrap();
    elsewhere.events = vec![trade(1, "90", 1).into()];
    let instrument: domain::instrument::Instrument = "ETH-USDT".parse().unwrap();
    elsewhere.stream = Stream::Market { venue: "binance".parse().unwrap(), instrument };
    elsewhere.version = Version(2);
    let mut guardian = house.guardian();
    guardian.catch_up().await.unwrap();

    assert!(guardian.follow(&elsewhere).await.unwrap());

    assert!(house.fired().await.is_empty());
}
