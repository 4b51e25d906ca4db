//! What every read store promises, in a file and on a PostgreSQL.

use domain::account::event::DayClosed;
use domain::time::{DAY, MINUTE};
use eventlog::entry::Version;
use eventlog::keep::{Keep, Kept};
use eventlog::stream::Log;

use super::super::archive::Direction;
use super::super::rows::{ArchivedHour, ArchivedPosition};
use super::super::*;
use super::house::{House, Step, account_id, busy};
use super::place::Place;
use crate::sample::at;

async fn load(house: &House, store: &Store) -> (Views, Loaded) {
    let views = Views::new(Vec::new());
    let loaded = house.load(store, &views).await.unwrap();
    (views, loaded)
}

/// Folds a part of what both logs hold.
async fn fold(house: &House, views: &Views, entries: usize) {
    for log in [Log::Market, Log::Ledger] {
        house.step(&Step::Fold { log, entries }, views).await;
    }
}

#[tokio::test]
async fn every_cut_that_is_kept_leads_to_the_state_of_a_replay() {
    let house = busy(48).await;
    let truth = house.truth().await;
    for place in Place::each().await {
        let mut store = place.open(&house).await;
        let (mut views, _) = load(&house, &store).await;
        for (number, minutes) in [0, 7, 59, 61, 300, 3_000, 3_001, 9_000, 9_001].iter().enumerate()
        {
            fold(&house, &views, 5).await;
            store.snapshot(&views, at("09:00").plus(minutes * MINUTE)).await.unwrap();
            if number % 3 == 2 {
                store.close().await;
                store = place.open(&house).await;
                let loaded;
                (views, loaded) = load(&house, &store).await;
                for (view, loaded) in loaded.views {
                    assert!(loaded.kept.is_some() && loaded.discarded == 0, "{view}");
                }
            }
        }
        for (view, _) in Views::revisions() {
            let cuts = store.cuts(view).await.unwrap();
            assert!((3..9).contains(&cuts.len()), "{view}: {}", cuts.len());
            for cut in cuts {
                let views = Views::new(Vec::new());
                assert!(store.load_at(&views, &cut).await.unwrap());
                assert_eq!(views.state_hashes()[view], cut.state_hash);
                house.show(&views).await;
                assert_eq!(views.state_hashes(), truth);
            }
        }
        let newest = store.newest_cut().await.unwrap().unwrap();
        assert_eq!(newest.market.offset, views.applied(Log::Market));
    }
}

#[tokio::test]
async fn a_cut_that_is_not_sound_gives_way_to_the_one_before() {
    let house = busy(24).await;
    let truth = house.truth().await;
    for place in Place::each().await {
        for harm in [
            "UPDATE part SET name = name || 'x' WHERE number = 2",
            "UPDATE cut SET taken_at = taken_at + 1 WHERE number = 2",
            "DELETE FROM part WHERE number = 2",
        ] {
            place_emptied(&place, &house).await;
            let store = place.open(&house).await;
            let (views, _) = load(&house, &store).await;
            for minute in 0..2 {
                fold(&house, &views, 6).await;
                store.snapshot(&views, at("09:00").plus(minute * MINUTE)).await.unwrap();
            }
            store.close().await;
            place.sql(&house, harm).await;

            let store = place.open(&house).await;
            let (views, loaded) = load(&house, &store).await;
            for (view, loaded) in &loaded.views {
                let number = loaded.kept.as_ref().map(|kept| kept.number);
                assert_eq!((number, loaded.discarded), (Some(1), 1), "{view}: {harm}");
            }
            house.show(&views).await;
            assert_eq!(views.state_hashes(), truth, "{harm}");
            store.snapshot(&views, at("09:09")).await.unwrap();
            store.close().await;
            let store = place.open(&house).await;
            let (views, loaded) = load(&house, &store).await;
            assert!(loaded.views.values().all(|view| view.discarded == 0), "{harm}");
            assert_eq!(views.state_hashes(), truth, "{harm}");
            store.close().await;
        }
    }
}

async fn place_emptied(place: &Place, house: &House) {
    let store = place.open(house).await;
    store.close().await;
    for table in ["cut", "part", "checkpoint", "archive", "account_archive", "course"] {
        place.sql(house, &format!("DELETE FROM {table}")).await;
    }
}

/// All that an archive holds, by pages of three in both directions.
type Filed = (Vec<ArchivedHour>, Vec<ArchivedHour>, Vec<ArchivedPosition>, Vec<DayClosed>);

async fn filed(store: &Store) -> Filed {
    let (venue, instrument) = ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap());
    let (archive, alice) = (store.archive(), account_id(0));
    let (mut forward, mut backward, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    let (mut from, mut until) = (Timestamp::MIN, Timestamp::MAX);
    loop {
        let range = from..Timestamp::MAX;
        let page = archive.hours(&venue, &instrument, range, Direction::Forward, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        from = last.hour.plus(1);
        forward.extend(page);
    }
    loop {
        let range = Timestamp::MIN..until;
        let page = archive.hours(&venue, &instrument, range, Direction::Backward, 3).await.unwrap();
        let Some(first) = page.first() else { break };
        until = first.hour;
        backward.splice(0..0, page);
    }
    loop {
        let before = closed.last().map(ArchivedPosition::key);
        let page = archive.closed(&alice, before, 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        closed.extend(page);
    }
    let ever = Timestamp::MIN..Timestamp::MAX;
    let days = archive.equity(&alice, ever, Direction::Backward, 99).await.unwrap();
    (forward, backward, closed, days)
}

#[tokio::test]
async fn an_archive_tells_the_same_in_pages_from_both_ends_wherever_it_is() {
    let house = busy(60).await;
    let mut told = Vec::new();
    for place in Place::each().await {
        let store = place.open(&house).await;
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        let filed = filed(&store).await;
        assert!(filed.0.len() > 6 && filed.2.len() > 3 && filed.3.len() > 3);
        assert_eq!(filed.0, filed.1);
        let first = &filed.2[0];
        let found = store.archive().closed_position(&account_id(0), first.closed.id).await;
        assert_eq!(found.unwrap().as_ref(), Some(first));
        told.push(filed);
    }
    assert!(told.windows(2).all(|told| told[0] == told[1]));
}

#[tokio::test]
async fn an_archive_that_lost_or_altered_a_row_is_folded_anew() {
    let house = busy(60).await;
    for place in Place::each().await {
        let store = place.open(&house).await;
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        let whole = filed(&store).await;
        store.close().await;
        let rows = "SELECT COUNT(*) FROM archive";
        let before = place.count(&house, rows).await;
        for harm in [
            "DELETE FROM archive WHERE version = (SELECT MAX(version) FROM archive)",
            "UPDATE archive SET candles = replace(candles, '1', '2')",
            "UPDATE account_archive SET place = place + 1",
            "DELETE FROM course",
            "UPDATE checkpoint SET row_count = row_count - 1",
            "DELETE FROM checkpoint",
        ] {
            place.sql(&house, harm).await;
            let store = place.open(&house).await;
            store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
            assert_eq!(filed(&store).await, whole, "{harm}");
            store.close().await;
            assert_eq!(place.count(&house, rows).await, before, "{harm}");
        }
    }
}

#[tokio::test]
async fn a_later_state_that_is_kept_is_not_replaced_by_an_earlier_one() {
    let house = House::new();
    let kept = |revision, version| {
        let state = format!("state {revision} {version}").into_bytes();
        Kept { revision, version: Version(version), state }
    };
    for place in Place::each().await {
        let store = place.open(&house).await;
        let keep: &dyn Keep = &store;
        assert_eq!(keep.load("a").await, Ok(None));
        for (put, stands) in [
            (kept(1, 5), kept(1, 5)),
            (kept(1, 4), kept(1, 5)),
            (kept(1, 6), kept(1, 6)),
            (kept(2, 3), kept(2, 3)),
        ] {
            keep.save("a", put).await.unwrap();
            assert_eq!(keep.load("a").await, Ok(Some(stands)));
        }
        place.sql(&house, "UPDATE kept SET version = 99").await;
        assert_eq!(keep.load("a").await, Ok(None));
        keep.save("a", kept(2, 4)).await.unwrap();
        store.close().await;
        let store = place.open(&house).await;
        assert_eq!(Keep::load(&store, "a").await, Ok(Some(kept(2, 4))));
    }
}

#[tokio::test]
async fn a_store_of_other_logs_is_refused() {
    let (house, other) = (busy(12).await, House::new());
    for place in Place::each().await {
        let store = place.open(&house).await;
        let (views, _) = load(&house, &store).await;
        house.show(&views).await;
        store.snapshot(&views, at("09:00").plus(DAY)).await.unwrap();
        store.close().await;
        let store = place.open(&house).await;
        let refused = other.load(&store, &Views::new(Vec::new())).await.unwrap_err();
        assert!(matches!(refused, StoreError::Foreign(_)), "{refused}");
        assert!(!refused.to_string().contains(super::super::server::PASSWORD), "{refused}");
    }
}
