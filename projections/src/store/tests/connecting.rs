//! What stands in a PostgreSQL when a node comes to it.

use eventlog::keep::Keep;

use super::super::server::PASSWORD;
use super::super::*;
use super::house::{Step, busy};
use super::place::Shared;
use crate::sample::at;

#[tokio::test]
async fn a_store_is_made_once_however_many_come_at_once() {
    let Some(shared) = Shared::new().await else { return };
    let url = |node: usize| {
        let url = shared.url.clone();
        tokio::spawn(async move { Store::connect(&url, &format!("n{node}")).await.unwrap().1 })
    };
    let mut made = 0;
    for opened in [url(1), url(2), url(3), url(4)] {
        made += usize::from(opened.await.unwrap() == Opened::Made);
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn who_only_asks_for_a_sign_of_life_makes_nothing() {
    let Some(shared) = Shared::new().await else { return };
    answers(&shared.url).await.unwrap();
    assert_eq!(Store::connect(&shared.url, "n1").await.unwrap().1, Opened::Made);

    let url = shared.url.replace(PASSWORD, "canary-of-another");
    let said = answers(&url).await.unwrap_err().to_string();
    assert!(said.contains("password authentication failed"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[tokio::test]
async fn tables_that_are_not_ours_any_more_are_made_anew_unless_a_node_uses_them() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(12).await;
    let views = Views::new(Vec::new());
    house.show(&views).await;
    for harm in [
        "DROP TABLE cut",
        "ALTER TABLE part DROP COLUMN state",
        "ALTER TABLE archive ALTER COLUMN hour TYPE INTEGER USING 0",
        "ALTER TABLE lease DROP COLUMN fence",
        "ALTER TABLE account_archive RENAME COLUMN body TO text",
    ] {
        let store = shared.connect("n1").await;
        house.load(&store, &Views::new(Vec::new())).await.unwrap();
        store.snapshot(&views, at("09:00")).await.unwrap();
        let other = shared.connect("n2").await;
        shared
            .sql(&harm.replace("DROP TABLE cut", "DROP TABLE cut CASCADE").replace(
                "ALTER TABLE account_archive",
                "DROP VIEW closed_position, daily_equity; ALTER TABLE account_archive",
            ))
            .await;
        let used = Store::connect(&shared.url, "n3").await.map(|(_, opened)| opened);
        if harm.contains("lease") {
            assert!(matches!(used, Ok(Opened::Emptied { .. })), "{harm}: {used:?}");
        } else {
            assert!(matches!(used, Err(StoreError::Unreachable(_))), "{harm}: {used:?}");
            store.close().await;
            let (_, opened) = Store::connect(&shared.url, "n3").await.unwrap();
            assert!(matches!(opened, Opened::Emptied { .. }), "{harm}: {opened:?}");
        }
        drop((store, other));
        let (_, opened) = Store::connect(&shared.url, "n4").await.unwrap();
        assert_eq!(opened, Opened::There, "{harm}");
        assert_eq!(shared.count("SELECT COUNT(*) FROM cut").await, 0);
    }
}

#[tokio::test]
async fn tables_that_go_while_they_are_used_are_made_anew_with_all_that_memory_holds() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(12).await;
    let store = shared.connect("n1").await;
    let views = Views::new(Vec::new());
    house.load(&store, &views).await.unwrap();
    house.show(&views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    shared.sql("DROP TABLE cut").await;
    let trade = Step::Trade { instrument: 0, minutes: 1, prices: vec![99, 100] };
    house.step(&trade, &views).await;
    house.show(&views).await;

    assert!(matches!(store.snapshot(&views, at("09:01")).await, Err(StoreError::Damaged(_))));
    store.snapshot(&views, at("09:02")).await.unwrap();
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let other = shared.connect("n2").await;
    let loaded = Views::new(Vec::new());
    house.load(&other, &loaded).await.unwrap();
    assert_eq!(loaded.state_hashes(), views.state_hashes());
}

#[tokio::test]
async fn what_others_keep_in_the_database_stays() {
    let Some(shared) = Shared::new().await else { return };
    drop(shared.connect("n1").await);
    shared
        .sql("CREATE TABLE report (name TEXT); CREATE VIEW days AS SELECT * FROM daily_equity")
        .await;
    let (_, opened) = Store::connect(&shared.url, "n1").await.unwrap();
    assert_eq!(opened, Opened::There);
    shared.sql("DROP TABLE part").await;
    let (store, opened) = Store::connect(&shared.url, "n1").await.unwrap();
    assert!(matches!(opened, Opened::Emptied { .. }), "{opened:?}");
    assert_eq!(shared.count("SELECT COUNT(*) FROM report").await, 0);
    assert_eq!(Keep::load(&store, "a").await, Ok(None));
}

#[tokio::test]
async fn who_may_not_come_in_is_told_so_without_the_password() {
    let Some(shared) = Shared::new().await else { return };
    for (url, words) in [
        (shared.url.replace(PASSWORD, "canary-of-another"), "password authentication failed"),
        (shared.url.replace(shared.database(), "nowhere"), "does not exist"),
        (shared.url.replace("127.0.0.1", "127.0.0.2"), ""),
        (shared.url.replace("sslmode=disable", "sslmode=require"), ""),
    ] {
        let error = Store::connect(&url, "n1").await.err().unwrap();
        assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(words) && !error.contains("canary"), "{error}");
    }
}
