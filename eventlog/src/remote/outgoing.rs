//! What goes into a stream, and on what it rests there: a draft, which is sealed on whatever tip it finds,
//! or an entry of another log, which is sealed already.

use uuid::Uuid;

use crate::body::{self, Content};
use crate::entry::{Draft, Hash, Offset, Version};
use crate::header::Header;
use crate::log::{Expected, LogError, Tip};
use crate::remote::place::Place;
use crate::stream::{Log, Stream};
use crate::transfer::Stored;

/// What is to go into a stream.
pub(crate) trait Append: Sync {
    fn stream(&self) -> &Stream;

    fn append_id(&self) -> Uuid;

    fn command_id(&self) -> Uuid;

    /// The version after which it belongs, given the stream's tip.
    fn base(&self, tip: &Tip) -> Version;

    /// Whether it belongs after whatever is there. Who sends it knows nothing of what that is.
    fn expects_nothing(&self) -> bool {
        false
    }

    /// Writes it after a tip.
    fn seal(&self, tip: &Tip) -> Result<Ready, LogError>;

    /// Whether an entry has its append id, and so has its place.
    fn has_place(&self, place: &Place) -> bool {
        place.append_id == self.append_id()
    }

    /// Whether an entry that has its place is the same.
    fn is(&self, place: &Place) -> bool;
}

/// A body with its place.
pub(crate) struct Ready {
    pub(crate) version: Version,
    pub(crate) hash: Hash,
    pub(crate) content: Content,
    pub(crate) body: Vec<u8>,
}

/// An entry on its way.
pub(crate) struct Outgoing<'a> {
    pub(crate) stream: &'a Stream,
    pub(crate) append_id: Uuid,
    pub(crate) command_id: Uuid,
    pub(crate) ready: &'a Ready,
}

impl Outgoing<'_> {
    /// Returns its place, once the server has said where it is.
    pub(crate) fn at(&self, offset: Offset, number: u64) -> Place {
        Place {
            version: self.ready.version,
            offset,
            number,
            hash: self.ready.hash,
            append_id: self.append_id,
            command_id: self.command_id,
        }
    }
}

/// A draft and what is expected of its stream.
pub(crate) struct OfDraft<'a> {
    pub(crate) draft: &'a Draft,
    pub(crate) expected: Expected,
}

impl Append for OfDraft<'_> {
    fn stream(&self) -> &Stream {
        &self.draft.stream
    }

    fn append_id(&self) -> Uuid {
        self.draft.append_id
    }

    fn command_id(&self) -> Uuid {
        self.draft.command_id
    }

    fn base(&self, tip: &Tip) -> Version {
        match self.expected {
            Expected::Empty => Version(0),
            Expected::At(version) => version,
            Expected::Any => tip.version,
        }
    }

    fn expects_nothing(&self) -> bool {
        self.expected == Expected::Any
    }

    fn seal(&self, tip: &Tip) -> Result<Ready, LogError> {
        let version = tip.version.next();
        let sealed = body::seal(self.draft, version, tip.hash)?;
        Ok(Ready { version, hash: sealed.hash, content: sealed.content, body: sealed.body })
    }

    fn is(&self, place: &Place) -> bool {
        place.command_id == self.draft.command_id
    }
}

/// An entry of another log.
pub(crate) struct OfStored<'a> {
    pub(crate) header: &'a Header,
    pub(crate) hash: Hash,
    pub(crate) stored: &'a Stored,
}

impl Append for OfStored<'_> {
    fn stream(&self) -> &Stream {
        &self.header.stream
    }

    fn append_id(&self) -> Uuid {
        self.header.append_id
    }

    fn command_id(&self) -> Uuid {
        self.header.command_id
    }

    fn base(&self, tip: &Tip) -> Version {
        let is_first = tip.version == Version(0);
        match self.header.stream.log() {
            // Retention may have dropped those before.
            Log::Market if is_first => Version(0),
            Log::Market | Log::Ledger => Version(self.header.version.0.saturating_sub(1)),
        }
    }

    fn seal(&self, tip: &Tip) -> Result<Ready, LogError> {
        if tip.version > Version(0) && tip.hash != self.header.prev_hash {
            return Err(LogError::Conflict { actual: Some(tip.version) });
        }
        Ok(Ready {
            version: self.header.version,
            hash: self.hash,
            content: self.stored.content,
            body: self.stored.body.clone(),
        })
    }

    /// An id that a stream has had twice is in both places of a copy.
    fn has_place(&self, place: &Place) -> bool {
        (place.append_id, place.version) == (self.header.append_id, self.header.version)
    }

    fn is(&self, place: &Place) -> bool {
        place.hash == self.hash
    }
}
