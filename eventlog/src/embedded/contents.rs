//! What one segment holds, entry by entry: where each stands, whose it is, and the ids it came
//! under. Grows with the open segment; the index file of a sealed one is made of it.

use std::collections::BTreeMap;
use std::mem::size_of;

use domain::time::Timestamp;
use uuid::Uuid;

use crate::embedded::map_bytes;
use crate::entry::{Hash, Offset, Version};
use crate::header::Header;
use crate::stream::Stream;

/// Bytes between two points, at least: what is passed over, at most, to find an entry.
const POINT_BYTES: u32 = 16 * 1024;

/// An entry's place in its segment, as a count, and the byte at which its frame begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Posting {
    pub(super) ordinal: u32,
    pub(super) byte: u32,
}

/// The newest entry of a stream, up to some place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) version: Version,
    pub(super) offset: Offset,
    pub(super) hash: Hash,
    pub(super) append_id: Uuid,
    pub(super) command_id: Uuid,
}

/// Under which ids an entry came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) append_id: Uuid,
    pub(super) command_id: Uuid,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    first: Offset,
    recorded_at: Timestamp,
    /// The byte at which each entry's frame begins.
    frames: Vec<u32>,
    ids: Vec<Ids>,
    parts: BTreeMap<Stream, Part>,
}

/// One stream's entries in the segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: Version,
    /// The hash of the entry before its first.
    pub(super) before: Hash,
    pub(super) tip: Tip,
    pub(super) ordinals: Vec<u32>,
}

/// One stream's entries in a sealed segment, as its index lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) stream: Stream,
    pub(super) first: Version,
    pub(super) entries: u32,
    pub(super) before: Hash,
    pub(super) tip: Tip,
    /// Where its postings stand among those of all streams.
    pub(super) place: u32,
}

/// An entry, as far as one who asks for its append id needs to know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) ids: Ids,
    /// The place of its stream among the rows.
    pub(super) row: usize,
    pub(super) version: Version,
}

impl Tip {
    pub(super) fn of(header: &Header, offset: Offset, hash: Hash) -> Self {
        let Header { version, append_id, command_id, .. } = *header;
        Self { version, offset, hash, append_id, command_id }
    }
}

impl Part {
    pub(super) fn entries(&self) -> u32 {
        u32::try_from(self.ordinals.len()).expect("a segment has fewer entries than bytes")
    }
}

impl Contents {
    pub(super) fn new(first: Offset) -> Self {
        Self {
            first,
            recorded_at: Timestamp::MIN,
            frames: Vec::new(),
            ids: Vec::new(),
            parts: BTreeMap::new(),
        }
    }

    pub(super) fn first(&self) -> Offset {
        self.first
    }

    /// Returns the offset that the next entry gets.
    pub(super) fn next(&self) -> Offset {
        Offset(self.first.0 + self.frames.len() as u64)
    }

    pub(super) fn entries(&self) -> u32 {
        u32::try_from(self.frames.len()).expect("a segment has fewer entries than bytes")
    }

    /// Returns the newest time at which an entry was recorded.
    pub(super) fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    pub(super) fn parts(&self) -> &BTreeMap<Stream, Part> {
        &self.parts
    }

    pub(super) fn ids(&self) -> &[Ids] {
        &self.ids
    }

    /// Takes in the next entry, whose frame begins at this byte; `tip` says it as its stream's tip.
    pub(super) fn push(&mut self, header: Header, tip: Tip, byte: u32) {
        let ordinal = self.entries();
        let Header { stream, version, append_id, command_id, recorded_at, prev_hash } = header;
        self.recorded_at = self.recorded_at.max(recorded_at);
        self.frames.push(byte);
        self.ids.push(Ids { append_id, command_id });
        if let Some(part) = self.parts.get_mut(&stream) {
            part.tip = tip;
            part.ordinals.push(ordinal);
        } else {
            let part = Part { first: version, before: prev_hash, tip, ordinals: vec![ordinal] };
            self.parts.insert(stream, part);
        }
    }

    /// Returns the byte at which an entry's frame begins.
    pub(super) fn byte(&self, ordinal: u32) -> Option<u32> {
        self.frames.get(usize::try_from(ordinal).ok()?).copied()
    }

    /// Returns a stream's postings after `after`, in order.
    pub(super) fn postings(
        &self,
        stream: &Stream,
        after: Version,
    ) -> impl Iterator<Item = Posting> + use<'_> {
        let ordinals = self.parts.get(stream).map_or(&[][..], |part| {
            let passed = (after.0 + 1).saturating_sub(part.first.0);
            let passed = usize::try_from(passed).unwrap_or(usize::MAX);
            part.ordinals.get(passed..).unwrap_or_default()
        });
        ordinals
            .iter()
            .filter_map(|ordinal| Some(Posting { ordinal: *ordinal, byte: self.byte(*ordinal)? }))
    }

    /// Returns what the index lists, stream after stream.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        let mut place = 0;
        self.parts.iter().map(move |(stream, part)| {
            let (entries, &Part { first, before, tip, .. }) = (part.entries(), part);
            let row = Row { stream: stream.clone(), first, entries, before, tip, place };
            place += entries;
            row
        })
    }

    /// Returns under which ids the entries came, in the order of offsets.
    pub(super) fn named(&self) -> Vec<Named> {
        let unnamed = |ids: &Ids| Named { ids: *ids, row: 0, version: Version(0) };
        let mut named: Vec<Named> = self.ids.iter().map(unnamed).collect();
        for (row, part) in self.parts.values().enumerate() {
            for (version, ordinal) in (part.first.0..).map(Version).zip(&part.ordinals) {
                if let Some(entry) = named.get_mut(*ordinal as usize) {
                    (entry.row, entry.version) = (row, version);
                }
            }
        }
        named
    }

    /// Returns the frames from which a search begins: one about every [`POINT_BYTES`].
    pub(super) fn points(&self) -> Vec<Posting> {
        let mut points: Vec<Posting> = Vec::new();
        for (ordinal, byte) in (0..).zip(self.frames.iter().copied()) {
            if points.last().is_none_or(|point| byte - point.byte >= POINT_BYTES) {
                points.push(Posting { ordinal, byte });
            }
        }
        points.shrink_to_fit();
        points
    }

    /// Returns the memory that this holds.
    pub(super) fn memory_bytes(&self) -> usize {
        let lists = self.parts.values().map(|part| part.ordinals.capacity() * size_of::<u32>());
        self.frames.capacity() * size_of::<u32>()
            + self.ids.capacity() * size_of::<Ids>()
            + map_bytes(&self.parts)
            + lists.sum::<usize>()
    }
}
