//! How a session ends or goes on when what its client presented is not good any more.

use std::time::{Duration, Instant};

use domain::access::{Role, Scope, Scopes};
use domain::keys::event::KeyEvent;
use domain::keys::key::{KeyId, TokenId};
use domain::time::Timestamp;
use secrecy::ExposeSecret;
use serde_json::Value;
use uuid::Uuid;

use crate::auth::token::{self, Claims};
use crate::settings::WsSettings;
use crate::tests::client::Client;
use crate::tests::house::{House, TRADER, tick};
use crate::tests::ws_auth::{auth, bearer, key, subscribe, tell_keys, text, ws};

const BTC: &str = "market-binance.BTC-USDT";
/// A moment before [`SOON`], at which tokens of these tests expire.
const NOW: &str = "2024-03-21T09:30:01.600Z";
const SOON: &str = "2024-03-21T09:30:02Z";
const LATER: &str = "2024-03-21T10:30:02Z";

/// A house in which it is [`NOW`], whose trader has money.
async fn house(settings: WsSettings) -> House {
    let house = House::with(ws(settings)).await;
    house.clock.set(NOW);
    house.trade(1, "64000.00").await;
    house.fund("100000.00").await;
    house
}

fn token_of(house: &House, until: &str, scopes: Scopes, key: Option<KeyId>) -> (TokenId, String) {
    let id: TokenId = Uuid::now_v7().to_string().parse().unwrap();
    let claims = Claims {
        id: id.clone(),
        account: TRADER.parse().unwrap(),
        role: Role::Trader,
        scopes,
        issued_at: "2024-03-21T09:30:00Z".parse().unwrap(),
        expires_at: until.parse().unwrap(),
        key,
    };
    let token = token::sign(&house.gate.token_keys.load(), &claims);
    (id, token.expose_secret().to_owned())
}

fn token(house: &House, until: &str) -> String {
    token_of(house, until, Role::Trader.scopes(), None).1
}

/// Subscribes to a channel, and returns its first frame.
async fn listen(client: &mut Client, channel: &str) -> Value {
    let ack = client.ask(&subscribe(1, channel)).await;
    assert_eq!(ack["type"], "ack", "{ack}");
    client.frame().await
}

async fn deposit(house: &House, amount: &str) {
    let body = format!(r#"{{"amount":"{amount}"}}"#);
    let paid = house.post("/v1/operator/accounts/demo/deposits", &body).await;
    assert_eq!(paid.status, 201, "{}", paid.body);
}

#[tokio::test]
async fn when_a_token_expires_the_account_falls_silent_and_the_market_goes_on() {
    let house = house(WsSettings::default()).await;
    let mut witness = Client::holding(&house, &token(&house, LATER)).await;
    listen(&mut witness, "account").await;
    let mut client = Client::holding(&house, &token(&house, SOON)).await;
    listen(&mut client, "market").await;
    listen(&mut client, "account").await;

    let expired = client.frame().await;
    assert_eq!((&expired["type"], &expired["code"]), (&"error".into(), &"AUTH_002".into()));
    assert_eq!(expired.get("id"), None);
    deposit(&house, "11.50").await;
    assert_eq!(witness.frame().await["free"], "100011.50", "who has not expired is told");
    house.record(BTC, vec![tick(2, "2024-03-21T09:30:01Z", "64001.00", "1")]).await;
    assert_eq!(client.frame().await["price"], "64001.00");
    assert_eq!(client.ask(&subscribe(2, "positions")).await["code"], "AUTH_002");
    let asked = client.ask(r#"{"id":3,"action":"ping"}"#).await;
    assert_eq!(asked["type"], "pong", "and nothing of the account in between");

    let renewed = client.ask(&auth(4, "token", &token(&house, LATER))).await;
    assert_eq!(
        (&renewed["type"], &renewed["expires_at"]),
        (&"ack".into(), &"2024-03-21T10:30:02.000Z".into())
    );
    let missed = client.frame().await;
    assert_eq!((&missed["type"], &missed["free"]), (&"data".into(), &"100011.50".into()));
    assert_eq!(client.ask(&subscribe(5, "positions")).await["type"], "ack");
}

#[tokio::test]
async fn who_sends_no_new_token_in_time_is_closed() {
    let patience = Duration::from_millis(300);
    let house = house(WsSettings { renew_patience: patience, ..WsSettings::default() }).await;
    for path in ["/ws/market", "/ws/market?v=1"] {
        let mut client = Client::connect(&house, path, &[]).await.unwrap();
        client.ask(&auth(1, "token", &token(&house, SOON))).await;
        let (code, reason, before) = client.farewell().await;
        assert_eq!((code, reason.as_str()), (4401, "the token has expired"));
        assert_eq!((before.len(), &before[0]["code"]), (1, &"AUTH_002".into()));
    }
}

#[tokio::test]
async fn a_token_that_comes_in_time_is_not_spoken_of() {
    let house = house(WsSettings::default()).await;
    let mut client = Client::holding(&house, &token(&house, SOON)).await;
    client.ask(&auth(1, "token", &token(&house, LATER))).await;
    // Another session's token, of the same moment, expires meanwhile.
    let mut other = Client::holding(&house, &token(&house, SOON)).await;
    assert_eq!(other.frame().await["code"], "AUTH_002");
    assert_eq!(client.ask(r#"{"id":2,"action":"ping"}"#).await["type"], "pong");
}

#[tokio::test]
async fn a_key_ends_when_it_was_to_end() {
    let house = house(WsSettings::default()).await;
    let soon: Timestamp = SOON.parse().unwrap();
    let key = key(&house, |grant| grant.expires_at = Some(soon)).await;
    let mut client = Client::extended(&house).await;
    let ack = client.ask(&auth(1, "api_key", &text(&key))).await;
    assert_eq!(ack["expires_at"], "2024-03-21T09:30:02.000Z");
    assert_eq!(client.frame().await["code"], "AUTH_002");
}

#[tokio::test]
async fn a_new_token_that_opens_less_ends_what_it_does_not_open() {
    let house = house(WsSettings::default()).await;
    let mut client = Client::holding(&house, &token(&house, LATER)).await;
    for channel in ["account", "candles", "market"] {
        listen(&mut client, channel).await;
    }
    let less = [Scope::EventsRead].into_iter().collect();
    let (_, less) = token_of(&house, LATER, less, None);
    client.ask(&auth(2, "token", &less)).await;
    for channel in ["account", "candles"] {
        let ended = client.frame().await;
        assert_eq!((&ended["code"], &ended["channel"]), (&"AUTH_003".into(), &channel.into()));
    }
    let list = client.ask(r#"{"id":3,"action":"list"}"#).await;
    let listed = list["subscriptions"].as_array().unwrap();
    assert_eq!((listed.len(), &listed[0]["channel"]), (1, &"market".into()));
}

#[tokio::test]
async fn what_is_revoked_closes_its_sessions_at_once_and_no_others() {
    let house = house(WsSettings::default()).await;
    let (own, exchanged) = (key(&house, |_| {}).await, key(&house, |_| {}).await);
    let id = exchanged.id.clone();
    let (_, of_key) = token_of(&house, LATER, Role::Trader.scopes(), Some(id.clone()));
    let (name, lone) = token_of(&house, LATER, Role::Trader.scopes(), None);
    let until: Timestamp = LATER.parse().unwrap();
    let account = TRADER.parse().unwrap();
    let mut witness = Client::trader(&house).await;
    listen(&mut witness, "account").await;
    for (kind, presented, event) in [
        ("api_key", text(&own), KeyEvent::ApiKeyRevoked { key: own.id.clone() }),
        ("token", of_key, KeyEvent::ApiKeyRevoked { key: id }),
        ("token", lone, KeyEvent::TokenRevoked { token: name, account, at: until, until }),
    ] {
        let mut client = Client::extended(&house).await;
        client.ask(&auth(1, kind, &presented)).await;
        listen(&mut client, "account").await;

        let began = Instant::now();
        tell_keys(&house, event).await;
        deposit(&house, "1.00").await;
        let (code, reason, before) = client.farewell().await;
        assert_eq!((code, reason.as_str()), (4401, "the key or token was revoked"));
        assert_eq!(before, [] as [Value; 0], "nothing of the account comes after it");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(witness.frame().await["type"], "data");
    }
}

#[tokio::test]
async fn one_that_has_expired_is_closed_when_its_key_is_revoked() {
    let house = house(WsSettings::default()).await;
    let own = key(&house, |_| {}).await;
    let (_, token) = token_of(&house, SOON, Role::Trader.scopes(), Some(own.id.clone()));
    let mut client = Client::holding(&house, &token).await;
    assert_eq!(client.frame().await["code"], "AUTH_002");
    house.clock.set(SOON);

    // That of another is none of its business, although it is looked at.
    let other = key(&house, |_| {}).await;
    tell_keys(&house, KeyEvent::ApiKeyRevoked { key: other.id }).await;
    assert_eq!(client.ask(r#"{"id":1,"action":"ping"}"#).await["type"], "pong");

    tell_keys(&house, KeyEvent::ApiKeyRevoked { key: own.id }).await;
    assert_eq!(client.closed().await, 4401);
}

#[tokio::test]
async fn one_that_reads_nothing_is_closed_all_the_same() {
    let limits = WsSettings {
        connections_account_max: 1,
        // Far longer than the test is to take.
        write_patience: Duration::from_mins(10),
        close_patience: Duration::from_millis(100),
        // Room for all: nothing is passed over, so more comes than the kernel's buffers hold.
        ring_frames_max: 1_000_000,
        ring_bytes_max: usize::MAX,
        ..WsSettings::default()
    };
    let house = house(limits).await;
    let key = key(&house, |_| {}).await;
    let mut stuck = Client::extended(&house).await;
    stuck.ask(&auth(1, "api_key", &text(&key))).await;
    listen(&mut stuck, "market").await;
    for entry in 0..1_000_u64 {
        let trade = |id| tick(entry * 250 + id, "2024-03-21T09:30:01Z", "65432.10", "1.23");
        house.record(BTC, (2..=251).map(trade).collect()).await;
    }
    let token = bearer(&token(&house, LATER));
    let headers = [("authorization", token.as_str())];
    let path = "/ws/market?v=1";
    assert_eq!(Client::connect(&house, path, &headers).await.err(), Some(429));

    tell_keys(&house, KeyEvent::ApiKeyRevoked { key: key.id }).await;
    while Client::connect(&house, path, &headers).await.is_err() {}
}
