//! The same day and the same commands, once on files and once on JetStream: the same candles, books,
//! holdings and balances, to the last digit.

use std::sync::Arc;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cluster::clients::{Told, Trader};
use crate::cluster::site::Site;
use crate::data;
use crate::house::{House, folder};
use crate::journeys::until_played;

const TRADERS: usize = 16;
pub(crate) const COMMANDS: usize = 5_000;

/// What the market became, as it is asked for.
const MARKET: [&str; 5] = [
    "/v1/market/history/BTC-USDT?interval=1m&limit=1000",
    "/v1/market/history/BTC-USDT?interval=1h",
    "/v1/market/history/BTC-USDT?interval=1d",
    "/v1/market/orderbook/BTC-USDT?depth=100",
    "/v1/market/price/BTC-USDT",
];

/// What an account became.
const ACCOUNT: [&str; 3] =
    ["portfolio/positions", "portfolio/positions?status=closed&limit=1000", "portfolio/account"];

/// Returns an answer without what tells when and where it was recorded: that is another each time.
fn timeless(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| {
                !name.ends_with("_at")
                    && !["age_ms", "as_of", "entry", "offset", "timestamp", "token", "cursor"]
                        .contains(&name.as_str())
            })
            .map(|(name, value)| (name, timeless(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(timeless).collect(),
        value => value,
    }
}

/// Has everybody carry out his part of the commands, in his own order.
async fn carry_out(house: &House, traders: &[Trader]) {
    let hosts: Arc<[String]> = [house.host.clone()].into();
    let client = Client::new();
    let mut clients = JoinSet::new();
    for (number, trader) in traders.iter().cloned().enumerate() {
        let (client, hosts) = (client.clone(), Arc::clone(&hosts));
        clients.spawn(async move {
            let told = Told { client: &client, trader: &trader, hosts: &hosts, first: 0 };
            let mut open: Vec<String> = Vec::new();
            for step in 0..COMMANDS / TRADERS {
                let key = format!("{}-{step}", trader.account);
                let (path, body) = match step % 5 {
                    0 | 1 | 3 => {
                        let side = if (number + step) % 3 == 0 { "short" } else { "long" };
                        let lots = format!("0.00{}", 1 + (number + step) % 9);
                        let order = json!({ "symbol": "BTC-USDT", "size": lots, "type": side });
                        ("portfolio/positions".to_owned(), order)
                    }
                    2 => {
                        let id = open.last().expect("two were opened before");
                        (format!("portfolio/positions/{id}/reduce"), json!({ "size": "0.0005" }))
                    }
                    _ => {
                        let id = open.remove(0);
                        (format!("portfolio/positions/{id}/close"), json!({}))
                    }
                };
                let (answer, ..) = told.through(&path, &key, &body).await;
                if path == "portfolio/positions" {
                    open.push(answer["position_id"].as_str().expect("a position").to_owned());
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("a client that is content");
    }
}

/// Returns all that the market and the accounts have become.
async fn become_of(house: &House, traders: &[Trader]) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for path in MARKET {
        let answer = house.until(path, |answer| answer.status == 200).await;
        all.push((path.to_owned(), timeless(answer.body)));
    }
    let client = Client::new();
    for trader in traders {
        for path in ACCOUNT {
            let url = format!("http://{}/api/v1/{path}", house.host);
            let answer = client.get(url).bearer_auth(&trader.token).send().await;
            let answer = answer.expect("an answer");
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
            let body: Value = answer.json().await.expect("a body");
            all.push((format!("{} {path}", trader.account), timeless(body)));
        }
    }
    all
}

/// Returns the feed of a recorded day, or of a small market where there is none.
pub(crate) fn feed() -> String {
    match data::recordings() {
        Some(folder) => {
            let day =
                |day: &str| folder.join(format!("recordings/binance_spot_btcusdt_{day}.rec.gz"));
            format!(
                "recording:{},{}?venue=binance&symbol=BTC-USDT",
                day("20240808").display(),
                day("20240809").display()
            )
        }
        None => {
            format!("recording:{}?venue=binance&symbol=BTC-USDT", data::small_recording().display())
        }
    }
}

/// Has a house live through the day, and carry out the commands behind it.
pub(crate) async fn live(house: &House) -> Vec<Trader> {
    until_played(house).await;
    let traders = Trader::fund(house, TRADERS).await;
    carry_out(house, &traders).await;
    traders
}

/// Two houses lived through the same, and became the same.
pub(crate) async fn assert_alike(one: &House, other: &House) {
    let mut became = Vec::new();
    for house in [one, other] {
        let traders = live(house).await;
        became.push(become_of(house, &traders).await);
    }
    let [one, other] = <[_; 2]>::try_from(became).expect("two of them");
    assert_eq!(one.len(), MARKET.len() + TRADERS * ACCOUNT.len());
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one, other);
    }
    let closed = one.iter().find(|(path, _)| path.contains("status=closed"));
    let closed = closed.expect("it was asked for").1["positions"].as_array().map(Vec::len);
    assert_eq!(closed, Some(COMMANDS / TRADERS / 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_and_five_thousand_commands_come_to_the_same_on_jetstream() {
    let feed = feed();
    let Some(site) = Site::one().await else { return };
    let folder = folder();
    let embedded = House::start(&folder, ["serve", "--feed", &feed]).await;
    let node = site.node("one", &format!("feed = [\"{feed}\"]\n")).await;
    assert_alike(&embedded, &node.house).await;
}
