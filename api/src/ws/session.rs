//! One WebSocket: what its client asks for, what it is due, and when it must go.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::app::App;
use crate::problem::{Code, Language};
use crate::ws::answers;
use crate::ws::bell::{Bell, Slot};
use crate::ws::ending::{self, Ending, IDLE, SLOW, UNAUTHENTICATED};
use crate::ws::hub::Hub;
use crate::ws::identity::Identity;
use crate::ws::outbox::{NotWritten, Outbox};
use crate::ws::own::OwnSubscription;
use crate::ws::pace::{self, Allowance, Deadlines, Overdue, Taken};
use crate::ws::protocol::{Mode, OwnChannel, Rejection, Request};
use crate::ws::subscription::{Client, Left, Subscription, SubscriptionKey};

/// Bytes that are read from a client at once: its messages are short.
const READ_BYTES: usize = 1024;

/// News that are delivered before anything else is looked for.
const NEWS_IN_A_ROW_MAX: u32 = 8;

pub struct Session {
    pub(super) app: Arc<App>,
    pub(super) hub: Arc<Hub>,
    pub(super) mode: Mode,
    pub(super) language: Language,
    stop: CancellationToken,
    number: u64,
    pub(super) bell: Arc<Bell>,
    pub(super) subscriptions: BTreeMap<Slot, Subscription>,
    pub(super) slots: BTreeMap<SubscriptionKey, Slot>,
    /// Whose session it is, and what it is told of its own account.
    pub(super) identity: Identity,
    pub(super) own: BTreeMap<Slot, OwnSubscription>,
    pub(super) own_slots: BTreeMap<OwnChannel, Slot>,
    pub(super) last_slot: Slot,
    /// Those that have something due, and the one that had its turn last.
    pub(super) ready: BTreeSet<Slot>,
    served: Slot,
    /// Those that rang, on their way to `ready`.
    rung: Vec<Slot>,
    /// Those whose client wants nothing before.
    paced: BTreeSet<(Instant, Slot)>,
    /// Those that go on from the log.
    returning: BTreeSet<Slot>,
    pub(super) outbox: Outbox,
    /// Whether tungstenite may hold something that is to go out first.
    unflushed: bool,
    allowance: Allowance,
    pub(super) deadlines: Deadlines,
    heartbeats: u64,
}

/// What a session is woken by.
enum Turn {
    Stop,
    Message(Option<Result<Message, Error>>),
    Deadline,
    News,
}

impl Session {
    pub fn new(
        app: Arc<App>,
        hub: Arc<Hub>,
        stop: CancellationToken,
        identity: Identity,
        (mode, language): (Mode, Language),
    ) -> Self {
        let (now, settings) = (Instant::now(), &app.settings.ws);
        let mut deadlines = Deadlines::new(settings, mode, now);
        deadlines.good_until(identity.expires(&app));
        Self {
            allowance: Allowance::new(settings, now),
            deadlines,
            outbox: Outbox::new(settings.write_bytes_max),
            number: hub.next_session(),
            bell: Arc::default(),
            subscriptions: BTreeMap::new(),
            slots: BTreeMap::new(),
            identity,
            own: BTreeMap::new(),
            own_slots: BTreeMap::new(),
            last_slot: Slot(0),
            ready: BTreeSet::new(),
            served: Slot(0),
            rung: Vec::new(),
            unflushed: false,
            paced: BTreeSet::new(),
            returning: BTreeSet::new(),
            heartbeats: 0,
            app,
            hub,
            mode,
            language,
            stop,
        }
    }

    /// Serves the client to the end, and closes in order; after `cut` at once.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        stream: S,
        cut: &CancellationToken,
    ) {
        let limits = &self.app.settings.ws;
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits.message_bytes_max))
            .max_frame_size(Some(limits.message_bytes_max))
            .read_buffer_size(READ_BYTES);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        let evicted = self.identity.evicted().clone();
        // A panic in a task of its own would be a bare 1006 to the client, and nothing to us.
        let run = AssertUnwindSafe(self.run(&mut socket)).catch_unwind();
        let ending = match evicted.run_until_cancelled(run).await {
            Some(Ok(Ok(()))) => Ending::Gone,
            Some(Ok(Err(ending))) => ending,
            Some(Err(_)) => {
                error!("a session panicked");
                Ending::Close(CloseCode::Error, "our fault".into())
            }
            // It is cancelled with `cut`, of which it is a part.
            None if cut.is_cancelled() => Ending::Gone,
            None => {
                // What was not begun is not told any more.
                self.outbox.tear();
                Ending::Close(UNAUTHENTICATED, "the key or token was revoked".into())
            }
        };
        debug!(?ending, "a WebSocket ends");
        // Nobody rings for it any more.
        self.subscriptions.clear();
        self.own.clear();
        if let Ending::Close(code, reason) = ending {
            let frame = CloseFrame { code, reason: (&*reason).into() };
            let patience = self.app.settings.ws.close_patience;
            let farewell = ending::close(socket, &mut self.outbox, frame, patience);
            cut.run_until_cancelled(farewell).await;
        }
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
    ) -> Result<(), Ending> {
        // Made once: to wait anew for each wake-up would be a good part of its cost.
        let (stop, bell) = (self.stop.clone(), Arc::clone(&self.bell));
        let mut stopped = pin!(stop.cancelled());
        let mut alarm = pin!(sleep_until(self.deadlines.next()));
        let mut news_in_a_row = 0;
        loop {
            let busy = !self.ready.is_empty() || !self.returning.is_empty();
            let wake_at = match self.paced.first() {
                Some((at, _)) => self.deadlines.next().min(*at),
                None => self.deadlines.next(),
            };
            // An alarm that goes off too early costs one look.
            if wake_at < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(wake_at);
            }
            // Nothing is written in a branch: what is dropped with the others loses nothing. News
            // are looked for first, which spares a wake-up all other looks; but not for ever, so
            // that a market that never rests does not keep the client from a word.
            let news_first = news_in_a_row < NEWS_IN_A_ROW_MAX;
            let turn = tokio::select! {
                biased;
                () = bell.rings(), if !busy && news_first => Turn::News,
                () = std::future::ready(()), if busy && news_first => Turn::News,
                message = socket.next() => Turn::Message(message),
                () = &mut alarm => Turn::Deadline,
                () = &mut stopped => Turn::Stop,
                () = bell.rings(), if !busy && !news_first => Turn::News,
                () = std::future::ready(()), if busy && !news_first => Turn::News,
            };
            news_in_a_row = match turn {
                Turn::News if news_first => news_in_a_row + 1,
                _ => 0,
            };
            match turn {
                Turn::Stop => return self.stopped(socket).await,
                Turn::Message(None) => return Ok(()),
                Turn::Message(Some(message)) => {
                    // It may have had tungstenite queue an answer.
                    self.unflushed = true;
                    self.hear(socket, message).await?;
                }
                Turn::Deadline => self.pass(socket).await?,
                Turn::News => self.deliver(socket).await?,
            }
        }
    }

    /// Says goodbye, and when to come back.
    async fn stopped<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
    ) -> Result<(), Ending> {
        self.say_closing("shutdown");
        self.write(socket).await?;
        Err(Ending::Close(CloseCode::Away, "shutdown".into()))
    }

    fn say_closing(&mut self, reason: &str) {
        if self.mode == Mode::Extended {
            let settings = &self.app.settings.ws;
            let spread = settings.reconnect_spread;
            let after = pace::reconnect_after(settings.lot, self.number, spread).as_millis();
            let after = u64::try_from(after).unwrap_or(u64::MAX);
            self.outbox.say(&answers::closing(reason, after));
        }
    }

    async fn hear<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
        message: Result<Message, Error>,
    ) -> Result<(), Ending> {
        let now = Instant::now();
        let text = match message.map_err(|error| Ending::of(&error))? {
            // One that nobody asked for is a message like others.
            Message::Pong(_) if self.deadlines.heard(now) => return Ok(()),
            Message::Close(_) => {
                // tungstenite has queued the answer.
                let patience = self.app.settings.ws.close_patience;
                drop(timeout(patience, socket.flush()).await);
                return Err(Ending::Gone);
            }
            Message::Binary(_) | Message::Frame(_) => {
                return Err(Ending::Close(CloseCode::Unsupported, "text only".into()));
            }
            Message::Ping(_) | Message::Pong(_) => None,
            Message::Text(text) => Some(text),
        };
        match (self.allowance.take(now), text) {
            (Taken::TooMany, _) => {
                return Err(Ending::Close(CloseCode::Policy, "too many messages".into()));
            }
            (Taken::Forgiven, _) => {
                let detail = "the next message past the limit closes the connection";
                self.reject(&Rejection::new(Code::WsTooManyMessages, detail));
            }
            // The pong is queued already; writing flushes it.
            (Taken::Yes, None) => {}
            (Taken::Yes, Some(text)) => match Request::read(&text, self.mode) {
                Ok(request) => self.answer(request).await?,
                Err(rejection) => self.reject(&rejection),
            },
        }
        self.deliver(socket).await
    }

    pub(super) fn reject(&mut self, rejection: &Rejection) {
        self.outbox.say(&answers::error(rejection, None, self.language));
    }

    async fn pass<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
    ) -> Result<(), Ending> {
        while let Some(overdue) = self.deadlines.pass(Instant::now()) {
            let away = |reason: &'static str| Err(Ending::Close(CloseCode::Away, reason.into()));
            match overdue {
                Overdue::Idle if self.is_strangers() => {
                    let reason = "not authenticated in time";
                    return Err(Ending::Close(UNAUTHENTICATED, reason.into()));
                }
                Overdue::Idle => {
                    return Err(Ending::Close(IDLE, "no subscription in time".into()));
                }
                Overdue::NoPong => return away("no pong"),
                Overdue::Expired => self.say_expired(),
                Overdue::NotRenewed => {
                    return Err(Ending::Close(UNAUTHENTICATED, "the token has expired".into()));
                }
                Overdue::Ended => return away("the connection is too old: connect anew"),
                Overdue::Closing => self.say_closing("too_old"),
                Overdue::Heartbeat => {
                    self.heartbeats += 1;
                    let now = self.app.clock.now();
                    self.outbox.say(&answers::heartbeat(now, self.heartbeats));
                }
                Overdue::Ping => {
                    self.unflushed = true;
                    let ping = socket.feed(Message::Ping(Bytes::new())).await;
                    ping.map_err(|error| Ending::of(&error))?;
                }
            }
        }
        self.deliver(socket).await
    }

    /// Gathers what is due, or as much of it as goes at once, and writes it once.
    async fn deliver<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
    ) -> Result<(), Ending> {
        let now = Instant::now();
        self.bell.take(&mut self.rung);
        // Mostly it is one, and then it needs no place in the order.
        let alone =
            if self.ready.is_empty() && self.rung.len() == 1 { self.rung.pop() } else { None };
        self.ready.extend(self.rung.drain(..));
        while let Some((at, slot)) = self.paced.first().copied().filter(|(at, _)| *at <= now) {
            self.paced.remove(&(at, slot));
            self.ready.insert(slot);
        }
        let client = Client { app: &self.app, mode: self.mode, language: self.language, now };
        let mut turn = alone.or_else(|| next(&self.ready, self.served));
        while let Some(slot) = turn {
            self.ready.remove(&slot);
            self.served = slot;
            let left = match (self.subscriptions.get_mut(&slot), self.own.get_mut(&slot)) {
                (Some(subscription), _) => subscription.collect(&client, &mut self.outbox),
                (None, Some(own)) if !self.deadlines.has_expired(now) => {
                    own.collect(&client, &mut self.outbox)
                }
                // It has gone meanwhile, or waits for a new token.
                (None, Some(_) | None) => Left::Nothing,
            };
            match left {
                Left::Nothing => {}
                Left::More => {
                    self.ready.insert(slot);
                    break;
                }
                Left::At(at) => drop(self.paced.insert((at, slot))),
                Left::InLog => drop(self.returning.insert(slot)),
                Left::TooSlow => {
                    let after = self.subscriptions.get(&slot).map(|one| (slot, one.after()));
                    return Err(Ending::Close(SLOW, self.too_slow(after).into()));
                }
            }
            turn = next(&self.ready, self.served);
        }
        if !self.outbox.is_full()
            && let Some(slot) = self.returning.pop_first()
            && let Some(subscription) = self.subscriptions.get_mut(&slot)
        {
            if subscription.step(&client, &mut self.outbox).await {
                self.ready.insert(slot);
            } else {
                self.returning.insert(slot);
            }
        }
        self.write(socket).await
    }

    /// Writes what was gathered, after whatever control frames wait.
    async fn write<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        socket: &mut WebSocketStream<S>,
    ) -> Result<(), Ending> {
        let patience = self.app.settings.ws.write_patience;
        // Only when tungstenite has nothing half written do our own bytes go beneath it.
        if self.unflushed {
            match timeout(patience, socket.flush()).await {
                Ok(flushed) => flushed.map_err(|error| Ending::of(&error))?,
                Err(_) => return Err(Ending::Close(SLOW, self.too_slow(None).into())),
            }
            self.unflushed = false;
        }
        match self.outbox.write(socket.get_mut(), patience).await {
            Ok(()) => Ok(()),
            Err(NotWritten::Gone) => Err(Ending::Gone),
            Err(NotWritten::Stuck) => {
                let last = self.outbox.tear();
                Err(Ending::Close(SLOW, self.too_slow(last).into()))
            }
        }
    }

    /// Says what was delivered last. It fits into the 123 bytes of a close frame's reason.
    fn too_slow(&self, last: Option<(Slot, u64)>) -> String {
        let topic = |(slot, seq)| Some((&self.subscriptions.get(&slot)?.topic.key, seq));
        match last.and_then(topic) {
            Some((key, seq)) => {
                let channel = key.subject.channel().as_str();
                format!("too slow; last delivered: {channel} {} seq {seq}", key.instrument)
            }
            None => "too slow".to_owned(),
        }
    }
}

/// Returns whose turn it is, so that each has one before anybody has two.
fn next(ready: &BTreeSet<Slot>, served: Slot) -> Option<Slot> {
    let after = ready.range((Bound::Excluded(served), Bound::Unbounded)).next();
    after.or_else(|| ready.first()).copied()
}
