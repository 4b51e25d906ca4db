//! The spine: append at one end, read at the other.
//!
//! Read in this order: the names (`stream`), what a decision puts in (`entry`, of which `header` is
//! the part that adapters read), the port (`log`), how an entry becomes bytes (`body`, and for ticks
//! `batch`), the adapters (`memory`
//! for tests, `embedded` on files through `files`), and the promises that every adapter is held
//! to (`contract`).
//!
//! The embedded log, from the bytes up: `embedded/segment` is the layout and what its checksums
//! prove, `recovery` a start, `index` what is known of everything durable, `tail` the place where
//! groups go, `writer` the thread that puts them there, and `embedded` itself the two ends: the
//! append that seals an entry and waits, and the read that pulls entries out of the files.

pub mod stream;

pub mod entry;
pub mod header;

pub mod log;

pub mod body;

mod batch;

pub mod memory;

pub mod files;

pub mod embedded;

pub mod contract;
