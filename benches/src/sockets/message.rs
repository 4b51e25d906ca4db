//! The messages that every side delivers: one trade each, as plain mode shows it, all of one length.

use std::ops::Range;

use domain::amount::{Price, Quantity};
use domain::event::Event;
use domain::market::event::MarketEvent;
use domain::tick::{Side, Tick};
use domain::time::Timestamp;
use eventlog::entry::{Actor, Draft};
use uuid::Uuid;

pub const VENUE: &str = "binance";
pub const SYMBOL: &str = "BTC-USDT";

/// What a client asks for, and how the answer ends that every side gives.
pub const SUBSCRIBE: &str =
    r#"{"id":1,"action":"subscribe","channel":"market","symbols":["BTC-USDT"]}"#;
pub const ACK: &str = r#"{"type":"ack","id":1,"action":"subscribe","channel":"market","symbols":["BTC-USDT"],"rejected":[]}"#;
pub const ACK_END: &str = r#""rejected":[]}"#;

/// Returns message number `id` as text. It holds one `{`, by which messages can be counted.
pub fn text(id: u64) -> String {
    let Tick { price, quantity, traded_at, .. } = tick(id);
    format!(
        r#"{{"symbol":"{SYMBOL}","price":"{}","timestamp":"{}","volume":"{}"}}"#,
        price.value(),
        traded_at.to_millis_text(),
        quantity.value()
    )
}

/// Returns a text as a server's whole WebSocket frame. Ours are short.
pub fn framed(text: &str) -> Vec<u8> {
    const WHOLE_TEXT: u8 = 0x81;
    let length = u8::try_from(text.len()).ok().filter(|length| *length <= 125);
    let mut frame = vec![WHOLE_TEXT, length.expect("a short text")];
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Returns a client's whole frame: masked with zeros, so the payload stays as it is.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const WHOLE: u8 = 0x80;
    const MASKED: u8 = 0x80;
    let length = u8::try_from(payload.len()).ok().filter(|length| *length <= 125);
    let mut frame = vec![WHOLE | opcode, MASKED | length.expect("a short payload"), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

/// Returns an entry of the same messages, for our log.
pub fn draft(ids: Range<u64>) -> Draft {
    let append_id = Uuid::from_u128(u128::from(ids.start) + 1);
    Draft {
        stream: format!("market-{VENUE}.{SYMBOL}").parse().expect("a stream's name"),
        append_id,
        command_id: append_id,
        recorded_at: began_at(),
        actor: Actor { principal: "bench".into(), role: "feed".into(), via: "bench".into() },
        correlation_id: None,
        causation: None,
        events: ids.map(tick).map(MarketEvent::TickObserved).map(Event::Market).collect(),
    }
}

/// When the first trade was made.
pub fn began_at() -> Timestamp {
    Timestamp::from_micros(1_711_013_400_000_000)
}

/// Trades a millisecond apart. The quantity tells the number, in digits of one length; the first
/// ends in no zero, so that it shows how many digits there are.
fn tick(id: u64) -> Tick {
    let number = i64::try_from(id).expect("a small id");
    assert!(number < 900_000, "one digit before the point");
    let traded_at = began_at().plus(number * 1_000);
    Tick {
        trade_id: id + 1,
        price: Price::of_units(6_500_000 + number * 7_919 % 4_001, 2).expect("a price"),
        quantity: Quantity::of_units(100_001 + number, 5).expect("a quantity"),
        taker: Side::Buy,
        traded_at,
        received_at: traded_at,
    }
}
