//! One WebSocket: what its client listens to, what it is due, and when it must go.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use domain::instrument::{Instrument, Venue};
use eventlog::entry::Version;
use futures_util::{FutureExt, SinkExt, StreamExt};
use projections::prices::Freshness;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::app::App;
use crate::problem::{Code, Language};
use crate::settings::WsSettings;
use crate::ws::broadcast::{Due, Ring};
use crate::ws::protocol::{self, Action, Rejection, Request};

/// How long a close may take: to get our frame out, and then for the client to hang up.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Messages past the limit that are forgiven.
const STRIKES_MAX: u32 = 1;

pub struct Session {
    app: Arc<App>,
    ring: Arc<Ring>,
    stop: CancellationToken,
    language: Language,
    /// The instruments listened to.
    listening: BTreeMap<Instrument, Sent>,
    head: watch::Receiver<u64>,
    /// The place in the ring up to which everything due was sent.
    place: u64,
    allowance: Allowance,
    deadlines: Deadlines,
}

/// Why a session ends.
#[derive(Debug)]
enum Ending {
    /// We close, and say why.
    Close(CloseCode, &'static str),
    /// The client closed, or is gone.
    Gone,
}

const SLOW: Ending = Ending::Close(CloseCode::Library(4409), "a write took too long");
const IDLE: Ending = Ending::Close(CloseCode::Library(4408), "no subscription in time");

impl Session {
    pub fn new(
        app: Arc<App>,
        ring: Arc<Ring>,
        stop: CancellationToken,
        language: Language,
    ) -> Self {
        let (now, head) = (Instant::now(), ring.watch());
        let place = *head.borrow();
        Self {
            allowance: Allowance::new(&app.settings.ws, now),
            deadlines: Deadlines::new(&app.settings.ws, now),
            listening: BTreeMap::new(),
            place,
            head,
            app,
            ring,
            stop,
            language,
        }
    }

    /// Serves the client to the end, and closes in order.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut self, stream: S) {
        let limits = &self.app.settings.ws;
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits.message_bytes_max))
            .max_frame_size(Some(limits.message_bytes_max))
            .write_buffer_size(limits.write_bytes_max / 8)
            .max_write_buffer_size(limits.write_bytes_max);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        // A panic in a task of its own would be a bare 1006 to the client, and nothing to us.
        let ending = match AssertUnwindSafe(self.run(&mut socket)).catch_unwind().await {
            Ok(Ok(())) => Ending::Gone,
            Ok(Err(ending)) => ending,
            Err(_) => {
                error!("a session panicked");
                Ending::Close(CloseCode::Error, "our fault")
            }
        };
        debug!(?ending, "a WebSocket ends");
        if let Ending::Close(code, reason) = ending {
            close(socket, code, reason).await;
        }
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
    ) -> Result<(), Ending> {
        loop {
            let (place, listens) = (self.place, !self.listening.is_empty());
            // Nothing is written in a branch: what is dropped with the others loses nothing. News
            // come last, so that a market that never rests does not keep the client from a word.
            let turn = tokio::select! {
                biased;
                () = self.stop.cancelled() => Turn::Stop,
                message = socket.next() => Turn::Message(message),
                () = sleep_until(self.deadlines.next()) => Turn::Deadline,
                _ = self.head.wait_for(|head| *head > place), if listens => Turn::News,
            };
            match turn {
                Turn::Stop => return Err(Ending::Close(CloseCode::Away, "shutdown")),
                Turn::Message(None) => return Ok(()),
                Turn::Message(Some(message)) => self.take(socket, message).await?,
                Turn::Deadline => {
                    if self.deadlines.pass(Instant::now())? {
                        self.write(socket, [Message::Ping(Bytes::new())]).await?;
                    }
                }
                Turn::News => self.deliver(socket).await?,
            }
        }
    }

    async fn take<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
        message: Result<Message, Error>,
    ) -> Result<(), Ending> {
        let now = Instant::now();
        let text = match message.map_err(|error| ending_of(&error))? {
            Message::Pong(_) => {
                self.deadlines.heard(now);
                return Ok(());
            }
            Message::Close(_) => return self.farewell(socket).await,
            Message::Binary(_) | Message::Frame(_) => {
                return Err(Ending::Close(CloseCode::Unsupported, "text only"));
            }
            Message::Ping(_) => None,
            Message::Text(text) => Some(text),
        };
        if !self.allowance.take(now)? {
            let detail = "the next message past the limit closes the connection";
            return self.reject(socket, Rejection::new(Code::WsTooManyMessages, detail)).await;
        }
        match text.map(|text| Request::read(&text)) {
            // tungstenite has queued the pong already.
            None => self.write(socket, []).await,
            Some(Ok(request)) => self.answer(socket, request).await,
            Some(Err(rejection)) => self.reject(socket, rejection).await,
        }
    }

    /// Answers the client's close: tungstenite has queued it.
    async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut WebSocketStream<S>,
    ) -> Result<(), Ending> {
        drop(timeout(CLOSE_PATIENCE, socket.flush()).await);
        Err(Ending::Gone)
    }

    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
        request: Request,
    ) -> Result<(), Ending> {
        let (mut taken, mut rejected) = (Vec::new(), Vec::new());
        for symbol in request.symbols {
            match self.judge(&symbol, request.action) {
                Ok(instrument) => taken.push(instrument),
                Err(rejection) => rejected.push((symbol, rejection)),
            }
        }
        let mut messages = Vec::new();
        if let Some(id) = &request.id {
            let ack = protocol::ack_frame(id, request.action, &taken, &rejected, self.language);
            messages.push(Message::Text(ack));
        } else {
            for (_, rejection) in &rejected {
                messages.push(Message::Text(protocol::error_frame(rejection, self.language)));
            }
        }
        if request.action == Action::Subscribe && !taken.is_empty() {
            self.deadlines.subscribed();
            for instrument in &taken {
                messages.extend(self.current(instrument).map(Message::Text));
            }
        }
        self.write(socket, messages).await
    }

    /// Takes one symbol in or out, or says why not.
    fn judge(&mut self, symbol: &str, action: Action) -> Result<Instrument, Rejection> {
        let invalid = |detail| Rejection::new(Code::InvalidSymbol, detail);
        let instrument: Instrument =
            symbol.parse().map_err(|error| invalid(format!("{symbol:?}: {error}")))?;
        match action {
            Action::Unsubscribe => {
                self.listening.remove(&instrument);
            }
            Action::Subscribe => {
                self.app.known(&instrument).map_err(|problem| invalid(problem.detail))?;
                let subscriptions_max = self.app.settings.ws.subscriptions_max;
                if self.listening.len() >= subscriptions_max
                    && !self.listening.contains_key(&instrument)
                {
                    let detail = format!("{symbol}: a connection has at most {subscriptions_max}");
                    return Err(Rejection::new(Code::WsTooManySubscriptions, detail));
                }
                self.listening.insert(instrument.clone(), Sent::default());
            }
        }
        Ok(instrument)
    }

    /// Returns the frame of an instrument's price as it stands, when it is news and not too old. The
    /// views are never behind the ring, so what follows is newer.
    fn current(&mut self, instrument: &Instrument) -> Option<Utf8Bytes> {
        let quote = self.app.views.quote(instrument)?;
        if !self.listening.get_mut(instrument)?.advance(&quote.venue, quote.version) {
            return None;
        }
        let now = self.app.feeds.now(&quote.venue, self.app.clock.as_ref());
        let scales = (quote.price_scale, quote.quantity_scale);
        (quote.freshness(now) != Freshness::Lost)
            .then(|| protocol::trade_frame(instrument, &quote.tick, scales))
    }

    /// Sends what is due, or as much of it as goes at once.
    async fn deliver<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
    ) -> Result<(), Ending> {
        let mut frames = Vec::new();
        match self.ring.pull(&mut self.place) {
            Due::Batches(batches) => {
                for batch in &batches {
                    let Some(sent) = self.listening.get_mut(&batch.instrument) else { continue };
                    if sent.advance(&batch.venue, batch.version) {
                        frames.extend(batch.frames.iter().cloned());
                    }
                }
            }
            // The client was slower than the market: it goes on with the newest price of each
            // instrument that moved in the meantime.
            Due::Lapped => {
                let listening: Vec<Instrument> = self.listening.keys().cloned().collect();
                frames.extend(listening.iter().filter_map(|instrument| self.current(instrument)));
            }
        }
        self.write(socket, frames.into_iter().map(Message::Text)).await
    }

    async fn reject<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut WebSocketStream<S>,
        rejection: Rejection,
    ) -> Result<(), Ending> {
        let frame = protocol::error_frame(&rejection, self.language);
        self.write(socket, [Message::Text(frame)]).await
    }

    /// Writes messages and flushes once.
    async fn write<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: &mut WebSocketStream<S>,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<(), Ending> {
        let write = async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        match timeout(self.app.settings.ws.write_patience, write).await {
            Ok(written) => written.map_err(|error| ending_of(&error)),
            Err(_) => Err(SLOW),
        }
    }
}

/// What a session is woken by.
enum Turn {
    Stop,
    Message(Option<Result<Message, Error>>),
    Deadline,
    News,
}

/// Up to where an instrument's trades were sent: versions count for one venue only.
#[derive(Debug, Default)]
struct Sent(Option<(Venue, Version)>);

impl Sent {
    /// Whether this is news; then it counts as sent.
    fn advance(&mut self, venue: &Venue, version: Version) -> bool {
        let known = |(sent_of, sent): &(Venue, Version)| sent_of == venue && *sent >= version;
        let news = !self.0.as_ref().is_some_and(known);
        if news {
            self.0 = Some((venue.clone(), version));
        }
        news
    }
}

fn ending_of(error: &Error) -> Ending {
    match error {
        Error::Capacity(_) => Ending::Close(CloseCode::Size, "the message is too large"),
        Error::Utf8(_) => Ending::Close(CloseCode::Invalid, "text must be UTF-8"),
        Error::WriteBufferFull(_) => SLOW,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ending::Gone,
        Error::Protocol(_) => Ending::Close(CloseCode::Protocol, "not the protocol"),
        _ => Ending::Gone,
    }
}

/// Says why, hangs up, and waits for the client to do the same: what it still sends would else make
/// the kernel throw our last frame away.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocketStream<S>,
    code: CloseCode,
    reason: &'static str,
) {
    let farewell = async {
        socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await.ok()?;
        let stream = socket.get_mut();
        stream.shutdown().await.ok()?;
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await.ok()? > 0 {}
        Some(())
    };
    // Too slow, or gone: either way it was told as far as it can be.
    drop(timeout(CLOSE_PATIENCE, farewell).await);
}

/// How many messages a client may still send: a bucket that fills again with time.
struct Allowance {
    left: f64,
    burst: f64,
    per_second: f64,
    at: Instant,
    strikes: u32,
}

impl Allowance {
    fn new(settings: &WsSettings, now: Instant) -> Self {
        let burst = f64::from(settings.messages_burst);
        let per_second = f64::from(settings.messages_per_second);
        Self { left: burst, burst, per_second, at: now, strikes: 0 }
    }

    /// Whether one more message is within the limit; an ending when there were too many.
    fn take(&mut self, now: Instant) -> Result<bool, Ending> {
        let since = now.duration_since(self.at).as_secs_f64();
        self.left = since.mul_add(self.per_second, self.left).min(self.burst);
        self.at = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(true);
        }
        self.strikes += 1;
        if self.strikes > STRIKES_MAX {
            return Err(Ending::Close(CloseCode::Policy, "too many messages"));
        }
        Ok(false)
    }
}

/// When something must have happened.
struct Deadlines {
    ping_every: Duration,
    pong_patience: Duration,
    ping_at: Instant,
    gone_at: Instant,
    /// `None` once there was a subscription.
    subscribe_by: Option<Instant>,
    ends_at: Instant,
}

impl Deadlines {
    fn new(settings: &WsSettings, now: Instant) -> Self {
        Self {
            ping_every: settings.ping_every,
            pong_patience: settings.pong_patience,
            ping_at: now + settings.ping_every,
            gone_at: now + settings.pong_patience,
            subscribe_by: Some(now + settings.subscribe_patience),
            ends_at: now + settings.life,
        }
    }

    fn next(&self) -> Instant {
        let first = self.ping_at.min(self.gone_at).min(self.ends_at);
        self.subscribe_by.map_or(first, |by| by.min(first))
    }

    fn heard(&mut self, now: Instant) {
        self.gone_at = now + self.pong_patience;
    }

    fn subscribed(&mut self) {
        self.subscribe_by = None;
    }

    /// Whether it is time for a ping; an ending when something is overdue.
    fn pass(&mut self, now: Instant) -> Result<bool, Ending> {
        if self.subscribe_by.is_some_and(|by| by <= now) {
            return Err(IDLE);
        }
        if self.gone_at <= now {
            return Err(Ending::Close(CloseCode::Away, "no pong"));
        }
        if self.ends_at <= now {
            return Err(Ending::Close(CloseCode::Away, "the connection is too old: connect anew"));
        }
        if self.ping_at > now {
            return Ok(false);
        }
        self.ping_at = now + self.ping_every;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_no_news() {
        let (binance, kraken): (Venue, Venue) =
            ("binance".parse().unwrap(), "kraken".parse().unwrap());
        let mut sent = Sent::default();

        assert!(sent.advance(&binance, Version(41)));
        assert!(!sent.advance(&binance, Version(41)));
        assert!(!sent.advance(&binance, Version(40)));
        assert!(sent.advance(&binance, Version(42)));
        assert!(sent.advance(&kraken, Version(1)), "another venue counts for itself");
    }
}
