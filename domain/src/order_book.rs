//! An order book as it stands: levels on both sides, and the rule by which a diff continues them.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::amount::Price;
use crate::book::{BookDiff, BookSnapshot, Level, LostReason};

/// Levels a side that are remembered. Beyond it the worst is forgotten: it stands far below what is
/// ever shown.
pub const LEVELS_MAX: usize = 20_000;

/// All levels that are known as of `last_id`. The best bid is always below the best ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderBook {
    last_id: u64,
    bids: BTreeMap<Price, Decimal>,
    asks: BTreeMap<Price, Decimal>,
}

/// What became of a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It continued the book.
    Changed,
    /// The book was further already.
    Old,
}

impl OrderBook {
    /// Returns the book that a snapshot tells of; an error when its sides cross.
    pub fn of(snapshot: &BookSnapshot) -> Result<Self, LostReason> {
        let side = |levels: &[Level]| {
            let resting = levels.iter().filter(|level| !level.quantity.is_zero());
            resting.map(|level| (level.price, level.quantity)).collect()
        };
        let mut book = Self {
            last_id: snapshot.update_id,
            bids: side(&snapshot.bids),
            asks: side(&snapshot.asks),
        };
        book.bound();
        if book.is_crossed() { Err(LostReason::Crossed) } else { Ok(book) }
    }

    /// Returns the venue's id of the last update that is in.
    pub const fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Returns the bids, best first.
    pub fn bids(&self) -> impl Iterator<Item = Level> + '_ {
        self.bids.iter().rev().map(|(&price, &quantity)| Level { price, quantity })
    }

    /// Returns the asks, best first.
    pub fn asks(&self) -> impl Iterator<Item = Level> + '_ {
        self.asks.iter().map(|(&price, &quantity)| Level { price, quantity })
    }

    /// Returns how many bids and asks are known.
    pub fn counts(&self) -> (usize, usize) {
        (self.bids.len(), self.asks.len())
    }

    /// Returns the book cut to `levels_max` a side.
    pub fn snapshot(&self, levels_max: usize) -> BookSnapshot {
        BookSnapshot {
            update_id: self.last_id,
            bids: self.bids().take(levels_max).collect(),
            asks: self.asks().take(levels_max).collect(),
        }
    }

    /// Whether a diff continues this book, or is older than it. A first diff after a snapshot may
    /// begin before it: quantities are absolute.
    pub fn continues(&self, diff: &BookDiff) -> Result<Applied, LostReason> {
        continues(self.last_id, diff)
    }

    /// Takes in a diff. After an error the book is of no use any more.
    pub fn apply(&mut self, diff: &BookDiff) -> Result<Applied, LostReason> {
        if self.continues(diff)? == Applied::Old {
            return Ok(Applied::Old);
        }
        change(&mut self.bids, &diff.bids);
        change(&mut self.asks, &diff.asks);
        self.bound();
        self.last_id = diff.last_id;
        if self.is_crossed() { Err(LostReason::Crossed) } else { Ok(Applied::Changed) }
    }

    fn bound(&mut self) {
        while self.bids.len() > LEVELS_MAX {
            self.bids.pop_first();
        }
        while self.asks.len() > LEVELS_MAX {
            self.asks.pop_last();
        }
    }

    fn is_crossed(&self) -> bool {
        match (self.bids.last_key_value(), self.asks.first_key_value()) {
            (Some((bid, _)), Some((ask, _))) => bid >= ask,
            _ => false,
        }
    }
}

/// Whether a diff continues a book whose last update is `last_id`.
pub fn continues(last_id: u64, diff: &BookDiff) -> Result<Applied, LostReason> {
    if diff.last_id <= last_id {
        return Ok(Applied::Old);
    }
    let previous = diff.previous_id.unwrap_or(diff.first_id.saturating_sub(1));
    if previous <= last_id { Ok(Applied::Changed) } else { Err(LostReason::Hole) }
}

fn change(side: &mut BTreeMap<Price, Decimal>, levels: &[Level]) {
    for level in levels {
        if level.quantity.is_zero() {
            // A level that nobody knew of goes: venues do that.
            side.remove(&level.price);
        } else {
            side.insert(level.price, level.quantity);
        }
    }
}

#[cfg(test)]
mod tests;
