//! Where everything durable stands: the segments, each stream's tip and where its entries are, and
//! the newest append ids. What is not in here, no reader sees.

use std::collections::{BTreeMap, VecDeque};
use std::mem::size_of;
use std::sync::Arc;

use domain::time::Timestamp;

use crate::embedded::append_ids::{AppendIds, Known};
use crate::embedded::contents::{Contents, Ids, Named, Posting, Row, Tip};
use crate::embedded::floor::Floor;
use crate::embedded::map_bytes;
use crate::embedded::pieces::{Piece, Source, Wanted};
use crate::embedded::sealed::Front;
use crate::embedded::segment;
use crate::entry::{Hash, Offset, Version};
use crate::files::File;
use crate::header::Header;
use crate::log::{Appended, Expected, LogError};
use crate::stream::Stream;

/// Sealed segments of which memory holds every entry's place, because they have no index file yet:
/// the disk was full, or it may not be written. Past this the oldest is forgotten, and a stream in
/// it is read by reading the segment anew.
pub(super) const UNFILED_MAX: usize = 8;

/// Holds something for each entry of the open segment and for each append id that is remembered;
/// for a sealed segment no more than a point for each 16 KiB and a run for each stream in it.
pub(super) struct Index {
    floor: Floor,
    /// The oldest first.
    sealed: VecDeque<Arc<Sealed>>,
    /// `None` only while a start reads the sealed ones.
    open: Option<Open>,
    streams: BTreeMap<Stream, Entries>,
    append_ids: AppendIds,
}

/// A segment that no longer grows.
pub(super) struct Sealed {
    pub(super) first: Offset,
    pub(super) entries: u32,
    pub(super) length: u64,
    pub(super) recorded_at: Timestamp,
    pub(super) points: Vec<Posting>,
    pub(super) form: Form,
}

/// Where a sealed segment's postings are.
#[derive(Clone)]
pub(super) enum Form {
    /// In its index file, which has so many bytes.
    Filed { postings_at: u64, bytes: u64 },
    /// In memory, until the index file is written.
    Held(Arc<Contents>),
    /// Nowhere but in the segment: past [`UNFILED_MAX`].
    Forgotten,
}

/// The segment that grows.
pub(super) struct Open {
    pub(super) file: Arc<dyn File>,
    pub(super) contents: Contents,
    /// The byte after the last durable group.
    pub(super) end: u64,
}

/// The entries of one stream.
struct Entries {
    /// In the order of their coming; what remembers an append id names its stream by this.
    number: u32,
    tip: Tip,
    /// In sealed segments, the oldest first.
    runs: VecDeque<Run>,
}

/// The entries of a stream in one sealed segment, up to the first of the next run.
#[derive(Debug, Clone, Copy)]
struct Run {
    segment: Offset,
    first: Version,
    /// Where its postings stand among those of the segment.
    place: u32,
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

impl Index {
    pub(super) fn new(floor: Floor, append_ids_max: usize) -> Self {
        let mut index = Self {
            floor: Floor::default(),
            sealed: VecDeque::new(),
            open: None,
            streams: BTreeMap::new(),
            append_ids: AppendIds::new(append_ids_max),
        };
        for (stream, tip) in &floor.tips {
            index.set_tip(stream, *tip);
        }
        index.floor = floor;
        index
    }

    /// Returns the offset of the newest entry.
    pub(super) fn head(&self) -> Offset {
        Offset(self.next().0 - 1)
    }

    /// Returns the offset that the next entry gets.
    pub(super) fn next(&self) -> Offset {
        let sealed = || self.sealed.back().map(|sealed| sealed.next());
        let open = self.open.as_ref().map(|open| open.contents.next());
        open.or_else(sealed).unwrap_or(self.floor.first)
    }

    pub(super) fn floor(&self) -> &Floor {
        &self.floor
    }

    pub(super) fn sealed(&self) -> impl DoubleEndedIterator<Item = &Arc<Sealed>> {
        self.sealed.iter()
    }

    pub(super) fn sealed_at(&self, first: Offset) -> Option<&Arc<Sealed>> {
        self.sealed.get(self.place_of_sealed(first)?)
    }

    fn place_of_sealed(&self, first: Offset) -> Option<usize> {
        self.sealed.binary_search_by_key(&first, |sealed| sealed.first).ok()
    }

    /// Returns the length of what is durable of the open segment, and its file.
    pub(super) fn open(&self) -> Option<(u64, Arc<dyn File>)> {
        self.open.as_ref().map(|open| (open.end, Arc::clone(&open.file)))
    }

    /// Returns the first offset of the open segment.
    pub(super) fn open_first(&self) -> Option<Offset> {
        self.open.as_ref().map(|open| open.contents.first())
    }

    /// Whether the entries of a sealed segment can follow all that was taken in before it.
    pub(super) fn follows(&self, rows: &[Row]) -> bool {
        let follows = |row: &Row| {
            let (version, hash) = self.tip(&row.stream);
            (version.next(), hash) == (row.first, row.before)
        };
        rows.iter().all(follows)
    }

    /// Takes in the next sealed segment, at a start.
    pub(super) fn push_sealed(&mut self, sealed: Sealed, rows: Vec<Row>) {
        let segment = sealed.first;
        self.sealed.push_back(Arc::new(sealed));
        for Row { stream, first, tip, place, .. } in rows {
            self.set_tip(&stream, tip).runs.push_back(Run { segment, first, place });
        }
        self.hold_few(segment);
    }

    /// Takes in under which ids the entries of a segment came, in the order of offsets. Segments
    /// come in order, and the newest of all.
    pub(super) fn remember(
        &mut self,
        first: Offset,
        streams: &[Row],
        entries: impl IntoIterator<Item = Named>,
    ) {
        let number = |row: &Row| self.streams.get(&row.stream).map_or(0, |entries| entries.number);
        let numbers: Vec<u32> = streams.iter().map(number).collect();
        for (offset, Named { ids, row, version }) in (first.0..).map(Offset).zip(entries) {
            let stream = numbers.get(row).copied().unwrap_or_default();
            self.append_ids.push(offset, Known { ids, stream, version });
        }
    }

    /// Takes in the newest segment, at a start.
    pub(super) fn push_newest(&mut self, file: Arc<dyn File>, contents: Contents, end: u64) {
        let (first, named) = (contents.first(), contents.named());
        let rows: Vec<Row> = contents.rows().collect();
        for row in &rows {
            self.set_tip(&row.stream, row.tip);
        }
        self.remember(first, &rows, named);
        self.open = Some(Open { file, contents, end });
    }

    /// Begins a segment with the next offset; the one before is sealed.
    pub(super) fn push_open(&mut self, file: Arc<dyn File>) {
        let (contents, end) = (Contents::new(self.next()), segment::HEADER_BYTES as u64);
        if let Some(full) = self.open.replace(Open { file, contents, end }) {
            let (segment, mut place) = (full.contents.first(), 0);
            for (stream, part) in full.contents.parts() {
                if let Some(entries) = self.streams.get_mut(stream) {
                    entries.runs.push_back(Run { segment, first: part.first, place });
                }
                place += part.entries();
            }
            self.sealed.push_back(Arc::new(Sealed::held(full.contents, full.end)));
            self.hold_few(segment);
        }
    }

    /// Takes in the next entry, whose frame begins at this byte of the open segment.
    pub(super) fn push_entry(&mut self, header: Header, hash: Hash, byte: u32) {
        let tip = Tip::of(&header, self.next(), hash);
        let stream = self.set_tip(&header.stream, tip).number;
        let ids = Ids { append_id: tip.append_id, command_id: tip.command_id };
        self.append_ids.push(tip.offset, Known { ids, stream, version: tip.version });
        let open = self.open.as_mut().expect("entries come after their segment");
        open.contents.push(header, tip, byte);
    }

    /// The open segment is durable up to this byte.
    pub(super) fn set_end(&mut self, end: u64) {
        if let Some(open) = &mut self.open {
            open.end = end;
        }
    }

    fn set_tip(&mut self, stream: &Stream, tip: Tip) -> &mut Entries {
        // Twice through the map, or every entry would bring a copy of its stream's name.
        if !self.streams.contains_key(stream) {
            let number = u32::try_from(self.streams.len()).expect("streams are held in memory");
            let entries = Entries { number, tip, runs: VecDeque::new() };
            self.streams.insert(stream.clone(), entries);
        }
        let entries = self.streams.get_mut(stream).expect("it was put in");
        entries.tip = tip;
        entries
    }

    /// Puts another form in the place of a sealed segment's, if it is still this one.
    pub(super) fn replace(&mut self, was: &Arc<Sealed>, form: Form) {
        let Some(place) = self.place_of_sealed(was.first) else { return };
        let Some(held) = self.sealed.get_mut(place).filter(|held| Arc::ptr_eq(held, was)) else {
            return;
        };
        *held = Arc::new(Sealed { points: was.points.clone(), form, ..**was });
        self.hold_few(was.first);
    }

    /// Puts what was read anew in the place of a sealed segment that was doubted.
    pub(super) fn replace_by(&mut self, sealed: &Arc<Sealed>) {
        let place = self.place_of_sealed(sealed.first);
        if let Some(held) = place.and_then(|place| self.sealed.get_mut(place)) {
            *held = Arc::clone(sealed);
        }
        self.hold_few(sealed.first);
    }

    /// Keeps no more than [`UNFILED_MAX`] segments in memory, the one that came last among them.
    fn hold_few(&mut self, last: Offset) {
        let is_held = |sealed: &Sealed| matches!(sealed.form, Form::Held(_));
        let held = self.sealed.iter().filter(|sealed| is_held(sealed)).count();
        let others = self.sealed.iter_mut();
        let others = others.filter(|sealed| is_held(sealed) && sealed.first != last);
        for oldest in others.take(held.saturating_sub(UNFILED_MAX)) {
            let (points, form) = (oldest.points.clone(), Form::Forgotten);
            *oldest = Arc::new(Sealed { points, form, ..**oldest });
        }
    }

    /// Forgets the segments below a floor; what the streams' tips are stays.
    pub(super) fn raise(&mut self, floor: Floor) {
        let first = floor.first;
        self.sealed.retain(|sealed| sealed.first >= first);
        for entries in self.streams.values_mut() {
            entries.runs.retain(|run| run.segment >= first);
        }
        self.floor = floor;
    }

    /// Takes streams for begun after these entries, of which only this is known.
    pub(super) fn begin(&mut self, floor: Floor, tips: BTreeMap<Stream, Tip>) {
        for (stream, tip) in tips {
            self.set_tip(&stream, tip);
        }
        self.floor = floor;
    }

    /// Returns version and hash after which the stream's next entry goes.
    pub(super) fn tip(&self, stream: &Stream) -> (Version, Hash) {
        self.streams.get(stream).map_or((Version(0), Hash::default()), |entries| {
            (entries.tip.version, entries.tip.hash)
        })
    }

    pub(super) fn rule(&self, stream: &Stream, ids: Ids, expected: Expected) -> Ruling {
        if let Some((known, appended)) = self.find(stream, ids) {
            return Ruling::Known(same(known == ids, appended));
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
        let all_remembered = after > version || self.remembers_from(stream, after.next());
        Ruling::Moved { actual, all_remembered }
    }

    fn find(&self, stream: &Stream, ids: Ids) -> Option<(Ids, Appended)> {
        let entries = self.streams.get(stream)?;
        let Tip { version, offset, append_id, command_id, .. } = entries.tip;
        if append_id == ids.append_id {
            let appended = Appended { offset, version, repeated: true };
            return Some((Ids { append_id, command_id }, appended));
        }
        let mut known = self.append_ids.find(ids);
        let (offset, known) = known.find(|(_, known)| known.stream == entries.number)?;
        Some((known.ids, Appended { offset, version: known.version, repeated: true }))
    }

    /// Whether the append ids of a stream's entries from this version on are all remembered. Says
    /// no where that could only be told from a file.
    fn remembers_from(&self, stream: &Stream, version: Version) -> bool {
        let open = self.open.as_ref();
        let part =
            open.and_then(|open| Some((open.contents.first(), open.contents.parts().get(stream)?)));
        if let Some((first, part)) = part.filter(|(_, part)| part.first <= version) {
            let place = usize::try_from(version.0 - part.first.0).unwrap_or(usize::MAX);
            let ordinal = part.ordinals.get(place);
            let offset = |ordinal: &u32| Offset(first.0 + u64::from(*ordinal));
            return ordinal.is_none_or(|ordinal| self.append_ids.reaches(offset(ordinal)));
        }
        let run = self.streams.get(stream).and_then(|entries| entries.run(version));
        run.is_some_and(|(run, _)| self.append_ids.reaches(run.segment))
    }

    /// Returns where up to `limit` entries after `after` stand, as many as one segment has of them
    /// within `bytes_max`, but one at least; `None` when there is none. Goes on behind the floor.
    pub(super) fn stretch(&self, after: Offset, limit: usize, bytes_max: u64) -> Option<Piece> {
        let first = Offset(after.max(self.floor.offset()).0.saturating_add(1));
        if limit == 0 || first >= self.next() {
            return None;
        }
        let open = self.open.as_ref()?;
        if first >= open.contents.first() {
            return Some(open.stretch(first, limit, bytes_max));
        }
        let place = self.sealed.partition_point(|sealed| sealed.first <= first);
        self.sealed.get(place.checked_sub(1)?).map(|sealed| sealed.stretch(first, limit, bytes_max))
    }

    /// Returns where up to `limit` entries of a stream after `after` stand, as many as one segment
    /// has; `None` when there is none.
    pub(super) fn stream_piece(
        &self,
        stream: &Stream,
        after: Version,
        limit: usize,
        bytes_max: u64,
    ) -> Option<Piece> {
        let open = self.open.as_ref()?;
        let entries = self.streams.get(stream)?;
        if limit == 0 || after >= entries.tip.version {
            return None;
        }
        let own = open.contents.parts().get(stream);
        let oldest = entries.runs.front().map(|run| run.first).or(own.map(|part| part.first))?;
        let first = after.next().max(oldest);
        if let Some(part) = own.filter(|part| part.first <= first) {
            let postings = open.postings(stream, first, limit, bytes_max);
            let source = Source::Open { file: Arc::clone(&open.file), end: open.end };
            let segment = open.contents.first();
            debug_assert!(first <= part.tip.version);
            return Some(Piece { segment, source, entries: Wanted::Stream { first, postings } });
        }
        let (run, next) = entries.run(first)?;
        let end = next.or(own.map(|part| part.first)).unwrap_or(entries.tip.version.next());
        let sealed = self.sealed_at(run.segment)?;
        let count = u32::try_from(end.0 - first.0).unwrap_or(u32::MAX);
        let count = count.min(u32::try_from(limit).unwrap_or(u32::MAX));
        let passed = u32::try_from(first.0 - run.first.0).unwrap_or(u32::MAX);
        let postings = sealed.postings(stream, first, run.place.saturating_add(passed), count);
        let source = Source::Sealed(Arc::clone(sealed));
        let entries = Wanted::Stream { first, postings };
        Some(Piece { segment: run.segment, source, entries })
    }

    /// Returns the memory that this holds, the names of the streams included.
    pub(super) fn memory_bytes(&self) -> usize {
        let sealed = |sealed: &Arc<Sealed>| {
            let held = match &sealed.form {
                Form::Held(contents) => contents.memory_bytes(),
                Form::Filed { .. } | Form::Forgotten => 0,
            };
            size_of::<Sealed>() + sealed.points.capacity() * size_of::<Posting>() + held
        };
        let runs = |entries: &Entries| entries.runs.capacity() * size_of::<Run>();
        self.sealed.capacity() * size_of::<Arc<Sealed>>()
            + self.sealed.iter().map(sealed).sum::<usize>()
            + self.open.as_ref().map_or(0, |open| open.contents.memory_bytes())
            + map_bytes(&self.streams)
            + self.streams.values().map(runs).sum::<usize>()
            + map_bytes(&self.floor.tips)
            + self.append_ids.memory_bytes()
    }
}

/// Returns the first result again, if it was for the same command.
pub(super) fn same(same_command: bool, appended: Appended) -> Result<Appended, LogError> {
    if same_command { Ok(appended) } else { Err(LogError::KeyReused) }
}

impl Entries {
    /// Returns the run that holds a version, unless it is older than all of them, and where the
    /// next run begins.
    fn run(&self, version: Version) -> Option<(Run, Option<Version>)> {
        let after = self.runs.partition_point(|run| run.first <= version);
        let run = self.runs.get(after.checked_sub(1)?)?;
        Some((*run, self.runs.get(after).map(|next| next.first)))
    }
}

impl Sealed {
    /// Returns a sealed segment of which memory holds everything.
    pub(super) fn held(contents: Contents, length: u64) -> Self {
        Self {
            first: contents.first(),
            entries: contents.entries(),
            length,
            recorded_at: contents.recorded_at(),
            points: contents.points(),
            form: Form::Held(Arc::new(contents)),
        }
    }

    /// Returns a sealed segment as its index describes it.
    pub(super) fn filed(first: Offset, length: u64, front: Front) -> (Self, Vec<Row>) {
        let sealed = Self {
            first,
            entries: front.entries(),
            length,
            recorded_at: front.recorded_at(),
            form: Form::Filed { postings_at: front.postings_at(), bytes: front.bytes() },
            points: front.points,
        };
        (sealed, front.rows)
    }

    /// Returns the offset after its last entry.
    pub(super) fn next(&self) -> Offset {
        Offset(self.first.0 + u64::from(self.entries))
    }

    /// Returns the bytes on the disk, the index included.
    pub(super) fn bytes(&self) -> u64 {
        let index = match self.form {
            Form::Filed { bytes, .. } => bytes,
            Form::Held(_) | Form::Forgotten => 0,
        };
        self.length + index
    }
}

#[cfg(test)]
impl Index {
    pub(super) fn open_memory_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.contents.memory_bytes())
    }

    /// Returns how many sealed segments are filed, held in memory, and forgotten.
    pub(super) fn forms(&self) -> [usize; 3] {
        let count = |is: fn(&Form) -> bool| self.sealed.iter().filter(|one| is(&one.form)).count();
        [
            count(|form| matches!(form, Form::Filed { .. })),
            count(|form| matches!(form, Form::Held(_))),
            count(|form| matches!(form, Form::Forgotten)),
        ]
    }
}
