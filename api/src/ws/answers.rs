//! What one session tells its own client: acknowledgements, errors, gaps, signs of life.

use domain::instrument::Instrument;
use domain::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::principal::Principal;
use crate::problem::Language;
use crate::ws::protocol::{Channel, OwnChannel, Rejection};
use crate::ws::topic::{Subject, TopicKey};

/// Why frames were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The client was slower, or wanted fewer.
    Conflated,
    /// They are not kept any more.
    Expired,
    /// They belong to another log.
    EpochChanged,
}

/// What became of a subscription that goes on from before.
#[derive(Debug, Clone, Copy)]
pub struct Resumed<'a> {
    pub epoch: &'a str,
    pub resumed: bool,
}

#[derive(Serialize)]
struct AckFrame<'a> {
    r#type: &'static str,
    id: &'a Value,
    action: &'static str,
    channel: &'static str,
    symbols: &'a [Instrument],
    rejected: Vec<RejectedSymbol<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed: Option<bool>,
}

#[derive(Serialize)]
struct RejectedSymbol<'a> {
    symbol: &'a str,
    code: &'static str,
    message: &'static str,
}

/// Says what became of a message that had an id. What was subscribed says where it can go on.
pub fn ack(
    id: &Value,
    (action, channel): (&'static str, &'static str),
    symbols: &[Instrument],
    rejected: &[(String, Rejection)],
    resumed: Option<Resumed<'_>>,
    language: Language,
) -> String {
    let rejected = rejected.iter().map(|(symbol, rejection)| RejectedSymbol {
        symbol,
        code: rejection.code.words().code,
        message: language.say(rejection.code),
    });
    let rejected = rejected.collect();
    let (epoch, resumed) = (resumed.map(|it| it.epoch), resumed.map(|it| it.resumed));
    text(&AckFrame { r#type: "ack", id, action, channel, symbols, rejected, epoch, resumed })
}

/// One subscription, as `list` shows it.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    channel: &'static str,
    /// None, of the client's own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a Instrument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<&'static str>,
    /// The last sequence that was sent, where there are sequences.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

impl<'a> Listed<'a> {
    pub fn of(key: &'a TopicKey, seq: u64) -> Self {
        let (depth, mode, interval) = match key.subject {
            Subject::Trades => (None, None, None),
            Subject::Book { depth, deltas } => {
                (Some(depth), Some(if deltas { "delta" } else { "snapshot" }), None)
            }
            Subject::Candles(interval) => (None, None, Some(interval.as_str())),
        };
        let (channel, symbol) = (key.subject.channel().as_str(), Some(&key.instrument));
        Self { channel, symbol, depth, mode, interval, seq: Some(seq) }
    }

    pub const fn own(channel: OwnChannel) -> Self {
        let channel = channel.as_str();
        Self { channel, symbol: None, depth: None, mode: None, interval: None, seq: None }
    }
}

#[derive(Serialize)]
struct ListFrame<'a> {
    r#type: &'static str,
    id: &'a Value,
    action: &'static str,
    subscriptions: &'a [Listed<'a>],
    epoch: &'a str,
}

pub fn list(id: &Value, subscriptions: &[Listed<'_>], epoch: &str) -> String {
    text(&ListFrame { r#type: "ack", id, action: "list", subscriptions, epoch })
}

#[derive(Serialize)]
struct AuthenticatedFrame<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    action: &'static str,
    account: &'a str,
    role: &'static str,
    /// None, of what does not expire.
    expires_at: Option<String>,
}

/// Says whose the session is now, and for how long.
pub fn authenticated(id: Option<&Value>, principal: &Principal) -> String {
    text(&AuthenticatedFrame {
        r#type: "ack",
        id,
        action: "auth",
        account: principal.account.as_str(),
        role: principal.role.as_str(),
        expires_at: principal.expires_at.map(Timestamp::to_millis_text),
    })
}

#[derive(Serialize)]
struct ErrorFrame<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: &'a Option<Value>,
    code: &'static str,
    message: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a Instrument>,
}

/// Says why something was not taken or, of a topic, why nothing can be told.
pub fn error(rejection: &Rejection, topic: Option<&TopicKey>, language: Language) -> String {
    let channel = topic.map(|key| key.subject.channel().as_str());
    told(rejection, channel, topic.map(|key| &key.instrument), language)
}

/// Says why nothing can be told of the client's own account.
pub fn own_error(rejection: &Rejection, channel: OwnChannel, language: Language) -> String {
    told(rejection, Some(channel.as_str()), None, language)
}

fn told(
    rejection: &Rejection,
    channel: Option<&'static str>,
    symbol: Option<&Instrument>,
    language: Language,
) -> String {
    text(&ErrorFrame {
        r#type: "error",
        id: &rejection.id,
        code: rejection.code.words().code,
        message: language.say(rejection.code),
        detail: &rejection.detail,
        channel,
        symbol,
    })
}

#[derive(Serialize)]
struct GapFrame<'a> {
    r#type: &'static str,
    channel: Channel,
    symbol: &'a Instrument,
    from: u64,
    to: u64,
    reason: GapReason,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<&'static str>,
}

/// Says that nothing of `from..=to` comes any more.
pub fn gap(key: &TopicKey, from: u64, to: u64, reason: GapReason) -> String {
    let interval = match key.subject {
        Subject::Candles(interval) => Some(interval.as_str()),
        Subject::Trades | Subject::Book { .. } => None,
    };
    let (channel, symbol) = (key.subject.channel(), &key.instrument);
    text(&GapFrame { r#type: "gap", channel, symbol, from, to, reason, interval })
}

#[derive(Serialize)]
struct PongFrame<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: &'a Option<Value>,
}

pub fn pong(id: &Option<Value>) -> String {
    text(&PongFrame { r#type: "pong", id })
}

#[derive(Serialize)]
struct HeartbeatFrame {
    r#type: &'static str,
    ts: String,
    counter: u64,
}

/// Says that we are still there; `counter` misses nothing as long as the client does not.
pub fn heartbeat(now: Timestamp, counter: u64) -> String {
    text(&HeartbeatFrame { r#type: "heartbeat", ts: now.to_millis_text(), counter })
}

#[derive(Serialize)]
struct ClosingFrame<'a> {
    r#type: &'static str,
    reason: &'a str,
    reconnect_after_ms: u64,
}

/// Says that the connection ends soon, and when to come back: not all at once.
pub fn closing(reason: &str, reconnect_after_ms: u64) -> String {
    text(&ClosingFrame { r#type: "closing", reason, reconnect_after_ms })
}

fn text(frame: &impl Serialize) -> String {
    serde_json::to_string(frame).expect("texts can always be written as JSON")
}
