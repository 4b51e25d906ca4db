//! Connections: who is closed, and how the server stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rules::Rules;
use crate::settings::Settings;
use crate::tests::house::House;
use crate::tests::https::{self, SecureHouse};
use crate::tls::{H2, HTTP_1_1};

#[tokio::test]
async fn a_connection_that_does_not_get_its_head_out_is_closed() {
    let settings = Settings { head_patience: Duration::from_millis(50), ..Settings::default() };
    let house = House::with(settings).await;
    for start in ["", "GET /livez HTTP/1.1\r\nHost: te"] {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();

        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    }
    assert_eq!(house.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_head_with_too_many_fields_is_refused() {
    let house = House::open().await;
    let headers = vec![("X-A", "b"); 70];

    assert_eq!(house.ask("GET", "/livez", &headers).await.status, 431);
}

#[tokio::test]
async fn an_address_has_only_so_many_connections() {
    let settings = Settings { connections_ip_max: 1, ..Settings::default() };
    let house = House::with(settings).await;
    let mut first = TcpStream::connect(house.address).await.unwrap();
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert!(first.read(&mut [0; 4096]).await.unwrap() > 0);

    let mut second = TcpStream::connect(house.address).await.unwrap();
    assert_eq!(second.read(&mut [0; 1]).await.unwrap_or_default(), 0);
}

#[tokio::test]
async fn a_trusted_proxy_connects_for_many() {
    let settings = Settings { connections_ip_max: 1, ..Settings::default() };
    let house = House::with(settings).await;
    house.ruled(|rules| rules.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let _kept = [connected(&house).await, connected(&house).await];

    assert_eq!(house.get("/livez").await.status, 200);
}

/// Returns a connection that has been accepted: it was answered once.
async fn connected(house: &House) -> TcpStream {
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    stream
}

#[tokio::test]
async fn an_address_may_not_shake_hands_without_end() {
    let house = SecureHouse::open().await;
    let rules = Rules { requests_ip_max: 3, ..Rules::default() };
    house.gate.rules.store(Arc::new(rules));
    for _ in 0..3 {
        drop(house.connect(&[HTTP_1_1]).await);
    }

    assert!(house.try_connect(&house.issued, &[HTTP_1_1]).await.is_err());
}

#[tokio::test]
async fn who_is_denied_is_told_so_once() {
    let house = House::open().await;
    house.ruled(|rules| rules.deny = vec!["127.0.0.1".parse().unwrap()]);
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let twice = b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n".repeat(2);
    stream.write_all(&twice).await.unwrap();
    let mut answer = Vec::new();
    // What comes after the answer may be lost with the connection.
    while matches!(stream.read_buf(&mut answer).await, Ok(1..)) {}

    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn who_is_denied_behind_tls_is_told_so_in_the_older_protocol() {
    let house = SecureHouse::open().await;
    let rules = Rules { deny: vec!["127.0.0.1".parse().unwrap()], ..Rules::default() };
    house.gate.rules.store(Arc::new(rules));
    let mut stream = house.connect(&[H2, HTTP_1_1]).await;

    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(HTTP_1_1));
    assert_eq!(https::get(&mut stream, "/livez", "keep-alive").await, 403);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or_default(), 0);
}

#[tokio::test]
async fn a_server_at_its_limit_lets_callers_wait() {
    let settings = Settings { connections_max: 1, ..Settings::default() };
    let house = House::with(settings).await;
    let mut first = TcpStream::connect(house.address).await.unwrap();
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert!(first.read(&mut [0; 4096]).await.unwrap() > 0);

    let mut second = TcpStream::connect(house.address).await.unwrap();
    second.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    drop(first);
    assert!(second.read(&mut [0; 4096]).await.unwrap() > 0);
}

#[tokio::test]
async fn a_stopped_server_ends_its_idle_connections_and_then_itself() {
    let house = House::open().await;
    let mut idle = TcpStream::connect(house.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert!(idle.read(&mut [0; 4096]).await.unwrap() > 0);

    house.stop.cancel();
    house.serving.await.unwrap().unwrap();
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or_default(), 0);
    assert!(TcpStream::connect(house.address).await.is_err());
}

#[tokio::test]
async fn a_request_in_flight_is_still_answered() {
    let house = House::open().await;
    let mut client = TcpStream::connect(house.address).await.unwrap();
    let head =
        "GET /livez HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    // The server has the head and now waits for the body.
    assert!(client.read(&mut [0; 4096]).await.unwrap() > 0);

    house.stop.cancel();
    client.write_all(b"12345").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("200 OK"), "{answer}");
    house.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_off() {
    let settings = Settings { stop_patience: Duration::from_millis(50), ..Settings::default() };
    let house = House::with(settings).await;
    let mut stuck = TcpStream::connect(house.address).await.unwrap();
    let head =
        "GET /livez HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    stuck.write_all(head.as_bytes()).await.unwrap();
    // The server has the head and now waits for a body that never comes.
    assert!(stuck.read(&mut [0; 4096]).await.unwrap() > 0);

    house.stop.cancel();
    house.serving.await.unwrap().unwrap();
}
