//! What a node says and does while a broker, its disk, or PostgreSQL is away: commands are turned away
//! within a second, queries go on from memory, and all is well again by itself where it can be.

use std::time::Duration;

use eventlog::nats::server::{Cluster, Settings};
use eventlog::stream::Log;
use projections::store::server::{Server, Settings as PostgresSettings};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cluster::clients::{Told, Trader};
use crate::cluster::judge;
use crate::cluster::site::{Node, Site};
use crate::faults::space::Space;
use crate::house::{Answer, House, folder};

/// Time within which a command is turned away, and times that it is tried: the median counts.
const TURNED_AWAY_WITHIN: Duration = Duration::from_secs(1);
const TRIES: usize = 5;

/// Time within which a node takes commands again, once its broker is back.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// The disk of a broker, and how much of it is left when it is filled.
const DISK_BYTES: u64 = 96 << 20;
const LEFT_BYTES: u64 = 256 << 10;

/// How long PostgreSQL is away.
const POSTGRES_AWAY: Duration = Duration::from_secs(20);

/// Positions that are closed before, and while, PostgreSQL is away: more than a node keeps in memory.
const CLOSED_BEFORE: usize = 80;
const CLOSED_MEANWHILE: usize = 40;

async fn funded(node: &Node) -> Trader {
    node.house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    let mut traders = Trader::fund(&node.house, 1).await;
    traders.remove(0)
}

/// Sends a command once.
async fn deposit(house: &House, trader: &Trader, amount: &str) -> Answer {
    let path = format!("/v1/operator/accounts/{}/deposits", trader.account);
    house.post(&path, &json!({ "amount": amount })).await
}

/// Commands are turned away soon enough; nothing of it may stand in the account afterwards but what
/// was of unknown outcome. Returns how often it was.
async fn assert_turned_away(house: &House, trader: &Trader) {
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let began = Instant::now();
        let answer = deposit(house, trader, "0.01").await;
        times.push(began.elapsed());
        assert_eq!((answer.status, &answer.body["code"]), (503, &json!("SYS_001")));
    }
    times.sort_unstable();
    eprintln!("turned away after {:?}, at the most {:?}", times[TRIES / 2], times[TRIES - 1]);
    assert!(times[TRIES / 2] <= TURNED_AWAY_WITHIN, "{times:?}");
}

/// Queries are answered from memory, quickly.
async fn assert_answers(house: &House) {
    let began = Instant::now();
    for path in ["/v1/market/price/BTC-USDT", "/v1/market/history/BTC-USDT?interval=1m"] {
        let answer = house.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// Returns what a node says of a log.
fn told(ready: &Answer, log: &str) -> Value {
    ready.body["logs"][log].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_costs_commands_and_nothing_else() {
    let Some(mut site) = Site::one().await else { return };
    let node = site.node("one", "").await;
    let trader = funded(&node).await;
    assert_eq!(deposit(&node.house, &trader, "1.00").await.status, 201);

    site.brokers.kill(0).await;
    assert_turned_away(&node.house, &trader).await;
    assert_answers(&node.house).await;
    let ready =
        node.house.until("/readyz", |ready| told(ready, "ledger")["status"] == "down").await;
    assert_eq!(ready.status, 503, "{}", ready.body);

    site.brokers.restart_all().await;
    let back = Instant::now();
    node.house.until("/readyz", |ready| ready.body["status"] == "ready").await;
    let answer = loop {
        let answer = deposit(&node.house, &trader, "2.00").await;
        if answer.status == 201 {
            break answer;
        }
        assert!(back.elapsed() < BACK_WITHIN, "{}", answer.body);
    };
    eprintln!("commands are taken again after {:?}", back.elapsed());
    assert!(answer.body["account"].is_string(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_disk_is_full_loses_nothing_and_the_node_says_what_to_do() {
    let place = folder();
    let Some(space) = Space::mount(&place.path().join("disk"), DISK_BYTES).await else { return };
    let runner = space.runner();
    let settings = Settings { runner, store: Some(space.data().into()), ..Settings::default() };
    let Some(cluster) = Cluster::single(settings).await else { return };
    // A broker sets aside the room that a log may take.
    let mut site = Site::on(cluster).with("retention.market_bytes = 16777216");
    let node = site.node("one", "").await;
    let trader = funded(&node).await;

    space.fill(LEFT_BYTES);
    // Until the disk is full nothing is wrong: what is answered with 201 is acknowledged.
    let (mut acknowledged, began) = (0, Instant::now());
    loop {
        let answer = deposit(&node.house, &trader, "0.01").await;
        match answer.status {
            201 => acknowledged += 1,
            503 => break,
            other => panic!("{other}: {}", answer.body),
        }
        assert!(began.elapsed() < Duration::from_mins(1), "{acknowledged} deposits fitted in");
    }
    assert_turned_away(&node.house, &trader).await;
    assert_answers(&node.house).await;
    let ready =
        node.house.until("/readyz", |ready| told(ready, "ledger")["status"] == "down").await;
    let advice = told(&ready, "ledger")["advice"].as_str().unwrap_or_default().to_owned();
    assert!(advice.contains("restart"), "{}", ready.body);

    // Space alone does not heal a broker.
    space.free(DISK_BYTES);
    site.brokers.kill(0).await;
    site.brokers.restart_all().await;
    node.house.until("/readyz", |ready| ready.body["status"] == "ready").await;
    let after = deposit(&node.house, &trader, "5.00").await;
    assert_eq!(after.status, 201, "{}", after.body);
    node.house.stop().await;

    let ledger = judge::entries(&site.log(Log::Ledger).await).await;
    judge::assert_whole(&ledger);
    let of_account = |entry: &&eventlog::entry::Entry| {
        entry.stream.to_string() == format!("account-{}", trader.account)
    };
    // Opened, funded, and what was acknowledged; besides, at the most, what was of unknown outcome.
    let held = ledger.iter().filter(of_account).count();
    assert!(
        (acknowledged + 3..=acknowledged + 4 + TRIES).contains(&held),
        "{held}, {acknowledged}"
    );
}

/// Opens and closes so many positions, under keys that begin in this way.
async fn open_and_close(house: &House, trader: &Trader, keys: &str, count: usize) {
    let (client, hosts) = (Client::new(), [house.host.clone()]);
    let told = Told { client: &client, trader, hosts: &hosts, first: 0 };
    for number in 0..count {
        let order = json!({ "symbol": "BTC-USDT", "size": "0.001", "type": "long" });
        let key = format!("{keys}-{number}");
        let (opened, ..) = told.through("portfolio/positions", &key, &order).await;
        let id = opened["position_id"].as_str().expect("a position");
        let path = format!("portfolio/positions/{id}/close");
        told.through(&path, &format!("{key}-close"), &json!({})).await;
    }
}

/// Asks for something of the account's.
async fn ask(house: &House, trader: &Trader, path: &str) -> Answer {
    let url = format!("http://{}/api/v1/portfolio/{path}", house.host);
    let answer = Client::new().get(url).bearer_auth(&trader.token).send().await;
    let answer = answer.expect("an answer");
    let status = answer.status().as_u16();
    Answer { status, body: answer.json().await.unwrap_or_default() }
}

/// Returns the names of all closed positions, as they are told page by page.
async fn closed(house: &House, trader: &Trader) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = ask(house, trader, &format!("positions?status=closed&limit=50{cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let positions = page.body["positions"].as_array().expect("positions").iter();
        ids.extend(positions.map(|it| it["position_id"].as_str().expect("an id").to_owned()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_is_away_costs_the_archive_and_nothing_else() {
    let Some(site) = Site::one().await else { return };
    let Some(postgres) = Server::start(PostgresSettings { fsync: true }).await else { return };
    let read_store = format!("read_store = \"{}\"", postgres.database().await);
    let site = site.with(&read_store);
    let nodes = [site.node("one", "").await, site.node("two", "").await];
    let houses = nodes.each_ref().map(|node| &node.house);
    let trader = funded(&nodes[0]).await;
    open_and_close(houses[0], &trader, "before", CLOSED_BEFORE).await;
    for house in houses {
        assert_eq!(closed(house, &trader).await.len(), CLOSED_BEFORE);
    }

    postgres.stop().await;
    let began = Instant::now();
    open_and_close(houses[1], &trader, "meanwhile", CLOSED_MEANWHILE).await;
    for house in houses {
        assert_answers(house).await;
        let asked = Instant::now();
        let answer = ask(house, &trader, "positions?status=closed&limit=100").await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        let open = ask(house, &trader, "positions").await;
        assert_eq!((open.status, open.body["positions"].as_array().map(Vec::len)), (200, Some(0)));
    }
    // The time that it is away is no synchronisation.
    sleep(POSTGRES_AWAY.saturating_sub(began.elapsed())).await;
    postgres.restart().await;

    for house in houses {
        let is_whole = |ready: &Answer| {
            let store = &ready.body["read_store"];
            store["status"] == "good" && store["archive"]["lag"] == 0
        };
        house.until("/readyz", is_whole).await;
        let ids = closed(house, &trader).await;
        let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!((ids.len(), distinct.len()), (CLOSED_BEFORE + CLOSED_MEANWHILE, ids.len()));
    }
    let ledger = judge::entries(&site.log(Log::Ledger).await).await;
    judge::assert_whole(&ledger);
    judge::assert_served(&houses, std::slice::from_ref(&trader), &ledger).await;

    // A node that is new begins with what the others have left.
    let third = site.node("three", "").await;
    assert_eq!(closed(&third.house, &trader).await.len(), CLOSED_BEFORE + CLOSED_MEANWHILE);
    let said = third.house.said();
    let restored = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let restored = restored.filter(|line| line["message"] == "view restored up to here");
    assert!(restored.filter(|line| line["ledger"].as_u64() > Some(0)).count() > 0, "a snapshot");
}
