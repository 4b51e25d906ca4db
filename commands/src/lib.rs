//! The way in: what happens outside becomes entries in the log.
//!
//! Read in this order: where time comes from (`clock`), what is known of each feed (`feed_status`),
//! and how ticks become events (`intake`).

pub mod clock;
pub mod feed_status;
pub mod intake;
