//! Clients over raw sockets: they subscribe, and then count what comes, or take its time.
//!
//! All of them share one thread, so that the server has the other core to itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::message;
use super::server::Server;

/// Clients that subscribe at once.
const JOINING: usize = 50;

/// A server that takes longer for one step does not do it any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that a client reads at once.
const READ_BYTES: usize = 16 * 1024;

/// Bytes that the kernel keeps for a client that does not read.
const SMALL_BYTES: u32 = 4 * 1024;

/// What is published, and when it was.
pub struct Script {
    frames: Vec<Vec<u8>>,
    began: Instant,
    published: Vec<AtomicU64>,
}

/// Clients that count messages.
pub struct Counting {
    counts: Vec<Arc<AtomicU64>>,
    _tasks: JoinSet<Result<()>>,
}

/// Clients that take the time of each message.
pub struct Timing(JoinSet<Result<Vec<f64>>>);

/// Connects and subscribes; returns when the server has said that it is so.
pub async fn join(server: &Server, clients: usize) -> Result<Vec<TcpStream>> {
    let mut joined = Vec::with_capacity(clients);
    while joined.len() < clients {
        let some = JOINING.min(clients - joined.len());
        let joining = (0..some).map(|_| join_one(server, None));
        let streams = timeout(PATIENCE, futures_util::future::try_join_all(joining)).await;
        joined.extend(streams.context("the clients could not subscribe in time")??);
    }
    Ok(joined)
}

/// Returns a client for whom the kernel keeps little.
pub async fn join_small(server: &Server) -> Result<TcpStream> {
    let joined = timeout(PATIENCE, join_one(server, Some(SMALL_BYTES))).await;
    joined.context("the client could not subscribe in time")?
}

async fn join_one(server: &Server, receive_bytes: Option<u32>) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let mut stream = socket.connect(server.address).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.greeting.path, server.address
    );
    stream.write_all(head.as_bytes()).await?;
    read_until(&mut stream, "\r\n\r\n").await?;
    stream.write_all(&server.greeting.hello).await?;
    read_until(&mut stream, server.greeting.welcome).await?;
    Ok(stream)
}

async fn read_until(stream: &mut TcpStream, words: &str) -> Result<()> {
    let mut read = Vec::new();
    while !read.windows(words.len()).any(|window| window == words.as_bytes()) {
        let count = stream.read_buf(&mut read).await?;
        ensure!(count > 0, "the server hung up: {}", String::from_utf8_lossy(&read));
    }
    Ok(())
}

impl Counting {
    pub fn start(streams: Vec<TcpStream>) -> Self {
        let counts: Vec<_> = streams.iter().map(|_| Arc::new(AtomicU64::new(0))).collect();
        let mut tasks = JoinSet::new();
        for (stream, messages) in streams.into_iter().zip(counts.clone()) {
            tasks.spawn(count(stream, messages));
        }
        Self { counts, _tasks: tasks }
    }

    /// Waits until each client has had so many messages, and not one more.
    pub async fn wait_for(&self, messages: u64) -> Result<()> {
        let counts = || self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let until = Instant::now() + PATIENCE;
        while counts().any(|count| count < messages) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let odd = counts().filter(|count| *count != messages).count();
        let total: u64 = counts().sum();
        ensure!(odd == 0, "{odd} clients had not {messages} messages each: {total} in all");
        Ok(())
    }
}

async fn count(mut stream: TcpStream, messages: Arc<AtomicU64>) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "the server hung up");
        // Each message has one of these, whatever it is wrapped in.
        let begun = buffer[..count].iter().filter(|byte| **byte == b'{').count();
        messages.fetch_add(begun as u64, Ordering::Relaxed);
    }
}

impl Script {
    pub fn new(messages: u64) -> Self {
        let frames = (0..messages).map(|id| message::framed(&message::text(id))).collect();
        let published = (0..messages).map(|_| AtomicU64::new(0)).collect();
        Self { frames, began: Instant::now(), published }
    }

    /// A message is about to be published.
    pub fn publishes(&self, id: u64) {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).expect("a short run");
        self.published[usize::try_from(id).expect("a small id")].store(nanos, Ordering::Relaxed);
    }

    /// Returns the microseconds since a message was published.
    fn micros(&self, place: usize, now: Instant) -> f64 {
        let published = Duration::from_nanos(self.published[place].load(Ordering::Relaxed));
        (now - self.began).saturating_sub(published).as_secs_f64() * 1e6
    }
}

impl Timing {
    pub fn start(streams: Vec<TcpStream>, script: &Arc<Script>) -> Self {
        Self(streams.into_iter().map(|stream| time(stream, Arc::clone(script))).collect())
    }

    /// Returns the microseconds that each message from number `first` on took to each client, in
    /// rising order. Every client must have had every message.
    pub async fn finish(self, first: usize) -> Result<Vec<f64>> {
        let all = timeout(PATIENCE, self.0.join_all()).await.context("messages are missing")?;
        let mut micros = Vec::new();
        for one in all {
            micros.extend_from_slice(&one?[first..]);
        }
        micros.sort_by(f64::total_cmp);
        Ok(micros)
    }
}

async fn time(mut stream: TcpStream, script: Arc<Script>) -> Result<Vec<f64>> {
    let mut micros = Vec::with_capacity(script.frames.len());
    let mut held = Vec::with_capacity(READ_BYTES);
    while micros.len() < script.frames.len() {
        ensure!(stream.read_buf(&mut held).await? > 0, "the server hung up");
        let (now, mut taken) = (Instant::now(), 0);
        while let Some(frame) = script.frames.get(micros.len()) {
            let Some(read) = held.get(taken..taken + frame.len()) else { break };
            ensure!(read == frame, "not message {}: {}", micros.len(), read.escape_ascii());
            micros.push(script.micros(micros.len(), now));
            taken += frame.len();
        }
        held.drain(..taken);
    }
    Ok(micros)
}
