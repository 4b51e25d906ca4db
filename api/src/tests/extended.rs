//! The WebSocket as an extended client sees it: sequences, resuming, gaps, limits, signs of life.

use std::sync::Arc;
use std::time::Duration;

use domain::event::Event;
use domain::time::Timestamp;
use eventlog::memory::Memory;
use eventlog::stream::Log;
use expect_test::expect;
use serde_json::{Value, json};

use crate::settings::{Settings, WsSettings};
use crate::tests::client::{Client, keys, seq};
use crate::tests::house::{House, NOON, append, tick};

const BTC: &str = "market-binance.BTC-USDT";
const ETH: &str = "market-binance.ETH-USDT";
const SUBSCRIBE: &str = r#"{"id":1,"action":"subscribe","channel":"market","symbol":"BTC-USDT"}"#;

fn ws(settings: WsSettings) -> Settings {
    Settings { ws: settings, ..Settings::default() }
}

/// The trade of this id; one a millisecond.
fn trade(id: u64) -> Event {
    let noon: Timestamp = NOON.parse().unwrap();
    let at = noon.plus(i64::try_from(id).unwrap() * 1_000);
    tick(id, &at.to_string(), &format!("{}.00", 60_000 + id), "1.5")
}

/// Records trades, each an entry of its own.
async fn trades(house: &House, ids: std::ops::RangeInclusive<u64>) {
    for id in ids {
        house.record(BTC, vec![trade(id)]).await;
    }
}

/// A house whose market has a price.
async fn house(settings: WsSettings) -> House {
    let house = House::with(ws(settings)).await;
    trades(&house, 1..=1).await;
    house
}

/// Subscribes, and returns the epoch.
async fn subscribed(client: &mut Client) -> String {
    let ack = client.ask(SUBSCRIBE).await;
    ack["epoch"].as_str().unwrap_or_else(|| panic!("{ack}")).to_owned()
}

fn resume(from_seq: u64, epoch: &str) -> String {
    json!({
        "id": 2, "action": "subscribe", "channel": "market", "symbol": "BTC-USDT",
        "from_seq": from_seq, "epoch": epoch,
    })
    .to_string()
}

fn prices(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["price"].as_str().unwrap_or("?")).collect()
}

async fn take(client: &mut Client, count: usize) -> Vec<Value> {
    let mut frames = Vec::new();
    while frames.len() < count {
        frames.push(client.frame().await);
    }
    frames
}

#[tokio::test]
async fn a_connection_is_extended_by_its_subprotocol_or_its_query() {
    let house = house(WsSettings::default()).await;
    let protocol = [("sec-websocket-protocol", "other, entasis.v1")];
    for (path, headers) in [("/ws/market?v=1", &[][..]), ("/v1/ws/market", &protocol[..])] {
        let mut client = Client::connect(&house, path, headers).await.unwrap();
        assert!(client.ask(SUBSCRIBE).await["epoch"].is_string(), "{path}");
    }
    for query in ["v=2", "v=1&v=1", "w=1", ""] {
        let refused = Client::connect(&house, &format!("/ws/market?{query}"), &[]).await;
        assert_eq!(refused.err(), Some(400), "{query}");
    }
}

#[tokio::test]
async fn a_trade_carries_the_place_in_the_log_where_it_stands() {
    let house = House::open().await;
    house.record(ETH, vec![tick(1, "2024-03-21T09:30:00Z", "3000.00", "1")]).await;
    house.record(BTC, vec![trade(1), trade(2)]).await;
    let mut client = Client::extended(&house).await;
    let ack = client.ask(SUBSCRIBE).await;
    assert_eq!(
        keys(&ack),
        ["type", "id", "action", "channel", "symbols", "rejected", "epoch", "resumed"]
    );
    // The price as it stands has the sequence of its trade.
    expect![[r#"{"type":"data","channel":"market","seq":513,"symbol":"BTC-USDT","price":"60002.00","timestamp":"2024-03-21T09:30:01.002Z","volume":"1.5"}"#]]
        .assert_eq(&client.next().await);

    house.record(BTC, vec![trade(3), trade(4)]).await;
    let mut late = Client::extended(&house).await;
    subscribed(&mut late).await;
    for expected in [768, 769] {
        assert_eq!(seq(&client.frame().await), expected);
    }
    assert_eq!(seq(&late.frame().await), 769);
}

#[tokio::test]
async fn a_client_that_returns_misses_nothing_and_gets_nothing_twice() {
    for ring_frames_max in [1_000, 2] {
        // With room for two, what is missing comes from the log.
        let house = house(WsSettings { ring_frames_max, ..WsSettings::default() }).await;
        let mut client = Client::extended(&house).await;
        let epoch = subscribed(&mut client).await;
        trades(&house, 2..=3).await;
        let seen = seq(take(&mut client, 3).await.last().unwrap());
        drop(client);
        trades(&house, 4..=9).await;
        // A late trade is no more streamed to one who returns than to one who stayed.
        house.record(BTC, vec![tick(2, "2024-03-21T09:30:01.002Z", "1.00", "1")]).await;
        trades(&house, 10..=40).await;

        let mut client = Client::extended(&house).await;
        let ack = client.ask(&resume(seen, &epoch)).await;
        assert_eq!((&ack["resumed"], &ack["epoch"]), (&true.into(), &epoch.into()));
        let missed = take(&mut client, 37).await;
        trades(&house, 41..=41).await;
        let next = client.frame().await;

        let expected: Vec<String> = (4..=40).map(|id| format!("{}.00", 60_000 + id)).collect();
        assert_eq!(prices(&missed), expected);
        assert!(missed.is_sorted_by(|one, other| seq(one) < seq(other)));
        assert_eq!(next["price"], "60041.00");
    }
}

#[tokio::test]
async fn a_client_may_return_to_another_node_of_the_same_log() {
    let market = Arc::new(Memory::new(Log::Market));
    for id in 1..=9 {
        append(&market, BTC, vec![trade(id)]).await;
    }
    let house = House::around(Arc::clone(&market), Settings::default(), 9).await;
    let mut client = Client::extended(&house).await;
    let epoch = subscribed(&mut client).await;

    let other = House::around(market, Settings::default(), 9).await;
    let mut client = Client::extended(&other).await;
    assert_eq!(client.ask(&resume(5 * 256, &epoch)).await["resumed"], true);
    let missed = take(&mut client, 4).await;
    assert_eq!(prices(&missed), ["60006.00", "60007.00", "60008.00", "60009.00"]);
}

#[tokio::test]
async fn one_who_was_away_for_too_long_is_told_of_the_gap() {
    let market = Arc::new(Memory::new(Log::Market));
    append(&market, BTC, vec![trade(1)]).await;
    let other = vec![tick(1, "2024-03-21T09:30:00Z", "3000.00", "1")];
    for _ in 0..20_000 {
        append(&market, ETH, other.clone()).await;
    }
    append(&market, BTC, vec![trade(2)]).await;
    let house = House::around(market, Settings::default(), 20_002).await;
    let mut client = Client::extended(&house).await;
    let epoch = subscribed(&mut client).await;
    assert_eq!(client.ask(&resume(256, &epoch)).await["seq"], 20_002 * 256);

    let mut client = Client::extended(&house).await;
    assert_eq!(client.ask(&resume(256, &epoch)).await["resumed"], false);
    expect![[r#"{"type":"gap","channel":"market","symbol":"BTC-USDT","from":257,"to":5120511,"reason":"expired"}"#]]
        .assert_eq(&client.next().await);
    assert_eq!(client.frame().await["price"], "60002.00");
}

#[tokio::test]
async fn one_from_another_log_starts_anew() {
    let house = house(WsSettings::default()).await;
    let mut client = Client::extended(&house).await;
    let ack = client.ask(&resume(99 * 256, "another")).await;
    assert_eq!((&ack["resumed"], ack["epoch"] != "another"), (&false.into(), true));
    assert_eq!(client.frame().await["reason"], "epoch_changed");
    assert_eq!(client.frame().await["price"], "60001.00");

    let epoch = ack["epoch"].as_str().unwrap();
    let beyond = client.ask(&resume(99 * 256, epoch)).await;
    assert_eq!((&beyond["code"], &beyond["id"]), (&"WS_003".into(), &2.into()));
}

#[tokio::test]
async fn who_listened_before_the_first_entry_goes_on_like_everybody() {
    let house = House::open().await;
    let mut client = Client::extended(&house).await;
    let empty = subscribed(&mut client).await;
    trades(&house, 1..=2).await;
    take(&mut client, 2).await;

    let mut client = Client::extended(&house).await;
    let ack = client.ask(&resume(256, &empty)).await;
    assert_eq!((&ack["resumed"], ack["epoch"] != *empty), (&true.into(), true), "{ack}");
    assert_eq!(client.frame().await["price"], "60002.00");
}

#[tokio::test]
async fn who_wants_a_pause_gets_the_newest_and_is_told_of_the_rest() {
    let house = house(WsSettings::default()).await;
    let mut client = Client::extended(&house).await;
    let subscribe =
        r#"{"id":1,"action":"subscribe","channel":"market","symbol":"BTC-USDT","max_rate_ms":400}"#;
    client.ask(subscribe).await;
    let first = client.frame().await;
    trades(&house, 2..=5).await;

    let gap = client.frame().await;
    assert_eq!((&gap["type"], &gap["reason"]), (&"gap".into(), &"conflated".into()));
    let newest = client.frame().await;
    assert_eq!(newest["price"], "60005.00");
    assert_eq!((&gap["from"], &gap["to"]), (&(seq(&first) + 1).into(), &(seq(&newest) - 1).into()));
}

/// Records `entries` entries of 250 trades each, without waiting for anybody.
async fn rush(house: &House, entries: u64) {
    for entry in 0..entries {
        house.record(BTC, (1..=250).map(|id| trade(1 + entry * 250 + id)).collect()).await;
    }
}

#[tokio::test]
async fn one_who_was_lapped_is_told_of_one_gap_and_goes_on_with_the_newest() {
    let house = house(WsSettings { ring_frames_max: 8, ..WsSettings::default() }).await;
    let mut client = Client::extended(&house).await;
    subscribed(&mut client).await;
    let mut last = seq(&client.frame().await);
    rush(&house, 8).await;
    let end = 9 * 256 + 249;

    let mut gaps = 0;
    while last < end {
        let frame = client.frame().await;
        if frame["type"] == "gap" {
            gaps += 1;
            assert_eq!(
                (&frame["from"], &frame["reason"]),
                (&(last + 1).into(), &"conflated".into())
            );
            last = frame["to"].as_u64().unwrap();
            continue;
        }
        assert!(seq(&frame) > last);
        last = seq(&frame);
    }
    assert!((1..=8).contains(&gaps), "{gaps}");
}

#[tokio::test]
async fn one_who_wants_all_or_nothing_is_closed_and_told_where() {
    let house = house(WsSettings { ring_frames_max: 8, ..WsSettings::default() }).await;
    let mut client = Client::extended(&house).await;
    let subscribe = r#"{"id":1,"action":"subscribe","channel":"market","symbol":"BTC-USDT","on_slow":"disconnect"}"#;
    client.ask(subscribe).await;
    client.frame().await;
    rush(&house, 8).await;

    let (code, reason, before) = client.farewell().await;
    let delivered = before.last().map_or(256, seq);
    assert_eq!(code, 4409);
    assert_eq!(reason, format!("too slow; last delivered: market BTC-USDT seq {delivered}"));
}

#[tokio::test]
async fn one_who_reads_nothing_is_closed_and_keeps_nobody_waiting() {
    let limits = WsSettings {
        write_patience: Duration::from_millis(100),
        // It hears why only after the other has read all, however long that takes.
        close_patience: Duration::from_mins(1),
        // Room for all: nothing is passed over, so more comes than the kernel's buffers hold.
        ring_frames_max: 1_000_000,
        ring_bytes_max: usize::MAX,
        ..WsSettings::default()
    };
    let house = house(limits).await;
    let mut stalled = Client::extended(&house).await;
    subscribed(&mut stalled).await;
    let mut other = Client::extended(&house).await;
    subscribed(&mut other).await;
    let first = other.frame().await;
    let reading = async {
        let mut last = seq(&first);
        for id in 2..=250_001 {
            let frame = other.frame().await;
            assert!(seq(&frame) > last, "{id}");
            last = seq(&frame);
        }
    };
    tokio::join!(reading, rush(&house, 1_000));

    // What it was sent ends with a whole frame, and then the reason.
    let (code, reason, before) = stalled.farewell().await;
    assert_eq!(code, 4409);
    assert!(reason.ends_with(&format!("seq {}", seq(&before[before.len() - 2]))), "{reason}");
}

#[tokio::test]
async fn an_extended_client_hears_a_heartbeat() {
    let every = Duration::from_millis(20);
    let house = house(WsSettings { heartbeat_every: every, ..WsSettings::default() }).await;
    let mut client = Client::extended(&house).await;
    for counter in 1..=3 {
        let expected =
            json!({"type": "heartbeat", "ts": "2024-03-21T09:30:01.000Z", "counter": counter});
        assert_eq!(client.frame().await, expected);
    }
}

#[tokio::test]
async fn a_connection_that_grows_old_is_told_before_it_ends() {
    let limits = WsSettings {
        life: Duration::from_millis(600),
        closing_ahead: Duration::from_millis(500),
        ..WsSettings::default()
    };
    let house = house(limits).await;
    let mut plain = Client::open(&house).await;
    let mut client = Client::extended(&house).await;
    let closing = client.frame().await;
    assert_eq!(keys(&closing), ["type", "reason", "reconnect_after_ms"]);
    assert_eq!(closing["reason"], "too_old");
    assert_eq!(client.farewell().await.0, 1001);
    assert_eq!(plain.farewell().await.2, [] as [Value; 0]);
}

#[tokio::test]
async fn a_stop_says_when_to_come_back() {
    let house = house(WsSettings::default()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::extended(&house).await;
        subscribed(&mut client).await;
        client.frame().await;
        clients.push(client);
    }
    house.stop.cancel();
    let mut after = std::collections::BTreeSet::new();
    for mut client in clients {
        let (code, reason, before) = client.farewell().await;
        assert_eq!((code, reason.as_str()), (1001, "shutdown"));
        assert_eq!((before.len(), &before[0]["reason"]), (1, &"shutdown".into()));
        after.insert(before[0]["reconnect_after_ms"].as_u64().unwrap());
    }
    assert_eq!(after.len(), 3, "they do not come back together");
}

#[tokio::test]
async fn a_client_can_ask_what_it_listens_to() {
    let house = house(WsSettings::default()).await;
    let mut client = Client::trader(&house).await;
    assert_eq!(client.ask(r#"{"id":0,"action":"ping"}"#).await, json!({"type":"pong","id":0}));
    assert_eq!(client.ask(r#"{"action":"ping"}"#).await, json!({"type":"pong"}));
    subscribed(&mut client).await;
    client.frame().await;
    let book =
        r#"{"id":2,"action":"subscribe","channel":"orderbook","symbol":"BTC-USDT","mode":"delta"}"#;
    client.ask(book).await;
    assert_eq!(client.frame().await["code"], "MARKET_002");
    for interval in ["1m", "5m"] {
        let candles = json!({"id": 3, "action": "subscribe", "channel": "candles", "symbol": "BTC-USDT", "interval": interval});
        client.ask(&candles.to_string()).await;
        client.frame().await;
    }
    let mut list = client.ask(r#"{"id":4,"action":"list"}"#).await;
    assert!(list["epoch"].take().is_string());
    expect![[r#"{"type":"ack","id":4,"action":"list","subscriptions":[{"channel":"market","symbol":"BTC-USDT","seq":256},{"channel":"orderbook","symbol":"BTC-USDT","depth":10,"mode":"delta","seq":0},{"channel":"candles","symbol":"BTC-USDT","interval":"1m","seq":511},{"channel":"candles","symbol":"BTC-USDT","interval":"5m","seq":511}],"epoch":null}"#]]
        .assert_eq(&list.to_string());
}

#[tokio::test]
async fn a_plain_client_is_answered_only_where_it_gave_an_id() {
    let house = house(WsSettings::default()).await;
    let mut client = Client::open(&house).await;
    client.send(r#"{"action":"ping"}"#).await;
    assert_eq!(client.ask(r#"{"id":1,"action":"ping"}"#).await, json!({"type":"pong","id":1}));
    assert_eq!(client.ask(r#"{"action":"list"}"#).await["code"], "WS_003");
    let auth = client.ask(r#"{"id":2,"action":"auth","ticket":"t"}"#).await;
    assert_eq!((&auth["code"], &auth["message"]), (&"AUTH_001".into(), &"인증되지 않음".into()));
}

#[tokio::test]
async fn only_so_many_topics_are_told_whoever_asks() {
    let house = house(WsSettings { topics_max: 2, ..WsSettings::default() }).await;
    let book = |depth: usize| {
        json!({"id": 1, "action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": depth})
            .to_string()
    };
    let mut clients = Vec::new();
    for (depth, taken) in [(1, true), (2, true), (3, false), (2, true)] {
        let mut client = Client::extended(&house).await;
        let ack = client.ask(&book(depth)).await;
        assert_eq!(ack["rejected"] == json!([]), taken, "{ack}");
        assert!(taken || ack["rejected"][0]["code"] == "WS_004", "{ack}");
        clients.push(client);
    }
    // Who goes makes room.
    let one = &mut clients[0];
    one.frame().await;
    assert_eq!(one.ask(&book(2)).await["rejected"], json!([]));
    one.frame().await;
    assert_eq!(one.ask(&book(3)).await["rejected"], json!([]));
}

#[tokio::test]
async fn to_subscribe_again_replaces_and_does_not_add() {
    let house = house(WsSettings { subscriptions_max: 1, ..WsSettings::default() }).await;
    let mut client = Client::extended(&house).await;
    for depth in [5, 10, 5] {
        let book = json!({"id": 1, "action": "subscribe", "channel": "orderbook", "symbol": "BTC-USDT", "depth": depth});
        let ack = client.ask(&book.to_string()).await;
        assert_eq!(ack["rejected"], json!([]));
        client.frame().await;
    }
    let ack = client.ask(SUBSCRIBE).await;
    assert_eq!(ack["rejected"][0]["code"], "WS_004");
}

#[tokio::test]
async fn a_sequence_may_be_any_number() {
    let house = house(WsSettings::default()).await;
    let mut client = Client::extended(&house).await;
    assert_eq!(client.ask(&resume(u64::MAX, "another")).await["resumed"], false);
    assert_eq!(client.frame().await["reason"], "epoch_changed");
    assert_eq!(client.frame().await["price"], "60001.00");
    assert_eq!(client.ask(r#"{"id":3,"action":"ping"}"#).await["type"], "pong");
}

#[tokio::test]
async fn a_price_that_is_too_old_to_be_shown_is_in_the_gap() {
    let house = house(WsSettings::default()).await;
    trades(&house, 2..=2).await;
    house.clock.set("2024-03-21T10:30:00Z");
    let mut client = Client::extended(&house).await;
    client.ask(&resume(256, "another")).await;
    assert_eq!(client.frame().await["to"], 512);
}
