//! The house is killed and stopped in turns, each time in the middle of a replay: a snapshot and what
//! came after it give the same views as all that the logs hold.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventlog::embedded::{Embedded, Options};
use eventlog::entry::Hash;
use eventlog::files::Disk;
use eventlog::log::ReadLog;
use eventlog::stream::Log;
use projections::projector;
use projections::store::{Opened, Store};
use projections::views::Views;
use tempfile::TempDir;

use crate::faults::fat::{Fat, Shape};
use crate::faults::{Lots, space};
use crate::house::{House, folder};
use crate::journeys::until_played;
use crate::restart;
use crate::tools::times;

/// Ends of a house, every third of them an orderly one, which takes a snapshot.
const ENDS: usize = 15;

/// How many times as many there are at the most, until enough of them fell into the middle.
const ENDS_MAX_TIMES: usize = 4;

/// Microseconds that a house is left alive at the most, however soon it has played all.
const ALIVE_MIN: u64 = 50_000;

const SHAPE: Shape = Shape { steps: 1_500, step_ms: 10_000, levels: 50 };

fn open(data: &Path, log: Log) -> Embedded {
    let files = Disk::open(data.join(log.as_str())).expect("the log's folder");
    Embedded::open(Arc::new(files), log, Options::default()).expect("a log to open").0
}

async fn catch_up(views: &Views, ledger: &dyn ReadLog, market: &dyn ReadLog) {
    projector::catch_up(Log::Ledger, ledger, views).await.expect("a ledger that reads");
    projector::catch_up(Log::Market, market, views).await.expect("a market log that reads");
}

/// Returns how many entries the snapshot spared, after it gave the same views as all entries do.
pub(super) async fn assert_same(data: &Path) -> u64 {
    let (ledger, market) = (open(data, Log::Ledger), open(data, Log::Market));
    let folded = Views::new(Vec::new());
    catch_up(&folded, &ledger, &market).await;

    let (store, opened) = Store::open(&data.join("read.db")).await.expect("a read store");
    assert!(matches!(opened, Opened::There | Opened::Made), "{opened:?}");
    let restored = Views::new(Vec::new());
    let loaded = store.load(&restored, &ledger, &market).await.expect("it belongs to these logs");
    assert_eq!(loaded.set_aside, None);
    let spared = restored.applied(Log::Market).0;
    catch_up(&restored, &ledger, &market).await;
    store.close().await;

    let of = |views: &Views| -> BTreeMap<&'static str, Hash> { views.state_hashes() };
    assert_eq!(of(&restored), of(&folded), "after {spared} entries: {loaded:?}");
    spared
}

/// Starts a house, and waits until it has its past.
async fn start(folder: &TempDir, feed: &str) -> House {
    let house = House::start(folder, ["serve", "--feed", feed]).await;
    house.until("/readyz", |ready| ready.status == 200).await;
    house
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_the_rest_of_the_log_are_the_whole_log() {
    let mut lots = Lots::draw("snapshots");
    let recording = folder();
    let fat = Fat::record(recording.path(), &mut lots, SHAPE);
    let feed = fat.feed("max");
    // Ends fall anywhere within the time that a replay takes on this machine, now.
    let house = start(&folder(), &feed).await;
    let began = Instant::now();
    until_played(&house).await;
    let mut alive_max = u64::try_from(began.elapsed().as_micros()).expect("a short test") / 2;
    drop(house);

    let (mut place, mut in_the_middle) = (folder(), 0);
    for end in 1..=ENDS_MAX_TIMES * times(ENDS) {
        if end > times(ENDS) && in_the_middle >= ENDS / 5 {
            break;
        }
        let house = start(&place, &feed).await;
        // The moment of the end is no synchronisation.
        tokio::time::sleep(Duration::from_micros(lots.below(alive_max))).await;
        if end % 3 == 1 {
            assert!(house.stop().await.success());
        } else {
            house.kill().await;
        }
        let copied = place.path().join("copied");
        space::copy(&place.path().join("data"), &copied);
        let spared = assert_same(&copied).await;
        std::fs::remove_dir_all(&copied).expect("a folder that was just made");

        let market = open(&place.path().join("data"), Log::Market);
        let entries = market.head().await.expect("a log that was just opened").0;
        let recorded = restart::trade_ids(&restart::entries(&market).await).len();
        drop(market);
        eprintln!("end {end}: {spared} of {entries} entries spared, {recorded} trades");
        in_the_middle += usize::from(0 < spared && spared < entries);
        if recorded == fat.trade_ids().len() {
            // The machine was busier when the replay was timed: the next ends come sooner.
            alive_max = (alive_max * 3 / 4).max(ALIVE_MIN);
            restart::assert_served_as_folded(&place, &feed).await;
            place = folder();
        }
    }
    assert!(in_the_middle >= ENDS / 5, "only {in_the_middle} ends had a snapshot and more");
}
