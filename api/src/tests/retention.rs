//! What sockets tell of entries that retention has dropped.

use std::sync::Arc;

use domain::time::Timestamp;
use eventlog::entry::Offset;
use eventlog::log::{Retention, Trim};
use eventlog::memory::Memory;
use eventlog::stream::Log;
use serde_json::{Value, json};

use crate::settings::Settings;
use crate::tests::client::Client;
use crate::tests::house::{House, append, diff, snapshot, tick};

const BTC: &str = "market-binance.BTC-USDT";

/// A house around a log of nine trades, an entry each.
async fn house() -> House {
    let market = Arc::new(Memory::new(Log::Market));
    for id in 1..=9 {
        let at = format!("2024-03-21T09:30:00.{id:06}Z");
        append(&market, BTC, vec![tick(id, &at, &format!("{}.00", 60_000 + id), "1")]).await;
    }
    House::around(market, Settings::default(), 9).await
}

async fn drop_up_to(house: &House, offset: u64) {
    let (recorded_before, bytes_max) = (Timestamp::MAX, u64::MAX);
    let retention = Retention { recorded_before, bytes_max, up_to: Offset(offset) };
    assert_eq!(house.market.trim(retention).await.unwrap().floor, Offset(offset));
}

fn subscribe(channel: &str) -> Value {
    json!({"id": 1, "action": "subscribe", "channel": channel, "symbol": "BTC-USDT"})
}

fn resume(from_seq: u64, epoch: &Value) -> String {
    let mut subscribe = subscribe("market");
    subscribe["from_seq"] = from_seq.into();
    subscribe["epoch"] = epoch.clone();
    subscribe.to_string()
}

#[tokio::test]
async fn one_who_missed_what_was_dropped_is_told_of_the_gap() {
    let house = house().await;
    let mut client = Client::extended(&house).await;
    let epoch = client.ask(&subscribe("market").to_string()).await["epoch"].clone();
    assert_eq!(client.frame().await["price"], "60009.00");
    drop_up_to(&house, 5).await;

    for seq in [0, 2 * 256, 5 * 256] {
        let mut client = Client::extended(&house).await;
        assert_eq!(client.ask(&resume(seq, &epoch)).await["resumed"], false, "{seq}");
        let gap = client.frame().await;
        assert_eq!((&gap["reason"], &gap["from"]), (&"expired".into(), &(seq + 1).into()));
        assert_eq!(client.frame().await["price"], "60009.00");
    }
    let mut client = Client::extended(&house).await;
    assert_eq!(client.ask(&resume(6 * 256, &epoch)).await["resumed"], true);
    for price in ["60007.00", "60008.00", "60009.00"] {
        assert_eq!(client.frame().await["price"], price);
    }
}

#[tokio::test]
async fn a_topic_begins_although_its_last_entry_was_dropped() {
    let house = house().await;
    let book = vec![snapshot(5, "2024-03-21T09:30:00Z", "60000.00:1", "60001.00:1")];
    house.record(BTC, book).await;
    house.record(BTC, vec![tick(10, "2024-03-21T09:30:00.5Z", "60010.00", "1")]).await;
    drop_up_to(&house, 11).await;

    let mut client = Client::extended(&house).await;
    client.ask(&subscribe("market").to_string()).await;
    house.record(BTC, vec![tick(11, "2024-03-21T09:30:01Z", "60011.00", "1")]).await;
    let told = client.frame().await;
    assert_eq!((&told["price"], &told["seq"]), (&"60011.00".into(), &(12 * 256).into()));

    let mut client = Client::extended(&house).await;
    client.ask(&subscribe("orderbook").to_string()).await;
    let lost = client.frame().await;
    assert_eq!((&lost["type"], &lost["code"]), (&"error".into(), &"MARKET_002".into()));
    house.record(BTC, vec![diff(6, "2024-03-21T09:30:01Z", "60000.00:2", "")]).await;
    let book = vec![snapshot(9, "2024-03-21T09:30:01Z", "60002.00:1", "60003.00:1")];
    house.record(BTC, book).await;
    assert_eq!(client.frame().await["bids"], json!([["60002.00", "1"]]));
}
