//! A PostgreSQL that is away, stands still, or cuts its connections: what is asked of it fails soon,
//! and what waits is written once it is back.

use std::time::Instant;

use eventlog::entry::Version;
use eventlog::keep::{Keep, Kept};

use super::super::database::Outlives;
use super::super::health::Writing;
use super::super::server::PASSWORD;
use super::super::*;
use super::house::{House, Step, account_id, busy};
use super::place::Shared;
use crate::sample::accounts::Asked;
use crate::sample::at;

/// Time in which a query has failed that nothing answers.
const SOON: Duration = Duration::from_secs(3);

async fn load(house: &House, store: &Store) -> Views {
    let views = Views::new(Vec::new());
    house.load(store, &views).await.unwrap();
    views
}

async fn trade(house: &House, views: &Views) {
    let trade = Step::Trade { instrument: 0, minutes: 1, prices: vec![99, 100] };
    house.step(&trade, views).await;
    house.show(views).await;
}

async fn asked(store: &Store) -> Result<usize, StoreError> {
    let begun = Instant::now();
    let closed = store.archive().closed(&account_id(0), None, 9).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    closed.map(|closed| closed.len())
}

#[tokio::test]
async fn a_server_that_was_away_is_used_again_and_nothing_is_lost() {
    let Some(shared) = Shared::alone().await else { return };
    let house = busy(24).await;
    let store = shared.connect("n1").await;
    let views = load(&house, &store).await;
    house.show(&views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let there = asked(&store).await.unwrap();
    for kill in [false, true] {
        if kill {
            shared.server.kill9();
        } else {
            shared.server.stop().await;
        }
        for _ in 0..3 {
            trade(&house, &views).await;
            assert!(matches!(asked(&store).await, Err(StoreError::Unreachable(_))));
            let failed = store.snapshot(&views, at("09:01")).await;
            assert!(matches!(failed, Err(StoreError::Unreachable(_))), "{failed:?}");
            assert!(store.catch_up_archive(house.ledger.as_ref()).await.is_err());
        }
        let Writing::Degraded { reason, .. } = store.health().snapshots else { panic!() };
        assert!(!reason.contains(PASSWORD), "{reason}");
        assert!(store.health().archive.degraded.is_some());

        shared.server.restart().await;
        assert_eq!(asked(&store).await, Ok(there));
        assert!(store.snapshot(&views, at("09:02")).await.unwrap().views > 0);
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        assert_eq!(store.health().snapshots, Writing::Good);
        assert_eq!(store.health().archive.degraded, None);
    }
    store.close().await;
    let store = shared.connect("n1").await;
    assert_eq!(load(&house, &store).await.state_hashes(), house.truth().await);
    // Each entry was filed once.
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    assert_eq!(asked(&store).await, Ok(there));
}

#[tokio::test]
async fn a_server_that_stands_still_costs_a_query_two_seconds() {
    let Some(shared) = Shared::alone().await else { return };
    let house = busy(24).await;
    let store = shared.connect("n1").await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let there = asked(&store).await.unwrap();
    shared.server.stop_signal();
    // Many at once, more than there are connections.
    let queries: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { asked(&store).await })
        })
        .collect();
    for query in queries {
        assert!(matches!(query.await.unwrap(), Err(StoreError::Unreachable(_))));
    }
    shared.server.cont();
    assert_eq!(asked(&store).await, Ok(there));
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_leaves_nothing() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(24).await;
    let store = shared.connect("n1").await;
    let views = load(&house, &store).await;
    house.show(&views).await;
    let database = store.database().await.unwrap();
    {
        let mut written = store.0.written.lock().await;
        written.take(&views);
        let mut write = database.write(Outlives::PowerLoss).await.unwrap();
        assert!(store.0.lease.hold(Work::Snapshots, &mut write).await.unwrap().is_some());
        written.rebase(&mut write, || views.take_all()).await.unwrap();
        assert_eq!(written.write(&mut write, at("09:00")).await.unwrap().views, 5);
        shared.server.cut_connections(shared.database()).await;
        assert!(write.commit().await.is_err());
    }
    assert_eq!(shared.count("SELECT COUNT(*) FROM cut").await, 0);
    assert_eq!(shared.count("SELECT COUNT(*) FROM part").await, 0);

    assert_eq!(store.snapshot(&views, at("09:01")).await.unwrap().views, 5);
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    // Connections that were cut while nothing was done over them are not even noticed.
    let there = asked(&store).await.unwrap();
    shared.server.cut_connections(shared.database()).await;
    assert_eq!(asked(&store).await, Ok(there));
    let kept = Kept { revision: 1, version: Version(1), state: vec![7] };
    Keep::save(&store, "a", kept.clone()).await.unwrap();
    assert_eq!(Keep::load(&store, "a").await, Ok(Some(kept)));
    let store = shared.connect("n2").await;
    assert_eq!(load(&house, &store).await.state_hashes(), house.truth().await);
}

#[tokio::test]
async fn the_loops_go_on_by_themselves_when_the_server_is_back() {
    let Some(shared) = Shared::alone().await else { return };
    let house = busy(24).await;
    let store = shared.connect("n1").await;
    let ledger: Arc<dyn ReadLog> = house.ledger.clone();
    let task = tokio::spawn(archivist(store.clone(), ledger));
    let head = house.ledger.head().await.unwrap();
    store.archive().wait_applied(head).await.unwrap();
    shared.server.stop().await;
    let import = Step::Import { instrument: 0, minutes: 5 };
    house.step(&import, &Views::new(Vec::new())).await;
    let head = house.ledger.head().await.unwrap();
    assert!(store.archive().wait_applied(head).await.is_err());
    shared.server.restart().await;
    let mut applied = store.progress(Section::Hours).subscribe();
    let there = applied.wait_for(|progress| progress.applied >= head);
    timeout(Duration::from_secs(30), there).await.unwrap().unwrap();
    task.abort();
}

#[tokio::test]
async fn what_a_crash_of_the_server_takes_back_is_not_told_of_and_is_filed_again() {
    let Some(shared) = Shared::alone().await else { return };
    let house = busy(24).await;
    let store = shared.connect("n1").await;
    for _ in 0..3 {
        for number in [3, 4] {
            let open = Asked::Open { long: true, leverage: 5, price: 100, quantity: number };
            house.ask(0, &open).await;
            house.ask(0, &Asked::Close(0, 101)).await;
        }
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        let whole = store.archive().closed(&account_id(0), None, 999).await.unwrap();
        shared.server.kill9();
        shared.server.restart().await;
        match store.archive().closed(&account_id(0), None, 999).await {
            Ok(closed) => assert_eq!(closed, whole),
            Err(error) => assert!(matches!(error, StoreError::Unreachable(_)), "{error}"),
        }
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        assert_eq!(store.archive().closed(&account_id(0), None, 999).await.unwrap(), whole);
        let (rows, names) = ("SELECT COUNT(*) FROM closed_position", "account, position_id");
        let apart =
            format!("SELECT COUNT(*) FROM (SELECT DISTINCT {names} FROM closed_position) a");
        assert_eq!(shared.count(rows).await, shared.count(&apart).await);
    }
}
