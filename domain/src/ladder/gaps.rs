//! The gaps that run through the minutes: trades between two instants that did not come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::candle::Interval;
use crate::market::GAPS_MAX;
use crate::time::Timestamp;

/// Gaps that were opened and not filled, by their first id: at most [`GAPS_MAX`]. Beyond it the
/// oldest is forgotten, and its minutes then count as whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gaps(BTreeMap<u64, Span>);

/// The times of the nearest trades on either side.
type Span = (Timestamp, Timestamp);

impl Gaps {
    /// Takes in a gap; returns the spans of which something else is now known.
    pub(super) fn open(&mut self, first_id: u64, after: Timestamp, before: Timestamp) -> Vec<Span> {
        let mut stirred = vec![(after, before)];
        stirred.extend(self.0.insert(first_id, (after, before)));
        if self.0.len() > GAPS_MAX {
            stirred.extend(self.0.pop_first().map(|(_, span)| span));
        }
        stirred
    }

    /// Forgets a gap; returns its span.
    pub(super) fn close(&mut self, first_id: u64) -> Option<Span> {
        self.0.remove(&first_id)
    }

    /// Whether trades of this minute may be missing.
    pub(super) fn touch(&self, bucket: Timestamp) -> bool {
        let end = Interval::Minute.end(bucket);
        self.0.values().any(|(after, before)| *after < end && *before > bucket)
    }
}
