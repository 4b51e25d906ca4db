//! What may happen, and what it means: values, events and deciders. No clock, no chance, no I/O, no async.
//!
//! Read in this order: the values (`time`, `name`, `instrument`, `amount`, `tick`, `book`), what a
//! feed hands in (`observation`), what can be recorded (`event`), how a rule is written (`decider`)
//! and tested (`spec`), the rule of a market (`market`: its trades, and whose book is followed), the
//! book itself (`order_book`), the arithmetic of candles (`candle`, and `ladder`, which holds all of
//! one instrument), and that of clocks (`median`).
#![deny(clippy::float_arithmetic)]

pub mod amount;
pub mod book;
pub mod candle;
pub mod decider;
pub mod event;
pub mod instrument;
pub mod ladder;
pub mod market;
pub mod median;
pub mod name;
pub mod observation;
pub mod order_book;
pub mod spec;
pub mod tick;
pub mod time;
