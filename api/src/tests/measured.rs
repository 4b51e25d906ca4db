//! The figures, held against the rules of their format.

use std::collections::{BTreeMap, BTreeSet};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::tests::client::Client;
use crate::tests::house::{House, TRADER};

/// Whether a text is a name of the format: a letter or `_` first, then also digits.
fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|one| one.is_ascii_alphanumeric() || one == '_')
}

/// Reads labels: `a="1",b="2"`. A quote or a backslash in a value has a backslash before it.
fn labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").unwrap();
        assert!(is_name(name), "{name}");
        let mut end = 0;
        let bytes = value.as_bytes();
        while bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let before = labels.insert(name.to_owned(), value[..end].to_owned());
        assert_eq!(before, None, "{name} twice");
        rest = &value[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}

/// Reads a text of figures, by name and labels, and panics where it breaks a rule.
fn read(text: &str) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    assert!(text.ends_with('\n'));
    let mut figures = BTreeMap::new();
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()), "{name} has two helps");
            assert!(!help.is_empty());
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(matches!(kind, "counter" | "gauge"), "{line}");
            assert!(typed.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} again");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            current = name.to_owned();
            continue;
        }
        let (what, value) = line.rsplit_once(' ').unwrap();
        let (name, told) = what.split_once('{').unwrap_or((what, "}"));
        assert!(is_name(name) && name.starts_with("entasis_"), "{line}");
        assert_eq!(name, current, "samples of one name stand together");
        let value: f64 = value.parse().unwrap();
        let place = (name.to_owned(), labels(told.strip_suffix('}').unwrap()));
        assert_eq!(figures.insert(place, value), None, "{line} is there twice");
    }
    assert!(typed.keys().all(|name| helped.contains(name)));
    figures
}

fn figure(text: &str, name: &str, of: &[(&str, &str)]) -> f64 {
    let of = of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let place = (format!("entasis_{name}"), of);
    *read(text).get(&place).unwrap_or_else(|| panic!("no {place:?} in {text}"))
}

#[tokio::test]
async fn figures_say_what_the_node_has_done() {
    let house = House::trading().await;
    house.ruled(|rules| rules.requests_max = 4);
    house.position(r#"{"symbol":"BTC-USDT","size":"0.1","type":"long"}"#).await;
    let refused = house
        .post("/v1/portfolio/positions", r#"{"symbol":"BTC-USDT","size":"9999","type":"long"}"#);
    assert_eq!(refused.await.status, 400);
    for status in [200, 200, 429] {
        assert_eq!(house.get("/v1/market/symbols").await.status, status);
    }
    let client = Client::open(&house).await;

    let text = house.metrics.text().await;
    for (name, of, value) in [
        ("open", vec![], 1.0),
        ("log_applied", vec![("log", "market")], 1.0),
        ("log_head", vec![("log", "market")], 1.0),
        ("log_standing", vec![("log", "ledger")], 0.0),
        ("log_durability", vec![("log", "ledger")], 0.0),
        ("requests_total", vec![("class", "4xx")], 2.0),
        ("requests_total", vec![("class", "5xx")], 0.0),
        ("refused_requests_total", vec![], 1.0),
        ("commands_total", vec![("outcome", "done")], 3.0),
        ("commands_total", vec![("outcome", "refused")], 1.0),
        ("feed_state", vec![("venue", "binance"), ("feed", "1")], 0.0),
        ("sockets", vec![], 1.0),
        ("nodes", vec![], 1.0),
    ] {
        let told = figure(&text, name, &of);
        assert!((told - value).abs() < f64::EPSILON, "{name} {of:?}: {told}\n{text}");
    }
    assert!(!text.contains(TRADER), "an account is named: {text}");
    drop(client);
}

/// Asks for figures over a connection of its own.
async fn asked(listener: &std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(listener).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn figures_are_told_on_an_address_of_their_own_and_nothing_else_is() {
    let house = House::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let serving = tokio::spawn(metrics::serve(listener, house.metrics, stop.clone()));
    // Who says nothing, or too much, keeps nobody from asking.
    let mut chatter = TcpStream::connect(address).await.unwrap();
    chatter.write_all(&[b'x'; 9_000]).await.unwrap();
    drop(TcpStream::connect(address).await.unwrap());

    let answer = asked(&address, "/metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    assert!(read(body).len() > 10);
    for path in ["/", "/metricsx", "/v1/market/symbols"] {
        assert!(asked(&address, path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    stop.cancel();
    serving.await.unwrap();
}
