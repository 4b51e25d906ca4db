//! The WebSocket as a plain client sees it, and who may open one.

use std::sync::Arc;
use std::time::Duration;

use eventlog::memory::Memory;
use eventlog::stream::Log;
use expect_test::expect;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::rules::Rules;
use crate::settings::{Settings, WsSettings};
use crate::tests::client::Client;
use crate::tests::house::{House, append, tick};

const BTC: &str = "market-binance.BTC-USDT";
const SUBSCRIBE: &str =
    r#"{"action":"subscribe","channel":"market","symbols":["BTC-USDT","ETH-USDT"]}"#;

fn ws(settings: WsSettings) -> Settings {
    Settings { ws: settings, ..Settings::default() }
}

#[tokio::test]
async fn trades_come_as_the_specification_shows_them() {
    for path in ["/ws/market", "/api/v1/ws/market", "/v1/ws/market"] {
        let house = House::open().await;
        let mut client = Client::connect(&house, path, &[]).await.unwrap();
        client.send(SUBSCRIBE).await;
        // Its answer says that the subscription before it is in.
        client.send(r#"{"id":1,"action":"unsubscribe","channel":"market","symbol":"X-Y"}"#).await;
        assert!(client.next().await.contains("ack"));

        let ticks = vec![
            tick(1, "2024-03-21T09:30:00.123456Z", "65432.1", "1.23"),
            tick(2, "2024-03-21T09:30:00.5Z", "65432.2", "2"),
        ];
        house
            .record("market-kraken.ETH-USD", vec![tick(9, "2024-03-21T09:30:00Z", "1", "1")])
            .await;
        house.record(BTC, ticks).await;
        expect![[r#"{"symbol":"BTC-USDT","price":"65432.10","timestamp":"2024-03-21T09:30:00.123Z","volume":"1.23"}"#]]
            .assert_eq(&client.next().await);
        expect![[r#"{"symbol":"BTC-USDT","price":"65432.20","timestamp":"2024-03-21T09:30:00.500Z","volume":"2.00"}"#]]
            .assert_eq(&client.next().await);
    }
}

#[tokio::test]
async fn the_price_as_it_stands_comes_first_and_only_once() {
    let house = House::open().await;
    house.record(BTC, vec![tick(1, "2024-03-21T09:30:00Z", "65432.10", "1.23")]).await;
    let mut client = Client::open(&house).await;
    client.send(SUBSCRIBE).await;
    assert!(client.next().await.contains(r#""price":"65432.10""#));

    house.record(BTC, vec![tick(2, "2024-03-21T09:30:01Z", "65433.00", "1.23")]).await;
    assert!(client.next().await.contains(r#""price":"65433.00""#));

    house.clock.set("2024-03-21T10:30:00Z");
    let mut late = Client::open(&house).await;
    late.send(SUBSCRIBE).await;
    house.record(BTC, vec![tick(3, "2024-03-21T10:30:00Z", "65434.00", "1.23")]).await;
    assert!(late.next().await.contains(r#""price":"65434.00""#), "a lost price is not shown");
}

#[tokio::test]
async fn a_late_trade_is_history_and_not_a_price() {
    let house = House::open().await;
    house.record(BTC, vec![tick(1, "2024-03-21T09:30:00Z", "65432.10", "1.23")]).await;
    let mut client = Client::open(&house).await;
    client.send(SUBSCRIBE).await;
    client.next().await;

    let disordered = vec![
        tick(4, "2024-03-21T09:30:03Z", "65434.00", "1"),
        tick(3, "2024-03-21T09:30:02Z", "65433.00", "1"),
        tick(5, "2024-03-21T09:30:04Z", "65435.00", "1"),
    ];
    house.record(BTC, disordered).await;
    house.record(BTC, vec![tick(2, "2024-03-21T09:30:01Z", "65432.50", "1")]).await;
    house.record(BTC, vec![tick(6, "2024-03-21T09:30:05Z", "65436.00", "1")]).await;
    for price in ["65434.00", "65435.00", "65436.00"] {
        assert!(client.next().await.contains(price), "{price}");
    }
}

#[tokio::test]
async fn a_late_trade_is_history_also_right_after_a_start() {
    let market = Arc::new(Memory::new(Log::Market));
    append(&market, BTC, vec![tick(9, "2024-03-21T09:30:00Z", "65432.10", "1.23")]).await;
    let house = House::around(market, Settings::default(), 1).await;
    let mut client = Client::open(&house).await;
    client.send(SUBSCRIBE).await;
    assert!(client.next().await.contains("65432.10"));

    house.record(BTC, vec![tick(1, "2024-03-21T09:00:00Z", "60000.00", "1")]).await;
    house.record(BTC, vec![tick(10, "2024-03-21T09:30:01Z", "65433.00", "1")]).await;
    assert!(client.next().await.contains("65433.00"));
}

#[tokio::test]
async fn another_venue_of_the_instrument_is_not_streamed() {
    let house = House::open().await;
    house.record(BTC, vec![tick(1, "2024-03-21T09:30:00Z", "65432.10", "1.23")]).await;
    let mut client = Client::open(&house).await;
    client.send(SUBSCRIBE).await;
    client.next().await;

    let elsewhere = vec![tick(1, "2024-03-21T09:30:00Z", "60000.00", "1.23")];
    house.record("market-kraken.BTC-USDT", elsewhere).await;
    house.record(BTC, vec![tick(2, "2024-03-21T09:30:01Z", "65433.00", "1.23")]).await;
    assert!(client.next().await.contains(r#""price":"65433.00""#));
}

#[tokio::test]
async fn a_message_with_an_id_is_acknowledged() {
    let house = House::open().await;
    let mut client = Client::open(&house).await;
    client
        .send(
            r#"{"id":7,"action":"subscribe","channel":"market","symbols":["BTC-USDT","X-Y","x"]}"#,
        )
        .await;
    expect![[r#"{"type":"ack","id":7,"action":"subscribe","channel":"market","symbols":["BTC-USDT"],"rejected":[{"symbol":"X-Y","code":"MARKET_001","message":"유효하지 않은 심볼"},{"symbol":"x","code":"MARKET_001","message":"유효하지 않은 심볼"}]}"#]]
        .assert_eq(&client.next().await);
}

#[tokio::test]
async fn an_unknown_symbol_does_not_keep_the_others_out() {
    let house = House::open().await;
    house.record(BTC, vec![tick(1, "2024-03-21T09:30:00Z", "65432.10", "1.23")]).await;
    let mut client = Client::open(&house).await;
    client.send(r#"{"action":"subscribe","channel":"market","symbols":["X-Y","BTC-USDT"]}"#).await;

    expect![[r#"{"type":"error","code":"MARKET_001","message":"유효하지 않은 심볼","detail":"X-Y was never traded here"}"#]]
        .assert_eq(&client.next().await);
    assert!(client.next().await.contains(r#""price":"65432.10""#));
}

#[tokio::test]
async fn who_unsubscribed_hears_no_more() {
    let house = House::open().await;
    house.record(BTC, vec![tick(1, "2024-03-21T09:30:00Z", "65432.10", "1.23")]).await;
    let mut client = Client::open(&house).await;
    client.send(SUBSCRIBE).await;
    client.next().await;
    client
        .send(r#"{"id":"u","action":"unsubscribe","channel":"market","symbol":"BTC-USDT"}"#)
        .await;
    expect![[r#"{"type":"ack","id":"u","action":"unsubscribe","channel":"market","symbols":["BTC-USDT"],"rejected":[]}"#]]
        .assert_eq(&client.next().await);

    house.record(BTC, vec![tick(2, "2024-03-21T09:30:01Z", "65433.00", "1.23")]).await;
    let eth = vec![tick(1, "2024-03-21T09:30:01Z", "3000.00", "1")];
    house.record("market-binance.ETH-USDT", eth).await;
    assert!(client.next().await.contains("ETH-USDT"));
}

#[tokio::test]
async fn what_is_not_understood_is_said_in_the_language_of_the_handshake() {
    let house = House::open().await;
    let english = [("accept-language", "en")];
    let mut client = Client::connect(&house, "/ws/market", &english).await.unwrap();
    for (text, code) in [
        ("hello", "WS_001"),
        (r#"{"action":"subscribe","channel":"candles","symbol":"BTC-USDT"}"#, "WS_002"),
        (r#"{"action":"subscribe","channel":"market"}"#, "WS_003"),
    ] {
        client.send(text).await;
        assert!(client.next().await.contains(&format!(r#""code":"{code}""#)), "{text}");
    }
    client.send(r#"{"id":3,"action":"dance","channel":"market"}"#).await;
    expect![[r#"{"type":"error","id":3,"code":"WS_002","message":"unknown action or channel","detail":"action \"dance\" is not served by this version"}"#]]
        .assert_eq(&client.next().await);
}

#[tokio::test]
async fn only_our_own_pages_and_listed_ones_may_connect() {
    let house = House::open().await;
    let origins = vec!["https://app.example".into()];
    house.gate.rules.store(Arc::new(Rules { origins, ..Rules::default() }));
    let own = format!("http://{}", house.address);
    for (origin, status) in [
        (own.as_str(), None),
        ("https://app.example", None),
        ("https://evil.example", Some(403)),
        ("null", Some(403)),
        ("https://app.example.evil", Some(403)),
    ] {
        let connected = Client::connect(&house, "/ws/market", &[("origin", origin)]).await;
        assert_eq!(connected.err(), status, "{origin}");
    }
    let endless = format!("{}.example", "a".repeat(512));
    let headers = [("host", endless.as_str()), ("origin", &format!("http://{endless}"))];
    assert_eq!(Client::connect(&house, "/ws/market", &headers).await.err(), Some(403));
}

#[tokio::test]
async fn an_unknown_subprotocol_is_refused() {
    let house = House::open().await;
    let protocol = [("sec-websocket-protocol", "entasis.v9")];
    assert_eq!(Client::connect(&house, "/ws/market", &protocol).await.err(), Some(400));
    assert_eq!(Client::connect(&house, "/ws/market?v=9", &[]).await.err(), Some(400));
    assert_eq!(house.get("/ws/market").await.status, 400);
}

#[tokio::test]
async fn an_address_has_only_so_many_sockets() {
    let house =
        House::with(ws(WsSettings { connections_ip_max: 1, ..WsSettings::default() })).await;
    let first = Client::open(&house).await;
    assert_eq!(Client::connect(&house, "/ws/market", &[]).await.err(), Some(429));
    drop(first);
}

#[tokio::test]
async fn what_is_no_short_text_closes_with_its_reason() {
    let house = House::open().await;
    let invalid = tokio_tungstenite::tungstenite::protocol::frame::Frame::message(
        vec![0xff],
        tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode::Data(
            tokio_tungstenite::tungstenite::protocol::frame::coding::Data::Text,
        ),
        true,
    );
    for (message, code) in [
        (Message::Binary(Bytes::from_static(b"1")), 1003),
        (Message::text("x".repeat(16 * 1024 + 1)), 1009),
        (Message::Frame(invalid), 1007),
    ] {
        let mut client = Client::open(&house).await;
        client.0.send(message).await.unwrap();
        assert_eq!(client.closed().await, code);
    }
}

#[tokio::test]
async fn too_many_messages_are_forgiven_once() {
    let limits = WsSettings { messages_burst: 2, messages_per_second: 0, ..WsSettings::default() };
    let house = House::with(ws(limits)).await;
    let mut client = Client::open(&house).await;
    for code in ["WS_001", "WS_001", "WS_005"] {
        client.send("hello").await;
        assert!(client.next().await.contains(code));
    }
    client.send("hello").await;
    assert_eq!(client.closed().await, 1008);
}

#[tokio::test]
async fn a_pong_that_nobody_asked_for_is_a_message() {
    let limits = WsSettings { messages_burst: 2, messages_per_second: 0, ..WsSettings::default() };
    let house = House::with(ws(limits)).await;
    let mut client = Client::open(&house).await;
    for _ in 0..4 {
        client.0.send(Message::Pong(Bytes::new())).await.unwrap();
    }
    assert!(client.next().await.contains("WS_005"));
    assert_eq!(client.closed().await, 1008);
}

#[tokio::test]
async fn a_connection_listens_to_only_so_many_symbols() {
    let house = House::with(ws(WsSettings { subscriptions_max: 1, ..WsSettings::default() })).await;
    let mut client = Client::open(&house).await;
    client.send(SUBSCRIBE).await;
    assert!(client.next().await.contains("WS_004"));
}

#[tokio::test]
async fn who_does_not_subscribe_in_time_is_closed() {
    let limits =
        WsSettings { subscribe_patience: Duration::from_millis(500), ..WsSettings::default() };
    let house = House::with(ws(limits)).await;
    let mut client = Client::open(&house).await;
    client.send(r#"{"action":"subscribe","channel":"market","symbol":"X-Y"}"#).await;
    assert!(client.next().await.contains("MARKET_001"));
    assert_eq!(client.closed().await, 4408);
}

#[tokio::test]
async fn a_client_is_pinged_and_gone_when_it_does_not_answer() {
    let limits = WsSettings {
        ping_every: Duration::from_millis(50),
        pong_patience: Duration::from_secs(1),
        ..WsSettings::default()
    };
    let house = House::with(ws(limits)).await;
    let mut client = Client::open(&house).await;
    let ping = client.message().await.unwrap().unwrap();
    assert!(matches!(ping, Message::Ping(_)));

    // The raw stream below the client answers nothing.
    let mut raw = client.0.into_inner();
    tokio::io::copy(&mut raw, &mut tokio::io::sink()).await.unwrap();
}

/// Records `entries` entries of 250 trades each.
async fn rush(house: &House, entries: u64) {
    for entry in 0..entries {
        let trade = |id| tick(entry * 250 + id, "2024-03-21T09:30:00Z", "65432.10", "1.23");
        house.record(BTC, (1..=250).map(trade).collect()).await;
    }
}

#[tokio::test]
async fn a_client_that_was_lapped_goes_on_with_the_newest() {
    let house = House::with(ws(WsSettings { ring_frames_max: 8, ..WsSettings::default() })).await;
    let mut client = Client::open(&house).await;
    client.send(r#"{"id":1,"action":"subscribe","channel":"market","symbol":"BTC-USDT"}"#).await;
    client.next().await;
    rush(&house, 40).await;
    house.record(BTC, vec![tick(1_000_000, "2024-03-21T09:30:01Z", "99999.00", "1.23")]).await;

    let mut frames = 0;
    while !client.next().await.contains("99999.00") {
        frames += 1;
    }
    assert!(frames < 40 * 250, "{frames}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_let_go() {
    let limits = WsSettings {
        write_patience: Duration::from_millis(50),
        connections_ip_max: 1,
        // Room for all: nothing is passed over, so more comes than the kernel's buffers hold.
        ring_frames_max: 1_000_000,
        ..WsSettings::default()
    };
    let house = House::with(ws(limits)).await;
    let mut client = Client::open(&house).await;
    client.send(r#"{"id":1,"action":"subscribe","channel":"market","symbol":"BTC-USDT"}"#).await;
    client.next().await;
    rush(&house, 1_000).await;

    // Its place is free once it was let go.
    while Client::connect(&house, "/ws/market", &[]).await.is_err() {}
}

#[tokio::test]
async fn a_stop_says_goodbye() {
    let house = House::open().await;
    let mut client = Client::open(&house).await;
    client.send(r#"{"id":1,"action":"subscribe","channel":"market","symbol":"BTC-USDT"}"#).await;
    client.next().await;

    house.stop.cancel();
    assert_eq!(client.closed().await, 1001);
    drop(client);
    house.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_may_leave() {
    let house = House::open().await;
    let mut client = Client::open(&house).await;
    client.0.close(None).await.unwrap();
    while let Some(Ok(_)) = client.0.next().await {}
}
