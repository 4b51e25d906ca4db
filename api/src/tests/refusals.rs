//! What is asked wrongly, or may not be: the right word for it, and nothing changed.

use domain::event::Event;
use domain::refusal::RefusalEvent;
use eventlog::entry::Offset;
use eventlog::log::ReadLog;

use crate::tests::house::House;

const POSITIONS: &str = "/api/v1/portfolio/positions";
const FOREIGN: &str = "pos_00000000000000000000000001";

fn order(field: &str, value: &str) -> String {
    let mut fields = vec![
        ("symbol", r#""BTC-USDT""#.to_owned()),
        ("size", r#""1.5""#.to_owned()),
        ("type", r#""long""#.to_owned()),
        ("leverage", r#""1""#.to_owned()),
    ];
    fields.retain(|(name, _)| *name != field);
    if !value.is_empty() {
        fields.push((field, value.to_owned()));
    }
    let fields = fields.iter().map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn a_malformed_order_is_told_which_field_is_wrong_and_leaves_no_trace() {
    let house = House::trading().await;
    let before = house.written().await;
    let digits = format!("\"{}\"", "1".repeat(40));
    for (field, value, status, code) in [
        ("colour", r#""red""#, 400, "400"),
        ("size", "", 400, "400"),
        ("size", "null", 400, "400"),
        ("size", r#""0""#, 400, "400"),
        ("size", "0", 400, "400"),
        ("size", r#""-1""#, 400, "400"),
        ("size", "-1", 400, "400"),
        ("size", r#""NaN""#, 400, "400"),
        ("size", r#""inf""#, 400, "400"),
        ("size", &digits, 400, "400"),
        ("size", "1e1", 400, "400"),
        ("size", r#""1e1""#, 400, "400"),
        ("size", "1.234567890123456", 400, "400"),
        ("size", r#""0.1234567890123456789""#, 400, "400"),
        ("size", "true", 400, "400"),
        ("size", "[1]", 400, "400"),
        ("size", r#"{"a":1}"#, 400, "400"),
        ("leverage", "0", 400, "400"),
        ("leverage", r#""0.5""#, 400, "400"),
        ("leverage", r#""-3""#, 400, "400"),
        ("leverage", r#""1.234""#, 400, "400"),
        ("leverage", r#""2000""#, 400, "400"),
        ("leverage", r#""ten""#, 400, "400"),
        ("type", "", 400, "400"),
        ("type", r#""LONG""#, 400, "400"),
        ("type", "1", 400, "400"),
        ("reduce_only", r#""yes""#, 400, "400"),
        ("symbol", "", 400, "400"),
        ("symbol", "5", 400, "400"),
        ("symbol", r#""btc-usdt""#, 400, "MARKET_001"),
    ] {
        for query in ["", "?dry_run=true"] {
            let answer = house.post(&format!("{POSITIONS}{query}"), &order(field, value)).await;

            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (status, &code.into()),
                "{field}: {value}: {}",
                answer.body
            );
            assert_eq!(answer.json()["errors"][0]["field"], field, "{field}: {value}");
            assert!(answer.header("Idempotency-Key").is_some());
        }
    }
    assert_eq!(house.written().await, before);
    assert_eq!(house.get(POSITIONS).await.json()["positions"], serde_json::json!([]));
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let house = House::trading().await;
    let answer = house.post(POSITIONS, r#"{"size":0,"leverage":"x","more":1}"#).await;

    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let fields: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["symbol", "size", "type", "leverage", "more"]);
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let house = House::trading().await;
    let before = house.written().await;
    let twice = order("x", "").replacen('{', r#"{"size":"9","#, 1);
    for body in ["", "[]", "null", "\"x\"", "{", "NaN", r#"{"size":NaN}"#, &twice] {
        let answer = house.post(POSITIONS, body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"400".into()), "{body}");
    }
    for content in ["text/plain", "application/x-www-form-urlencoded"] {
        let body = order("x", "");
        let request = format!(
            "POST {POSITIONS} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
             Content-Type: {content}\r\nContent-Length: {}\r\n{}\r\n{body}",
            body.len(),
            house.fields(POSITIONS, &[])
        );
        let answer = house.send(request).await;
        assert_eq!((answer.status, &answer.json()["code"]), (415, &"415".into()), "{content}");
    }
    let long = "x".repeat(65 * 1024);
    assert_eq!(house.post(POSITIONS, &long).await.status, 413);
    assert_eq!(house.written().await, before);
}

#[tokio::test]
async fn a_symbol_must_be_known_and_have_a_price() {
    let house = House::trading().await;
    let before = house.written().await;
    for (symbol, status, code) in [("XYZ-USDT", 404, "MARKET_001"), ("ETH-USDT", 503, "MARKET_002")]
    {
        let answer = house.post(POSITIONS, &order("symbol", &format!("\"{symbol}\""))).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &code.into()), "{symbol}");
    }
    assert_eq!(house.written().await, before);
}

/// Every refusal that was recorded, its code and reason.
async fn recorded(house: &House) -> Vec<(String, String, String)> {
    let entries = house.ledger.read(Offset(0), 1_000).await.unwrap();
    let of_demo = entries.iter().filter(|entry| entry.stream.to_string() == "refusals-demo");
    let events = of_demo.flat_map(|entry| &entry.events);
    events
        .map(|event| {
            let Event::Refusal(RefusalEvent::CommandRefused { command, code, reason, .. }) = event
            else {
                panic!("{event:?}")
            };
            (command.clone(), code.clone(), reason.clone())
        })
        .collect()
}

#[tokio::test]
async fn a_refusal_tells_its_arithmetic_and_is_recorded() {
    let house = House::trading().await;
    let before = house.written().await;
    for (field, value, code, figure) in [
        ("size", r#""1.7""#, "PORT_001", "free"),
        ("leverage", r#""126""#, "PORT_002", "leverage_max"),
        ("size", r#""20""#, "PORT_002", "notional_max"),
    ] {
        let answer = house.post(POSITIONS, &order(field, value)).await;
        let body = answer.json();

        assert_eq!((answer.status, &body["code"]), (400, &code.into()), "{}", answer.body);
        let told = body["arithmetic"][figure].as_str().unwrap_or_else(|| panic!("{body}"));
        assert!(body["detail"].as_str().unwrap().contains(told), "{body}");
    }
    let written = recorded(&house).await;
    let codes: Vec<_> = written.iter().map(|(_, code, _)| code.as_str()).collect();
    assert_eq!(codes, ["PORT_001", "PORT_002", "PORT_002"]);
    assert_eq!(
        written[0].0,
        r#"{"command":"open_position","symbol":"BTC-USDT","size":"1.7","type":"long","leverage":"1","reduce_only":false}"#
    );
    assert_eq!(house.written().await, before + 3);
    assert_eq!(house.get("/v1/portfolio/account").await.json()["free"], "100000.00");
    assert_eq!(house.get(POSITIONS).await.json()["positions"], serde_json::json!([]));
}

#[tokio::test]
async fn a_position_of_somebody_else_is_not_there() {
    let house = House::trading().await;
    let long = "pos_".to_owned() + &"z".repeat(26);
    for id in [FOREIGN, "pos_1", "x", "%00", "pos_00000000000000000000000001%2F", &long] {
        for (method, path, body) in [
            ("GET", "", ""),
            ("POST", "/close", ""),
            ("POST", "/reduce", r#"{"size":"1"}"#),
            ("PUT", "/stops", r#"{"stop_loss":"1"}"#),
            ("DELETE", "/stops", ""),
        ] {
            let answer = house.call(method, &format!("{POSITIONS}/{id}{path}"), body, &[]).await;
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (404, &"404".into()),
                "{method} {id}{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_path_that_leaves_its_name_out_names_nothing() {
    let house = House::trading().await;
    let before = house.written().await;
    for (method, path, body) in [
        ("POST", "portfolio/positions//close", ""),
        ("POST", "portfolio/positions//reduce", r#"{"size":"1"}"#),
        ("PUT", "portfolio/positions//stops", r#"{"stop_loss":"1"}"#),
        ("DELETE", "portfolio/positions//stops", ""),
        ("POST", "operator/accounts//deposits", r#"{"amount":"1"}"#),
        ("PUT", "operator/accounts//mode", r#"{"mode":"netting"}"#),
    ] {
        for prefix in ["/api/v1", "/v1"] {
            let answer = house.call(method, &format!("{prefix}/{path}"), body, &[]).await;
            assert_eq!((answer.status, &answer.json()["code"]), (404, &"404".into()), "{path}");
        }
    }
    assert_eq!(house.written().await, before);
}

#[tokio::test]
async fn who_says_how_much_to_close_wanted_to_reduce() {
    let house = House::trading().await;
    let id = house.position(&order("x", "")).await;
    let before = house.written().await;
    let close = format!("{POSITIONS}/{id}/close");
    for body in [r#"{"size":"0.5"}"#, "[]", "0.5", "{"] {
        let answer = house.post(&close, body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"400".into()), "{body}");
    }
    assert_eq!(house.written().await, before);
    assert_eq!(house.post(&close, "{}").await.status, 200);
}

#[tokio::test]
async fn of_very_many_wrong_fields_the_first_are_told() {
    let house = House::trading().await;
    let fields: Vec<String> = (0..5_000).map(|field| format!("\"{field}\":1")).collect();
    let answer = house.post(POSITIONS, &format!("{{{}}}", fields.join(","))).await;

    assert_eq!(answer.status, 400);
    assert!(answer.body.len() < 8 * 1024, "{} bytes", answer.body.len());
}

#[tokio::test]
async fn an_account_that_nobody_opened_holds_nothing_and_does_nothing() {
    let house = House::open().await;
    house.trade(1, "64000.00").await;

    let list = house.get(POSITIONS).await;
    assert_eq!((list.status, list.body.as_str()), (200, r#"{"positions":[],"next_cursor":null}"#));
    for path in ["/v1/portfolio/account", "/v1/portfolio/equity"] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, &answer.json()["code"]), (404, &"404".into()));
        assert!(answer.json()["detail"].as_str().unwrap().contains("an operator opens it"));
    }
    let refused = house.post(POSITIONS, &order("x", "")).await;
    assert_eq!((refused.status, &refused.json()["code"]), (404, &"404".into()));
    let paid = house.post("/v1/operator/accounts/demo/deposits", r#"{"amount":"1"}"#).await;
    assert_eq!((paid.status, &paid.json()["code"]), (404, &"404".into()));
}
