//! TLS: what is spoken behind it, what is not let in, and how its certificate changes.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::tests::certificates::Issued;
use crate::tests::https::{PATIENCE, SecureHouse, get};
use crate::tls::{H2, HTTP_1_1, configured};

#[tokio::test]
async fn what_is_asked_over_tls_is_answered() {
    let house = SecureHouse::open().await;

    assert_eq!(house.get("/livez").await, 200);
    assert_eq!(house.get("/nowhere").await, 404);
}

#[tokio::test]
async fn a_websocket_may_be_secure() {
    let house = SecureHouse::open().await;
    let stream = house.connect(&[HTTP_1_1]).await;
    let url = format!("wss://{}/ws/market?v=1", house.address);
    let (mut socket, answer) = client_async(url, stream).await.unwrap();
    assert_eq!(answer.status(), 101);

    socket.send(Message::text(r#"{"action":"ping","id":7}"#)).await.unwrap();
    let pong = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert!(pong.to_text().unwrap().contains(r#""type":"pong""#), "{pong}");

    house.stop.cancel();
    let closed = loop {
        let message = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        if let Message::Close(frame) = message {
            break frame.unwrap();
        }
    };
    assert_eq!(u16::from(closed.code), 1001);
    drop(socket);
    house.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_client_chooses_what_is_spoken() {
    let house = SecureHouse::open().await;
    for (offered, chosen) in [
        (vec![H2, HTTP_1_1], Some(H2)),
        (vec![HTTP_1_1], Some(HTTP_1_1)),
        (vec![HTTP_1_1, b"spdy/1"], Some(HTTP_1_1)),
        (vec![], None),
    ] {
        let stream = house.connect(&offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{offered:?}");
    }
    assert!(house.try_connect(&house.issued, &[b"spdy/1"]).await.is_err());
    // Who does not say speaks the older one.
    assert_eq!(get(&mut house.connect(&[]).await, "/livez", "close").await, 200);
}

/// A `ClientHello` that offers nothing newer than a version.
fn client_hello(version: [u8; 2]) -> Vec<u8> {
    let mut hello = version.to_vec();
    hello.extend([7; 32]); // random
    hello.push(0); // no session
    hello.extend([0, 4, 0xc0, 0x13, 0xc0, 0x14]); // ECDHE with AES, as TLS 1.0 and 1.1 knew it
    hello.extend([1, 0]); // no compression
    let mut handshake = vec![1, 0, 0, u8::try_from(hello.len()).unwrap()];
    handshake.extend(hello);
    let mut record = vec![22, 3, 1, 0, u8::try_from(handshake.len()).unwrap()];
    record.extend(handshake);
    record
}

#[tokio::test]
async fn what_is_older_than_tls_1_2_is_refused() {
    let house = SecureHouse::open().await;
    for version in [[3, 0], [3, 1], [3, 2]] {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(&client_hello(version)).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();

        // One alert, fatal: the version, or what only newer ones say.
        assert_eq!((answer[0], answer[5], answer.len()), (21, 2, 7), "{version:?}");
        assert!([40, 70].contains(&answer[6]), "{version:?}: {}", answer[6]);
    }
}

#[tokio::test]
async fn who_does_not_speak_tls_is_not_answered() {
    let house = SecureHouse::open().await;
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();

    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"));
    assert_eq!(house.get("/livez").await, 200);
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_the_old_ones_live_on() {
    let house = SecureHouse::open().await;
    let mut old = house.connect(&[HTTP_1_1]).await;
    assert_eq!(get(&mut old, "/livez", "keep-alive").await, 200);

    let new = Issued::new();
    house.tls.replace(configured(new.chain.as_bytes(), new.key.as_bytes()).unwrap());

    assert!(house.try_connect(&house.issued, &[]).await.is_err(), "it is another one now");
    let mut stream = house.try_connect(&new, &[]).await.unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap(), [new.der()]);
    assert_eq!(get(&mut stream, "/livez", "close").await, 200);
    assert_eq!(get(&mut old, "/livez", "close").await, 200);
}

#[tokio::test]
async fn nobody_fails_while_certificates_change() {
    let house = SecureHouse::open().await;
    // Two certificates of one key: who trusts either gets in at any moment.
    let issued: Vec<Issued> = (0..4).map(|_| Issued::new()).collect();
    let reload = async {
        for round in 0..40 {
            let next = &issued[round % issued.len()];
            house.tls.replace(configured(next.chain.as_bytes(), next.key.as_bytes()).unwrap());
            // What cannot be used never gets as far as `replace`.
            assert!(configured(next.chain.as_bytes(), house.issued.key.as_bytes()).is_err());
            let mut stream = house.try_connect(next, &[HTTP_1_1]).await.unwrap();
            assert_eq!(get(&mut stream, "/livez", "close").await, 200);
        }
    };
    // It trusts the certificate that goes away.
    let mut stream = house.connect(&[HTTP_1_1]).await;
    let load = async {
        for _ in 0..200 {
            assert_eq!(get(&mut stream, "/livez", "keep-alive").await, 200);
        }
    };
    tokio::join!(load, reload);
}
