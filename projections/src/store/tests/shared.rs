//! Several nodes at one store: one writes, the others follow, and take over.

use eventlog::entry::Hash;
use eventlog::stream::Log;

use super::super::archive::Direction;
use super::super::database::Outlives;
use super::super::health::Writing;
use super::super::*;
use super::house::{House, Step, account_id, busy};
use super::place::Shared;
use crate::sample::at;
use crate::views::{Changed, Place};

async fn load(house: &House, store: &Store) -> Views {
    let views = Views::new(Vec::new());
    house.load(store, &views).await.unwrap();
    views
}

async fn trade(house: &House) {
    let trade = Step::Trade { instrument: 0, minutes: 1, prices: vec![99, 100] };
    house.step(&trade, &Views::new(Vec::new())).await;
}

/// The state hashes that a node has that starts now.
async fn assert_loads_what_is_true(house: &House, shared: &Shared) {
    let store = shared.connect("new").await;
    let views = Views::new(Vec::new());
    let loaded = house.load(&store, &views).await.unwrap();
    assert!(loaded.views.values().all(|view| view.kept.is_some() && view.discarded == 0));
    for (view, _) in Views::revisions() {
        let cut = loaded.views[view].kept.as_ref().unwrap();
        assert_eq!(views.state_hashes()[view], cut.state_hash);
    }
    house.show(&views).await;
    assert_eq!(views.state_hashes(), house.truth().await);
    store.close().await;
}

#[tokio::test]
async fn one_node_writes_and_the_others_follow_quietly() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(24).await;
    let (first, second) = (shared.connect("n1").await, shared.connect("n2").await);
    let (views, others) = (load(&house, &first).await, load(&house, &second).await);
    house.show(&views).await;
    house.show(&others).await;
    assert!(first.snapshot(&views, at("09:00")).await.unwrap().views == 5);
    for _ in 0..4 {
        assert_eq!(second.snapshot(&others, at("09:01")).await, Ok(Snapshot::default()));
    }
    assert_eq!(second.health().snapshots, Writing::Good);
    assert_eq!(second.newest_cut().await, first.newest_cut().await);
    assert!(second.newest_cut().await.unwrap().is_some());

    let head = first.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    assert_eq!(second.catch_up_archive(house.ledger.as_ref()).await.unwrap(), head);
    let health = second.health().archive;
    assert_eq!((health.applied, health.whole, health.degraded), (head, true, None));
    let closed = second.archive().closed(&account_id(0), None, 99).await.unwrap();
    assert!(closed.len() > 1);
    assert_eq!(first.archive().closed(&account_id(0), None, 99).await.unwrap(), closed);
}

#[tokio::test]
async fn a_node_that_takes_over_goes_on_from_what_the_other_has_written() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(24).await;
    let (first, second) = (shared.connect("n1").await, shared.connect("n2").await);
    let (views, others) = (load(&house, &first).await, load(&house, &second).await);
    house.show(&views).await;
    first.snapshot(&views, at("09:00")).await.unwrap();
    // It takes what has changed, and another had it all along.
    trade(&house).await;
    house.show(&views).await;
    house.show(&others).await;
    first.close().await;

    let taken_over = second.snapshot(&others, at("09:01")).await.unwrap();
    assert!(taken_over.views == 5 && taken_over.parts < 9, "{taken_over:?}");
    assert_eq!(shared.count("SELECT MAX(number) FROM cut").await, 2);
    assert_loads_what_is_true(&house, &shared).await;
    assert_eq!(shared.count("SELECT fence FROM lease WHERE name = 'snapshots'").await, 2);
}

#[tokio::test]
async fn a_node_that_is_behind_what_was_written_writes_once_it_has_come_as_far() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(24).await;
    let (first, second) = (shared.connect("n1").await, shared.connect("n2").await);
    let (views, others) = (load(&house, &first).await, load(&house, &second).await);
    house.show(&views).await;
    first.snapshot(&views, at("09:00")).await.unwrap();
    first.close().await;
    house.step(&Step::Fold { log: Log::Market, entries: 3 }, &others).await;
    assert_eq!(second.snapshot(&others, at("09:01")).await, Ok(Snapshot::default()));
    assert_eq!(second.snapshot(&others, at("09:02")).await, Ok(Snapshot::default()));
    assert_eq!(shared.count("SELECT MAX(number) FROM cut").await, 1);

    trade(&house).await;
    house.show(&others).await;
    assert!(second.snapshot(&others, at("09:03")).await.unwrap().views > 0);
    assert_loads_what_is_true(&house, &shared).await;
}

#[tokio::test]
async fn a_writer_that_wakes_late_writes_nothing_and_follows() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(24).await;
    let (first, second) = (shared.connect("n1").await, shared.connect("n2").await);
    let (views, others) = (load(&house, &first).await, load(&house, &second).await);
    house.step(&Step::Fold { log: Log::Market, entries: 4 }, &views).await;
    first.snapshot(&views, at("09:00")).await.unwrap();
    first.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    // It does not hear of the end of its time.
    for lease in ["snapshots", "archive"] {
        shared.expire(lease).await;
    }
    house.show(&others).await;
    assert!(second.snapshot(&others, at("09:01")).await.unwrap().views > 0);
    second.catch_up_archive(house.ledger.as_ref()).await.unwrap();

    house.show(&views).await;
    let before = shared.count("SELECT COUNT(*) FROM cut").await;
    for _ in 0..3 {
        assert_eq!(first.snapshot(&views, at("09:02")).await, Ok(Snapshot::default()));
        first.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    }
    assert_eq!(first.health().snapshots, Writing::Good);
    assert_eq!(shared.count("SELECT COUNT(*) FROM cut").await, before);

    // And it takes over again when the other has gone.
    second.close().await;
    trade(&house).await;
    house.show(&views).await;
    assert!(first.snapshot(&views, at("09:03")).await.unwrap().views > 0);
    assert_loads_what_is_true(&house, &shared).await;
    assert_eq!(shared.count("SELECT fence FROM lease WHERE name = 'snapshots'").await, 3);
}

#[tokio::test]
async fn of_many_parts_none_is_missing_and_what_has_gone_is_not_there() {
    let Some(shared) = Shared::new().await else { return };
    let store = shared.connect("n1").await;
    let place = Place { offset: Offset(1), hash: Hash::default() };
    let mut written = Written::default();
    let mut model = BTreeMap::new();
    for turn in 0..3_u8 {
        let part = |number: usize| {
            let state = (number % 3 != usize::from(turn)).then(|| vec![turn; number % 5]);
            (format!("part {number}"), state)
        };
        let parts: BTreeMap<_, _> = (0..700).step_by(1 + usize::from(turn)).map(part).collect();
        model.extend(parts.clone());
        let place = Place { offset: Offset(place.offset.0 + u64::from(turn)), ..place };
        let cut = Cut { ledger: place, market: place };
        written.take_in(Changed { view: "prices", revision: 1, cut, parts });
        store.write(&mut written, at("09:00")).await.unwrap();
    }
    let database = store.database().await.unwrap();
    let mut read = database.read().await.unwrap();
    let newest = read.cuts("prices", 1).await.unwrap().remove(0);
    let parts: BTreeMap<_, _> = read.parts(&newest).await.unwrap().unwrap().into_iter().collect();
    model.retain(|_, state| state.is_some());
    assert!(parts.len() > 300);
    assert_eq!(parts, model.into_iter().map(|(name, state)| (name, state.unwrap())).collect());
}

#[tokio::test]
async fn who_takes_over_writes_what_differs_from_what_is_there_and_nothing_else() {
    let Some(shared) = Shared::new().await else { return };
    let store = shared.connect("n1").await;
    let changed = |offset, parts: &[(&str, u8)]| {
        let place = Place { offset: Offset(offset), hash: Hash::default() };
        let part = |(name, state): &(&str, u8)| ((*name).to_owned(), Some(vec![*state]));
        let parts = parts.iter().map(part).collect();
        Changed { view: "prices", revision: 1, cut: Cut { ledger: place, market: place }, parts }
    };
    let (mut first, mut second) = (Written::default(), Written::default());
    second.take_in(changed(1, &[("a", 1)]));
    store.write(&mut second, at("09:00")).await.unwrap();
    first.take_in(changed(2, &[("a", 1), ("b", 1), ("gone", 1), ("same", 1)]));
    store.write(&mut first, at("09:01")).await.unwrap();

    let database = store.database().await.unwrap();
    let mut write = database.write(Outlives::PowerLoss).await.unwrap();
    second.take_in(changed(3, &[("a", 2)]));
    let all = || vec![changed(3, &[("a", 2), ("b", 2), ("same", 1), ("new", 1)])];
    second.rebase(&mut write, all).await.unwrap();
    let snapshot = second.write(&mut write, at("09:02")).await.unwrap();
    let newest = write.cuts("prices", 1).await.unwrap().remove(0);
    let parts = write.parts(&newest).await.unwrap().unwrap();
    write.commit().await.unwrap();
    assert_eq!((snapshot.parts, newest.number), (4, 2));
    let parts: BTreeMap<_, _> = parts.iter().map(|(name, state)| (&**name, state[0])).collect();
    assert_eq!(parts, BTreeMap::from([("a", 2), ("b", 2), ("new", 1), ("same", 1)]));
}

#[tokio::test]
async fn nobody_waits_for_a_writer_that_takes_long_and_nobody_takes_its_place() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(12).await;
    let (first, second) = (shared.connect("n1").await, shared.connect("n2").await);
    let (views, others) = (load(&house, &first).await, load(&house, &second).await);
    house.show(&views).await;
    house.show(&others).await;
    first.snapshot(&views, at("09:00")).await.unwrap();
    // Its time seems to be over while it is writing: what it writes moves the end.
    shared.expire("snapshots").await;
    let database = first.database().await.unwrap();
    let mut write = database.write(Outlives::PowerLoss).await.unwrap();
    let held = first.0.lease.hold(Work::Snapshots, &mut write).await.unwrap();
    trade(&house).await;
    house.show(&others).await;
    let begun = std::time::Instant::now();
    assert_eq!(second.snapshot(&others, at("09:01")).await, Ok(Snapshot::default()));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    write.commit().await.unwrap();
    first.0.lease.committed(held);
    assert_eq!(second.snapshot(&others, at("09:02")).await, Ok(Snapshot::default()));

    // One that never ends what it began is given up with its connection.
    let mut write = database.write(Outlives::PowerLoss).await.unwrap();
    assert!(first.0.lease.hold(Work::Snapshots, &mut write).await.unwrap().is_some());
    drop(write);
    shared.expire("snapshots").await;
    assert!(second.snapshot(&others, at("09:03")).await.unwrap().views > 0);
}

#[tokio::test]
async fn what_is_written_under_a_lease_that_is_lost_is_not_there() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(12).await;
    let store = shared.connect("n1").await;
    let views = load(&house, &store).await;
    house.show(&views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    shared.sql("UPDATE lease SET fence = fence + 1, owner = 'another'").await;
    trade(&house).await;
    house.show(&views).await;
    assert_eq!(store.snapshot(&views, at("09:01")).await, Ok(Snapshot::default()));
    assert_eq!(shared.count("SELECT MAX(number) FROM cut").await, 1);
}

#[tokio::test]
async fn the_archive_is_filed_by_whoever_is_there_and_everybody_sees_it() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(24).await;
    let (first, second) = (shared.connect("n1").await, shared.connect("n2").await);
    let ledger: Arc<dyn ReadLog> = house.ledger.clone();
    let running = tokio::spawn(archivist(first.clone(), ledger.clone()));
    let head = house.ledger.head().await.unwrap();
    first.archive().wait_accounts_applied(head).await.unwrap();
    let following = tokio::spawn(archivist(second.clone(), ledger));
    for turn in 0..3 {
        if turn == 2 {
            running.abort();
            first.close().await;
        }
        let import = Step::Import { instrument: 0, minutes: 5 };
        house.step(&import, &Views::new(Vec::new())).await;
        let head = house.ledger.head().await.unwrap();
        second.archive().wait_applied(head).await.unwrap();
        second.archive().wait_accounts_applied(head).await.unwrap();
    }
    following.abort();
    assert_eq!(shared.count("SELECT fence FROM lease WHERE name = 'archive'").await, 2);
}

#[tokio::test]
async fn a_node_that_follows_answers_although_the_ledger_never_rests() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(12).await;
    let (first, second) = (shared.connect("n1").await, shared.connect("n2").await);
    first.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let import = Step::Import { instrument: 0, minutes: 5 };
    for whole in [false, true, true] {
        house.step(&import, &Views::new(Vec::new())).await;
        let before = house.ledger.head().await.unwrap();
        second.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        assert_eq!(second.health().archive.whole, whole);
        assert!(second.health().archive.applied < before);
        first.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    }
}

#[tokio::test]
async fn what_one_node_finds_damaged_in_the_archive_is_built_anew_for_all() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(60).await;
    let (first, second) = (shared.connect("n1").await, shared.connect("n2").await);
    for store in [&first, &second] {
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    }
    let closed = async |store: &Store| {
        let archive = store.archive();
        archive.closed(&account_id(0), None, 999).await
    };
    let whole = closed(&first).await.unwrap();
    shared.sql("UPDATE account_archive SET body = '{}' WHERE kind = 'closed'").await;
    // The one that follows is asked.
    assert!(matches!(closed(&second).await, Err(StoreError::Damaged(_))));
    second.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    assert_eq!(shared.count("SELECT COUNT(*) FROM account_archive").await, 0);
    // What is not there is not told of as if that were all.
    assert!(matches!(closed(&first).await, Err(StoreError::Unreachable(_))));

    for store in [&first, &second] {
        store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
        assert_eq!(closed(store).await.unwrap(), whole);
    }
}

#[tokio::test]
async fn what_a_later_version_has_filed_is_left_to_it() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(24).await;
    let store = shared.connect("n1").await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    store.close().await;
    let rows = shared.count("SELECT COUNT(*) FROM account_archive").await;
    let store = shared.connect("n1").await;
    let database = store.database().await.unwrap();
    let (reader, revision) = Section::Accounts.reader();
    for (revision, left) in [(revision + 1, true), (revision - 1, false)] {
        let mut write = database.write(Outlives::Crash).await.unwrap();
        let stands = write.checkpoint((reader, revision + 1)).await.unwrap();
        let stands = stands.flatten().unwrap_or_default();
        write.delete_checkpoint(reader).await.unwrap();
        assert!(write.move_checkpoint((reader, revision), None, stands).await.unwrap());
        write.commit().await.unwrap();

        let done = store.catch_up_archive(house.ledger.as_ref()).await;
        assert_eq!(done.is_err(), left, "{done:?}");
        assert_eq!(shared.count("SELECT COUNT(*) FROM account_archive").await, rows);
    }
}

#[tokio::test]
async fn money_is_summed_exactly_by_whoever_asks_the_database() {
    let Some(shared) = Shared::new().await else { return };
    let house = busy(60).await;
    let store = shared.connect("n1").await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    let (archive, ever) = (store.archive(), Timestamp::MIN..Timestamp::MAX);
    let (mut realized, mut equity) = (rust_decimal::Decimal::ZERO, rust_decimal::Decimal::ZERO);
    for account in [0, 1].map(account_id) {
        let closed = archive.closed(&account, None, 999).await.unwrap();
        realized += closed.iter().map(|row| row.closed.realized).sum::<rust_decimal::Decimal>();
        let range = ever.clone();
        let days = archive.equity(&account, range, Direction::Forward, 999).await.unwrap();
        equity += days.iter().map(|day| day.equity).sum::<rust_decimal::Decimal>();
    }
    let mut volume = rust_decimal::Decimal::ZERO;
    for instrument in ["BTC-USDT", "ETH-USDT"] {
        let (venue, instrument) = ("binance".parse().unwrap(), instrument.parse().unwrap());
        let range = ever.clone();
        let hours = archive.hours(&venue, &instrument, range, Direction::Forward, 999).await;
        let candles = hours.unwrap().into_iter().flat_map(|hour| hour.candles);
        volume += candles.map(|candle| candle.volume).sum::<rust_decimal::Decimal>();
    }
    for (statement, sum) in [
        ("SELECT sum(realized)::text FROM closed_position", realized),
        ("SELECT sum(equity)::text FROM daily_equity", equity),
        ("SELECT sum(volume)::text FROM candle", volume),
    ] {
        let told: rust_decimal::Decimal = shared.text(statement).await.parse().unwrap();
        assert!(told == sum && !sum.is_zero(), "{statement}: {told} instead of {sum}");
    }
    let types = shared
        .text(
            "SELECT string_agg(DISTINCT data_type, ',') FROM information_schema.columns \
             WHERE table_schema = 'entasis' AND column_name IN ('realized', 'fees', 'quantity', \
             'entry', 'exit', 'equity', 'open', 'high', 'low', 'close', 'volume')",
        )
        .await;
    assert_eq!(types, "numeric");
}
