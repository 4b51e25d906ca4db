//! What keys are exchanged for: tokens and tickets, and how these end.

use std::sync::Arc;

use domain::access::Role;
use expect_test::expect;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{KEYS, READ, TRADER_KEY, opens, secrets, text};
use crate::auth::token_keys::{Algorithm, TokenKeys};
use crate::tests::asking::Answer;
use crate::tests::house::House;

const TOKEN: &str = "/api/v1/auth/token";

/// Exchanges a key for a token.
async fn exchange(house: &House, key: &str, body: &str) -> Answer {
    match body {
        "" => house.bare("POST", TOKEN, &[("X-API-Key", key)]).await,
        body => house.call("POST", TOKEN, body, &[("X-API-Key", key)]).await,
    }
}

async fn token(house: &House, key: &str, body: &str) -> String {
    let exchanged = exchange(house, key, body).await;
    assert_eq!(exchanged.status, 200, "{}", exchanged.body);
    text(&exchanged, "token")
}

async fn ask(house: &House, method: &str, path: &str, token: &str) -> Answer {
    house.bare(method, path, &[("Authorization", &format!("Bearer {token}"))]).await
}

/// Asks for something with a token, and returns the status.
async fn lets_in(house: &House, token: &str) -> u16 {
    ask(house, "GET", READ, token).await.status
}

#[tokio::test]
async fn a_key_is_exchanged_for_a_token_that_may_the_same() {
    let house = House::trading().await;
    let (_, key) = house.key(TRADER_KEY).await;
    let exchanged = exchange(&house, &key, "").await;
    let token = text(&exchanged, "token");
    let told = exchanged.body.replace(&token, "TOKEN");
    expect![[r#"{"token":"TOKEN","token_type":"Bearer","expires_in":900,"expires_at":"2024-03-21T09:45:01Z","account":"demo","role":"trader","scopes":["market:read","portfolio:read","portfolio:write","analysis:read","events:read"]}"#]].assert_eq(&told);
    assert_eq!(exchanged.header("Cache-Control"), Some("no-store"));

    let account = ask(&house, "GET", "/v1/portfolio/account", &token).await;
    assert_eq!((account.status, text(&account, "account")), (200, "demo".to_owned()));
    // As the sample of the specification does: both.
    let bearer = format!("Bearer {token}");
    let both = [("Authorization", bearer.as_str()), ("X-API-Key", key.as_str())];
    assert_eq!(house.bare("GET", "/v1/portfolio/account", &both).await.status, 200);
    assert!(secrets::ledger(&house).await.contains(r#""type":"token_issued.v1""#));
}

#[tokio::test]
async fn a_token_may_less_than_its_key_and_never_more() {
    let house = House::trading().await;
    let key = r#"{"account":"demo","role":"trader","scopes":["market:read","portfolio:read"]}"#;
    let (_, key) = house.key(key).await;
    let narrow = token(&house, &key, r#"{"scopes":["market:read"],"ttl_s":60}"#).await;
    assert_eq!(lets_in(&house, &narrow).await, 200);
    assert_eq!(ask(&house, "GET", "/v1/portfolio/account", &narrow).await.status, 403);

    for body in [
        r#"{"scopes":["portfolio:write"]}"#,
        r#"{"scopes":["market:read","events:read"]}"#,
        r#"{"scopes":["admin"]}"#,
        r#"{"scopes":[]}"#,
        r#"{"scopes":["all"]}"#,
        r#"{"scopes":"market:read"}"#,
        r#"{"ttl_s":0}"#,
        r#"{"ttl_s":-1}"#,
        r#"{"ttl_s":86401}"#,
        r#"{"ttl_s":"900"}"#,
        r#"{"ttl_s":900.5}"#,
        r#"{"ttl":900}"#,
        r#"{"account":"eve"}"#,
        r#"{"role":"admin"}"#,
        "[]",
    ] {
        let answer = exchange(&house, &key, body).await;
        assert_eq!((answer.status, text(&answer, "code")), (400, "400".to_owned()), "{body}");
    }
}

#[tokio::test]
async fn a_token_ends_when_it_was_said_that_it_would() {
    let house = House::open().await;
    let (_, key) = house.key(TRADER_KEY).await;
    let token = token(&house, &key, r#"{"ttl_s":60}"#).await;
    // Five seconds are for clocks that differ.
    house.clock.set("2024-03-21T09:31:05.999999Z");
    assert_eq!(lets_in(&house, &token).await, 200);
    house.clock.set("2024-03-21T09:31:06Z");
    let refused = ask(&house, "GET", READ, &token).await;
    assert_eq!(
        (refused.status, text(&refused, "detail")),
        (401, "the token has expired".to_owned())
    );
    assert_eq!(opens(&house, &key).await, 200);
}

#[tokio::test]
async fn a_token_never_outlives_its_key() {
    let house = House::open().await;
    let ends = r#"{"account":"demo","role":"trader","expires_at":"2024-03-21T09:35:00.5Z"}"#;
    let (_, key) = house.key(ends).await;
    let exchanged = exchange(&house, &key, r#"{"ttl_s":86400}"#).await;
    assert_eq!(text(&exchanged, "expires_at"), "2024-03-21T09:35:00Z");
    assert_eq!(exchanged.json()["expires_in"], 299);
    let token = text(&exchanged, "token");
    house.clock.set("2024-03-21T09:35:00.499999Z");
    assert_eq!(lets_in(&house, &token).await, 200);
    assert_eq!(exchange(&house, &key, "").await.status, 401);
    // Not even for the five seconds.
    house.clock.set("2024-03-21T09:35:00.5Z");
    assert_eq!(lets_in(&house, &token).await, 401);
}

#[tokio::test]
async fn a_token_of_a_revoked_key_is_dead() {
    let house = House::open().await;
    let (id, key) = house.key(TRADER_KEY).await;
    let (_, other) = house.key(TRADER_KEY).await;
    let (one, two) = (token(&house, &key, "").await, token(&house, &other, "").await);
    assert_eq!((lets_in(&house, &one).await, lets_in(&house, &two).await), (200, 200));
    house.post(&format!("{KEYS}/{id}/rotate"), "{}").await;
    assert_eq!(lets_in(&house, &one).await, 200);
    house.ask("DELETE", &format!("{KEYS}/{id}"), &[]).await;
    assert_eq!((lets_in(&house, &one).await, lets_in(&house, &two).await), (401, 200));
}

#[tokio::test]
async fn a_token_that_was_revoked_lets_nobody_in() {
    let house = House::open().await;
    let (_, key) = house.key(TRADER_KEY).await;
    let (one, two) = (token(&house, &key, "").await, token(&house, &key, "").await);
    let revoked = ask(&house, "DELETE", TOKEN, &one).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    assert_eq!(revoked.body, r#"{"status":"success","timestamp":"2024-03-21T09:30:01Z"}"#);

    assert_eq!((lets_in(&house, &one).await, lets_in(&house, &two).await), (401, 200));
    assert_eq!(ask(&house, "DELETE", TOKEN, &one).await.status, 401);
    assert_eq!(opens(&house, &key).await, 200);
    // With its key beside it, too: it is the token that goes.
    let bearer = format!("Bearer {two}");
    let both = [("Authorization", bearer.as_str()), ("X-API-Key", key.as_str())];
    assert_eq!(house.bare("DELETE", TOKEN, &both).await.status, 200);
    assert_eq!((lets_in(&house, &two).await, opens(&house, &key).await), (401, 200));
    // Also in the last seconds, in which it is taken for the sake of clocks that differ.
    house.clock.set("2024-03-21T09:45:05.5Z");
    assert_eq!(lets_in(&house, &one).await, 401);
}

#[tokio::test]
async fn a_token_that_was_revoked_is_remembered_for_clocks_that_are_behind() {
    let house = House::open().await;
    let (_, key) = house.key(TRADER_KEY).await;
    let (one, two) = (token(&house, &key, r#"{"ttl_s":60}"#).await, token(&house, &key, "").await);
    assert_eq!(ask(&house, "DELETE", TOKEN, &one).await.status, 200);
    // On this node the first may be forgotten as soon as another is revoked; the next is five
    // seconds behind.
    house.clock.set("2024-03-21T09:31:10Z");
    assert_eq!(ask(&house, "DELETE", TOKEN, &two).await.status, 200);
    house.clock.set("2024-03-21T09:31:05.5Z");
    assert_eq!(lets_in(&house, &one).await, 401);
}

#[tokio::test]
async fn only_a_key_alone_is_exchanged_and_only_a_token_is_revoked() {
    let house = House::open().await;
    let (_, key) = house.key(TRADER_KEY).await;
    let token = token(&house, &key, "").await;
    let bearer = format!("Bearer {token}");
    let (by_token, by_key) = (("Authorization", bearer.as_str()), ("X-API-Key", key.as_str()));
    for headers in [&[by_token][..], &[by_token, by_key], &[]] {
        assert_eq!(house.bare("POST", TOKEN, headers).await.status, 401);
    }
    for headers in [&[by_key][..], &[]] {
        assert_eq!(house.bare("DELETE", TOKEN, headers).await.status, 401);
    }
    assert_eq!(lets_in(&house, &token).await, 200);
}

#[tokio::test]
async fn a_token_is_good_where_its_key_is() {
    let house = House::open().await;
    house.ruled(|rules| rules.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]);
    let key = r#"{"account":"demo","role":"trader","networks":["10.0.0.0/8"]}"#;
    let (_, key) = house.key(key).await;
    let from = |address| ("X-Forwarded-For", address);
    let inside = [("X-API-Key", key.as_str()), from("10.9.8.7")];
    let token = text(&house.bare("POST", TOKEN, &inside).await, "token");
    let bearer = format!("Bearer {token}");
    for (address, status) in [("10.1.1.1", 200), ("11.1.1.1", 403)] {
        let headers = [("Authorization", bearer.as_str()), from(address)];
        assert_eq!(house.bare("GET", READ, &headers).await.status, status, "{address}");
    }
    let outside = [("X-API-Key", key.as_str()), from("11.1.1.1")];
    assert_eq!(house.bare("POST", TOKEN, &outside).await.status, 403);
}

#[tokio::test]
async fn tokens_live_on_when_their_keys_are_rotated_and_the_public_ones_are_told() {
    let house = House::open().await;
    let empty = house.get("/.well-known/jwks.json").await;
    assert_eq!((empty.status, empty.body.as_str()), (200, r#"{"keys":[]}"#));

    let (now, until) = ("2024-03-21T09:30:01Z", "2024-03-21T10:30:01Z");
    let first = TokenKeys::drawn(Algorithm::Hs256);
    house.gate.token_keys.store(Arc::new(TokenKeys::read(first.expose_secret()).unwrap()));
    let old = house.token("demo", Role::Trader, None);
    let (now, until) = (now.parse().unwrap(), until.parse().unwrap());
    let second = TokenKeys::rotated(first.expose_secret(), Algorithm::EdDsa, now, until).unwrap();
    house.gate.token_keys.store(Arc::new(TokenKeys::read(second.expose_secret()).unwrap()));
    let new = house.token("demo", Role::Trader, None);
    assert_eq!((lets_in(&house, &old).await, lets_in(&house, &new).await), (200, 200));

    let told = house.bare("GET", "/.well-known/jwks.json", &[("X-API-Key", "garbled")]).await;
    assert_eq!(told.header("Content-Type"), Some("application/json; charset=utf-8"));
    let key = told.json()["keys"][0].clone();
    assert_eq!((key["alg"].clone(), key["crv"].clone()), ("EdDSA".into(), "Ed25519".into()));
    assert_eq!((told.json()["keys"].as_array().unwrap().len(), key["d"].clone()), (1, Value::Null));
    house.clock.set("2024-03-21T10:30:01Z");
    assert_eq!(lets_in(&house, &old).await, 401);
}

#[tokio::test]
async fn whoever_was_let_in_gets_a_ticket() {
    let house = House::open().await;
    let (_, key) = house.key(TRADER_KEY).await;
    let origin = ("Origin", "https://app.example.com");
    let issued = house.bare("POST", "/v1/ws/ticket", &[("X-API-Key", &key), origin]).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    let told = issued.body.replace(&text(&issued, "ticket"), "TICKET");
    expect![[r#"{"ticket":"TICKET","expires_at":"2024-03-21T09:30:31Z","expires_in":30}"#]]
        .assert_eq(&told);

    let two = [("X-API-Key", key.as_str()), origin, ("Origin", "https://evil.example")];
    assert_eq!(house.bare("POST", "/v1/ws/ticket", &two).await.status, 400);
    assert_eq!(house.bare("POST", "/v1/ws/ticket", &[origin]).await.status, 401);
}
