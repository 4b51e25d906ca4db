//! Clients of HTTP: connections that each ask one thing after the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::row::rate;

pub const CONNECTIONS: usize = 64;

/// Asks so much on each connection, and returns how much was answered a second. `request` is given
/// its number and the answer before it on the same connection.
pub async fn requests(
    address: SocketAddr,
    each: usize,
    request: impl Fn(usize, &[u8]) -> String + Clone + Send + 'static,
) -> Result<f64> {
    let mut clients = JoinSet::new();
    let start = Instant::now();
    for client in 0..CONNECTIONS {
        let request = request.clone();
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut answer = Vec::new();
            for number in 0..each {
                let request = request(client * each + number, &answer);
                stream.write_all(request.as_bytes()).await?;
                read(&mut stream, &mut answer).await?;
                let said = || String::from_utf8_lossy(&answer).into_owned();
                ensure!(answer.starts_with(b"HTTP/1.1 20"), "{}", said());
            }
            Ok(())
        });
    }
    for client in clients.join_all().await {
        client?;
    }
    Ok(rate(CONNECTIONS * each, start.elapsed()))
}

/// Reads one answer, head and body.
async fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    answer.clear();
    loop {
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_buf(answer)).await??;
        ensure!(read > 0, "the server hung up");
        let Some(end) = answer.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("an answer of known length")?.trim().parse()?;
        if answer.len() >= end + 4 + length {
            return Ok(());
        }
    }
}
