//! What a client is told of its own account over the WebSocket.

use projections::holdings::CLOSED_HELD_MAX;
use serde_json::{Value, json};

use crate::tests::client::{Client, keys};
use crate::tests::house::{House, snapshot, tick};

const BTC: &str = "market-binance.BTC-USDT";
const AT: &str = "2024-03-21T09:30:00Z";
const POSITIONS: &str = r#"{"id":1,"action":"subscribe","channel":"positions"}"#;
const ACCOUNT: &str = r#"{"id":2,"action":"subscribe","channel":"account"}"#;

/// A house with a market and an account that has money.
async fn house() -> House {
    let house = House::open().await;
    let book = snapshot(100, AT, "63999.00:5", "64000.00:5");
    house.record(BTC, vec![tick(1, AT, "64000.00", "1"), book]).await;
    house.fund("100000.00").await;
    house
}

async fn open(house: &House, side: &str) -> String {
    let body = json!({"symbol": "BTC-USDT", "size": "0.5", "type": side, "leverage": "10"});
    let opened = house.post("/v1/portfolio/positions", &body.to_string()).await;
    assert_eq!(opened.status, 201, "{}", opened.body);
    opened.json()["position_id"].as_str().unwrap().to_owned()
}

/// Returns the next frame that is no sign of life.
async fn next(client: &mut Client) -> Value {
    loop {
        let frame = client.frame().await;
        if frame["type"] != "heartbeat" {
            return frame;
        }
    }
}

/// Returns the first frame in which a position of this name is told as wished.
async fn told(client: &mut Client, id: &str, wished: impl Fn(&Value) -> bool) -> (Value, Value) {
    loop {
        let frame = next(client).await;
        let positions = frame["positions"].as_array().unwrap().clone();
        let found = positions.into_iter().find(|position| position["position_id"] == id);
        if let Some(position) = found.filter(&wished) {
            return (frame, position);
        }
    }
}

#[tokio::test]
async fn positions_are_told_as_they_stand_and_then_as_they_change() {
    let house = house().await;
    let first = open(&house, "long").await;
    let mut client = Client::trader(&house).await;

    let ack = client.ask(POSITIONS).await;
    assert_eq!((&ack["type"], &ack["channel"]), (&"ack".into(), &"positions".into()));
    let whole = next(&mut client).await;
    assert_eq!(keys(&whole), ["type", "channel", "at", "positions"]);
    assert_eq!((&whole["type"], &whole["channel"]), (&"snapshot".into(), &"positions".into()));
    let listed = house.get("/v1/portfolio/positions").await.json();
    let mut listed = listed["positions"][0].clone();
    listed.as_object_mut().unwrap().shift_remove("age_ms");
    assert_eq!(whole["positions"], json!([listed]));

    house.record(BTC, vec![tick(2, AT, "65000.00", "1")]).await;
    let (frame, position) = told(&mut client, &first, |it| it["current_price"] == "65000.00").await;
    assert_eq!((&frame["type"], &position["pnl"]), (&"data".into(), &"500.00".into()));
    assert!(frame["at"]["market"].as_u64() > whole["at"]["market"].as_u64());

    let second = open(&house, "short").await;
    let (frame, _) = told(&mut client, &second, |it| it["status"] == "open").await;
    assert_eq!(frame["positions"].as_array().unwrap().len(), 1, "only what has changed: {frame}");

    let closed = house.post(&format!("/v1/portfolio/positions/{first}/close"), "{}").await;
    assert_eq!(closed.status, 200, "{}", closed.body);
    let (_, position) = told(&mut client, &first, |it| it["status"] == "closed").await;
    assert_eq!(position["exit_cause"], "requested");
}

#[tokio::test]
async fn what_is_opened_and_closed_between_two_looks_is_told_all_the_same() {
    let house = house().await;
    let mut client = Client::trader(&house).await;
    let slowly = r#"{"id":1,"action":"subscribe","channel":"positions","max_rate_ms":700}"#;
    client.ask(slowly).await;
    assert_eq!(next(&mut client).await["positions"], json!([]));

    let id = open(&house, "long").await;
    house.post(&format!("/v1/portfolio/positions/{id}/close"), "{}").await;

    let (_, position) = told(&mut client, &id, |it| it["status"] == "closed").await;
    assert_eq!(position["size"], "0.5");
}

#[tokio::test]
async fn who_has_missed_more_closings_than_are_remembered_begins_anew() {
    let house = house().await;
    let first = open(&house, "long").await;
    let mut client = Client::trader(&house).await;
    let slowly = r#"{"id":1,"action":"subscribe","channel":"positions","max_rate_ms":3000}"#;
    client.ask(slowly).await;
    assert_eq!(next(&mut client).await["positions"][0]["position_id"], *first);

    house.post(&format!("/v1/portfolio/positions/{first}/close"), "").await;
    for _ in 0..CLOSED_HELD_MAX {
        let id = open(&house, "long").await;
        house.post(&format!("/v1/portfolio/positions/{id}/close"), "").await;
    }

    let whole = next(&mut client).await;
    assert_eq!((&whole["type"], &whole["positions"]), (&"snapshot".into(), &json!([])));
}

#[tokio::test]
async fn the_account_is_told_as_it_stands_and_then_as_it_changes() {
    let house = house().await;
    let mut client = Client::trader(&house).await;

    client.ask(ACCOUNT).await;
    let whole = next(&mut client).await;
    assert_eq!(keys(&whole)[..5], ["type", "channel", "at", "account", "currency"]);
    assert_eq!((&whole["type"], &whole["equity"]), (&"snapshot".into(), &"100000.00".into()));
    assert_eq!(whole.get("age_ms"), None);

    house.post("/v1/operator/accounts/demo/deposits", r#"{"amount":"11.50"}"#).await;
    let paid = next(&mut client).await;
    assert_eq!((&paid["type"], &paid["free"]), (&"data".into(), &"100011.50".into()));
    assert!(paid["at"]["ledger"].as_u64() > whole["at"]["ledger"].as_u64());
}

#[tokio::test]
async fn an_account_that_is_not_open_is_told_when_it_is() {
    let house = House::open().await;
    let mut client = Client::trader(&house).await;

    client.ask(ACCOUNT).await;
    let error = next(&mut client).await;
    assert_eq!((&error["code"], &error["channel"]), (&"404".into(), &"account".into()));

    house.fund("5.00").await;
    let whole = next(&mut client).await;
    assert_eq!(whole["type"], "snapshot");
}

#[tokio::test]
async fn a_mark_that_has_grown_old_is_said_to_be_stale() {
    let house = house().await;
    let id = open(&house, "long").await;
    let mut client = Client::trader(&house).await;
    client.ask(POSITIONS).await;
    let (_, position) = told(&mut client, &id, |_| true).await;
    assert_eq!(position["stale"], false);

    // Nothing comes, and time passes.
    house.clock.set("2024-03-21T09:32:30Z");
    let (_, position) = told(&mut client, &id, |it| it["stale"] == true).await;
    assert_eq!(position["current_price"], "64000.00");
}

#[tokio::test]
async fn ones_own_channels_are_listed_left_and_joined_again() {
    let house = house().await;
    let mut client = Client::trader(&house).await;
    client.ask(POSITIONS).await;
    next(&mut client).await;

    let list = client.ask(r#"{"id":3,"action":"list"}"#).await;
    assert_eq!(list["subscriptions"], json!([{"channel": "positions"}]));
    let left = client.ask(r#"{"id":4,"action":"unsubscribe","channel":"positions"}"#).await;
    assert_eq!(left["action"], "unsubscribe");
    open(&house, "long").await;
    let list = client.ask(r#"{"id":5,"action":"list"}"#).await;
    assert_eq!(list["subscriptions"], json!([]), "and nothing was told in between");

    client.ask(POSITIONS).await;
    let whole = next(&mut client).await;
    assert_eq!(
        (&whole["type"], whole["positions"].as_array().unwrap().len()),
        (&"snapshot".into(), 1)
    );
}
