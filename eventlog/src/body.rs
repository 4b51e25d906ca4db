//! How an entry becomes bytes and a hash, and bytes an entry again.
//!
//! A body is one JSON document, or for ticks the fixed layout of `batch`: both say the same. It
//! holds the hash of the stream's entry before, but neither its own hash nor its offset, so that
//! it is the same on every backend. The hash is taken over the body as stored, never over a body
//! written again.

use domain::event::{self, Event, Family};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::batch;
use crate::entry::{
    Actor, Causation, Draft, ENTRY_BYTES_MAX, ENTRY_EVENTS_MAX, Entry, Hash, Offset, Version,
};
use crate::header::{Header, Unreadable};
use crate::log::LogError;
use crate::stream::{Log, Stream};

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Content {
    Json = 1,
    /// Ticks only, in the fixed layout of `batch`.
    Ticks = 2,
}

impl Content {
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Json),
            2 => Some(Self::Ticks),
            _ => None,
        }
    }
}

/// A draft that has its place in its stream: ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub content: Content,
    pub body: Vec<u8>,
    pub hash: Hash,
}

/// Writes a draft's body as version `version` of its stream, after the entry with `prev_hash`.
pub fn seal(draft: &Draft, version: Version, prev_hash: Hash) -> Result<Sealed, LogError> {
    if draft.events.is_empty() || draft.events.len() > ENTRY_EVENTS_MAX {
        return Err(LogError::TooLarge);
    }
    let (content, body) = match batch::write(draft, version, prev_hash) {
        Some(body) => (Content::Ticks, body),
        None => (Content::Json, json(draft, version, prev_hash)),
    };
    if body.len() > ENTRY_BYTES_MAX {
        return Err(LogError::TooLarge);
    }
    let hash = Hash::of(&body);
    Ok(Sealed { content, body, hash })
}

/// Reads what an adapter needs of a body.
pub fn header(content: Content, body: &[u8]) -> Result<Header, Unreadable> {
    match content {
        Content::Json => serde_json::from_slice(body).map_err(unreadable),
        Content::Ticks => batch::header(body),
    }
}

/// Reads a whole entry from its body.
pub fn open(log: Log, offset: Offset, content: Content, body: &[u8]) -> Result<Entry, Unreadable> {
    match content {
        Content::Json => open_json(log, offset, body),
        Content::Ticks => batch::read(log, offset, body),
    }
}

#[derive(Serialize)]
struct Written<'a> {
    stream: &'a Stream,
    version: Version,
    append_id: Uuid,
    command_id: Uuid,
    recorded_at: Timestamp,
    actor: &'a Actor,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation: Option<&'a Causation>,
    prev_hash: Hash,
    events: &'a [Event],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'a> {
    stream: Stream,
    version: Version,
    append_id: Uuid,
    command_id: Uuid,
    recorded_at: Timestamp,
    actor: Actor,
    correlation_id: Option<String>,
    causation: Option<Causation>,
    prev_hash: Hash,
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

fn json(draft: &Draft, version: Version, prev_hash: Hash) -> Vec<u8> {
    let written = Written {
        stream: &draft.stream,
        version,
        append_id: draft.append_id,
        command_id: draft.command_id,
        recorded_at: draft.recorded_at,
        actor: &draft.actor,
        correlation_id: draft.correlation_id.as_deref(),
        causation: draft.causation.as_ref(),
        prev_hash,
        events: &draft.events,
    };
    serde_json::to_vec(&written).expect("a body has only text keys, and writing to memory succeeds")
}

fn open_json(log: Log, offset: Offset, body: &[u8]) -> Result<Entry, Unreadable> {
    let read: Read<'_> = serde_json::from_slice(body).map_err(unreadable)?;
    Ok(Entry {
        log,
        offset,
        stream: read.stream,
        version: read.version,
        append_id: read.append_id,
        command_id: read.command_id,
        recorded_at: read.recorded_at,
        actor: read.actor,
        correlation_id: read.correlation_id,
        causation: read.causation,
        prev_hash: read.prev_hash,
        hash: Hash::of(body),
        events: read.events.into_iter().map(open_event).collect::<Result<_, _>>()?,
    })
}

/// Reads one event under its versioned name. A name that nobody knows is never passed over.
pub fn open_event(raw: &RawValue) -> Result<Event, Unreadable> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow, rename = "type")]
        name: std::borrow::Cow<'a, str>,
    }
    let Named { name } = serde_json::from_str(raw.get()).map_err(unreadable)?;
    match event::family(&name) {
        Some(Family::Market) => {
            serde_json::from_str(raw.get()).map(Event::Market).map_err(unreadable)
        }
        Some(Family::Candle) => {
            serde_json::from_str(raw.get()).map(Event::Candle).map_err(unreadable)
        }
        Some(Family::Account) => {
            serde_json::from_str(raw.get()).map(Event::Account).map_err(unreadable)
        }
        Some(Family::Refusal) => {
            serde_json::from_str(raw.get()).map(Event::Refusal).map_err(unreadable)
        }
        Some(Family::Key) => serde_json::from_str(raw.get()).map(Event::Key).map_err(unreadable),
        Some(Family::Access) => {
            serde_json::from_str(raw.get()).map(Event::Access).map_err(unreadable)
        }
        None => Err(Unreadable(format!("this version knows no event named {name:?}"))),
    }
}

fn unreadable(error: impl std::fmt::Display) -> Unreadable {
    Unreadable(error.to_string())
}

#[cfg(test)]
mod tests;
