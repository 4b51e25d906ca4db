//! The door from outside: a real port, logs in memory, and a clock that the test moves.

mod door;
mod house;
mod market;
mod page;
mod server;
mod socket;
