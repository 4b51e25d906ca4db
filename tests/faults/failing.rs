//! Calls that fail under the whole house. It stops when its log cannot be trusted any more, says so,
//! and a start has everything that it had shown. Without its read store it goes on, and says that too.

use std::time::Duration;

use eventlog::entry::Offset;
use eventlog::stream::Log;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::faults::fat::{Fat, Shape};
use crate::faults::injected::{self, Fault};
use crate::faults::{Lots, assert_holds, assert_whole, hear, recorded, snapshots};
use crate::house::{Answer, House, folder};
use crate::journeys::until_played;
use crate::restart;
use crate::tools::times;

/// Two hours and a half: two of them close, and are recorded in the ledger.
const SHAPE: Shape = Shape { steps: 300, step_ms: 30_000, levels: 100 };

/// It is played within seconds: slowly enough that somebody listens before the first fault.
const SPEED: &str = "3000";

/// The call of the writer that fails is among so many.
const CALLS: u64 = 200;

/// Calls of one thread that begin a segment: its header and its zeros, and their sync. The writer has
/// a count of its own; a fault behind these hits nobody else.
const WRITES_FIRST: u64 = 90;
const SYNCS_FIRST: u64 = 30;

/// Time within which the fault has come and the house has stopped.
const STOPS_MAX: Duration = Duration::from_secs(30);

/// Runs a house under a fault of its log until it ends, and again without.
async fn assert_stops_and_goes_on(fat: &Fat, folder: &TempDir, fault: &Fault) {
    let trace = folder.path().join("trace");
    let feed = fat.feed(SPEED);
    let words = ["serve", "--feed", &feed];
    let house = House::start_under(folder, &injected::runner(&trace, Some(fault)), words).await;
    house.until("/readyz", |ready| ready.status == 200).await;
    let heard = timeout(STOPS_MAX, hear(house.host.clone())).await;
    let seqs = heard.unwrap_or_else(|_| panic!("{fault:?} did not stop the house"));
    let said = house.said();
    let status = house.ended().await;
    assert!(injected::has_failed(&trace), "{fault:?} hit nothing");
    assert_eq!(status.code(), Some(1), "{fault:?}: {said}");
    assert!(said.contains("the log has stopped"), "{fault:?}: {said}");

    let before = restart::entries(&restart::open(folder, Log::Market)).await;
    assert_holds(&before, &seqs);
    let feed = fat.feed("max");
    let house = House::start(folder, ["serve", "--feed", &feed]).await;
    until_played(&house).await;
    assert!(house.stop().await.success());
    let after = restart::entries(&restart::open(folder, Log::Market)).await;
    assert_whole(Offset(0), &after);
    assert_eq!(before, after[..before.len()]);
    let mut ids = restart::trade_ids(&after);
    ids.sort_unstable();
    assert_eq!(ids, fat.trade_ids());
    restart::assert_served_as_folded(folder, &feed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_whose_log_fails_stops_and_loses_nothing_it_showed() {
    if !injected::is_possible() {
        return;
    }
    let mut lots = Lots::draw("failing calls under the house");
    let recording = folder();
    let fat = Fat::record(recording.path(), &mut lots, SHAPE);
    for _ in 0..times(1) {
        // The ledger gets its second entry with the second hour.
        let faults = [
            (Log::Market, "fdatasync", SYNCS_FIRST + lots.below(CALLS)),
            (Log::Market, "pwrite64", WRITES_FIRST + lots.below(CALLS)),
            (Log::Ledger, "fdatasync", 2),
        ];
        for (log, call, when) in faults {
            let folder = folder();
            let path = folder.path().canonicalize().expect("a folder that is there");
            let segment = path.join("data").join(log.as_str()).join(format!("{:020}.log", 1));
            let fault = Fault {
                call: call.to_owned(),
                paths: vec![segment],
                error: "EIO",
                when: when.to_string(),
            };
            eprintln!("{fault:?}");
            assert_stops_and_goes_on(&fat, &folder, &fault).await;
        }
    }
}

/// Runs a house whose read store is there, and takes nothing any more from the first call on.
async fn assert_goes_on(fat: &Fat, call: &str) {
    let folder = folder();
    let feed = fat.feed(SPEED);
    let words = ["serve", "--feed", &feed];
    let house = House::start(&folder, words).await;
    let begun = house.until("/readyz", |ready| recorded(&ready.body) > 0).await;
    assert!(house.stop().await.success());

    let path = folder.path().canonicalize().expect("a folder that is there");
    let fault = Fault {
        call: call.to_owned(),
        paths: vec![path.join("data/read.db"), path.join("data/read.db-wal")],
        error: "EIO",
        // Each time that it is opened anew a thread begins to count.
        when: "1+".to_owned(),
    };
    let trace = folder.path().join("trace");
    let house = House::start_under(&folder, &injected::runner(&trace, Some(&fault)), words).await;
    // Snapshots that fail, and not only the archive.
    let fails = |ready: &Answer| !ready.body["read_store"]["since"].is_null();
    let ready = house.until("/readyz", |ready| ready.status == 200 && fails(ready)).await.body;
    assert_eq!(ready["status"], "degraded", "{fault:?}: {ready}");
    for path in ["price/BTC-USDT", "history/BTC-USDT?interval=1m"] {
        assert_eq!(house.get(&format!("/v1/market/{path}")).await.status, 200, "{fault:?}");
    }
    let told = until_played(&house).await["feeds"][0].clone();
    let count = |key: &str| told[key].as_u64().expect("a count");
    let (before, all) = (recorded(&begun.body), fat.trade_ids().len() as u64);
    assert!(count("recorded") + before <= all, "{before} and then {told}");
    assert_eq!(count("recorded") + count("repeated"), all);
    let said = house.said();
    assert!(house.stop().await.success(), "{fault:?}");
    assert_eq!(said.matches("snapshots cannot be written").count(), 1, "{fault:?}: {said}");

    snapshots::assert_same(&folder.path().join("data")).await;
    restart::assert_served_as_folded(&folder, &fat.feed("max")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_whose_read_store_fails_goes_on() {
    if !injected::is_possible() {
        return;
    }
    let mut lots = Lots::draw("a failing read store");
    let recording = folder();
    let fat = Fat::record(recording.path(), &mut lots, SHAPE);
    tokio::join!(assert_goes_on(&fat, "pwrite64"), assert_goes_on(&fat, "fsync"));
}
