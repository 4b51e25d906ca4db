//! The door from outside: a real port, logs in memory, and a clock that the test moves.

mod archived;
mod asyncapi;
mod bars;
mod client;
mod door;
mod extended;
mod history;
mod house;
mod idempotency;
mod market;
mod operator;
mod orderbook;
mod own;
mod page;
mod refusals;
mod retention;
mod server;
mod socket;
mod trading;
