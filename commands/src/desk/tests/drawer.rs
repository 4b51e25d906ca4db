//! A drawer in memory where accounts are kept.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use eventlog::keep::{KeepError, Kept};

use super::*;

#[derive(Default)]
pub(super) struct Drawer {
    kept: Mutex<BTreeMap<String, Kept>>,
    pub(super) is_stuck: AtomicBool,
}

impl Drawer {
    pub(super) fn get(&self, name: &str) -> Option<Kept> {
        self.kept.lock().unwrap().get(name).cloned()
    }

    pub(super) fn put(&self, name: &str, kept: Kept) {
        self.kept.lock().unwrap().insert(name.to_owned(), kept);
    }
}

#[async_trait]
impl Keep for Drawer {
    async fn load(&self, name: &str) -> Result<Option<Kept>, KeepError> {
        if self.is_stuck.load(Ordering::Relaxed) {
            return Err(KeepError("it is stuck".to_owned()));
        }
        Ok(self.get(name))
    }

    async fn save(&self, name: &str, kept: Kept) -> Result<(), KeepError> {
        if self.is_stuck.load(Ordering::Relaxed) {
            return Err(KeepError("it is stuck".to_owned()));
        }
        self.put(name, kept);
        Ok(())
    }
}
