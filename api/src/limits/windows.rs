//! Counts that are exact: a ring for each who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::limits::ring::{Ring, nanos};
use crate::limits::shared::{NotYet, Slice};
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
    /// How many nodes share what may be accepted, this one included.
    nodes: AtomicU32,
    /// Whether others are told what is accepted here.
    is_told: AtomicBool,
    /// Those of whom there is something to tell. Each of them has, or had, a ring.
    untold: Mutex<BTreeSet<K>>,
}

impl<K: Ord + Clone> Windows<K> {
    pub(super) fn new(rings_max: usize) -> Self {
        Self {
            rings: RwLock::default(),
            rings_max,
            swept_at: AtomicU64::new(0),
            nodes: AtomicU32::new(1),
            is_told: AtomicBool::new(false),
            untold: Mutex::default(),
        }
    }

    /// Counts one more, unless `max` are within the window. Returns `None` when there is no place for
    /// somebody new.
    pub(super) fn count(
        &self,
        key: &K,
        max: u32,
        time: &dyn Fn() -> Duration,
    ) -> Option<Result<Verdict, NotYet>> {
        let nodes = self.nodes();
        let (judged, is_news) = self.with(key, time, |ring, now| {
            let judged = ring.count(now, max, nodes);
            (judged, ring.has_news() && judged.is_ok_and(|verdict| verdict.accepted))
        })?;
        if is_news && self.is_told.load(Ordering::Relaxed) {
            self.untold().insert(key.clone());
        }
        Some(judged)
    }

    /// Counts what was accepted elsewhere, if there is place.
    pub(super) fn take_in(&self, key: &K, slices: &[Slice], time: &dyn Fn() -> Duration) {
        // Who finds no place is refused by the next who counts, or was nobody for a minute.
        self.with(key, time, |ring, now| {
            for slice in slices {
                ring.take_in(now, *slice);
            }
        });
    }

    /// Shares what may be accepted among so many nodes, from the next request on; they are told what is
    /// accepted here.
    pub(super) fn share_among(&self, nodes: u32) {
        self.nodes.store(nodes.max(1), Ordering::Relaxed);
        if !self.is_told.swap(true, Ordering::Relaxed) {
            // What was accepted before there was anybody to tell. One lock after the other: a sweep
            // holds that of the rings when it takes this one.
            let keys: Vec<K> = self.read().keys().cloned().collect();
            self.untold().extend(keys);
        }
    }

    pub(super) fn nodes(&self) -> u32 {
        self.nodes.load(Ordering::Relaxed)
    }

    /// Returns what others are to be told, of up to `keys_max`, and takes it for told.
    pub(super) fn tell(
        &self,
        keys_max: usize,
        time: &dyn Fn() -> Duration,
    ) -> Vec<(K, Vec<Slice>)> {
        let keys: Vec<K> = {
            let mut untold = self.untold();
            let next = std::iter::from_fn(|| untold.pop_first());
            next.take(keys_max).collect()
        };
        let rings = self.read();
        let told = keys.into_iter().filter_map(|key| {
            let mut ring = rings.get(&key)?.lock().unwrap_or_else(PoisonError::into_inner);
            let slices = ring.tell(nanos(time()));
            (!slices.is_empty()).then_some((key, slices))
        });
        told.collect()
    }

    /// Does something with a ring; returns `None` when there is no place for somebody new.
    fn with<T>(
        &self,
        key: &K,
        time: &dyn Fn() -> Duration,
        act: impl FnOnce(&mut Ring, u64) -> T,
    ) -> Option<T> {
        if self.is_due(nanos(time()), WINDOW) {
            self.sweep(&mut self.write(), time, WINDOW);
        }
        if let Some(ring) = self.read().get(key) {
            let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
            // Only now: what is later in the ring is then later in time, whoever was first to ask.
            return Some(act(&mut ring, nanos(time())));
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
        Some(act(ring, nanos(time())))
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
            !ring.is_empty()
        });
        // Where nobody is told for long, those are not kept who went meanwhile.
        self.untold().retain(|key| rings.contains_key(key));
        self.swept_at.store(now, Ordering::Relaxed);
    }

    fn is_due(&self, now: u64, pause: Duration) -> bool {
        now.saturating_sub(self.swept_at.load(Ordering::Relaxed)) >= nanos(pause)
    }

    /// Returns for how many instants there is room, and how many slices are kept.
    #[cfg(test)]
    pub(super) fn room(&self) -> (usize, usize) {
        let rooms = self.read();
        let rooms =
            rooms.values().map(|ring| ring.lock().map(|ring| ring.room()).unwrap_or_default());
        rooms.fold((0, 0), |(own, heard), room| (own + room.0, heard + room.1))
    }

    fn untold(&self) -> MutexGuard<'_, BTreeSet<K>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<K, Mutex<Ring>>> {
        self.rings.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<K, Mutex<Ring>>> {
        self.rings.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
