//! Both logs through their URLs, on a double that lets one user in.

use std::time::Duration;

use domain::market::event::MarketEvent;
use domain::time::Timestamp;
use eventlog::entry::{Actor, Draft, Offset};
use eventlog::kurrent::double::access::User;
use eventlog::kurrent::double::node::Tls;
use eventlog::kurrent::double::{Double, Settings};
use eventlog::log::{Durability, Expected};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

use super::*;
use crate::command_line::Demo;
use crate::configuration::{self, Configuration};
use crate::logs::durability;

/// How long one is watched who should not be believed: it goes on trying for longer.
const DOUBTED_FOR: Duration = Duration::from_secs(2);

const STREAM: &str = "market-binance.BTC-USDT";

fn draft() -> Draft {
    let gap = MarketEvent::FeedGapFilled { first_id: 1, last_id: 1 };
    Draft {
        stream: STREAM.parse().unwrap(),
        append_id: Uuid::from_u128(1),
        command_id: Uuid::from_u128(1),
        recorded_at: Timestamp::from_micros(1_711_013_400_000_000),
        actor: Actor { principal: "a".into(), role: "feed".into(), via: "intake".into() },
        correlation_id: None,
        causation: None,
        events: vec![gap.into()],
    }
}

fn guarded(tls: Option<Tls>) -> Double {
    let users = vec![User::new("engine", "p@ss:1")];
    Double::start_with(1, Settings { users, tls }).unwrap()
}

/// Returns an opener of a house in a folder of its own, with these keys in its section.
fn opener(folder: &TempDir, keys: serde_json::Value, least: Option<&str>) -> Opener {
    let data = Some(folder.path().to_owned());
    let demo = configuration::of_demo(&Demo { data, ..Demo::default() }).unwrap();
    let durability_min = least.map(|word| durability(word).unwrap());
    Opener::of(&Configuration { kurrent: settings(keys), durability_min, ..demo })
}

fn log_url(text: &str) -> LogUrl {
    LogUrl::parse(text).unwrap()
}

#[tokio::test]
async fn both_logs_stand_on_one_server_and_each_has_its_own() {
    let (double, folder) = (guarded(None), tempfile::tempdir().unwrap());
    let keys = serde_json::json!({"user": "engine", "password": "p@ss:1"});
    let opener = opener(&folder, keys, Some("fsync"));
    let url = log_url(&double.url());

    let ledger = opener.open(&url, Log::Ledger).await.unwrap();
    let market = opener.open(&url, Log::Market).await.unwrap();
    assert!(ledger.is_remote && ledger.trim.is_none());
    assert_eq!(ledger.log.durability(), Durability::Fsync);
    let appended = market.log.append(draft(), Expected::Empty).await.unwrap();
    assert_eq!(market.log.head().await, Ok(appended.offset));
    assert_eq!(ledger.log.head().await, Ok(Offset(0)));
    let read = opener.open_stored(&url, Log::Market).await.unwrap();
    assert_eq!(read.stored(Offset(0), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_log_stands_on_a_server_and_the_other_in_a_folder() {
    let (double, folder) = (guarded(None), tempfile::tempdir().unwrap());
    let keys = serde_json::json!({"user": "engine", "password": "p@ss:1"});
    let opener = opener(&folder, keys, None);
    let there = log_url(&double.url());
    let here = LogUrl::Embedded(folder.path().to_owned());

    for (ledger, market) in [(&there, &here), (&here, &there)] {
        let ledger = opener.open(ledger, Log::Ledger).await.unwrap();
        let market = opener.open(market, Log::Market).await.unwrap();
        assert_ne!(ledger.is_remote, market.is_remote);
        let appended = market.log.append(draft(), Expected::Empty).await.unwrap();
        assert_eq!(market.log.head().await, Ok(appended.offset));
        assert_eq!(ledger.log.head().await, Ok(Offset(0)));
    }
}

#[tokio::test]
async fn a_server_that_lets_nobody_in_is_named_and_the_secret_is_not() {
    let (double, folder) = (guarded(None), tempfile::tempdir().unwrap());
    let url = double.url();
    let keys = serde_json::json!({"user": "engine", "password": "canary"});
    let wrong = opener(&folder, keys, None);

    let refused = wrong.open(&log_url(&url), Log::Ledger).await.map(|_| ()).unwrap_err();
    let said = format!("{refused:#}");
    assert!(said.contains("the ledger log in kurrentdb://127.0.0.1:"), "{said}");
    assert!(said.contains("kurrent.user") && !said.contains("canary"), "{said}");
    // Who the URL says that we are counts before who the configuration says.
    let own = url.replace("://", "://engine:p%40ss%3A1@");
    wrong.open(&log_url(&own), Log::Ledger).await.unwrap();
}

#[tokio::test]
async fn a_server_is_spoken_to_over_tls_when_its_authority_is_known() {
    crate::provider::install();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let names = || vec!["127.0.0.1".to_owned()];
    let [own, other] = [(); 2].map(|()| rcgen::generate_simple_self_signed(names()).unwrap());
    std::fs::write(path("own.pem"), own.cert.pem()).unwrap();
    std::fs::write(path("other.pem"), other.cert.pem()).unwrap();
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let double = guarded(Some(Tls { certificate, key }));
    // Nothing is said of TLS: it is what there is.
    let url = log_url(&format!("kurrentdb://127.0.0.1:{}", double.port(0)));
    let keys =
        |ca: &str| serde_json::json!({"user": "engine", "password": "p@ss:1", "tls_ca": path(ca)});

    let trusting = opener(&folder, keys("own.pem"), None);
    trusting.open(&url, Log::Ledger).await.unwrap();
    let doubting = opener(&folder, keys("other.pem"), None);
    let refused = timeout(DOUBTED_FOR, doubting.open(&url, Log::Ledger)).await;
    assert!(!matches!(refused, Ok(Ok(_))), "it is not believed");
}
