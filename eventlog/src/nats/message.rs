//! An entry as a message, and a message as an entry.
//!
//! The payload is the body as it is sealed, byte for byte. The headers repeat what one must know of
//! a stream's tip, so that a tip needs no JSON.

use async_nats::HeaderMap;
use bytes::Bytes;
use uuid::Uuid;

use crate::body::{self, Content};
use crate::entry::{Entry, Hash, Offset, Version};
use crate::log::LogError;
use crate::nats::names::Names;
use crate::remote::place::Place;
use crate::transfer::Stored;

const APPEND_ID: &str = "Ent-Append-Id";
const COMMAND_ID: &str = "Ent-Command-Id";
const VERSION: &str = "Ent-Version";
const HASH: &str = "Ent-Hash";
const CONTENT: &str = "Ent-Content";
const JSON: &str = "json";
const TICKS: &str = "ticks";

/// A message of the log as JetStream has it.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

/// What must be true for a message to be stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Guard {
    /// The last message of its subject has this sequence; zero for none.
    OfSubject(u64),
    /// The last message of all has this sequence.
    OfLog(u64),
}

/// An entry that is to be sent.
pub(super) struct Message<'a> {
    pub(super) version: Version,
    pub(super) append_id: Uuid,
    pub(super) command_id: Uuid,
    pub(super) hash: Hash,
    pub(super) content: Content,
    /// What makes it one that was sent before. A copy, whose guard says where each entry must
    /// stand, does without: an id that one stream has had twice is in both places there.
    pub(super) id: Option<&'a str>,
    pub(super) guard: Guard,
}

impl Message<'_> {
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(id) = self.id {
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        }
        let (guard, sequence) = match self.guard {
            Guard::OfSubject(sequence) => {
                (async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence)
            }
            Guard::OfLog(sequence) => (async_nats::header::NATS_EXPECTED_LAST_SEQUENCE, sequence),
        };
        headers.insert(guard, sequence.to_string());
        headers.insert(APPEND_ID, self.append_id.to_string());
        headers.insert(COMMAND_ID, self.command_id.to_string());
        headers.insert(VERSION, self.version.to_string());
        headers.insert(HASH, self.hash.to_string());
        headers.insert(
            CONTENT,
            match self.content {
                Content::Json => JSON,
                Content::Ticks => TICKS,
            },
        );
        headers
    }
}

impl Raw {
    pub(super) fn offset(&self) -> Offset {
        Offset(self.sequence)
    }

    /// Reads what the headers say.
    pub(super) fn place(&self) -> Result<Place, LogError> {
        let place = || {
            Some(Place {
                version: self.version()?,
                offset: self.offset(),
                number: self.sequence,
                hash: self.header(HASH)?.parse().ok()?,
                append_id: self.header(APPEND_ID)?.parse().ok()?,
                command_id: self.header(COMMAND_ID)?.parse().ok()?,
            })
        };
        place().ok_or_else(|| self.damaged("its headers are not those of an entry"))
    }

    pub(super) fn version(&self) -> Option<Version> {
        self.header(VERSION)?.parse().ok().map(Version)
    }

    /// Reads the entry, and holds it against its headers and its subject.
    pub(super) fn entry(&self, names: &Names) -> Result<Entry, LogError> {
        let entry = body::open(names.log, self.offset(), self.content()?, &self.payload)
            .map_err(|error| self.damaged(&error.0))?;
        let place = self.place()?;
        if entry.hash != place.hash {
            return Err(self.damaged("its body is not the one that was sealed"));
        }
        if entry.version != place.version || names.subject(&entry.stream) != self.subject {
            return Err(self.damaged("its body is that of another entry"));
        }
        Ok(entry)
    }

    /// Returns the entry as it is stored, after the same checks that need no reading of events.
    pub(super) fn stored(&self) -> Result<Stored, LogError> {
        let body = self.payload.to_vec();
        if Hash::of(&body) != self.place()?.hash {
            return Err(self.damaged("its body is not the one that was sealed"));
        }
        Ok(Stored { offset: self.offset(), content: self.content()?, body })
    }

    fn content(&self) -> Result<Content, LogError> {
        match self.header(CONTENT) {
            Some(JSON) => Ok(Content::Json),
            Some(TICKS) => Ok(Content::Ticks),
            _ => Err(self.damaged("its headers are not those of an entry")),
        }
    }

    fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get(name).map(async_nats::HeaderValue::as_str)
    }

    fn damaged(&self, reason: &str) -> LogError {
        LogError::Damaged { offset: self.offset(), reason: reason.to_owned() }
    }
}
