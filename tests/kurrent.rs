//! The house on KurrentDB, which a server stands for here that speaks its protocol.
//!
//! `place` starts it, and nodes that keep their logs there. Then the tests: `copying` moves a log of
//! files there and back, `serving` has a house live there, die, and be without its server for a while,
//! and `shared` has two of them trade while its leader changes and dies.

mod place;

mod copying;
mod serving;
mod shared;
