//! Which bytes hold the entries that somebody asks for, segment by segment.

use std::sync::Arc;

use crate::embedded::contents::Posting;
use crate::embedded::index::{Form, Open, Sealed};
use crate::entry::{Offset, Version};
use crate::files::File;
use crate::stream::Stream;

/// Entries of a stream that are looked up at once; whoever needs more reads again.
const POSTINGS_MAX: u32 = 4_096;

/// Entries that can be read in one go, all of one segment.
pub(super) struct Piece {
    pub(super) segment: Offset,
    pub(super) source: Source,
    pub(super) entries: Wanted,
}

/// The bytes of a segment.
pub(super) enum Source {
    /// All durable bytes of the open one.
    Open {
        file: Arc<dyn File>,
        end: u64,
    },
    Sealed(Arc<Sealed>),
}

/// Which entries of a segment.
pub(super) enum Wanted {
    Stretch(Stretch),
    /// Those of a stream, versions from `first` on.
    Stream {
        first: Version,
        postings: Postings,
    },
}

/// Neighbours: so many from `first` on, between the frame at `from` and the byte `end`.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    pub(super) from: Posting,
    pub(super) end: u64,
    pub(super) first: Offset,
    pub(super) entries: usize,
}

pub(super) enum Postings {
    /// With the bytes that their frames have, all in all.
    Known { postings: Vec<Posting>, bytes: u64 },
    /// So many of them, from this place on in the index file.
    Filed { postings_at: u64, place: u32, entries: u32 },
    /// Nowhere but in the segment.
    Forgotten,
}

impl Sealed {
    /// Returns where up to `limit` entries from `first` on stand, as many as one read goes.
    pub(super) fn stretch(self: &Arc<Self>, first: Offset, limit: usize, bytes_max: u64) -> Piece {
        let ordinal = |offset: Offset| u32::try_from(offset.0 - self.first.0).unwrap_or(u32::MAX);
        let wanted = ordinal(first);
        let points = &self.points;
        let after = points.partition_point(|point| point.ordinal <= wanted);
        let from = after.checked_sub(1).and_then(|place| points.get(place));
        let from = from.copied().unwrap_or_default();
        let last = u32::try_from(limit).map_or(u32::MAX, |limit| wanted.saturating_add(limit));
        let furthest = u64::from(from.byte) + bytes_max;
        // Up to a point, where a frame begins: behind all that is wanted, or else as far as one read
        // goes; but never short of the first entry.
        let behind = points.get(after..).unwrap_or_default();
        let enough = behind.partition_point(|point| point.ordinal < last);
        let near = behind.partition_point(|point| u64::from(point.byte) <= furthest);
        let is_near_to_the_end = near == behind.len() && self.length <= furthest;
        let place = if is_near_to_the_end { enough } else { enough.min(near.saturating_sub(1)) };
        let (end, next) = match behind.get(place) {
            Some(point) => (u64::from(point.byte), point.ordinal),
            None => (self.length, self.entries),
        };
        let entries = next.min(last).saturating_sub(wanted) as usize;
        let source = Source::Sealed(Arc::clone(self));
        Piece {
            segment: self.first,
            source,
            entries: Wanted::Stretch(Stretch { from, end, first, entries }),
        }
    }

    /// Returns where so many entries of a stream stand, from `first` on, whose postings stand from
    /// `place` on.
    pub(super) fn postings(
        &self,
        stream: &Stream,
        first: Version,
        place: u32,
        entries: u32,
    ) -> Postings {
        let entries = entries.min(POSTINGS_MAX);
        match &self.form {
            Form::Filed { postings_at, .. } => {
                Postings::Filed { postings_at: *postings_at, place, entries }
            }
            Form::Held(contents) => {
                let postings = contents.postings(stream, Version(first.0.saturating_sub(1)));
                let postings = postings.take(entries as usize).collect();
                Postings::Known { postings, bytes: u64::MAX }
            }
            Form::Forgotten => Postings::Forgotten,
        }
    }
}

impl Open {
    /// Returns where up to `limit` entries from `first` on stand, as many as one read goes.
    pub(super) fn stretch(&self, first: Offset, limit: usize, bytes_max: u64) -> Piece {
        let wanted = u32::try_from(first.0 - self.contents.first().0).unwrap_or(u32::MAX);
        let byte = self.contents.byte(wanted).unwrap_or_default();
        let (mut entries, mut end) = (0, u64::from(byte));
        for ordinal in (wanted..self.contents.entries()).take(limit) {
            let frame_end = self.frame_end(ordinal);
            if entries > 0 && frame_end - u64::from(byte) > bytes_max {
                break;
            }
            (entries, end) = (entries + 1, frame_end);
        }
        let from = Posting { ordinal: wanted, byte };
        let source = Source::Open { file: Arc::clone(&self.file), end: self.end };
        let entries = Wanted::Stretch(Stretch { from, end, first, entries });
        Piece { segment: self.contents.first(), source, entries }
    }

    /// Returns where up to `limit` entries of a stream stand, as many as one read goes.
    pub(super) fn postings(
        &self,
        stream: &Stream,
        first: Version,
        limit: usize,
        bytes_max: u64,
    ) -> Postings {
        let (mut postings, mut bytes) = (Vec::new(), 0);
        let after = Version(first.0.saturating_sub(1));
        for posting in self.contents.postings(stream, after).take(limit.min(POSTINGS_MAX as usize))
        {
            let frame = self.frame_end(posting.ordinal) - u64::from(posting.byte);
            if !postings.is_empty() && bytes + frame > bytes_max {
                break;
            }
            bytes += frame;
            postings.push(posting);
        }
        Postings::Known { postings, bytes }
    }

    /// Returns the byte at which the next frame begins. A group header may stand before it.
    fn frame_end(&self, ordinal: u32) -> u64 {
        self.contents.byte(ordinal + 1).map_or(self.end, u64::from)
    }
}
