//! The newest entries of a log, decoded: what followers read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::entry::{Entry, Offset};

/// Entries that are held. The oldest goes when there are more: who still wants it asks the server.
pub(crate) const RING_ENTRIES_MAX: usize = 4_096;
/// Bytes of their bodies, likewise.
pub(crate) const RING_BYTES_MAX: usize = 16 << 20;

pub(crate) struct Ring {
    held: Mutex<Held>,
    /// The newest offset that is known: of the ring, or of the log when it was opened.
    newest: watch::Sender<Offset>,
}

/// Entries without a hole: all that the log has behind `begin`.
struct Held {
    begin: Offset,
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Held {
    fn from(begin: Offset) -> Self {
        Self { begin, entries: VecDeque::new(), bytes: 0 }
    }

    fn end(&self) -> Offset {
        self.entries.back().map_or(self.begin, |(last, _)| last.offset)
    }

    fn drop_first(&mut self) {
        if let Some((first, bytes)) = self.entries.pop_front() {
            (self.begin, self.bytes) = (first.offset, self.bytes - bytes);
        }
    }
}

impl Ring {
    pub(crate) fn new(newest: Offset) -> Self {
        Self { held: Mutex::new(Held::from(newest)), newest: watch::Sender::new(newest) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // An entry is put in or taken out in one step.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn newest(&self) -> watch::Receiver<Offset> {
        self.newest.subscribe()
    }

    /// Puts in an entry, of which the log's one before has the offset `before`. Where that is not the
    /// newest here, the ring begins anew.
    pub(crate) fn push(&self, before: Offset, entry: Entry, bytes: usize) {
        let offset = entry.offset;
        {
            let mut held = self.held();
            if held.end() != before {
                *held = Held::from(before);
            }
            held.entries.push_back((entry, bytes));
            held.bytes += bytes;
            while held.entries.len() > RING_ENTRIES_MAX || held.bytes > RING_BYTES_MAX {
                held.drop_first();
            }
        }
        self.pass(offset);
    }

    /// Goes past an entry that is not for the ring: readers find it with the server.
    pub(crate) fn pass(&self, offset: Offset) {
        self.newest.send_if_modified(|newest| {
            let rises = *newest < offset;
            *newest = offset.max(*newest);
            rises
        });
    }

    /// Lets go what the log no longer holds.
    pub(crate) fn drop_up_to(&self, floor: Offset) {
        let mut held = self.held();
        while held.entries.front().is_some_and(|(first, _)| first.offset <= floor) {
            held.drop_first();
        }
    }

    /// Returns entries after an offset, if the ring holds the next one.
    pub(crate) fn after(&self, after: Offset, limit: usize) -> Option<Vec<Entry>> {
        let held = self.held();
        if after < held.begin {
            return None;
        }
        let place = held.entries.partition_point(|(entry, _)| entry.offset <= after);
        let rest = held.entries.iter().skip(place).take(limit);
        Some(rest.map(|(entry, _)| entry.clone()).collect::<Vec<_>>())
            .filter(|entries| !entries.is_empty())
    }
}
