//! An entry as an event, and an event as an entry.
//!
//! The data is the body as it is sealed, byte for byte. The metadata repeat what one must know of a
//! stream's tip, so that a tip needs no reading of bodies.

use bytes::Bytes;
use eventstore::{EventData, RecordedEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::body::{self, Content};
use crate::entry::{Entry, Hash, Offset, Version};
use crate::kurrent::names::Names;
use crate::log::LogError;
use crate::remote::outgoing::Outgoing;
use crate::remote::place::Place;
use crate::stream::{Log, Stream};
use crate::transfer::Stored;

/// The one kind of event that our streams hold.
const ENTRY: &str = "entasis.entry.v1";

/// Beside the body.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Metadata {
    append_id: Uuid,
    command_id: Uuid,
    version: Version,
    hash: Hash,
    content: Kind,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Json,
    Ticks,
}

/// Writes an entry as the event that KurrentDB is to store. Its id is the append id.
pub(super) fn outgoing(entry: &Outgoing<'_>) -> Result<EventData, LogError> {
    let ready = entry.ready;
    let unwritten = |error: serde_json::Error| LogError::Unavailable(error.to_string());
    let (data, content) = match ready.content {
        // Raw, so that each byte stays.
        Content::Json => {
            let raw: &RawValue = serde_json::from_slice(&ready.body).map_err(unwritten)?;
            (EventData::json(ENTRY, &raw).map_err(unwritten)?, Kind::Json)
        }
        Content::Ticks => {
            (EventData::binary(ENTRY, Bytes::copy_from_slice(&ready.body)), Kind::Ticks)
        }
    };
    let metadata = Metadata {
        append_id: entry.append_id,
        command_id: entry.command_id,
        version: ready.version,
        hash: ready.hash,
        content,
    };
    data.id(entry.append_id).metadata_as_json(&metadata).map_err(unwritten)
}

/// An event of one of the log's streams.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) stream: Stream,
    pub(super) revision: u64,
    pub(super) offset: Offset,
    metadata: Option<Metadata>,
    body: Bytes,
}

impl Raw {
    /// Takes an event if it stands in a stream of the log.
    pub(super) fn of(event: RecordedEvent, names: &Names) -> Option<Self> {
        let stream = names.stream(event.stream_id())?;
        let is_ours = event.event_type == ENTRY && event.position.commit == event.position.prepare;
        let metadata = serde_json::from_slice(&event.custom_metadata).ok();
        Some(Self {
            stream,
            revision: event.revision,
            offset: Offset(event.position.commit),
            metadata: metadata.filter(|_| is_ours),
            body: event.data,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }

    fn metadata(&self) -> Result<&Metadata, LogError> {
        let metadata = self.metadata.as_ref();
        metadata.ok_or_else(|| self.damaged("it is not an event that this house has written"))
    }

    /// Reads what the metadata say, and holds it against the revision. A market stream that was copied
    /// may begin with a later version than the first: of the ledger nothing is ever missing.
    pub(super) fn place(&self) -> Result<Place, LogError> {
        let Metadata { append_id, command_id, version, hash, .. } = *self.metadata()?;
        let follows = match self.stream.log() {
            Log::Ledger => version.0.checked_sub(1) == Some(self.revision),
            Log::Market => version.0 > self.revision,
        };
        if !follows {
            let reason = format!("version {version} stands at revision {}", self.revision);
            return Err(self.damaged(&reason));
        }
        let (offset, number) = (self.offset, self.revision);
        Ok(Place { version, offset, number, hash, append_id, command_id })
    }

    /// Reads the entry, and holds it against its metadata and its stream.
    pub(super) fn entry(&self) -> Result<Entry, LogError> {
        let place = self.place()?;
        let entry = body::open(self.stream.log(), self.offset, self.content()?, &self.body)
            .map_err(|error| self.damaged(&error.0))?;
        if entry.hash != place.hash {
            return Err(self.damaged("its body is not the one that was sealed"));
        }
        if entry.version != place.version || entry.stream != self.stream {
            return Err(self.damaged("its body is that of another entry"));
        }
        Ok(entry)
    }

    /// Returns the entry as it is stored, after the same checks that need no reading of events.
    pub(super) fn stored(&self) -> Result<Stored, LogError> {
        let body = self.body.to_vec();
        if Hash::of(&body) != self.place()?.hash {
            return Err(self.damaged("its body is not the one that was sealed"));
        }
        Ok(Stored { offset: self.offset, content: self.content()?, body })
    }

    fn content(&self) -> Result<Content, LogError> {
        Ok(match self.metadata()?.content {
            Kind::Json => Content::Json,
            Kind::Ticks => Content::Ticks,
        })
    }

    pub(super) fn damaged(&self, reason: &str) -> LogError {
        let reason = format!("revision {} of {}: {reason}", self.revision, self.stream);
        LogError::Damaged { offset: self.offset, reason }
    }
}
