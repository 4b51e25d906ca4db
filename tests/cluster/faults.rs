//! Brokers are killed and paused while two nodes take commands: what was acknowledged is in the log
//! once, and service comes back by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventlog::stream::Log;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::clients::{Journal, Trader, trade};
use crate::cluster::judge;
use crate::cluster::site::{self, Site};
use crate::faults::Lots;
use crate::house::House;
use crate::tools::times;

/// Those who trade at once. Each waits for its answer before it asks again.
const TRADERS: usize = 64;

const FAULTS: usize = 10;

/// Times that all brokers are killed at once.
const BLACKOUTS: usize = 1;

/// Longest time in which nobody is answered, for one fault: the election of a new leader is most of it.
const GAP_MAX: Duration = Duration::from_secs(15);

/// Commands a second that two nodes are to take while nothing is wrong. Asserted with threefold slack.
const RATE: f64 = 500.0;

/// Commands that are answered after a fault before the next one comes.
const BETWEEN: usize = 300;

/// Waits until so many were acknowledged.
pub(crate) async fn until(journal: &Journal, count: usize) {
    let told = async {
        while journal.len() < count {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_mins(2), told).await.unwrap_or_else(|_| {
        panic!("{} of {count} commands were acknowledged", journal.len());
    });
}

/// Waits until a node finds nothing wrong with its logs.
pub(crate) async fn until_good(house: &House) {
    house.until("/readyz", |answer| answer.body["status"] == "ready").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_die_and_pause_and_nothing_acknowledged_is_lost_or_doubled() {
    let Some(mut site) = Site::three().await else { return };
    let nodes = [site.node("one", "").await, site.node("two", "").await];
    let houses = nodes.each_ref().map(|node| &node.house);
    for house in houses {
        house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    }
    let traders = Trader::fund(houses[0], TRADERS).await;
    let hosts = houses.map(|house| house.host.clone());
    let mut lots = Lots::draw("cluster");
    let (journal, stop) = (Arc::<Journal>::default(), Arc::<AtomicBool>::default());
    let mut clients = trade(&traders, &hosts, &journal, &stop);

    // Nobody is new any more, and nothing is wrong yet.
    until(&journal, 2 * TRADERS).await;
    let (began, before) = (Instant::now(), journal.len());
    until(&journal, before + 20 * TRADERS).await;
    let count = u32::try_from(journal.len() - before).expect("a short test");
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} commands/s while nothing is wrong");
    assert!(rate >= RATE / 3.0, "{rate:.0} commands a second");

    let mut gaps = Vec::new();
    for fault in 1..=times(FAULTS) {
        let began = Instant::now();
        let place = usize::try_from(lots.below(3)).expect("one of three");
        let lasts = Duration::from_millis(200 + lots.below(3_800));
        let is_kill = lots.below(2) == 0;
        if is_kill {
            site.brokers.kill(place).await;
        } else {
            site.brokers.pause(place).await;
        }
        // The length of a fault is no synchronisation.
        sleep(lasts).await;
        if is_kill {
            site.brokers.restart(place);
        } else {
            site.brokers.go_on(place).await;
        }
        until(&journal, journal.len() + BETWEEN).await;
        let gap = journal.worst_gap(began, Instant::now());
        let kind = if is_kill { "killed" } else { "paused" };
        eprintln!(
            "fault {fault}: broker {place} {kind} for {lasts:?}: nobody answered for {gap:?}"
        );
        assert!(gap <= GAP_MAX, "nobody was answered for {gap:?}");
        gaps.push(gap);
        // Else the next fault would find a cluster that is not whole.
        until_good(houses[0]).await;
    }
    gaps.sort_unstable();
    eprintln!("gaps of service: median {:?}, worst {:?}", gaps[gaps.len() / 2], gaps.last());

    for _ in 0..times(BLACKOUTS) {
        site.brokers.kill_all().await;
        site.brokers.restart_all().await;
        until(&journal, journal.len() + BETWEEN).await;
        until_good(houses[0]).await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("a client that is content");
    }

    let ledger = site.log(Log::Ledger).await;
    let held = judge::entries(&ledger).await;
    judge::assert_whole(&held);
    judge::assert_once(&held, &journal.all());
    let market = judge::entries(&site.log(Log::Market).await).await;
    judge::assert_whole(&market);
    judge::state_hashes(&held, &market);
    for house in houses {
        site::until_level(house).await;
    }
    judge::assert_served(&houses, &traders, &held).await;
    let (told, again) = {
        let told = journal.all();
        (told.len(), told.iter().filter(|told| told.again).count())
    };
    eprintln!("{told} acknowledged, {again} of them sent again; 0 lost, 0 doubled");
    assert!(again > 0, "the faults were felt");
}
