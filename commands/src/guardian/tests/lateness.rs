//! Conditions that are learned when their market is further already.

use std::sync::atomic::Ordering;

use eventlog::log::{Retention, Trim};

use super::house::{Line, btc_at, market_stream};
use super::*;
use crate::guardian::watched::{COPIES_MAX, COPY_ENTRIES, PRICES_MAX};

/// A guardian that reads the market over a line that counts.
fn counted(house: &House) -> (Guardian, Arc<Line>) {
    let line = Line::to(house.market.clone());
    (Guardian::new(GuardianParts { market: line.clone(), ..house.parts() }), line)
}

/// Records entries of one trade each at 100, but for these.
async fn quiet_market(house: &House, entries: u64, but: &[(u64, &str)]) {
    for version in 1..=entries {
        let other = but.iter().find(|(other, _)| *other == version);
        house.trades(other.map_or("100", |(_, price)| price)).await;
    }
}

#[tokio::test]
async fn a_condition_that_is_learned_late_is_fired_by_the_trade_that_met_it() {
    let house = House::with(&["alice"]).await;
    quiet_market(&house, 1_000, &[(300, "90"), (960, "89")]).await;
    let (mut guardian, line) = counted(&house);
    guardian.catch_up().await.unwrap();

    house.open("alice", 1, (Long, 10), "100", 970).await;
    guardian.catch_up().await.unwrap();
    let read_for_nothing = line.stream_entries_read.swap(0, Ordering::Relaxed);
    house.open("alice", 2, (Long, 10), "100", 950).await;
    guardian.catch_up().await.unwrap();
    let read_from_a_copy = line.stream_entries_read.swap(0, Ordering::Relaxed);
    house.open("alice", 3, (Long, 10), "100", 10).await;
    guardian.catch_up().await.unwrap();

    assert_eq!(read_for_nothing, 0);
    assert!(read_from_a_copy <= 1_000 - 768, "{read_from_a_copy}");
    assert_eq!(
        house.fired().await,
        [
            "alice 2 liquidation: trade 960 at 89 in entry 960, filled",
            "alice 3 liquidation: trade 300 at 90 in entry 300, filled",
        ]
    );
    house.trades("90").await;
    guardian.catch_up().await.unwrap();
    let last = "alice 1 liquidation: trade 1001 at 90 in entry 1001, filled";
    assert_eq!(house.fired().await.last().unwrap(), last);
}

#[tokio::test]
async fn a_condition_older_than_the_prices_that_are_remembered_is_looked_back_for() {
    let house = House::with(&["alice"]).await;
    let entries = PRICES_MAX as u64 + 10;
    quiet_market(&house, entries, &[(7, "90")]).await;
    let mut guardian = house.guardian();
    guardian.catch_up().await.unwrap();

    house.open("alice", 1, (Long, 10), "100", 6).await;
    house.open("alice", 2, (Long, 10), "100", 7).await;
    house.open("alice", 3, (Short, 10), "100", 7).await;
    guardian.catch_up().await.unwrap();
    assert_eq!(house.fired().await, ["alice 1 liquidation: trade 7 at 90 in entry 7, filled"]);
    house.trades("110 90").await;
    guardian.catch_up().await.unwrap();

    assert_eq!(
        house.fired().await[1..],
        [
            "alice 3 liquidation: trade 4107 at 110 in entry 4107, filled",
            "alice 2 liquidation: trade 4108 at 90 in entry 4107, filled",
        ]
    );
}

#[tokio::test]
async fn a_look_back_sees_the_book_that_was_there() {
    let house = House::with(&["alice"]).await;
    house.tell(vec![snapshot(1, 0, "99x1 98.5x9", "101x9")]).await;
    for update in 2..600 {
        house.tell(vec![diff(update, 0, "", "101x8")]).await;
    }
    house.tell(vec![diff(600, 1, "98.4x5", ""), trade(1, "98.9", 2)]).await;
    house.tell(vec![diff(601, 3, "99x0 98.5x0 98.4x0 50x1", ""), trade(2, "100", 4)]).await;
    let mut guardian = house.guardian();
    guardian.catch_up().await.unwrap();
    house.open("alice", 1, (Long, 1), "100", 3).await;
    house.stops("alice", 1, ("99", "-"), 590).await;

    guardian.catch_up().await.unwrap();

    let fired = "alice 1 stop_loss: trade 1 at 98.9 in entry 600, filled by the book at 99";
    assert_eq!(house.fired().await, [fired]);
}

#[tokio::test]
async fn copies_are_few_and_reach_far_back() {
    let mut watched = Watched::default();
    for version in 1..=1_300_000 {
        watched.seen.version = Version(version);
        watched.passed(None);
    }

    let copies: Vec<_> = watched.copies().iter().map(|copy| copy.version.0).collect();
    assert!(copies.len() <= COPIES_MAX, "{copies:?}");
    assert!(copies[0] < 650_000, "{copies:?}");
    assert!(copies.is_sorted(), "{copies:?}");
    for back in [1, 2, 3, 4, 10, 16, 64, 256, 500].map(|copies| copies * COPY_ENTRIES) {
        let found = watched.copy(Version(1_300_000 - back)).version.0;
        assert!(1_300_000 - found <= 4 * back, "{back} back, by a copy of {found}: {copies:?}");
    }
}

#[tokio::test]
async fn what_the_ledger_tells_before_a_firing_is_looked_at_first() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.trades("100 95 100").await;
    house.trades("101 89 102").await;
    let mut guardian = house.guardian();
    guardian.start().await.unwrap();
    guardian.read_ledger().await.unwrap();
    house.stops("alice", 1, ("95", "-"), 1).await;

    assert!(guardian.arm().await.unwrap());
    assert!(!guardian.read_market().await.unwrap(), "the stops are not known to the guardian");
    guardian.catch_up().await.unwrap();

    assert_eq!(house.fired().await, ["alice 1 stop_loss: trade 3 at 95 in entry 2, filled"]);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_shows_late_what_the_desk_knows_is_waited_for() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    let line = Line::to(house.ledger.clone());
    line.shown.store(3, Ordering::Relaxed);
    house.stops("alice", 1, ("95", "-"), 1).await;
    house.trades("95").await;
    house.trades("89").await;
    let parts = GuardianParts { ledger: line.clone(), ..house.parts() };
    let mut guardian = Guardian::new(parts);
    let shows = async {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert!(house.fired().await.is_empty());
        line.shown.store(u64::MAX, Ordering::Relaxed);
    };

    let (caught_up, ()) = future::join(guardian.catch_up(), shows).await;

    caught_up.unwrap();
    assert_eq!(house.fired().await, ["alice 1 stop_loss: trade 2 at 95 in entry 2, filled"]);
}

/// Else whoever has a change on the way at any time would never be liquidated, and nobody else either.
#[tokio::test]
async fn who_changes_what_looks_only_at_later_entries_holds_up_nobody() {
    let house = House::with(&["alice", "bob"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.open("alice", 2, (Long, 10), "100", 1).await;
    house.stops("alice", 2, ("95", "-"), 1).await;
    house.open("bob", 1, (Long, 10), "100", 1).await;
    house.trades("95 90").await;
    let mut guardian = house.guardian();
    guardian.start().await.unwrap();
    guardian.read_ledger().await.unwrap();
    house.stops("alice", 1, ("50", "-"), 2).await;
    house.stops("alice", 1, ("51", "-"), 2).await;
    house.fund("alice", 2, "0.01", 2).await;

    assert!(guardian.arm().await.unwrap());
    assert!(guardian.read_market().await.unwrap());

    let fired = [
        "alice 2 stop_loss: trade 2 at 95 in entry 2, filled",
        "alice 1 liquidation: trade 3 at 90 in entry 2, filled",
        "bob 1 liquidation: trade 3 at 90 in entry 2, filled",
    ];
    assert_eq!(house.fired().await, fired);
    guardian.catch_up().await.unwrap();
    guard(&house).await;
    assert_eq!(house.fired().await, fired);
    assert!(guardian.known.conditions.iter().next().is_none());
}

#[tokio::test]
async fn a_condition_that_was_replaced_meanwhile_does_not_fire() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.stops("alice", 1, ("95", "-"), 1).await;
    house.trades("95").await;
    let mut guardian = house.guardian();
    guardian.start().await.unwrap();
    guardian.read_ledger().await.unwrap();
    house.stops("alice", 1, ("94", "-"), 2).await;

    assert!(guardian.arm().await.unwrap());
    assert!(!guardian.read_market().await.unwrap());
    house.trades("94").await;
    guardian.catch_up().await.unwrap();

    assert_eq!(house.fired().await, ["alice 1 stop_loss: trade 3 at 94 in entry 3, filled"]);
}

#[tokio::test]
async fn an_entry_that_is_passed_again_leaves_the_market_as_if_it_was_passed_once() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.open("alice", 2, (Long, 10), "100", 1).await;
    house.tell(vec![snapshot(7, 2, "90x5", "91x5")]).await;
    house.tell(vec![diff(8, 2, "89.9x3", ""), trade(2, "90", 2), diff(9, 3, "90x0", "")]).await;
    let mut guardian = house.guardian();
    guardian.start().await.unwrap();
    guardian.read_ledger().await.unwrap();
    // The first of the two fires, and then the second has changed.
    house.stops("alice", 2, ("50", "-"), 1).await;

    assert!(guardian.arm().await.unwrap());
    assert!(!guardian.read_market().await.unwrap());
    guardian.catch_up().await.unwrap();

    let mut once = house.guardian();
    once.catch_up().await.unwrap();
    let seen = |guardian: &Guardian| guardian.known.markets[&market_stream()].seen.clone();
    assert_eq!(seen(&guardian), seen(&once));
    assert_eq!(
        house.fired().await,
        [
            "alice 1 liquidation: trade 2 at 90 in entry 3, filled by the book at 90",
            "alice 2 liquidation: trade 2 at 90 in entry 3, filled by the book at 90",
        ]
    );
}

#[tokio::test]
async fn a_position_that_its_owner_closed_meanwhile_is_left_alone() {
    let house = House::with(&["alice"]).await;
    house.trades("100").await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.trades("90").await;
    let mut guardian = house.guardian();
    guardian.start().await.unwrap();
    guardian.read_ledger().await.unwrap();
    house.reduce("alice", 1, "1", 1).await;
    let head = house.ledger.head().await.unwrap();

    assert!(guardian.arm().await.unwrap());
    assert!(!guardian.read_market().await.unwrap(), "it is closed, and that was not read");
    guardian.catch_up().await.unwrap();

    assert_eq!(house.ledger.head().await.unwrap(), head, "nothing was recorded, and no refusal");
    assert!(guardian.known.conditions.iter().next().is_none());
}

#[tokio::test]
async fn where_retention_was_first_the_first_trade_that_is_held_counts() {
    let house = House::with(&["alice"]).await;
    house.tell(vec![snapshot(7, 0, "95x5", "101x5"), trade(1, "100", 1)]).await;
    house.open("alice", 1, (Long, 10), "100", 1).await;
    house.tell(vec![trade(2, "90", 2), lost(2)]).await;
    house.tell(vec![lost(2)]).await;
    house.tell(vec![trade(3, "89", 3)]).await;
    let mut guardian = house.guardian();
    guardian.start().await.unwrap();
    let first = house.market.read(Offset(0), 1).await.unwrap();
    assert!(guardian.follow(&first[0]).await.unwrap());
    guardian.known.market = Place::of(&first[0]);
    let retention =
        Retention { recorded_before: domain::time::Timestamp::MAX, bytes_max: 0, up_to: Offset(3) };
    house.market.trim(retention).await.unwrap();

    guardian.catch_up().await.unwrap();

    // By the book that was known before, this trade would be suspect.
    assert_eq!(house.fired().await, ["alice 1 liquidation: trade 3 at 89 in entry 4, filled"]);
    assert_eq!(guardian.known.markets[&market_stream()].seen.version.0, btc_at(4).version);
}
