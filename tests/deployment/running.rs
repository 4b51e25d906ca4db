//! What is true of the deployment while it runs.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::place::{BROKERS, Engine, Place, good};
use super::told::{secret, text};

/// Time after which a test fails rather than wait.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[tokio::test]
async fn the_deployed_brokers_let_engines_write_and_read_and_change_nothing_else() {
    let Some(mut place) = Place::new() else { return };
    place.start_brokers().await;
    let made = good(place.set_up().await);
    assert!(made.contains("ENTASIS_LEDGER") && made.contains("ENTASIS_MARKET"), "{made}");
    // A second time it finds all as it must be.
    good(place.set_up().await);

    let (engine, admin) = (secret("NATS_ENGINE_PASSWORD"), secret("NATS_ADMIN_PASSWORD"));
    let mut broker = Broker::enter(&place, "engine", &engine).await.expect("the engines' password");
    for stream in ["ENTASIS_LEDGER", "ENTASIS_MARKET"] {
        for (verb, body) in [
            ("STREAM.UPDATE", r#"{"name":"x","max_msgs":1}"#),
            ("STREAM.PURGE", ""),
            ("STREAM.DELETE", ""),
            ("STREAM.MSG.DELETE", r#"{"seq":1}"#),
            ("STREAM.CREATE", r#"{"name":"x","subjects":["y"]}"#),
            ("STREAM.SNAPSHOT", r#"{"deliver_subject":"_INBOX.y"}"#),
            ("STREAM.LEADER.STEPDOWN", ""),
            ("STREAM.PEER.REMOVE", r#"{"peer":"n1"}"#),
        ] {
            let said = broker.ask(&format!("$JS.API.{verb}.{stream}"), body).await;
            assert!(said.contains("Permissions Violation"), "{verb} {stream}: {said}");
        }
        let said = broker.ask(&format!("$JS.API.STREAM.INFO.{stream}"), "").await;
        assert!(said.contains(r#""num_replicas":3"#), "{said}");
        assert!(said.contains(r#""deny_delete":true,"deny_purge":true"#), "{said}");
    }
    for subject in ["$JS.API.STREAM.CREATE.OTHER", "$SYS.REQ.SERVER.PING", "other.subject"] {
        let said = broker.ask(subject, "{}").await;
        assert!(said.contains("Permissions Violation"), "{subject}: {said}");
    }

    // Who makes the streams puts nothing into them.
    let mut broker = Broker::enter(&place, "admin", &admin).await.expect("the admin's password");
    let said = broker.ask("entasis.ledger.account-alice", "{}").await;
    assert!(said.contains("Permissions Violation"), "{said}");
    let said = broker.ask("$JS.API.STREAM.INFO.ENTASIS_LEDGER", "").await;
    assert!(said.contains(r#""messages":0"#), "{said}");

    for (user, password) in [("engine", "wrong"), ("", ""), ("engine", admin.as_str())] {
        let refused = Broker::enter(&place, user, password).await.expect_err("a wrong password");
        assert!(refused.contains("Authorization Violation"), "{user}: {refused}");
    }
}

#[tokio::test]
async fn the_deployed_engines_are_one_house_behind_the_proxy() {
    let Some(mut place) = Place::new() else { return };
    place.start_brokers().await;
    place.start_postgres().await;
    good(place.set_up().await);
    let (first, second) = tokio::join!(place.start_engine("e1"), place.start_engine("e2"));
    let proxy = place.start_proxy([&first, &second]);
    let client = place.client();
    until(&client, &format!("{proxy}/readyz"), StatusCode::OK).await;

    // An account is opened through the proxy, traded on through one engine, and seen at the other.
    let operator = place.token("e1", "olga", "operator").await;
    let send = async |url: String, token: &str, body: Value| {
        let answer = client.post(url).bearer_auth(token).json(&body).send().await.unwrap();
        let position = answer.headers().get("x-consistency-token").cloned();
        (answer.status(), position, answer.text().await.unwrap())
    };
    let accounts = format!("{proxy}/api/v1/operator/accounts");
    let (status, _, said) = send(accounts.clone(), &operator, json!({"account": "alice"})).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    let deposits = format!("{accounts}/alice/deposits");
    let (status, _, said) = send(deposits, &operator, json!({"amount": "100000.00"})).await;
    assert!(status.is_success(), "{said}");
    let alice = place.token("e1", "alice", "trader").await;
    let positions =
        |engine: &Engine| format!("http://{}/v1/portfolio/positions", engine.house.host);
    let order = json!({"symbol": "BTC-USDT", "size": "0.1", "type": "long", "leverage": "10"});
    until_priced(&client, &second, &alice).await;
    until_priced(&client, &first, &alice).await;
    let (status, at, said) = send(positions(&first), &alice, order.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{said}");
    let opened: Value = serde_json::from_str(&said).unwrap();
    let seen = client
        .get(positions(&second))
        .bearer_auth(&alice)
        .header("X-Consistency-Token", at.expect("a command tells where it stands"));
    let seen = seen.send().await.unwrap().text().await.unwrap();
    let id = opened["position_id"].as_str().expect("an id");
    assert!(seen.contains(id), "{seen}");

    sockets_go_through(&client, &proxy).await;
    figures_are_those_that_are_looked_at(&place).await;
    for engine in [&first, &second] {
        let words = Place::image_health(engine);
        let asked = tokio::process::Command::new(&words[0]).args(&words[1..]).status().await;
        assert!(asked.unwrap().success(), "{words:?}");
    }
    the_read_store_is_the_engines_alone(&place).await;

    // Without its brokers the house answers from memory what it can, and says what it cannot.
    for broker in BROKERS {
        place.kill(broker).await;
    }
    until(&client, &format!("{proxy}/readyz"), StatusCode::SERVICE_UNAVAILABLE).await;
    let (status, _, said) =
        send(format!("{proxy}/api/v1/portfolio/positions"), &alice, order).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{said}");
    assert!(said.contains("SYS_001"), "{said}");
    let seen = client.get(format!("{proxy}/api/v1/portfolio/positions")).bearer_auth(&alice);
    let seen = seen.send().await.unwrap();
    assert_eq!(seen.status(), StatusCode::OK);
    assert!(seen.text().await.unwrap().contains(id));
}

/// A connection becomes a socket through the proxy as it does without.
async fn sockets_go_through(client: &Client, proxy: &str) {
    let answer = client
        .get(format!("{proxy}/ws/market"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
}

/// Each figure that an alarm or the dashboard looks at is told by the engines.
async fn figures_are_those_that_are_looked_at(place: &Place) {
    let mut told = BTreeSet::new();
    for name in ["e1", "e2"] {
        let url = format!("http://127.0.0.1:{}/metrics", place.port(name, 9464));
        let answer = reqwest::get(url).await.unwrap().text().await.unwrap();
        told.extend(names(&answer));
    }
    for file in ["deploy/prometheus/alerts.yml", "deploy/grafana/entasis.json"] {
        let looked_at = names(&text(file));
        assert!(!looked_at.is_empty(), "{file}");
        let missing: Vec<&String> = looked_at.difference(&told).collect();
        assert!(missing.is_empty(), "{file} looks at {missing:?}, which nobody tells; {told:?}");
    }
}

/// Returns the names of our figures that stand in a text.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|one: char| !one.is_ascii_alphanumeric() && one != '_')
        .filter(|word| word.starts_with("entasis_"))
        .map(ToOwned::to_owned)
        .collect()
}

/// The engines' user owns its tables and nothing else, and nobody else comes in over the network.
async fn the_read_store_is_the_engines_alone(place: &Place) {
    let asked = "select rolsuper or rolcreatedb or rolcreaterole from pg_roles \
                 where rolname = current_user; show data_checksums; \
                 select count(*) > 0 from pg_tables where tableowner = current_user";
    let told = good(place.psql("entasis", "127.0.0.1", &["--command", asked]).await);
    assert_eq!(told.lines().collect::<Vec<_>>(), ["f", "on", "t"]);

    let refused = place.psql("postgres", "127.0.0.1", &["--command", "select 1"]).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("no pg_hba.conf entry"), "{said}");
}

/// Asks again and again until the answer has this status.
async fn until(client: &Client, url: &str, status: StatusCode) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = client.get(url).send().await;
        if answer.as_ref().is_ok_and(|answer| answer.status() == status) {
            return;
        }
        assert!(Instant::now() < deadline, "GET {url} is still {answer:?}");
        sleep(LOOK_AGAIN).await;
    }
}

/// Waits until an engine has a price to fill an order at.
pub(super) async fn until_priced(client: &Client, engine: &Engine, token: &str) {
    let deadline = Instant::now() + PATIENCE;
    let url = format!("http://{}/v1/market/price/BTC-USDT", engine.house.host);
    loop {
        let answer = client.get(&url).bearer_auth(token).send().await.unwrap();
        if answer.status() == StatusCode::OK {
            return;
        }
        assert!(Instant::now() < deadline, "GET {url} is still {}", answer.status());
        sleep(LOOK_AGAIN).await;
    }
}

/// A connection to a broker in its own words, so that nothing but the broker's rules is asked.
#[derive(Debug)]
struct Broker {
    stream: BufReader<TcpStream>,
}

impl Broker {
    /// Connects; what the broker said where it does not let us in.
    async fn enter(place: &Place, user: &str, password: &str) -> Result<Self, String> {
        let address = ("127.0.0.1", place.port("n1", 4222));
        let stream = TcpStream::connect(address).await.expect("a broker that listens");
        let mut broker = Self { stream: BufReader::new(stream) };
        let words = json!({
            "user": user, "pass": password, "verbose": false, "pedantic": false,
            "headers": true, "no_responders": true,
        });
        let said = broker.say(&format!("CONNECT {words}\r\nSUB _INBOX.here 1\r\n")).await;
        if said.contains("-ERR") { Err(said) } else { Ok(broker) }
    }

    /// Asks on a subject, and returns all that the broker says until it has answered.
    async fn ask(&mut self, subject: &str, body: &str) -> String {
        let length = body.len();
        let mut said = self.say(&format!("PUB {subject} _INBOX.here {length}\r\n{body}\r\n")).await;
        while !said.contains("MSG _INBOX.here") && !said.contains("-ERR") {
            said.push_str(&self.say("").await);
        }
        said
    }

    /// Sends words, and returns what the broker says until it has read them.
    async fn say(&mut self, words: &str) -> String {
        let sent = self.stream.write_all(format!("{words}PING\r\n").as_bytes()).await;
        let mut said = String::new();
        let answered = timeout(PATIENCE, async {
            loop {
                let mut line = String::new();
                let length = self.stream.read_line(&mut line).await.unwrap_or_default();
                if length == 0 || line == "PONG\r\n" {
                    break;
                }
                said.push_str(&line);
                if let Some(length) =
                    line.strip_prefix("MSG ").and_then(|rest| rest.rsplit(' ').next())
                {
                    let mut body = vec![0; length.trim_end().parse::<usize>().unwrap() + 2];
                    self.stream.read_exact(&mut body).await.unwrap();
                    said.push_str(&String::from_utf8_lossy(&body));
                }
            }
        });
        answered.await.unwrap_or_else(|_| panic!("no answer to {words:?} ({sent:?}), but {said}"));
        said
    }
}
