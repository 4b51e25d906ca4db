//! Positions over HTTP: opened, seen, reduced, closed.

use expect_test::expect;
use serde_json::{Value, json};

use crate::tests::client::keys;
use crate::tests::house::{House, snapshot, tick};

const LONG: &str = r#"{"symbol":"BTC-USDT","size":"1.5","type":"long","leverage":"1"}"#;
const SHORT: &str = r#"{"symbol":"BTC-USDT","size":0.5,"type":"short","leverage":10}"#;

/// The positions of a list.
async fn positions(house: &House, query: &str) -> Vec<Value> {
    let list = house.get(&format!("/v1/portfolio/positions{query}")).await;
    assert_eq!(list.status, 200, "{}", list.body);
    list.json()["positions"].as_array().unwrap().clone()
}

fn names(positions: &[Value]) -> Vec<&str> {
    positions.iter().map(|position| position["position_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn positions_are_created_and_shown_as_the_specification_shows_them() {
    for prefix in ["/api/v1", "/v1"] {
        let house = House::trading().await;
        let path = format!("{prefix}/portfolio/positions");
        let created = house.post(&path, LONG).await;

        assert_eq!(created.status, 201, "{}", created.body);
        let body = created.json();
        let id = body["position_id"].as_str().unwrap().to_owned();
        let digits = id.strip_prefix("pos_").unwrap();
        assert!(digits.len() == 26 && digits.bytes().all(|digit| digit.is_ascii_alphanumeric()));
        assert_eq!(keys(&body)[..3], ["position_id", "status", "timestamp"]);
        expect![[r#"{"position_id":"pos_1","status":"success","timestamp":"2024-03-21T09:30:01Z","symbol":"BTC-USDT","type":"long","size":"1.5","entry_price":"64000.00","cost":"96000.00","fee":"38.40","margin":"96000.00","liquidation_price":null,"basis":"last_price","market":{"stream":"market-binance.BTC-USDT","version":1},"entry":{"stream":"account-demo","version":3},"token":"ledger:3","effect":"opened","realized":"0.00","leverage":"1"}"#]].assert_eq(&created.body.replace(&id, "pos_1"));
        assert_eq!(created.header("X-Consistency-Token"), body["token"].as_str());
        assert_eq!(created.header("Idempotency-Replayed"), None);
        assert!(created.header("Idempotency-Key").is_some());

        house.trade(2, "65000.00").await;
        let shown = house.get(&path).await;
        assert_eq!(shown.status, 200);
        expect![[r#"{"positions":[{"symbol":"BTC-USDT","size":"1.5","entry_price":"64000.00","current_price":"65000.00","pnl":"1500.00","timestamp":"2024-03-21T09:30:00Z","position_id":"pos_1","type":"long","leverage":"1","margin":"96000.00","liquidation_price":null,"realized_pnl":"0.00","opened_at":"2024-03-21T09:30:01Z","fees":"38.40","funding":"0.00","margin_ratio":"0.004487","stop_loss":null,"take_profit":null,"status":"open","age_ms":1000,"stale":false}],"next_cursor":null}"#]].assert_eq(&shown.body.replace(&id, "pos_1"));
        assert_eq!(shown.header("Cache-Control"), Some("no-store"));
    }
}

#[tokio::test]
async fn a_position_takes_the_levels_of_the_book() {
    let house = House::trading().await;
    let book = snapshot(1, "2024-03-21T09:30:01Z", "63999.00:5", "64000.00:1 64001.00:1");
    house.record("market-binance.BTC-USDT", vec![book]).await;

    let opened = house.post("/v1/portfolio/positions", LONG).await.json();
    assert_eq!((&opened["basis"], &opened["cost"]), (&"book_vwap".into(), &"96000.50".into()));
    assert_eq!(opened["entry_price"], "64000.33");
    assert_eq!(opened["market"]["version"], 2);
    let stands = format!("/v1/portfolio/positions/{}", opened["position_id"].as_str().unwrap());
    assert_eq!(house.get(&stands).await.json()["cost"], "96000.50");
}

#[tokio::test]
async fn an_order_may_leave_out_what_has_a_default_and_send_short_numbers() {
    let house = House::trading().await;

    let opened = house
        .post(
            "/v1/portfolio/positions",
            r#"{"symbol":"BTC-USDT","size":0.50,"type":"short","leverage":null}"#,
        )
        .await;
    assert_eq!(opened.status, 201, "{}", opened.body);
    let body = opened.json();
    assert_eq!((&body["size"], &body["leverage"]), (&"0.50".into(), &"1".into()));
    assert_eq!(body["liquidation_price"], "127462.69");
    assert_eq!(positions(&house, "").await[0]["type"], "short");
}

#[tokio::test]
async fn what_is_weighed_does_not_happen() {
    let house = House::trading().await;
    let before = house.written().await;

    let weighed = house.post("/v1/portfolio/positions?dry_run=true", LONG).await;
    assert_eq!(weighed.status, 200);
    expect![[r#"{"dry_run":true,"symbol":"BTC-USDT","type":"long","size":"1.5","entry_price":"64000.00","cost":"96000.00","fee":"38.40","margin":"96000.00","liquidation_price":null,"basis":"last_price","market":{"stream":"market-binance.BTC-USDT","version":1},"effect":"opened","realized":"0.00","leverage":"1","open_loss":"0.00","free":"100000.00","levels":[]}"#]].assert_eq(&weighed.body);
    let large = LONG.replace("1.5", "2");
    let refused = house.post("/v1/portfolio/positions?dry_run=true", &large).await;
    assert_eq!((refused.status, &refused.json()["code"]), (400, &"PORT_001".into()));
    assert_eq!(refused.json()["arithmetic"]["free"], "100000.00");
    assert_eq!(house.written().await, before);
    assert!(positions(&house, "?status=all").await.is_empty());
}

#[tokio::test]
async fn a_position_is_reduced_and_closed_and_stays_with_its_results() {
    let house = House::trading().await;
    let id = house.position(LONG).await;
    let path = format!("/v1/portfolio/positions/{id}");
    house.trade(2, "65000.00").await;

    let reduced = house.post(&format!("{path}/reduce"), r#"{"size":"0.5"}"#).await;
    assert_eq!(reduced.status, 200, "{}", reduced.body);
    expect![[r#"{"position_id":"pos_1","status":"success","timestamp":"2024-03-21T09:30:01Z","entry":{"stream":"account-demo","version":4},"token":"ledger:4","symbol":"BTC-USDT","size":"0.5","exit_price":"65000.00","cost":"32500.00","realized":"500.00","fee":"13.00","margin_released":"32000.00","credited":"32487.00","shortfall":"0.00","liquidation_price":null,"basis":"last_price","market":{"stream":"market-binance.BTC-USDT","version":2}}"#]].assert_eq(&reduced.body.replace(&id, "pos_1"));
    assert_eq!(positions(&house, "").await[0]["size"], "1.0");
    assert_eq!(positions(&house, "").await[0]["realized_pnl"], "500.00");

    let more = house.post(&format!("{path}/reduce"), r#"{"size":"1.1"}"#).await;
    assert_eq!((more.status, &more.json()["code"]), (400, &"PORT_003".into()));

    let closed = house.ask("POST", &format!("{path}/close"), &[("Content-Length", "0")]).await;
    assert_eq!((closed.status, &closed.json()["realized"]), (200, &"1000.00".into()));
    let again = house.ask("POST", &format!("{path}/close"), &[("Content-Length", "0")]).await;
    assert_eq!((again.status, &again.json()["status"]), (200, &"success".into()));
    assert_eq!((&again.json()["entry"], &again.json()["size"]), (&Value::Null, &Value::Null));

    assert!(positions(&house, "").await.is_empty());
    for query in ["?status=closed", "?status=all"] {
        let list = house.get(&format!("/v1/portfolio/positions{query}")).await;
        expect![[r#"{"positions":[{"symbol":"BTC-USDT","size":"1.5","entry_price":"64000.00","current_price":"65000.00","pnl":"1500.00","timestamp":"2024-03-21T09:30:01Z","position_id":"pos_1","type":"long","leverage":"1","margin":"0.00","liquidation_price":null,"realized_pnl":"1500.00","opened_at":"2024-03-21T09:30:01Z","fees":"77.40","funding":"0.00","margin_ratio":null,"stop_loss":null,"take_profit":null,"status":"closed","age_ms":0,"stale":false,"closed_at":"2024-03-21T09:30:01Z","exit_cause":"requested"}],"next_cursor":null}"#]].assert_eq(&list.body.replace(&id, "pos_1"));
    }
    let detail = house.get(&path).await;
    expect![[r#"{"symbol":"BTC-USDT","size":"1.5","entry_price":"64000.00","current_price":"65000.00","pnl":"1500.00","timestamp":"2024-03-21T09:30:01Z","position_id":"pos_1","type":"long","leverage":"1","margin":"0.00","liquidation_price":null,"realized_pnl":"1500.00","opened_at":"2024-03-21T09:30:01Z","fees":"77.40","funding":"0.00","margin_ratio":null,"stop_loss":null,"take_profit":null,"status":"closed","age_ms":0,"stale":false,"closed_at":"2024-03-21T09:30:01Z","exit_cause":"requested","cost":"0.00","realized":"1500.00","notional":null,"maintenance_margin":null,"tier":null,"shortfall":"0.00","entered_size":"1.5","entered_cost":"96000.00","exited_size":"1.5","exited_cost":"97500.00","market":null,"stops_market":null,"entries":[{"stream":"account-demo","version":3},{"stream":"account-demo","version":4},{"stream":"account-demo","version":5}]}"#]].assert_eq(&detail.body.replace(&id, "pos_1"));

    for (method, path, body) in [
        ("POST", format!("{path}/reduce"), r#"{"size":"0.1"}"#),
        ("PUT", format!("{path}/stops"), r#"{"stop_loss":"1"}"#),
        ("DELETE", format!("{path}/stops"), ""),
    ] {
        let refused = house.call(method, &path, body, &[]).await;
        assert_eq!((refused.status, &refused.json()["code"]), (400, &"PORT_003".into()), "{path}");
    }
}

#[tokio::test]
async fn stops_are_set_shown_and_removed() {
    let house = House::trading().await;
    let id = house.position(LONG).await;
    let path = format!("/v1/portfolio/positions/{id}/stops");

    let body = r#"{"stop_loss":"63000.00","take_profit":70000}"#;
    let set = house.call("PUT", &path, body, &[]).await;
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(
        (&set.json()["stop_loss"], &set.json()["take_profit"]),
        (&"63000.00".into(), &"70000".into())
    );
    let shown = &positions(&house, "").await[0];
    assert_eq!(
        (&shown["stop_loss"], &shown["take_profit"]),
        (&"63000.00".into(), &"70000.00".into())
    );

    let again = house.call("PUT", &path, body, &[]).await;
    assert_eq!((again.status, &again.json()["entry"]), (200, &Value::Null));
    for body in [r#"{"stop_loss":"64000.00"}"#, r#"{"take_profit":"63000"}"#] {
        let refused = house.call("PUT", &path, body, &[]).await;
        assert_eq!((refused.status, &refused.json()["code"]), (400, &"400".into()), "{body}");
        assert_eq!(refused.json()["arithmetic"]["mark"], "64000.00");
    }
    for body in ["{}", r#"{"stop_loss":null}"#, r#"{"stop_loss":"-1"}"#, r#"{"stop":"1"}"#] {
        assert_eq!(house.call("PUT", &path, body, &[]).await.status, 400, "{body}");
    }
    let removed = house.call("DELETE", &path, "", &[]).await;
    assert_eq!((removed.status, &removed.json()["stop_loss"]), (200, &Value::Null));
    assert_eq!(positions(&house, "").await[0]["stop_loss"], Value::Null);
}

#[tokio::test]
async fn positions_come_newest_first_and_in_pages() {
    let house = House::trading().await;
    let mut opened = Vec::new();
    for second in 1..=3 {
        house.clock.set(&format!("2024-03-21T09:30:0{second}Z"));
        opened.push(house.position(&SHORT.replace("0.5", "0.1")).await);
    }
    for id in &opened[..2] {
        let path = format!("/v1/portfolio/positions/{id}/close");
        assert_eq!(house.call("POST", &path, "", &[]).await.status, 200);
    }
    opened.push(house.position(&SHORT.replace("0.5", "0.1")).await);
    let [first, second, third, fourth] = opened.as_slice() else { panic!("four") };

    // The third and the fourth were opened at the same instant: their names decide.
    let newest = [third.max(fourth), third.min(fourth)];
    assert_eq!(names(&positions(&house, "?status=open").await), newest);
    assert_eq!(names(&positions(&house, "?status=closed").await), [second, first]);

    let first_page = "/v1/portfolio/positions?status=all&limit=1";
    let mut path = first_page.to_owned();
    let mut seen = Vec::new();
    loop {
        let page = house.get(&path).await;
        let body = page.json();
        seen.extend(names(body["positions"].as_array().unwrap()).into_iter().map(str::to_owned));
        let Some(cursor) = body["next_cursor"].as_str() else { break };
        let link = page.header("Link").unwrap();
        assert_eq!(link, format!("<{first_page}&cursor={cursor}>; rel=\"next\""));
        path = link[1..].split_once('>').unwrap().0.to_owned();
    }
    assert_eq!(seen.iter().collect::<Vec<_>>(), [newest[0], newest[1], second, first]);

    for cursor in ["", "o1", "x1.pos_1", "o1.pos_1", "c-1.pos_00000000000000000000000000"] {
        let answer = house.get(&format!("/v1/portfolio/positions?cursor={cursor}")).await;
        assert_eq!(answer.status, 400, "{cursor}");
    }
}

#[tokio::test]
async fn a_position_is_shown_at_an_old_price_that_says_so() {
    let house = House::trading().await;
    let id = house.position(LONG).await;
    house.clock.set("2024-03-21T12:00:00Z");

    let shown = &positions(&house, "").await[0];
    assert_eq!((&shown["stale"], &shown["age_ms"]), (&true.into(), &9_000_000.into()));
    let account = house.get("/v1/portfolio/account").await.json();
    assert_eq!((&account["stale"], &account["equity"]), (&true.into(), &"99961.60".into()));

    // Nothing is done at such a price, but what needs none is.
    for (method, path, body) in [
        ("POST", "/v1/portfolio/positions".to_owned(), LONG),
        ("POST", "/v1/portfolio/positions?dry_run=true".to_owned(), LONG),
        ("POST", format!("/v1/portfolio/positions/{id}/close"), ""),
        ("POST", format!("/v1/portfolio/positions/{id}/reduce"), r#"{"size":"1"}"#),
        ("PUT", format!("/v1/portfolio/positions/{id}/stops"), r#"{"stop_loss":"1"}"#),
    ] {
        let before = house.written().await;
        let refused = house.call(method, &path, body, &[]).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (503, &"MARKET_002".into()),
            "{path}"
        );
        assert_eq!(refused.header("Retry-After"), Some("5"));
        assert_eq!(house.written().await, before, "{path}");
    }
    let path = format!("/v1/portfolio/positions/{id}/stops");
    assert_eq!(house.call("DELETE", &path, "", &[]).await.status, 200);
}

#[tokio::test]
async fn a_position_outlives_a_price_that_was_never_seen() {
    let house = House::trading().await;
    let eth = tick(1, "2024-03-21T09:30:00Z", "3000.00", "1.0");
    house.record("market-binance.ETH-USDT", vec![eth]).await;
    house.position(r#"{"symbol":"ETH-USDT","size":"2","type":"long"}"#).await;

    let limited = r#"{"symbol":"ETH-USDT","size":"99","type":"long","leverage":"50"}"#;
    let refused = house.post("/v1/portfolio/positions", limited).await;
    assert_eq!((refused.status, &refused.json()["code"]), (400, &"PORT_002".into()));
    assert_eq!(refused.json()["arithmetic"]["quantity_max"], "100");
}

#[tokio::test]
async fn in_netting_mode_an_order_adds_reduces_closes_or_flips() {
    let house = House::trading().await;
    let path = "/v1/operator/accounts/demo/mode";
    assert_eq!(house.call("PUT", path, r#"{"mode":"netting"}"#, &[]).await.status, 200);
    let order = |side: &str, size: &str, only: bool| {
        json!({"symbol": "BTC-USDT", "size": size, "type": side, "reduce_only": only}).to_string()
    };
    let mut told = Vec::new();
    for (side, size) in [
        ("long", "0.5"),
        ("long", "0.1"),
        ("short", "0.2"),
        ("short", "0.4"),
        ("long", "0.1"),
        ("short", "0.3"),
    ] {
        let done = house.post("/v1/portfolio/positions", &order(side, size, false)).await;
        assert_eq!(done.status, 201, "{}", done.body);
        let body = done.json();
        assert_eq!((&body["size"], &body["type"]), (&size.into(), &side.into()));
        told.push(body["effect"].as_str().unwrap().to_owned());
    }
    assert_eq!(told, ["opened", "increased", "reduced", "closed", "opened", "flipped"]);
    let held = positions(&house, "").await;
    assert_eq!(
        (held.len(), &held[0]["size"], &held[0]["type"]),
        (1, &"0.2".into(), &"short".into())
    );

    for (side, size, code) in [("short", "0.1", "PORT_003"), ("long", "0.3", "PORT_003")] {
        let refused = house.post("/v1/portfolio/positions", &order(side, size, true)).await;
        assert_eq!((refused.status, &refused.json()["code"]), (400, &code.into()), "{side} {size}");
    }
    let reduced = house.post("/v1/portfolio/positions", &order("long", "0.2", true)).await;
    assert_eq!((reduced.status, &reduced.json()["effect"]), (201, &"closed".into()));
}
