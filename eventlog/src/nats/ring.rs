//! The newest entries of a log, decoded: what followers read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::entry::{Entry, Offset};

/// Entries that are held. The oldest goes when there are more: who still wants it asks the broker.
pub(super) const RING_ENTRIES_MAX: usize = 4_096;
/// Bytes of their bodies, likewise.
pub(super) const RING_BYTES_MAX: usize = 16 << 20;

pub(super) struct Ring {
    held: Mutex<Held>,
    /// The newest offset that is known: of the ring, or of the log when it was opened.
    newest: watch::Sender<Offset>,
}

/// Entries whose offsets rise by one.
#[derive(Default)]
struct Held {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Ring {
    pub(super) fn new(newest: Offset) -> Self {
        Self { held: Mutex::default(), newest: watch::Sender::new(newest) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // An entry is put in or taken out in one step.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn newest(&self) -> watch::Receiver<Offset> {
        self.newest.subscribe()
    }

    /// Puts an entry in behind the others. Where it does not continue them, the ring begins anew.
    pub(super) fn push(&self, entry: Entry, bytes: usize) {
        let offset = entry.offset;
        {
            let mut held = self.held();
            if held.entries.back().is_some_and(|(last, _)| last.offset.0 + 1 != offset.0) {
                *held = Held::default();
            }
            held.entries.push_back((entry, bytes));
            held.bytes += bytes;
            while held.entries.len() > RING_ENTRIES_MAX || held.bytes > RING_BYTES_MAX {
                let Some((_, bytes)) = held.entries.pop_front() else { break };
                held.bytes -= bytes;
            }
        }
        self.pass(offset);
    }

    /// Goes past an entry that is not for the ring: readers find it with the broker.
    pub(super) fn pass(&self, offset: Offset) {
        self.newest.send_if_modified(|newest| {
            let rises = *newest < offset;
            *newest = offset.max(*newest);
            rises
        });
    }

    /// Lets go what the log no longer holds.
    pub(super) fn drop_up_to(&self, floor: Offset) {
        let mut held = self.held();
        while held.entries.front().is_some_and(|(first, _)| first.offset <= floor) {
            let Some((_, bytes)) = held.entries.pop_front() else { break };
            held.bytes -= bytes;
        }
    }

    /// Returns entries after an offset, if the ring holds the next one.
    pub(super) fn after(&self, after: Offset, limit: usize) -> Option<Vec<Entry>> {
        let held = self.held();
        let (first, _) = held.entries.front()?;
        let place = usize::try_from(after.0.checked_add(1)?.checked_sub(first.offset.0)?).ok()?;
        let rest = held.entries.iter().skip(place).take(limit);
        Some(rest.map(|(entry, _)| entry.clone()).collect::<Vec<_>>())
            .filter(|entries| !entries.is_empty())
    }
}
