//! Keys, certificate and rules change while the door is open, and nobody who asks notices.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::tls::TlsInfo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::house::{House, folder, output, run};

/// Time after which a change must count; it takes about a second.
const COUNTS_MAX: Duration = Duration::from_secs(20);

/// How often all that can be changed is changed under load.
const CHANGES: usize = 4;

/// Clients that ask without a pause, half of them on a connection of their own for each request.
const CLIENTS: usize = 8;

/// Makes a certificate and its key in a folder of their own: another house does.
async fn certificate(folder: &TempDir, name: &str) -> [Vec<u8>; 2] {
    let words = ["serve", "--data", name, "--tls-self-signed"];
    drop(House::start(folder, words).await);
    let data = folder.path().join(name);
    [data.join("self_signed.pem"), data.join("private/self_signed.key.pem")]
        .map(|file| fs::read(file).expect("it was made"))
}

/// Returns the certificate that a new connection is answered with.
async fn shown(host: &str) -> Vec<u8> {
    let client = stranger().build().expect("a client");
    let answer = client.get(format!("https://{host}/livez")).send().await.expect("an answer");
    let info = answer.extensions().get::<TlsInfo>().expect("it came over TLS");
    info.peer_certificate().expect("a certificate").to_owned()
}

fn stranger() -> reqwest::ClientBuilder {
    reqwest::Client::builder().tls_danger_accept_invalid_certs(true).tls_info(true)
}

fn put(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    // Put there whole, as whoever renews certificates does.
    let draft = folder.path().join(format!("{name}.draft"));
    fs::write(&draft, bytes).expect("a folder");
    fs::rename(draft, folder.path().join(name)).expect("a folder");
}

async fn until(mut wished: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + COUNTS_MAX;
    while !wished().await {
        assert!(Instant::now() < deadline, "it does not count");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Asks until told to stop, and returns how often it did. Every answer must be good.
async fn client(host: String, token: Arc<str>, anew: bool, stop: Arc<AtomicBool>) -> u64 {
    let mut client = stranger().build().expect("a client");
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        if anew {
            client = stranger().build().expect("a client");
        }
        let price = client.get(format!("https://{host}/v1/market/price/BTC-USDT"));
        let answer = price.bearer_auth(&token).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
        asked += 1;
    }
    asked
}

fn said(house: &House, words: &str) -> usize {
    house.said().matches(words).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_keys_and_rules_are_changed_under_load_and_no_request_fails() {
    let folder = folder();
    let certificates = [certificate(&folder, "one").await, certificate(&folder, "other").await];
    let [chain, key] = &certificates[0];
    put(&folder, "chain.pem", chain);
    put(&folder, "key.pem", key);
    let rules = |failures: usize, deny: &str| {
        format!(
            "[tls]\ncertificate = 'chain.pem'\nkey = 'key.pem'\n[limits]\nfailures_ip_max = {failures}\n\
             [addresses]\ndeny = ['{deny}']\n"
        )
    };
    put(&folder, "house.toml", rules(20, "192.0.2.1"));
    let house = House::start(&folder, ["serve", "--config", "house.toml"]).await;
    house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    let token: Arc<str> = house.token("demo", "trader").await.into();
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let anew = number % 2 == 0;
        clients.spawn(client(house.host.clone(), Arc::clone(&token), anew, Arc::clone(&stop)));
    }

    for change in 1..=CHANGES {
        let [chain, key] = &certificates[change % 2];
        let before = shown(&house.host).await;
        // Between the two they do not fit: that is refused, and nobody notices.
        put(&folder, "chain.pem", chain);
        put(&folder, "key.pem", key);
        until(async || shown(&house.host).await != before).await;

        let read = said(&house, "TokenKeys");
        let algorithm = ["HS256", "EdDSA"][change % 2];
        let words = ["token", "rotate", "--algorithm", algorithm, "--config", "house.toml"];
        output(&folder, &words).await;
        let again = || said(&house, "TokenKeys") > read;
        until(async || again()).await;
        // Signed by the new key, and taken; what the one before it has signed, too.
        let fresh = house.token("demo", "trader").await;
        let client = stranger().build().unwrap();
        let account = format!("https://{}/v1/market/price/BTC-USDT", house.host);
        until(async || {
            client.get(&account).bearer_auth(&fresh).send().await.unwrap().status() == 200
        })
        .await;

        let read = said(&house, "count from now on");
        put(&folder, "house.toml", rules(20 + change, "192.0.2.1"));
        until(async || said(&house, "count from now on") > read).await;
    }
    for (name, bytes) in [
        ("chain.pem", b"no certificate".as_slice()),
        ("key.pem", b"no key"),
        ("house.toml", b"[limits]\nfailures_ip_max = 'many'"),
        ("data/private/token_keys.json", b"{}"),
    ] {
        let refused = said(&house, "cannot be used");
        let before = shown(&house.host).await;
        let kept = fs::read(folder.path().join(name)).unwrap();
        let file = folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        until(async || said(&house, "cannot be used") > refused).await;
        assert_eq!(shown(&house.host).await, before, "{name}");
        fs::write(&file, kept).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut asked = 0;
    while let Some(client) = clients.join_next().await {
        asked += client.expect("a client whose every answer is good");
    }
    eprintln!("{asked} requests, none failed");
    assert!(asked > 500, "{asked} requests");
    house.stop().await;
}

#[tokio::test]
async fn rules_count_as_soon_as_they_are_read() {
    let folder = folder();
    put(&folder, "house.toml", "[addresses]\ntrusted_proxies = ['127.0.0.1']\n");
    let house = House::start(&folder, ["serve", "--config", "house.toml"]).await;
    let client = reqwest::Client::new();
    let from = async |address: &str| {
        let live = client.get(format!("http://{}/livez", house.host));
        live.header("X-Forwarded-For", address).send().await.unwrap().status().as_u16()
    };
    assert_eq!((from("192.0.2.7").await, from("198.51.100.7").await), (200, 200));

    put(
        &folder,
        "house.toml",
        "[addresses]\ntrusted_proxies = ['127.0.0.1']\ndeny = ['192.0.2.0/24']\n",
    );
    until(async || from("192.0.2.7").await == 403).await;
    assert_eq!((from("::ffff:192.0.2.9").await, from("198.51.100.7").await), (403, 200));
}

#[tokio::test]
async fn a_door_that_others_can_reach_does_not_open_without_tls() {
    let folder = folder();
    let others: IpAddr = "0.0.0.0".parse().unwrap();

    let (code, said) = run(&folder, &["serve", "--listen", &format!("{others}:0")]).await;

    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("not loopback") && said.contains("--tls-self-signed"), "{said}");
    // Behind a proxy, or with a certificate, it does.
    put(&folder, "proxy.toml", "[tls]\nmode = 'proxy'\n");
    let house = House::start(&folder, ["serve", "--config", "proxy.toml"]).await;
    assert_eq!(house.scheme, "http");
}

#[tokio::test]
async fn who_fails_while_the_house_stops_is_recorded_too() {
    let folder = folder();
    let house = House::start(&folder, ["serve"]).await;
    let mut late = TcpStream::connect(&house.host).await.unwrap();
    let head = b"GET /v1/market/price/BTC-USDT HTTP/1.1\r\nHost: house\r\nX-API-Key: none\r\n";
    late.write_all(head).await.unwrap();
    // By then the house has seen its beginning.
    house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    let log = folder.path().join("stderr.log");

    let fail = async {
        until(async || fs::read_to_string(&log).unwrap().contains("\"stopping\"")).await;
        late.write_all(b"\r\n").await.unwrap();
        let mut answer = String::new();
        late.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (_, answer) = tokio::join!(house.stop(), fail);

    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let trail = output(&folder, &["log", "cat", "--stream", "access-node-1"]).await;
    assert_eq!(trail.matches("authentication_failed.v1").count(), 1, "{trail}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_token_says_whose_it_is_and_a_changed_one_is_no_token() {
    let folder = folder();
    // Before there ever was a house.
    let token = output(&folder, &["token", "issue", "--account", "alice", "--ttl", "15m"]).await;
    let token = token.trim_end();
    assert_eq!(token.lines().count(), 1);
    let private = folder.path().join("data/private");
    assert_eq!((mode(&private), mode(&private.join("token_keys.json"))), (0o700, 0o600));

    let told = output(&folder, &["token", "inspect", token]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["valid"], &told["account"], &told["role"]),
        (&true.into(), &"alice".into(), &"trader".into())
    );

    let changed = token.replace('.', ".A");
    let (code, said) = run(&folder, &["token", "inspect", &changed]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(!said.contains(&changed), "{said}");
    for words in [
        ["token", "issue", "--account", "alice", "--ttl", "25h"],
        ["token", "issue", "--account", "alice", "--scope", "admin"],
        ["token", "issue", "--account", "no/name", "--ttl", "1h"],
        ["token", "issue", "--account", "alice", "--role", "king"],
    ] {
        let (code, said) = run(&folder, &words).await;
        assert!(matches!(code, Some(1 | 2)), "{words:?}: {said}");
    }
}

#[tokio::test]
async fn keys_are_made_and_taken_beside_a_house_that_runs_and_without_one() {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let folder = folder();
    let create = |role: &'static str| {
        let label = format!("key-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = &folder;
        async move {
            let words =
                ["apikey", "create", "--account", "alice", "--role", role, "--label", &label];
            output(folder, &words).await.trim_end().to_owned()
        }
    };
    let id = |key: &str| key.split('_').nth(2).unwrap().to_owned();
    let alone = create("trader").await;
    let house = House::start(&folder, ["serve"]).await;
    house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    let beside = create("auditor").await;
    assert_eq!(mode(&folder.path().join("data/private/admin.sock")), 0o600);

    let client = reqwest::Client::new();
    let status = async |key: &str| {
        let price = client.get(format!("http://{}/v1/market/price/BTC-USDT", house.host));
        price.header("X-API-Key", key).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(&alone).await, 200);
    until(async || status(&beside).await == 200).await;

    let listed = output(&folder, &["apikey", "list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let roles: Vec<&str> = listed["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["role"].as_str().unwrap())
        .collect();
    assert_eq!(roles.len(), 2, "{listed}");
    assert!(!listed.to_string().contains("secret"), "{listed}");

    let rotated = output(&folder, &["apikey", "rotate", &id(&alone), "--overlap", "1h"]).await;
    let rotated = rotated.trim_end();
    assert_eq!(id(rotated), id(&alone));
    until(async || status(rotated).await == 200).await;
    assert_eq!(status(&alone).await, 200, "good for another hour");

    output(&folder, &["apikey", "revoke", &id(&alone)]).await;
    let began = Instant::now();
    until(async || status(rotated).await == 401).await;
    assert!(began.elapsed() < Duration::from_secs(3), "known within a second, and some slack");
    assert_eq!((status(&alone).await, status(&beside).await), (401, 200));
    house.stop().await;

    // Nobody holds the ledger now.
    output(&folder, &["apikey", "revoke", &id(&beside)]).await;
    let (code, said) = run(&folder, &["apikey", "rotate", &id(&beside), "--overlap", "8d"]).await;
    assert_eq!((code, said.contains("7d at most")), (Some(1), true), "{said}");
    let (code, said) = run(&folder, &["apikey", "revoke", "AAAAAAAA"]).await;
    assert_eq!((code, said.contains("no such key")), (Some(1), true), "{said}");
    let house = House::start(&folder, ["serve"]).await;
    let price = client.get(format!("http://{}/v1/market/price/BTC-USDT", house.host));
    assert_eq!(price.header("X-API-Key", &beside).send().await.unwrap().status(), 401);
    // The ledger tells of all of it, and holds no secret.
    let ledger = output(&folder, &["log", "cat", "--stream", "keys"]).await;
    assert_eq!(ledger.matches("api_key_revoked.v1").count(), 2, "{ledger}");
    for key in [&*alone, rotated, &*beside] {
        assert!(!ledger.contains(key.split('_').nth(3).unwrap()));
    }
}
