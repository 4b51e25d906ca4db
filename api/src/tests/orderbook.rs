//! The order book, over REST and over the WebSocket.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::book::LostReason;
use domain::event::Event;
use expect_test::expect;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::settings::{Settings, WsSettings};
use crate::tests::client::{Client, keys, seq};
use crate::tests::house::{House, diff, lost, snapshot, tick};

const BTC: &str = "market-binance.BTC-USDT";
const PATH: &str = "/v1/market/orderbook/BTC-USDT";
const AT: &str = "2024-03-21T09:30:00.123Z";
const DELTAS: &str = r#"{"id":1,"action":"subscribe","channel":"orderbook","symbol":"BTC-USDT","depth":2,"mode":"delta"}"#;
const WHOLE: &str =
    r#"{"id":1,"action":"subscribe","channel":"orderbook","symbol":"BTC-USDT","depth":2}"#;
const PLAIN: &str = r#"{"action":"subscribe","channel":"orderbook","symbol":"BTC-USDT","depth":2}"#;

/// The book of the specification, and one level more.
fn sample() -> Event {
    let (bids, asks) = ("65000.00:1.234 64999:2.345 64998:1", "65001.00:1.234 65002.00:2.345");
    snapshot(100, AT, bids, asks)
}

/// A house in which the specification's example is true.
async fn house() -> House {
    house_with(WsSettings::default()).await
}

async fn house_with(settings: WsSettings) -> House {
    let house = House::with(Settings { ws: settings, ..Settings::default() }).await;
    house.record(BTC, vec![tick(1, "2024-03-21T09:30:00Z", "65000.50", "0.001"), sample()]).await;
    house
}

#[tokio::test]
async fn a_book_is_answered_as_the_specification_shows_it() {
    let house = house().await;
    let answer = house.get(&format!("{PATH}?depth=2")).await;
    assert_eq!((answer.status, answer.header("Cache-Control")), (200, Some("no-store")));
    expect![[r#"{"symbol":"BTC-USDT","bids":[["65000.00","1.234"],["64999.00","2.345"]],"asks":[["65001.00","1.234"],["65002.00","2.345"]],"timestamp":"2024-03-21T09:30:00.123Z","exchange":"binance","synced":true,"verified":true,"age_ms":877,"stale":false,"last_update_id":100,"entry":{"stream":"market-binance.BTC-USDT","version":1}}"#]]
        .assert_eq(&answer.body);
    assert_eq!(house.get(PATH).await.json()["bids"].as_array().unwrap().len(), 3);
    for depth in ["0", "101", "many", "-1"] {
        let refused = house.get(&format!("{PATH}?depth={depth}")).await;
        assert_eq!((refused.status, &refused.json()["code"]), (400, &"400".into()), "{depth}");
        assert_eq!(refused.json()["errors"][0]["field"], "depth");
    }
}

#[tokio::test]
async fn a_book_that_cannot_be_trusted_is_no_answer() {
    let house = House::open().await;
    assert_eq!(house.get("/v1/market/orderbook/X-Y").await.status, 404);
    let detail = async |expected: &str| {
        let answer = house.get(PATH).await;
        assert_eq!((answer.status, &answer.json()["code"]), (503, &"MARKET_002".into()));
        assert_eq!(answer.header("Retry-After"), Some("5"));
        assert_eq!(answer.json()["detail"], expected);
    };
    detail("binance has told no book of BTC-USDT yet").await;
    house.record(BTC, vec![sample()]).await;
    house.clock.set("2024-03-21T09:30:05.124Z");
    assert_eq!(house.get(PATH).await.json()["stale"], true);
    house.clock.set("2024-03-21T09:30:51Z");
    detail("the book of BTC-USDT at binance is 50 seconds old").await;
    house.record(BTC, vec![lost(AT, LostReason::Silent)]).await;
    detail("the book of BTC-USDT at binance is lost").await;
}

#[tokio::test]
async fn a_snapshot_is_the_answer_of_a_query() {
    let house = house().await;
    let mut client = Client::extended(&house).await;
    assert_eq!(client.ask(WHOLE).await["resumed"], false);
    let frame = client.frame().await;
    expect![[r#"{"type":"snapshot","channel":"orderbook","seq":257,"symbol":"BTC-USDT","bids":[["65000.00","1.234"],["64999.00","2.345"]],"asks":[["65001.00","1.234"],["65002.00","2.345"]],"timestamp":"2024-03-21T09:30:00.123Z","checksum":1922127226,"last_update_id":100,"synced":true,"verified":true}"#]]
        .assert_eq(&frame.to_string());
    let answer = house.get(&format!("{PATH}?depth=2")).await.json();
    for key in ["symbol", "bids", "asks", "timestamp", "last_update_id", "synced", "verified"] {
        assert_eq!(answer[key], frame[key], "{key}");
    }
    // A deep change is a snapshot as well: its time and its id are news.
    house.record(BTC, vec![diff(101, AT, "64998:5", "")]).await;
    let next = client.frame().await;
    assert_eq!((seq(&next), &next["last_update_id"]), (512, &101.into()));
    assert_eq!(next["bids"], frame["bids"]);
}

#[tokio::test]
async fn a_delta_says_what_became_of_the_best_levels() {
    let house = house().await;
    let mut client = Client::extended(&house).await;
    client.ask(DELTAS).await;
    assert_eq!(client.frame().await["type"], "snapshot");
    let changes = vec![
        // Not among the best two: nothing is told.
        diff(101, AT, "64998:7", ""),
        diff(102, "2024-03-21T09:30:00.2Z", "65000.00:0", "65001.00:3"),
        diff(103, AT, "65000.50:1", ""),
    ];
    house.record(BTC, changes).await;
    expect![[r#"{"type":"delta","channel":"orderbook","seq":513,"prev_seq":257,"bids":[["65000.00","0"],["64998.00","7.000"]],"asks":[["65001.00","3.000"]],"symbol":"BTC-USDT","timestamp":"2024-03-21T09:30:00.200Z","checksum":3961648793,"last_update_id":102,"synced":true,"verified":true}"#]]
        .assert_eq(&client.next().await);
    let next = client.frame().await;
    assert_eq!((&next["prev_seq"], seq(&next)), (&513.into(), 514));
    assert_eq!(next["bids"], json!([["65000.50", "1.000"], ["64998.00", "0"]]));
}

#[tokio::test]
async fn a_plain_book_has_the_keys_of_the_specification_and_comes_now_and_then() {
    let settings =
        WsSettings { plain_book_every: Duration::from_millis(300), ..WsSettings::default() };
    let house = house_with(settings).await;
    let mut client = Client::open(&house).await;
    let first = client.ask(PLAIN).await;
    assert_eq!(keys(&first), ["symbol", "bids", "asks", "timestamp"]);
    for id in 101..=120 {
        house.record(BTC, vec![diff(id, AT, &format!("65000.00:{id}"), "")]).await;
    }
    // All at once, and no word of what was left out.
    assert_eq!(client.frame().await["bids"][0], json!(["65000.00", "120.000"]));
}

#[tokio::test]
async fn a_lost_book_is_one_error_and_silence_until_the_next() {
    let house = house().await;
    let mut whole = Client::extended(&house).await;
    let mut deltas = Client::extended(&house).await;
    let mut plain = Client::open(&house).await;
    whole.ask(WHOLE).await;
    deltas.ask(DELTAS).await;
    plain.send(PLAIN).await;
    for client in [&mut whole, &mut deltas, &mut plain] {
        client.frame().await;
    }
    house.record(BTC, vec![lost(AT, LostReason::Disconnected)]).await;
    house.record(BTC, vec![diff(101, AT, "65000:1", ""), lost(AT, LostReason::Silent)]).await;
    for client in [&mut whole, &mut deltas, &mut plain] {
        expect![[r#"{"type":"error","code":"MARKET_002","message":"거래소 연결 실패","detail":"the book of BTC-USDT is lost: the connection ended","channel":"orderbook","symbol":"BTC-USDT"}"#]]
            .assert_eq(&client.next().await);
    }
    // One who comes now is told the same.
    let mut late = Client::extended(&house).await;
    late.ask(DELTAS).await;
    assert_eq!(late.frame().await["code"], "MARKET_002");

    house.record(BTC, vec![snapshot(200, AT, "64000:1", "64001:1")]).await;
    house.record(BTC, vec![diff(201, AT, "64000:2", "")]).await;
    for client in [&mut whole, &mut deltas, &mut late] {
        let frame = client.frame().await;
        assert_eq!((&frame["type"], &frame["last_update_id"]), (&"snapshot".into(), &200.into()));
        assert_eq!(client.frame().await["last_update_id"], 201);
    }
    assert_eq!(plain.frame().await["bids"][0][0], "64000.00");
}

#[tokio::test]
async fn a_change_that_does_not_follow_loses_the_book() {
    let house = house().await;
    let mut client = Client::extended(&house).await;
    client.ask(DELTAS).await;
    client.frame().await;
    house.record(BTC, vec![diff(103, AT, "65000:1", "")]).await;
    assert!(client.frame().await["detail"].as_str().unwrap().ends_with("is missing"));
    assert_eq!(house.get(PATH).await.status, 503);
}

#[tokio::test]
async fn a_book_that_grew_old_is_an_error_until_it_is_told_again() {
    let house = house().await;
    house.clock.set("2024-03-21T10:30:00Z");
    let mut client = Client::extended(&house).await;
    client.ask(DELTAS).await;
    assert_eq!(client.frame().await["code"], "MARKET_002");
    house.clock.set("2024-03-21T09:30:01Z");
    house.record(BTC, vec![diff(101, AT, "65000:9", "")]).await;
    let frame = client.frame().await;
    assert_eq!((&frame["type"], &frame["bids"][0][1]), (&"snapshot".into(), &"9.000".into()));
}

#[tokio::test]
async fn changes_go_on_where_the_client_was_or_start_anew() {
    let house = house_with(WsSettings { ring_frames_max: 4, ..WsSettings::default() }).await;
    let mut client = Client::extended(&house).await;
    let epoch = client.ask(DELTAS).await["epoch"].clone();
    let from = seq(&client.frame().await);
    drop(client);
    let change = |id: u64| vec![diff(id, AT, &format!("65000.00:{id}"), "")];
    for id in 101..=103 {
        house.record(BTC, change(id)).await;
    }
    let resume = json!({
        "id": 1, "action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": 2,
        "mode": "delta", "from_seq": from, "epoch": epoch,
    });
    let mut client = Client::extended(&house).await;
    assert_eq!(client.ask(&resume.to_string()).await["resumed"], true);
    let mut prev = from;
    for _ in 101..=103 {
        let frame = client.frame().await;
        assert_eq!((&frame["type"], &frame["prev_seq"]), (&"delta".into(), &prev.into()));
        prev = seq(&frame);
    }
    for id in 104..=110 {
        house.record(BTC, change(id)).await;
    }
    // The ring has room for four: what came before is gone.
    while seq(&client.frame().await) < 11 * 256 {}
    let mut client = Client::extended(&house).await;
    assert_eq!(client.ask(&resume.to_string()).await["resumed"], false);
    let (gap, whole) = (client.frame().await, client.frame().await);
    assert_eq!((&gap["reason"], &gap["from"]), (&"expired".into(), &(from + 1).into()));
    assert_eq!((&whole["type"], &whole["seq"]), (&"snapshot".into(), &(11 * 256).into()));
}

#[tokio::test]
async fn who_wants_changes_now_and_then_gets_a_book_for_what_was_left_out() {
    let house = house().await;
    let mut client = Client::extended(&house).await;
    let paced = DELTAS.replace(r#""depth":2"#, r#""depth":2,"max_rate_ms":300"#);
    client.ask(&paced).await;
    client.frame().await;
    for id in 101..=105 {
        house.record(BTC, vec![diff(id, AT, &format!("65000.00:{id}"), "")]).await;
    }
    let (gap, whole) = (client.frame().await, client.frame().await);
    assert_eq!((&gap["reason"], &gap["to"]), (&"conflated".into(), &(seq(&whole) - 1).into()));
    assert_eq!((&whole["type"], &whole["last_update_id"]), (&"snapshot".into(), &105.into()));
}

/// What a client makes of snapshots and deltas.
#[derive(Default)]
struct Copy {
    seq: u64,
    bids: BTreeMap<String, String>,
    asks: BTreeMap<String, String>,
}

impl Copy {
    fn take(&mut self, frame: &Value) {
        if frame["type"] == "snapshot" {
            (self.bids, self.asks) = (BTreeMap::new(), BTreeMap::new());
        } else {
            assert_eq!(frame["prev_seq"], self.seq);
        }
        self.seq = seq(frame);
        for (side, key) in [(&mut self.bids, "bids"), (&mut self.asks, "asks")] {
            for level in frame[key].as_array().unwrap() {
                let [price, quantity] = [&level[0], &level[1]].map(|it| it.as_str().unwrap());
                if quantity == "0" {
                    assert!(side.remove(price).is_some(), "{frame}");
                } else {
                    side.insert(price.to_owned(), quantity.to_owned());
                }
            }
        }
    }

    fn shown(&self) -> (Value, Value) {
        // Prices of one length: the order of their texts is theirs.
        (
            json!(self.bids.iter().rev().collect::<Vec<_>>()),
            json!(self.asks.iter().collect::<Vec<_>>()),
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn changes_make_the_best_levels_that_a_query_shows(
        depth in 1..6_usize,
        changes in prop::collection::vec((0..2_u8, 0..12_u32, 0..4_u32), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = house().await;
            let mut client = Client::extended(&house).await;
            client.ask(&DELTAS.replace(r#""depth":2"#, &format!(r#""depth":{depth}"#))).await;
            let mut copy = Copy::default();
            copy.take(&client.frame().await);
            for (id, (side, step, quantity)) in (101..).zip(changes) {
                let (bid, ask) = (65_000 - step, 65_001 + step);
                let event = match side {
                    0 => diff(id, AT, &format!("{bid}.00:{quantity}"), ""),
                    _ => diff(id, AT, "", &format!("{ask}.00:{quantity}")),
                };
                house.record(BTC, vec![event]).await;
                let answer = house.get(&format!("{PATH}?depth={depth}")).await.json();
                let shown = (answer["bids"].clone(), answer["asks"].clone());
                if copy.shown() != shown {
                    copy.take(&client.frame().await);
                }
                assert_eq!(copy.shown(), shown);
            }
        });
    }
}

#[tokio::test]
async fn a_book_that_grows_old_while_it_is_listened_to_is_one_error() {
    let house = house().await;
    let (mut whole, mut deltas) = (Client::extended(&house).await, Client::extended(&house).await);
    whole.ask(WHOLE).await;
    deltas.ask(DELTAS).await;
    for client in [&mut whole, &mut deltas] {
        assert_eq!(client.frame().await["type"], "snapshot");
    }
    house.clock.set("2024-03-21T09:31:30Z");
    for client in [&mut whole, &mut deltas] {
        let error = client.frame().await;
        assert_eq!(error["code"], "MARKET_002");
        assert!(error["detail"].as_str().unwrap().ends_with("for too long"), "{error}");
    }
    // It is lost as well, and told again: of that, only the latter is news.
    house.record(BTC, vec![lost(AT, LostReason::Silent)]).await;
    let later = "2024-03-21T09:31:30Z";
    house.record(BTC, vec![snapshot(200, later, "64000:1", "64001:1")]).await;
    for client in [&mut whole, &mut deltas] {
        let frame = client.frame().await;
        assert_eq!((&frame["type"], &frame["last_update_id"]), (&"snapshot".into(), &200.into()));
    }
}

#[tokio::test]
async fn prices_with_more_digits_than_before_are_a_book_and_no_change() {
    let house = house().await;
    let mut client = Client::extended(&house).await;
    client.ask(DELTAS).await;
    client.frame().await;
    let finer = tick(2, "2024-03-21T09:30:00.5Z", "65000.505", "0.001");
    house.record(BTC, vec![finer]).await;
    // One who comes in between does not hide it from those who were here.
    let mut other = Client::extended(&house).await;
    other.ask(WHOLE).await;
    other.frame().await;
    house.record(BTC, vec![diff(101, AT, "65000:9", "")]).await;
    let frame = client.frame().await;
    assert_eq!((&frame["type"], &frame["bids"][1][0]), (&"snapshot".into(), &"64999.000".into()));
    house.record(BTC, vec![diff(102, AT, "65000:8", "")]).await;
    assert_eq!(client.frame().await["prev_seq"], seq(&frame));
}

#[tokio::test]
async fn a_venue_that_takes_over_brings_its_own_book_or_none() {
    const KRAKEN: &str = "market-kraken.BTC-USDT";
    for takes_over_with_a_book in [true, false] {
        let house = House::open().await;
        let first = tick(1, "2024-03-21T09:30:00Z", "65000.50", "0.001");
        house.record(KRAKEN, vec![first, sample()]).await;
        let mut client = Client::extended(&house).await;
        client.ask(DELTAS).await;
        client.frame().await;
        if takes_over_with_a_book {
            house.record(BTC, vec![snapshot(7, AT, "64000.00:1", "64001.00:1")]).await;
        }
        house.record(KRAKEN, vec![diff(101, AT, "65000.00:9", "")]).await;
        let last = client.frame().await;
        assert_eq!(last["type"], "delta");

        house.record(BTC, vec![tick(1, "2024-03-21T09:30:00Z", "64000.50", "0.001")]).await;
        let frame = client.frame().await;
        if takes_over_with_a_book {
            assert_eq!((&frame["type"], &frame["last_update_id"]), (&"snapshot".into(), &7.into()));
            assert!(seq(&frame) > seq(&last));
            house.record(BTC, vec![diff(8, AT, "64000.00:2", "")]).await;
            assert_eq!(client.frame().await["prev_seq"], seq(&frame));
        } else {
            assert_eq!(frame["code"], "MARKET_002");
        }
    }
}
