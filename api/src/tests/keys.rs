//! Keys through the door: given, used, listed, rotated, revoked. What they are exchanged for stands
//! in `keys/exchanged`, that their secrets are kept nowhere in `keys/secrets`.

use std::time::Duration;

use domain::access::Role;
use eventlog::entry::Offset;
use eventlog::stream::Log;
use expect_test::expect;
use serde_json::Value;

use crate::auth::key_text::KeyText;
use crate::tests::asking::Answer;
use crate::tests::house::House;

mod exchanged;
mod secrets;

const KEYS: &str = "/api/v1/admin/api-keys";

/// What any key of a trader and any token may read.
const READ: &str = "/v1/market/symbols";

const TRADER_KEY: &str = r#"{"account":"demo","role":"trader"}"#;

/// Asks for something with a key, and returns the status.
async fn opens(house: &House, key: &str) -> u16 {
    house.bare("GET", READ, &[("X-API-Key", key)]).await.status
}

fn text(answer: &Answer, name: &str) -> String {
    answer.json()[name].as_str().unwrap_or_else(|| panic!("{name} of {}", answer.body)).to_owned()
}

#[tokio::test]
async fn a_key_opens_the_door_as_soon_as_it_is_given() {
    let house = House::open().await;
    let body = r#"{"account":"demo","role":"trader","scopes":["portfolio:read","market:read"],
        "networks":["127.0.0.1","10.1.2.3/8"],"expires_at":"2024-04-01T00:00:00Z","label":"the bot"}"#;
    let given = house.post(KEYS, body).await;
    assert_eq!(given.status, 201, "{}", given.body);
    let (id, key) = (text(&given, "id"), text(&given, "api_key"));

    assert_eq!(opens(&house, &key).await, 200);
    assert_eq!(KeyText::read(&key).ok().unwrap().id.as_str(), id);
    let told = given.body.replace(&key, "KEY").replace(&id, "ID");
    expect![[r#"{"id":"ID","api_key":"KEY","account":"demo","role":"trader","scopes":["market:read","portfolio:read"],"networks":["10.0.0.0/8","127.0.0.1/32"],"expires_at":"2024-04-01T00:00:00Z","label":"the bot","created_at":"2024-03-21T09:30:01Z","entry":{"stream":"keys","version":1},"token":"ledger:1"}"#]].assert_eq(&told);
    // It may what it was given, and no more of what its role may.
    let order = r#"{"symbol":"BTC-USDT","size":"1","type":"long"}"#;
    let by_key = [("X-API-Key", key.as_str())];
    let refused = house.call("POST", "/v1/portfolio/positions", order, &by_key).await;
    assert_eq!(refused.status, 403);
    house.clock.set("2024-04-01T00:00:00Z");
    assert_eq!(opens(&house, &key).await, 401);
}

#[tokio::test]
async fn whoever_has_no_admin_scope_gives_no_keys() {
    let house = House::open().await;
    let (id, trader) = house.key(TRADER_KEY).await;
    let (_, operator) = house.key(r#"{"account":"olga","role":"operator"}"#).await;
    let (_, narrow) =
        house.key(r#"{"account":"ada","role":"admin","scopes":["market:read"]}"#).await;
    for (method, path, body) in [
        ("GET", KEYS.to_owned(), ""),
        ("POST", KEYS.to_owned(), TRADER_KEY),
        ("POST", format!("{KEYS}/{id}/rotate"), "{}"),
        ("DELETE", format!("{KEYS}/{id}"), ""),
    ] {
        for (key, status) in [(&trader, 403), (&operator, 403), (&narrow, 403)] {
            let answer = house.call(method, &path, body, &[("X-API-Key", key)]).await;
            assert_eq!(answer.status, status, "{method} {path}");
        }
        assert_eq!(house.bare(method, &path, &[]).await.status, 401, "{method} {path}");
    }
    assert_eq!(opens(&house, &trader).await, 200);
}

#[tokio::test]
async fn a_former_secret_is_good_for_as_long_as_was_said() {
    let house = House::open().await;
    let (id, first) = house.key(TRADER_KEY).await;
    let path = format!("{KEYS}/{id}/rotate");
    let rotated = house.post(&path, r#"{"overlap_s":60}"#).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let second = text(&rotated, "api_key");
    let told = rotated.body.replace(&second, "KEY").replace(&id, "ID");
    expect![[r#"{"id":"ID","api_key":"KEY","status":"success","timestamp":"2024-03-21T09:30:01Z","former_until":"2024-03-21T09:31:01Z","entry":{"stream":"keys","version":2},"token":"ledger:2"}"#]].assert_eq(&told);

    assert_eq!((opens(&house, &first).await, opens(&house, &second).await), (200, 200));
    house.clock.set("2024-03-21T09:31:00.999999Z");
    assert_eq!((opens(&house, &first).await, opens(&house, &second).await), (200, 200));
    house.clock.set("2024-03-21T09:31:01Z");
    assert_eq!((opens(&house, &first).await, opens(&house, &second).await), (401, 200));

    // Without a word of it, at once; and never more than two are good.
    let third = text(&house.post(&path, r#"{"overlap_s":3600}"#).await, "api_key");
    let fourth = text(&house.ask("POST", &path, &[]).await, "api_key");
    for (key, status) in [(&first, 401), (&second, 401), (&third, 401), (&fourth, 200)] {
        assert_eq!(opens(&house, key).await, status);
    }
}

#[tokio::test]
async fn a_key_that_was_revoked_opens_nothing() {
    let house = House::open().await;
    let (id, key) = house.key(TRADER_KEY).await;
    let rotated = house.post(&format!("{KEYS}/{id}/rotate"), r#"{"overlap_s":3600}"#).await;
    let newer = text(&rotated, "api_key");
    let revoked = house.ask("DELETE", &format!("{KEYS}/{id}"), &[]).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    let told = revoked.body.replace(&id, "ID");
    expect![[r#"{"id":"ID","status":"success","timestamp":"2024-03-21T09:30:01Z","entry":{"stream":"keys","version":3},"token":"ledger:3"}"#]].assert_eq(&told);

    for key in [&key, &newer] {
        let refused = house.bare("GET", READ, &[("X-API-Key", key)]).await;
        assert_eq!((refused.status, refused.json()["code"].clone()), (401, "401".into()));
        assert_eq!(refused.json()["detail"], "the API key is not good");
    }
    let again = house.ask("DELETE", &format!("{KEYS}/{id}"), &[]).await;
    assert_eq!((again.status, again.json()["entry"].clone()), (200, Value::Null));
    let rotated = house.post(&format!("{KEYS}/{id}/rotate"), "{}").await;
    assert_eq!((rotated.status, text(&rotated, "detail")), (400, "the key was revoked".to_owned()));
}

#[tokio::test]
async fn a_key_that_does_not_exist_is_not_found() {
    let house = House::open().await;
    house.key(TRADER_KEY).await;
    let before = house.written().await;
    for id in ["AAAAAAAA", "short", "a%20b%20c%20d", "..%2f..%2fx", "%00"] {
        let rotated = house.post(&format!("{KEYS}/{id}/rotate"), "{}").await;
        assert_eq!(rotated.status, 404, "{id}: {}", rotated.body);
        let revoked = house.ask("DELETE", &format!("{KEYS}/{id}"), &[]).await;
        assert_eq!(revoked.status, 404, "{id}: {}", revoked.body);
    }
    assert_eq!(house.written().await, before);
}

#[tokio::test]
async fn what_is_asked_again_is_answered_again_without_the_secret() {
    let house = House::open().await;
    let named = [("Idempotency-Key", "bot key")];
    let first = house.call("POST", KEYS, TRADER_KEY, &named).await;
    let (id, key) = (text(&first, "id"), text(&first, "api_key"));
    assert_eq!(first.header("Idempotency-Replayed"), None);
    let spelled = r#"{ "role": "trader", "account": "demo", "networks": [], "label": null }"#;
    let again = house.call("POST", KEYS, spelled, &named).await;
    assert_eq!((again.status, again.header("Idempotency-Replayed")), (201, Some("true")));
    assert_eq!(again.body, first.body.replace(&format!("\"{key}\""), "null"));
    assert_eq!(opens(&house, &key).await, 200);

    let path = format!("{KEYS}/{id}/rotate");
    let named = [("Idempotency-Key", "bot key, new")];
    let first = house.call("POST", &path, r#"{"overlap_s":60}"#, &named).await;
    let newer = text(&first, "api_key");
    house.clock.set("2024-03-21T09:30:31Z");
    let again = house.call("POST", &path, r#"{"overlap_s":60}"#, &named).await;
    assert_eq!((again.status, again.header("Idempotency-Replayed")), (200, Some("true")));
    assert_eq!(again.body, first.body.replace(&format!("\"{newer}\""), "null"));
    assert_eq!(opens(&house, &newer).await, 200);

    // Its name belongs to what was asked under it, and to whoever has asked.
    let other = r#"{"account":"eve","role":"trader"}"#;
    let reused = house.call("POST", KEYS, other, &[("Idempotency-Key", "bot key")]).await;
    assert_eq!((reused.status, text(&reused, "code")), (422, "IDEM_001".to_owned()));
    let anna = house.token("anna", Role::Admin, None);
    let bearer = format!("Bearer {anna}");
    let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", "bot key")];
    let theirs = house.call("POST", KEYS, other, &headers).await;
    assert_eq!((theirs.status, text(&theirs, "account")), (201, "eve".to_owned()));
}

#[tokio::test]
async fn a_key_is_good_from_its_networks_alone() {
    let house = House::open().await;
    let key =
        |networks: &str| format!(r#"{{"account":"demo","role":"trader","networks":{networks}}}"#);
    for (networks, status) in [
        (r#"["127.0.0.0/8"]"#, 200),
        (r#"["::ffff:127.0.0.1"]"#, 200),
        (r#"["10.0.0.0/8","127.0.0.1/32"]"#, 200),
        ("[]", 200),
        (r#"["10.0.0.0/8"]"#, 403),
        (r#"["127.0.0.2"]"#, 403),
        (r#"["::1"]"#, 403),
    ] {
        let (_, key) = house.key(&key(networks)).await;
        let answer = house.bare("GET", READ, &[("X-API-Key", &key)]).await;
        assert_eq!(answer.status, status, "{networks}: {}", answer.body);
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_gives_no_key() {
    let house = House::open().await;
    let (id, _) = house.key(TRADER_KEY).await;
    let before = house.written().await;
    let key = |more: &str| format!(r#"{{"account":"demo","role":"trader"{more}}}"#);
    let networks: Vec<_> = (0..65).map(|n| format!("\"10.0.0.{n}\"")).collect();
    for (body, field) in [
        ("{}".to_owned(), "account"),
        (r#"{"account":"demo"}"#.to_owned(), "role"),
        (r#"{"account":"a b","role":"trader"}"#.to_owned(), "account"),
        (r#"{"account":1,"role":"trader"}"#.to_owned(), "account"),
        (r#"{"account":"demo","role":"root"}"#.to_owned(), "role"),
        (r#"{"account":"demo","role":"Trader"}"#.to_owned(), "role"),
        (key(r#","scopes":[]"#), "scopes"),
        (key(r#","scopes":"market:read""#), "scopes"),
        (key(r#","scopes":["market:write"]"#), "scopes"),
        (key(r#","scopes":["market:read","operator"]"#), "scopes"),
        (key(r#","scopes":["admin"]"#), "scopes"),
        (key(r#","scopes":[1]"#), "scopes"),
        (key(r#","networks":["10.0.0.0/33"]"#), "networks"),
        (key(r#","networks":["example.com"]"#), "networks"),
        (key(r#","networks":"10.0.0.0/8""#), "networks"),
        (key(&format!(r#","networks":[{}]"#, networks.join(","))), "networks"),
        (key(r#","expires_at":"2024-03-21T09:30:01Z""#), "expires_at"),
        (key(r#","expires_at":"2020-01-01T00:00:00Z""#), "expires_at"),
        (key(r#","expires_at":"tomorrow""#), "expires_at"),
        (key(r#","expires_at":1711013401"#), "expires_at"),
        (key(r#","label":"""#), "label"),
        (key(r#","label":" x""#), "label"),
        (key(r#","label":"a\u0000b""#), "label"),
        (key(&format!(r#","label":"{}""#, "x".repeat(65))), "label"),
        (key(r#","label":["x"]"#), "label"),
        (key(r#","secret":"mine""#), "secret"),
        (key(r#","id":"AAAAAAAA""#), "id"),
        (key(r#","revoked":true"#), "revoked"),
    ] {
        let answer = house.post(KEYS, &body).await;
        let told = (answer.status, answer.json()["errors"][0]["field"].clone());
        assert_eq!(told, (400, field.into()), "{body}: {}", answer.body);
    }
    for body in [
        r#"{"overlap_s":-1}"#,
        r#"{"overlap_s":604801}"#,
        r#"{"overlap_s":"60"}"#,
        r#"{"overlap":1}"#,
    ] {
        let answer = house.post(&format!("{KEYS}/{id}/rotate"), body).await;
        assert_eq!((answer.status, answer.json()["code"].clone()), (400, "400".into()), "{body}");
    }
    let answer = house.call("DELETE", &format!("{KEYS}/{id}"), r#"{"now":true}"#, &[]).await;
    assert_eq!(answer.status, 400);
    assert_eq!(house.written().await, before);
}

#[tokio::test]
async fn keys_are_listed_in_pages_and_it_is_recorded_who_looks() {
    let house = House::open().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(house.key(TRADER_KEY).await.0);
    }
    ids.sort();
    house.ask("DELETE", &format!("{KEYS}/{}", ids[0]), &[]).await;
    house.post(&format!("{KEYS}/{}/rotate", ids[1]), r#"{"overlap_s":60}"#).await;

    let all = house.get(KEYS).await;
    let first = all.json()["api_keys"][0].to_string().replace(&ids[0], "ID");
    expect![[r#"{"id":"ID","account":"demo","role":"trader","scopes":["market:read","portfolio:read","portfolio:write","analysis:read","events:read"],"networks":[],"expires_at":null,"label":null,"created_at":"2024-03-21T09:30:01Z","rotated_at":null,"former_until":null,"revoked_at":"2024-03-21T09:30:01Z","used_at":null}"#]].assert_eq(&first);
    let second = &all.json()["api_keys"][1];
    assert_eq!(second["former_until"], "2024-03-21T09:31:01Z");
    assert_eq!((all.json()["next_cursor"].clone(), all.header("Link")), (Value::Null, None));

    let (mut seen, mut path) = (Vec::new(), format!("{KEYS}?limit=2"));
    let mut pages = 0;
    loop {
        let page = house.get(&path).await;
        let keys = page.json()["api_keys"].as_array().unwrap().clone();
        seen.extend(keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(link) = page.header("Link") else { break };
        let cursor = text(&page, "next_cursor");
        assert_eq!(link, format!("<{KEYS}?limit=2&cursor={cursor}>; rel=\"next\""));
        path = format!("{KEYS}?limit=2&cursor={cursor}");
    }
    assert_eq!((seen, pages), (ids, 3));
    for wrong in ["limit=0", "limit=1001", "cursor=x", "cursor=", "page=2"] {
        assert_eq!(house.get(&format!("{KEYS}?{wrong}")).await.status, 400, "{wrong}");
    }
    let read = secrets::ledger(&house).await.matches(r#""type":"records_read.v1""#).count();
    assert_eq!(read, 4);
}

#[tokio::test]
async fn a_key_tells_on_which_day_it_was_last_used() {
    let house = House::open().await;
    let (id, key) = house.key(TRADER_KEY).await;
    for _ in 0..3 {
        assert_eq!(opens(&house, &key).await, 200);
    }
    // The key is the first entry, and what is recorded of its use the second.
    let patience = Duration::from_secs(10);
    assert!(house.views.wait_applied(Log::Ledger, Offset(2), patience).await);

    let listed = house.get(KEYS).await;
    let told = &listed.json()["api_keys"][0];
    assert_eq!(
        (told["id"].clone(), told["used_at"].clone()),
        (id.into(), "2024-03-21T09:30:01Z".into())
    );
    let used = secrets::ledger(&house).await.matches(r#""type":"api_key_used.v1""#).count();
    assert_eq!(used, 1);
}
