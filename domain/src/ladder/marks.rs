//! What has changed since it was written down last.

use std::collections::BTreeSet;

use crate::candle::Interval;
use crate::time::Timestamp;

/// A ladder that is new has changed. No part of the state: two ladders are equal whatever is marked
/// in them.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    head: bool,
    days: BTreeSet<Timestamp>,
    /// The day that was marked last. Nearly all that is told is of one day.
    newest: Option<Timestamp>,
}

impl Marks {
    pub(super) const fn head(&mut self) {
        self.head = true;
    }

    /// Marks the day that holds this instant.
    pub(super) fn day(&mut self, instant: Timestamp) {
        let day = Interval::Day.bucket(instant);
        if self.newest != Some(day) {
            self.newest = Some(day);
            self.days.insert(day);
        }
    }

    /// Returns whether the head was marked, and which days were; nothing is marked then.
    pub(super) fn take(&mut self) -> (bool, BTreeSet<Timestamp>) {
        self.newest = None;
        (std::mem::replace(&mut self.head, false), std::mem::take(&mut self.days))
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self { head: true, days: BTreeSet::new(), newest: None }
    }
}

impl PartialEq for Marks {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Marks {}
