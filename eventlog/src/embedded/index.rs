//! Where everything durable stands: the segments, each entry's place, each stream's tip, and the
//! newest append ids. What is not in here, no reader sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::embedded::segment;
use crate::entry::{Hash, Offset, Version};
use crate::files::File;
use crate::header::Header;
use crate::log::{Appended, Expected, LogError};
use crate::stream::Stream;

/// Grows by 12 bytes an entry: its place in its segment (4) and its place in its stream (8). The
/// index beside a sealed segment will hold both, and leave in memory what stands in open ones.
pub(super) struct Index {
    segments: Vec<Segment>,
    streams: BTreeMap<Stream, Entries>,
    append_ids: AppendIds,
}

struct Segment {
    first: Offset,
    file: Arc<dyn File>,
    /// The byte at which each entry's frame begins.
    frames: Vec<u32>,
    /// The byte after the last durable group.
    end: u64,
}

/// The entries of one stream.
struct Entries {
    /// The offset of version 1, 2, 3…
    offsets: Vec<Offset>,
    tip: Tip,
}

/// The newest entry of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tip {
    hash: Hash,
    append_id: Uuid,
    command_id: Uuid,
}

/// What stands in the way of an append, or nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The place after this version and hash is free.
    After(Version, Hash),
    /// The entry is in already, or its id is taken.
    Known(Result<Appended, LogError>),
    /// Others came after the expected version. The entry may be one of those, unless all of them
    /// are remembered.
    Moved { actual: Option<Version>, all_remembered: bool },
}

/// Bytes of one file that hold `entries` consecutive entries from `first` on.
#[derive(Clone)]
pub(super) struct Span {
    pub(super) file: Arc<dyn File>,
    pub(super) segment: Offset,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) first: Offset,
    pub(super) entries: u64,
}

impl Index {
    pub(super) fn new(append_ids_max: usize) -> Self {
        Self {
            segments: Vec::new(),
            streams: BTreeMap::new(),
            append_ids: AppendIds::new(append_ids_max),
        }
    }

    /// Returns the offset of the newest entry.
    pub(super) fn head(&self) -> Offset {
        Offset(self.next().0 - 1)
    }

    /// Returns the offset that the next entry gets.
    pub(super) fn next(&self) -> Offset {
        self.segments.last().map_or(Offset(1), Segment::next)
    }

    /// Takes in an empty segment, which begins with the next offset.
    pub(super) fn push_segment(&mut self, file: Arc<dyn File>) {
        let (first, end) = (self.next(), segment::HEADER_BYTES as u64);
        self.segments.push(Segment { first, file, frames: Vec::new(), end });
    }

    /// Takes in the next entry, whose frame begins at this byte of the newest segment.
    pub(super) fn push_entry(&mut self, header: Header, hash: Hash, position: u64) {
        let offset = self.next();
        let segment = self.segments.last_mut().expect("entries come after their segment");
        segment
            .frames
            .push(u32::try_from(position).expect("a segment stays below SEGMENT_BYTES_MAX"));
        let tip = Tip { hash, append_id: header.append_id, command_id: header.command_id };
        self.append_ids.push(offset, header.append_id, header.command_id);
        let entries = self
            .streams
            .entry(header.stream)
            .or_insert_with(|| Entries { offsets: Vec::new(), tip });
        entries.offsets.push(offset);
        entries.tip = tip;
    }

    /// The newest segment is durable up to this byte.
    pub(super) fn set_end(&mut self, end: u64) {
        if let Some(segment) = self.segments.last_mut() {
            segment.end = end;
        }
    }

    /// Returns version and hash after which the stream's next entry goes.
    pub(super) fn tip(&self, stream: &Stream) -> (Version, Hash) {
        self.streams
            .get(stream)
            .map_or((Version(0), Hash::default()), |entries| (entries.version(), entries.tip.hash))
    }

    /// Returns the offsets of a stream's entries after `after`.
    pub(super) fn offsets(&self, stream: &Stream, after: Version) -> &[Offset] {
        let offsets = self.streams.get(stream).map_or(&[][..], |entries| &entries.offsets);
        let after = usize::try_from(after.0).unwrap_or(usize::MAX);
        offsets.get(after..).unwrap_or_default()
    }

    pub(super) fn rule(
        &self,
        stream: &Stream,
        append_id: Uuid,
        command_id: Uuid,
        expected: Expected,
    ) -> Ruling {
        if let Some((known, appended)) = self.find(stream, append_id) {
            return Ruling::Known(same(known == command_id, appended));
        }
        let (version, hash) = self.tip(stream);
        let actual = Some(version).filter(|version| *version > Version(0));
        let after = match expected {
            Expected::Any => version,
            Expected::Empty => Version(0),
            Expected::At(after) => after,
        };
        if after == version {
            return Ruling::After(version, hash);
        }
        let oldest = self.offsets(stream, after).first();
        Ruling::Moved {
            actual,
            all_remembered: oldest.is_none_or(|oldest| self.append_ids.reaches(*oldest)),
        }
    }

    fn find(&self, stream: &Stream, append_id: Uuid) -> Option<(Uuid, Appended)> {
        let entries = self.streams.get(stream)?;
        let appended = |place: usize| Appended {
            offset: entries.offsets.get(place).copied().unwrap_or_default(),
            version: Version(place as u64 + 1),
            repeated: true,
        };
        if entries.tip.append_id == append_id {
            return Some((entries.tip.command_id, appended(entries.offsets.len() - 1)));
        }
        self.append_ids.find(append_id).find_map(|(offset, command_id)| {
            let place = entries.offsets.binary_search(&offset).ok()?;
            Some((command_id, appended(place)))
        })
    }

    /// Returns where entries stand: whole runs of them while they are neighbours, and no more than
    /// `bytes_max` after the first.
    pub(super) fn spans(
        &self,
        offsets: impl IntoIterator<Item = Offset>,
        bytes_max: u64,
    ) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut bytes = 0;
        for offset in offsets {
            let Some((segment, start, end)) = self.place(offset) else { break };
            bytes += end - start;
            if bytes > bytes_max && !spans.is_empty() {
                break;
            }
            match spans.last_mut() {
                Some(span) if span.segment == segment.first && span.next() == offset => {
                    span.end = end;
                    span.entries += 1;
                }
                _ => spans.push(Span {
                    file: Arc::clone(&segment.file),
                    segment: segment.first,
                    start,
                    end,
                    first: offset,
                    entries: 1,
                }),
            }
        }
        spans
    }

    /// Returns the bytes of an entry. A group header may stand between it and the next.
    fn place(&self, offset: Offset) -> Option<(&Segment, u64, u64)> {
        let after = self.segments.partition_point(|segment| segment.first <= offset);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        let place = usize::try_from(offset.0 - segment.first.0).ok()?;
        let start = u64::from(*segment.frames.get(place)?);
        let end = segment.frames.get(place + 1).map_or(segment.end, |next| u64::from(*next));
        Some((segment, start, end))
    }
}

/// Returns the first result again, if it was for the same command.
pub(super) fn same(same_command: bool, appended: Appended) -> Result<Appended, LogError> {
    if same_command { Ok(appended) } else { Err(LogError::KeyReused) }
}

impl Segment {
    fn next(&self) -> Offset {
        Offset(self.first.0 + self.frames.len() as u64)
    }
}

impl Entries {
    fn version(&self) -> Version {
        Version(self.offsets.len() as u64)
    }
}

impl Span {
    fn next(&self) -> Offset {
        Offset(self.first.0 + self.entries)
    }
}

/// The newest append ids of the log, each with its command: a ring that overwrites the oldest, and
/// for each bucket of ids the newest offset in it, from which a chain leads back to older ones. A
/// chain ends where it leaves the ring, so nothing is ever taken out.
struct AppendIds {
    max: u64,
    /// The newest offset taken in.
    newest: u64,
    /// The id of offset `n` at place `(n - 1) % max`.
    ring: Vec<Remembered>,
    buckets: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Remembered {
    append_id: Uuid,
    command_id: Uuid,
    /// The next older offset of the same bucket, zero if there was none.
    older: u64,
}

impl AppendIds {
    fn new(max: usize) -> Self {
        let buckets = if max == 0 { 0 } else { max.next_power_of_two() };
        Self { max: max as u64, newest: 0, ring: Vec::new(), buckets: vec![0; buckets] }
    }

    fn push(&mut self, offset: Offset, append_id: Uuid, command_id: Uuid) {
        self.newest = offset.0;
        let bucket = self.bucket(append_id);
        let Some(bucket) = self.buckets.get_mut(bucket) else { return };
        let older = std::mem::replace(bucket, offset.0);
        let remembered = Remembered { append_id, command_id, older };
        // Offsets have no gaps, so the place of the first one that does not fit is the oldest's.
        match self.place(offset.0).and_then(|place| self.ring.get_mut(place)) {
            Some(oldest) => *oldest = remembered,
            None => self.ring.push(remembered),
        }
    }

    fn find(&self, append_id: Uuid) -> impl Iterator<Item = (Offset, Uuid)> {
        let newest = self.buckets.get(self.bucket(append_id)).copied().unwrap_or_default();
        let remembered = move |offset: u64| {
            let place = self.place(offset).filter(|_| self.reaches(Offset(offset)))?;
            self.ring.get(place).map(|remembered| (offset, remembered))
        };
        std::iter::successors(remembered(newest), move |(_, newer)| remembered(newer.older))
            .filter(move |(_, remembered)| remembered.append_id == append_id)
            .map(|(offset, remembered)| (Offset(offset), remembered.command_id))
    }

    /// Whether every entry from this one on is remembered.
    fn reaches(&self, offset: Offset) -> bool {
        offset.0 + self.max > self.newest
    }

    fn place(&self, offset: u64) -> Option<usize> {
        usize::try_from(offset.checked_sub(1)?.checked_rem(self.max)?).ok()
    }

    /// Ids are random in their last bytes, whichever version of UUID they are.
    fn bucket(&self, append_id: Uuid) -> usize {
        let (_, random) = append_id.as_u64_pair();
        usize::try_from(random & (self.buckets.len() as u64).saturating_sub(1)).unwrap_or_default()
    }
}
