//! Clients that hold the door open, fill it, or stuff it: they are closed or told so, and the others
//! are served meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::access::Role;
use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::settings::Settings;
use crate::tests::house::{House, TRADER};
use crate::tests::https::{PATIENCE, SecureHouse};
use crate::tls::HTTP_1_1;

/// Of each kind, at once.
const CLIENTS: usize = 40;

/// Between two bytes of those who are slow.
const DRIP: Duration = Duration::from_millis(20);

fn short() -> Settings {
    let patience = Duration::from_millis(400);
    Settings {
        head_patience: patience,
        handshake_patience: patience,
        body_patience: patience,
        write_patience: patience,
        ..Settings::default()
    }
}

/// Sends one byte after another for as long as it is let, and returns what was answered.
async fn drip<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> String {
    let mut answer = Vec::new();
    let dripping = async {
        for byte in bytes.iter().chain(std::iter::repeat(&b'x')) {
            match timeout(DRIP, stream.read_buf(&mut answer)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => continue,
                Err(_) => {}
            }
            if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, dripping).await.expect("it is closed in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends something, then waits in silence, and returns what was answered.
async fn wait<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> String {
    let mut answer = Vec::new();
    let waiting = async {
        let sent = stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok();
        while sent && matches!(stream.read_buf(&mut answer).await, Ok(1..)) {}
    };
    timeout(PATIENCE, waiting).await.expect("it is closed in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks for the same again and again and takes nothing of the answers, until it is cut off.
async fn take_nothing<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let asking = async {
        let request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
        while stream.write_all(request).await.is_ok() && stream.flush().await.is_ok() {}
    };
    timeout(PATIENCE, asking).await.expect("it is cut off in time");
}

/// Connects as a client that has little room for answers.
async fn narrow(house: &House) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(house.address).await.unwrap()
}

/// Runs clients to their end, while others ask as they should.
async fn meanwhile<F, G>(clients: F, healthy: impl Fn() -> G)
where
    F: Future,
    G: Future<Output = u16>,
{
    let ended = AtomicBool::new(false);
    let attack = async {
        clients.await;
        ended.store(true, Ordering::Relaxed);
    };
    let served = async {
        let mut answered = 0;
        while !ended.load(Ordering::Relaxed) || answered == 0 {
            assert_eq!(healthy().await, 200);
            answered += 1;
        }
    };
    tokio::join!(attack, served);
}

/// Returns the head of a request of somebody who may send a body.
fn posted(house: &House, head: &str) -> String {
    let token = house.token(TRADER, Role::Trader, None);
    format!(
        "POST /v1/portfolio/positions HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {token}\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
    )
}

#[tokio::test]
async fn silent_and_dripping_clients_are_closed_while_others_are_served() {
    let house = House::with(short()).await;
    let head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
    let again = [b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(), head].concat();
    let connect = || async { TcpStream::connect(house.address).await.unwrap() };
    let silent = (0..CLIENTS).map(|_| async { wait(connect().await, b"").await });
    let half = (0..CLIENTS).map(|_| async { wait(connect().await, head).await });
    let dripping = (0..CLIENTS).map(|_| async { drip(connect().await, head).await });
    // Used once, and then kept for nothing, or for a head that does not come.
    let idle = (0..CLIENTS)
        .map(|_| async { wait(connect().await, &again[..again.len() - head.len()]).await });
    let later = (0..CLIENTS).map(|_| async { wait(connect().await, &again).await });

    let clients = async {
        let (silent, half, dripping, idle, later) = tokio::join!(
            join_all(silent),
            join_all(half),
            join_all(dripping),
            join_all(idle),
            join_all(later)
        );
        for answer in silent.iter().chain(&half).chain(&dripping) {
            assert!(!answer.contains("200 OK"), "{answer}");
        }
        for answer in idle.iter().chain(&later) {
            assert_eq!(answer.matches("200 OK").count(), 1, "{answer}");
        }
    };
    meanwhile(clients, || async { house.get("/livez").await.status }).await;
}

#[tokio::test]
async fn half_a_handshake_and_silence_after_it_are_closed_while_others_are_served() {
    let house = SecureHouse::with(short()).await;
    // The beginning of a ClientHello of two hundred bytes.
    let hello = [22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 7, 7, 7];
    let connect = || async { TcpStream::connect(house.address).await.unwrap() };
    let silent = (0..CLIENTS).map(|_| async { wait(connect().await, b"").await });
    let half = (0..CLIENTS).map(|_| async { wait(connect().await, &hello).await });
    let dripping = (0..CLIENTS).map(|_| async { drip(connect().await, &hello).await });
    let secured = (0..CLIENTS).map(|_| async { wait(house.connect(&[HTTP_1_1]).await, b"").await });
    let head = b"GET /livez HTTP/1.1\r\nX-Slow: ";
    let slow = (0..CLIENTS).map(|_| async { drip(house.connect(&[HTTP_1_1]).await, head).await });

    let clients = async {
        let (.., secured, slow) = tokio::join!(
            join_all(silent),
            join_all(half),
            join_all(dripping),
            join_all(secured),
            join_all(slow)
        );
        for answer in secured.iter().chain(&slow) {
            assert!(!answer.contains("200 OK"), "{answer}");
        }
    };
    meanwhile(clients, || house.get("/livez")).await;
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_while_others_are_served() {
    let house = House::with(short()).await;
    let sized = posted(&house, "Content-Length: 60000");
    let chunked = posted(&house, "Transfer-Encoding: chunked") + "4000\r\n";
    let connect = || async { TcpStream::connect(house.address).await.unwrap() };
    let (sized, chunked) = (&sized, &chunked);
    let slow = |head: &String| {
        let head = head.clone();
        async move {
            let mut stream = connect().await;
            stream.write_all(head.as_bytes()).await.unwrap();
            drip(stream, b"").await
        }
    };
    let clients = async {
        let sized = join_all((0..CLIENTS).map(|_| slow(sized)));
        let chunked = join_all((0..CLIENTS).map(|_| slow(chunked)));
        let (sized, chunked) = tokio::join!(sized, chunked);
        for answer in sized.iter().chain(&chunked) {
            assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        }
    };
    meanwhile(clients, || async { house.get("/livez").await.status }).await;
}

#[tokio::test]
async fn who_takes_no_answers_is_cut_off_while_others_are_served() {
    let house = House::with(short()).await;
    let clients = join_all((0..4).map(|_| async { take_nothing(narrow(&house).await).await }));
    meanwhile(clients, || async { house.get("/livez").await.status }).await;

    let house = SecureHouse::with(short()).await;
    let clients =
        join_all((0..4).map(|_| async { take_nothing(house.connect(&[HTTP_1_1]).await).await }));
    meanwhile(clients, || house.get("/livez")).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_next_request_answered() {
    let house = House::open().await;
    let fields = "X-A: b\r\n".repeat(1_000);
    let long = "x".repeat(64 * 1024);
    let body = posted(&house, &format!("Content-Length: {}", 1_u64 << 40)) + &long + "x";
    let deep = "[".repeat(60_000);
    let deep =
        posted(&house, &format!("Content-Length: {}\r\nConnection: close", deep.len())) + &deep;
    let bomb = posted(&house, "Content-Encoding: gzip\r\nContent-Length: 60000");
    for (name, request, statuses) in [
        ("fields", format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"), vec!["431"]),
        ("field", format!("GET /livez HTTP/1.1\r\nX: {long}{long}\r\n\r\n"), vec!["431"]),
        ("path", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), vec!["414", "431"]),
        ("query", format!("GET /livez?{long} HTTP/1.1\r\nHost: a\r\n\r\n"), vec!["414", "431"]),
        ("body", body, vec!["413"]),
        ("depth", deep, vec!["400"]),
        ("bomb", bomb, vec!["415"]),
    ] {
        let stream = TcpStream::connect(house.address).await.unwrap();
        let answer = wait(stream, request.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(statuses.contains(&status), "{name}: {answer}");
        assert_eq!(house.get("/livez").await.status, 200);
    }
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let house = House::open().await;
    let stream = TcpStream::connect(house.address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let head = posted(&house, "Transfer-Encoding: chunked");
    let endless = async move {
        let chunk = [b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat();
        let mut sent = write.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            sent = write.write_all(&chunk).await;
        }
    };
    let answered = async {
        let mut answer = Vec::new();
        while matches!(read.read_buf(&mut answer).await, Ok(1..)) {}
        String::from_utf8_lossy(&answer).into_owned()
    };
    let both = async { tokio::join!(endless, answered).1 };
    let answer = timeout(PATIENCE, both).await.expect("it is closed in time");

    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(house.get("/livez").await.status, 200);
}
