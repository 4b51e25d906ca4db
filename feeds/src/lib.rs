//! What venues say, turned into observations: pure decoders, recordings, and a simulated exchange.
//!
//! Read in this order: what an operator asks for (`spec`), how it is run (`feed`) and counted
//! (`counts`), what a venue is to us (`venue`), the first of them (`binance`), their names
//! (`venues`), the digits that ticks leave with (`scales`), and the two feeds that need no network
//! (`recording`, `simulated`).
//!
//! A feed only observes. It rules on nothing, keeps nothing, and has no clock of its own.

pub mod binance;
pub mod counts;
pub mod feed;
pub mod recording;
pub mod scales;
pub mod simulated;
pub mod spec;
pub mod venue;
pub mod venues;

#[cfg(test)]
mod samples;
