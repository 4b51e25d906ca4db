//! HTTP/2, spoken by hand: what is answered, and who is closed.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::settings::Settings;
use crate::tests::https::{PATIENCE, SecureHouse};
use crate::tls::H2;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Http2(TlsStream<TcpStream>);

impl Http2 {
    /// Connects as a client that takes so many bytes of an answer before it says that it takes more.
    async fn connect(house: &SecureHouse, window: u32) -> Self {
        let mut client = Self(house.connect(&[H2]).await);
        client.0.write_all(PREFACE).await.unwrap();
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        client.send(SETTINGS, 0, 0, &settings).await;
        client
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// Asks for a path, with more fields if there are any: plain names and values.
    async fn ask(&mut self, stream: u32, path: &str, fields: &[(&str, &str)]) {
        let text = |text: &str| {
            let mut bytes = vec![u8::try_from(text.len()).unwrap()];
            bytes.extend(text.as_bytes());
            bytes
        };
        let mut head = vec![0x82, 0x87, 0x01]; // GET, https, and the authority
        head.extend(text("localhost"));
        head.push(0x04);
        head.extend(text(path));
        for (name, value) in fields {
            head.push(0x00);
            head.extend([text(name), text(value)].concat());
        }
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &head).await;
    }

    /// Returns the next frame; `None` when the connection has ended.
    async fn frame(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        timeout(PATIENCE, read).await.expect("a frame in time, or the end")
    }

    /// Returns the next frame that concerns a request, or says goodbye.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]).await,
                PING if frame.flags & ACK == 0 => self.send(PING, ACK, 0, &frame.payload).await,
                SETTINGS | PING | WINDOW_UPDATE => {}
                _ => return Some(frame),
            }
        }
    }

    /// Returns the status and the body of an answer.
    async fn answer(&mut self, stream: u32) -> (u16, String) {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let frame = self.next().await.unwrap();
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                HEADERS => status = self::status(&frame.payload),
                DATA => body.extend(&frame.payload),
                other => panic!("{other}"),
            }
            if frame.flags & END_STREAM != 0 {
                return (status, String::from_utf8(body).unwrap());
            }
        }
    }
}

/// Returns the status that begins a head: one of the table, or three digits.
fn status(head: &[u8]) -> u16 {
    const TABLE: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match head[0] {
        indexed @ 0x88..=0x8e => TABLE[usize::from(indexed - 0x88)],
        // Literal, in Huffman's code: digits have five or six bits of it.
        _ => 0,
    }
}

#[tokio::test]
async fn requests_share_a_connection() {
    let house = SecureHouse::open().await;
    let mut client = Http2::connect(&house, 65_535).await;

    client.ask(1, "/livez", &[]).await;
    let (status, body) = client.answer(1).await;
    assert_eq!((status, body.as_str()), (200, r#"{"status":"alive"}"#));
    client.ask(3, "/nowhere", &[]).await;
    assert_eq!(client.answer(3).await.0, 404);
}

#[tokio::test]
async fn an_answer_that_is_larger_than_a_window_comes_whole() {
    let house = SecureHouse::open().await;
    let mut client = Http2::connect(&house, 1_000_000).await;
    // What all streams may have together, besides 65,535 bytes.
    client.send(WINDOW_UPDATE, 0, 0, &10_000_000_u32.to_be_bytes()).await;

    client.ask(1, "/openapi.json", &[]).await;
    let (status, body) = client.answer(1).await;
    assert!(body.len() > 65_535, "{} bytes show nothing", body.len());
    assert_eq!((status, &body[body.len() - 1..]), (200, "}"));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_the_next_one_answered() {
    let house = SecureHouse::open().await;
    let mut client = Http2::connect(&house, 65_535).await;
    let value = "x".repeat(100);
    let fields = vec![("x-a", value.as_str()); 150];

    client.ask(1, "/livez", &fields).await;
    let refused = client.next().await.unwrap();
    assert_eq!(refused.stream, 1);
    assert!(matches!(refused.kind, HEADERS | RESET), "{refused:?}");
    assert_ne!(refused.payload[0], 0x88, "it is not 200");
    client.ask(3, "/livez", &[]).await;
    assert_eq!(client.answer(3).await.0, 200);
}

/// Returns the last word of the server, after which the connection has ended.
async fn farewell(client: &mut Http2) -> Option<Frame> {
    let mut last = None;
    while let Some(frame) = client.next().await {
        last = Some(frame);
    }
    last
}

fn short() -> Settings {
    let patience = Duration::from_millis(300);
    Settings {
        head_patience: patience,
        write_patience: patience,
        stop_patience: patience,
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_told_to_go() {
    let house = SecureHouse::with(short()).await;
    let mut client = Http2::connect(&house, 65_535).await;
    let silent = farewell(&mut client).await.unwrap();
    assert_eq!((silent.kind, silent.payload.get(4..8)), (GOAWAY, Some([0; 4].as_slice())));

    let mut client = Http2::connect(&house, 65_535).await;
    client.ask(1, "/livez", &[]).await;
    assert_eq!(client.answer(1).await.0, 200);
    assert_eq!(farewell(&mut client).await.unwrap().kind, GOAWAY);
}

#[tokio::test]
async fn a_connection_that_does_not_get_its_preface_or_its_head_out_is_closed() {
    let house = SecureHouse::with(short()).await;
    for preface in [&PREFACE[..0], &PREFACE[..10], PREFACE] {
        let mut client = Http2(house.connect(&[H2]).await);
        client.0.write_all(preface).await.unwrap();
        // Whatever it says: it ends.
        while client.frame().await.is_some() {}
    }
    let mut client = Http2::connect(&house, 65_535).await;
    // A head that goes on, and never does.
    client.send(HEADERS, END_STREAM, 1, &[0x82, 0x87]).await;
    while client.frame().await.is_some() {}
}

#[tokio::test]
async fn an_answer_that_is_not_taken_ends_the_connection() {
    let house = SecureHouse::with(short()).await;
    for window in [0, 1_000] {
        let mut client = Http2::connect(&house, window).await;
        client.ask(1, "/openapi.json", &[]).await;
        let mut taken = 0;
        // Pings are answered, so it is not gone: but it does not take more.
        while let Some(frame) = client.next().await {
            taken += if frame.kind == DATA { frame.payload.len() } else { 0 };
        }
        assert_eq!(taken, usize::try_from(window).unwrap());
    }
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_says_so() {
    let house = SecureHouse::open().await;
    let mut client = Http2::connect(&house, 65_535).await;
    client.ask(1, "/livez", &[]).await;
    assert_eq!(client.answer(1).await.0, 200);

    house.stop.cancel();
    assert_eq!(farewell(&mut client).await.unwrap().kind, GOAWAY);
    house.serving.await.unwrap().unwrap();
}
