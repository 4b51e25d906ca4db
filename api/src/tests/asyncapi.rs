//! The document of the WebSocket: every example in it is played against a house.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::access::{Role, Scope};
use domain::book::LostReason;
use serde_json::{Value, json};

use crate::settings::{Settings, WsSettings};
use crate::tests::client::Client;
use crate::tests::house::{House, TRADER, diff, lost, snapshot, tick};
use crate::tests::page::assert_references;
use crate::tests::ws_auth::{auth, key, text, ticket};

const BTC: &str = "market-binance.BTC-USDT";
const AT: &str = "2024-03-21T09:30:00.123Z";

async fn house() -> House {
    let settings =
        WsSettings { heartbeat_every: Duration::from_millis(100), ..WsSettings::default() };
    let house = House::with(Settings { ws: settings, ..Settings::default() }).await;
    let book = snapshot(100, AT, "65000.00:1.234", "65001.00:1.234");
    house.record(BTC, vec![tick(1, AT, "65432.10", "1.23"), book]).await;
    house.fund("100000.00").await;
    let order = json!({"symbol": "BTC-USDT", "size": "0.5", "type": "long", "leverage": "10"});
    let opened = house.post("/v1/portfolio/positions", &order.to_string()).await;
    assert_eq!(opened.status, 201, "{}", opened.body);
    house
}

async fn document(house: &House) -> Value {
    house.get("/asyncapi.json").await.json()
}

/// The examples of an operation's messages: name of the message, and the example.
fn examples(document: &Value, operation: &str) -> Vec<(String, Value)> {
    let messages = document["operations"][operation]["messages"].as_array().unwrap();
    let mut examples = Vec::new();
    for message in messages {
        let name = message["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let of = document["components"]["messages"][&name]["examples"].as_array().unwrap();
        assert!(!of.is_empty(), "{name}");
        examples.extend(of.iter().map(|example| (name.clone(), example.clone())));
    }
    examples
}

/// Whether a frame says all that is expected of it.
fn says(frame: &Value, expected: &Value) -> bool {
    expected.as_object().unwrap().iter().all(|(key, value)| frame[key] == *value)
}

/// Returns the shape of a frame: its keys in order, and what kind of value each has. Of a list, the
/// shape of its first.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            object.iter().map(|(key, value)| json!([key, shape(value)])).collect()
        }
        Value::Array(list) => json!(["list", list.first().map(shape)]),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => "null".into(),
    }
}

#[tokio::test]
async fn what_the_document_says_to_us_is_answered_as_it_says() {
    let house = house().await;
    let document = document(&house).await;
    for (name, example) in examples(&document, "hear") {
        let mut client = match (example["x-mode"].as_str(), example["x-who"].as_str()) {
            (Some("plain"), _) => Client::open(&house).await,
            (_, Some("nobody")) => Client::extended(&house).await,
            _ => Client::trader(&house).await,
        };
        let mut message = example["payload"].clone();
        if example["x-answer"]["action"] == "auth" {
            present_good(&house, &mut message).await;
        }
        client.send(&message.to_string()).await;
        let answer = loop {
            let frame = client.frame().await;
            if frame["type"] != "heartbeat" {
                break frame;
            }
        };
        assert!(says(&answer, &example["x-answer"]), "{name}: {example} got {answer}");
        assert_ne!(answer["type"] == "error", example["x-answer"]["type"] != "error", "{answer}");
    }
}

/// Puts what is good in this house in the place of what stands in an example.
async fn present_good(house: &House, message: &mut Value) {
    if let Some(shown) = message.get_mut("token") {
        *shown = house.token(TRADER, Role::Trader, None).into();
    } else if let Some(shown) = message.get_mut("api_key") {
        *shown = text(&key(house, |_| {}).await).into();
    } else {
        message["ticket"] = ticket(house, &[]).await.into();
    }
}

#[tokio::test]
async fn what_the_document_shows_of_us_is_what_we_send() {
    let house = house().await;
    let document = document(&house).await;
    let real: BTreeSet<String> =
        frames(&house).await.iter().map(|frame| shape(frame).to_string()).collect();
    for (name, example) in examples(&document, "tell") {
        let expected = shape(&example["payload"]).to_string();
        assert!(real.contains(&expected), "{name}: {expected} is none of {real:#?}");
    }
}

/// Makes the house send every kind of frame.
async fn frames(house: &House) -> Vec<Value> {
    let mut frames = Vec::new();
    let mut plain = Client::open(house).await;
    for channel in ["market", "orderbook"] {
        let subscribe = json!({"action": "subscribe", "channel": channel, "symbol": "BTC-USDT"});
        frames.push(plain.ask(&subscribe.to_string()).await);
    }
    let mut client = Client::extended(house).await;
    let bad = json!({"action": "auth", "token": "x"}).to_string();
    frames.push(client.ask(&bad).await);
    frames.push(client.ask(&auth(10, "token", &house.token(TRADER, Role::Trader, None))).await);
    frames.push(
        Client::extended(house)
            .await
            .ask(&auth(11, "api_key", &text(&key(house, |_| {}).await)))
            .await,
    );
    for message in [
        json!({"id": 1, "action": "subscribe", "channel": "market", "symbols": ["BTC-USDT", "X-Y"]}),
        json!({"id": 2, "action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "mode": "delta"}),
        json!({"id": 3, "action": "list"}),
        json!({"id": 4, "action": "subscribe", "channel": "candles", "symbol": "BTC-USDT"}),
        json!({"id": 5, "action": "unsubscribe", "channel": "candles", "symbol": "BTC-USDT"}),
        json!({"id": 6, "action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 0}),
        json!({"id": "p1", "action": "ping"}),
        json!({"id": 7, "action": "subscribe", "channel": "market", "symbol": "BTC-USDT", "from_seq": 1, "epoch": "another"}),
    ] {
        client.send(&message.to_string()).await;
        if message["id"] == 4 {
            until(&mut client, &mut frames, |frame| frame["interval"] == "1m").await;
        }
    }
    until(&mut client, &mut frames, |frame| frame["type"] == "gap").await;
    for (channel, id) in [("positions", 8), ("account", 9)] {
        let subscribe = json!({"id": id, "action": "subscribe", "channel": channel});
        client.send(&subscribe.to_string()).await;
        until(&mut client, &mut frames, |frame| {
            frame["channel"] == channel && frame["type"] == "snapshot"
        })
        .await;
    }
    let change = diff(101, AT, "65000.00:0 64000.00:1", "");
    house.record(BTC, vec![change]).await;
    until(&mut client, &mut frames, |frame| frame["type"] == "delta").await;
    house.record(BTC, vec![lost(AT, LostReason::Hole)]).await;
    until(&mut client, &mut frames, |frame| frame["code"] == "MARKET_002").await;
    until(&mut client, &mut frames, |frame| frame["type"] == "heartbeat").await;
    let less = house.token(TRADER, Role::Trader, Some(&[Scope::MarketRead]));
    client.send(&auth(12, "token", &less)).await;
    until(&mut client, &mut frames, |frame| frame["code"] == "AUTH_003").await;
    house.stop.cancel();
    frames.extend(client.farewell().await.2);
    frames
}

async fn until(client: &mut Client, frames: &mut Vec<Value>, is_it: impl Fn(&Value) -> bool) {
    // Heartbeats come for ever, so what does not come is a failure here.
    for _ in 0..100 {
        let frame = client.frame().await;
        let found = is_it(&frame);
        frames.push(frame);
        if found {
            return;
        }
    }
    panic!("it is none of {frames:#?}");
}

#[tokio::test]
async fn the_document_is_whole_and_not_sent_twice() {
    let house = house().await;
    let answer = house.get("/asyncapi.json").await;
    let document = answer.json();
    assert_references(&document, &document);
    assert_eq!(document["asyncapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let held = [("If-None-Match", answer.header("ETag").unwrap())];
    assert_eq!(house.ask("GET", "/asyncapi.json", &held).await.status, 304);

    // Each message is heard or told, and each example names only keys that its schema has.
    let messages = document["components"]["messages"].as_object().unwrap();
    let mut played: BTreeMap<String, usize> = BTreeMap::new();
    for operation in ["hear", "tell"] {
        for (name, example) in examples(&document, operation) {
            let schema = &messages[&name]["payload"];
            let known = schema["properties"].as_object().unwrap();
            let payload = example["payload"].as_object().unwrap();
            assert!(payload.keys().all(|key| known.contains_key(key)), "{name}");
            let required = schema["required"].as_array().unwrap();
            assert!(
                required.iter().all(|key| payload.contains_key(key.as_str().unwrap())),
                "{name}"
            );
            *played.entry(name).or_default() += 1;
        }
    }
    assert_eq!(played.len(), messages.len());
}
