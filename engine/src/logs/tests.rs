//! Logs behind URLs: on files and at a real broker.

use eventlog::entry::{Offset, Version};
use eventlog::log::LogError;
use eventlog::nats::server::{Cluster, Settings, SyncInterval};
use tempfile::TempDir;

use super::*;
use crate::command_line::Demo;
use crate::configuration;

/// Returns the configuration of a house in a folder of its own.
fn configuration(folder: &TempDir) -> Configuration {
    let data = Some(folder.path().to_owned());
    configuration::of_demo(&Demo { data, ..Demo::default() }).unwrap()
}

async fn single() -> Option<(Cluster, LogUrl)> {
    let cluster = Cluster::single(Settings::default()).await?;
    let url = LogUrl::parse(&format!("{}/logs-test", cluster.url(0))).unwrap();
    Some((cluster, url))
}

#[test]
fn a_log_is_named_by_its_kind_and_its_place() {
    for text in [
        "embedded:./data",
        "nats://a:4222,b:4223/other",
        "kurrentdb://a:2113,b:2114/other",
        "kurrentdb+discover://a:2113",
    ] {
        assert_eq!(LogUrl::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(LogUrl::parse("nats://a").unwrap().to_string(), "nats://a:4222");
    for (text, told) in [
        ("esdb://ann:canary@a?tls=false", "kurrentdb://a:2113"),
        ("esdb+discover://a:1", "kurrentdb+discover://a:1"),
    ] {
        let url = LogUrl::parse(text).unwrap();
        assert_eq!((url.to_string().as_str(), url.folder(Log::Ledger)), (told, None));
        assert!(!format!("{url:?}").contains("canary"));
    }
    for text in [
        "",
        "data",
        "embedded:",
        "kafka://a",
        "nats:a",
        "nats://",
        "kurrentdb:a",
        "kurrentdb://",
        "esdb://a/b-c",
        "kurrentdb+discover://a,b",
        "kurrent://a",
        "esdb://a?colour=red",
    ] {
        assert!(LogUrl::parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_a_log_stands_on_is_told_with_how_it_was_tried_out() {
    let backend = |text: &str| LogUrl::parse(text).unwrap().backend();

    assert_eq!(backend("embedded:d"), Backend { name: "embedded", tested: None });
    assert_eq!(backend("nats://a"), Backend { name: "nats", tested: None });
    assert_eq!(backend("esdb://a"), Backend { name: "kurrentdb", tested: Some(TESTED) });
}

#[tokio::test]
async fn a_ledger_that_keeps_too_little_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let url = LogUrl::Embedded(folder.path().to_owned());
    let open = async |least: &str, log: Log| {
        let durability_min = Some(durability(least).unwrap());
        let opener = Opener::of(&Configuration { durability_min, ..configuration(&folder) });
        opener.open(&url, log).await.map(|_| ()).map_err(|error| format!("{error:#}"))
    };

    assert_eq!(open("fsync", Log::Ledger).await, Ok(()));
    let said = open("quorum", Log::Ledger).await.unwrap_err();
    assert!(said.contains("a loss of power") && said.contains("durability_min"), "{said}");
    assert_eq!(open("quorum", Log::Market).await, Ok(()), "it is demanded for commands");
    // Where something is only brought to, nothing is acknowledged to anybody.
    let durability_min = Some(Durability::Quorum);
    let opener = Opener::for_copies(&Configuration { durability_min, ..configuration(&folder) });
    assert!(opener.open(&url, Log::Ledger).await.is_ok());
}

#[tokio::test]
async fn a_log_at_a_broker_is_there_once_it_is_made() {
    let Some((cluster, url)) = single().await else { return };
    let LogUrl::Nats(servers) = &url else { panic!("{url} is no broker") };
    let folder = tempfile::tempdir().unwrap();
    let mut configuration = configuration(&folder);
    configuration.nats.create = false;
    configuration.nats.sync_always = true;
    configuration.nats.monitors = vec![cluster.monitor(0)];
    let opener = Opener::of(&configuration);

    let none = opener.open(&url, Log::Ledger).await.map(|_| ()).unwrap_err();
    assert!(format!("{none:#}").contains("entasis log create"), "{none:#}");
    assert!(opener.open_stored(&url, Log::Ledger).await.is_err(), "reading makes nothing");
    for _ in 0..2 {
        assert_eq!(opener.create(servers, Log::Ledger).await.unwrap(), "LOGS-TEST_LEDGER");
    }

    let ledger = opener.open(&url, Log::Ledger).await.unwrap();
    assert_eq!(ledger.log.durability(), Durability::Fsync);
    assert!(ledger.is_remote && ledger.trim.is_none());
    let read = opener.open_stored(&url, Log::Ledger).await.unwrap();
    assert_eq!(read.head().await, Ok(Offset(0)));
}

#[tokio::test]
async fn a_broker_that_syncs_now_and_then_is_told_from_one_that_keeps_what_it_says() {
    let settings = Settings { sync_interval: SyncInterval::Ordinary, ..Settings::default() };
    let Some(cluster) = Cluster::single(settings).await else { return };
    let url = LogUrl::parse(&cluster.url(0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut configuration = configuration(&folder);
    // What is said of it is wrong, and its monitor knows.
    configuration.nats.sync_always = true;
    configuration.nats.monitors = vec![cluster.monitor(0)];
    configuration.durability_min = Some(Durability::Fsync);

    let said = Opener::of(&configuration).open(&url, Log::Ledger).await.map(|_| ()).unwrap_err();
    let said = format!("{said:#}");
    assert!(said.contains("durability_min") || said.contains("sync"), "{said}");
    assert!(Opener::of(&configuration).open(&url, Log::Market).await.is_ok());
}

#[tokio::test]
async fn while_a_broker_is_away_a_reader_says_so_and_a_patient_one_waits() {
    let Some((mut cluster, url)) = single().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let opener = Opener::of(&configuration(&folder));
    let ledger = opener.open(&url, Log::Ledger).await.unwrap();
    let stream = "keys".parse().unwrap();

    cluster.kill9(0).await;
    let away = ledger.reader().read_stream(&stream, Version(0), 1).await;
    assert!(matches!(away, Err(LogError::Unavailable(_))), "{away:?}");
    let patient = ledger.patient();
    let (read, ()) = tokio::join!(patient.read_stream(&stream, Version(0), 1), async {
        cluster.start_again(0);
    });
    assert_eq!(read, Ok(vec![]));
}
