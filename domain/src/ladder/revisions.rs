//! How often each coarser candle was corrected: trades came into it after it had closed.
//!
//! The market log alone tells of it, also where the minutes are forgotten.

use std::collections::BTreeMap;

use crate::candle::Interval;
use crate::time::Timestamp;

use super::CANDLES_MAX;

/// Of those candles that were, at most [`CANDLES_MAX`] of an interval. Beyond it the oldest counts
/// as never corrected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Revisions([BTreeMap<Timestamp, u32>; Interval::ALL.len()]);

impl Revisions {
    /// Counts one more; returns the bucket whose count had to go for it.
    pub(super) fn count(&mut self, interval: Interval, bucket: Timestamp) -> Option<Timestamp> {
        let revision = self.get(interval, bucket).saturating_add(1);
        self.set(interval, bucket, revision);
        let revisions = self.0.get_mut(interval.level())?;
        if revisions.len() > CANDLES_MAX { revisions.pop_first().map(|(it, _)| it) } else { None }
    }

    pub(super) fn set(&mut self, interval: Interval, bucket: Timestamp, revision: u32) {
        if let Some(revisions) = self.0.get_mut(interval.level()) {
            revisions.insert(bucket, revision);
        }
    }

    pub(super) fn get(&self, interval: Interval, bucket: Timestamp) -> u32 {
        let revisions = self.0.get(interval.level());
        revisions.and_then(|revisions| revisions.get(&bucket)).copied().unwrap_or_default()
    }

    /// Returns those of an interval whose buckets start in `from..until`.
    pub(super) fn range(
        &self,
        interval: Interval,
        from: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, u32)> {
        let revisions = self.0.get(interval.level());
        let within = revisions.map(|revisions| revisions.range(from..until));
        within.into_iter().flatten().map(|(bucket, revision)| (*bucket, *revision))
    }
}
