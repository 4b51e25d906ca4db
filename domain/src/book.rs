//! What a venue tells of its order book.

use rust_decimal::Decimal;

use crate::amount::Price;

/// A price and how much rests there. In a diff, zero removes the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub price: Price,
    pub quantity: Decimal,
}

/// The best bid and the best ask: a witness of the book and a sign of life, not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Top {
    pub update_id: u64,
    pub bid: Level,
    pub ask: Level,
}

/// A whole book as of `update_id`: bids from the best down, asks from the best up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookSnapshot {
    pub update_id: u64,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

/// What changed from update `first_id` to `last_id`. Quantities are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookDiff {
    pub first_id: u64,
    pub last_id: u64,
    /// The `last_id` of the diff before, where the venue says so.
    pub previous_id: Option<u64>,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}
