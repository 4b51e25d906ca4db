//! The newest append ids of the log, so that an append that is sent again is known again.

use std::mem::size_of;

use crate::embedded::contents::Ids;
use crate::entry::{Offset, Version};

/// A ring that overwrites the oldest, and for each bucket of ids the newest offset in it, from
/// which a chain leads back to older ones. A chain ends where it leaves the ring, so nothing is
/// ever taken out.
pub(super) struct AppendIds {
    max: u64,
    /// The first offset taken in, zero before there is one.
    first: u64,
    /// The newest offset taken in.
    newest: u64,
    /// The id of offset `n` at place `(n - first) % max`.
    ring: Vec<Remembered>,
    buckets: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Remembered {
    entry: Known,
    /// The next older offset of the same bucket, zero if there was none.
    older: u64,
}

/// What is known of an entry by its append id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) ids: Ids,
    /// The number of its stream.
    pub(super) stream: u32,
    pub(super) version: Version,
}

impl AppendIds {
    pub(super) fn new(max: usize) -> Self {
        let buckets = if max == 0 { 0 } else { max.next_power_of_two() };
        let (ring, buckets) = (Vec::new(), vec![0; buckets]);
        Self { max: max as u64, first: 0, newest: 0, ring, buckets }
    }

    /// Takes in an entry; but for the first, it is the one after the newest.
    pub(super) fn push(&mut self, offset: Offset, entry: Known) {
        if self.first == 0 {
            self.first = offset.0;
        }
        self.newest = offset.0;
        let bucket = self.bucket(&entry.ids);
        let Some(bucket) = self.buckets.get_mut(bucket) else { return };
        let older = std::mem::replace(bucket, offset.0);
        let remembered = Remembered { entry, older };
        // Offsets have no gaps, so the place of the first one that does not fit is the oldest's.
        match self.place(offset.0).and_then(|place| self.ring.get_mut(place)) {
            Some(oldest) => *oldest = remembered,
            None => self.ring.push(remembered),
        }
    }

    /// Returns the remembered entries with the same append id, the newest first.
    pub(super) fn find(&self, ids: Ids) -> impl Iterator<Item = (Offset, Known)> {
        let newest = self.buckets.get(self.bucket(&ids)).copied().unwrap_or_default();
        let remembered = move |offset: u64| {
            let place = self.place(offset).filter(|_| self.reaches(Offset(offset)))?;
            self.ring.get(place).map(|remembered| (offset, remembered))
        };
        std::iter::successors(remembered(newest), move |(_, newer)| remembered(newer.older))
            .filter(move |(_, remembered)| remembered.entry.ids.append_id == ids.append_id)
            .map(|(offset, remembered)| (Offset(offset), remembered.entry))
    }

    /// Whether every entry from this one on is remembered.
    pub(super) fn reaches(&self, offset: Offset) -> bool {
        offset.0 + self.max > self.newest && offset.0 >= self.first
    }

    /// Returns the memory that this holds.
    pub(super) fn memory_bytes(&self) -> usize {
        self.ring.capacity() * size_of::<Remembered>() + self.buckets.capacity() * size_of::<u64>()
    }

    fn place(&self, offset: u64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.first)?.checked_rem(self.max)?).ok()
    }

    /// Ids are random in their last bytes, whichever version of UUID they are.
    fn bucket(&self, ids: &Ids) -> usize {
        let (_, random) = ids.append_id.as_u64_pair();
        usize::try_from(random & (self.buckets.len() as u64).saturating_sub(1)).unwrap_or_default()
    }
}
