//! Reading entries out of the files: each is held against its checksum, and what an index says
//! against what stands there. A disk may have forgotten what it knew at the start.
//!
//! When a sealed segment does not read as its index says, the segment itself decides: it is read
//! whole. If it holds, its index was wrong and is made anew; if not, the first entry that does not
//! hold is named.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task;

use crate::body::{self, Content};
use crate::embedded::chores::Chores;
use crate::embedded::contents::Posting;
use crate::embedded::handles::Handles;
use crate::embedded::index::{Form, Index, Sealed};
use crate::embedded::pieces::{Piece, Postings, Source, Wanted};
use crate::embedded::scan::{self, Fault};
use crate::embedded::segment::{self, Frame};
use crate::embedded::{sealed, unavailable};
use crate::entry::{Entry, Offset, Version};
use crate::files::{File, Files};
use crate::log::{LogError, Tip};
use crate::stream::{Log, Stream};

/// Bytes that one read takes from the disk; one entry may be more. A reader asks again for more.
const READ_BYTES_MAX: u64 = 1 << 20;

/// Bytes that are read on the caller's thread. They are in the page cache as a rule, and a change
/// of threads would cost more than they do; more than this could hold up others of its runtime.
const READ_INLINE_BYTES_MAX: u64 = 32 * 1024;

/// Bytes between two entries of a stream that are read along with them rather than passed over by
/// another read.
const GAP_BYTES_MAX: u64 = 4 * 1024;

/// Bytes read for the first entry of a stream, whose length stands in its frame; for later ones,
/// as many as the one before had. When one is longer, it is read once more.
const FIRST_FRAME_BYTES: u64 = 1_024;

/// One log, as readers see it.
pub(super) struct Reader {
    pub(super) log: Log,
    pub(super) files: Arc<dyn Files>,
    /// Never held while the disk works.
    index: Mutex<Index>,
    handles: Mutex<Handles>,
    /// Held while a segment is read whole, so that of many readers only one does.
    settling: Mutex<()>,
    /// Where it is said that an index is to be written anew.
    chores: Arc<Chores>,
}

/// What somebody wants to read.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Log { after: Offset, limit: usize },
    Stream { stream: Stream, after: Version, limit: usize },
}

/// Entries, and the bytes that were read for them.
type Read = (Vec<Entry>, u64);

/// Why a piece was not read.
enum Trouble {
    /// Something does not hold.
    Doubt {
        offset: Offset,
        reason: String,
    },
    /// A file is not there.
    Missing,
    Failed(LogError),
}

impl Reader {
    pub(super) fn new(log: Log, files: Arc<dyn Files>, index: Index, chores: Arc<Chores>) -> Self {
        let (index, handles) = (Mutex::new(index), Mutex::default());
        Self { log, files, index, handles, settling: Mutex::default(), chores }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the files below a floor.
    pub(super) fn close_below(&self, first: Offset) {
        self.handles().close_below(first);
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a stream's newest entry.
    pub(super) fn ask_last(&self, stream: &Stream) -> Ask {
        let (version, _) = self.index().tip(stream);
        let after = Version(version.0.saturating_sub(1));
        Ask::Stream { stream: stream.clone(), after, limit: 1 }
    }

    pub(super) fn tip(&self, stream: &Stream) -> Option<Tip> {
        let (version, hash) = self.index().tip(stream);
        (version > Version(0)).then_some(Tip { version, hash })
    }

    #[cfg(test)]
    pub(super) fn files_open(&self) -> usize {
        self.handles().open()
    }

    pub(super) async fn answer(self: &Arc<Self>, ask: Ask) -> Result<Vec<Entry>, LogError> {
        let Some(piece) = self.piece(&ask, READ_BYTES_MAX) else { return Ok(Vec::new()) };
        if piece.is_small(ask.limit()) {
            match self.read_piece(&ask, &piece) {
                Ok((entries, _)) => return Ok(entries),
                Err(Trouble::Failed(error)) => return Err(error),
                // To be settled where it holds up nobody.
                Err(Trouble::Doubt { .. } | Trouble::Missing) => {}
            }
        }
        let reader = Arc::clone(self);
        task::spawn_blocking(move || reader.gather(ask))
            .await
            .unwrap_or_else(|error| Err(unavailable("the reader", &error.into())))
    }

    fn piece(&self, ask: &Ask, bytes_max: u64) -> Option<Piece> {
        let index = self.index();
        match ask {
            Ask::Log { after, limit } => index.stretch(*after, *limit, bytes_max),
            Ask::Stream { stream, after, limit } => {
                index.stream_piece(stream, *after, *limit, bytes_max)
            }
        }
    }

    /// Reads piece after piece, from one segment into the next.
    fn gather(&self, mut ask: Ask) -> Result<Vec<Entry>, LogError> {
        let (mut all, mut bytes, mut doubted) = (Vec::new(), 0, None);
        while let Some(piece) = self.piece(&ask, READ_BYTES_MAX - bytes) {
            match self.read_piece(&ask, &piece) {
                Ok((entries, read)) => {
                    (bytes, doubted) = (bytes + read, None);
                    ask.go_on(&entries);
                    if all.is_empty() {
                        all = entries;
                    } else {
                        all.extend(entries);
                    }
                    // What little one more piece may add is not worth a read of its own.
                    if bytes > READ_BYTES_MAX / 2 {
                        break;
                    }
                }
                Err(Trouble::Failed(error)) => return Err(error),
                Err(trouble) => {
                    let again = doubted.replace(piece.segment) == Some(piece.segment);
                    self.settle(&piece, trouble, again)?;
                }
            }
        }
        Ok(all)
    }

    fn read_piece(&self, ask: &Ask, piece: &Piece) -> Result<Read, Trouble> {
        let (file, length) = match &piece.source {
            Source::Open { file, end } => (Arc::clone(file), *end),
            Source::Sealed(sealed) => {
                let file = self.handles().get(&*self.files, sealed.first);
                (file.map_err(|error| piece.trouble(&error))?, sealed.length)
            }
        };
        let frames = Frames { log: self.log, segment: piece.segment, file, length };
        match (&piece.entries, ask) {
            (Wanted::Stretch { from, end, first, entries }, _) => {
                frames.stretch(*from, *end, *first, *entries)
            }
            (Wanted::Stream { first, postings }, Ask::Stream { stream, .. }) => {
                frames.stream(stream, *first, &self.postings(piece, postings)?)
            }
            (Wanted::Stream { .. }, Ask::Log { .. }) => Ok((Vec::new(), 0)),
        }
    }

    fn postings(&self, piece: &Piece, postings: &Postings) -> Result<Vec<Posting>, Trouble> {
        match postings {
            Postings::Known { postings, .. } => Ok(postings.clone()),
            Postings::Filed { postings_at, place, entries } => {
                let read = || {
                    let file = self.files.open(&sealed::name(piece.segment))?;
                    sealed::read_postings_at(&*file, *postings_at, *place, *entries)
                };
                read().map_err(|error| piece.trouble(&error))
            }
            Postings::Forgotten => Err(Trouble::Missing),
        }
    }

    /// Finds out what is wrong with a segment that did not read: returns when its index was, and
    /// is not any more, or when the segment has been dropped meanwhile. `again`: that was so once
    /// already, and it still does not read.
    fn settle(&self, piece: &Piece, trouble: Trouble, again: bool) -> Result<(), LogError> {
        let name = segment::name(piece.segment);
        let doubt = match trouble {
            Trouble::Doubt { offset, reason } => LogError::Damaged { offset, reason },
            Trouble::Missing => {
                let reason = format!("{name}: the file is missing");
                LogError::Damaged { offset: piece.segment, reason }
            }
            Trouble::Failed(error) => return Err(error),
        };
        let Source::Sealed(doubted) = &piece.source else { return Err(doubt) };
        let _settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.index().sealed_at(piece.segment).map(Arc::clone);
        let Some(held) = held else { return Ok(()) };
        if !Arc::ptr_eq(&held, doubted) {
            return Ok(());
        }
        if again {
            return Err(doubt);
        }
        if let (Form::Forgotten, Some(form)) = (&held.form, self.filed(&held)) {
            self.index().replace(&held, form);
            return Ok(());
        }
        tracing::warn!(log = %self.log, segment = name, %doubt, "a segment is read whole");
        self.handles().close(piece.segment);
        let anew = match read_whole(&*self.files, self.log, &held) {
            Ok(anew) => anew,
            // Dropped in between, or gone against our will.
            Err(Whole::Missing) if self.index().sealed_at(held.first).is_none() => return Ok(()),
            Err(Whole::Missing) => return Err(doubt),
            Err(Whole::Failed(error)) => return Err(error),
        };
        self.index().replace_by(&Arc::new(anew));
        self.chores.want_filing();
        Ok(())
    }

    /// Returns where the postings of a segment are, if its index has been written meanwhile.
    fn filed(&self, held: &Sealed) -> Option<Form> {
        let file = self.files.open(&sealed::name(held.first)).ok()?;
        let front = sealed::read_front(&*file).ok()??;
        let is_its = front.is_of(self.log, held.first, held.length);
        is_its.then(|| Sealed::filed(held.first, held.length, front).0.form)
    }
}

/// Why a segment that was read whole is not there.
pub(super) enum Whole {
    Missing,
    Failed(LogError),
}

/// Reads a sealed segment whole and returns it with everything in memory; the error names the first
/// entry that does not hold.
pub(super) fn read_whole(files: &dyn Files, log: Log, held: &Sealed) -> Result<Sealed, Whole> {
    let name = segment::name(held.first);
    let (_, bytes) = match load(files, &name) {
        Ok(loaded) => loaded,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Whole::Missing),
        Err(error) => return Err(Whole::Failed(unavailable(&name, &error))),
    };
    let (contents, progress, read) = scan::segment(log, held.first, &bytes, &|_| None);
    let read = read.and_then(|()| {
        if (contents.entries(), progress.end as u64) == (held.entries, held.length) {
            return Ok(());
        }
        let (bytes, held) = (progress.end, held.length);
        let reason = format!("the segment has {bytes} bytes, and had {held}");
        Err(Fault::certain(progress.next, progress.end, reason))
    });
    read.map_err(|fault| Whole::Failed(fault.damaged(&name)))?;
    Ok(Sealed::held(contents, progress.end as u64))
}

/// Reads a whole file.
pub(super) fn load(files: &dyn Files, name: &str) -> io::Result<(Arc<dyn File>, Vec<u8>)> {
    let file = files.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.length()?).map_err(io::Error::other)?];
    file.read_at(&mut bytes, 0)?;
    Ok((file, bytes))
}

impl Ask {
    fn limit(&self) -> usize {
        match self {
            Self::Log { limit, .. } | Self::Stream { limit, .. } => *limit,
        }
    }

    /// Asks for what comes after these.
    fn go_on(&mut self, entries: &[Entry]) {
        let Some(newest) = entries.last() else { return };
        match self {
            Self::Log { after, limit } => {
                (*after, *limit) = (newest.offset, *limit - entries.len());
            }
            Self::Stream { after, limit, .. } => {
                (*after, *limit) = (newest.version, *limit - entries.len());
            }
        }
    }
}

impl Piece {
    /// Whether this is the whole answer, and quickly read.
    fn is_small(&self, limit: usize) -> bool {
        let is_whole =
            |entries: usize| entries == limit || matches!(self.source, Source::Open { .. });
        match &self.entries {
            Wanted::Stretch { from, end, entries, .. } => {
                end - u64::from(from.byte) <= READ_INLINE_BYTES_MAX && is_whole(*entries)
            }
            Wanted::Stream { postings: Postings::Known { postings, bytes }, .. } => {
                *bytes <= READ_INLINE_BYTES_MAX && is_whole(postings.len())
            }
            Wanted::Stream { postings: Postings::Filed { .. }, .. } => limit == 1,
            Wanted::Stream { postings: Postings::Forgotten, .. } => false,
        }
    }

    fn trouble(&self, error: &io::Error) -> Trouble {
        let name = segment::name(self.segment);
        match error.kind() {
            io::ErrorKind::NotFound => Trouble::Missing,
            io::ErrorKind::UnexpectedEof => {
                let reason = format!("{name}: its index ends early");
                Trouble::Doubt { offset: self.segment, reason }
            }
            _ => Trouble::Failed(unavailable(&name, error)),
        }
    }
}

/// The frames of one segment.
struct Frames {
    log: Log,
    segment: Offset,
    file: Arc<dyn File>,
    /// What is durable of it.
    length: u64,
}

impl Frames {
    /// Reads neighbours, from a frame that stands before them.
    fn stretch(
        &self,
        from: Posting,
        end: u64,
        first: Offset,
        entries: usize,
    ) -> Result<Read, Trouble> {
        let start = u64::from(from.byte);
        let bytes = self.read(start, end)?;
        let byte = |rest: &[u8]| start + (bytes.len() - rest.len()) as u64;
        let mut rest = bytes.as_slice();
        let mut offset = Offset(self.segment.0 + u64::from(from.ordinal));
        while offset < first {
            let passed = segment::pass_frame(rest)
                .ok_or_else(|| self.doubt(first, byte(rest), "the frame ends early"))?;
            offset.0 += u64::from(!passed.is_group_header);
            rest = passed.rest;
        }
        let mut out = Vec::with_capacity(entries);
        while out.len() < entries {
            let (frame, after) = segment::read_frame(rest, offset)
                .map_err(|reason| self.doubt(offset, byte(rest), reason))?;
            if !frame.is_group_header() {
                out.push(self.entry(offset, byte(rest), frame)?);
                offset.0 += 1;
            }
            rest = after;
        }
        Ok((out, end - start))
    }

    /// Reads a stream's entries, versions from `first` on; as many of them as one read may have.
    fn stream(
        &self,
        stream: &Stream,
        first: Version,
        postings: &[Posting],
    ) -> Result<Read, Trouble> {
        let (mut out, mut read, mut frame_bytes) = (Vec::new(), 0, FIRST_FRAME_BYTES);
        let (mut start, mut bytes): (u64, Vec<u8>) = (0, Vec::new());
        for (place, posting) in postings.iter().enumerate() {
            let byte = u64::from(posting.byte);
            let offset = Offset(self.segment.0 + u64::from(posting.ordinal));
            if within(start, &bytes, byte).is_none() {
                let ahead = postings.get(place..).unwrap_or_default();
                (start, bytes) = (byte, self.read(byte, self.end_of(ahead, frame_bytes))?);
                let length = segment::frame_length(&bytes).unwrap_or(0);
                if length > bytes.len() as u64 {
                    bytes = self.read(byte, (byte + length).min(self.length))?;
                }
            }
            let rest = within(start, &bytes, byte).unwrap_or(&bytes);
            let (frame, after) = segment::read_frame(rest, offset)
                .map_err(|reason| self.doubt(offset, byte, reason))?;
            let length = (rest.len() - after.len()) as u64;
            if !out.is_empty() && read + length > READ_BYTES_MAX {
                break;
            }
            (read, frame_bytes) = (read + length, length);
            let entry = self.entry(offset, byte, frame)?;
            let version = Version(first.0 + out.len() as u64);
            if (&entry.stream, entry.version) != (stream, version) {
                return Err(self.doubt(offset, byte, "the index leads to another entry"));
            }
            out.push(entry);
        }
        Ok((out, read))
    }

    /// Returns the byte up to which entries with small gaps between them are read at once, when the
    /// last of them has so many bytes.
    fn end_of(&self, postings: &[Posting], frame_bytes: u64) -> u64 {
        let mut bytes = postings.iter().map(|posting| u64::from(posting.byte));
        let start = bytes.next().unwrap_or_default();
        let is_near = |end: u64, byte: u64| {
            byte > end && byte - end <= GAP_BYTES_MAX && byte - start <= READ_BYTES_MAX
        };
        let end =
            bytes.try_fold(start, |end, byte| if is_near(end, byte) { Ok(byte) } else { Err(end) });
        let (Ok(end) | Err(end)) = end;
        (end + frame_bytes).min(self.length).max(start)
    }

    fn entry(&self, offset: Offset, byte: u64, frame: Frame<'_>) -> Result<Entry, Trouble> {
        let content = Content::from_byte(frame.content_type)
            .ok_or_else(|| self.doubt(offset, byte, "no entry has this content type"))?;
        body::open(self.log, offset, content, frame.body)
            .map_err(|error| self.doubt(offset, byte, &error.0))
    }

    /// Reads all bytes up to `end`, or as many as the file still has.
    fn read(&self, start: u64, end: u64) -> Result<Vec<u8>, Trouble> {
        let read = |end: u64| -> io::Result<Vec<u8>> {
            let length = usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            self.file.read_at(&mut bytes, start)?;
            Ok(bytes)
        };
        read(end)
            .or_else(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => read(self.file.length()?.min(end)),
                _ => Err(error),
            })
            .map_err(|error| Trouble::Failed(unavailable(&segment::name(self.segment), &error)))
    }

    fn doubt(&self, offset: Offset, byte: u64, reason: &str) -> Trouble {
        let name = segment::name(self.segment);
        Trouble::Doubt { offset, reason: format!("{name}, byte {byte}: {reason}") }
    }
}

/// Returns the bytes from `byte` on, if the whole frame there is among them.
fn within(start: u64, bytes: &[u8], byte: u64) -> Option<&[u8]> {
    let rest = bytes.get(usize::try_from(byte.checked_sub(start)?).ok()?..)?;
    (segment::frame_length(rest)? <= rest.len() as u64).then_some(rest)
}
