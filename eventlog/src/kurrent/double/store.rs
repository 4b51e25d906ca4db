//! What a server keeps: one sequence of records, and the streams that they stand in.
//!
//! A record's position is its place in bytes, as at the server: positions begin past zero, go up by the
//! record's size, and between ours stand those of the server itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

/// Where the first record stands.
const POSITION_FIRST: u64 = 1_024;
/// What a record costs beside its names and its bytes.
const RECORD_OVERHEAD_BYTES: usize = 78;
/// After so many appends a server writes a record of its own.
const STATISTICS_EVERY: u64 = 5;
const STATISTICS_STREAM: &str = "$stats-127.0.0.1:2113";
/// The time at which every store begins, since 1970: midnight of 2026-01-01. It goes on only when told.
const BEGINNING: Duration = Duration::from_hours(490_896);
/// Committed ids that are remembered for appends that expect nothing. The oldest is forgotten.
const COMMITTED_IDS_MAX: usize = 256;

/// An event as a client hands it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: Uuid,
    /// The event's type.
    pub kind: String,
    pub content_type: String,
    pub data: Bytes,
    pub metadata: Bytes,
}

/// An event where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub position: u64,
    pub stream: String,
    pub revision: u64,
    pub event: Event,
    /// Since 1970.
    pub created: Duration,
    /// Gone, as if damaged: nobody is shown it, and nobody is told.
    pub(crate) lost: bool,
    /// Gone since a scavenge, which hides it from readers of everything as well.
    pub(crate) scavenged: bool,
}

impl Record {
    fn size(&self) -> u64 {
        let event = &self.event;
        let bytes = RECORD_OVERHEAD_BYTES
            + self.stream.len()
            + event.kind.len()
            + event.data.len()
            + event.metadata.len();
        bytes as u64
    }

    pub(crate) fn is_there(&self) -> bool {
        !self.lost && !self.scavenged
    }
}

/// The events of one stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// By revision, the place in the sequence of records.
    pub(crate) places: Vec<usize>,
    /// Deleted for good: its name cannot be used again.
    pub(crate) tombstone: bool,
}

#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) id: Uuid,
    pub(crate) stream: String,
    pub(crate) revision: u64,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) records: Vec<Arc<Record>>,
    pub(crate) streams: BTreeMap<String, Stream>,
    /// The newest last.
    pub(crate) committed: VecDeque<Committed>,
    pub(crate) now: Duration,
    end: u64,
    appends: u64,
}

impl Store {
    pub(crate) fn new() -> Self {
        let mut store = Self {
            records: Vec::new(),
            streams: BTreeMap::new(),
            committed: VecDeque::new(),
            now: BEGINNING,
            end: POSITION_FIRST,
            appends: 0,
        };
        store.write_statistics();
        store
    }

    /// Returns the position behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn record(&self, place: usize) -> Option<&Arc<Record>> {
        self.records.get(place)
    }

    /// Returns what stands at that revision, also if nobody is shown it.
    pub(crate) fn at(&self, stream: &str, revision: u64) -> Option<&Arc<Record>> {
        let place = self.place(stream, revision)?;
        self.record(place)
    }

    fn place(&self, stream: &str, revision: u64) -> Option<usize> {
        let revision = usize::try_from(revision).ok()?;
        self.streams.get(stream)?.places.get(revision).copied()
    }

    /// Returns the last revision of a stream, if it has one.
    pub(crate) fn last_revision(&self, stream: &str) -> Option<u64> {
        let count = self.streams.get(stream)?.places.len() as u64;
        count.checked_sub(1)
    }

    /// Writes what somebody appends, behind all that is there.
    pub(crate) fn write(&mut self, stream: &str, events: Vec<Event>) -> Arc<[Arc<Record>]> {
        let records: Arc<[_]> =
            events.into_iter().map(|event| self.write_one(stream, event)).collect();
        for record in records.iter() {
            if self.committed.len() >= COMMITTED_IDS_MAX {
                self.committed.pop_front();
            }
            self.committed.push_back(Committed {
                id: record.event.id,
                stream: stream.to_owned(),
                revision: record.revision,
            });
        }
        self.appends += 1;
        if self.appends.is_multiple_of(STATISTICS_EVERY) {
            self.write_statistics();
        }
        records
    }

    /// Writes a record of the server itself.
    pub(crate) fn write_own(&mut self, stream: &str, kind: &str, data: Bytes) -> Arc<Record> {
        let event = Event {
            id: Uuid::from_u128(u128::from(self.end)),
            kind: kind.to_owned(),
            content_type: "application/json".to_owned(),
            data,
            metadata: Bytes::new(),
        };
        self.write_one(stream, event)
    }

    fn write_statistics(&mut self) {
        let data = Bytes::from(format!(r#"{{"es-writer-checkpoint":{}}}"#, self.end));
        self.write_own(STATISTICS_STREAM, "$statsCollected", data);
    }

    fn write_one(&mut self, stream: &str, event: Event) -> Arc<Record> {
        let entry = self.streams.entry(stream.to_owned()).or_default();
        let record = Arc::new(Record {
            position: self.end,
            stream: stream.to_owned(),
            revision: entry.places.len() as u64,
            event,
            created: self.now,
            lost: false,
            scavenged: false,
        });
        entry.places.push(self.records.len());
        self.end += record.size();
        self.records.push(Arc::clone(&record));
        record
    }

    /// Lets nobody see a record any more. Returns whether it was there.
    pub(crate) fn lose(&mut self, stream: &str, revision: u64) -> bool {
        self.change(stream, revision, |record| record.lost = true)
    }

    /// Gives a record another body. Returns whether it was there.
    pub(crate) fn alter(&mut self, stream: &str, revision: u64, data: Bytes) -> bool {
        self.change(stream, revision, |record| record.event.data = data)
    }

    fn change(&mut self, stream: &str, revision: u64, change: impl FnOnce(&mut Record)) -> bool {
        let place = self.place(stream, revision);
        let Some(record) = place.and_then(|place| self.records.get_mut(place)) else {
            return false;
        };
        change(Arc::make_mut(record));
        true
    }

    /// Forgets every record from that position on, as a node does that led and had not told the others.
    pub(crate) fn truncate(&mut self, position: u64) {
        let kept = self.records.partition_point(|record| record.position < position);
        if let Some(first) = self.records.get(kept) {
            self.end = first.position;
        }
        self.records.truncate(kept);
        for stream in self.streams.values_mut() {
            stream.places.retain(|place| *place < kept);
        }
        self.streams.retain(|_, stream| !stream.places.is_empty());
        let streams = &self.streams;
        self.committed.retain(|committed| {
            let count = streams.get(&committed.stream).map_or(0, |stream| stream.places.len());
            committed.revision < count as u64
        });
    }

    /// Removes what retention hides, for readers of everything too. The last event of a stream stays.
    pub(crate) fn scavenge(&mut self) {
        let mut removed = Vec::new();
        for (name, stream) in &self.streams {
            let retention = self.retention(name);
            let Some((_, older)) = stream.places.split_last() else { continue };
            let hidden = older.iter().filter(|place| {
                let record = self.records.get(**place);
                record.is_some_and(|record| retention.hides(record))
            });
            removed.extend(hidden.copied());
        }
        for place in removed {
            if let Some(record) = self.records.get_mut(place) {
                Arc::make_mut(record).scavenged = true;
            }
        }
    }
}
