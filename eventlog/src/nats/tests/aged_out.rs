//! Streams whose entries retention has dropped: what stays known, and that versions go on.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::keep::{KeepError, Kept};

/// What was kept, in memory.
#[derive(Default)]
struct Kitchen(Mutex<BTreeMap<String, Kept>>);

#[async_trait]
impl Keep for Kitchen {
    async fn load(&self, name: &str) -> Result<Option<Kept>, KeepError> {
        Ok(self.0.lock().expect("nobody panics with it").get(name).cloned())
    }

    async fn save(&self, name: &str, kept: Kept) -> Result<(), KeepError> {
        self.0.lock().expect("nobody panics with it").insert(name.to_owned(), kept);
        Ok(())
    }
}

fn short(keep: &Arc<Kitchen>) -> Options {
    let keep: Arc<dyn Keep> = Arc::clone(keep) as Arc<dyn Keep>;
    Options { market_age: Duration::from_secs(4), keep: Some(keep), ..fresh(1) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_has_aged_out_whole_goes_on_where_it_was() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let keep = Arc::default();
    let options = short(&keep);
    let log = open(&client, Log::Market, &options).await;
    for id in 1..=5 {
        append(&log, &stream(1), id).await;
        append(&log, &stream(2), 100 + id).await;
    }
    let tips = [log.tip(&stream(1)).await.unwrap(), log.tip(&stream(2)).await.unwrap()];
    until(async || {
        Some(()).filter(|()| {
            keep.0.lock().unwrap().values().filter(|kept| kept.version == Version(5)).count() == 2
        })
    })
    .await;

    until(async || log.last(&stream(1)).await.unwrap().is_none().then_some(())).await;
    until(async || log.last(&stream(2)).await.unwrap().is_none().then_some(())).await;
    until(async || log.floor().await.ok().filter(|floor| *floor == Offset(10))).await;
    assert_eq!((log.head().await, log.read(Offset(0), 9).await), (Ok(Offset(10)), Ok(vec![])));

    // Once in the process that has appended them, once in one that has only what was kept.
    for (place, log) in [(1, log), (2, open(&client, Log::Market, &options).await)] {
        let tip = tips[place - 1].unwrap();
        let place = stream(place as u128);
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
async fn a_tip_that_nobody_has_kept_is_kept_by_the_next_who_opens() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let keep: Arc<Kitchen> = Arc::default();
    let options = Options { keep: None, ..short(&keep) };
    let log = open(&client, Log::Market, &options).await;
    append(&log, &stream(1), 1).await;
    drop(log);

    let options = Options { keep: Some(Arc::clone(&keep) as Arc<dyn Keep>), ..options };
    let log = open(&client, Log::Market, &options).await;

    until(async || keep.load(&crate::remote::tips::kept_as(&stream(1))).await.unwrap()).await;
    until(async || log.last(&stream(1)).await.unwrap().is_none().then_some(())).await;
    drop(log);
    let log = open(&client, Log::Market, &options).await;
    assert_eq!(append(&log, &stream(1), 2).await.version, Version(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tip_that_another_node_has_not_kept_is_kept_by_who_reads_of_it() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let keep: Arc<Kitchen> = Arc::default();
    let options = Options { market_age: Duration::from_mins(1), ..short(&keep) };
    let writer = Options { keep: None, ..options.clone() };
    let writer = open(&client, Log::Market, &writer).await;
    append(&writer, &stream(1), 1).await;
    let reader = open(&client, Log::Market, &options).await;
    let kept = async || keep.load(&crate::remote::tips::kept_as(&stream(1))).await.unwrap();
    until(kept).await;

    append(&writer, &stream(1), 2).await;
    drop(writer);

    until(async || kept().await.filter(|kept| kept.version == Version(2))).await;
    assert_eq!(reader.tip(&stream(1)).await.unwrap().map(|tip| tip.version), Some(Version(2)));
}

#[tokio::test]
async fn what_was_dropped_for_want_of_bytes_is_a_known_gap() {
    let Some(cluster) = Cluster::single(Settings::default()).await else { return };
    let client = cluster.client().await;
    let options = Options { market_bytes: 20_000, ..fresh(1) };
    let log = open(&client, Log::Market, &options).await;
    for id in 1..=100 {
        append(&log, &stream(id % 3), id).await;
    }
    // A reader with nothing in memory.
    let log = open(&client, Log::Market, &options).await;

    let floor = log.floor().await.unwrap();
    assert!(floor > Offset(20) && floor < Offset(99), "{floor}");
    let entries = read_all(&log).await;
    assert_eq!(entries.len() as u64, 100 - floor.0);
    assert_eq!(entries[0].offset, Offset(floor.0 + 1));
    assert_eq!(log.read(Offset(floor.0 / 2), 1).await.unwrap(), entries[..1]);
    for place in 0..3 {
        let own: Vec<_> = entries.iter().filter(|it| it.stream == stream(place)).cloned().collect();
        assert_eq!(log.read_stream(&stream(place), Version(0), 99).await, Ok(own));
    }
}
