//! Which hours were recorded in the ledger, and which are to be.

use std::collections::{BTreeMap, BTreeSet};

use crate::candle::Interval;
use crate::time::Timestamp;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hours {
    /// Of each hour whose minutes are not forgotten, the most trades that one entry recorded of it.
    pub(super) recorded: BTreeMap<Timestamp, u64>,
    /// Those that hold more trades than were recorded. Kept up to date, so that asking costs nothing.
    pub(super) due: BTreeSet<Timestamp>,
}

impl Hours {
    /// Takes how many trades one entry recorded of an hour.
    pub(super) fn record(&mut self, hour: Timestamp, trades: u64) {
        let most = self.recorded.entry(hour).or_default();
        *most = (*most).max(trades);
    }

    pub(super) fn recorded(&self, hour: Timestamp) -> Option<u64> {
        self.recorded.get(&hour).copied()
    }

    pub(super) fn is_due(&self, hour: Timestamp) -> bool {
        self.due.contains(&hour)
    }

    /// Notes how many trades an hour holds now.
    pub(super) fn look(&mut self, hour: Timestamp, trades: u64) {
        if trades > self.recorded(hour).unwrap_or_default() {
            self.due.insert(hour);
        } else {
            self.due.remove(&hour);
        }
    }

    /// Returns the hours that are due and closed, oldest first.
    pub(super) fn due(&self, clock: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.due.iter().copied().take_while(move |hour| Interval::Hour.is_closed(*hour, clock))
    }

    /// Forgets an hour; returns how many trades were recorded of it.
    pub(super) fn forget(&mut self, hour: Timestamp) -> Option<u64> {
        self.recorded.remove(&hour)
    }
}
