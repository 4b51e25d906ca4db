//! Two nodes trade on one KurrentDB of three servers, whose leader changes, dies, stands still and loses
//! its answers: what was acknowledged is in the log once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventlog::kurrent::double::Double;
use eventlog::stream::Log;
use tokio::time::{Instant, sleep};

use crate::cluster::clients::{Journal, Trader, trade};
use crate::cluster::faults::{until, until_good};
use crate::cluster::{judge, site};
use crate::faults::Lots;
use crate::kurrent::place::{self, Node};
use crate::tools::times;

/// Those who trade at once. Each waits for its answer before it asks again.
const TRADERS: usize = 32;

const FAULTS: usize = 10;

/// Longest time in which nobody is answered, for one fault.
const GAP_MAX: Duration = Duration::from_secs(15);

/// Commands that are answered after a fault before the next one comes.
const BETWEEN: usize = 150;

/// Answers that are lost in one fault.
const LOST: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_a_kurrent_double_fail_and_nothing_acknowledged_is_lost_or_doubled() {
    let double = Double::cluster(3).expect("free ports");
    let nodes = [Node::start(&double, "one", "").await, Node::start(&double, "two", "").await];
    let houses = nodes.each_ref().map(|node| &node.house);
    for house in houses {
        house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    }
    let traders = Trader::fund(houses[0], TRADERS).await;
    let hosts = houses.map(|house| house.host.clone());
    let mut lots = Lots::draw("kurrent");
    let (journal, stop) = (Arc::<Journal>::default(), Arc::<AtomicBool>::default());
    let mut clients = trade(&traders, &hosts, &journal, &stop);
    until(&journal, 2 * TRADERS).await;

    let (mut gaps, mut leader) = (Vec::new(), 0);
    for fault in 1..=times(FAULTS) {
        let began = Instant::now();
        let lasts = Duration::from_millis(200 + lots.below(2_800));
        let next = (leader + 1 + usize::try_from(lots.below(2)).expect("0 or 1")) % 3;
        let kind = lots.below(4);
        match kind {
            0 => {
                double.lead(next);
                double.kill(leader);
            }
            1 => double.freeze(leader),
            2 => double.lose_answers(LOST),
            _ => double.lead(next),
        }
        // The length of a fault is no synchronisation.
        sleep(lasts).await;
        match kind {
            0 => double.start_again(leader).expect("its own port"),
            1 => double.thaw(leader),
            _ => {}
        }
        if kind == 0 || kind == 3 {
            leader = next;
        }
        until(&journal, journal.len() + BETWEEN).await;
        let gap = journal.worst_gap(began, Instant::now());
        eprintln!("fault {fault} of kind {kind} for {lasts:?}: nobody answered for {gap:?}");
        assert!(gap <= GAP_MAX, "nobody was answered for {gap:?}");
        gaps.push(gap);
        until_good(houses[0]).await;
    }
    gaps.sort_unstable();
    eprintln!("gaps of service: median {:?}, worst {:?}", gaps[gaps.len() / 2], gaps.last());
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.expect("a client that is content");
    }

    let held = judge::entries(&place::log(&double, Log::Ledger).await).await;
    judge::assert_whole(&held);
    judge::assert_once(&held, &journal.all());
    let market = judge::entries(&place::log(&double, Log::Market).await).await;
    judge::assert_whole(&market);
    judge::state_hashes(&held, &market);
    for house in houses {
        site::until_level(house).await;
    }
    judge::assert_served(&houses, &traders, &held).await;
    let told = journal.all();
    let again = told.iter().filter(|told| told.again).count();
    eprintln!("{} acknowledged, {again} of them sent again; 0 lost, 0 doubled", told.len());
    assert!(again > 0, "the faults were felt");
}
