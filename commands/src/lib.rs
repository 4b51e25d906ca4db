//! The way in: what happens outside becomes entries in the log.
//!
//! Read in this order: where time comes from (`clock`), what is known of each feed (`feed_status`),
//! how an entry is written (`pen`), and how what a feed hears becomes events (`intake`): what goes
//! in together (`intake/slice`), the session's own book (`intake/own_book`), one market's entries
//! (`intake/recorder`), what of it is kept for the next run and when (`intake/kept`,
//! `intake/keeper`), and the venue's own bars (`intake/native`).

pub mod clock;
pub mod feed_status;
pub mod intake;
pub mod pen;
