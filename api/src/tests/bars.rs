//! Candles over the WebSocket.

use domain::event::Event;
use expect_test::expect;
use serde_json::{Value, json};

use crate::settings::{Settings, WsSettings};
use crate::tests::client::{Client, seq};
use crate::tests::house::{House, pulse, snapshot, tick};

const BTC: &str = "market-binance.BTC-USDT";
const PULSE: &str = "pulse-binance";

fn subscribe(interval: &str) -> String {
    json!({"id": 1, "action": "subscribe", "channel": "candles", "symbol": "BTC-USDT", "interval": interval})
        .to_string()
}

fn trade(id: u64, at: &str, price: &str) -> Event {
    tick(id, &format!("2024-03-21T09:{at}Z"), price, "1.00")
}

async fn house() -> House {
    let house = House::open().await;
    house.record(BTC, vec![trade(1, "00:01", "65000.00")]).await;
    house
}

/// Minute, close, trades, closed, revision.
fn drawn(frame: &Value) -> String {
    let text = |key: &str| frame[key].as_str().unwrap_or_else(|| panic!("{frame}"));
    let minute = text("timestamp").get(14..16).unwrap();
    let state = if frame["closed"] == true { "closed" } else { "forms" };
    format!(
        "{minute} {} {} {state} {} r{}",
        text("close"),
        frame["trades"],
        text("source"),
        frame["revision"]
    )
}

async fn draw(client: &mut Client, frames: usize) -> String {
    let (mut drawing, mut last) = (String::new(), 0);
    for _ in 0..frames {
        let frame = client.frame().await;
        assert!(seq(&frame) > last, "{frame}");
        last = seq(&frame);
        drawing += &(drawn(&frame) + "\n");
    }
    drawing
}

#[tokio::test]
async fn a_candle_forms_and_closes() {
    let house = house().await;
    let mut client = Client::trader(&house).await;
    client.ask(&subscribe("1m")).await;
    expect![[r#"{"type":"data","channel":"candles","seq":511,"symbol":"BTC-USDT","interval":"1m","timestamp":"2024-03-21T09:00:00.000Z","open":"65000.00","high":"65000.00","low":"65000.00","close":"65000.00","volume":"1","quote_volume":"65000.00","taker_buy":"1","trades":1,"closed":false,"source":"built","revision":0}"#]]
        .assert_eq(&client.next().await);
    for (id, at) in [(2, "00:30"), (3, "01:00"), (4, "01:02")] {
        house.record(BTC, vec![trade(id, at, &format!("6500{id}.00"))]).await;
        let frames = if id == 4 { 2 } else { 1 };
        let drawing = draw(&mut client, frames).await;
        match id {
            2 => expect![["00 65002.00 2 forms built r0\n"]].assert_eq(&drawing),
            // Two seconds more, and the minute before is closed.
            3 => expect![["01 65003.00 1 forms built r0\n"]].assert_eq(&drawing),
            _ => expect![["00 65002.00 2 closed built r0\n01 65004.00 2 forms built r0\n"]]
                .assert_eq(&drawing),
        }
    }
}

#[tokio::test]
async fn a_silent_minute_closes_as_a_query_shows_it() {
    let house = house().await;
    let mut client = Client::trader(&house).await;
    client.ask(&subscribe("1m")).await;
    client.frame().await;
    house.record(PULSE, vec![pulse("2024-03-21T09:03:02Z")]).await;
    expect![[r#"
        00 65000.00 1 closed built r0
        01 65000.00 0 closed filled r0
        02 65000.00 0 closed filled r0
    "#]]
    .assert_eq(&draw(&mut client, 3).await);
    // Another instrument moves the venue's clock as well.
    let other = vec![tick(1, "2024-03-21T09:04:02Z", "3000.00", "1")];
    house.record("market-binance.ETH-USDT", other).await;
    assert_eq!(draw(&mut client, 1).await, "03 65000.00 0 closed filled r0\n");
}

#[tokio::test]
async fn a_late_trade_corrects_what_was_closed_in_every_interval() {
    let house = house().await;
    house.record(BTC, vec![trade(5, "06:30", "65500.00")]).await;
    let (mut minutes, mut fives) = (Client::trader(&house).await, Client::trader(&house).await);
    minutes.ask(&subscribe("1m")).await;
    fives.ask(&subscribe("5m")).await;
    assert_eq!(draw(&mut minutes, 1).await, "06 65500.00 1 forms built r0\n");
    assert_eq!(draw(&mut fives, 1).await, "05 65500.00 1 forms built r0\n");

    let late = vec![trade(2, "00:59", "65100.00"), trade(3, "01:30", "65200.00")];
    house.record(BTC, late).await;
    expect![[r#"
        00 65100.00 2 closed built r1
        01 65200.00 1 closed built r1
    "#]]
    .assert_eq(&draw(&mut minutes, 2).await);
    assert_eq!(draw(&mut fives, 1).await, "00 65200.00 3 closed built r1\n");
}

#[tokio::test]
async fn one_who_lags_gets_every_closed_candle_and_the_newest_of_those_that_form() {
    let house = house().await;
    let mut client = Client::trader(&house).await;
    let paced = subscribe("1m").replace(r#""id":1"#, r#""id":1,"max_rate_ms":500"#);
    client.ask(&paced).await;
    client.frame().await;
    for (id, at) in (2..).zip(["00:20", "00:40", "01:05", "01:30", "02:10", "02:20", "02:30"]) {
        house.record(BTC, vec![trade(id, at, &format!("6500{id}.00"))]).await;
    }
    expect![[r#"
        00 65003.00 3 closed built r0
        01 65005.00 2 closed built r0
        02 65008.00 3 forms built r0
    "#]]
    .assert_eq(&draw(&mut client, 3).await);
}

#[tokio::test]
async fn one_who_returns_gets_the_candles_that_closed_or_is_told_of_the_gap() {
    let settings = WsSettings { ring_frames_max: 3, ..WsSettings::default() };
    let house = House::with(Settings { ws: settings, ..Settings::default() }).await;
    house.record(BTC, vec![trade(1, "00:01", "65000.00")]).await;
    let mut client = Client::trader(&house).await;
    let epoch = client.ask(&subscribe("1m")).await["epoch"].clone();
    let from = seq(&client.frame().await);
    drop(client);
    let resume = json!({
        "id": 2, "action": "subscribe", "channel": "candles", "symbol": "BTC-USDT",
        "from_seq": from, "epoch": epoch,
    });
    house.record(BTC, vec![trade(2, "01:30", "65001.00")]).await;
    house.record(BTC, vec![trade(3, "02:30", "65002.00")]).await;
    let mut client = Client::trader(&house).await;
    assert_eq!(client.ask(&resume.to_string()).await["resumed"], true);
    assert!(draw(&mut client, 3).await.ends_with("02 65002.00 1 forms built r0\n"));

    for minute in 3..=8 {
        house.record(PULSE, vec![pulse(&format!("2024-03-21T09:0{minute}:30Z"))]).await;
        draw(&mut client, 1).await;
    }
    let mut client = Client::trader(&house).await;
    assert_eq!(client.ask(&resume.to_string()).await["resumed"], false);
    assert_eq!(client.frame().await["reason"], "expired");
    assert_eq!(draw(&mut client, 1).await, "07 65002.00 0 closed filled r0\n");
}

#[tokio::test]
async fn a_book_that_is_told_closes_candles_as_a_query_shows_them() {
    let house = house().await;
    let mut client = Client::trader(&house).await;
    client.ask(&subscribe("1m")).await;
    client.frame().await;
    let book = snapshot(1, "2024-03-21T09:01:02Z", "64999.00:1", "65001.00:1");
    house.record("market-binance.ETH-USDT", vec![book]).await;
    assert_eq!(draw(&mut client, 1).await, "00 65000.00 1 closed built r0\n");
}

#[tokio::test]
async fn what_was_corrected_after_the_newest_candle_is_not_lost_behind_a_gap() {
    let house = house().await;
    let mut staying = Client::trader(&house).await;
    let epoch = staying.ask(&subscribe("1m")).await["epoch"].clone();
    staying.frame().await;
    house.record(BTC, vec![trade(5, "06:30", "65500.00")]).await;
    draw(&mut staying, 7).await;
    house.record(BTC, vec![trade(2, "00:59", "65100.00")]).await;
    draw(&mut staying, 1).await;

    let mut client = Client::trader(&house).await;
    let resume = json!({
        "id": 2, "action": "subscribe", "channel": "candles", "symbol": "BTC-USDT",
        "from_seq": 300, "epoch": epoch,
    });
    assert_eq!(client.ask(&resume.to_string()).await["resumed"], false);
    let gap = client.frame().await;
    let newest = client.frame().await;
    assert_eq!(gap["to"], seq(&newest) - 1);
    assert_eq!(drawn(&newest), "06 65500.00 1 forms built r0");
    assert_eq!(draw(&mut client, 1).await, "00 65100.00 2 closed built r1\n");
}
