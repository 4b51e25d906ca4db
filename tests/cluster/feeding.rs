//! Two nodes listen to one venue, and the one dies and then the other: every trade that the venue told
//! is recorded once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use eventlog::stream::Log;

use crate::cluster::judge;
use crate::cluster::site::Site;
use crate::data;
use crate::exchange::{self, Exchange, Kind, lines};
use crate::restart::{self, DEPTH};

const LINES_PER_SECOND: u32 = 6_000;

/// Plays the venue to two nodes, each of which dies once; returns the trades that the log holds.
async fn trades_recorded(files: &[PathBuf], lines_per_second: u32) -> Option<Vec<u64>> {
    let site = Site::one().await?;
    let lines = lines(files);
    let truth = exchange::books(&lines, DEPTH);
    let exchange = Exchange::open(lines.clone(), BTreeMap::new(), lines_per_second).await;
    let venue = format!(
        "feed = [\"binance:BTC-USDT\"]\n[venues.binance]\nws_url = \"{}\"\nrest_url = \"{}\"\n",
        exchange.ws_url, exchange.rest_url
    );
    let mut one = site.node("one", &venue).await;
    let mut two = site.node("two", &venue).await;
    exchange.play();
    exchange.until(lines.len() / 3).await;
    one = one.kill_and_start().await;
    exchange.until(lines.len() * 2 / 3).await;
    two = two.kill_and_start().await;
    exchange.until_over().await;

    let told = lines.iter().filter(|line| line.kind == Kind::Trade);
    let last = told.filter_map(|line| line.value["t"].as_u64()).max();
    for node in [&one, &two] {
        let shows = |answer: &crate::house::Answer| answer.body["trade_id"].as_u64() == last;
        node.house.until("/v1/market/price/BTC-USDT", shows).await;
        let gaps = "/v1/market/gaps/BTC-USDT";
        node.house.until(gaps, |answer| answer.body["gaps"] == serde_json::json!([])).await;
    }
    one.house.stop().await;
    two.house.stop().await;
    let market = judge::entries(&site.log(Log::Market).await).await;
    judge::assert_whole(&market);
    restart::assert_books(&market, &truth);
    Some(restart::trade_ids(&market))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_while_it_listens_costs_no_trade() {
    let Some(folder) = data::recordings() else { return };
    let day = |day: &str| folder.join(format!("recordings/binance_spot_btcusdt_{day}.rec.gz"));
    let files = [day("20240808"), day("20240809")];
    let Some(recorded) = trades_recorded(&files, LINES_PER_SECOND).await else { return };

    let rows = data::rows(&folder.join("trades/binance_spot_btcusdt_trades.csv.gz"));
    let told: BTreeSet<u64> = rows.iter().map(|row| row[0].parse().expect("an id")).collect();
    assert_eq!(recorded.len(), told.len(), "each trade stands once");
    assert_eq!(recorded.into_iter().collect::<BTreeSet<_>>(), told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_in_a_small_market() {
    let files = [data::small_recording()];
    let told: BTreeSet<u64> = lines(&files)
        .iter()
        .filter(|line| line.kind == Kind::Trade)
        .filter_map(|line| line.value["t"].as_u64())
        .collect();
    let Some(recorded) = trades_recorded(&files, 100).await else { return };

    assert_eq!(recorded.len(), told.len(), "each trade stands once");
    assert_eq!(recorded.into_iter().collect::<BTreeSet<_>>(), told);
}
