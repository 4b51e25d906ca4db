//! What a stream's metadata hides from those who read the stream.

use std::time::Duration;

use serde_json::Value;

use crate::kurrent::double::store::{Record, Store};

/// The revision before which a deleted stream is cut: the server's highest number.
pub(crate) const DELETED: u64 = i64::MAX as u64;

/// The limits of one stream, as its newest metadata states them, and the revisions and time they are
/// measured by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Events of before this time are hidden.
    since: Option<Duration>,
    /// Revisions before this one are hidden.
    revision_first: u64,
    /// The stream was deleted, and nothing was written since.
    pub(crate) deleted: bool,
}

impl Retention {
    pub(crate) fn hides(&self, record: &Record) -> bool {
        record.revision < self.revision_first
            || self.since.is_some_and(|since| record.created < since)
    }
}

impl Store {
    pub(crate) fn retention(&self, stream: &str) -> Retention {
        let Some(last) = self.last_revision(stream) else { return Retention::default() };
        // Of metadata itself only the newest counts.
        if stream.starts_with("$$") {
            return Retention { revision_first: last, ..Retention::default() };
        }
        let metadata = format!("$${stream}");
        let newest = self.last_revision(&metadata).and_then(|last| self.at(&metadata, last));
        let stated = newest.and_then(|record| serde_json::from_slice(&record.event.data).ok());
        let Some(stated): Option<Value> = stated else { return Retention::default() };

        let number = |name: &str| stated.get(name).and_then(Value::as_u64);
        let truncate_before = number("$tb").unwrap_or(0);
        let by_count = number("$maxCount").map_or(0, |count| (last + 1).saturating_sub(count));
        // In seconds. A client that writes milliseconds keeps its events a thousand times as long.
        let age_max = number("$maxAge").map(Duration::from_secs);
        Retention {
            since: age_max.map(|age| self.now.saturating_sub(age)),
            revision_first: truncate_before.max(by_count),
            deleted: truncate_before == DELETED,
        }
    }
}
