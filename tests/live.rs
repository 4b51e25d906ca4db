//! The live market over real sockets: a venue plays a recording, on good days and on bad ones, and
//! what the house serves is what was true.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use domain::book::LostReason;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::data;
use crate::exchange::{Exchange, Fault, Kind, Line, books, lines};
use crate::house::{Answer, House, folder};
use crate::listener::{Listener, ToldBook, levels_of};

/// How fast the venue plays: the two minutes and more of a recording within seconds.
const LINES_PER_SECOND: u32 = 10_000;

fn recorded(names: &[&str]) -> Option<Vec<PathBuf>> {
    let folder = data::recordings()?.join("recordings");
    Some(names.iter().map(|name| folder.join(format!("binance_{name}.rec.gz"))).collect())
}

fn spot() -> Option<Vec<PathBuf>> {
    recorded(&["spot_btcusdt_20240808", "spot_btcusdt_20240809"])
}

/// Starts a house that listens to this venue.
async fn listening(folder: &TempDir, venue: &str, exchange: &Exchange) -> House {
    let configuration = folder.path().join("entasis.toml");
    let text = format!(
        "[venues.{venue}]\nws_url = \"{}\"\nrest_url = \"{}\"\n",
        exchange.ws_url, exchange.rest_url
    );
    std::fs::write(&configuration, text).expect("a folder that can be written to");
    let file = configuration.to_str().expect("a plain path");
    House::start(folder, ["serve", "--config", file, "--feed", &format!("{venue}:BTC-USDT")]).await
}

/// Waits until this trade is the last one that the house shows.
async fn until_shown(house: &House, lines: &[Line]) -> Value {
    let is_trade = |line: &&Line| line.kind == Kind::Trade && line.value["X"] != "NA";
    let last = lines.iter().rfind(is_trade).expect("a trade").value["t"].as_u64();
    let shows = |answer: &Answer| answer.body["trade_id"].as_u64() == last;
    house.until("/v1/market/price/BTC-USDT", shows).await.body
}

fn last_update(lines: &[Line]) -> u64 {
    let last = lines.iter().rfind(|line| line.kind == Kind::Diff);
    last.and_then(|line| line.value["u"].as_u64()).expect("a diff")
}

/// Returns the last update that changed anything among the ten best levels.
fn last_change(lines: &[Line]) -> u64 {
    let books = books(lines, 10);
    let last = books.last_key_value().expect("a book").1;
    let same = books.iter().rev().take_while(|(_, book)| *book == last);
    *same.last().expect("itself").0
}

/// Listens to a book of ten levels from before its beginning up to this update; returns the book
/// as it stood after each message, by update.
async fn listen(mut listener: Listener, last_id: u64) -> BTreeMap<u64, ToldBook> {
    let (mut book, mut books) = (ToldBook::default(), BTreeMap::new());
    loop {
        let message = listener.next().await.expect("the house stays");
        match message["type"].as_str() {
            Some("snapshot" | "delta") => {
                book.take(&message);
                let id = message["last_update_id"].as_u64().expect("an update");
                books.insert(id, book.clone());
                if id >= last_id {
                    return books;
                }
            }
            Some("gap") => panic!("a listener that keeps up misses nothing: {message}"),
            // Before the first snapshot there is no book.
            Some("error" | "ack") => {}
            other => panic!("{other:?}: {message}"),
        }
    }
}

/// Whether two prices and quantities are the same, whatever zeros they carry.
fn same(told: &Value, level: (Decimal, Decimal)) -> bool {
    let number = |text: &Value| text.as_str().and_then(|text| text.parse::<Decimal>().ok());
    (number(&told[0]), number(&told[1])) == (Some(level.0), Some(level.1))
}

/// Plays a recording, follows the book through the door, and compares it with the reference at each
/// checkpoint, and with the venue's own best levels at each update that both tell of. Returns how
/// many of either there were.
async fn book_as_told(venue: &str, files: &[PathBuf], checkpoints: &str) -> (usize, usize) {
    let lines = lines(files);
    let exchange = Exchange::open(lines.clone(), BTreeMap::new(), LINES_PER_SECOND).await;
    let folder = folder();
    let house = listening(&folder, venue, &exchange).await;
    let mut listener = Listener::connect(&house.host).await;
    listener
        .say(&json!({
            "id": 1, "action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT",
            "depth": 10, "mode": "delta"
        }))
        .await;
    let ack = listener.next().await.expect("an answer");
    assert_eq!((&ack["type"], &ack["symbols"][0]), (&"ack".into(), &"BTC-USDT".into()), "{ack}");
    exchange.play();
    let books = listen(listener, last_change(&lines)).await;
    // What changes nothing among the ten best is not told: the book is as it was told last.
    let at = |id: u64| books.range(..=id).next_back().map(|(_, book)| book);

    let path = data::recordings().expect("asked before").join("oracles").join(checkpoints);
    let mut checked = 0;
    for checkpoint in data::text(&path).lines() {
        let checkpoint: Value = serde_json::from_str(checkpoint).expect("a checkpoint");
        let id = checkpoint["update_id"].as_u64().expect("an update");
        let book = at(id).unwrap_or_else(|| panic!("no book at {id}"));
        let expected = [levels_of(&checkpoint["bids"]), levels_of(&checkpoint["asks"])];
        assert_eq!(book.top(10), expected, "at {id}");
        checked += 1;
    }

    let first_id = *books.first_key_value().expect("a book").0;
    let diffs = lines.iter().filter(|line| line.kind == Kind::Diff);
    let ids: std::collections::BTreeSet<u64> =
        diffs.filter_map(|line| line.value["u"].as_u64()).filter(|id| *id >= first_id).collect();
    let mut witnessed = 0;
    for line in lines.iter().filter(|line| line.kind == Kind::Top) {
        let id = line.value["u"].as_u64().expect("an update");
        if !ids.contains(&id) {
            continue;
        }
        let [bids, asks] = at(id).expect("a book").top(1);
        let value = &line.value;
        assert!(same(&json!([value["b"], value["B"]]), bids[0]), "{value} {bids:?}");
        assert!(same(&json!([value["a"], value["A"]]), asks[0]), "{value} {asks:?}");
        witnessed += 1;
    }
    assert!(house.stop().await.success());
    (checked, witnessed)
}

#[tokio::test]
async fn the_spot_book_is_the_venues_at_every_checkpoint() {
    let Some(files) = spot() else { return };

    let (checked, witnessed) =
        book_as_told("binance", &files, "binance_spot_btcusdt_book_checkpoints.jsonl").await;

    assert_eq!((checked, witnessed), (27, 1_072));
}

#[tokio::test]
async fn the_futures_book_is_the_venues_at_every_checkpoint() {
    let Some(files) = recorded(&["usdm_btcusdt_20240808"]) else { return };

    let (checked, witnessed) =
        book_as_told("binance_usdm", &files, "binance_usdm_btcusdt_book_checkpoints.jsonl").await;

    assert_eq!((checked, witnessed), (28, 629));
}

/// The place of the n-th line of a kind.
fn place(lines: &[Line], kind: Kind, nth: usize) -> usize {
    let places = lines.iter().enumerate().filter(|(_, line)| line.kind == kind);
    places.map(|(place, _)| place).nth(nth).expect("so many lines")
}

/// The venue's trades as bars of a minute: open, high, low, close, volume, quote volume, trades,
/// volume of taking buyers.
fn reference(name: &str) -> Vec<Vec<String>> {
    let folder = data::recordings().expect("asked before");
    data::rows(&folder.join("oracles").join(name))
}

/// Whether a served candle is the reference's in every figure that a venue's own bar has too.
fn assert_candle(candle: &Value, row: &[String]) {
    let number = |text: &str| text.parse::<Decimal>().expect("a number");
    let fields = ["open", "high", "low", "close", "volume", "quote_volume"].iter().zip(&row[1..7]);
    for (field, expected) in fields.chain([(&"taker_buy", &row[8])]) {
        let served = candle[*field].as_str().unwrap_or_default();
        assert_eq!(number(served), number(expected), "{field}: {candle}");
    }
    assert_eq!(candle["trades"].to_string(), row[7], "{candle}");
}

/// Asserts that the book that is served now is what the venue's own became.
async fn assert_book(house: &House, exchange: &Exchange, lines: &[Line]) {
    let last_id = last_update(lines);
    let served = house
        .until("/v1/market/orderbook/BTC-USDT?depth=100", |answer| {
            answer.body["last_update_id"].as_u64() == Some(last_id)
        })
        .await
        .body;
    let truth = exchange.book(100);
    for (side, truth) in ["bids", "asks"].iter().zip(truth) {
        assert_eq!(levels_of(&served[*side]), truth, "{side}");
    }
    assert_eq!((&served["synced"], &served["verified"]), (&true.into(), &true.into()));
}

#[tokio::test]
async fn a_bad_day_ends_as_a_good_one() {
    let Some(files) = spot() else { return };
    let lines = lines(&files);
    let at = |kind, nth| place(&lines, kind, nth);
    let refuse =
        |status, retry_after_seconds| Fault::Refuse { requests: 1, status, retry_after_seconds };
    let faults = BTreeMap::from([
        (10, refuse(429, 1)),
        (at(Kind::Diff, 500), Fault::LoseDiffs(3)),
        (at(Kind::Diff, 800), Fault::Repeat),
        (at(Kind::Diff, 1_000), Fault::Swap),
        (at(Kind::Trade, 3_000), Fault::Repeat),
        (at(Kind::Trade, 3_500), Fault::Swap),
        (30_000, Fault::Disconnect { lines: 800 }),
        (30_100, refuse(418, 2)),
        (55_000, Fault::SilentBook { lines: 700, lasts: Duration::from_secs(8) }),
        (80_000, Fault::Shutdown { lines: 500 }),
    ]);
    let exchange = Exchange::open(lines.clone(), faults, LINES_PER_SECOND).await;
    let folder = folder();
    let house = listening(&folder, "binance", &exchange).await;
    exchange.play();
    exchange.until_over().await;

    until_shown(&house, &lines).await;
    assert_book(&house, &exchange, &lines).await;
    // Every trade is there once: what was told while nobody listened was asked for afterwards.
    let ready =
        house.until("/readyz", |answer| answer.body["feeds"][0]["recorded"] == 19_904).await;
    assert_eq!(ready.body["feeds"][0]["state"], "running");
    let gaps =
        house.until("/v1/market/gaps/BTC-USDT", |answer| answer.body["gaps"] == json!([])).await;
    assert_eq!(gaps.status, 200);
    let rows = reference("binance_spot_btcusdt_candles_1m.csv");
    let history = house.get("/v1/market/history/BTC-USDT?interval=1m").await.body;
    let candles = history["data"].as_array().expect("candles");
    assert_eq!((candles.len(), rows.len()), (12, 12));
    for (candle, row) in candles.iter().zip(&rows) {
        assert_candle(candle, row);
    }
    // The venue was met as it was: it hung up once, asked us to go once, and was asked for its book
    // anew after each loss.
    assert!(exchange.connects() >= 3, "{} connects", exchange.connects());
    assert!(exchange.asked("/depth") >= 5, "{} snapshots", exchange.asked("/depth"));
    assert!(exchange.asked("/historicalTrades") >= 1);
    assert!(house.stop().await.success());

    let lost = crate::restart::lost_books(&folder).await;
    for reason in [LostReason::Hole, LostReason::Disconnected, LostReason::Silent] {
        assert!(lost.contains(&reason), "{reason:?}: {lost:?}");
    }
}

#[tokio::test]
async fn trades_that_cannot_be_had_are_named() {
    let Some(files) = spot() else { return };
    let lines = lines(&files);
    let (from, missed) = (30_000, 800);
    let faults = BTreeMap::from([(from, Fault::Disconnect { lines: missed })]);
    let exchange = Exchange::open(lines.clone(), faults, LINES_PER_SECOND).await;
    exchange.keep_trades();
    let folder = folder();
    let house = listening(&folder, "binance", &exchange).await;
    exchange.play();
    exchange.until_over().await;
    until_shown(&house, &lines).await;

    // Lines that were on their way when the venue hung up are lost with those that came after.
    let gaps = house
        .until("/v1/market/gaps/BTC-USDT", |answer| answer.body["gaps"][0]["state"] == "unfillable")
        .await
        .body;
    let gaps = gaps["gaps"].as_array().expect("gaps");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let id = |key: &str| gaps[0][key].as_u64().expect("an id");
    let (first_id, last_id) = (id("first_trade_id"), id("last_trade_id"));
    let ids = |lines: &[Line]| -> Vec<u64> {
        let trades = lines.iter().filter(|line| line.kind == Kind::Trade);
        trades.filter_map(|line| line.value["t"].as_u64()).collect()
    };
    let unheard = ids(&lines[from..from + missed]);
    let (first_unheard, last_unheard) = (unheard[0], unheard[unheard.len() - 1]);
    assert!(first_id <= first_unheard && last_id >= last_unheard, "{first_id}..{last_id}");
    // What is missing and what was recorded are the whole.
    let ready = house.get("/readyz").await.body;
    let recorded = ready["feeds"][0]["recorded"].as_u64().expect("a count");
    assert_eq!(recorded + (last_id - first_id + 1), 19_904);

    // The venue's own bar stands where trades are missing.
    let rows = reference("binance_spot_btcusdt_candles_1m.csv");
    let native = |answer: &Answer| {
        let candles = answer.body["data"].as_array().expect("candles");
        candles.iter().filter(|candle| candle["source"] == "native").count() >= 2
    };
    let history = house.until("/v1/market/history/BTC-USDT?interval=1m", native).await.body;
    let candles = history["data"].as_array().expect("candles");
    assert_eq!(candles.len(), rows.len());
    for (candle, row) in candles.iter().zip(&rows) {
        assert_candle(candle, row);
    }
    assert_eq!(history["gaps"].as_array().map(Vec::len), Some(1));
}

/// The small recording that the project carries goes the same way.
#[tokio::test]
async fn a_small_market_is_followed_through_a_bad_minute() {
    let lines = lines(&[data::small_recording()]);
    let at = |kind, nth| place(&lines, kind, nth);
    let faults = BTreeMap::from([
        (at(Kind::Diff, 20), Fault::LoseDiffs(1)),
        (at(Kind::Trade, 30), Fault::Repeat),
        (at(Kind::Diff, 50), Fault::Disconnect { lines: 12 }),
    ]);
    let exchange = Exchange::open(lines.clone(), faults, 500).await;
    let folder = folder();
    let house = listening(&folder, "binance", &exchange).await;
    exchange.play();
    exchange.until_over().await;

    until_shown(&house, &lines).await;
    assert_book(&house, &exchange, &lines).await;
    let ready = house.until("/readyz", |answer| answer.body["feeds"][0]["recorded"] == 100).await;
    assert_eq!(ready.status, 200);
    assert!(house.stop().await.success());
}
