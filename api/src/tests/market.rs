//! Prices, history, instruments, gaps.

use domain::event::Event;
use domain::market::event::{GapReason, MarketEvent};
use expect_test::expect;

use crate::tests::house::{House, tick};

const BTC: &str = "market-binance.BTC-USDT";

/// A house in which the specification's example is true.
async fn sample() -> House {
    let house = House::open().await;
    let ticks = vec![
        tick(1, "2024-03-21T09:29:59Z", "65400.00", "122.22"),
        tick(2, "2024-03-21T09:30:00Z", "65432.10", "1.23"),
    ];
    house.record(BTC, ticks).await;
    house
}

/// The candles of the specification: 65000.00, 65100.00, 64900.00, 65050.00, volume 234.56.
async fn candles() -> House {
    let house = House::open().await;
    let ticks = vec![
        tick(1, "2024-03-21T09:00:00Z", "65000.00", "100.00"),
        tick(2, "2024-03-21T09:00:10Z", "65100.00", "100.00"),
        tick(3, "2024-03-21T09:00:20Z", "64900.00", "30.00"),
        tick(4, "2024-03-21T09:00:30Z", "65050.00", "4.56"),
        tick(5, "2024-03-21T09:03:00Z", "65060.5", "1.00"),
    ];
    house.record(BTC, ticks).await;
    house
}

fn gap(first_id: u64, last_id: u64, after: &str, before: &str) -> Event {
    let (after, before) = (after.parse().unwrap(), before.parse().unwrap());
    Event::Market(MarketEvent::FeedGapOpened { first_id, last_id, after, before })
}

#[tokio::test]
async fn a_price_is_answered_as_the_specification_shows_it() {
    let house = sample().await;
    for prefix in ["/api/v1", "/v1"] {
        let answer = house.get(&format!("{prefix}/market/price/BTC-USDT")).await;

        assert_eq!(answer.status, 200);
        expect![[r#"{"symbol":"BTC-USDT","price":"65432.10","timestamp":"2024-03-21T09:30:00Z","volume":"123.45","exchange":"binance","age_ms":1000,"stale":false,"quantity":"1.23","taker":"sell","trade_id":2,"quote_volume":"8073669.483","open_24h":"65400.00","change_24h":"32.10","change_24h_percent":"0.05","window":"24h_rolling","resolution":"1m","entry":{"stream":"market-binance.BTC-USDT","version":1}}"#]]
            .assert_eq(&answer.body);
        assert_eq!(answer.header("Cache-Control"), Some("no-store"));
        assert_eq!(answer.header("X-Views-At"), Some("ledger:0, market:1"));
        assert!(answer.header("Content-Type").unwrap().starts_with("application/json"));
    }
}

#[tokio::test]
async fn a_price_says_how_old_it_is_until_it_is_no_price_any_more() {
    let house = sample().await;
    for (now, status, stale) in [
        ("2024-03-21T09:31:00Z", 200, Some(false)),
        ("2024-03-21T09:31:00.000001Z", 200, Some(true)),
        ("2024-03-21T09:40:00Z", 200, Some(true)),
        ("2024-03-21T09:40:00.000001Z", 503, None),
    ] {
        house.clock.set(now);
        let answer = house.get("/v1/market/price/BTC-USDT").await;

        assert_eq!(answer.status, status, "{now}");
        assert_eq!(answer.json().get("stale").and_then(serde_json::Value::as_bool), stale, "{now}");
    }
    let answer = house.get("/v1/market/price/BTC-USDT").await;
    assert_eq!(answer.json()["code"], "MARKET_002");
    assert_eq!(answer.json()["message"], "거래소 연결 실패");
    assert_eq!(answer.json()["detail"], "the last price of binance is 600 seconds old");
    assert_eq!(answer.header("Retry-After"), Some("5"));
}

#[tokio::test]
async fn a_symbol_is_known_once_a_feed_would_bring_it() {
    let house = sample().await;
    for (symbol, status, code) in [
        ("btc-usdt", 400, "MARKET_001"),
        ("BTC%2FUSDT", 400, "MARKET_001"),
        ("%00", 400, "MARKET_001"),
        ("XYZ-USDT", 404, "MARKET_001"),
        ("ETH-USDT", 503, "MARKET_002"),
    ] {
        let answer = house.get(&format!("/api/v1/market/price/{symbol}")).await;

        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (status, &code.into()),
            "{}",
            answer.body
        );
    }
    let history = house.get("/api/v1/market/history/ETH-USDT").await;
    assert_eq!((history.status, &history.json()["data"]), (200, &serde_json::json!([])));
    assert_eq!(house.get("/api/v1/market/history/XYZ-USDT").await.status, 404);
    assert_eq!(house.get("/api/v1/market/gaps/XYZ-USDT").await.status, 404);
}

#[tokio::test]
async fn history_is_answered_as_the_specification_shows_it() {
    let house = candles().await;
    let range = "start=2024-03-21T09:00:00Z&end=2024-03-21T09:00:00Z";
    let answer = house.get(&format!("/api/v1/market/history/BTC-USDT?{range}")).await;

    assert_eq!(answer.status, 200);
    expect![[r#"{"symbol":"BTC-USDT","data":[{"timestamp":"2024-03-21T09:00:00Z","open":"65000.00","high":"65100.00","low":"64900.00","close":"65050.00","volume":"234.56","quote_volume":"15253628.00","taker_buy":"130.00","trades":4,"first_trade_id":1,"last_trade_id":4,"closed":true,"source":"built","revision":0}],"interval":"1m","exchange":"binance","gaps":[],"next_cursor":null}"#]]
        .assert_eq(&answer.body);
    assert_eq!(answer.header("Link"), None);
}

#[tokio::test]
async fn empty_minutes_are_flat_or_left_out() {
    let house = candles().await;
    let filled = house.get("/v1/market/history/BTC-USDT").await.json();
    assert_eq!(filled["data"].as_array().unwrap().len(), 4);
    assert_eq!(filled["data"][1]["source"], "filled");
    assert_eq!(filled["data"][1]["open"], "65050.00");
    assert_eq!(filled["data"][1]["volume"], "0.00");
    assert_eq!(filled["data"][1]["first_trade_id"], serde_json::Value::Null);
    assert_eq!(filled["data"][3]["close"], "65060.50");
    assert_eq!(filled["data"][3]["closed"], false);

    let traded = house.get("/v1/market/history/BTC-USDT?fill=none").await.json();
    assert_eq!(traded["data"].as_array().unwrap().len(), 2);

    let hours = house.get("/v1/market/history/BTC-USDT?interval=4h").await.json();
    assert_eq!((&hours["data"][0]["trades"], &hours["interval"]), (&5.into(), &"4h".into()));
}

#[tokio::test]
async fn pages_follow_each_other_to_the_end() {
    let house = candles().await;
    let mut path = "/v1/market/history/BTC-USDT?start=2024-03-21T09:00:00Z&limit=3".to_owned();
    let mut seen = Vec::new();
    loop {
        let answer = house.get(&path).await;
        let body = answer.json();
        let times = body["data"].as_array().unwrap().iter();
        seen.extend(times.map(|candle| candle["timestamp"].as_str().unwrap().to_owned()));
        let Some(link) = answer.header("Link") else { break };
        let link = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        assert!(link.contains(body["next_cursor"].as_str().unwrap()), "{link}");
        path = link.to_owned();
    }
    assert_eq!(
        seen,
        [
            "2024-03-21T09:00:00Z",
            "2024-03-21T09:01:00Z",
            "2024-03-21T09:02:00Z",
            "2024-03-21T09:03:00Z"
        ]
    );
}

#[tokio::test]
async fn a_range_may_be_given_in_any_zone() {
    let house = candles().await;
    for start in ["2024-03-21T18:03:00%2B09:00", "2024-03-21T18:03:00+09:00", "2024-03-21T09:03:00"]
    {
        let answer = house.get(&format!("/v1/market/history/BTC-USDT?start={start}")).await;

        assert_eq!(answer.json()["data"][0]["timestamp"], "2024-03-21T09:03:00Z", "{start}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_its_field() {
    let house = candles().await;
    for (query, field) in [
        ("interval=2m", "interval"),
        ("start=yesterday", "start"),
        ("end=1711013400", "end"),
        ("start=2024-03-21T09:01:00Z&end=2024-03-21T09:00:00Z", "start"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("cursor=elsewhere", "cursor"),
        ("fill=zero", "fill"),
        ("symbol=BTC-USDT", "symbol"),
        ("limit=1&limit=2", "limit"),
    ] {
        let answer = house.get(&format!("/v1/market/history/BTC-USDT?{query}")).await;

        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.json()["code"], "400", "{query}");
        assert_eq!(answer.json()["errors"][0]["field"], field, "{query}");
        let reason = answer.json()["errors"][0]["reason"].to_string();
        assert!(!reason.contains("parsing"), "{query}: {reason}");
    }
}

#[tokio::test]
async fn history_is_not_sent_twice_to_one_who_holds_it() {
    let house = candles().await;
    let path = "/v1/market/history/BTC-USDT";
    let first = house.get(path).await;
    let tag = first.header("ETag").unwrap();

    let again = house.ask("GET", path, &[("If-None-Match", tag)]).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.header("ETag"), Some(tag));

    house.record(BTC, vec![tick(6, "2024-03-21T09:03:30Z", "65061", "1.00")]).await;
    let changed = house.ask("GET", path, &[("If-None-Match", tag)]).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("ETag"), Some(tag));
}

#[tokio::test]
async fn a_gap_is_told_and_not_filled() {
    let house = candles().await;
    let events = vec![
        gap(6, 8, "2024-03-21T09:03:00Z", "2024-03-21T09:06:10Z"),
        tick(9, "2024-03-21T09:06:10Z", "65070.00", "1.00"),
        gap(10, 10, "2024-03-21T09:06:10Z", "2024-03-21T09:06:20Z"),
        tick(11, "2024-03-21T09:06:20Z", "65070.00", "1.00"),
        Event::Market(MarketEvent::FeedGapUnfillable {
            first_id: 10,
            last_id: 10,
            reason: GapReason::TooManyGaps,
        }),
    ];
    house.record(BTC, events).await;

    let gaps = house.get("/v1/market/gaps/BTC-USDT").await;
    expect![[r#"{"symbol":"BTC-USDT","exchange":"binance","gaps":[{"first_trade_id":6,"last_trade_id":8,"after":"2024-03-21T09:03:00Z","before":"2024-03-21T09:06:10Z","state":"open"},{"first_trade_id":10,"last_trade_id":10,"after":"2024-03-21T09:06:10Z","before":"2024-03-21T09:06:20Z","state":"unfillable"}]}"#]]
        .assert_eq(&gaps.body);

    let history = house.get("/v1/market/history/BTC-USDT?start=2024-03-21T09:03:00Z").await.json();
    let times: Vec<_> =
        history["data"].as_array().unwrap().iter().map(|c| &c["timestamp"]).collect();
    assert_eq!(times, ["2024-03-21T09:03:00Z", "2024-03-21T09:06:00Z"]);
    assert_eq!(history["gaps"][0]["first_trade_id"], 6);
}

#[tokio::test]
async fn all_instruments_are_listed_with_their_digits_and_venues() {
    let house = sample().await;
    let ticks = vec![tick(1, "2024-03-21T09:30:00Z", "65433.125", "0.5")];
    house.record("market-kraken.BTC-USDT", ticks).await;

    let symbols = house.get("/api/v1/market/symbols").await;
    expect![[r#"{"symbols":[{"symbol":"BTC-USDT","base":"BTC","quote":"USDT","exchange":"binance","exchanges":[{"exchange":"binance","price_scale":2,"size_scale":2},{"exchange":"kraken","price_scale":3,"size_scale":1}]},{"symbol":"ETH-USDT","base":"ETH","quote":"USDT","exchange":"binance","exchanges":[{"exchange":"binance","price_scale":null,"size_scale":null}]}]}"#]]
        .assert_eq(&symbols.body);
}
