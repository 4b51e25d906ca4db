//! What venues say, turned into observations: pure decoders, live feeds, recordings, and a simulated
//! exchange.
//!
//! Read in this order: what an operator asks for (`spec`), how it is run (`feed`) and counted
//! (`counts`), what a venue is to us (`venue`), the first of them (`binance`), their names
//! (`venues`), how pieces of a book become a book (`splice`), the digits that prices leave with
//! (`scales`), the feed that listens to a venue as it happens (`live`), and the two that need no
//! network (`recording`, `simulated`).
//!
//! Of `live`, read `live/station.rs` first: it is the loop. Sockets (`socket`, `sockets`), requests
//! (`rest`, `history`), what is known of each instrument (`listener`, `missing`, `minutes`), and
//! which silence means what (`quiet`) are beside it, each to be read alone.
//!
//! A feed only observes. It rules on nothing, keeps nothing, and has no clock of its own.

pub mod binance;
pub mod counts;
pub mod feed;
pub mod live;
pub mod recording;
pub mod scales;
pub mod simulated;
pub mod spec;
pub mod splice;
pub mod venue;
pub mod venues;

mod chance;

#[cfg(test)]
mod samples;
