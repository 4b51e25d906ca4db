//! Frames of data: each is encoded once for each mode, as the bytes that go over the wire.

use std::fmt::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;
use domain::amount::at_scale;
use domain::book::LostReason;
use domain::candle::{Candle, Interval, Source};
use domain::instrument::Instrument;
use domain::tick::Tick;
use domain::time::Timestamp;
use tokio::time::Instant;

use crate::ws::best::{Best, Change};
use crate::ws::protocol::Mode;

/// Digits after the point of prices and of quantities.
pub type Scales = (u32, u32);

/// One thing that is sent to all who listen to it.
#[derive(Debug)]
pub struct Frame {
    pub seq: u64,
    pub published_at: Instant,
    pub content: Content,
    plain: OnceLock<Bytes>,
    extended: OnceLock<Bytes>,
}

#[derive(Debug)]
pub enum Content {
    Trade {
        tick: Tick,
        scales: Scales,
    },
    Book(Best),
    Change(Change),
    /// The book cannot be told. Each session says so in its client's language.
    Lost(Lost),
    Candle {
        candle: Candle,
        closed: bool,
        interval: Interval,
        scales: Scales,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// No book was ever told.
    NeverTold,
    /// Nothing was told for too long.
    Old,
    Reason(LostReason),
}

impl Lost {
    pub const fn words(self) -> &'static str {
        match self {
            Self::NeverTold => "no book was told yet",
            Self::Old => "nothing was told of the book for too long",
            Self::Reason(LostReason::Hole) => "a change of the book is missing",
            Self::Reason(LostReason::Crossed) => "the book was crossed",
            Self::Reason(LostReason::Contradicted) => "the venue contradicted the book",
            Self::Reason(LostReason::Disconnected) => "the connection ended",
            Self::Reason(LostReason::Silent) => "the venue fell silent",
        }
    }
}

impl Frame {
    pub fn new(seq: u64, content: Content) -> Self {
        let (plain, extended) = (OnceLock::new(), OnceLock::new());
        Self { seq, published_at: Instant::now(), content, plain, extended }
    }

    /// Returns the bytes that go over the wire; `None` for what each session says itself.
    pub fn wire(&self, instrument: &Instrument, mode: Mode) -> Option<&Bytes> {
        if matches!(self.content, Content::Lost(_)) {
            return None;
        }
        let once = match mode {
            Mode::Plain => &self.plain,
            Mode::Extended => &self.extended,
        };
        Some(once.get_or_init(|| framed(&self.text(instrument, mode)).into()))
    }

    /// Whether it is a candle that still forms: the next of the same bucket takes its place.
    pub fn forming(&self) -> Option<Timestamp> {
        match &self.content {
            Content::Candle { candle, closed: false, .. } => Some(candle.opened_at),
            _ => None,
        }
    }

    /// Returns about how many bytes it takes, encoded and not.
    pub fn weight(&self) -> usize {
        let levels = |count: usize| count * 96;
        match &self.content {
            Content::Trade { .. } | Content::Candle { .. } | Content::Lost(_) => 768,
            Content::Book(best) => 768 + levels(2 * best.depth),
            Content::Change(change) => 768 + levels(change.bids.len() + change.asks.len()),
        }
    }

    // No text in here needs escaping: an instrument is capital letters, the rest digits and names.
    pub(super) fn text(&self, instrument: &Instrument, mode: Mode) -> String {
        let seq = self.seq;
        let mut text = String::with_capacity(256);
        match (&self.content, mode) {
            (Content::Trade { tick, scales }, mode) => {
                match mode {
                    Mode::Plain => text.push('{'),
                    Mode::Extended => {
                        let head = r#"{"type":"data","channel":"market","seq":"#;
                        put(&mut text, format_args!("{head}{seq},"));
                    }
                }
                let (price, quantity) = (tick.price.value(), tick.quantity.value());
                put(
                    &mut text,
                    format_args!(
                        r#""symbol":"{instrument}","price":"{}","timestamp":"{}","volume":"{}"}}"#,
                        at_scale(price, scales.0),
                        tick.traded_at.to_millis_text(),
                        at_scale(quantity, scales.1),
                    ),
                );
            }
            (Content::Book(best), mode) => {
                if mode == Mode::Plain {
                    put(&mut text, format_args!(r#"{{"symbol":"{instrument}","#));
                } else {
                    let head = r#"{"type":"snapshot","channel":"orderbook","seq":"#;
                    put(&mut text, format_args!(r#"{head}{seq},"symbol":"{instrument}","#));
                }
                best.put(&mut text);
                if mode == Mode::Extended {
                    put(&mut text, format_args!(r#","checksum":{}"#, best.checksum()));
                    best.put_proof(&mut text);
                }
                text.push('}');
            }
            (Content::Change(change), _) => change.put(&mut text, instrument, seq),
            (Content::Candle { candle, closed, interval, scales }, _) => {
                let head = r#"{"type":"data","channel":"candles","seq":"#;
                put(&mut text, format_args!(r#"{head}{seq},"symbol":"{instrument}","#));
                put_candle(&mut text, candle, *closed, *interval, *scales);
            }
            (Content::Lost(_), _) => {}
        }
        text
    }
}

pub fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("writing to a string succeeds");
}

fn put_candle(
    text: &mut String,
    candle: &Candle,
    closed: bool,
    interval: Interval,
    (price_scale, quantity_scale): Scales,
) {
    let source = match candle.source {
        Source::Native => "native",
        Source::Built => "built",
        Source::Filled => "filled",
    };
    let opened_at = candle.opened_at.to_millis_text();
    put(text, format_args!(r#""interval":"{interval}","timestamp":"{opened_at}""#));
    for (key, price) in
        [("open", candle.open), ("high", candle.high), ("low", candle.low), ("close", candle.close)]
    {
        put(text, format_args!(r#","{key}":"{}""#, price.at_scale(price_scale)));
    }
    for (key, volume, scale) in [
        ("volume", candle.volume, quantity_scale),
        ("quote_volume", candle.quote_volume, price_scale),
        ("taker_buy", candle.taker_buy, quantity_scale),
    ] {
        put(text, format_args!(r#","{key}":"{}""#, at_scale(volume, scale)));
    }
    put(
        text,
        format_args!(
            r#","trades":{},"closed":{closed},"source":"{source}","revision":{}}}"#,
            candle.trades, candle.revision,
        ),
    );
}

/// Returns a text as a whole WebSocket frame: a server's frames are not masked.
pub fn framed(text: &str) -> Vec<u8> {
    const WHOLE_TEXT: u8 = 0x81;
    let mut frame = Vec::with_capacity(text.len() + 10);
    frame.push(WHOLE_TEXT);
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ ..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use domain::tick::Side;

    use super::*;

    fn text(content: Content, mode: Mode) -> String {
        Frame::new(266_752, content).text(&"BTC-USDT".parse().unwrap(), mode)
    }

    #[test]
    fn a_trade_is_written_as_the_specification_shows_it() {
        let trade = || Content::Trade {
            tick: Tick {
                trade_id: 1,
                price: "65432.1".parse().unwrap(),
                quantity: "1.23".parse().unwrap(),
                taker: Side::Buy,
                traded_at: "2024-03-21T09:30:00.123999Z".parse().unwrap(),
                received_at: "2024-03-21T09:30:00.2Z".parse().unwrap(),
            },
            scales: (2, 2),
        };

        assert_eq!(
            text(trade(), Mode::Plain),
            r#"{"symbol":"BTC-USDT","price":"65432.10","timestamp":"2024-03-21T09:30:00.123Z","volume":"1.23"}"#
        );
        assert_eq!(
            text(trade(), Mode::Extended),
            r#"{"type":"data","channel":"market","seq":266752,"symbol":"BTC-USDT","price":"65432.10","timestamp":"2024-03-21T09:30:00.123Z","volume":"1.23"}"#
        );
    }

    #[test]
    fn a_frame_says_its_length_in_one_of_three_ways() {
        for (length, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = framed(&"x".repeat(length));
            assert_eq!((&frame[..head.len()], frame.len()), (&head[..], head.len() + length));
        }
    }
}
