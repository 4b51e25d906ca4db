//! Writes that fail, processes that meet, and calls that are given up.

use domain::time::MINUTE;
use eventlog::entry::Version;
use eventlog::keep::{Keep, Kept};
use expect_test::expect;

use eventlog::stream::Log;

use super::super::health::Writing;
use super::super::*;
use super::house::{House, Step, busy, polled};
use crate::sample::at;

async fn trade(house: &House, views: &Views) {
    let trade = Step::Trade { instrument: 0, minutes: 1, prices: vec![99, 100] };
    house.step(&trade, views).await;
    house.show(views).await;
}

#[tokio::test]
async fn a_full_disk_degrades_and_heals_and_loses_nothing() {
    let house = busy(40).await;
    let (store, views, _) = house.start().await;
    house.step(&Step::Fold { log: Log::Market, entries: 3 }, &views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    let pages = u32::try_from(house.count("PRAGMA page_count").await).unwrap();
    house.show(&views).await;
    store.database().await.unwrap().limit_pages(pages);

    for minute in 1..=4 {
        assert_eq!(
            store.health().snapshots == Writing::Good,
            minute <= 3,
            "before failure {minute}: {:?}",
            store.health()
        );
        let failed = store.snapshot(&views, at("09:00").plus(minute * MINUTE)).await;
        assert!(matches!(failed, Err(StoreError::Unreachable(_))), "{failed:?}");
        // What comes meanwhile waits with the rest.
        trade(&house, &views).await;
    }
    let Writing::Degraded { since, reason } = store.health().snapshots else { panic!() };
    assert_eq!(since, at("09:01"));
    expect![[r#"the read store cannot be used: error returned from database: (code: 13) database or disk is full"#]].assert_eq(&reason);
    let kept = Kept { revision: 1, version: Version(1), state: vec![7; 1 << 20] };
    assert!(Keep::save(&store, "a", kept.clone()).await.is_err());
    assert!(store.catch_up_archive(house.ledger.as_ref()).await.is_err());

    store.database().await.unwrap().limit_pages(1 << 30);
    store.snapshot(&views, at("09:09")).await.unwrap();
    assert_eq!(store.health().snapshots, Writing::Good);
    Keep::save(&store, "a", kept).await.unwrap();
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    drop(store);
    let (_, loaded, _) = house.start().await;
    assert_eq!(loaded.state_hashes(), views.state_hashes());
    assert_eq!(loaded.applied(Log::Market), house.market.head().await.unwrap());
}

#[tokio::test]
async fn a_snapshot_that_is_given_up_anywhere_is_whole_or_not_there() {
    let house = busy(24).await;
    let truth = house.truth().await;
    let mut polls = 1;
    loop {
        let (store, views, _) = house.start().await;
        house.show(&views).await;
        trade(&house, &views).await;
        let given_up = polled(store.snapshot(&views, at("09:00")), polls).await.is_none();
        // What one snapshot took and did not write, the next one writes.
        if polls % 2 == 0 {
            store.snapshot(&views, at("09:01")).await.unwrap();
        }
        drop(store);
        let (_, loaded, told) = house.start().await;
        assert!(told.views.values().all(|view| view.discarded == 0), "{polls}: {told:?}");
        if polls % 2 == 0 {
            assert_eq!(loaded.state_hashes(), views.state_hashes(), "{polls}");
        }
        house.show(&loaded).await;
        assert_eq!(loaded.state_hashes(), house.truth().await, "{polls}");
        polls += 1;
        if !given_up {
            break;
        }
    }
    // How many depends on how fast the file answers.
    assert!(polls > 2, "{polls}");
    assert_ne!(truth, house.truth().await);
}

#[tokio::test]
async fn a_writer_whose_fence_was_taken_writes_nothing() {
    let house = busy(24).await;
    let (store, views, _) = house.start().await;
    trade(&house, &views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let rows = async || {
        let mut rows = Vec::new();
        for table in ["cut", "part", "kept", "archive", "account_archive", "course", "checkpoint"] {
            rows.push(house.count(&format!("SELECT COUNT(*) FROM {table}")).await);
        }
        rows.push(house.count("SELECT MAX(number) FROM cut").await);
        rows
    };
    let before = rows().await;
    house.sql("UPDATE lease SET fence = fence + 1, owner = 'another'").await;

    trade(&house, &views).await;
    let import = Step::Import { instrument: 0, minutes: 9 };
    house.step(&import, &views).await;
    let failed = store.snapshot(&views, at("09:01")).await.unwrap_err();
    expect![[r#"the read store cannot be used: another process has taken this read store over: restart to write it again"#]].assert_eq(&failed.to_string());
    assert!(store.catch_up_archive(house.ledger.as_ref()).await.is_err());
    let kept = Kept { revision: 1, version: Version(1), state: Vec::new() };
    assert!(Keep::save(&store, "a", kept).await.is_err());
    assert_eq!(rows().await, before);
}

#[tokio::test]
async fn an_idle_process_keeps_its_lease() {
    let house = busy(12).await;
    let (store, views, _) = house.start().await;
    trade(&house, &views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    house.sql("UPDATE lease SET expires_at = 0").await;
    assert_eq!(store.snapshot(&views, at("09:01")).await, Ok(Snapshot::default()));
    assert!(house.count("SELECT expires_at FROM lease").await > 0);
}

#[tokio::test]
async fn what_another_process_wrote_since_it_was_read_is_not_written_over() {
    let house = busy(12).await;
    let (first, views, _) = house.start().await;
    let (second, others, _) = house.start().await;
    trade(&house, &views).await;
    house.show(&others).await;
    first.snapshot(&views, at("09:00")).await.unwrap();
    assert!(second.snapshot(&others, at("09:00")).await.is_err());
    drop(first);

    let failed = second.snapshot(&others, at("09:01")).await.unwrap_err().to_string();
    assert!(failed.ends_with("another process has written the view access: restart"), "{failed}");
    assert_eq!(house.count("SELECT MAX(number) FROM cut").await, 1);
}

#[tokio::test]
async fn a_second_process_takes_over_from_one_that_wrote_nothing_since() {
    let house = busy(12).await;
    let (first, views, _) = house.start().await;
    trade(&house, &views).await;
    first.snapshot(&views, at("09:00")).await.unwrap();
    let (second, others, _) = house.start().await;
    house.show(&others).await;
    assert!(second.snapshot(&others, at("09:01")).await.is_ok(), "nothing is due");
    trade(&house, &others).await;
    assert!(second.snapshot(&others, at("09:02")).await.is_err());
    drop(first);
    second.snapshot(&others, at("09:03")).await.unwrap();
    drop(second);
    let (_, loaded, _) = house.start().await;
    assert_eq!(loaded.state_hashes(), others.state_hashes());
}

#[tokio::test]
async fn a_file_that_becomes_damaged_is_begun_anew_with_all_that_memory_holds() {
    let house = busy(24).await;
    let (store, views, _) = house.start().await;
    trade(&house, &views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    house.sql("DROP TABLE cut").await;
    trade(&house, &views).await;

    let failed = store.snapshot(&views, at("09:01")).await;
    assert!(matches!(failed, Err(StoreError::Damaged(_))), "{failed:?}");
    assert_eq!(store.newest_cut().await.unwrap(), None);
    store.snapshot(&views, at("09:02")).await.unwrap();
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    assert_eq!(store.health().snapshots, Writing::Good);
    assert!(house.path().with_extension("db.damaged").exists());
    drop(store);
    let (store, loaded, _) = house.start().await;
    assert_eq!(loaded.state_hashes(), views.state_hashes());

    // A second time within a run is not the file's fault: one is not set aside after the other.
    for (table, minute) in [("cut", 3), ("part", 5)] {
        house.sql(&format!("DROP TABLE {table}")).await;
        trade(&house, &loaded).await;
        store.snapshot(&loaded, at("09:00").plus(minute * MINUTE)).await.unwrap_err();
        let healed = store.snapshot(&loaded, at("09:01").plus(minute * MINUTE)).await;
        assert_eq!(healed.is_ok(), table == "cut", "{healed:?}");
    }
    let Writing::Degraded { reason, .. } = store.health().snapshots else { panic!() };
    assert!(reason.contains("no such table: part"), "{reason}");
}

#[tokio::test]
async fn what_is_no_database_is_set_aside() {
    let house = House::new();
    for text in [
        "no database at all, but long enough to have a header of a hundred bytes, as one \
                  has it in a file of SQLite: so it is read",
        "short",
    ] {
        std::fs::write(house.path(), text).unwrap();
        let (store, opened) = Store::open(&house.path()).await.unwrap();
        let Opened::SetAside { path, .. } = opened else { panic!("{opened:?}") };
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
        store.close().await;
    }
}

#[tokio::test]
async fn a_database_of_somebody_else_is_left_alone() {
    let house = House::new();
    house.open().await.close().await;
    for table in ["cut", "part", "kept", "archive", "checkpoint", "account_archive", "course"] {
        house.sql(&format!("DROP TABLE {table}")).await;
    }
    house.sql("ALTER TABLE lease RENAME TO songs").await;
    let error = Store::open(&house.path()).await.err().unwrap().to_string();
    assert!(error.ends_with("holds something else: give another file"), "{error}");
    assert_eq!(house.count("SELECT COUNT(*) FROM songs").await, 0);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_says_so() {
    let house = House::new();
    let error = Store::open(&house.folder.path().join("none/read.db")).await.err().unwrap();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
}
