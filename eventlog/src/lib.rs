//! The spine: append at one end, read at the other.
//!
//! Read in this order: the names (`stream`), what a decision puts in (`entry`, of which `header` is
//! the part that adapters read), the port (`log`) and the small one beside it (`keep`), how an entry
//! becomes bytes (`body`, and for ticks `batch`), how bytes go from one log to another (`transfer`),
//! the adapters (`memory` for tests, `embedded` on files through `files`, and through `remote` `nats` on
//! JetStream and `kurrent` on KurrentDB), how to
//! read one that may be away for a while (`patient`), and the promises that every adapter is held to
//! (`contract`).
//!
//! The embedded log, from the bytes up: `embedded/segment` is the layout and what its checksums
//! prove, `sealed` the index beside a segment that is full, `floor` what stays known of those that
//! were dropped. `scan` reads a segment whole, `recovery` is a start, `index` what is known of
//! everything durable, `pieces`, `frames` and `reader` the way from there to entries. `tail` is the
//! place where groups go, `next` the segment after it, `writer` the thread that puts them there,
//! `chores` the one that tidies up, `trim` retention, and `embedded` itself the append that seals an
//! entry and waits; `embedded/transfer` puts in what is sealed already. Beside a running server,
//! `read_only` reads and `verify` and `copy` walk through the bytes.

pub mod stream;

pub mod entry;
pub mod header;

pub mod log;

pub mod keep;

pub mod body;

mod batch;

pub mod transfer;

pub mod memory;

pub mod files;

pub mod embedded;

#[cfg(any(feature = "kurrent", feature = "nats"))]
mod remote;

#[cfg(feature = "kurrent")]
pub mod kurrent;
#[cfg(feature = "nats")]
pub mod nats;

pub mod patient;

pub mod contract;
