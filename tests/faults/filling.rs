//! The disk fills up under a running house, and is emptied again, many times over.

use std::collections::BTreeSet;
use std::time::Duration;

use eventlog::entry::Offset;
use eventlog::stream::Log;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::faults::fat::{Fat, Shape};
use crate::faults::snapshots;
use crate::faults::space::{self, Space};
use crate::faults::{Lots, assert_holds, assert_whole, hear, recorded};
use crate::house::{House, folder, output};
use crate::journeys::until_played;
use crate::restart;
use crate::tools::times;

/// How often the disk fills up while one recording is played.
const FILLS: usize = 20;

/// Bytes of the disk: room for two segments, what is made ahead of a third, and the read store.
const DISK_BYTES: u64 = 288 << 20;

/// What is recorded fills a segment and more.
const SHAPE: Shape = Shape { steps: 1_000, step_ms: 100, levels: 2_000 };

/// A filled disk leaves at most so many bytes: less than the log grows by at once.
const LEFT_BYTES: u64 = 2 << 20;

/// What is given back: room for the log to grow a little, or for a whole segment ahead.
const FREED_BYTES: [u64; 2] = [12 << 20, 80 << 20];

/// Entries between two fills, at most.
const BETWEEN_ENTRIES: u64 = 10;

/// Entries that the log may still take after the disk has filled up, before this goes on: what it
/// had made room for by then may be a whole segment.
const PREPARED_ENTRIES: u64 = 60;

/// A house that does not answer a reader within this time does not serve.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What the log lines of a house that waits for space say.
const NO_SPACE: &str = "the log has no space left";

async fn ready(house: &House) -> Value {
    let asked = timeout(ANSWER_MAX, house.get("/readyz")).await;
    let ready = asked.expect("an answer, whatever the disk does");
    assert_eq!(ready.status, 200, "{ready:?}");
    ready.body
}

fn head(ready: &Value) -> u64 {
    ready["views"]["market"]["head"].as_u64().expect("a head")
}

fn is_over(ready: &Value) -> bool {
    ready["feeds"][0]["state"] == "finished"
}

/// A reader is served, whether the disk is full or not.
async fn assert_serves(house: &House) {
    for path in ["price/BTC-USDT", "history/BTC-USDT?interval=1m", "orderbook/BTC-USDT"] {
        let path = format!("/v1/market/{path}");
        let asked = timeout(ANSWER_MAX, house.get(&path)).await;
        let answer = asked.expect("an answer, whatever the disk does");
        assert_eq!(answer.status, 200, "{path}: {answer:?} {}", house.get("/readyz").await.body);
    }
}

/// Asks until the log has come so far, or there is nothing more to record. Returns how far it is.
async fn until_head(house: &House, wished: u64) -> Value {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let ready = ready(house).await;
        if head(&ready) >= wished || is_over(&ready) {
            return ready;
        }
        assert!(Instant::now() < deadline, "{wished} is not reached: {ready}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Fills the disk until the house says that its log has no space, or the log has gone on so far that
/// it will not notice. Returns whether it did.
async fn fill_once(house: &House, space: &Space, left: u64, freed: u64) -> bool {
    let complaints = |house: &House| house.said().matches(NO_SPACE).count();
    let (before, from) = (complaints(house), head(&ready(house).await));
    space.fill(left);
    let felt = loop {
        let ready = ready(house).await;
        assert_serves(house).await;
        if complaints(house) > before {
            break true;
        }
        if head(&ready) > from + PREPARED_ENTRIES || is_over(&ready) {
            break false;
        }
    };
    if felt {
        // Nothing is acknowledged that has no place.
        let (one, other) = (ready(house).await, ready(house).await);
        assert_eq!((head(&one), recorded(&one)), (head(&other), recorded(&other)));
    }
    space.free(freed);
    felt
}

/// Everything that was recorded stands in the logs once, and the views are their fold.
async fn assert_recorded(folder: &TempDir, fat: &Fat, seqs: &BTreeSet<u64>) {
    let log = restart::open(folder, Log::Market);
    let entries = restart::entries(&log).await;
    drop(log);
    assert_whole(Offset(0), &entries);
    assert_holds(&entries, seqs);
    let mut ids = restart::trade_ids(&entries);
    ids.sort_unstable();
    assert_eq!(ids, fat.trade_ids());
    assert_whole(Offset(0), &restart::entries(&restart::open(folder, Log::Ledger)).await);
    restart::assert_served_as_folded(folder, &fat.feed("max")).await;
}

async fn fill_again_and_again(lots: &mut Lots) {
    let folder = folder();
    let disk = folder.path().join("disk");
    let Some(space) = Space::mount(&disk, DISK_BYTES).await else { return };
    let fat = Fat::record(folder.path(), lots, SHAPE);
    space.fill(FREED_BYTES[0]);
    let (data, feed) = (space.data(), fat.feed("max"));
    // Who asks is outside of the space, and cannot look into it: the keys of tokens stand here too.
    output(&folder, &["token", "issue", "--account", "demo", "--data", "keys"]).await;
    let keys = folder.path().join("keys/private/token_keys.json");
    let keys = format!("[auth]\ntoken_keys = \"{}\"\n", keys.display());
    let config = folder.path().join("house.toml");
    std::fs::write(&config, keys).unwrap();
    let config = config.display().to_string();
    let words = ["serve", "--config", &config, "--data", &data, "--feed", &feed];
    let house = House::start_under(&folder, &space.runner(), words).await;
    house.until("/readyz", |ready| ready.status == 200).await;
    let heard = tokio::spawn(hear(house.host.clone()));

    let (mut at, mut count, mut felt, mut fills) = (0, 0, 0, 0);
    while fills < FILLS {
        let ready = until_head(&house, at + 1 + lots.below(BETWEEN_ENTRIES)).await;
        if is_over(&ready) {
            break;
        }
        assert!(recorded(&ready) >= count, "{count} were recorded, and now: {ready}");
        let left = if lots.below(2) == 0 { 0 } else { lots.below(LEFT_BYTES) };
        let given_back = FREED_BYTES[usize::from(lots.below(4) == 0)];
        felt += usize::from(fill_once(&house, &space, left, given_back).await);
        fills += 1;
        let after = ready_after(&house).await;
        (at, count) = (head(&after), recorded(&after));
        eprintln!("fill {fills}, {left} bytes left: {at} entries, {count} trades, {felt} felt");
    }
    space.free(DISK_BYTES);
    let ready = until_played(&house).await;
    assert_eq!(recorded(&ready), fat.trade_ids().len() as u64);
    house.until("/readyz", |ready| ready.body["read_store"]["status"] == "good").await;
    // Also without room for a last snapshot.
    space.fill(0);
    assert!(house.stop().await.success());
    let seqs = heard.await.expect("a listener without panic");

    space::copy(&space.data_from_outside(), &folder.path().join("data"));
    snapshots::assert_same(&folder.path().join("data")).await;
    assert_recorded(&folder, &fat, &seqs).await;
    assert!(fills >= FILLS / 2 && felt >= fills / 2, "{fills} fills, {felt} felt");
}

/// Waits until the log goes on.
async fn ready_after(house: &House) -> Value {
    let held = head(&ready(house).await);
    until_head(house, held + 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_recording_and_nothing_else() {
    let mut lots = Lots::draw("a full disk");
    for _ in 0..times(1) {
        fill_again_and_again(&mut lots).await;
    }
}
