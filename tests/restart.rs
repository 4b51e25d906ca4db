//! The house is killed in the middle of a fast replay, again and again. What it had shown is there
//! afterwards, nothing stands twice, and the views are the fold of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::amount::decimal;
use domain::book::{Level, LostReason};
use domain::candle::Interval;
use domain::event::Event;
use domain::instrument::{Instrument, Venue};
use domain::market::event::MarketEvent;
use domain::order_book::{Applied, OrderBook};
use eventlog::embedded::{Embedded, Options};
use eventlog::entry::{Entry, Offset, Version};
use eventlog::files::Disk;
use eventlog::log::ReadLog;
use eventlog::stream::Log;
use projections::history::{PAGE_MAX, Query};
use projections::projector;
use projections::views::Views;
use reqwest::header::AUTHORIZATION;
use tempfile::TempDir;

use crate::data;
use crate::exchange::{self, Kind, Sides};
use crate::house::{House, folder};
use crate::journeys::until_played;
use crate::tools::times;

const KILLS: usize = 50;

/// Levels a side that are compared.
pub(crate) const DEPTH: usize = 50;

/// What a recording tells.
struct Told {
    trades: BTreeSet<u64>,
    books: BTreeMap<u64, Sides>,
}

impl Told {
    fn read(file: &Path) -> Self {
        let lines = exchange::lines(&[file.to_owned()]);
        let trades = lines.iter().filter(|line| line.kind == Kind::Trade);
        let trades = trades.filter_map(|line| line.value["t"].as_u64()).collect();
        Self { trades, books: exchange::books(&lines, DEPTH) }
    }
}

/// What somebody outside was shown before the kill.
#[derive(Debug, Default, Clone, Copy)]
struct Shown {
    offset: u64,
    version: u64,
    trade_id: u64,
}

/// Opens a log of a house that does not run.
pub(crate) fn open(folder: &TempDir, log: Log) -> Embedded {
    let place = folder.path().join("data").join(log.as_str());
    let files = Disk::open(&place).expect("the log's folder");
    let (log, _) = Embedded::open(Arc::new(files), log, Options::default()).expect("a log to open");
    log
}

/// Returns all that a log holds.
pub(crate) async fn entries(log: &Embedded) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let after = all.last().map_or(Offset(0), |entry| entry.offset);
        let more = log.read(after, 1_000).await.expect("a log that was just opened reads");
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

pub(crate) fn trade_ids(entries: &[Entry]) -> Vec<u64> {
    let events = entries.iter().flat_map(|entry| &entry.events);
    events
        .filter_map(|event| match event {
            Event::Market(MarketEvent::TickObserved(tick)) => Some(tick.trade_id),
            Event::Market(_)
            | Event::Candle(_)
            | Event::Account(_)
            | Event::Refusal(_)
            | Event::Key(_)
            | Event::Access(_) => None,
        })
        .collect()
}

/// Returns why books were lost, in order.
pub(crate) async fn lost_books(folder: &TempDir) -> Vec<LostReason> {
    let entries = entries(&open(folder, Log::Market)).await;
    let events = entries.into_iter().flat_map(|entry| entry.events);
    events
        .filter_map(|event| match event {
            Event::Market(MarketEvent::BookLost { reason, .. }) => Some(reason),
            _ => None,
        })
        .collect()
}

/// Every book that a reader of the log ever sees is the venue's own at that update.
pub(crate) fn assert_books(entries: &[Entry], truth: &BTreeMap<u64, Sides>) {
    let mut book: Option<OrderBook> = None;
    for event in entries.iter().flat_map(|entry| &entry.events) {
        match event {
            Event::Market(MarketEvent::BookSnapshotObserved { snapshot, .. }) => {
                book = Some(OrderBook::of(snapshot).expect("a book that does not cross"));
            }
            Event::Market(MarketEvent::BookDiffObserved { diff, .. }) => {
                let book = book.as_mut().expect("a snapshot before");
                assert_eq!(book.apply(diff), Ok(Applied::Changed));
            }
            Event::Market(MarketEvent::BookLost { .. }) => book = None,
            _ => {}
        }
        let Some(book) = &book else { continue };
        let pair = |level: Level| (level.price.value(), level.quantity);
        let told: Sides = [
            book.bids().take(DEPTH).map(pair).collect(),
            book.asks().take(DEPTH).map(pair).collect(),
        ];
        let id = book.last_id();
        assert_eq!(Some(&told), truth.get(&id), "at {id}");
    }
}

/// Asks for the price until nobody answers any more; returns what was shown last.
async fn watch(host: String, token: String) -> Shown {
    let client = reqwest::Client::new();
    let mut shown = Shown::default();
    loop {
        let price = client.get(format!("http://{host}/v1/market/price/BTC-USDT"));
        let price = price.header(AUTHORIZATION, &token).send().await;
        let Ok(response) = price else { return shown };
        let at = response.headers().get("x-views-at").and_then(|at| at.to_str().ok());
        let offset = at.and_then(|at| at.rsplit(':').next()?.parse().ok()).unwrap_or(shown.offset);
        let Ok(body) = response.bytes().await else { return shown };
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        shown.offset = shown.offset.max(offset);
        if let (Some(version), Some(trade_id)) =
            (body["entry"]["version"].as_u64(), body["trade_id"].as_u64())
        {
            shown = Shown { version, trade_id, ..shown };
        }
    }
}

/// The log holds what was shown, its versions have no hole, and no trade stands twice.
async fn assert_kept(folder: &TempDir, shown: Shown, told: &Told) -> usize {
    let log = open(folder, Log::Market);
    let entries = entries(&log).await;
    assert_books(&entries, &told.books);
    assert!(log.head().await.unwrap().0 >= shown.offset, "{shown:?}");
    let mut versions = BTreeMap::new();
    for (entry, offset) in entries.iter().zip(1..) {
        assert_eq!(entry.offset, Offset(offset));
        let before = versions.insert(entry.stream.clone(), (entry.version, entry.hash));
        let (version, hash) = before.unwrap_or_default();
        assert_eq!((entry.version, entry.prev_hash), (version.next(), hash));
    }
    if shown.version > 0 {
        let stream = "market-binance.BTC-USDT".parse().unwrap();
        let after = Version(shown.version - 1);
        let entry = log.read_stream(&stream, after, 1).await.unwrap().remove(0);
        assert!(trade_ids(&[entry]).contains(&shown.trade_id), "{shown:?}");
    }
    let ids = trade_ids(&entries);
    let once: BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(ids.len(), once.len(), "a trade stands twice");
    assert!(once.is_subset(&told.trades));
    ids.len()
}

/// What the house serves is what a fold of its log gives.
pub(crate) async fn assert_served_as_folded(folder: &TempDir, feed: &str) {
    let house = House::start(folder, ["serve", "--feed", feed]).await;
    until_played(&house).await;
    let mut served = Vec::new();
    for interval in Interval::ALL {
        let path = format!("/v1/market/history/BTC-USDT?interval={interval}&limit=1000");
        served.push(house.get(&path).await.body);
    }
    let price = house.get("/v1/market/price/BTC-USDT").await.body;
    assert!(house.stop().await.success());

    let (binance, btc): (Venue, Instrument) =
        ("binance".parse().unwrap(), "BTC-USDT".parse().unwrap());
    let views = Views::new(Vec::new());
    projector::catch_up(Log::Market, &open(folder, Log::Market), &views).await.unwrap();
    let quote = views.quote(&btc).unwrap();
    assert_eq!(price["trade_id"], quote.tick.trade_id);
    assert_eq!(price["price"], quote.tick.price.to_string());
    let number = |text: &serde_json::Value| decimal(text.as_str().unwrap_or_default());
    assert_eq!(number(&price["volume"]), Ok(quote.volume));
    for (interval, served) in Interval::ALL.into_iter().zip(served) {
        let query = Query { interval, start: None, end: None, limit: PAGE_MAX, fill: true };
        let page = query.answer(views.candles().get(&binance, &btc).unwrap());
        let served = served["data"].as_array().unwrap();
        assert_eq!(served.len(), page.candles.len());
        for (served, shown) in served.iter().zip(&page.candles) {
            let candle = &shown.candle;
            let prices = [candle.open, candle.high, candle.low, candle.close];
            for (field, price) in ["open", "high", "low", "close"].into_iter().zip(prices) {
                assert_eq!(
                    served[field].as_str().unwrap().parse(),
                    Ok(price),
                    "{interval} {served}"
                );
            }
            assert_eq!(number(&served["volume"]), Ok(candle.volume));
            assert_eq!(served["trades"], candle.trades);
            assert_eq!(served["revision"], candle.revision);
            assert_eq!(served["closed"], shown.closed);
        }
    }
}

async fn kill_again_and_again(file: &Path, speed: &str) {
    let told = Told::read(file);
    let feed = format!("recording:{}?venue=binance&symbol=BTC-USDT&speed={speed}", file.display());
    let given = std::env::var("ENTASIS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut chance: u64 = given.unwrap_or(20_240_808);
    // Kills fall anywhere within the time that a replay takes on this machine, now: a kill behind
    // the end makes the time shorter, one before the first trade makes it longer.
    let house = House::start(&folder(), ["serve", "--feed", &feed]).await;
    let began = Instant::now();
    until_played(&house).await;
    let mut replay = u64::try_from(began.elapsed().as_micros()).unwrap().max(1_000);
    drop(house);
    eprintln!("seed {chance}, a replay takes {replay} µs");

    let (mut place, mut token_of_place, mut in_the_middle) = (folder(), None, 0);
    for kill in 0..times(KILLS) {
        let house = House::start(&place, ["serve", "--feed", &feed]).await;
        // Once for each folder: it costs a good part of a replay.
        if token_of_place.is_none() {
            let token = house.token("demo", "trader").await;
            token_of_place = Some(format!("Bearer {token}"));
        }
        let token = token_of_place.clone().expect("it has just been issued");
        let watching = tokio::spawn(watch(house.host.clone(), token));
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // The one wait in these tests that is no synchronisation: the moment of the kill.
        tokio::time::sleep(Duration::from_micros((chance >> 33) % replay)).await;
        house.kill().await;
        let shown = watching.await.unwrap();
        let kept = assert_kept(&place, shown, &told).await;
        eprintln!("kill {kill}: {kept} of {} trades, {shown:?}", told.trades.len());
        if kept == told.trades.len() {
            assert_served_as_folded(&place, &feed).await;
            (place, token_of_place) = (folder(), None);
            replay -= replay / 8;
        } else if kept == 0 {
            replay += replay / 8;
        } else {
            in_the_middle += 1;
        }
    }
    assert_served_as_folded(&place, &feed).await;
    assert_eq!(assert_kept(&place, Shown::default(), &told).await, told.trades.len());
    assert!(in_the_middle >= 10, "only {in_the_middle} kills hit the middle of a replay");
}

#[tokio::test]
async fn a_house_killed_fifty_times_loses_nothing_it_showed_and_doubles_nothing() {
    let Some(folder) = data::recordings() else { return };
    let file = folder.join("recordings/binance_spot_btcusdt_20240808.rec.gz");

    kill_again_and_again(&file, "max").await;
}

#[tokio::test]
async fn the_same_holds_on_the_small_recording() {
    kill_again_and_again(&data::small_recording(), "50").await;
}
