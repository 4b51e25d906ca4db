//! The archive of accounts: each position that was closed and each day, filed once, whoever is killed
//! meanwhile.

use std::fmt::Write;

use domain::account::event::{AccountEvent, DayClosed};
use domain::account::position::PositionId;
use domain::event::Event;
use domain::time::DAY;
use eventlog::entry::Version;
use eventlog::memory::Memory;
use eventlog::stream::Log;
use expect_test::expect;
use proptest::prelude::*;

use super::super::archive::Direction;
use super::super::rows::ArchivedPosition;
use super::super::*;
use super::house::{House, account_id, busy, polled};
use crate::holdings::{CLOSED_HELD_MAX, Closed};
use crate::projector;
use crate::sample::accounts::{Asked, asked};
use crate::sample::at;

/// All that the archive holds of both accounts: closed positions newest first, days in order.
type Filed = Vec<(Vec<ArchivedPosition>, Vec<DayClosed>)>;

async fn filed(store: &Store) -> Filed {
    let mut filed = Vec::new();
    for account in [0, 1].map(account_id) {
        let archive = store.archive();
        let closed = archive.closed(&account, None, 1_000).await.unwrap();
        let range = Timestamp::MIN..Timestamp::MAX;
        let days = archive.equity(&account, range, Direction::Forward, 1_000).await.unwrap();
        filed.push((closed, days));
    }
    filed
}

async fn filed_anew(house: &House) -> Filed {
    let other = house.again();
    let store = other.open().await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    filed(&store).await
}

/// What the view and the ledger itself say of both accounts.
async fn told(house: &House) -> Vec<(Vec<Closed>, Vec<DayClosed>)> {
    let views = Views::new(Vec::new());
    projector::catch_up(Log::Ledger, house.ledger.as_ref(), &views).await.unwrap();
    let entries = house.ledger.read(Offset(0), usize::MAX).await.unwrap();
    let of = |account| {
        let account = account_id(account);
        let holdings = views.holdings();
        let held = holdings.get(&account);
        let closed = held.map(|held| held.closed.iter().rev().cloned().collect());
        let of_account = entries
            .iter()
            .filter(|entry| entry.stream == eventlog::stream::Stream::Account(account.clone()));
        let days = of_account.flat_map(|entry| &entry.events).filter_map(|event| match event {
            Event::Account(AccountEvent::DayClosed(day)) => Some(day.clone()),
            _ => None,
        });
        (closed.unwrap_or_default(), days.collect())
    };
    vec![of(0), of(1)]
}

fn draw(filed: &[ArchivedPosition]) -> String {
    let mut drawn = String::new();
    for ArchivedPosition { version, closed } in filed {
        let Closed { side, realized, fees, liquidated, .. } = closed;
        let how = if *liquidated { "liquidated" } else { "closed" };
        writeln!(drawn, "v{version} {how} {side:?}: realized {realized}, fees {fees}").unwrap();
    }
    drawn
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Of whatever was asked, in however many turns it was filed: the archive tells what the view
    /// tells, and passes its own check.
    #[test]
    fn what_is_filed_is_what_the_view_tells(
        steps in prop::collection::vec((0..2_usize, asked(), prop::bool::weighted(0.1)), 1..90),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::new();
            let mut store = house.open().await;
            for (account, asked, restarts) in &steps {
                house.ask(*account, asked).await;
                if *restarts {
                    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
                    drop(store);
                    store = house.open().await;
                }
            }
            store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
            let filed = filed(&store).await;
            drop(store);
            prop_assert_eq!(&filed, &filed_anew(&house).await);
            let closed = |(closed, days): &(Vec<ArchivedPosition>, Vec<DayClosed>)| {
                let newest = closed.iter().take(CLOSED_HELD_MAX);
                (newest.map(|row| row.closed.clone()).collect(), days.clone())
            };
            let filed: Vec<(Vec<Closed>, Vec<DayClosed>)> = filed.iter().map(closed).collect();
            prop_assert_eq!(filed, told(&house).await);
            assert_sound(&house).await;
            Ok(())
        })?;
    }
}

/// Holds that the archive passes its own check after a restart: with nothing to fold it anew from,
/// what is not sound would be gone.
async fn assert_sound(house: &House) {
    let rows = rows(house).await;
    let store = house.open().await;
    store.catch_up_archive(&Memory::new(Log::Ledger)).await.unwrap();
    assert_eq!(self::rows(house).await, rows);
}

async fn rows(house: &House) -> [i64; 2] {
    let archived = house.count("SELECT COUNT(*) FROM account_archive").await;
    [archived, house.count("SELECT COUNT(*) FROM course").await]
}

#[tokio::test]
async fn the_positions_of_an_account_come_newest_first_and_by_name() {
    let house = House::new();
    for number in 0..5 {
        let open = Asked::Open { long: true, leverage: 5, price: 100, quantity: 10 };
        house.ask(0, &open).await;
        house.ask(0, &Asked::Close(0, 100 + number)).await;
        house.ask(1, &open).await;
    }
    let store = house.open().await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let (archive, alice) = (store.archive(), account_id(0));
    let first = archive.closed(&alice, None, 2).await.unwrap();
    expect![[r#"
        v11 closed Long: realized 4.0, fees 0.0816
        v9 closed Long: realized 3.0, fees 0.0812
    "#]]
    .assert_eq(&draw(&first));
    let next = archive.closed(&alice, Some(first[1].key()), 9).await.unwrap();
    expect![[r#"
        v7 closed Long: realized 2.0, fees 0.0808
        v5 closed Long: realized 1.0, fees 0.0804
        v3 closed Long: realized 0.0, fees 0.08
    "#]]
    .assert_eq(&draw(&next));
    assert_eq!(archive.closed(&alice, Some(next[2].key()), 9).await.unwrap(), []);
    assert_eq!(archive.closed(&account_id(1), None, 9).await.unwrap(), []);

    let third = &next[0];
    let found = archive.closed_position(&alice, third.closed.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(third));
    assert_eq!(archive.closed_position(&account_id(1), third.closed.id).await.unwrap(), None);
    assert_eq!(archive.closed_position(&alice, PositionId::new(99)).await.unwrap(), None);
}

#[tokio::test]
async fn the_days_of_an_account_are_found_by_their_range() {
    let house = House::new();
    for _ in 0..6 {
        house.ask(0, &Asked::CloseDay).await;
        house.ask(0, &Asked::Deposit(1)).await;
    }
    let store = house.open().await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let (archive, alice) = (store.archive(), account_id(0));
    let first = at("00:00").plus(DAY);
    let found = async |range, direction, days_max| {
        let days = archive.equity(&alice, range, direction, days_max).await.unwrap();
        let number = |day: &DayClosed| day.day.since(first) / DAY;
        days.iter().map(number).collect::<Vec<i64>>()
    };
    let ever = Timestamp::MIN..Timestamp::MAX;
    assert_eq!(found(ever.clone(), Direction::Forward, 9).await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(found(ever.clone(), Direction::Forward, 2).await, [0, 1]);
    assert_eq!(found(ever, Direction::Backward, 2).await, [4, 5]);
    let range = first.plus(DAY)..first.plus(3 * DAY);
    assert_eq!(found(range, Direction::Backward, 9).await, [1, 2]);
}

#[tokio::test]
async fn nothing_is_answered_before_the_ledgers_end_was_reached() {
    let house = busy(12).await;
    let store = house.open().await;
    tokio::time::pause();
    let answer = store.archive().closed(&account_id(0), None, 9).await;
    expect![[
        r#"the read store cannot be used: the archive is being built from the ledger: ask again"#
    ]]
    .assert_eq(&answer.unwrap_err().to_string());

    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let head = house.ledger.head().await.unwrap();
    store.archive().wait_accounts_applied(head).await.unwrap();
    store.archive().wait_accounts_applied(Offset(head.0 + 1)).await.unwrap_err();
}

#[tokio::test]
async fn an_archivist_that_is_killed_anywhere_goes_on_where_it_was() {
    let house = busy(60).await;
    let whole = filed_anew(&house).await;
    assert!(whole.iter().all(|(closed, days)| closed.len() > 3 && days.len() > 3));
    let mut polls = 1;
    loop {
        let other = house.again();
        let store = other.open().await;
        let done = polled(store.catch_up_archive(house.ledger.as_ref()), polls).await;
        drop(store);
        let store = other.open().await;
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        assert_eq!(filed(&store).await, whole, "{polls}");
        drop(store);
        assert_sound(&other).await;
        // It takes some thousand: not each is tried.
        polls += 1 + polls / 8;
        if done.is_some() {
            break;
        }
    }
}

#[tokio::test]
async fn a_row_that_was_lost_altered_or_doubled_is_found_and_the_archive_folded_anew() {
    let house = busy(60).await;
    house.ask(0, &Asked::Open { long: true, leverage: 5, price: 100, quantity: 10 }).await;
    let whole = filed_anew(&house).await;
    for harm in [
        "DELETE FROM account_archive WHERE rowid = 7",
        "UPDATE account_archive SET body = replace(body, '1', '2') WHERE rowid = 2",
        "UPDATE account_archive SET place = place + 1 WHERE rowid = 5",
        "UPDATE account_archive SET kind = 'odd' WHERE rowid = 3",
        "UPDATE account_archive SET account = 'carol' WHERE rowid = 3",
        "UPDATE account_archive SET name = 'pos_0' WHERE rowid = 3",
        "UPDATE account_archive SET checksum = checksum + 1 WHERE rowid = 3",
        "INSERT INTO account_archive SELECT account, kind, place + 1, name, body, checksum \
         FROM account_archive WHERE rowid = 3",
        "DELETE FROM account_archive",
        "DROP TABLE account_archive",
        "DELETE FROM course WHERE rowid IN (SELECT MIN(rowid) FROM course)",
        "UPDATE course SET course = replace(course, '0', '1')",
        "UPDATE course SET position_id = position_id || '0'",
        "UPDATE checkpoint SET row_count = row_count - 1 WHERE reader = 'accounts'",
        "UPDATE checkpoint SET revision = revision + 1 WHERE reader = 'accounts'",
        "DELETE FROM checkpoint WHERE reader = 'accounts'",
    ] {
        let other = house.again();
        let store = other.open().await;
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        drop(store);
        let (before, hours) = (rows(&other).await, "SELECT COUNT(*) FROM archive");
        let hours_before = other.count(hours).await;
        assert!(before.iter().all(|count| *count > 0));
        other.sql(harm).await;

        let store = other.open().await;
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        assert_eq!(filed(&store).await, whole, "{harm}");
        assert_eq!(rows(&other).await, before, "{harm}");
        // The hours are another section.
        assert_eq!(other.count(hours).await, hours_before, "{harm}");
    }
}

#[tokio::test]
async fn a_row_that_is_altered_while_it_is_served_is_not_served() {
    let house = busy(60).await;
    let store = house.open().await;
    let ledger: Arc<dyn ReadLog> = house.ledger.clone();
    let task = tokio::spawn(archivist(store.clone(), ledger));
    let head = house.ledger.head().await.unwrap();
    store.archive().wait_accounts_applied(head).await.unwrap();
    let before = filed(&store).await;
    house.sql("UPDATE account_archive SET body = '{}' WHERE kind = 'closed'").await;

    let archive = store.archive();
    let answer = archive.closed(&account_id(0), None, 9).await;
    assert!(matches!(answer, Err(StoreError::Damaged(_))), "{answer:?}");
    // The archivist has heard of it.
    archive.wait_accounts_applied(head).await.unwrap();
    assert_eq!(filed(&store).await, before);
    task.abort();
}

/// A file from before there was an archive of accounts.
#[tokio::test]
async fn an_older_store_is_given_what_it_lacks_and_keeps_what_it_has() {
    let house = busy(24).await;
    let (store, views, _) = house.start().await;
    house.show(&views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let whole = filed(&store).await;
    store.close().await;
    for statement in [
        "DROP TABLE account_archive",
        "DROP TABLE course",
        "DELETE FROM checkpoint WHERE reader = 'accounts'",
        "DELETE FROM cut WHERE view = 'holdings'",
        "DELETE FROM part WHERE view = 'holdings'",
    ] {
        house.sql(statement).await;
    }

    let (store, opened) = Store::open(&house.path()).await.unwrap();
    assert_eq!(opened, Opened::There);
    let views = Views::new(Vec::new());
    let loaded = house.load(&store, &views).await.unwrap();
    for (view, loaded) in &loaded.views {
        assert_eq!((loaded.kept.is_some(), loaded.discarded), (*view != "holdings", 0), "{view}");
    }
    // The market log need not be read from its beginning for a view that does not read it.
    assert_eq!(views.applied(Log::Market), house.market.head().await.unwrap());
    assert_eq!(views.applied(Log::Ledger), Offset(0));
    house.show(&views).await;
    assert_eq!(views.state_hashes(), house.truth().await);
    let hours = house.count("SELECT COUNT(*) FROM archive").await;
    assert!(hours > 0);
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    assert_eq!(filed(&store).await, whole);
    assert_eq!(house.count("SELECT COUNT(*) FROM archive").await, hours);
}

#[test]
fn a_later_closing_has_a_later_key() {
    let id = PositionId::new;
    assert!((Version(2), id(1)) > (Version(1), id(9)));
}
