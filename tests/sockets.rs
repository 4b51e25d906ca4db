//! Listeners that come and go, and one that never reads: who resumes misses nothing that he is not
//! told of, and who stalls costs nobody anything.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use domain::event::Event;
use domain::market::event::MarketEvent;
use eventlog::stream::Log;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::data;
use crate::exchange::{Exchange, Kind, Line, lines};
use crate::house::{House, folder};
use crate::listener::Listener;
use crate::restart;

const LISTENERS: usize = 200;

/// Listeners who never read, beside those.
const STALLED: u64 = 10;

/// Memory that a listener who never reads may cost: what waits for it, and no more. Three times
/// what it is to be, because the allocator of a busy process keeps some for itself.
const STALLED_BYTES_MAX: u64 = 3 * 2 * 1024 * 1024;

/// What one listener was told of trades, over all its connections.
#[derive(Debug, Default)]
struct Heard {
    seqs: Vec<u64>,
    /// First and last of what it was told that it missed.
    gaps: Vec<(u64, u64)>,
    resumed: usize,
}

impl Heard {
    fn take(&mut self, message: &Value) {
        match message["type"].as_str() {
            Some("data") => {
                let seq = message["seq"].as_u64().expect("a seq");
                assert!(self.seqs.last().is_none_or(|last| *last < seq), "seq rises: {message}");
                self.seqs.push(seq);
            }
            Some("gap") => {
                let end = |key: &str| message[key].as_u64().expect("an end");
                self.gaps.push((end("from"), end("to")));
            }
            Some("ack") => self.resumed += usize::from(message["resumed"] == true),
            other => panic!("{other:?}: {message}"),
        }
    }
}

/// Draws numbers; the same seed draws the same.
struct Lots(u64);

impl Lots {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// Starts a house that listens to this venue, and lets many listen to it.
async fn house(folder: &TempDir, exchange: &Exchange) -> House {
    let configuration = folder.path().join("entasis.toml");
    let text = format!(
        "[ws]\nconnections_ip_max = 1000\nmessages_burst = 1000\n[venues.binance]\nws_url = \"{}\"\nrest_url = \"{}\"\n",
        exchange.ws_url, exchange.rest_url
    );
    std::fs::write(&configuration, text).expect("a folder that can be written to");
    let file = configuration.to_str().expect("a plain path");
    House::start(folder, ["serve", "--config", file, "--feed", "binance:BTC-USDT"]).await
}

fn subscription(from: Option<(u64, &str)>) -> Value {
    let mut message =
        json!({"id": 1, "action": "subscribe", "channel": "market", "symbols": ["BTC-USDT"]});
    if let Some((seq, epoch)) = from {
        message["from_seq"] = seq.into();
        message["epoch"] = epoch.into();
    }
    message
}

/// Listens until `end` names a seq and it has come; on the way it hangs up once, and resumes.
async fn come_and_go(host: String, mut lots: Lots, mut end: watch::Receiver<Option<u64>>) -> Heard {
    let (mut heard, mut epoch) = (Heard::default(), None::<String>);
    let leaves_after = 1 + lots.below(60);
    let mut leaves = true;
    loop {
        let mut listener = Listener::connect(&host).await;
        let from = heard.seqs.last().copied().zip(epoch.as_deref());
        listener.say(&subscription(from)).await;
        let mut messages = 0;
        loop {
            let over = |end: Option<u64>| end.is_some_and(|end| heard.seqs.last() >= Some(&end));
            if over(*end.borrow()) {
                return heard;
            }
            let message = tokio::select! {
                message = listener.next() => message.expect("the house stays"),
                changed = end.changed() => {
                    changed.expect("the test goes on");
                    continue;
                }
            };
            if let Some(named) = message["epoch"].as_str() {
                epoch = Some(named.to_owned());
            }
            heard.take(&message);
            messages += u64::from(message["type"] == "data");
            if leaves && messages >= leaves_after {
                leaves = false;
                break;
            }
        }
        // Hung up without a word; what is told now is told to the others.
        drop(listener);
        tokio::time::sleep(Duration::from_millis(lots.below(1_500))).await;
    }
}

/// Hears everything until nothing more comes, and returns the last seq.
async fn last_seq(mut listener: Listener, house: &House, last_trade: u64) -> u64 {
    let mut last = 0;
    let mut shown = false;
    loop {
        match tokio::time::timeout(Duration::from_secs(2), listener.next()).await {
            Ok(message) => last = message.expect("the house stays")["seq"].as_u64().unwrap_or(last),
            Err(_) if shown => return last,
            Err(_) => {
                let price = house.get("/v1/market/price/BTC-USDT").await.body;
                shown = price["trade_id"].as_u64() >= Some(last_trade);
            }
        }
    }
}

async fn nobody_misses_anything(files: &[PathBuf], lines_max: usize, lines_per_second: u32) {
    let seed = std::env::var("ENTASIS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20_240_809);
    eprintln!("seed {seed}");
    let mut lines = lines(files);
    lines.truncate(lines_max);
    let trades = lines.iter().filter_map(|line| line.value["t"].as_u64());
    let last_trade = trades.max().expect("a trade");
    let exchange = Exchange::open(lines, BTreeMap::new(), lines_per_second).await;
    let folder = folder();
    let house = house(&folder, &exchange).await;
    let (over, end) = watch::channel(None);
    let listeners: Vec<_> = (0..LISTENERS as u64)
        .map(|number| {
            let lots = Lots(seed ^ (number << 32));
            tokio::spawn(come_and_go(house.host.clone(), lots, end.clone()))
        })
        .collect();
    let mut constant = Listener::connect(&house.host).await;
    constant.say(&subscription(None)).await;
    assert_eq!(constant.next().await.expect("an answer")["type"], "ack");
    exchange.play();
    exchange.until_over().await;
    over.send_replace(Some(last_seq(constant, &house, last_trade).await));
    let heard: Vec<Heard> =
        join_all(listeners).await.into_iter().map(|heard| heard.expect("no panic")).collect();
    assert!(house.stop().await.success());

    let entries = restart::entries(&restart::open(&folder, Log::Market)).await;
    let told: Vec<u64> = entries
        .iter()
        .flat_map(|entry| {
            let events = entry.events.iter().zip(entry.offset.0 * 256..);
            events.filter(|(event, _)| matches!(event, Event::Market(MarketEvent::TickObserved(_))))
        })
        .map(|(_, seq)| seq)
        .collect();
    for heard in &heard {
        let first = heard.seqs[0];
        for seq in told.iter().filter(|seq| **seq >= first) {
            let named = || heard.gaps.iter().any(|(from, to)| (*from..=*to).contains(seq));
            assert!(heard.seqs.binary_search(seq).is_ok() || named(), "{seq} of {heard:?}");
        }
    }
    let resumed = heard.iter().filter(|heard| heard.resumed > 0).count();
    let gaps: usize = heard.iter().map(|heard| heard.gaps.len()).sum();
    eprintln!("{} trades, {resumed} of {LISTENERS} resumed, {gaps} gaps", told.len());
    assert!(resumed > LISTENERS / 2, "{resumed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_listeners_come_and_go_and_miss_nothing() {
    let Some(folder) = data::recordings() else { return };
    let file = folder.join("recordings/binance_spot_btcusdt_20240808.rec.gz");

    nobody_misses_anything(&[file], 20_000, 2_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_in_a_small_market() {
    nobody_misses_anything(&[data::small_recording()], usize::MAX, 50).await;
}

/// Bytes of memory that the house holds.
fn memory(house: &House) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.id())).expect("Linux");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    resident.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Plays a market to many who listen to its trades, and to some more who want the whole book each
/// time it changes: far more than any buffer on the way holds. Returns by how much the house grew.
async fn growth(lines: &[Line], lines_per_second: u32, some_more_read: bool) -> u64 {
    let trades = lines.iter().filter(|line| line.kind == Kind::Trade).count();
    let exchange = Exchange::open(lines.to_vec(), BTreeMap::new(), lines_per_second).await;
    let folder = folder();
    let house = house(&folder, &exchange).await;
    let mut readers = Vec::new();
    for _ in 0..LISTENERS - 1 {
        let mut listener = Listener::connect(&house.host).await;
        listener.say(&subscription(None)).await;
        assert_eq!(listener.next().await.expect("an answer")["type"], "ack");
        readers.push(listener);
    }
    let before = memory(&house);
    let mut others = Vec::new();
    for place in 0..STALLED {
        let mut other = Listener::connect_narrow(&house.host).await;
        let channel = json!({
            "action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT",
            "depth": 100 - place, "mode": "snapshot"
        });
        other.say(&channel).await;
        others.push(other);
    }
    let others = others.into_iter().map(async |mut other| {
        if !some_more_read {
            std::future::pending::<()>().await;
        }
        loop {
            other.next().await.expect("the house stays");
        }
    });
    exchange.play();
    tokio::select! {
        _ = join_all(readers.into_iter().map(|reader| hear_all(reader, trades))) => {}
        _ = join_all(others) => unreachable!("they listen for ever"),
    }
    memory(&house).saturating_sub(before)
}

async fn who_never_reads_costs_little(lines: &[Line], lines_per_second: u32) {
    let read = growth(lines, lines_per_second, true).await;
    let stalled = growth(lines, lines_per_second, false).await;
    let cost = stalled.saturating_sub(read) / STALLED;
    eprintln!("the house grew by {read} bytes, and by {stalled} with who never reads: {cost} each");
    assert!(cost <= STALLED_BYTES_MAX, "{cost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_costs_nobody_anything() {
    let Some(folder) = data::recordings() else { return };
    let mut lines = lines(&[folder.join("recordings/binance_spot_btcusdt_20240808.rec.gz")]);
    lines.truncate(20_000);

    who_never_reads_costs_little(&lines, 2_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_he_in_a_small_market() {
    who_never_reads_costs_little(&lines(&[data::small_recording()]), 100).await;
}

/// Hears so many trades in their order, and nothing else.
async fn hear_all(mut listener: Listener, trades: usize) {
    let mut last = 0;
    for _ in 0..trades {
        let message = listener.next().await.expect("the house stays");
        assert_eq!(message["type"], "data", "{message}");
        let seq = message["seq"].as_u64().expect("a seq");
        assert!(seq > last, "{message}");
        last = seq;
    }
}
