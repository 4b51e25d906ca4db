//! Accounts, their money and their days.

use std::collections::BTreeMap;

use domain::account::event::{AccountEvent, DayClosed};
use domain::event::Event;
use expect_test::expect;

use crate::tests::house::House;

const ACCOUNTS: &str = "/api/v1/operator/accounts";

#[tokio::test]
async fn an_account_is_opened_once_and_funded() {
    let house = House::open().await;
    let opened = house.post(ACCOUNTS, r#"{"account":"demo"}"#).await;
    assert_eq!(opened.status, 201);
    expect![[r#"{"account":"demo","status":"success","timestamp":"2024-03-21T09:30:01Z","currency":"USDT","mode":"hedging","limits":{"positions_max":5,"notional_max":"1000000","quantity_max":{"ETH-USDT":"100"}},"entry":{"stream":"account-demo","version":1},"token":"ledger:1"}"#]].assert_eq(&opened.body);
    let again = house.post(ACCOUNTS, r#"{"account":"demo","mode":"hedging"}"#).await;
    assert_eq!((again.status, &again.json()["entry"]), (200, &serde_json::Value::Null));
    let other = house.post(ACCOUNTS, r#"{"account":"demo","mode":"netting"}"#).await;
    assert_eq!((other.status, &other.json()["code"]), (400, &"400".into()));

    let paid = house.post("/v1/operator/accounts/demo/deposits", r#"{"amount":"100000.5"}"#).await;
    assert_eq!(paid.status, 201);
    expect![[r#"{"account":"demo","status":"success","timestamp":"2024-03-21T09:30:01Z","amount":"100000.50","entry":{"stream":"account-demo","version":2},"token":"ledger:3"}"#]].assert_eq(&paid.body);
    let out = house.post("/v1/operator/accounts/demo/withdrawals", r#"{"amount":"0.25"}"#).await;
    assert_eq!(out.status, 201);
    let more = house.post("/v1/operator/accounts/demo/withdrawals", r#"{"amount":"100001"}"#).await;
    assert_eq!((more.status, &more.json()["code"]), (400, &"PORT_001".into()));
    assert_eq!(more.json()["arithmetic"]["free"], "100000.25");

    let account = house.get("/v1/portfolio/account").await;
    expect![[r#"{"account":"demo","currency":"USDT","mode":"hedging","balance":"100000.25","equity":"100000.25","free":"100000.25","margin":"0.00","unrealized":"0.00","margin_ratio":"0","maintenance_margin":"0.00","notional":"0.00","positions":0,"limits":{"positions_max":5,"notional_max":"1000000","quantity_max":{"ETH-USDT":"100"}},"deposits":"100000.50","withdrawals":"0.25","realized":"0.00","fees":"0.00","funding":"0.00","shortfall":"0.00","opened_at":"2024-03-21T09:30:01Z","timestamp":null,"age_ms":0,"stale":false,"entry":{"stream":"account-demo","version":3}}"#]].assert_eq(&account.body);
}

#[tokio::test]
async fn what_an_operator_asks_wrongly_changes_nothing() {
    let house = House::trading().await;
    let before = house.written().await;
    for (method, path, body) in [
        ("POST", "", r#"{"account":"a b"}"#),
        ("POST", "", r#"{"account":1}"#),
        ("POST", "", "{}"),
        ("POST", "", r#"{"account":"x","currency":"usdt"}"#),
        ("POST", "", r#"{"account":"x","mode":"both"}"#),
        ("POST", "", r#"{"account":"x","limits":{"positions_max":1}}"#),
        ("POST", "", r#"{"account":"x","limits":5}"#),
        ("POST", "/demo/deposits", r#"{"amount":"0"}"#),
        ("POST", "/demo/deposits", r#"{"amount":"-1"}"#),
        ("POST", "/demo/deposits", r#"{"amount":1e3}"#),
        ("POST", "/demo/withdrawals", r#"{"amount":"1","note":"x"}"#),
        ("PUT", "/demo/mode", r#"{"mode":null}"#),
        ("PUT", "/demo/limits", r#"{"positions_max":-1,"notional_max":"1"}"#),
        (
            "PUT",
            "/demo/limits",
            r#"{"positions_max":1,"notional_max":"1","quantity_max":{"btc":"1"}}"#,
        ),
        (
            "PUT",
            "/demo/limits",
            r#"{"positions_max":1,"notional_max":"1","quantity_max":{"BTC-USDT":"0"}}"#,
        ),
    ] {
        let answer = house.call(method, &format!("{ACCOUNTS}{path}"), body, &[]).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"400".into()), "{path} {body}");
        assert!(answer.json()["errors"][0]["field"].is_string(), "{path} {body}");
    }
    for path in ["/a%20b/deposits", "/a.b/withdrawals"] {
        let answer = house.post(&format!("{ACCOUNTS}{path}"), r#"{"amount":"1"}"#).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    assert_eq!(house.written().await, before);
}

#[tokio::test]
async fn limits_hold_from_the_next_order_on() {
    let house = House::trading().await;
    let limits =
        r#"{"positions_max":1,"notional_max":"1000000","quantity_max":{"BTC-USDT":"0.2"}}"#;
    let set = house.call("PUT", &format!("{ACCOUNTS}/demo/limits"), limits, &[]).await;
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(set.json()["limits"]["quantity_max"]["BTC-USDT"], "0.2");
    let order = |size: &str| format!(r#"{{"symbol":"BTC-USDT","size":"{size}","type":"long"}}"#);

    let large = house.post("/v1/portfolio/positions", &order("0.3")).await;
    assert_eq!((large.status, &large.json()["code"]), (400, &"PORT_002".into()));
    house.position(&order("0.1")).await;
    let second = house.post("/v1/portfolio/positions", &order("0.1")).await;
    assert_eq!((second.status, &second.json()["code"]), (400, &"PORT_002".into()));

    let mode =
        house.call("PUT", &format!("{ACCOUNTS}/demo/mode"), r#"{"mode":"netting"}"#, &[]).await;
    assert_eq!((mode.status, &mode.json()["arithmetic"]["open"]), (400, &"1".into()));
}

#[tokio::test]
async fn an_account_is_worth_what_it_holds_at_the_last_price() {
    let house = House::trading().await;
    house.position(r#"{"symbol":"BTC-USDT","size":"1.5","type":"long","leverage":"10"}"#).await;
    house.trade(2, "65000.00").await;

    expect![[r#"{"account":"demo","currency":"USDT","mode":"hedging","balance":"99961.60","equity":"101461.60","free":"90361.60","margin":"9600.00","unrealized":"1500.00","margin_ratio":"0.039414","maintenance_margin":"437.50","notional":"97500.00","positions":1,"limits":{"positions_max":5,"notional_max":"1000000","quantity_max":{"ETH-USDT":"100"}},"deposits":"100000.00","withdrawals":"0.00","realized":"0.00","fees":"38.40","funding":"0.00","shortfall":"0.00","opened_at":"2024-03-21T09:30:01Z","timestamp":"2024-03-21T09:30:00Z","age_ms":1000,"stale":false,"entry":{"stream":"account-demo","version":3}}"#]].assert_eq(&house.get("/v1/portfolio/account").await.body);
}

#[tokio::test]
async fn equity_is_told_day_by_day() {
    let house = House::trading().await;
    let day = DayClosed {
        day: "2024-03-20T00:00:00Z".parse().unwrap(),
        marks: BTreeMap::new(),
        free: "100000.00".parse().unwrap(),
        margin: "0".parse().unwrap(),
        unrealized: "0".parse().unwrap(),
        equity: "100000.00".parse().unwrap(),
    };
    house.tell_ledger("account-demo", vec![Event::Account(AccountEvent::DayClosed(day))]).await;

    let told = house.get("/v1/portfolio/equity").await;
    expect![[r#"{"account":"demo","equity":[{"timestamp":"2024-03-20T00:00:00Z","equity":"100000.00","free":"100000.00","margin":"0.00","unrealized":"0.00","marks":{}}]}"#]].assert_eq(&told.body);
    for (range, days) in [
        ("start=2024-03-20T00:00:00Z&end=2024-03-20T00:00:00Z", 1),
        ("start=2024-03-21T00:00:00Z", 0),
        ("end=2024-03-19T00:00:00", 0),
    ] {
        let told = house.get(&format!("/v1/portfolio/equity?{range}")).await;
        assert_eq!(told.json()["equity"].as_array().unwrap().len(), days, "{range}");
    }
    let wrong =
        house.get("/v1/portfolio/equity?start=2024-03-21T00:00:00Z&end=2024-03-20T00:00:00Z");
    assert_eq!(wrong.await.status, 400);
}
