//! Names of brokers, and connections to real ones.

use std::net::Ipv4Addr;

use eventlog::nats::server::{Cluster, Settings};
use tokio::net::TcpListener;

use super::*;
use crate::configuration::nats::NatsKeys;

fn servers(text: &str) -> Servers {
    Servers::parse(text).unwrap()
}

#[test]
fn a_broker_is_named_by_hosts_and_perhaps_a_prefix() {
    let broker = servers("a,b.example:5,[::1]:6,[::2]/test-1");

    assert_eq!(broker.addresses, ["a:4222", "b.example:5", "[::1]:6", "[::2]:4222"]);
    assert_eq!(broker.prefix.as_deref(), Some("test-1"));
    assert_eq!(broker.to_string(), "nats://a:4222,b.example:5,[::1]:6,[::2]:4222/test-1");
    assert_eq!(servers("a/"), servers("a:4222"));
}

#[test]
fn one_connection_serves_all_prefixes_of_a_user() {
    let broker = servers("u:p@a,b/one");

    assert!(broker.is_same_broker(&servers("u:p@a,b:4222/two")));
    for other in ["u:q@a,b", "a,b", "u:p@a"] {
        assert!(!broker.is_same_broker(&servers(other)), "{other}");
    }
}

#[test]
fn what_is_no_broker_is_not_repeated() {
    for text in ["", "a,,b", "a:port", "a b", "a:1/x.y", "canary@a", ":canary@a", "u:can/ary@a b"] {
        let said = format!("{:#}", Servers::parse(text).unwrap_err());
        assert!(!said.contains("canary"), "{said}");
    }
    let broker = servers("user:canary@a:1");
    assert!(!format!("{broker:?} {broker}").contains("canary"));
}

#[test]
fn a_connection_is_sought_at_once_and_then_ever_more_slowly() {
    let pauses: Vec<u128> = (1..8).map(|attempt| pause(attempt).as_millis()).collect();

    assert_eq!(pauses, [0, 25, 50, 100, 200, 250, 250]);
    assert_eq!(pause(usize::MAX), RETRY_MAX);
}

fn brokers(password: &str) -> Brokers {
    let keys = serde_json::json!({"user": "engine", "password": password});
    let keys: NatsKeys = serde_json::from_value(keys).unwrap();
    Brokers::new(NatsSettings::of(keys).unwrap(), "node-7")
}

/// Returns a server that lets one user in, and its host and port.
async fn guarded() -> Option<(Cluster, String)> {
    let lines = "authorization { users = [ { user: engine, password: right } ] }".to_owned();
    let user = Some(("engine".to_owned(), "right".to_owned()));
    let cluster = Cluster::single(Settings { lines, user, ..Settings::default() }).await?;
    let address = cluster.url(0).replace("nats://", "");
    Some((cluster, address))
}

#[tokio::test]
async fn all_who_need_a_broker_share_a_connection() {
    let Some((_cluster, address)) = guarded().await else { return };
    let brokers = brokers("right");

    let first = brokers.client(&servers(&address)).await.unwrap();
    let second = brokers.client(&servers(&format!("{address}/other"))).await.unwrap();

    assert_eq!(first.server_info().client_id, second.server_info().client_id);
    let own = brokers.client(&servers(&format!("engine:right@{address}"))).await.unwrap();
    assert_ne!(own.server_info().client_id, first.server_info().client_id);
}

#[tokio::test]
async fn a_broker_that_lets_nobody_in_is_named_and_the_secret_is_not() {
    let Some((_cluster, address)) = guarded().await else { return };

    for url in [address.clone(), format!("engine:canary@{address}")] {
        let refused = brokers("canary").client(&servers(&url)).await.unwrap_err();
        let said = format!("{refused:#}");
        assert!(said.contains(&address) && said.contains("nats.user"), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
    // Who the URL says that we are counts before who the configuration says.
    let url = servers(&format!("engine:right@{address}"));
    brokers("canary").client(&url).await.unwrap();
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_given_up_within_seconds() {
    // One that takes connections and says nothing, and one that nobody listens at.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (silent_at, gone_at) = (silent.local_addr().unwrap(), gone.local_addr().unwrap());
    drop(gone);

    for url in [format!("{gone_at}"), format!("{silent_at},{gone_at}")] {
        let connecting = brokers("right");
        let url = servers(&url);
        let answer = timeout(CONNECT_MAX + SERVER_MAX, connecting.client(&url)).await;
        let said = format!("{:#}", answer.expect("an answer in time").unwrap_err());
        assert!(said.contains(&format!("the broker {url}")), "{said}");
    }
}

#[tokio::test]
async fn a_broker_is_spoken_to_over_tls_when_its_authority_is_known() {
    crate::provider::install();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let names = ["127.0.0.1".to_owned()];
    let own = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    let other = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(path("own.pem"), own.cert.pem()).unwrap();
    std::fs::write(path("own.key"), own.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("other.pem"), other.cert.pem()).unwrap();
    let lines = format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}",
        path("own.pem").display().to_string(),
        path("own.key").display().to_string(),
    );
    let Some(cluster) = Cluster::single(Settings { lines, ..Settings::default() }).await else {
        return;
    };
    let connect = async |keys: serde_json::Value| {
        let keys: NatsKeys = serde_json::from_value(keys).unwrap();
        let brokers = Brokers::new(NatsSettings::of(keys).unwrap(), "node-7");
        let url = servers(&cluster.url(0).replace("nats://", ""));
        brokers.client(&url).await.map_err(|error| format!("{error:#}"))
    };

    let client = connect(serde_json::json!({"tls_ca": path("own.pem")})).await.unwrap();
    assert!(client.server_info().tls_required);
    assert!(connect(serde_json::json!({"tls_ca": path("other.pem")})).await.is_err());
    assert!(connect(serde_json::json!({})).await.is_err(), "nobody is trusted unasked");
    let missing = connect(serde_json::json!({"tls_ca": path("none.pem")})).await.unwrap_err();
    assert!(missing.contains("nats.tls_ca") && missing.contains("none.pem"), "{missing}");
}
