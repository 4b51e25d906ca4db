//! Sequences: where in the market log a frame comes from. They are the same on every connection.

use eventlog::entry::{ENTRY_EVENTS_MAX, Offset};

/// Places that an entry has.
pub const PLACES: u64 = ENTRY_EVENTS_MAX as u64;

/// Returns the sequence of a place in an entry.
pub const fn seq(offset: Offset, place: usize) -> u64 {
    offset.0.saturating_mul(PLACES).saturating_add(place as u64)
}

/// Returns the last sequence that an entry can have.
pub const fn end(offset: Offset) -> u64 {
    seq(offset, ENTRY_EVENTS_MAX - 1)
}

/// Returns the entry that a sequence stands in, and the place in it.
pub const fn place(seq: u64) -> (Offset, u64) {
    (Offset(seq / PLACES), seq % PLACES)
}
