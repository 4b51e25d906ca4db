//! What becomes of an append: written, there already, or refused, by the server's rules.

use std::sync::Arc;

use bytes::Bytes;

use crate::kurrent::double::retention::DELETED;
use crate::kurrent::double::store::{Event, Record, Store};

/// What a writer believes of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Any,
    NoStream,
    StreamExists,
    Revision(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The records stand there, written now or long ago. The answer does not tell which.
    There { records: Arc<[Arc<Record>]>, written: bool },
    /// The last revision is another one.
    Conflict { current: Option<u64> },
    /// The stream was deleted for good.
    Deleted,
}

impl Store {
    pub(crate) fn append(
        &mut self,
        stream: &str,
        expected: Expected,
        events: Vec<Event>,
    ) -> Appended {
        if self.streams.get(stream).is_some_and(|stream| stream.tombstone) {
            return Appended::Deleted;
        }
        let last = self.last_revision(stream);
        // A deleted stream begins again behind what it was, for those who expect none, too.
        let deleted = self.retention(stream).deleted;
        let current = if deleted { None } else { last };
        match expected {
            Expected::StreamExists if current.is_none() => return Appended::Conflict { current },
            Expected::Any | Expected::StreamExists => {
                if let Some(records) = self.committed_as(stream, &events) {
                    return Appended::There { records, written: false };
                }
            }
            Expected::NoStream if current.is_none() => {}
            Expected::NoStream => return self.written_before(stream, 0, &events),
            // What stands there is not looked at: the same id twice in a row is two events.
            Expected::Revision(revision) if Some(revision) == last => {}
            Expected::Revision(revision) if last.is_some_and(|last| revision < last) => {
                return self.written_before(stream, revision + 1, &events);
            }
            Expected::Revision(_) => return Appended::Conflict { current },
        }
        if let Some(last) = last.filter(|_| deleted) {
            self.state_first(stream, last + 1);
        }
        Appended::There { records: self.write(stream, events), written: true }
    }

    /// Somebody wrote behind the revision that was expected: perhaps the same writer, these events.
    fn written_before(&self, stream: &str, first: u64, events: &[Event]) -> Appended {
        let found: Option<Arc<[Arc<Record>]>> = (first..)
            .zip(events)
            .map(|(revision, event)| {
                self.at(stream, revision).filter(|record| record.event.id == event.id).cloned()
            })
            .collect();
        match found {
            Some(records) if !records.is_empty() => Appended::There { records, written: false },
            _ => Appended::Conflict { current: self.last_revision(stream) },
        }
    }

    /// Without a revision to look behind, the server only knows the ids that it remembers.
    fn committed_as(&self, stream: &str, events: &[Event]) -> Option<Arc<[Arc<Record>]>> {
        let first = events.first()?;
        let known = self
            .committed
            .iter()
            .find(|committed| committed.id == first.id && committed.stream == stream)?;
        match self.written_before(stream, known.revision, events) {
            Appended::There { records, .. } => Some(records),
            Appended::Conflict { .. } | Appended::Deleted => None,
        }
    }

    /// Deletes a stream so that it can begin again.
    pub(crate) fn delete(&mut self, stream: &str, expected: Expected) -> Appended {
        match self.may_delete(stream, expected) {
            Some(refused) => refused,
            None => Appended::There {
                records: [self.state_first(stream, DELETED)].into(),
                written: true,
            },
        }
    }

    /// Deletes a stream for good.
    pub(crate) fn tombstone(&mut self, stream: &str, expected: Expected) -> Appended {
        if let Some(refused) = self.may_delete(stream, expected) {
            return refused;
        }
        let record = self.write_own(stream, "$streamDeleted", Bytes::new());
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.tombstone = true;
        }
        Appended::There { records: [record].into(), written: true }
    }

    fn may_delete(&self, stream: &str, expected: Expected) -> Option<Appended> {
        let current = self.last_revision(stream);
        if self.streams.get(stream).is_some_and(|stream| stream.tombstone) {
            return Some(Appended::Deleted);
        }
        let agrees = match expected {
            Expected::Any => true,
            Expected::NoStream => current.is_none(),
            Expected::StreamExists => current.is_some(),
            Expected::Revision(revision) => current == Some(revision),
        };
        (!agrees).then_some(Appended::Conflict { current })
    }

    fn state_first(&mut self, stream: &str, revision_first: u64) -> Arc<Record> {
        let data = Bytes::from(format!(r#"{{"$tb":{revision_first}}}"#));
        self.write_own(&format!("$${stream}"), "$metadata", data)
    }
}
