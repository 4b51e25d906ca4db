//! How one comes in: what is presented, in which order it is looked at, and what it is worth.

use domain::access::event::AccessEvent;
use domain::access::{Role, Scope};
use domain::event::Event;
use eventlog::entry::Offset;
use eventlog::log::ReadLog;
use secrecy::ExposeSecret;

use crate::auth::key_text::{self, KeyText};
use crate::tests::asking::Answer;
use crate::tests::house::{House, TRADER};

const ACCOUNT: &str = "/v1/portfolio/account";
const PRICE: &str = "/v1/market/price/BTC-USDT";

/// Nobody's key, though it is written like one.
fn nobodys() -> String {
    shown(&key_text::drawn())
}

fn shown(key: &KeyText) -> String {
    key.text().expose_secret().to_owned()
}

async fn with(house: &House, path: &str, headers: &[(&str, &str)]) -> Answer {
    house.bare("GET", path, headers).await
}

#[tokio::test]
async fn whoever_presents_nothing_is_told_how_to() {
    let house = House::trading().await;
    let answer = with(&house, ACCOUNT, &[]).await;

    assert_eq!((answer.status, &answer.json()["code"]), (401, &"401".into()));
    assert_eq!(answer.json()["message"], "인증 실패");
    assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer realm=\"entasis\""));
    assert_eq!(answer.header("RateLimit"), None);
    let english = with(&house, ACCOUNT, &[("Accept-Language", "en")]).await;
    assert_eq!(english.json()["message"], "authentication failed");
}

#[tokio::test]
async fn all_that_is_presented_must_be_good_and_agree() {
    let house = House::trading().await;
    let bearer = |account: &str, role, scopes: Option<&[Scope]>| {
        format!("Bearer {}", house.token(account, role, scopes))
    };
    let good = bearer(TRADER, Role::Trader, None);
    let other = bearer("zelda", Role::Trader, None);
    let other_role = bearer(TRADER, Role::Auditor, None);
    let broken = format!("{good}x");
    let narrow = bearer(TRADER, Role::Trader, Some(&[Scope::MarketRead]));
    let (_, key) = house.key(r#"{"account":"demo","role":"trader"}"#).await;
    let (_, market) =
        house.key(r#"{"account":"demo","role":"trader","scopes":["market:read"]}"#).await;
    let (revoked_id, revoked) = house.key(r#"{"account":"demo","role":"trader"}"#).await;
    let gone = house.call("DELETE", &format!("/v1/admin/api-keys/{revoked_id}"), "", &[]).await;
    assert_eq!(gone.status, 200, "{}", gone.body);

    let (token, api_key, unknown) = ("Authorization", "X-API-Key", nobodys());
    for (headers, status) in [
        (vec![(token, good.as_str())], 200),
        (vec![(api_key, key.as_str())], 200),
        (vec![(token, &good), (api_key, &key)], 200),
        // Each for itself.
        (vec![(token, &broken)], 401),
        (vec![(token, &broken), (api_key, &key)], 401),
        (vec![(token, &good), (api_key, &unknown)], 401),
        (vec![(token, &good), (api_key, "")], 401),
        (vec![(token, "Bearer "), (api_key, &key)], 401),
        (vec![(token, "Basic ZGVtbzpkZW1v"), (api_key, &key)], 401),
        (vec![(token, &good), (api_key, &revoked)], 401),
        (vec![(api_key, &revoked)], 401),
        (vec![(api_key, &unknown)], 401),
        // Together.
        (vec![(token, &other), (api_key, &key)], 401),
        (vec![(token, &other_role), (api_key, &key)], 401),
        (vec![(token, &good), (token, &good)], 401),
        (vec![(api_key, &key), (api_key, &key)], 401),
        (vec![(token, &good), (token, &broken)], 401),
        // What they may is what each of them may.
        (vec![(token, &narrow)], 403),
        (vec![(token, &narrow), (api_key, &key)], 403),
        (vec![(token, &good), (api_key, &market)], 403),
    ] {
        let answer = with(&house, ACCOUNT, &headers).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.body);
        if status == 401 {
            let sent = headers.iter().any(|(name, _)| *name == token);
            let challenge = answer.header("WWW-Authenticate").unwrap();
            assert_eq!(challenge.contains("error=\"invalid_token\""), sent, "{challenge}");
        }
        let told = answer.body;
        assert!(!told.contains(&key) && !told.contains(good.strip_prefix("Bearer ").unwrap()));
    }
    let both = [(token, narrow.as_str()), (api_key, market.as_str())];
    assert_eq!(with(&house, PRICE, &both).await.status, 200);
}

#[tokio::test]
async fn one_bad_key_is_told_like_another() {
    let house = House::open().await;
    let (id, key) = house.key(r#"{"account":"demo","role":"trader"}"#).await;
    let (gone, revoked) = house.key(r#"{"account":"demo","role":"trader"}"#).await;
    house.call("DELETE", &format!("/v1/admin/api-keys/{gone}"), "", &[]).await;
    // The id is that of a key, and the check is right.
    let guessed = shown(&key_text::drawn_for(id.parse().unwrap()));
    let mut details = Vec::new();
    for text in [&nobodys(), &guessed, &revoked, "x", &key[..key.len() - 1], &key.to_lowercase()] {
        let answer = with(&house, ACCOUNT, &[("X-API-Key", text)]).await;
        assert_eq!(answer.status, 401, "{text}");
        details.push(answer.json()["detail"].clone());
    }
    details.dedup();
    assert_eq!(details.len(), 1, "{details:?}");
}

#[tokio::test]
async fn what_is_public_does_not_look_at_credentials() {
    let house = House::open().await;
    let bad = [("Authorization", "Bearer x"), ("X-API-Key", "y"), ("X-API-Key", "z")];
    for path in [
        "/livez",
        "/readyz",
        "/health",
        "/docs",
        "/openapi.json",
        "/asyncapi.json",
        "/.well-known/jwks.json",
    ] {
        let answer = with(&house, path, &bad).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("RateLimit"), None, "{path}");
    }
}

#[tokio::test]
async fn where_nothing_is_nobody_is_asked_who_they_are() {
    let house = House::open().await;
    for (method, path, status) in [
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1x/market/symbols", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/market/symbols/", 404),
        ("GET", "/v1//market/symbols", 404),
        ("GET", "/v1/m%61rket/symbols", 404),
        ("GET", "/v1/market/../market/symbols", 404),
        ("POST", "/v1/market/symbols", 405),
        ("DELETE", "/api/v1/portfolio/account", 405),
        ("OPTIONS", "/v1/operator/accounts", 405),
    ] {
        let answer = house.bare(method, path, &[("Content-Length", "0")]).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("Allow").is_some(), status == 405, "{method} {path}");
    }
}

#[tokio::test]
async fn who_may_not_come_in_learns_nothing_of_what_they_ask() {
    let house = House::trading().await;
    let (large, unknown) = ("x".repeat(100 * 1024), nobodys());
    for (path, body) in [
        ("/v1/portfolio/positions?no=such", "{"),
        ("/v1/portfolio/positions?after=x", "{}"),
        ("/v1/portfolio/positions", large.as_str()),
        ("/v1/portfolio/positions/pos_1/close", ""),
        ("/v1/operator/accounts/%00/deposits", "{}"),
    ] {
        let headers = [("X-API-Key", unknown.as_str()), ("Idempotency-Key", "")];
        let answer = house.call("POST", path, body, &headers).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.body);
        assert_eq!(answer.header("Idempotency-Key"), None, "{path}");
    }
    let auditor = house.token("audrey", Role::Auditor, None);
    let answer = house.ask_as(&auditor, "POST", "/v1/portfolio/positions?no=such", "{").await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn a_long_address_is_refused_and_so_is_a_body_that_is_packed() {
    let house = House::trading().await;
    let long = format!("/v1/market/symbols?x={}", "x".repeat(8 * 1024));
    let answer = house.get(&long).await;
    assert_eq!((answer.status, &answer.json()["code"]), (414, &"414".into()));

    let order = r#"{"symbol":"BTC-USDT","size":"0.1","type":"long"}"#;
    for (coding, status) in [("gzip", 415), ("identity, gzip", 415), ("", 415), ("Identity", 201)] {
        let headers = [("Content-Encoding", coding)];
        let answer = house.call("POST", "/v1/portfolio/positions", order, &headers).await;
        assert_eq!(answer.status, status, "{coding}: {}", answer.body);
    }
}

/// What was recorded of who came, once the house has stopped.
async fn recorded(house: House) -> Vec<AccessEvent> {
    house.stop.cancel();
    house.recording.await.unwrap().unwrap();
    let entries = house.ledger.read(Offset(0), 10_000).await.unwrap();
    let access = entries.iter().filter(|entry| entry.stream.to_string() == "access-node-1");
    let events = access.flat_map(|entry| &entry.events);
    events
        .map(|event| {
            let Event::Access(event) = event else { panic!("{event:?}") };
            event.clone()
        })
        .collect()
}

#[tokio::test]
async fn a_failure_is_recorded_without_what_was_presented() {
    let house = House::open().await;
    let (id, key) = house.key(r#"{"account":"demo","role":"trader"}"#).await;
    house.call("DELETE", &format!("/v1/admin/api-keys/{id}"), "", &[]).await;
    let token = house.token(TRADER, Role::Trader, None) + "x";
    let bearer = format!("Bearer {token}");
    with(&house, ACCOUNT, &[("X-API-Key", &key), ("X-Request-Id", "first")]).await;
    with(&house, ACCOUNT, &[("Authorization", &bearer), ("X-Request-Id", "second")]).await;
    // Nothing is presented here, so nothing fails.
    with(&house, ACCOUNT, &[("X-Request-Id", "third")]).await;

    let events = recorded(house).await;
    let failures: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            AccessEvent::AuthenticationFailed { address, key, request_id, reason, .. } => {
                assert!(!reason.is_empty() && !reason.contains(' '), "{reason}");
                let key = key.as_ref().map(ToString::to_string);
                Some((address.to_string(), key, request_id.as_str()))
            }
            _ => None,
        })
        .collect();
    let here = || "127.0.0.1".to_owned();
    assert_eq!(failures, [(here(), Some(id), "first"), (here(), None, "second")]);
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains(&key) && !text.contains(&token) && !text.contains(&key[18..61]));
}

#[tokio::test]
async fn who_comes_from_where_they_may_not_is_turned_away_and_recorded() {
    let house = House::trading().await;
    house.ruled(|rules| rules.deny = vec!["127.0.0.0/8".parse().unwrap()]);
    for path in [ACCOUNT, "/livez", "/docs", "/nowhere", "/ws/market"] {
        let answer = house.get(path).await;
        assert_eq!((answer.status, &answer.json()["code"]), (403, &"403".into()), "{path}");
        assert_eq!(answer.json()["message"], "권한 없음");
        assert!(answer.header("Connection").unwrap().eq_ignore_ascii_case("close"), "{path}");
    }
    // It counts from the next request on, on connections that stand already too.
    house.ruled(|rules| rules.deny.clear());
    assert_eq!(house.get(ACCOUNT).await.status, 200);

    let denied = |event: &AccessEvent| matches!(event, AccessEvent::AddressDenied { address, key: None, .. } if address.is_ipv4());
    assert_eq!(recorded(house).await.iter().filter(|event| denied(event)).count(), 5);
}

#[tokio::test]
async fn a_list_of_networks_lets_in_those_whom_a_trusted_proxy_names() {
    let house = House::trading().await;
    let network = |text: &str| vec![text.parse().unwrap()];
    house.ruled(|rules| rules.allow = network("10.0.0.0/8"));
    let forwarded = [("X-Forwarded-For", "10.1.2.3")];
    // Nobody is believed who is not trusted.
    assert_eq!(house.get(ACCOUNT).await.status, 403);
    assert_eq!(house.ask("GET", ACCOUNT, &forwarded).await.status, 403);

    house.ruled(|rules| rules.trusted_proxies = network("127.0.0.1"));
    for (names, status) in [
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("6.6.6.6, 10.1.2.3", 200),
        ("10.1.2.3, 6.6.6.6", 403),
        ("10.1.2.3, 127.0.0.1", 200),
        ("11.1.2.3", 403),
        ("nonsense", 403),
        ("", 403),
    ] {
        let answer = house.ask("GET", ACCOUNT, &[("X-Forwarded-For", names)]).await;
        assert_eq!(answer.status, status, "{names}");
    }
    let two = [("X-Forwarded-For", "10.1.2.3"), ("X-Forwarded-For", "6.6.6.6")];
    assert_eq!(house.ask("GET", ACCOUNT, &two).await.status, 403);
}

#[tokio::test]
async fn a_key_of_some_networks_is_worth_nothing_elsewhere() {
    let house = House::trading().await;
    let body = r#"{"account":"demo","role":"trader","networks":["10.0.0.0/8"]}"#;
    let (id, key) = house.key(body).await;
    house.ruled(|rules| rules.trusted_proxies = vec!["127.0.0.1".parse().unwrap()]);
    for (from, status) in [("10.9.9.9", 200), ("::ffff:10.9.9.9", 200), ("11.9.9.9", 403)] {
        let headers = [("X-API-Key", key.as_str()), ("X-Forwarded-For", from)];
        assert_eq!(with(&house, ACCOUNT, &headers).await.status, status, "{from}");
    }
    let events = recorded(house).await;
    let denied = events.iter().find_map(|event| match event {
        AccessEvent::AddressDenied { address, key, .. } => Some((address.to_string(), key.clone())),
        _ => None,
    });
    assert_eq!(denied, Some(("11.9.9.9".to_owned(), Some(id.parse().unwrap()))));
}
