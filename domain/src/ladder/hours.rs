//! Which hours were recorded in the ledger, and which are to be.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Interval};
use crate::time::Timestamp;

use super::CANDLES_MAX;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hours {
    /// Of each hour, what the entry with most trades recorded of it, rolled up.
    recorded: BTreeMap<Timestamp, Candle>,
    /// Those that hold more trades than were recorded. Kept up to date, so that asking costs nothing.
    due: BTreeSet<Timestamp>,
}

impl Hours {
    /// Takes what one entry recorded of an hour; returns the hours of which something else is now
    /// known.
    pub(super) fn record(&mut self, whole: Candle) -> Vec<Timestamp> {
        let hour = whole.opened_at;
        if self.recorded.get(&hour).is_some_and(|recorded| recorded.trades > whole.trades) {
            return Vec::new();
        }
        self.recorded.insert(hour, whole);
        let mut stirred = vec![hour];
        if self.recorded.len() > CANDLES_MAX {
            stirred.extend(self.recorded.pop_first().map(|(oldest, _)| oldest));
        }
        stirred
    }

    pub(super) fn recorded(&self, hour: Timestamp) -> Option<&Candle> {
        self.recorded.get(&hour)
    }

    pub(super) fn is_due(&self, hour: Timestamp) -> bool {
        self.due.contains(&hour)
    }

    /// Notes how many trades an hour holds now.
    pub(super) fn look(&mut self, hour: Timestamp, trades: u64) {
        if trades > self.recorded.get(&hour).map_or(0, |recorded| recorded.trades) {
            self.due.insert(hour);
        } else {
            self.due.remove(&hour);
        }
    }

    /// Returns the hours that are due and closed, oldest first.
    pub(super) fn due(&self, clock: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.due.iter().copied().take_while(move |hour| Interval::Hour.is_closed(*hour, clock))
    }

    /// Nothing is due of what is forgotten.
    pub(super) fn forget_before(&mut self, instant: Timestamp) {
        self.due = self.due.split_off(&instant);
    }
}
