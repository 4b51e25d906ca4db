//! A command happens once, and is seen by whoever sent it.

use std::sync::{Arc, mpsc};

use domain::event::Event;
use domain::market::event::MarketEvent;
use domain::observation::Listing;
use eventlog::log::ReadLog;
use tokio::sync::oneshot;

use crate::tests::asking::Answer;
use crate::tests::house::{House, append};

const POSITIONS: &str = "/v1/portfolio/positions";
const LONG: &str = r#"{"symbol":"BTC-USDT","size":"0.5","type":"long"}"#;

async fn keyed(house: &House, key: &str, body: &str) -> Answer {
    house.call("POST", POSITIONS, body, &[("Idempotency-Key", key)]).await
}

async fn count(house: &House) -> usize {
    house.get(POSITIONS).await.json()["positions"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_command_that_is_sent_again_has_happened_once() {
    let house = House::trading().await;
    let first = keyed(&house, "key 1", LONG).await;
    assert_eq!((first.status, first.header("Idempotency-Replayed")), (201, None));
    assert_eq!(first.header("Idempotency-Key"), Some("key 1"));
    let before = house.written().await;

    // However the same order is written, and whatever the market does meanwhile.
    house.trade(2, "65000.00").await;
    house.clock.set("2024-03-21T12:00:00Z");
    let rewritten = r#"{"type":"long","leverage":1.0,"size":0.50,"symbol":"BTC-USDT"}"#;
    for body in [LONG, rewritten] {
        let again = keyed(&house, "key 1", body).await;

        assert_eq!((again.status, &again.body), (201, &first.body));
        assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
        assert_eq!(again.header("X-Consistency-Token"), first.header("X-Consistency-Token"));
    }
    assert_eq!((count(&house).await, house.written().await), (1, before));
}

#[tokio::test]
async fn a_key_belongs_to_one_command() {
    let house = House::trading().await;
    let id = house.position(LONG).await;
    let before = keyed(&house, "k", LONG).await;
    assert_eq!(before.status, 201);
    let written = house.written().await;
    let close = format!("{POSITIONS}/{id}/close");
    let other = LONG.replace("0.5", "0.6");
    for (path, body) in [(POSITIONS, other.as_str()), (close.as_str(), "")] {
        let reused = house.call("POST", path, body, &[("Idempotency-Key", "k")]).await;
        assert_eq!((reused.status, &reused.json()["code"]), (422, &"IDEM_001".into()), "{path}");
    }
    assert_eq!(house.written().await, written);

    // An operator's keys are their own.
    let paid = house
        .call(
            "POST",
            "/v1/operator/accounts/demo/deposits",
            r#"{"amount":"5"}"#,
            &[("Idempotency-Key", "k")],
        )
        .await;
    assert_eq!(paid.status, 201, "{}", paid.body);
}

#[tokio::test]
async fn what_was_done_is_told_again_whatever_the_venue_lists_by_now() {
    let house = House::trading().await;
    let fine = LONG.replace("0.5", "0.125");
    let first = keyed(&house, "k", &fine).await;
    assert_eq!(first.status, 201);

    let listing = Listing { price_scale: 2, quantity_scale: 1, quantity_min: None, trading: true };
    house.feed.list("BTC-USDT".parse().unwrap(), listing);

    let again = keyed(&house, "k", &fine).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    for query in ["", "?dry_run=true"] {
        let other = house.post(&format!("{POSITIONS}{query}"), &fine).await;
        assert_eq!((other.status, &other.json()["errors"][0]["field"]), (400, &"size".into()));
    }
}

#[tokio::test]
async fn a_refusal_does_not_use_a_key_up() {
    let house = House::trading().await;
    let large = LONG.replace("0.5", "1.7");
    assert_eq!(keyed(&house, "k", &large).await.status, 400);

    assert_eq!(keyed(&house, "k", LONG).await.status, 201);
}

#[tokio::test]
async fn who_sends_no_key_is_given_one() {
    let house = House::trading().await;
    let first = house.post(POSITIONS, LONG).await;
    let second = house.post(POSITIONS, LONG).await;
    let key = first.header("Idempotency-Key").unwrap();
    assert_ne!(second.header("Idempotency-Key"), Some(key));
    assert_eq!(count(&house).await, 2);

    assert_eq!(keyed(&house, key, LONG).await.body, first.body);
    assert_eq!(count(&house).await, 2);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let house = House::trading().await;
    let before = house.written().await;
    for key in ["", "ключ", &"k".repeat(256)] {
        let answer = keyed(&house, key, LONG).await;
        assert_eq!(answer.status, 400, "{key}");
        assert_eq!(answer.json()["errors"][0]["field"], "Idempotency-Key", "{key}");
    }
    let two = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    assert_eq!(house.call("POST", POSITIONS, LONG, &two).await.status, 400);
    assert_eq!(house.written().await, before);
    assert_eq!(keyed(&house, &"k".repeat(255), LONG).await.status, 201);
}

#[tokio::test]
async fn what_is_closed_is_closed_once() {
    let house = House::trading().await;
    let id = house.position(LONG).await;
    let path = format!("{POSITIONS}/{id}/close");
    let key = [("Idempotency-Key", "close")];
    let first = house.call("POST", &path, "", &key).await;
    house.trade(2, "65000.00").await;
    let again = house.call("POST", &path, "", &key).await;

    assert_eq!((first.status, &again.body), (200, &first.body));
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
    let other = house.call("POST", &path, "", &[]).await;
    assert_eq!((other.status, &other.json()["entry"]), (200, &serde_json::Value::Null));
}

#[tokio::test]
async fn a_client_sees_at_once_what_it_wrote() {
    let house = House::trading().await;
    for round in 1..=100 {
        let paid = house.post("/v1/operator/accounts/demo/deposits", r#"{"amount":"1.00"}"#).await;
        let token = paid.header("X-Consistency-Token").unwrap().to_owned();
        // With the token, and without one on the node that it wrote to.
        let headers = [("X-Consistency-Token", token.as_str())];
        let headers = if round % 2 == 0 { &headers[..] } else { &[] };
        let seen = house.ask("GET", "/v1/portfolio/account", headers).await;

        assert_eq!(seen.json()["deposits"], format!("{}.00", 100_000 + round));
        let at: u64 = token.strip_prefix("ledger:").unwrap().parse().unwrap();
        let shown = seen.header("X-Views-At").unwrap().split(',').next().unwrap();
        let shown: u64 = shown.strip_prefix("ledger:").unwrap().parse().unwrap();
        assert!(shown >= at, "{shown} < {at}");
        let after = house.get(&format!("/v1/portfolio/positions?after={token}")).await;
        assert_eq!(after.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_the_views_do_not_reach_in_time_is_told() {
    let house = House::trading().await;
    // Nothing is folded as long as somebody looks at the views at rest.
    let (views, (over, until)) = (Arc::clone(&house.views), mpsc::channel::<()>());
    let (begun, resting) = oneshot::channel();
    let looking = tokio::task::spawn_blocking(move || {
        views.at_rest(|_| {
            begun.send(()).unwrap();
            until.recv().unwrap();
        });
    });
    resting.await.unwrap();
    let gone = vec![Event::Market(MarketEvent::FeedGapFilled { first_id: 1, last_id: 2 })];
    append(&house.ledger, "gaps-binance.BTC-USDT", gone).await;
    let head = house.ledger.head().await.unwrap();

    let answer = house.get(&format!("/v1/portfolio/account?after=ledger:{head}")).await;

    over.send(()).unwrap();
    looking.await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (503, &"SYS_002".into()));
    assert_eq!(answer.header("Retry-After"), Some("5"));
    let answer = house.get(&format!("/v1/portfolio/account?after=ledger:{head}")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_token_that_no_command_has_is_told_from_one_that_takes_a_while() {
    let house = House::trading().await;
    let answer = house.get("/v1/portfolio/account?after=ledger:1000000").await;
    assert_eq!((answer.status, &answer.json()["code"]), (404, &"404".into()));

    assert_eq!(house.get("/v1/portfolio/positions?after").await.status, 400);
    for token in ["x", "ledger:", "market:1", "ledger:-1"] {
        let answer = house.get(&format!("/v1/portfolio/positions?after={token}")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"400".into()), "{token}");
        let header = [("X-Consistency-Token", token)];
        assert_eq!(house.ask("GET", "/v1/portfolio/account", &header).await.status, 400, "{token}");
    }
}
