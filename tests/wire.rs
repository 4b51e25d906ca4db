//! A bad wire in front of the house: it loses requests and answers, and sends requests twice.
//!
//! It speaks just enough HTTP to know where a request ends: each connection carries one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Of so many requests, one meets each misfortune.
const ONE_IN: u64 = 12;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Whole,
    /// The house never hears of it.
    RequestLost,
    /// The house does it, and the client never hears of it.
    AnswerLost,
    /// The house is asked twice at once; the client hears one of the two answers.
    Doubled,
}

/// A wire. Dropping it cuts it.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    /// Where the house listens now.
    behind: Arc<Mutex<String>>,
    met: Arc<[AtomicU64; 3]>,
    task: AbortHandle,
}

impl Wire {
    /// Lays a wire to the house at `behind`; `seed` decides what happens on it.
    pub(crate) async fn lay(behind: &str, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let behind = Arc::new(Mutex::new(behind.to_owned()));
        let met: Arc<[AtomicU64; 3]> = Arc::default();
        let (house, misfortunes) = (Arc::clone(&behind), Arc::clone(&met));
        let task = tokio::spawn(async move {
            let mut drawn = seed;
            while let Ok((client, _)) = listener.accept().await {
                drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let fate = match (drawn >> 33) % ONE_IN {
                    0 => Fate::RequestLost,
                    1 => Fate::AnswerLost,
                    2 => Fate::Doubled,
                    _ => Fate::Whole,
                };
                if let Some(count) = misfortunes.get((fate as usize).wrapping_sub(1)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                let house = house.lock().expect("nobody panics with it").clone();
                tokio::spawn(carry(client, house, fate));
            }
        });
        Self { address, behind, met, task: task.abort_handle() }
    }

    /// Leads to another house from now on.
    pub(crate) fn lead_to(&self, behind: &str) {
        behind.clone_into(&mut self.behind.lock().expect("nobody panics with it"));
    }

    /// Returns how many requests were lost, how many answers, and how many requests came twice.
    pub(crate) fn met(&self) -> [u64; 3] {
        [0, 1, 2].map(|place: usize| self.met[place].load(Ordering::Relaxed))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries one request and its answer. `None` is a connection that broke: the client sees it too.
async fn carry(mut client: TcpStream, house: String, fate: Fate) -> Option<()> {
    let request = request(&mut client).await?;
    let answer = match fate {
        Fate::RequestLost => return None,
        Fate::AnswerLost => {
            answer(&house, &request).await;
            return None;
        }
        Fate::Doubled => {
            let (first, second) = tokio::join!(answer(&house, &request), answer(&house, &request));
            first.or(second)?
        }
        Fate::Whole => answer(&house, &request).await?,
    };
    client.write_all(&answer).await.ok()?;
    client.shutdown().await.ok()
}

/// Reads one request, head and body.
async fn request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        if let Some(end) = request.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let body: usize = length.map_or(Some(0), |length| length.trim().parse().ok())?;
            if request.len() >= end + 4 + body {
                return Some(request);
            }
        }
        let mut part = [0; 4_096];
        match client.read(&mut part).await {
            Ok(count @ 1..) => request.extend_from_slice(&part[..count]),
            Ok(0) | Err(_) => return None,
        }
    }
}

/// Asks the house; an answer is whole when the house hangs up.
async fn answer(house: &str, request: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(house).await.ok()?;
    stream.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    (!answer.is_empty()).then_some(answer)
}
