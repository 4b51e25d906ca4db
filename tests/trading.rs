//! Positions through the real door: what was answered is there, once, whatever happens to the wire
//! and to the house.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use commands::desk;
use domain::account::Account;
use domain::account::event::AccountEvent;
use domain::decider::Decider;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::house::{House, folder, output};
use crate::wire::Wire;

/// The simulated market, and limits that are out of the way; `demo` has those of everybody.
const SERVE: [&str; 1] = ["serve"];

const CLIENTS: usize = 64;
const COMMANDS: usize = 5_000;
const KILLS: usize = 3;

/// Positions that are opened and looked for, and after how many of them the house is killed.
const OPENED: usize = 1_000;
const KILLED_AFTER: [usize; 2] = [333, 666];

/// Time after which a command must be through, and the pause before it is sent again.
const COMMAND_MAX: Duration = Duration::from_mins(2);
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What a house answers that tells of the moment, not of the command.
const NOT_NOW: [u16; 4] = [409, 429, 500, 503];

/// One request of one client, with the key under which it happens once.
#[derive(Debug, Clone)]
struct Command {
    key: String,
    /// Says who asks: the trader, or the operator.
    token: Arc<str>,
    path: String,
    body: Value,
}

/// What a command was answered in the end.
#[derive(Debug, Clone, PartialEq)]
struct Answered {
    status: u16,
    body: Value,
    replayed: bool,
}

/// Sends a command until it is answered for good.
async fn through(address: SocketAddr, command: &Command) -> Answered {
    let deadline = Instant::now() + COMMAND_MAX;
    loop {
        let answer = timeout(Duration::from_secs(20), once(address, command)).await;
        if let Ok(Some(answer)) = &answer
            && !NOT_NOW.contains(&answer.status)
        {
            return answer.clone();
        }
        assert!(Instant::now() < deadline, "{command:?}: {answer:?}");
        sleep(AGAIN_AFTER).await;
    }
}

/// Sends a command on a connection of its own. `None`: nobody can tell what became of it.
async fn once(address: SocketAddr, command: &Command) -> Option<Answered> {
    let body = command.body.to_string();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: house\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {}\r\nIdempotency-Key: {}\r\nContent-Length: {}\r\n\r\n{body}",
        command.path,
        command.token,
        command.key,
        body.len(),
    );
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let replayed = head.to_ascii_lowercase().contains("\r\nidempotency-replayed: true");
    Some(Answered { status, body: serde_json::from_str(body).ok()?, replayed })
}

/// What one client does: money in and out, positions opened, reduced and closed.
async fn client(
    number: usize,
    address: SocketAddr,
    [trader, operator]: [Arc<str>; 2],
    done: Arc<AtomicUsize>,
) -> Vec<(Command, Answered)> {
    let mut log = Vec::new();
    let mut open: Vec<String> = Vec::new();
    for step in 0.. {
        if done.fetch_add(1, Ordering::Relaxed) >= COMMANDS {
            break;
        }
        let cents = format!("{}.{:02}", 100 + number, step % 100);
        let (path, body) = match step % 5 {
            0 => ("operator/accounts/demo/deposits".to_owned(), json!({ "amount": cents })),
            1 | 2 => {
                let side = if number.is_multiple_of(2) { "long" } else { "short" };
                let symbol = if step % 2 == 0 { "BTC-USDT" } else { "ETH-USDT" };
                let body =
                    json!({ "symbol": symbol, "size": "0.004", "type": side, "leverage": "3" });
                ("portfolio/positions".to_owned(), body)
            }
            3 => {
                let id = open.last().expect("two were opened before");
                (format!("portfolio/positions/{id}/reduce"), json!({ "size": "0.001" }))
            }
            _ if step % 10 == 4 => {
                let id = open.pop().expect("two were opened before");
                (format!("portfolio/positions/{id}/close"), json!({}))
            }
            _ => ("operator/accounts/demo/withdrawals".to_owned(), json!({ "amount": "7.77" })),
        };
        let key = format!("client-{number}-{step}");
        let token = if path.starts_with("operator") { &operator } else { &trader };
        let command =
            Command { key, token: Arc::clone(token), path: format!("/api/v1/{path}"), body };
        let answer = through(address, &command).await;
        assert!((200..300).contains(&answer.status), "{command:?}: {answer:?}");
        if path == "portfolio/positions" {
            open.push(answer.body["position_id"].as_str().expect("a position").to_owned());
        }
        log.push((command, answer));
    }
    log
}

/// Opens the account, with as much in it as that of the demonstration.
async fn fund(house: &House) {
    for (path, body) in [
        ("operator/accounts", json!({ "account": "demo" })),
        ("operator/accounts/demo/deposits", json!({ "amount": "1000000.00" })),
    ] {
        let answer = house.post(&format!("/v1/{path}"), &body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
}

async fn ready(house: &House) {
    for symbol in ["BTC-USDT", "ETH-USDT"] {
        house.until(&format!("/v1/market/price/{symbol}"), |answer| answer.status == 200).await;
    }
}

/// The entries of a stream of the ledger, as `log cat` prints them.
async fn entries(folder: &TempDir, stream: &str) -> Vec<Value> {
    let words = ["log", "cat", "--stream", stream, "--data", "data"];
    let lines = output(folder, &words).await;
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn events(entries: &[Value]) -> Vec<AccountEvent> {
    let all = entries.iter().flat_map(|entry| entry["events"].as_array().expect("events"));
    all.map(|event| serde_json::from_value(event.clone()).expect("an account's event")).collect()
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).parse().expect("a decimal")
}

/// The money of the account, added up from its events by hand: free money, and that in positions.
fn added_up(events: &[AccountEvent]) -> (Decimal, Decimal) {
    let (mut free, mut margin) = (Decimal::ZERO, Decimal::ZERO);
    for event in events {
        match event {
            AccountEvent::Deposited { amount } => free += amount.value(),
            AccountEvent::Withdrawn { amount } => free -= amount.value(),
            AccountEvent::PositionOpened(opened) => {
                free -= opened.margin + opened.fee.amount;
                margin += opened.margin;
            }
            AccountEvent::PositionReduced(exited) | AccountEvent::PositionClosed(exited) => {
                free += exited.credited;
                margin -= exited.margin_released;
            }
            _ => {}
        }
    }
    (free, margin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_happens_once_however_bad_the_wire_and_however_often_the_house_dies() {
    let folder = folder();
    let mut house = House::start(&folder, SERVE).await;
    ready(&house).await;
    fund(&house).await;
    let tokens: [Arc<str>; 2] = [
        house.token("demo", "trader").await.into(),
        house.token("operator", "operator").await.into(),
    ];
    let wire = Wire::lay(&house.host, 20_240_808).await;

    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(number, wire.address, tokens.clone(), Arc::clone(&done)));
    }
    for kill in 1..=KILLS {
        while done.load(Ordering::Relaxed) < COMMANDS * kill / (KILLS + 1) {
            sleep(Duration::from_millis(5)).await;
        }
        house.kill().await;
        house = House::start(&folder, SERVE).await;
        wire.lead_to(&house.host);
    }
    let mut log: Vec<(Command, Answered)> = Vec::new();
    while let Some(client) = clients.join_next().await {
        log.append(&mut client.expect("a client that is content"));
    }
    assert_eq!(log.len(), COMMANDS);
    let met = wire.met();
    assert!(met.iter().all(|met| *met > 100), "a wire worth the name: {met:?}");

    // Each once: under its id, and nothing beside.
    let account: domain::name::AccountId = "demo".parse().unwrap();
    let first = entries(&folder, "account-demo").await;
    let held: BTreeSet<String> =
        first.iter().map(|entry| entry["append_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(held.len(), first.len());
    let id = |command: &Command| -> Uuid {
        if command.path.contains("/operator/") {
            desk::operator_append_id("operator", &account, &command.key)
        } else {
            desk::append_id(&account, &command.key)
        }
    };
    for (command, answer) in &log {
        assert!(held.contains(&id(command).to_string()), "{command:?} is not there: {answer:?}");
    }
    // Opening and funding the account were no commands of theirs.
    assert_eq!(first.len(), COMMANDS + 2);

    // To the last digit: by the rule, by hand, and as served.
    let facts = events(&first);
    let mut now = Account::default();
    for fact in &facts {
        now.evolve(fact);
    }
    let (free, margin) = added_up(&facts);
    assert_eq!(now.free(), free);
    let positions = now.positions().values();
    assert_eq!(positions.map(|position| position.margin).sum::<Decimal>(), margin);
    let served = house.get("/api/v1/portfolio/account").await.body;
    assert_eq!((decimal(&served["free"]), decimal(&served["margin"])), (free, margin), "{served}");

    // The same keys again: the same answers, and nothing more happens.
    let address: SocketAddr = house.host.parse().unwrap();
    let mut again = JoinSet::new();
    let log = Arc::new(log);
    for lane in 0..CLIENTS {
        let log = Arc::clone(&log);
        again.spawn(async move {
            for (command, first) in log.iter().skip(lane).step_by(CLIENTS) {
                let second = through(address, command).await;
                assert!(second.replayed, "{command:?}: {second:?}");
                assert_eq!((second.status, &second.body), (first.status, &first.body));
            }
        });
    }
    while let Some(lane) = again.join_next().await {
        lane.expect("the same answers");
    }
    assert_eq!(entries(&folder, "account-demo").await.len(), first.len());
    house.stop().await;
}

#[tokio::test]
async fn a_position_is_there_in_the_very_next_answer_also_after_a_kill() {
    let folder = folder();
    let mut house = House::start(&folder, SERVE).await;
    ready(&house).await;
    fund(&house).await;
    let mut open = BTreeMap::new();
    for number in 0..OPENED {
        if KILLED_AFTER.contains(&number) {
            house.kill().await;
            house = House::start(&folder, SERVE).await;
            let (last, _) = open.last_key_value().expect("some were opened");
            assert_eq!(seen(&house, open[last]).await, 1, "right after the start");
            ready(&house).await;
        }
        let order = json!({ "symbol": "BTC-USDT", "size": "0.001", "type": "long" });
        let answer = house.post("/api/v1/portfolio/positions", &order).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let id: &'static str = answer.body["position_id"].as_str().unwrap().to_owned().leak();
        assert_eq!(seen(&house, id).await, 1, "number {number}");
        open.insert(number, id);
    }
    let held: BTreeSet<&str> = open.values().copied().collect();
    assert_eq!(held.len(), OPENED);
    house.stop().await;
}

/// How often a position stands among those that are open.
async fn seen(house: &House, id: &str) -> usize {
    let answer = house.get("/api/v1/portfolio/positions").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let positions = answer.body["positions"].as_array().expect("positions");
    positions.iter().filter(|position| position["position_id"] == id).count()
}
