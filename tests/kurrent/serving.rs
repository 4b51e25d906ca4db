//! A house whose logs are in KurrentDB: it serves as on files, knows after a kill what it has
//! acknowledged, and goes on when its server was away.

use std::time::Duration;

use eventlog::kurrent::TESTED;
use eventlog::kurrent::double::Double;
use eventlog::stream::Log;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::clients::Trader;
use crate::cluster::{alike, judge};
use crate::house::{Answer, House, ended, folder};
use crate::kurrent::place::{self, Node};

/// Time within which a command is turned away.
const TURNED_AWAY_WITHIN: Duration = Duration::from_secs(1);
/// Times that a command is tried while the server is away.
const TRIES: usize = 5;

async fn deposit(house: &House, account: &str, amount: &str) -> Answer {
    let path = format!("/v1/operator/accounts/{account}/deposits");
    house.post(&path, &json!({ "amount": amount })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_and_five_thousand_commands_come_to_the_same_on_a_kurrent_double() {
    let double = Double::start().expect("a free port");
    let feed = alike::feed();
    let folder = folder();
    let embedded = House::start(&folder, ["serve", "--feed", &feed]).await;
    let node = Node::start(&double, "one", &format!("feed = [\"{feed}\"]\n")).await;

    alike::assert_alike(&embedded, &node.house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_house_on_a_kurrent_double_knows_after_a_kill_what_it_acknowledged() {
    let double = Double::start().expect("a free port");
    let node = Node::start(&double, "one", "").await;
    let opened = node.house.post("/v1/operator/accounts", &json!({ "account": "demo" })).await;
    assert_eq!(opened.status, 201, "{}", opened.body);
    let mut acknowledged = Vec::new();
    for number in 1..=20 {
        let funded = deposit(&node.house, "demo", &format!("{number}.25")).await;
        assert_eq!(funded.status, 201, "{}", funded.body);
        acknowledged.push(funded.body["entry"].clone());
    }

    let node = node.kill_and_start().await;
    let account = node.house.get("/v1/portfolio/account").await;
    assert_eq!((account.status, &account.body["free"]), (200, &json!("215.00")), "{account:?}");
    let ledger = judge::entries(&place::log(&double, Log::Ledger).await).await;
    judge::assert_whole(&ledger);
    for entry in &acknowledged {
        let of = |it: &&eventlog::entry::Entry| {
            json!(it.stream) == entry["stream"] && json!(it.version) == entry["version"]
        };
        assert!(ledger.iter().any(|it| of(&it)), "{entry} is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_kurrent_double_is_away_commands_are_turned_away_and_queries_answered() {
    let double = Double::start().expect("a free port");
    let node = Node::start(&double, "one", "").await;
    let house = &node.house;
    house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    let account = Trader::fund(house, 1).await.remove(0).account.to_string();
    let health = house.get("/health").await.body;
    for log in ["ledger", "market"] {
        let told = &health[log];
        assert_eq!((&told["backend"], &told["tested"]), (&json!("kurrentdb"), &json!(TESTED)));
    }

    double.stop(0);
    let is_told = |answer: &Answer| answer.body["logs"]["ledger"]["advice"].is_string();
    let down = house.until("/readyz", is_told).await;
    assert_eq!(down.status, 503);
    let advice = down.body["logs"]["ledger"]["advice"].as_str().map(str::to_owned);
    assert!(advice.is_some_and(|advice| advice.contains("KurrentDB")), "{}", down.body);
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let began = Instant::now();
        let answer = deposit(house, &account, "0.01").await;
        times.push(began.elapsed());
        assert_eq!((answer.status, &answer.body["code"]), (503, &json!("SYS_001")));
    }
    times.sort_unstable();
    eprintln!("turned away after {:?}, at the most {:?}", times[TRIES / 2], times[TRIES - 1]);
    assert!(times[TRIES / 2] <= TURNED_AWAY_WITHIN, "{times:?}");
    let price = house.get("/v1/market/history/BTC-USDT?interval=1m").await;
    assert_eq!(price.status, 200, "{}", price.body);

    double.start_again(0).expect("its own port");
    house.until("/readyz", |answer| answer.body["status"] == "ready").await;
    let funded = deposit(house, &account, "5.00").await;
    assert_eq!(funded.status, 201, "{}", funded.body);
    let ledger = judge::entries(&place::log(&double, Log::Ledger).await).await;
    judge::assert_whole(&ledger);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_how_a_kurrent_double_was_tested_and_when_it_is_away() {
    let double = Double::start().expect("a free port");
    let folder = folder();
    let text = format!("log = \"{}\"\n", double.url());
    std::fs::write(folder.path().join("entasis.toml"), text).unwrap();
    let doctor = ["doctor", "--config", "entasis.toml", "--json"];

    let sound = ended(&folder, &doctor).await;
    assert!(sound.status.success(), "{}", String::from_utf8_lossy(&sound.stdout));
    assert!(String::from_utf8_lossy(&sound.stdout).contains(TESTED));

    double.stop(0);
    let away = ended(&folder, &doctor).await;
    assert!(!away.status.success());
    let told: Value = serde_json::from_slice(&away.stdout).expect("JSON");
    for log in ["ledger", "market"] {
        assert_eq!(told["logs"][log]["state"], "closed", "{told}");
    }
}
