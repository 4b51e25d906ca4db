//! A client of the house's WebSocket, and the book that it keeps from what it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rust_decimal::Decimal;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A house that says nothing for so long is broken: it sends a heartbeat every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(40);

pub(crate) struct Listener {
    socket: WebSocketStream<TcpStream>,
}

impl Listener {
    /// Connects in the extended mode.
    pub(crate) async fn connect(host: &str) -> Self {
        Self::over(TcpStream::connect(host).await.expect("the house listens"), host).await
    }

    /// The same, with hardly any room for what was not read yet: who does not read makes the house
    /// wait at once.
    pub(crate) async fn connect_narrow(host: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
        let address = host.parse().expect("an address");
        Self::over(socket.connect(address).await.expect("the house listens"), host).await
    }

    async fn over(stream: TcpStream, host: &str) -> Self {
        let url = format!("ws://{host}/ws/market");
        let mut request = url.into_client_request().expect("an address");
        let protocol = "entasis.v1".parse().expect("a header's value");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _) =
            tokio_tungstenite::client_async(request, stream).await.expect("a handshake");
        Self { socket }
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("the house hears");
    }

    /// Returns the next message that is no heartbeat; `None` when the house has hung up.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let next = timeout(SILENCE_MAX, self.socket.next()).await.expect("a word of the house");
            match next? {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if message["type"] != "heartbeat" {
                        return Some(message);
                    }
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// Both sides of a book, by price.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ToldBook {
    bids: BTreeMap<Decimal, Decimal>,
    asks: BTreeMap<Decimal, Decimal>,
    seq: Option<u64>,
}

impl ToldBook {
    /// Takes in a snapshot or a delta; a delta must go on where the book stands.
    pub(crate) fn take(&mut self, message: &Value) {
        let seq = message["seq"].as_u64();
        assert!(seq > self.seq, "seq rises: {message}");
        match message["type"].as_str() {
            Some("snapshot") => (self.bids, self.asks) = Default::default(),
            Some("delta") => assert_eq!(message["prev_seq"].as_u64(), self.seq, "{message}"),
            _ => panic!("not of a book: {message}"),
        }
        self.seq = seq;
        for (side, levels) in [(&mut self.bids, "bids"), (&mut self.asks, "asks")] {
            for level in levels_of(&message[levels]) {
                match level {
                    (price, quantity) if quantity.is_zero() => side.remove(&price),
                    (price, quantity) => side.insert(price, quantity),
                };
            }
        }
    }

    /// Returns the best levels, bids and asks.
    pub(crate) fn top(&self, depth: usize) -> [Vec<(Decimal, Decimal)>; 2] {
        let pair = |(price, quantity): (&Decimal, &Decimal)| (*price, *quantity);
        [
            self.bids.iter().rev().take(depth).map(pair).collect(),
            self.asks.iter().take(depth).map(pair).collect(),
        ]
    }
}

/// Reads a list of price and quantity.
pub(crate) fn levels_of(levels: &Value) -> Vec<(Decimal, Decimal)> {
    let number = |level: &Value, place: usize| -> Decimal {
        level[place].as_str().expect("text").parse().expect("a number")
    };
    let levels = levels.as_array().expect("levels");
    levels.iter().map(|level| (number(level, 0), number(level, 1))).collect()
}
