//! One socket to a venue, from its opening to its end.

use std::sync::Arc;
use std::time::Duration;

use domain::time::Timestamp;
use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use crate::feed::Now;

/// The longest message, and the longest frame, in bytes. A longer one ends the socket.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Between two messages of ours: a venue takes five a second, its pongs included.
const SPEECH_PAUSE: Duration = Duration::from_millis(400);

/// Time for a venue to answer our goodbye.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);

/// Tells one socket from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketId(pub(super) u64);

/// What happens on a socket.
#[derive(Debug)]
pub(super) enum Event {
    Opened(SocketId),
    Frame { socket: SocketId, received_at: Timestamp, frame: Message },
    Ended { socket: SocketId, reason: String },
}

/// Where to connect, and what to say first.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) url: String,
    pub(super) subscriptions: Vec<String>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) connect_patience: Duration,
}

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Runs a socket until it ends, or until `stop` is dropped. Waits while `events` is full: then the
/// venue waits too.
pub(super) async fn run(
    socket: SocketId,
    address: Address,
    now: Now,
    events: mpsc::Sender<Event>,
    mut stop: oneshot::Receiver<()>,
) {
    let life = async {
        let mut stream = match timeout(address.connect_patience, open(&address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Some((None, format!("cannot connect: {error}"))),
            Err(_) => return Some((None, "cannot connect: no answer in time".to_owned())),
        };
        if events.send(Event::Opened(socket)).await.is_err() {
            return None;
        }
        let reason = listen(socket, &mut stream, &address.subscriptions, &now, &events).await?;
        Some((Some(stream), reason))
    };
    let ended = tokio::select! {
        ended = life => ended,
        _ = &mut stop => None,
    };
    let Some((stream, reason)) = ended else { return };
    // Nobody listens any more when this fails.
    let _heard = events.send(Event::Ended { socket, reason }).await;
    if let Some(mut stream) = stream {
        let _answer = timeout(GOODBYE_PATIENCE, stream.close(None)).await;
    }
}

async fn open(address: &Address) -> Result<Stream, Error> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let connector = Connector::Rustls(Arc::clone(&address.tls));
    let (stream, _response) =
        connect_async_tls_with_config(&address.url, Some(limits), true, Some(connector)).await?;
    Ok(stream)
}

/// Hands on what comes. Returns why the socket ended, or `None` when nobody listens any more.
async fn listen(
    socket: SocketId,
    stream: &mut Stream,
    subscriptions: &[String],
    now: &Now,
    events: &mpsc::Sender<Event>,
) -> Option<String> {
    for subscription in subscriptions {
        if let Err(error) = stream.send(Message::text(subscription)).await {
            return Some(error.to_string());
        }
        sleep(SPEECH_PAUSE).await;
    }
    loop {
        let frame = match stream.next().await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Some(error.to_string()),
            None => return Some("the venue hung up".to_owned()),
        };
        match frame {
            // The pong is queued by now. It must not wait until somebody has taken what came
            // before: a venue hangs up on those who do not answer.
            Message::Ping(_) => {
                if let Err(error) = stream.flush().await {
                    return Some(error.to_string());
                }
            }
            Message::Pong(_) => {}
            Message::Close(Some(why)) => return Some(format!("the venue hung up: {why}")),
            Message::Close(None) => return Some("the venue hung up".to_owned()),
            frame @ (Message::Text(_) | Message::Binary(_) | Message::Frame(_)) => {
                let received_at = now();
                events.send(Event::Frame { socket, received_at, frame }).await.ok()?;
            }
        }
    }
}
