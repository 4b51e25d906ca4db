//! Who may listen to what on the WebSocket, and how clients say who they are.

use std::time::Duration;

use domain::access::{Role, Scope};
use domain::event::Event;
use domain::keys::event::KeyEvent;
use domain::keys::key::Grant;
use domain::network::Network;
use eventlog::entry::Offset;
use eventlog::log::ReadLog;
use eventlog::stream::Log;
use expect_test::expect;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::auth::key_text::{self, KeyText};
use crate::settings::{Settings, WsSettings};
use crate::tests::client::{Client, keys};
use crate::tests::house::{House, TRADER, append};

const EXTENDED: &str = "/ws/market?v=1";
const ELSEWHERE: &str = "198.51.100.7";

pub(crate) fn ws(settings: WsSettings) -> Settings {
    Settings { ws: settings, ..Settings::default() }
}

/// Tells the house of keys and tokens, as its register would, and waits until it knows.
pub(crate) async fn tell_keys(house: &House, event: KeyEvent) {
    append(&house.ledger, "keys", vec![Event::Key(event)]).await;
    let (head, patience) = (house.ledger.head().await.unwrap(), Duration::from_secs(20));
    assert!(house.views.wait_applied(Log::Ledger, head, patience).await);
}

/// Makes a key of the house's trader, or with some of it changed.
pub(crate) async fn key(house: &House, change: impl FnOnce(&mut Grant)) -> KeyText {
    let mut grant = Grant {
        account: TRADER.parse().unwrap(),
        role: Role::Trader,
        scopes: Role::Trader.scopes(),
        networks: [].into(),
        expires_at: None,
        label: None,
    };
    change(&mut grant);
    let key = key_text::drawn();
    let created = KeyEvent::ApiKeyCreated { key: key.id.clone(), grant, secret: key.hash() };
    tell_keys(house, created).await;
    key
}

pub(crate) fn text(key: &KeyText) -> String {
    key.text().expose_secret().to_owned()
}

/// Asks the house for a ticket, as somebody's page would.
pub(crate) async fn ticket(house: &House, headers: &[(&str, &str)]) -> String {
    let issued = house.call("POST", "/v1/ws/ticket", "", headers).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    issued.json()["ticket"].as_str().unwrap().to_owned()
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(crate) fn subscribe(id: u64, channel: &str) -> String {
    let mut message = json!({"id": id, "action": "subscribe", "channel": channel});
    if matches!(channel, "market" | "orderbook" | "candles") {
        message["symbol"] = "BTC-USDT".into();
    }
    message.to_string()
}

pub(crate) fn auth(id: u64, kind: &str, text: &str) -> String {
    json!({"id": id, "action": "auth", kind: text}).to_string()
}

/// Tries all channels; returns `ack`, or the code of the error.
async fn tried(client: &mut Client) -> Vec<String> {
    let mut tried = Vec::new();
    for (id, channel) in (1..).zip(["market", "orderbook", "candles", "positions", "account"]) {
        client.send(&subscribe(id, channel)).await;
        // What was subscribed before may be told in between.
        let answer = loop {
            let frame = client.frame().await;
            if frame["id"] == id {
                break frame;
            }
        };
        let what = if answer["type"] == "ack" { &answer["type"] } else { &answer["code"] };
        tried.push(what.as_str().unwrap().to_owned());
    }
    tried
}

#[tokio::test]
async fn each_channel_has_its_scope_and_the_market_is_open() {
    let house = House::trading().await;
    let trader = |scopes: &[Scope]| house.token(TRADER, Role::Trader, Some(scopes));
    for (token, expected) in [
        (None, ["ack", "ack", "AUTH_001", "AUTH_001", "AUTH_001"]),
        (Some(trader(&[Scope::MarketRead])), ["ack", "ack", "ack", "AUTH_003", "AUTH_003"]),
        (Some(trader(&[Scope::PortfolioRead])), ["ack", "ack", "AUTH_003", "ack", "ack"]),
        (
            Some(trader(&[Scope::PortfolioWrite])),
            ["ack", "ack", "AUTH_003", "AUTH_003", "AUTH_003"],
        ),
        (
            Some(house.token("olga", Role::Operator, None)),
            ["ack", "ack", "ack", "AUTH_003", "AUTH_003"],
        ),
        (
            Some(house.token("anna", Role::Auditor, None)),
            ["ack", "ack", "ack", "AUTH_003", "AUTH_003"],
        ),
    ] {
        let mut client = match &token {
            Some(token) => Client::holding(&house, token).await,
            None => Client::extended(&house).await,
        };
        assert_eq!(tried(&mut client).await, expected, "{token:?}");
    }
}

#[tokio::test]
async fn where_the_market_is_closed_nobody_is_told_anything() {
    let patience =
        WsSettings { subscribe_patience: Duration::from_millis(300), ..WsSettings::default() };
    let house = House::with(ws(patience)).await;
    house.trade(1, "64000.00").await;
    house.ruled(|rules| rules.anonymous_market = false);

    let mut stranger = Client::extended(&house).await;
    assert_eq!(tried(&mut stranger).await, ["AUTH_001"; 5]);
    assert_eq!(stranger.farewell().await.0, 4401, "not 4408: it could not have subscribed");

    let mut client = Client::extended(&house).await;
    let token = house.token(TRADER, Role::Trader, Some(&[Scope::MarketRead]));
    client.ask(&auth(1, "token", &token)).await;
    assert_eq!(tried(&mut client).await, ["ack", "ack", "ack", "AUTH_003", "AUTH_003"]);

    let token = house.token(TRADER, Role::Trader, Some(&[Scope::PortfolioRead]));
    let mut client = Client::holding(&house, &token).await;
    assert_eq!(tried(&mut client).await, ["AUTH_003", "AUTH_003", "AUTH_003", "ack", "ack"]);
}

#[tokio::test]
async fn what_is_presented_in_the_handshake_is_judged_before_there_is_a_socket() {
    let house = House::trading().await;
    let (good, other) = (
        bearer(&house.token(TRADER, Role::Trader, None)),
        bearer(&house.token("bob", Role::Trader, None)),
    );
    let ours = text(&key(&house, |_| {}).await);
    let from_elsewhere = text(
        &key(&house, |grant| {
            grant.networks = [Network::of(ELSEWHERE.parse().unwrap())].into();
        })
        .await,
    );
    let mistyped = ours.replace("ent_live_", "ent_live_x");
    for (headers, status) in [
        (vec![("authorization", good.as_str())], None),
        (vec![("x-api-key", ours.as_str())], None),
        (vec![("authorization", good.as_str()), ("x-api-key", ours.as_str())], None),
        (vec![("authorization", "Bearer x.y.z")], Some(401)),
        (vec![("authorization", "Basic dXNlcjpwYXNz")], Some(401)),
        (vec![("x-api-key", mistyped.as_str())], Some(401)),
        (vec![("authorization", other.as_str()), ("x-api-key", ours.as_str())], Some(401)),
        (vec![("authorization", good.as_str()), ("x-api-key", mistyped.as_str())], Some(401)),
        (vec![("x-api-key", from_elsewhere.as_str())], Some(403)),
    ] {
        let connected = Client::connect(&house, EXTENDED, &headers).await;
        assert_eq!(connected.err(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn a_client_can_say_later_who_it_is() {
    let house = House::trading().await;
    let token = house.token(TRADER, Role::Trader, None);
    let key = text(&key(&house, |_| {}).await);
    let ticket = ticket(&house, &[]).await;
    for (kind, presented, expires_at) in [
        ("token", token.as_str(), json!("2024-03-21T10:30:01.000Z")),
        ("api_key", key.as_str(), Value::Null),
        ("ticket", ticket.as_str(), json!("2024-03-21T10:30:01.000Z")),
    ] {
        let mut client = Client::extended(&house).await;
        assert_eq!(client.ask(&subscribe(1, "account")).await["code"], "AUTH_001");
        let ack = client.ask(&auth(2, kind, presented)).await;
        assert_eq!(keys(&ack), ["type", "id", "action", "account", "role", "expires_at"]);
        assert_eq!(
            ack,
            json!({"type": "ack", "id": 2, "action": "auth", "account": TRADER, "role": "trader", "expires_at": expires_at}),
            "{kind}"
        );
        assert_eq!(client.ask(&subscribe(3, "account")).await["type"], "ack");
        assert_eq!(client.frame().await["account"], TRADER);
    }
}

#[tokio::test]
async fn who_gave_no_id_is_acknowledged_only_where_the_connection_is_extended() {
    let house = House::open().await;
    let token = house.token(TRADER, Role::Trader, None);
    let silent = json!({"action": "auth", "token": token}).to_string();

    let ack = Client::extended(&house).await.ask(&silent).await;
    assert_eq!(keys(&ack), ["type", "action", "account", "role", "expires_at"]);

    let mut plain = Client::open(&house).await;
    plain.send(&silent).await;
    assert_eq!(plain.ask(r#"{"id":1,"action":"ping"}"#).await["type"], "pong");
    assert_eq!(plain.ask(&auth(2, "token", &token)).await["action"], "auth");
}

#[tokio::test]
async fn the_third_bad_credentials_close_the_connection_and_are_recorded() {
    let house = House::open().await;
    let english = [("accept-language", "en"), ("x-request-id", "handshake-7")];
    let mut client = Client::connect(&house, EXTENDED, &english).await.unwrap();
    client.send(&auth(1, "ticket", "canary-1")).await;
    expect![[r#"{"type":"error","id":1,"code":"AUTH_001","message":"not authenticated","detail":"the ticket is not good"}"#]]
        .assert_eq(&client.next().await);
    let answer = client.ask(&auth(2, "api_key", "canary-2")).await;
    assert_eq!(
        (&answer["code"], &answer["detail"]),
        (&"AUTH_001".into(), &"the API key is not good".into())
    );
    client.send(&auth(3, "token", "canary-3")).await;
    let (code, reason, before) = client.farewell().await;
    assert_eq!((code, reason.as_str()), (4401, "too many failed authentications"));
    assert_eq!(before[0]["code"], "AUTH_001");

    let recorded = recorded(&house, 3).await;
    assert_eq!(recorded.matches("authentication_failed.v1").count(), 3, "{recorded}");
    assert_eq!(recorded.matches("handshake-7").count(), 3, "{recorded}");
    assert!(!recorded.contains("canary"), "{recorded}");
}

/// Returns the ledger's events as text, once there are so many.
async fn recorded(house: &House, events: usize) -> String {
    let (mut next, patience) = (Offset(1), Duration::from_secs(20));
    loop {
        assert!(house.views.wait_applied(Log::Ledger, next, patience).await);
        let entries = house.ledger.read(Offset(0), 1_000).await.unwrap();
        let told = entries.iter().flat_map(|entry| &entry.events);
        let told: Vec<_> = told.map(|event| serde_json::to_string(event).unwrap()).collect();
        if told.len() >= events {
            return told.concat();
        }
        next = Offset(entries.last().unwrap().offset.0 + 1);
    }
}

#[tokio::test]
async fn who_guesses_too_often_from_one_address_is_closed_at_once() {
    let house = House::open().await;
    house.ruled(|rules| rules.failures_ip_max = 1);
    let mut client = Client::extended(&house).await;
    assert_eq!(client.ask(&auth(1, "token", "x")).await["code"], "AUTH_001");
    client.send(&auth(2, "token", "x")).await;
    assert_eq!(client.closed().await, 1008);

    // A neighbour with good credentials comes in all the same.
    let token = house.token(TRADER, Role::Trader, None);
    let mut neighbour = Client::extended(&house).await;
    assert_eq!(neighbour.ask(&auth(3, "token", &token)).await["type"], "ack");
}

#[tokio::test]
async fn a_key_that_may_not_be_used_from_there_closes_the_connection() {
    let house = House::open().await;
    let elsewhere = [Network::of(ELSEWHERE.parse().unwrap())];
    let key = text(&key(&house, |grant| grant.networks = elsewhere.into()).await);
    let mut client = Client::extended(&house).await;
    client.send(&auth(1, "api_key", &key)).await;
    assert_eq!(client.closed().await, 4403);

    house.ruled(|rules| rules.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let through = [("x-forwarded-for", ELSEWHERE)];
    let mut client = Client::connect(&house, EXTENDED, &through).await.unwrap();
    assert_eq!(client.ask(&auth(1, "api_key", &key)).await["type"], "ack");
}

#[tokio::test]
async fn a_connection_stays_with_its_account_and_role() {
    let house = House::trading().await;
    let mut client = Client::trader(&house).await;
    for (account, role) in [("bob", Role::Trader), (TRADER, Role::Operator)] {
        let answer = client.ask(&auth(1, "token", &house.token(account, role, None))).await;
        assert_eq!((&answer["type"], &answer["code"]), (&"error".into(), &"AUTH_001".into()));
    }
    client.ask(&subscribe(2, "account")).await;
    assert_eq!(client.frame().await["account"], TRADER);
}

#[tokio::test]
async fn a_token_in_the_address_is_not_read() {
    let house = House::open().await;
    let token = house.token(TRADER, Role::Trader, None);
    for query in [format!("?token={token}"), format!("?v=1&token={token}")] {
        let path = format!("/ws/market{query}");
        assert_eq!(Client::connect(&house, &path, &[]).await.err(), Some(400));
    }
}

#[tokio::test]
async fn a_ticket_opens_once_and_only_where_it_was_asked_for() {
    let house = House::open().await;
    house.ruled(|rules| {
        rules.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        rules.origins = vec!["https://app.example".into(), "https://else.example".into()];
    });
    let (home, away) = ([("origin", "https://app.example")], [("origin", "https://else.example")]);
    let behind = [home[0], ("x-forwarded-for", ELSEWHERE)];
    for (headers, is_good) in
        [(&home[..], true), (&away[..], false), (&behind[..], false), (&[][..], false)]
    {
        let ticket = ticket(&house, &home).await;
        let mut client = Client::connect(&house, EXTENDED, headers).await.unwrap();
        let first = client.ask(&auth(1, "ticket", &ticket)).await;
        assert_eq!(first["type"] == "ack", is_good, "{headers:?} {first}");

        let mut again = Client::connect(&house, EXTENDED, &home).await.unwrap();
        assert_eq!(again.ask(&auth(2, "ticket", &ticket)).await["code"], "AUTH_001");
    }
}

#[tokio::test]
async fn a_ticket_is_worth_as_much_as_what_it_was_asked_with() {
    let house = House::trading().await;
    let held =
        key(&house, |grant| grant.scopes = [Scope::PortfolioRead].into_iter().collect()).await;
    let held_text = text(&held);
    let headers = [("X-API-Key", held_text.as_str())];
    let (narrow, late, revoked) = (
        ticket(&house, &headers).await,
        ticket(&house, &headers).await,
        ticket(&house, &headers).await,
    );

    let mut client = Client::extended(&house).await;
    client.ask(&auth(1, "ticket", &narrow)).await;
    assert_eq!(tried(&mut client).await, ["ack", "ack", "AUTH_003", "ack", "ack"]);

    tell_keys(&house, KeyEvent::ApiKeyRevoked { key: held.id }).await;
    let mut client = Client::extended(&house).await;
    assert_eq!(client.ask(&auth(1, "ticket", &revoked)).await["code"], "AUTH_001");
    house.clock.set("2024-03-21T09:30:31Z");
    assert_eq!(client.ask(&auth(2, "ticket", &late)).await["code"], "AUTH_001");
}

#[tokio::test]
async fn an_account_has_only_so_many_sockets_however_it_comes() {
    let limits = WsSettings { connections_account_max: 2, ..WsSettings::default() };
    let house = House::with(ws(limits)).await;
    let (token, other) =
        (house.token(TRADER, Role::Trader, None), house.token("bob", Role::Trader, None));
    let key = text(&key(&house, |_| {}).await);
    let by_header = Client::holding(&house, &token).await;
    let mut by_message = Client::extended(&house).await;
    by_message.ask(&auth(1, "api_key", &key)).await;

    let third = [("x-api-key", key.as_str())];
    assert_eq!(Client::connect(&house, EXTENDED, &third).await.err(), Some(429));
    let mut late = Client::extended(&house).await;
    assert_eq!(late.ask(&auth(2, "token", &token)).await["code"], "429");
    assert_eq!(late.closed().await, 1008);
    Client::holding(&house, &other).await;
    // A fresh token of one who is in needs no other place.
    assert_eq!(by_message.ask(&auth(3, "token", &token)).await["type"], "ack");

    drop(by_header);
    while Client::connect(&house, EXTENDED, &third).await.is_err() {}
}

#[tokio::test]
async fn a_handshake_is_a_request_of_its_account() {
    let house = House::open().await;
    house.ruled(|rules| rules.requests_max = 2);
    let token = bearer(&house.token(TRADER, Role::Trader, None));
    let headers = [("authorization", token.as_str())];
    for status in [None, None, Some(429), Some(429)] {
        assert_eq!(Client::connect(&house, EXTENDED, &headers).await.err(), status);
    }
    Client::extended(&house).await;
}

#[tokio::test]
async fn two_accounts_never_hear_of_each_other() {
    let house = House::trading().await;
    for (method, path, body) in [
        ("POST", "/v1/operator/accounts", r#"{"account":"bob"}"#),
        ("POST", "/v1/operator/accounts/bob/deposits", r#"{"amount":"77777.00"}"#),
    ] {
        assert_eq!(house.call(method, path, body, &[]).await.status, 201);
    }
    let tokens = [TRADER, "bob"].map(|name| house.token(name, Role::Trader, None));
    let mut clients = [Client::holding(&house, &tokens[0]).await, Client::extended(&house).await];
    clients[1].ask(&auth(1, "token", &tokens[1])).await;
    for client in &mut clients {
        for channel in ["positions", "account"] {
            client.send(&subscribe(2, channel)).await;
        }
    }

    // A walk with a seed: whose turn it is, and whether they close what they hold.
    let (mut seed, mut ids, mut held) = (7_u64, [vec![], vec![]], [None, None]);
    for step in 0..24 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let who = usize::from(seed >> 63 == 1);
        let token = bearer(&tokens[who]);
        let headers = [("Authorization", token.as_str())];
        let done = if let Some(id) = held[who].take() {
            let path = format!("/v1/portfolio/positions/{id}/close");
            house.call("POST", &path, "{}", &headers).await
        } else {
            let order = json!({"symbol": "BTC-USDT", "size": "0.01", "type": "long"});
            house.call("POST", "/v1/portfolio/positions", &order.to_string(), &headers).await
        };
        assert!(matches!(done.status, 200 | 201), "{}", done.body);
        let id = done.json()["position_id"].as_str().unwrap().to_owned();
        if done.status == 201 {
            held[who] = Some(id.clone());
            ids[who].push(id);
        }
        house.trade(step + 2, &format!("640{step:02}.00")).await;
    }

    for (who, client) in clients.iter_mut().enumerate() {
        // All that was told until the last of it was.
        let mut told = String::new();
        let last = ids[who].last().unwrap();
        while !told.contains(last) {
            told += &client.next().await;
        }
        let (mine, other) = ([TRADER, "bob"][who], [TRADER, "bob"][1 - who]);
        assert!(told.contains(&format!(r#""account":"{mine}""#)), "{told}");
        assert!(!told.contains(&format!(r#""{other}""#)), "{told}");
        assert!(ids[1 - who].iter().all(|id| !told.contains(id)), "{told}");
    }
}
