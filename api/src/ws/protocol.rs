//! What clients send, and what is said of it.

use std::time::Duration;

use domain::candle::Interval;
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Given back in the answer. Without one there is no answer but errors.
    pub id: Option<Value>,
    pub action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Subscribe(Subscribe),
    Unsubscribe(Subscribe),
    /// With the pause that there is to be between two frames.
    SubscribeOwn(OwnChannel, Duration),
    UnsubscribeOwn(OwnChannel),
    List,
    Ping,
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
            "auth" => {
                let detail = "authentication is not served yet; what is served needs none";
                return Err(Rejection::new(Code::WsNotAuthenticated, detail));
            }
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
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Action, Code> {
        let read = Request::read(text, Mode::Extended);
        read.map(|request| request.action).map_err(|rejection| rejection.code)
    }

    #[test]
    fn a_message_is_taken_whole_or_not_at_all() {
        for (text, code) in [
            ("", Code::WsNotJson),
            ("[]", Code::WsNotJson),
            (r#"{"action":"subscribe""#, Code::WsNotJson),
            (r#"{"channel":"market"}"#, Code::WsBadParameter),
            (r#"{"action":"buy","channel":"market"}"#, Code::WsUnknown),
            (
                r#"{"action":"subscribe","channel":"positions","symbol":"A-B"}"#,
                Code::WsBadParameter,
            ),
            (r#"{"action":"subscribe","channel":"risk","symbol":"A-B"}"#, Code::WsUnknown),
            (r#"{"action":"subscribe","channel":"market"}"#, Code::WsBadParameter),
            (r#"{"action":"subscribe","channel":"market","symbols":"A-B"}"#, Code::WsBadParameter),
            (r#"{"action":"ping","channel":"market"}"#, Code::WsBadParameter),
            (r#"{"action":"list"}"#, Code::WsBadParameter),
            (r#"{"action":"auth","ticket":"t"}"#, Code::WsNotAuthenticated),
        ] {
            assert_eq!(read(text), Err(code), "{text}");
        }
    }

    #[test]
    fn a_key_is_refused_where_it_has_no_effect_or_no_such_value() {
        for (channel, keys) in [
            ("market", r#""id":{}"#),
            ("market", r#""from_seq":1"#),
            ("market", r#""epoch":"e""#),
            ("market", r#""from_seq":-1,"epoch":"e""#),
            ("market", r#""from_seq":1,"epoch":2"#),
            ("market", r#""depth":10"#),
            ("market", r#""interval":"1m""#),
            ("market", r#""max_rate_ms":60001"#),
            ("market", r#""on_slow":"wait""#),
            ("orderbook", r#""depth":0"#),
            ("orderbook", r#""depth":101"#),
            ("orderbook", r#""depth":"10""#),
            ("orderbook", r#""mode":"both""#),
            ("orderbook", r#""interval":"1m""#),
            ("candles", r#""interval":"2m""#),
            ("candles", r#""mode":"delta""#),
            ("candles", r#""speed":1"#),
            ("positions", r#""depth":1"#),
        ] {
            let text =
                format!(r#"{{"action":"subscribe","channel":"{channel}","symbol":"A-B",{keys}}}"#);
            assert_eq!(read(&text), Err(Code::WsBadParameter), "{text}");
        }
    }

    #[test]
    fn a_subscription_says_what_and_how() {
        let text = r#"{"action":"subscribe","channel":"orderbook","symbols":["A-B","C-D","A-B"],
            "symbol":"E-F","depth":25,"mode":"delta","max_rate_ms":250,"on_slow":"disconnect",
            "from_seq":266752,"epoch":"e"}"#;
        let Ok(Action::Subscribe(subscribe)) = read(text) else { panic!() };

        assert_eq!(subscribe.symbols, ["A-B", "C-D", "E-F"]);
        assert_eq!(subscribe.from, Some(From { seq: 266_752, epoch: "e".into() }));
        let wishes = subscribe.wishes;
        assert_eq!((wishes.depth, wishes.deltas), (25, true));
        assert_eq!((wishes.pause.as_millis(), wishes.on_slow), (250, OnSlow::Disconnect));
    }

    #[test]
    fn a_channel_of_ones_own_has_no_symbols() {
        let text = r#"{"action":"subscribe","channel":"positions","max_rate_ms":500}"#;
        let pause = Duration::from_millis(500);
        assert_eq!(read(text), Ok(Action::SubscribeOwn(OwnChannel::Positions, pause)));
        let text = r#"{"action":"unsubscribe","channel":"account"}"#;
        assert_eq!(read(text), Ok(Action::UnsubscribeOwn(OwnChannel::Account)));
    }

    #[test]
    fn a_plain_connection_has_the_keys_of_the_specification() {
        let plain = |text| Request::read(text, Mode::Plain).map_err(|rejection| rejection.code);

        let book = r#"{"action":"subscribe","channel":"orderbook","symbol":"A-B","depth":10}"#;
        assert!(plain(book).is_ok());
        let candles = r#"{"action":"subscribe","channel":"candles","symbol":"A-B"}"#;
        assert_eq!(plain(candles), Err(Code::WsUnknown));
        let own = r#"{"action":"subscribe","channel":"account"}"#;
        assert_eq!(plain(own), Err(Code::WsUnknown));
        let deltas =
            r#"{"action":"subscribe","channel":"orderbook","symbol":"A-B","mode":"delta"}"#;
        assert_eq!(plain(deltas), Err(Code::WsBadParameter));
    }
}
