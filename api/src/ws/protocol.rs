//! The messages of the WebSocket: what clients send, and how frames are written.

use domain::amount::at_scale;
use domain::instrument::Instrument;
use domain::tick::Tick;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::problem::{Code, Language};

/// The one channel so far.
const MARKET: &str = "market";

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Given back in the answer. Without one there is no answer but errors.
    pub id: Option<Value>,
    pub action: Action,
    /// As they were written: each is judged for itself.
    pub symbols: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Subscribe,
    Unsubscribe,
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

impl Request {
    /// Reads a message. What we do not know is refused, so that nobody believes it has an effect.
    pub fn read(text: &str) -> Result<Self, Rejection> {
        let message: Value = serde_json::from_str(text)
            .map_err(|error| Rejection::new(Code::WsNotJson, error.to_string()))?;
        let Value::Object(mut message) = message else {
            return Err(Rejection::new(Code::WsNotJson, "expected an object"));
        };
        let id = message.remove("id");
        if id.as_ref().is_some_and(|id| !id.is_string() && !id.is_number()) {
            return Err(Rejection::new(Code::WsBadParameter, "id must be a string or a number"));
        }
        Self::of(id.clone(), message).map_err(|rejection| Rejection { id, ..rejection })
    }

    fn of(id: Option<Value>, mut message: Map<String, Value>) -> Result<Self, Rejection> {
        let action = match take_text(&mut message, "action")?.as_str() {
            "subscribe" => Action::Subscribe,
            "unsubscribe" => Action::Unsubscribe,
            other => {
                let detail = format!("action {other:?} is not served by this version");
                return Err(Rejection::new(Code::WsUnknown, detail));
            }
        };
        let channel = take_text(&mut message, "channel")?;
        if channel != MARKET {
            let detail = format!("channel {channel:?} is not served by this version");
            return Err(Rejection::new(Code::WsUnknown, detail));
        }
        let mut symbols = match message.remove("symbols") {
            None => Vec::new(),
            Some(symbols) => serde_json::from_value(symbols).map_err(|_| {
                Rejection::new(Code::WsBadParameter, "symbols must be a list of strings")
            })?,
        };
        if message.contains_key("symbol") {
            symbols.push(take_text(&mut message, "symbol")?);
        }
        if symbols.is_empty() {
            return Err(Rejection::new(Code::WsBadParameter, "symbols must name at least one"));
        }
        match message.keys().next() {
            Some(key) => Err(Rejection::new(Code::WsBadParameter, format!("no such key: {key:?}"))),
            None => Ok(Self { id, action, symbols }),
        }
    }
}

fn take_text(message: &mut Map<String, Value>, key: &str) -> Result<String, Rejection> {
    match message.remove(key) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Rejection::new(Code::WsBadParameter, format!("{key} must be a string"))),
    }
}

/// Returns the frame of one trade: exactly the keys of the specification, in its order.
pub fn trade_frame(
    instrument: &Instrument,
    tick: &Tick,
    (price_scale, quantity_scale): (u32, u32),
) -> Utf8Bytes {
    // No text in here needs escaping: an instrument is capital letters, the rest digits.
    format!(
        r#"{{"symbol":"{instrument}","price":"{}","timestamp":"{}","volume":"{}"}}"#,
        at_scale(tick.price.value(), price_scale),
        tick.traded_at.to_millis_text(),
        at_scale(tick.quantity.value(), quantity_scale),
    )
    .into()
}

#[derive(Serialize)]
struct ErrorFrame<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: &'a Option<Value>,
    code: &'static str,
    message: &'static str,
    detail: &'a str,
}

/// Returns the frame that says why something was not taken.
pub fn error_frame(rejection: &Rejection, language: Language) -> Utf8Bytes {
    encoded(&ErrorFrame {
        r#type: "error",
        id: &rejection.id,
        code: rejection.code.words().code,
        message: language.say(rejection.code),
        detail: &rejection.detail,
    })
}

#[derive(Serialize)]
struct AckFrame<'a> {
    r#type: &'static str,
    id: &'a Value,
    action: Action,
    channel: &'static str,
    symbols: &'a [Instrument],
    rejected: Vec<RejectedSymbol<'a>>,
}

#[derive(Serialize)]
struct RejectedSymbol<'a> {
    symbol: &'a str,
    code: &'static str,
    message: &'static str,
}

/// Returns the frame that says what became of a message that had an id.
pub fn ack_frame(
    id: &Value,
    action: Action,
    symbols: &[Instrument],
    rejected: &[(String, Rejection)],
    language: Language,
) -> Utf8Bytes {
    let rejected = rejected.iter().map(|(symbol, rejection)| RejectedSymbol {
        symbol,
        code: rejection.code.words().code,
        message: language.say(rejection.code),
    });
    let rejected = rejected.collect();
    encoded(&AckFrame { r#type: "ack", id, action, channel: MARKET, symbols, rejected })
}

fn encoded(frame: &impl Serialize) -> Utf8Bytes {
    serde_json::to_string(frame).expect("texts can always be written as JSON").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trade_is_written_as_the_specification_shows_it() {
        let tick = Tick {
            trade_id: 1,
            price: "65432.1".parse().unwrap(),
            quantity: "1.23".parse().unwrap(),
            taker: domain::tick::Side::Buy,
            traded_at: "2024-03-21T09:30:00.123999Z".parse().unwrap(),
            received_at: "2024-03-21T09:30:00.2Z".parse().unwrap(),
        };

        assert_eq!(
            trade_frame(&"BTC-USDT".parse().unwrap(), &tick, (2, 2)).as_str(),
            r#"{"symbol":"BTC-USDT","price":"65432.10","timestamp":"2024-03-21T09:30:00.123Z","volume":"1.23"}"#
        );
    }

    #[test]
    fn a_message_is_taken_whole_or_not_at_all() {
        let read = |text| Request::read(text).map_err(|rejection| rejection.code);

        let both =
            r#"{"action":"unsubscribe","channel":"market","symbols":["A-B"],"symbol":"C-D"}"#;
        assert_eq!(read(both).unwrap().symbols, ["A-B", "C-D"]);
        for (text, code) in [
            ("", Code::WsNotJson),
            ("[]", Code::WsNotJson),
            (r#"{"action":"subscribe""#, Code::WsNotJson),
            (r#"{"channel":"market"}"#, Code::WsBadParameter),
            (r#"{"action":"buy","channel":"market"}"#, Code::WsUnknown),
            (r#"{"action":"subscribe","channel":"orderbook","symbol":"A-B"}"#, Code::WsUnknown),
            (r#"{"action":"subscribe","channel":"market"}"#, Code::WsBadParameter),
            (r#"{"action":"subscribe","channel":"market","symbols":"A-B"}"#, Code::WsBadParameter),
            (
                r#"{"action":"subscribe","channel":"market","symbol":"A-B","from_seq":1}"#,
                Code::WsBadParameter,
            ),
            (
                r#"{"action":"subscribe","channel":"market","symbol":"A-B","id":{}}"#,
                Code::WsBadParameter,
            ),
        ] {
            assert_eq!(read(text), Err(code), "{text}");
        }
    }
}
