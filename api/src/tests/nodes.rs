//! Two nodes of one house: what one has done, the other shows.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::gate::Gate;
use crate::neighbours::Neighbours;
use crate::principal::Principal;
use crate::tests::client::Client;
use crate::tests::house::{House, TRADER};
use crate::tickets::{Shown, Tag};
use commands::clock::Clock;

/// Reaches the one other node without a network between.
#[derive(Default)]
struct NextDoor(Mutex<Option<Arc<Gate>>>);

#[async_trait]
impl Neighbours for NextDoor {
    async fn redeem(&self, issuer: &Tag, shown: &Shown) -> Option<Principal> {
        let gate = self.0.lock().unwrap().clone()?;
        let now = crate::tests::house::TestClock::at(crate::tests::house::NOON).now();
        (gate.tickets.tag() == issuer).then(|| gate.tickets.redeem(shown, now))?
    }
}

#[tokio::test]
async fn what_one_node_has_written_another_shows_to_who_shows_its_token() {
    let one = House::trading().await;
    let other = one.beside(None).await;
    let deposits = format!("/v1/operator/accounts/{TRADER}/deposits");
    for number in 1..=20_u32 {
        let paid = one.post(&deposits, r#"{"amount":"1.00"}"#).await;
        let token = [("X-Consistency-Token", paid.header("X-Consistency-Token").unwrap())];
        let account = other.ask("GET", "/v1/portfolio/account", &token).await;
        assert_eq!(account.status, 200, "{}", account.body);
        assert_eq!(account.json()["balance"], format!("{}.00", 100_000 + number));
    }
}

#[tokio::test]
async fn a_command_that_one_node_has_carried_out_is_repeated_by_another() {
    let one = House::trading().await;
    let other = one.beside(None).await;
    let body = r#"{"symbol":"BTC-USDT","size":"0.1","type":"long"}"#;
    let key = [("Idempotency-Key", "k1")];

    let first = one.call("POST", "/v1/portfolio/positions", body, &key).await;
    let again = other.call("POST", "/v1/portfolio/positions", body, &key).await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("Idempotency-Replayed"), Some("true"));
}

#[tokio::test]
async fn a_ticket_of_one_node_opens_a_session_at_another_once() {
    let one = House::trading().await;
    let next_door = Arc::new(NextDoor::default());
    let other = one.beside(Some(next_door.clone())).await;
    let ticket = one.post("/v1/ws/ticket", "").await;
    assert_eq!(ticket.status, 200, "{}", ticket.body);
    let message = format!(r#"{{"action":"auth","id":1,"ticket":{}}}"#, ticket.json()["ticket"]);

    // Nobody is there to be asked.
    let told = Client::extended(&other).await.ask(&message).await;
    assert_eq!(told["code"], "AUTH_001", "{told}");
    *next_door.0.lock().unwrap() = Some(one.gate.clone());
    let told = Client::extended(&other).await.ask(&message).await;
    assert_eq!((&told["type"], &told["account"]), (&"ack".into(), &TRADER.into()), "{told}");
    for house in [&one, &other] {
        let told = Client::extended(house).await.ask(&message).await;
        assert_eq!(told["code"], "AUTH_001", "{told}");
    }
}

#[tokio::test]
async fn what_was_asked_of_one_node_counts_at_the_other() {
    let one = House::open().await;
    let other = one.beside(None).await;
    for house in [&one, &other] {
        house.ruled(|rules| rules.requests_max = 100);
        house.gate.limits.share_among(2);
    }
    let left = async |house: &House| {
        let answer = house.get("/v1/market/symbols").await;
        answer.header("X-RateLimit-Remaining").unwrap().to_owned()
    };

    for expected in ["99", "98", "97"] {
        assert_eq!(left(&one).await, expected);
    }
    assert_eq!(left(&other).await, "99");
    other.gate.limits.take_in(&one.gate.limits.tell(10));
    one.gate.limits.take_in(&other.gate.limits.tell(10));
    assert_eq!((left(&one).await, left(&other).await), ("95".to_owned(), "95".to_owned()));
}

#[tokio::test]
async fn a_request_past_a_nodes_share_waits_and_is_answered() {
    let house = House::open().await;
    house.ruled(|rules| rules.requests_max = 80);
    house.gate.limits.share_among(2);

    // Eleven at once, of 88 one part in eight; the others when it is known that nobody else was asked.
    for _ in 0..30 {
        assert_eq!(house.get("/v1/market/symbols").await.status, 200);
    }
}
