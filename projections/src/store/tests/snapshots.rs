//! Snapshots: the same state as a replay, from whichever cut, after whatever happened.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::time::{DAY, MINUTE};
use eventlog::entry::{Entry, Hash, Offset, Version};
use eventlog::log::{Durability, ReadLog, Tip};
use eventlog::memory::Memory;
use eventlog::stream::{Log, Stream};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::super::*;
use super::house::{House, Step, busy, polled};
use crate::sample::accounts::asked;
use crate::sample::at;
use crate::sample::keys::asked_of_keys;
use crate::view::hash_of_parts;
use crate::views::{Changed, Place};

fn step() -> impl Strategy<Value = Step> {
    let instrument = 0..2_usize;
    let log = prop_oneof![Just(Log::Ledger), Just(Log::Market)];
    let minutes = prop_oneof![6 => 0..90_i64, 1 => 1_000..15_000_i64];
    let prices = prop::collection::vec(90..110_u32, 1..5);
    prop_oneof![
        6 => (instrument.clone(), minutes, prices)
            .prop_map(|(instrument, minutes, prices)| Step::Trade { instrument, minutes, prices }),
        1 => (instrument.clone(), any::<bool>())
            .prop_map(|(instrument, filled)| Step::Gap { instrument, filled }),
        2 => (instrument.clone(), 50..90_u32)
            .prop_map(|(instrument, price)| Step::Book { instrument, price }),
        1 => (instrument.clone(), 1..20_i64)
            .prop_map(|(instrument, minutes)| Step::Import { instrument, minutes }),
        4 => (instrument, asked()).prop_map(|(account, asked)| Step::Account { account, asked }),
        2 => asked_of_keys().prop_map(Step::Keys),
        2 => Just(Step::Record),
        6 => (log, 1..6_usize).prop_map(|(log, entries)| Step::Fold { log, entries }),
        4 => prop_oneof![4 => 0..90_i64, 1 => 1_000..4_000_i64]
            .prop_map(|minutes| Step::Snapshot { minutes }),
        1 => Just(Step::Restart),
    ]
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The law of this place: whenever snapshots are taken, and however the logs are interleaved,
    /// every cut that is kept leads to the state that a replay from nothing has.
    #[test]
    fn every_kept_cut_leads_to_the_state_of_a_replay(steps in prop::collection::vec(step(), 1..90)) {
        block_on(async {
            let house = House::new();
            let (mut store, mut views, _) = house.start().await;
            let mut now = at("09:00");
            for step in &steps {
                match step {
                    Step::Snapshot { minutes } => {
                        now = now.plus(minutes * MINUTE);
                        store.snapshot(&views, now).await.unwrap();
                    }
                    Step::Restart => {
                        drop(store);
                        let loaded;
                        (store, views, loaded) = house.start().await;
                        prop_assert!(loaded.views.values().all(|view| view.discarded == 0));
                    }
                    step => house.step(step, &views).await,
                }
            }
            house.show(&views).await;
            let truth = house.truth().await;
            prop_assert_eq!(views.state_hashes(), truth.clone());
            for (view, _) in Views::revisions() {
                for cut in store.cuts(view).await.unwrap() {
                    let views = Views::new(Vec::new());
                    prop_assert!(store.load_at(&views, &cut).await.unwrap());
                    prop_assert_eq!(views.state_hashes()[view], cut.state_hash);
                    house.show(&views).await;
                    prop_assert_eq!(views.state_hashes(), truth.clone());
                }
            }
            Ok(())
        })?;
    }
}

/// What a view consists of, drawn as small numbers.
type Model = BTreeMap<String, u8>;

fn changed(revision: u32, offset: u64, parts: &[(u8, Option<u8>)]) -> Changed {
    let place = Place { offset: Offset(offset), hash: Hash::default() };
    let part =
        |(name, state): &(u8, Option<u8>)| (name.to_string(), state.map(|state| vec![state]));
    Changed {
        view: "prices",
        revision,
        cut: Cut { ledger: place, market: place },
        parts: parts.iter().map(part).collect(),
    }
}

fn apply(model: &mut Model, parts: &[(u8, Option<u8>)]) {
    for (name, state) in parts {
        match state {
            Some(state) => model.insert(name.to_string(), *state),
            None => model.remove(&name.to_string()),
        };
    }
}

async fn parts_at(store: &Store, cut: &KeptCut) -> Model {
    let database = store.database().await.unwrap();
    let mut read = database.read().await.unwrap();
    let parts = read.parts(cut).await.unwrap().unwrap();
    read.roll_back().await.unwrap();
    parts.into_iter().map(|(name, state)| (name, state[0])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a model that keeps every state whole: the cuts that stay have all their parts, and
    /// no part is left that none of them needs.
    #[test]
    fn a_part_stays_as_long_as_a_kept_cut_needs_it(
        snapshots in prop::collection::vec(
            (
                prop_oneof![3 => 1..50_i64, 1 => 500..3_000_i64],
                prop::collection::btree_map(0..6_u8, prop::option::weighted(0.7, 0..3_u8), 0..4),
                0..4_usize,
            ),
            1..50,
        ),
    ) {
        block_on(async {
            let house = House::new();
            let store = house.open().await;
            let mut written = Written::default();
            let (mut model, mut now, mut offset) = (Model::new(), at("09:00"), 0);
            let mut all = BTreeMap::new();
            for (minutes, parts, given_up) in &snapshots {
                (now, offset) = (now.plus(minutes * MINUTE), offset + 1);
                let parts: Vec<(u8, Option<u8>)> = parts.iter().map(|(n, s)| (*n, *s)).collect();
                apply(&mut model, &parts);
                written.take_in(changed(1, offset, &parts));
                // Now and then one is given up in the middle, and its changes come with the next.
                let whole = *given_up > 0
                    || polled(store.write(&mut written, now), 1 + usize::try_from(minutes % 40).unwrap())
                        .await
                        .is_some();
                if whole {
                    store.write(&mut written, now).await.unwrap();
                }
                let hash = |(name, state): (&String, &u8)| (name.clone(), Hash::of(&[*state]));
                all.insert(offset, (model.clone(), hash_of_parts(model.iter().map(hash))));
                let mut needed = BTreeSet::new();
                let stored = stored_parts(&house).await;
                let kept = cuts(&store).await;
                for cut in &kept {
                    let (state, hash) = &all[&cut.cut.market.offset.0];
                    prop_assert_eq!(&parts_at(&store, cut).await, state);
                    prop_assert_eq!(cut.state_hash, *hash);
                    for name in 0..6_u8 {
                        let at_cut = |(stored, number): &&(String, u64)| {
                            *stored == name.to_string() && *number <= cut.number
                        };
                        needed.extend(stored.iter().filter(at_cut).max());
                    }
                }
                prop_assert_eq!(needed.into_iter().cloned().collect::<BTreeSet<_>>(), stored);
                let times: Vec<_> =
                    kept.iter().rev().map(|cut| (cut.number, cut.taken_at)).collect();
                prop_assert_eq!(thinning::staying(&times).len(), times.len());
            }
            Ok(())
        })?;
    }
}

async fn cuts(store: &Store) -> Vec<KeptCut> {
    let database = store.database().await.unwrap();
    let mut read = database.read().await.unwrap();
    let cuts = read.cuts("prices", 1).await.unwrap();
    read.roll_back().await.unwrap();
    cuts
}

async fn stored_parts(house: &House) -> BTreeSet<(String, u64)> {
    let rows = house.sql("SELECT name, number FROM part").await;
    let part = |row| {
        let number: i64 = sqlx::Row::get(row, 1);
        (sqlx::Row::get::<String, _>(row, 0), number.cast_unsigned())
    };
    rows.iter().map(part).collect()
}

#[tokio::test]
async fn only_what_changed_is_written() {
    let house = busy(12).await;
    let (store, views, _) = house.start().await;
    house.show(&views).await;
    let first = store.snapshot(&views, at("09:00")).await.unwrap();
    assert!(first.views == 5 && first.parts > 5, "{first:?}");
    assert_eq!(store.snapshot(&views, at("09:01")).await.unwrap(), Snapshot::default());

    let trade = Step::Trade { instrument: 0, minutes: 1, prices: vec![99] };
    house.step(&trade, &views).await;
    house.show(&views).await;
    let second = store.snapshot(&views, at("09:02")).await.unwrap();
    assert!(second.views == 5 && second.parts < first.parts, "{second:?} after {first:?}");
}

#[tokio::test]
async fn a_part_that_is_told_anew_and_is_the_same_is_not_written() {
    let house = House::new();
    let store = house.open().await;
    let mut written = Written::default();
    written.take_in(changed(1, 1, &[(1, Some(1)), (2, Some(2))]));
    store.write(&mut written, at("09:00")).await.unwrap();
    written.take_in(changed(1, 2, &[(1, Some(1)), (2, Some(3))]));
    written.take_in(changed(1, 3, &[(2, Some(2)), (3, None)]));

    let snapshot = store.write(&mut written, at("09:01")).await.unwrap();
    assert_eq!(snapshot, Snapshot { views: 1, parts: 0, bytes: 0 });
    let cuts = cuts(&store).await;
    assert_eq!(cuts[0].cut.market.offset, Offset(3));
    assert_eq!(parts_at(&store, &cuts[0]).await, Model::from([("1".into(), 1), ("2".into(), 2)]));
}

/// A commit that was not heard of has thinned away what it took the place of.
#[tokio::test]
async fn what_changes_back_after_a_commit_that_was_not_heard_of_is_written_again() {
    let mut polls = 1;
    loop {
        let house = House::new();
        let store = house.open().await;
        let mut written = Written::default();
        for (offset, state) in [(1, 0), (2, 1)] {
            written.take_in(changed(1, offset, &[(7, Some(state))]));
            store.write(&mut written, at("09:00")).await.unwrap();
        }
        written.take_in(changed(1, 3, &[(7, Some(2))]));
        let done = polled(store.write(&mut written, at("09:01")), polls).await;
        written.take_in(changed(1, 4, &[(7, Some(1))]));
        store.write(&mut written, at("09:02")).await.unwrap();

        let newest = cuts(&store).await.remove(0);
        assert_eq!(newest.cut.market.offset, Offset(4));
        assert_eq!(parts_at(&store, &newest).await, Model::from([("7".into(), 1)]), "{polls}");
        if done.is_some() {
            break;
        }
        polls += 1;
    }
    // How many depends on how fast the file answers.
    assert!(polls > 2, "{polls}");
}

#[tokio::test]
async fn rows_of_an_older_revision_stay_until_the_new_one_has_come_as_far() {
    let house = House::new();
    let store = house.open().await;
    let mut old = Written::default();
    for offset in [7, 9] {
        old.take_in(changed(1, offset, &[(1, Some(1))]));
        store.write(&mut old, at("09:00").plus(7 * DAY)).await.unwrap();
    }
    let revisions = "SELECT DISTINCT revision FROM cut UNION SELECT DISTINCT revision FROM part \
                     ORDER BY revision";
    let stand = async || {
        let rows = house.sql(revisions).await;
        rows.iter().map(|row| sqlx::Row::get(row, 0)).collect::<Vec<i64>>()
    };
    let mut new = Written::default();
    for (offset, left) in [(5, vec![1, 2]), (8, vec![1, 2]), (9, vec![2])] {
        new.take_in(changed(2, offset, &[(1, Some(2))]));
        store.write(&mut new, at("09:00")).await.unwrap();
        assert_eq!(stand().await, left, "{offset}");
    }
}

#[tokio::test]
async fn views_of_another_revision_are_folded_anew() {
    let house = busy(12).await;
    let (store, views, _) = house.start().await;
    house.show(&views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    drop(store);
    for table in ["cut", "part"] {
        house.sql(&format!("UPDATE {table} SET revision = revision - 1")).await;
    }

    let (store, views, loaded) = house.start().await;
    assert!(loaded.views.values().all(|view| view.kept.is_none() && view.discarded == 0));
    house.show(&views).await;
    assert_eq!(views.state_hashes(), house.truth().await);
    store.snapshot(&views, at("09:00")).await.unwrap();
    let (_, views, loaded) = {
        drop(store);
        house.start().await
    };
    assert!(loaded.views.values().all(|view| view.kept.is_some()), "{loaded:?}");
    assert_eq!(views.state_hashes(), house.truth().await);
    assert_eq!(house.count("SELECT COUNT(*) FROM cut").await, 5);
}

#[tokio::test]
async fn the_newest_cut_is_the_least_that_all_views_have() {
    let house = House::new();
    let store = house.open().await;
    assert_eq!(store.newest_cut().await.unwrap(), None);
    {
        let mut written = store.0.written.lock().await;
        for (view, offset) in
            [("prices", 4), ("candles", 3), ("books", 5), ("holdings", 6), ("access", 7)]
        {
            written.take_in(Changed { view, ..changed(1, offset, &[(1, Some(1))]) });
            assert_eq!(written.newest_cut(), None);
        }
        store.write(&mut written, at("09:00")).await.unwrap();
    }
    let newest = store.newest_cut().await.unwrap().unwrap();
    assert_eq!((newest.ledger.offset, newest.market.offset), (Offset(3), Offset(3)));
}

/// Takes a snapshot of a busy world, and loads it beside these logs.
async fn check_foreign(ledger: &dyn ReadLog, market: &dyn ReadLog, house: &House, told: Expect) {
    let (store, views, _) = house.start().await;
    house.show(&views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    drop(store);

    let views = Views::new(Vec::new());
    let loaded = house.open().await.load(&views, ledger, market).await;
    let told_now = match loaded {
        Ok(loaded) => format!("{:?}", loaded.views.values().map(|view| view.behind_floor).max()),
        Err(error @ StoreError::Foreign(_)) => error.to_string(),
        Err(error) => panic!("{error}"),
    };
    let path = house.path().display().to_string();
    told.assert_eq(&told_now.replace(&path, "read.db"));
}

#[tokio::test]
async fn a_log_that_lacks_what_was_folded_is_refused() {
    let house = busy(12).await;
    let short = House::new();
    for entry in house.market.read(Offset(0), 3).await.unwrap() {
        short.put(&entry.stream, entry.events).await;
    }
    check_foreign(house.ledger.as_ref(), short.market.as_ref(), &house, expect![[r#"the read store read.db does not belong to this market log: its view prices was folded up to offset 11, and the log ends at 3, so either it is another log, or entries that were acknowledged are missing in it; give it the logs that belong to it, or remove it, and it is built anew from the logs"#]]).await;
}

#[tokio::test]
async fn a_log_of_other_entries_is_refused() {
    let (house, other) = (busy(12).await, House::new());
    for _ in 0..30 {
        let trade = Step::Trade { instrument: 0, minutes: 1, prices: vec![1] };
        other.step(&trade, &Views::new(Vec::new())).await;
    }
    check_foreign(house.ledger.as_ref(), other.market.as_ref(), &house, expect!["the read store read.db does not belong to this market log: its view prices was folded up to another entry at offset 11 than the log holds; give it the logs that belong to it, or remove it, and it is built anew from the logs"]).await;
}

#[tokio::test]
async fn a_ledger_that_is_behind_the_archive_is_refused_when_no_snapshot_says_so() {
    let house = busy(12).await;
    let (store, _, _) = house.start().await;
    store.catch_up_archive(house.ledger.as_ref()).await.unwrap();
    drop(store);
    let (ledger, views) = (Memory::new(Log::Ledger), Views::new(Vec::new()));
    let loaded = house.open().await.load(&views, &ledger, house.market.as_ref()).await;
    let Err(StoreError::Foreign(foreign)) = loaded else { panic!("{loaded:?}") };
    assert_eq!((foreign.reader.as_str(), foreign.ends_at), ("archive", Some(Offset(0))));
}

/// A log whose oldest entries retention has dropped.
struct Trimmed<'a> {
    log: &'a Memory,
    floor: Offset,
}

#[async_trait]
impl ReadLog for Trimmed<'_> {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.log.read(after.max(self.floor), limit).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        self.log.read_stream(stream, after, limit).await
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        self.log.last(stream).await
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        self.log.tip(stream).await
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        Ok(self.floor)
    }

    async fn head(&self) -> Result<Offset, LogError> {
        self.log.head().await
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        self.log.wait_after(after).await
    }

    fn durability(&self) -> Durability {
        self.log.durability()
    }
}

#[tokio::test]
async fn a_snapshot_outlives_the_entries_that_it_was_folded_from() {
    let house = busy(12).await;
    let head = house.market.head().await.unwrap();
    for (floor, behind) in [(head.0 - 1, "Some(false)"), (head.0, "Some(false)")] {
        let market = Trimmed { log: &house.market, floor: Offset(floor) };
        let ledger = house.ledger.clone();
        let (store, views, _) = house.start().await;
        house.show(&views).await;
        store.snapshot(&views, at("09:00")).await.unwrap();
        drop(store);
        let views = Views::new(Vec::new());
        let loaded = house.open().await.load(&views, ledger.as_ref(), &market).await.unwrap();
        let behind_now = loaded.views.values().map(|view| view.behind_floor).max();
        assert_eq!(format!("{behind_now:?}"), behind);
        assert_eq!(views.state_hashes(), house.truth().await);
    }
}

#[tokio::test]
async fn a_snapshot_before_the_floor_is_loaded_and_says_what_is_missing() {
    let house = busy(12).await;
    let (store, views, _) = house.start().await;
    house.show(&views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    drop(store);
    let floor = house.market.head().await.unwrap();
    for _ in 0..3 {
        let trade = Step::Trade { instrument: 0, minutes: 1, prices: vec![1] };
        house.step(&trade, &views).await;
    }
    let market = Trimmed { log: &house.market, floor: Offset(floor.0 + 1) };

    let loaded = house
        .open()
        .await
        .load(&Views::new(Vec::new()), house.ledger.as_ref(), &market)
        .await
        .unwrap();
    assert!(loaded.views.values().all(|view| view.behind_floor && view.kept.is_some()));
}

#[tokio::test]
async fn a_cut_that_is_not_sound_gives_way_to_the_one_before() {
    for harm in [
        "UPDATE cut SET taken_at = taken_at + 1 WHERE number = 2",
        "UPDATE cut SET state_hash = zeroblob(32) WHERE number = 2",
        "UPDATE cut SET market_hash = 'text' WHERE number = 2",
        "UPDATE part SET state = x'7b7d' WHERE number = 2",
        "UPDATE part SET name = name || 'x' WHERE number = 2",
        "UPDATE part SET name = CAST(x'ff' AS TEXT) WHERE number = 2 AND name IN \
         (SELECT MIN(name) FROM part other WHERE other.view = part.view AND number = 2)",
        "DELETE FROM part WHERE number = 2",
    ] {
        let house = busy(12).await;
        let (store, views, _) = house.start().await;
        for _ in 0..2 {
            for step in [
                Step::Fold { log: Log::Market, entries: 6 },
                Step::Fold { log: Log::Ledger, entries: 4 },
            ] {
                house.step(&step, &views).await;
            }
            store.snapshot(&views, at("09:00")).await.unwrap();
        }
        drop(store);
        house.sql(harm).await;

        let (store, views, loaded) = house.start().await;
        for (view, loaded) in &loaded.views {
            let number = loaded.kept.as_ref().map(|kept| kept.number);
            assert_eq!((number, loaded.discarded), (Some(1), 1), "{view}: {harm}");
        }
        house.show(&views).await;
        assert_eq!(views.state_hashes(), house.truth().await, "{harm}");
        // What is written next takes the place of what was not sound.
        store.snapshot(&views, at("09:00")).await.unwrap();
        drop(store);
        let (_, views, loaded) = house.start().await;
        assert!(loaded.views.values().all(|view| view.discarded == 0), "{harm}");
        assert_eq!(views.state_hashes(), house.truth().await, "{harm}");
    }
}

#[tokio::test]
async fn a_copy_beside_a_running_server_is_a_store_of_its_own() {
    let house = busy(12).await;
    let (store, views, _) = house.start().await;
    house.show(&views).await;
    store.snapshot(&views, at("09:00")).await.unwrap();
    let (from, other) = (house.path(), house.again());
    copy(&from, &other.path()).await.unwrap();

    let (_, copied, _) = other.start().await;
    assert_eq!(copied.state_hashes(), views.state_hashes());
    let twice = copy(&from, &other.path()).await.unwrap_err().to_string();
    assert!(twice.ends_with("is there already: give another file"), "{twice}");
    assert!(copy(&other.path().join("none"), &other.path().join("to")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_loop_writes_what_changed_and_a_last_time_at_the_end() {
    let house = busy(12).await;
    let (store, views, _) = house.start().await;
    let views = Arc::new(views);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let clock: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(|| at("09:00"));
    let task = tokio::spawn(snapshots(store.clone(), views.clone(), clock, async {
        drop(stopped.await);
    }));
    house.step(&Step::Fold { log: Log::Market, entries: 4 }, &views).await;
    house.step(&Step::Fold { log: Log::Ledger, entries: 1 }, &views).await;
    let mut newest = None;
    while newest.is_none() {
        tokio::time::sleep(REST).await;
        newest = store.newest_cut().await.unwrap();
    }
    assert_eq!(newest.map(|cut| cut.market.offset), Some(Offset(4)));

    house.show(&views).await;
    stop.send(()).unwrap();
    task.await.unwrap();
    let newest = store.newest_cut().await.unwrap().unwrap();
    assert_eq!(newest.market.offset, house.market.head().await.unwrap());
}
