//! Clients that open and close positions through whichever node answers, and keep a journal of what
//! they were told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::name::AccountId;
use eventlog::entry::Offset;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::house::House;

/// Time after which a command must be through, however often it is sent again.
const COMMAND_MAX: Duration = Duration::from_mins(2);

/// Time that one attempt may take: a node that was paused holds its connections open.
const ATTEMPT_MAX: Duration = Duration::from_secs(3);
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A command that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) account: AccountId,
    pub(crate) key: String,
    /// Where the ledger holds it, by the answer.
    pub(crate) at: Offset,
    pub(crate) when: Instant,
    /// It was sent more than once.
    pub(crate) again: bool,
}

/// What all clients were told, in the order in which they heard it.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: Mutex<Vec<Acknowledged>>,
}

impl Journal {
    pub(crate) fn all(&self) -> MutexGuard<'_, Vec<Acknowledged>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.all().len()
    }

    /// Returns the longest time between `began` and `until` in which nobody was told anything.
    pub(crate) fn worst_gap(&self, began: Instant, until: Instant) -> Duration {
        let mut last = began;
        let mut worst = Duration::ZERO;
        let told = self.all();
        for told in told.iter().map(|told| told.when).filter(|when| *when > began).chain([until]) {
            worst = worst.max(told.saturating_duration_since(last));
            last = told;
        }
        worst
    }
}

/// An account and whoever trades on it.
#[derive(Debug, Clone)]
pub(crate) struct Trader {
    pub(crate) account: AccountId,
    pub(crate) token: String,
}

impl Trader {
    /// Opens and funds accounts, and returns those who trade on them.
    pub(crate) async fn fund(house: &House, count: usize) -> Vec<Self> {
        let mut traders = Vec::new();
        for number in 0..count {
            let account = format!("trader-{number}");
            let opened = house.post("/v1/operator/accounts", &json!({ "account": account })).await;
            assert_eq!(opened.status, 201, "{}", opened.body);
            let path = format!("/v1/operator/accounts/{account}/deposits");
            let funded = house.post(&path, &json!({ "amount": "1000000.00" })).await;
            assert_eq!(funded.status, 201, "{}", funded.body);
            let token = house.token(&account, "trader").await;
            traders.push(Self { account: account.parse().expect("a name"), token });
        }
        traders
    }
}

/// Lets everybody trade until `stop` is set and what was begun is through; returns the tasks.
pub(crate) fn trade(
    traders: &[Trader],
    hosts: &[String],
    journal: &Arc<Journal>,
    stop: &Arc<AtomicBool>,
) -> JoinSet<()> {
    let client = Client::builder().timeout(ATTEMPT_MAX).build().expect("a client");
    let mut clients = JoinSet::new();
    for (number, trader) in traders.iter().cloned().enumerate() {
        let (client, journal, stop) = (client.clone(), Arc::clone(journal), Arc::clone(stop));
        let hosts = hosts.to_vec();
        clients.spawn(async move {
            let mut open: Option<String> = None;
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                let key = format!("{}-{round}", trader.account);
                let (path, body) = match open.take() {
                    None => {
                        let side = if number.is_multiple_of(2) { "long" } else { "short" };
                        let order = json!({ "symbol": "BTC-USDT", "size": "0.001", "type": side });
                        ("portfolio/positions".to_owned(), order)
                    }
                    Some(id) => (format!("portfolio/positions/{id}/close"), json!({})),
                };
                // By turns: each node takes commands of each account.
                let first = number + round;
                let told = Told { client: &client, trader: &trader, hosts: &hosts, first };
                let (answer, at, again) = told.through(&path, &key, &body).await;
                if path == "portfolio/positions" {
                    open = Some(answer["position_id"].as_str().expect("a position").to_owned());
                }
                let (account, when) = (trader.account.clone(), Instant::now());
                journal.all().push(Acknowledged { account, key, at, when, again });
                round += 1;
            }
        });
    }
    clients
}

/// What it takes to be told something for good.
pub(crate) struct Told<'a> {
    pub(crate) client: &'a Client,
    pub(crate) trader: &'a Trader,
    pub(crate) hosts: &'a [String],
    /// The host that is asked first; each further attempt goes to the next.
    pub(crate) first: usize,
}

impl Told<'_> {
    /// Sends a command until it is answered for good: with its answer, the ledger's offset that the
    /// answer names, and whether it was sent more than once.
    pub(crate) async fn through(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> (Value, Offset, bool) {
        let deadline = Instant::now() + COMMAND_MAX;
        let mut attempt = 0;
        loop {
            let host = &self.hosts[(self.first + attempt) % self.hosts.len()];
            let request = self
                .client
                .post(format!("http://{host}/api/v1/{path}"))
                .header(AUTHORIZATION, format!("Bearer {}", self.trader.token))
                .header("Idempotency-Key", key)
                .json(body);
            let failed = match request.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    let at = answer.headers().get("X-Consistency-Token").cloned();
                    let body: Value = answer.json().await.unwrap_or_default();
                    if status.is_success() && !body.is_null() {
                        let at = at.expect("a command is answered with its place");
                        let at = at.to_str().ok().and_then(|at| at.strip_prefix("ledger:"));
                        let at = at.and_then(|at| at.parse().ok()).expect("a place in the ledger");
                        return (body, Offset(at), attempt > 0);
                    }
                    let passes = status.is_server_error()
                        || matches!(status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS);
                    assert!(passes, "{key} to {path} at {host}: {status} {body}");
                    format!("{status} {body}")
                }
                Err(error) => format!("{error:?}"),
            };
            assert!(Instant::now() < deadline, "{key} to {path}: {failed}");
            attempt += 1;
            sleep(AGAIN_AFTER).await;
        }
    }
}
