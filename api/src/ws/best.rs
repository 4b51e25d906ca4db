//! The best levels of a book, as frames show them: whole, or by what changed.

use std::sync::Arc;

use domain::amount::at_scale;
use domain::book::Level;
use domain::instrument::Instrument;
use domain::order_book::OrderBook;
use domain::time::Timestamp;
use rust_decimal::Decimal;

use crate::ws::frames::{Scales, put};

/// Levels a side that a checksum covers.
const CHECKSUM_LEVELS: usize = 10;

/// The best levels of a book, as deep as anybody listens.
#[derive(Debug, PartialEq, Eq)]
pub struct Top {
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
    pub last_id: u64,
    pub told_at: Timestamp,
    pub scales: Scales,
}

/// A book cut to `depth` levels a side.
#[derive(Debug, Clone)]
pub struct Best {
    pub top: Arc<Top>,
    pub depth: usize,
}

/// What changed in the best levels since the frame `prev_seq`. Zero removes a level.
#[derive(Debug)]
pub struct Change {
    pub prev_seq: u64,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
    /// The book after it.
    pub after: Best,
}

impl Top {
    pub fn empty() -> Self {
        let (bids, asks) = (Vec::new(), Vec::new());
        Self { bids, asks, last_id: 0, told_at: Timestamp::MIN, scales: (0, 0) }
    }

    /// Returns the best `depth` levels a side.
    pub fn of(book: &OrderBook, depth: usize, told_at: Timestamp, scales: Scales) -> Self {
        Self {
            bids: book.bids().take(depth).collect(),
            asks: book.asks().take(depth).collect(),
            last_id: book.last_id(),
            told_at,
            scales,
        }
    }
}

impl Best {
    pub fn bids(&self) -> impl Iterator<Item = &Level> {
        self.top.bids.iter().take(self.depth)
    }

    pub fn asks(&self) -> impl Iterator<Item = &Level> {
        self.top.asks.iter().take(self.depth)
    }

    /// Returns the CRC32 of the best levels, asks first, as Kraken has it: each price and size as it
    /// is printed, without the point and without zeros in front.
    pub fn checksum(&self) -> u32 {
        let mut text = String::with_capacity(512);
        let depth = CHECKSUM_LEVELS.min(self.depth);
        let (price_scale, quantity_scale) = self.top.scales;
        let mut printed = String::new();
        for level in self.asks().take(depth).chain(self.bids().take(depth)) {
            for (value, scale) in
                [(level.price.value(), price_scale), (level.quantity, quantity_scale)]
            {
                printed.clear();
                put(&mut printed, format_args!("{}", at_scale(value, scale)));
                let digits = printed.chars().filter(|digit| *digit != '.');
                text.extend(digits.skip_while(|digit| *digit == '0'));
            }
        }
        crc32fast::hash(text.as_bytes())
    }

    pub fn put(&self, text: &mut String) {
        text.push_str(r#""bids":"#);
        put_levels(text, self.bids(), self.top.scales);
        text.push_str(r#","asks":"#);
        put_levels(text, self.asks(), self.top.scales);
        put(text, format_args!(r#","timestamp":"{}""#, self.top.told_at.to_millis_text()));
    }

    /// A book that is shown is always whole: what is not is an error instead.
    pub fn put_proof(&self, text: &mut String) {
        let last_id = self.top.last_id;
        put(text, format_args!(r#","last_update_id":{last_id},"synced":true,"verified":true"#));
    }
}

impl Change {
    pub fn put(&self, text: &mut String, instrument: &Instrument, seq: u64) {
        let head = r#"{"type":"delta","channel":"orderbook","seq":"#;
        put(text, format_args!(r#"{head}{seq},"prev_seq":{},"bids":"#, self.prev_seq));
        put_levels(text, &self.bids, self.after.top.scales);
        text.push_str(r#","asks":"#);
        put_levels(text, &self.asks, self.after.top.scales);
        let (told_at, checksum) = (self.after.top.told_at, self.after.checksum());
        put(
            text,
            format_args!(
                r#","symbol":"{instrument}","timestamp":"{}","checksum":{checksum}"#,
                told_at.to_millis_text(),
            ),
        );
        self.after.put_proof(text);
        text.push('}');
    }
}

fn put_levels<'a>(
    text: &mut String,
    levels: impl IntoIterator<Item = &'a Level>,
    (price_scale, quantity_scale): Scales,
) {
    text.push('[');
    for (place, level) in levels.into_iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let price = at_scale(level.price.value(), price_scale);
        // What removes a level is "0", whatever the scale.
        let quantity = if level.quantity.is_zero() {
            Decimal::ZERO
        } else {
            at_scale(level.quantity, quantity_scale)
        };
        put(text, format_args!(r#"{comma}["{price}","{quantity}"]"#));
    }
    text.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frames::{Content, Frame};
    use crate::ws::protocol::Mode;

    fn text(content: Content, mode: Mode) -> String {
        Frame::new(266_752, content).text(&"BTC-USDT".parse().unwrap(), mode)
    }

    fn level(price: &str, quantity: &str) -> Level {
        Level { price: price.parse().unwrap(), quantity: quantity.parse().unwrap() }
    }

    fn best(depth: usize) -> Best {
        let top = Top {
            bids: vec![level("65000", "1.234"), level("64999.00", "2.345"), level("64998", "1")],
            asks: vec![level("65001.00", "1.234"), level("65002.00", "2.345")],
            last_id: 7,
            told_at: "2024-03-21T09:30:00.123Z".parse().unwrap(),
            scales: (2, 3),
        };
        Best { top: Arc::new(top), depth }
    }

    #[test]
    fn a_book_is_written_as_the_specification_shows_it() {
        assert_eq!(
            text(Content::Book(best(2)), Mode::Plain),
            r#"{"symbol":"BTC-USDT","bids":[["65000.00","1.234"],["64999.00","2.345"]],"asks":[["65001.00","1.234"],["65002.00","2.345"]],"timestamp":"2024-03-21T09:30:00.123Z"}"#
        );
    }

    #[test]
    fn a_change_removes_a_level_with_zero() {
        let change = Change {
            prev_seq: 266_240,
            bids: vec![level("64998.00", "0.000")],
            asks: Vec::new(),
            after: best(2),
        };
        let text = text(Content::Change(change), Mode::Extended);
        let head = r#"{"type":"delta","channel":"orderbook","seq":266752,"prev_seq":266240,"bids":[["64998.00","0"]],"asks":[],"symbol""#;
        assert!(text.starts_with(head), "{text}");
    }

    #[test]
    fn a_checksum_covers_asks_then_bids_without_points_and_leading_zeros() {
        let digits = b"65001001234650020023456500000123464999002345";
        assert_eq!(best(2).checksum(), crc32fast::hash(digits));
    }

    /// The example of Kraken's own documents.
    #[test]
    fn a_checksum_is_krakens() {
        let side = |levels: [(&str, &str); 10]| levels.map(|(p, q)| level(p, q)).to_vec();
        let asks = side([
            ("0.05005", "0.00000500"),
            ("0.05010", "0.00000500"),
            ("0.05015", "0.00000500"),
            ("0.05020", "0.00000500"),
            ("0.05025", "0.00000500"),
            ("0.05030", "0.00000500"),
            ("0.05035", "0.00000500"),
            ("0.05040", "0.00000500"),
            ("0.05045", "0.00000500"),
            ("0.05050", "0.00000500"),
        ]);
        let bids = side([
            ("0.05000", "0.00000500"),
            ("0.04995", "0.00000500"),
            ("0.04990", "0.00000500"),
            ("0.04980", "0.00000500"),
            ("0.04975", "0.00000500"),
            ("0.04970", "0.00000500"),
            ("0.04965", "0.00000500"),
            ("0.04960", "0.00000500"),
            ("0.04955", "0.00000500"),
            ("0.04950", "0.00000500"),
        ]);
        let top = Top { bids, asks, last_id: 1, told_at: Timestamp::MIN, scales: (5, 8) };

        assert_eq!(Best { top: Arc::new(top), depth: 100 }.checksum(), 974_947_235);
    }
}
