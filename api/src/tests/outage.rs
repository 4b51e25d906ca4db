//! A broker that is away: who waits for it is told so, everybody else is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use eventlog::entry::{Draft, Entry, Offset, Version};
use eventlog::log::{Appended, Durability, EventLog, Expected, LogError, ReadLog, Standing, Tip};
use eventlog::memory::Memory;
use eventlog::stream::{Log, Stream};

use crate::settings::Settings;
use crate::tests::asking::Answer;
use crate::tests::client::Client;
use crate::tests::house::{House, Reached, TRADER};

/// Within which a command is answered, whatever the log does; and what a busy machine adds to it.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1_000 + 500);

/// How a log behind a network can be.
#[derive(Clone, Copy)]
enum Link {
    Up = 0,
    /// It refuses at once.
    Cut = 1,
    /// It says nothing at all.
    Silent = 2,
}

/// A log whose network the test cuts.
struct Remote {
    log: Arc<Memory>,
    link: AtomicU8,
}

impl Remote {
    fn new(log: Arc<Memory>) -> Arc<Self> {
        Arc::new(Self { log, link: AtomicU8::new(0) })
    }

    fn set(&self, link: Link) {
        self.link.store(link as u8, Ordering::SeqCst);
    }

    async fn reach(&self) -> Result<(), LogError> {
        match self.link.load(Ordering::SeqCst) {
            0 => Ok(()),
            1 => Err(LogError::Unavailable("no route to 10.1.2.3".to_owned())),
            _ => std::future::pending().await,
        }
    }
}

#[async_trait]
impl ReadLog for Remote {
    async fn read(&self, after: Offset, limit: usize) -> Result<Vec<Entry>, LogError> {
        self.reach().await?;
        self.log.read(after, limit).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Entry>, LogError> {
        self.reach().await?;
        self.log.read_stream(stream, after, limit).await
    }

    async fn last(&self, stream: &Stream) -> Result<Option<Entry>, LogError> {
        self.reach().await?;
        self.log.last(stream).await
    }

    async fn tip(&self, stream: &Stream) -> Result<Option<Tip>, LogError> {
        self.reach().await?;
        self.log.tip(stream).await
    }

    async fn floor(&self) -> Result<Offset, LogError> {
        self.reach().await?;
        self.log.floor().await
    }

    async fn head(&self) -> Result<Offset, LogError> {
        self.reach().await?;
        self.log.head().await
    }

    async fn wait_after(&self, after: Offset) -> Result<(), LogError> {
        self.reach().await?;
        self.log.wait_after(after).await
    }

    fn durability(&self) -> Durability {
        Durability::Quorum
    }

    fn standing(&self) -> Standing {
        match self.link.load(Ordering::SeqCst) {
            0 => Standing::Good,
            _ => Standing::Down {
                reason: "no server answers".to_owned(),
                advice: Some("start the broker".to_owned()),
            },
        }
    }
}

#[async_trait]
impl EventLog for Remote {
    async fn append(&self, draft: Draft, expected: Expected) -> Result<Appended, LogError> {
        self.reach().await?;
        self.log.append(draft, expected).await
    }
}

/// A house that trades on logs behind a network, a position of its trader's, and a key.
struct Far {
    house: House,
    ledger: Arc<Remote>,
    market: Arc<Remote>,
    position: String,
    key: (String, String),
}

impl Far {
    async fn trading() -> Self {
        let memories = (Arc::new(Memory::new(Log::Ledger)), Arc::new(Memory::new(Log::Market)));
        let (ledger, market) = (Remote::new(memories.0.clone()), Remote::new(memories.1.clone()));
        let reached = Reached { ledger: ledger.clone(), market: market.clone(), memories };
        let house = House::build_on(reached, Settings::default(), None, None).await;
        house.opening.open();
        house.trade(1, "64000.00").await;
        house.fund("100000.00").await;
        let body = r#"{"symbol":"BTC-USDT","size":"0.1","type":"long"}"#;
        let position = house.position(body).await;
        let key = house.key(&format!(r#"{{"account":"{TRADER}","role":"trader"}}"#)).await;
        Self { house, ledger, market, position, key }
    }

    fn set(&self, link: Link) {
        self.ledger.set(link);
        self.market.set(link);
    }

    /// Asks for everything that the log is needed for, one after the other.
    async fn commands(&self) -> Vec<(&'static str, Answer)> {
        let (house, position, (id, text)) = (&self.house, &self.position, &self.key);
        let of = |rest: &str| format!("/v1/portfolio/positions/{position}{rest}");
        let open = r#"{"symbol":"BTC-USDT","size":"0.1","type":"long"}"#;
        let (account, key) =
            (format!("/v1/operator/accounts/{TRADER}"), format!("/v1/admin/api-keys/{id}"));
        let mut answers = Vec::new();
        for (name, method, path, body) in [
            ("open", "POST", "/v1/portfolio/positions".to_owned(), open),
            ("weigh", "POST", "/v1/portfolio/positions?dry_run=true".to_owned(), open),
            ("reduce", "POST", of("/reduce"), r#"{"size":"0.01"}"#),
            ("close", "POST", of("/close"), ""),
            ("stops", "PUT", of("/stops"), r#"{"stop_loss":"60000.00"}"#),
            ("account", "POST", "/v1/operator/accounts".to_owned(), r#"{"account":"new"}"#),
            ("deposit", "POST", format!("{account}/deposits"), r#"{"amount":"1.00"}"#),
            ("mode", "PUT", format!("{account}/mode"), r#"{"mode":"netting"}"#),
            ("keys", "GET", "/v1/admin/api-keys".to_owned(), ""),
            ("revoke key", "DELETE", key, ""),
        ] {
            answers.push((name, self.timed(name, house.call(method, &path, body, &[])).await));
        }
        let by_key = [("X-API-Key", text.as_str())];
        let token = house.call("POST", "/v1/auth/token", "", &by_key);
        answers.push(("token", self.timed("token", token).await));
        answers
    }

    async fn timed(&self, name: &str, asked: impl Future<Output = Answer>) -> Answer {
        let began = Instant::now();
        let answer = asked.await;
        assert!(began.elapsed() < ANSWERED_WITHIN, "{name} took {:?}", began.elapsed());
        answer
    }
}

#[tokio::test]
async fn a_command_is_answered_within_a_second_when_the_log_is_away() {
    for link in [Link::Cut, Link::Silent] {
        let far = Far::trading().await;
        let written = far.house.written().await;
        far.set(link);

        for (name, answer) in far.commands().await {
            assert_eq!(answer.status, 503, "{name}: {}", answer.body);
            assert_eq!(answer.json()["code"], "SYS_001", "{name}");
            assert!(answer.header("Retry-After").is_some(), "{name}");
            assert!(!answer.body.contains("10.1.2.3"), "{name}: {}", answer.body);
        }
        assert_eq!(far.house.written().await, written);
    }
}

#[tokio::test]
async fn many_commands_of_one_account_do_not_wait_for_each_other() {
    let far = Far::trading().await;
    far.set(Link::Silent);
    let open = r#"{"symbol":"BTC-USDT","size":"0.1","type":"long"}"#;
    let asked = (0..16).map(|_| far.timed("open", far.house.post("/v1/portfolio/positions", open)));

    for answer in futures_util::future::join_all(asked).await {
        assert_eq!((answer.status, &answer.json()["code"]), (503, &"SYS_001".into()));
    }
}

#[tokio::test]
async fn queries_go_on_when_the_log_is_away() {
    for link in [Link::Cut, Link::Silent] {
        let far = Far::trading().await;
        far.set(link);

        for path in [
            "/v1/market/price/BTC-USDT",
            "/v1/market/symbols",
            "/v1/portfolio/account",
            "/v1/portfolio/positions",
        ] {
            let answer = far.timed(path, far.house.get(path)).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            assert!(answer.header("X-Views-At").is_some());
        }
        let head = far.ledger.log.head().await.unwrap();
        let own = format!("/v1/portfolio/account?after=ledger:{head}");
        assert_eq!(far.timed(&own, far.house.get(&own)).await.status, 200);
    }
}

#[tokio::test]
async fn a_node_says_that_its_log_is_down_and_what_to_do() {
    for link in [Link::Cut, Link::Silent] {
        let far = Far::trading().await;
        let head = far.ledger.log.head().await.unwrap();
        let ready = far.house.get("/readyz").await;
        assert_eq!((ready.status, &ready.json()["status"]), (200, &"ready".into()));
        far.set(link);

        let ready = far.timed("/readyz", far.house.get("/readyz")).await;
        let body = ready.json();
        assert_eq!((ready.status, &body["status"]), (503, &"log_down".into()), "{body}");
        let told = serde_json::json!({
            "status": "down",
            "reason": "no server answers",
            "advice": "start the broker",
            "durability": "quorum",
        });
        assert_eq!(body["logs"]["ledger"], told);
        // As it was last known.
        assert_eq!(body["views"]["ledger"]["head"], head.0);
        let queries = far.house.get("/readyz?for=queries").await;
        assert_eq!((queries.status, &queries.json()["status"]), (200, &"log_down".into()));
        let health = far.timed("/health", far.house.get("/health")).await;
        let body = health.json();
        assert_eq!((health.status, &body["status"]), (200, &"alive".into()));
        assert_eq!(
            (&body["ledger"]["status"], &body["market"]["status"]),
            (&"down".into(), &"down".into())
        );
        assert_eq!(body["ledger"]["head"], head.0);
    }
}

#[tokio::test]
async fn a_market_log_that_is_down_keeps_nobody_from_trading() {
    let far = Far::trading().await;
    far.market.set(Link::Silent);

    let ready = far.house.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"degraded".into()));
    let body = r#"{"symbol":"BTC-USDT","size":"0.1","type":"long"}"#;
    far.house.position(body).await;
}

#[tokio::test]
async fn commands_are_carried_out_when_the_log_is_back() {
    let far = Far::trading().await;
    far.set(Link::Cut);
    let body = r#"{"symbol":"BTC-USDT","size":"0.1","type":"long"}"#;
    let key = [("Idempotency-Key", "k1")];
    let path = "/v1/portfolio/positions";
    assert_eq!(far.house.call("POST", path, body, &key).await.status, 503);

    far.set(Link::Up);
    let first = far.house.call("POST", path, body, &key).await;
    let again = far.house.call("POST", path, body, &key).await;
    assert_eq!((first.status, again.status), (201, 201), "{} {}", first.body, again.body);
    assert_eq!(first.body, again.body);
    assert_eq!(far.house.get("/readyz").await.json()["status"], "ready");
}

#[tokio::test]
async fn a_session_lives_on_while_the_log_is_away() {
    let far = Far::trading().await;
    let mut client = Client::extended(&far.house).await;
    let subscribe = r#"{"action":"subscribe","id":1,"channel":"market","symbols":["BTC-USDT"]}"#;
    assert_eq!(client.ask(subscribe).await["type"], "ack");
    let first = client.frame().await;
    assert_eq!(first["price"], "64000.00", "{first}");

    far.set(Link::Cut);
    // Who comes new hears what is there; who returns must ask again.
    let mut late = Client::extended(&far.house).await;
    assert_eq!(late.ask(subscribe).await["type"], "ack");
    assert_eq!(late.frame().await["price"], "64000.00");
    let epoch = late.ask(r#"{"action":"list","id":2}"#).await["epoch"].clone();
    let from = format!(
        r#"{{"action":"subscribe","id":3,"channel":"market","symbols":["BTC-USDT"],"from_seq":1,"epoch":{epoch}}}"#
    );
    let told = late.ask(&from).await;
    assert_eq!((&told["code"], &told["id"]), (&"SYS_001".into(), &3.into()), "{told}");

    far.set(Link::Up);
    far.house.trade(2, "64001.00").await;
    for client in [&mut client, &mut late] {
        assert_eq!(client.frame().await["price"], "64001.00");
    }
}
