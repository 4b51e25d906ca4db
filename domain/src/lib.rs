//! What may happen, and what it means: values, events and deciders. No clock, no chance, no I/O, no async.
//!
//! Read in this order: the values (`time`, `name`, `instrument`, `amount`, `tick`, `book`, `observation`), what can be
//! recorded (`event`), how a rule is written (`decider`) and tested (`spec`), the first rule
//! (`market`), the arithmetic of candles (`candle`, `ladder`), and one of clocks (`median`).
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
pub mod spec;
pub mod tick;
pub mod time;
