//! The door from outside: a real port, logs in memory, and a clock that the test moves.

mod asyncapi;
mod bars;
mod client;
mod door;
mod extended;
mod history;
mod house;
mod market;
mod orderbook;
mod page;
mod retention;
mod server;
mod socket;
