//! The archive: what the ledger told of each hour, filed once, whoever is killed meanwhile.

use std::fmt::Write;

use domain::time::{DAY, MINUTE};
use expect_test::{Expect, expect};

use eventlog::stream::Log;

use super::super::archive::Direction;
use super::super::rows::ArchivedHour;
use super::super::*;
use super::house::{House, Step, busy, candles, polled};
use crate::sample::{at, entries};

/// Puts what the table draws into the ledger.
async fn told(table: &str) -> House {
    let house = House::new();
    for entry in entries(table) {
        house.put(&entry.stream, entry.events).await;
    }
    house
}

fn draw(hours: &[ArchivedHour]) -> String {
    let mut drawn = String::new();
    for hour in hours {
        let minutes: Vec<String> = hour
            .candles
            .iter()
            .map(|candle| format!("{} {}", &candle.opened_at.to_shortest()[11..16], candle.close))
            .collect();
        let start = &hour.hour.to_shortest()[11..16];
        writeln!(drawn, "{start} {} v{}: {}", hour.kind, hour.version, minutes.join(", ")).unwrap();
    }
    drawn
}

async fn hours(store: &Store, from: Timestamp, until: Timestamp, max: u32) -> Vec<ArchivedHour> {
    let (venue, instrument) = ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap());
    let archive = store.archive();
    archive.hours(&venue, &instrument, from..until, Direction::Forward, max).await.unwrap()
}

async fn all(store: &Store) -> Vec<ArchivedHour> {
    hours(store, Timestamp::MIN, Timestamp::MAX, 1_000).await
}

async fn check(
    house: &House,
    (from, until): (&str, &str),
    (direction, hours_max): (Direction, u32),
    drawn: Expect,
) {
    let store = house.open().await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let (venue, instrument) = ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap());
    let range = at(from)..at(until);
    let archive = store.archive();
    let hours = archive.hours(&venue, &instrument, range, direction, hours_max).await.unwrap();
    drawn.assert_eq(&draw(&hours));
}

const LEDGER: &str = "
    ledger: closed 09:10 10 11 9 10.5 3; closed 09:59 10 11 9 10.6 3
    ledger: native 1m 09:58 10 11 9 10 1; native 1m 10:03 10 11 9 10 1; native 1h 09:00 1 1 1 1 9
    ledger: closed 10:04 10 11 9 10.7 3
    ledger: closed 09:10 10 11 9 10.8 4; closed 09:59 10 11 9 10.6 3
    ledger: closed 12:00 10 11 9 10.9 3
";

#[tokio::test]
async fn each_hour_is_filed_as_the_ledger_told_it() {
    let house = told(LEDGER).await;
    check(
        &house,
        ("00:00", "23:00"),
        (Direction::Forward, 9),
        expect![[r#"
        09:00 closed v1: 09:10 10.5, 09:59 10.6
        09:00 imported v2: 09:58 10
        09:00 closed v4: 09:10 10.8, 09:59 10.6
        10:00 imported v2: 10:03 10
        10:00 closed v3: 10:04 10.7
        12:00 closed v5: 12:00 10.9
    "#]],
    )
    .await;
    check(
        &house,
        ("00:00", "23:00"),
        (Direction::Forward, 1),
        expect![[r#"
        09:00 closed v1: 09:10 10.5, 09:59 10.6
        09:00 imported v2: 09:58 10
        09:00 closed v4: 09:10 10.8, 09:59 10.6
    "#]],
    )
    .await;
    check(
        &house,
        ("00:00", "23:00"),
        (Direction::Backward, 2),
        expect![[r#"
        10:00 imported v2: 10:03 10
        10:00 closed v3: 10:04 10.7
        12:00 closed v5: 12:00 10.9
    "#]],
    )
    .await;
    // A range takes the hours that begin in it.
    check(
        &house,
        ("09:00", "10:00"),
        (Direction::Backward, 9),
        expect![[r#"
        09:00 closed v1: 09:10 10.5, 09:59 10.6
        09:00 imported v2: 09:58 10
        09:00 closed v4: 09:10 10.8, 09:59 10.6
    "#]],
    )
    .await;
    check(
        &house,
        ("09:01", "10:01"),
        (Direction::Forward, 9),
        expect![[r#"
        10:00 imported v2: 10:03 10
        10:00 closed v3: 10:04 10.7
    "#]],
    )
    .await;
    check(&house, ("13:00", "14:00"), (Direction::Forward, 9), expect![[""]]).await;
}

#[tokio::test]
async fn nothing_is_answered_before_the_ledgers_end_was_reached() {
    let house = told(LEDGER).await;
    let store = house.open().await;
    tokio::time::pause();
    let (venue, instrument) = ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap());
    let range = Timestamp::MIN..Timestamp::MAX;
    let archive = store.archive();
    let answer = archive.hours(&venue, &instrument, range, Direction::Forward, 9).await;
    expect![[
        r#"the read store cannot be used: the archive is being built from the ledger: ask again"#
    ]]
    .assert_eq(&answer.unwrap_err().to_string());

    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    assert_eq!(all(&store).await.len(), 6);
    archive.wait_applied(Offset(5)).await.unwrap();
    archive.wait_applied(Offset(6)).await.unwrap_err();
    let health = store.health().archive;
    assert_eq!((health.applied, health.whole, health.degraded), (Offset(5), true, None));
}

/// A ledger of many hours.
async fn long() -> House {
    let house = House::new();
    for hour in 0..150 {
        let day = at("00:00").plus(hour / 20 * DAY);
        let minutes = (0..3).map(|minute| {
            let opened_at = day.plus((hour % 20) * 60 * MINUTE + minute * 7 * MINUTE);
            let price = (100 + hour).to_string().parse().unwrap();
            let candle = domain::candle::Candle {
                trades: 1,
                source: domain::candle::Source::Built,
                ..domain::candle::Candle::filled(opened_at, price)
            };
            let interval = domain::candle::Interval::Minute;
            domain::candle::event::CandleEvent::CandleClosed { interval, candle }.into()
        });
        house.put(&candles(usize::from(hour % 5 == 0)), minutes.collect()).await;
    }
    house
}

#[tokio::test]
async fn an_archivist_that_is_killed_anywhere_goes_on_where_it_was() {
    let house = long().await;
    let whole = {
        let store = house.open().await;
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        all(&store).await
    };
    assert_eq!(whole.len(), 120);
    let mut polls = 1;
    loop {
        let other = house.again();
        let store = other.open().await;
        let done = polled(store.catch_up_archive(house.ledger.as_ref()), polls).await;
        let store = if polls % 2 == 0 {
            drop(store);
            other.open().await
        } else {
            store
        };
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        assert_eq!(all(&store).await, whole, "{polls}");
        drop(store);
        assert_sound(&other).await;
        polls += 1;
        if done.is_some() {
            break;
        }
    }
    // How many depends on how fast the file answers.
    assert!(polls > 2, "{polls}");
}

/// Holds that the archive passes its own check after a restart.
async fn assert_sound(house: &House) {
    let rows = house.count("SELECT COUNT(*) FROM archive").await;
    let store = house.open().await;
    let empty = eventlog::memory::Memory::new(Log::Ledger);
    store.catch_up_archive(&empty).await.unwrap();
    assert_eq!(house.count("SELECT COUNT(*) FROM archive").await, rows);
    assert!(rows > 0);
}

#[tokio::test]
async fn what_is_delivered_twice_is_filed_once() {
    let house = long().await;
    let store = house.open().await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let before = all(&store).await;
    house.sql("DELETE FROM checkpoint").await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    assert_eq!(all(&store).await, before);
    assert_eq!(house.count("SELECT COUNT(*) FROM archive").await, 150);
}

#[tokio::test]
async fn a_row_that_was_lost_altered_or_doubled_is_found_and_the_archive_folded_anew() {
    for harm in [
        "DELETE FROM archive WHERE rowid = 7",
        "UPDATE archive SET candles = replace(candles, '101', '102') WHERE rowid = 2",
        "UPDATE archive SET hour = hour + 3600000000 WHERE rowid = 120",
        "UPDATE archive SET kind = 'imported' WHERE rowid = 3",
        "UPDATE archive SET kind = 'odd' WHERE rowid = 3",
        "UPDATE archive SET version = version + 1000 WHERE rowid = 3",
        "UPDATE archive SET instrument = 'SOL-USDT' WHERE rowid = 3",
        "UPDATE archive SET instrument = 'sol' WHERE rowid = 3",
        "UPDATE archive SET checksum = checksum + 1 WHERE rowid = 3",
        "INSERT INTO archive SELECT venue, instrument, hour + 1, kind, version, candles, checksum \
         FROM archive WHERE rowid = 3",
        "UPDATE checkpoint SET row_count = row_count - 1",
        "UPDATE checkpoint SET row_sum = row_sum - 1",
        "UPDATE checkpoint SET ledger = ledger - 1",
        "UPDATE checkpoint SET revision = revision + 1",
        "DELETE FROM checkpoint",
        "DELETE FROM archive",
    ] {
        let house = long().await;
        let store = house.open().await;
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        let before = all(&store).await;
        drop(store);
        house.sql(harm).await;

        let store = house.open().await;
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        assert_eq!(all(&store).await, before, "{harm}");
        assert_eq!(house.count("SELECT COUNT(*) FROM archive").await, 150, "{harm}");
    }
}

#[tokio::test]
async fn a_row_that_is_altered_while_it_is_served_is_not_served() {
    let house = long().await;
    let store = house.open().await;
    let ledger: Arc<dyn ReadLog> = house.ledger.clone();
    let task = tokio::spawn(archivist(store.clone(), ledger));
    store.archive().wait_applied(Offset(150)).await.unwrap();
    let before = all(&store).await;
    house.sql("UPDATE archive SET candles = '[]' WHERE rowid = 7").await;

    let (venue, instrument) = ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap());
    let range = Timestamp::MIN..Timestamp::MAX;
    let archive = store.archive();
    let answer = archive.hours(&venue, &instrument, range, Direction::Forward, 1_000).await;
    assert!(matches!(answer, Err(StoreError::Damaged(_))), "{answer:?}");
    // The archivist has heard of it.
    archive.wait_applied(Offset(150)).await.unwrap();
    assert_eq!(all(&store).await, before);
    task.abort();
}

#[tokio::test]
async fn the_archivist_files_what_comes() {
    let house = busy(24).await;
    let store = house.open().await;
    let ledger: Arc<dyn ReadLog> = house.ledger.clone();
    let task = tokio::spawn(archivist(store.clone(), ledger));
    for _ in 0..3 {
        let import = Step::Import { instrument: 0, minutes: 5 };
        house.step(&import, &Views::new(Vec::new())).await;
        let head = house.ledger.head().await.unwrap();
        store.archive().wait_applied(head).await.unwrap();
        let filed = all(&store).await;
        let newest = house.ledger.last(&candles(0)).await.unwrap().unwrap();
        assert!(filed.iter().any(|hour| hour.version == newest.version));
    }
    task.abort();
}
