//! What clients send, and what is said of it.

use std::time::Duration;

use domain::candle::Interval;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::problem::Code;

/// Levels a side that a client gets when it does not say how many, and the most that it may ask for.
pub const DEPTH_DEFAULT: usize = 10;
pub const DEPTH_MAX: usize = 100;

/// The longest pause between two frames that a client may ask for. A longer one is `WS_003`.
const RATE_MS_MAX: u64 = 60_000;

/// Symbols that one message may name. More is `WS_003`: each is answered for itself.
const SYMBOLS_MAX: usize = 1_024;

/// How a connection speaks; chosen once, at the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Data and errors, with exactly the keys of the specification.
    Plain,
    /// Everything: sequences, snapshots, deltas, gaps, heartbeats.
    Extended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    Market,
    Orderbook,
    Candles,
}

impl Channel {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::Orderbook => "orderbook",
            Self::Candles => "candles",
        }
    }
}

/// What a client can be told of its own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnChannel {
    Positions,
    Account,
}

impl OwnChannel {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Positions => "positions",
            Self::Account => "account",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Positions, Self::Account].into_iter().find(|channel| channel.as_str() == name)
    }
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Given back in the answer. Without one there is no answer but errors.
    pub id: Option<Value>,
    pub action: Action,
}

#[derive(Debug, Clone)]
pub enum Action {
    Subscribe(Subscribe),
    Unsubscribe(Subscribe),
    /// With the pause that there is to be between two frames.
    SubscribeOwn(OwnChannel, Duration),
    UnsubscribeOwn(OwnChannel),
    List,
    Ping,
    Auth(Presented),
}

/// What a client presents to say who it is.
#[derive(Debug, Clone)]
pub enum Presented {
    Token(SecretString),
    Key(SecretString),
    Ticket(SecretString),
}

/// What is listened to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    pub channel: Channel,
    /// As they were written: each is judged for itself.
    pub symbols: Vec<String>,
    pub wishes: Wishes,
    pub from: Option<From>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// Levels a side, on `orderbook`.
    pub depth: usize,
    /// Changes of the book instead of whole books.
    pub deltas: bool,
    /// The length of a candle, on `candles`.
    pub interval: Interval,
    /// Between two frames of one subscription there is at least this; zero means all of them.
    pub pause: Duration,
    pub on_slow: OnSlow,
}

/// What becomes of a client that cannot keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnSlow {
    /// It goes on with the newest.
    Conflate,
    Disconnect,
}

/// Where a client goes on that was here before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    pub seq: u64,
    pub epoch: String,
}

/// Why a message, or a symbol in it, was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub code: Code,
    pub detail: String,
    pub id: Option<Value>,
}

impl Rejection {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), id: None }
    }
}

fn bad(detail: impl Into<String>) -> Rejection {
    Rejection::new(Code::WsBadParameter, detail)
}

impl Request {
    /// Reads a message. What we do not know is refused, so that nobody believes it has an effect.
    pub fn read(text: &str, mode: Mode) -> Result<Self, Rejection> {
        let message: Value = serde_json::from_str(text)
            .map_err(|error| Rejection::new(Code::WsNotJson, error.to_string()))?;
        let Value::Object(mut message) = message else {
            return Err(Rejection::new(Code::WsNotJson, "expected an object"));
        };
        let id = message.remove("id");
        if id.as_ref().is_some_and(|id| !id.is_string() && !id.is_number()) {
            return Err(bad("id must be a string or a number"));
        }
        match Self::action(message, mode) {
            Ok(Action::List) if id.is_none() => Err(bad("list needs an id")),
            Ok(action) => Ok(Self { id, action }),
            Err(rejection) => Err(Rejection { id, ..rejection }),
        }
    }

    fn action(mut message: Map<String, Value>, mode: Mode) -> Result<Action, Rejection> {
        let action = match take_text(&mut message, "action")?.as_str() {
            action @ ("subscribe" | "unsubscribe") => {
                let subscribes = action == "subscribe";
                let channel = take_text(&mut message, "channel")?;
                if let Some(own) = OwnChannel::named(&channel) {
                    take_own(&mut message, own, subscribes, mode)?
                } else {
                    let topics = Subscribe::take(&channel, &mut message, mode)?;
                    let action = if subscribes { Action::Subscribe } else { Action::Unsubscribe };
                    action(topics)
                }
            }
            "list" => Action::List,
            "ping" => Action::Ping,
            "auth" => Action::Auth(Presented::take(&mut message)?),
            other => {
                let detail = format!("action {other:?} is not served by this version");
                return Err(Rejection::new(Code::WsUnknown, detail));
            }
        };
        match message.keys().next() {
            Some(key) => Err(bad(format!("no such key here: {key:?}"))),
            None => Ok(action),
        }
    }
}

impl Subscribe {
    fn take(
        channel: &str,
        message: &mut Map<String, Value>,
        mode: Mode,
    ) -> Result<Self, Rejection> {
        let channel = match channel {
            "market" => Channel::Market,
            "orderbook" => Channel::Orderbook,
            "candles" if mode == Mode::Extended => Channel::Candles,
            "candles" => {
                let detail = "candles are for extended connections: connect with ?v=1";
                return Err(Rejection::new(Code::WsUnknown, detail));
            }
            other => {
                let detail = format!("channel {other:?} is not served by this version");
                return Err(Rejection::new(Code::WsUnknown, detail));
            }
        };
        if mode == Mode::Plain {
            let extended = ["from_seq", "epoch", "mode", "max_rate_ms", "on_slow"];
            if let Some(key) = extended.into_iter().find(|key| message.contains_key(*key)) {
                return Err(bad(format!("{key} is for extended connections: connect with ?v=1")));
            }
        }
        Ok(Self {
            channel,
            symbols: take_symbols(message)?,
            wishes: Wishes::take(message, channel)?,
            from: From::take(message)?,
        })
    }
}

impl Presented {
    fn take(message: &mut Map<String, Value>) -> Result<Self, Rejection> {
        let mut given = ["token", "api_key", "ticket"]
            .into_iter()
            .filter_map(|kind| message.remove(kind).map(|value| (kind, value)));
        // Nothing that is said about it repeats it.
        match (given.next(), given.next()) {
            (Some(("token", Value::String(text))), None) => Ok(Self::Token(text.into())),
            (Some(("api_key", Value::String(text))), None) => Ok(Self::Key(text.into())),
            (Some((_, Value::String(text))), None) => Ok(Self::Ticket(text.into())),
            (Some((kind, _)), None) => Err(bad(format!("{kind} must be a string"))),
            _ => Err(bad("auth takes exactly one of token, api_key and ticket")),
        }
    }
}

impl Wishes {
    /// Takes out the keys that the channel knows. Others stay in, and are refused with the rest.
    fn take(message: &mut Map<String, Value>, channel: Channel) -> Result<Self, Rejection> {
        let mut wishes = Self {
            depth: DEPTH_DEFAULT,
            deltas: false,
            interval: Interval::Minute,
            pause: Duration::ZERO,
            on_slow: OnSlow::Conflate,
        };
        if channel == Channel::Orderbook {
            if let Some(depth) = message.remove("depth") {
                wishes.depth = depth
                    .as_u64()
                    .and_then(|depth| usize::try_from(depth).ok())
                    .filter(|depth| (1..=DEPTH_MAX).contains(depth))
                    .ok_or_else(|| bad(format!("depth must be 1..{DEPTH_MAX}")))?;
            }
            if let Some(form) = message.remove("mode") {
                wishes.deltas = match form.as_str() {
                    Some("snapshot") => false,
                    Some("delta") => true,
                    _ => return Err(bad("mode must be snapshot or delta")),
                };
            }
        }
        if channel == Channel::Candles
            && let Some(interval) = message.remove("interval")
        {
            let interval = interval.as_str().and_then(|text| text.parse().ok());
            wishes.interval =
                interval.ok_or_else(|| bad("interval must be 1m, 5m, 1h, 4h or 1d"))?;
        }
        wishes.pause = take_pause(message)?;
        if let Some(on_slow) = message.remove("on_slow") {
            wishes.on_slow = match on_slow.as_str() {
                Some("conflate") => OnSlow::Conflate,
                Some("disconnect") => OnSlow::Disconnect,
                _ => return Err(bad("on_slow must be conflate or disconnect")),
            };
        }
        Ok(wishes)
    }
}

impl From {
    fn take(message: &mut Map<String, Value>) -> Result<Option<Self>, Rejection> {
        match (message.remove("from_seq"), message.remove("epoch")) {
            (None, None) => Ok(None),
            (Some(seq), Some(Value::String(epoch))) => {
                let seq = seq.as_u64().ok_or_else(|| bad("from_seq must be a whole number"))?;
                Ok(Some(Self { seq, epoch }))
            }
            (None | Some(_), _) => Err(bad("from_seq and epoch go together; epoch is a string")),
        }
    }
}

/// Reads what is asked of a channel of the client's own: it has no symbols, and what is new is the
/// whole of it.
fn take_own(
    message: &mut Map<String, Value>,
    channel: OwnChannel,
    subscribes: bool,
    mode: Mode,
) -> Result<Action, Rejection> {
    if mode == Mode::Plain {
        let name = channel.as_str();
        let detail = format!("{name} is for extended connections: connect with ?v=1");
        return Err(Rejection::new(Code::WsUnknown, detail));
    }
    if !subscribes {
        return Ok(Action::UnsubscribeOwn(channel));
    }
    Ok(Action::SubscribeOwn(channel, take_pause(message)?))
}

/// Returns the pause that a client wants between two frames; zero when it did not say.
fn take_pause(message: &mut Map<String, Value>) -> Result<Duration, Rejection> {
    let Some(rate) = message.remove("max_rate_ms") else { return Ok(Duration::ZERO) };
    let rate = rate.as_u64().filter(|rate| *rate <= RATE_MS_MAX);
    let rate = rate.ok_or_else(|| bad(format!("max_rate_ms must be 0..{RATE_MS_MAX}")))?;
    Ok(Duration::from_millis(rate))
}

/// Returns each symbol once, in the order in which they came.
fn take_symbols(message: &mut Map<String, Value>) -> Result<Vec<String>, Rejection> {
    let mut symbols: Vec<String> = match message.remove("symbols") {
        None => Vec::new(),
        Some(symbols) => {
            serde_json::from_value(symbols).map_err(|_| bad("symbols must be a list of strings"))?
        }
    };
    if message.contains_key("symbol") {
        symbols.push(take_text(message, "symbol")?);
    }
    if symbols.len() > SYMBOLS_MAX {
        return Err(bad(format!("symbols must name at most {SYMBOLS_MAX}")));
    }
    if symbols.is_empty() {
        return Err(bad("symbols must name at least one"));
    }
    let mut seen = std::collections::BTreeSet::new();
    symbols.retain(|symbol| seen.insert(symbol.clone()));
    Ok(symbols)
}

fn take_text(message: &mut Map<String, Value>, key: &str) -> Result<String, Rejection> {
    match message.remove(key) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(bad(format!("{key} must be a string"))),
    }
}

#[cfg(test)]
mod tests;
