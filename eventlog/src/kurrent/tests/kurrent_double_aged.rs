//! What KurrentDB may drop, and what stays known of streams whose entries it has dropped.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::*;
use crate::keep::{KeepError, Kept};
use crate::kurrent::double::store::Event;
use crate::remote::tips::kept_as;

const DAYS_4: Duration = Duration::from_hours(4 * 24);

/// What was kept, in memory.
#[derive(Default)]
struct Kitchen(Mutex<BTreeMap<String, Kept>>);

#[async_trait]
impl Keep for Kitchen {
    async fn load(&self, name: &str) -> Result<Option<Kept>, KeepError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }

    async fn save(&self, name: &str, kept: Kept) -> Result<(), KeepError> {
        self.0.lock().unwrap().insert(name.to_owned(), kept);
        Ok(())
    }
}

fn kept_in(kitchen: &Arc<Kitchen>, options: Options) -> Options {
    Options { keep: Some(Arc::clone(kitchen) as Arc<dyn Keep>), ..options }
}

fn short() -> Options {
    Options { market_age: DAYS_4, ..fresh() }
}

/// Returns what stands in the settings of a stream, oldest first.
fn settings(double: &Double, options: &Options, stream: &Stream) -> Vec<Value> {
    let name = format!("$${}{stream}", options.prefix);
    let stored = double.stored(&name);
    stored.iter().map(|record| serde_json::from_slice(&record.event.data).unwrap()).collect()
}

fn set(double: &Double, options: &Options, stream: &Stream, settings: &Value) {
    let event = Event {
        id: uuid::Uuid::from_u128(double.end().into()),
        kind: "$metadata".to_owned(),
        content_type: "application/json".to_owned(),
        data: settings.to_string().into(),
        metadata: bytes::Bytes::new(),
    };
    double.put(&format!("$${}{stream}", options.prefix), event);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_age_is_set_once_in_seconds_and_only_on_market_streams() {
    let double = Double::start().unwrap();
    let options = short();
    set(&double, &options, &stream(2), &json!({"$acl": {"$r": "ann"}, "$maxAge": 5}));
    let log = open(&double, Log::Market, &options).await;
    for id in 1..=6 {
        append(&log, &stream(1 + id % 2), id).await;
    }
    drop(log);
    append(&open(&double, Log::Market, &options).await, &stream(1), 7).await;

    assert_eq!(settings(&double, &options, &stream(1)), [json!({"$maxAge": 345_600})]);
    let acl = json!({"$acl": {"$r": "ann"}, "$maxAge": 345_600});
    assert_eq!(settings(&double, &options, &stream(2)).last(), Some(&acl));
    assert_eq!(settings(&double, &options, &stream(2)).len(), 2);

    // Another configuration, and one that keeps all.
    let longer = Options { market_age: Duration::from_millis(7_500), ..options.clone() };
    append(&open(&double, Log::Market, &longer).await, &stream(1), 8).await;
    let now = settings(&double, &options, &stream(1));
    assert_eq!(now.last(), Some(&json!({"$maxAge": 8})), "never less than configured");
    let always = Options { market_age: Duration::ZERO, ..options.clone() };
    append(&open(&double, Log::Market, &always).await, &stream(2), 9).await;
    let now = settings(&double, &options, &stream(2));
    assert_eq!(now.last(), Some(&json!({"$acl": {"$r": "ann"}})));

    let ledger = open(&double, Log::Ledger, &options).await;
    append(&ledger, &Stream::System, 1).await;
    assert_eq!(settings(&double, &options, &Stream::System), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_be_put_in_let_nothing_through() {
    let double = Double::start().unwrap();
    let options = Options { patience: Duration::from_millis(300), ..short() };
    let log = open(&double, Log::Market, &options).await;
    double.refuse_appends(64);

    let answer = log.append(draft(&stream(1), 1, ticks(1, 1)), Expected::Any).await;

    assert!(matches!(answer, Err(LogError::Unavailable(_))), "nothing has left: {answer:?}");
    double.heal();
    append(&log, &stream(1), 1).await;
    assert_eq!(settings(&double, &options, &stream(1)), [json!({"$maxAge": 345_600})]);
}

async fn goes_on_where_it_was(is_kept: bool, is_scavenged: bool) {
    let double = Double::start().unwrap();
    let kitchen = Arc::default();
    let options = if is_kept { kept_in(&kitchen, short()) } else { short() };
    let log = open(&double, Log::Market, &options).await;
    for id in 1..=5 {
        append(&log, &stream(1), id).await;
        append(&log, &stream(2), 100 + id).await;
    }
    let tips = [log.tip(&stream(1)).await.unwrap(), log.tip(&stream(2)).await.unwrap()];
    let are_kept = || kitchen.0.lock().unwrap().values().filter(|it| it.version.0 == 5).count();
    if is_kept {
        until(async || (are_kept() == 2).then_some(())).await;
    }

    double.advance(DAYS_4 + Duration::from_secs(1));
    if is_scavenged {
        double.scavenge();
    }
    // Once in the process that has appended them, once in one that has only what is kept.
    for (place, log) in [(1, log), (2, open(&double, Log::Market, &options).await)] {
        let tip = tips[place - 1].unwrap();
        let place = stream(place as u128);
        assert_eq!(log.last(&place).await, Ok(None));
        assert_eq!(log.tip(&place).await, Ok(Some(tip)));
        let fresh = |id| draft(&place, id, ticks(1, 1));
        let conflict = Err(LogError::Conflict { actual: Some(Version(5)) });
        assert_eq!(log.append(fresh(900), Expected::Empty).await, conflict);
        assert_eq!(log.append(fresh(901), Expected::At(Version(4))).await, conflict);
        let next = log.append(fresh(902), Expected::At(Version(5))).await.unwrap();
        assert_eq!(next.version, Version(6));
        let last = log.last(&place).await.unwrap().unwrap();
        assert_eq!((last.version, last.prev_hash), (Version(6), tip.hash));
        assert_eq!(log.read_stream(&place, Version(0), 9).await.unwrap(), [last]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_has_aged_out_whole_goes_on_where_it_was() {
    // At once: what is kept is kept every few seconds.
    tokio::join!(
        goes_on_where_it_was(true, false),
        goes_on_where_it_was(true, true),
        goes_on_where_it_was(false, false),
        goes_on_where_it_was(false, true),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_newest_entry_nobody_shows_is_never_begun_anew() {
    let double = Double::start().unwrap();
    let kitchen: Arc<Kitchen> = Arc::default();
    let options = short();
    let log = open(&double, Log::Market, &options).await;
    for id in 1..=5 {
        append(&log, &stream(1), id).await;
    }
    let Tip { hash, .. } = log.tip(&stream(1)).await.unwrap().unwrap();
    drop(log);
    double.advance(DAYS_4 + Duration::from_secs(1));
    double.hide(&format!("{}{}", options.prefix, stream(1)), 4);

    // What was kept is older than the newest.
    let state = [&hash.0[..], &3_u64.to_le_bytes()].concat();
    let old = Kept { revision: 1, version: Version(4), state };
    kitchen.save(&kept_as(&stream(1)), old).await.unwrap();
    let log = open(&double, Log::Market, &kept_in(&kitchen, options.clone())).await;
    // It has seen the others, in the database, and not the newest.
    for expected in [Expected::Any, Expected::Empty, Expected::At(Version(4))] {
        let answer = log.append(draft(&stream(1), 9, ticks(9, 1)), expected).await;
        assert!(matches!(answer, Err(LogError::Damaged { .. })), "{answer:?}");
    }
    assert_eq!(double.stored(&format!("{}{}", options.prefix, stream(1))).len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_scavenged_is_a_known_gap_though_a_stream_at_rest_stands_before_it() {
    let double = Double::start().unwrap();
    let options = short();
    let log = open(&double, Log::Market, &options).await;
    append(&log, &stream(9), 1_000).await;
    for id in 1..=100 {
        append(&log, &stream(id % 3), id).await;
    }
    double.advance(DAYS_4 + Duration::from_secs(1));
    for id in 101..=160 {
        append(&log, &stream(id % 3), id).await;
    }
    let all = read_all(&log).await;
    assert_eq!(open(&double, Log::Market, &options).await.floor().await, Ok(Offset(0)));

    double.scavenge();

    // One with nothing in memory.
    let log = open(&double, Log::Market, &options).await;
    let floor = log.floor().await.unwrap();
    let held = read_all(&log).await;
    assert_eq!(held[0].stream, stream(9));
    let (gone, left) = (&all[..101], &all[101..]);
    assert_eq!(&held[1..], left, "and it reads on behind the gap");
    assert!(gone.iter().all(|entry| entry.offset <= floor), "what is gone is told of: {floor}");
    let known = left.iter().filter(|entry| entry.offset <= floor).count();
    assert!(known < 3, "hardly more is: {known}");
    for after in [0, 7, 50, 99] {
        let read = log.read(all[after].offset, 3).await.unwrap();
        assert_eq!(read, left[..3]);
    }
    for place in 0..3 {
        let own: Vec<_> = left.iter().filter(|it| it.stream == stream(place)).cloned().collect();
        assert_eq!(log.read_stream(&stream(place), Version(0), 99).await, Ok(own));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_while_entries_were_scavenged_is_told_of_no_damage() {
    let double = Double::start().unwrap();
    let options = short();
    let log = open(&double, Log::Market, &options).await;
    append(&log, &stream(1), 1).await;
    let reader = open(&double, Log::Market, &options).await;
    let read = reader.shared.raws(Offset(0), 9).await.unwrap();
    for id in 2..=9 {
        append(&log, &stream(1), id).await;
    }
    double.advance(DAYS_4 + Duration::from_secs(1));
    for id in 10..=12 {
        append(&log, &stream(1), id).await;
    }
    double.scavenge();

    let (mut at, mut versions) = (read.last().unwrap().offset, Vec::new());
    while versions.len() < 3 {
        let raws = reader.shared.raws(at, 9).await.unwrap();
        at = raws.last().unwrap().offset;
        versions.extend(raws.iter().map(|raw| raw.place().unwrap().version));
    }
    assert_eq!(versions, [Version(10), Version(11), Version(12)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_would_lose_entries_is_refused_and_told_of() {
    let double = Double::start().unwrap();
    let kitchen = Arc::default();
    let options = kept_in(&kitchen, fresh());
    let account: Stream = "account-alice".parse().unwrap();
    let log = open(&double, Log::Ledger, &options).await;
    append(&log, &account, 1).await;
    assert_eq!(log.standing(), Standing::Good);

    for setting in ["$maxAge", "$maxCount", "$tb"] {
        set(&double, &options, &account, &json!({setting: 9, "$acl": {}}));
        let told = until(async || match log.standing() {
            Standing::Degraded { reason, advice } => Some((reason, advice)),
            Standing::Good | Standing::Down { .. } => None,
        });
        let (reason, advice) = told.await;
        assert!(reason.contains(setting) && reason.contains("account-alice"), "{reason}");
        assert!(advice.is_some());

        let address = double.url().parse().unwrap();
        let refused = Kurrent::open(address, Log::Ledger, options.clone()).await.err();
        let Some(LogError::Unavailable(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains(setting), "{text}");

        set(&double, &options, &account, &json!({"$acl": {}}));
        until(async || (log.standing() == Standing::Good).then_some(())).await;
    }
    open(&double, Log::Ledger, &options).await;
    // Of the market it is nobody's business.
    set(&double, &options, &stream(1), &json!({"$maxCount": 9}));
    assert_eq!(open(&double, Log::Market, &options).await.standing(), Standing::Good);
    assert_eq!(open(&double, Log::Ledger, &options).await.standing(), Standing::Good);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_were_looked_at_are_not_looked_at_again() {
    let double = Double::start().unwrap();
    let kitchen: Arc<Kitchen> = Arc::default();
    let options = kept_in(&kitchen, fresh());
    let account = |number| format!("account-a{number}").parse::<Stream>().unwrap();
    for number in 0..200 {
        set(&double, &options, &account(number), &json!({"$acl": {}}));
    }
    let log = open(&double, Log::Ledger, &options).await;
    append(&log, &account(1), 1).await;
    drop(log);
    let kept = || kitchen.0.lock().unwrap()["settings.ledger"].version;
    let first = kept();

    // So slow that a look at all of them would take longer than is waited here.
    double.slow_reads(Duration::from_millis(20));
    let begun = Instant::now();
    drop(open(&double, Log::Ledger, &options).await);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(kept() > first);
    double.slow_reads(Duration::ZERO);

    // What is kept of a database that has gone further, and of one that has other records.
    for place in [double.end() + 1_000, double.end() - 3, 1] {
        let version = Version(place);
        let state = options.prefix.as_bytes().to_vec();
        let kept = Kept { revision: 1, version, state };
        kitchen.save("settings.ledger", kept).await.unwrap();
        set(&double, &options, &account(5), &json!({"$tb": 1}));
        let address = double.url().parse().unwrap();
        let refused = Kurrent::open(address, Log::Ledger, options.clone()).await.err();
        assert!(matches!(refused, Some(LogError::Unavailable(_))), "{place}: {refused:?}");
        set(&double, &options, &account(5), &json!({}));
        drop(open(&double, Log::Ledger, &options).await);
    }
}
