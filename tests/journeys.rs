//! Recorded days through the real door: what was played is what is served.

use domain::amount::decimal;
use serde_json::Value;

use crate::data;
use crate::house::{House, folder};

/// Both spot recordings, as one feed.
fn spot() -> Option<String> {
    let folder = data::recordings()?.join("recordings");
    let file =
        |day: &str| folder.join(format!("binance_spot_btcusdt_{day}.rec.gz")).display().to_string();
    Some(format!(
        "recording:{},{}?venue=binance&symbol=BTC-USDT&speed=max",
        file("20240808"),
        file("20240809")
    ))
}

/// Waits until all feeds have been played to their end and the views show it.
pub(crate) async fn until_played(house: &House) -> Value {
    let ready = house
        .until("/readyz", |answer| {
            let feeds = answer.body["feeds"].as_array();
            feeds.is_some_and(|feeds| feeds.iter().all(|feed| feed["state"] == "finished"))
                && answer.body["views"]["market"]["lag"] == 0
        })
        .await;
    assert_eq!(ready.status, 200);
    ready.body
}

/// Whether two numbers are the same, whatever zeros they carry.
fn same(ours: &Value, theirs: &str) -> bool {
    ours.as_str().and_then(|text| decimal(text).ok()) == decimal(theirs).ok()
}

async fn assert_reference(house: &House, interval: &str, count: usize) {
    let folder = data::recordings().expect("asked before");
    let rows =
        data::rows(&folder.join(format!("oracles/binance_spot_btcusdt_candles_{interval}.csv")));
    assert_eq!(rows.len(), count);
    for prefix in ["/api/v1", "/v1"] {
        let path = format!("{prefix}/market/history/BTC-USDT?interval={interval}");
        let answer = house.get(&path).await;
        assert_eq!(answer.status, 200);
        let candles = answer.body["data"].as_array().expect("candles");
        assert_eq!(candles.len(), rows.len(), "{interval}");
        for (candle, row) in candles.iter().zip(&rows) {
            let opened_at = domain::time::Timestamp::from_millis(row[0].parse().unwrap());
            assert_eq!(candle["timestamp"], opened_at.to_shortest());
            let fields =
                ["open", "high", "low", "close", "volume", "quote_volume"].iter().zip(&row[1..7]);
            for (field, expected) in fields.chain([(&"taker_buy", &row[8])]) {
                assert!(same(&candle[*field], expected), "{field} {expected} {candle}");
            }
            for (field, place) in [("trades", 7), ("first_trade_id", 9), ("last_trade_id", 10)] {
                assert_eq!(candle[field].to_string(), row[place], "{field} {candle}");
            }
            assert_eq!((&candle["source"], &candle["revision"]), (&"built".into(), &0.into()));
        }
        let closed: Vec<bool> = candles.iter().filter_map(|one| one["closed"].as_bool()).collect();
        let (last, before) = closed.split_last().unwrap();
        assert!(!last && before.iter().all(|closed| *closed), "{closed:?}");
    }
}

async fn assert_last_price(house: &House) {
    let answer = house.get("/api/v1/market/price/BTC-USDT").await;
    assert_eq!(answer.status, 200);
    let keys: Vec<&String> = answer.body.as_object().unwrap().keys().take(5).collect();
    assert_eq!(keys, ["symbol", "price", "timestamp", "volume", "exchange"]);
    let body = &answer.body;
    assert_eq!(body["trade_id"], 3_735_703_162_u64);
    assert_eq!(body["price"], "61602.02");
    assert_eq!((&body["exchange"], &body["stale"]), (&"binance".into(), &false.into()));
    // All that was traded lies within the rolling day.
    let folder = data::recordings().expect("asked before");
    let traded = data::rows(&folder.join("trades/binance_spot_btcusdt_trades.csv.gz"))
        .iter()
        .map(|row| decimal(&row[2]).unwrap())
        .sum::<rust_decimal::Decimal>();
    assert!(same(&body["volume"], &traded.to_string()), "{traded} {body}");
}

#[tokio::test]
async fn a_recorded_day_is_served_as_the_reference_says() {
    let Some(spot) = spot() else { return };
    let folder = folder();
    let house = House::start(&folder, ["serve", "--feed", &spot]).await;

    let ready = until_played(&house).await;
    assert_eq!(ready["feeds"][0]["recorded"], 19_904);
    assert_reference(&house, "1m", 12).await;
    assert_reference(&house, "5m", 4).await;
    assert_last_price(&house).await;
    assert!(house.stop().await.success());

    // A restart plays it again, and nothing of it is news.
    let house = House::start(&folder, ["serve", "--feed", &spot]).await;
    let ready = until_played(&house).await;
    assert_eq!(
        (&ready["feeds"][0]["recorded"], &ready["feeds"][0]["repeated"]),
        (&0.into(), &19_904.into())
    );
    assert_reference(&house, "1m", 12).await;
    assert_last_price(&house).await;
}

#[tokio::test]
async fn a_day_told_by_two_feeds_at_once_is_recorded_once() {
    let Some(spot) = spot() else { return };
    let folder = folder();
    let house = House::start(&folder, ["serve", "--feed", &spot, "--feed", &spot]).await;

    let ready = until_played(&house).await;
    let recorded =
        ready["feeds"].as_array().unwrap().iter().filter_map(|feed| feed["recorded"].as_u64());
    assert_eq!(recorded.sum::<u64>(), 19_904);
    assert_reference(&house, "1m", 12).await;
    assert_reference(&house, "5m", 4).await;
    assert_last_price(&house).await;
}

#[tokio::test]
async fn the_futures_are_a_venue_of_their_own() {
    let Some(data) = data::recordings() else { return };
    let file = data.join("recordings/binance_usdm_btcusdt_20240808.rec.gz");
    let feed = format!("recording:{}?venue=binance_usdm&symbol=BTC-USDT", file.display());
    let folder = folder();
    let house = House::start(&folder, ["serve", "--feed", &feed]).await;

    assert_eq!(until_played(&house).await["feeds"][0]["recorded"], 21_313);
    let price = house.get("/v1/market/price/BTC-USDT").await;
    assert_eq!(price.body["exchange"], "binance_usdm");
    assert_eq!(price.body["entry"]["stream"], "market-binance_usdm.BTC-USDT");
}

#[tokio::test]
async fn the_small_recording_is_served_and_stays_so_after_a_restart() {
    let feed = format!(
        "recording:{}?venue=binance&symbol=BTC-USDT&speed=max",
        data::small_recording().display()
    );
    let folder = folder();
    let house = House::start(&folder, ["serve", "--feed", &feed]).await;
    let recorded = until_played(&house).await["feeds"][0]["recorded"].clone();
    let history = house.get("/api/v1/market/history/BTC-USDT").await.body;
    let price = house.get("/api/v1/market/price/BTC-USDT").await.body;
    assert!(recorded.as_u64() > Some(50), "{recorded}");
    assert!(house.stop().await.success());

    let house = House::start(&folder, ["serve", "--feed", &feed]).await;
    assert_eq!(until_played(&house).await["feeds"][0]["repeated"], recorded);
    assert_eq!(house.get("/api/v1/market/history/BTC-USDT").await.body, history);
    assert_eq!(house.get("/api/v1/market/price/BTC-USDT").await.body, price);
}

#[tokio::test]
async fn a_wrong_word_ends_the_house_with_its_code_and_a_reason() {
    for (words, code, reason) in [
        (vec!["serve", "--feed", "binnce:BTC-USDT"], 5, "binnce"),
        (vec!["serve", "--log", "kafka://127.0.0.1"], 5, "embedded:FOLDER"),
        (vec!["serve", "--log", "nats://127.0.0.1:1"], 1, "nats://127.0.0.1:1"),
        (vec!["serve", "--config", "missing.toml"], 5, "missing.toml"),
        (vec!["serve", "--fed", "simulated"], 2, "--fed"),
        (vec!["dmo"], 2, "dmo"),
    ] {
        let (status, said) = crate::house::run(&folder(), &words).await;
        assert_eq!(status, Some(code), "{words:?}: {said}");
        assert!(said.contains(reason), "{words:?}: {said}");
    }
}

#[tokio::test]
async fn two_houses_do_not_share_a_folder() {
    let folder = folder();
    let _house = House::start(&folder, ["demo"]).await;

    let words = ["demo", "--listen", "127.0.0.1:0"];
    let (status, said) = crate::house::run(&folder, &words).await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("another process has the ledger log open"), "{said}");
}

#[tokio::test]
async fn the_demo_answers_its_first_prices_within_seconds() {
    let folder = folder();
    // Built before the watch is started.
    drop(House::start(&folder, ["demo"]).await);
    let start = std::time::Instant::now();
    let house = House::start(&folder, ["demo", "--seed", "7"]).await;
    for symbol in ["BTC-USDT", "ETH-USDT", "SOL-USDT"] {
        let path = format!("/api/v1/market/price/{symbol}");
        house.until(&path, |answer| answer.status == 200).await;
    }
    // Five on a machine of one's own; other tests run beside this one.
    let took = start.elapsed();
    assert!(took.as_secs() < 15, "{took:?}");
}
