//! Counts that are exact: the instants of what was accepted, for as long as they matter.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::limits::{FULL_PAUSE, Verdict, WINDOW};

/// A ring for each who asks.
///
/// It holds eight bytes for each request that was accepted within two windows at most: a ring has room
/// for about what is in it, and one that is empty goes with the next sweep. So it is as bounded as
/// what a node can answer, besides the bound on its rows.
#[derive(Debug)]
pub(super) struct Windows<K> {
    rings: RwLock<BTreeMap<K, Mutex<Ring>>>,
    rings_max: usize,
    /// When those were last dropped who ask no more.
    swept_at: AtomicU64,
}

/// The instants at which somebody was accepted, oldest first, in nanoseconds.
#[derive(Debug, Default)]
struct Ring(VecDeque<u64>);

impl<K: Ord + Clone> Windows<K> {
    pub(super) fn new(rings_max: usize) -> Self {
        Self { rings: RwLock::default(), rings_max, swept_at: AtomicU64::new(0) }
    }

    /// Counts one more, unless `max` are within the window. Returns `None` when there is no place for
    /// somebody new.
    pub(super) fn count(&self, key: &K, max: u32, time: &dyn Fn() -> Duration) -> Option<Verdict> {
        if self.is_due(nanos(time()), WINDOW) {
            self.sweep(&mut self.write(), time, WINDOW);
        }
        if let Some(ring) = self.read().get(key) {
            let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
            // Only now: what is later in the ring is then later in time, whoever was first to ask.
            return Some(ring.count(nanos(time()), max));
        }
        // Somebody new. The table is locked for them alone, so that none can be made twice.
        let mut rings = self.write();
        if rings.len() >= self.rings_max && !rings.contains_key(key) {
            self.sweep(&mut rings, time, FULL_PAUSE);
            if rings.len() >= self.rings_max {
                return None;
            }
        }
        let ring = rings.entry(key.clone()).or_default();
        let ring = ring.get_mut().unwrap_or_else(PoisonError::into_inner);
        Some(ring.count(nanos(time()), max))
    }

    /// Drops whoever has nothing in the window, unless that was done so long ago or less.
    fn sweep(
        &self,
        rings: &mut BTreeMap<K, Mutex<Ring>>,
        time: &dyn Fn() -> Duration,
        pause: Duration,
    ) {
        let now = nanos(time());
        if !self.is_due(now, pause) {
            return;
        }
        rings.retain(|_, ring| {
            let ring = ring.get_mut().unwrap_or_else(PoisonError::into_inner);
            ring.forget_before(now);
            !ring.0.is_empty()
        });
        self.swept_at.store(now, Ordering::Relaxed);
    }

    fn is_due(&self, now: u64, pause: Duration) -> bool {
        now.saturating_sub(self.swept_at.load(Ordering::Relaxed)) >= nanos(pause)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<K, Mutex<Ring>>> {
        self.rings.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<K, Mutex<Ring>>> {
        self.rings.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn count(&mut self, now: u64, max: u32) -> Verdict {
        self.forget_before(now);
        let most = usize::try_from(max).unwrap_or(usize::MAX);
        let accepted = self.0.len() < most;
        if accepted {
            self.0.push_back(now);
        }
        let remaining = most.saturating_sub(self.0.len());
        // Of those that are too many now, the last to go makes room for one; with room left, all have
        // gone when the newest has.
        let awaited = match remaining {
            0 => self.0.get(self.0.len() - most),
            _ => self.0.back(),
        };
        let leaves = awaited.map_or(nanos(WINDOW), |instant| instant + nanos(WINDOW) - now);
        Verdict {
            accepted,
            limit: max,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset: Duration::from_nanos(leaves),
        }
    }

    /// Forgets what is no longer within the window that ends now: it begins after the instant that is
    /// one window ago.
    fn forget_before(&mut self, now: u64) {
        while self.0.front().is_some_and(|instant| instant + nanos(WINDOW) <= now) {
            self.0.pop_front();
        }
        if self.0.capacity() > ROOM_MIN && self.0.capacity() / 4 > self.0.len() {
            self.0.shrink_to((self.0.len() * 2).max(ROOM_MIN));
        }
    }
}

/// Instants for which a ring keeps room, however few are in it.
const ROOM_MIN: usize = 16;

/// Five hundred years of them have room.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
