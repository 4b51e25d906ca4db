//! A small place in memory where states are kept, with the bad days of a disk.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use eventlog::keep::{Keep, KeepError, Kept};
use tokio::sync::Semaphore;

/// Keeps what it is given, once it is let.
pub(super) struct Shelf {
    kept: Mutex<BTreeMap<String, Kept>>,
    /// One permit lets one save through.
    pub(super) gate: Semaphore,
    /// Saves that were begun.
    pub(super) begun: AtomicUsize,
    /// Saves that are still to fail.
    pub(super) failing: AtomicUsize,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            begun: AtomicUsize::new(0),
            failing: AtomicUsize::new(0),
        }
    }
}

impl Shelf {
    pub(super) fn get(&self, name: &str) -> Option<Kept> {
        self.kept.lock().unwrap().get(name).cloned()
    }

    pub(super) fn put(&self, name: &str, kept: Kept) {
        self.kept.lock().unwrap().insert(name.to_owned(), kept);
    }

    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Keep for Shelf {
    async fn load(&self, name: &str) -> Result<Option<Kept>, KeepError> {
        Ok(self.get(name))
    }

    async fn save(&self, name: &str, kept: Kept) -> Result<(), KeepError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        let fails = |left: usize| left.checked_sub(1);
        if self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails).is_ok() {
            return Err(KeepError("the disk is full".to_owned()));
        }
        self.put(name, kept);
        Ok(())
    }
}
