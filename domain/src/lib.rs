//! What may happen, and what it means: values, events and deciders. No clock, no chance, no I/O, no async.
//!
//! Read in this order: the values (`time`, `name`, `instrument`, `amount`, `tick`, `book`) and how
//! they are reckoned with (`exact`), what a feed hands in (`observation`), what can be recorded
//! (`event`), how a rule is written (`decider`) and tested (`spec`), the rule of a market (`market`:
//! its trades, and whose book is followed), the book itself (`order_book`), the arithmetic of candles
//! (`candle`, and `ladder`, which holds all of one instrument), and that of clocks (`median`).
//!
//! Then trading: what an order gets of a market (`fill`), what it takes to hold a position and where
//! it is liquidated (`margin`), the rule of an account (`account`: its limits and positions, its
//! events, its commands, its money, and a file for each kind of ruling), and what is recorded of
//! commands that were refused (`refusal`).
//!
//! And the door: rights (`access`, with what is recorded of who came), which keys open it (`keys`),
//! and from where (`network`).
#![deny(clippy::float_arithmetic)]

pub mod access;
pub mod account;
pub mod amount;
pub mod book;
pub mod candle;
pub mod decider;
pub mod event;
pub mod exact;
pub mod fill;
pub mod instrument;
pub mod keys;
pub mod ladder;
pub mod margin;
pub mod market;
pub mod median;
pub mod name;
pub mod network;
pub mod observation;
pub mod order_book;
pub mod refusal;
pub mod spec;
pub mod tick;
pub mod time;
