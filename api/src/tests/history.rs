//! History across the line where memory begins, with a real read store behind it.

use domain::candle::event::CandleEvent;
use domain::candle::{Candle, Interval};
use domain::event::Event;
use domain::ladder::DAYS_MAX;
use domain::time::{DAY, MINUTE, Timestamp};
use projections::store::Store;
use serde_json::Value;
use tempfile::TempDir;

use crate::tests::house::House;

const CANDLES: &str = "candles-binance.BTC-USDT";
const PATH: &str = "/v1/market/history/BTC-USDT";

/// Midnight of the first day that memory holds.
const SINCE: &str = "2024-03-02T00:00:00Z";

/// A house that was told of a minute each ten minutes around [`SINCE`], from 22:00 to 02:00, and of
/// so many days after it that it has forgotten the one before. All of it is in its archive.
struct Old {
    house: House,
    store: Store,
    _folder: TempDir,
}

fn minute(opened_at: Timestamp) -> Event {
    let candle = Candle { trades: 3, ..Candle::filled(opened_at, "65000.00".parse().unwrap()) };
    Event::Candle(CandleEvent::CandleClosed { interval: Interval::Minute, candle })
}

impl Old {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&folder.path().join("read.db")).await.unwrap();
        let house = House::with_store(store.clone()).await;
        let since: Timestamp = SINCE.parse().unwrap();
        let around = (-12..12).map(|nth| minute(since.plus(nth * 10 * MINUTE)));
        house.tell_ledger(CANDLES, around.collect()).await;
        for nth in 1..DAYS_MAX {
            let day = since.plus(DAY * i64::try_from(nth).unwrap());
            house.tell_ledger(CANDLES, vec![minute(day)]).await;
        }
        let old = Self { house, store, _folder: folder };
        old.file().await;
        let candles = old.house.views.candles();
        let ladder = candles.get(&"binance".parse().unwrap(), &"BTC-USDT".parse().unwrap());
        assert_eq!(ladder.unwrap().ladder.since(), Some(since));
        drop(candles);
        old
    }

    async fn file(&self) {
        self.store.catch_up_archive(self.house.ledger.as_ref()).await.unwrap();
    }
}

fn times(page: &Value) -> Vec<String> {
    let candles = page["data"].as_array().unwrap().iter();
    candles.map(|candle| candle["timestamp"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_page_across_the_line_is_whole() {
    let Old { house, .. } = &Old::open().await;
    let ahead = house.get(&format!("{PATH}?start=2024-03-01T23:00:00Z&limit=90")).await;
    assert_eq!(ahead.status, 200);
    let times = times(&ahead.json());
    assert_eq!(times.len(), 90);
    assert_eq!(
        (times[0].as_str(), times[89].as_str()),
        ("2024-03-01T23:00:00Z", "2024-03-02T00:29:00Z")
    );
    assert_eq!(ahead.json()["data"][59]["source"], "filled");
    assert_eq!(ahead.json()["data"][59]["close"], "65000.00");

    let back = house.get(&format!("{PATH}?end=2024-03-02T00:29:00Z&limit=90")).await;
    assert_eq!(back.json()["data"], ahead.json()["data"]);
}

#[tokio::test]
async fn pages_go_through_the_line_in_both_directions() {
    let Old { house, .. } = &Old::open().await;
    let range = "end=2024-03-02T01:59:00Z&interval=5m&fill=none";
    for limit in [1, 7, 24, 1_000] {
        for start in ["", "&start=2024-01-01T00:00:00Z"] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("{PATH}?{range}&limit={limit}{start}{cursor}");
                let page = house.get(&path).await.json();
                let place = if start.is_empty() { 0 } else { seen.len() };
                seen.splice(place..place, times(&page));
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(seen.len(), 24, "{limit} {start}");
            assert!(seen.is_sorted(), "{limit} {start}");
            assert_eq!(seen[0], "2024-03-01T22:00:00Z");
        }
    }
}

#[tokio::test]
async fn without_its_archive_a_node_answers_what_it_remembers_and_nothing_shorter() {
    let Old { house, store, .. } = &Old::open().await;
    store.close().await;

    for query in [
        "start=2024-03-01T23:00:00Z&limit=10",
        "start=2024-01-01T00:00:00Z",
        "end=2024-03-02T00:10:00Z&limit=20",
        "end=2024-03-01T23:00:00Z&interval=5m",
    ] {
        let answer = house.get(&format!("{PATH}?{query}")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (503, &"SYS_001".into()), "{query}");
        assert_eq!(answer.header("Retry-After"), Some("5"));
        let detail = answer.json()["detail"].to_string();
        assert!(
            detail.contains("candles before 2024-03-02T00:00:00Z are in the archive"),
            "{detail}"
        );
    }
    for query in [
        "limit=500",
        "start=2024-03-02T00:00:00Z",
        "end=2024-03-02T00:10:00Z&limit=10",
        "start=2024-01-01T00:00:00Z&interval=1h",
    ] {
        let answer = house.get(&format!("{PATH}?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        assert!(!times(&answer.json()).is_empty(), "{query}");
    }
    assert_eq!(house.get("/v1/market/gaps/BTC-USDT").await.status, 200);
}

#[tokio::test]
async fn an_archive_that_is_behind_is_no_shorter_history() {
    let old = &Old::open().await;
    let next = SINCE.parse::<Timestamp>().unwrap().plus(DAY * i64::try_from(DAYS_MAX).unwrap());
    old.house.tell_ledger(CANDLES, vec![minute(next)]).await;
    let path = format!("{PATH}?start=2024-03-01T23:00:00Z&limit=10");

    let behind = old.house.get(&path).await;
    assert_eq!((behind.status, &behind.json()["code"]), (503, &"SYS_001".into()));
    let detail = behind.json()["detail"].to_string();
    assert!(detail.contains("the archive is being built from the ledger"), "{detail}");
    let ready = old.house.get("/readyz").await.json();
    assert_eq!(
        (&ready["read_store"]["archive"]["lag"], &ready["status"]),
        (&1.into(), &"ready".into())
    );

    old.file().await;
    assert_eq!(times(&old.house.get(&path).await.json()).len(), 10);
}

#[tokio::test]
async fn a_read_store_that_fails_is_told_and_does_not_make_the_node_useless() {
    let Old { house, store, .. } = &Old::open().await;
    let good = house.get("/readyz").await.json();
    assert_eq!(good["read_store"]["status"], "good");
    assert_eq!(good["read_store"]["archive"]["whole"], true);

    store.close().await;
    let mut ready = house.get("/readyz").await;
    for _ in 0..10 {
        assert!(store.snapshot(&house.views, SINCE.parse().unwrap()).await.is_err());
        ready = house.get("/readyz").await;
    }
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"degraded".into()));
    assert_eq!(ready.json()["read_store"]["status"], "degraded");
    assert_eq!(ready.json()["read_store"]["since"], SINCE);
    assert!(ready.json()["read_store"]["reason"].is_string());
}

#[tokio::test]
async fn a_node_without_a_read_store_says_so() {
    let house = House::open().await;
    assert_eq!(house.get("/readyz").await.json()["read_store"]["status"], "none");
}
