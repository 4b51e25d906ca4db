//! That nobody sees what is another's.

use domain::access::Role;

use crate::tests::authorization::{OTHER, furnished};
use crate::tests::house::{House, TRADER};

/// All that a trader can read of their own.
const READS: [&str; 9] = [
    "portfolio/account",
    "portfolio/equity",
    "portfolio/positions",
    "portfolio/positions?status=closed",
    "portfolio/positions?status=all",
    "portfolio/positions?status=all&limit=1",
    "market/price/BTC-USDT",
    "market/orderbook/BTC-USDT",
    "market/symbols",
];

/// What somebody reads who asks for everything.
async fn seen(house: &House, token: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    for path in READS {
        let answer = house.ask_as(token, "GET", &format!("/v1/{path}"), "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        bodies.push(answer.body);
    }
    bodies
}

#[tokio::test]
async fn what_one_trader_does_changes_no_byte_of_what_another_reads() {
    let (house, position, _) = furnished().await;
    let (demo, other) =
        (house.token(TRADER, Role::Trader, None), house.token(OTHER, Role::Trader, None));
    let before = seen(&house, &demo).await;
    let detail = format!("/v1/portfolio/positions/{position}");
    let detailed = house.ask_as(&demo, "GET", &detail, "").await.body;

    let mut secrets = vec![OTHER.to_owned()];
    for round in 1..=20 {
        // Sizes that nobody else would have, so that a leak of one would be seen.
        let size = format!("0.0{}7", 310 + round);
        let towards = if round % 2 == 0 { "long" } else { "short" };
        let order =
            format!(r#"{{"symbol":"BTC-USDT","size":"{size}","type":"{towards}","leverage":"5"}}"#);
        let opened = house.ask_as(&other, "POST", "/v1/portfolio/positions", &order).await;
        assert_eq!(opened.status, 201, "{}", opened.body);
        let id = opened.json()["position_id"].as_str().unwrap().to_owned();
        let path = format!("/v1/portfolio/positions/{id}");
        for (method, below, body) in [
            ("GET", "", ""),
            ("POST", "/reduce", r#"{"size":"0.001"}"#),
            ("PUT", "/stops", r#"{"stop_loss":"1"}"#),
            ("DELETE", "/stops", ""),
            ("POST", "/close", "{}"),
        ] {
            let asked = house.ask_as(&demo, method, &format!("{path}{below}"), body).await;
            assert_eq!(
                (asked.status, &asked.json()["code"]),
                (404, &"404".into()),
                "{method} {below}"
            );
            assert!(!asked.body.contains(OTHER) && !asked.body.contains(&size), "{}", asked.body);
        }
        if round % 3 == 0 {
            let closed = house.ask_as(&other, "POST", &format!("{path}/close"), "{}").await;
            assert_eq!(closed.status, 200, "{}", closed.body);
        }
        secrets.extend([id, size]);
        if round >= 4 {
            // The house lets an account hold five positions.
            let close = house.ask_as(&other, "POST", &format!("{path}/close"), "{}").await;
            assert_eq!(close.status, 200, "{}", close.body);
        }
        assert_eq!(seen(&house, &demo).await, before, "after {round}");
    }
    assert_eq!(house.ask_as(&demo, "GET", &detail, "").await.body, detailed);
    for body in before.iter().chain([&detailed]) {
        assert!(secrets.iter().all(|secret| !body.contains(secret)), "{body}");
    }
    // The other does see all of it.
    let others = seen(&house, &other).await.concat();
    assert!(secrets[1..].chunks(2).all(|secret| others.contains(&secret[0])));
}
