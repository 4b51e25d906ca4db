//! What a market order gets: the levels of a book that it would take, or the last price.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::amount::{self, Price, Quantity};
use crate::book::Level;
use crate::exact::{self, DIGITS, Rounding};
use crate::instrument::{Instrument, Venue};
use crate::order_book::OrderBook;
use crate::tick::{NOTIONAL_MAX, Side, TICK_SCALE_MAX};

/// Levels are taken as far as this from the best price, as a share of it.
pub const DEPTH_SHARE: Decimal = Decimal::from_parts(2, 0, 0, false, 2);

/// Levels that one order takes at most: an event names them all. A book that would have to give more
/// counts as too thin.
pub const LEVELS_TAKEN_MAX: usize = 1_000;

/// A trade further than this outside of the synced book's spread, as a share of the near side, is
/// suspect: nobody acts on it alone.
pub const SUSPECT_SHARE: Decimal = Decimal::from_parts(5, 0, 0, false, 3);

/// An entry of an instrument's market stream, by which whoever relied on it can be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketEntry {
    pub venue: Venue,
    pub instrument: Instrument,
    pub version: u64,
}

/// What a quantity was bought or sold for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    pub quantity: Quantity,
    /// Σ price × quantity, exact.
    pub cost: Decimal,
    /// cost ÷ quantity, half to even at 18 digits: for the eye, nothing is computed from it.
    pub price: Decimal,
    pub basis: Basis,
    /// What was taken of the book, best first, each with the quantity taken; empty on another basis.
    /// A part names the levels of the whole.
    pub levels: Vec<Level>,
    /// The last price at the time; the best price of the side taken where none was known.
    pub mark: Price,
    /// The market as it stood: its newest entry then.
    pub market: MarketEntry,
    /// Of which fill this is a part by size, where an order did two things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<Whole>,
}

/// A fill that fell into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    pub quantity: Quantity,
    pub cost: Decimal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    BookVwap,
    LastPrice,
}

/// A market at one moment, as far as it can be relied on.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Only while it is synced and fresh.
    pub book: Option<&'a OrderBook>,
    /// The last price, only while it is fresh.
    pub last: Option<Price>,
    pub market: &'a MarketEntry,
}

/// Why nothing can be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoFill {
    #[error("there is no fresh price")]
    NoPrice,
    #[error("the last price {last} is far outside of the book, {bid} to {ask}")]
    Suspect { last: Price, bid: Price, ask: Price },
    #[error("the cost is more than {NOTIONAL_MAX}, or has too many digits to be held exactly")]
    Inexact,
}

impl Sight<'_> {
    /// Returns what a market order on this side would get.
    pub fn fill(&self, side: Side, quantity: Quantity) -> Result<Fill, NoFill> {
        if let Some(levels) = self.book.and_then(|book| taken(book, side, quantity)) {
            return self.of_levels(quantity, levels);
        }
        let last = self.last.ok_or(NoFill::NoPrice)?;
        match self.spread_left() {
            Some((bid, ask)) => Err(NoFill::Suspect { last, bid, ask }),
            None => Fill::at_price(quantity, last, self.market.clone()),
        }
    }

    /// Whether the last price stands too far outside of the book to be acted on alone.
    pub fn is_suspect(&self) -> bool {
        self.spread_left().is_some()
    }

    /// Returns the best prices that the last price is too far outside of.
    fn spread_left(&self) -> Option<(Price, Price)> {
        let (book, last) = (self.book?, self.last?);
        let (bid, ask) = (book.bids().next()?.price, book.asks().next()?.price);
        let lowest = exact::mul(bid.value(), Decimal::ONE - SUSPECT_SHARE)?;
        let highest = exact::mul(ask.value(), Decimal::ONE + SUSPECT_SHARE)?;
        let inside = lowest <= last.value() && last.value() <= highest;
        (!inside).then_some((bid, ask))
    }

    fn of_levels(&self, quantity: Quantity, levels: Vec<Level>) -> Result<Fill, NoFill> {
        let best = levels.first().ok_or(NoFill::NoPrice)?.price;
        let cost = levels
            .iter()
            .try_fold(Decimal::ZERO, |sum, level| {
                exact::add(sum, exact::mul(level.price.value(), level.quantity)?)
            })
            .ok_or(NoFill::Inexact)?;
        let mark = self.last.unwrap_or(best);
        let fill = Fill {
            quantity,
            cost,
            price: average(cost, quantity, mark).ok_or(NoFill::Inexact)?,
            basis: Basis::BookVwap,
            levels,
            mark,
            market: self.market.clone(),
            part_of: None,
        };
        fill.bounded()
    }
}

impl Fill {
    /// Returns the fill of all of a quantity at the last price.
    pub fn at_price(quantity: Quantity, price: Price, market: MarketEntry) -> Result<Self, NoFill> {
        let cost = exact::mul(price.value(), quantity.value()).ok_or(NoFill::Inexact)?;
        let fill = Self {
            quantity,
            cost,
            price: price.value(),
            basis: Basis::LastPrice,
            levels: Vec::new(),
            mark: price,
            market,
            part_of: None,
        };
        fill.bounded()
    }

    fn bounded(self) -> Result<Self, NoFill> {
        if self.cost > Decimal::from(NOTIONAL_MAX) { Err(NoFill::Inexact) } else { Ok(self) }
    }

    /// Whether the quantity is finer than prices of this market leave room for. The money of such a
    /// position would need digits that an account cannot hold, and then nobody could close it.
    pub(crate) fn is_too_fine(&self) -> bool {
        let digits = amount::scale_that_counts(self.quantity.value());
        digits + self.mark.value().scale() > TICK_SCALE_MAX
    }

    /// Returns this fill in two parts, the first of `quantity`, which is less than the whole. The
    /// cost of the first is rounded, and the second has the rest: together they cost what the whole
    /// does. `None` where figures are not exact.
    pub fn split(self, quantity: Quantity) -> Option<(Self, Self)> {
        let rest = Quantity::new(exact::sub(self.quantity.value(), quantity.value())?).ok()?;
        let share = exact::quotient(
            [self.cost, quantity.value()],
            [self.quantity.value()],
            DIGITS,
            Rounding::HalfEven,
        )?;
        let left = exact::sub(self.cost, share)?;
        let whole = self.part_of.unwrap_or(Whole { quantity: self.quantity, cost: self.cost });
        let part = |quantity, cost| {
            let price = average(cost, quantity, self.mark)?;
            Some(Self { quantity, cost, price, part_of: Some(whole), ..self.clone() })
        };
        Some((part(quantity, share)?, part(rest, left)?))
    }
}

/// Returns the levels that an order takes, or `None` where those near the best do not cover it.
fn taken(book: &OrderBook, side: Side, quantity: Quantity) -> Option<Vec<Level>> {
    match side {
        Side::Buy => covering(book.asks(), Decimal::ONE + DEPTH_SHARE, quantity, |price, limit| {
            price <= limit
        }),
        Side::Sell => {
            covering(book.bids(), Decimal::ONE - DEPTH_SHARE, quantity, |price, limit| {
                price >= limit
            })
        }
    }
}

fn covering(
    levels: impl Iterator<Item = Level>,
    reach: Decimal,
    quantity: Quantity,
    is_near: impl Fn(Decimal, Decimal) -> bool,
) -> Option<Vec<Level>> {
    let mut left = quantity.value();
    let mut taken: Vec<Level> = Vec::new();
    for level in levels.take(LEVELS_TAKEN_MAX) {
        let best = taken.first().map_or(level.price, |first| first.price);
        if !is_near(level.price.value(), exact::mul(best.value(), reach)?) {
            return None;
        }
        let quantity = level.quantity.min(left);
        taken.push(Level { price: level.price, quantity });
        left = exact::sub(left, quantity)?;
        if left.is_zero() {
            return Some(taken);
        }
    }
    None
}

/// Returns cost ÷ quantity with the digits of the mark, or more where they count.
fn average(cost: Decimal, quantity: Quantity, mark: Price) -> Option<Decimal> {
    let price = exact::price(cost, quantity.value())?;
    Some(amount::at_scale(price.normalize(), mark.value().scale()))
}

#[cfg(test)]
mod tests;
