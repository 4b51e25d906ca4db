//! A whole log goes from files to JetStream and back, and every byte of it is the same.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use eventlog::embedded::{Embedded, Options};
use eventlog::entry::{Entry, Hash, Version};
use eventlog::files::Disk;
use eventlog::log::ReadLog;
use eventlog::stream::{Log, Stream};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::cluster::judge;
use crate::cluster::site::Site;
use crate::data;
use crate::faults::Lots;
use crate::house::{House, command, folder, output};
use crate::journeys::until_played;

/// Times that a copy is killed before it comes to its end.
const KILLS: usize = 3;

pub(crate) fn open(data: &Path, log: Log) -> Embedded {
    let files = Disk::open(data.join(log.as_str())).expect("the log's folder");
    Embedded::open(Arc::new(files), log, Options::default()).expect("a log to open").0
}

/// What must be the same in every copy: all but the offsets.
pub(crate) fn places(entries: &[Entry]) -> Vec<(&Stream, Version, Hash)> {
    entries.iter().map(|entry| (&entry.stream, entry.version, entry.hash)).collect()
}

pub(crate) async fn both(ledger: &dyn ReadLog, market: &dyn ReadLog) -> [Vec<Entry>; 2] {
    [judge::entries(ledger).await, judge::entries(market).await]
}

/// Brings the logs in `one` to another place, and from there into `two`. Ended rudely at any moment, a copy
/// goes on where it was.
pub(crate) async fn there_and_back(folder: &TempDir, place: &str) {
    let there = ["log", "copy", "--from", "embedded:one", "--to", place];
    let mut lots = Lots::draw("copying");
    for _ in 0..KILLS {
        let mut copying = command(folder, &there).stderr(Stdio::null()).spawn().expect("a start");
        // The moment of the end is no synchronisation.
        sleep(Duration::from_millis(50 + lots.below(400))).await;
        copying.kill().await.expect("a process of our own");
    }
    output(folder, &there).await;
    output(folder, &["log", "copy", "--from", place, "--to", "embedded:two"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_went_to_jetstream_and_back_is_the_same() {
    let Some(site) = Site::one().await else { return };
    let folder = folder();
    let recording = match data::recordings() {
        Some(recorded) => recorded.join("recordings/binance_spot_btcusdt_20240808.rec.gz"),
        None => data::small_recording(),
    };
    let feed = format!("recording:{}?venue=binance&symbol=BTC-USDT", recording.display());
    let house = House::start(&folder, ["serve", "--data", "one", "--feed", &feed]).await;
    until_played(&house).await;
    let opened = house.post("/v1/operator/accounts", &json!({ "account": "demo" })).await;
    assert_eq!(opened.status, 201, "{}", opened.body);
    for number in 1..=20 {
        let amount = json!({ "amount": format!("{number}.50") });
        let funded = house.post("/v1/operator/accounts/demo/deposits", &amount).await;
        assert_eq!(funded.status, 201, "{}", funded.body);
    }
    assert!(house.stop().await.success());

    there_and_back(&folder, &site.brokers.url()).await;

    let at = |name: &str, log| open(&folder.path().join(name), log);
    let first = both(&at("one", Log::Ledger), &at("one", Log::Market)).await;
    let middle = both(&site.log(Log::Ledger).await, &site.log(Log::Market).await).await;
    let last = both(&at("two", Log::Ledger), &at("two", Log::Market)).await;
    let hashes = judge::state_hashes(&first[0], &first[1]);
    assert!(first.iter().all(|entries| entries.len() > 20), "something was copied");
    for copied in [&middle, &last] {
        for (ours, theirs) in first.iter().zip(copied) {
            assert_eq!(places(ours), places(theirs));
            judge::assert_whole(theirs);
        }
        assert_eq!(judge::state_hashes(&copied[0], &copied[1]), hashes);
    }

    // The copy is a log like any other: a house goes on with it.
    let house = House::start(&folder, ["serve", "--data", "two", "--feed", &feed]).await;
    let account = house.get("/v1/portfolio/account").await;
    assert_eq!((account.status, &account.body["free"]), (200, &json!("220.00")), "{account:?}");
    assert!(house.stop().await.success());
}
