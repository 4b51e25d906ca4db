//! Those who come to do harm: connections that say nothing or too little, requests that are too much.
//! The house gets rid of them in time and goes on serving everybody else.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::house::{House, folder};

/// Connections of each bad kind.
const BAD: usize = 200;

/// A bad connection is closed after this, and a moment that a busy machine takes.
const CLOSED_MAX: Duration = Duration::from_secs(10);

/// A healthy request takes at most so many times as long as on a quiet house: twice, with three-fold
/// slack for a machine that is busy with other things.
const SLOWER_MAX: f64 = 2.0 * 3.0;

/// Memory that may be more afterwards, in KiB.
const MORE_MAX: i64 = 16 * 1024;

/// What a bad connection says: at first, and then again and again.
#[derive(Debug, Clone, Copy)]
enum Bad {
    Silent,
    /// A header that never ends.
    Dripping,
    /// The first bytes of a TLS handshake.
    HalfTls,
}

/// Opens a bad connection, and returns how long it lasted.
async fn bad(host: String, kind: Bad) -> Duration {
    let began = Instant::now();
    let mut stream = TcpStream::connect(host).await.expect("the house listens");
    let first: &[u8] = match kind {
        Bad::Silent => b"",
        Bad::Dripping => b"GET /livez HTTP/1.1\r\nHost: house\r\nX-Drip: ",
        // A handshake record that says it has 512 bytes, and begins.
        Bad::HalfTls => &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
    };
    drop(stream.write_all(first).await);
    let mut answer = [0; 1_024];
    loop {
        match timeout(Duration::from_millis(500), stream.read(&mut answer)).await {
            Ok(Ok(0) | Err(_)) => return began.elapsed(),
            Err(_) if matches!(kind, Bad::Dripping) => drop(stream.write_all(b"a").await),
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}

/// Returns how long the median of some healthy requests takes, in seconds.
async fn healthy(house: &House) -> f64 {
    let mut took = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        assert_eq!(house.get("/v1/market/price/BTC-USDT").await.status, 200);
        took.push(began.elapsed().as_secs_f64());
        sleep(Duration::from_millis(5)).await;
    }
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_hundred_who_say_too_little_are_gone_in_time_and_slow_nobody() {
    for (words, kinds) in [
        (vec!["serve"], vec![Bad::Silent, Bad::Dripping]),
        (vec!["serve", "--tls-self-signed"], vec![Bad::Silent, Bad::HalfTls]),
    ] {
        let folder = folder();
        let house = House::start(&folder, words.clone()).await;
        house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
        let quiet = healthy(&house).await;

        let mut connections = JoinSet::new();
        for kind in kinds {
            for _ in 0..BAD {
                connections.spawn(bad(house.host.clone(), kind));
            }
        }
        let meanwhile = healthy(&house).await;
        let mut longest = Duration::ZERO;
        while let Some(lasted) = connections.join_next().await {
            longest = longest.max(lasted.expect("a bad connection ends"));
        }

        eprintln!("{words:?}: gone after {longest:?}; {:.2} times as slow", meanwhile / quiet);
        assert!(longest < CLOSED_MAX + Duration::from_secs(2), "{words:?}: {longest:?}");
        assert!(meanwhile / quiet < SLOWER_MAX, "{words:?}: {quiet} s and then {meanwhile} s");
    }
}

/// Returns the memory that a house holds, in KiB.
fn memory(house: &House) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Sends some bytes, and then part after part for as long as they are taken; returns the status of
/// the answer, 0 where there was none.
async fn send(host: &str, head: &[u8], part: &[u8], parts: usize) -> u16 {
    let mut stream = TcpStream::connect(host).await.expect("the house listens");
    drop(stream.write_all(head).await);
    let (mut read, mut write) = stream.into_split();
    let over = Arc::new(AtomicBool::new(false));
    let (part, done) = (part.to_owned(), Arc::clone(&over));
    let sending = tokio::spawn(async move {
        for _ in 0..parts {
            if done.load(Ordering::Relaxed) || write.write_all(&part).await.is_err() {
                break;
            }
        }
        // Kept open: the answer may not be read yet.
        write
    });
    let mut answer = Vec::new();
    let reading = async {
        while let Ok(1..) = read.read_buf(&mut answer).await {
            if answer.windows(2).any(|end| end == b"\r\n") {
                break;
            }
        }
    };
    timeout(Duration::from_secs(20), reading).await.expect("an answer, or an end");
    over.store(true, Ordering::Relaxed);
    drop(sending.await);
    let line = String::from_utf8_lossy(&answer);
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_and_leaves_nothing_behind() {
    let folder = folder();
    let house = House::start(&folder, ["serve"]).await;
    house.until("/v1/market/price/BTC-USDT", |answer| answer.status == 200).await;
    let token = house.token("demo", "trader").await;
    let post = |more: &str| {
        format!(
            "POST /v1/portfolio/positions HTTP/1.1\r\nHost: house\r\nContent-Type: application/json\r\n\
             Authorization: Bearer {token}\r\n{more}"
        )
        .into_bytes()
    };
    // What is there after the first of each kind is what it takes, not what it leaves.
    let mut before = None;
    for round in 0..2 {
        for (name, head, part, parts, expected) in bad_requests(&post) {
            let status = send(&house.host, &head, &part, parts).await;
            assert!(expected.contains(&status), "{name}: {status}");
        }
        bad_frames(&house).await;
        if round == 0 {
            before = Some(memory(&house));
        }
    }
    let more = memory(&house) - before.expect("a first round");
    eprintln!("{more} KiB more");
    assert!(more <= MORE_MAX, "{more} KiB more");
    // The views and logs of the market grow meanwhile; nothing else has changed.
    assert_eq!(house.get("/v1/market/price/BTC-USDT").await.status, 200);
    house.stop().await;
}

type BadRequest = (&'static str, Vec<u8>, Vec<u8>, usize, &'static [u16]);

fn bad_requests(post: &dyn Fn(&str) -> Vec<u8>) -> Vec<BadRequest> {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..256 {
        bomb.write_all(&vec![b' '; 1024 * 1024]).expect("memory takes all");
    }
    let bomb = bomb.finish().expect("memory takes all");
    let with_body = |more: &str, body: &[u8]| {
        let mut request = post(&format!("{more}Content-Length: {}\r\n\r\n", body.len()));
        request.extend_from_slice(body);
        request
    };
    let deep = [vec![b'['; 30_000], vec![b']'; 30_000]].concat();
    let headers: Vec<String> = (0..1_000).map(|number| format!("X-H{number}: a\r\n")).collect();
    let headers = headers.concat();
    let long =
        format!("GET /v1/market/price/{} HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(64 * 1024));
    let chunk =
        [format!("{:x}\r\n", 64 * 1024).into_bytes(), vec![b' '; 64 * 1024], b"\r\n".into()];
    vec![
        (
            "a gzip bomb",
            with_body("Content-Encoding: gzip\r\n", &bomb[..60_000.min(bomb.len())]),
            vec![],
            0,
            &[415],
        ),
        ("deep JSON", with_body("", &deep), vec![], 0, &[400]),
        (
            "a body too large",
            post("Content-Length: 1000000000\r\n\r\n"),
            vec![b' '; 64 * 1024],
            16_000,
            &[413],
        ),
        (
            "a body without end",
            post("Transfer-Encoding: chunked\r\n\r\n"),
            chunk.concat(),
            16_000,
            &[413],
        ),
        ("a long address", long.into_bytes(), vec![], 0, &[414, 431]),
        ("a thousand headers", post(&format!("{headers}\r\n")), vec![], 0, &[431]),
        (
            "two lengths",
            post("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
            vec![],
            0,
            &[400],
        ),
        ("no HTTP", b"\x00\x01\x02\x03\r\n\r\n".to_vec(), vec![], 0, &[0, 400]),
    ]
}

/// Frames that no client of ours sends: each ends its connection with the right code.
async fn bad_frames(house: &House) {
    let huge = "a".repeat(32 * 1024);
    for (message, code) in
        [(Message::Text(huge.into()), 1_009), (Message::Binary(Bytes::from_static(b"abc")), 1_003)]
    {
        let stream = TcpStream::connect(&house.host).await.expect("the house listens");
        let url = format!("ws://{}/ws/market", house.host);
        let (mut socket, _) = client_async(url, stream).await.expect("a handshake");
        drop(socket.send(message).await);
        assert_eq!(closed(&mut socket).await, Some(code));
    }
    // Bytes that are no text: made by hand, since no library sends them.
    let stream = TcpStream::connect(&house.host).await.expect("the house listens");
    let url = format!("ws://{}/ws/market", house.host);
    let (mut socket, _) = client_async(url, stream).await.expect("a handshake");
    let frame = [0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe];
    socket.get_mut().write_all(&frame).await.expect("a connection");
    assert_eq!(closed(&mut socket).await, Some(1_007));
}

async fn closed(socket: &mut tokio_tungstenite::WebSocketStream<TcpStream>) -> Option<u16> {
    loop {
        let message =
            timeout(Duration::from_secs(20), socket.next()).await.expect("an end in time");
        match message? {
            Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
            Ok(Message::Text(text)) => assert!(serde_json::from_str::<Value>(&text).is_ok()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}
