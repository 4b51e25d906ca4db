//! What an account has held for longer than the views remember.

use domain::account::event::{AccountEvent, DayClosed};
use domain::event::Event;
use projections::holdings::CLOSED_HELD_MAX;
use projections::store::Store;
use tempfile::TempDir;

use crate::tests::house::House;

/// Closes a few positions more than the views hold, and returns the first of them.
async fn close_many(house: &House) -> String {
    house.trade(1, "64000.00").await;
    house.fund("1000000.00").await;
    let mut first = None;
    for _ in 0..CLOSED_HELD_MAX + 3 {
        let id = house.position(r#"{"symbol":"BTC-USDT","size":"0.01","type":"long"}"#).await;
        let path = format!("/v1/portfolio/positions/{id}/close");
        assert_eq!(house.post(&path, "").await.status, 200);
        first.get_or_insert(id);
    }
    first.unwrap()
}

/// A house whose account has closed a few positions more than the views hold, and the first of them.
async fn long_lived() -> (House, String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("read.db")).await.unwrap();
    let house = House::with_store(store.clone()).await;
    let first = close_many(&house).await;
    let day = DayClosed {
        day: "2024-03-20T00:00:00Z".parse().unwrap(),
        marks: [].into(),
        free: "1000000.00".parse().unwrap(),
        margin: "0".parse().unwrap(),
        unrealized: "0".parse().unwrap(),
        equity: "1000000.00".parse().unwrap(),
    };
    let day = Event::Account(AccountEvent::DayClosed(day));
    house.tell_ledger("account-demo", vec![day]).await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    (house, first, folder)
}

#[tokio::test]
async fn a_position_that_is_on_its_way_to_the_archive_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("read.db")).await.unwrap();
    let house = House::with_store(store.clone()).await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let first = close_many(&house).await;

    let path = format!("/v1/portfolio/positions/{first}");
    let early = house.get(&path).await;
    assert_eq!((early.status, &early.json()["code"]), (503, &"SYS_001".into()), "{}", early.body);
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    assert_eq!(house.get(&path).await.status, 200);
}

#[tokio::test]
async fn positions_that_were_closed_long_ago_are_still_there() {
    let (house, first, _folder) = long_lived().await;
    let mut names = Vec::new();
    let mut path = "/v1/portfolio/positions?status=closed&limit=40".to_owned();
    for length in [40, 27] {
        let page = house.get(&path).await;
        let body = page.json();
        let positions = body["positions"].as_array().unwrap();
        assert_eq!(positions.len(), length);
        names.extend(positions.iter().map(|position| position["position_id"].to_string()));
        if let Some(link) = page.header("Link") {
            path = link[1..].split_once('>').unwrap().0.to_owned();
        } else {
            assert_eq!(length, 27);
        }
    }
    assert_eq!(names.last().unwrap().trim_matches('"'), first);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), CLOSED_HELD_MAX + 3);

    let detail = house.get(&format!("/v1/portfolio/positions/{first}")).await;
    assert_eq!((detail.status, &detail.json()["status"]), (200, &"closed".into()));
    let equity = house.get("/v1/portfolio/equity?start=2024-03-20T00:00:00Z").await;
    assert_eq!(equity.json()["equity"][0]["equity"], "1000000.00", "{}", equity.body);
}
