//! A venue on loopback that plays a recording over real sockets, as Binance would: combined streams,
//! the REST answers that go with them, and its bad days.
//!
//! It has a place in the recording. A line reaches whoever is connected when its turn comes, and
//! nobody later; what REST answers is what was true at that place: the book, the trades, the bars.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use domain::candle::Candle;
use domain::tick::{Side, Tick};
use domain::time::{MINUTE, Timestamp};
use futures_util::{SinkExt, StreamExt};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use crate::data;

/// Lines on their way to one connection. When it is full the venue waits.
const QUEUE_LINES: usize = 256;

/// Lines between two rests, by which the pace is kept.
const BREATH_LINES: usize = 50;

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Trade,
    Diff,
    Top,
    Snapshot,
}

/// One line of the recording: its frame without wrapper.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) frame: String,
    pub(crate) value: Value,
}

/// What goes wrong when a line's turn comes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Everybody is hung up on, and this many lines are told to nobody.
    Disconnect { lines: usize },
    /// The next diffs are lost on the way, and nobody is told.
    LoseDiffs(usize),
    /// The line comes twice.
    Repeat,
    /// The line and the next of its kind change places.
    Swap,
    /// Diffs stop for so many lines, which take so long; everything else goes on.
    SilentBook { lines: usize, lasts: Duration },
    /// The next so many REST requests are answered with this status.
    Refuse { requests: usize, status: u16, retry_after_seconds: u64 },
    /// Whoever is connected is asked to go, and is hung up on after so many lines.
    Shutdown { lines: usize },
}

/// A venue that plays. Dropping it ends it.
pub(crate) struct Exchange {
    pub(crate) ws_url: String,
    pub(crate) rest_url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    lines: Vec<Line>,
    futures: bool,
    state: Mutex<State>,
    /// Whether it plays, and how many lines have had their turn.
    playing: Notify,
    place: watch::Sender<usize>,
    connected: Notify,
    /// The recorded snapshot was fetched.
    fetched: Notify,
}

#[derive(Default)]
struct State {
    connections: Vec<Connection>,
    connects: usize,
    requests: Vec<String>,
    refusals: VecDeque<(u16, u64)>,
    /// Answers 401 to whoever asks for single trades.
    keeps_trades: bool,
    truth: Truth,
}

/// A client. Forgetting it hangs up on it.
struct Connection {
    id: usize,
    streams: BTreeSet<String>,
    wrapped: bool,
    out: mpsc::Sender<String>,
    _held: oneshot::Sender<()>,
}

/// What is true at the place that the venue has come to.
#[derive(Default)]
struct Truth {
    trades: Vec<Tick>,
    bids: BTreeMap<Decimal, Decimal>,
    asks: BTreeMap<Decimal, Decimal>,
    /// The recorded body, until a later one has to be made.
    snapshot: Option<String>,
    update_id: u64,
    early_diffs: Vec<Value>,
}

/// Reads recordings of one instrument, in the order of their lines.
pub(crate) fn lines(files: &[std::path::PathBuf]) -> Vec<Line> {
    let mut lines = Vec::new();
    for file in files {
        for text in data::text(file).lines() {
            let (_, frame) = text.split_once(' ').expect("a receive time and a frame");
            let mut value: Value = serde_json::from_str(frame).expect("a recorded frame");
            if value.get("stream").is_some() {
                value = value["data"].take();
            }
            let kind = match value["e"].as_str() {
                Some("trade") => Kind::Trade,
                Some("depthUpdate") => Kind::Diff,
                Some("bookTicker") => Kind::Top,
                _ if value.get("lastUpdateId").is_some() => Kind::Snapshot,
                _ if value.get("u").is_some() => Kind::Top,
                _ => continue,
            };
            lines.push(Line { kind, frame: value.to_string(), value });
        }
    }
    lines
}

impl Exchange {
    /// Opens its doors; it plays from [`Exchange::play`] on, at about so many lines a second.
    pub(crate) async fn open(
        lines: Vec<Line>,
        faults: BTreeMap<usize, Fault>,
        lines_per_second: u32,
    ) -> Self {
        let futures = lines.iter().any(|line| line.value.get("pu").is_some());
        let shared = Arc::new(Shared {
            lines,
            futures,
            state: Mutex::default(),
            playing: Notify::new(),
            place: watch::Sender::new(0),
            connected: Notify::new(),
            fetched: Notify::new(),
        });
        let bind = async || TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (sockets, rest) = (bind().await, bind().await);
        let address = |listener: &TcpListener| listener.local_addr().expect("a bound port");
        let (ws_url, rest_url) =
            (format!("ws://{}", address(&sockets)), format!("http://{}", address(&rest)));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(sockets, Arc::clone(&shared)));
        tasks.spawn(answer(rest, Arc::clone(&shared)));
        tasks.spawn(play(Arc::clone(&shared), faults, lines_per_second));
        Self { ws_url, rest_url, shared, _tasks: tasks }
    }

    /// Begins to play. Until then it only listens, and answers.
    pub(crate) fn play(&self) {
        self.shared.playing.notify_one();
    }

    /// Refuses to give single trades, from now on.
    pub(crate) fn keep_trades(&self) {
        self.shared.state().keeps_trades = true;
    }

    /// Waits until so many lines have had their turn.
    pub(crate) async fn until(&self, lines: usize) {
        let mut place = self.shared.place.subscribe();
        place.wait_for(|place| *place >= lines).await.expect("the venue is open");
    }

    /// Waits until the last line has had its turn.
    pub(crate) async fn until_over(&self) {
        self.until(self.shared.lines.len()).await;
    }

    /// Returns the venue's own book, best levels first: bids and asks.
    pub(crate) fn book(&self, depth: usize) -> Sides {
        self.shared.state().truth.best(depth)
    }

    /// Returns how often somebody connected.
    pub(crate) fn connects(&self) -> usize {
        self.shared.state().connects
    }

    /// Returns how often REST was asked for this.
    pub(crate) fn asked(&self, what: &str) -> usize {
        self.shared.state().requests.iter().filter(|path| path.contains(what)).count()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked here")
    }

    /// Sends a line to whoever listens to its stream. Waits for each of them.
    async fn tell(&self, kind: Kind, frame: &str) {
        let listeners: Vec<(mpsc::Sender<String>, String)> = self
            .state()
            .connections
            .iter()
            .filter_map(|connection| {
                let stream = connection.streams.iter().find(|stream| is_of(stream, kind))?;
                let text = if connection.wrapped {
                    format!(r#"{{"stream":"{stream}","data":{frame}}}"#)
                } else {
                    frame.to_owned()
                };
                Some((connection.out.clone(), text))
            })
            .collect();
        for (listener, text) in listeners {
            // Who has hung up hears nothing more.
            drop(listener.send(text).await);
        }
    }

    /// Takes a client's request; returns the answer.
    fn subscribe(&self, id: usize, text: &str) -> String {
        let request: Value = serde_json::from_str(text).unwrap_or_default();
        if request["method"] == "SUBSCRIBE" {
            let names = request["params"].as_array().cloned().unwrap_or_default();
            let mut state = self.state();
            if let Some(this) = state.connections.iter_mut().find(|one| one.id == id) {
                let names = names.iter().filter_map(Value::as_str);
                this.streams.extend(names.map(ToOwned::to_owned));
            }
            drop(state);
            self.connected.notify_waiters();
        }
        json!({"result": null, "id": request["id"]}).to_string()
    }

    /// Waits until somebody listens to the whole market.
    async fn until_heard(&self) {
        loop {
            // Taken before the look: who connects in between is not missed.
            let mut connected = std::pin::pin!(self.connected.notified());
            connected.as_mut().enable();
            let heard = |connection: &Connection| {
                [Kind::Trade, Kind::Diff, Kind::Top]
                    .iter()
                    .all(|kind| connection.streams.iter().any(|stream| is_of(stream, *kind)))
            };
            if self.state().connections.iter().any(heard) {
                return;
            }
            connected.await;
        }
    }
}

fn is_of(stream: &str, kind: Kind) -> bool {
    let Some((_, name)) = stream.split_once('@') else { return false };
    match kind {
        Kind::Trade => name == "trade",
        Kind::Diff => name.starts_with("depth"),
        Kind::Top => name == "bookTicker",
        Kind::Snapshot => false,
    }
}

fn trade(value: &Value) -> Option<Tick> {
    // Transfers between the venue's own funds are no trades of the market.
    if value["X"].as_str().is_some_and(|kind| kind != "MARKET") {
        return None;
    }
    let text = |key: &str| value[key].as_str().expect("text");
    let at = Timestamp::from_millis(value["T"].as_i64().expect("a time"));
    Some(Tick {
        trade_id: value["t"].as_u64().expect("an id"),
        price: text("p").parse().expect("a price"),
        quantity: text("q").parse().expect("a quantity"),
        taker: if value["m"] == true { Side::Sell } else { Side::Buy },
        traded_at: at,
        received_at: at,
    })
}

/// Both sides of a book, best levels first: bids and asks.
pub(crate) type Sides = [Vec<(Decimal, Decimal)>; 2];

/// Returns the best levels of the venue's book after each of its updates.
pub(crate) fn books(lines: &[Line], depth: usize) -> BTreeMap<u64, Sides> {
    let (mut truth, mut books) = (Truth::default(), BTreeMap::new());
    for line in lines.iter().filter(|line| matches!(line.kind, Kind::Snapshot | Kind::Diff)) {
        if line.kind == Kind::Snapshot {
            let mut recorded = Truth::default();
            recorded.take(line);
            books.insert(recorded.update_id, recorded.best(depth));
        }
        truth.take(line);
        if truth.snapshot.is_some() {
            books.insert(truth.update_id, truth.best(depth));
        }
    }
    books
}

impl Truth {
    /// Takes in what a line says.
    fn take(&mut self, line: &Line) {
        match line.kind {
            Kind::Trade => self.trades.extend(trade(&line.value)),
            Kind::Top => {}
            Kind::Snapshot => {
                self.snapshot = Some(line.frame.clone());
                self.update_id = line.value["lastUpdateId"].as_u64().expect("an id");
                self.change(&line.value["bids"], &line.value["asks"]);
                for diff in std::mem::take(&mut self.early_diffs) {
                    if diff["u"].as_u64() > Some(self.update_id) {
                        self.apply(&diff);
                    }
                }
            }
            Kind::Diff if self.snapshot.is_none() => self.early_diffs.push(line.value.clone()),
            Kind::Diff => self.apply(&line.value),
        }
    }

    fn best(&self, depth: usize) -> Sides {
        let pair = |(price, quantity): (&Decimal, &Decimal)| (*price, *quantity);
        [
            self.bids.iter().rev().take(depth).map(pair).collect(),
            self.asks.iter().take(depth).map(pair).collect(),
        ]
    }

    fn apply(&mut self, diff: &Value) {
        self.change(&diff["b"], &diff["a"]);
        self.update_id = diff["u"].as_u64().expect("an id");
        self.snapshot = Some(String::new());
    }

    fn change(&mut self, bids: &Value, asks: &Value) {
        for (side, levels) in [(&mut self.bids, bids), (&mut self.asks, asks)] {
            for level in levels.as_array().expect("levels") {
                let number = |place: usize| -> Decimal {
                    level[place].as_str().expect("text").parse().expect("a number")
                };
                match number(1) {
                    quantity if quantity.is_zero() => side.remove(&number(0)),
                    quantity => side.insert(number(0), quantity),
                };
            }
        }
    }

    /// Returns the body of a depth request; none before the book is known.
    fn depth(&self, limit: usize) -> Option<String> {
        let recorded = self.snapshot.as_ref()?;
        if !recorded.is_empty() {
            return Some(recorded.clone());
        }
        let pair = |(price, quantity): (&Decimal, &Decimal)| {
            json!([price.to_string(), quantity.to_string()])
        };
        let bids: Vec<Value> = self.bids.iter().rev().take(limit).map(pair).collect();
        let asks: Vec<Value> = self.asks.iter().take(limit).map(pair).collect();
        Some(json!({"lastUpdateId": self.update_id, "bids": bids, "asks": asks}).to_string())
    }

    /// Returns rows of one-minute bars, the forming one last. A silent minute has a flat one.
    fn klines(&self, start: i64, end: i64, limit: usize) -> String {
        let mut bars: BTreeMap<Timestamp, Candle> = BTreeMap::new();
        for tick in &self.trades {
            let minute = tick.traded_at.floor(MINUTE);
            if let Some(bar) = bars.get_mut(&minute) {
                bar.take(tick);
                continue;
            }
            if let Some((last, bar)) = bars.last_key_value() {
                let (mut silent, close) = (last.plus(MINUTE), bar.close);
                while silent < minute {
                    bars.insert(silent, Candle::filled(silent, close));
                    silent = silent.plus(MINUTE);
                }
            }
            bars.insert(minute, Candle::of(tick, domain::candle::Interval::Minute));
        }
        let mut rows: Vec<Value> = bars
            .range(Timestamp::from_millis(start)..=Timestamp::from_millis(end))
            .map(|(at, bar)| {
                let opened = at.micros() / 1_000;
                json!([
                    opened,
                    bar.open.to_string(),
                    bar.high.to_string(),
                    bar.low.to_string(),
                    bar.close.to_string(),
                    bar.volume.to_string(),
                    opened + 59_999,
                    bar.quote_volume.to_string(),
                    bar.trades,
                    bar.taker_buy.to_string(),
                    "0",
                    "0"
                ])
            })
            .collect();
        rows.truncate(limit);
        Value::Array(rows).to_string()
    }

    fn trades_from(&self, from_id: u64, limit: usize) -> String {
        let from = self.trades.iter().filter(|tick| tick.trade_id >= from_id).take(limit);
        let rows: Vec<Value> = from
            .map(|tick| {
                json!({
                    "id": tick.trade_id, "price": tick.price.to_string(),
                    "qty": tick.quantity.to_string(), "quoteQty": "0",
                    "time": tick.traded_at.micros() / 1_000,
                    "isBuyerMaker": tick.taker == Side::Sell, "isBestMatch": true
                })
            })
            .collect();
        Value::Array(rows).to_string()
    }
}

/// Plays line after line, with what goes wrong on the way.
async fn play(shared: Arc<Shared>, mut faults: BTreeMap<usize, Fault>, lines_per_second: u32) {
    shared.playing.notified().await;
    let breath =
        Duration::from_secs(1) * u32::try_from(BREATH_LINES).expect("few") / lines_per_second;
    let mut rest = tokio::time::interval(breath);
    let (mut unheard, mut lost_diffs) = (0_usize, 0_usize);
    let (mut silent, mut slow) = (0_usize, Duration::ZERO);
    let mut hang_up_at = None;
    let mut swapped: Option<Line> = None;
    for (place, line) in shared.lines.iter().enumerate() {
        if place % BREATH_LINES == 0 {
            rest.tick().await;
        }
        shared.state().truth.take(line);
        if hang_up_at.is_some_and(|(at, _)| at <= place) {
            let (_, asked) = hang_up_at.take().expect("looked at just now");
            shared.state().connections.retain(|connection| connection.id > asked);
        }
        let mut repeat = false;
        match faults.remove(&place) {
            Some(Fault::Disconnect { lines }) => {
                unheard = lines;
                shared.state().connections.clear();
            }
            Some(Fault::LoseDiffs(diffs)) => lost_diffs += diffs,
            Some(Fault::Repeat) => repeat = true,
            Some(Fault::Swap) if line.kind != Kind::Snapshot => {
                swapped = Some(line.clone());
                continue;
            }
            Some(Fault::SilentBook { lines, lasts }) => {
                (silent, slow) = (lines, lasts / u32::try_from(lines).expect("few"));
            }
            Some(Fault::Refuse { requests, status, retry_after_seconds }) => {
                let refusals = std::iter::repeat_n((status, retry_after_seconds), requests);
                shared.state().refusals.extend(refusals);
            }
            Some(Fault::Shutdown { lines }) => {
                hang_up_at = Some((place + lines, shared.state().connects));
                say_goodbye(&shared).await;
            }
            Some(Fault::Swap) | None => {}
        }
        shared.place.send_replace(place + 1);
        if unheard > 0 {
            unheard -= 1;
            continue;
        }
        let mut lost = false;
        if silent > 0 {
            silent -= 1;
            tokio::time::sleep(slow).await;
            rest.reset();
            lost = line.kind == Kind::Diff;
        }
        if line.kind == Kind::Diff && lost_diffs > 0 && !lost {
            lost_diffs -= 1;
            lost = true;
        }
        if line.kind == Kind::Snapshot {
            // Whoever recorded this had fetched it here, and so does whoever listens now.
            shared.fetched.notified().await;
        }
        if line.kind == Kind::Snapshot || lost {
            continue;
        }
        shared.until_heard().await;
        shared.tell(line.kind, &line.frame).await;
        if repeat {
            shared.tell(line.kind, &line.frame).await;
        }
        if let Some(first) = swapped.take_if(|first| first.kind == line.kind) {
            shared.tell(first.kind, &first.frame).await;
        }
    }
    shared.place.send_replace(shared.lines.len());
}

async fn say_goodbye(shared: &Shared) {
    let now = shared.state().truth.trades.last().map_or(0, |tick| tick.traded_at.micros() / 1_000);
    let notice = format!(r#"{{"e":"serverShutdown","E":{now}}}"#);
    let listeners: Vec<(bool, mpsc::Sender<String>)> = {
        let state = shared.state();
        let all = state.connections.iter();
        all.map(|connection| (connection.wrapped, connection.out.clone())).collect()
    };
    for (wrapped, listener) in listeners {
        let text = if wrapped {
            format!(r#"{{"stream":"!serverShutdown","data":{notice}}}"#)
        } else {
            notice.clone()
        };
        drop(listener.send(text).await);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        connections.spawn(serve(stream, Arc::clone(&shared)));
    }
}

/// One client: it is told what it subscribed to, until it is hung up on.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
    let remember = |request: &Request, response: Response| {
        path = request.uri().to_string();
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, remember).await else {
        return;
    };
    let streams = path.split_once("streams=").map_or("", |(_, streams)| streams);
    let streams: BTreeSet<String> =
        streams.split('/').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect();
    let (out, mut due) = mpsc::channel(QUEUE_LINES);
    let (held, mut hung_up) = oneshot::channel();
    let id = {
        let mut state = shared.state();
        state.connects += 1;
        let (id, wrapped) = (state.connects, path.starts_with("/stream"));
        state.connections.push(Connection { id, streams, wrapped, out, _held: held });
        id
    };
    shared.connected.notify_waiters();
    loop {
        let text = tokio::select! {
            biased;
            _ = &mut hung_up => break,
            text = due.recv() => text.expect("who is held is not forgotten"),
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => shared.subscribe(id, &text),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => break,
            },
        };
        if socket.send(Message::text(text)).await.is_err() {
            break;
        }
    }
    shared.state().connections.retain(|connection| connection.id != id);
}

async fn answer(listener: TcpListener, shared: Arc<Shared>) {
    let mut requests = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        requests.spawn(answer_one(stream, Arc::clone(&shared)));
    }
}

async fn answer_one(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (status, retry_after, body) = shared.respond(&path).await;
    let mut response = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         X-MBX-USED-WEIGHT-1M: 10\r\nConnection: close\r\n",
        body.len()
    );
    if let Some(seconds) = retry_after {
        write!(response, "Retry-After: {seconds}\r\n").expect("a String takes what is written");
    }
    drop(stream.write_all(format!("{response}\r\n{body}").as_bytes()).await);
    drop(stream.shutdown().await);
}

impl Shared {
    async fn respond(&self, path: &str) -> (u16, Option<u64>, String) {
        {
            let mut state = self.state();
            state.requests.push(path.to_owned());
            if let Some((status, retry_after)) = state.refusals.pop_front() {
                return (
                    status,
                    Some(retry_after),
                    r#"{"code":-1003,"msg":"Too many"}"#.to_owned(),
                );
            }
        }
        let (resource, query) = path.split_once('?').unwrap_or((path, ""));
        let number = |name: &str| -> Option<i64> {
            let mut parts = query.split('&').filter_map(|part| part.split_once('='));
            parts.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok())
        };
        let limit = usize::try_from(number("limit").unwrap_or(500)).unwrap_or(500);
        let body = match resource.rsplit('/').next().unwrap_or_default() {
            "exchangeInfo" => self.listing(),
            "depth" => {
                // The book is known from the recorded snapshot on.
                let mut place = self.place.subscribe();
                loop {
                    if let Some(body) = self.state().truth.depth(limit) {
                        self.fetched.notify_one();
                        break body;
                    }
                    if place.changed().await.is_err() {
                        return (503, None, "{}".to_owned());
                    }
                }
            }
            "klines" => {
                let (start, end) = (number("startTime"), number("endTime"));
                let state = self.state();
                match start {
                    Some(start) => {
                        state.truth.klines(start, end.unwrap_or(i64::from(i32::MAX) * 1_000), limit)
                    }
                    None => "[]".to_owned(),
                }
            }
            "historicalTrades" if self.state().keeps_trades => {
                return (401, None, r#"{"code":-2014,"msg":"API-key format invalid."}"#.to_owned());
            }
            "historicalTrades" => {
                let from = number("fromId").and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
                self.state().truth.trades_from(from, limit)
            }
            "time" => {
                let state = self.state();
                let now = state.truth.trades.last().map_or(0, |tick| tick.traded_at.micros());
                json!({"serverTime": now / 1_000}).to_string()
            }
            "ping" => "{}".to_owned(),
            _ => return (404, None, "{}".to_owned()),
        };
        (200, None, body)
    }

    fn listing(&self) -> String {
        let (tick, step) =
            if self.futures { ("0.10", "0.001") } else { ("0.01000000", "0.00001000") };
        json!({"timezone": "UTC", "symbols": [{
            "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
            "contractType": "PERPETUAL",
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
                {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000", "stepSize": step}
            ]
        }]})
        .to_string()
    }
}
