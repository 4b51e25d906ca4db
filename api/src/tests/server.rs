//! Connections: who is closed, and how the server stops.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::settings::Settings;
use crate::tests::house::House;

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
